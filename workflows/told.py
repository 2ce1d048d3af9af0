"""What is sent to a run from outside, by our processes, a person or a bug: checked before it means anything.

A handler that raises fails the workflow task, and Temporal tries that again for ever: the payment stands still.
So signals are taken as raw payloads, whatever their name, and what is of no use has no effect; an update of no use
is refused by its validator, which leaves no trace in the history.
"""

from collections.abc import Sequence
from typing import TypeVar

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.messages import OperationRequest
    from payonce.domain.ids import ID_MAX_LENGTH, ID_PATTERN
    from payonce.domain.operations import OperationKind

ACQUIRER_SPOKE = "acquirer_spoke"
"""The one signal that means something: an operation, and our reference of the attempt that the acquirer spoke of."""

REFUSED = "refused"
"""The type of the error with which an update is refused: nothing was begun, and nothing will be."""

_T = TypeVar("_T")
_REFERENCE_MAX = ID_MAX_LENGTH + len("-9999")


class NoUse(Exception):
    """What was sent means nothing to this run; says why, without what was sent."""


class Deaf:
    """A workflow on which no signal has an effect."""

    @workflow.signal(dynamic=True, description="No effect")
    def told(self, signal: str, sent: Sequence[RawValue]) -> None:
        """Nothing changes; the log says that a signal came."""
        ignored("no signal means anything here")


def spoken_of(signal: str, sent: Sequence[RawValue]) -> tuple[OperationRequest, str]:
    """The operation and the reference that the acquirer spoke of. Raises `NoUse`."""
    if signal != ACQUIRER_SPOKE:
        raise NoUse(f"the only signal is {ACQUIRER_SPOKE}")
    if len(sent) != 2:
        raise NoUse(f"{len(sent)} arguments instead of an operation and a reference")
    operation, reference = _decoded(sent[0], OperationRequest), _decoded(sent[1], str)
    if not (_is_id(operation.payment_id) and _is_id(operation.operation_id)):
        raise NoUse("no operation's id")
    if len(reference) > _REFERENCE_MAX or not _is_id(reference.rpartition("-")[0]):
        raise NoUse("no reference of ours")
    return operation, reference


def ignored(reason: object) -> None:
    """The log says that a signal had no effect, and nothing of what it held."""
    workflow.logger.warning("signal_ignored", extra={"reason": str(reason)})


def refuse_unless(kind: OperationKind, payment_id: str, sent: object) -> None:
    """Returns where an update was sent an operation of this kind of this payment; else it is refused in words.

    Another number of arguments never gets here: the SDK refuses it, since the validator cannot be called.
    """
    if not isinstance(sent, OperationRequest):
        raise _refusal("no operation")
    if sent.payment_id != payment_id:
        raise _refusal("another payment's operation")
    if sent.kind is not kind:
        raise _refusal(f"not a {kind}: {sent.kind}")
    if not _is_id(sent.operation_id):
        raise _refusal("no operation's id")


def _refusal(why: str) -> ApplicationError:
    return ApplicationError(why, type=REFUSED, non_retryable=True)


def _decoded(sent: RawValue, as_type: type[_T]) -> _T:
    try:
        value = workflow.payload_converter().from_payload(sent.payload, as_type)
    except Exception as error:  # whatever a payload of unknown origin makes a decoder say
        raise NoUse(f"no {as_type.__name__}: {type(error).__name__}") from error
    if not isinstance(value, as_type):  # null and bytes decode as themselves, whatever was asked for
        raise NoUse(f"no {as_type.__name__}")
    return value


def _is_id(text: str) -> bool:
    """In the form of our ids: whatever else a text may hold would not pass Postgres."""
    return ID_PATTERN.match(text) is not None

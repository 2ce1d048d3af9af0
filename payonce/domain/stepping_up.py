"""Soft declines: the issuer wants its cardholder authenticated, and the payment asks for that, once.

Where the acquirer steps up by itself there is nothing to do: it answers that the customer must act. Where it does
not, one more attempt of ours forces the challenge, at the same account, with the card that is still in memory. That
attempt is claimed in the transaction that records the decline, so that there is never a declined attempt of a pending
payment with nothing after it. Whatever comes of the further one, the decline is the least that the merchant is told.
"""

from dataclasses import replace
from typing import Any, Final, Literal

from payonce.domain.answers import decline_error
from payonce.domain.evidence import kept_decline
from payonce.domain.facts import DeclineCode, Declined, Fact, FailureCode
from payonce.domain.operations import Attempt, AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.sca import HandedIn, Sca

WITHIN_S: Final = 14.0  # since the claim: of the 20 s that the whole operation has, a further call needs 6
FORCED: Final = Sca(challenge="force")
_UNPROCESSED: Final = (FailureCode.NOT_PROCESSED, FailureCode.CARD_DATA_LOST)


def wanted(
    fact: Fact,
    *,
    sca: Sca | None,
    handed_in: HandedIn | None,
    soft_decline: Literal["itself", "resend"],
    held_s: float,
    unattended: bool = False,
) -> bool:
    """Whether what the acquirer said is to be answered by an attempt that forces the challenge.

    `unattended`: nobody is there to be challenged.
    `held_s`: since the claim of the attempt that was declined.
    """
    if not isinstance(fact, Declined) or not fact.soft or soft_decline != "resend" or held_s > WITHIN_S:
        return False
    if unattended:
        return False
    return handed_in is None and (sca is None or sca.challenge == "default")


def declined(
    operation: Operation, latest: Attempt | None, fact: Declined, *, number: int, token: str
) -> Attempt | None:
    """The attempt with its soft decline, by the rows under the payment's lock; None: nothing may follow it.

    It may where that claim still stands without an outcome, and nobody gave the payment up meanwhile.
    """
    pending = operation.status is OperationStatus.PENDING and operation.kind is OperationKind.AUTHORIZE
    if latest is None or not pending or (latest.number, latest.token) != (number, token):
        return None
    if latest.state is not AttemptState.CLAIMED or latest.asked or latest.steps_up:
        return None
    return replace(
        latest,
        state=AttemptState.DECLINED,
        connector_reference=fact.connector_reference,
        decline={**kept_decline(fact.raw, where=fact.where, code=fact.code), "soft": True},
    )


def least(attempt: Attempt | None, code: FailureCode) -> dict[str, Any] | None:
    """`last_error` of a payment whose step-up was never processed: that of the decline before; None for others."""
    if attempt is None or not attempt.steps_up or attempt.asked or code not in _UNPROCESSED:
        return None
    return decline_error(Declined(DeclineCode.AUTHENTICATION_REQUIRED))

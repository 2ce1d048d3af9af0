"""What a merchant's metadata makes the sandbox acquirer do, in test mode.

Source: `api.md`, "Sandbox triggers", and the sandbox acquirer's own description (`docs/sandbox.md`).
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from payonce.domain.money import AMOUNT_MINOR_MAX

log = structlog.get_logger(__name__)

FAULT_METADATA: Final = "sandbox_fault"
VPA_METADATA: Final = "sandbox_vpa"
VPAS: Final = ("success@upi", "failure@upi", "pending@upi", "late@upi")
FAULT_LENGTH_MAX: Final = 64 - len("authorize:")  # the acquirer's limit, with the longest prefix
FAULTS_MAX: Final = 16  # the acquirer takes no more in one request
TURN_S_MAX: Final = 86_400  # until the acquirer does something by itself

_POINTER = r"(/([a-z_]{1,32}|[0-9]{1,2})){1,8}"
_FAULT = re.compile(
    r"((authorize|resume|capture|void|refund|inquire|reverse|cancel|accept):)?"
    r"(timeout_after_charge|timeout_before_charge|error_after_charge|reset_after_charge|error_before_charge"
    r"|slow:[0-9]{1,9}|amount_mismatch|unmade|garbage|html|redirect|rate_limited|other_answer"
    r"|authorized_only|foreign_capture"
    r"|(undo_capture|redo_capture|undo_refund):(?P<seconds>[0-9]{1,5})"
    r"|dispute:[a-z_]{1,40}(:(?P<disputed>[1-9][0-9]{0,15}))?"
    rf"|foreign_refund:(?P<amount>[1-9][0-9]{{0,15}})|refuse:{_POINTER})"
)
_PREFIX = re.compile(r"(authorize|resume|capture|void|refund|inquire|reverse|cancel|accept):")
# Whose request they are about where they have no prefix; of the others, it is the first one.
_OF_REFUNDS: Final = ("undo_refund:",)
_OF_CAPTURES: Final = ("undo_capture:", "redo_capture:", "foreign_refund:", "dispute:")


def parse_faults(text: str) -> tuple[str, ...]:
    """The entries of a `sandbox_fault`, in order. Raises `ValueError` for a value that does not exist."""
    entries = tuple(entry.strip() for entry in text.split(","))
    if len(entries) > FAULTS_MAX:
        raise ValueError(f"at most {FAULTS_MAX} faults are possible")
    if not all(_possible(_FAULT.fullmatch(entry)) for entry in entries):
        raise ValueError("unknown fault")
    return entries


def _wrong_fault(text: str) -> str | None:
    try:
        parse_faults(text)
    except ValueError:
        return "must name faults that exist"
    return None


def _wrong_vpa(text: str) -> str | None:
    return None if text in VPAS else f"must be one of {', '.join(VPAS)}"


SWITCHES: Final[Mapping[str, Callable[[str], str | None]]] = {
    "sandbox_fault": _wrong_fault,
    "sandbox_vpa": _wrong_vpa,
}
"""Members of a payment's metadata that act in test mode, each with what says what is wrong with a value."""


def _possible(fault: re.Match[str] | None) -> bool:
    """Whether there is such a fault, and its number is one that the acquirer takes."""
    if fault is None or len(fault[0]) > FAULT_LENGTH_MAX:
        return False
    seconds, amount = int(fault["seconds"] or 0), int(fault["amount"] or fault["disputed"] or 0)
    return seconds <= TURN_S_MAX and amount <= AMOUNT_MINOR_MAX


def faults_for(
    operation: str, metadata: Mapping[str, str], *, unprefixed: str, captures: str = "capture"
) -> tuple[str, ...]:
    """The entries that are meant for `operation`, each with its prefix.

    `captures`: the operation that captures, which is what an undoing without a prefix is about.
    """
    text = metadata.get(FAULT_METADATA)
    if text is None:
        return ()
    try:
        entries = parse_faults(text)
    except ValueError:  # the API refuses these: what got past it disturbs no payment
        log.warning("sandbox_fault_unknown")
        return ()
    full = (
        entry if _PREFIX.match(entry) else f"{_meant(entry, unprefixed, captures)}:{entry}"
        for entry in entries
    )
    return tuple(entry for entry in full if entry.startswith(f"{operation}:"))


def _meant(entry: str, unprefixed: str, captures: str) -> str:
    """Which request a fault without a prefix is about: what can be undone says it by its name."""
    if entry.startswith(_OF_REFUNDS):
        return "refund"
    return captures if entry.startswith(_OF_CAPTURES) else unprefixed

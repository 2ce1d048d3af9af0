"""Which of the sandbox's faults a request sets off: `notes.sandbox_fault`, of the request, its payment or its order.

This is the sandbox's own; Razorpay has nothing of the kind. `notes.sandbox_bank` says what the bank does.
"""

import re
import sqlite3
from collections.abc import Iterable

from devstack.acquirer import faults, store
from devstack.acquirer.bodies import FAULTS_MAX
from devstack.acquirer.faults import Plan
from devstack.acquirer.razorpay.errors import Json, invalid

MEMBER = "sandbox_fault"
BANK_MEMBER = "sandbox_bank"
VPA_MEMBER = "sandbox_vpa"
_BANK = re.compile(r"silent|late:(?P<late>[0-9]{1,6})|answers:(?P<answers>[0-9]{1,6})")
_OWN_PREFIXES = ("create",)  # an order, which the sandbox's own protocol does not have
_OF_REFUND = ("undo_refund",)
_OF_FIRST_CAPTURE = ("foreign_refund",)
# Nothing that Razorpay documents takes a capture back.
_NOT_HERE = ("undo_capture", "redo_capture")


def checked(notes: Json) -> None:
    """Raises `Refusal` for a wish that cannot be fulfilled here."""
    entries = _entries(notes)
    if len(entries) > FAULTS_MAX or not all(_is_known(entry) for entry in entries):
        raise invalid("notes.sandbox_fault: unknown fault.", field=f"notes.{MEMBER}")
    if BANK_MEMBER in notes and not _BANK.fullmatch(str(notes[BANK_MEMBER])):
        raise invalid(
            "notes.sandbox_bank: silent, late:<seconds> or answers:<seconds>.", field=f"notes.{BANK_MEMBER}"
        )


def of(notes: Json, prefixes: Iterable[str], *, unprefixed: str, is_manual: bool) -> list[str]:
    """The entries that are for a request of these prefixes. `unprefixed`: whose an entry without one is."""
    whole = [_qualified(entry, unprefixed, is_manual=is_manual) for entry in _entries(notes)]
    return [entry for entry in whole if entry.partition(":")[0] in prefixes]


def plan(db: sqlite3.Connection, scope: str, entries: list[str]) -> Plan:
    """What they do to this request: each once."""
    return faults.plan_for([entry for entry in entries if store.is_first(db, scope, entry)])


def bank_is_silent(notes: Json) -> bool:
    """Whether the bank will not answer in time, whatever its customer does."""
    return str(notes.get(BANK_MEMBER, "")).partition(":")[0] in ("silent", "late")


def answers_late_after_s(notes: Json) -> int | None:
    """How long after the payment failed the bank says that it had succeeded, if it ever does."""
    return _seconds(notes, "late")


def answers_after_s(notes: Json) -> int | None:
    """How long after it was asked the customer has answered, if nobody has to play them."""
    return _seconds(notes, "answers")


def _seconds(notes: Json, name: str) -> int | None:
    found = _BANK.fullmatch(str(notes.get(BANK_MEMBER, "")))
    return int(found[name]) if found and found[name] else None


def _entries(notes: Json) -> list[str]:
    return [entry.strip() for entry in str(notes.get(MEMBER, "")).split(",") if entry.strip()]


def _is_known(entry: str) -> bool:
    prefix, _, rest = entry.partition(":")
    if prefix in _OWN_PREFIXES:
        entry = f"authorize:{rest}"
    elif prefix not in faults.OPERATIONS:
        entry = f"authorize:{entry}"
    return faults.is_known(entry) and entry.split(":")[1] not in _NOT_HERE


def _qualified(entry: str, unprefixed: str, *, is_manual: bool) -> str:
    prefix, name = entry.partition(":")[0], entry.split(":", maxsplit=1)[0]
    if prefix in (*faults.OPERATIONS, *_OWN_PREFIXES):
        return entry
    if name in _OF_REFUND:
        return f"refund:{entry}"
    if name in _OF_FIRST_CAPTURE and is_manual and unprefixed == "authorize":
        return f"capture:{entry}"
    return f"{unprefixed}:{entry}"

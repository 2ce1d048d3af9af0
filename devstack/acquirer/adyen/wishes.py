"""Which faults a request sets off: `metadata.sandbox_fault` of the payment. The sandbox's own; Adyen has none.

Modifications have no metadata, so all faults are the payment's, or are added to it later (control.py). Those that are
only here say what becomes of `received`, and of the webhook.
"""

import re
import sqlite3
from collections.abc import Iterable

from devstack.acquirer import faults, store
from devstack.acquirer.adyen.errors import invalid
from devstack.acquirer.bodies import FAULTS_MAX
from devstack.acquirer.faults import SCRIPTED_S_MAX, Plan

MEMBER = "sandbox_fault"
_LOST = "callback_lost"
_LATE = re.compile(r"callback_late:(\d{1,5})")
_PENDING = re.compile(r"(pending|received):(\d{1,5})")
_REVERSED = re.compile(r"refunded_reversed:(\d{1,5})")
_REJECTED = "rejected"
_OWN_ALONE = (_LOST, _REJECTED)
_OWN_TIMED = (_LATE, _PENDING, _REVERSED)
_OF_REFUND = ("undo_refund", "refunded_reversed")
_OF_CAPTURE = ("undo_capture", "redo_capture", "foreign_refund")


def checked(metadata: dict[str, str]) -> None:
    """Raises `Refusal` for a fault that does not exist here."""
    check(entries_of(metadata))


def check(entries: list[str]) -> None:
    """Raises `Refusal` for a fault that does not exist here."""
    if len(entries) > FAULTS_MAX or not all(_is_known(entry) for entry in entries):
        raise invalid("702", "metadata.sandbox_fault: unknown fault")


def entries_of(metadata: dict[str, str]) -> list[str]:
    """What the payment wishes for, as written; what is more than 80 letters goes on in `sandbox_fault2`, `…3`."""
    texts = [metadata.get(name, "") for name in (MEMBER, f"{MEMBER}2", f"{MEMBER}3")]
    return [entry.strip() for text in texts for entry in text.split(",") if entry.strip()]


def of(entries: Iterable[str], prefixes: Iterable[str], *, is_manual: bool) -> list[str]:
    """The entries that are for a request of these prefixes."""
    whole = [_qualified(entry, is_manual=is_manual) for entry in entries]
    return [entry for entry in whole if entry.partition(":")[0] in prefixes]


def plan(db: sqlite3.Connection, scope: str, entries: list[str]) -> Plan:
    """What they do to this request: each once."""
    return faults.plan_for([entry for entry in entries if store.is_first(db, scope, entry)])


def callback_late_s(entries: Iterable[str]) -> int | None:
    """After how many seconds the webhook leaves; None: never."""
    rests = [entry.partition(":")[2] for entry in entries]
    if _LOST in rests:
        return None
    found = [int(match[1]) for rest in rests if (match := _LATE.fullmatch(rest))]
    return found[0] if found else 0


def pending(entries: Iterable[str]) -> tuple[str, int] | None:
    """The result that says nothing yet, and after how many seconds the outcome comes."""
    for entry in entries:
        if match := _PENDING.fullmatch(entry.partition(":")[2]):
            return match[1].capitalize(), int(match[2])
    return None


def is_rejected(entries: Iterable[str]) -> bool:
    """Whether the modification that was received is refused later."""
    return any(entry.partition(":")[2] == _REJECTED for entry in entries)


def scripted(entries: Iterable[str]) -> tuple[list[str], bool]:
    """The entries as the sandbox's turns know them, and whether a refund's undoing is told as REFUNDED_REVERSED."""
    found, is_reversed = [], False
    for entry in entries:
        if match := _REVERSED.fullmatch(entry.partition(":")[2]):
            is_reversed = True
            found.append(f"refund:undo_refund:{match[1]}")
        elif not _is_own(entry.partition(":")[2]):
            found.append(entry)
    return found, is_reversed


def _is_own(rest: str) -> bool:
    return rest in _OWN_ALONE or any(each.fullmatch(rest) for each in _OWN_TIMED)


def _is_known(entry: str) -> bool:
    prefix, _, rest = entry.partition(":")
    if prefix not in faults.OPERATIONS:
        rest, entry = entry, f"authorize:{entry}"
    if not _is_own(rest):
        return faults.is_known(entry)
    seconds = rest.rpartition(":")[2]
    return not seconds.isdecimal() or int(seconds) <= SCRIPTED_S_MAX


def _qualified(entry: str, *, is_manual: bool) -> str:
    prefix, name = entry.partition(":")[0], entry.split(":", maxsplit=1)[0]
    if prefix in faults.OPERATIONS:
        return entry
    if name in _OF_REFUND:
        return f"refund:{entry}"
    if name in _OF_CAPTURE and is_manual:
        return f"capture:{entry}"
    return f"authorize:{entry}"

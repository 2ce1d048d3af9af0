"""Which of the sandbox's faults a request sets off: `metadata[sandbox_fault]`, of the request or of its intent.

This is the sandbox's own; Stripe has nothing of the kind.
"""

import sqlite3
from collections.abc import Iterable

from devstack.acquirer import faults, store
from devstack.acquirer.bodies import FAULTS_MAX
from devstack.acquirer.faults import Plan
from devstack.acquirer.stripe.errors import Json, invalid

MEMBER = "sandbox_fault"
_OWN_PREFIXES = ("create", "payment_method")  # requests that the sandbox's own protocol does not have
_OF_REFUND = ("undo_refund",)
_OF_FIRST_CAPTURE = ("foreign_refund",)
# Nothing that Stripe documents takes a capture back.
_NOT_HERE = ("undo_capture", "redo_capture")


def checked(metadata: Json) -> None:
    """Raises `Refusal` for a fault that does not exist here."""
    entries = _entries(metadata)
    if len(entries) > FAULTS_MAX or not all(_is_known(entry) for entry in entries):
        raise invalid("metadata[sandbox_fault]: unknown fault.", param=f"metadata[{MEMBER}]")


def of(metadata: Json, prefixes: Iterable[str], *, unprefixed: str, is_manual: bool) -> list[str]:
    """The entries that are for a request of these prefixes. `unprefixed`: whose an entry without one is."""
    whole = [_qualified(entry, unprefixed, is_manual=is_manual) for entry in _entries(metadata)]
    return [entry for entry in whole if entry.partition(":")[0] in prefixes]


def plan(db: sqlite3.Connection, scope: str, entries: list[str]) -> Plan:
    """What they do to this request: each once."""
    return faults.plan_for([entry for entry in entries if store.is_first(db, scope, entry)])


def _entries(metadata: Json) -> list[str]:
    return [entry.strip() for entry in str(metadata.get(MEMBER, "")).split(",") if entry.strip()]


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

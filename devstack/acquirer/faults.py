"""Faults a request may ask for, fully qualified: `<operation>:<fault>`.

Some disturb the request itself; others are a script of what the acquirer does later, by itself.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

OPERATIONS = ("authorize", "resume", "capture", "void", "refund", "inquire", "reverse", "cancel", "accept")
SLOW_MS_MAX = 60_000
SCRIPTED_S_MAX = 86_400
FOREIGN_AMOUNT_MAX = 2**53 - 1


class Ending(StrEnum):
    """How the request ends for whoever sent it."""

    ANSWER = "answer"
    TIMEOUT = "timeout"  # no answer: the connection is held, then closed
    RESET = "reset"  # no answer: TCP RST
    ERROR = "error"  # HTTP 500
    GARBAGE = "garbage"  # HTTP 200, a body that is not JSON
    HTML = "html"  # HTTP 200, a page
    REDIRECT = "redirect"  # HTTP 302 to somewhere else
    RATE_LIMITED = "rate_limited"  # HTTP 429 without Retry-After
    OTHER = "other"  # HTTP 200, what somebody else's request would be answered


class Deed(StrEnum):
    """What the acquirer does by itself, long after its answer."""

    UNDO_CAPTURE = "undo_capture"
    REDO_CAPTURE = "redo_capture"
    UNDO_REFUND = "undo_refund"
    FOREIGN_REFUND = "foreign_refund"
    FOREIGN_CAPTURE = "foreign_capture"


@dataclass(frozen=True, slots=True)
class Scripted:
    """One deed to come. `number`: seconds of an undoing or redoing, the amount of a foreign refund, else 0."""

    deed: Deed
    number: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What the faults that fired do to one request. `entries` are those faults, for what comes later."""

    slow_ms: int = 0
    executes: bool = True
    amount_added: int = 0
    ending: Ending = Ending.ANSWER
    refused_pointer: str | None = None
    entries: tuple[str, ...] = ()
    unmade: bool = False  # it is answered as if it were carried out, and nothing is


UNDISTURBED = Plan()

_PLAN_BY_FAULT = {
    "timeout_after_charge": Plan(ending=Ending.TIMEOUT),
    "timeout_before_charge": Plan(ending=Ending.TIMEOUT, executes=False),
    "error_after_charge": Plan(ending=Ending.ERROR),
    "reset_after_charge": Plan(ending=Ending.RESET),
    "error_before_charge": Plan(ending=Ending.ERROR, executes=False),
    "garbage": Plan(ending=Ending.GARBAGE),
    "html": Plan(ending=Ending.HTML),
    "redirect": Plan(ending=Ending.REDIRECT, executes=False),
    "rate_limited": Plan(ending=Ending.RATE_LIMITED, executes=False),
    "other_answer": Plan(ending=Ending.OTHER),
    "amount_mismatch": Plan(amount_added=1),
    "unmade": Plan(unmade=True),
}
_AUTHORIZED_ONLY = "authorized_only"
_SLOW = re.compile(r"slow:(\d{1,9})")
_LATER = re.compile(r"(undo_capture|redo_capture|undo_refund|foreign_refund):(\d{1,16})|(foreign_capture)")
_DISPUTE = re.compile(r"dispute:([a-z_]{1,40})(?::([1-9]\d{0,15}))?")
# Members' names and places in lists only: a pointer is answered and logged, so it has no room for a card number.
_REFUSE = re.compile(r"refuse:((?:/(?:[a-z_]{1,32}|\d{1,2})){1,8})")


def is_known(entry: str) -> bool:
    """Whether `entry` names an operation and a fault that exist."""
    operation, _, fault = entry.partition(":")
    return operation in OPERATIONS and (
        fault in _PLAN_BY_FAULT
        or fault == _AUTHORIZED_ONLY
        or any(pattern.fullmatch(fault) is not None for pattern in (_SLOW, _REFUSE, _DISPUTE))
        or _is_possible(fault)
    )


def plan_for(entries: Sequence[str]) -> Plan:
    """One plan for all entries that fired on a request: waits add up (to 60 s), the first ending holds."""
    slow_ms, amount_added, refused_pointer, ending = 0, 0, None, UNDISTURBED
    for fault in dict.fromkeys(entry.partition(":")[2] for entry in entries):
        if slow := _SLOW.fullmatch(fault):
            slow_ms = min(slow_ms + int(slow[1]), SLOW_MS_MAX)
        if refuse := _REFUSE.fullmatch(fault):
            refused_pointer = refused_pointer or refuse[1]
        plan = _PLAN_BY_FAULT.get(fault, UNDISTURBED)
        amount_added = amount_added or plan.amount_added
        if ending.ending is Ending.ANSWER:
            ending = plan
    return Plan(
        slow_ms=slow_ms,
        executes=ending.executes,
        amount_added=amount_added,
        ending=ending.ending,
        refused_pointer=refused_pointer,
        entries=tuple(entries),
        unmade=any(_PLAN_BY_FAULT.get(fault, UNDISTURBED).unmade for fault in _faults_of(entries)),
    )


def _faults_of(entries: Iterable[str]) -> list[str]:
    return [entry.partition(":")[2] for entry in entries]


def authorizes_only(entries: Iterable[str]) -> bool:
    """Whether an automatic authorization is not captured with it."""
    return any(entry.partition(":")[2] == _AUTHORIZED_ONLY for entry in entries)


def script(entries: Iterable[str]) -> list[Scripted]:
    """What is to come by itself, in the order given; the same may come several times."""
    found = (_LATER.fullmatch(entry.partition(":")[2]) for entry in entries)
    return [Scripted(Deed(each[1] or each[3]), int(each[2] or 0)) for each in found if each]


def disputes(entries: Iterable[str]) -> list[tuple[str, int | None]]:
    """Reason and amount of the disputes to come, in the order given. No amount: all that was captured."""
    found = (_DISPUTE.fullmatch(entry.partition(":")[2]) for entry in entries)
    return [(each[1], int(each[2]) if each[2] else None) for each in found if each]


def _is_possible(fault: str) -> bool:
    """Whether the fault is a deed with a number that it can have."""
    found = script([f":{fault}"])
    if not found:
        return False
    (later,) = found
    match later.deed:
        case Deed.FOREIGN_REFUND:
            return 1 <= later.number <= FOREIGN_AMOUNT_MAX
        case _:
            return later.number <= SCRIPTED_S_MAX

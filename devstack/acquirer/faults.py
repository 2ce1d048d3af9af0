"""Faults a request may ask for, fully qualified: `<operation>:<fault>`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

OPERATIONS = ("authorize", "capture", "void", "refund", "inquire", "reverse")
SLOW_MS_MAX = 60_000


class Ending(StrEnum):
    """How the request ends for whoever sent it."""

    ANSWER = "answer"
    TIMEOUT = "timeout"  # no answer: the connection is held, then closed
    RESET = "reset"  # no answer: TCP RST
    ERROR = "error"  # HTTP 500
    GARBAGE = "garbage"  # HTTP 200, a body that is not JSON


@dataclass(frozen=True, slots=True)
class Plan:
    """What the faults that fired do to one request."""

    slow_ms: int = 0
    executes: bool = True
    amount_added: int = 0
    ending: Ending = Ending.ANSWER


UNDISTURBED = Plan()

_PLAN_BY_FAULT = {
    "timeout_after_charge": Plan(ending=Ending.TIMEOUT),
    "timeout_before_charge": Plan(ending=Ending.TIMEOUT, executes=False),
    "error_after_charge": Plan(ending=Ending.ERROR),
    "reset_after_charge": Plan(ending=Ending.RESET),
    "garbage": Plan(ending=Ending.GARBAGE),
    "amount_mismatch": Plan(amount_added=1),
}
_SLOW = re.compile(r"slow:(\d{1,9})")


def is_known(entry: str) -> bool:
    """Whether `entry` names an operation and a fault that exist."""
    operation, _, fault = entry.partition(":")
    return operation in OPERATIONS and (fault in _PLAN_BY_FAULT or _SLOW.fullmatch(fault) is not None)


def plan_for(entries: Sequence[str]) -> Plan:
    """One plan for all entries that fired on a request: waits add up (to 60 s), the first ending holds."""
    slow_ms, amount_added, ending = 0, 0, UNDISTURBED
    for entry in entries:
        fault = entry.partition(":")[2]
        slow = _SLOW.fullmatch(fault)
        if slow:
            slow_ms = min(slow_ms + int(slow[1]), SLOW_MS_MAX)
            continue
        plan = _PLAN_BY_FAULT[fault]
        amount_added = amount_added or plan.amount_added
        if ending.ending is Ending.ANSWER:
            ending = plan
    return Plan(slow_ms=slow_ms, executes=ending.executes, amount_added=amount_added, ending=ending.ending)

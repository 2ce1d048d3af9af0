"""The decisions that the model asks for: the domain's own, each of which a mutant may replace.

The domain's functions take rows; here are small projections of rows, so that every answer is worked out once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cache

from payonce.domain import claiming, settlement
from payonce.domain.claiming import CLOCK_SKEW, CommitEnd, Release
from payonce.domain.facts import (
    DeclineCode,
    Declined,
    Fact,
    FailureCode,
    NotProcessed,
    Reversed,
    Unknown,
    Unsent,
)
from payonce.domain.operations import Attempt, AttemptState, Operation, OperationStatus
from payonce.domain.payment import Payment, PaymentStatus
from tests.explorer.world import Claim, Row
from tests.support.rows import NOW, approval, attempt, operation, payment

CALL_DEADLINE_S, FINALITY_S = 10.0, 60.0
_OPERATION = operation()
_PAYMENTS: dict[str, Payment] = {
    OperationStatus.PENDING: payment(PaymentStatus.INIT),
    OperationStatus.SUCCEEDED: payment(PaymentStatus.AUTHORIZED),
    OperationStatus.FAILED: payment(PaymentStatus.FAILED),
}
FACTS: dict[str, Fact] = {
    "approved": approval(_OPERATION),
    "declined": Declined(DeclineCode.GENERIC_DECLINE),
    "reversed": Reversed(),
    "not_processed": NotProcessed(FailureCode.NOT_PROCESSED),
    "unknown": Unknown("time-out"),
    "unsent": Unsent(),
}


@cache
def attempt_of(state: str, number: int, token: object) -> Attempt:
    return attempt(_OPERATION, AttemptState(state), number=number, token=str(token))


@cache
def operation_of(status: str) -> Operation:
    return operation(status=OperationStatus(status))


@cache
def _now(age: int) -> timedelta:
    """How long after its `send_before` a claim of this age is looked at."""
    final = timedelta(seconds=CALL_DEADLINE_S + FINALITY_S)
    return (timedelta(seconds=-1), CLOCK_SKEW, CLOCK_SKEW + final)[age]


@cache
def commit_end(*, warned: bool, late: bool, gate_open: bool) -> CommitEnd:
    took_s = claiming.COMMIT_ANSWER_S + 1 if late else 0.0
    return claiming.commit_end(warned=warned, took_s=took_s, gate_open=gate_open)


@cache
def next_number(latest: Row | None, count: int, pending: bool) -> int | None:
    found = None if latest is None else attempt_of(latest.state, count, latest.token)
    return claiming.next_number(found, pending=pending, has_data=True)


@cache
def release(latest: Row | None, count: int, number: int, token: object) -> Release:
    found = None if latest is None else attempt_of(latest.state, count, latest.token)
    return claiming.release(found, number=number, token=str(token))


@cache
def owner_may_send(row: Row, age: int) -> bool:
    found = attempt_of(row.state, 1, row.token)
    return claiming.owner_may_send(found, found.send_before + _now(age))


@cache
def not_found_proves(row: Row, age: int) -> bool:
    found = attempt_of(row.state, 1, row.token)
    now = found.send_before + _now(age)
    return claiming.not_found_proves(found, now, call_deadline_s=CALL_DEADLINE_S, finality_s=FINALITY_S)


@cache
def reversal_may_begin(row: Row, token: int) -> bool:
    return claiming.reversal_may_begin(attempt_of(row.state, 1, row.token), token=str(token))


class AfterRelease(StrEnum):
    """What a request may say of itself once its release has ended; `payonce.claims.Releases` and `give_back`."""

    FREE = "free"  # 503: it is never charged, and the key goes on
    HELD = "held"  # 409: another attempt of the key stands
    UNPROVEN = "unproven"  # 504: the release is made again


def after_release(found: Release, end: CommitEnd) -> AfterRelease:
    """A claim that was never held needs no COMMIT: it was looked for under the lock of its own transaction."""
    if not found.unsent:
        return AfterRelease.HELD
    return AfterRelease.FREE if found is Release.NEVER_HELD or end.proves else AfterRelease.UNPROVEN


@cache
def concerns(row: Row, fact: str, token: int) -> bool:
    """Whether what was found out about the claim with this token may be recorded in the row."""
    return settlement.concerns(attempt_of(row.state, 1, row.token), FACTS[fact], token=str(token))


@cache
def settle(status: str, state: str, fact: str) -> tuple[str, str, bool]:
    """The operation's status, the attempt's state, and whether it succeeded too late."""
    before = attempt_of(state, 1, 0)
    settled = settlement.settle(_PAYMENTS[status], operation_of(status), before, FACTS[fact], now=NOW)
    assert settled.attempt is not None
    return settled.operation.status.value, settled.attempt.state.value, settled.late


@cache
def begun_reversal(state: str) -> str:
    marked = settlement.begin_reversal(attempt_of(state, 1, 0), code=FailureCode.NOT_PROCESSED)
    return marked.state.value


@dataclass(frozen=True, slots=True)
class Rules:
    """What a process decides. The defaults are the domain's; a mutant replaces one."""

    commit_end: Callable[..., CommitEnd] = commit_end
    run_commit_end: Callable[..., CommitEnd] = commit_end
    grants: Callable[[CommitEnd, bool], bool] = lambda end, holds: end.proves
    recorded: Callable[[CommitEnd], bool] = lambda end: end.proves
    marked: Callable[[CommitEnd], bool] = lambda end: end.proves
    next_number: Callable[[Row | None, int, bool], int | None] = next_number
    release: Callable[[Row | None, int, int, object], Release] = release
    # By which a release knows its claim.
    identity: Callable[[int, Claim], object] = lambda token, claim: token
    after_release: Callable[[Release, CommitEnd], AfterRelease] = after_release
    owner_may_send: Callable[[Row, int], bool] = owner_may_send
    right_holds: Callable[[int], bool] = lambda age: age == 0
    not_found_proves: Callable[[Row, int], bool] = not_found_proves
    reversal_may_begin: Callable[[Row, int], bool] = reversal_may_begin
    concerns: Callable[[Row, str, int], bool] = concerns
    settle: Callable[[str, str, str], tuple[str, str, bool]] = settle
    barrier_proves: Callable[[bool], bool] = lambda same_timeline: same_timeline
    pops_right: bool = True  # before the first byte, and before a release
    waits_for_lock: bool = True  # a release looks for its row with the key locked
    replay_needs_barrier: bool = True
    marks_before_reversal: bool = True
    marks_again: bool = True  # a mark that was only read, and may be on this server only
    reverses_the_latest: bool = False  # once its own time is over, instead of the claim that was not found
    late_needs_proof: bool = True  # a late success is reversed once its record is proven
    runs_gated: bool = True
    sweeper_restarts: frozenset[str] = frozenset({"failed", "completed"})

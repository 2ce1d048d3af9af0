"""The old rules, put back one at a time, each with the smallest bounds in which it does harm."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from payonce.domain.claiming import CommitEnd, Release
from payonce.domain.operations import AttemptState, OperationStatus
from tests.explorer import rules
from tests.explorer.rules import AfterRelease, Rules
from tests.explorer.setting import Setting
from tests.explorer.settings import NONE
from tests.explorer.world import Row

DOMAIN = Rules()


@dataclass(frozen=True, slots=True)
class Mutant:
    """Rules of which one is wrong, where that shows, and which invariant it breaks there."""

    rules: Rules
    setting: Setting
    breaks: str


def _later_overwrites(status: str, state: str, fact: str) -> tuple[str, str, bool]:
    if fact in ("approved", "declined", "not_processed", "reversed"):
        return rules.settle(OperationStatus.PENDING.value, AttemptState.UNKNOWN.value, fact)
    return rules.settle(status, state, fact)


def _early(row: Row, age: int) -> bool:
    return rules.not_found_proves(row, 2)


def _earlier_is_ours(latest: Row | None, count: int, number: int, token: object) -> Release:
    return Release.NEVER_HELD if count < number else rules.release(latest, count, number, token)


def _free_for_held(found: Release, end: CommitEnd) -> AfterRelease:
    return AfterRelease.FREE if found is Release.OTHERS else DOMAIN.after_release(found, end)


def _unproven_is_free(found: Release, end: CommitEnd) -> AfterRelease:
    said = DOMAIN.after_release(found, end)
    return AfterRelease.FREE if said is AfterRelease.UNPROVEN else said


def _ungated(*, warned: bool, late: bool, gate_open: bool) -> CommitEnd:
    return rules.commit_end(warned=warned, late=False, gate_open=True)


def _any_claim(row: Row, token: int) -> bool:
    return rules.reversal_may_begin(row, row.token)


AWAY = Setting(link="down", left=NONE._replace(cuts=1, fail_overs=1))
TWICE = replace(AWAY, aside=("I2", "I3", "I4", "I5"))  # what is looked for is the double charge itself
CALM = Setting(left=NONE)

MUTANTS: Mapping[str, Mutant] = {
    "a right is read back after a cancelled wait": Mutant(
        replace(DOMAIN, grants=lambda end, holds: end.proves or holds), TWICE, "I1"
    ),
    "a right is granted by a COMMIT with a warning": Mutant(
        replace(DOMAIN, grants=lambda end, holds: end.proves or end is CommitEnd.WARNED), TWICE, "I1"
    ),
    "a right is not popped": Mutant(replace(DOMAIN, pops_right=False), CALM, "I"),
    "the deadline is not looked at": Mutant(replace(DOMAIN, right_holds=lambda age: True), CALM, "I"),
    "a release compares the boot id": Mutant(
        replace(DOMAIN, identity=lambda token, claim: claim.boot),
        replace(TWICE, requests="AAA"),
        "I1",
    ),
    "NOT_FOUND counts before finality": Mutant(replace(DOMAIN, not_found_proves=_early), CALM, "I5"),
    "NOT_FOUND counts before finality, no reversal": Mutant(
        replace(DOMAIN, not_found_proves=_early), replace(CALM, reverses=False), "I5"
    ),
    "NOT_FOUND of another claim marks a reversal": Mutant(
        replace(DOMAIN, reversal_may_begin=_any_claim), AWAY, "I5"
    ),
    "a reversal is of whichever claim is the latest": Mutant(
        replace(DOMAIN, reverses_the_latest=True), CALM, "I5"
    ),
    "NOT_FOUND of another claim is recorded": Mutant(
        replace(DOMAIN, concerns=lambda row, fact, token: True), replace(AWAY, reverses=False), "I5"
    ),
    "a later fact overwrites": Mutant(
        replace(DOMAIN, settle=_later_overwrites), Setting(left=NONE._replace(stops=1)), "I5"
    ),
    "a reversal without a mark": Mutant(
        replace(DOMAIN, marks_before_reversal=False), Setting(left=NONE._replace(stops=1)), "I5"
    ),
    "a reversal on a mark that is not proven": Mutant(
        replace(DOMAIN, marked=lambda end: True),
        Setting("A", left=NONE._replace(dies=1, cuts=1, fail_overs=1, stops=1)),
        "I5",
    ),
    "a reversal on a mark that was only read": Mutant(
        replace(DOMAIN, marks_again=False),
        Setting("A", left=NONE._replace(dies=1, cuts=1, fail_overs=1, stops=1)),
        "I5",
    ),
    "a late success is reversed on what was only read": Mutant(
        replace(DOMAIN, late_needs_proof=False),
        Setting("A", left=NONE._replace(dies=1, cuts=2, fail_overs=1, stops=1)),
        "I",
    ),
    "an answer before its recording is proven": Mutant(
        replace(DOMAIN, recorded=lambda end: True),
        Setting("A", left=NONE._replace(dies=1, cuts=1, fail_overs=1, stops=1)),
        "I5",
    ),
    "a replay without a barrier": Mutant(
        replace(DOMAIN, replay_needs_barrier=False),
        replace(
            AWAY, requests="AAB", reverses=False, impatient=False, left=NONE._replace(cuts=2, fail_overs=1)
        ),
        "I5",
    ),
    "a replay after a COMMIT on another server": Mutant(
        replace(DOMAIN, barrier_proves=lambda same_timeline: True),
        replace(
            AWAY, requests="AAB", reverses=False, impatient=False, left=NONE._replace(cuts=2, fail_overs=1)
        ),
        "I5",
    ),
    "a release takes an earlier attempt for its own": Mutant(
        replace(DOMAIN, release=_earlier_is_ours),
        replace(AWAY, requests="AAB", left=NONE._replace(cuts=2, fail_overs=1)),
        "I2",
    ),
    "claims of runs are not gated": Mutant(
        replace(DOMAIN, run_commit_end=_ungated, runs_gated=False),
        Setting(link="down", left=NONE._replace(cuts=2, fail_overs=1, empties=1), runs_claim=True),
        "I",
    ),
    "a COMMIT that waited is granted when the names are emptied": Mutant(
        replace(DOMAIN, commit_end=_ungated),
        Setting(link="down", left=NONE._replace(fail_overs=1, empties=1)),
        "I",
    ),
    "a missing row counts as released": Mutant(
        replace(DOMAIN, waits_for_lock=False), replace(AWAY, left=NONE._replace(unheard=1, returns=1)), "I"
    ),
    "503 where another attempt stands": Mutant(replace(DOMAIN, after_release=_free_for_held), AWAY, "I2"),
    "503 before the release is proven": Mutant(
        replace(DOMAIN, after_release=_unproven_is_free),
        replace(AWAY, left=NONE._replace(dies=1, cuts=1, fail_overs=1), link="up"),
        "I",
    ),
    "the sweeper restarts only what failed": Mutant(
        replace(DOMAIN, sweeper_restarts=frozenset({"failed"})),
        Setting("A", left=NONE._replace(dies=1, cuts=1, fail_overs=1)),
        "I3",
    ),
}

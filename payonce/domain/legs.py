"""The second leg: our call with what the customer brought back, where that call may move the money.

The attempt stays the operation's latest and stays waiting. A leg is claimed as an attempt is, under the payment's
lock, and is sent once; only where the acquirer replays it, it is sent again with the same key.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from payonce.domain.claiming import CLOCK_SKEW
from payonce.domain.operations import Attempt, AttemptState


class LegState(StrEnum):
    CLAIMED = "claimed"  # its owner may send, until `send_before`
    NOT_SENT = "not_sent"  # its owner says that nothing was sent
    UNKNOWN = "unknown"  # it may have been processed
    INVALID = (
        "invalid"  # the acquirer did nothing: it does not know what was sent, or wants the customer once more
    )
    DONE = "done"  # the acquirer answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One row of `legs`."""

    number: int  # of the return whose parameters it sends
    owner: str
    token: str  # of the run that claimed it
    send_before: datetime  # database time
    state: LegState


@dataclass(frozen=True, slots=True)
class EndedLeg:
    """How one claim of a leg ended. Where another claim has replaced it, that says nothing."""

    number: int
    token: str
    state: LegState


@dataclass(frozen=True, slots=True)
class Brought:
    """A set of parameters that a browser brought back, and the leg that sent it, if one did."""

    number: int
    leg: Leg | None = None


def due(
    attempt: Attempt, brought: Sequence[Brought], *, replays: bool, call_deadline_s: float, now: datetime
) -> int | None:
    """The number of the leg that a run may claim now; None: none may.

    `brought`: every set of the attempt, in order. `replays`: whether the acquirer answers a leg that is sent again
    as it answered it first. One that it calls invalid makes room for the next set.
    """
    if not waits_for_leg(attempt):
        return None
    for one in brought:
        if one.leg is None:
            return one.number
        match one.leg.state:
            case LegState.INVALID:
                continue
            case LegState.NOT_SENT:
                return one.number
            case LegState.UNKNOWN:
                return one.number if replays else None
            case LegState.CLAIMED:
                over = now >= one.leg.send_before + CLOCK_SKEW + timedelta(seconds=call_deadline_s)
                return one.number if replays and over else None
            case LegState.DONE:
                return None
            case _:
                assert_never(one.leg.state)
    return None


def waits_for_leg(attempt: Attempt) -> bool:
    """Whether a customer who comes back lets us go on: they have time, and nobody has given the attempt up."""
    waits = attempt.state is AttemptState.WAITING and attempt.completes == "resume"
    return waits and not attempt.abandoned


def moves_nothing(attempt: Attempt, *, legs_move_money: bool, claimed: bool) -> bool:
    """Whether nothing of the attempt can have moved, or ever will: only a leg could, and none was or will be claimed.

    `legs_move_money`: as in the acquirer's capabilities. `claimed`: whether a leg ever was, looked at after the
    attempt had ceased to wait.
    """
    return legs_move_money and attempt.completes == "resume" and attempt.left_alone and not claimed

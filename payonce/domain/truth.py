"""How it becomes known what an acquirer made of an attempt whose answer was lost, or is still to come."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, assert_never

from payonce.domain.claiming import owner_may_send
from payonce.domain.operations import Attempt, AttemptState, OperationKind

CLOSES_EARLY_MAX: Final = timedelta(days=1)
CLOSES_EARLY_PART: Final = 6  # of a day's window 4 hours are left alone
MODIFICATIONS: Final = frozenset({OperationKind.CAPTURE, OperationKind.VOID, OperationKind.REFUND})
"""What holds nothing secret, so that anyone may send it again."""


class Truth(StrEnum):
    """Who says what became of an operation, by its kind."""

    INQUIRY = "inquiry"  # the acquirer, when it is asked: a callback only makes us ask
    REPLAY = "replay"  # the same request again, with the same key and body; or a callback
    CALLBACK = "callback"  # a callback alone

    @property
    def is_told(self) -> bool:
        """Whether what a verified callback says of it is a fact. Nobody can be asked then: nothing is not found."""
        match self:
            case Truth.INQUIRY:
                return False
            case Truth.REPLAY | Truth.CALLBACK:
                return True
            case _:
                assert_never(self)


def closes_early(window_s: float) -> timedelta:
    """How long before the acquirer's window closes nothing is replayed any more: a sixth of it, and a day at most."""
    return min(CLOSES_EARLY_MAX, timedelta(seconds=window_s) / CLOSES_EARLY_PART)


def window_open(since: datetime, now: datetime, *, window_s: float) -> bool:
    """Whether what was first sent at `since` or later is certain to be answered as it was then."""
    return now < since + timedelta(seconds=window_s) - closes_early(window_s)


def in_doubt(attempt: Attempt) -> bool:
    """Whether the acquirer may have processed it without our knowing; what it has accepted it tells by itself."""
    return attempt.state in (AttemptState.CLAIMED, AttemptState.UNKNOWN)


def anyone_may_replay(attempt: Attempt, now: datetime, *, window_s: float) -> bool:
    """Whether a run that does not own the claim may send the same request again.

    Not while the owner may still send, or say that nothing was sent.
    """
    waits = owner_may_send(attempt, now)
    return in_doubt(attempt) and not waits and window_open(attempt.claimed_at, now, window_s=window_s)

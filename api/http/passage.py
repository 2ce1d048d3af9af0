"""Where a payment's time goes: how long each stage of its request took, so that a slow one says whose it was."""

import time
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from payonce.logging import get_logger
from payonce.metrics import STAGE_SECONDS

TOLD_EVERY_S: Final = 1.0

Clock = Callable[[], float]

log = get_logger(__name__)


class RequestStage(StrEnum):
    """What a request of money passes, in this order."""

    READ = "read"  # who asks, and its body
    PLACE = "place"  # it waits until there is one
    RISK = "risk"  # the decision before money moves, and a number put into the vault
    ADMIT = "admit"  # the transaction that decides what its key means
    START = "start"  # Temporal takes a create or a refund over
    TASK = "task"  # its workflow runs until the acquirer is called, or has been by another process
    CALL = "call"  # the acquirer has it: none of our own time
    RECORD = "record"  # what the acquirer said is committed, and the request knows
    ANSWER = "answer"  # it is rendered and sent


_SECONDS: Final = {stage: STAGE_SECONDS.labels(stage) for stage in RequestStage}


class Passage:
    """One request's way through the stages. Each `end` gives the time since the last one to the stage that ended."""

    __slots__ = ("_called", "_calls", "_clock", "_since", "outcome_known", "spent_s")

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        self.spent_s: dict[RequestStage, float] = {}
        self.outcome_known = False
        self._clock = clock
        self._since = clock()
        self._calls, self._called = 0, False

    @property
    def own_s(self) -> float:
        """All that is not the acquirer's."""
        return sum(self.spent_s.values()) - self.spent_s.get(RequestStage.CALL, 0.0)

    def end(self, stage: RequestStage) -> None:
        """The stage has ended, for now: one that is passed again adds to what it took before."""
        now = self._clock()
        self.spent_s[stage] = self.spent_s.get(stage, 0.0) + now - self._since
        self._since = now

    def handed_over(self) -> None:
        """Temporal has it. For a capture or a void that is known with the outcome only: all is `TASK` there."""
        if not self._called and not self.outcome_known:
            self.end(RequestStage.START)

    def call_begun(self) -> None:
        """The acquirer is called in this process."""
        if self._calls == 0 and not self.outcome_known:
            self.end(RequestStage.TASK)
        self._calls, self._called = self._calls + 1, True

    def call_ended(self) -> None:
        """The acquirer has answered, or did not in time."""
        self._calls -= 1
        if self._calls == 0 and not self.outcome_known:
            self.end(RequestStage.CALL)

    def know_outcome(self) -> None:
        """The request waits no longer: there is an outcome, or it is answered that there is none yet."""
        self.end(
            RequestStage.CALL if self._calls else RequestStage.RECORD if self._called else RequestStage.TASK
        )
        self.outcome_known = True


class Passages:
    """Tells of those that ended. One whose own time was over `slow_s` is in the log, one a second at most."""

    def __init__(self, *, slow_s: float, clock: Clock = time.monotonic) -> None:
        self._slow_s = slow_s
        self._clock = clock
        self._quiet_until = clock()
        self._untold = 0

    def ended(self, passage: Passage) -> None:
        """Its response was sent. One that admitted nothing (a replay, a refusal) is not counted."""
        if not passage.outcome_known:
            return
        passage.end(RequestStage.ANSWER)
        for stage, seconds in passage.spent_s.items():
            _SECONDS[stage].observe(seconds)
        if passage.own_s > self._slow_s:
            self._tell(passage)

    def _tell(self, passage: Passage) -> None:
        now = self._clock()
        if now < self._quiet_until:
            self._untold += 1
            return
        stages = {f"{stage}_ms": round(seconds * 1000, 1) for stage, seconds in passage.spent_s.items()}
        log.info("payment_was_slow", own_ms=round(passage.own_s * 1000, 1), untold=self._untold, **stages)
        self._quiet_until, self._untold = now + TOLD_EVERY_S, 0

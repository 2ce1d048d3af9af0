"""How many attempts one process makes at a time at each endpoint: one, if it let the last one time out."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from payonce.webhooks.delivery import Attempt, Failed, Reason

SLOW_MAX: Final = 1_000  # endpoints that are remembered as slow


@dataclass
class Rooms:
    """The attempts under way by endpoint, `each` of one at most."""

    each: int
    _busy: Counter[str] = field(default_factory=Counter)
    _slow: set[str] = field(default_factory=set)

    @contextmanager
    def taken(self, endpoint_id: str) -> Iterator[None]:
        """One more attempt is under way at the endpoint while the block runs."""
        self.take(endpoint_id)
        try:
            yield
        finally:
            self.leave(endpoint_id)

    def take(self, endpoint_id: str) -> None:
        self._busy[endpoint_id] += 1

    def leave(self, endpoint_id: str) -> None:
        self._busy[endpoint_id] -= 1
        if self._busy[endpoint_id] <= 0:
            del self._busy[endpoint_id]

    def free(self) -> Mapping[str, int]:
        """For the endpoints that do not have all their room free: how many more attempts they may have."""
        slots = dict.fromkeys(self._busy, self.each) | dict.fromkeys(self._slow, 1)
        return {endpoint_id: allowed - self._busy[endpoint_id] for endpoint_id, allowed in slots.items()}

    def has(self, endpoint_id: str) -> bool:
        """Whether the endpoint may have one more attempt."""
        return self._busy[endpoint_id] < (1 if endpoint_id in self._slow else self.each)

    def judge(self, endpoint_id: str, attempt: Attempt) -> None:
        """An endpoint is slow from an attempt that timed out to one that did not."""
        if not isinstance(attempt.result, Failed) or attempt.result.error is not Reason.TIMED_OUT:
            self._slow.discard(endpoint_id)
        elif len(self._slow) < SLOW_MAX:
            self._slow.add(endpoint_id)

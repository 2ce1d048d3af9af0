"""How many attempts one process makes at a time at each endpoint: one, if it let the last one time out.

An endpoint that takes long, or times out, is slow: what it costs is limited for all slow ones together.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from payonce.webhooks.attempt import DeliveryAttempt, Failed, Reason

SLOW_MAX: Final = 1_000  # endpoints that are remembered as slow
SLOW_S: Final = 1.0  # an attempt that takes longer makes its endpoint slow


@dataclass
class Rooms:
    """The attempts under way by endpoint, `each` of one at most."""

    each: int
    _busy: Counter[str] = field(default_factory=Counter)
    _slow: dict[str, bool] = field(default_factory=dict)  # whether the last attempt timed out

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

    @property
    def slow(self) -> Set[str]:
        """The endpoints whose last attempt took longer than `SLOW_S`, or timed out."""
        return self._slow.keys()

    def free(self) -> Mapping[str, int]:
        """For the endpoints that do not have all their room free: how many more attempts they may have."""
        slots = dict.fromkeys(self._busy, self.each) | dict.fromkeys(filter(self.hung, self._slow), 1)
        return {endpoint_id: allowed - self._busy[endpoint_id] for endpoint_id, allowed in slots.items()}

    def has(self, endpoint_id: str) -> bool:
        """Whether the endpoint may have one more attempt."""
        return self._busy[endpoint_id] < (1 if self.hung(endpoint_id) else self.each)

    def hung(self, endpoint_id: str) -> bool:
        """Whether the endpoint let its last attempt time out."""
        return self._slow.get(endpoint_id, False)

    def judge(self, endpoint_id: str, attempt: DeliveryAttempt) -> None:
        """An endpoint is slow, or hung, from an attempt that was to one that was not."""
        timed_out = isinstance(attempt.result, Failed) and attempt.result.error is Reason.TIMED_OUT
        if not timed_out and attempt.duration_ms <= SLOW_S * 1_000:
            self._slow.pop(endpoint_id, None)
        elif endpoint_id in self._slow or len(self._slow) < SLOW_MAX:
            self._slow[endpoint_id] = timed_out

"""The attempts that a relay has under way, and how many more of which endpoints it may take.

An endpoint is slow while an attempt at it lasts, or its last one lasted, longer than `SLOW_S`. Attempts at slow
endpoints give their slots back to the others and share places of their own, half as many: whoever hangs can keep
others from slots for about `SLOW_S`, however many hang.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from payonce.clock import boot_clock_s
from payonce.storage.webhooks.completions import Lease
from payonce.storage.webhooks.queue import Lane
from payonce.webhooks.attempt import DeliveryAttempt
from payonce.webhooks.endpoint_limits import SLOW_S, Rooms

UNDER_WAY_FACTOR_MAX: Final = 2  # attempts in all, of the slots of a lane: memory and file descriptors
CROWDED_ROOM_FACTOR: Final = 8  # of an endpoint's room, while as many hang as may be slow


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one relay does at a time. First attempts and retries never take each other's slots."""

    slots: int = 256
    retry_slots: int = 64
    slots_per_endpoint: int = 32
    lease_s: float = 30.0

    def of(self, lane: Lane) -> int:
        return self.slots if lane is Lane.FIRST else self.retry_slots


@dataclass(frozen=True, slots=True)
class UnderWay:
    """One attempt, since when."""

    lease: Lease
    began_s: float

    @property
    def lane(self) -> Lane:
        return Lane.AGAIN if self.lease.attempts else Lane.FIRST


@dataclass(frozen=True, slots=True)
class Share:
    """How much of a lane may be taken: `limit` in all, of an endpoint `room_each` or what `rooms` says."""

    limit: int
    room_each: int
    rooms: Mapping[str, int]


class Slots:
    """What is under way, by task."""

    def __init__(self, limits: Limits, *, clock_s: Callable[[], float] = boot_clock_s) -> None:
        self._limits = limits
        self._clock_s = clock_s
        self._rooms = Rooms(limits.slots_per_endpoint)
        self._under_way: dict[asyncio.Task[None], UnderWay] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    @property
    def tasks(self) -> list["asyncio.Task[None]"]:
        return list(self._under_way)

    @property
    def leases(self) -> list[Lease]:
        return [each.lease for each in self._under_way.values()]

    @property
    def crowded(self) -> bool:
        """Whether first attempts wait for a slot, which slow ones may give back without ending."""
        return self._free(Lane.FIRST, self._slow()) <= 0

    def add(self, task: "asyncio.Task[None]", lease: Lease) -> None:
        """The attempt has its slot until `remove`."""
        self._under_way[task] = UnderWay(lease, self._clock_s())
        self._rooms.take(lease.endpoint_id)

    def remove(self, task: "asyncio.Task[None]") -> None:
        self._rooms.leave(self._under_way.pop(task).lease.endpoint_id)

    def judge(self, endpoint_id: str, attempt: DeliveryAttempt) -> None:
        """What the attempt says about the endpoint counts from now on."""
        self._rooms.judge(endpoint_id, attempt)

    def shares(self, lane: Lane, taken: Counter[str]) -> Iterator[Share]:
        """What may be taken of the lane: first of those that are not slow, then of the slow.

        `taken`: by endpoint, what was taken since the last `add`; both lanes share an endpoint's room.
        """
        slow, each = self._slow(), self._limits.slots_per_endpoint
        free = {**self._rooms.free()}
        for endpoint_id, count in taken.items():
            free[endpoint_id] = free.get(endpoint_id, each) - count
        quick = self._free(lane, slow)
        if quick > 0:
            yield Share(quick, self._room_each(lane, slow), free | dict.fromkeys(slow, 0))
        rest = min(self._slow_max(lane) - self._at(lane, slow), self._left(lane))
        if slow and rest > 0:
            yield Share(rest, 0, {endpoint_id: free.get(endpoint_id, each) for endpoint_id in slow})

    def _slow(self) -> set[str]:
        before_s = self._clock_s() - SLOW_S
        lasting = {one.lease.endpoint_id for one in self._under_way.values() if one.began_s < before_s}
        return lasting | self._rooms.slow

    def _free(self, lane: Lane, slow: set[str]) -> int:
        """Slots for endpoints that are not slow."""
        quick = self._count(lane) - self._at(lane, slow)
        return min(self._limits.of(lane) - quick, self._left(lane))

    def _left(self, lane: Lane) -> int:
        return self._limits.of(lane) * UNDER_WAY_FACTOR_MAX - self._count(lane)

    def _slow_max(self, lane: Lane) -> int:
        return max(self._limits.of(lane) // 2, 1)

    def _room_each(self, lane: Lane, slow: set[str]) -> int:
        each = self._limits.slots_per_endpoint
        crowded = self._at(lane, slow) >= self._slow_max(lane)
        return max(each // CROWDED_ROOM_FACTOR, 1) if crowded else each

    def _count(self, lane: Lane) -> int:
        return sum(one.lane is lane for one in self._under_way.values())

    def _at(self, lane: Lane, endpoint_ids: set[str]) -> int:
        under_way = self._under_way.values()
        return sum(one.lane is lane and one.lease.endpoint_id in endpoint_ids for one in under_way)

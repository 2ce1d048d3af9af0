"""Token buckets: in memory, and leased in chunks."""

import asyncio
from dataclasses import dataclass, field

from redis.exceptions import ConnectionError as RedisAway

from api.http.rate_limits import LEASED_S, WITHOUT_REDIS_S, Bucket, Purse, Rate


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Fleet:
    """The bucket of the fleet, as Redis would keep it; `away` says that nobody answers."""

    tokens: int
    away: bool = False
    leases: list[int] = field(default_factory=list)

    async def lease(self, wanted: int) -> tuple[int, float]:
        self.leases.append(wanted)
        if self.away:
            raise RedisAway("away")
        await asyncio.sleep(0)
        given = min(wanted, self.tokens)
        self.tokens -= given
        return given, 0.5


RATE = Rate(200, 1_000)


def a_purse(fleet: Fleet, clock: Clock, *, rate: Rate = RATE) -> Purse:
    """One of two processes."""
    return Purse(rate, 0.5, fleet.lease, clock)


async def granted(purse: Purse, count: int) -> int:
    return (await asyncio.gather(*(purse.take() for _ in range(count)))).count(0.0)


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = Bucket(Rate(10, 3), now=0.0)
    assert [bucket.take(0.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.1]
    assert bucket.take(0.1) == 0.0
    assert bucket.take(0.1) > 0.0
    assert [bucket.take(60.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert bucket.take(60.0) > 0.0


async def test_a_lease_serves_many_requests() -> None:
    fleet, chunk = Fleet(1_000), int(200 * LEASED_S)
    purse = a_purse(fleet, Clock())
    for _ in range(2 * chunk):
        assert await purse.take() == 0.0
    assert fleet.leases == [chunk, chunk]


async def test_requests_at_once_share_one_lease_that_is_large_enough() -> None:
    fleet = Fleet(1_000)
    assert await granted(a_purse(fleet, Clock()), 40) == 40
    assert fleet.leases == [40]


async def test_an_empty_bucket_refuses_without_asking_again_until_there_is_more() -> None:
    fleet, clock = Fleet(5), Clock()
    purse = a_purse(fleet, clock)
    assert await granted(purse, 8) == 5
    assert await purse.take() == 0.5
    assert len(fleet.leases) == 1
    fleet.tokens, clock.now = 100, clock.now + 0.5
    assert await purse.take() == 0.0


async def test_without_redis_a_process_grants_its_share() -> None:
    fleet, clock = Fleet(1_000, away=True), Clock()
    purse = a_purse(fleet, clock, rate=Rate(10, 20))
    assert await granted(purse, 15) == 10
    assert len(fleet.leases) == 1
    fleet.away, clock.now = False, clock.now + WITHOUT_REDIS_S
    assert await granted(purse, 15) == 15

"""How often a merchant may ask: a token bucket for what writes and one for what reads. And one for each connector,
for what its acquirer tells.

The bucket of the fleet is in Redis, which may be lost. Asking it for every payment would cost a round trip each,
so a process leases tokens in chunks, 50 ms of the full rate at a time, and spends them from memory. Leased tokens
are gone from the fleet's bucket whether spent or not, so a merchant never gets more than rate and burst. While
Redis does not answer, each process grants its share of the rate (`PAYONCE_RATE_SHARE`) from a bucket of its own:
nobody is refused because Redis is away, and no payment waits for it longer than `LEASE_WITHIN_S` a second.

Source: "Scaling your API with rate limiters" (Stripe, 2017): request, concurrency and load limits are three
things; this is the first.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from payonce.domain.errors import PaymentError
from payonce.logging import get_logger
from payonce.metrics import REFUSED
from payonce.settings import Settings
from payonce.storage.merchants import Caller

LEASED_S = 0.05  # of the full rate, in one lease
LEASE_WITHIN_S = 0.05
LEASES_MAX = 3  # that one request waits for
WITHOUT_REDIS_S = 1.0  # between two attempts to reach it
MERCHANTS_MAX = 10_000  # remembered; the one not heard of for the longest time is forgotten
KEY = "payonce:rate"

_LEASE: Final = """
local rate, burst, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(kept[1]) or burst, tonumber(kept[2]) or now
tokens = math.min(burst, tokens + math.max(0, now - at) * rate)
local given = math.min(wanted, math.floor(tokens))
tokens = tokens - given
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(burst / rate * 1000) + 1000)
return {given, math.ceil(math.max(0, 1 - tokens) / rate * 1000)}
"""

log = get_logger(__name__)

Clock = Callable[[], float]
Lease = Callable[[int], Awaitable[tuple[int, float]]]
"""So many tokens at most -> the tokens given, and in how many seconds there is one more."""


class TooManyRequests(PaymentError):
    """There are too many requests of this merchant."""

    code = "rate_limited"
    retryable = True

    def __init__(self, *, retry_after_s: float) -> None:
        super().__init__("Too many requests: send fewer, and this one again later.")
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Rate:
    per_s: float
    burst: int

    @property
    def chunk(self) -> int:
        """What one lease asks for."""
        return max(1, min(self.burst, int(self.per_s * LEASED_S)))

    def share(self, part: float) -> "Rate":
        return Rate(self.per_s * part, max(1, int(self.burst * part)))


class Bucket:
    """A token bucket in memory."""

    def __init__(self, rate: Rate, *, now: float) -> None:
        self._rate, self._tokens, self._at = rate, float(rate.burst), now

    def take(self, now: float) -> float:
        """0 when a token was taken, else the seconds until there is one."""
        refilled = self._tokens + max(0.0, now - self._at) * self._rate.per_s
        self._tokens, self._at = min(float(self._rate.burst), refilled), now
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate.per_s
        self._tokens -= 1
        return 0.0

    def put_back(self) -> None:
        """A token that was taken was not needed."""
        self._tokens = min(float(self._rate.burst), self._tokens + 1)


class Buckets:
    """A bucket for each of so many keys at most; the one not heard of for the longest time is forgotten."""

    def __init__(self, rate: Rate, *, most: int, clock: Clock = time.monotonic) -> None:
        self._rate, self._most, self._clock = rate, most, clock
        self._buckets: dict[str, Bucket] = {}

    def take(self, key: str) -> float:
        """0 when a token was taken, else the seconds until there is one."""
        now = self._clock()
        bucket = self._buckets.pop(key, None) or Bucket(self._rate, now=now)
        self._buckets[key] = bucket
        if len(self._buckets) > self._most:
            del self._buckets[next(iter(self._buckets))]
        return bucket.take(now)


class Purse:
    """The leased tokens of one merchant and kind of request, and what is granted while Redis does not answer."""

    def __init__(self, rate: Rate, share: float, lease: Lease, clock: Clock) -> None:
        self._chunk, self._lease, self._clock = rate.chunk, lease, clock
        self._alone = Bucket(rate.share(share), now=clock())
        self._tokens = self._asking_for = 0
        self._empty_until = self._alone_until = 0.0
        self._leasing: asyncio.Task[None] | None = None

    async def take(self) -> float:
        """0 when a token was spent, else the seconds until it is worth asking again."""
        for _ in range(LEASES_MAX):  # a lease that was asked for before we came may be spent by others
            if self._tokens or self._clock() < max(self._empty_until, self._alone_until):
                break
            await self._renewed()
        now = self._clock()
        if self._tokens:
            self._tokens -= 1
            return 0.0
        return self._empty_until - now if now < self._empty_until else self._alone.take(now)

    async def _renewed(self) -> None:
        """One lease serves all who came while it was asked for."""
        self._asking_for += 1
        if self._leasing is None:
            self._leasing = asyncio.create_task(self._renew())
        await asyncio.shield(self._leasing)

    async def _renew(self) -> None:
        await asyncio.sleep(0)  # requests of the same turn of the loop count
        wanted, self._asking_for = max(self._chunk, self._asking_for), 0
        try:
            async with asyncio.timeout(LEASE_WITHIN_S):
                given, more_after_s = await self._lease(wanted)
        except (RedisError, OSError, TimeoutError) as error:
            log.debug("rate_lease_failed", error=type(error).__name__)
            self._alone_until = self._clock() + WITHOUT_REDIS_S
        else:
            self._tokens += given
            self._empty_until = self._clock() + more_after_s if given < wanted else 0.0
        finally:
            self._leasing = None


class Rates:
    """The purses of one process."""

    def __init__(self, redis: Redis, settings: Settings, *, clock: Clock = time.monotonic) -> None:
        self._script: Callable[..., Awaitable[Any]] = redis.register_script(_LEASE)
        self._share, self._clock = settings.rate_share, clock
        self._rates = {
            "write": Rate(settings.merchant_writes_per_s, settings.merchant_writes_burst),
            "read": Rate(settings.merchant_reads_per_s, settings.merchant_reads_burst),
        }
        self._callbacks = Rate(settings.callbacks_per_s, settings.callbacks_burst)
        self._purses: dict[str, Purse] = {}

    async def charge(self, caller: Caller, *, reads: bool) -> None:
        """One token was spent. Raises `TooManyRequests`."""
        kind = "read" if reads else "write"
        await self._spend(f"{caller.merchant_id}:{caller.mode}:{kind}", self._rates[kind])

    async def charge_callback(self, connector: str) -> None:
        """One token of the connector's was spent. Raises `TooManyRequests`."""
        await self._spend(f"callbacks:{connector}", self._callbacks)

    async def _spend(self, name: str, rate: Rate) -> None:
        purse = self._purses.pop(name, None) or self._new_purse(name, rate)
        self._purses[name] = purse  # as the latest
        if len(self._purses) > MERCHANTS_MAX:
            del self._purses[next(iter(self._purses))]
        if wait_s := await purse.take():
            REFUSED.labels("rate").inc()
            raise TooManyRequests(retry_after_s=wait_s)

    def _new_purse(self, name: str, rate: Rate) -> Purse:
        async def lease(wanted: int) -> tuple[int, float]:
            arguments: tuple[Any, ...] = (rate.per_s, rate.burst, wanted)
            given, more_after_ms = await self._script(keys=(f"{KEY}:{name}",), args=arguments)
            return int(given), int(more_after_ms) / 1000

        return Purse(rate, self._share, lease, self._clock)

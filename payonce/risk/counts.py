"""How often, of late: sorted sets in Redis, whose members stand for payments and whose scores are times.

One call adds a payment to the attempts of its card, customer and address, and counts. The same payment is the same
member, so a storm of one key counts once. Redis may be lost: an epoch key, which only a refill from Postgres sets,
tells a flushed Redis from an empty one. It names the run of the server that was filled: one that came back with an
older state, or took over from another, is not believed either. Without it there are no counts, and a refill begins.

Outcomes are told after their COMMIT. What does not reach Redis, an outcome or an attempt, is counted some seconds
later, once Redis answers again, by what Postgres knows of the last hour.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from payonce.domain.errors import PaymentError
from payonce.domain.risk import RiskSubjects
from payonce.domain.risk_rules import COUNT_MAX, WITHIN_S_MAX, Counted, Counts, Measure, Subject
from payonce.logging import get_logger
from payonce.storage import risk_facts
from payonce.storage.driver.database import Database
from payonce.storage.risk_facts import RiskFact

PREFIX: Final = "payonce:risk"
KEPT_MS: Final = WITHIN_S_MAX * 1000
TELL_WITHIN_S: Final = 0.5
TELLING_MAX: Final = 1_000  # outcomes on their way to Redis
COUNTING_AT_ONCE, TELLING_AT_ONCE = (
    16,
    8,
)  # of the client's connections, which are not waited for and serve others
REFILL_WITHIN_S: Final = 60
REFILLED_AT_ONCE: Final = 500
REFILLED_FOR_MS: Final = 3_600_000  # so long what was asked about before may have its outcome still to come
MENDED_AFTER_S: Final = 5.0  # and again, until Redis answers
MENDED_BACK_S: Final = (
    3600  # from what was missed: what became of a payment may have come later than the payment
)
MENDING_MAX: Final = 500  # merchants at a time; a flush mends the others
FACTS_MAX: Final = 200_000  # of a merchant's last day; beyond it no older stretch is begun
NEWEST_S: Final = 300.0  # the latest stretch that is refilled, before older ones

_RUN: Final = """
local function run()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or '1'
end
"""
# KEYS: the epoch, whose payment it is, then the sets. ARGV: the member, how long and how many are kept, how many of
# the first sets it is added to, whose it is, now; then for each count the set, its window, and the set whose oldest
# member bounds it once that is full.
_COUNT: Final = f"""{_RUN}
local now = tonumber(ARGV[6])
local keep, most, added = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local epoch = redis.call('GET', KEYS[1]) == run() and 1 or 0
redis.call('SET', KEYS[2], ARGV[5], 'PX', keep)
for i = 3, added + 2 do
  redis.call('ZADD', KEYS[i], 'NX', now, ARGV[1])
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now - keep)
  redis.call('ZREMRANGEBYRANK', KEYS[i], 0, -most - 1)
  redis.call('PEXPIRE', KEYS[i], keep)
end
local said = {{epoch}}
for i = 7, #ARGV, 3 do
  local from, bound = now - tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  if bound > 0 and redis.call('ZCARD', KEYS[bound]) >= most then
    from = math.max(from, tonumber(redis.call('ZRANGE', KEYS[bound], 0, 0, 'WITHSCORES')[2]))
  end
  said[#said + 1] = redis.call('ZCOUNT', KEYS[tonumber(ARGV[i])], from, '+inf')
end
return said
"""
# KEYS: whose payment it is, the token of a refill, what says that one ended of late. ARGV: the member, how long and
# how many are kept, now, the names of sets. Returns whether nobody knows whose payment it is after Redis was lost: a
# refill may have read it before its outcome was there.
_TELL: Final = """
local whose = redis.call('GET', KEYS[1])
if not whose then return redis.call('EXISTS', KEYS[2], KEYS[3]) end
local keep, most, now = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
for subject in string.gmatch(whose, '[^,]+') do
  for i = 5, #ARGV do
    local key = ARGV[i] .. subject
    redis.call('ZADD', key, 'NX', now, ARGV[1])
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now - keep)
    redis.call('ZREMRANGEBYRANK', key, 0, -most - 1)
    redis.call('PEXPIRE', key, keep)
  end
end
return 0
"""
# KEYS: the sets. ARGV: how long and how many are kept, then score and member for each set.
_ADD: Final = """
local keep, most = tonumber(ARGV[1]), tonumber(ARGV[2])
for i = 1, #KEYS do
  redis.call('ZADD', KEYS[i], 'NX', ARGV[2 * i + 1], ARGV[2 * i + 2])
  redis.call('ZREMRANGEBYRANK', KEYS[i], 0, -most - 1)
  redis.call('PEXPIRE', KEYS[i], keep)
end
return 1
"""
# KEYS: the token. ARGV: the token, and for how many seconds nobody else may fill. Returns the run that is filled.
_BEGIN: Final = f"""{_RUN}
return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2]) and run()
"""
# KEYS: the epoch, the token, what says that a refill ended of late. ARGV: the token, the run, how long it says so.
# Filled is only what was not flushed meanwhile: then the token is gone, or the run another.
_FILLED: Final = f"""{_RUN}
if redis.call('GET', KEYS[2]) ~= ARGV[1] or run() ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('SET', KEYS[3], 1, 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
return 1
"""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Names:
    """The keys of one merchant in one mode."""

    merchant_id: str
    mode: str

    @property
    def _base(self) -> str:
        return f"{PREFIX}:{{{self.merchant_id}:{self.mode}}}"

    @property
    def epoch(self) -> str:
        return f"{self._base}:epoch"

    @property
    def filling(self) -> str:
        return f"{self._base}:filling"

    @property
    def refilled(self) -> str:
        return f"{self._base}:refilled"

    def whose(self, member: str) -> str:
        return f"{self._base}:whose:{member}"

    def sets(self, counted: Counted) -> str:
        """What the names of these sets begin with."""
        return f"{self._base}:{counted}:"

    def of(self, counted: Counted, subject: Subject, value: str) -> str:
        return f"{self.sets(counted)}{subject}:{value}"


class VelocityCounts:
    """Counts in Redis, and refills it from the facts in Postgres."""

    def __init__(
        self,
        redis: Redis,
        database: Database,
        *,
        clock: Callable[[], float] = time.time,
        mended_after_s: float = MENDED_AFTER_S,
    ) -> None:
        self._count: Callable[..., Awaitable[Any]] = redis.register_script(_COUNT)
        self._add: Callable[..., Awaitable[Any]] = redis.register_script(_ADD)
        self._begin: Callable[..., Awaitable[Any]] = redis.register_script(_BEGIN)
        self._filled: Callable[..., Awaitable[Any]] = redis.register_script(_FILLED)
        self._told: Callable[..., Awaitable[Any]] = redis.register_script(_TELL)
        self._redis, self._database, self._clock = redis, database, clock
        self._mended_after_s = mended_after_s
        self._missing: dict[_Names, datetime] = {}  # since when
        self._mending: set[_Names] = set()
        self._may_count, self._may_tell = (
            asyncio.Semaphore(COUNTING_AT_ONCE),
            asyncio.Semaphore(TELLING_AT_ONCE),
        )
        self._working: set[asyncio.Task[None]] = set()
        self._refilling: set[_Names] = set()

    async def count(
        self, merchant_id: str, mode: str, subjects: RiskSubjects, measures: Iterable[Measure]
    ) -> Counts | None:
        """The payment is an attempt from now on, and so many there are; None where that is not known."""
        names, whose = _Names(merchant_id, mode), _subjects(subjects)
        keys = [names.of("attempts", of, value) for of, value in whose.items() if of != "merchant"]
        added, asked = len(keys), [one for one in measures if one.of in whose]
        is_of = ",".join(f"{of}:{value}" for of, value in whose.items())
        arguments: list[str | int] = [subjects.member, KEPT_MS, COUNT_MAX, added, is_of, self._now_ms()]
        for one in asked:
            arguments += [
                _place(keys, names.of(one.counted, one.of, whose[one.of])),
                one.within_s * 1000,
                _place(keys, names.of("outcomes", one.of, whose[one.of])) if one.counted == "declines" else 0,
            ]
        try:
            async with self._may_count:
                epoch, *found = await self._count(
                    keys=[names.epoch, names.whose(subjects.member), *keys], args=arguments
                )
        except (RedisError, OSError) as error:
            log.debug("risk_not_counted", error=type(error).__name__)
            self._missed(names)
            return None
        except asyncio.CancelledError:  # it took too long
            self._missed(names)
            raise
        if not epoch:
            self._begin_refill(names)
            return None
        return dict(zip(asked, map(int, found), strict=True))

    def tell(self, merchant_id: str, mode: str, member: str, *, declined: bool) -> None:
        """The outcome counts soon, where the payment is counted. In the background: no payment waits for it."""
        names = _Names(merchant_id, mode)
        if len(self._working) < TELLING_MAX:
            self._work(self._tell(names, member, _outcome(declined)))
        else:
            self._missed(names)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    async def close(self) -> None:
        """Nothing is on its way any more."""
        for task in self._working:
            task.cancel()
        if self._working:
            await asyncio.wait(self._working, timeout=1)

    async def refill(self, merchant_id: str, mode: str) -> bool:
        """What Postgres knows of the last day is counted; False where Redis was lost once more meanwhile."""
        names, token = _Names(merchant_id, mode), secrets.token_hex(8)
        run = await self._begin(keys=[names.filling], args=[token, REFILL_WITHIN_S])
        if not run:
            return False  # another process is at it
        filled = await self._put_since(names, self._ago(WITHIN_S_MAX))
        keys = [names.epoch, names.filling, names.refilled]
        done = await self._filled(keys=keys, args=[token, run, REFILLED_FOR_MS])
        log.info("risk_counts_refilled", merchant_id=merchant_id, mode=mode, facts=filled, held=bool(done))
        return bool(done)

    async def _put_since(self, names: _Names, since: datetime) -> int:
        """What Postgres knows of from then on is counted, the latest first: so many facts.

        Each stretch is as long as all after it: what was too much for one is what was longest ago.
        """
        filled, until = 0, None
        for begins in self._stretches(since):
            filled += await self._put_between(names, begins, until)
            if filled >= FACTS_MAX:
                break
            until = begins
        return filled

    def _stretches(self, since: datetime) -> Sequence[datetime]:
        """When each begins, the latest first, and `since` at the end."""
        ago_s = [NEWEST_S * 2**times for times in range(WITHIN_S_MAX.bit_length())]
        return [*(begins for begins in map(self._ago, ago_s) if begins > since), since]

    async def _put_between(self, names: _Names, since: datetime, until: datetime | None) -> int:
        after, filled = "", 0
        while filled < FACTS_MAX:
            async with self._database.browsing() as connection:
                facts = await risk_facts.since(
                    connection,
                    names.merchant_id,
                    names.mode,
                    since=since,
                    after=after,
                    limit=REFILLED_AT_ONCE,
                )
            new = [fact for fact in facts if until is None or fact.at < until]
            await self._put(new)
            filled += len(new)
            if len(new) < REFILLED_AT_ONCE:
                break
            since, after = new[-1].at, new[-1].member
        return filled

    def _ago(self, seconds: float) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC) - timedelta(seconds=seconds)

    def _begin_refill(self, names: _Names) -> None:
        if names not in self._refilling:
            self._refilling.add(names)
            self._work(self._refill(names))

    async def _refill(self, names: _Names) -> None:
        try:
            async with asyncio.timeout(REFILL_WITHIN_S):
                await self.refill(names.merchant_id, names.mode)
        except (RedisError, OSError, TimeoutError, PaymentError) as error:
            log.warning("risk_counts_not_refilled", error=type(error).__name__)
        finally:
            self._refilling.discard(names)

    def _missed(self, names: _Names) -> None:
        """Something did not reach Redis: it is counted later."""
        if names not in self._missing and len(self._missing) < MENDING_MAX:
            self._missing[names] = self._ago(MENDED_BACK_S)
            if names not in self._mending:
                self._mending.add(names)
                self._work(self._mend(names))

    async def _mend(self, names: _Names) -> None:
        """What was missed is counted, or a day is over: what is missed then is a matter of its own."""
        try:
            for _ in range(int(WITHIN_S_MAX / MENDED_AFTER_S)):
                await asyncio.sleep(self._mended_after_s)
                await self._mend_once(names)
                if names not in self._missing:
                    return
        finally:
            self._mending.discard(names)
            self._missing.pop(names, None)

    async def _mend_once(self, names: _Names) -> None:
        since = self._missing.pop(names)  # what is missed from here on may not be read any more
        try:
            async with asyncio.timeout(REFILL_WITHIN_S):
                facts = await self._put_since(names, since)
        except (RedisError, OSError, TimeoutError, PaymentError):
            self._missing[names] = since
        else:
            log.info("risk_counts_mended", merchant_id=names.merchant_id, mode=names.mode, facts=facts)

    def _work(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def _tell(self, names: _Names, member: str, into: Sequence[Counted]) -> None:
        arguments = [member, KEPT_MS, COUNT_MAX, self._now_ms(), *map(names.sets, into)]
        try:
            async with self._may_tell, asyncio.timeout(TELL_WITHIN_S):
                keys = [names.whose(member), names.filling, names.refilled]
                if await self._told(keys=keys, args=arguments):
                    self._missed(names)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("risk_outcome_not_counted", error=type(error).__name__)
            self._missed(names)

    async def _put(self, facts: Sequence[RiskFact]) -> None:
        """They are counted, all in one round trip."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for fact in facts:
                keys = _sets_of(fact)
                score = int(fact.at.timestamp() * 1000)
                arguments: list[str | int] = [KEPT_MS, COUNT_MAX]
                arguments += [part for _ in keys for part in (score, fact.subjects.member)]
                if keys:
                    await self._add(keys=keys, args=arguments, client=pipe)
            await pipe.execute()


def _outcome(declined: bool | None) -> tuple[Counted, ...]:
    if declined is None:
        return ()
    return ("outcomes", "declines") if declined else ("outcomes",)


def _sets_of(fact: RiskFact) -> list[str]:
    """Those that it counts in."""
    names, into = _Names(fact.merchant_id, fact.mode), ("attempts", *_outcome(fact.declined))
    return [
        names.of(counted, of, value)
        for of, value in _subjects(fact.subjects).items()
        for counted in into
        if (of, counted) != ("merchant", "attempts")
    ]


def _subjects(subjects: RiskSubjects) -> Mapping[Subject, str]:
    known: dict[Subject, str | None] = {
        "card": subjects.card,
        "customer": subjects.customer,
        "address": subjects.address,
        "merchant": "all",
    }
    return {of: value for of, value in known.items() if value is not None}


def _place(keys: list[str], key: str) -> int:
    """Where the key stands among `KEYS`, after the first two."""
    if key not in keys:
        keys.append(key)
    return keys.index(key) + 3

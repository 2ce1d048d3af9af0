"""Wake-ups: tell whoever waits for an operation that there is something to read.

In this process a future, in others a Redis message. Both are hints: what is true is read from Postgres, and a
lost hint costs the wait until the next look at the row, nothing else.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from payonce.domain.answers import Answer
from payonce.logging import get_logger
from payonce.waiting import first

CHANNEL_OUTCOMES = "payonce:outcomes"
CHANNEL_EVENTS = "payonce:events"  # that nobody is to be sent
CHANNEL_DELIVERIES = "payonce:deliveries"
CHANNEL_RECEIPTS = "payonce:receipts"
NUDGE_EVERY_S = 0.1  # on each channel that only says that there is something
_PUBLISH_TIMEOUT_S = 0.25
_RECONNECT_S = 1.0
_PENDING_PUBLISHES_MAX = 1_000

log = get_logger(__name__)


class Waiter:
    """One who waits for an operation, and the answer if it was committed in this process."""

    __slots__ = ("answer", "event")

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.answer: Answer | None = None

    async def wait(self, *, timeout_s: float) -> bool:
        """Whether it was woken: returns at the next wake-up or after the time-out."""
        woken = await first(self.event, timeout_s=timeout_s)
        self.event.clear()
        return woken


class WakeUps:
    """Waiters of this process by operation id, and the way to those of other processes."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._waiting: defaultdict[str, set[Waiter]] = defaultdict(set)
        self._publishing: set[asyncio.Task[None]] = set()
        self._nudged: dict[str, float] = {}  # the channels, and when they were
        self._nudges: dict[str, asyncio.TimerHandle] = {}  # those that are going to be
        self._closed = False
        self._heard: set[str] = set()  # the channels that are subscribed to

    async def close(self) -> None:
        """What is still to be told is told, and nothing after it."""
        for channel, nudge in self._nudges.items():
            nudge.cancel()
            self._publish(channel, "")
        self._nudges.clear()
        self._closed = True
        if self._publishing:
            await asyncio.wait(self._publishing)

    @property
    def hears_others(self) -> bool:
        """Whether what other processes record is heard here, as far as is known: a hint may be lost all the same."""
        return CHANNEL_OUTCOMES in self._heard

    @contextmanager
    def waiting(self, operation_id: str) -> Iterator[Waiter]:
        """Woken at every wake-up of the operation while the block runs."""
        waiter = Waiter()
        self._waiting[operation_id].add(waiter)
        try:
            yield waiter
        finally:
            self._waiting[operation_id].discard(waiter)
            if not self._waiting[operation_id]:
                del self._waiting[operation_id]

    def wake(
        self,
        operation_id: str,
        *,
        answer: Answer | None = None,
        events: bool = False,
        deliveries: bool = False,
    ) -> None:
        """Wakes the waiters of the operation everywhere, who follows events, and the relay for deliveries.

        `answer` is the one that the caller has just committed: waiters of this process need not read it again.
        """
        here = self._wake_here(operation_id, answer)
        if not here:
            self._publish(CHANNEL_OUTCOMES, operation_id)
        if deliveries:
            self._nudge(CHANNEL_DELIVERIES)
        elif events:
            self._nudge(CHANNEL_EVENTS)

    def answered(self, operation_id: str) -> bool:
        """Whether a waiter of this process was given the operation's answer."""
        return any(waiter.answer is not None for waiter in self._waiting.get(operation_id, ()))

    def wake_relay(self) -> None:
        """The relay looks for deliveries; nobody waits for an operation."""
        self._nudge(CHANNEL_DELIVERIES)

    def wake_renderer(self) -> None:
        """The renderer looks for receipts that were asked for."""
        self._nudge(CHANNEL_RECEIPTS)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Wake-ups from other processes arrive while the block runs."""
        async with self._subscribed((CHANNEL_OUTCOMES,), self._wake_here):
            yield

    @asynccontextmanager
    async def hearing_events(self) -> AsyncIterator[asyncio.Event]:
        """Set whenever some process recorded events, while the block runs; clear it before looking."""
        async with self._hearing(CHANNEL_EVENTS, CHANNEL_DELIVERIES) as heard:
            yield heard

    @asynccontextmanager
    async def hearing_deliveries(self) -> AsyncIterator[asyncio.Event]:
        """The same, for events that somebody is to be sent."""
        async with self._hearing(CHANNEL_DELIVERIES) as heard:
            yield heard

    @asynccontextmanager
    async def hearing_receipts(self) -> AsyncIterator[asyncio.Event]:
        """The same, for receipts that were asked for."""
        async with self._hearing(CHANNEL_RECEIPTS) as heard:
            yield heard

    @asynccontextmanager
    async def _hearing(self, *channels: str) -> AsyncIterator[asyncio.Event]:
        heard = asyncio.Event()
        async with self._subscribed(channels, lambda _message: heard.set()):
            yield heard

    def _wake_here(self, operation_id: str, answer: Answer | None = None) -> bool:
        waiters = self._waiting.get(operation_id, set())
        for waiter in waiters:
            waiter.answer = waiter.answer or answer
            waiter.event.set()
        return bool(waiters)

    def _nudge(self, channel: str) -> None:
        """At once where the last was long enough ago; else when it is, once for all that come meanwhile."""
        if channel in self._nudges:
            return
        loop = asyncio.get_running_loop()
        at = self._nudged.get(channel, -NUDGE_EVERY_S) + NUDGE_EVERY_S
        if at > loop.time():
            self._nudges[channel] = loop.call_at(at, self._nudge_now, channel)
        else:
            self._nudge_now(channel)

    def _nudge_now(self, channel: str) -> None:
        self._nudges.pop(channel, None)
        self._nudged[channel] = asyncio.get_running_loop().time()
        self._publish(channel, "")

    def _publish(self, channel: str, message: str) -> None:
        """Sent in the background: a slow Redis holds no payment up."""
        if self._closed or len(self._publishing) >= _PENDING_PUBLISHES_MAX:
            return
        task = asyncio.create_task(self._send(channel, message))
        self._publishing.add(task)
        task.add_done_callback(self._publishing.discard)

    async def _send(self, channel: str, message: str) -> None:
        try:
            async with asyncio.timeout(_PUBLISH_TIMEOUT_S):
                await self._redis.publish(channel, message)
        except (RedisError, OSError, TimeoutError) as error:
            log.debug("wake_up_lost", error=type(error).__name__)

    @asynccontextmanager
    async def _subscribed(
        self, channels: Sequence[str], hear: Callable[[str], object]
    ) -> AsyncIterator[None]:
        """One subscription while the block runs, renewed when Redis comes back."""
        task = asyncio.create_task(self._listen(channels, hear))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _listen(self, channels: Sequence[str], hear: Callable[[str], object]) -> None:
        while True:
            try:
                async with self._redis.pubsub() as subscription:
                    await subscription.subscribe(*channels)
                    with self._hearing_now(channels):
                        while True:
                            if (message := await _next(subscription)) is not None:
                                hear(message)
            except (RedisError, OSError, TimeoutError) as error:
                log.debug("wake_ups_interrupted", error=type(error).__name__)
                await asyncio.sleep(_RECONNECT_S)

    @contextmanager
    def _hearing_now(self, channels: Sequence[str]) -> Iterator[None]:
        self._heard.update(channels)
        try:
            yield
        finally:
            self._heard.difference_update(channels)


async def _next(subscription: PubSub) -> str | None:
    message = await subscription.get_message(ignore_subscribe_messages=True, timeout=5.0)
    return None if message is None else str(message["data"], "utf-8")

"""The webhook relay: takes due deliveries, makes many attempts at a time, records what came of them.

Several relays share the work through leases in Postgres. What a relay took and could not complete is taken
again by any relay when the lease ends, so that every event is delivered at least once.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from payonce import metrics
from payonce.connectors.http import boot_clock_s
from payonce.domain.ids import random_id
from payonce.logging import get_logger
from payonce.runtime import Runtime
from payonce.storage.database import CommitUnknown, Database, StorageUnavailable
from payonce.storage.deliveries import Completion, Lease, Taken, complete, release, take_due
from payonce.webhooks.delivery import DEADLINE_S, Attempt, Delivered, Failed, Reason, Sender, conclude

POLL_S: Final = 1.0  # without a wake-up: retries that fell due, and hints that got lost
PACE_S: Final = 0.02  # between two transactions: what happens meanwhile shares one
BACK_OFF_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # while Postgres does not answer
STOP_GRACE_S: Final = 8.0  # supervisors kill after 10 s; an attempt that is cut off is made again
RELEASE_S: Final = 1.0
STOPPED_CLOCK_S: Final = 2.0  # of a lease that no attempt may use: clocks of two machines, and the completion

log = get_logger(__name__)
_jitter: Final = random.SystemRandom()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one relay does at a time. An endpoint that let an attempt time out has one slot."""

    slots: int = 256
    slots_per_endpoint: int = 32
    slow_endpoints: int = 1_000
    lease_s: float = 30.0


async def run_relay(runtime: Runtime, stop: asyncio.Event) -> None:
    """Due deliveries are attempted until `stop` is set; what was under way then is finished or given back."""
    sender = Sender(allow_loopback=runtime.settings.allow_loopback_webhooks)
    async with runtime.wakeups.hearing_events() as heard:
        await Relay(runtime.database, sender).run(stop, heard=heard)


class Relay:
    """What one relay has under way: leases it attempts, and attempts it has not recorded yet."""

    def __init__(self, database: Database, sender: Sender, *, limits: Limits | None = None) -> None:
        self._database = database
        self._sender = sender
        self._limits = limits or Limits()
        self._attempts: dict[asyncio.Task[None], Lease] = {}
        self._unrecorded: dict[str, tuple[Lease, Completion]] = {}  # by token and delivery
        self._slow: dict[str, None] = {}
        self._look = asyncio.Event()

    async def run(self, stop: asyncio.Event, *, heard: asyncio.Event) -> None:
        """Returns after `stop`, with nothing under way. `heard` is set by whoever recorded an event."""
        self._look = heard
        stopping = asyncio.create_task(self._look_when(stop))
        try:
            await self._work_until(stop)
            await self._finish()
        finally:
            stopping.cancel()
            await self._give_back()

    async def _look_when(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._look.set()

    async def _work_until(self, stop: asyncio.Event) -> None:
        failures = 0
        while not stop.is_set():
            self._look.clear()
            try:
                more = await self._step(take=True)
                failures = 0
            except (StorageUnavailable, CommitUnknown) as error:
                delay_s = BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)]
                failures += 1
                log.warning("relay_storage_unavailable", error=error.message, retry_in_s=delay_s)
                await _first(stop, timeout_s=delay_s)
                continue
            if not more:
                await _first(self._look, timeout_s=POLL_S)
            await _first(stop, timeout_s=PACE_S)

    async def _finish(self) -> None:
        """Attempts that are under way had time to end and were recorded, as far as Postgres answers."""
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_GRACE_S):
                while self._attempts or self._unrecorded:
                    self._look.clear()
                    if not self._unrecorded:
                        await self._look.wait()
                    try:
                        await self._step(take=False)
                    except (StorageUnavailable, CommitUnknown):
                        await asyncio.sleep(BACK_OFF_S[0])

    async def _give_back(self) -> None:
        """No attempt goes on, and what was not recorded may be taken by others at once."""
        leases = [*self._attempts.values(), *(lease for lease, _ in self._unrecorded.values())]
        for task in self._attempts:
            task.cancel()
        await asyncio.gather(*self._attempts, return_exceptions=True)
        if not leases:
            return
        with suppress(StorageUnavailable, CommitUnknown, TimeoutError):  # else the leases end by themselves
            async with asyncio.timeout(RELEASE_S), self._database.transaction() as connection:
                await release(connection, leases)
        log.info("relay_gave_back", deliveries=len(leases))

    async def _step(self, *, take: bool) -> bool:
        """Ended attempts are recorded and due deliveries taken, in one transaction; whether there is more.

        If its outcome is unknown, the completions are repeated and the leases end by themselves.
        """
        ended = list(self._unrecorded.items())
        room = self._limits.slots - len(self._attempts) if take else 0
        if not ended and room == 0:
            return False
        token, began_s = random_id("lease"), boot_clock_s()
        taken = Taken((), more=False)
        async with self._database.transaction() as connection:
            held = await complete(connection, [completion for _, (_, completion) in ended])
            if room:
                taken = await take_due(
                    connection,
                    token=token,
                    lease_s=self._limits.lease_s,
                    limit=room,
                    room_each=self._limits.slots_per_endpoint,
                    rooms=self._rooms(),
                )
        for key, (lease, _) in ended:
            del self._unrecorded[key]
            if lease.delivery_id not in held:
                log.warning("webhook_lease_lost", delivery_id=lease.delivery_id, event_id=lease.event_id)
        for lease in taken.leases:
            self._start(lease, send_before_s=began_s + self._limits.lease_s - DEADLINE_S - STOPPED_CLOCK_S)
        return taken.more

    def _rooms(self) -> Mapping[str, int]:
        """For the endpoints that do not have all their slots free: how many more deliveries they may have."""
        busy = Counter(lease.endpoint_id for lease in self._attempts.values())
        each = self._limits.slots_per_endpoint
        slots = dict.fromkeys(busy, each) | dict.fromkeys(self._slow, 1)
        return {endpoint_id: allowed - busy[endpoint_id] for endpoint_id, allowed in slots.items()}

    def _start(self, lease: Lease, *, send_before_s: float) -> None:
        task = asyncio.create_task(self._attempt(lease, send_before_s=send_before_s))
        self._attempts[task] = lease
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._attempts.pop(task, None)
        self._look.set()

    async def _attempt(self, lease: Lease, *, send_before_s: float) -> None:
        """The attempt was made and waits to be recorded; or its time is over, and others make it."""
        if boot_clock_s() >= send_before_s:
            log.warning("webhook_lease_ended_unused", delivery_id=lease.delivery_id)
            return
        if lease.attempts == 0:
            lag = datetime.now(UTC) - lease.event_at
            metrics.DELIVERY_LAG_SECONDS.observe(max(lag.total_seconds(), 0.0))
        attempt = await self._sender.attempt(lease)
        self._judge_speed(lease.endpoint_id, attempt)
        completion = conclude(lease, attempt, jitter=_jitter.uniform(-1, 1))
        self._unrecorded[f"{lease.token}/{lease.delivery_id}"] = (lease, completion)
        _observe(lease, attempt, completion)

    def _judge_speed(self, endpoint_id: str, attempt: Attempt) -> None:
        if isinstance(attempt.result, Failed) and attempt.result.error is Reason.TIMED_OUT:
            if len(self._slow) < self._limits.slow_endpoints:
                self._slow[endpoint_id] = None
        else:
            self._slow.pop(endpoint_id, None)


def _observe(lease: Lease, attempt: Attempt, completion: Completion) -> None:
    result = attempt.result
    metrics.DELIVERIES.labels(
        result="delivered" if isinstance(result, Delivered) else result.error.value
    ).inc()
    log.info(
        "webhook_attempted",
        delivery_id=lease.delivery_id,
        event_id=lease.event_id,
        endpoint_id=lease.endpoint_id,
        attempt=lease.attempts + 1,
        status_code=result.status,
        error=None if isinstance(result, Delivered) else result.error.value,
        delivery=completion.status,
        duration_ms=attempt.duration_ms,
    )


async def _first(event: asyncio.Event, *, timeout_s: float) -> None:
    """Returns when the event is set, or after the time-out."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()

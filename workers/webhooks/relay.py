"""The webhook relay: takes due deliveries, makes many attempts at a time, records what came of them.

Several relays share the work through leases in Postgres. What a relay took and could not complete is taken
again by any relay when the lease ends, so that every event is delivered at least once.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from payonce import metrics
from payonce.clock import boot_clock_s
from payonce.domain.delivery import Holder
from payonce.domain.ids import random_id
from payonce.logging import get_logger
from payonce.runtime import Runtime
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import CommitUnknown, Database, StorageUnavailable
from payonce.storage.webhooks.completions import Completion, Lease, RecordedCompletion, complete, release
from payonce.storage.webhooks.handover import HandedOver
from payonce.storage.webhooks.queue import Lane, lease_due
from payonce.waiting import back_off_s, first
from payonce.webhooks.attempt import DEADLINE_S, Sender, conclude, observe
from payonce.webhooks.secrets import SigningSecrets
from payonce.webhooks.workflow_attempts import STOPPED_CLOCK_S
from workers.webhooks.handover import HandOver, handing_over
from workers.webhooks.slots import Limits, Slots

POLL_S: Final = 1.0  # without a wake-up: retries that fell due, and hints that got lost
RETRIES_EVERY_S: Final = 0.5  # first attempts are looked at whenever there is a hint
CROWDED_S: Final = 0.1  # every slot taken: those of attempts that last become free meanwhile
PACE_S: Final = 0.05  # between two transactions: what happens meanwhile shares one
BACK_OFF_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # while Postgres does not answer
FORGET_AFTER: Final = 6  # steps in a row that failed with an error of ours: about 9 s
STOP_GRACE_S: Final = 8.0  # supervisors kill after 10 s; an attempt that is cut off is made again
RELEASE_S: Final = 1.0

log = get_logger(__name__)
_jitter: Final = random.SystemRandom()


async def run_relay(runtime: Runtime, stop: asyncio.Event) -> None:
    """Due deliveries are attempted until `stop` is set; what was under way then is finished or given back."""
    secrets = SigningSecrets(runtime.sealer)
    sender = Sender(allow_loopback=runtime.settings.allow_loopback_webhooks, secrets=secrets)
    async with (
        runtime.wakeups.hearing_deliveries() as heard,
        handing_over(runtime, sender, stop) as hand_over,
    ):
        await Relay(runtime.database, sender, hand_over=hand_over).run(stop, heard=heard)


class Relay:
    """What one relay has under way: leases it attempts, and attempts it has not recorded yet."""

    def __init__(
        self,
        database: Database,
        sender: Sender,
        *,
        limits: Limits | None = None,
        hand_over: HandOver | None = None,
    ) -> None:
        self._database = database
        self._sender = sender
        self._limits = limits or Limits()
        self._hand_over = hand_over or HandOver(database)  # to nobody: it retries everything itself
        self._slots = Slots(self._limits)
        self._unrecorded: dict[str, tuple[Lease, Completion]] = {}  # by token and delivery
        self._retries_at_s = 0.0  # when the relay's own retries are looked at again
        self._looked_at_retries = False  # last time
        self._look = asyncio.Event()

    async def run(self, stop: asyncio.Event, *, heard: asyncio.Event) -> None:
        """Returns after `stop`, with nothing under way. `heard` is set by whoever recorded a delivery."""
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
        failures, rounds = 0, metrics.Rounds("deliveries")
        while not stop.is_set():
            self._look.clear()
            try:
                more = await self._step(leasing=True)
                failures = 0
                rounds.ended()
            except Exception as error:  # whatever it is, deliveries go on
                delay_s = back_off_s(BACK_OFF_S, failures=failures)
                failures += 1
                self._step_failed(error, failures=failures, retry_in_s=delay_s)
                await first(stop, timeout_s=delay_s)
                continue
            if not more:
                await first(self._look, timeout_s=self._pause_s())
            await first(stop, timeout_s=PACE_S)

    def _step_failed(self, error: Exception, *, failures: int, retry_in_s: float = 0.0) -> None:
        """An error that does not pass by itself is for somebody to mend.

        Where it may be one of the attempts that cannot be recorded, they are forgotten after a while: their leases
        end, and they are made again.
        """
        if isinstance(error, StorageUnavailable | CommitUnknown):
            log.warning("relay_storage_unavailable", error=error.message, retry_in_s=retry_in_s)
            return
        log.error("relay_broken", error=type(error).__name__, failures=failures, retry_in_s=retry_in_s)
        if failures >= FORGET_AFTER and self._unrecorded:
            log.error("webhook_attempts_forgotten", deliveries=len(self._unrecorded))
            self._unrecorded.clear()

    def _pause_s(self) -> float:
        """To the next look without a wake-up: a short one if the last was at first attempts only, or too early."""
        if self._slots.crowded:
            return CROWDED_S
        return POLL_S if self._looked_at_retries else RETRIES_EVERY_S

    async def _finish(self) -> None:
        """Attempts that are under way had time to end and were recorded, as far as Postgres answers."""
        failures = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_GRACE_S):
                while len(self._slots) or self._unrecorded:
                    self._look.clear()
                    if not self._unrecorded:
                        await self._look.wait()
                    try:
                        await self._step(leasing=False)
                    except Exception as error:
                        failures += 1
                        self._step_failed(error, failures=failures)
                        await asyncio.sleep(BACK_OFF_S[0])

    async def _give_back(self) -> None:
        """No attempt goes on, and what was not recorded may be taken by others at once."""
        leases = [*self._slots.leases, *(lease for lease, _ in self._unrecorded.values())]
        tasks = self._slots.tasks
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not leases:
            return
        try:
            async with asyncio.timeout(RELEASE_S), self._database.transaction() as connection:
                await release(connection, leases)
        except Exception as error:  # the leases end by themselves
            log.warning("relay_gave_nothing_back", deliveries=len(leases), error=type(error).__name__)
            return
        log.info("relay_gave_back", deliveries=len(leases))

    async def _step(self, *, leasing: bool) -> bool:
        """Ended attempts are recorded and due deliveries leased, in one transaction; whether there is more.

        If its outcome is unknown, the completions are repeated and the leases end by themselves.
        """
        ended = list(self._unrecorded.items())
        lanes = self._lanes() if leasing else []
        if not ended and (not lanes or (self._slots.crowded and lanes == [Lane.FIRST])):
            return False
        token, began_s = random_id("lease"), boot_clock_s()
        async with self._database.transaction() as connection:
            recorded = await complete(
                connection,
                [completion for _, (_, completion) in ended],
                hand_over=self._hand_over.ready,
            )
            leases, more = await self._lease_due(connection, lanes, token=token)
        for key, (lease, _) in ended:
            del self._unrecorded[key]
            if lease.delivery_id not in recorded:
                log.warning("webhook_lease_lost", delivery_id=lease.delivery_id, event_id=lease.event_id)
        self._hand_over.carry_on(_handed_over([done for _, done in ended], recorded))
        for lease in leases:
            self._start(lease, send_before_s=began_s + self._limits.lease_s - DEADLINE_S - STOPPED_CLOCK_S)
        return more

    def _lanes(self) -> list[Lane]:
        """First attempts, and now and then retries."""
        self._looked_at_retries = boot_clock_s() >= self._retries_at_s
        if not self._looked_at_retries:
            return [Lane.FIRST]
        self._retries_at_s = boot_clock_s() + RETRIES_EVERY_S
        return [Lane.FIRST, Lane.AGAIN]

    async def _lease_due(
        self, connection: Connection, lanes: Sequence[Lane], *, token: str
    ) -> tuple[list[Lease], bool]:
        """What the slots have room for, and whether there is more."""
        leases: list[Lease] = []
        more = False
        counts: Counter[str] = Counter()
        for lane in lanes:
            for share in self._slots.shares(lane, counts):
                leased = await lease_due(
                    connection,
                    lane,
                    token=token,
                    lease_s=self._limits.lease_s,
                    limit=share.limit,
                    room_each=share.room_each,
                    rooms=share.rooms,
                )
                leases += leased.leases
                counts.update(lease.endpoint_id for lease in leased.leases)
                more = more or leased.more
        return leases, more

    def _start(self, lease: Lease, *, send_before_s: float) -> None:
        task = asyncio.create_task(self._attempt(lease, send_before_s=send_before_s))
        self._slots.add(task, lease)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._slots.remove(task)
        self._look.set()

    async def _attempt(self, lease: Lease, *, send_before_s: float) -> None:
        """The attempt was made and waits to be recorded; or its time is over, and others make it."""
        if boot_clock_s() >= send_before_s:
            log.warning("webhook_lease_ended_unused", delivery_id=lease.delivery_id)
            return
        if lease.attempts == 0 and lease.lag_from is not None:
            lag = datetime.now(UTC) - lease.lag_from
            metrics.DELIVERY_LAG_SECONDS.observe(max(lag.total_seconds(), 0.0))
        attempt = await self._sender.attempt(lease)
        self._slots.judge(lease.endpoint_id, attempt)
        completion = conclude(lease, attempt, jitter=_jitter.uniform(-1, 1))
        self._unrecorded[f"{lease.token}/{lease.delivery_id}"] = (lease, completion)
        observe(lease, attempt, completion)


def _handed_over(
    ended: Sequence[tuple[Lease, Completion]], recorded: Mapping[str, RecordedCompletion]
) -> list[HandedOver]:
    """Those that are recorded as with a workflow, which is to be started."""
    handed_over = []
    for lease, completion in ended:
        now = recorded.get(lease.delivery_id)
        if now is None or now.holder is not Holder.WORKFLOW or now.next_attempt_at is None:
            continue
        handed_over.append(
            HandedOver(
                delivery_id=lease.delivery_id,
                endpoint_id=lease.endpoint_id,
                event_type=lease.event_type,
                merchant_id=lease.merchant_id,
                payment_id=lease.payment_id,
                attempts=now.attempts,
                next_attempt_at=now.next_attempt_at,
                error=completion.attempt["error"],
            )
        )
    return handed_over

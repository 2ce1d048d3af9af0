"""Attempts at deliveries that workflows have: the same lease, the same sender, the same record as the relay's."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Final

from payonce.clock import boot_clock_s
from payonce.domain.delivery import DeliveryStatus, Holder
from payonce.domain.ids import random_id
from payonce.logging import get_logger
from payonce.storage.driver.database import CommitUnknown, Database, StorageUnavailable
from payonce.storage.webhooks.completions import Completion, Lease, RecordedCompletion, complete
from payonce.storage.webhooks.queue import NotDue, lease_handed_over
from payonce.webhooks.attempt import DEADLINE_S, Sender, conclude, observe
from payonce.webhooks.endpoint_limits import Rooms

LEASE_S: Final = 30.0
STOPPED_CLOCK_S: Final = 2.0  # of a lease that no attempt may use: clocks of two machines, and the completion
PER_ENDPOINT: Final = 4
HUNG_WAIT_S: Final = (30.0, 120.0)  # drawn between, where the endpoint lets attempts time out
TURN_S: Final = 1.0  # to the first of those who wait for an endpoint that answers
TURN_APART_S: Final = 0.05  # at least; as far as the endpoint is quick
TURN_S_MAX: Final = 60.0
TURNS_MAX: Final = 1_000  # endpoints whose turns are remembered
_RECORD_AGAIN_S: Final = (0.1, 0.5, 1.0, 2.0)

log = get_logger(__name__)
_jitter: Final = random.SystemRandom()


class WorkflowAttempts:
    """Makes one attempt at a time at each of these deliveries, a few at each endpoint."""

    def __init__(self, database: Database, sender: Sender, *, rooms: Rooms | None = None) -> None:
        self._database = database
        self._sender = sender
        self._rooms = rooms or Rooms(PER_ENDPOINT)
        self._turns = EndpointTurns(self._rooms.each)

    async def attempt(self, delivery_id: str, *, endpoint_id: str, attempts: int) -> NotDue | None:
        """How the delivery stands after the next attempt was made and recorded, where it could be made now.

        `attempts` were made before. None: there is no such delivery. Safe to repeat: what was sent and not
        recorded is sent again when its lease has ended. Raises `StorageUnavailable` and `CommitUnknown`.
        """
        if not self._rooms.has(endpoint_id):
            return self._busy(endpoint_id, attempts)
        with self._rooms.taken(endpoint_id):
            began_s = boot_clock_s()
            async with self._database.transaction() as connection:
                token = random_id("lease")
                taken = await lease_handed_over(
                    connection, delivery_id, attempts=attempts, token=token, lease_s=LEASE_S
                )
            if not isinstance(taken, Lease):
                return taken
            if boot_clock_s() >= began_s + LEASE_S - DEADLINE_S - STOPPED_CLOCK_S:
                raise StorageUnavailable("the lease took too long to get")
            return await self._send(taken)

    async def _send(self, lease: Lease) -> NotDue:
        attempt = await self._sender.attempt(lease)
        self._rooms.judge(lease.endpoint_id, attempt)
        self._turns.lasted(lease.endpoint_id, attempt.duration_ms / 1_000)
        completion = conclude(lease, attempt, jitter=_jitter.uniform(-1, 1))
        observe(lease, attempt, completion)
        recorded = await self._record(completion)
        if recorded is None:  # the lease was lost, or what was repeated had been recorded
            raise StorageUnavailable("somebody else has the delivery")
        error = attempt.record()["error"]
        return NotDue(
            recorded.status, recorded.holder, recorded.attempts, recorded.next_attempt_at, reason=error
        )

    async def _record(self, completion: Completion) -> RecordedCompletion | None:
        """Tried for some seconds: what is not on record will be sent again."""
        for delay_s in (*_RECORD_AGAIN_S, None):
            try:
                async with self._database.transaction() as connection:
                    done = await complete(connection, [completion])
                return done.get(completion.delivery_id)
            except (StorageUnavailable, CommitUnknown) as error:
                if delay_s is None:
                    raise
                log.warning("webhook_not_recorded_yet", delivery_id=completion.delivery_id, error=error.code)
                await asyncio.sleep(delay_s)
        raise AssertionError

    def _busy(self, endpoint_id: str, attempts: int) -> NotDue:
        hung = self._rooms.hung(endpoint_id)
        wait_s = _jitter.uniform(*HUNG_WAIT_S) if hung else self._turns.next_s(endpoint_id)
        until = datetime.now(UTC) + timedelta(seconds=wait_s)
        return NotDue(DeliveryStatus.PENDING, Holder.WORKFLOW, attempts, until, "the endpoint is busy")


class EndpointTurns:
    """When those who found an endpoint busy come again: one after the other, as fast as it answers."""

    def __init__(self, at_a_time: int) -> None:
        self._at_a_time = at_a_time
        self._apart_s: dict[str, float] = {}
        self._last_s: dict[str, float] = {}

    def lasted(self, endpoint_id: str, duration_s: float) -> None:
        """The endpoint's latest attempt took so long."""
        if len(self._apart_s) >= TURNS_MAX:
            self._apart_s.clear()
        self._apart_s[endpoint_id] = max(duration_s / self._at_a_time, TURN_APART_S)

    def next_s(self, endpoint_id: str) -> float:
        """Seconds until one more may come; `TURN_S` where nobody waits, `TURN_S_MAX` at most."""
        now_s = boot_clock_s()
        if len(self._last_s) >= TURNS_MAX:
            self._last_s.clear()
        after_s = self._last_s.get(endpoint_id, 0.0) + self._apart_s.get(endpoint_id, TURN_APART_S)
        turn_s = self._last_s[endpoint_id] = min(max(now_s + TURN_S, after_s), now_s + TURN_S_MAX)
        return turn_s - now_s

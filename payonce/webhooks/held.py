"""Attempts at deliveries that workflows hold: the same lease, the same sender, the same record as the relay's."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Final

from payonce.connectors.http import boot_clock_s
from payonce.domain.ids import random_id
from payonce.logging import get_logger
from payonce.storage.database import CommitUnknown, Database, StorageUnavailable
from payonce.storage.deliveries import Completion, Lease, Recorded, complete
from payonce.storage.taking import Standing, take_held
from payonce.webhooks.delivery import DEADLINE_S, Sender, conclude
from payonce.webhooks.observing import observe
from payonce.webhooks.rooms import Rooms

LEASE_S: Final = 30.0
STOPPED_CLOCK_S: Final = 2.0  # of a lease that no attempt may use: clocks of two machines, and the completion
PER_ENDPOINT: Final = 4
BUSY_WAIT_S: Final = (30.0, 120.0)  # drawn between, so that those who wait for one endpoint spread
_RECORD_AGAIN_S: Final = (0.1, 0.5, 1.0, 2.0)

log = get_logger(__name__)
_jitter: Final = random.SystemRandom()


class HeldAttempts:
    """Makes one attempt at a time at each held delivery, a few at each endpoint."""

    def __init__(self, database: Database, sender: Sender, *, rooms: Rooms | None = None) -> None:
        self._database = database
        self._sender = sender
        self._rooms = rooms or Rooms(PER_ENDPOINT)

    async def attempt(self, delivery_id: str, *, endpoint_id: str, attempts: int) -> Standing | None:
        """How the delivery stands after the next attempt was made and recorded, where it could be made now.

        `attempts` were made before. None: there is no such delivery. Safe to repeat: what was sent and not
        recorded is sent again when its lease has ended. Raises `StorageUnavailable` and `CommitUnknown`.
        """
        if not self._rooms.has(endpoint_id):
            return _busy(attempts)
        with self._rooms.taken(endpoint_id):
            began_s = boot_clock_s()
            async with self._database.transaction() as connection:
                token = random_id("lease")
                taken = await take_held(
                    connection, delivery_id, attempts=attempts, token=token, lease_s=LEASE_S
                )
            if not isinstance(taken, Lease):
                return taken
            if boot_clock_s() >= began_s + LEASE_S - DEADLINE_S - STOPPED_CLOCK_S:
                raise StorageUnavailable("the lease took too long to get")
            return await self._send(taken)

    async def _send(self, lease: Lease) -> Standing:
        attempt = await self._sender.attempt(lease)
        self._rooms.judge(lease.endpoint_id, attempt)
        completion = conclude(lease, attempt, jitter=_jitter.uniform(-1, 1))
        observe(lease, attempt, completion)
        recorded = await self._record(completion)
        if recorded is None:  # the lease was lost, or what was repeated had been recorded
            raise StorageUnavailable("somebody else has the delivery")
        error = attempt.record()["error"]
        return Standing(
            recorded.status, recorded.holder, recorded.attempts, recorded.next_attempt_at, reason=error
        )

    async def _record(self, completion: Completion) -> Recorded | None:
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


def _busy(attempts: int) -> Standing:
    until = datetime.now(UTC) + timedelta(seconds=_jitter.uniform(*BUSY_WAIT_S))
    return Standing("pending", "workflow", attempts, until, "the endpoint is busy")

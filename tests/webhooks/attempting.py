"""Deliveries taken and completed as a relay does it, without sending anything."""

from datetime import datetime
from typing import Any

from payonce.domain.ids import random_id
from payonce.storage.webhooks.completions import Completion, Lease, RecordedCompletion, complete
from payonce.storage.webhooks.queue import Lane, lease_due
from tests.webhooks.shop import Shop

ATTEMPT = {"at": "2026-11-22T05:46:00.000Z", "status_code": 500, "duration_ms": 3, "error": "timed_out"}


async def take(shop: Shop, lane: Lane = Lane.FIRST, *, limit: int = 100) -> list[Lease]:
    """The leases on what is due in the lane."""
    async with shop.database.transaction() as connection:
        taken = await lease_due(
            connection, lane, token=random_id("lease"), lease_s=30, limit=limit, room_each=limit, rooms={}
        )
    return list(taken.leases)


def ended(lease: Lease, status: Any, **more: Any) -> Completion:
    """An attempt under the lease came to this; a pending one is due again at once."""
    return Completion(
        delivery_id=lease.delivery_id,
        token=lease.token,
        event_id=lease.event_id,
        event_type=lease.event_type,
        endpoint_id=lease.endpoint_id,
        attempt=ATTEMPT,
        status=status,
        troubled=lease.troubled,
        **({"delay_s": 0.0} if status == "pending" else {}) | more,
    )


async def record(
    shop: Shop, *completions: Completion, now: datetime | None = None, hand_over: bool = False
) -> dict[str, RecordedCompletion]:
    async with shop.database.transaction() as connection:
        return await complete(connection, completions, now=now, hand_over=hand_over)

"""A relay that hands failed deliveries to workflows, and what stands in for its parts."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from pydantic import SecretStr
from temporalio.client import Client, WorkflowExecutionStatus

from payonce.domain.errors import NotHandedOver
from payonce.domain.ids import random_id
from payonce.runtime import open_runtime
from payonce.settings import SealingKeySettings, Settings
from payonce.storage.webhooks.completions import Completion, Lease, complete
from payonce.storage.webhooks.handover import HandedOver
from payonce.storage.webhooks.queue import Lane, NotDue, lease_due, lease_handed_over
from payonce.webhooks.attempt import DeliveryAttempt, Sender
from payonce.webhooks.secrets import SigningSecrets
from tests.support.eventually import eventually
from tests.webhooks.shop import SEALER, Shop
from workers.webhooks.handover import HandOver, handing_over
from workers.webhooks.relay import Relay

SECRETS = SigningSecrets(SEALER)
SENDER = Sender(allow_loopback=True, secrets=SECRETS)
URL = "https://merchant.example/"
FAILED = {"at": "2026-11-22T05:46:00.000Z", "status_code": 500, "duration_ms": 3, "error": "timed_out"}
TEMPORAL_AWAY = "127.0.0.1:1"


class CrashingSender(Sender):
    """Sends, and never comes back to say so."""

    async def attempt(self, lease: Lease) -> DeliveryAttempt:
        await super().attempt(lease)
        await asyncio.Event().wait()
        raise AssertionError


class WithOlderRuns:
    """Temporal, where every delivery has a workflow that sleeps already."""

    async def start_delivery(self, held: HandedOver) -> bool:
        return False


class UnreachableTemporal:
    """Starts nothing."""

    def __init__(self) -> None:
        self.asked = 0

    async def start_delivery(self, held: HandedOver) -> bool:
        self.asked += 1
        raise NotHandedOver("UNAVAILABLE")


@asynccontextmanager
async def relay_process(shop: Shop, redis_url: str, temporal_address: str) -> AsyncIterator[HandOver]:
    """All that `python -m workers relay` runs, while the block runs."""
    settings = Settings(
        database_url=shop.database_url,
        redis_url=redis_url,
        temporal_address=temporal_address,
        derivation_key=SecretStr("k" * 32),
        allow_loopback_webhooks=True,
        webhook_sealing_keys=(
            SealingKeySettings(id="test", key=SecretStr(base64.b64encode(b"s" * 32).decode())),
        ),
    )
    stop, heard = asyncio.Event(), asyncio.Event()
    async with open_runtime(settings) as runtime, handing_over(runtime, SENDER, stop) as hand_over:
        relay = asyncio.create_task(Relay(shop.database, SENDER, hand_over=hand_over).run(stop, heard=heard))
        try:
            yield hand_over
        finally:
            stop.set()
            async with asyncio.timeout(60):
                await relay


@asynccontextmanager
async def relaying(shop: Shop, hand_over: HandOver) -> AsyncIterator[None]:
    stop, heard = asyncio.Event(), asyncio.Event()
    relay = asyncio.create_task(Relay(shop.database, SENDER, hand_over=hand_over).run(stop, heard=heard))
    try:
        yield
    finally:
        stop.set()
        await relay
        await hand_over.drain()


async def fail_first_attempts(shop: Shop, *, hand_over: bool = True, delay_s: float = 0.0) -> list[Lease]:
    """Every due delivery was attempted once, in vain."""
    async with shop.database.transaction() as connection:
        taken = await lease_due(
            connection, Lane.FIRST, token="lease_1", lease_s=30, limit=100, room_each=100, rooms={}
        )
        failed = [
            Completion(
                delivery_id=lease.delivery_id,
                token=lease.token,
                event_id=lease.event_id,
                event_type=lease.event_type,
                endpoint_id=lease.endpoint_id,
                attempt=FAILED,
                status="pending",
                delay_s=delay_s,
            )
            for lease in taken.leases
        ]
        await complete(connection, failed, hand_over=hand_over)
    return list(taken.leases)


async def take_it(shop: Shop, lease: Lease, *, attempts: int = 1) -> Lease | NotDue | None:
    async with shop.database.transaction() as connection:
        return await lease_handed_over(
            connection, lease.delivery_id, attempts=attempts, token=random_id("lease"), lease_s=30
        )


async def holders(shop: Shop) -> list[str]:
    return sorted(row["holder"] for row in await shop.deliveries())


async def status_of(client: Client, workflow_id: str) -> WorkflowExecutionStatus | None:
    with suppress(Exception):
        return (await client.get_workflow_handle(workflow_id).describe()).status
    return None


async def connected(hand_over: HandOver) -> None:
    """Returns when failed deliveries go to workflows."""

    async def ready() -> bool:
        return hand_over.ready

    await eventually(ready)

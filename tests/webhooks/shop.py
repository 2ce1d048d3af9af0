"""A merchant with endpoints, whose events are recorded as the product records them."""

import asyncio
import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from sqlalchemy import RowMapping, text

from payonce.domain.ids import IdFactory
from payonce.domain.payment import Payment, PaymentStatus
from payonce.domain.settlement import Draft
from payonce.sealing import Sealer, SealingKey
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import Database
from payonce.storage.merchants import Merchant, create_merchant
from payonce.storage.outbox import add_events
from payonce.storage.packing import body_of
from payonce.storage.payments import insert_payment, locked_to_record
from payonce.storage.webhooks.endpoints import Endpoint, insert_endpoint
from payonce.storage.webhooks.secrets import insert_secret, seal_secret
from payonce.webhooks.signing import new_secret
from tests.support.ids import ids_of_key

DERIVATION_KEY = "k" * 32  # of the processes that tests start on a shop's database
IDS = ids_of_key(DERIVATION_KEY)
CLOCKS_DIFFER = timedelta(seconds=1)  # ours and Postgres', so that what is recorded is due
SEALER = Sealer([SealingKey("test", b"s" * 32)])
SEALING_KEYS = ({"id": "test", "key": base64.b64encode(b"s" * 32).decode()},)  # the same, as a setting


@dataclass
class Shop:
    """A merchant whose events are recorded as a payment's state changes record them."""

    database: Database
    database_url: str
    merchant: Merchant
    numbers: "count[int]" = field(default_factory=count)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)  # by endpoint, as the merchant has them

    async def endpoint(self, url: str, **changes: Any) -> Endpoint:
        """A new endpoint that wants everything."""
        values: dict[str, Any] = {
            "id": IDS.endpoint(merchant_id=self.merchant.id, mode="test", key=str(next(self.numbers))),
            "merchant_id": self.merchant.id,
            "mode": "test",
            "url": url,
            "events": ("*",),
            "description": None,
            "ordered": False,
            "enabled": True,
            "created_at": datetime.now(UTC),
        }
        endpoint = Endpoint(**{**values, **changes})
        plain = self.secrets[endpoint.id] = new_secret()
        stored = seal_secret(SEALER, plain, endpoint_id=endpoint.id, algorithm="hmac", at=endpoint.created_at)
        async with self.database.transaction() as connection:
            await insert_endpoint(connection, endpoint)
            await insert_secret(connection, stored)
        return endpoint

    async def record(self, *types: str) -> str:
        """A payment with one event of each type; its id."""
        async with self.database.transaction() as connection:
            payment, _ = await self._write(connection, *types)
        return payment.id

    async def write(self, connection: Connection, *types: str) -> list[str]:
        """As `record`, in a transaction of the caller's, to which Postgres has it; the ids of the events."""
        _, event_ids = await self._write(connection, *types)
        await connection.execute(text("SELECT"))  # what waits goes out with the next read
        return event_ids

    async def _write(self, connection: Connection, *types: str) -> tuple[Payment, list[str]]:
        now, key = datetime.now(UTC) - CLOCKS_DIFFER, str(next(self.numbers))
        payment = Payment(
            id=IDS.payment(merchant_id=self.merchant.id, mode="test", key=key),
            merchant_id=self.merchant.id,
            mode="test",
            status=PaymentStatus.AUTHORIZED,
            amount_minor=1099,
            currency="INR",
            capture_method="manual",
            payment_method={},
            idempotency_key=key,
            connector="sandbox_card",
            connector_account="sandbox_card",
            created_at=now,
            updated_at=now,
            amount_authorized_minor=1099,
            sequence=len(types),
        )
        drafts = [
            Draft(type_, number, {"id": payment.id, "note": "₹10.99"})
            for number, type_ in enumerate(types, 1)
        ]
        await insert_payment(connection, payment)
        return payment, await write_events(connection, payment, drafts, now=now)

    async def recorded(self, count: int) -> None:
        """Returns when there are so many events."""
        query = text("SELECT count(*) FROM events")
        async with asyncio.timeout(60):
            while True:
                async with self.database.transaction() as connection:
                    if (await connection.execute(query)).scalar_one() >= count:
                        return
                await asyncio.sleep(0.005)

    async def event_id(self, payment_id: str, sequence: int) -> str:
        """The id of the payment's event with this number."""
        query = text("SELECT id FROM events WHERE payment_id = :payment_id AND sequence = :sequence")
        async with self.database.transaction() as connection:
            found = await connection.execute(query, {"payment_id": payment_id, "sequence": sequence})
            return str(found.scalar_one())

    async def deliveries(self) -> list[dict[str, Any]]:
        """Every delivery with its event's type, in the order of the events."""
        query = text(
            "SELECT delivery.*, event.type, event.body, event.created_at AS event_at"
            " FROM webhook_deliveries AS delivery"
            " JOIN events AS event ON event.id = delivery.event_id ORDER BY event.created_at, event.sequence"
        )
        async with self.database.transaction() as connection:
            rows = (await connection.execute(query)).mappings()
            return [{**row, "body": _body(row)} for row in rows]

    async def statuses(self) -> list[str]:
        return [row["status"] for row in await self.deliveries()]

    async def shows(self, *statuses: str, within_s: float = 60.0) -> None:
        """Returns when the deliveries have these statuses."""
        async with asyncio.timeout(within_s):
            while await self.statuses() != list(statuses):
                await asyncio.sleep(0.02)

    async def attempted(self, times: int) -> list[dict[str, Any]]:
        """The attempts of the only delivery, once there are so many on record."""
        async with asyncio.timeout(60):
            while len((await self.deliveries())[0]["attempts"]) < times:
                await asyncio.sleep(0.02)
        return list((await self.deliveries())[0]["attempts"])

    async def execute(self, statement: str, **parameters: Any) -> None:
        async with self.database.transaction() as connection:
            await connection.execute(text(statement), parameters)

    async def make_due(self) -> None:
        """What waits for its next attempt is due now."""
        await self.execute("UPDATE webhook_deliveries SET next_attempt_at = now() WHERE status = 'pending'")

    async def end_leases(self) -> None:
        """Every lease has ended, as it does when its time is over."""
        await self.execute("UPDATE webhook_deliveries SET lease_until = now() WHERE lease_until IS NOT NULL")


def _body(row: RowMapping) -> bytes:
    return body_of({**row, "id": row["event_id"], "created_at": row["event_at"]})


async def write_events(
    connection: Connection,
    payment: Payment,
    drafts: Sequence[Draft],
    *,
    ids: IdFactory = IDS,
    now: datetime | None = None,
) -> list[str]:
    """The events as the recording function writes them, under the payment's lock; their ids."""
    locked = await connection.fetch(locked_to_record(payment.id))
    assert locked is not None
    now = now or datetime.now(UTC)
    await add_events(connection, payment, drafts, ids=ids, xid=locked.xid, now=now)
    return [ids.event(payment_id=payment.id, sequence=draft.sequence, xid=locked.xid) for draft in drafts]


@asynccontextmanager
async def open_shop(database_url: str) -> AsyncIterator[Shop]:
    """A new merchant in the database, which is connected to while the block runs."""
    database = Database(database_url, pool_size=8, packs=True)
    try:
        async with database.transaction() as connection:
            merchant = await create_merchant(connection, name="Shop")
        yield Shop(database, database_url, merchant)
    finally:
        await database.close()

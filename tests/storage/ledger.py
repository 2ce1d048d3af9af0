"""A migrated Postgres with one merchant, and the rows that a test needs in it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import SecretStr
from redis.exceptions import RedisError
from sqlalchemy import text

from payonce.accounts import Accounts
from payonce.domain.claiming import CommitEnd
from payonce.domain.disputes import Dispute, DisputeStatus
from payonce.domain.ids import random_id
from payonce.domain.operations import Attempt, AttemptState, Operation, OperationKind, Subject
from payonce.domain.payment import Payment, PaymentStatus
from payonce.recording.recorder import Recorder
from payonce.rights import Rights
from payonce.runtime import Runtime
from payonce.settings import Settings
from payonce.storage import attempts, disputes, idempotency, payments
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import CommitUnknown, Database, StorageUnavailable
from payonce.storage.driver.pools import Pools
from payonce.storage.idempotency import Key
from payonce.storage.merchants import create_merchant
from payonce.storage.webhooks.endpoints import Endpoint, insert_endpoint
from payonce.wakeups import WakeUps
from tests.support import rows
from tests.support.databases import as_api
from tests.support.eventually import eventually
from tests.support.ids import ids_of_key

DERIVATION_KEY = "d" * 32  # of the processes that tests start on a ledger's database
IDS = ids_of_key(DERIVATION_KEY)


class FakeRedis:
    """Remembers what was published, and tells nobody."""

    def __init__(self) -> None:
        self.published: list[tuple[str, str]] = []

    async def publish(self, channel: str, message: str) -> int:
        self.published.append((channel, message))
        return 0

    def pubsub(self) -> Any:
        raise RedisError("nobody is told")


class FlakyDatabase(Database):
    """A database whose next transactions end as `ends` says, one after the other; then all is well again.

    `"lost answer"`: the commit holds, and nobody hears of it. `"lost commit"`: it does not hold, and nobody can
    tell. `"down"`: it does not hold, and everybody knows. `"late answer"`: it holds, which is told too late.
    """

    ends: list[str]

    @asynccontextmanager
    async def transaction(self, pools: Pools | None = None) -> AsyncIterator[Connection]:
        end = self.ends.pop(0) if self.ends else ""
        async with super().transaction(pools) as connection:
            yield connection
            if end == "lost commit":
                raise CommitUnknown
            if end == "down":
                raise StorageUnavailable
        if end == "lost answer":
            raise CommitUnknown
        if end == "late answer":
            loop = asyncio.get_running_loop()
            ended: asyncio.Future[CommitEnd] = loop.create_future()
            loop.call_later(0.05, ended.set_result, CommitEnd.LATE)
            raise CommitUnknown(ended=ended)


@dataclass
class Ledger:
    """One merchant's payments, written as admission writes them."""

    url: str
    database: Database
    merchant_id: str
    redis: FakeRedis = field(default_factory=FakeRedis)

    def recorder(self, database: Database | None = None) -> Recorder:
        redis: Any = self.redis
        return Recorder(database or self.database, IDS, WakeUps(redis))

    @asynccontextmanager
    async def flaky(self, *ends: str) -> AsyncIterator[FlakyDatabase]:
        """A second pool on the same database, whose transactions end so."""
        database = FlakyDatabase(self.url, pool_size=4, api_url=as_api(self.url))
        database.ends = list(ends)
        try:
            yield database
        finally:
            await database.close()

    async def add_payment(self, status: PaymentStatus = PaymentStatus.INIT, **changes: Any) -> Payment:
        """A payment in this status; `sequence` 0, since none of its events are here."""
        values = {
            "id": random_id("pay"),
            "merchant_id": self.merchant_id,
            "idempotency_key": random_id("key"),
            "sequence": 0,
            "capture_before": datetime.now(UTC) + timedelta(days=7) if status.capturable else None,
        }
        added = rows.payment(status, **{**values, **changes})
        async with self.database.transaction() as connection:
            await payments.insert_payment(connection, added)
        return added

    async def add_operation(
        self,
        of: Payment,
        kind: OperationKind,
        *,
        claimed: bool = True,
        state: AttemptState = AttemptState.CLAIMED,
        sweep_in_s: float = 10.0,
        **changes: Any,
    ) -> Operation:
        """The operation, admitted: its key, its reservation and, when `claimed`, its first attempt."""
        id_ = of.id if kind is OperationKind.AUTHORIZE else random_id("op")
        if kind is OperationKind.ACCEPT:
            changes = {"dispute_id": await self.add_dispute(of), **changes}
        values = {"id": id_, "payment_id": of.id, "merchant_id": of.merchant_id, **changes}
        added = rows.operation(kind, **values)
        now = datetime.now(UTC)
        async with self.database.transaction() as connection:
            locked = await connection.fetch(payments.locked(of.id))
            assert locked is not None
            await payments.save_payment(connection, locked, _reserved(locked, added))
            await payments.insert_operation(connection, added, sweep_at=now + timedelta(seconds=sweep_in_s))
            await idempotency.claim_key(connection, self.key(added, of))
            if claimed:
                await _claim(connection, added, state)
        return added

    async def add_dispute(self, of: Payment) -> str:
        """The id of a dispute of all of the payment, which waits for its merchant."""
        now, acquirer_id = datetime.now(UTC), random_id("dsp")
        dispute = Dispute(
            id=IDS.dispute(account="account_1", acquirer_id=acquirer_id),
            payment_id=of.id,
            merchant_id=of.merchant_id,
            mode=of.mode,
            connector="sandbox_card",
            connector_account="account_1",
            acquirer_id=acquirer_id,
            amount_minor=of.amount_minor,
            currency=of.currency,
            amount_withdrawn_minor=0,
            stage="chargeback",
            status=DisputeStatus.NEEDS_RESPONSE,
            reason="fraudulent",
            network_reason_code=None,
            refunded_before_minor=0,
            evidence_due_by=None,
            warned_at=None,
            said_at=now,
            created_at=now,
            updated_at=now,
        )
        async with self.database.transaction() as connection:
            await disputes.save(connection, None, dispute)
        return dispute.id

    async def claim(self, of: Operation, state: AttemptState = AttemptState.CLAIMED) -> None:
        """Its first attempt, for an operation of our own."""
        async with self.database.transaction() as connection:
            await connection.fetch(payments.locked(of.payment_id))
            await _claim(connection, of, state)

    def key(self, of: Operation, paid: Payment, **changes: Any) -> Key:
        """The key whose request the operation is; a create's is the payment's."""
        values: dict[str, Any] = {
            "merchant_id": of.merchant_id,
            "mode": of.mode,
            "key": paid.idempotency_key if of.id == paid.id else f"key of {of.id}",
            "fingerprint": b"f",
            "operation_id": of.id,
            "location": f"/v1/payments/{of.payment_id}",
            "request_id": "req_1",
            "created_at": datetime.now(UTC),
        }
        return Key(**{**values, **changes})

    async def add_endpoint(self, *events: str, enabled: bool = True) -> Endpoint:
        endpoint = Endpoint(
            id=random_id("we"),
            merchant_id=self.merchant_id,
            mode="test",
            url="https://merchant.example/hook",
            events=events or ("*",),
            description=None,
            ordered=False,
            enabled=enabled,
            created_at=datetime.now(UTC),
        )
        async with self.database.transaction() as connection:
            await insert_endpoint(connection, endpoint)
        return endpoint

    async def payment(self, id_: str) -> Payment:
        async with self.database.transaction() as connection:
            found = await connection.fetch(payments.payment_of_any_merchant(id_))
        assert found is not None
        return found

    async def operation(self, id_: str) -> Operation:
        async with self.database.transaction() as connection:
            found = await connection.fetch(payments.operation_by_id(id_))
        assert found is not None
        return found

    async def latest(self, operation_id: str) -> Attempt:
        async with self.database.transaction() as connection:
            found = await connection.fetch(attempts.latest(operation_id))
        assert found is not None
        return found

    async def stored_key(self, of: Operation) -> Key:
        key = self.key(of, await self.payment(of.payment_id)).key
        async with self.database.transaction() as connection:
            found = await idempotency.find_key(connection, merchant_id=of.merchant_id, mode=of.mode, key=key)
        assert found is not None
        return found

    async def events(self, payment_id: str) -> list[tuple[int, str]]:
        """The payment's events, oldest first."""
        query = "SELECT sequence, type FROM events WHERE payment_id = :id ORDER BY sequence"
        return [(row.sequence, row.type) for row in await self.rows(query, id=payment_id)]

    async def rows(self, query: str, **values: Any) -> list[Any]:
        async with self.database.transaction() as connection:
            result = await connection.execute(text(query), values)
            return list(result) if result.returns_rows else []

    async def count(self, table: str) -> int:
        found = await self.rows(f"SELECT count(*) AS n FROM {table}")
        return int(found[0].n)

    async def waits_for_a_lock(self, task: "asyncio.Task[Any]") -> None:
        """Returns once some connection waits for a row that another holds; the task is not done by then."""

        async def waiting() -> bool:
            assert not task.done(), "nothing held it up"
            query = "SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            return bool((await self.rows(query))[0].n)

        await eventually(waiting)


def settings_of(ledger: Ledger, **changes: Any) -> Settings:
    """Those of a process on the ledger's database, with nothing else to be reached."""
    values = {
        "database_url": ledger.url,
        "redis_url": "redis://nowhere",
        "temporal_address": "nowhere:1",
        "derivation_key": SecretStr(DERIVATION_KEY),
    }
    return Settings(**values | changes)


def runtime_of(ledger: Ledger) -> Runtime:
    """Of such a process, without connector accounts."""
    redis: Any = FakeRedis()
    recorder = ledger.recorder()
    return Runtime(
        settings_of(ledger), ledger.database, redis, WakeUps(redis), IDS, Rights(), recorder, Accounts()
    )


def subject(of: Operation) -> Subject:
    return Subject(of.payment_id, of.id)


@asynccontextmanager
async def open_ledger(url: str, *, packs: bool = False) -> AsyncIterator[Ledger]:
    """A ledger with a merchant in an empty, migrated database; API keys are served as payonce_api."""
    database = Database(url, pool_size=40, api_url=as_api(url), packs=packs)
    try:
        async with database.transaction() as connection:
            merchant = await create_merchant(connection, name="Shop")
        yield Ledger(url, database, merchant.id)
    finally:
        await database.close()


def _reserved(payment: Payment, of: Operation) -> Payment:
    """The payment with what the operation holds of it."""
    if of.kind.exclusive:
        return replace(payment, pending_operation=rows.under_way(of))
    if of.kind is OperationKind.REFUND:
        held = payment.amount_refund_pending_minor + of.amount_minor
        return replace(payment, amount_refund_pending_minor=held)
    return payment


async def _claim(connection: Connection, of: Operation, state: AttemptState) -> None:
    await attempts.insert_claim(
        connection,
        of,
        number=1,
        connector="sandbox_card",
        connector_account="account_1",
        owner="boot_1",
        token="run_1",
    )
    before = await connection.fetch(attempts.latest(of.id))
    assert before is not None
    await attempts.save_attempt(connection, before, replace(before, state=state))

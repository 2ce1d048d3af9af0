"""The API over a real Postgres, with the attempts of its workflows run in this process; the acquirer is played."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import httpx
from fastapi import FastAPI
from redis.asyncio import Redis
from sqlalchemy import text
from temporalio.testing import ActivityEnvironment

from activities.attempting import Attempting
from activities.messages import OperationRequest, PaymentRequest
from api.admission.admission import Admission
from api.app import build_app
from payonce.claims import Claimant
from payonce.connectors.base import Call, MaySend
from payonce.domain.errors import NotSent
from payonce.domain.facts import Approved
from payonce.domain.operations import OperationKind
from payonce.paying import Numbers
from payonce.receipts.store import ReceiptStore
from payonce.runtime import Runtime
from payonce.storage.driver.database import Database
from payonce.storage.merchants import create_key
from payonce.vault.saving import Vault
from tests.api.fakes import payment_body
from tests.storage.acting import FakeConnector, stage_of
from tests.storage.admitting import Shop, Temporal
from tests.storage.ledger import Ledger
from workers.inbox import Inbox

RUNS_MAX = 5  # of one hand-over, as a workflow runs its activity again


@dataclass
class Bank(FakeConnector):
    """Approves everything, each time it is sent; `movements` are the references under which money moved."""

    movements: list[str] = field(default_factory=list)
    opens: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.opens.set()

    async def send(self, call: Call, *, may_send: MaySend) -> Any:
        if not may_send():
            raise NotSent
        self.movements.append(call.reference)
        await self.opens.wait()
        return Approved(f"acq-{call.reference}", call.amount_minor, call.currency, stage=stage_of(call))


@dataclass
class CarriesOut(Temporal):
    """Runs the attempt of whatever it is handed, and again where that ends in an error."""

    runtime: Runtime | None = None
    running: set["asyncio.Task[None]"] = field(default_factory=set)

    async def start_workflow(self, *_run: Any, args: list[Any], **_options: Any) -> None:
        request = args[0]
        if isinstance(request, PaymentRequest):
            request = OperationRequest(request.payment_id, request.payment_id, OperationKind.AUTHORIZE)
        task = asyncio.create_task(self._carry_out(request))
        self.running.add(task)
        task.add_done_callback(self.running.discard)

    async def _carry_out(self, request: OperationRequest) -> None:
        for left in reversed(range(RUNS_MAX)):
            try:
                await self._run(request)
                return
            except Exception:
                if not left:
                    raise

    async def _run(self, request: OperationRequest) -> None:
        assert self.runtime is not None
        attempting = Attempting(
            rights=self.runtime.rights,
            claimant=Claimant(self.runtime.database, self.runtime.rights, self.runtime.accounts),
            recorder=self.runtime.recorder,
            accounts=self.runtime.accounts,
            fail_over=self.runtime.database.fail_over,
            numbers=Numbers(self.runtime.database, self.runtime.vault),
        )
        environment = ActivityEnvironment()
        environment.info = replace(environment.info, is_local=True)
        await environment.run(getattr(attempting, request.kind), request)


@dataclass(frozen=True)
class Served:
    """A merchant's client, and what is behind the API."""

    client: httpx.AsyncClient
    ledger: Ledger
    runtime: Runtime
    bank: Bank
    app: FastAPI

    async def create(self, key: str, **members: Any) -> httpx.Response:
        return await self._post("/v1/payments", payment_body(**members), key)

    async def capture(self, payment_id: str, key: str) -> httpx.Response:
        return await self._post(f"/v1/payments/{payment_id}/capture", {}, key)

    async def refund(self, payment_id: str, key: str, *, amount: int) -> httpx.Response:
        return await self._post(f"/v1/payments/{payment_id}/refunds", {"amount": amount}, key)

    async def payment(self, payment_id: str) -> httpx.Response:
        return await self.client.get(f"/v1/payments/{payment_id}")

    async def _post(self, path: str, body: dict[str, Any], key: str) -> httpx.Response:
        return await self.client.post(path, json=body, headers={"Idempotency-Key": key})


def code_of(response: httpx.Response) -> tuple[int, str]:
    """The status and the problem's code."""
    return response.status_code, response.json()["code"]


@asynccontextmanager
async def serving(
    ledger: Ledger,
    *,
    database: Database | None = None,
    receipts: ReceiptStore | None = None,
    vault: Vault | None = None,
) -> AsyncIterator[Served]:
    """The API answers while the block runs; Redis is away, which only costs latency."""
    bank, temporal = Bank(), CarriesOut()
    shop = Shop(ledger, bank, temporal, database, in_flight_max=50)
    recorder = ledger.recorder(database)
    redis = Redis.from_url("redis://127.0.0.1:1")
    runtime = replace(
        shop.runtime,
        redis=redis,
        recorder=recorder,
        wakeups=recorder._wakeups,
        receipts=receipts,
        vault=vault,
    )
    temporal.runtime = runtime
    played: Any = temporal
    app = build_app(runtime, Admission(runtime, played), {}, Inbox(runtime, played))
    async with ledger.database.transaction() as connection:
        secret = runtime.settings.secret_for("api_keys")
        _, key = await create_key(connection, merchant_id=ledger.merchant_id, mode="test", secret=secret)
    try:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=cast("Any", app)),
            base_url="http://api.test",
            headers={"Authorization": f"Bearer {key}"},
        ) as client:
            yield Served(client, ledger, runtime, bank, app)
    finally:
        bank.opens.set()
        if temporal.running:
            await asyncio.wait(temporal.running)
        await recorder.drain()
        await redis.aclose()


async def write_nothing(database: Database) -> None:
    """One transaction that has something to commit, and leaves nothing behind."""
    async with database.transaction() as connection:
        await connection.execute(text("SELECT pg_logical_emit_message(true, 'test', '')"))

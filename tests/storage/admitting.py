"""A shop whose requests are admitted for real; Temporal and the acquirer are played."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment

from activities.attempting import Attempting
from activities.messages import OperationRequest, Progress
from api.admission.admission import Admission
from api.admission.requests import NewPayment, Post
from api.admission.waiting import Result
from payonce.accounts import Accounts
from payonce.claims import Claimant
from payonce.connectors.base import Call, MaySend
from payonce.domain.cards import Card
from payonce.domain.errors import NotSent
from payonce.domain.facts import Approved
from payonce.domain.operations import AttemptState, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.domain.routing import ConnectorAccount
from payonce.issuers import Issuers
from payonce.rights import Right, Rights
from payonce.runtime import Runtime
from payonce.storage.driver.database import Database
from payonce.storage.merchants import Caller
from payonce.wakeups import WakeUps
from tests.storage.acting import FakeConnector, stage_of
from tests.storage.ledger import IDS, FakeRedis, Ledger, settings_of
from tests.support.eventually import eventually

K, S, A, O = OperationKind, PaymentStatus, AttemptState, OperationStatus
ACCOUNT = ConnectorAccount(
    id="account_1", connector="sandbox_card", mode="test", base_url="http://nowhere", key="k", options={}
)
NEW = NewPayment(
    amount_minor=1000,
    currency="INR",
    capture_method="automatic",
    card=Card("4242424242424242", 12, 2040, "123"),
    payment_method={
        "type": "card",
        "card": {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2040},
    },
)


class Temporal:
    """Takes what it is handed; nothing is carried out but what the test runs itself."""

    def get_workflow_handle(self, _id: str) -> "Temporal":
        return self

    async def start_workflow(self, *_args: Any, **_options: Any) -> None:
        return None

    async def execute_update(self, *_args: Any, **_options: Any) -> None:
        await asyncio.Event().wait()


@dataclass
class FailsSecondHandOver(Temporal):
    """The second workflow start ends in an error once `lost` is set."""

    lost: asyncio.Event = field(default_factory=asyncio.Event)
    starts: int = 0

    async def start_workflow(self, *_args: Any, **_options: Any) -> None:
        self.starts += 1
        if self.starts == 2:
            await self.lost.wait()
            raise RPCError("deadline", RPCStatusCode.DEADLINE_EXCEEDED, b"")


@dataclass
class SlowConnector(FakeConnector):
    """Does not send the first call; approves every later one, as soon as `approves` is set."""

    approves: asyncio.Event = field(default_factory=asyncio.Event)
    sent: list[str] = field(default_factory=list)
    asked: int = 0

    async def send(self, call: Call, *, may_send: MaySend) -> Any:
        self.asked += 1
        if self.asked == 1 or not may_send():
            raise NotSent
        self.sent.append(call.reference)
        await self.approves.wait()
        return Approved(f"acq-{call.reference}", call.amount_minor, call.currency, stage=stage_of(call))


class WatchedRights(Rights):
    """Remembers which attempt was granted last."""

    granted = 0

    def grant(self, operation_id: str, right: Right) -> None:
        super().grant(operation_id, right)
        self.granted = right.attempt


@dataclass
class Shop:
    """One API process and its runs, on a database that may be a flaky one."""

    ledger: Ledger
    connector: Any = field(default_factory=FakeConnector)
    temporal: Any = field(default_factory=Temporal)
    database: Database | None = None
    in_flight_max: int = 10
    rights: WatchedRights = field(default_factory=WatchedRights)

    def __post_init__(self) -> None:
        settings = settings_of(self.ledger, in_flight_max=self.in_flight_max)
        redis: Any = FakeRedis()
        self.runtime = Runtime(
            settings,
            self.database or self.ledger.database,
            redis,
            WakeUps(redis),
            IDS,
            self.rights,
            self.ledger.recorder(),
            Accounts((ACCOUNT,), {"account_1": self.connector}),
            issuers=Issuers(self.ledger.database),
        )
        self.admission = Admission(self.runtime, self.temporal)
        self.payment_id = IDS.payment(merchant_id=self.ledger.merchant_id, mode="test", key="k")

    async def create(self, request_id: str) -> Result:
        return await self.admission.create_payment(
            replace(post(self.ledger, "k"), request_id=request_id), NEW
        )

    async def capture(self, payment_id: str) -> Result:
        return await self.admission.capture(post(self.ledger, "c"), payment_id, amount_minor=None, final=True)

    async def created(self, number: int, request_id: str) -> "asyncio.Task[Result]":
        """The request, which waits; the right to attempt `number` is granted."""
        request = asyncio.create_task(self.create(request_id))

        async def granted() -> bool:
            return self.rights.granted == number

        await eventually(granted)
        return request

    async def run(self) -> Progress:
        """One run of the authorization, in this process."""
        attempting = Attempting(
            rights=self.rights,
            claimant=Claimant(
                self.runtime.database,
                self.rights,
                self.runtime.accounts,
                pages=self.runtime.return_pages,
            ),
            recorder=self.runtime.recorder,
            accounts=self.runtime.accounts,
            fail_over=self.runtime.database.fail_over,
        )
        environment = ActivityEnvironment()
        environment.info = replace(environment.info, is_local=True)
        progress: Progress = await environment.run(
            attempting.authorize, OperationRequest(self.payment_id, self.payment_id, K.AUTHORIZE)
        )
        return progress

    async def on_the_wire(self) -> "asyncio.Task[Progress]":
        """A run whose call has left, and is not answered."""
        run = asyncio.create_task(self.run())

        async def left() -> bool:
            return bool(self.connector.sent)

        await eventually(left)
        return run

    async def latest(self) -> tuple[int, AttemptState]:
        attempt = await self.ledger.latest(self.payment_id)
        return attempt.number, attempt.state


class NoTemporal:
    """A Temporal that nobody can reach."""

    def get_workflow_handle(self, _id: str) -> "NoTemporal":
        return self

    async def start_workflow(self, *_args: Any, **_options: Any) -> None:
        raise RPCError("down", RPCStatusCode.UNAVAILABLE, b"")

    start_update = execute_update = start_workflow


def post(ledger: Ledger, key: str) -> Post:
    caller = Caller(ledger.merchant_id, "test", key_id="key_1")
    return Post(caller=caller, key=key, fingerprint=key.encode(), request_id=f"req_{key}", origin="192.0.2.7")

"""What a request is answered with when its COMMIT, its right or its attempt is in doubt."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment

from activities.attempting import Attempting
from activities.messages import OperationRequest, Progress
from api.admission import Admission
from api.commands import KeyInUse, NewPayment
from api.outcomes import Result, Unavailable
from api.rates import RateLimited
from payonce.claims import Claimant, Right, Rights
from payonce.connectors.base import Call, MaySend
from payonce.domain.answers import Answer, AnswerKind
from payonce.domain.cards import Card
from payonce.domain.errors import NotSent
from payonce.domain.operations import AttemptState, OperationKind, OperationStatus
from payonce.domain.outcomes import Approved, FailureCode, Reversed
from payonce.domain.payment import PaymentStatus
from payonce.domain.routing import ConnectorAccount
from payonce.runtime import Runtime
from payonce.settings import Settings
from payonce.storage import attempts
from payonce.storage.database import Database
from payonce.wakeups import WakeUps
from tests.storage.ledger import IDS, FakeRedis, Ledger, subject
from tests.storage.test_activities import CAPABILITIES, FakeConnector, Process
from tests.storage.test_admitting import NoTemporal, post
from tests.support.eventually import eventually
from tests.unit.rows import approval

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
        return Approved(f"acq-{call.reference}", call.amount_minor, call.currency)


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
        settings = Settings(
            database_url=self.ledger.url,
            redis_url="redis://nowhere",
            temporal_address="nowhere",
            derivation_key="d" * 32,  # type: ignore[arg-type]
            in_flight_max=self.in_flight_max,
        )
        redis: Any = FakeRedis()
        self.runtime = Runtime(
            settings,
            self.database or self.ledger.database,
            redis,
            WakeUps(redis),
            IDS,
            self.rights,
            self.ledger.recorder(),
            (ACCOUNT,),
            {"account_1": self.connector},
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
            claimant=Claimant(self.runtime.database, self.rights),
            recorder=self.runtime.recorder,
            connectors=self.runtime.connectors,
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


async def two_requests_with_the_second_attempt_on_the_wire(
    shop: Shop,
) -> tuple[list["asyncio.Task[Result]"], "asyncio.Task[Progress]"]:
    """The first attempt was not sent; while its run waits to go on, the merchant asks again."""
    first = await shop.created(1, "req_1")
    await shop.run()
    assert await shop.latest() == (1, A.NOT_SENT)
    second = await shop.created(2, "req_2")
    return [first, second], await shop.on_the_wire()


async def is_sent_once(
    shop: Shop, requests: list["asyncio.Task[Result]"], run: "asyncio.Task[Progress]"
) -> None:
    """Both requests were answered with 202, the claim stayed as it was, and its approval counts."""
    answered = await asyncio.gather(*requests)
    assert [result.answer for result in answered] == [None, None]
    assert await shop.latest() == (2, A.CLAIMED)
    shop.connector.approves.set()
    await run
    assert len(shop.connector.sent) == 1
    assert await shop.latest() == (2, A.APPROVED)
    assert (await shop.ledger.payment(shop.payment_id)).status is S.CAPTURED


async def test_requests_that_wait_no_longer_leave_what_is_on_the_wire_alone(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt's card, still in memory, passed for the second's right: a third request sent again."""
    monkeypatch.setattr("api.admission.ANSWER_WITHIN_S", 1.0)
    shop = Shop(ledger, SlowConnector())
    requests, run = await two_requests_with_the_second_attempt_on_the_wire(shop)
    await is_sent_once(shop, requests, run)


async def test_a_lost_hand_over_leaves_what_is_on_the_wire_alone(ledger: Ledger) -> None:
    """The request could not tell that its own right was taken, and gave the claim back."""
    temporal = FailsSecondHandOver()
    shop = Shop(ledger, SlowConnector(), temporal)
    requests, run = await two_requests_with_the_second_attempt_on_the_wire(shop)
    temporal.lost.set()
    await is_sent_once(shop, requests, run)


async def test_what_only_writes_is_not_answered_when_its_commit_was_lost(ledger: Ledger) -> None:
    async def work(connection: AsyncConnection) -> tuple[Answer, str]:
        return Answer(AnswerKind.ENDPOINT, b'{"id":"we_1"}'), "/v1/webhook_endpoints/we_1"

    async with ledger.flaky("lost commit") as database:
        shop = Shop(ledger, database=database)
        with pytest.raises(Unavailable):
            await shop.admission.execute_once(post(ledger, "e"), work)
    assert await ledger.count("idempotency_keys") == 0


async def test_a_refusal_is_not_answered_when_its_commit_was_lost(ledger: Ledger) -> None:
    """The key would be free, and the same request later be admitted."""
    paid = await ledger.add_payment(S.PROCESSING)
    async with ledger.flaky("lost commit") as database:
        with pytest.raises(Unavailable):
            await Shop(ledger, database=database).admission.refund(
                post(ledger, "r"), paid.id, amount_minor=1, reason=None, metadata={}
            )
    assert await ledger.count("idempotency_keys") == 0


async def test_an_approval_that_comes_while_reversing_is_reversed_by_its_own_operation(
    ledger: Ledger,
) -> None:
    """The acquirer had nothing to reverse yet, and accepted the call afterwards: money stayed held."""
    paid = await ledger.add_payment()
    of = await ledger.add_operation(paid, K.AUTHORIZE)
    recorder = ledger.recorder()
    await recorder.begin_reversal(subject(of), code=FailureCode.CARD_DATA_LOST)
    await recorder.record(subject(of), attempt=1, fact=approval(of))
    await recorder.record(subject(of), attempt=1, fact=Reversed())
    assert (await ledger.payment(paid.id)).status is S.FAILED
    assert "payment.late_success" in [type_ for _, type_ in await ledger.events(paid.id)]
    rows = await ledger.rows("SELECT kind, status, target_reference FROM operations ORDER BY kind")
    assert [row.kind for row in rows] == [K.AUTHORIZE, K.REVERSE]
    assert (rows[0].status, rows[1].status) == (O.FAILED, O.PENDING)
    assert rows[1].target_reference


async def test_a_change_that_may_have_been_admitted_is_answered_with_202(ledger: Ledger) -> None:
    """It holds, and the sweeper carries it out; its 503 said that it was not admitted."""
    paid = await ledger.add_payment(S.AUTHORIZED)
    async with ledger.flaky("lost answer", "down") as database:
        result = await Shop(ledger, database=database).capture(paid.id)
    assert result.answer is None
    assert result.current is not None
    assert json.loads(result.current)["id"] == paid.id
    assert [row.status for row in await ledger.rows("SELECT status FROM operations")] == [O.PENDING]


async def test_a_further_claim_of_unknown_outcome_is_given_back(ledger: Ledger) -> None:
    """It was left claimed with nobody to send it: the payment ended as failed, and its 503 was not true."""
    shop = Shop(ledger, temporal=NoTemporal())
    with pytest.raises(Unavailable):
        await shop.create("req_1")
    async with ledger.flaky("lost answer") as database:
        with pytest.raises(Unavailable):
            await Shop(ledger, database=database).create("req_2")
    assert await shop.latest() == (2, A.NOT_SENT)
    with pytest.raises(Unavailable):
        await shop.create("req_3")
    assert await shop.latest() == (3, A.NOT_SENT)


async def test_what_needs_nothing_in_memory_is_answered_with_202_and_goes_on_anywhere(ledger: Ledger) -> None:
    """Design rule 2a: Temporal was away, the claim went back, and any process makes the next attempt."""
    connector = FakeConnector(capabilities=replace(CAPABILITIES, data_in_memory=False))
    shop = Shop(ledger, connector, NoTemporal())
    result = await shop.create("req_1")
    assert result.current is not None
    assert json.loads(result.current)["status"] == "processing"
    assert await shop.latest() == (1, A.NOT_SENT)
    create = await ledger.operation(shop.payment_id)
    connector.answers["send"] = approval(create)
    await Process(ledger, connector).attempt(create)
    assert connector.calls == [("send", f"{create.id}-2")]
    assert (await ledger.payment(create.payment_id)).status is S.CAPTURED


@pytest.fixture
def no_places(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on the process has no place for anybody."""
    return lambda: monkeypatch.setattr("api.limits.WAITING_MAX", 0)


async def test_without_a_place_a_key_gets_its_answer_and_nothing_is_admitted(
    ledger: Ledger, no_places: Callable[[], None]
) -> None:
    shop = Shop(ledger)
    paid = await ledger.add_payment(S.PROCESSING)
    known = post(ledger, "known")
    refused = await shop.admission.refund(known, paid.id, amount_minor=1, reason=None, metadata={})
    no_places()
    again = await shop.admission.refund(known, paid.id, amount_minor=1, reason=None, metadata={})
    assert (again.answer, again.replayed) == (refused.answer, True)
    with pytest.raises(RateLimited):
        await shop.admission.void(post(ledger, "new"), paid.id, reason=None)
    assert await ledger.count("idempotency_keys") == 1


async def test_without_a_place_a_key_that_is_under_way_is_in_use(
    ledger: Ledger, no_places: Callable[[], None]
) -> None:
    """A 503 would say that nothing was admitted; so would one for a key that another process is about to admit."""
    shop = Shop(ledger)
    paid = await ledger.add_payment(S.AUTHORIZED)
    busy = asyncio.create_task(shop.capture(paid.id))

    async def admitted() -> bool:
        return await ledger.count("operations") == 1

    await eventually(admitted)
    no_places()
    with pytest.raises(KeyInUse):
        await shop.capture(paid.id)
    busy.cancel()
    await asyncio.wait({busy})


async def test_without_a_place_only_a_few_may_ask_for_their_answer(
    ledger: Ledger, no_places: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(ledger)
    paid = await ledger.add_payment(S.PROCESSING)
    known = post(ledger, "known")
    await shop.admission.refund(known, paid.id, amount_minor=1, reason=None, metadata={})
    no_places()
    monkeypatch.setattr("api.admission.LOOKING_UP_MAX", 0)
    with pytest.raises(RateLimited):
        await shop.admission.refund(known, paid.id, amount_minor=1, reason=None, metadata={})


async def test_without_a_place_a_create_that_was_given_back_is_left_for_later(
    ledger: Ledger, no_places: Callable[[], None]
) -> None:
    """A further attempt may be claimed for it any moment: neither in use nor refused for good."""
    shop = Shop(ledger, temporal=NoTemporal())
    with pytest.raises(Unavailable):
        await shop.create("req_1")
    no_places()
    with pytest.raises(RateLimited):
        await shop.create("req_2")
    assert await shop.latest() == (1, A.NOT_SENT)


async def test_who_waits_for_another_requests_outcome_keeps_no_place(ledger: Ledger) -> None:
    """`Prefer: wait` of one merchant's pending operation refused every other merchant for 30 s."""
    shop = Shop(ledger, in_flight_max=4)
    paid, other = await ledger.add_payment(S.AUTHORIZED), await ledger.add_payment(S.PROCESSING)
    first = asyncio.create_task(shop.capture(paid.id))

    async def admitted() -> bool:
        return await ledger.count("operations") == 1

    await eventually(admitted)
    patient = replace(post(ledger, "c"), wait_s=20.0)
    waiting = [
        asyncio.create_task(shop.admission.capture(patient, paid.id, amount_minor=None, final=True))
        for _ in range(4)
    ]

    async def all_wait() -> bool:
        return shop.admission._waiting == len(waiting)

    await eventually(all_wait)
    refused = await shop.admission.refund(
        post(ledger, "r"), other.id, amount_minor=1, reason=None, metadata={}
    )
    assert refused.answer is not None
    for task in (first, *waiting):
        task.cancel()
    await asyncio.wait({first, *waiting})


async def test_the_limit_does_not_follow_a_call_that_another_process_makes(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A capture's workflow is mostly in another process' cache: how long its acquirer took nobody knows here."""
    seen: list[float] = []
    monkeypatch.setattr("api.limits.AdaptiveLimit.observe", lambda _self, own_s, **_times: seen.append(own_s))
    shop = Shop(ledger)
    paid = await ledger.add_payment(S.AUTHORIZED)
    request = asyncio.create_task(shop.capture(paid.id))

    async def admitted() -> bool:
        return await ledger.count("operations") == 1

    await eventually(admitted)
    of = await ledger.operation((await ledger.rows("SELECT id FROM operations"))[0].id)
    async with ledger.database.transaction() as connection:
        await attempts.insert_claim(
            connection, of, number=1, connector="c", connector_account="account_1", owner="boot_b", token="t"
        )
    await shop.runtime.recorder.record(subject(of), attempt=1, fact=approval(of))
    assert (await request).answer is not None
    assert not seen

"""What a request is answered with when its COMMIT, its right or its attempt is in doubt."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
from sqlalchemy import text

from activities.messages import Progress
from api.admission.requests import KeyInUse, KeyUnknown
from api.admission.waiting import Result, Unavailable
from payonce.domain.answers import Answer, AnswerKind
from payonce.domain.facts import FailureCode, Reversed
from payonce.domain.operations import AttemptState, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import CommitUnknown, Database
from payonce.storage.driver.pools import Pools
from payonce.storage.driver.statements import Query, Statement
from tests.storage.acting import CAPABILITIES, FakeConnector, Process
from tests.storage.admitting import FailsSecondHandOver, NoTemporal, Shop, SlowConnector, post
from tests.storage.ledger import Ledger, subject
from tests.support.rows import approval, captured

_ONE = Statement(text("SELECT CAST(:one AS integer) AS one"))
K, S, A, O = OperationKind, PaymentStatus, AttemptState, OperationStatus


async def two_requests_with_the_second_attempt_on_the_wire(
    shop: Shop,
) -> tuple[list["asyncio.Task[Result]"], "asyncio.Task[Progress]"]:
    """The first attempt was not sent; while its run waits to go on, the merchant asks again."""
    first = await shop.created(1, "req_1")
    await shop.run()
    assert await shop.latest() == (1, A.NOT_SENT)
    second = await shop.created(2, "req_2")
    return [first, second], await shop.on_the_wire()


@dataclass
class Patience:
    """How long requests wait for their outcome: until the test says that it is over."""

    over: bool = False

    @property
    def left_s(self) -> float:
        return 0.0 if self.over else 60.0


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
    patience = Patience()
    monkeypatch.setattr("api.admission.admission.Deadline", lambda _within_s: patience)
    shop = Shop(ledger, SlowConnector())
    requests, run = await two_requests_with_the_second_attempt_on_the_wire(shop)
    patience.over = True
    await is_sent_once(shop, requests, run)


async def test_a_lost_hand_over_leaves_what_is_on_the_wire_alone(ledger: Ledger) -> None:
    """The request could not tell that its own right was taken, and gave the claim back."""
    temporal = FailsSecondHandOver()
    shop = Shop(ledger, SlowConnector(), temporal)
    requests, run = await two_requests_with_the_second_attempt_on_the_wire(shop)
    temporal.lost.set()
    await is_sent_once(shop, requests, run)


async def test_what_only_writes_is_not_answered_when_its_commit_was_lost(ledger: Ledger) -> None:
    async def work(connection: Connection) -> tuple[Answer, str]:
        return Answer(AnswerKind.ENDPOINT, b'{"id":"we_1"}'), "/v1/webhook_endpoints/we_1"

    async with ledger.flaky("lost commit") as database:
        shop = Shop(ledger, database=database)
        with pytest.raises(KeyUnknown):
            await shop.admission.execute_once(post(ledger, "e"), work)
    assert await ledger.count("idempotency_keys") == 0


async def test_a_refund_whose_commit_comes_late_is_not_denied(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection broke, and Postgres still executed what it had received: a 503 would have been untrue."""
    paid = await ledger.add_payment(S.CAPTURED)
    async with ledger.flaky() as database:
        late = LateCommits(database)
        monkeypatch.setattr(database, "transaction", late.transaction)
        shop = Shop(ledger, database=database)
        with pytest.raises(KeyUnknown):
            await shop.admission.refund(post(ledger, "r"), paid.id, amount_minor=1, reason=None, metadata={})
        again = asyncio.create_task(
            shop.admission.refund(post(ledger, "r"), paid.id, amount_minor=1, reason=None, metadata={})
        )
        await ledger.waits_for_a_lock(again)
        late.may_commit.set()
        with pytest.raises(KeyInUse):
            await again
    assert len(await ledger.rows("SELECT status FROM operations WHERE kind = 'refund'")) == 1


class LateCommits:
    """The first transaction is reported as unknown while it is open, and commits when it may."""

    def __init__(self, database: Database) -> None:
        self.may_commit = asyncio.Event()
        self._transaction = database.transaction
        self._committing: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def transaction(self, pools: Pools | None = None) -> AsyncIterator[Connection]:
        if self._committing is not None:
            async with self._transaction(pools) as connection:
                yield connection
            return
        open_, ready = asyncio.Event(), asyncio.get_running_loop().create_future()

        async def hold() -> None:
            async with self._transaction(pools) as connection:
                ready.set_result(connection)
                await open_.wait()
                await connection.fetch(Query(_ONE, {"one": 1}, bool))  # what waited is written
                await self.may_commit.wait()

        self._committing = asyncio.create_task(hold())
        yield await ready
        open_.set()
        raise CommitUnknown


async def test_a_refusal_is_not_answered_when_its_commit_was_lost(ledger: Ledger) -> None:
    """The key would be free, and the same request later be admitted."""
    paid = await ledger.add_payment(S.PROCESSING)
    async with ledger.flaky("lost commit") as database:
        with pytest.raises(KeyUnknown):
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
    await recorder.begin_reversal(subject(of), token="run_1", code=FailureCode.CARD_DATA_LOST)
    await recorder.record(subject(of), attempt=1, fact=approval(of))
    await recorder.record(subject(of), attempt=1, fact=Reversed())
    assert (await ledger.payment(paid.id)).status is S.FAILED
    assert "payment.late_success" in [type_ for _, type_ in await ledger.events(paid.id)]
    rows = await ledger.rows("SELECT kind, status, target_reference FROM operations ORDER BY kind")
    assert [row.kind for row in rows] == [K.AUTHORIZE, K.REVERSE]
    assert (rows[0].status, rows[1].status) == (O.FAILED, O.PENDING)
    assert rows[1].target_reference


async def test_a_change_that_may_have_been_admitted_promises_nothing(ledger: Ledger) -> None:
    """Here it holds, and the sweeper carries it out; after a fail-over it may be gone. A 503 would be untrue."""
    paid = await ledger.add_payment(S.AUTHORIZED)
    async with ledger.flaky("lost answer") as database:
        with pytest.raises(KeyUnknown):
            await Shop(ledger, database=database).capture(paid.id)
    assert [row.status for row in await ledger.rows("SELECT status FROM operations")] == [O.PENDING]


async def test_a_change_whose_commit_is_only_late_goes_on(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It grants no right: its run claims in a COMMIT of its own. On a slow disk each was 504, for the sweeper."""
    monkeypatch.setattr("api.admission.admission.ANSWER_WITHIN_S", 0.5)
    paid = await ledger.add_payment(S.AUTHORIZED)
    async with ledger.flaky("late answer") as database:
        result = await Shop(ledger, database=database).capture(paid.id)
    assert result.current is not None
    assert json.loads(result.current)["pending_operation"]["type"] == "capture"


async def test_a_create_whose_commit_is_late_is_given_back(ledger: Ledger) -> None:
    async with ledger.flaky("late answer") as database:
        shop = Shop(ledger, database=database)
        with pytest.raises(Unavailable):
            await shop.create("req_1")
        assert await shop.latest() == (1, A.NOT_SENT)


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
    connector.answers["send"] = captured(create)
    await Process(ledger, connector).attempt(create)
    assert connector.calls == [("send", f"{create.id}-2")]
    assert (await ledger.payment(create.payment_id)).status is S.CAPTURED

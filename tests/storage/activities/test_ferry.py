"""An acquirer that cannot be asked, from end to end: what is lost, told early, late or never, and its own ledger."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest

from activities import replaying
from activities.messages import InquiryDue, Settled
from payonce.connectors.base import ConnectorAccount
from payonce.connectors.measured import Calls, Measured
from payonce.domain.ids import attempt_reference
from payonce.domain.operations import AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from tests.connectors.ferry_acquirer import FerryAcquirer
from tests.connectors.ferry_pay import DAY_S, HOUR_S, FerryPay
from tests.storage.acting import Process, Stepping, claimed_ago, owned
from tests.storage.hearing import Temporal
from tests.storage.ledger import Ledger, runtime_of
from tests.support.eventually import eventually
from workers.inbox import Inbox

K, S, A, O = OperationKind, PaymentStatus, AttemptState, OperationStatus
KEY = "ferry-secret"
LOST = ["timeout_after", "reset_after", "error_after", "garbage_after"]


@dataclass
class Ferry:
    """The acquirer, a process of ours, and its inbox."""

    acquirer: FerryAcquirer
    process: Process
    connector: Measured
    inbox: Inbox

    @property
    def ledger(self) -> Ledger:
        return self.process.ledger

    async def begin(self, kind: OperationKind, fault: str | None = None) -> Operation:
        """An operation that nobody has attempted yet, at whose first request the acquirer does `fault`."""
        paid = await self.ledger.add_payment(
            S.CAPTURED if kind is K.REFUND else S.AUTHORIZED,
            metadata={} if fault is None else {"ferry_fault": fault},
        )
        return await self.ledger.add_operation(paid, kind, claimed=False)

    async def tell(self, of: Operation) -> None:
        """The acquirer sends every callback about the operation, those that it sent before as well."""
        for body in self.acquirer.told.get(attempt_reference(of.id, 1), []):
            callback = FerryPay.read_callback(self._reading, {}, body, now=None)
            await self.inbox.receive("sandbox_card", callback, accounts=["account_1"])
        await self.inbox.drain()
        await self.ledger.rows("UPDATE callbacks SET sweep_at = now() WHERE handled_at IS NULL")
        await self.inbox.sweep(limit=100)

    @property
    def _reading(self) -> Any:
        return SimpleNamespace(_secret=KEY.encode())

    async def requests(self, of: Operation) -> int:
        return self.acquirer.requests.get(attempt_reference(of.id, 1), 0)

    async def status(self, of: Operation) -> OperationStatus:
        return (await self.ledger.operation(of.id)).status


@pytest.fixture
async def ferry(ledger: Ledger) -> AsyncIterator[Ferry]:
    async with FerryAcquirer(KEY.encode()).running() as acquirer:
        account = ConnectorAccount(
            id="account_1",
            connector="ferry_pay",
            mode="test",
            base_url=acquirer.url,
            key=KEY,
            options={"call_deadline_s": "2.0"},
            upstream_secret=b"u" * 32,
        )
        connector = Measured("account_1", FerryPay(account), Calls())
        process = Process(ledger, connector)
        temporal: Any = Temporal()
        inbox = Inbox(replace(runtime_of(ledger), accounts=process.opened_accounts), temporal)
        yield Ferry(acquirer, process, connector, inbox)
        await inbox.drain()
        await connector.close()


@pytest.mark.parametrize("fault", LOST)
@pytest.mark.parametrize("kind", [K.CAPTURE, K.REFUND])
async def test_a_lost_answer_is_resolved_by_sending_it_again_once_in_the_ledger(
    ferry: Ferry, kind: OperationKind, fault: str
) -> None:
    of = await ferry.begin(kind, fault)
    assert isinstance(await ferry.process.attempt(of), InquiryDue)
    assert (await ferry.ledger.latest(of.id)).state is A.UNKNOWN
    for _ in range(3):
        assert isinstance(await ferry.process.resolve("inquire", of), InquiryDue)
    assert (await ferry.ledger.latest(of.id)).state is A.ACCEPTED
    await ferry.tell(of)
    assert isinstance(await ferry.process.resolve("inquire", of), Settled)
    assert await ferry.status(of) is O.SUCCEEDED
    assert ferry.acquirer.movements[of.payment_id] == [kind]
    assert await ferry.requests(of) == 2  # once accepted it is sent no more


async def test_one_that_never_arrived_is_made_once_by_sending_it_again(ferry: Ferry) -> None:
    of = await ferry.begin(K.CAPTURE, "timeout_before")
    await ferry.process.attempt(of)
    assert of.payment_id not in ferry.acquirer.movements
    await asyncio.gather(*(ferry.process.resolve("inquire", of) for _ in range(3)))  # as several runs might
    await ferry.tell(of)
    assert await ferry.status(of) is O.SUCCEEDED
    assert ferry.acquirer.movements[of.payment_id] == ["capture"]


@pytest.mark.parametrize("kind", [K.CAPTURE, K.VOID, K.REFUND])
async def test_received_and_then_told(ferry: Ferry, kind: OperationKind) -> None:
    of = await ferry.begin(kind)
    due = await ferry.process.attempt(of)
    assert isinstance(due, InquiryDue)
    assert due.reason == "accepted"
    assert await ferry.status(of) is O.PENDING
    await ferry.tell(of)
    assert await ferry.status(of) is O.SUCCEEDED
    events = await ferry.ledger.events(of.payment_id)
    await ferry.tell(of)  # once more, as acquirers do
    assert await ferry.ledger.events(of.payment_id) == events


async def test_received_and_then_declined(ferry: Ferry) -> None:
    of = await ferry.begin(K.CAPTURE, "declined_later")
    await ferry.process.attempt(of)
    await ferry.tell(of)
    assert await ferry.status(of) is O.FAILED
    paid = await ferry.ledger.payment(of.payment_id)
    assert (paid.status, paid.held_pending_minor) == (S.AUTHORIZED, 0)


async def test_captured_and_then_taken_back(ferry: Ferry) -> None:
    of = await ferry.begin(K.CAPTURE, "undone")
    await ferry.process.attempt(of)
    await ferry.tell(of)
    assert (await ferry.ledger.payment(of.payment_id)).amount_captured_minor == 0
    assert "payment.capture_failed" in [type_ for _, type_ in await ferry.ledger.events(of.payment_id)]


async def test_told_while_our_own_request_is_under_way(ferry: Ferry) -> None:
    """The callback is there before we have recorded anything, and the answer is lost after it."""
    of = await ferry.begin(K.CAPTURE, "timeout_after")
    attempting = asyncio.create_task(ferry.process.attempt(of))

    async def is_told() -> bool:
        return bool(ferry.acquirer.told)

    await eventually(is_told)
    await ferry.tell(of)
    assert await ferry.status(of) is O.SUCCEEDED
    assert isinstance(await attempting, Settled)
    assert await ferry.status(of) is O.SUCCEEDED
    assert ferry.acquirer.movements[of.payment_id] == ["capture"]


async def test_told_before_our_own_commit_is_there(ferry: Ferry) -> None:
    of = await ferry.begin(K.REFUND)
    await ferry.process.attempt(of)
    await ferry.ledger.rows(
        "UPDATE attempts SET number = 2 WHERE operation_id = :id", id=of.id
    )  # as if it were not
    await ferry.tell(of)
    assert await ferry.status(of) is O.PENDING
    await ferry.ledger.rows("UPDATE attempts SET number = 1 WHERE operation_id = :id", id=of.id)
    await ferry.ledger.rows("UPDATE callbacks SET sweep_at = now()")
    await ferry.inbox.sweep(limit=10)
    assert await ferry.status(of) is O.SUCCEEDED


async def test_never_told_it_is_for_a_person_and_told_then_it_counts(ferry: Ferry) -> None:
    of = await ferry.begin(K.VOID)
    await ferry.process.attempt(of)
    await claimed_ago(ferry.process, of, 2 * HOUR_S)
    due = await ferry.process.resolve("inquire", of)
    assert isinstance(due, InquiryDue)
    assert due.schedule.review_after_s == HOUR_S  # of voids; the claim is older
    await ferry.process.resolve("call_operator", of, due.reason)
    assert (await ferry.ledger.operation(of.id)).review_at is not None
    assert await ferry.status(of) is O.PENDING
    await ferry.tell(of)
    operation = await ferry.ledger.operation(of.id)
    assert (operation.status, operation.review_at) == (O.SUCCEEDED, None)
    assert await ferry.requests(of) == 1


async def test_a_void_whose_answer_was_lost_is_not_sent_again(ferry: Ferry) -> None:
    """Its truth is the callback alone."""
    of = await ferry.begin(K.VOID, "reset_after")
    await ferry.process.attempt(of)
    due = await ferry.process.resolve("inquire", of)
    assert isinstance(due, InquiryDue)
    assert (due.reason, await ferry.requests(of)) == ("callback_awaited", 1)
    await ferry.tell(of)
    assert await ferry.status(of) is O.SUCCEEDED


async def test_past_its_window_it_is_for_a_person_and_nothing_is_sent(ferry: Ferry) -> None:
    of = await ferry.begin(K.CAPTURE, "timeout_before")
    await ferry.process.attempt(of)
    await claimed_ago(ferry.process, of, 30 * DAY_S)
    await ferry.process.resolve("inquire", of)
    operation = await ferry.ledger.operation(of.id)
    assert (operation.status, operation.review_at is not None) == (O.PENDING, True)
    assert await ferry.requests(of) == 1
    assert of.payment_id not in ferry.acquirer.movements


async def test_refused_credentials_leave_it_unknown_with_an_alert(
    ferry: Ferry, capfd: pytest.CaptureFixture[str]
) -> None:
    of = await ferry.begin(K.CAPTURE, "timeout_after")
    await ferry.process.attempt(of)
    ferry.acquirer.refuses_credentials = True
    assert isinstance(await ferry.process.resolve("inquire", of), InquiryDue)
    assert (await ferry.ledger.latest(of.id)).state is A.UNKNOWN
    assert "acquirer_rejected" in capfd.readouterr().err
    ferry.acquirer.refuses_credentials = False
    await ferry.process.resolve("inquire", of)
    assert (await ferry.ledger.latest(of.id)).state is A.ACCEPTED


@pytest.mark.parametrize("fault", ["timeout_after", "timeout_before", "reset_after"])
async def test_an_authorization_is_sent_again_by_its_owner_once_in_the_ledger(
    ferry: Ferry, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    clock = Stepping()
    monkeypatch.setattr(replaying, "asyncio", SimpleNamespace(sleep=clock.sleep))
    create = await owned(ferry.process, clock, metadata={"ferry_fault": fault})
    assert isinstance(await ferry.process.attempt(create), Settled)
    assert (await ferry.ledger.payment(create.payment_id)).status is S.AUTHORIZED
    assert ferry.acquirer.movements[create.payment_id] == ["authorize"]
    await ferry.tell(create)
    assert (await ferry.ledger.payment(create.payment_id)).status is S.AUTHORIZED


async def test_an_authorization_whose_owner_is_gone_waits_for_its_callback(ferry: Ferry) -> None:
    create = await ferry.ledger.add_operation(await ferry.ledger.add_payment(), K.AUTHORIZE)
    await claimed_ago(ferry.process, create, 60)
    due = await ferry.process.resolve("inquire", create)
    assert isinstance(due, InquiryDue)
    assert (due.reason, due.schedule.review_after_s) == ("callback_awaited", HOUR_S)
    assert await ferry.requests(create) == 0
    assert await ferry.status(create) is O.PENDING

"""Payments that a customer completes, over a real Postgres: asked, paid, lapsed, abandoned, heard of late."""

import json
from datetime import UTC, datetime

import pytest

from activities.messages import ActionDue, InquiryDue, NothingSent, ReversalDue, Settled
from payonce.domain.errors import OutcomeUnknown
from payonce.domain.facts import DeclineCode, Declined, Expired, Inquiry, NotKnown, Pending, Reversed
from payonce.domain.ids import attempt_reference
from payonce.domain.operations import AttemptState, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.domain.schedules import CUSTOMER_INQUIRIES
from tests.storage.acting import FakeConnector, Process, age
from tests.storage.customers import UPI, asked, create_of, lapsed, types, waiting
from tests.storage.ledger import IDS, Ledger, subject
from tests.support.rows import captured

K, S, A = OperationKind, PaymentStatus, AttemptState


@pytest.fixture
def connector() -> FakeConnector:
    return FakeConnector(capabilities=UPI)


@pytest.fixture
def process(shared_ledger: Ledger, connector: FakeConnector) -> Process:
    return Process(shared_ledger, connector)


async def test_the_customer_is_asked_and_the_merchant_answered(process: Process) -> None:
    create = await waiting(process)
    paid = await process.ledger.payment(create.payment_id)
    assert paid.status is S.REQUIRES_ACTION
    key = await process.ledger.stored_key(create)
    assert key.answer(datetime.now(UTC)) is None  # no definite one
    stored = key.asking
    assert stored is not None
    shown = json.loads(stored.body)
    assert (shown["status"], shown["next_action"]["type"]) == ("requires_action", "upi_qr")


async def test_a_run_that_finds_the_customer_asked_waits_with_it(process: Process) -> None:
    create = await waiting(process)
    progress = await process.attempt(create)
    assert isinstance(progress, ActionDue)
    assert (progress.action, progress.schedule) == ("upi_qr", CUSTOMER_INQUIRIES)
    assert [name for name, _ in process.connector.calls] == ["send"]


@pytest.mark.parametrize(
    ("found", "status", "code"),
    [
        (None, "captured", None),
        (Declined(DeclineCode.DO_NOT_HONOR), "failed", "payment_declined"),
        (Expired(), "failed", "payment_timed_out"),
    ],
    ids=str,
)
async def test_the_rails_definite_answer_counts_and_replaces_the_stored_one(
    process: Process, found: Inquiry | None, status: str, code: str | None
) -> None:
    create = await waiting(process)
    before = (await process.ledger.stored_key(create)).answer_body
    process.connector.answers["inquire"] = found or captured(create)
    progress = await process.resolve("inquire", create)
    assert isinstance(progress, Settled)
    assert progress.status == status
    error = (await process.ledger.payment(create.payment_id)).last_error
    assert (error and error["code"]) == code
    key = await process.ledger.stored_key(create)
    assert key.answer_body != before
    kinds = {None: "payment", "payment_declined": "payment_declined", "payment_timed_out": "payment_failed"}
    assert key.answer_kind == kinds[code]


@pytest.mark.parametrize(
    "found",
    [Pending("acq-authorize"), asked(), NotKnown(), None],
    ids=["pending", "asked", "not found", "error"],
)
async def test_a_window_that_ends_without_a_definite_answer_is_processing(
    process: Process, found: Inquiry | None
) -> None:
    create = await waiting(process)
    process.connector.answers["inquire"] = found or OutcomeUnknown("timeout")
    assert isinstance(await process.resolve("inquire", create), ActionDue)
    await lapsed(process.ledger, create)
    assert isinstance(await process.resolve("inquire", create), InquiryDue)
    assert (await process.ledger.payment(create.payment_id)).status is S.PROCESSING
    process.connector.answers["inquire"] = captured(create)
    await process.resolve("inquire", create)
    events = await process.ledger.events(create.payment_id)
    assert types(events) == ["requires_action", "processing", "authorized", "captured"]


async def test_an_answer_that_was_lost_is_asked_for_again(process: Process) -> None:
    """The order timed out; the inquiry finds it waiting for the customer."""
    create = await create_of(process.ledger, state=A.UNKNOWN)
    process.connector.answers["inquire"] = asked()
    assert isinstance(await process.resolve("inquire", create), ActionDue)
    events = await process.ledger.events(create.payment_id)
    assert types(events) == ["processing", "requires_action"]


async def test_a_success_after_the_rails_expiry_opens_a_case(process: Process) -> None:
    create = await waiting(process)
    process.connector.answers["inquire"] = Expired()
    await process.resolve("inquire", create)
    process.connector.answers["inquire"] = captured(create)
    reference = attempt_reference(create.id, 1)
    for _ in range(2):
        progress = await process.resolve("hear", create, reference)
        assert isinstance(progress, Settled)
        assert progress.status == "failed"
    reversal = await process.ledger.operation(IDS.reversal(reference=reference))
    assert (reversal.kind, reversal.status) == (K.REVERSE, OperationStatus.PENDING)
    events = await process.ledger.events(create.payment_id)
    assert types(events) == ["requires_action", "failed", "late_success"]


@pytest.mark.parametrize(
    "found", [Pending("acq-authorize"), NotKnown(), asked()], ids=["pending", "not_found", "asked"]
)
async def test_hearing_of_nothing_definite_changes_nothing(process: Process, found: Inquiry) -> None:
    create = await create_of(process.ledger)  # claimed, and perhaps on the wire at this moment
    process.connector.answers["inquire"] = found
    progress = await process.resolve("hear", create, attempt_reference(create.id, 1))
    assert isinstance(progress, Settled)
    assert (await process.ledger.latest(create.id)).state is A.CLAIMED
    assert await process.ledger.events(create.payment_id) == []


async def test_a_success_that_is_heard_of_before_the_order_is_answered_stands(process: Process) -> None:
    create = await create_of(process.ledger)
    process.connector.answers["inquire"] = captured(create)
    await process.resolve("hear", create, attempt_reference(create.id, 1))
    recorder = process.ledger.recorder()
    late = await recorder.record(subject(create), attempt=1, fact=asked())
    assert late.payment.status is S.CAPTURED
    assert late.events == ()


async def test_another_amount_is_reversed_and_never_captured(process: Process) -> None:
    create = await waiting(process)
    process.connector.answers["inquire"] = captured(create, amount_minor=999)
    assert isinstance(await process.resolve("inquire", create), ReversalDue)
    process.connector.answers["reverse"] = Reversed()
    await process.resolve("reverse", create)
    paid = await process.ledger.payment(create.payment_id)
    assert (paid.status, paid.amount_captured_minor) == (S.FAILED, 0)
    assert paid.last_error is not None
    assert paid.last_error["code"] == "amount_mismatch"


async def test_any_run_may_claim_a_further_attempt_where_nothing_lives_in_memory(
    process: Process, connector: FakeConnector
) -> None:
    create = await create_of(process.ledger, state=A.NOT_SENT)
    connector.answers["send"] = asked()
    assert isinstance(await process.attempt(create), ActionDue)
    assert connector.calls == [("send", attempt_reference(create.id, 2))]


async def test_a_card_is_not_claimed_without_its_data(shared_ledger: Ledger) -> None:
    cards = Process(shared_ledger, FakeConnector())
    paid = await shared_ledger.add_payment()
    create = await shared_ledger.add_operation(paid, K.AUTHORIZE, state=A.NOT_SENT)
    assert await cards.attempt(create) == NothingSent("not_sent", may_retry=False)


async def test_nothing_is_said_to_be_lost_where_nothing_lived_in_memory(
    process: Process, connector: FakeConnector
) -> None:
    create = await create_of(process.ledger)
    await age(process.ledger, create)
    connector.answers |= {"inquire": NotKnown(), "reverse": Reversed()}
    assert isinstance(await process.resolve("inquire", create), ReversalDue)
    await process.resolve("reverse", create)
    error = (await process.ledger.payment(create.payment_id)).last_error
    assert error is not None
    assert error["code"] == "not_processed"

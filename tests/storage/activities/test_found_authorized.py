"""An automatic payment that is found authorized only: our capture, the rail's, and the answer to the create."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from activities.messages import InquiryDue, NothingSent, Settled
from api.admission.waiting import current_view
from payonce.clock import boot_clock_s
from payonce.connectors.base import call_of
from payonce.domain.errors import NotSent, OutcomeUnknown
from payonce.domain.facts import DeclineCode, Declined, Foreign, Reversed, Stage
from payonce.domain.operations import Attempt, AttemptState, Operation, OperationKind, OperationStatus, Origin
from payonce.domain.payment import Payment, PaymentStatus
from payonce.rights import Right
from tests.storage.acting import CAPABILITIES, FakeConnector, Process
from tests.storage.ledger import IDS, Ledger, subject
from tests.support.patience import product_limits
from tests.support.rows import approval, captured, under_way

K, S, A, O = OperationKind, PaymentStatus, AttemptState, OperationStatus
DECLINED = Declined(DeclineCode.DO_NOT_HONOR)


@pytest.fixture
def connector() -> FakeConnector:
    return FakeConnector()


@pytest.fixture
def process(ledger: Ledger, connector: FakeConnector) -> Process:
    return Process(ledger, connector)


async def found_authorized(process: Process) -> tuple[Payment, Operation, Operation]:
    """The payment, its create and the capture of our own that follows."""
    ledger = process.ledger
    paid = await ledger.add_payment(capture_method="automatic")
    create = await ledger.add_operation(paid, K.AUTHORIZE)
    only = approval(create, stage=Stage.AUTHORIZED)
    for _ in range(2):
        await ledger.recorder().record(subject(create), attempt=1, fact=only)
    own = await ledger.operation(IDS.follow_up(operation_id=create.id))
    return await ledger.payment(paid.id), await ledger.operation(create.id), own


async def by_the_rail(process: Process, create: Operation) -> None:
    await process.ledger.recorder().record(subject(create), attempt=1, fact=captured(create))


async def answer_of(ledger: Ledger, create: Operation) -> tuple[str, dict[str, object]] | None:
    answer = (await ledger.stored_key(create)).answer(datetime.now(UTC))
    return None if answer is None else (answer.kind, json.loads(answer.body))


async def latest(ledger: Ledger, of: Operation) -> Attempt | None:
    rows = await ledger.rows("SELECT 1 FROM attempts WHERE operation_id = :id", id=of.id)
    return await ledger.latest(of.id) if rows else None


async def test_our_capture_is_pending_in_the_transaction_that_records_the_authorization(
    process: Process,
) -> None:
    paid, create, own = await found_authorized(process)
    assert (paid.status, paid.pending_operation) == (S.AUTHORIZED, under_way(own))
    assert (own.kind, own.origin, own.status) == (K.CAPTURE, Origin.PAYONCE, O.PENDING)
    assert (create.status, await answer_of(process.ledger, create)) == (O.SUCCEEDED, None)
    assert await process.ledger.events(paid.id) == [(1, "payment.authorized")]
    assert (await process.ledger.latest(create.id)).stage is Stage.AUTHORIZED


async def test_the_workflow_is_told_of_it_by_the_attempt_itself(
    process: Process, connector: FakeConnector
) -> None:
    paid = await process.ledger.add_payment(capture_method="automatic")
    create = await process.ledger.add_operation(paid, K.AUTHORIZE, state=A.UNKNOWN)
    connector.answers["inquire"] = approval(create, stage=Stage.AUTHORIZED)
    progress = await process.resolve("inquire", create)
    assert isinstance(progress, Settled)
    assert progress.open
    assert progress.pending is not None
    assert progress.pending.kind is K.CAPTURE
    assert progress.pending.operation_id == IDS.follow_up(operation_id=create.id)


async def test_our_capture_answers_the_create(process: Process, connector: FakeConnector) -> None:
    paid, create, own = await found_authorized(process)
    connector.answers["send"] = approval(own)
    assert isinstance(await process.attempt(own), Settled)
    answer = await answer_of(process.ledger, create)
    assert answer is not None
    assert (answer[0], answer[1]["status"], answer[1]["sequence"]) == ("payment", "captured", 2)
    assert await process.ledger.events(paid.id) == [(1, "payment.authorized"), (2, "payment.captured")]


async def test_who_waits_for_the_create_is_given_the_answer(
    process: Process, connector: FakeConnector
) -> None:
    _, create, own = await found_authorized(process)
    connector.answers["send"] = OutcomeUnknown("timeout")
    await process.attempt(own)
    recorder = process.ledger.recorder()
    with recorder._wakeups.waiting(create.id) as waiter:
        await recorder.record(subject(own), attempt=1, fact=approval(own))
        assert waiter.answer is not None
        assert json.loads(waiter.answer.body)["status"] == "captured"


async def test_its_failure_is_the_creates_and_a_void_follows(
    process: Process, connector: FakeConnector
) -> None:
    paid, create, own = await found_authorized(process)
    connector.answers["send"] = DECLINED
    progress = await process.attempt(own)
    assert isinstance(progress, Settled)
    assert progress.pending is not None
    assert progress.pending.kind is K.VOID
    answer = await answer_of(process.ledger, create)
    assert answer is not None
    assert answer[0] == "payment_declined"
    void = await process.ledger.operation(progress.pending.operation_id)
    connector.answers["send"] = approval(void)
    assert isinstance(await process.attempt(void), Settled)
    after = await process.ledger.payment(paid.id)
    assert (after.status, after.amount_captured_minor, after.pending_operation) == (S.VOIDED, 0, None)
    assert await answer_of(process.ledger, create) == answer
    assert [type_ for _, type_ in await process.ledger.events(paid.id)] == [
        "payment.authorized",
        "payment.capture_failed",
        "payment.voided",
    ]


async def test_while_our_capture_is_unknown_the_create_is_answered_with_202_at_once(
    process: Process, connector: FakeConnector
) -> None:
    paid, create, own = await found_authorized(process)
    young = datetime.now(UTC)
    assert current_view(paid, replace(create, created_at=young)) is None
    connector.answers["send"] = OutcomeUnknown("timeout")
    assert isinstance(await process.attempt(own), InquiryDue)
    deferred = replace(await process.ledger.operation(create.id), created_at=young)
    told = current_view(await process.ledger.payment(paid.id), deferred)
    assert told is not None
    shown = json.loads(told)
    assert (shown["status"], shown["pending_operation"]) == (
        "authorized",
        {"type": "capture", "amount": 1000},
    )


async def test_a_create_that_nobody_deferred_is_answered_with_202_after_8_s(process: Process) -> None:
    paid, create, _ = await found_authorized(process)
    old = replace(create, created_at=datetime.now(UTC) - timedelta(seconds=9))
    with product_limits("ANSWER_WITHIN_S"):
        assert current_view(paid, old) is not None
    deferred = await process.ledger.recorder().defer(subject(create))
    told = replace(deferred.operation, created_at=datetime.now(UTC))
    assert current_view(deferred.payment, told) is not None
    assert deferred.events == ()


async def test_what_the_rail_captures_before_ours_was_sent_ends_it(
    process: Process, connector: FakeConnector
) -> None:
    paid, create, own = await found_authorized(process)
    for _ in range(2):
        await by_the_rail(process, create)
    after = await process.ledger.payment(paid.id)
    assert (after.status, after.amount_captured_minor, after.pending_operation) == (S.CAPTURED, 1000, None)
    assert (await process.ledger.operation(own.id)).status is O.SUCCEEDED
    assert (await process.ledger.latest(create.id)).stage is Stage.CAPTURED
    answer = await answer_of(process.ledger, create)
    assert answer is not None
    assert answer[1]["status"] == "captured"
    assert isinstance(await process.attempt(own), Settled)
    assert connector.calls == []


async def test_what_others_captured_before_ours_was_sent_ends_it(
    process: Process, connector: FakeConnector
) -> None:
    """One answer may tell both; ours, sent after that, would take the money twice."""
    paid, create, own = await found_authorized(process)
    ledger = process.ledger
    told = approval(create, stage=Stage.AUTHORIZED, since=(Foreign("acq-9", "capture", 1000, "INR"),))
    for _ in range(2):
        await ledger.recorder().record(subject(create), attempt=1, fact=told)
    after = await ledger.payment(paid.id)
    assert (after.status, after.amount_captured_minor, after.pending_operation) == (S.CAPTURED, 1000, None)
    assert (after.review, after.amount_capture_undecided_minor) == (None, 0)
    ended = await ledger.operation(own.id)
    assert (ended.status, ended.connector_reference) == (O.SUCCEEDED, "acq-9")
    answer = await answer_of(ledger, create)
    assert answer is not None
    assert answer[1]["status"] == "captured"
    assert isinstance(await process.attempt(own), Settled)
    assert connector.calls == []


async def test_what_others_captured_while_ours_may_have_been_sent_is_for_a_person(
    process: Process, connector: FakeConnector
) -> None:
    paid, create, own = await found_authorized(process)
    ledger = process.ledger

    async def others_capture() -> None:
        foreign = Foreign("acq-9", "capture", 1000, "INR")
        await ledger.recorder().record(subject(create), attempt=1, fact=foreign)

    connector.before = others_capture
    connector.answers["send"] = approval(own)
    assert isinstance(await process.attempt(own), Settled)
    after = await ledger.payment(paid.id)
    assert (after.status, after.amount_captured_minor) == (S.CAPTURED, 1000)
    assert (after.review is not None, after.amount_capture_undecided_minor) == (True, 1000)


async def test_a_part_that_others_captured_before_ours_was_sent_is_for_a_person(process: Process) -> None:
    paid, create, own = await found_authorized(process)
    ledger = process.ledger
    foreign = Foreign("acq-9", "capture", 400, "INR")
    await ledger.recorder().record(subject(create), attempt=1, fact=foreign)
    after = await ledger.payment(paid.id)
    assert (after.amount_captured_minor, after.pending_operation) == (0, under_way(own))
    assert (after.review is not None, after.amount_capture_undecided_minor) == (True, 400)


async def test_a_capture_that_may_have_been_sent_has_its_own_outcome_and_its_decline_is_none(
    process: Process, connector: FakeConnector
) -> None:
    """The rail captured by itself while ours was under way: the acquirer refuses ours, and all is captured."""
    paid, create, own = await found_authorized(process)

    async def the_rail_captures() -> None:
        connector.before = None
        await by_the_rail(process, create)
        assert (await process.ledger.payment(paid.id)).status is S.AUTHORIZED

    connector.before = the_rail_captures
    connector.answers["send"] = DECLINED
    assert isinstance(await process.attempt(own), Settled)
    after = await process.ledger.payment(paid.id)
    assert (after.status, after.pending_operation, after.last_error) == (S.CAPTURED, None, None)
    assert (await process.ledger.latest(own.id)).state is A.DECLINED
    answer = await answer_of(process.ledger, create)
    assert answer is not None
    assert answer[0] == "payment"


async def test_a_capture_that_is_found_unsent_after_the_rail_captured_is_never_sent(
    process: Process, connector: FakeConnector
) -> None:
    paid, create, own = await found_authorized(process)

    async def the_rail_captures() -> None:
        await by_the_rail(process, create)

    connector.before = the_rail_captures
    connector.answers["send"] = NotSent("refused")
    assert isinstance(await process.attempt(own), Settled)
    assert (await process.ledger.payment(paid.id)).status is S.CAPTURED
    assert len(connector.calls) == 1


async def test_a_claim_that_is_given_back_after_the_rail_captured_is_followed_by_none(
    process: Process, connector: FakeConnector
) -> None:
    paid, create, own = await found_authorized(process)
    connector.answers["send"] = NotSent("refused")
    assert isinstance(await process.attempt(own), NothingSent)
    await process.ledger.rows("UPDATE attempts SET state = 'claimed' WHERE operation_id = :id", id=own.id)
    await by_the_rail(process, create)
    await process.ledger.rows("UPDATE attempts SET state = 'not_sent' WHERE operation_id = :id", id=own.id)
    assert isinstance(await process.attempt(own), Settled)
    assert (await process.ledger.payment(paid.id)).status is S.CAPTURED
    assert len(connector.calls) == 1
    assert (await process.ledger.latest(own.id)).number == 1


async def test_claim_and_the_rails_fact_at_once_capture_once(ledger: Ledger) -> None:
    """Whatever comes first under the lock: never a capture for money that is known to be captured."""
    for _ in range(10):
        connector = FakeConnector()
        process = Process(ledger, connector)
        paid, create, own = await found_authorized(process)
        connector.answers["send"] = DECLINED
        await asyncio.gather(process.attempt(own), by_the_rail(process, create))
        after = await ledger.payment(paid.id)
        if after.status is S.CAPTURED:
            assert (after.amount_captured_minor, after.pending_operation) == (1000, None)
        else:  # ours was declined before the rail's word came: the merchant was told, and a person is
            assert connector.calls
            assert after.review is not None or after.pending_operation is not None
        sent = await latest(ledger, own)
        assert bool(connector.calls) == (sent is not None)


async def test_a_manual_payment_that_the_rail_captures_is_captured_once(ledger: Ledger) -> None:
    paid = await ledger.add_payment()
    create = await ledger.add_operation(paid, K.AUTHORIZE)
    recorder = ledger.recorder()
    await recorder.record(subject(create), attempt=1, fact=approval(create, stage=Stage.AUTHORIZED))
    await asyncio.gather(
        *(recorder.record(subject(create), attempt=1, fact=captured(create)) for _ in range(5))
    )
    after = await ledger.payment(paid.id)
    assert (after.status, after.amount_captured_minor) == (S.CAPTURED, 1000)
    assert await ledger.events(paid.id) == [(1, "payment.authorized"), (2, "payment.captured")]


async def test_what_the_rail_captures_beside_a_capture_of_the_merchants_is_for_a_person(
    ledger: Ledger,
) -> None:
    paid = await ledger.add_payment()
    create = await ledger.add_operation(paid, K.AUTHORIZE)
    recorder = ledger.recorder()
    await recorder.record(subject(create), attempt=1, fact=approval(create, stage=Stage.AUTHORIZED))
    part = await ledger.add_operation(await ledger.payment(paid.id), K.CAPTURE, amount_minor=400, final=False)
    await recorder.record(subject(part), attempt=1, fact=approval(part))
    for _ in range(2):
        await recorder.record(subject(create), attempt=1, fact=captured(create))
    after = await ledger.payment(paid.id)
    assert (after.amount_captured_minor, after.capturable_minor) == (1000, 0)
    assert after.review is not None
    foreign = await ledger.rows("SELECT amount_minor FROM operations WHERE origin = 'acquirer'")
    assert [row.amount_minor for row in foreign] == [1000]


async def test_where_the_rail_captures_itself_nothing_of_our_own_follows(ledger: Ledger) -> None:
    connector = FakeConnector(capabilities=replace(CAPABILITIES, captures_itself=True))
    process = Process(ledger, connector)
    paid = await ledger.add_payment(capture_method="automatic")
    create = await ledger.add_operation(paid, K.AUTHORIZE)
    call = call_of(paid, create, reference=f"{create.id}-1")
    right = Right(call, 1, "run_1", "account_1", deadline=boot_clock_s() + 60)
    process.rights.grant(create.id, right)
    connector.answers |= {
        "send": approval(create, stage=Stage.AUTHORIZED),
        "inquire": approval(create, stage=Stage.AUTHORIZED),
    }
    assert isinstance(await process.attempt(create), InquiryDue)
    assert isinstance(await process.resolve("inquire", create), InquiryDue)
    assert (await ledger.payment(paid.id)).status is S.PROCESSING
    connector.answers["inquire"] = captured(create)
    assert isinstance(await process.resolve("inquire", create), Settled)
    assert (await ledger.payment(paid.id)).status is S.CAPTURED
    assert await ledger.rows("SELECT 1 FROM operations WHERE kind = 'capture'") == []


async def test_a_reversed_capture_of_our_own_fails_the_create(
    process: Process, connector: FakeConnector
) -> None:
    """Proven not to have been captured, after its outcome was unknown."""
    _, create, own = await found_authorized(process)
    connector.answers["send"] = OutcomeUnknown("timeout")
    await process.attempt(own)
    token = (await process.ledger.latest(own.id)).token
    await process.ledger.recorder().record(subject(own), attempt=1, fact=Reversed(), token=token)
    answer = await answer_of(process.ledger, create)
    assert answer is not None
    assert answer[0] == "payment_failed"


@pytest.mark.parametrize("amount", [400, 1000])
async def test_ours_is_not_sent_again_beside_what_others_captured_meanwhile(
    process: Process, connector: FakeConnector, amount: int
) -> None:
    """Others captured while ours was claimed, which was then not sent: a further attempt would take it twice."""
    paid, create, own = await found_authorized(process)

    async def others_capture() -> None:
        foreign = Foreign("acq-9", "capture", amount, "INR")
        await process.ledger.recorder().record(subject(create), attempt=1, fact=foreign)

    connector.before = others_capture
    connector.answers["send"] = NotSent()
    assert isinstance(await process.attempt(own), NothingSent)
    connector.before = None
    connector.answers["send"] = approval(own)
    calls = list(connector.calls)
    assert isinstance(await process.attempt(own), NothingSent)
    assert connector.calls == calls
    after = await process.ledger.payment(paid.id)
    assert (after.amount_captured_minor, after.amount_capture_undecided_minor) == (0, amount)
    assert after.review is not None


async def not_released(process: Process) -> Payment:
    """Neither our capture nor the void of ours that followed has succeeded: the authorization stands."""
    ledger = process.ledger
    paid, _, own = await found_authorized(process)
    for number, of in enumerate((own.id, IDS.follow_up(operation_id=own.id))):
        refused = await ledger.operation(of)
        assert refused.kind is (K.CAPTURE, K.VOID)[number]
        await ledger.claim(refused)
        await ledger.recorder().record(subject(refused), attempt=1, fact=DECLINED)
    return await ledger.payment(paid.id)


@pytest.mark.parametrize(
    ("kind", "status"), [(K.VOID, S.VOIDED), (K.CAPTURE, S.CAPTURED), (K.EXPIRE, S.EXPIRED)]
)
async def test_what_ends_the_authorization_ends_the_review_of_a_release_of_ours(
    process: Process, kind: OperationKind, status: PaymentStatus
) -> None:
    ledger = process.ledger
    paid = await not_released(process)
    assert paid.review is not None
    assert paid.review["reason"] == "void_not_confirmed"
    ends = await ledger.add_operation(paid, kind)
    await ledger.recorder().record(subject(ends), attempt=1, fact=approval(ends))
    assert (await ledger.payment(paid.id)).status is status
    assert (await ledger.payment(paid.id)).review is None
    asked = "SELECT closed_by FROM reviews WHERE payment_id = :id"
    assert [row[0] for row in await ledger.rows(asked, id=paid.id)] == ["fact"]
    told = "SELECT body FROM events WHERE payment_id = :id ORDER BY sequence DESC LIMIT 1"
    assert json.loads((await ledger.rows(told, id=paid.id))[0][0])["data"]["review"] is None

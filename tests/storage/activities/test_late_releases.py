"""A late success is undone with its own attempt's account and references; judged by the acquirer's ledger."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from activities.messages import InquiryDue, Settled
from payonce.connectors.base import Call, Capabilities, MaySend
from payonce.domain.errors import NotSent, OutcomeUnknown
from payonce.domain.facts import (
    Approved,
    DeclineCode,
    Declined,
    FailureCode,
    NotKnown,
    NotProcessed,
    Redone,
    Reversed,
    Stage,
    Undone,
)
from payonce.domain.operations import AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.payment import Payment, PaymentStatus
from payonce.storage import attempts, payments
from tests.storage.acting import CAPABILITIES, Process, age
from tests.storage.ledger import IDS, Ledger, subject
from tests.support.rows import approval

K, S, A, O = OperationKind, PaymentStatus, AttemptState, OperationStatus
FIRST, SECOND = "account_1", "account_2"
CANNOT_REVERSE = replace(CAPABILITIES, reversal_by_reference=False)


@dataclass
class OneAcquirer:
    """One acquirer behind two accounts of ours, which finds what it did by references of its own only."""

    accounts: tuple[str, ...] = (FIRST, SECOND)
    held: set[str] = field(default_factory=set)  # its ledger: what it still holds, or keeps
    sent: list[tuple[str, OperationKind, str | None, int]] = field(default_factory=list)
    fault: Exception | Declined | None = None

    def at(self, account: str, capabilities: Capabilities, by: Callable[[Call], str | None]) -> "OneAccount":
        return OneAccount(self, account, capabilities, by)


@dataclass
class OneAccount:
    """A connector; `by` is the reference that this acquirer's interface asks for."""

    acquirer: OneAcquirer
    account: str
    capabilities: Capabilities
    by: Callable[[Call], str | None]
    asked: list[Call] = field(default_factory=list)

    async def send(self, call: Call, *, may_send: MaySend) -> Any:
        if not may_send():
            raise NotSent
        self.acquirer.sent.append((self.account, call.kind, call.authorization_reference, call.amount_minor))
        fault, self.acquirer.fault = self.acquirer.fault, None
        if isinstance(fault, Declined):
            return fault
        self.acquirer.held.discard(call.authorization_reference or "")
        if fault is not None:
            raise fault
        return Approved(f"acq-{call.kind}", call.amount_minor, call.currency)

    async def inquire(self, call: Call) -> Any:
        self.asked.append(call)
        if self.acquirer.sent:
            return Approved(f"acq-{call.kind}", call.amount_minor, call.currency)
        return NotKnown()

    async def reverse(self, call: Call) -> Reversed:
        self.acquirer.held.discard(self.by(call) or "")
        return Reversed()


@dataclass
class AtTwo(Process):
    """A process that has both accounts."""

    accounts: dict[str, OneAccount] = field(default_factory=dict)

    @property
    def connectors(self) -> dict[str, Any]:
        return dict(self.accounts)


def process_of(
    ledger: Ledger,
    acquirer: OneAcquirer,
    capabilities: Capabilities = CAPABILITIES,
    by: Callable[[Call], str | None] = lambda call: call.attempt_reference,
) -> AtTwo:
    accounts = {account: acquirer.at(account, capabilities, by) for account in acquirer.accounts}
    return AtTwo(ledger, accounts[FIRST], accounts=accounts)


async def approved_at_the_second_attempt(
    ledger: Ledger, acquirer: OneAcquirer, **changes: Any
) -> tuple[Payment, Operation]:
    """The first attempt was given back as never sent; the second, at another account, was approved."""
    paid = await ledger.add_payment(connector_account=SECOND, **changes)
    create = await ledger.add_operation(paid, K.AUTHORIZE, state=A.NOT_SENT)
    async with ledger.database.transaction() as connection:
        await connection.fetch(payments.locked(paid.id))
        await attempts.insert_claim(
            connection,
            create,
            number=2,
            connector="sandbox_card",
            connector_account=SECOND,
            owner="boot_1",
            token="run_2",
        )
    good = approval(create, connector_reference="acq-good", stage=Stage.AUTHORIZED)
    await ledger.recorder().record(subject(create), attempt=2, fact=good)
    acquirer.held.add("acq-good")
    return paid, create


async def first_succeeds_late(
    ledger: Ledger, acquirer: OneAcquirer, create: Operation, stage: Stage = Stage.AUTHORIZED, **changes: Any
) -> Operation:
    """What was said not to have been sent was. Returns the case."""
    acquirer.held.add("acq-stray")
    stray = approval(create, connector_reference="acq-stray", stage=stage)
    await ledger.recorder().record(subject(create), attempt=1, fact=stray, **changes)
    return await ledger.operation(IDS.reversal(reference=f"{create.id}-1"))


@pytest.mark.parametrize(
    "by",
    [lambda call: call.attempt_reference, lambda call: call.authorization_reference],
    ids=["the attempt's", "the authorization's"],
)
async def test_the_good_payment_stays_and_the_stray_one_is_released(
    ledger: Ledger, by: Callable[[Call], str | None]
) -> None:
    acquirer = OneAcquirer()
    process = process_of(ledger, acquirer, by=by)
    paid, create = await approved_at_the_second_attempt(ledger, acquirer)
    stray = await first_succeeds_late(ledger, acquirer, create)
    assert isinstance(await process.resolve("reverse_late", stray), Settled)
    assert acquirer.held == {"acq-good"}
    assert (await ledger.payment(paid.id)).status is S.AUTHORIZED
    assert (await ledger.operation(stray.id)).status is O.SUCCEEDED


@pytest.mark.parametrize(("stage", "sent_as"), [(Stage.AUTHORIZED, K.VOID), (Stage.CAPTURED, K.REFUND)])
async def test_where_it_cannot_be_reversed_a_void_or_refund_at_its_own_account_releases_it(
    ledger: Ledger, stage: Stage, sent_as: OperationKind
) -> None:
    acquirer = OneAcquirer()
    process = process_of(ledger, acquirer, CANNOT_REVERSE)
    paid, create = await approved_at_the_second_attempt(ledger, acquirer)
    stray = await first_succeeds_late(
        ledger, acquirer, create, stage, abilities=CANNOT_REVERSE.abilities(K.AUTHORIZE)
    )
    for _ in range(2):
        assert isinstance(await process.attempt(stray), Settled)
    assert acquirer.sent == [(FIRST, sent_as, "acq-stray", 1000)]
    assert acquirer.held == {"acq-good"}
    sent = await ledger.latest(stray.id)
    assert (sent.kind, sent.connector_account, sent.state) == (K.REVERSE, FIRST, A.APPROVED)
    assert (await ledger.operation(stray.id)).status is O.SUCCEEDED
    assert (await ledger.payment(paid.id)).status is S.AUTHORIZED


async def test_a_release_of_unknown_outcome_is_inquired_about_at_its_own_account_and_never_sent_again(
    ledger: Ledger,
) -> None:
    acquirer = OneAcquirer(fault=OutcomeUnknown("reset"))
    process = process_of(ledger, acquirer, CANNOT_REVERSE)
    _, create = await approved_at_the_second_attempt(ledger, acquirer)
    stray = await first_succeeds_late(
        ledger, acquirer, create, abilities=CANNOT_REVERSE.abilities(K.AUTHORIZE)
    )
    assert isinstance(await process.attempt(stray), InquiryDue)
    assert isinstance(await process.attempt(stray), InquiryDue)
    assert isinstance(await process.resolve("inquire", stray), Settled)
    assert [(call.kind, call.reference) for call in process.accounts[FIRST].asked] == [
        (K.VOID, f"{stray.id}-1")
    ]
    assert process.accounts[SECOND].asked == []
    assert len(acquirer.sent) == 1
    assert (await ledger.operation(stray.id)).status is O.SUCCEEDED


async def test_a_late_capture_is_refunded_and_given_back_when_that_is_confirmed(ledger: Ledger) -> None:
    acquirer = OneAcquirer(accounts=(FIRST,))
    process = process_of(ledger, acquirer, CANNOT_REVERSE)
    paid = await ledger.add_payment(S.AUTHORIZED)
    capture = await ledger.add_operation(paid, K.CAPTURE, amount_minor=400)
    recorder = ledger.recorder()
    await recorder.record(subject(capture), attempt=1, fact=NotProcessed(FailureCode.NOT_PROCESSED))
    fact, abilities = approval(capture), CANNOT_REVERSE.abilities(K.CAPTURE)
    await recorder.record(subject(capture), attempt=1, fact=fact, abilities=abilities)
    assert (await ledger.payment(paid.id)).capturable_minor == 600
    case = await ledger.operation(IDS.reversal(reference=f"{capture.id}-1"))
    assert isinstance(await process.attempt(case), Settled)
    assert acquirer.sent == [(FIRST, K.REFUND, "acq-authorization", 400)]
    assert (await ledger.payment(paid.id)).capturable_minor == 1000
    assert (await ledger.events(paid.id))[-1][1] == "payment.capture_failed"


async def test_a_release_that_the_acquirer_takes_back_is_a_case_again_until_it_is_made_again(
    ledger: Ledger,
) -> None:
    acquirer = OneAcquirer(accounts=(FIRST,))
    process = process_of(ledger, acquirer, CANNOT_REVERSE)
    paid = await ledger.add_payment(S.AUTHORIZED)
    capture = await ledger.add_operation(paid, K.CAPTURE, amount_minor=400)
    recorder = ledger.recorder()
    await recorder.record(subject(capture), attempt=1, fact=NotProcessed(FailureCode.NOT_PROCESSED))
    abilities = CANNOT_REVERSE.abilities(K.CAPTURE)
    await recorder.record(subject(capture), attempt=1, fact=approval(capture), abilities=abilities)
    case = await ledger.operation(IDS.reversal(reference=f"{capture.id}-1"))
    await process.attempt(case)
    for _ in range(2):
        await recorder.record(subject(case), attempt=1, fact=Undone("acq-u1", 400, "INR", "returned"))
    again, held = await ledger.operation(case.id), await ledger.payment(paid.id)
    assert (again.status, again.amount_undecided_minor) == (O.FAILED, 400)
    assert (held.capturable_minor, held.review is not None) == (600, True)
    await recorder.record(subject(case), attempt=1, fact=Redone("acq-r1", 400, "INR"))
    ended, after = await ledger.operation(case.id), await ledger.payment(paid.id)
    assert (ended.status, ended.amount_undecided_minor, ended.review_at) == (O.SUCCEEDED, 0, None)
    assert (after.capturable_minor, after.review) == (1000, None)


async def test_a_release_that_is_refused_is_for_a_person(ledger: Ledger) -> None:
    acquirer = OneAcquirer(fault=Declined(DeclineCode.PROCESSING_ERROR))
    process = process_of(ledger, acquirer, CANNOT_REVERSE)
    paid, create = await approved_at_the_second_attempt(ledger, acquirer)
    stray = await first_succeeds_late(
        ledger, acquirer, create, abilities=CANNOT_REVERSE.abilities(K.AUTHORIZE)
    )
    assert isinstance(await process.attempt(stray), Settled)
    assert acquirer.held == {"acq-good", "acq-stray"}
    after = await ledger.payment(paid.id)
    assert after.review is not None
    assert after.review["reason"] == (
        f"late_authorize {create.id}: 1000 INR was authorized; not undone yet (processing_error)"
    )
    assert (await ledger.operation(stray.id)).status is O.FAILED


async def test_what_is_proven_not_to_have_been_released_is_for_a_person(ledger: Ledger) -> None:
    acquirer = OneAcquirer()
    process = process_of(ledger, acquirer, CANNOT_REVERSE)
    paid, create = await approved_at_the_second_attempt(ledger, acquirer)
    stray = await first_succeeds_late(
        ledger, acquirer, create, abilities=CANNOT_REVERSE.abilities(K.AUTHORIZE)
    )
    acquirer.fault = NotSent("refused")
    await process.attempt(stray)
    acquirer.sent.clear()
    await ledger.rows("UPDATE attempts SET state = 'unknown' WHERE operation_id = :id", id=stray.id)
    await age(ledger, stray)
    assert isinstance(await process.resolve("inquire", stray), Settled)
    assert (await ledger.payment(paid.id)).review is not None


async def test_a_larger_amount_that_is_stated_later_is_held_and_told_once(ledger: Ledger) -> None:
    paid = await ledger.add_payment(S.CAPTURED)
    refund = await ledger.add_operation(paid, K.REFUND, amount_minor=300)
    recorder = ledger.recorder()
    await recorder.record(subject(refund), attempt=1, fact=NotProcessed(FailureCode.NOT_PROCESSED))
    for stated in (300, 700, 700, 200):
        await recorder.record(subject(refund), attempt=1, fact=approval(refund, amount_minor=stated))
    after = await ledger.payment(paid.id)
    assert (after.refundable_minor, after.amount_refund_undecided_minor) == (300, 700)
    assert [type_ for _, type_ in await ledger.events(paid.id)].count("payment.late_success") == 2

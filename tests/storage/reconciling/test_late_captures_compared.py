"""A capture that succeeded late, and that we gave back by a refund, against the acquirer's list."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from activities.messages import Settled
from payonce.domain.facts import Approved, FailureCode, NotProcessed, Stage
from payonce.domain.operations import AttemptState, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.domain.reconciling import ComparisonResult, Said, TheirCharge, Totals, compare
from payonce.storage import reconciliation as store
from tests.storage.acting import CAPABILITIES, FakeConnector, Process
from tests.storage.ledger import IDS, Ledger, subject
from tests.support.rows import approval

K = OperationKind


async def results(ledger: Ledger, payment_id: str, *, refunded: int) -> list[ComparisonResult]:
    """What a list says of a charge of 1000 that is captured whole, of which so much was refunded."""
    reference = f"{payment_id}-1"
    fact = Approved("acq-1", 1000, "INR", stage=Stage.AUTHORIZED)
    charge = TheirCharge(
        id="acq-1",
        reference=reference,
        currency="INR",
        created_at=datetime.now(UTC),
        totals=Totals(
            authorized_minor=1000,
            captured_minor=1000,
            refunded_minor=refunded,
            disputed_minor=0,
            held_minor=0,
        ),
        said=(Said("acq-1", K.AUTHORIZE, reference, 1000, fact),),
    )
    async with ledger.database.reading() as connection:
        known = await store.known(connection, {reference})
    found = compare(
        charge,
        known,
        account="account_1",
        is_apart=lambda _: False,
        has_our_form=lambda _: True,
        finality_s=10,
        listed_at=datetime.now(UTC) + timedelta(hours=3),
    ).found
    return [one.result for one in found]


async def test_a_late_capture_is_no_difference_while_it_is_given_back_nor_afterwards(ledger: Ledger) -> None:
    capabilities = replace(CAPABILITIES, reversal_by_reference=False)
    connector = FakeConnector(capabilities=capabilities)
    process, recorder = Process(ledger, connector), ledger.recorder()
    paid = await ledger.add_payment(
        PaymentStatus.CAPTURED, amount_captured_minor=700, connector_reference="acq-1"
    )
    create = await ledger.add_operation(
        paid, K.AUTHORIZE, state=AttemptState.APPROVED, status=OperationStatus.SUCCEEDED
    )
    await ledger.rows("UPDATE operations SET connector_reference = 'acq-1' WHERE id = :id", id=create.id)
    capture = await ledger.add_operation(paid, K.CAPTURE, amount_minor=300)
    await recorder.record(subject(capture), attempt=1, fact=NotProcessed(FailureCode.NOT_PROCESSED))
    abilities = capabilities.abilities(K.CAPTURE)
    await recorder.record(subject(capture), attempt=1, fact=approval(capture), abilities=abilities)
    assert await results(ledger, paid.id, refunded=0) == []
    case = await ledger.operation(IDS.reversal(reference=f"{capture.id}-1"))
    connector.answers["send"] = approval(case)
    assert isinstance(await process.attempt(case), Settled)
    assert await results(ledger, paid.id, refunded=300) == [ComparisonResult.MATCHED]
    assert await results(ledger, paid.id, refunded=0) == [ComparisonResult.AMOUNT]

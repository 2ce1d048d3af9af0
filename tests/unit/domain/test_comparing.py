"""A refund that was made, and that the bank sent back, against what is known of it here."""

from datetime import timedelta

import pytest

from payonce.domain.facts import Approved, Stage, Undone
from payonce.domain.operations import AttemptState, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.domain.reconciling import Compared, ComparisonResult, Ours, Said, TheirCharge, Totals, compare
from tests.support.rows import NOW, attempt, operation, payment

CHARGE, REFUND = "acq-authorization", "acq-refund"
DONE = {"status": OperationStatus.SUCCEEDED, "connector_reference": CHARGE}
FAILED = {"status": OperationStatus.FAILED}
MADE = {"status": OperationStatus.SUCCEEDED, "connector_reference": REFUND}


def compared(status: PaymentStatus, state: AttemptState, of_refund: dict[str, object]) -> Compared:
    """A charge of which 300 was refunded and came back, against a refund of ours that is known so."""
    paid = payment(status)
    create, refund = operation(**DONE), operation(OperationKind.REFUND, amount_minor=300, **of_refund)
    known = {
        "pay_1-1": Ours(paid, create, attempt(create, AttemptState.APPROVED, connector_reference=CHARGE)),
        "op_refund-1": Ours(paid, refund, attempt(refund, state, connector_reference=REFUND)),
    }
    came_back = Approved(REFUND, 300, "INR", since=(Undone("rf/failed", 300, "INR", "closed account"),))
    charge = TheirCharge(
        id=CHARGE,
        reference="pay_1-1",
        currency="INR",
        created_at=NOW,
        totals=Totals(
            authorized_minor=1000, captured_minor=1000, refunded_minor=0, disputed_minor=0, held_minor=0
        ),
        said=(
            Said(
                CHARGE,
                OperationKind.AUTHORIZE,
                "pay_1-1",
                1000,
                Approved(CHARGE, 1000, "INR", stage=Stage.CAPTURED),
            ),
            Said(REFUND, OperationKind.REFUND, "op_refund-1", 300, came_back),
        ),
    )
    return compare(
        charge,
        known,
        account="account_1",
        is_apart=lambda _: False,
        has_our_form=lambda _: True,
        finality_s=10,
        listed_at=NOW + timedelta(hours=3),
    )


@pytest.mark.parametrize(
    ("status", "state", "of_refund", "results"),
    [
        (PaymentStatus.CAPTURED, AttemptState.DECLINED, FAILED, [ComparisonResult.MATCHED]),
        (PaymentStatus.PARTIALLY_REFUNDED, AttemptState.APPROVED, MADE, [ComparisonResult.AMOUNT]),
        (PaymentStatus.CAPTURED, AttemptState.CLAIMED, {}, [ComparisonResult.CHARGED_THERE]),
    ],
    ids=["failed here", "succeeded here", "pending here"],
)
def test_a_refund_that_came_back_is_news_unless_it_failed_here(
    status: PaymentStatus,
    state: AttemptState,
    of_refund: dict[str, object],
    results: list[ComparisonResult],
) -> None:
    assert [found.result for found in compared(status, state, of_refund).found] == results


@pytest.mark.parametrize(
    ("disputed_there", "result"),
    [(None, ComparisonResult.MATCHED), (400, ComparisonResult.MATCHED), (0, ComparisonResult.AMOUNT)],
    ids=["not said", "the same", "given back"],
)
def test_what_is_disputed_is_compared_where_the_list_says_it(
    disputed_there: int | None, result: ComparisonResult
) -> None:
    paid = payment(
        PaymentStatus.CAPTURED,
        amount_minor=1000,
        amount_authorized_minor=1000,
        amount_captured_minor=1000,
        amount_disputed_minor=400,
    )
    create = operation(**DONE)
    ours = Ours(paid, create, attempt(create, AttemptState.APPROVED, connector_reference=CHARGE))
    fact = Approved(CHARGE, 1000, "INR", stage=Stage.CAPTURED)
    totals = Totals(
        authorized_minor=1000,
        captured_minor=1000,
        refunded_minor=0,
        disputed_minor=disputed_there,
        held_minor=0,
    )
    charge = TheirCharge(
        id=CHARGE,
        reference="pay_1-1",
        currency="INR",
        created_at=NOW,
        totals=totals,
        said=(Said(CHARGE, OperationKind.AUTHORIZE, "pay_1-1", 1000, fact),),
    )
    found = compare(
        charge,
        {"pay_1-1": ours},
        account="account_1",
        is_apart=lambda _: False,
        has_our_form=lambda _: True,
        finality_s=10,
        listed_at=NOW + timedelta(hours=3),
    ).found
    assert [each.result for each in found] == [result]

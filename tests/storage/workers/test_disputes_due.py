"""Evidence that is due soon: merchants are told by the sweeper, whoever runs it and however often."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from payonce import metrics
from payonce.domain.facts import Approved, Disputed, Stage
from payonce.domain.operations import AttemptState, OperationKind, OperationStatus
from payonce.domain.payment import Payment, PaymentStatus
from tests.storage.ledger import Ledger, subject
from tests.storage.sweeping import sweeper_of
from workers.sweeper import Sweeper

AMOUNT = 1000


@pytest.fixture
def sweeper(ledger: Ledger) -> Sweeper:
    return sweeper_of(ledger, cast("Any", None))


async def disputed(ledger: Ledger, *, due_in: timedelta | None, **changes: Any) -> Payment:
    """A captured payment of which the acquirer says so."""
    amounts = {"amount_minor": AMOUNT, "amount_authorized_minor": AMOUNT, "amount_captured_minor": AMOUNT}
    payment = await ledger.add_payment(PaymentStatus.CAPTURED, **{**amounts, **changes})
    create = await ledger.add_operation(
        payment, OperationKind.AUTHORIZE, state=AttemptState.APPROVED, status=OperationStatus.SUCCEEDED
    )
    now = datetime.now(UTC)
    said = Disputed(
        id=f"dsp-{payment.id}",
        stage="chargeback",
        status="needs_response",
        amount_minor=AMOUNT,
        currency=payment.currency,
        withdrawn_minor=AMOUNT,
        reason="fraudulent",
        at=now,
        evidence_due_by=None if due_in is None else now + due_in,
    )
    fact = Approved("acq-1", AMOUNT, payment.currency, stage=Stage.CAPTURED, disputes=(said,))
    await ledger.recorder().record(subject(create), attempt=1, fact=fact)
    return payment


async def warnings(ledger: Ledger, payment: Payment) -> int:
    return [type_ for _, type_ in await ledger.events(payment.id)].count("dispute.evidence_due")


async def test_what_is_due_soon_is_told_of_once(ledger: Ledger, sweeper: Sweeper) -> None:
    soon = await disputed(ledger, due_in=timedelta(days=2))
    later = await disputed(ledger, due_in=timedelta(days=5))
    without = await disputed(ledger, due_in=None)
    for _ in range(2):
        assert await sweeper.warn_of_disputes() is False
    assert [await warnings(ledger, each) for each in (soon, later, without)] == [1, 0, 0]


async def test_many_sweepers_at_once_tell_once(ledger: Ledger) -> None:
    payment = await disputed(ledger, due_in=timedelta(days=1))
    sweepers = [sweeper_of(ledger, cast("Any", None)) for _ in range(4)]
    await asyncio.gather(*(each.warn_of_disputes() for each in sweepers))
    assert await warnings(ledger, payment) == 1


async def test_a_person_is_called_for_what_was_refunded_before(ledger: Ledger) -> None:
    refunded = await disputed(ledger, due_in=None)
    counted = metrics.DISPUTED_AND_REFUNDED.labels((await ledger.latest(refunded.id)).connector_account)
    before = counted._value.get()
    await disputed(ledger, due_in=None, amount_refunded_minor=400)
    assert counted._value.get() == before + 1
    await disputed(ledger, due_in=None)
    assert counted._value.get() == before + 1

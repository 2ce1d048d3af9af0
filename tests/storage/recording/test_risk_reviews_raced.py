"""A decision about a risk beside what else would end it, at the same moment: one of them holds, and moves once."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from payonce.domain.decisions import Verdict
from payonce.domain.errors import DecisionRefused, OperationInProgress
from payonce.domain.facts import Stage
from payonce.domain.operations import Operation, OperationKind, OperationStatus, Subject
from payonce.domain.payment import HELD, REJECTED, Payment, PaymentStatus
from tests.storage.admitting import Shop, post
from tests.storage.deciding import decide, record
from tests.storage.expiring import OVER, cases
from tests.storage.ledger import Ledger, subject
from tests.support.eventually import eventually
from tests.support.rows import approval

K, S, V = OperationKind, PaymentStatus, Verdict
RISK = {"verdict": "review", "reasons": ["first_order"], "provider": "rules"}
ROUNDS = 6  # whoever comes first


async def held(ledger: Ledger, **fact: Any) -> Operation:
    """The create of a payment that was authorized, and is held."""
    payment = await ledger.add_payment(S.INIT, capture_method="automatic", capture=HELD, risk=RISK)
    create = await ledger.add_operation(payment, K.AUTHORIZE, id=payment.id)
    await record(ledger, create, approval(create, stage=Stage.AUTHORIZED, **fact))
    return await ledger.operation(create.id)


async def at_once(first: Coroutine[Any, Any, Any], second: Coroutine[Any, Any, Any], turn: int) -> list[Any]:
    """Both end; which of them begins first alternates."""
    both = [first, second] if turn % 2 else [second, first]
    done: list[Any] = await asyncio.gather(*both, return_exceptions=True)
    for one in done:
        if isinstance(one, BaseException) and not isinstance(one, DecisionRefused | OperationInProgress):
            raise one
    return done


async def moved(ledger: Ledger, create: Operation) -> Payment:
    """What follows is confirmed; at most one operation has followed."""
    query = "SELECT id FROM operations WHERE payment_id = :id AND kind <> 'authorize'"
    followed = [row.id for row in await ledger.rows(query, id=create.payment_id)]
    assert len(followed) <= 1
    for id_ in followed:
        operation = await ledger.operation(id_)
        if operation.status is OperationStatus.PENDING:
            await ledger.claim(operation)
            await record(ledger, operation, approval(operation))
    payment = await ledger.payment(create.payment_id)
    assert payment.idle
    assert payment.review is None
    events = await ledger.rows(
        "SELECT type FROM events WHERE payment_id = :id AND type = ANY(:types)",
        id=create.payment_id,
        types=["payment.captured", "payment.voided", "payment.expired"],
    )
    assert [row.type for row in events] == [f"payment.{payment.status}"]
    return payment


async def test_an_approval_beside_its_merchants_void(ledger: Ledger) -> None:
    shop = Shop(ledger)
    for turn in range(ROUNDS):
        create = await held(ledger)
        asked = replace(post(ledger, f"void_{turn}"), request_id=f"void_{turn}")
        void = asyncio.create_task(shop.admission.void(asked, create.payment_id, reason=None))
        (decided,) = await asyncio.gather(decide(ledger, create, V.APPROVED), return_exceptions=True)
        refused = isinstance(decided, DecisionRefused)
        assert refused or not isinstance(decided, BaseException)

        async def is_decided(create: Operation = create, void: "asyncio.Task[Any]" = void) -> bool:
            return void.done() or not (await ledger.payment(create.payment_id)).idle

        await eventually(is_decided)
        payment = await moved(ledger, create)
        assert payment.status is (S.VOIDED if refused else S.CAPTURED)
        void.cancel()
        await asyncio.wait([void])


async def expires(ledger: Ledger, create: Operation) -> None:
    expiry_id = await cases(ledger).admit_expiry(create.payment_id)
    if expiry_id is not None:
        await ledger.recorder().complete(Subject(create.payment_id, expiry_id))


async def test_an_approval_beside_the_end_of_its_time(ledger: Ledger) -> None:
    for turn in range(ROUNDS):
        create = await held(ledger, capture_before=datetime.now(UTC) + timedelta(minutes=30))
        ((due_at,),) = await ledger.rows("SELECT due_at FROM reviews WHERE operation_id = :id", id=create.id)
        over = ledger.recorder().overdue(subject(create), due_at=due_at)
        done = await at_once(decide(ledger, create, V.APPROVED), over, turn)
        payment = await moved(ledger, create)
        refused = any(isinstance(one, DecisionRefused) for one in done)
        assert payment.status is (S.VOIDED if refused else S.CAPTURED)
        assert payment.capture == (REJECTED if refused else None)


@pytest.mark.parametrize("verdict", [V.APPROVED, V.REJECTED])
async def test_a_decision_beside_the_expiry_of_its_authorization(ledger: Ledger, verdict: Verdict) -> None:
    for turn in range(ROUNDS):
        create = await held(ledger, capture_before=OVER)
        done = await at_once(decide(ledger, create, verdict), expires(ledger, create), turn)
        payment = await moved(ledger, create)
        if any(isinstance(one, DecisionRefused) for one in done):
            assert payment.status is S.EXPIRED
        else:
            assert payment.status in (S.EXPIRED, S.CAPTURED if verdict is V.APPROVED else S.VOIDED)

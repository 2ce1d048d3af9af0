"""What the code checks under the lock, Postgres refuses a second time."""

from typing import Any

import pytest
from psycopg import IntegrityError
from sqlalchemy import update

from payonce.domain.operations import OperationKind
from payonce.domain.payment import PaymentStatus
from payonce.storage import attempts, payments
from payonce.storage.tables import payments as table
from tests.storage.ledger import Ledger
from tests.support import rows


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"amount_captured_minor": 1001}, "payments_captured_check"),
        ({"amount_captured_minor": -1}, "payments_captured_check"),
        ({"amount_authorized_minor": 999, "amount_captured_minor": 0}, "payments_authorized_check"),
        ({"amount_refunded_minor": 1001}, "payments_refunded_check"),
        ({"amount_refund_pending_minor": 1001}, "payments_refunded_check"),
        ({"amount_refunded_minor": 600, "amount_refund_pending_minor": 401}, "payments_refunded_check"),
        ({"amount_refund_pending_minor": -1}, "payments_refunded_check"),
        ({"amount_refunded_minor": 1001, "amount_refund_pending_minor": -1}, "payments_refunded_check"),
        ({"amount_minor": 0, "amount_authorized_minor": 0, "amount_captured_minor": 0}, "payments_amount"),
        ({"status": "charged"}, "payments_status_check"),
    ],
)
async def test_impossible_amounts_and_statuses_are_refused(
    shared_ledger: Ledger, changes: dict[str, Any], constraint: str
) -> None:
    paid = await shared_ledger.add_payment(PaymentStatus.CAPTURED)
    with pytest.raises(IntegrityError, match=constraint):
        async with shared_ledger.database.transaction() as connection:
            await connection.execute(update(table).where(table.c.id == paid.id).values(changes))
    assert await shared_ledger.payment(paid.id) == paid


async def test_the_limits_themselves_are_possible(shared_ledger: Ledger) -> None:
    paid = await shared_ledger.add_payment(PaymentStatus.CAPTURED)
    changes = {"amount_refunded_minor": 600, "amount_refund_pending_minor": 400}
    async with shared_ledger.database.transaction() as connection:
        await connection.execute(update(table).where(table.c.id == paid.id).values(changes))


@pytest.mark.parametrize("first", [kind for kind in OperationKind if kind.exclusive])
@pytest.mark.parametrize("second", [kind for kind in OperationKind if kind.exclusive])
async def test_two_pending_captures_or_voids_are_refused(
    shared_ledger: Ledger, first: OperationKind, second: OperationKind
) -> None:
    paid = await shared_ledger.add_payment(PaymentStatus.AUTHORIZED)
    await shared_ledger.add_operation(paid, first, claimed=False)
    with pytest.raises(IntegrityError, match="operations_one_blocking_key"):
        await shared_ledger.add_operation(paid, second, claimed=False)


async def test_refunds_may_be_pending_side_by_side(shared_ledger: Ledger) -> None:
    paid = await shared_ledger.add_payment(PaymentStatus.CAPTURED)
    for _ in range(3):
        await shared_ledger.add_operation(paid, OperationKind.REFUND, amount_minor=100)
    assert (await shared_ledger.payment(paid.id)).amount_refund_pending_minor == 300


async def test_the_same_attempt_is_claimed_once(shared_ledger: Ledger) -> None:
    paid = await shared_ledger.add_payment()
    authorization = await shared_ledger.add_operation(paid, OperationKind.AUTHORIZE)
    with pytest.raises(IntegrityError, match="attempts_pkey"):
        async with shared_ledger.database.transaction() as connection:
            await attempts.insert_claim(
                connection,
                authorization,
                number=1,
                connector="sandbox_card",
                connector_account="account_1",
                owner="boot_2",
                token="run_2",
            )
    assert (await shared_ledger.latest(authorization.id)).owner == "boot_1"


async def test_a_payment_exists_once(shared_ledger: Ledger) -> None:
    paid = await shared_ledger.add_payment()
    with pytest.raises(IntegrityError, match="payments_pkey"):
        async with shared_ledger.database.transaction() as connection:
            await payments.insert_payment(connection, paid)


async def test_an_operation_needs_its_payment_and_an_amount(shared_ledger: Ledger) -> None:
    with pytest.raises(IntegrityError, match="operations_payment_id_fkey"):
        async with shared_ledger.database.transaction() as connection:
            await payments.insert_operation(connection, rows.operation(), sweep_at=rows.NOW)
    paid = await shared_ledger.add_payment()
    with pytest.raises(IntegrityError, match="operations_amount_check"):
        await shared_ledger.add_operation(paid, OperationKind.AUTHORIZE, amount_minor=0)


async def test_an_event_has_its_place_in_the_sequence_to_itself(shared_ledger: Ledger) -> None:
    paid = await shared_ledger.add_payment()
    query = (
        "INSERT INTO events (id, merchant_id, mode, payment_id, sequence, type, body, created_at)"
        " VALUES (:id, 'm', 'test', :payment, 1, 'payment.captured', '', now())"
    )
    await shared_ledger.rows(query, id="evt_1", payment=paid.id)
    with pytest.raises(IntegrityError, match="events_payment_id_sequence_key"):
        await shared_ledger.rows(query, id="evt_2", payment=paid.id)

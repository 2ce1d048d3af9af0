"""A list with charges that Postgres forgot: nothing is undone, and a person sees them, and can go on."""

from datetime import UTC, datetime

import pytest

from payonce.domain.ids import attempt_reference
from payonce.domain.payment import Payment
from payonce.domain.reconciling import ComparisonResult
from payonce.reconciling.reading import Stopped
from payonce.storage import reconciliation_runs
from tests.storage.ledger import IDS
from tests.storage.reconciling.shop import AMOUNT, Shop
from tests.storage.reconciling.sides import ACCOUNT


def forgotten(key: str) -> str:
    return IDS.payment(merchant_id="mer_1", mode="test", key=key)


async def allowed(shop: Shop) -> None:
    async with shop.ledger.database.transaction() as connection:
        assert await reconciliation_runs.allow(connection, ACCOUNT, now=datetime.now(UTC))


async def ahead(shop: Shop) -> bool:
    async with shop.ledger.database.reading() as connection:
        return ACCOUNT in await reconciliation_runs.ahead(connection)


async def at_another_acquirer(shop: Shop, payment: Payment) -> None:
    """Its attempt was made elsewhere: when it was asked for again, another account came first."""
    await shop.ledger.rows(
        "UPDATE attempts SET connector = 'adyen', connector_account = 'account_2' WHERE payment_id = :id",
        id=payment.id,
    )


async def test_a_stopped_run_shows_every_orphan_and_the_account_stays_ahead_once_it_is_allowed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shop.side.page, 1)
    await shop.charges(forgotten("first"))
    failed = await shop.failed()
    await shop.charges(failed.id)
    await shop.charges(forgotten("second"))
    await shop.ledger.rows("UPDATE attempts SET claimed_at = claimed_at - interval '1 hour'")
    with pytest.raises(Stopped):
        await shop.reconciled()
    assert [found.result for found in await shop.findings()] == [ComparisonResult.ORPHAN] * 2
    assert await shop.net(failed.id) == AMOUNT
    assert await ahead(shop)
    await allowed(shop)
    assert await ahead(shop)


async def test_an_account_without_new_payments_is_compared_again_once_it_is_allowed(shop: Shop) -> None:
    failed = await shop.failed()
    await shop.charges(failed.id)
    await shop.charges(forgotten("nobody asks for it again"))
    await shop.ledger.rows("UPDATE attempts SET claimed_at = claimed_at - interval '1 hour'")
    with pytest.raises(Stopped):
        await shop.reconciled()
    await allowed(shop)
    assert (await shop.reconciled()).found == {"charged_there": 1}


async def test_a_stopped_run_that_is_killed_goes_on_and_undoes_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shop.side.page, 1)
    await shop.charges(forgotten("first"))
    failed = await shop.failed()
    await shop.charges(failed.id)
    await shop.ledger.rows("UPDATE attempts SET claimed_at = claimed_at - interval '1 hour'")
    lists, asked = shop.connector.list_charges, 0

    async def ends_after_one(**query: object) -> object:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise KeyboardInterrupt
        return await lists(**query)  # type: ignore[arg-type]

    monkeypatch.setattr(shop.connector, "list_charges", ends_after_one)
    with pytest.raises(KeyboardInterrupt):
        await shop.reconciled()
    with pytest.raises(Stopped):
        await shop.reconciled()
    assert (await shop.ledger.payment(failed.id)).sequence == failed.sequence
    assert [found.result for found in await shop.findings()] == [ComparisonResult.ORPHAN]


async def test_what_was_charged_before_and_again_at_another_acquirer_is_charged_twice(shop: Shop) -> None:
    """The same key has the same reference, wherever it is sent."""
    payment = await shop.paid()
    await at_another_acquirer(shop, payment)
    await shop.ledger.rows(
        "INSERT INTO acquirer_objects (account, acquirer_id, kind, charge_id, reference, payment_id, currency,"
        " amount_minor, net_minor, held_minor, result, created_at, seen_at) VALUES ('account_2', 'psp', 'authorize',"
        " 'psp', :reference, :id, 'INR', :net, :net, 0, 'matched', now(), now())",
        reference=attempt_reference(payment.id, 1),
        id=payment.id,
        net=AMOUNT,
    )
    await shop.paid()  # so that the account's newest attempt is newer than the orphan
    assert (await shop.reconciled()).found == {"matched": 1, "orphan": 1, "double_charge": 1}
    assert await shop.net(payment.id) == AMOUNT  # nobody undoes either

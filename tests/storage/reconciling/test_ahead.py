"""At an account whose acquirer has charges of ours that Postgres forgot, nothing is sent before it is looked for."""

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.attempting import Attempting
from activities.messages import OperationRequest
from payonce.accounts import Accounts, Source
from payonce.claims import Claimant
from payonce.clock import boot_clock_s
from payonce.connectors.measured import Calls
from payonce.domain.cards import Card
from payonce.domain.operations import Operation, OperationKind
from payonce.domain.payment import PaymentStatus
from payonce.domain.reconciling import ComparisonResult
from payonce.reconciling.reading import Stopped
from payonce.rights import Right
from payonce.standing import call_about, read_standing
from payonce.storage import reconciliation
from tests.storage.ledger import IDS
from tests.storage.reconciling.acquirer import CARD
from tests.storage.reconciling.shop import AMOUNT, Shop
from tests.storage.reconciling.sides import ACCOUNT

MINUTE_S = 60.0
FORGOTTEN = "key-0"  # of the first payment that the shop wants


class Sender:
    """A process that has refreshed its accounts, and carries out what was claimed."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        runtime: Any = shop.runtime
        source = Source(runtime.database, runtime.settings, runtime.sealer, Calls())
        self.accounts = Accounts([], {ACCOUNT: shop.connector}, source=source)

    async def authorize(self, operation: Operation) -> PaymentStatus:
        """What the payment is, once its attempt was carried out."""
        shop, rights = self.shop, self.shop.runtime.rights
        database = shop.ledger.database
        async with database.reading() as connection:
            standing = await read_standing(connection, operation.payment_id, operation.id, lock=False)
        attempt = standing.attempt
        assert attempt is not None
        call = dataclasses.replace(call_about(standing, attempt), card=Card(**CARD))
        right = Right(call, attempt.number, attempt.token, ACCOUNT, boot_clock_s() + MINUTE_S)
        rights.grant(operation.id, right)
        attempting = Attempting(
            rights=rights,
            claimant=Claimant(database, rights, self.accounts),
            recorder=shop.ledger.recorder(),
            accounts=self.accounts,
            fail_over=database.fail_over,
        )
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(environment.info, is_local=True)
        request = OperationRequest(operation.payment_id, operation.id, OperationKind.AUTHORIZE)
        await environment.run(attempting.authorize, request)
        return (await shop.ledger.payment(operation.payment_id)).status

    async def asked(self, payment_id: str) -> list[str]:
        """What the acquirer was asked about the payment, by anybody."""
        query = {"payment_reference": payment_id}
        found = (await self.shop.acquirer.client.get("/requests", params=query)).json()["entries"]
        return [one["operation"] for one in found]


@pytest.fixture
async def forgotten(shop: Shop) -> str:
    """A payment that was charged before Postgres was restored, at an acquirer that honours no key of ours."""
    id_ = IDS.payment(merchant_id=shop.ledger.merchant_id, mode="test", key=FORGOTTEN)
    await shop.charges(id_)
    await shop.acquirer.client.patch("/config", json={"idempotency": "ignored"})
    return id_


async def test_the_same_key_finds_what_was_charged_before_postgres_was_restored(
    shop: Shop, forgotten: str
) -> None:
    with pytest.raises(Stopped):
        await shop.reconciled()
    sender = Sender(shop)
    await sender.accounts.refresh()
    payment, create = await shop.wants()
    assert payment.id == forgotten
    assert await sender.authorize(create) is PaymentStatus.CAPTURED
    assert await shop.net(forgotten) == AMOUNT
    assert await sender.asked(forgotten) == ["authorize", "inquire"]


async def test_while_nothing_was_found_out_the_same_key_is_sent(shop: Shop, forgotten: str) -> None:
    """Which is why the account has to be looked at: the acquirer does not know the key any more."""
    sender = Sender(shop)
    await sender.accounts.refresh()
    _, create = await shop.wants()
    assert await sender.authorize(create) is PaymentStatus.CAPTURED
    assert await shop.net(forgotten) == 2 * AMOUNT


async def test_what_is_not_found_there_is_sent_once(shop: Shop, forgotten: str) -> None:
    with pytest.raises(Stopped):
        await shop.reconciled()
    sender = Sender(shop)
    await sender.accounts.refresh()
    await shop.wants()
    new, create = await shop.wants()
    assert await sender.authorize(create) is PaymentStatus.CAPTURED
    assert await shop.net(new.id) == AMOUNT
    assert await sender.asked(new.id) == ["inquire", "authorize"]


async def test_an_orphan_that_was_asked_for_again_is_settled_by_its_payment(shop: Shop) -> None:
    orphan = IDS.payment(merchant_id=shop.ledger.merchant_id, mode="test", key="lost alone")
    await shop.charges(orphan)
    await shop.acquirer.client.patch("/config", json={"idempotency": "ignored"})
    await shop.paid()  # so that the account's newest attempt is newer than the orphan
    await shop.reconciled()
    sender = Sender(shop)
    await sender.accounts.refresh()
    assert sender.accounts.is_ahead(ACCOUNT)
    again = await shop.ledger.add_payment(id=orphan, capture_method="automatic")
    create = await shop.ledger.add_operation(again, OperationKind.AUTHORIZE)
    assert await sender.authorize(create) is PaymentStatus.CAPTURED
    assert await shop.net(orphan) == AMOUNT
    await shop.reconciled(timedelta(days=2))  # the list has it no more
    (found,) = await shop.findings()
    assert (found.result, found.settled_by) == (ComparisonResult.ORPHAN, orphan)
    await sender.accounts.refresh()
    assert not sender.accounts.is_ahead(ACCOUNT)


async def test_an_orphan_that_a_person_settled_costs_no_inquiry_any_more(shop: Shop) -> None:
    await shop.charges(IDS.payment(merchant_id="mer_1", mode="test", key="nobody asks for it again"))
    await shop.paid()
    await shop.reconciled()
    sender = Sender(shop)
    await sender.accounts.refresh()
    assert sender.accounts.is_ahead(ACCOUNT)
    (orphan,) = await shop.findings()
    async with shop.ledger.database.transaction() as connection:
        assert await reconciliation.settle(connection, orphan.id, by="op@desk", now=orphan.created_at)
    await sender.accounts.refresh()
    _, create = await shop.wants()
    assert await sender.authorize(create) is PaymentStatus.CAPTURED
    assert await sender.asked(create.payment_id) == ["authorize"]

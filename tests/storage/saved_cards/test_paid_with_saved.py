"""What the outcome of a payment makes of a card that was saved before."""

from dataclasses import replace
from typing import Any

import pytest

from payonce.domain.evidence import Evidence
from payonce.domain.facts import DeclineCode, Declined, Fact
from payonce.domain.operations import Operation, OperationKind
from payonce.domain.payment_methods import Setup, StoredCredential
from tests.storage.customers import asked
from tests.storage.ledger import Ledger, subject
from tests.storage.saved_cards.saving_shop import NETWORK, SavingShop, approved, saving


async def a_saved_card(ledger: Ledger, setup: Setup = Setup.ON_SESSION) -> SavingShop:
    shop = SavingShop(ledger)
    create = await shop.admitted(saving(setup=setup))
    await shop.record(create, approved(create))
    return shop


async def paying(shop: SavingShop, **asked: Any) -> Operation:
    """A payment with it, that is claimed."""
    stored = StoredCredential(token=shop.token(), **asked)
    paid = await shop.ledger.add_payment(stored_credential=stored.kept())
    return await shop.ledger.add_operation(paid, OperationKind.AUTHORIZE)


async def test_a_card_is_set_up_for_more_once_the_customer_paid_with_it(ledger: Ledger) -> None:
    shop = await a_saved_card(ledger)
    create = await paying(shop, setup=Setup.OFF_SESSION)
    await shop.record(create, approved(create, evidence=NETWORK))
    (method,), (credential,) = await shop.methods(), await shop.credentials()
    assert (method["setup"], method["state"]) == ("off_session", "active")
    assert credential["network_transaction"]["id"] == NETWORK.network_transaction_id
    assert sorted(await shop.told()) == ["payment_method.active", "payment_method.updated"]


@pytest.mark.parametrize(
    ("had", "asked", "approves"),
    [
        (Setup.ON_SESSION, {"setup": Setup.OFF_SESSION}, False),
        (Setup.ON_SESSION, {"setup": Setup.ON_SESSION}, True),
        (Setup.ON_SESSION, {}, True),
        (Setup.ON_SESSION, {"setup": Setup.OFF_SESSION, "reason": "recurring"}, True),
        (Setup.OFF_SESSION, {"setup": Setup.ON_SESSION}, True),
        (Setup.OFF_SESSION, {"setup": Setup.OFF_SESSION}, True),
    ],
)
async def test_else_it_stays_what_it_was_set_up_for(
    ledger: Ledger, had: Setup, asked: dict[str, Any], approves: bool
) -> None:
    shop = await a_saved_card(ledger, had)
    create = await paying(shop, **asked)
    fact: Fact = approved(create) if approves else Declined(DeclineCode.LOST_CARD)
    await shop.record(create, fact)
    assert [(one["setup"], one["state"]) for one in await shop.methods()] == [(had.value, "active")]
    assert await shop.vaulted() == [True]
    assert await shop.told() == ["payment_method.active"]


@pytest.mark.parametrize("approves", [True, False])
async def test_a_card_that_turns_out_to_be_indian_leaves_the_vault(ledger: Ledger, approves: bool) -> None:
    shop = await a_saved_card(ledger)
    create = await paying(shop)
    said = Evidence(issuer_country="IN")
    fact: Fact = approved(create, evidence=said)
    if not approves:
        fact = Declined(DeclineCode.LOST_CARD, evidence=said)
    for _ in range(2):
        await shop.record(create, fact)
    (method,) = await shop.methods()
    assert (method["state"], await shop.vaulted()) == ("deleted", [])
    assert sorted(await shop.told()) == ["payment_method.active", "payment_method.deleted"]
    ((_, payment_id),) = await shop.erasures_audited()
    assert payment_id == create.payment_id


async def test_a_card_that_was_deleted_meanwhile_stays_so(ledger: Ledger) -> None:
    shop = await a_saved_card(ledger)
    create = await paying(shop, setup=Setup.OFF_SESSION)
    await ledger.rows("UPDATE payment_methods SET state = 'deleted', deleted_at = now()")
    await shop.record(create, approved(create))
    assert [one["setup"] for one in await shop.methods()] == ["on_session"]
    assert await shop.told() == ["payment_method.active"]


async def test_the_outcome_of_something_else_changes_no_card(ledger: Ledger) -> None:
    shop = SavingShop(ledger)
    create = await shop.admitted(replace(saving(), capture_method="manual"))
    paid = await shop.record(create, approved(create))
    capture = await ledger.add_operation(paid, OperationKind.CAPTURE)
    await ledger.recorder().complete(subject(capture))
    assert await shop.told() == ["payment_method.active"]


async def test_of_what_its_merchant_gave_up_the_event_of_an_indian_card_comes_as_well(ledger: Ledger) -> None:
    shop = await a_saved_card(ledger)
    create = await paying(shop)
    await shop.record(create, asked())
    given_up = await ledger.add_operation(await ledger.payment(create.payment_id), OperationKind.VOID)
    said = Evidence(issuer_country="IN")
    paid = await shop.record(create, Declined(DeclineCode.LOST_CARD, evidence=said))
    assert (paid.status, (await ledger.operation(given_up.id)).status) == ("voided", "succeeded")
    (method,) = await shop.methods()
    assert (method["state"], await shop.vaulted()) == ("deleted", [])
    assert sorted(await shop.told()) == ["payment_method.active", "payment_method.deleted"]

"""A payment that the merchant begins, by a saved card: nobody is there to pass a challenge."""

import json
from dataclasses import replace
from typing import Any

import pytest

from activities.messages import InquiryDue, ReversalDue, Settled
from payonce.domain.errors import OutcomeUnknown
from payonce.domain.facts import Approved, Cancelled, DeclineCode, Declined, Pending, Stage
from payonce.domain.payment import PaymentStatus
from tests.storage.acting import Process
from tests.storage.customers import answer_of, asked
from tests.storage.ledger import Ledger
from tests.storage.paying_saved import TAKES_SAVED, Acquirer, SavingShop, by, saved

S = PaymentStatus
APPROVED = Approved("acq-1", 1000, "INR", stage=Stage.CAPTURED)
UNATTENDED: dict[str, Any] = {"off_session": True, "reason": "recurring"}
ASKING = replace(TAKES_SAVED, needs_action=True, challenge_ends="cancelled", soft_decline="resend")


@pytest.fixture
def shop(shared_ledger: Ledger) -> SavingShop:
    return SavingShop(shared_ledger, Acquirer(answers={"send": APPROVED}))


async def test_a_challenge_that_nobody_is_there_for_is_cancelled_and_is_the_issuers_no(
    shop: SavingShop,
) -> None:
    card = await saved(shop.ledger)
    shop.connector.capabilities = ASKING
    shop.connector.answers |= {"send": asked(for_s=600), "cancel": Cancelled()}
    request = await shop.admitted(by(card, **UNATTENDED))
    assert isinstance(await shop.run(), Settled)
    answer = json.loads((await request).answer.body)  # type: ignore[union-attr]
    assert (answer["code"], answer["decline_code"]) == ("payment_declined", "authentication_required")
    assert [name for name, _ in shop.connector.calls] == ["send", "cancel"]
    assert "payment.requires_action" not in [type_ for _, type_ in await shop.ledger.events(shop.payment_id)]


@pytest.mark.parametrize("first", [OutcomeUnknown(), Pending("acq-1")], ids=["lost", "pending"])
async def test_until_the_cancellation_is_confirmed_it_is_processing_and_nobody_is_asked(
    shop: SavingShop, first: Any
) -> None:
    card = await saved(shop.ledger)
    shop.connector.capabilities = ASKING
    shop.connector.answers |= {"send": asked(for_s=600), "cancel": first, "inquire": asked(for_s=600)}
    request = await shop.admitted(by(card, **UNATTENDED))
    assert isinstance(await shop.run(), InquiryDue)
    shown = json.loads((await request).current or b"{}")
    assert (shown["status"], shown["next_action"]) == ("processing", None)
    process = Process(shop.ledger, shop.connector)
    create = await shop.ledger.operation(shop.payment_id)
    assert isinstance(await process.resolve("inquire", create), ReversalDue)
    shop.connector.answers["cancel"] = Cancelled()
    assert isinstance(await process.resolve("reverse", create, not_found=False), Settled)
    answer = await answer_of(shop.ledger, create)
    assert (answer["code"], answer["decline_code"]) == ("payment_declined", "authentication_required")


async def test_a_challenge_that_is_found_by_an_inquiry_is_cancelled_too(shop: SavingShop) -> None:
    card = await saved(shop.ledger)
    shop.connector.capabilities = ASKING
    shop.connector.answers |= {"send": OutcomeUnknown(), "inquire": asked(for_s=600), "cancel": Cancelled()}
    await shop.admitted(by(card, **UNATTENDED))
    await shop.run()
    process = Process(shop.ledger, shop.connector)
    create = await shop.ledger.operation(shop.payment_id)
    assert isinstance(await process.resolve("inquire", create), ReversalDue)
    assert (await shop.ledger.payment(shop.payment_id)).next_action is None
    assert isinstance(await process.resolve("reverse", create, not_found=False), Settled)
    answer = await answer_of(shop.ledger, create)
    assert answer["decline_code"] == "authentication_required"


async def test_a_success_before_the_cancellation_counts(shop: SavingShop) -> None:
    card = await saved(shop.ledger)
    shop.connector.capabilities = ASKING
    shop.connector.answers |= {"send": asked(for_s=600), "cancel": APPROVED}
    await shop.admitted(by(card, **UNATTENDED))
    await shop.run()
    assert (await shop.ledger.payment(shop.payment_id)).status is S.CAPTURED


async def test_a_soft_decline_is_not_stepped_up_where_nobody_is_there(shop: SavingShop) -> None:
    card = await saved(shop.ledger)
    shop.connector.capabilities = ASKING
    soft = Declined(DeclineCode.AUTHENTICATION_REQUIRED, "acq-1", soft=True)
    shop.connector.answers["send"] = soft
    await shop.admitted(by(card, **UNATTENDED))
    assert isinstance(await shop.run(), Settled)
    assert len(shop.connector.sent) == 1

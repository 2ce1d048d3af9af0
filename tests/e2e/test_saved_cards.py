"""A card is saved with a payment and paid with again, with its customer and without, through the whole product."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from devstack.stack import DevStack
from tests.e2e.merchant import APPROVED_CARD, Body, Merchant, card, fresh_key, refused
from tests.e2e.saving import by, saving_at
from tests.e2e.test_challenges import answer, becomes
from tests.support.witness import Witness

ASKS_IN_SPITE_OF_ALL = "4000000000003113"
ASKS_ALWAYS, DECLINES_UNTIL_ASKED = "4000002500003155", "4000000000003121"
PAID = [("authorize", 1099), ("capture", 1099)]


@pytest.fixture(scope="module")
async def saving(stack: DevStack) -> AsyncIterator[Merchant]:
    """The second merchant, whose cards are saved in the vault; once its API has heard of that."""
    async with saving_at(stack) as shop:
        yield shop


async def test_a_saved_card_is_paid_with_on_and_off_session(saving: Merchant, witness: Witness) -> None:
    first = await saving.paid(setup="off_session")
    shown = first["payment_method"]["card"]
    token = shown["token"]
    assert token.startswith("pm_")
    attended = await saving.paid(payment_method=by(token, cvc="123"))
    without_code = await saving.paid(payment_method=by(token))
    unattended = await saving.paid(payment_method=by(token), off_session=True, reason="recurring")
    for payment in (attended, without_code, unattended):
        assert payment["payment_method"]["card"] == shown
        assert await witness.movements(payment["id"]) == PAID
        assert await saving.timeline(payment) == ["payment.authorized", "payment.captured"]
    assert APPROVED_CARD not in json.dumps([attended, without_code, unattended])


async def test_a_replay_by_token_is_the_first_answer_and_charges_once(
    saving: Merchant, witness: Witness
) -> None:
    token = (await saving.paid(setup="off_session"))["payment_method"]["card"]["token"]
    key = fresh_key()
    first = await saving.pay(key=key, payment_method=by(token))
    again = await saving.pay(key=key, payment_method=by(token, cvc="999"))
    assert again.content == first.content
    assert again.headers["Idempotent-Replayed"] == "true"
    assert await witness.movements(first.json()["id"]) == PAID


async def test_a_challenge_that_nobody_is_there_for_is_a_decline_and_moves_nothing(
    saving: Merchant, witness: Witness
) -> None:
    response = await saving.pay(payment_method=card(ASKS_IN_SPITE_OF_ALL), setup="off_session")
    payment = response.json()
    assert payment["status"] == "requires_action", payment
    async with httpx.AsyncClient(trust_env=False, timeout=60) as customer:
        await answer(customer, payment, "submit")
    token = (await becomes(saving, payment, "captured"))["payment_method"]["card"]["token"]
    turned_down = await saving.pay(payment_method=by(token), off_session=True, reason="unscheduled")
    refused(turned_down, 402, "payment_declined")
    problem = turned_down.json()
    assert problem["decline_code"] == "authentication_required"
    assert problem["payment"]["next_action"] is None
    assert await witness.movements(problem["payment"]["id"]) == []
    assert await saving.timeline(problem["payment"]) == ["payment.failed"]


@pytest.mark.parametrize("code", [{}, {"cvc": "123"}], ids=["without code", "with its code"])
@pytest.mark.parametrize("number", [ASKS_ALWAYS, DECLINES_UNTIL_ASKED])
async def test_a_saved_card_whose_holder_is_asked_is_authorized_once_and_captured_in_parts(
    saving: Merchant, witness: Witness, number: str, code: Body
) -> None:
    """At once, or after a soft decline, for which the number is taken a second time."""
    async with httpx.AsyncClient(trust_env=False, timeout=60) as customer:
        first = await saving.pay(payment_method=card(number), setup="on_session")
        await answer(customer, first.json(), "submit")
        token = (await becomes(saving, first.json(), "captured"))["payment_method"]["card"]["token"]
        asked = await saving.pay(payment_method=by(token, **code), capture_method="manual")
        assert asked.json()["status"] == "requires_action", asked.text
        assert await witness.movements(asked.json()["id"]) == []
        await answer(customer, asked.json(), "submit")
    authorized = await becomes(saving, asked.json(), "authorized")
    assert authorized["payment_method"]["card"]["token"] == token
    assert (await saving.captured(authorized, amount=500, final=False))["amount_captured"] == 500
    assert (await saving.captured(authorized))["status"] == "captured"
    assert await witness.movements(authorized["id"]) == [
        ("authorize", 1099),
        ("capture", 500),
        ("capture", 599),
    ]


async def test_off_session_needs_a_card_that_was_set_up_for_it(saving: Merchant) -> None:
    token = (await saving.paid(setup="on_session"))["payment_method"]["card"]["token"]
    response = await saving.pay(payment_method=by(token), off_session=True, reason="recurring")
    refused(response, 400, "invalid_request")
    assert response.json()["errors"][0]["pointer"] == "/off_session"


async def test_another_merchants_card_is_not_there(saving: Merchant, shop: Merchant) -> None:
    token = (await saving.paid(setup="off_session"))["payment_method"]["card"]["token"]
    response = await shop.pay(payment_method=by(token))
    refused(response, 400, "invalid_request")
    assert response.json()["errors"][0]["pointer"] == "/payment_method/token"

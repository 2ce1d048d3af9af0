"""Saved cards through the whole product: saved, paid with by their customer and without, deleted."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from devstack.seed import NAMES, payonce
from devstack.stack import DevStack
from tests.e2e.merchant import Body, Merchant, answered, card, fresh_key, pointers, refused
from tests.e2e.test_challenges import answer, becomes
from tests.e2e.test_webhooks_arrive import endpoint
from tests.support.eventually import eventually
from tests.support.witness import Witness
from tests.webhooks.receiver import receiving

OF_INDIA, ALWAYS_ASKS = "4000003560000008", "4000000000003113"
PAID = [("authorize", 1099), ("capture", 1099)]
CUSTOMER = {"id": "c-saved"}
RECURRING: Body = {"off_session": True, "reason": "recurring"}
IN_FORCE_WITHIN_S = 30.0  # `operations.md`: 5 s
SANDBOX: Body = {}
STRIPE: Body = {"metadata": {"sandbox_account": "stripe"}}


@pytest.fixture(scope="module", autouse=True)
async def _vaults(stack: DevStack, shop: Merchant, other_shop: Merchant) -> AsyncIterator[None]:
    """Both merchants' cards are kept in the vault; afterwards nowhere, as before."""
    log, environ = stack.log_dir / "merchants.log", stack.product_environ()
    listed = await payonce("merchants", "list", "--json", environ=environ, log=log)
    ids = [each["id"] for each in map(json.loads, listed.splitlines()) if each["name"] in NAMES[:2]]
    for id_ in ids:
        await payonce("merchants", "set", id_, "--card-storage", "vault", environ=environ, log=log)

    async def in_force() -> bool:
        for each in (shop, other_shop):
            answered(await each.post("/v1/payment_methods", card(exp_year=2031)), 201)
        return True

    await eventually(in_force, IN_FORCE_WITHIN_S)
    yield
    for id_ in ids:
        await payonce("merchants", "set", id_, "--card-storage", "none", environ=environ, log=log)


def by(token: str, **changes: object) -> Body:
    """What is asked of a payment by this saved card."""
    return {"payment_method": {"type": "card", "token": token}, "customer": CUSTOMER, **changes}


async def saved(shop: Merchant, **changes: object) -> str:
    """The token of a card that a payment saved for payments without its customer."""
    payment = await shop.paid(setup="off_session", customer=CUSTOMER, **changes)
    assert payment["status"] == "captured", payment
    token: str = payment["payment_method"]["card"]["token"]
    return token


async def deleted(shop: Merchant, token: str) -> None:
    response = await shop.client.delete(f"/v1/payment_methods/{token}")
    assert response.status_code == 204, response.text


@pytest.mark.parametrize("acquirer", [SANDBOX, STRIPE], ids=["sandbox", "stripe"])
async def test_a_saved_card_is_paid_with_by_its_customer_and_without(
    shop: Merchant, witness: Witness, acquirer: Body
) -> None:
    token = await saved(shop, **acquirer)
    present = await shop.paid(**by(token, **acquirer))
    absent = await shop.paid(**by(token, **RECURRING, **acquirer))
    for payment in (present, absent):
        assert payment["status"] == "captured"
        assert payment["connector"] == ("stripe" if acquirer else "sandbox_card")
        assert (payment["payment_method"]["card"]["token"], payment["payment_method"]["card"]["last4"]) == (
            token,
            "4242",
        )
        assert await witness.movements(payment["id"]) == PAID
        assert await shop.payment(payment) == payment
    assert (await shop.refunded(absent))["status"] in ("succeeded", "pending")


async def test_a_payment_by_a_saved_card_that_is_asked_again_under_its_key_is_the_same_one(
    shop: Merchant, witness: Witness
) -> None:
    token, key = await saved(shop), fresh_key()
    first = await shop.paid(key=key, **by(token, **RECURRING))
    again = await shop.pay(key=key, **by(token, **RECURRING))
    assert (again.status_code, again.json()["id"]) == (201, first["id"])
    other = await shop.pay(key=key, **by(token, amount=1098, **RECURRING))
    assert other.status_code == 422, other.text
    await deleted(shop, token)
    replayed = await shop.pay(key=key, **by(token, **RECURRING))
    assert (replayed.status_code, replayed.json()["id"]) == (201, first["id"])
    assert await witness.movements(first["id"]) == PAID


async def test_a_saved_card_is_shown_listed_and_of_no_use_once_it_is_deleted(
    shop: Merchant, other_shop: Merchant
) -> None:
    token = await saved(shop)
    shown = answered(await shop.get(f"/v1/payment_methods/{token}"), 200)
    assert (shown["status"], shown["setup"], shown["customer"]) == ("active", "off_session", CUSTOMER)
    listed = answered(await shop.get("/v1/payment_methods", customer=CUSTOMER["id"], limit=1), 200)
    assert listed["data"] == [shown]
    refused(await other_shop.get(f"/v1/payment_methods/{token}"), 404, "not_found")
    assert (await other_shop.client.delete(f"/v1/payment_methods/{token}")).status_code == 404
    await deleted(shop, token)
    refused(await shop.get(f"/v1/payment_methods/{token}"), 404, "not_found")
    await _unknown(await shop.pay(**by(token)))
    await _unknown(await shop.pay(**by(token, **RECURRING)))


async def test_nobody_else_pays_with_a_saved_card(shop: Merchant, other_shop: Merchant) -> None:
    token = await saved(shop)
    await _unknown(await other_shop.pay(**by(token)))
    await _unknown(await shop.pay(**by(token, customer={"id": "c-other"})))
    await _unknown(await shop.pay(payment_method={"type": "card", "token": token}))


async def _unknown(response: httpx.Response) -> None:
    assert pointers(refused(response, 400, "invalid_request")) == {"/payment_method/token"}


async def test_what_was_not_set_up_is_not_paid_without_its_customer(shop: Merchant, witness: Witness) -> None:
    made = answered(
        await shop.post("/v1/payment_methods", {**card(exp_year=2032), "customer": CUSTOMER}), 201
    )
    assert made["setup"] == "on_session"
    refusal = refused(await shop.pay(**by(made["id"], **RECURRING)), 400, "invalid_request")
    assert pointers(refusal) == {"/off_session"}
    without_reason = refused(await shop.pay(**by(made["id"], off_session=True)), 400, "invalid_request")
    assert pointers(without_reason) == {"/reason"}
    first = await shop.paid(**by(made["id"], setup="off_session"))
    assert await witness.movements(first["id"]) == PAID
    later = await shop.paid(**by(made["id"], **RECURRING))
    assert await witness.movements(later["id"]) == PAID


async def test_an_issuer_that_asks_for_who_is_not_there_declines(shop: Merchant, witness: Witness) -> None:
    asked = await shop.paid(
        payment_method=card(ALWAYS_ASKS),
        setup="off_session",
        customer=CUSTOMER,
        return_url="https://shop.example/back",
    )
    assert "token" not in asked["payment_method"]["card"]
    async with httpx.AsyncClient(trust_env=False, timeout=60) as browser:
        assert (await answer(browser, asked, "submit")).status_code == 200
    first = await becomes(shop, asked, "captured")
    response = await shop.pay(**by(first["payment_method"]["card"]["token"], **RECURRING))
    problem = refused(response, 402, "payment_declined")
    failed = problem["payment"]
    assert (failed["status"], failed["last_error"]["decline_code"]) == ("failed", "authentication_required")
    assert await witness.movements(failed["id"]) == []


async def test_no_card_is_kept_that_was_issued_in_india(shop: Merchant) -> None:
    refused(await shop.pay(payment_method=card(OF_INDIA), setup="off_session"), 422, "card_storage_refused")
    refused(await shop.post("/v1/payment_methods", card(OF_INDIA)), 422, "card_storage_refused")


async def test_a_declined_payment_saves_nothing(shop: Merchant) -> None:
    customer = {"id": fresh_key()}
    response = await shop.pay(payment_method=card("4000000000000002"), setup="on_session", customer=customer)
    declined = refused(response, 402, "payment_declined")["payment"]
    assert "token" not in declined["payment_method"]["card"]
    listed = answered(await shop.get("/v1/payment_methods", customer=customer["id"]), 200)
    assert listed["data"] == []


async def test_a_card_saved_without_a_payment_is_saved_once_a_key(shop: Merchant) -> None:
    body, key = {**card(exp_year=2033), "customer": {"id": fresh_key()}}, fresh_key()
    first = answered(await shop.post("/v1/payment_methods", body, key=key), 201)
    assert answered(await shop.post("/v1/payment_methods", body, key=key), 201) == first
    listed = answered(await shop.get("/v1/payment_methods", customer=body["customer"]["id"]), 200)
    assert listed["data"] == [first]


async def test_the_events_of_a_saved_card_arrive(shop: Merchant) -> None:
    async with receiving() as receiver:
        secret = (await endpoint(shop, receiver, events=["payment_method.active", "payment_method.deleted"]))[
            "secret"
        ]
        token = await saved(shop)
        await deleted(shop, token)

        async def both() -> list[Body]:
            found = [request.verified(secret) for request in receiver.received]
            mine = [event for event in found if event["data"]["id"] == token]
            assert {event["type"] for event in mine} == {"payment_method.active", "payment_method.deleted"}
            return mine

        for event in await eventually(both):
            assert (event["sequence"], event["data"]["object"]) == (None, "payment_method")

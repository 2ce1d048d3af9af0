"""Stripe's test cards in the dialect. Source: docs.stripe.com/testing, its tables."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from acquirer_process import Acquirer, eventually
from stripe_side import StripeSide, done, error, set_up

DECLINES = [
    ("4000000000000002", "visa_chargeDeclined", "card_declined", "generic_decline"),
    ("4000000000009995", "visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
    ("4000000000009987", "visa_chargeDeclinedLostCard", "card_declined", "lost_card"),
    ("4000000000009979", "visa_chargeDeclinedStolenCard", "card_declined", "stolen_card"),
    ("4000000000000069", "chargeDeclinedExpiredCard", "expired_card", None),
    ("4000000000000127", "chargeDeclinedIncorrectCvc", "incorrect_cvc", None),
    ("4000000000000119", "chargeDeclinedProcessingError", "processing_error", None),
    (
        "4000000000006975",
        "visa_chargeDeclinedVelocityLimitExceeded",
        "card_declined",
        "card_velocity_exceeded",
    ),
]


@pytest.mark.parametrize(("number", "name", "code", "decline_code"), DECLINES)
async def test_a_card_that_is_declined(
    stripe: StripeSide, number: str, name: str, code: str, decline_code: str | None
) -> None:
    for method in (await stripe.method(number), f"pm_card_{name}"):
        intent = await stripe.intent()
        declined = error(await stripe.confirm(intent["id"], method), 402)
        assert (declined["type"], declined["code"]) == ("card_error", code)
        assert declined.get("decline_code") == decline_code
        shown = await stripe.shown(intent["id"])
        assert shown["status"] == "requires_payment_method"
        assert shown["last_payment_error"]["code"] == code
        charge = shown["latest_charge"]
        assert (charge["id"], charge["status"], charge["paid"]) == (declined["charge"], "failed", False)
        assert (charge["failure_code"], charge["outcome"]["type"]) == (code, "issuer_declined")
    assert await stripe.acquirer.ledger() == []


async def test_after_a_decline_another_card_may_pay(stripe: StripeSide) -> None:
    intent = await stripe.intent()
    error(await stripe.confirm(intent["id"], "pm_card_visa_chargeDeclined"), 402)
    assert done(await stripe.confirm(intent["id"]))["last_payment_error"] is None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"card[number]": "4242424242424241"}, "incorrect_number"),
        ({"card[exp_month]": "13"}, "invalid_expiry_month"),
        ({"card[exp_year]": "1999"}, "invalid_expiry_year"),
        ({"card[cvc]": "99"}, "invalid_cvc"),
    ],
)
async def test_data_that_no_card_has_is_a_card_error(
    unmoved_stripe: StripeSide, changes: dict[str, str], code: str
) -> None:
    form = {"type": "card", "card[number]": "4242424242424242", "card[exp_month]": "12"}
    form |= {"card[exp_year]": "2030", "card[cvc]": "973", **changes}
    refused = error(await unmoved_stripe.post("/payment_methods", form), 402)
    assert (refused["type"], refused["code"]) == ("card_error", code)


async def test_a_token_stands_for_a_card(stripe: StripeSide) -> None:
    method = done(await stripe.post("/payment_methods", {"type": "card", "card[token]": "tok_mastercard"}))
    assert (method["card"]["brand"], method["card"]["last4"]) == ("mastercard", "4444")
    assert (await stripe.paid(method["id"]))["status"] == "requires_capture"


@pytest.mark.parametrize(
    ("number", "check"),
    [
        ("4000000000000101", "cvc_check"),
        ("4000000000000036", "address_postal_code_check"),
        ("4000000000000028", "address_line1_check"),
    ],
)
async def test_a_check_that_fails_and_one_without_data(stripe: StripeSide, number: str, check: str) -> None:
    address = {
        "billing_details[address][line1]": "1 High Street",
        "billing_details[address][postal_code]": "1",
    }
    charge = (await stripe.paid(await stripe.method(number, **address)))["latest_charge"]
    checks = charge["payment_method_details"]["card"]["checks"]
    assert {name for name, result in checks.items() if result == "fail"} == {check}
    bare = (await stripe.paid(await stripe.method()))["latest_charge"]
    assert bare["payment_method_details"]["card"]["checks"]["address_line1_check"] is None


async def test_a_blocked_charge_never_reached_the_network(stripe: StripeSide) -> None:
    intent = await stripe.intent()
    assert error(await stripe.confirm(intent["id"], "pm_card_radarBlock"), 402)["code"] == "card_declined"
    outcome = (await stripe.shown(intent["id"]))["latest_charge"]["outcome"]
    assert (outcome["type"], outcome["network_status"]) == ("blocked", "not_sent_to_network")
    assert (outcome["reason"], outcome["risk_level"]) == ("highest_risk_level", "highest")


async def test_a_test_card_is_declined_in_live_mode(acquirer: Acquirer) -> None:
    key = "sk_live_acme0000000000001"
    await set_up(acquirer, livemode=True, keys=[{"key": key}])
    stripe = StripeSide(acquirer, key)
    intent = await stripe.intent()
    declined = error(await stripe.confirm(intent["id"], await stripe.method()), 402)
    assert declined["decline_code"] == "testmode_decline"


@pytest.mark.parametrize(
    ("card", "first", "last"),
    [("refundFail", "succeeded", "failed"), ("pendingRefund", "pending", "succeeded")],
)
async def test_a_refund_that_changes_later(acquirer: Acquirer, card: str, first: str, last: str) -> None:
    await set_up(acquirer, refund_settles_s=1)
    stripe = StripeSide(acquirer)
    paid = await stripe.captured(f"pm_card_{card}")
    refund = done(await stripe.post("/refunds", {"payment_intent": paid["id"]}))
    assert refund["status"] == first

    async def has_changed() -> bool:
        return bool(done(await stripe.get(f"/refunds/{refund['id']}"))["status"] == last)

    await eventually(has_changed)
    shown = done(await stripe.get(f"/refunds/{refund['id']}"))
    charge = done(await stripe.get(f"/charges/{refund['charge']}"))
    undone = [entry for entry in await acquirer.ledger() if entry["operation"] == "undo"]
    if last == "failed":
        assert shown["failure_reason"] == "expired_or_canceled_card"
        assert (charge["amount_refunded"], charge["refunded"], len(undone)) == (0, False, 1)
    else:
        assert "failure_reason" not in shown
        assert (charge["amount_refunded"], charge["refunded"], len(undone)) == (1099, True, 0)


async def asked(stripe: StripeSide, method: str = "pm_card_authenticationRequired") -> dict[str, Any]:
    """An intent whose customer was sent to their bank."""
    intent = await stripe.intent()
    return done(await stripe.confirm(intent["id"], method, return_url="https://shop.example/back?a=b"))


async def answer(stripe: StripeSide, intent: dict[str, Any], decision: str) -> str:
    """What the customer does on the page; where they are sent."""
    url = intent["next_action"]["redirect_to_url"]["url"]
    response = await stripe.acquirer.client.post(url, data={"decision": decision})
    assert response.status_code == 303
    return response.headers["location"]


async def test_a_customer_who_must_authenticate_is_sent_to_a_page(stripe: StripeSide) -> None:
    intent = await asked(stripe)
    assert (intent["status"], intent["next_action"]["type"]) == ("requires_action", "redirect_to_url")
    assert intent["next_action"]["redirect_to_url"]["return_url"] == "https://shop.example/back?a=b"
    page = await stripe.acquirer.client.get(intent["next_action"]["redirect_to_url"]["url"])
    assert "Complete" in page.text
    assert await stripe.acquirer.ledger() == []


async def test_a_customer_who_completes_pays_and_comes_back(stripe: StripeSide) -> None:
    intent = await asked(stripe)
    back = urlsplit(await answer(stripe, intent, "complete"))
    assert back._replace(query="").geturl() == "https://shop.example/back"
    assert parse_qs(back.query)["payment_intent"] == [intent["id"]]
    shown = await stripe.shown(intent["id"])
    assert shown["status"] == "requires_capture"
    secure = shown["latest_charge"]["payment_method_details"]["card"]["three_d_secure"]
    assert secure["result"] == "authenticated"


@pytest.mark.parametrize(
    ("number", "flow", "result", "eci"),
    [
        ("4000000000003055", "frictionless", "authenticated", "05"),
        ("4000000000003105", None, "attempt_acknowledged", "06"),
    ],
)
async def test_a_card_of_the_sandbox_is_authenticated_without_asking(
    stripe: StripeSide, number: str, flow: str | None, result: str, eci: str
) -> None:
    intent = await stripe.paid(await stripe.method(number))
    shown = await stripe.shown(intent["id"])
    secure = shown["latest_charge"]["payment_method_details"]["card"]["three_d_secure"]
    said = (secure["authentication_flow"], secure["result"], secure["electronic_commerce_indicator"])
    assert said == (flow, result, eci)


async def test_a_customer_who_fails_leaves_the_intent_open(stripe: StripeSide) -> None:
    intent = await asked(stripe)
    await answer(stripe, intent, "fail")
    shown = await stripe.shown(intent["id"])
    assert shown["status"] == "requires_payment_method"
    assert shown["last_payment_error"]["code"] == "payment_intent_authentication_failure"
    assert await stripe.acquirer.ledger() == []


async def test_a_card_without_funds_is_declined_after_authentication(stripe: StripeSide) -> None:
    intent = await asked(stripe, await stripe.method("4000008260003178"))
    await answer(stripe, intent, "complete")
    shown = await stripe.shown(intent["id"])
    assert shown["status"] == "requires_payment_method"
    assert shown["last_payment_error"]["decline_code"] == "insufficient_funds"


async def test_after_the_cancellation_nobody_can_authenticate(stripe: StripeSide) -> None:
    intent = await asked(stripe)
    done(await stripe.post(f"/payment_intents/{intent['id']}/cancel"))
    await answer(stripe, intent, "complete")
    assert (await stripe.shown(intent["id"]))["status"] == "canceled"
    assert await stripe.acquirer.ledger() == []


@pytest.mark.parametrize("wish", [{"error_on_requires_action": "true"}, {"off_session": "true"}])
async def test_nobody_is_asked_where_nobody_can_be(stripe: StripeSide, wish: dict[str, str]) -> None:
    intent = await stripe.intent()
    response = await stripe.confirm(intent["id"], "pm_card_authenticationRequired", **wish)
    refused = error(response, 402)
    assert (refused["type"], refused["code"]) == ("card_error", "authentication_required")
    assert (await stripe.shown(intent["id"]))["status"] == "requires_payment_method"


@pytest.mark.parametrize("missing", ["cryptogram", "transaction_id", "version"])
async def test_what_was_authenticated_elsewhere_is_taken_whole(stripe: StripeSide, missing: str) -> None:
    secure = {"cryptogram": "AAABCSIIAAAAAAACcwgAEMCoNh+=", "transaction_id": "f25084f0", "version": "2.2.0"}
    form = {f"payment_method_options[card][three_d_secure][{name}]": text for name, text in secure.items()}
    intent = await stripe.intent()
    refused = await stripe.confirm(
        intent["id"], "pm_card_visa", **{name: text for name, text in form.items() if missing not in name}
    )
    assert error(refused, 400)["code"] == "parameter_missing"
    taken = done(await stripe.confirm(intent["id"], "pm_card_visa", **form))
    assert taken["status"] == "requires_capture"
    assert secure["cryptogram"] not in str(taken)


async def test_a_card_that_is_set_up_pays_off_session(stripe: StripeSide) -> None:
    intent = await stripe.intent()
    name = "pm_card_authenticationRequiredSetupForOffSession"
    assert done(await stripe.confirm(intent["id"], name, off_session="true"))["status"] == "requires_capture"


async def test_no_card_number_is_kept(stripe: StripeSide) -> None:
    await stripe.captured(await stripe.method())
    kept = b"".join(path.read_bytes() for path in stripe.acquirer.data.parent.iterdir() if path.is_file())
    assert b"4242424242424242" not in kept
    assert [each["card"] for each in await stripe.acquirer.requests() if each["card"]] == ["424242******4242"]

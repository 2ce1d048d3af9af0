"""Payment intents of the Stripe dialect, from creation to refund, in Stripe's words and in the one ledger."""

import pytest
from acquirer_process import Acquirer, eventually
from stripe_side import StripeSide, done, error, set_up


async def test_an_intent_waits_for_a_payment_method_and_moves_nothing(stripe: StripeSide) -> None:
    intent = await stripe.intent()
    assert (intent["object"], intent["status"]) == ("payment_intent", "requires_payment_method")
    assert (intent["latest_charge"], intent["payment_method"], intent["amount_received"]) == (None, None, 0)
    assert intent["client_secret"].startswith(f"{intent['id']}_secret_")
    assert intent["metadata"] == {"payonce_reference": "ref-1", "payonce_payment": "pay_1"}
    assert await stripe.acquirer.ledger() == []


async def test_an_intent_with_a_payment_method_requires_confirmation(stripe: StripeSide) -> None:
    intent = await stripe.intent(payment_method=await stripe.method())
    assert intent["status"] == "requires_confirmation"
    assert done(await stripe.post(f"/payment_intents/{intent['id']}/confirm"))["status"] == "requires_capture"


async def test_a_confirmed_manual_intent_requires_capture_and_holds_the_money(stripe: StripeSide) -> None:
    paid = await stripe.paid(await stripe.method())
    charge = paid["latest_charge"]
    assert (paid["status"], paid["amount_capturable"], paid["amount_received"]) == (
        "requires_capture",
        1099,
        0,
    )
    assert (charge["captured"], charge["paid"], charge["status"]) == (False, True, "succeeded")
    assert (charge["amount"], charge["amount_captured"]) == (1099, 0)
    assert [entry["operation"] for entry in await stripe.acquirer.ledger()] == ["authorize"]


async def test_a_charge_says_what_the_network_said(stripe: StripeSide) -> None:
    paid = await stripe.paid(await stripe.method())
    card = paid["latest_charge"]["payment_method_details"]["card"]
    assert (card["brand"], card["last4"], card["network"]) == ("visa", "4242", "visa")
    assert (card["exp_month"], card["exp_year"]) == (12, 2030)
    assert card["checks"]["cvc_check"] == "pass"
    assert card["network_transaction_id"]
    assert card["authorization_code"]
    assert card["capture_before"] == paid["latest_charge"]["created"] + 604_800
    outcome = paid["latest_charge"]["outcome"]
    assert (outcome["type"], outcome["network_status"]) == ("authorized", "approved_by_network")


async def test_an_automatic_intent_succeeds_when_it_is_confirmed(stripe: StripeSide) -> None:
    paid = await stripe.captured()
    charge = paid["latest_charge"]
    assert (paid["status"], paid["amount_received"], paid["amount_capturable"]) == ("succeeded", 1099, 0)
    assert (charge["captured"], charge["amount_captured"]) == (True, 1099)
    assert "capture_before" not in charge["payment_method_details"]["card"]
    assert [entry["operation"] for entry in await stripe.acquirer.ledger()] == ["authorize", "capture"]


async def test_a_capture_of_a_part_releases_the_rest(stripe: StripeSide) -> None:
    paid = await stripe.paid()
    captured = done(await stripe.post(f"/payment_intents/{paid['id']}/capture", {"amount_to_capture": "700"}))
    assert (captured["status"], captured["amount_received"]) == ("succeeded", 700)
    assert captured["amount_capturable"] == 0
    again = await stripe.post(f"/payment_intents/{paid['id']}/capture", {"amount_to_capture": "1"})
    assert error(again, 400)["code"] == "payment_intent_unexpected_state"


async def test_a_capture_takes_all_that_can_be_captured_by_default(stripe: StripeSide) -> None:
    paid = await stripe.paid()
    assert done(await stripe.post(f"/payment_intents/{paid['id']}/capture"))["amount_received"] == 1099


async def test_no_more_is_captured_than_can_be(stripe: StripeSide) -> None:
    paid = await stripe.paid()
    refused = await stripe.post(f"/payment_intents/{paid['id']}/capture", {"amount_to_capture": "1100"})
    assert error(refused, 400)["code"] == "amount_too_large"
    assert (await stripe.shown(paid["id"]))["status"] == "requires_capture"


async def test_a_cancelled_hold_is_released_and_every_later_operation_fails(stripe: StripeSide) -> None:
    paid = await stripe.paid()
    path = f"/payment_intents/{paid['id']}"
    cancelled = done(await stripe.post(f"{path}/cancel", {"cancellation_reason": "abandoned"}))
    assert (cancelled["status"], cancelled["cancellation_reason"]) == ("canceled", "abandoned")
    assert cancelled["canceled_at"]
    for verb in ("confirm", "capture", "cancel"):
        refusal = error(await stripe.post(f"{path}/{verb}"), 400)
        assert (refusal["code"], refusal["type"]) == (
            "payment_intent_unexpected_state",
            "invalid_request_error",
        )
        assert refusal["payment_intent"]["status"] == "canceled"
    assert [entry["operation"] for entry in await stripe.acquirer.ledger()] == ["authorize", "void"]


async def test_an_unconfirmed_intent_that_was_cancelled_is_never_charged(stripe: StripeSide) -> None:
    intent = await stripe.intent()
    done(await stripe.post(f"/payment_intents/{intent['id']}/cancel"))
    assert error(await stripe.confirm(intent["id"]), 400)["code"] == "payment_intent_unexpected_state"
    assert await stripe.acquirer.ledger() == []


async def test_what_succeeded_cannot_be_cancelled(stripe: StripeSide) -> None:
    paid = await stripe.captured()
    refusal = error(await stripe.post(f"/payment_intents/{paid['id']}/cancel"), 400)
    assert refusal["code"] == "payment_intent_unexpected_state"


async def test_a_hold_that_nobody_captures_is_cancelled(impatient_acquirer: Acquirer) -> None:
    await set_up(impatient_acquirer)
    stripe = StripeSide(impatient_acquirer)
    paid = await stripe.paid()

    async def is_over() -> bool:
        return (await stripe.shown(paid["id"]))["status"] == "canceled"

    await eventually(is_over)
    assert (await stripe.shown(paid["id"]))["cancellation_reason"] == "automatic"
    entries = await impatient_acquirer.ledger()
    assert [(entry["operation"], entry["origin"]) for entry in entries] == [
        ("authorize", "payonce"),
        ("void", "acquirer"),
    ]


async def test_several_captures_where_the_account_has_them(acquirer: Acquirer) -> None:
    await set_up(acquirer, multicapture=True)
    stripe = StripeSide(acquirer)
    wish = {"payment_method_options[card][request_multicapture]": "if_available"}
    paid = await stripe.paid(**wish)
    card = paid["latest_charge"]["payment_method_details"]["card"]
    assert card["multicapture"] == {"status": "available"}
    path = f"/payment_intents/{paid['id']}/capture"
    first = done(await stripe.post(path, {"amount_to_capture": "400", "final_capture": "false"}))
    assert (first["status"], first["amount_received"]) == ("requires_capture", 400)
    assert first["amount_capturable"] == 699
    second = done(await stripe.post(path, {"amount_to_capture": "99"}))
    assert (second["status"], second["amount_received"], second["amount_capturable"]) == ("succeeded", 499, 0)
    assert [entry["amount"] for entry in await acquirer.ledger()] == [1099, 400, 99]


async def test_a_capture_that_is_not_final_needs_multicapture(stripe: StripeSide) -> None:
    paid = await stripe.paid()
    form = {"amount_to_capture": "400", "final_capture": "false"}
    refused = await stripe.post(f"/payment_intents/{paid['id']}/capture", form)
    assert error(refused, 400)["param"] == "final_capture"


async def test_refunds_of_parts_until_nothing_is_left(stripe: StripeSide) -> None:
    paid = await stripe.captured()
    first = done(await stripe.post("/refunds", {"payment_intent": paid["id"], "amount": "99"}))
    assert (first["object"], first["status"], first["amount"]) == ("refund", "succeeded", 99)
    assert (first["payment_intent"], first["charge"]) == (paid["id"], paid["latest_charge"]["id"])
    too_much = await stripe.post("/refunds", {"payment_intent": paid["id"], "amount": "1001"})
    assert error(too_much, 400)["type"] == "invalid_request_error"
    rest = done(await stripe.post("/refunds", {"charge": paid["latest_charge"]["id"]}))
    assert rest["amount"] == 1000
    nothing = await stripe.post("/refunds", {"payment_intent": paid["id"]})
    assert error(nothing, 400)["code"] == "charge_already_refunded"
    charge = done(await stripe.get(f"/charges/{rest['charge']}"))
    assert (charge["refunded"], charge["amount_refunded"]) == (True, 1099)


async def test_the_ledger_has_the_merchants_references(stripe: StripeSide) -> None:
    paid = await stripe.captured()
    own = {"metadata[payonce_reference]": "ref-refund"}
    await stripe.post("/refunds", {"payment_intent": paid["id"], "amount": "99", **own})
    entries = await stripe.acquirer.ledger(payment_reference="pay_1")
    assert [(entry["operation"], entry["reference"], entry["amount"]) for entry in entries] == [
        ("authorize", "ref-1", 1099),
        ("capture", "ref-1", 1099),
        ("refund", "ref-refund", 99),
    ]
    assert {entry["currency"] for entry in entries} == {"USD"}


@pytest.mark.parametrize("path", ["payment_intents", "charges", "refunds", "payment_methods"])
async def test_what_is_not_there_is_resource_missing(unmoved_stripe: StripeSide, path: str) -> None:
    refusal = error(await unmoved_stripe.get(f"/{path}/xx_1nothing"), 404)
    assert (refusal["code"], refusal["type"]) == ("resource_missing", "invalid_request_error")

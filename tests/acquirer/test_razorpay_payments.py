"""Payments in the Razorpay dialect: cards, UPI and wallets, from the order to the refund."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from acquirer_process import Acquirer, eventually
from razorpay_side import (
    BROWSER,
    CALLBACK_URL,
    CARD,
    DECLINED_CARD,
    KEY_SECRET,
    RazorpaySide,
    done,
    error,
    set_up,
)

from devstack.acquirer.razorpay import signing


async def test_a_card_is_asked_and_captured_with_its_order(razorpay: RazorpaySide) -> None:
    order = await razorpay.order()
    assert (order["status"], order["amount_due"], order["attempts"], order["notes"]) == (
        "created",
        1099,
        0,
        [],
    )
    answer = done(await razorpay.post("/payments/create/json", razorpay.card_body(order)))
    own_id = answer["razorpay_payment_id"]
    (redirect,) = answer["next"]
    assert redirect["action"] == "redirect"
    page = await razorpay.acquirer.client.get(redirect["url"])
    assert "Success" in page.text
    assert "Failure" in page.text
    assert (await razorpay.shown(own_id))["status"] == "created"
    assert (done(await razorpay.get(f"/orders/{order['id']}")))["status"] == "attempted"
    told = await razorpay.decide(own_id, "success")
    assert told["callback_url"] == CALLBACK_URL
    assert told["fields"] == {
        "razorpay_payment_id": own_id,
        "razorpay_order_id": order["id"],
        "razorpay_signature": signing.of_payment(order["id"], own_id, secret=KEY_SECRET),
    }
    payment = await razorpay.shown(own_id)
    assert (payment["status"], payment["captured"], payment["amount"]) == ("captured", True, 1099)
    assert "card" not in payment
    assert payment["card_id"].startswith("card_")
    card = done(await razorpay.get(f"/payments/{own_id}", **{"expand[]": "card"}))["card"]
    assert (card["last4"], card["network"]) == ("1007", "Visa")
    paid = done(await razorpay.get(f"/orders/{order['id']}"))
    assert (paid["status"], paid["amount_paid"], paid["amount_due"], paid["attempts"]) == ("paid", 1099, 0, 1)
    assert await razorpay.movements(order["receipt"]) == ["authorize", "capture"]


async def test_the_browser_posts_what_the_bank_said_to_the_callback_url(razorpay: RazorpaySide) -> None:
    own_id = await razorpay.asked(await razorpay.order(), number=DECLINED_CARD)
    path = f"/razorpay/v1/payments/{own_id.removeprefix('pay_')}/authenticate"
    page = await razorpay.acquirer.client.post(path, data={"decision": "failure"})
    assert page.status_code == 200
    assert f'<form method="post" action="{CALLBACK_URL}">' in page.text
    assert own_id in page.text


async def test_failure_on_the_page_leads_to_the_cards_own_error(razorpay: RazorpaySide) -> None:
    payment = await razorpay.paid(number=DECLINED_CARD, decision="failure")
    assert (payment["status"], payment["error_reason"]) == ("failed", "card_declined")
    other = await razorpay.paid(decision="failure")
    assert (other["error_code"], other["error_reason"]) == ("GATEWAY_ERROR", "gateway_technical_error")
    assert (await razorpay.paid(number=DECLINED_CARD))["status"] == "captured"


async def test_a_manual_order_is_captured_in_full_only(razorpay: RazorpaySide) -> None:
    payment = await razorpay.paid(capture="manual")
    assert (payment["status"], payment["captured"], payment["fee"]) == ("authorized", False, None)
    path = f"/payments/{payment['id']}/capture"
    said = error(await razorpay.post(path, {"amount": 1098, "currency": "INR"}))
    assert said["description"] == "Capture amount must be equal to the amount authorized."
    assert "amount" in error(await razorpay.post(path, {"currency": "INR"}))["description"]
    captured = done(await razorpay.post(path, {"amount": 1099, "currency": "INR"}))
    assert (captured["status"], captured["captured"]) == ("captured", True)
    again = error(await razorpay.post(path, {"amount": 1099, "currency": "INR"}))
    assert "already paid" in again["description"]


async def test_what_is_not_authorized_is_neither_captured_nor_refunded(razorpay: RazorpaySide) -> None:
    own_id = await razorpay.asked(await razorpay.order(capture="manual"))
    error(await razorpay.post(f"/payments/{own_id}/capture", {"amount": 1099, "currency": "INR"}))
    await razorpay.decide(own_id, "success")
    error(await razorpay.post(f"/payments/{own_id}/refund", {}))
    assert (await razorpay.shown(own_id))["status"] == "authorized"


async def test_what_nobody_captures_is_refunded_by_razorpay(razorpay: RazorpaySide) -> None:
    payment = await razorpay.paid(capture="manual", receipt="pay_lapses")
    await razorpay.bank(payment["id"], "lapses")
    lapsed = await razorpay.shown(payment["id"])
    assert (lapsed["captured"], lapsed["amount_refunded"], lapsed["refund_status"]) == (False, 1099, "full")
    (refund,) = done(await razorpay.get(f"/payments/{payment['id']}/refunds"))["items"]
    assert (refund["amount"], refund["status"], refund["speed_processed"]) == (1099, "processed", "normal")
    entries = await razorpay.acquirer.ledger(payment_reference="pay_lapses")
    assert [(entry["operation"], entry["origin"]) for entry in entries] == [
        ("authorize", "payonce"),
        ("void", "acquirer"),
    ]


async def test_it_lapses_by_itself_when_its_time_has_passed(acquirer: Acquirer) -> None:
    await set_up(acquirer, minute_s=0.0001)
    razorpay = RazorpaySide(acquirer)
    own_id = await razorpay.asked(await razorpay.order(capture="manual"))
    await razorpay.becomes(own_id, "failed")  # ten of the account's minutes
    await razorpay.bank(own_id, "approves")

    async def has_gone_back() -> bool:
        return bool((await razorpay.shown(own_id))["amount_refunded"] == 1099)

    await eventually(has_gone_back)


async def test_a_failed_payment_becomes_authorized_late(razorpay: RazorpaySide) -> None:
    order = await razorpay.order(receipt="pay_late")
    own_id = await razorpay.asked(order, notes={"sandbox_bank": "silent"})
    assert (await razorpay.decide(own_id, "success"))["status"] == "created"
    await razorpay.bank(own_id, "times_out")
    failed = await razorpay.shown(own_id)
    assert (failed["status"], failed["error_reason"]) == ("failed", "payment_timed_out")
    assert await razorpay.movements("pay_late") == []
    late = await razorpay.bank(own_id, "approves")
    assert (late["status"], late["error_code"]) == ("captured", None)
    assert await razorpay.movements("pay_late") == ["authorize", "capture"]


async def test_a_late_one_of_a_paid_order_is_refunded_immediately(razorpay: RazorpaySide) -> None:
    order = await razorpay.order(receipt="pay_twice")
    first = await razorpay.asked(order)
    await razorpay.bank(first, "times_out")
    second = await razorpay.asked(order)
    await razorpay.decide(second, "success")
    late = await razorpay.bank(first, "approves")
    assert (late["captured"], late["amount_refunded"]) == (False, 1099)
    assert await razorpay.movements("pay_twice") == ["authorize", "capture", "authorize", "void"]
    listed = done(await razorpay.get(f"/orders/{order['id']}/payments"))
    assert [item["id"] for item in listed["items"]] == [first, second]


async def test_failed_ones_come_before_the_good_one(razorpay: RazorpaySide) -> None:
    order = await razorpay.order()
    own_ids = []
    for decision in ("failure", "failure", "success"):
        own_ids.append(await razorpay.asked(order))
        await razorpay.decide(own_ids[-1], decision)
    listed = done(await razorpay.get(f"/orders/{order['id']}/payments"))
    assert (listed["entity"], listed["count"]) == ("collection", 3)
    assert [item["status"] for item in listed["items"]] == ["failed", "failed", "captured"]
    page = done(await razorpay.get(f"/orders/{order['id']}/payments", count=1, skip=2))
    assert [item["id"] for item in page["items"]] == [own_ids[2]]
    refused = error(await razorpay.post("/payments/create/json", razorpay.card_body(order)))
    assert "already paid" in refused["description"]


async def test_no_second_payment_while_one_is_authorized(razorpay: RazorpaySide) -> None:
    order = await razorpay.order(capture="manual")
    await razorpay.decide(await razorpay.asked(order), "success")
    error(await razorpay.post("/payments/create/json", razorpay.card_body(order)))


async def test_upi_intents_answer_themselves_in_test_mode(razorpay: RazorpaySide) -> None:
    order = await razorpay.order(amount=5000)
    body = razorpay.payment_body(order, method="upi", upi={"flow": "intent"})
    answer = done(await razorpay.post("/payments/create/upi", body))
    link = parse_qs(urlsplit(answer["link"]).query)
    assert answer["link"].startswith("upi://pay?")
    assert link["am"] == ["50.00"]
    await razorpay.becomes(answer["razorpay_payment_id"], "captured")
    assert (await razorpay.shown(answer["razorpay_payment_id"]))["acquirer_data"]["rrn"]


@pytest.mark.parametrize(("amount", "reason"), [(201, "insufficient_funds"), (402, "payment_declined")])
async def test_in_test_mode_the_amount_decides_an_intent(
    razorpay: RazorpaySide, amount: int, reason: str
) -> None:
    own_id = await razorpay.by_upi(await razorpay.order(amount=amount))
    await razorpay.becomes(own_id, "failed")
    assert (await razorpay.shown(own_id))["error_reason"] == reason


@pytest.mark.parametrize(
    ("vpa", "status"), [("success@razorpay", "captured"), ("failure@razorpay", "failed")]
)
async def test_test_addresses_collect(razorpay: RazorpaySide, vpa: str, status: str) -> None:
    order = await razorpay.order()
    upi = {"flow": "collect", "vpa": vpa}
    body = razorpay.payment_body(order, method="upi", upi=upi)
    answer = done(await razorpay.post("/payments/create/json", body))
    assert [each["action"] for each in answer["next"]] == ["poll"]
    await razorpay.becomes(answer["razorpay_payment_id"], status)
    payment = await razorpay.shown(answer["razorpay_payment_id"])
    assert payment["vpa"] == vpa
    if status == "failed":
        shown = {name: payment[f"error_{name}"] for name in ("code", "source", "step", "reason")}
        assert shown == {
            "code": "BAD_REQUEST_ERROR",
            "source": "gateway",
            "step": "payment_response",
            "reason": "payment_failed",
        }


async def test_a_collect_request_has_a_time_of_its_own(acquirer: Acquirer) -> None:
    await set_up(acquirer, minute_s=0.001)
    razorpay = RazorpaySide(acquirer)
    own_id = await razorpay.by_upi(await razorpay.order(), {"flow": "collect", "vpa": "asha@okbank"})
    await razorpay.becomes(own_id, "failed")
    assert (await razorpay.shown(own_id))["error_reason"] == "payment_collect_request_expired"
    upi = {"flow": "collect", "vpa": "asha@okbank", "expiry_time": 5761}
    body = razorpay.payment_body(await razorpay.order(), method="upi", upi=upi)
    assert error(await razorpay.post("/payments/create/upi", body))["field"] == "upi.expiry_time"


@pytest.mark.parametrize(("number", "status"), [(CARD, "captured"), (DECLINED_CARD, "failed")])
async def test_customers_may_answer_without_being_played(
    razorpay: RazorpaySide, number: str, status: str
) -> None:
    order = await razorpay.order(notes={"sandbox_bank": "answers:0"})
    await razorpay.becomes(await razorpay.asked(order, number=number), status)


async def test_customers_of_an_account_may_answer_by_themselves(acquirer: Acquirer) -> None:
    await set_up(acquirer, customers_answer_s=0)
    razorpay = RazorpaySide(acquirer)
    await razorpay.becomes(await razorpay.asked(await razorpay.order(capture="manual")), "authorized")
    await razorpay.becomes(await razorpay.asked(await razorpay.order(), number=DECLINED_CARD), "failed")


async def test_an_intent_by_json_is_polled(razorpay: RazorpaySide) -> None:
    body = razorpay.payment_body(await razorpay.order(), method="upi", upi={"flow": "intent"})
    answer = done(await razorpay.post("/payments/create/json", body))
    assert [each["action"] for each in answer["next"]] == ["intent", "poll"]
    assert answer["next"][1]["url"].endswith(f"/v1/payments/{answer['razorpay_payment_id']}")


async def test_another_address_waits_for_its_page(razorpay: RazorpaySide) -> None:
    upi = {"flow": "collect", "vpa": "asha@okbank"}
    own_id = await razorpay.by_upi(await razorpay.order(), upi)
    assert (await razorpay.shown(own_id))["status"] == "created"
    path = f"/razorpay/upi/{own_id}"
    assert (await razorpay.acquirer.client.get(path)).status_code == 200
    await razorpay.acquirer.client.post(path, data={"decision": "success"})
    assert (await razorpay.shown(own_id))["status"] == "captured"


async def test_a_wallet_by_redirect(razorpay: RazorpaySide) -> None:
    order = await razorpay.order()
    body = razorpay.payment_body(order, method="wallet", wallet="payzapp")
    answer = done(await razorpay.post("/payments/create/json", body))
    assert [each["action"] for each in answer["next"]] == ["redirect"]
    told = await razorpay.decide(answer["razorpay_payment_id"], "success")
    assert told["status"] == "captured"
    assert told["fields"]["razorpay_order_id"] == order["id"]
    assert (await razorpay.shown(answer["razorpay_payment_id"]))["wallet"] == "payzapp"


@pytest.mark.parametrize("name", ["email", "contact", "ip", "browser", "card", "order_id", "amount"])
async def test_members_that_a_card_needs(unmoved_razorpay: RazorpaySide, name: str) -> None:
    body = unmoved_razorpay.card_body(await unmoved_razorpay.order())
    del body[name]
    said = error(await unmoved_razorpay.post("/payments/create/json", body))
    assert (said["field"], said["reason"]) == (name, "input_validation_failed")


@pytest.mark.parametrize("name", ["java_enabled", "screen_width", "color_depth", "timezone_offset"])
async def test_members_that_a_browser_needs(unmoved_razorpay: RazorpaySide, name: str) -> None:
    browser = {each: value for each, value in BROWSER.items() if each != name}
    body = unmoved_razorpay.card_body(await unmoved_razorpay.order(), browser=browser)
    assert error(await unmoved_razorpay.post("/payments/create/json", body))["field"] == f"browser.{name}"


async def test_a_card_number_is_not_kept(razorpay: RazorpaySide) -> None:
    own_id = await razorpay.asked(await razorpay.order(), number=DECLINED_CARD)
    await razorpay.decide(own_id, "failure")
    for kept in razorpay.acquirer.data.parent.glob(f"{razorpay.acquirer.data.name}*"):
        assert DECLINED_CARD.encode() not in kept.read_bytes()
    logged = [entry["card"] for entry in await razorpay.acquirer.requests() if entry["card"]]
    assert logged == ["410028******0003"]


async def test_a_test_card_fails_in_live_mode(acquirer: Acquirer) -> None:
    keys = [{"id": "rzp_live_Acme0000000001", "secret": KEY_SECRET}]
    await set_up(acquirer, livemode=True, keys=keys)
    live = RazorpaySide(acquirer, key_id=keys[0]["id"])
    said = error(await live.post("/payments/create/json", live.card_body(await live.order())))
    assert "card issuer is invalid" in said["description"].lower()


async def other_amount(razorpay: RazorpaySide) -> dict[str, Any]:
    return razorpay.card_body(await razorpay.order()) | {"amount": 1100}


async def test_the_amount_is_the_orders(unmoved_razorpay: RazorpaySide) -> None:
    body = await other_amount(unmoved_razorpay)
    error(await unmoved_razorpay.post("/payments/create/json", body))


async def test_a_payment_may_be_captured_by_itself_after_its_answer(razorpay: RazorpaySide) -> None:
    payment = await razorpay.paid(capture="manual", notes={"sandbox_fault": "authorize:foreign_capture"})

    async def is_captured() -> bool:
        return bool((await razorpay.shown(payment["id"]))["captured"])

    await eventually(is_captured)

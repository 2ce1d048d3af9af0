"""The sandbox's faults in the Razorpay dialect: what `notes.sandbox_fault` does to a request, and later."""

from typing import Any

import httpx
import pytest
from acquirer_process import GIVES_UP_S, eventually
from razorpay_side import RazorpaySide, done, error


async def statuses(razorpay: RazorpaySide, order: dict[str, Any]) -> list[str]:
    items = done(await razorpay.get(f"/orders/{order['id']}/payments"))["items"]
    return [item["status"] for item in items]


async def become(razorpay: RazorpaySide, order: dict[str, Any], *expected: str) -> None:
    async def are_so() -> bool:
        return await statuses(razorpay, order) == list(expected)

    await eventually(are_so)


def wishes(fault: str) -> dict[str, str]:
    """The fault, and a customer who answers without having to be played."""
    return {"sandbox_fault": fault, "sandbox_bank": "answers:0"}


@pytest.mark.parametrize("fault", ["timeout_after_charge", "timeout_before_charge"])
async def test_a_payment_that_is_never_answered(razorpay: RazorpaySide, fault: str) -> None:
    order = await razorpay.order(notes=wishes(fault))
    body, auth = razorpay.card_body(order), httpx.BasicAuth(razorpay.key_id, razorpay.secret)
    with pytest.raises(httpx.ReadTimeout):
        await razorpay.acquirer.client.post(
            "/razorpay/v1/payments/create/json", json=body, auth=auth, timeout=GIVES_UP_S
        )

    async def has_arrived() -> bool:
        requests = await razorpay.acquirer.requests(payment_reference=order["receipt"])
        return "authorize" in [entry["operation"] for entry in requests]

    await eventually(has_arrived)
    if fault == "timeout_after_charge":
        await become(razorpay, order, "captured")
        error(await razorpay.post("/payments/create/json", body))  # answered: a fault is set off once
    else:
        assert await statuses(razorpay, order) == []
        await razorpay.asked(order)
        await become(razorpay, order, "captured")


async def test_money_moves_without_an_answer(razorpay: RazorpaySide) -> None:
    order = await razorpay.order(receipt="pay_unheard", notes=wishes("error_after_charge"))
    error(await razorpay.post("/payments/create/json", razorpay.card_body(order)), 500)
    await become(razorpay, order, "captured")
    assert await razorpay.movements("pay_unheard") == ["authorize", "capture"]


async def test_the_notes_of_the_payment_count_too(razorpay: RazorpaySide) -> None:
    order = await razorpay.order()
    body = razorpay.card_body(order, notes={"sandbox_fault": "error_before_charge"})
    assert error(await razorpay.post("/payments/create/json", body), 500)["code"] == "SERVER_ERROR"
    assert await statuses(razorpay, order) == []


async def test_an_order_whose_answer_is_lost_is_there(razorpay: RazorpaySide) -> None:
    body = razorpay.order_body(receipt="lost-order", notes={"sandbox_fault": "create:error_after_charge"})
    error(await razorpay.post("/orders", body), 500)
    assert done(await razorpay.get("/orders", receipt="lost-order"))["count"] == 1


async def test_a_capture_that_is_carried_out_and_answered_500(razorpay: RazorpaySide) -> None:
    notes = {"sandbox_fault": "capture:error_after_charge"}
    payment = await razorpay.paid(capture="manual", receipt="pay_500", notes=notes)
    path, body = f"/payments/{payment['id']}/capture", {"amount": 1099, "currency": "INR"}
    error(await razorpay.post(path, body), 500)
    assert (await razorpay.shown(payment["id"]))["status"] == "captured"
    assert await razorpay.movements("pay_500") == ["authorize", "capture"]


@pytest.mark.parametrize(("fault", "kind"), [("garbage", "application/json"), ("html", "text/html")])
async def test_an_answer_that_says_nothing(razorpay: RazorpaySide, fault: str, kind: str) -> None:
    order = await razorpay.order(notes=wishes(fault))
    answer = await razorpay.post("/payments/create/json", razorpay.card_body(order))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    with pytest.raises(ValueError, match="Expecting value"):
        answer.json()
    await become(razorpay, order, "captured")


async def test_a_reset_and_a_redirect(razorpay: RazorpaySide) -> None:
    order = await razorpay.order(notes=wishes("reset_after_charge"))
    with pytest.raises(httpx.ReadError):
        await razorpay.post("/payments/create/json", razorpay.card_body(order))
    await become(razorpay, order, "captured")
    other = await razorpay.order(notes={"sandbox_fault": "redirect"})
    assert (await razorpay.post("/payments/create/json", razorpay.card_body(other))).status_code == 302
    assert await statuses(razorpay, other) == []


async def test_too_many_requests(razorpay: RazorpaySide) -> None:
    order = await razorpay.order(notes={"sandbox_fault": "rate_limited"})
    answer = await razorpay.post("/payments/create/json", razorpay.card_body(order))
    error(answer, 429)
    assert "retry-after" not in answer.headers
    assert await statuses(razorpay, order) == []


async def test_somebody_elses_answer(razorpay: RazorpaySide) -> None:
    order = await razorpay.order(notes={"sandbox_fault": "inquire:other_answer"})
    own_id = await razorpay.asked(order)
    wrong, right = await razorpay.shown(own_id), await razorpay.shown(own_id)
    assert (right["id"], right["order_id"]) == (own_id, order["id"])
    assert wrong["id"] not in (own_id, order["id"])
    assert wrong["order_id"] != order["id"]


async def test_one_unit_more_is_moved(razorpay: RazorpaySide) -> None:
    payment = await razorpay.paid(receipt="pay_more", notes={"sandbox_fault": "amount_mismatch"})
    assert payment["amount"] == 1100
    entries = await razorpay.acquirer.ledger(payment_reference="pay_more")
    assert {entry["amount"] for entry in entries} == {1100}


async def test_a_value_that_is_refused_for_ever(razorpay: RazorpaySide) -> None:
    order = await razorpay.order(notes={"sandbox_fault": "refuse:/card/number"})
    said = error(await razorpay.post("/payments/create/json", razorpay.card_body(order)))
    assert said["field"] == "card.number"
    assert await statuses(razorpay, order) == []


async def test_an_automatic_order_that_is_authorized_only(razorpay: RazorpaySide) -> None:
    payment = await razorpay.paid(receipt="pay_only", notes={"sandbox_fault": "authorized_only"})
    assert payment["status"] == "authorized"
    done(await razorpay.post(f"/payments/{payment['id']}/capture", {"amount": 1099, "currency": "INR"}))
    assert await razorpay.movements("pay_only") == ["authorize", "capture"]


async def test_a_refund_in_the_dashboard(razorpay: RazorpaySide) -> None:
    payment = await razorpay.paid(receipt="pay_dash", notes={"sandbox_fault": "foreign_refund:99"})

    async def is_refunded() -> bool:
        return bool((await razorpay.shown(payment["id"]))["amount_refunded"] == 99)

    await eventually(is_refunded)
    (refund,) = done(await razorpay.get(f"/payments/{payment['id']}/refunds"))["items"]
    assert (refund["amount"], refund["notes"]) == (99, [])
    entries = await razorpay.acquirer.ledger(payment_reference="pay_dash")
    assert (entries[-1]["operation"], entries[-1]["origin"]) == ("refund", "acquirer")


@pytest.mark.parametrize("fault", ["undo_capture:2", "explode", "capture:redo_capture:1", "slow:ten"])
async def test_faults_that_do_not_exist_here(unmoved_razorpay: RazorpaySide, fault: str) -> None:
    body = unmoved_razorpay.order_body(notes={"sandbox_fault": fault})
    assert error(await unmoved_razorpay.post("/orders", body))["field"] == "notes.sandbox_fault"


async def test_the_references_are_the_merchants(razorpay: RazorpaySide) -> None:
    notes = {"payonce_payment": "pay_ours", "payonce_reference": "op_ours-1"}
    payment = await razorpay.paid(notes=notes)
    body = {"amount": 500, "notes": {"payonce_reference": "op_refund-1"}}
    done(await razorpay.post(f"/payments/{payment['id']}/refund", body))
    entries = await razorpay.acquirer.ledger(payment_reference="pay_ours")
    assert [(entry["operation"], entry["reference"]) for entry in entries] == [
        ("authorize", "op_ours-1"),
        ("capture", "op_ours-1"),
        ("refund", "op_refund-1"),
    ]
    requests = await razorpay.acquirer.client.get("/requests", params={"payment_reference": "pay_ours"})
    operations = [entry["operation"] for entry in requests.json()["entries"]]
    assert operations == ["create", "authorize", "inquire", "refund"]

"""Refunds in the Razorpay dialect, and their key."""

import asyncio

import httpx
import pytest
from acquirer_process import Acquirer, eventually
from razorpay_side import RazorpaySide, done, error, set_up

KEY = "refund-key-0000000001"


async def refund(
    razorpay: RazorpaySide, own_id: str, key: str | None = None, **body: object
) -> httpx.Response:
    headers = {} if key is None else {"X-Refund-Idempotency": key}
    return await razorpay.post(f"/payments/{own_id}/refund", dict(body), **headers)


async def test_parts_and_the_rest(razorpay: RazorpaySide) -> None:
    payment = await razorpay.paid(receipt="pay_parts")
    first = done(await refund(razorpay, payment["id"], amount=500, notes={"why": "broken"}, receipt="r-1"))
    assert (first["amount"], first["status"], first["notes"]) == (500, "processed", {"why": "broken"})
    assert (first["receipt"], first["payment_id"]) == ("r-1", payment["id"])
    part = await razorpay.shown(payment["id"])
    assert (part["captured"], part["refund_status"], part["amount_refunded"]) == (True, "partial", 500)
    said = error(await refund(razorpay, payment["id"], amount=600))
    assert said["description"] == "The refund amount provided is greater than amount captured"
    rest = done(await refund(razorpay, payment["id"]))
    assert rest["amount"] == 599
    whole = await razorpay.shown(payment["id"])
    assert (whole["status"], whole["refund_status"], whole["captured"]) == ("refunded", "full", True)
    assert "fully refunded" in error(await refund(razorpay, payment["id"]))["description"]
    order = done(await razorpay.get(f"/orders/{payment['order_id']}"))
    assert order["status"] == "paid"
    assert await razorpay.movements("pay_parts") == ["authorize", "capture", "refund", "refund"]
    listed = done(await razorpay.get(f"/payments/{payment['id']}/refunds"))
    assert listed["items"] == [first, rest]
    assert done(await razorpay.get(f"/refunds/{first['id']}")) == first
    assert done(await razorpay.get(f"/payments/{payment['id']}/refunds/{rest['id']}")) == rest


async def test_the_smallest_refund(razorpay: RazorpaySide) -> None:
    payment = await razorpay.paid()
    assert error(await refund(razorpay, payment["id"], amount=99))["field"] == "amount"


async def test_the_same_key_is_the_same_refund(razorpay: RazorpaySide) -> None:
    payment = await razorpay.paid(receipt="pay_keyed")
    first = done(await refund(razorpay, payment["id"], KEY, amount=500))
    assert done(await refund(razorpay, payment["id"], KEY, amount=500)) == first
    said = error(await refund(razorpay, payment["id"], KEY, amount=501), 409)
    assert said["description"].startswith("Different request with the same idempotency key")
    done(await refund(razorpay, payment["id"], KEY + "x", amount=500))
    assert (await razorpay.movements("pay_keyed")).count("refund") == 2


async def test_keys_that_are_not_honoured(razorpay: RazorpaySide) -> None:
    payment = await razorpay.paid(receipt="pay_ignored")
    await razorpay.acquirer.client.patch("/config", json={"idempotency": "ignored"})
    first, second = [done(await refund(razorpay, payment["id"], KEY, amount=500)) for _ in range(2)]
    assert first["id"] != second["id"]
    assert (await razorpay.movements("pay_ignored")).count("refund") == 2


@pytest.mark.parametrize("key", ["too-short", "has a space in it", "has:a:colon:in:it"])
async def test_keys_that_are_refused(razorpay: RazorpaySide, key: str) -> None:
    payment = await razorpay.paid(receipt="pay_wrong_key")
    assert "idempotency key" in error(await refund(razorpay, payment["id"], key))["description"]
    assert (await razorpay.movements("pay_wrong_key")).count("refund") == 0


async def test_a_key_in_use_is_a_conflict(razorpay: RazorpaySide) -> None:
    payment = await razorpay.paid(notes={"sandbox_fault": "refund:slow:60000"}, receipt="pay_slow")
    slow = asyncio.create_task(refund(razorpay, payment["id"], KEY, amount=500))

    async def is_logged() -> bool:
        requests = await razorpay.acquirer.requests(payment_reference="pay_slow")
        return "refund" in [entry["operation"] for entry in requests]

    await eventually(is_logged)
    said = error(await refund(razorpay, payment["id"], KEY, amount=500), 409)
    assert "in progress" in said["description"]
    slow.cancel()


async def test_a_lost_answer_is_had_again_with_the_key(razorpay: RazorpaySide) -> None:
    payment = await razorpay.paid(notes={"sandbox_fault": "refund:error_after_charge"}, receipt="pay_lost")
    assert error(await refund(razorpay, payment["id"], KEY, amount=500), 500)["code"] == "SERVER_ERROR"
    assert done(await refund(razorpay, payment["id"], KEY, amount=500))["amount"] == 500
    assert (await razorpay.movements("pay_lost")).count("refund") == 1


async def test_a_pending_refund_settles(acquirer: Acquirer) -> None:
    await set_up(acquirer, refunds="pending", refund_settles_s=0)
    razorpay = RazorpaySide(acquirer)
    own = done(await refund(razorpay, (await razorpay.paid())["id"], amount=500))
    assert own["status"] == "pending"

    async def is_processed() -> bool:
        return bool(done(await razorpay.get(f"/refunds/{own['id']}"))["status"] == "processed")

    await eventually(is_processed)


async def test_a_refund_that_comes_back_was_never_processed(razorpay: RazorpaySide) -> None:
    payment = await razorpay.paid(receipt="pay_back")
    own = done(await refund(razorpay, payment["id"], notes={"sandbox_fault": "undo_refund:0"}))
    assert own["status"] == "pending"

    async def has_failed() -> bool:
        return bool(done(await razorpay.get(f"/refunds/{own['id']}"))["status"] == "failed")

    await eventually(has_failed)
    assert await razorpay.movements("pay_back") == ["authorize", "capture", "refund", "undo"]


async def test_payments_and_refunds_are_listed_by_when_they_were_made(razorpay: RazorpaySide) -> None:
    first, second = await razorpay.paid(receipt="pay_first"), await razorpay.paid(receipt="pay_second")
    given_back = done(await refund(razorpay, first["id"], amount=500))
    made = {"from": first["created_at"], "to": second["created_at"]}
    page = done(await razorpay.get("/payments", **made))
    assert [one["id"] for one in page["items"]] == [second["id"], first["id"]]
    last = done(await razorpay.get("/payments", **made, count=1, skip=1, **{"expand[]": "card"}))
    assert (last["count"], last["items"][0]["id"]) == (1, first["id"])
    assert last["items"][0]["card"]["network"] == "Visa"
    before = {"to": first["created_at"] - 1}
    assert done(await razorpay.get("/payments", **before))["items"] == []
    assert done(await razorpay.get("/refunds"))["items"] == [given_back]
    assert done(await razorpay.get("/refunds", **before))["items"] == []

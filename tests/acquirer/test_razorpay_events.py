"""What the Razorpay dialect tells the merchant's side, and how it is signed; driven by Razorpay's own SDK."""

import asyncio
from typing import Any

import pytest
import razorpay as sdk
from acquirer_process import Acquirer, eventually
from razorpay_side import (
    KEY_ID,
    KEY_SECRET,
    WEBHOOK_SECRET,
    RazorpaySide,
    done,
    set_up,
)
from stripe_side import EventsSide, events_side

from devstack.acquirer.razorpay import signing


async def hearing(acquirer: Acquirer, side: EventsSide, **members: Any) -> RazorpaySide:
    await set_up(acquirer, webhook={"url": side.url, "secret": WEBHOOK_SECRET}, **members)
    return RazorpaySide(acquirer)


def client_of(acquirer: Acquirer) -> Any:
    base_url = f"{str(acquirer.client.base_url).rstrip('/')}/razorpay"
    return sdk.Client(auth=(KEY_ID, KEY_SECRET), base_url=base_url)


async def test_the_sdk_drives_it_and_verifies_what_it_signs(acquirer: Acquirer) -> None:
    client = client_of(acquirer)
    async with events_side() as side:
        razorpay = await hearing(acquirer, side)
        options = {"automatic_expiry_period": 12, "refund_speed": "normal"}
        order = await asyncio.to_thread(
            client.order.create,
            {
                "amount": 1099,
                "currency": "INR",
                "receipt": "pay_sdk",
                "payment": {"capture": "manual", "capture_options": options},
            },
        )
        asked = await asyncio.to_thread(client.payment.createPaymentJson, razorpay.card_body(order))
        told = await razorpay.decide(asked["razorpay_payment_id"], "success")
        assert client.utility.verify_payment_signature(told["fields"])
        own_id = asked["razorpay_payment_id"]
        captured = await asyncio.to_thread(client.payment.capture, own_id, 1099, {"currency": "INR"})
        assert captured["status"] == "captured"
        refund = await asyncio.to_thread(client.payment.refund, own_id, {"amount": 500})
        assert (refund["amount"], refund["status"]) == (500, "processed")
        listed = await asyncio.to_thread(client.order.payments, order["id"])
        assert [item["id"] for item in listed["items"]] == [own_id]
        with pytest.raises(sdk.errors.BadRequestError, match="greater than amount captured"):
            await asyncio.to_thread(client.payment.refund, own_id, {"amount": 5000})
        expected = [
            "payment.authorized",
            "payment.captured",
            "order.paid",
            "refund.created",
            "refund.processed",
        ]
        await eventually(lambda: side.has("refund.processed"))
    assert sorted(side.types()) == sorted(expected)
    for body, headers in zip(side.bodies, side.headers, strict=True):
        signature = headers["x-razorpay-signature"]
        assert client.utility.verify_webhook_signature(body.decode(), signature, WEBHOOK_SECRET)
        with pytest.raises(sdk.errors.SignatureVerificationError):
            client.utility.verify_webhook_signature(body.decode() + " ", signature, WEBHOOK_SECRET)
    assert len({headers["x-razorpay-event-id"] for headers in side.headers}) == len(expected)


async def test_a_payload_is_a_snapshot(acquirer: Acquirer) -> None:
    async with events_side() as side:
        razorpay = await hearing(acquirer, side)
        payment = await razorpay.paid()
        await eventually(lambda: side.has("order.paid"))
    by_type = {event["event"]: event for event in side.events()}
    authorized = by_type["payment.authorized"]
    assert (authorized["entity"], authorized["account_id"]) == ("event", "acc_Acme0000000001")
    assert authorized["contains"] == ["payment"]
    entity = authorized["payload"]["payment"]["entity"]
    assert (entity["id"], entity["status"], entity["captured"]) == (payment["id"], "authorized", False)
    assert entity["card"]["last4"] == "1007"
    assert by_type["payment.captured"]["payload"]["payment"]["entity"]["status"] == "captured"
    paid = by_type["order.paid"]
    assert (paid["contains"], paid["payload"]["order"]["entity"]["status"]) == (["payment", "order"], "paid")


async def test_a_late_authorization_is_told(acquirer: Acquirer) -> None:
    async with events_side() as side:
        razorpay = await hearing(acquirer, side)
        own_id = await razorpay.asked(await razorpay.order(capture="manual"))
        await razorpay.bank(own_id, "times_out")
        await eventually(lambda: side.has("payment.failed"))
        await razorpay.bank(own_id, "approves")
        await eventually(lambda: side.has("payment.authorized"))
        await razorpay.bank(own_id, "lapses")
        await eventually(lambda: side.has("refund.processed"))
    by_type = {event["event"]: event["payload"] for event in side.events()}
    assert by_type["payment.failed"]["payment"]["entity"]["error_reason"] == "payment_timed_out"
    assert by_type["payment.authorized"]["payment"]["entity"]["late_authorized"] is True
    lapsed = by_type["refund.processed"]
    assert lapsed["payment"]["entity"]["captured"] is False
    assert lapsed["refund"]["entity"]["payment_id"] == own_id


async def test_a_refund_that_failed_is_told(acquirer: Acquirer) -> None:
    async with events_side() as side:
        razorpay = await hearing(acquirer, side)
        payment = await razorpay.paid()
        body = {"notes": {"sandbox_fault": "undo_refund:0"}}
        done(await razorpay.post(f"/payments/{payment['id']}/refund", body))
        await eventually(lambda: side.has("refund.failed"))
    assert "refund.processed" not in side.types()


async def test_what_was_refused_comes_again_with_the_same_id_and_secret(acquirer: Acquirer) -> None:
    async with events_side(500) as side:
        razorpay = await hearing(acquirer, side)
        await razorpay.asked(await razorpay.order())
        own_id = await razorpay.asked(await razorpay.order())
        await razorpay.bank(own_id, "declines")
        await eventually(lambda: _came(side, 1))
        newer = {"url": side.url, "secret": "acme-webhook-second-generation"}
        await set_up(acquirer, webhook=newer)
        await eventually(lambda: _came(side, 2))
    assert len({headers["x-razorpay-event-id"] for headers in side.headers}) == 1
    assert len({headers["x-razorpay-signature"] for headers in side.headers}) == 1
    assert side.bodies[0] == side.bodies[1]


async def _came(side: EventsSide, times: int) -> bool:
    return len(side.bodies) >= times


async def test_events_before_the_answer(acquirer: Acquirer) -> None:
    async with events_side() as side:
        razorpay = await hearing(acquirer, side)
        payment = await razorpay.paid(capture="manual")
        await acquirer.client.patch("/config", json={"callbacks": "before_response"})
        done(await razorpay.post(f"/payments/{payment['id']}/capture", {"amount": 1099, "currency": "INR"}))
        assert {"payment.captured", "order.paid"} <= set(side.types())


async def test_only_the_events_that_were_asked_for(acquirer: Acquirer) -> None:
    async with events_side() as side:
        webhook = {"url": side.url, "secret": WEBHOOK_SECRET, "events": ["order.paid"]}
        await set_up(acquirer, webhook=webhook)
        await RazorpaySide(acquirer).paid()
        await eventually(lambda: side.has("order.paid"))
        callbacks = (await acquirer.client.get("/callbacks")).json()["entries"]
    assert [each["body"]["event"] for each in callbacks] == ["order.paid"]


def test_a_vector_that_razorpay_published() -> None:
    """Source: github.com/razorpay/razorpay-python, tests/test_client_utility.py."""
    signature = signing.of_payment("fake_order_id", "fake_payment_id", secret="key_secret")
    assert signature == "b2335e3b0801106b84a7faff035df56ecffde06918c9ddd1f0fafbb37a51cc89"

"""Modifications at the sandbox's Adyen: always `received`, and a webhook says what became of it."""

import sqlite3
from typing import Any

import pytest
from acquirer_process import Acquirer
from adyen_side import ACCOUNT, AdyenSide, Json, done, refused


async def held(adyen: AdyenSide, **changes: Any) -> tuple[str, str]:
    """A manual payment's reference, and Adyen's."""
    reference = adyen.new()
    answer = await adyen.paid(adyen.payment(reference, **changes))
    return reference, answer["pspReference"]


async def test_a_capture_is_received_and_told_under_its_own_reference(adyen: AdyenSide) -> None:
    reference, psp = await held(adyen)
    answer = await adyen.modify(psp, "captures", 1099)
    assert (answer["status"], answer["paymentPspReference"]) == ("received", psp)
    assert answer["amount"] == {"currency": "USD", "value": 1099}
    (item,) = await adyen.webhooks.has(answer["reference"], "CAPTURE")
    assert (item["success"], item["originalReference"]) == ("true", psp)
    assert item["pspReference"] == answer["pspReference"]
    assert await adyen.moved(reference) == [("authorize", 1099), ("capture", 1099)]


async def test_a_partial_capture_releases_the_rest(adyen: AdyenSide) -> None:
    reference, psp = await held(adyen)
    assert (await adyen.told(psp, "captures", "CAPTURE", 700))["success"] == "true"
    assert (await adyen.told(psp, "captures", "CAPTURE", 399))["success"] == "false"
    assert await adyen.moved(reference) == [("authorize", 1099), ("capture", 700)]


async def test_an_account_may_have_several_partial_captures(adyen: AdyenSide) -> None:
    code = await adyen.set_up(id="SeveralECOM", multiple_partial_captures=True)
    reference, psp = await held(adyen, merchantAccount=code)
    told = [
        await adyen.told(psp, "captures", "CAPTURE", amount, merchantAccount=code)
        for amount in (700, 300, 100, 99)
    ]
    assert [item["success"] for item in told] == ["true", "true", "false", "true"]
    assert await adyen.moved(reference) == [
        *[("authorize", 1099), ("capture", 700), ("capture", 300)],
        ("capture", 99),
    ]


async def test_too_much_is_received_and_then_refused(adyen: AdyenSide) -> None:
    reference, psp = await held(adyen)
    item = await adyen.told(psp, "captures", "CAPTURE", 1100)
    assert item["success"] == "false"
    assert item["reason"]
    assert await adyen.moved(reference) == [("authorize", 1099)]


async def test_refunds_are_of_what_was_captured(adyen: AdyenSide) -> None:
    reference, psp = await held(adyen)
    early = await adyen.told(psp, "refunds", "REFUND", 100)
    assert (early["success"], early["originalReference"]) == ("false", psp)
    await adyen.told(psp, "captures", "CAPTURE", 700)
    told = [await adyen.told(psp, "refunds", "REFUND", amount) for amount in (300, 400, 1)]
    assert [item["success"] for item in told] == ["true", "true", "false"]
    assert await adyen.moved(reference) == [
        *[("authorize", 1099), ("capture", 700)],
        *[("refund", 300), ("refund", 400)],
    ]


async def test_a_cancel_releases_what_nobody_captured(adyen: AdyenSide) -> None:
    reference, psp = await held(adyen)
    item = await adyen.told(psp, "cancels", "CANCELLATION")
    assert (item["success"], item["originalReference"]) == ("true", psp)
    assert (await adyen.told(psp, "captures", "CAPTURE", 100))["success"] == "false"
    assert await adyen.moved(reference) == [("authorize", 1099), ("void", 1099)]


async def test_what_is_captured_cannot_be_cancelled(adyen: AdyenSide) -> None:
    reference = adyen.new()
    psp = (await adyen.paid(adyen.automatic(reference)))["pspReference"]
    assert (await adyen.told(psp, "cancels", "CANCELLATION"))["success"] == "false"
    assert await adyen.moved(reference) == [("authorize", 1099), ("capture", 1099)]


@pytest.mark.parametrize(
    ("is_captured", "action", "movement"), [(False, "cancel", "void"), (True, "refund", "refund")]
)
async def test_a_reversal_cancels_or_refunds(
    adyen: AdyenSide, is_captured: bool, action: str, movement: str
) -> None:
    reference = adyen.new()
    body = adyen.automatic(reference) if is_captured else adyen.payment(reference)
    psp = (await adyen.paid(body))["pspReference"]
    item = await adyen.told(psp, "reversals", "CANCEL_OR_REFUND")
    assert (item["success"], item["additionalData"]["modification.action"]) == ("true", action)
    assert (await adyen.moved(reference))[-1] == (movement, 1099)


async def technically_cancelled(adyen: AdyenSide, reference: str) -> list[Json]:
    """What is told of it, besides the payment's own: under the payment's reference, not the cancel's."""
    own = adyen.new()
    before = len(adyen.webhooks.items(reference))
    body = {"merchantAccount": ACCOUNT, "paymentReference": reference, "reference": own}
    answer = done(await adyen.post("/cancels", body), 201)
    assert (answer["status"], answer["paymentReference"]) == ("received", reference)
    known = [item["eventCode"] for item in adyen.webhooks.items(reference)]
    items = await adyen.webhooks.has(reference, *known[:before], "TECHNICAL_CANCEL")
    assert adyen.webhooks.items(own) == []
    return items


async def test_a_technical_cancel_finds_the_payment_by_our_reference(adyen: AdyenSide) -> None:
    reference, psp = await held(adyen)
    await adyen.webhooks.has(reference, "AUTHORISATION")
    item = (await technically_cancelled(adyen, reference))[-1]
    assert (item["success"], item["originalReference"]) == ("true", psp)
    assert await adyen.moved(reference) == [("authorize", 1099), ("void", 1099)]


async def test_a_technical_cancel_does_nothing_to_what_is_captured_or_unknown(adyen: AdyenSide) -> None:
    reference = adyen.new()
    await adyen.paid(adyen.automatic(reference))
    await adyen.webhooks.has(reference, "AUTHORISATION")
    assert (await technically_cancelled(adyen, reference))[-1]["success"] == "false"
    assert await adyen.moved(reference) == [("authorize", 1099), ("capture", 1099)]
    assert (await technically_cancelled(adyen, adyen.new()))[-1]["success"] == "false"


async def test_a_modification_names_its_payment_and_account(adyen: AdyenSide) -> None:
    _, psp = await held(adyen)
    money = {"amount": {"currency": "USD", "value": 1}}
    body = {"merchantAccount": ACCOUNT, "reference": adyen.new(), **money}
    refused(await adyen.post("/payments/NOSUCHREFERENCE0/captures", body), 422)
    refused(await adyen.post(f"/payments/{psp}/captures", {**body, "colour": "red"}), 400)
    other = {"currency": "EUR", "value": 1}
    refused(await adyen.post(f"/payments/{psp}/captures", {**body, "amount": other}), 422)
    foreign = await adyen.set_up(id="ForeignECOM")
    refused(await adyen.post(f"/payments/{psp}/captures", {**body, "merchantAccount": foreign}), 422)


async def test_the_outcome_may_take_its_time(adyen: AdyenSide) -> None:
    code = await adyen.set_up(id="SlowECOM", processing_s=1)
    reference, psp = await held(adyen, merchantAccount=code)
    item = await adyen.told(psp, "captures", "CAPTURE", 1099, merchantAccount=code)
    assert item["success"] == "true"
    first, second = await adyen.acquirer.ledger(payment_reference=reference)
    assert first["created_at"] < second["created_at"]


@pytest.mark.parametrize(
    ("action", "is_captured", "event", "movement"),
    [
        ("capture", False, "CAPTURE", "capture"),
        ("cancel", False, "CANCELLATION", "void"),
        ("refund", True, "REFUND", "refund"),
    ],
)
async def test_somebody_modifies_in_the_customer_area(
    adyen: AdyenSide, action: str, is_captured: bool, event: str, movement: str
) -> None:
    reference = adyen.new()
    body = adyen.automatic(reference) if is_captured else adyen.payment(reference)
    psp = (await adyen.paid(body))["pspReference"]
    path = f"/adyen/customer-area/payments/{psp}"
    made = done(await adyen.acquirer.post(path, {"action": action}))

    def of_it() -> list[Json]:
        told = [body["notificationItems"][0]["NotificationRequestItem"] for body in adyen.webhooks.bodies]
        return [item for item in told if item["pspReference"] == made["pspReference"]]

    await adyen.webhooks.has(reference, "AUTHORISATION", event)
    (item,) = of_it()
    assert (item["success"], item["originalReference"]) == ("true", psp)
    entry = (await adyen.acquirer.ledger(payment_reference=reference))[-1]
    assert (entry["operation"], entry["amount"], entry["origin"]) == (movement, 1099, "acquirer")


async def test_a_delayed_capture_comes_by_itself_unless_it_is_cancelled(adyen: AdyenSide) -> None:
    kept, cancelled = adyen.new(), adyen.new()
    for reference in (kept, cancelled):
        body = adyen.payment(reference, additionalData={}, captureDelayHours=2)
        psp = (await adyen.paid(body))["pspReference"]
        if reference == cancelled:
            await adyen.told(psp, "cancels", "CANCELLATION")
    assert await adyen.moved(kept) == [("authorize", 1099)]
    with sqlite3.connect(adyen.acquirer.data) as db:  # two hours later
        changed = db.execute(
            "UPDATE adyen_due SET due_at = '2026-01-01T00:00:00.000000Z' WHERE kind = 'captures_itself'"
        )
        assert changed.rowcount == 2
    db.close()
    assert await adyen.moved(kept) == [("authorize", 1099), ("capture", 1099)]
    assert await adyen.moved(cancelled) == [("authorize", 1099), ("void", 1099)]


async def test_a_hold_that_nobody_captures_lapses(adyen: AdyenSide, impatient_acquirer: Acquirer) -> None:
    side = AdyenSide(impatient_acquirer, adyen.webhooks)
    await side.set_up()
    reference = "lapses"
    await side.paid(side.payment(reference))
    await side.webhooks.has(reference, "AUTHORISATION", "EXPIRE")
    entry = (await impatient_acquirer.ledger(payment_reference=reference))[-1]
    assert (entry["operation"], entry["amount"], entry["origin"]) == ("void", 1099, "acquirer")

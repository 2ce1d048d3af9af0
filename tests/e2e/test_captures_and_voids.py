"""Captures and voids of an authorized payment."""

import pytest

from tests.e2e.merchant import LONG_UNKNOWN, Merchant, answered, card, refused
from tests.support.witness import Witness


async def test_a_capture_without_amount_takes_all(shop: Merchant, witness: Witness) -> None:
    payment = await shop.authorized()
    captured = await shop.captured(payment)
    assert (captured["status"], captured["amount_captured"]) == ("captured", 1099)
    assert (captured["amount_capturable"], captured["amount_refundable"]) == (0, 1099)
    assert captured["pending_operation"] is None
    assert captured == await shop.payment(payment)
    assert await shop.timeline(payment) == ["payment.authorized", "payment.captured"]
    assert await witness.movements(payment["id"]) == [("authorize", 1099), ("capture", 1099)]


async def test_a_final_capture_of_a_part_releases_the_rest(shop: Merchant, witness: Witness) -> None:
    payment = await shop.authorized()
    captured = await shop.captured(payment, amount=600)
    assert (captured["status"], captured["amount_captured"], captured["amount_capturable"]) == (
        "captured",
        600,
        0,
    )
    refused(await shop.capture(payment, {"amount": 1}), 409, "payment_not_capturable")
    assert await witness.movements(payment["id"]) == [("authorize", 1099), ("capture", 600)]


async def test_several_captures_take_a_part_each(shop: Merchant, witness: Witness) -> None:
    payment = await shop.authorized()
    first = await shop.captured(payment, amount=300, final=False)
    assert (first["status"], first["amount_capturable"]) == ("partially_captured", 799)
    second = await shop.captured(payment, amount=200, final=False)
    assert (second["status"], second["amount_captured"]) == ("partially_captured", 500)
    last = await shop.captured(payment)
    assert (last["status"], last["amount_captured"]) == ("captured", 1099)
    assert await shop.timeline(payment) == [
        "payment.authorized",
        "payment.partially_captured",
        "payment.partially_captured",
        "payment.captured",
    ]
    assert (await witness.movements(payment["id"]))[1:] == [
        ("capture", 300),
        ("capture", 200),
        ("capture", 599),
    ]


async def test_captures_of_parts_that_add_up_to_all_end_the_payment(shop: Merchant) -> None:
    payment = await shop.authorized()
    await shop.captured(payment, amount=1000, final=False)
    assert (await shop.captured(payment, amount=99, final=False))["status"] == "captured"


async def test_more_than_is_capturable_is_refused(shop: Merchant, witness: Witness) -> None:
    payment = await shop.authorized()
    refused(await shop.capture(payment, {"amount": 1100}), 422, "amount_too_large")
    await shop.captured(payment, amount=1000, final=False)
    refused(await shop.capture(payment, {"amount": 100}), 422, "amount_too_large")
    assert await witness.movements(payment["id"]) == [("authorize", 1099), ("capture", 1000)]


async def test_a_void_releases_everything(shop: Merchant, witness: Witness) -> None:
    payment = await shop.authorized()
    voided = answered(await shop.void(payment, {"reason": "out of stock"}), 200)
    assert (voided["status"], voided["amount_capturable"]) == ("voided", 0)
    assert await shop.timeline(payment) == ["payment.authorized", "payment.voided"]
    assert await witness.movements(payment["id"]) == [("authorize", 1099), ("void", 1099)]
    refused(await shop.capture(payment), 409, "payment_not_capturable")
    refused(await shop.void(payment), 409, "payment_not_voidable")


async def test_a_void_after_a_capture_of_a_part_releases_the_rest(shop: Merchant, witness: Witness) -> None:
    payment = await shop.authorized()
    await shop.captured(payment, amount=600, final=False)
    voided = await shop.voided(payment)
    assert (voided["status"], voided["amount_captured"], voided["amount_capturable"]) == ("captured", 600, 0)
    assert (await witness.movements(payment["id"]))[1:] == [("capture", 600), ("void", 499)]


async def test_a_captured_payment_can_be_neither_captured_nor_voided(shop: Merchant) -> None:
    payment = await shop.paid()
    refused(await shop.capture(payment), 409, "payment_not_capturable")
    refused(await shop.void(payment), 409, "payment_not_voidable")


async def test_a_failed_payment_can_be_neither_captured_nor_voided(shop: Merchant) -> None:
    payment = (await shop.pay(payment_method=card("4000000000000002"), capture_method="manual")).json()[
        "payment"
    ]
    refused(await shop.capture(payment), 409, "payment_not_capturable")
    refused(await shop.void(payment), 409, "payment_not_voidable")


async def test_one_capture_or_void_runs_at_a_time(shop: Merchant, witness: Witness) -> None:
    payment = await shop.authorized(metadata={"sandbox_fault": f"capture:{LONG_UNKNOWN}"})
    pending = answered(await shop.capture(payment, {"amount": 500, "final": False}), 202)
    assert pending["status"] == "authorized"
    assert pending["pending_operation"] == {"type": "capture", "amount": 500}
    refused(await shop.capture(payment, {"amount": 1}), 409, "operation_in_progress")
    refused(await shop.void(payment), 409, "operation_in_progress")
    settled = await shop.settled(payment)
    assert (settled["status"], settled["amount_captured"]) == ("partially_captured", 500)
    assert await witness.movements(payment["id"]) == [("authorize", 1099), ("capture", 500)]


@pytest.mark.parametrize("what", ["capture", "void"])
async def test_a_payment_without_outcome_takes_no_capture_and_no_void(shop: Merchant, what: str) -> None:
    payment = answered(await shop.pay(capture_method="manual", metadata={"sandbox_fault": LONG_UNKNOWN}), 202)
    refused(await shop.post(f"/v1/payments/{payment['id']}/{what}"), 409, "operation_in_progress")
    assert (await shop.settled(payment))["status"] == "authorized"

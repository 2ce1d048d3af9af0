"""Refunds: whole, in parts, and never more than was captured."""

import asyncio

from tests.e2e.merchant import LONG_UNKNOWN, SETTLED_WITHIN_S, Merchant, answered, refused
from tests.support.eventually import eventually
from tests.support.witness import Witness

MEMBERS = {
    *("id", "object", "payment", "status", "amount", "currency", "reason", "metadata"),
    *("connector_reference", "last_error", "created_at", "updated_at"),
}


async def test_a_refund_without_amount_gives_all_back(shop: Merchant, witness: Witness) -> None:
    payment = await shop.paid()
    response = await shop.refund(payment, {"reason": "returned", "metadata": {"case": "7"}})
    refund = answered(response, 201)
    assert refund.keys() == MEMBERS
    assert (refund["status"], refund["amount"], refund["payment"]) == ("succeeded", 1099, payment["id"])
    assert (refund["reason"], refund["metadata"]) == ("returned", {"case": "7"})
    assert response.headers["Location"] == f"/v1/refunds/{refund['id']}"
    assert answered(await shop.get(f"/v1/refunds/{refund['id']}"), 200) == refund
    now = await shop.payment(payment)
    assert (now["status"], now["amount_refunded"], now["amount_refundable"]) == ("refunded", 1099, 0)
    assert await shop.timeline(payment) == [
        *("payment.authorized", "payment.captured", "refund.succeeded", "payment.refunded")
    ]
    assert (await witness.movements(payment["id"]))[-1] == ("refund", 1099)


async def test_several_refunds_give_a_part_back_each(shop: Merchant, witness: Witness) -> None:
    payment = await shop.paid()
    first = await shop.refunded(payment, amount=300)
    assert (await shop.payment(payment))["status"] == "partially_refunded"
    second = await shop.refunded(payment, amount=300)
    assert first["id"] != second["id"]
    await shop.refunded(payment)
    now = await shop.payment(payment)
    assert (now["status"], now["amount_refunded"]) == ("refunded", 1099)
    assert (await witness.movements(payment["id"]))[2:] == [("refund", 300), ("refund", 300), ("refund", 499)]
    listed = answered(await shop.get(f"/v1/payments/{payment['id']}/refunds"), 200)["data"]
    assert [refund["amount"] for refund in listed] == [499, 300, 300]


async def test_nothing_that_was_not_captured_can_be_refunded(shop: Merchant) -> None:
    payment = await shop.authorized()
    refused(await shop.refund(payment), 409, "payment_not_refundable")
    await shop.captured(payment, amount=600, final=False)
    refused(await shop.refund(payment, {"amount": 601}), 422, "amount_too_large")
    await shop.refunded(payment, amount=600)
    refused(await shop.refund(payment, {"amount": 1}), 409, "payment_not_refundable")


async def test_while_something_is_capturable_refunds_show_in_the_amounts_only(shop: Merchant) -> None:
    payment = await shop.authorized()
    await shop.captured(payment, amount=600, final=False)
    await shop.refunded(payment, amount=600)
    now = await shop.payment(payment)
    assert (now["status"], now["amount_refunded"]) == ("partially_captured", 600)
    assert (await shop.voided(payment))["status"] == "refunded"


async def test_parallel_refunds_never_exceed_what_was_captured(shop: Merchant, witness: Witness) -> None:
    payment = await shop.paid(amount=1000)
    answers = await asyncio.gather(*(shop.refund(payment, {"amount": 100}) for _ in range(40)))
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(201) + statuses.count(202) == 10, statuses
    assert set(statuses) <= {201, 202, 409}

    async def all_done() -> bool:
        return bool((await shop.payment(payment))["amount_refunded"] == 1000)

    await eventually(all_done, SETTLED_WITHIN_S)
    assert (await shop.payment(payment))["status"] == "refunded"
    assert [entry[0] for entry in await witness.movements(payment["id"])].count("refund") == 10
    await shop.events(payment)


async def test_a_refund_whose_outcome_is_unknown_holds_its_amount(shop: Merchant, witness: Witness) -> None:
    payment = await shop.paid()
    metadata = {"sandbox_fault": LONG_UNKNOWN}
    response = await shop.refund(payment, {"amount": 1000, "metadata": metadata})
    refund = answered(response, 202)
    assert refund["status"] == "pending"
    assert response.headers["Location"] == f"/v1/refunds/{refund['id']}"
    assert (await shop.payment(payment))["amount_refundable"] == 99
    refused(await shop.refund(payment, {"amount": 100}), 422, "amount_too_large")

    async def succeeded() -> bool:
        shown = answered(await shop.get(f"/v1/refunds/{refund['id']}"), 200)
        return bool(shown["status"] == "succeeded")

    await eventually(succeeded, SETTLED_WITHIN_S)
    assert (await witness.movements(payment["id"]))[2:] == [("refund", 1000)]
    assert (await shop.timeline(payment))[2:] == [
        *("refund.pending", "refund.succeeded", "payment.partially_refunded")
    ]

"""Many requests at the same moment, at two API processes behind one port: sums hold, a key is executed once."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import httpx
import pytest

from tests.faults.books import at_rest
from tests.faults.deeds import DEEDS, Deed
from tests.faults.shop import AMOUNT, Shop, new_payment
from tests.support.witness import Witness

AT_ONCE = 40
PART = 100
PARTS_THAT_FIT = AMOUNT // PART


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.name)
async def test_one_key_in_many_requests_at_once_is_executed_once(
    shop: Shop, ledger: Witness, deed: Deed
) -> None:
    asked = await deed.prepare(shop)
    responses = await asyncio.gather(*(asked.send(shop) for _ in range(AT_ONCE)))
    bodies: Counter[bytes] = Counter()
    for response in responses:
        assert response is not None
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS:  # the machine stood still
            continue
        if response.status_code != deed.status:
            assert (response.status_code, response.json()["code"]) == (409, "idempotency_key_in_use")
            assert int(response.headers["Retry-After"]) >= 1
        else:
            bodies[response.content] += 1
    assert len(bodies) == 1
    again = await asked.answered(shop)
    asked.check_done(again, await at_rest(shop, ledger, asked.payment_id))
    assert set(bodies) == {again.content}


async def test_two_requests_under_one_key_at_once_are_one_payment_and_a_refusal(
    shop: Shop, ledger: Witness
) -> None:
    key = shop.key("two")
    amounts = [AMOUNT + number for number in range(AT_ONCE)]
    bodies = [new_payment(amount=amount) for amount in amounts]
    responses = await asyncio.gather(*(shop.answered("/v1/payments", body, key=key) for body in bodies))
    assert codes_of(responses) == {"created": 1, "idempotency_key_reused": AT_ONCE - 1}
    books = await at_rest(shop, ledger, shop.payment_id(key))
    assert books.movements == ["authorize", "capture"]


async def test_many_refunds_at_once_give_back_no_more_than_was_captured(shop: Shop, ledger: Witness) -> None:
    payment_id = await shop.created()
    path = f"/v1/payments/{payment_id}/refunds"
    keys = [shop.key("refund") for _ in range(AT_ONCE)]
    responses = await asyncio.gather(*(shop.answered(path, {"amount": PART}, key=key) for key in keys))
    assert codes_of(responses) == {"created": PARTS_THAT_FIT, "amount_too_large": AT_ONCE - PARTS_THAT_FIT}
    books = await at_rest(shop, ledger, payment_id)
    assert books.standing("refund") == PARTS_THAT_FIT * PART


async def test_many_whole_refunds_at_once_are_one(shop: Shop, ledger: Witness) -> None:
    payment_id = await shop.created()
    path = f"/v1/payments/{payment_id}/refunds"
    keys = [shop.key("refund") for _ in range(AT_ONCE)]
    responses = await asyncio.gather(*(shop.answered(path, {}, key=key) for key in keys))
    assert codes_of(responses) == {"created": 1, "payment_not_refundable": AT_ONCE - 1}
    books = await at_rest(shop, ledger, payment_id)
    assert books.payment["status"] == "refunded"


async def test_many_captures_at_once_take_no_more_than_was_authorized(shop: Shop, ledger: Witness) -> None:
    payment_id = await shop.authorized()
    path, body = f"/v1/payments/{payment_id}/capture", {"amount": PART, "final": False}
    keys = [shop.key("capture") for _ in range(AT_ONCE // 2)]
    responses = await asyncio.gather(*(shop.answered(path, body, key=key) for key in keys))
    refused = AT_ONCE // 2 - PARTS_THAT_FIT
    assert codes_of(responses) == {"changed": PARTS_THAT_FIT, "amount_too_large": refused}
    books = await at_rest(shop, ledger, payment_id)
    assert books.standing("capture") == PARTS_THAT_FIT * PART


async def test_of_a_capture_and_a_void_at_once_one_is_done(shop: Shop, ledger: Witness) -> None:
    payments = await asyncio.gather(*(shop.authorized() for _ in range(8)))
    ended = await asyncio.gather(*(capture_against_void(shop, payment_id) for payment_id in payments))
    for payment_id, (capture, void) in zip(payments, ended, strict=True):
        books = await at_rest(shop, ledger, payment_id)
        done = {"captured": (200, 409), "voided": (409, 200)}[books.payment["status"]]
        assert (capture.status_code, void.status_code) == done
        assert books.movements == ["authorize", "capture" if done[0] == 200 else "void"]


async def test_a_refund_during_partial_captures_never_exceeds_them(shop: Shop, ledger: Witness) -> None:
    payment_id = await shop.authorized()
    capture, refund = f"/v1/payments/{payment_id}/capture", f"/v1/payments/{payment_id}/refunds"
    part = {"amount": PART, "final": False}
    captures = (shop.answered(capture, part, key=shop.key("capture")) for _ in range(5))
    refunds = (shop.post(refund, {"amount": PART}, key=shop.key("refund")) for _ in range(10))
    await asyncio.gather(*captures, *refunds)
    books = await at_rest(shop, ledger, payment_id)
    assert books.standing("capture") == 5 * PART


async def test_the_same_card_under_many_keys_is_as_many_payments(shop: Shop, ledger: Witness) -> None:
    keys = [shop.key("create") for _ in range(AT_ONCE)]
    created = await asyncio.gather(*(shop.created(key=key) for key in keys))
    assert created == [shop.payment_id(key) for key in keys]
    for payment_id in created:
        assert await ledger.movements(payment_id) == [("authorize", AMOUNT), ("capture", AMOUNT)]


async def capture_against_void(shop: Shop, payment_id: str) -> tuple[httpx.Response, httpx.Response]:
    """Both answers, each asked for until it is definite."""
    path = f"/v1/payments/{payment_id}"
    capture = shop.answered(f"{path}/capture", {}, key=shop.key("capture"))
    void = shop.answered(f"{path}/void", {}, key=shop.key("void"))
    return await asyncio.gather(capture, void)


def codes_of(responses: Sequence[httpx.Response | None]) -> dict[str, int]:
    """How often each kind of answer came."""
    words = {200: "changed", 201: "created"}
    found = Counter(
        words.get(response.status_code) or response.json()["code"] for response in responses if response
    )
    assert sum(found.values()) == len(responses), "an answer is missing"
    return dict(found)

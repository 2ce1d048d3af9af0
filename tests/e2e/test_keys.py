"""Idempotency keys: the same key and the same request, one payment and the same bytes."""

import asyncio
import json

import httpx
import pytest

from tests.e2e.merchant import Body, Merchant, answered, card, fresh_key, order, pointers, refused
from tests.support.eventually import eventually
from tests.support.witness import Witness

SLOW = {"sandbox_fault": "slow:2500"}
TRIES = 5


def is_replay_of(replay: httpx.Response, first: httpx.Response) -> None:
    """The same status, the same bytes, another request id."""
    assert replay.status_code == first.status_code, replay.text
    assert replay.content == first.content
    assert replay.headers["Content-Type"] == first.headers["Content-Type"]
    assert replay.headers.get("Location") == first.headers.get("Location")
    assert replay.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert replay.headers["Request-Id"] != first.headers["Request-Id"]


async def test_a_payment_is_replayed_byte_for_byte(shop: Merchant, witness: Witness) -> None:
    key = fresh_key()
    first = await shop.pay(key=key)
    await shop.refunded(answered(first, 201), amount=1)
    is_replay_of(await shop.pay(key=key), first)
    assert [entry[0] for entry in await witness.movements(first.json()["id"])] == [
        *("authorize", "capture", "refund")
    ]


async def test_a_decline_is_replayed_byte_for_byte(shop: Merchant, witness: Witness) -> None:
    key = fresh_key()
    first = await shop.pay(key=key, payment_method=card("4000000000009995"))
    refused(first, 402, "payment_declined")
    is_replay_of(await shop.pay(key=key, payment_method=card("4000000000009995")), first)
    assert len(await witness.requests(payment_reference=first.json()["payment"]["id"])) == 1


async def test_captures_voids_and_refunds_are_replayed_byte_for_byte(
    shop: Merchant, witness: Witness
) -> None:
    payment = await shop.authorized()
    keys = [fresh_key() for _ in range(3)]
    firsts = [
        await shop.capture(payment, {"amount": 500, "final": False}, key=keys[0]),
        await shop.refund(payment, {"amount": 100}, key=keys[1]),
        await shop.void(payment, key=keys[2]),
    ]
    assert [first.status_code for first in firsts] == [200, 201, 200]
    is_replay_of(await shop.capture(payment, {"amount": 500, "final": False}, key=keys[0]), firsts[0])
    is_replay_of(await shop.refund(payment, {"amount": 100}, key=keys[1]), firsts[1])
    is_replay_of(await shop.void(payment, key=keys[2]), firsts[2])
    assert [entry[0] for entry in await witness.movements(payment["id"])] == [
        *("authorize", "capture", "refund", "void")
    ]


async def test_a_refusal_is_the_stored_answer_even_when_the_state_has_changed(shop: Merchant) -> None:
    payment = await shop.authorized()
    too_much, too_early = fresh_key(), fresh_key()
    large = await shop.capture(payment, {"amount": 5000}, key=too_much)
    early = await shop.refund(payment, key=too_early)
    refused(large, 422, "amount_too_large")
    refused(early, 409, "payment_not_refundable")
    await shop.captured(payment)
    is_replay_of(await shop.refund(payment, key=too_early), early)
    is_replay_of(await shop.capture(payment, {"amount": 5000}, key=too_much), large)


async def test_another_request_with_the_key_is_refused_and_does_nothing(
    shop: Merchant, witness: Witness
) -> None:
    key = fresh_key()
    payment = answered(await shop.pay(key=key, capture_method="manual"), 201)
    refused(await shop.pay(key=key), 422, "idempotency_key_reused")
    refused(await shop.pay(key=key, capture_method="manual", amount=1100), 422, "idempotency_key_reused")
    refused(await shop.capture(payment, key=key), 422, "idempotency_key_reused")
    other_card = card("5555555555554444")
    again = await shop.pay(key=key, capture_method="manual", payment_method=other_card)
    refused(again, 422, "idempotency_key_reused")
    assert await witness.movements(payment["id"]) == [("authorize", 1099)]


async def test_the_same_key_on_another_payment_is_another_request(shop: Merchant) -> None:
    key = fresh_key()
    await shop.captured(await shop.authorized(), amount=1)
    first, second = await shop.authorized(), await shop.authorized()
    answered(await shop.capture(first, key=key), 200)
    refused(await shop.capture(second, key=key), 422, "idempotency_key_reused")
    assert (await shop.payment(second))["status"] == "authorized"


def spellings(body: Body) -> list[bytes]:
    """The same request, written differently."""
    reversed_members = json.dumps(dict(reversed(list(body.items()))), indent=3)
    escaped = json.dumps(body).replace("INR", "\\u0049NR")
    defaults = {**body, "capture_method": "automatic", "metadata": {}, "description": None}
    return [reversed_members.encode(), escaped.encode(), json.dumps(defaults).encode()]


@pytest.mark.parametrize("number", range(3))
async def test_a_request_is_compared_as_it_is_understood(shop: Merchant, number: int) -> None:
    key, body = fresh_key(), order()
    first = await shop.post("/v1/payments", body, key=key)
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    again = await shop.client.post("/v1/payments", content=spellings(body)[number], headers=headers)
    is_replay_of(again, first)


async def test_another_security_code_alone_is_the_same_request(shop: Merchant) -> None:
    key = fresh_key()
    first = await shop.pay(key=key, payment_method=card("4000000000000127"))
    is_replay_of(await shop.pay(key=key, payment_method=card("4000000000000127", cvc="999")), first)


async def test_another_wallet_token_alone_is_the_same_request(shop: Merchant, witness: Witness) -> None:
    key = fresh_key()
    first = await shop.pay(key=key, payment_method=_apple_pay("tok_ok"))
    is_replay_of(await shop.pay(key=key, payment_method=_apple_pay("tok_declined")), first)
    assert [entry[0] for entry in await witness.movements(first.json()["id"])] == ["authorize", "capture"]


def _apple_pay(token: str) -> Body:
    return {"type": "wallet", "wallet": {"provider": "apple_pay", "token": token}}


async def test_the_bare_and_the_quoted_form_are_one_key(shop: Merchant) -> None:
    key = fresh_key()
    first = await shop.pay(key=key)
    is_replay_of(await shop.pay(key=f'"{key}"'), first)


async def test_a_key_in_use_is_a_conflict_that_says_when_to_come_back(
    shop: Merchant, witness: Witness
) -> None:
    for _ in range(TRIES):
        key = fresh_key()
        first = await _under_way(shop, key, SLOW)
        conflict = await shop.pay(key=key, metadata=SLOW)
        refused(await shop.pay(key=key), 422, "idempotency_key_reused")
        waited = await shop.post("/v1/payments", order(metadata=SLOW), key=key, Prefer="wait=20")
        if conflict.status_code == 409 and (await first).status_code == 201:
            break
    refused(conflict, 409, "idempotency_key_in_use")
    assert int(conflict.headers["Retry-After"]) >= 1
    is_replay_of(waited, await first)
    assert (await first).json()["status"] == "captured"
    assert await witness.movements(waited.json()["id"]) == [("authorize", 1099), ("capture", 1099)]


async def test_waiting_ends_with_the_conflict_when_the_answer_takes_longer(shop: Merchant) -> None:
    slow = {"sandbox_fault": "slow:5000"}
    for _ in range(TRIES):
        key = fresh_key()
        first = await _under_way(shop, key, slow)
        waited = await shop.post("/v1/payments", order(metadata=slow), key=key, Prefer="wait=1")
        if waited.status_code == 409 and (await first).status_code == 201:
            break
    refused(waited, 409, "idempotency_key_in_use")
    answered(await first, 201)


async def _under_way(shop: Merchant, key: str, slow: Body) -> "asyncio.Task[httpx.Response]":
    """A slow create that has its key. Where the machine stands still, it may be answered before anybody looks."""
    first = asyncio.create_task(shop.pay(key=key, metadata=slow))

    async def in_use() -> bool:
        return bool((await shop.get("/v1/payments", idempotency_key=key)).json()["data"])

    await eventually(in_use)
    return first


async def test_a_202_is_not_stored_and_the_definite_answer_replaces_it(
    shop: Merchant, witness: Witness
) -> None:
    key, fault = fresh_key(), {"sandbox_fault": "error_after_charge"}
    first = await shop.pay(key=key, metadata=fault)
    payment = answered(first, 202)
    again = await shop.pay(key=key, metadata=fault)
    assert again.status_code in (201, 202)
    assert (again.status_code == 202) == ("Idempotent-Replayed" not in again.headers)
    await shop.settled(payment)
    definite = await shop.pay(key=key, metadata=fault)
    assert answered(definite, 201)["status"] == "captured"
    assert definite.headers["Idempotent-Replayed"] == "true"
    assert (await shop.pay(key=key, metadata=fault)).content == definite.content
    assert await witness.movements(payment["id"]) == [("authorize", 1099), ("capture", 1099)]


async def test_an_acquirer_slower_than_our_patience_is_202_and_then_the_outcome(
    shop: Merchant, witness: Witness
) -> None:
    slow = {"sandbox_fault": "slow:9000"}
    for _ in range(TRIES):  # where the machine stands still for a second, the outcome is there first
        key = fresh_key()
        first = await shop.pay(key=key, metadata=slow)
        if first.status_code == 202:
            break
    payment = answered(first, 202)
    assert payment["status"] == "processing"
    definite = await shop.post("/v1/payments", order(metadata=slow), key=key, Prefer="wait=30")
    assert answered(definite, 201)["status"] == "captured"
    assert definite.headers["Idempotent-Replayed"] == "true"
    assert await shop.timeline(payment) == ["payment.processing", "payment.authorized", "payment.captured"]
    assert await witness.movements(payment["id"]) == [("authorize", 1099), ("capture", 1099)]


async def test_parallel_requests_with_one_key_move_money_once(shop: Merchant, witness: Witness) -> None:
    key = fresh_key()
    answers = await asyncio.gather(*(shop.pay(key=key) for _ in range(20)))
    done = [answer for answer in answers if answer.status_code == 201]
    assert done
    for answer in answers:
        if answer.status_code != 201:
            refused(answer, 409, "idempotency_key_in_use")
    assert len({answer.content for answer in done}) == 1
    assert await witness.movements(done[0].json()["id"]) == [("authorize", 1099), ("capture", 1099)]


async def test_a_request_that_was_not_understood_uses_no_key_up(shop: Merchant) -> None:
    key = fresh_key()
    assert pointers(refused(await shop.pay(key=key, amount=0), 400, "invalid_request")) == {"/amount"}
    refused(await shop.pay(key=key, payment_method=card("4242424242424241")), 400, "invalid_card_number")
    refused(
        await shop.pay(
            key=key, capture_method="manual", payment_method={"type": "upi", "upi": {"flow": "qr"}}
        ),
        422,
        "capture_method_not_supported",
    )
    assert answered(await shop.pay(key=key), 201)["status"] == "captured"


async def test_a_key_belongs_to_the_merchant_and_not_to_the_api_key(
    shop: Merchant, same_shop: Merchant, other_shop: Merchant
) -> None:
    key = fresh_key()
    first = await shop.pay(key=key)
    is_replay_of(await same_shop.pay(key=key), first)
    others = await other_shop.pay(key=key)
    assert answered(others, 201)["id"] != first.json()["id"]
    assert "Idempotent-Replayed" not in others.headers


async def test_a_live_key_opens_nothing_where_live_payments_are_not_served(
    shop: Merchant, live_shop: Merchant
) -> None:
    payment = await shop.paid()
    refused(await live_shop.get(f"/v1/payments/{payment['id']}"), 401, "unauthenticated")
    refused(await live_shop.pay(), 401, "unauthenticated")


@pytest.mark.parametrize("path", ["", "/capture", "/void", "/refunds"])
@pytest.mark.parametrize("missing", [None, "", '""'])
async def test_every_post_needs_a_key(shop: Merchant, path: str, missing: str | None) -> None:
    headers = {} if missing is None else {"Idempotency-Key": missing}
    url = f"/v1/payments/pay_nothing{path}" if path else "/v1/payments"
    refused(await shop.client.post(url, json=order(), headers=headers), 400, "idempotency_key_missing")


async def test_a_webhook_endpoint_needs_a_key_too(shop: Merchant) -> None:
    answer = await shop.client.post("/v1/webhook_endpoints", json={"url": "https://shop.example/hooks"})
    refused(answer, 400, "idempotency_key_missing")


@pytest.mark.parametrize("key", ["a,b", '"a', 'a"', "a b", "k" * 256, "clé", '"a" b', "4242424242424242"])
async def test_a_key_that_is_not_in_the_stated_form_is_refused(shop: Merchant, key: str) -> None:
    headers = [(b"Idempotency-Key", key.encode())]
    refused(
        await shop.client.post("/v1/payments", json=order(), headers=headers), 400, "idempotency_key_invalid"
    )


async def test_two_keys_in_one_request_are_refused(shop: Merchant) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    refused(
        await shop.client.post("/v1/payments", json=order(), headers=headers), 400, "idempotency_key_invalid"
    )


@pytest.mark.parametrize("key", ["k" * 255, "!#$%&'()*+-./:;<=>?@[]^_`{|}~"])
async def test_a_key_may_have_every_visible_character(shop: Merchant, key: str) -> None:
    first = await shop.pay(key=key)
    is_replay_of(await shop.pay(key=key), first)

"""While the standby is away nothing new is promised, reads go on, and whoever was refused goes on afterwards."""

import asyncio
import json

import httpx
import pytest

from devstack.stack import DevStack
from tests.faults.books import at_rest
from tests.faults.deeds import AUTOMATIC, REFUND, VOID, Deed
from tests.faults.shop import Json, Shop, new_payment, patiently
from tests.pair.conftest import POOL_SIZE
from tests.pair.scenes import done_once, stopped
from tests.support.metrics import metrics_of
from tests.support.pair import Pair
from tests.support.witness import Witness
from tests.webhooks.receiver import Receiver, receiving

AWAY_S = 8.0  # longer than a request's transaction may last, and than a claim's time to send
SEEN_AFTER_S = 1.5  # a COMMIT that waits longer than 1 s has closed the gate
CREATES = 2 * POOL_SIZE
UNANSWERED = 504
_ANSWERED_HERE = "SELECT 1 FROM idempotency_keys WHERE key = %s AND answered_at IS NOT NULL"
CARD_DECLINED: Json = {**new_payment()["payment_method"]["card"], "number": "4000000000000002"}
DECLINED = Deed(
    *("declined", "authorize", 402, [], []),
    members={"payment_method": {"type": "card", "card": CARD_DECLINED}},
)


async def test_whoever_was_refused_while_the_standby_was_away_goes_on_when_it_is_back(
    pair: Pair, shop: Shop, ledger: Witness
) -> None:
    changes = [await deed.prepare(shop) for deed in (VOID, REFUND)]
    creates = [await AUTOMATIC.prepare(shop) for _ in range(CREATES)]
    pair.silence_standby()
    first = asyncio.gather(*(one.send(shop) for one in (*changes, *creates)))
    await pair.waits_with("idempotency_keys", for_s=AWAY_S)
    refusals = await first
    stranded = await pair.commit_waits_with("idempotency_keys")
    assert 0 < len(stranded) <= POOL_SIZE
    refusals += [await one.send(shop) for one in (*changes, *creates)]
    for response in refusals:
        assert response is not None
        assert response.status_code in (409, 503, 504), response.text
    assert set(await pair.commit_waits_with("idempotency_keys")) == set(stranded), "nothing more was begun"
    for one in creates:
        assert await ledger.movements(one.payment_id) == []
    await pair.return_standby()
    await done_once(shop, ledger, (*changes, *creates))


async def test_a_process_without_its_standby_answers_what_is_known_and_begins_nothing(
    pair: Pair, city: DevStack, shop: Shop, ledger: Witness
) -> None:
    key = shop.key("answered")
    answered = await shop.answered("/v1/payments", new_payment(), key=key)
    async with stopped(city, shop, "before_send", AUTOMATIC) as (doomed, (held,), _):
        await pair.lose_standby()
        await patiently(lambda: gate_is_closed(city), within_s=60.0)
        waits = await pair.commit_waits_with("idempotency_keys")
        new = [await AUTOMATIC.prepare(shop) for _ in range(CREATES)]
        for response in await asyncio.gather(*(one.send(shop) for one in new)):
            refused(response, UNANSWERED, "outcome_unknown")
        refused(await held.send(shop), 409, "idempotency_key_in_use")
        replay = await shop.post("/v1/payments", new_payment(), key=key)
        assert replay is not None
        assert (replay.status_code, replay.content) == (answered.status_code, answered.content)
        payment = answered.json()
        assert await shop.payment(payment["id"]) == payment, "reads go on"
        assert await pair.commit_waits_with("idempotency_keys") == waits, "nothing was begun"
        for one in new:
            assert await ledger.requests(payment_reference=one.payment_id) == []
        await pair.return_standby()
        doomed.service.resume()
        await done_once(shop, ledger, new)
        await held.answered(shop)
        await at_rest(shop, ledger, held.payment_id)


@pytest.mark.parametrize("deed", [AUTOMATIC, DECLINED], ids=lambda deed: deed.name)
async def test_an_answer_that_was_recorded_and_not_proven_is_not_given(
    pair: Pair, city: DevStack, shop: Shop, ledger: Witness, deed: Deed
) -> None:
    """Not by the process that recorded it, nor by one that has lost no COMMIT yet, nor to who waits for it."""
    async with stopped(city, shop, "after_send", deed) as (doomed, (asked,), first):
        pair.silence_standby()
        doomed.service.resume()
        await pair.waits_with("attempts")
        await pair.cancel_commit_waits()
        await patiently(lambda: is_answered_here(pair, asked.key), within_s=60.0)
        there = await shop.at(doomed.url).post(asked.path, asked.body, key=asked.key)
        here, waiting = await asyncio.gather(
            asked.send(shop), shop.post(asked.path, asked.body, key=asked.key, prefer="wait=3")
        )
        for response in (there, here, waiting):
            assert response is not None
            assert response.status_code in (409, 504), response.text
        await pair.fail_over()
        for response in await first:
            assert response is not None
        response = await asked.answered(shop)
        assert response.status_code == deed.status, response.text
        books = await at_rest(shop, ledger, asked.payment_id)
        assert books.movements == deed.moves


async def test_no_event_is_delivered_that_a_fail_over_forgets(
    pair: Pair, city: DevStack, shop: Shop, ledger: Witness
) -> None:
    async with receiving() as receiver:
        await shop.answered("/v1/webhook_endpoints", {"url": receiver.url}, key=shop.key("endpoint"))
        async with stopped(city, shop, "after_send", AUTOMATIC) as (doomed, (asked,), _):
            pair.silence_standby()
            doomed.service.resume()
            await pair.waits_with("webhook_deliveries")
            await pair.cancel_commit_waits()
            await patiently(lambda: is_answered_here(pair, asked.key), within_s=60.0)
            await asked.send(shop)
            await pair.fail_over()
            await done_once(shop, ledger, (asked,))
        events = await shop.events(asked.payment_id)
        delivered = await patiently(
            lambda: delivered_all(receiver, asked.payment_id, len(events)), within_s=60.0
        )
        assert delivered == {event["id"] for event in events}


async def delivered_all(receiver: Receiver, payment_id: str, number: int) -> set[str] | None:
    """The ids of all events of the payment that were delivered, once there are so many."""
    about = [one for one in receiver.received if json.loads(one.body)["data"]["id"] == payment_id]
    ids = {one.headers["webhook-id"] for one in about}
    return ids if len(ids) >= number else None


def refused(response: httpx.Response | None, status: int, code: str) -> None:
    """It says so, and when to ask again."""
    assert response is not None
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert int(response.headers["retry-after"]) > 0


async def gate_is_closed(city: DevStack) -> bool:
    """As the API's metrics say."""
    return "payonce_gate_closed 1.0" in await metrics_of(city, "api")


async def is_answered_here(pair: Pair, key: str) -> bool:
    """As the primary shows it."""
    return bool(await pair.primary.rows(_ANSWERED_HERE, (key,), database="payonce"))

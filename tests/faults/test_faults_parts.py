"""A part is killed, or stands still, in the middle: every answer stays right, and no event is lost."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
import redis.asyncio

from devstack.stack import DevStack
from tests.faults.books import at_rest
from tests.faults.deeds import DEEDS, Asked
from tests.faults.load import under_load
from tests.faults.shop import Shop
from tests.support.witness import Witness
from tests.webhooks.receiver import Receiver, receiving

PRODUCT = ("api", "api-2", "worker", "relay")
FLUSHES = 20


@pytest.fixture(scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running


@pytest.fixture(scope="module")
async def hooks(shop: Shop, receiver: Receiver) -> Receiver:
    """The shop's endpoint: every event of every payment from now on is delivered to it."""
    body = {"url": receiver.url.partition("?")[0]}
    response = await shop.answered("/v1/webhook_endpoints", body, key=shop.key("endpoint"))
    assert response.status_code == 201, response.text
    return receiver


async def test_while_temporal_is_dead_creates_are_given_back_and_changes_accepted(
    city: DevStack, shop: Shop, ledger: Witness
) -> None:
    asked = [await deed.prepare(shop) for deed in DEEDS]
    await city.kill("temporal")
    try:
        await check_first_answers(shop, asked)
    finally:
        await city.start("temporal")
    await check_all_are_done(shop, ledger, asked)


async def test_while_temporal_stands_still_creates_are_given_back_and_changes_accepted(
    city: DevStack, shop: Shop, ledger: Witness
) -> None:
    asked = [await deed.prepare(shop) for deed in DEEDS]
    city.pause("temporal")
    try:
        await check_first_answers(shop, asked)
    finally:
        city.resume("temporal")
    await check_all_are_done(shop, ledger, asked)


async def test_while_the_acquirer_is_dead_creates_are_given_back_and_changes_accepted(
    bank: DevStack, shop: Shop, ledger: Witness
) -> None:
    asked = [await deed.prepare(shop) for deed in DEEDS]
    await bank.kill("acquirer")
    try:
        await check_first_answers(shop, asked)
    finally:
        await bank.start("acquirer")
    await check_all_are_done(shop, ledger, asked)


async def test_an_acquirer_that_stands_still_leaves_everything_unknown_until_it_goes_on(
    bank: DevStack, shop: Shop, ledger: Witness
) -> None:
    asked = [await deed.prepare(shop) for deed in DEEDS]
    bank.pause("acquirer")
    try:
        for response in await asyncio.gather(*(one.admitted(shop) for one in asked)):
            assert response.status_code == 202, response.text
    finally:
        bank.resume("acquirer")
    for one in asked:
        await one.answered(shop)
        await at_rest(shop, ledger, one.payment_id)


async def test_while_postgres_is_dead_nothing_is_admitted(
    city: DevStack, shop: Shop, ledger: Witness
) -> None:
    asked = [await deed.prepare(shop) for deed in DEEDS]
    await city.kill("postgres")
    try:
        await check_nothing_is_admitted(shop, asked)
    finally:
        await city.start("postgres")
    await check_all_are_done(shop, ledger, asked)


async def test_while_postgres_stands_still_nothing_is_admitted(
    city: DevStack, shop: Shop, ledger: Witness
) -> None:
    asked = [await deed.prepare(shop) for deed in DEEDS]
    city.pause("postgres")
    try:
        await check_nothing_is_admitted(shop, asked)
    finally:
        city.resume("postgres")
    await check_all_are_done(shop, ledger, asked)


async def test_unknown_outcomes_are_resolved_though_every_process_of_the_product_is_killed(
    city: DevStack, shop: Shop, ledger: Witness
) -> None:
    asked = [
        await deed.prepare(shop, metadata={"sandbox_fault": f"{deed.kind}:error_after_charge"})
        for deed in DEEDS
    ]
    for response in await asyncio.gather(*(one.admitted(shop) for one in asked)):
        assert response.status_code == 202, response.text
    await asyncio.gather(*(city.kill(name) for name in PRODUCT))
    await asyncio.gather(*(city.start(name) for name in PRODUCT))
    await check_all_are_done(shop, ledger, asked)


async def test_while_redis_is_dead_everything_is_done_at_once(
    city: DevStack, shop: Shop, ledger: Witness
) -> None:
    await city.kill("redis")
    try:
        asked = [await deed.prepare(shop) for deed in DEEDS]
        for one in asked:
            response = await one.send(shop)
            assert response is not None
            one.check_done(response, await at_rest(shop, ledger, one.payment_id))
    finally:
        await city.start("redis")


@pytest.mark.parametrize("part", ["postgres", "redis", "temporal", "worker", "relay", "api-2"])
async def test_a_part_that_is_killed_under_load_and_comes_back_leaves_all_books_right(
    city: DevStack, shop: Shop, ledger: Witness, hooks: Receiver, part: str
) -> None:
    async with under_load(shop, ledger, hooks):
        await city.restart(part)


async def test_an_acquirer_that_is_killed_under_load_and_comes_back_leaves_all_books_right(
    bank: DevStack, shop: Shop, ledger: Witness, hooks: Receiver
) -> None:
    async with under_load(shop, ledger, hooks):
        await bank.restart("acquirer")


async def test_a_redis_that_is_flushed_under_load_changes_nothing(
    city: DevStack, shop: Shop, ledger: Witness, hooks: Receiver
) -> None:
    async with under_load(shop, ledger, hooks) as load, redis.asyncio.from_url(city.redis_url) as client:
        for _ in range(FLUSHES):
            await client.flushall()
            await asyncio.sleep(0)
        await load.goes_on()


async def check_nothing_is_admitted(shop: Shop, asked: list[Asked]) -> None:
    """Every request is answered, with 504: its key could not be read."""
    for response in await asyncio.gather(*(one.send(shop) for one in asked)):
        assert response is not None
        assert (response.status_code, response.json()["code"]) == (504, "outcome_unknown")


async def check_first_answers(shop: Shop, asked: list[Asked]) -> None:
    """A create is refused with 503 and its key stays good; a change is admitted, and pending."""
    responses = await asyncio.gather(*(one.send(shop) for one in asked))
    for one, response in zip(asked, responses, strict=True):
        assert response is not None
        check_first_answer(one, response)


def check_first_answer(one: Asked, response: httpx.Response) -> None:
    kind, said = one.deed.kind, response.json()
    if kind == "authorize":
        assert (response.status_code, said["code"]) == (503, "unavailable")
        return
    assert response.status_code == 202, response.text
    if kind == "refund":
        assert said["status"] == "pending"
    else:
        assert said["pending_operation"]["type"] == kind


async def check_all_are_done(shop: Shop, ledger: Witness, asked: list[Asked]) -> None:
    """The same requests with the same keys: each is done, once."""
    responses = await asyncio.gather(*(one.answered(shop) for one in asked))
    for one, response in zip(asked, responses, strict=True):
        one.check_done(response, await at_rest(shop, ledger, one.payment_id))

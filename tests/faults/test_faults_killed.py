"""The API process is killed (SIGKILL) at every point of an attempt; the merchant asks again with the same key."""

import asyncio
from collections.abc import AsyncIterator
from typing import get_args

import httpx
import pytest

from devstack.stack import DevStack
from tests.faults import deeds
from tests.faults.arming import Point, doomed_api
from tests.faults.books import Books, at_rest
from tests.faults.deeds import DEEDS, Asked, Deed
from tests.faults.shop import Shop
from tests.support.witness import Witness

Ended = tuple[Asked, httpx.Response, Books]
Killed = dict[tuple[str, str], "asyncio.Task[Ended]"]

POINTS: tuple[Point, ...] = ("admitted", "before_claim", "before_send", "after_send", "after_record")
SENT = ("after_send", "after_record")
BY_NAME = pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.name)


@pytest.fixture(scope="module")
async def killed(city: DevStack, shop: Shop, ledger: Witness) -> AsyncIterator[Killed]:
    """What became of each deed whose process was killed at each point; all at once, since most of it is waiting."""
    tasks: Killed = {}
    reached = {point: asyncio.create_task(_kill_at(city, shop, point)) for point in POINTS}
    for point in POINTS:
        for deed in DEEDS:
            ending = _end(shop, ledger, reached[point], deed)
            tasks[point, deed.name] = asyncio.create_task(ending)
    yield tasks
    for task in (*tasks.values(), *reached.values()):
        task.cancel()
    await asyncio.gather(*tasks.values(), *reached.values(), return_exceptions=True)


async def _kill_at(city: DevStack, shop: Shop, point: Point) -> dict[str, Asked]:
    """One request of each kind has reached the point in one process, and the process is dead."""
    async with doomed_api(city, name=point) as doomed:
        there = shop.at(doomed.url)
        asked = [await deed.prepare(there) for deed in DEEDS]
        for one in asked:
            doomed.arm(one.deed.kind, point, one.payment_id, action="kill", together=len(asked))
        await asyncio.gather(*(one.send(there) for one in asked))
        for one in asked:
            await doomed.reached(one.deed.kind, point, one.payment_id)
    return {one.deed.name: one for one in asked}


async def _end(shop: Shop, ledger: Witness, reached: "asyncio.Task[dict[str, Asked]]", deed: Deed) -> Ended:
    asked = (await reached)[deed.name]
    response = await asked.answered(shop)
    return asked, response, await at_rest(shop, ledger, asked.payment_id)


@BY_NAME
@pytest.mark.parametrize("point", SENT)
async def test_what_was_sent_before_the_kill_is_done_once(killed: Killed, point: str, deed: Deed) -> None:
    asked, response, books = await killed[point, deed.name]
    asked.check_done(response, books)


@BY_NAME
async def test_what_was_claimed_and_not_sent_before_the_kill_fails_and_says_so(
    killed: Killed, deed: Deed
) -> None:
    asked, response, books = await killed["before_send", deed.name]
    code = "card_data_lost" if deed.kind == "authorize" else "not_processed"
    asked.check_undone(response, books, code=code)


@BY_NAME
@pytest.mark.parametrize("point", ["admitted", "before_claim"])
async def test_what_was_admitted_before_the_kill_is_carried_out_by_others_unless_the_card_died(
    killed: Killed, point: str, deed: Deed
) -> None:
    asked, response, books = await killed[point, deed.name]
    if deed.kind == "authorize":
        asked.check_undone(response, books, code="card_data_lost")
    else:
        asked.check_done(response, books)


@BY_NAME
@pytest.mark.parametrize("point", POINTS)
async def test_the_answer_after_a_kill_is_replayed_byte_for_byte(
    shop: Shop, killed: Killed, point: str, deed: Deed
) -> None:
    asked, response, _books = await killed[point, deed.name]
    again = await asked.answered(shop)
    assert (again.status_code, again.content) == (response.status_code, response.content)
    assert again.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("deed", [deeds.CAPTURE, deeds.VOID, deeds.REFUND], ids=lambda deed: deed.name)
async def test_a_new_key_does_what_the_killed_one_could_not(
    shop: Shop, ledger: Witness, killed: Killed, deed: Deed
) -> None:
    asked, _response, _books = await killed["before_send", deed.name]
    response = await shop.answered(asked.path, asked.body, key=shop.key("again"))
    asked.check_done(response, await at_rest(shop, ledger, asked.payment_id))


def test_every_point_is_killed_at() -> None:
    assert set(get_args(Point)) - set(POINTS) == {"handed_over", "after_check"}  # see the next module

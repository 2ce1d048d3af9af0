"""What the tests on the pair have in common: requests that stand still at a point, and money that moved once."""

from asyncio import gather
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager

import httpx

from devstack.stack import DevStack
from tests.faults.arming import Doomed, Point, doomed_api
from tests.faults.books import at_rest
from tests.faults.deeds import AUTHORIZED, Asked, Deed
from tests.faults.shop import WITHIN_S, Shop
from tests.support.witness import Witness

AMOUNT = 7777
PART_OF_IT = {"amount": 300, "final": False}  # so that the acquirer would take it a second time
PART = Deed("part", "capture", 200, AUTHORIZED, ["capture"], path="capture", members=PART_OF_IT)

Answers = Awaitable[list[httpx.Response | None]]


@asynccontextmanager
async def under_way(*requests: Awaitable[httpx.Response | None]) -> AsyncIterator[Answers]:
    """The requests are under way during the block; afterwards each has its answer, or none."""
    answers = gather(*requests)
    try:
        yield answers
    finally:
        await answers


@asynccontextmanager
async def stopped(
    city: DevStack, shop: Shop, point: Point, *deeds: Deed
) -> AsyncIterator[tuple[Doomed, list[Asked], Answers]]:
    """An API process of its own that stands still at this point of all the deeds, which it was asked for."""
    async with doomed_api(city, name=point) as doomed:
        there = shop.at(doomed.url)
        asked = [await deed.prepare(there) for deed in deeds]
        for one in asked:
            doomed.arm(one.deed.kind, point, one.payment_id, action="stop", together=len(asked))
        async with under_way(*(one.send(there) for one in asked)) as answers:
            for one in asked:
                await doomed.reached(one.deed.kind, point, one.payment_id)
            yield doomed, asked, answers


async def done_once(
    shop: Shop, ledger: Witness, asked: Sequence[Asked], *, within_s: float = WITHIN_S
) -> None:
    """Each was answered with success, and moved money once."""
    for one in asked:
        response = await shop.answered(one.path, one.body, key=one.key, within_s=within_s)
        one.check_done(response, await at_rest(shop, ledger, one.payment_id))

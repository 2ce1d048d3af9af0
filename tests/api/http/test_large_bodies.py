"""Large bodies have turns: what a merchant sends costs others a part of the event loop, and never all of it."""

import asyncio
from contextlib import AsyncExitStack

import httpx
import pytest

from api.http import large_bodies
from api.http.large_bodies import SMALL_BYTES, WAITING_MAX, LargeBodies
from api.http.rate_limits import TooManyRequests
from payonce.storage.merchants import Caller
from tests.api.conftest import Merchant
from tests.api.fakes import payment_body

LARGE = SMALL_BYTES + 1
ONE, OTHER = Caller("mer_1", "test"), Caller("mer_2", "test")


class Understanding:
    """Tasks with a large body each, and the order in which they had their turns."""

    def __init__(self) -> None:
        self.bodies = LargeBodies()
        self.order: list[str] = []

    async def one(self, caller: Caller, size: int = LARGE) -> None:
        async with self.bodies.one(caller, size):
            self.order.append(caller.merchant_id)


async def test_another_merchants_body_comes_next_however_many_the_first_one_sends() -> None:
    here = Understanding()
    tasks = [asyncio.create_task(here.one(ONE)) for _ in range(WAITING_MAX)]
    await asyncio.sleep(0)
    await asyncio.gather(*tasks, here.one(OTHER))
    assert here.order.index("mer_2") <= 2
    assert len(here.order) == WAITING_MAX + 1


async def test_between_two_large_bodies_the_loop_turns() -> None:
    """So that what is small, and who pays, goes on."""
    here, small = Understanding(), []

    async def turning() -> None:
        while len(here.order) < WAITING_MAX:
            small.append(len(here.order))
            await asyncio.sleep(0)

    await asyncio.gather(*(here.one(ONE) for _ in range(WAITING_MAX)), turning())
    assert set(range(1, WAITING_MAX)) <= set(small)


async def test_a_small_body_has_no_turn_to_wait_for() -> None:
    here = Understanding()
    async with here.bodies.one(ONE, LARGE):
        await here.one(ONE, SMALL_BYTES)
    assert here.order == ["mer_1"]


async def test_more_than_may_wait_are_refused_and_those_who_left_leave_room() -> None:
    here = Understanding()
    async with AsyncExitStack() as exits:
        await exits.enter_async_context(here.bodies.one(ONE, LARGE))
        waiting = [asyncio.create_task(here.one(ONE)) for _ in range(WAITING_MAX - 1)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyRequests):
            await here.one(ONE)
        waiting[0].cancel()
        await asyncio.gather(waiting[0], return_exceptions=True)
        waiting[0] = asyncio.create_task(here.one(ONE))
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert len(here.order) == WAITING_MAX - 1
    await here.one(ONE)


async def test_a_body_whose_turn_does_not_come_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_bodies, "WAIT_S", 0.0)
    here = Understanding()
    async with here.bodies.one(OTHER, LARGE):
        with pytest.raises(TooManyRequests):
            await here.one(ONE)
    monkeypatch.undo()
    await here.one(ONE)
    assert here.order == ["mer_1"]


async def test_a_merchants_large_bodies_are_refused_where_too_many_wait(
    client: httpx.AsyncClient, merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_bodies, "WAITING_MAX", 0)
    body = payment_body(description="4 " * 250, metadata={"a": "4 " * 250, "b": "4 " * 250})
    headers = {**merchant.headers, "Idempotency-Key": "large"}
    answer = await client.post("/v1/payments", json=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert answer.headers["retry-after"]
    small = await client.post("/v1/payments", json=payment_body(), headers=headers)
    assert small.status_code == 201

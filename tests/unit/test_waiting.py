"""Waiting for an event that may come at the very moment of the time-out."""

import asyncio

import pytest

from payonce.waiting import first
from payonce.wakeups import Waiter


async def test_what_is_set_once_the_time_out_has_come_counts() -> None:
    event, loop = asyncio.Event(), asyncio.get_running_loop()
    waiting = asyncio.create_task(first(event, timeout_s=0.01))
    await asyncio.sleep(0)
    loop.call_at(
        loop.time() + 0.01, event.set
    )  # in the turn of the loop in which the time-out comes, after it
    loop.call_later(0.001, _stand_still, loop.time() + 0.05)
    assert await waiting
    assert event.is_set()


async def test_a_waiter_does_not_lose_a_wake_up_in_the_moment_of_its_time_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiter, real = Waiter(), asyncio.Event.wait

    async def wait(event: asyncio.Event) -> bool:
        try:
            return await real(event)
        except asyncio.CancelledError:
            event.set()  # by what ran between the time-out and this
            raise

    monkeypatch.setattr(asyncio.Event, "wait", wait)
    assert await waiter.wait(timeout_s=0.001)
    assert not waiter.event.is_set()


async def test_what_is_never_set_ends_with_the_time_out() -> None:
    assert not await first(asyncio.Event(), timeout_s=0.001)


def _stand_still(until: float) -> None:
    loop = asyncio.get_event_loop()
    while loop.time() < until:
        pass

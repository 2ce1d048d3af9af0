"""Waiting that ends in time, and pauses that grow."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress


async def first(event: asyncio.Event, *, timeout_s: float) -> bool:
    """Whether the event was set: it returns once it is, or at the time-out.

    Also where it was set after the time-out had come and before the caller went on: one who clears it then and looks
    only when told would lose that.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            return await event.wait()
    return event.is_set()


def back_off_s(pauses_s: Sequence[float], *, failures: int) -> float:
    """The pause after a failure that comes after `failures` others: the last one of these from then on."""
    return pauses_s[min(failures, len(pauses_s) - 1)]

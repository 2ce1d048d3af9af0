"""Waiting that ends in time."""

import asyncio
from contextlib import suppress


async def first(event: asyncio.Event, *, timeout_s: float) -> None:
    """Returns when the event is set, or after the time-out."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()

"""Waiting for what happens in another process, with a deadline and no fixed sleep."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
POLL_S = 0.02
# Whoever has waited for long looks less often: each look is work for what it waits for.
POLL_S_MAX, OF_WAITED = 0.25, 0.05


async def eventually(check: Callable[[], Awaitable[T]], timeout_s: float = 60.0) -> T:
    """The first true value that `check` gives; it may also say "not yet" with an AssertionError.

    Raises that AssertionError, or one that shows the last value, once `timeout_s` has passed.
    """
    began = time.monotonic()
    while True:
        try:
            value = await check()
            if value:
                return value
            failure = AssertionError(f"still {value!r} after {timeout_s:g} s")
        except AssertionError as error:
            failure = error
        waited_s = time.monotonic() - began
        if waited_s > timeout_s:
            raise failure
        await asyncio.sleep(min(max(POLL_S, waited_s * OF_WAITED), POLL_S_MAX))

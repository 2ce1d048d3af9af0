"""What the contract tells a merchant to do where a request has no answer yet: the same key again."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import httpx

ASK_AGAIN_S = 0.25
ANSWERED_WITHIN_S = 90.0  # an unknown outcome is resolved within 60 s

Ask = Callable[[], Awaitable[httpx.Response]]


def is_definite(response: httpx.Response) -> bool:
    """Whether the contract stores this answer. Everything that is no answer yet is one of the known ones."""
    status = response.status_code
    if status in (202, 429, 503, 504):
        return False
    code = response.json().get("code") if status >= 400 else None
    if code in ("idempotency_key_in_use", "operation_in_progress"):
        return False
    assert status < 500, response.text
    return True


async def said(ask: Ask) -> httpx.Response:
    """What is said once storage answers: 429, 503 and 504 are what a machine that stands still gets."""
    return await _first(ask, lambda response: response.status_code not in (429, 503, 504))


async def outcome(ask: Ask) -> httpx.Response:
    """The answer that is kept. `ask` sends the same request with the same key each time."""
    return await _first(ask, is_definite)


async def _first(ask: Ask, fits: Callable[[httpx.Response], bool]) -> httpx.Response:
    """The first answer that fits, or the last one that did not within the time."""
    deadline = time.monotonic() + ANSWERED_WITHIN_S
    while True:
        response = await ask()
        if fits(response) or time.monotonic() > deadline:
            return response
        await asyncio.sleep(ASK_AGAIN_S)

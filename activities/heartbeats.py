"""Heartbeats: a process that stands still loses its activity within seconds, not at the activity's time-out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from temporalio import activity

from activities.options import HEARTBEAT_EVERY_S

Self = TypeVar("Self")
P = ParamSpec("P")
T = TypeVar("T")


@asynccontextmanager
async def heartbeats() -> AsyncIterator[None]:
    """A regular activity heartbeats while the block runs; a local one has no heartbeat."""
    if activity.info().is_local:
        yield
        return
    task = asyncio.create_task(_heartbeat())
    try:
        yield
    finally:
        task.cancel()


def heartbeating(
    run: Callable[Concatenate[Self, P], Awaitable[T]],
) -> Callable[Concatenate[Self, P], Awaitable[T]]:
    """The activity heartbeats for as long as it runs."""

    @wraps(run)
    async def beating(self: Self, /, *arguments: P.args, **named: P.kwargs) -> T:
        async with heartbeats():
            return await run(self, *arguments, **named)

    return beating


async def _heartbeat() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(HEARTBEAT_EVERY_S)

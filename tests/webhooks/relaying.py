"""Relays in this process, which a test stops or lets crash."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from payonce.storage.driver.database import Database
from payonce.webhooks.attempt import Sender
from payonce.webhooks.secrets import SigningSecrets
from tests.webhooks.shop import SEALER
from workers.webhooks.relay import Relay
from workers.webhooks.slots import Limits

SECRETS = SigningSecrets(SEALER)
SENDER = Sender(allow_loopback=True, secrets=SECRETS)


@dataclass
class RunningRelay:
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None

    async def end(self) -> None:
        """It was asked to stop, and did."""
        assert self.task is not None
        self.stop.set()
        async with asyncio.timeout(60):
            await self.task

    async def crash(self) -> None:
        """It is gone without another statement: nothing was recorded or given back."""
        assert self.task is not None
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


@asynccontextmanager
async def relaying(
    database: Database, *, sender: Sender = SENDER, limits: Limits | None = None
) -> AsyncIterator[RunningRelay]:
    """A relay works while the block runs."""
    running = RunningRelay()
    relay = Relay(database, sender, limits=limits)
    running.task = asyncio.create_task(relay.run(running.stop, heard=running.heard))
    try:
        yield running
    finally:
        if not running.task.done():
            await running.end()

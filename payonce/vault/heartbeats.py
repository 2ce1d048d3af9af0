"""Each process that saves or opens cards says, again and again, with which key it wraps.

By that a rotation knows whether an old key is still in use somewhere.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from payonce.domain.errors import PaymentError
from payonce.logging import get_logger
from payonce.metrics import Rounds
from payonce.storage.driver.database import Database
from payonce.vault import doors
from payonce.vault.keys import VaultUnavailable
from payonce.vault.saving import Vault

EVERY_S: Final = 20.0
GONE_AFTER_S: Final = 120  # a process that was silent for so long has died

log = get_logger(__name__)


class Heartbeats:
    """Those of one process, by its id of this boot."""

    def __init__(self, database: Database, vault: Vault, *, owner: str, kind: str) -> None:
        self._database = database
        self._vault = vault
        self._owner = owner
        self._name = f"{kind} on {socket.gethostname()}, pid {os.getpid()}"
        self._key_id: str | None = None

    async def beat(self) -> None:
        """Postgres knows with which key this process wraps now. Raises what storage raises.

        While the key server is away it is the key of before; one that never answered is told of by nobody.
        """
        try:
            self._key_id = await self._vault.keys.newest()
        except VaultUnavailable:
            if self._key_id is None:
                return
        async with self._database.transaction() as connection:
            may_wrap = await doors.beat(connection, owner=self._owner, name=self._name, key_id=self._key_id)
        if not may_wrap:
            log.error("vault_key_retired", key_id=self._key_id)  # it saves no card: its settings are old

    async def leave(self) -> None:
        """The process is not counted any more. Raises what storage raises."""
        async with self._database.transaction() as connection:
            await doors.left(connection, owner=self._owner)

    @asynccontextmanager
    async def going(self) -> AsyncIterator[None]:
        """The process is counted while the block runs."""
        await self._surviving()
        task = asyncio.create_task(self._go_on())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
            await self._surviving(leaving=True)

    async def _go_on(self) -> None:
        rounds = Rounds("vault_heartbeat")
        while True:
            await asyncio.sleep(EVERY_S)
            if await self._surviving():
                rounds.ended()

    async def _surviving(self, *, leaving: bool = False) -> bool:
        """Whether Postgres was told."""
        try:
            await (self.leave() if leaving else self.beat())
            return True
        except PaymentError as error:
            log.warning("vault_heartbeat_failed", error=error.code)
        except Exception as error:  # ours to mend; the process goes on
            log.error("vault_heartbeat_broken", error=type(error).__name__)
        return False


@asynccontextmanager
async def beating(database: Database, vault: Vault | None, *, owner: str, kind: str) -> AsyncIterator[None]:
    """As `Heartbeats.going`, where there is a vault."""
    if vault is None:
        yield
        return
    async with Heartbeats(database, vault, owner=owner, kind=kind).going():
        yield

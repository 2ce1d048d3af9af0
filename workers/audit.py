"""The audit log is sealed each hour by whatever process sweeps."""

from contextlib import suppress
from typing import Final

from payonce.auditing import sealing
from payonce.runtime import Runtime
from payonce.storage import audit_seals
from payonce.storage.driver.database import StorageUnavailable

FORGOTTEN_AT_ONCE: Final = 500


class AuditSealer:
    """Safe to run in every process."""

    def __init__(self, runtime: Runtime) -> None:
        self._database = runtime.database
        self._store = runtime.receipts
        self._is_proven = False

    async def run(self) -> bool:
        """Closed hours are sealed and told, and what is too old is forgotten; whether to look again at once.

        Raises `StoreUnavailable`, and `StoreOverwrites` for a store in which a seal could be replaced: it gets none.
        """
        try:
            return await self._sealed_and_told()
        finally:
            with suppress(StorageUnavailable):
                await sealing.measure(self._database, in_store=self._store is not None)

    async def _sealed_and_told(self) -> bool:
        await sealing.seal(self._database)
        async with self._database.transaction() as connection:
            forgotten = await audit_seals.forget_old(connection, limit=FORGOTTEN_AT_ONCE)
        if self._store is not None and not self._is_proven:
            await self._store.prove()
            self._is_proven = True
        await sealing.tell(self._database, self._store)
        return forgotten == FORGOTTEN_AT_ONCE

"""What is to be erased of saved cards is erased: here, and at the acquirers that have tokens of them.

Of those that were deleted, once no payment needs them, and of those that their payment did not keep within a day.
Each is looked at again, later each time, until nothing is left. An acquirer is asked outside of any transaction.
"""

import asyncio
from typing import Final

from payonce.domain.errors import PaymentError
from payonce.domain.payment_methods import Credential
from payonce.logging import get_logger
from payonce.metrics import SAVED_CARDS_ERASED, TOKENS_NOT_DELETED
from payonce.runtime import Runtime
from payonce.storage import erasing
from payonce.vault import payment_methods as vaulted

AT_ONCE: Final = 10  # each with a connection of its own; the process has others to serve
DELETE_WITHIN_S: Final = 20.0
LOOKS_BEFORE_ERROR: Final = 6  # about ten minutes: then it does not mend itself

log = get_logger(__name__)


class SavedCards:
    """Safe to run in every process: what one takes, the others do not see for a while."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def sweep(self) -> bool:
        """The longest overdue are looked at once; whether there may be more."""
        async with self._runtime.database.transaction() as connection:
            due = await erasing.dequeue(connection, limit=AT_ONCE)
        await asyncio.gather(*(self._surviving(id_, looks) for id_, looks in due))
        return len(due) == AT_ONCE

    async def _surviving(self, id_: str, looks: int) -> None:
        """One that breaks holds up no other, and is looked at again."""
        try:
            await self._erase(id_, looks)
        except (PaymentError, OSError) as error:
            log.warning("saved_card_not_erased", payment_method_id=id_, error=type(error).__name__)

    async def _erase(self, id_: str, looks: int) -> None:
        async with self._runtime.database.transaction() as connection:
            erased = await vaulted.erase(connection, id_)
        if erased.what is not None:
            SAVED_CARDS_ERASED.labels(erased.what).inc()
        await asyncio.gather(*(self._delete(token, looks) for token in erased.tokens))

    async def _delete(self, credential: Credential, looks: int) -> None:
        """The acquirer's token is gone once the acquirer said so."""
        account = credential.connector_account
        try:
            async with asyncio.timeout(DELETE_WITHIN_S):
                connector = await self._runtime.accounts.connector(account)
                await connector.delete_token(credential.token or {})
        except (PaymentError, TimeoutError) as error:
            TOKENS_NOT_DELETED.labels(account).inc()
            say = log.error if looks >= LOOKS_BEFORE_ERROR else log.warning
            about = {"payment_method_id": credential.payment_method_id, "account": account}
            say("token_not_deleted", error=type(error).__name__, looks=looks, **about)
            return
        async with self._runtime.database.transaction() as connection:
            if await vaulted.token_deleted(connection, credential):
                SAVED_CARDS_ERASED.labels("deleted").inc()

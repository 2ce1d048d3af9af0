"""Reconciliation: which accounts have a list, and one account compared with its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.heartbeats import heartbeating
from payonce.domain.errors import PaymentError
from payonce.domain.reconciling import FINAL

if TYPE_CHECKING:
    from payonce.reconciling.reading import Reconciler


class Reconciling:
    """What is done for a run; it is safe to repeat, and to break off anywhere."""

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler

    @activity.defn
    async def accounts_with_lists(self) -> list[str]:
        """The accounts that can be compared."""
        return self._reconciler.listed()

    @activity.defn
    @heartbeating
    async def reconcile(self, account: str) -> dict[str, int]:
        """The account is compared up to a moment ago; how many findings of each kind are new.

        One that a person must look at first fails at once.
        """
        try:
            return (await self._reconciler.run(account)).found
        except PaymentError as error:
            raise ApplicationError(
                error.message, type=error.code, non_retryable=error.code in FINAL
            ) from None

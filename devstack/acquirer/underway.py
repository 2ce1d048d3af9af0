"""What a request under way has at every acquirer that the sandbox plays with events: a dialect's `Call` is one."""

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from devstack.acquirer import callbacks, movements
from devstack.acquirer.movements import Origin, Result, Stage, Terms

_OVERTAKEN_BY = timedelta(seconds=1)


class Stored(Protocol):
    """An object of a dialect, or an event; `aside` is what only the sandbox knows of it."""

    @property
    def id(self) -> str: ...

    @property
    def body(self) -> Mapping[str, Any]: ...

    @property
    def aside(self) -> Mapping[str, Any]: ...


class Underway:
    """Inside the caller's transaction."""

    __slots__ = ()

    db: sqlite3.Connection
    terms: Terms

    @property
    def now(self) -> datetime:
        """When it is executed."""
        return self.terms.now

    @property
    def seconds(self) -> int:
        """The same, in seconds since 1970."""
        return int(self.terms.now.timestamp())

    def leave(self, events: Sequence[Stored], *, url: str) -> None:
        """They leave in order; `reordered` lets the first leave after the others."""
        is_overtaken = self.terms.config.callbacks == "reordered" and len(events) > 1
        for place, event in enumerate(events):
            send_at = self.now + _OVERTAKEN_BY if is_overtaken and place == 0 else self.now
            callbacks.put(
                self.db, event.id, event.aside, url=url, body=event.body, at=self.now, send_at=send_at
            )

    def recorded(
        self,
        own_id: str,
        operation: str,
        about: Stored,
        *,
        reference: str | None = None,
        amount: int,
        authorization: str | None = None,
        decline_code: str | None = None,
        stage: Stage | None = None,
    ) -> Result:
        """The operation is among the sandbox's, as if its own protocol had asked for it; no money moved yet."""
        return movements.recorded(
            self.db,
            id=own_id,
            reference=reference or about.aside["reference"],
            operation=operation,
            payment_reference=about.aside["payment_reference"],
            amount_asked=amount,
            amount_added=self.terms.amount_added,
            currency=about.body["currency"].upper(),
            authorization=authorization,
            decline_code=decline_code,
            stage=stage,
            callback_url=None,
            at=self.now,
            validity_s=self.terms.authorization_validity_s,
        )

    def moved(self, result: Result, about: Stored, *operations: str, by_acquirer: bool = False) -> None:
        """The ledger has it."""
        movements.entered(
            self.db,
            result,
            *operations,
            payment_reference=about.aside["payment_reference"],
            origin=Origin.ACQUIRER if by_acquirer else Origin.PAYONCE,
        )

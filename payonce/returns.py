"""Customers who come back from an acquirer's page: who they are, by the token in the address, and what that changes.

Reading costs no commit. A return that is known, comes too late, or brings nothing that could be used writes nothing
and tells nobody anything.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final
from weakref import WeakValueDictionary

from payonce.accounts import Accounts
from payonce.domain import returning
from payonce.domain.operations import Attempt, AttemptState, Operation, Subject
from payonce.domain.payment import Payment
from payonce.metrics import RETURNS
from payonce.recording.recorder import Recorder
from payonce.recording.rows import of_return
from payonce.sealing import Sealer
from payonce.storage import attempts, payments, returns
from payonce.storage.callbacks import Received
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import Database, StorageUnavailable, within
from payonce.storage.returns import Carried
from payonce.wakeups import WakeUps

LOOK_WITHIN_S: Final = 1.0
_POLL_S: Final = 0.5  # between looks at the payment; hints make most of them unnecessary


@dataclass(frozen=True, slots=True)
class Visit:
    """Whose customer came, and how the attempt stood then."""

    attempt: Attempt
    operation: Operation
    payment: Payment
    known: tuple[bytes, ...]  # digests of what was brought back before

    @property
    def waits(self) -> bool:
        """Whether the customer is back and their attempt undecided: then its outcome may come any moment."""
        return self.attempt.state is AttemptState.WAITING and self.attempt.returned_at is not None

    def further(self, payment: Payment) -> str | None:
        """Where the acquirer wants this customer since; None: nowhere, or where they were sent before they came."""
        return None if payment.next_action == self.payment.next_action else returning.page_of(payment)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the payment stands; `proven`: also after a fail-over, so that it may be said."""

    payment: Payment
    proven: bool


class Returns:
    """Takes returns, once each."""

    def __init__(
        self,
        database: Database,
        recorder: Recorder,
        accounts: Accounts,
        wakeups: WakeUps,
        *,
        sealer: Sealer,
        secret: bytes,
    ) -> None:
        """`secret`: for digests of what was brought back."""
        self._database = database
        self._recorder = recorder
        self._accounts = accounts
        self._wakeups = wakeups
        self._sealer = sealer
        self._secret = secret
        self._one_by_one: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # by our reference

    async def find(self, token: str) -> Visit | None:
        """Whose token that is; None: nobody's. Raises `StorageUnavailable`."""
        async with self._database.browsing() as connection:
            attempt = await connection.fetch(returns.with_token(token))
            return None if attempt is None else await _visit(connection, attempt)

    async def take(self, visit: Visit, pairs: Iterable[tuple[str, str]]) -> tuple[Visit, Received | None]:
        """The return counts from now on, and this is the inbox's word of it; None: it changes nothing.

        The visit is that of a customer who is back. `pairs`: every parameter, whoever put it there. Raises as
        `Recorder.record`.
        """
        capabilities = self._accounts.capabilities.get(visit.attempt.connector_account)
        declared = frozenset[str]() if capabilities is None else capabilities.return_parameters
        parameters = returning.kept(pairs, declared=declared)
        carried = Carried.of(parameters, sealer=self._sealer, secret=self._secret)
        if _changes_nothing(visit, carried):
            return visit, None
        lock = self._one_by_one.setdefault(visit.attempt.reference, asyncio.Lock())
        async with lock:  # of many at once the first writes, and the others find that it did
            current = await self._again(visit)
            if _changes_nothing(current, carried):  # a double click, whose answers lead to the same page
                return replace(visit, attempt=current.attempt), None
            subject = Subject(current.payment.id, current.operation.id)
            settled = await self._recorder.returned(subject, attempt=current.attempt.number, carried=carried)
        if settled.returned is None or settled.attempt is None:
            RETURNS.labels("late").inc()
            return replace(visit, attempt=settled.attempt or current.attempt), None
        RETURNS.labels("taken").inc()
        taken = replace(visit, payment=settled.payment, attempt=settled.attempt)  # asked nothing more yet
        return taken, of_return(settled.attempt, settled.returned)

    async def outcome(self, visit: Visit, *, within_s: float) -> Outcome:
        """How the payment stands once its authorization is decided, or its customer asked again, or after so long."""
        clock = asyncio.get_running_loop().time
        ends, found = clock() + within_s, Outcome(visit.payment, proven=False)
        with self._wakeups.waiting(visit.operation.id) as waiter:
            while True:
                found = await self._look(visit) or found
                left_s = ends - clock()
                decided = not found.payment.status.undecided or visit.further(found.payment) is not None
                if decided or left_s <= 0:
                    return found
                await waiter.wait(timeout_s=min(_POLL_S, left_s))

    async def _look(self, visit: Visit) -> Outcome | None:
        try:
            return await within(LOOK_WITHIN_S, self._read(visit.payment.id))
        except StorageUnavailable:
            return None

    async def _read(self, payment_id: str) -> Outcome | None:
        async with self._database.browsing() as connection:
            payment = await connection.fetch(payments.payment_of_any_merchant(payment_id))
        if payment is None:
            return None
        proven = payment.status.undecided or await self._database.proven(connection)
        return Outcome(payment, proven)

    async def _again(self, visit: Visit) -> Visit:
        async with self._database.browsing() as connection:
            attempt = await connection.fetch(
                attempts.numbered(visit.attempt.operation_id, visit.attempt.number)
            )
            return await _visit(connection, attempt or visit.attempt) or visit


async def _visit(connection: Connection, attempt: Attempt) -> Visit | None:
    payment, operation, known = await connection.fetch_together(
        payments.payment_of_any_merchant(attempt.payment_id),
        payments.operation_by_id(attempt.operation_id),
        returns.digests(attempt),
    )
    return None if payment is None or operation is None else Visit(attempt, operation, payment, known)


def _changes_nothing(visit: Visit, carried: Carried) -> bool:
    """Whether there is nothing to write, as far as is known without the payment's lock. Counted by why."""
    why = None
    if not returning.is_open(visit.attempt, visit.operation, now=datetime.now(UTC)):
        why = "late"
    elif not returning.is_enough(visit.attempt, carried.parameters):
        why = "empty"
    elif not returning.is_new(carried.digest, visit.known):
        why = "known"
    if why is not None:
        RETURNS.labels(why).inc()
    return why is not None

"""One transaction decides what a POST means; and what is answered where its COMMIT proves nothing."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from psycopg.errors import LockNotAvailable

from api.admission import used_keys
from api.admission.requests import KeyFree, KeyInUse, KeyUnknown, Post, key_row
from api.admission.waiting import GIVE_BACK_WITHIN_S, Outcomes, Result, Unanswered, Unavailable
from payonce.claims import Claim
from payonce.domain.claiming import CommitEnd
from payonce.domain.disputes import Dispute
from payonce.domain.operations import Operation
from payonce.domain.payment import Payment
from payonce.rights import Right
from payonce.storage import idempotency
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import CommitUnknown, Database, StorageUnavailable
from payonce.storage.idempotency import Key

DECIDE_WITHIN_S = 5.0  # a transaction's 4 s, and the second that its COMMIT has


@dataclass(frozen=True, slots=True)
class Admitted:
    """What this request may carry on."""

    payment: Payment
    operation: Operation
    right: Right | None = None  # to send a create
    retried: bool = False  # the key was given back before: its failed run is resumed
    dispute: Dispute | None = None  # that it accepts


Decision = Admitted | Result | Unanswered


class Taking:
    """What a request knows of its key while its transaction runs."""

    def __init__(self) -> None:
        # Whether the key, or a create that was given back, is this request's until the transaction ends.
        self.held = False
        self.decided: Decision | None = None
        self.connection: Connection | None = None  # with which it was read

    async def key(self, connection: Connection, key: Key) -> bool:
        """True: the key is this request's. False: it was taken; read it. Raises `KeyInUse` if somebody holds it."""
        try:
            self.held = await idempotency.claim_key(connection, key)
        except LockNotAvailable:
            raise KeyInUse from None
        return self.held


class Admissible(Protocol):
    """A POST as its transaction decides it."""

    @property
    def post(self) -> Post:
        """As understood."""

    async def admit(self, connection: Connection, taking: Taking) -> Decision:
        """What is admitted is written, but not committed; or what the key means."""


class Decider:
    """Runs the transaction of an admission, within a POST's time."""

    def __init__(self, database: Database, outcomes: Outcomes) -> None:
        self._database = database
        self._outcomes = outcomes
        self._left: set[asyncio.Task[Decision]] = set()

    async def decide(self, asked: Admissible) -> Decision:
        """What the transaction decided, once that is proven.

        Raises `Unavailable` where this request held its key and rolled back or gave it back, `KeyInUse` where
        somebody else holds it, and `KeyUnknown` where it could be neither read nor taken.
        """
        if not self._database.gate.open:
            return await self._without_writing(asked.post)
        taking = Taking()
        transacting = asyncio.create_task(self._transact(asked, taking))
        try:
            done, _ = await asyncio.wait({transacting}, timeout=DECIDE_WITHIN_S)
        except asyncio.CancelledError:
            self._leave(asked.post, transacting, taking)
            raise
        if not done:
            self._leave(asked.post, transacting, taking)
            raise KeyUnknown
        try:
            return await self._proven(transacting.result(), taking)
        except CommitUnknown as unknown:
            return await self._unproven(asked.post, taking, unknown.ended)
        except StorageUnavailable as error:  # nothing holds
            raise (Unavailable if taking.held else KeyUnknown) from error

    async def _transact(self, asked: Admissible, taking: Taking) -> Decision:
        async with self._database.tenants.transaction(asked.post.caller) as connection:
            taking.connection = connection
            taking.decided = await asked.admit(connection, taking)
        return taking.decided

    async def _proven(self, decision: Decision, taking: Taking) -> Decision:
        """A replay was read, and says nothing until a COMMIT after that read is proven."""
        assert taking.connection is not None
        replayed = isinstance(decision, Result) and decision.replayed
        if replayed and not await self._database.proven(taking.connection):
            raise KeyUnknown
        return decision

    async def _unproven(
        self, post: Post, taking: Taking, ended: "asyncio.Future[CommitEnd] | None"
    ) -> Decision:
        """COMMIT was sent, and its end proves nothing: a claim is given back, and no read-back turns it into a right.

        A capture, void or refund grants no right here: its run claims for itself, in a COMMIT of its own. So where
        no standby is waited for, one whose COMMIT is only late goes on.
        """
        decision = taking.decided
        if isinstance(decision, Unanswered) or (isinstance(decision, Result) and decision.replayed):
            return await self._proven(decision, taking)  # nothing was written
        if isinstance(decision, Admitted) and decision.right is not None:
            await self._outcomes.give_back(_claim(post, decision.operation, decision.right), ended=ended)
        if ended is not None and decision is not None and not self._database.gate.follows_standby:
            await asyncio.wait({ended}, timeout=GIVE_BACK_WITHIN_S)
            if ended.done() and ended.result() is CommitEnd.LATE:
                return decision
        raise KeyUnknown

    async def _without_writing(self, post: Post) -> Decision:
        """With the gate closed nothing is begun: what is proven of a known key is said."""
        caller = post.caller
        of_key = {"merchant_id": caller.merchant_id, "mode": caller.mode, "key": post.stored_key}
        try:
            async with self._database.tenants.reading(caller) as connection:
                found = await used_keys.meaning(connection, post)
                # After the answer: whatever is written in between has a later id, which is not proven.
                xid = await connection.fetch(idempotency.written_by(**of_key))
                free = isinstance(found, Unanswered) and await used_keys.is_given_back(
                    connection, found.operation
                )
        except (StorageUnavailable, KeyFree) as error:
            raise KeyUnknown from error
        if isinstance(found, Unanswered) and not free:
            raise KeyInUse
        if free or not await self._database.proven(connection, xid=xid):
            raise KeyUnknown
        return found

    def _leave(self, post: Post, transacting: asyncio.Task[Decision], taking: Taking) -> None:
        """Nobody waits for the transaction any longer: what it may yet claim is given back."""

        def ended(task: asyncio.Task[Decision]) -> None:
            self._left.discard(task)
            error = None if task.cancelled() else task.exception()
            decided = taking.decided
            if isinstance(error, StorageUnavailable) or not isinstance(decided, Admitted):
                return  # nothing holds, or nothing was claimed
            if decided.right is not None:
                commit = error.ended if isinstance(error, CommitUnknown) else None
                self._outcomes.begin_giving_back(_claim(post, decided.operation, decided.right), ended=commit)

        self._left.add(transacting)
        transacting.add_done_callback(ended)


def _claim(post: Post, operation: Operation, right: Right) -> Claim:
    """The claim of a create, whose transaction may be at work on the key's row still."""
    return Claim(
        payment_id=operation.payment_id,
        operation_id=operation.id,
        number=right.attempt,
        token=right.token,
        key=key_row(post, operation_id=operation.id, location=""),
    )

"""One transaction decides what a POST means; and what is answered when its COMMIT is unknown."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from api.commands import Post, key_row
from api.outcomes import (
    ADMIT_WITHIN_S,
    LOOK_WITHIN_S,
    Outcomes,
    Pending,
    Result,
    Unavailable,
    as_far_as_known,
)
from payonce.claims import Right
from payonce.domain.operations import Operation
from payonce.domain.payment import Payment
from payonce.storage import idempotency
from payonce.storage.connection import Connection
from payonce.storage.database import CommitUnknown, Database, GaveUp, StorageUnavailable, within
from payonce.storage.idempotency import Key


@dataclass(frozen=True, slots=True)
class Admitted:
    """What this request may carry on."""

    payment: Payment
    operation: Operation
    right: Right | None = None  # to send a create
    retried: bool = False  # the key was given back before: its failed run is resumed


Decision = Admitted | Result | Pending
Decide = Callable[[Connection], Awaitable[Decision]]


class Decider:
    """Runs the transaction of an admission, within a POST's time."""

    def __init__(self, database: Database, outcomes: Outcomes) -> None:
        self._database = database
        self._outcomes = outcomes

    async def decide(self, post: Post, admit: Decide) -> Decision:
        """One transaction. If its COMMIT is unknown, the row says whether it held: it names our request."""
        admitted: Decision | None = None

        async def transact() -> Decision:
            nonlocal admitted
            async with self._database.transaction() as connection:
                admitted = await admit(connection)
            return admitted

        try:
            return await within(ADMIT_WITHIN_S, transact())
        except (CommitUnknown, GaveUp) as error:
            if admitted is None:  # COMMIT was not reached
                raise Unavailable from error
            return await self._in_doubt(post, admitted)
        except StorageUnavailable as error:  # nothing holds
            raise Unavailable from error

    async def _in_doubt(self, post: Post, decision: Decision) -> Decision:
        """What a COMMIT of unknown outcome is answered with.

        A create whose right is not granted is never sent, so that 503 is true either way. A capture, void or
        refund may be carried out: where nobody can tell, it is 202.
        """
        if isinstance(decision, Pending) or (isinstance(decision, Result) and decision.replayed):
            return decision  # nothing was written
        held = await self._holds(post)
        if held:
            return decision
        if isinstance(decision, Admitted):
            if decision.right is not None:
                await self._outcomes.release(decision.operation, decision.right)  # its key goes on
            elif held is None:
                return as_far_as_known(decision.payment, decision.operation)
        raise Unavailable

    async def _holds(self, post: Post) -> bool | None:
        """Whether the key is this request's; None when nobody can tell.

        The transaction in doubt may be at work still, on what it was sent before its connection broke. Whoever
        claims the same key waits for its end; the claim is rolled back.
        """

        async def read() -> Key | None:
            async with self._database.transaction() as connection:
                if await idempotency.claim_key(connection, key_row(post, operation_id=None, location="")):
                    raise _Free
                return await idempotency.find_key(
                    connection, merchant_id=post.caller.merchant_id, mode=post.caller.mode, key=post.key
                )

        try:
            key = await within(LOOK_WITHIN_S, read())
        except _Free:
            return False
        except (StorageUnavailable, CommitUnknown):
            return None
        return key is not None and key.request_id == post.request_id


class _Free(Exception):
    """Nobody's transaction holds the key, nor will."""

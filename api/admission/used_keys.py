"""What an idempotency key that was used before means for a request."""

from datetime import UTC, datetime

from api.admission.requests import KeyExpired, KeyFree, Post
from api.admission.waiting import Result, Unanswered, current_view
from api.http.rate_limits import TooManyRequests
from payonce.domain.errors import IdempotencyMismatch, NotFound
from payonce.domain.leaving import may_act
from payonce.domain.operations import AttemptState, Operation, OperationKind
from payonce.metrics import REFUSED
from payonce.storage import attempts, disputes, idempotency, payments
from payonce.storage.driver.connection import Connection


async def meaning(connection: Connection, post: Post) -> Result | Unanswered:
    """Its answer, or the operation that has none yet.

    Raises `KeyFree`, `KeyExpired` or `IdempotencyMismatch`.
    """
    caller = post.caller
    key = await idempotency.find_key(
        connection, merchant_id=caller.merchant_id, mode=caller.mode, key=post.stored_key
    )
    if key is None or (key.operation_id is None and key.answer_kind is None):
        raise KeyFree
    if key.fingerprint != post.fingerprint:
        raise IdempotencyMismatch
    now = datetime.now(UTC)
    if key.expired(now):
        raise KeyExpired(location=key.location)
    if (answer := key.answer(now)) is not None:
        return Result(answer=answer, current=None, location=key.location, replayed=True)
    assert key.operation_id is not None
    operation = await connection.fetch(payments.operation_by_id(key.operation_id))
    if operation is None:
        raise NotFound(key.operation_id)
    payment = await connection.fetch(payments.payment_of_any_merchant(operation.payment_id))
    if key.asking is not None and payment is not None and may_act(payment, now=now):
        return Result(answer=key.asking, current=None, location=key.location, replayed=True)
    dispute = await disputes.accepted_by(connection, operation)
    current = None if payment is None else current_view(payment, operation, dispute)
    return Unanswered(operation=operation, location=key.location, current=current)


async def meaning_without_place(connection: Connection, post: Post) -> Result | Unanswered:
    """As `meaning`. Raises `TooManyRequests` where the key is free for a further attempt, and there is no room."""
    found = await meaning(connection, post)
    if isinstance(found, Unanswered) and await is_given_back(connection, found.operation):
        raise no_place()
    return found


def no_place() -> TooManyRequests:
    """The refusal of a request that finds no place, counted."""
    REFUSED.labels("busy").inc()
    return TooManyRequests(retry_after_s=1.0)


async def is_given_back(connection: Connection, operation: Operation) -> bool:
    """Whether a create's latest attempt was proven unsent, so that a request may claim a further one."""
    if operation.kind is not OperationKind.AUTHORIZE or operation.deferred_at is not None:
        return False
    latest = await connection.fetch(attempts.latest(operation.id))
    return latest is not None and latest.state is AttemptState.NOT_SENT

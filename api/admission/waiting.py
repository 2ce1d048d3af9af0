"""Waiting for an operation's first outcome, and what to answer when there is none in time."""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from api.admission.requests import KeyInUse, KeyUnknown
from payonce.claims import Claim, Releases
from payonce.domain import stages
from payonce.domain.admission import reserved
from payonce.domain.answers import (
    Answer,
    AnswerKind,
    dispute_view,
    encode,
    payment_view,
    refund_view,
)
from payonce.domain.claiming import CommitEnd, Release
from payonce.domain.disputes import Dispute
from payonce.domain.errors import NotHandedOver, PaymentError
from payonce.domain.leaving import may_act
from payonce.domain.operations import Attempt, AttemptState, Operation, OperationKind, Subject
from payonce.domain.payment import Payment, PaymentStatus
from payonce.domain.schedules import NOT_SENT_RETRIES_S
from payonce.logging import get_logger
from payonce.rights import Right
from payonce.runtime import Runtime
from payonce.storage import attempts, disputes, idempotency, payments
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import CommitUnknown, StorageUnavailable, within
from payonce.wakeups import Waiter

LOOK_WITHIN_S = 1.0
GIVE_BACK_WITHIN_S = 1.5  # then 504: the release goes on
DEFER_WITHIN_S = 1.5
ANSWER_WITHIN_S = 8.0  # then `processing` and 202; every request is answered within 10 s
SWEEP_AFTER = timedelta(seconds=10)  # an operation without outcome this old may have nobody working on it
_POLL_S = 0.2  # between looks at the rows; and at whether a right has lapsed, which costs nothing
_LOOK_S = 1.0  # between looks at the rows of what this request began, while hints arrive

log = get_logger(__name__)


class Unavailable(PaymentError):
    """This request held its key, and rolled back or gave it back unsent: it is never charged for."""

    code = "unavailable"
    retryable = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a POST is answered with: the stored answer, or the object as it is now (202)."""

    answer: Answer | None
    current: bytes | None
    location: str
    replayed: bool

    @property
    def blocked(self) -> bool:
        """Whether this request's payment was blocked by its risk, just now."""
        return (
            not self.replayed and self.answer is not None and self.answer.kind is AnswerKind.PAYMENT_BLOCKED
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """A known key whose operation has no answer; `current` is its 202 once somebody was answered so."""

    operation: Operation
    location: str
    current: bytes | None

    def as_result(self) -> Result:
        return Result(answer=None, current=self.current, location=self.location, replayed=False)


def current_view(payment: Payment, operation: Operation, dispute: Dispute | None = None) -> bytes | None:
    """The body of a 202; None while the first request may still be answered with the outcome itself.

    That the customer must act is such an outcome while they may, also where whoever looks has missed the answer that
    was stored with it: the next look finds that. `dispute`: that the operation accepts.
    """
    was_asked = payment.status is PaymentStatus.REQUIRES_ACTION and not may_act(
        payment, now=datetime.now(UTC)
    )
    if operation.deferred_at is None and not was_asked and not _is_overdue(payment, operation):
        return None
    if dispute is not None:
        return encode(dispute_view(dispute))
    return encode(refund_view(operation) if operation.kind is OperationKind.REFUND else payment_view(payment))


def _is_overdue(payment: Payment, operation: Operation) -> bool:
    """Whether the answer to a create takes too long that waits for a capture of our own, whoever asked for it."""
    since = datetime.now(UTC) - operation.created_at
    return stages.awaits_capture(payment, operation) and since >= timedelta(seconds=ANSWER_WITHIN_S)


@dataclass(frozen=True, slots=True)
class _Read:
    """What one look at an operation found, and with which connection."""

    found: Result | None
    latest: Attempt | None
    connection: Connection


class Deadline:
    """A point in time on the event loop's clock."""

    def __init__(self, within_s: float) -> None:
        self._at = asyncio.get_running_loop().time() + within_s

    @property
    def left_s(self) -> float:
        return max(0.0, self._at - asyncio.get_running_loop().time())

    @property
    def over(self) -> bool:
        return self.left_s == 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """An operation that this request admitted and hands over, and how long it waits for the outcome."""

    payment: Payment
    operation: Operation
    right: Right | None  # to send a create
    waiter: Waiter
    handing_over: asyncio.Task[None]
    wait_s: float  # `Prefer: wait`
    patience: Deadline
    dispute: Dispute | None = None  # that the operation accepts

    @property
    def refused(self) -> bool:
        """Whether Temporal could not be reached: then nobody is likely to act within our time."""
        return self.handing_over.done() and isinstance(self.handing_over.exception(), NotHandedOver)


class Outcomes:
    """The first outcomes of operations, for the requests that wait for them."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._releases = Releases(runtime.database)
        self._left: set[asyncio.Task[None]] = set()

    async def first(self, awaited: Awaited) -> Result:
        """The stored answer, or the 202 once the outcome is unknown or 8 s have passed.

        With `Prefer: wait` the 202 is held back for `wait_s`. Raises what `give_back` raises for a create that was
        never sent and never will be.
        """
        preferred, patience = Deadline(awaited.wait_s), awaited.patience
        rest = Deadline(self._rest_s)
        while not patience.over and not awaited.refused:
            woken = await awaited.waiter.wait(timeout_s=min(_POLL_S, patience.left_s))
            await self._give_back_lapsed(awaited)
            if not woken and not rest.over:
                continue
            found = await self._look(awaited)
            if found is not None and (found.answer is not None or preferred.over):
                return found
            rest = Deadline(self._rest_s if found is None else _POLL_S)  # a 202 goes out once preferred
        await self._give_back_untaken(awaited)
        deferred = await self._defer(awaited)
        if deferred.answer is not None or preferred.over:
            return deferred
        pending = Unanswered(
            operation=awaited.operation, location=deferred.location, current=deferred.current
        )
        later = await self.wait_for_other(pending, wait_s=preferred.left_s)
        return deferred if later is None else replace(later, replayed=False)

    @property
    def _rest_s(self) -> float:
        """Between two looks at an operation of this request of which nobody said that it has changed."""
        return _LOOK_S if self._runtime.wakeups.hears_others else _POLL_S

    async def wait_for_other(self, pending: Unanswered, *, wait_s: float) -> Result | None:
        """Another request's answer within `wait_s`, as a replay, or its 202; None when it has neither yet.

        Raises `KeyUnknown` where it has an answer that is not proven.
        """
        with self._runtime.wakeups.waiting(pending.operation.id) as waiter:
            deadline = Deadline(wait_s)
            while not deadline.over:
                await waiter.wait(timeout_s=min(_POLL_S, deadline.left_s))
                answer = waiter.answer or await self._proven(pending.operation)
                if answer is not None:
                    return Result(answer=answer, current=None, location=pending.location, replayed=True)
        return await self._deferred(pending) if wait_s else None

    async def _proven(self, operation: Operation) -> Answer | None:
        """The stored answer; None while there is none to be read. Raises `KeyUnknown` for one that is not proven."""
        try:
            answer, connection = await self._stored(operation)
        except StorageUnavailable:
            return None
        if answer is not None and not await self._runtime.database.proven(connection):
            raise KeyUnknown
        return answer

    async def _deferred(self, pending: Unanswered) -> Result | None:
        """The 202 of an operation that was given one while we waited."""
        try:
            read = await within(LOOK_WITHIN_S, self._read(pending.operation))
        except StorageUnavailable:
            return None
        found = read.found
        if found is None or found.answer is None:
            return found
        if not await self._runtime.database.proven(read.connection):
            raise KeyUnknown
        return replace(found, replayed=True)

    def leave(self, handing_over: asyncio.Task[None]) -> None:
        """The hand-over goes on without its request; the sweeper and inquiries mend a failure."""
        self._left.add(handing_over)
        handing_over.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._left.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("left_behind_failed", error=getattr(error, "code", type(error).__name__))

    async def _look(self, awaited: Awaited) -> Result | None:
        """What there is to answer with. Raises as `give_back` when a create's attempts all ended unsent."""
        operation, right = awaited.operation, awaited.right
        if awaited.waiter.answer is not None:
            return _definite(awaited.waiter.answer, operation)
        try:
            read = await within(min(LOOK_WITHIN_S, awaited.patience.left_s), self._read(operation))
        except StorageUnavailable:
            return None
        found, latest = read.found, read.latest
        if right and latest and latest.state is AttemptState.NOT_SENT and self._in_memory(awaited.payment):
            tried = latest.number - right.attempt + 1
            if tried > len(NOT_SENT_RETRIES_S) and self._runtime.rights.withdraw(operation.id, right):
                await self.give_back(_claim_of(operation, right))
        answered = found is not None and found.answer is not None
        if answered and not await self._runtime.database.proven(read.connection):
            return None  # another process recorded it; it is looked at again
        return found

    async def _read(self, operation: Operation) -> "_Read":
        """The operation's answer or its 202, if it has come to either, and its latest attempt."""
        async with self._runtime.tenants.reading(operation) as connection:
            answer = await self._find_answer(connection, operation)
            if answer is not None:
                return _Read(_definite(answer, operation), None, connection)
            current = await self._current(connection, operation)
            latest = await connection.fetch(attempts.latest(operation.id))
        if current is None:
            return _Read(None, latest, connection)
        found = Result(answer=None, current=current, location=location_of(operation), replayed=False)
        return _Read(found, latest, connection)

    async def _give_back_untaken(self, awaited: Awaited) -> None:
        """A create whose right nobody took is given back. Raises as `give_back` then.

        Where all that its attempt needs is in Postgres it goes on by itself: any run may claim the next one.
        """
        operation, right = awaited.operation, awaited.right
        if right is not None and self._runtime.rights.withdraw(operation.id, right):
            await self._given_back(awaited, right)

    async def _give_back_lapsed(self, awaited: Awaited) -> None:
        """A create whose right nobody took in time is given back at once, before a run finds the stale claim.

        Such a run would inquire, and a create that was never sent would end as failed. Raises as `give_back` then.
        """
        operation, right = awaited.operation, awaited.right
        if right is not None and self._runtime.rights.lapse(operation.id, right):
            await self._given_back(awaited, right)

    async def _given_back(self, awaited: Awaited, right: Right) -> None:
        claim = _claim_of(awaited.operation, right)
        if self._in_memory(awaited.payment):
            await self.give_back(claim)
        await asyncio.wait({self.begin_giving_back(claim)}, timeout=GIVE_BACK_WITHIN_S)

    def begin_giving_back(
        self, claim: Claim, *, ended: "asyncio.Future[CommitEnd] | None" = None
    ) -> asyncio.Task[Release]:
        """The claim goes back, once its COMMIT has `ended`, whoever waits for that."""
        return self._releases.begin(claim, ended=ended)

    def _in_memory(self, payment: Payment) -> bool:
        """Whether what the attempt needs ends with this process: a card, a device wallet's token, a cryptogram."""
        return self._runtime.accounts.capabilities[payment.connector_account].in_memory(payment)

    async def give_back(self, claim: Claim, *, ended: "asyncio.Future[CommitEnd] | None" = None) -> NoReturn:
        """The claim, which nobody can use any more, goes back; it goes on where that lasts longer.

        Raises `Unavailable` once it is proven that this claim is never sent and no other attempt stands, `KeyInUse`
        where another one stands, and `KeyUnknown` where neither can be told in time.
        """
        releasing = self.begin_giving_back(claim, ended=ended)
        await asyncio.wait({releasing}, timeout=GIVE_BACK_WITHIN_S)
        if not releasing.done() or releasing.cancelled() or releasing.exception() is not None:
            raise KeyUnknown
        raise Unavailable if releasing.result().unsent else KeyInUse

    async def _defer(self, awaited: Awaited) -> Result:
        """From now on 202; if the outcome came at the same moment, that is the answer.

        An operation that may be on the wire is never answered 503: without Postgres the 202 shows what we know.
        """
        payment, operation = awaited.payment, awaited.operation
        subject = Subject(operation.payment_id, operation.id)
        try:
            settlement = await within(DEFER_WITHIN_S, self._runtime.recorder.defer(subject))
            payment, operation = settlement.payment, settlement.operation
            answer = await self._proven(operation)
        except (StorageUnavailable, CommitUnknown, KeyUnknown):
            log.warning("deferral_not_recorded", operation_id=operation.id)
            return as_far_as_known(payment, operation, awaited.dispute)
        if answer is not None:
            return _definite(answer, operation)
        current = current_view(payment, operation, awaited.dispute)
        if current is None:  # the customer was asked, and has come back since
            return as_far_as_known(payment, operation, awaited.dispute)
        return Result(answer=None, current=current, location=location_of(operation), replayed=False)

    async def _stored(self, operation: Operation) -> tuple[Answer | None, Connection]:
        async def read() -> tuple[Answer | None, Connection]:
            async with self._runtime.tenants.reading(operation) as connection:
                return await self._find_answer(connection, operation), connection

        return await within(LOOK_WITHIN_S, read())

    async def _find_answer(self, connection: Connection, operation: Operation) -> Answer | None:
        """What is stored; that the customer must act, only while they may."""
        found = await idempotency.find_answer(
            connection,
            operation_id=operation.id,
            merchant_id=operation.merchant_id,
            mode=operation.mode,
        )
        if found is None or found.definite:
            return found
        payment = await connection.fetch(payments.payment_of_any_merchant(operation.payment_id))
        return found if payment is not None and may_act(payment, now=datetime.now(UTC)) else None

    async def _current(self, connection: Connection, operation: Operation) -> bytes | None:
        """The body of the operation's 202, if it has come to that."""
        now = await connection.fetch(payments.operation_by_id(operation.id))
        payment = await connection.fetch(payments.payment_of_any_merchant(operation.payment_id))
        if now is None or payment is None:
            return None
        return current_view(payment, now, await disputes.accepted_by(connection, now))


def _claim_of(operation: Operation, right: Right) -> Claim:
    return Claim(
        payment_id=operation.payment_id,
        operation_id=operation.id,
        number=right.attempt,
        token=right.token,
    )


def location_of(operation: Operation) -> str:
    """The path of the object that the operation is, or belongs to."""
    if operation.kind is OperationKind.REFUND:
        return f"/v1/refunds/{operation.id}"
    if operation.dispute_id is not None:
        return f"/v1/disputes/{operation.dispute_id}"
    return f"/v1/payments/{operation.payment_id}"


def as_far_as_known(payment: Payment, operation: Operation, dispute: Dispute | None) -> Result:
    """The 202 that shows what this request knows without Postgres."""
    operation = replace(operation, deferred_at=datetime.now(UTC))
    current = current_view(_as_deferred(payment, operation), operation, dispute)
    return Result(answer=None, current=current, location=location_of(operation), replayed=False)


def _as_deferred(payment: Payment, operation: Operation) -> Payment:
    """The payment as Postgres will show it, as far as this request knows."""
    if operation.kind is OperationKind.AUTHORIZE:
        return replace(payment, status=PaymentStatus.PROCESSING, next_action=None)
    return reserved(payment, operation) if operation.kind.exclusive else payment


def _definite(answer: Answer, operation: Operation) -> Result:
    return Result(answer=answer, current=None, location=location_of(operation), replayed=False)

"""Admission: one Postgres transaction decides what a key means, before Temporal is touched.

A new key admits its operation: the key row, the payment or operation, the amount reservation and, for a create,
the attempt claim that this process owns. A known key replays, waits or continues; a refusal is itself the stored
answer. Then the operation is handed to Temporal and the first outcome is awaited.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from temporalio.client import Client

from api.admission import used_keys
from api.admission.overload import AdaptiveLimit, Places, Work, carrying_out
from api.admission.requests import (
    KeyFree,
    KeyInUse,
    NewPayment,
    Post,
    check_current,
    check_split,
    key_row,
    operation_row,
    payment_row,
)
from api.admission.transaction import Admitted, Decide, Decider, Decision, Taking
from api.admission.waiting import (
    ANSWER_WITHIN_S,
    SWEEP_AFTER,
    Deadline,
    Outcomes,
    Result,
    Unanswered,
    current_view,
)
from payonce.claims import SEND_WITHIN_S, Right
from payonce.clock import boot_clock_s
from payonce.connectors.base import call_of
from payonce.domain import admission as rules
from payonce.domain import routing
from payonce.domain.answers import Answer, AnswerKind, problem_answer
from payonce.domain.errors import NotAllowed, NotFound
from payonce.domain.ids import attempt_reference, random_id
from payonce.domain.operations import Attempt, AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.payment import Payment, PaymentStatus
from payonce.logging import get_logger
from payonce.runtime import Runtime
from payonce.storage import attempts, idempotency, payments
from payonce.storage.driver.connection import Connection
from payonce.storage.idempotency import Key
from workers.dispatch import Dispatcher, UpdateEnd

LOOKING_UP_MAX = 4  # requests at a time that may ask for the answer to a key while there is no place

log = get_logger(__name__)
Admit = Callable[[Connection, Payment], Awaitable[Operation]]
Dispatch = Callable[[Admitted], Coroutine[Any, Any, None]]


class Admission:
    """The POSTs that move money, and `execute_once` for those that only write."""

    def __init__(self, runtime: Runtime, temporal: Client) -> None:
        self._runtime = runtime
        self._outcomes = Outcomes(runtime)
        self._decider = Decider(runtime.database, self._outcomes)
        self._dispatcher = Dispatcher(temporal)
        settings = runtime.settings
        limit = AdaptiveLimit(ceiling=settings.in_flight_max, target_s=settings.own_time_target_ms / 1000)
        self._places = Places(limit, open_max=settings.in_flight_max)
        self._looking_up = 0  # without a place
        self._waiting = 0  # for another request's operation

    async def create_payment(self, post: Post, new: NewPayment) -> Result:
        """Authorizes, and captures when automatic. Raises what the module's errors and `InvalidRequest` say."""
        payment_id = self._runtime.ids.payment(
            merchant_id=post.caller.merchant_id, mode=post.caller.mode, key=post.key
        )
        deadline = boot_clock_s() + SEND_WITHIN_S  # read before the transaction begins

        async def admit(connection: Connection, taking: Taking) -> Decision:
            key = key_row(post, operation_id=payment_id, location=f"/v1/payments/{payment_id}")
            if await taking.key(connection, key):
                check_current(new.card)  # after the key: a replay comes even when the card is over by now
                payment = payment_row(post, new, self._route(post, new), payment_id=payment_id)
                return await self._insert_create(connection, post, payment, new, deadline)
            found = await used_keys.meaning(connection, post)
            if isinstance(found, Unanswered):
                return await self._retry_create(connection, taking, found, new, deadline)
            return found

        async def dispatch(admitted: Admitted) -> None:
            payment = admitted.payment
            if not await self._dispatcher.start_payment(payment, resume=admitted.retried, eager=True):
                await self._carry_out_again(admitted)

        return await self._execute(post, Work.CREATE, admit, dispatch)

    def _route(self, post: Post, new: NewPayment) -> routing.Route:
        return routing.choose(
            self._runtime.accounts,
            self._runtime.capabilities,
            mode=post.caller.mode,
            method=new.method,
            currency=new.currency,
            capture_method=new.capture_method,
        )

    async def capture(self, post: Post, payment_id: str, *, amount_minor: int | None, final: bool) -> Result:
        """Captures all that is capturable, or part of it; `final` releases the rest."""

        async def admit(connection: Connection, payment: Payment) -> Operation:
            check_split(self._runtime.capabilities.get(payment.connector_account), final=final)
            amount = rules.admit_capture(payment, amount_minor=amount_minor, now=datetime.now(UTC))
            return await self._reserve(
                connection, post, payment, kind=OperationKind.CAPTURE, amount_minor=amount, final=final
            )

        return await self._change(post, payment_id, admit)

    async def void(self, post: Post, payment_id: str, *, reason: str | None) -> Result:
        """Releases what is authorized and not captured."""

        async def admit(connection: Connection, payment: Payment) -> Operation:
            create = await self._undecided(connection, payment)
            amount = rules.admit_void(payment, asked=create is not None and create.asked)
            if create is not None:
                await attempts.abandon(connection, create)
            return await self._reserve(
                connection, post, payment, kind=OperationKind.VOID, amount_minor=amount, reason=reason
            )

        return await self._change(post, payment_id, admit)

    async def _undecided(self, connection: Connection, payment: Payment) -> Attempt | None:
        """The latest attempt of an authorization that has no outcome."""
        return await attempts.latest_attempt(connection, payment.id) if payment.status.undecided else None

    async def refund(
        self,
        post: Post,
        payment_id: str,
        *,
        amount_minor: int | None,
        reason: str | None,
        metadata: Mapping[str, str],
    ) -> Result:
        """Refunds all that is refundable, or part of it."""
        refund_id = self._runtime.ids.refund(
            merchant_id=post.caller.merchant_id, mode=post.caller.mode, key=post.key
        )

        async def admit_refund(connection: Connection, payment: Payment) -> Operation:
            amount = rules.admit_refund(payment, amount_minor=amount_minor)
            refund = operation_row(
                post, payment, id_=refund_id, kind=OperationKind.REFUND, amount_minor=amount
            )
            refund = replace(refund, reason=reason, metadata=metadata)
            await payments.save_payment(connection, payment, rules.reserved(payment, refund))
            await payments.insert_operation(connection, refund, sweep_at=refund.created_at + SWEEP_AFTER)
            return refund

        async def admit(connection: Connection, taking: Taking) -> Decision:
            key = key_row(post, operation_id=refund_id, location=f"/v1/refunds/{refund_id}")
            return await self._admit_change(
                connection, taking, post, key, payment_id=payment_id, admit=admit_refund
            )

        async def dispatch(admitted: Admitted) -> None:
            payment, refund = admitted.payment, admitted.operation
            if not await self._dispatcher.start_refund(payment, refund, resume=False, eager=True):
                await self._carry_out_again(admitted)

        return await self._execute(post, Work.CHANGE, admit, dispatch)

    async def execute_once(
        self, post: Post, work: Callable[[Connection], Awaitable[tuple[Answer, str]]]
    ) -> Result:
        """The key and a creation that only writes, in one transaction: `work` returns the answer and its path."""

        async def admit(connection: Connection, taking: Taking) -> Decision:
            key = key_row(post, operation_id=None, location="")
            if not await taking.key(connection, key):
                return await used_keys.meaning(connection, post)
            answer, location = await work(connection)
            await idempotency.answer_key(connection, key, answer=answer, location=location)
            return Result(answer=answer, current=None, location=location, replayed=False)

        decision = await self._decider.decide(post, admit)
        if isinstance(decision, Result):
            return decision
        raise KeyInUse  # only while the first request's transaction is open

    async def _change(self, post: Post, payment_id: str, admit_operation: Admit) -> Result:
        """A capture or a void: an update of the payment's workflow."""

        async def admit(connection: Connection, taking: Taking) -> Decision:
            key = key_row(post, operation_id=self._operation_id(post), location=f"/v1/payments/{payment_id}")
            return await self._admit_change(
                connection, taking, post, key, payment_id=payment_id, admit=admit_operation
            )

        async def dispatch(admitted: Admitted) -> None:
            taken = await self._dispatcher.update_payment(admitted.payment, admitted.operation)
            if taken is not UpdateEnd.STARTED and await self._is_pending(admitted.operation):
                await self._change_again(admitted, taken)
            self._runtime.wakeups.wake(admitted.operation.id)  # the outcome may be another process's

        return await self._execute(post, Work.CHANGE, admit, dispatch)

    async def _execute(self, post: Post, work: Work, admit: Decide, dispatch: Dispatch) -> Result:
        """Admits where there is a place, hands over, and answers with the first outcome."""
        place = None if self._runtime.rights.full else await self._places.enter(work)
        if place is None:
            return await self._without_place(post)
        patience = Deadline(ANSWER_WITHIN_S - place.waited_s)
        try:
            decision = await self._decider.decide(post, admit)
            if isinstance(decision, Admitted):
                with carrying_out(place, self._runtime.calls, decision.operation.id):
                    return await self._carry_out(decision, dispatch, wait_s=post.wait_s, patience=patience)
        finally:
            place.leave()
        return decision if isinstance(decision, Result) else await self._of_another(post, decision)

    async def _without_place(self, post: Post) -> Result:
        """Nothing is admitted, but what became of a key that was used before is still said, to a few at a time.

        Raises `TooManyRequests` otherwise, and not `Unavailable`: that would promise that the key is not admitted,
        and another process may be about to.
        """
        if self._looking_up >= LOOKING_UP_MAX:
            raise used_keys.no_place()
        self._looking_up += 1
        try:
            found = await self._decider.decide(post, partial(_look_up, post=post))
        except KeyFree:
            raise used_keys.no_place() from None  # not a known key, or one whose first request was rolled back
        finally:
            self._looking_up -= 1
        if isinstance(found, Unanswered) and found.current is not None:
            return found.as_result()
        if isinstance(found, Result):
            return found
        raise KeyInUse

    async def _carry_out(
        self, admitted: Admitted, dispatch: Dispatch, *, wait_s: float, patience: Deadline
    ) -> Result:
        operation_id = admitted.operation.id
        if admitted.right is not None:
            self._runtime.rights.grant(operation_id, admitted.right)
        with self._runtime.wakeups.waiting(operation_id) as waiter:
            handing_over = asyncio.create_task(dispatch(admitted))
            handing_over.add_done_callback(lambda task: waiter.event.set() if _failed(task) else None)
            try:
                return await self._outcomes.first(
                    admitted.payment,
                    admitted.operation,
                    waiter,
                    handing_over,
                    right=admitted.right,
                    wait_s=wait_s,
                    patience=patience,
                )
            finally:
                self._outcomes.leave(handing_over)

    async def _carry_out_again(self, admitted: Admitted) -> None:
        """Temporal says that what has just been admitted is done: Postgres forgot it, in a fail-over or a restore.

        It runs again, and inquires before it sends anything. A payment's workflow that goes on is told to ask.
        """
        payment, operation = admitted.payment, admitted.operation
        if not await self._dispatcher.is_done(payment, operation):
            return
        log.error("admission_forgotten", payment_id=payment.id, operation_id=operation.id)
        self._runtime.rights.doubt(operation.id)
        if await self._dispatcher.start_again(payment, operation) or admitted.right is None:
            return
        if self._runtime.rights.withdraw(operation.id, admitted.right):
            await self._dispatcher.acquirer_spoke(operation, admitted.right.call.reference)

    async def _is_pending(self, operation: Operation) -> bool:
        """Whether Postgres has no outcome; it is not read where this process has just recorded one."""
        if self._runtime.wakeups.answered(operation.id):
            return False
        async with self._runtime.database.reading() as connection:
            found = await payments.find_operation(connection, operation.id)
        return found is not None and found.status is OperationStatus.PENDING

    async def _change_again(self, admitted: Admitted, taken: UpdateEnd) -> None:
        """As `_carry_out_again`, a capture or a void: the result was that of the update that Postgres forgot."""
        payment, operation = admitted.payment, admitted.operation
        if taken is not UpdateEnd.DONE and not await self._dispatcher.is_done(payment, operation):
            return
        log.error("admission_forgotten", payment_id=payment.id, operation_id=operation.id)
        if not await self._dispatcher.start_again(payment, operation):
            await self._dispatcher.update_again(payment, operation)

    async def _of_another(self, post: Post, pending: Unanswered) -> Result:
        """An operation that another request is waiting for: wait as asked, then 202, replay or 409."""
        if pending.current is not None and not post.wait_s:
            return pending.as_result()
        wait_s = post.wait_s if self._waiting < self._runtime.settings.in_flight_max else 0.0
        self._waiting += 1
        try:
            answered = await self._outcomes.wait_for_other(pending, wait_s=wait_s)
        finally:
            self._waiting -= 1
        if answered is None and pending.current is not None:
            return pending.as_result()
        if answered is None:
            raise KeyInUse
        return answered

    async def _insert_create(
        self, connection: Connection, post: Post, payment: Payment, new: NewPayment, deadline: float
    ) -> Admitted:
        operation = operation_row(
            post, payment, id_=payment.id, kind=OperationKind.AUTHORIZE, amount_minor=payment.amount_minor
        )
        await payments.insert_payment(connection, payment)
        await payments.insert_operation(connection, operation, sweep_at=operation.created_at + SWEEP_AFTER)
        right = await self._claim(connection, payment, operation, new, number=1, deadline=deadline)
        return Admitted(payment, operation, right)

    async def _retry_create(
        self, connection: Connection, taking: Taking, pending: Unanswered, new: NewPayment, deadline: float
    ) -> Decision:
        """A create that was given back goes on with attempt N + 1, owned here, with this request's card."""
        payment = await payments.lock_payment(connection, pending.operation.payment_id)
        operation = await payments.find_operation(connection, pending.operation.id)
        latest = await attempts.latest_attempt(connection, pending.operation.id)
        if payment is None or operation is None or latest is None:
            raise NotFound(pending.operation.id)
        given_back = latest.state is AttemptState.NOT_SENT and payment.status is PaymentStatus.INIT
        if not given_back or operation.status is not OperationStatus.PENDING:
            return replace(pending, current=current_view(payment, operation))
        taking.held = True
        right = await self._claim(
            connection, payment, operation, new, number=latest.number + 1, deadline=deadline
        )
        return Admitted(payment, operation, right, retried=True)

    async def _claim(
        self,
        connection: Connection,
        payment: Payment,
        operation: Operation,
        new: NewPayment,
        *,
        number: int,
        deadline: float,
    ) -> Right:
        token = random_id("run")
        await attempts.insert_claim(
            connection,
            operation,
            number=number,
            connector=payment.connector,
            connector_account=payment.connector_account,
            owner=self._runtime.rights.owner,
            token=token,
            acquirer_identity=self._runtime.identities.get(payment.connector_account),
        )
        call = call_of(payment, operation, reference=attempt_reference(operation.id, number))
        call = replace(call, card=new.card, network_token=new.network_token)
        return Right(call, number, token, payment.connector_account, deadline)

    async def _admit_change(
        self,
        connection: Connection,
        taking: Taking,
        post: Post,
        key: Key,
        *,
        payment_id: str,
        admit: Admit,
    ) -> Decision:
        if not await taking.key(connection, key):
            return await used_keys.meaning(connection, post)
        payment = await payments.lock_payment(connection, payment_id)
        caller = post.caller
        if payment is None or (payment.merchant_id, payment.mode) != (caller.merchant_id, caller.mode):
            raise NotFound(f"There is no payment {payment_id}.")
        try:
            return Admitted(payment, await admit(connection, payment))
        except NotAllowed as refused:
            answer = problem_answer(
                AnswerKind(refused.refusal), detail=refused.message, request_id=post.request_id
            )
            location = f"/v1/payments/{payment_id}"
            await idempotency.answer_key(connection, key, answer=answer, location=location)
            return Result(answer=answer, current=None, location=location, replayed=False)

    async def _reserve(
        self,
        connection: Connection,
        post: Post,
        payment: Payment,
        *,
        kind: OperationKind,
        amount_minor: int,
        final: bool = True,
        reason: str | None = None,
    ) -> Operation:
        """The capture or void is the payment's one pending operation."""
        operation = operation_row(
            post, payment, id_=self._operation_id(post), kind=kind, amount_minor=amount_minor
        )
        operation = replace(operation, final=final, reason=reason)
        await payments.save_payment(connection, payment, rules.reserved(payment, operation))
        await payments.insert_operation(connection, operation, sweep_at=operation.created_at + SWEEP_AFTER)
        return operation

    def _operation_id(self, post: Post) -> str:
        caller = post.caller
        return self._runtime.ids.operation(merchant_id=caller.merchant_id, mode=caller.mode, key=post.key)


async def _look_up(connection: Connection, _taking: Taking, *, post: Post) -> Decision:
    return await used_keys.meaning_without_place(connection, post)


def _failed(task: asyncio.Task[None]) -> bool:
    return not task.cancelled() and task.exception() is not None

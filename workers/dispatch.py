"""Hands an admitted operation to Temporal: the API at once, the sweeper when nobody did or nobody is left.

The ids are derived, so handing over twice is harmless: a start answered "already started" is success.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, assert_never

from iso4217 import Currency
from temporalio.api.enums.v1 import ResourceExhaustedCause
from temporalio.api.errordetails.v1 import ResourceExhaustedFailure
from temporalio.client import (
    Client,
    RPCError,
    WorkflowExecutionStatus,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCStatusCode

from activities.messages import OperationRequest, PaymentRequest
from activities.review_messages import ReviewRequest
from payonce.domain.errors import EngineRefused, NotHandedOver
from payonce.domain.ids import random_id
from payonce.domain.operations import Operation, OperationKind
from payonce.domain.payment import Payment, PaymentStatus
from payonce.domain.reviews import Review, ReviewReason
from payonce.metrics import RESUMED
from workers.temporal import TASK_QUEUE
from workflows import attributes
from workflows.acceptance import AcceptanceWorkflow
from workflows.callback import CallbackWorkflow
from workflows.payment import PaymentWorkflow
from workflows.refund import RefundWorkflow, ReversalWorkflow
from workflows.renewal import BEGUN_ANEW
from workflows.review import REVIEW_CHANGED, ReviewWorkflow
from workflows.told import ACQUIRER_SPOKE, REFUSED

TASK_TIMEOUT = timedelta(seconds=10)  # a shorter one buys nothing: a takeover may not send (`design.md` §3)
START_TIMEOUT = timedelta(seconds=2)
UPDATE_WITHIN = timedelta(seconds=8)
STARTS_MAX = 2  # of a workflow that was open when it was started, and had ended when it was told

_ENDED_WITH_ITS_RUN = (
    BEGUN_ANEW,  # ours
    "AcceptedUpdateCompletedWorkflow",  # Temporal server, `service/history/workflow/update/errors_failures.go`
)

_NOUNS = {
    OperationKind.AUTHORIZE: "authorization",
    OperationKind.EXPIRE: "expiry",
    OperationKind.REVERSE: "late success",
    OperationKind.ACCEPT: "acceptance of a dispute",
}  # the others are nouns already

_FIRST = WorkflowIDReusePolicy.REJECT_DUPLICATE
_RESUME = WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY
_AGAIN = WorkflowIDReusePolicy.ALLOW_DUPLICATE


class UpdateEnd(StrEnum):
    """What became of an update that was sent to a payment's workflow."""

    DONE = "done"  # it ran to its end: the workflow says that the operation has its outcome, or stands aside
    STARTED = "started"  # the workflow had ended, and was started again, to find the operation in Postgres
    NEITHER = "neither"  # the update failed; or the workflow has ended, and was not started by us


@dataclass(frozen=True, slots=True)
class _Run:
    """What a workflow is started with."""

    function: Any
    arguments: list[Any]
    workflow_id: str
    summary: str
    review: ReviewReason | None = None  # of the workflow of a review: by which it is found


class Dispatcher:
    """Starts workflows and sends updates, by the operation's own ids."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def start_payment(self, payment: Payment, *, resume: bool, eager: bool) -> bool:
        """The payment's workflow runs, or has completed; whether it began now. Raises `NotHandedOver`.

        `resume`: also when its last run failed.
        """
        reuse = _RESUME if resume else _FIRST
        return await self._start(_payment_run(payment), payment, reuse=reuse, eager=eager)

    async def start_refund(self, payment: Payment, refund: Operation, *, resume: bool, eager: bool) -> bool:
        """As `start_payment`, the refund's own workflow."""
        reuse = _RESUME if resume else _FIRST
        return await self._start(_run_of(payment, refund), payment, reuse=reuse, eager=eager)

    async def start_acceptance(
        self, payment: Payment, acceptance: Operation, *, resume: bool, eager: bool
    ) -> bool:
        """As `start_payment`, the workflow of a dispute's acceptance."""
        reuse = _RESUME if resume else _FIRST
        return await self._start(_run_of(payment, acceptance), payment, reuse=reuse, eager=eager)

    async def start_again(self, payment: Payment, operation: Operation | None = None) -> bool:
        """The workflow of the operation, or of the payment itself, runs, even if its last run completed.

        For what Postgres shows as open all the same. It may have lost claims, too: the run inquires before it sends
        anything. Whether it began now. Raises `NotHandedOver`.
        """
        run = _payment_run(payment, doubted=True)
        if operation is not None:
            run = _run_of(payment, operation, doubted=True)
        return await self._start(run, payment, reuse=_AGAIN)

    async def is_done(self, payment: Payment, operation: Operation) -> bool:
        """Whether the operation's workflow says that it has its outcome. Raises `NotHandedOver`.

        It completed; or, for an authorization, it goes on and shows the payment as authorized.
        """
        handle = self._client.get_workflow_handle(_run_of(payment, operation).workflow_id)
        try:
            described = await handle.describe(rpc_timeout=START_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise NotHandedOver(error.status.name) from error
        if operation.kind is OperationKind.AUTHORIZE and described.status is WorkflowExecutionStatus.RUNNING:
            shown = described.typed_search_attributes.get(attributes.PAYMENT_STATUS)
            return shown is not None and not PaymentStatus(shown).undecided
        return described.status is WorkflowExecutionStatus.COMPLETED

    async def acquirer_spoke(self, operation: Operation, reference: str) -> bool:
        """The operation's workflow asks the acquirer at once. False: none takes it. Raises `NotHandedOver`."""
        of_its_own = operation.kind in (OperationKind.REFUND, OperationKind.REVERSE, OperationKind.ACCEPT)
        return await self._tell(operation.id if of_its_own else operation.payment_id, operation, reference)

    async def _tell(self, workflow_id: str, operation: Operation, reference: str) -> bool:
        handle = self._client.get_workflow_handle(workflow_id)
        try:
            await handle.signal(
                ACQUIRER_SPOKE, args=[_request(operation), reference], rpc_timeout=START_TIMEOUT
            )
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND and not _is_refusal(error):
                raise NotHandedOver(error.status.name) from error
            return False  # refused: it has had all the signals of a run
        return True

    async def start_callback(
        self, payment: Payment, operation: Operation, reference: str, *, workflow_id: str
    ) -> None:
        """A workflow of its own asks the acquirer and records what it says. Raises `NotHandedOver`.

        One that is open asks again. So does one that has ended: a callback that is not handled may be one whose
        consequences Postgres lost.
        """
        summary = f"The acquirer spoke of {reference}"
        run = _Run(CallbackWorkflow.run, [_request(operation), reference], workflow_id, summary)
        for _ in range(STARTS_MAX):
            began = await self._start(run, payment, reuse=_AGAIN)
            if began or await self._tell(workflow_id, operation, reference):
                return
        raise NotHandedOver("its workflow ended whenever it was told", reached=True)

    async def start_reversal(self, payment: Payment, reversal: Operation) -> bool:
        """As `start_payment`, the reversal's own workflow."""
        return await self._start(_run_of(payment, reversal), payment, reuse=_RESUME)

    async def start_review(self, payment: Payment, operation: Operation, review: Review) -> bool:
        """The review's workflow runs, even if its last run completed; whether it began now.

        Raises `NotHandedOver`.
        """
        return await self._start(_review_run(payment, operation, review), payment, reuse=_AGAIN)

    async def review_changed(self, review: Review) -> None:
        """The review's workflow, where one runs, looks in Postgres at once. Raises `NotHandedOver`."""
        handle = self._client.get_workflow_handle(_review_id(review.operation_id))
        try:
            await handle.signal(REVIEW_CHANGED, rpc_timeout=START_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND and not _is_refusal(error):
                raise NotHandedOver(error.status.name) from error  # else it looks by itself, or has ended

    async def update_payment(
        self, payment: Payment, operation: Operation, *, within: timedelta = UPDATE_WITHIN, sweeps: int = 0
    ) -> UpdateEnd:
        """The capture or void was sent to its workflow, which says what became of it.

        Raises `NotHandedOver` when it has none within that time, or when Temporal cannot be reached: then it is
        not known whether the workflow has it, and the sweeper sends it again under the same id. Only an update
        that failed itself, and would give the same answer for ever, goes on under a new one. An update that ended
        with its run was reached: the next run carries the operation on, and knows none of the ids of this one.
        """
        try:
            return await self._update(payment, operation, update_id=operation.id, within=within)
        except WorkflowUpdateFailedError as error:
            if _type_of(error) in _ENDED_WITH_ITS_RUN:
                raise NotHandedOver(
                    "its run ended; the next one finds it in Postgres", reached=True
                ) from error
            if _type_of(error) == REFUSED:
                raise EngineRefused(str(error.cause)) from error
            if not sweeps:
                raise NotHandedOver("the update failed", reached=True) from error
            with suppress(WorkflowUpdateFailedError):
                await self._update(payment, operation, update_id=f"{operation.id}-{sweeps}", within=within)
            return UpdateEnd.NEITHER

    async def update_again(
        self, payment: Payment, operation: Operation, *, within: timedelta = UPDATE_WITHIN
    ) -> None:
        """As `update_payment`, under an id that was not used before: what ran under the last one has ended.

        As with `start_again`, it is inquired about before anything is sent.
        """
        again = random_id(operation.id)
        with suppress(WorkflowUpdateFailedError):
            await self._update(payment, operation, update_id=again, within=within, doubted=True)

    async def _update(
        self,
        payment: Payment,
        operation: Operation,
        *,
        update_id: str,
        within: timedelta,
        doubted: bool = False,
    ) -> UpdateEnd:
        update: Any = PaymentWorkflow.void
        if operation.kind is OperationKind.CAPTURE:
            update = PaymentWorkflow.capture
        handle = self._client.get_workflow_handle(payment.id)
        request = _request(operation, doubted=doubted)
        try:
            async with asyncio.timeout(within.total_seconds()):
                await handle.execute_update(update, request, id=update_id, rpc_timeout=within)
        except (WorkflowUpdateRPCTimeoutOrCancelledError, TimeoutError) as error:
            raise NotHandedOver("not taken by a worker, or not done yet", reached=True) from error
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise _not_handed_over(error) from error
            RESUMED.inc()
            began = await self.start_payment(payment, resume=True, eager=False)
            return UpdateEnd.STARTED if began else UpdateEnd.NEITHER
        return UpdateEnd.DONE

    async def _start(
        self, run: _Run, payment: Payment, *, reuse: WorkflowIDReusePolicy, eager: bool = False
    ) -> bool:
        """Whether it began now: else it runs already, or has ended in a way after which it may not run again."""
        try:
            await self._client.start_workflow(
                run.function,
                args=run.arguments,
                id=run.workflow_id,
                task_queue=TASK_QUEUE,
                id_reuse_policy=reuse,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                task_timeout=TASK_TIMEOUT,
                search_attributes=_search_attributes(payment, run.review),
                static_summary=run.summary,
                request_eager_start=eager,
                rpc_timeout=START_TIMEOUT,
            )
        except WorkflowAlreadyStartedError:
            return False
        except RPCError as error:
            raise _not_handed_over(error) from error
        return True


def _not_handed_over(error: RPCError) -> NotHandedOver:
    return EngineRefused(error.status.name) if _is_refusal(error) else NotHandedOver(error.status.name)


def _is_refusal(error: RPCError) -> bool:
    """Whether Temporal says that this workflow takes no more of it, or not like this; not that it is busy."""
    if error.status in (RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.INVALID_ARGUMENT):
        return True
    exhausted = ResourceExhaustedFailure()
    unpacked = [detail.Unpack(exhausted) for detail in error.grpc_status.details]
    return (
        any(unpacked) and exhausted.cause == ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_CONCURRENT_LIMIT
    )


def _type_of(error: WorkflowUpdateFailedError) -> str | None:
    return error.cause.type if isinstance(error.cause, ApplicationError) else None


def _run_of(payment: Payment, operation: Operation, *, doubted: bool = False) -> _Run:
    """A run of the workflow that carries the operation out."""
    request = _request(operation, doubted=doubted)
    match operation.kind:
        case OperationKind.REFUND:
            summary = f"Refund of {_amount(operation.amount_minor, operation.currency)}, {payment.id}"
            return _Run(RefundWorkflow.run, [request], operation.id, summary)
        case OperationKind.ACCEPT:
            summary = f"Acceptance of dispute {operation.dispute_id}, {payment.id}"
            return _Run(AcceptanceWorkflow.run, [request], operation.id, summary)
        case OperationKind.REVERSE if operation.sent_as is not None:
            summary = f"Late success of {payment.id}: released by a {operation.sent_as}"
            return _Run(RefundWorkflow.run, [request], operation.id, summary)
        case OperationKind.REVERSE:
            summary = f"Late success of {payment.id}: reversed"
            return _Run(ReversalWorkflow.run, [request], operation.id, summary)
        case OperationKind.AUTHORIZE | OperationKind.CAPTURE | OperationKind.VOID | OperationKind.EXPIRE:
            return _payment_run(payment, doubted=doubted)
        case OperationKind.UNDO | OperationKind.REDO:
            raise AssertionError("what the acquirer did is never pending")
        case _:
            assert_never(operation.kind)


def _payment_run(payment: Payment, *, doubted: bool = False) -> _Run:
    request = PaymentRequest(payment.id, payment.amount_minor, payment.currency, doubted=doubted)
    return _Run(PaymentWorkflow.run, [request], payment.id, _summary(payment))


def _review_run(payment: Payment, operation: Operation, review: Review) -> _Run:
    request = ReviewRequest(review.payment_id, review.operation_id, review.reason)
    amount = _amount(operation.amount_minor, operation.currency)
    kind = operation.target_kind or operation.kind  # of what was undone, or succeeded late
    what = f"{_NOUNS.get(kind, kind)} of {amount}, {payment.id}"
    summary = f"In review: {what}: {review.reason.meaning}"
    return _Run(ReviewWorkflow.run, [request], _review_id(review.operation_id), summary, review.reason)


def _review_id(operation_id: str) -> str:
    return f"review-{operation_id}"


def _request(operation: Operation, *, doubted: bool = False) -> OperationRequest:
    return OperationRequest(operation.payment_id, operation.id, operation.kind, doubted=doubted)


def _summary(payment: Payment) -> str:
    """What the Web UI shows in its lists: no card data, not even the last digits."""
    method = payment.payment_method["type"]
    amount = _amount(payment.amount_minor, payment.currency)
    return f"{amount} by {method}, {payment.capture_method} capture"


def _amount(amount_minor: int, currency: str) -> str:
    """`10.99 INR`: with as many decimals as the currency has (ISO 4217)."""
    decimals = Currency(currency).exponent
    if not decimals:
        return f"{amount_minor} {currency}"
    whole, rest = divmod(amount_minor, 10**decimals)
    return f"{whole}.{rest:0{decimals}d} {currency}"


def _search_attributes(payment: Payment, review: ReviewReason | None) -> TypedSearchAttributes:
    """A review's run has its reason in place of the payment's status, which it does not follow."""
    own: SearchAttributePair[str] = SearchAttributePair(attributes.PAYMENT_STATUS, payment.status)
    if review is not None:
        own = SearchAttributePair(attributes.REVIEW_REASON, review)
    return TypedSearchAttributes(
        [
            SearchAttributePair(attributes.MERCHANT_ID, payment.merchant_id),
            SearchAttributePair(attributes.PAYMENT_ID, payment.id),
            own,
            SearchAttributePair(attributes.CONNECTOR, payment.connector),
            SearchAttributePair(attributes.PAYMENT_METHOD, payment.payment_method["type"]),
            SearchAttributePair(attributes.CURRENCY, payment.currency),
            SearchAttributePair(attributes.AMOUNT_MINOR, payment.amount_minor),
        ]
    )

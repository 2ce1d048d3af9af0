"""Hands an admitted operation to Temporal: the API at once, the sweeper when nobody did or nobody is left.

The ids are derived, so handing over twice is harmless: a start answered "already started" is success.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

from iso4217 import Currency
from temporalio.client import (
    Client,
    RPCError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCStatusCode

from activities.messages import OperationRequest, PaymentRequest
from payonce.domain.errors import PaymentError
from payonce.domain.operations import Operation, OperationKind
from payonce.domain.payment import Payment
from payonce.metrics import RESUMED
from workers.temporal import TASK_QUEUE
from workflows import attributes
from workflows.callback import CallbackWorkflow
from workflows.payment import PaymentWorkflow
from workflows.refund import RefundWorkflow, ReversalWorkflow

TASK_TIMEOUT = timedelta(seconds=10)  # a shorter one buys nothing: a takeover may not send (`design.md` §3)
START_TIMEOUT = timedelta(seconds=2)
UPDATE_WITHIN = timedelta(seconds=8)

_FIRST = WorkflowIDReusePolicy.REJECT_DUPLICATE
_RESUME = WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY


class NotHandedOver(PaymentError):
    """Temporal could not be reached: the workflow may or may not have been started."""

    code = "not_handed_over"
    retryable = True

    def __init__(self, message: str, *, reached: bool = False) -> None:
        super().__init__(message)
        self.reached = reached  # Temporal answers, but nobody has done it yet


class Dispatcher:
    """Starts workflows and sends updates, by the operation's own ids."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def start_payment(self, payment: Payment, *, resume: bool, eager: bool) -> None:
        """The payment's workflow runs. `resume`: also when its last run failed. Raises `NotHandedOver`."""
        request = PaymentRequest(payment.id, payment.amount_minor, payment.currency)
        await self._start(
            PaymentWorkflow.run,
            request,
            payment,
            workflow_id=payment.id,
            summary=_summary(payment),
            resume=resume,
            eager=eager,
        )

    async def start_refund(self, payment: Payment, refund: Operation, *, resume: bool, eager: bool) -> None:
        """The refund's workflow runs. Raises `NotHandedOver`."""
        await self._start(
            RefundWorkflow.run,
            _request(refund),
            payment,
            workflow_id=refund.id,
            summary=f"Refund of {_amount(refund.amount_minor, refund.currency)}, {payment.id}",
            resume=resume,
            eager=eager,
        )

    async def acquirer_spoke(self, operation: Operation, reference: str) -> bool:
        """The operation's workflow asks the acquirer at once. False: none is running. Raises `NotHandedOver`."""
        refund = operation.kind is OperationKind.REFUND
        run: Any = RefundWorkflow if refund else PaymentWorkflow
        handle = self._client.get_workflow_handle(operation.id if refund else operation.payment_id)
        try:
            await handle.signal(
                run.acquirer_spoke, args=[_request(operation), reference], rpc_timeout=START_TIMEOUT
            )
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise NotHandedOver(error.status.name) from error
            return False
        return True

    async def start_callback(
        self, payment: Payment, operation: Operation, reference: str, *, workflow_id: str
    ) -> None:
        """A workflow of its own asks the acquirer and records what it says. Raises `NotHandedOver`."""
        await self._start(
            CallbackWorkflow.run,
            [_request(operation), reference],
            payment,
            workflow_id=workflow_id,
            summary=f"The acquirer spoke of {reference}",
            resume=True,
            eager=False,
        )

    async def start_reversal(self, payment: Payment, reversal: Operation) -> None:
        """The reversal's workflow runs. Raises `NotHandedOver`."""
        await self._start(
            ReversalWorkflow.run,
            _request(reversal),
            payment,
            workflow_id=reversal.id,
            summary=f"Late success of {payment.id}: reversed",
            resume=True,
            eager=False,
        )

    async def update_payment(
        self, payment: Payment, operation: Operation, *, within: timedelta = UPDATE_WITHIN, sweeps: int = 0
    ) -> None:
        """The capture or void has its outcome, or its workflow was started again, to find it in Postgres.

        Raises `NotHandedOver` when it has none within that time, or when Temporal cannot be reached: then it is
        not known whether the workflow has it, and the sweeper sends it again under the same id. Only an update
        that failed itself, and would give the same answer for ever, goes on under a new one.
        """
        try:
            await self._update(payment, operation, update_id=operation.id, within=within)
        except WorkflowUpdateFailedError as error:
            if not sweeps:
                raise NotHandedOver("the update failed", reached=True) from error
            with suppress(WorkflowUpdateFailedError):
                await self._update(payment, operation, update_id=f"{operation.id}-{sweeps}", within=within)

    async def _update(
        self, payment: Payment, operation: Operation, *, update_id: str, within: timedelta
    ) -> None:
        update: Any = PaymentWorkflow.void
        if operation.kind is OperationKind.CAPTURE:
            update = PaymentWorkflow.capture
        handle = self._client.get_workflow_handle(payment.id)
        try:
            async with asyncio.timeout(within.total_seconds()):
                await handle.execute_update(update, _request(operation), id=update_id, rpc_timeout=within)
        except (WorkflowUpdateRPCTimeoutOrCancelledError, TimeoutError) as error:
            raise NotHandedOver("not taken by a worker, or not done yet", reached=True) from error
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise NotHandedOver(error.status.name) from error
            RESUMED.inc()
            await self.start_payment(payment, resume=True, eager=False)

    async def _start(
        self,
        run: Any,
        request: PaymentRequest | OperationRequest | list[Any],
        payment: Payment,
        *,
        workflow_id: str,
        summary: str,
        resume: bool,
        eager: bool,
    ) -> None:
        try:
            await self._client.start_workflow(
                run,
                args=request if isinstance(request, list) else [request],
                id=workflow_id,
                task_queue=TASK_QUEUE,
                id_reuse_policy=_RESUME if resume else _FIRST,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                task_timeout=TASK_TIMEOUT,
                search_attributes=_search_attributes(payment),
                static_summary=summary,
                request_eager_start=eager,
                rpc_timeout=START_TIMEOUT,
            )
        except WorkflowAlreadyStartedError:
            return
        except RPCError as error:
            raise NotHandedOver(error.status.name) from error


def _request(operation: Operation) -> OperationRequest:
    return OperationRequest(operation.payment_id, operation.id, operation.kind)


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


def _search_attributes(payment: Payment) -> TypedSearchAttributes:
    return TypedSearchAttributes(
        [
            SearchAttributePair(attributes.MERCHANT_ID, payment.merchant_id),
            SearchAttributePair(attributes.PAYMENT_ID, payment.id),
            SearchAttributePair(attributes.PAYMENT_STATUS, payment.status),
            SearchAttributePair(attributes.CONNECTOR, payment.connector),
            SearchAttributePair(attributes.PAYMENT_METHOD, payment.payment_method["type"]),
            SearchAttributePair(attributes.CURRENCY, payment.currency),
            SearchAttributePair(attributes.AMOUNT_MINOR, payment.amount_minor),
        ]
    )

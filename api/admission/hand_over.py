"""What is admitted is handed to Temporal, and again where Temporal says that it is done and Postgres forgot it."""

from typing import assert_never

from temporalio.client import Client

from api.admission.transaction import Admitted
from payonce.domain.operations import Operation, OperationKind, OperationStatus
from payonce.logging import get_logger
from payonce.runtime import Runtime
from payonce.storage import payments
from workers.dispatch import Dispatcher, UpdateEnd

log = get_logger(__name__)


class Carrier:
    """Hands over, once the operation is committed. Whoever waits for its outcome waits elsewhere."""

    def __init__(self, runtime: Runtime, temporal: Client) -> None:
        self._runtime = runtime
        self._dispatcher = Dispatcher(temporal)

    async def hand_over(self, admitted: Admitted) -> None:
        """A workflow has the operation, or it has its outcome. Raises `NotHandedOver`; safe to repeat."""
        kind = admitted.operation.kind
        match kind:
            case OperationKind.AUTHORIZE:
                await self._start_payment(admitted)
            case OperationKind.REFUND:
                await self._start_refund(admitted)
            case OperationKind.ACCEPT:
                await self._start_acceptance(admitted)
            case OperationKind.CAPTURE | OperationKind.VOID:
                await self._update_payment(admitted)
            case OperationKind.EXPIRE | OperationKind.REVERSE | OperationKind.UNDO | OperationKind.REDO:
                raise AssertionError(f"no request asks for a {kind}")
            case _:
                assert_never(kind)

    async def _start_payment(self, admitted: Admitted) -> None:
        payment = admitted.payment
        if not await self._dispatcher.start_payment(payment, resume=admitted.retried, eager=True):
            await self._start_again(admitted)

    async def _start_refund(self, admitted: Admitted) -> None:
        payment, refund = admitted.payment, admitted.operation
        if not await self._dispatcher.start_refund(payment, refund, resume=False, eager=True):
            await self._start_again(admitted)

    async def _start_acceptance(self, admitted: Admitted) -> None:
        payment, acceptance = admitted.payment, admitted.operation
        if not await self._dispatcher.start_acceptance(payment, acceptance, resume=False, eager=True):
            await self._start_again(admitted)

    async def _update_payment(self, admitted: Admitted) -> None:
        """A capture or a void: an update of the payment's workflow."""
        taken = await self._dispatcher.update_payment(admitted.payment, admitted.operation)
        if taken is not UpdateEnd.STARTED and await self._is_forgotten(admitted.operation):
            await self._update_again(admitted, taken)
        self._runtime.wakeups.wake(admitted.operation.id)  # the outcome may be another process's

    async def _start_again(self, admitted: Admitted) -> None:
        """Temporal knows what Postgres has just admitted: it was forgotten, in a fail-over or a restore.

        What goes on with a key that was given back may have a run still; it is forgotten where that is done. It runs
        again, and inquires before it sends anything. A payment's workflow that goes on is told to ask.
        """
        payment, operation = admitted.payment, admitted.operation
        if admitted.retried and not await self._dispatcher.is_done(payment, operation):
            return
        log.error("admission_forgotten", payment_id=payment.id, operation_id=operation.id)
        self._runtime.rights.doubt(operation.id)
        if await self._dispatcher.start_again(payment, operation) or admitted.right is None:
            return
        if self._runtime.rights.withdraw(operation.id, admitted.right):
            await self._dispatcher.acquirer_spoke(operation, admitted.right.call.reference)

    async def _is_forgotten(self, operation: Operation) -> bool:
        """Whether Postgres has no outcome, nor that the acquirer accepted it.

        It is not read where this process has just recorded an outcome.
        """
        if self._runtime.wakeups.answered(operation.id):
            return False
        async with self._runtime.tenants.reading(operation) as connection:
            found = await connection.fetch(payments.operation_by_id(operation.id))
        if found is None or found.accepted_at is not None:
            return False
        return found.status is OperationStatus.PENDING

    async def _update_again(self, admitted: Admitted, taken: UpdateEnd) -> None:
        """As `_start_again`, a capture or a void: the result was that of the update that Postgres forgot."""
        payment, operation = admitted.payment, admitted.operation
        if taken is not UpdateEnd.DONE and not await self._dispatcher.is_done(payment, operation):
            return
        log.error("admission_forgotten", payment_id=payment.id, operation_id=operation.id)
        if not await self._dispatcher.start_again(payment, operation):
            await self._dispatcher.update_again(payment, operation)

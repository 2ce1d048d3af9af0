"""Callbacks: put into the inbox once, then handed to whoever works on the operation they are about.

A callback moves nothing. It makes a workflow ask the acquirer: the payment's while its operation has no outcome,
else one of its own. So a lie with a valid signature costs an inquiry.
"""

import asyncio
from datetime import UTC, datetime

from temporalio.client import Client

from payonce.connectors.base import Callback
from payonce.domain.errors import PaymentError
from payonce.domain.operations import Operation, OperationKind, OperationStatus
from payonce.domain.payment import Payment
from payonce.logging import get_logger
from payonce.metrics import CALLBACKS
from payonce.runtime import Runtime
from payonce.storage import attempts, callbacks, payments
from payonce.storage.callbacks import Received
from workers.dispatch import Dispatcher

HANDING_OVER_MAX = 1_000  # waiting or under way in one process; what is more, the sweeper takes
AT_ONCE = 4  # of the process' connections to Postgres, so that a flood of callbacks leaves payments theirs

log = get_logger(__name__)


class Inbox:
    """Receives callbacks, and hands them over; the sweeper takes what was received and not handed over."""

    def __init__(self, runtime: Runtime, temporal: Client) -> None:
        self._runtime = runtime
        self._dispatcher = Dispatcher(temporal)
        self._handing_over: set[asyncio.Task[bool]] = set()
        self._receiving = asyncio.Semaphore(AT_ONCE)
        self._telling = asyncio.Semaphore(AT_ONCE)  # apart: while Temporal is away it takes seconds

    async def receive(self, connector: str, callback: Callback) -> None:
        """The callback is in the inbox for good, and on its way; one that was there before changes nothing.

        Raises `StorageUnavailable` or `CommitUnknown`: the acquirer then tells it again.
        """
        received = Received(connector, callback.event_id, callback.reference)
        async with self._receiving, self._runtime.database.transaction() as connection:
            new = await callbacks.put(connection, received, now=datetime.now(UTC))
        CALLBACKS.labels(connector, "received" if new else "known").inc()
        if new and len(self._handing_over) < HANDING_OVER_MAX:
            task = asyncio.create_task(self._try_to_hand_over(received))
            self._handing_over.add(task)
            task.add_done_callback(self._handing_over.discard)

    async def drain(self) -> None:
        """Every hand-over that began here has ended."""
        if self._handing_over:
            await asyncio.wait(self._handing_over)

    async def sweep(self, *, limit: int) -> int:
        """What nobody has handed over yet is handed over, at most `limit`; returns how many could be.

        Fewer than were taken could be where Temporal or Postgres is away.
        """
        async with self._runtime.database.transaction() as connection:
            due = await callbacks.take_due(connection, limit=limit)
        return sum(await asyncio.gather(*(self._try_to_hand_over(received) for received in due)))

    async def _try_to_hand_over(self, received: Received) -> bool:
        try:
            async with self._telling:
                await self.hand_over(received)
        except PaymentError as error:
            log.warning("callback_not_handed_over", connector=received.connector, error=error.code)
            return False
        except Exception as error:  # ours to mend; the sweeper takes it again, and the others meanwhile
            log.error("callback_hand_over_broken", connector=received.connector, error=type(error).__name__)
            return False
        return True

    async def hand_over(self, received: Received) -> None:
        """Temporal has it, or nobody needs it. Safe to repeat. Raises `NotHandedOver` and what storage raises."""
        found = await self._find(received)
        if found is None:
            log.warning("callback_of_unknown_reference", connector=received.connector)
        else:
            await self._tell(received, *found)
        async with self._runtime.database.transaction() as connection:
            await callbacks.handled(connection, received, now=datetime.now(UTC))

    async def _tell(self, received: Received, payment: Payment, operation: Operation) -> None:
        """The workflow that works on the operation; where there is none, one that asks and records.

        A payment that waits for captures has one, too, which then follows what others did to the payment.
        """
        waits = payment.status.capturable and operation.kind is not OperationKind.REFUND
        worked_on = operation.status is OperationStatus.PENDING or waits
        if worked_on and await self._dispatcher.acquirer_spoke(operation, received.reference):
            return
        workflow_id = self._runtime.ids.callback(connector=received.connector, event_id=received.event_id)
        await self._dispatcher.start_callback(payment, operation, received.reference, workflow_id=workflow_id)

    async def _find(self, received: Received) -> tuple[Payment, Operation] | None:
        """What the reference is about, where it is an attempt at this very connector."""
        async with self._runtime.database.reading() as connection:
            attempt = await attempts.find_by_reference(connection, received.reference)
            if attempt is None or attempt.connector != received.connector:
                return None
            payment = await payments.get_payment(connection, attempt.payment_id)
            operation = await payments.find_operation(connection, attempt.operation_id)
        return None if payment is None or operation is None else (payment, operation)

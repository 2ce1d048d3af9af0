"""Claims: who may send an attempt, and until when.

The claim is a row in Postgres, committed before the first byte; its owner alone may send. The right is what the
owner holds of it in memory, together with the card that lives nowhere else. A right is taken before the first
byte and used once, so a second run in the same process is "anyone else" too: it never sends and never re-sends.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from payonce.connectors.base import Call, Capabilities
from payonce.domain.errors import NotFound
from payonce.domain.ids import attempt_reference, random_id
from payonce.domain.operations import Attempt, AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.payment import Payment, PaymentStatus
from payonce.logging import get_logger
from payonce.storage import attempts, payments
from payonce.storage.connection import Connection
from payonce.storage.database import CommitUnknown, Database, StorageUnavailable

SEND_WITHIN_S = attempts.SEND_WITHIN.total_seconds()  # on the owner's own clock
KEPT_S = 30.0  # longer than anybody waits for a right to be taken, or a workflow to try again
RIGHTS_MAX = 10_000  # beyond this a process admits nothing more

log = get_logger(__name__)


def suspend_aware_clock() -> float:
    """Seconds that go on while the machine sleeps (CLOCK_BOOTTIME), unlike the monotonic clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Right:
    """What its holder may put on the wire, once, until `deadline` on this machine's clock."""

    call: Call
    attempt: int
    connector_account: str
    deadline: float
    clock: Callable[[], float] = suspend_aware_clock
    kind: Literal["right"] = "right"

    def holds(self) -> bool:
        """Looked at right before the first byte."""
        return self.clock() < self.deadline


class Rights:
    """The rights of one process, by operation id; `owner` is its id for this boot."""

    def __init__(self) -> None:
        self.owner = random_id("boot")
        self._rights: dict[str, Right] = {}
        self._unsent: dict[str, Right] = {}
        self._forgetting: asyncio.TimerHandle | None = None

    @property
    def full(self) -> bool:
        return len(self._rights) + len(self._unsent) >= RIGHTS_MAX

    def grant(self, operation_id: str, right: Right) -> None:
        """The claim is committed: whoever takes the right may send. An earlier attempt's card serves no more."""
        self._rights[operation_id] = right
        self._unsent.pop(operation_id, None)
        self._forget_later()

    def take(self, operation_id: str) -> Right | None:
        """The right, which nobody else can take any more; None when it was taken, withdrawn or never here."""
        return self._rights.pop(operation_id, None)

    def keep_unsent(self, operation_id: str, right: Right) -> None:
        """The attempt is recorded as not sent: its card may serve a further attempt, which needs a new claim."""
        if operation_id not in self._rights:
            self._unsent[operation_id] = right
            self._forget_later()

    def take_unsent(self, operation_id: str) -> Right | None:
        """What a further attempt needs of an unsent one; taken before that attempt is claimed."""
        return self._unsent.pop(operation_id, None)

    def withdraw(self, operation_id: str, right: Right) -> bool:
        """This right, or what its attempts left, is used no more. False: somebody holds it, or a later claim's."""
        if self._rights.get(operation_id) is right:
            del self._rights[operation_id]
            return True
        unsent = self._unsent.get(operation_id)
        if unsent is None or unsent.attempt < right.attempt:
            return False
        del self._unsent[operation_id]
        return True

    def lapse(self, operation_id: str, right: Right) -> bool:
        """A right that nobody took in time is withdrawn: no run can use it any more. False: it is not there."""
        if self._rights.get(operation_id) is not right or right.holds():
            return False
        del self._rights[operation_id]
        return True

    def _forget_later(self) -> None:
        """One timer for all: a card that nobody came for leaves the memory."""
        if self._forgetting is None:
            loop = asyncio.get_running_loop()
            self._forgetting = loop.call_later(KEPT_S, self._forget)

    def _forget(self) -> None:
        self._forgetting = None
        for kept in (self._rights, self._unsent):
            for operation_id, right in list(kept.items()):
                if right.clock() > right.deadline + KEPT_S:
                    del kept[operation_id]
        if self._rights or self._unsent:
            self._forget_later()


@dataclass(frozen=True, slots=True)
class Standing:
    """What a run found that may not send: the rows, read in one transaction."""

    payment: Payment
    operation: Operation
    attempt: Attempt | None
    now: datetime  # the database's
    kind: Literal["standing"] = "standing"

    @property
    def owner_may_send(self) -> bool:
        """Whether the claim's owner may still be about to send."""
        attempt = self.attempt
        return (
            attempt is not None
            and attempt.state is AttemptState.CLAIMED
            and self.now < attempt.send_before + attempts.CLOCK_SKEW
        )

    @property
    def abandons(self) -> bool:
        """Whether the operation gives up what a customer was to act on: nothing is sent, the attempt is reversed."""
        undecided = self.payment.status is PaymentStatus.REQUIRES_ACTION
        return undecided and self.operation.kind is OperationKind.VOID


class Claimant:
    """Claims attempts for this process: never one that is claimed already.

    `capabilities`, by account id, say for which authorizations it needs to hold nothing in memory.
    """

    def __init__(
        self, database: Database, rights: Rights, capabilities: Mapping[str, Capabilities] | None = None
    ) -> None:
        self._database = database
        self._rights = rights
        self._capabilities = capabilities or {}

    async def claim(self, *, payment_id: str, operation_id: str) -> Right | Standing:
        """The right to a new attempt, where a run may make one; else how the operation stands.

        A new attempt is possible while the operation is pending and its latest attempt was provably not sent (or
        there is none), and, for an authorization with a card, while this process holds that. Raises
        `StorageUnavailable`.
        """
        token = random_id("run")
        deadline = suspend_aware_clock() + SEND_WITHIN_S  # read before the transaction begins
        unsent = self._rights.take_unsent(operation_id)
        try:
            async with self._database.transaction() as connection:
                standing = await read_standing(connection, payment_id, operation_id, lock=True)
                if not _claimable(standing, has_data=unsent is not None or self._needs_none(standing)):
                    return standing
                right = await self._insert(connection, standing, unsent, token=token, deadline=deadline)
        except CommitUnknown:
            return await self._read_back(payment_id, operation_id, unsent, token=token, deadline=deadline)
        except StorageUnavailable:  # nothing was claimed: the card may still serve, or be withdrawn
            if unsent is not None:
                self._rights.keep_unsent(operation_id, unsent)
            raise
        return right

    def _needs_none(self, standing: Standing) -> bool:
        """Whether all that the acquirer needs is in Postgres."""
        capabilities = self._capabilities.get(standing.payment.connector_account)
        return standing.operation.kind is not OperationKind.AUTHORIZE or (
            capabilities is not None and not capabilities.data_in_memory
        )

    async def _insert(
        self,
        connection: Connection,
        standing: Standing,
        unsent: Right | None,
        *,
        token: str,
        deadline: float,
    ) -> Right:
        payment, operation = standing.payment, standing.operation
        number = standing.attempt.number + 1 if standing.attempt else 1
        await attempts.insert_claim(
            connection,
            operation,
            number=number,
            connector=payment.connector,
            connector_account=payment.connector_account,
            owner=self._rights.owner,
            token=token,
        )
        return _right(payment, operation, unsent, number=number, deadline=deadline)

    async def _read_back(
        self, payment_id: str, operation_id: str, unsent: Right | None, *, token: str, deadline: float
    ) -> Right | Standing:
        """The COMMIT's outcome is unknown: our token in the row means that it holds, otherwise nobody sends."""
        log.warning("claim_commit_unknown", operation_id=operation_id)
        async with self._database.transaction() as connection:
            standing = await read_standing(connection, payment_id, operation_id, lock=False)
        attempt = standing.attempt
        if attempt is None or attempt.token != token:
            return standing
        return _right(standing.payment, standing.operation, unsent, number=attempt.number, deadline=deadline)


async def read_standing(
    connection: Connection, payment_id: str, operation_id: str, *, lock: bool
) -> Standing:
    """How the operation stands. With `lock` the payment's row is locked first. Raises `NotFound`."""
    payment, operation, attempt, now = await connection.fetch_together(
        payments.locked(payment_id) if lock else payments.payment_by_id(payment_id),
        payments.operation_by_id(operation_id),
        attempts.latest(operation_id),
        attempts.database_now(),
    )
    if payment is None or operation is None:
        raise NotFound(f"{operation_id} of {payment_id}")
    return Standing(payment, operation, attempt, now)


def call_of(payment: Payment, operation: Operation, *, reference: str) -> Call:
    """What an acquirer needs to know of an operation; an authorization's card is not in Postgres."""
    sent_as = OperationKind.VOID if operation.kind is OperationKind.EXPIRE else operation.kind
    return Call(
        kind=sent_as,
        reference=reference,
        payment_id=payment.id,
        amount_minor=operation.amount_minor,
        currency=operation.currency,
        final=operation.final,
        automatic_capture=payment.automatic,
        authorization_reference=payment.connector_reference,
        metadata=payment.metadata,
        operation_metadata=operation.metadata,
        operation_id=operation.id,
        payment_method=payment.payment_method,
        return_url=payment.return_url,
    )


def _claimable(standing: Standing, *, has_data: bool) -> bool:
    attempt, operation = standing.attempt, standing.operation
    if operation.status is not OperationStatus.PENDING or standing.abandons:
        return False
    if attempt is not None and attempt.state is not AttemptState.NOT_SENT:
        return False
    return has_data


def _right(
    payment: Payment, operation: Operation, unsent: Right | None, *, number: int, deadline: float
) -> Right:
    reference = attempt_reference(operation.id, number)
    if unsent is not None:
        call = replace(unsent.call, reference=reference)
    else:
        call = call_of(payment, operation, reference=reference)
    return Right(call, number, payment.connector_account, deadline)

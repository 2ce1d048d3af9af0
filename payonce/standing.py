"""How an operation stands: what whoever resolves it reads of it; and the expiry that nobody asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from payonce.connectors.base import Call, Capabilities, call_of
from payonce.domain import claiming, stages
from payonce.domain import disputes as disputing
from payonce.domain.admission import expires, pending
from payonce.domain.claiming import CLOCK_SKEW, not_found_proves, same_acquirer
from payonce.domain.disputes import Dispute
from payonce.domain.errors import NotFound
from payonce.domain.ids import IdFactory
from payonce.domain.operations import (
    Attempt,
    AttemptState,
    Operation,
    OperationKind,
    OperationStatus,
    Origin,
    Subject,
    of_our_own,
)
from payonce.domain.payment import Payment
from payonce.domain.reviews import Review
from payonce.logging import get_logger
from payonce.metrics import ANOTHER_ACQUIRER
from payonce.storage import attempts, disputes, payments, review_rows
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import Database

STANDS_AFTER: Final = timedelta(seconds=10)  # an operation that nobody has tried to send
_BY_AMOUNT: Final = (OperationKind.CAPTURE, OperationKind.REFUND)  # what may be done twice within the sums

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a run found that may not send: the rows, read in one transaction."""

    payment: Payment
    operation: Operation
    attempt: Attempt | None
    now: datetime  # the database's
    target: Attempt | None = None  # what a void or refund of our own releases
    captured: bool = False  # a capture of our own is not sent any more: the rail has captured by itself
    dispute: Dispute | None = None  # that is accepted
    done_by_others: bool = False  # unsent, and others did the same since it was asked for: in its stead?
    kind: Literal["standing"] = "standing"

    @property
    def connector_account(self) -> str:
        """Where the operation is sent, and asked about."""
        sent_to = self.attempt or self.sent_to
        return sent_to.connector_account

    @property
    def sent_to(self) -> Dispute | Attempt | Payment:
        """Whose account the next attempt goes to."""
        return self.dispute or self.target or self.payment

    @property
    def owner_may_send(self) -> bool:
        """Whether the claim's owner may still be about to send."""
        return self.attempt is not None and claiming.owner_may_send(self.attempt, self.now)

    @property
    def abandons(self) -> bool:
        """Whether the operation gives up what a customer was asked for, and that has no outcome: nothing is sent."""
        return self.payment.status.undecided and self.operation.kind is OperationKind.VOID

    @property
    def refunds(self) -> bool:
        """Whether the operation is a void that a refund of our own ends: nothing is sent for the void itself."""
        pending = self.payment.pending_operation or {}
        return pending.get("id") == self.operation.id and "ended_by" in pending

    @property
    def lacks(self) -> bool:
        """Whether the operation would refund or capture what is not there any more, since others moved it meanwhile.

        Or give back a late success that a bank has. It waits until that is settled, or is given up.
        """
        match self.operation.kind:
            case OperationKind.REFUND:
                return self.payment.refunds_exceed
            case OperationKind.REVERSE if self.operation.sent_as is OperationKind.REFUND:
                return disputing.may_have(self.payment, self.operation)
            case OperationKind.CAPTURE:
                return self.payment.captures_exceed
            case _:
                return False

    @property
    def held_back(self) -> bool:
        """Whether nothing is sent for the operation, as things stand."""
        return self.abandons or self.refunds or self.captured or self.lacks or self.done_by_others


async def read_standing(
    connection: Connection, payment_id: str, operation_id: str, *, lock: bool
) -> Standing:
    """How this operation of this payment stands. With `lock` the payment's row is locked first. Raises `NotFound`."""
    payment, operation, attempt, now = await connection.fetch_together(
        payments.locked(payment_id) if lock else payments.payment_of_any_merchant(payment_id),
        payments.operation_by_id(operation_id),
        attempts.latest(operation_id),
        attempts.database_now(),
    )
    if payment is None or operation is None or operation.payment_id != payment_id:
        raise NotFound(f"{operation_id} of {payment_id}")
    target = None
    if operation.sent_as is not None:
        target = await attempts.find_by_reference(connection, operation.target_reference or "")
        if target is None:
            raise NotFound(f"the attempt that {operation_id} releases")
    dispute = None
    if operation.dispute_id is not None:
        dispute = await connection.fetch(disputes.find(operation.dispute_id))
        if dispute is None:
            raise NotFound(f"the dispute that {operation_id} accepts")
    captured = stages.completes_create(operation) and await _captured_by_rail(connection, payment_id)
    since = _may_be_done_since(operation, attempt, target, now=now)
    done = since is not None and await connection.fetch(
        payments.as_much_done_by_others(operation, since=since)
    )
    return Standing(payment, operation, attempt, now, target, captured, dispute, done)


def _may_be_done_since(
    operation: Operation, attempt: Attempt | None, target: Attempt | None, *, now: datetime
) -> datetime | None:
    """Since when somebody may have done it at the acquirer by hand, as it stands unsent for long; None: it does not.

    What gives back a late capture may be done before we hear that there is one.
    """
    unsent = attempt is None or attempt.state is AttemptState.NOT_SENT
    if not unsent or operation.status is not OperationStatus.PENDING:
        return None
    if target is not None and operation.sent_as is OperationKind.REFUND:
        return target.claimed_at - CLOCK_SKEW if target.kind is OperationKind.CAPTURE else None
    asked = operation.created_at
    new = attempt is None and asked - CLOCK_SKEW <= now < asked + STANDS_AFTER
    return None if new or operation.kind not in _BY_AMOUNT else asked


async def _captured_by_rail(connection: Connection, payment_id: str) -> bool:
    create, authorization = await connection.fetch_together(
        payments.operation_by_id(payment_id), attempts.latest(payment_id)
    )
    return stages.by_rail(create, authorization)


def call_about(standing: Standing, attempt: Attempt) -> Call:
    """What is asked about an attempt, or undone of it: by its own references, whichever attempt counts."""
    operation = standing.operation
    call = call_of(
        standing.payment,
        operation,
        reference=attempt.reference,
        target=standing.target,
        dispute=standing.dispute,
    )
    if (
        operation.kind is OperationKind.REVERSE and operation.sent_as is None
    ):  # of another operation's attempt
        kind = OperationKind.VOID if attempt.kind is OperationKind.EXPIRE else attempt.kind
        call = replace(call, kind=kind)
    if attempt.kind is OperationKind.AUTHORIZE:
        call = replace(call, authorization_reference=attempt.connector_reference)
    return replace(
        call,
        attempt_reference=attempt.connector_reference,
        claimed_at=attempt.claimed_at,
        approved=attempt.state is AttemptState.APPROVED,
        asked=attempt.asked,
    )


@dataclass(frozen=True, slots=True)
class LateSuccess:
    """A reversal operation and the attempt that it undoes."""

    standing: Standing
    attempt: Attempt
    call: Call


@dataclass(frozen=True, slots=True)
class Reviewed:
    """An operation that is or was in review, and the attempt that the acquirer can be asked about."""

    review: Review | None
    operation: Operation
    attempt: Attempt | None


NO_IDENTITIES: Final[Mapping[str, str | None]] = {}
"""Where no account is pinned to what its acquirer calls it."""


class Cases:
    """Reads from the primary, one transaction each."""

    def __init__(
        self,
        database: Database,
        ids: IdFactory,
        capabilities: Mapping[str, Capabilities],
        identities: Mapping[str, str | None] = NO_IDENTITIES,
    ) -> None:
        """`capabilities` and `identities`: of the connector accounts, by id."""
        self._database = database
        self._ids = ids
        self._capabilities = capabilities
        self._identities = identities

    async def standing(self, subject: Subject) -> Standing:
        """How the operation stands now. Raises `NotFound` or `StorageUnavailable`."""
        async with self._database.reading() as connection:
            return await read_standing(connection, subject.payment_id, subject.operation_id, lock=False)

    async def of_reference(self, subject: Subject, reference: str) -> tuple[Standing, Attempt]:
        """How the operation stands now, and its attempt with this reference of ours. Raises `NotFound`."""
        async with self._database.reading() as connection:
            standing = await read_standing(connection, subject.payment_id, subject.operation_id, lock=False)
            attempt = await attempts.find_by_reference(connection, reference)
        if attempt is None or attempt.operation_id != subject.operation_id:
            raise NotFound(f"the attempt {reference}")
        return standing, attempt

    async def payment(self, payment_id: str) -> Payment:
        async with self._database.reading() as connection:
            payment = await connection.fetch(payments.payment_of_any_merchant(payment_id))
        if payment is None:
            raise NotFound(payment_id)
        return payment

    async def late_success(self, subject: Subject) -> LateSuccess:
        """The reversal operation with the attempt that its `target_reference` names."""
        async with self._database.reading() as connection:
            standing = await read_standing(connection, subject.payment_id, subject.operation_id, lock=False)
            target = standing.operation.target_reference
            attempt = target and await attempts.find_by_reference(connection, target)
        if not attempt:
            raise NotFound(f"the attempt that {subject.operation_id} undoes")
        return LateSuccess(standing, attempt, self.call(standing, attempt))

    async def reviewed(self, subject: Subject) -> Reviewed:
        """The operation's latest review. Raises `NotFound`.

        The attempt is its own; or, of what the acquirer did of itself and of a late success, the one that this is
        about.
        """
        async with self._database.reading() as connection:
            operation, review, own, authorization = await connection.fetch_together(
                payments.operation_by_id(subject.operation_id),
                review_rows.of_operation(subject.operation_id),
                attempts.latest(subject.operation_id),
                attempts.latest(subject.payment_id),
            )
            if operation is None or operation.payment_id != subject.payment_id:
                raise NotFound(f"{subject.operation_id} of {subject.payment_id}")
            if operation.target_reference is not None:
                own = await attempts.find_by_reference(connection, operation.target_reference)
        done_by_others = operation.origin is Origin.ACQUIRER
        return Reviewed(review, operation, authorization if own is None and done_by_others else own)

    async def done_by_others(self, kind: OperationKind, attempt: Attempt) -> bool:
        """Whether somebody has captured, or refunded, at the acquirer since the attempt was claimed: in its stead?"""
        if kind not in _BY_AMOUNT:
            return False
        since = attempt.claimed_at - CLOCK_SKEW
        async with self._database.reading() as connection:
            return await connection.fetch(payments.done_by_others(attempt.payment_id, kind, since=since))

    async def admit_expiry(self, payment_id: str) -> str | None:
        """The id of the expiry that is to be completed now; None where there is none, or something comes first.

        Admitted like any operation, under the payment's lock: with a capture or void pending it waits for that.
        Where the acquirer must be told, the expiry is left pending as a void for the workflow to send.
        """
        now = datetime.now(UTC)
        async with self._database.transaction() as connection:
            payment = await connection.fetch(payments.locked(payment_id))
            if payment is None:
                raise NotFound(payment_id)
            if payment.pending_operation is not None:
                ours = payment.pending_operation["type"] == OperationKind.EXPIRE
                return str(payment.pending_operation["id"]) if ours else None
            if payment.accepted or not expires(payment, now=now):
                return None
            sent = self._capabilities[payment.connector_account].expiry_is_sent
            earlier = await connection.fetch(payments.expiries_of(payment_id))
            expiry = of_our_own(
                payment,
                OperationKind.EXPIRE,
                id_=self._ids.expiry(payment_id=payment_id, earlier=earlier),
                amount_minor=payment.uncaptured_minor,
                now=now,
                deferred_at=now,
            )
            # Where it is sent, the workflow carries it out as a void.
            shown = {**pending(expiry), "type": OperationKind.VOID if sent else OperationKind.EXPIRE}
            await payments.insert_operation(connection, expiry, sweep_at=now)
            await payments.save_payment(connection, payment, replace(payment, pending_operation=shown))
        return None if sent else expiry.id

    def call(self, standing: Standing, attempt: Attempt) -> Call:
        """What an inquiry or a reversal asks for: by the attempt's own references."""
        return call_about(standing, attempt)

    def not_found_proves(self, attempt: Attempt, capabilities: Capabilities, *, now: datetime) -> bool:
        """Whether NOT_FOUND says by now that the claim was not processed and never will be."""
        return self.same_acquirer(attempt) and not_found_proves(
            attempt, now, call_deadline_s=capabilities.call_deadline_s, finality_s=capabilities.finality_s
        )

    def same_acquirer(self, attempt: Attempt) -> bool:
        """Whether what the account says of its not knowing the attempt, or its undoing it, may count."""
        account = attempt.connector_account
        same = same_acquirer(attempt, self._identities.get(account))
        if not same:
            ANOTHER_ACQUIRER.labels(account).inc()
            log.error("another_acquirer", account=account, operation_id=attempt.operation_id)
        return same

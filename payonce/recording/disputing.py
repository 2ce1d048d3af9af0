"""What an acquirer says of a dispute, in a transaction of its own under the payment's lock."""

from dataclasses import replace
from datetime import datetime

from payonce.domain import acceptance
from payonce.domain import disputes as rules
from payonce.domain.errors import NotFound
from payonce.domain.facts import Approved, Declined, Disputed, Fact
from payonce.domain.ids import IdFactory
from payonce.domain.operations import Attempt, OperationStatus, Subject
from payonce.domain.settlement import Settlement
from payonce.recording.rows import Decide, Reading, Rows
from payonce.storage import callbacks, disputes, events, payments
from payonce.storage.callbacks import Received
from payonce.storage.driver.connection import Connection
from payonce.storage.told import decoded_all


def hearing(
    ids: IdFactory, subject: Subject, number: int, said: Disputed, *, told: Received | None = None
) -> tuple[Reading, Decide]:
    """How the dispute is known, and what the acquirer's word makes of it.

    `told`: the callback that carries it, where each says what changed; then all that came about its reference counts
    together, as it is under the payment's lock. Raises `NotFound` where the attempt that it is about is not there.
    """
    standing, accepting = said, False

    async def reading(connection: Connection, rows: Rows) -> Rows:
        nonlocal standing, accepting
        if rows.attempt is None:
            raise NotFound(f"attempt {number} of {subject.operation_id}")
        if told is not None:
            words = decoded_all(await callbacks.facts_about(connection, told))
            same = [word for word in words if isinstance(word, Disputed) and word.id == said.id]
            standing = rules.latest([*same, said])
        dispute_id = _id(ids, rows.attempt, said)
        known, accepting = await connection.fetch_together(
            disputes.find(dispute_id), payments.acceptance_is_under_way(dispute_id)
        )
        return replace(rows, dispute=known)

    def decide(rows: Rows, now: datetime) -> Settlement:
        assert rows.attempt is not None
        return rules.hear(
            *(rows.payment, rows.operation, rows.attempt, rows.dispute, standing),
            dispute_id=_id(ids, rows.attempt, said),
            accepting=accepting,
            now=now,
        )

    return reading, decide


def suspecting() -> tuple[Reading, Decide]:
    """Whether the merchant was told before that the cardholder's bank suspects a fraud, and what is told now."""
    told_before = False

    async def reading(connection: Connection, rows: Rows) -> Rows:
        nonlocal told_before
        told_before = await connection.fetch(events.was_told(rows.payment.id, rules.FRAUD_WARNING))
        return rows

    def decide(rows: Rows, now: datetime) -> Settlement:
        return rules.suspect(rows.payment, rows.operation, told_before=told_before, now=now)

    return reading, decide


def warning(dispute_id: str) -> tuple[Reading, Decide]:
    """How the dispute is known, and what the nearness of its deadline makes of it."""

    async def reading(connection: Connection, rows: Rows) -> Rows:
        return replace(rows, dispute=await connection.fetch(disputes.find(dispute_id)))

    def decide(rows: Rows, now: datetime) -> Settlement:
        return rules.warn(rows.payment, rows.operation, rows.dispute, now=now)

    return reading, decide


async def conclude(
    connection: Connection, rows: Rows, settled: Settlement, *, about: Fact | None, now: datetime
) -> tuple[Rows, Settlement]:
    """What is settled of an acceptance, with its dispute as it is by that. Of any other operation nothing changes."""
    dispute_id = settled.operation.dispute_id
    if dispute_id is None:
        return rows, settled
    known = await connection.fetch(disputes.find(dispute_id))
    if known is None:
        raise NotFound(dispute_id)
    said = about.dispute if isinstance(about, Approved | Declined) else None
    was_pending = rows.operation.status is OperationStatus.PENDING
    concluded = acceptance.conclude(settled, known, said, was_pending=was_pending, now=now)
    return replace(rows, dispute=known), concluded


def _id(ids: IdFactory, attempt: Attempt, said: Disputed) -> str:
    return ids.dispute(account=attempt.connector_account, acquirer_id=said.id)

"""What succeeded here and was in no list of an acquirer: noted by the run that missed it first."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, delete, exists, or_, select
from sqlalchemy.dialects.postgresql import insert

from payonce.domain.operations import AttemptState, OperationKind, OperationStatus, Subject
from payonce.storage.driver.connection import Connection
from payonce.storage.reconciliation_runs import Run
from payonce.storage.references import PAYMENT_ID, REFERENCE
from payonce.storage.tables import acquirer_objects, attempts, missing_attempts, operations

MISSING_AT_ONCE: Final = 500
_LISTED = (OperationKind.AUTHORIZE, OperationKind.CAPTURE, OperationKind.VOID, OperationKind.REFUND)


@dataclass(frozen=True, slots=True)
class Missed:
    """Our reference, what it is about, and since when it is missed."""

    reference: str
    subject: Subject
    missed_at: datetime


async def miss(connection: Connection, run: Run, *, now: datetime) -> int:
    """Attempts of the run's time that succeeded, and are in no list so far, are noted; how many they are."""
    absent = (
        select(attempts.c.connector_account, REFERENCE, attempts.c.operation_id, PAYMENT_ID)
        .join(operations, operations.c.id == attempts.c.operation_id)
        .where(
            attempts.c.connector_account == run.account,
            attempts.c.claimed_at >= run.since,
            attempts.c.claimed_at < run.until,
            attempts.c.state == AttemptState.APPROVED,
            attempts.c.kind.in_(_LISTED),
            operations.c.status == OperationStatus.SUCCEEDED,
            operations.c.updated_at < run.until,
            ~_listed(attempts.c.connector_account, REFERENCE, attempts.c.connector_reference),
            ~exists().where(
                missing_attempts.c.account == run.account, missing_attempts.c.reference == REFERENCE
            ),
        )
        .limit(MISSING_AT_ONCE)
    )
    rows = [
        {
            "account": row.connector_account,
            "reference": row.reference,
            "operation_id": row.operation_id,
            "payment_id": row.payment_id,
            "run": run.id,
            "missed_at": now,
        }
        for row in await connection.execute(absent)
    ]
    if rows:
        await connection.execute(insert(missing_attempts).values(rows).on_conflict_do_nothing())
    return len(rows)


async def twice_missed(connection: Connection, run: Run) -> list[Missed]:
    """What an earlier run missed as well, some at a time."""
    query = (
        select(
            missing_attempts.c.reference,
            missing_attempts.c.payment_id,
            missing_attempts.c.operation_id,
            missing_attempts.c.missed_at,
        )
        .where(missing_attempts.c.account == run.account, missing_attempts.c.run != run.id)
        .order_by(missing_attempts.c.missed_at, missing_attempts.c.reference)
        .limit(MISSING_AT_ONCE)
    )
    return [
        Missed(row.reference, Subject(row.payment_id, row.operation_id), row.missed_at)
        for row in await connection.execute(query)
    ]


async def not_missing(connection: Connection, account: str, references: Collection[str]) -> None:
    """Nobody misses these any more."""
    await connection.execute(
        delete(missing_attempts).where(
            missing_attempts.c.account == account, missing_attempts.c.reference.in_(references)
        )
    )


async def seen_after_all(connection: Connection, account: str) -> None:
    """What was missed, and is listed by now, is missed no more."""
    listed = exists().where(
        acquirer_objects.c.account == missing_attempts.c.account,
        acquirer_objects.c.reference == missing_attempts.c.reference,
    )
    await connection.execute(delete(missing_attempts).where(missing_attempts.c.account == account, listed))


def _listed(
    account: ColumnElement[str], reference: ColumnElement[str], theirs: ColumnElement[str]
) -> ColumnElement[bool]:
    seen = acquirer_objects
    by_reference = exists().where(seen.c.account == account, seen.c.reference == reference)
    return or_(by_reference, exists().where(seen.c.account == account, seen.c.acquirer_id == theirs))

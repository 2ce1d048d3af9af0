"""Disputes: rows in, domain objects out. Whoever writes one holds its payment's lock."""

from collections.abc import Collection, Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Any

from sqlalchemy import RowMapping, bindparam, select, text

from payonce.domain.disputes import Dispute, DisputeStatus
from payonce.domain.operations import Operation
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.statements import Query, Statement, single
from payonce.storage.tables import disputes

_FIELDS = tuple(each.name for each in fields(Dispute))
DISPUTE_COLUMNS = tuple(disputes.c[name] for name in _FIELDS)
_DISPUTE = select(*DISPUTE_COLUMNS).where(disputes.c.id == bindparam("id"))
_BY_ID = Statement(_DISPUTE)
_OF_MERCHANT = Statement(
    _DISPUTE.where(disputes.c.merchant_id == bindparam("merchant_id"), disputes.c.mode == bindparam("mode"))
)


_DUE = text(  # as `disputes_due_idx` has it
    """
    SELECT payment_id, id
      FROM disputes
     WHERE status = 'needs_response' AND warned_at IS NULL
       AND evidence_due_by > now() AND evidence_due_by <= now() + CAST(:before AS interval)
     ORDER BY evidence_due_by
     LIMIT :limit
    """
)


def find(dispute_id: str) -> Query[Dispute | None]:
    """The dispute, whoever's it is: for ourselves, not for a merchant's request."""
    return single(_BY_ID, {"id": dispute_id}, dispute_from)


def of_merchant(dispute_id: str, *, merchant_id: str, mode: str) -> Query[Dispute | None]:
    """The merchant's dispute; another merchant's is not there."""
    return single(_OF_MERCHANT, {"id": dispute_id, "merchant_id": merchant_id, "mode": mode}, dispute_from)


async def by_ids(connection: Connection, ids: Collection[str]) -> dict[str, Dispute]:
    """Those of these disputes that there are, by id."""
    if not ids:
        return {}
    rows = (await connection.execute(select(*DISPUTE_COLUMNS).where(disputes.c.id.in_(ids)))).mappings()
    return {row["id"]: dispute_from(row) for row in rows}


async def accepted_by(connection: Connection, operation: Operation) -> Dispute | None:
    """The dispute that the operation accepts; None of any other."""
    return None if operation.dispute_id is None else await connection.fetch(find(operation.dispute_id))


async def save(connection: Connection, before: Dispute | None, after: Dispute) -> None:
    """The dispute is as `after`; None: it was not there."""
    if before is None:
        await connection.insert(disputes, {name: getattr(after, name) for name in _FIELDS})
        return
    changes = {
        name: getattr(after, name) for name in _FIELDS if getattr(after, name) != getattr(before, name)
    }
    await connection.update(disputes, changes, where={"id": after.id})


async def due(connection: Connection, *, before: timedelta, limit: int) -> list[tuple[str, str]]:
    """Disputes of which evidence is due and nobody was told: payment and dispute, the soonest first."""
    found = await connection.execute(_DUE, {"before": before, "limit": limit})
    return [(row.payment_id, row.id) for row in found]


def dispute_from(row: RowMapping | Mapping[str, Any]) -> Dispute:
    values = {name: row[name] for name in _FIELDS}
    return Dispute(**{**values, "status": DisputeStatus(row["status"])})

"""Events and their deliveries: written with the state change, sent by the relay."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from payonce.domain.answers import event_body
from payonce.domain.ids import IdFactory
from payonce.domain.payment import Payment
from payonce.domain.settlement import Draft
from payonce.storage.statements import Statement, insert_row, run
from payonce.storage.tables import events

# One row for each enabled endpoint of the merchant that wants the type, as of this transaction.
_ADD_DELIVERIES = Statement(
    text(
        """
    INSERT INTO webhook_deliveries
           (id, event_id, endpoint_id, payment_id, sequence, ordered, next_attempt_at, created_at)
    SELECT 'dlv_' || substr(md5(event.id || endpoint.id), 1, 24), event.id, endpoint.id,
           event.payment_id, event.sequence, endpoint.ordered, :now, :now
    FROM unnest(CAST(:ids AS text[]), CAST(:types AS text[])) AS wanted (id, type)
    JOIN events AS event ON event.id = wanted.id
    JOIN webhook_endpoints AS endpoint
      ON endpoint.merchant_id = :merchant_id AND endpoint.mode = :mode AND endpoint.enabled
     AND (endpoint.events ? '*' OR endpoint.events ? wanted.type)
    """
    )
)


async def add_events(
    connection: AsyncConnection, payment: Payment, drafts: Sequence[Draft], *, ids: IdFactory, now: datetime
) -> None:
    """The events and one delivery for each subscribed endpoint are there when the transaction commits."""
    if not drafts:
        return
    rows = [_row(payment, draft, ids=ids, now=now) for draft in drafts]
    for row in rows:
        await insert_row(connection, events, row)
    await run(
        connection,
        _ADD_DELIVERIES,
        {
            "ids": [row["id"] for row in rows],
            "types": [row["type"] for row in rows],
            "merchant_id": payment.merchant_id,
            "mode": payment.mode,
            "now": now,
        },
    )


def _row(payment: Payment, draft: Draft, *, ids: IdFactory, now: datetime) -> dict[str, object]:
    event_id = ids.event(payment_id=payment.id, sequence=draft.sequence)
    body = event_body(event_id=event_id, type_=draft.type, at=now, sequence=draft.sequence, data=draft.data)
    return {
        "id": event_id,
        "merchant_id": payment.merchant_id,
        "mode": payment.mode,
        "payment_id": payment.id,
        "sequence": draft.sequence,
        "type": draft.type,
        "body": body,
        "created_at": now,
    }

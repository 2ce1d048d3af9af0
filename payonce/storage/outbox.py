"""Events and their deliveries: written with the state change, sent by the relay."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text

from payonce.domain.answers import event_body
from payonce.domain.ids import IdFactory
from payonce.domain.payment import Payment
from payonce.domain.settlement import Draft
from payonce.storage.driver.connection import Connection, Written
from payonce.storage.driver.statements import Statement

# The events, and one delivery of each for every enabled endpoint of the merchant that wants its type, as of this
# transaction.
_ADD_EVENTS = Statement(
    text(
        """
    WITH added AS (
        INSERT INTO events (id, merchant_id, mode, payment_id, sequence, type, body, created_at)
        SELECT id, :merchant_id, :mode, :payment_id, sequence, type, body,
               CAST(:now AS timestamptz)
        FROM unnest(CAST(:ids AS text[]), CAST(:sequences AS integer[]), CAST(:types AS text[]),
                    CAST(:bodies AS bytea[])) AS drafted (id, sequence, type, body)
        RETURNING id, sequence, type)
    INSERT INTO webhook_deliveries
           (id, event_id, endpoint_id, payment_id, sequence, ordered, next_attempt_at, created_at)
    SELECT 'dlv_' || substr(md5(added.id || endpoint.id), 1, 24), added.id, endpoint.id,
           :payment_id, added.sequence, endpoint.ordered,
           CAST(:now AS timestamptz), CAST(:now AS timestamptz)
    FROM added
    JOIN webhook_endpoints AS endpoint
      ON endpoint.merchant_id = :merchant_id AND endpoint.mode = :mode AND endpoint.enabled
     AND (endpoint.events ? '*' OR endpoint.events ? added.type)
    """
    )
)


async def add_events(
    connection: Connection,
    payment: Payment,
    drafts: Sequence[Draft],
    *,
    ids: IdFactory,
    xid: int,
    now: datetime,
) -> Written:
    """The events and one delivery for each subscribed endpoint are there when the transaction commits.

    `xid` is the transaction's own id, as `payments.locked_to_record` tells. As rows it counts the deliveries.
    """
    if not drafts:
        return Written()
    event_ids = [ids.event(payment_id=payment.id, sequence=draft.sequence, xid=xid) for draft in drafts]
    drafted = zip(event_ids, drafts, strict=True)
    return await connection.write(
        _ADD_EVENTS,
        {
            "merchant_id": payment.merchant_id,
            "mode": payment.mode,
            "payment_id": payment.id,
            "now": now,
            "ids": event_ids,
            "sequences": [draft.sequence for draft in drafts],
            "types": [draft.type for draft in drafts],
            "bodies": [_body(id_, draft, now=now) for id_, draft in drafted],
        },
    )


def _body(event_id: str, draft: Draft, *, now: datetime) -> bytes:
    return event_body(event_id=event_id, type_=draft.type, at=now, sequence=draft.sequence, data=draft.data)

"""Events and their deliveries: written with the state change, sent by the relay."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text

from payonce.domain.answers import event_body, payment_method_view
from payonce.domain.events import EventType
from payonce.domain.ids import IdFactory, random_id
from payonce.domain.payment import Payment
from payonce.domain.payment_methods import PaymentMethod
from payonce.domain.settlement import Draft
from payonce.storage.driver.connection import Connection, Written
from payonce.storage.driver.statements import Row, Statement
from payonce.storage.packing import pack_event

_DRAFTED = """
    unnest(CAST(:ids AS text[]), CAST(:sequences AS integer[]), CAST(:types AS text[]), CAST(:bodies AS bytea[]))
        AS drafted (id, sequence, type, body)
"""
_EVENTS = f"""
    INSERT INTO events (id, merchant_id, mode, payment_id, sequence, type, body, created_at)
    SELECT id, :merchant_id, :mode, :payment_id, sequence, type, body, CAST(:now AS timestamptz) FROM {_DRAFTED}
"""  # noqa: S608 - of constants only
# One delivery of each for every enabled endpoint of the merchant that wants its type, as of this transaction.
_DELIVERIES = """
    INSERT INTO webhook_deliveries
           (id, event_id, endpoint_id, payment_id, sequence, ordered, next_attempt_at, created_at)
    SELECT 'dlv_' || substr(md5(added.id || endpoint.id), 1, 24), added.id, endpoint.id,
           :payment_id, added.sequence, endpoint.ordered,
           CAST(:now AS timestamptz), CAST(:now AS timestamptz)
    FROM {added}
    JOIN webhook_endpoints AS endpoint
      ON endpoint.merchant_id = :merchant_id AND endpoint.mode = :mode AND endpoint.enabled
     AND (endpoint.events ? '*' OR endpoint.events ? added.type)
"""
_ADD_EVENTS = Statement(
    text(f"WITH added AS ({_EVENTS} RETURNING id, sequence, type) {_DELIVERIES.format(added='added')}")
)
# The same in two: a policy asks whose event a delivery is of, and does not see what its own statement adds.
_ADD_EVENTS_FIRST = Statement(text(_EVENTS))
_ADDED = """
    unnest(CAST(:ids AS text[]), CAST(:sequences AS integer[]), CAST(:types AS text[])) AS added (id, sequence, type)
"""
_THEN_DELIVERIES = Statement(text(_DELIVERIES.format(added=_ADDED)))


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
    return await _add(
        connection,
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


async def add_payment_method_event(
    connection: Connection, method: PaymentMethod, type_: EventType, *, now: datetime
) -> Written:
    """As `add_events`: the event that shows the payment method as it is now. It has no sequence."""
    event_id = random_id("evt")
    data = payment_method_view(method, now=now)
    return await _add(
        connection,
        {
            "merchant_id": method.merchant_id,
            "mode": method.mode,
            "payment_id": None,
            "now": now,
            "ids": [event_id],
            "sequences": [0],
            "types": [type_],
            "bodies": [event_body(event_id=event_id, type_=type_, at=now, sequence=None, data=data)],
        },
    )


async def _add(connection: Connection, values: Row) -> Written:
    """The events and their deliveries, sent with whatever comes next; as rows it counts the deliveries."""
    if connection.packs:
        values = {**values, "bodies": _packed(values)}
    if not connection.of_api:
        return await connection.write(_ADD_EVENTS, values)
    await connection.write(_ADD_EVENTS_FIRST, values)
    return await connection.write(_THEN_DELIVERIES, values)


def _packed(values: Row) -> list[bytes]:
    events = zip(values["ids"], values["bodies"], strict=True)
    of = {"payment_id": values["payment_id"], "created_at": values["now"]}
    return [pack_event(body, id_=id_, **of) for id_, body in events]


def _body(event_id: str, draft: Draft, *, now: datetime) -> bytes:
    return event_body(event_id=event_id, type_=draft.type, at=now, sequence=draft.sequence, data=draft.data)

"""The way back to a release that packs no bodies: each is stored as it is, some at a time, wherever it broke off."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import TextClause, text

from payonce.storage.driver.connection import Connection
from payonce.storage.driver.statements import dumps
from payonce.storage.idempotency import location_from
from payonce.storage.packing import PACKED_BELOW, body_of, unpack, unpack_method
from payonce.storage.tables import STRETCH

AT_ONCE: Final = 200  # an outcome waits for the key that it answers
Key = tuple[str, str, str]
FIRST_KEY: Final[Key] = ("", "", "")
Tried = tuple[str, int]  # an attempt's key
FIRST_ATTEMPT: Final[Tried] = ("", 0)

# Of the time since an unpacking began, by clocks that differ; `events_made_idx` has it.
_STILL_PACKED: Final = text(
    f"""
    SELECT EXISTS (
        SELECT FROM events
         WHERE {STRETCH} > CAST(:since AS timestamptz) - interval '6 hours 1 minute' AND xid >= CAST(:xid AS xid8)
           AND get_byte(body, 0) < {PACKED_BELOW})
    """  # noqa: S608 - of constants only
)
_EVENTS: Final = text(
    """
    SELECT id, payment_id, created_at, body FROM events
     WHERE id > :after ORDER BY id LIMIT :limit FOR NO KEY UPDATE
    """
)
_EVENTS_UNPACKED: Final = text(
    """
    UPDATE events SET body = given.body
      FROM unnest(CAST(:ids AS text[]), CAST(:bodies AS bytea[])) AS given (id, body)
     WHERE events.id = given.id
    """
)
_KEYS: Final = text(
    """
    SELECT merchant_id, mode, key, operation_id, location, answer_body AS body FROM idempotency_keys
     WHERE (merchant_id, mode, key) > (:merchant_id, :mode, :key)
     ORDER BY merchant_id, mode, key LIMIT :limit FOR NO KEY UPDATE
    """
)
_KEYS_UNPACKED: Final = text(
    """
    UPDATE idempotency_keys SET answer_body = given.body, location = given.location
      FROM unnest(CAST(:merchant_ids AS text[]), CAST(:modes AS text[]), CAST(:keys AS text[]),
                  CAST(:bodies AS bytea[]), CAST(:locations AS text[]))
        AS given (merchant_id, mode, key, body, location)
     WHERE (idempotency_keys.merchant_id, idempotency_keys.mode, idempotency_keys.key)
         = (given.merchant_id, given.mode, given.key)
    """
)
_PAYMENTS: Final = text(
    """
    SELECT id, payment_method FROM payments
     WHERE id > :after AND json_typeof(payment_method) = 'array'
     ORDER BY id LIMIT :limit FOR NO KEY UPDATE
    """
)
_PAYMENTS_UNPACKED: Final = text(
    """
    UPDATE payments SET payment_method = CAST(given.method AS json)
      FROM unnest(CAST(:ids AS text[]), CAST(:methods AS text[])) AS given (id, method)
     WHERE payments.id = given.id
    """
)
_ATTEMPTS: Final = text(
    """
    WITH page AS (
        SELECT operation_id, number FROM attempts WHERE (operation_id, number) > (:operation_id, :number)
         ORDER BY operation_id, number LIMIT :limit
    ), written AS (
        UPDATE attempts
           SET reference = attempts.operation_id || '-' || attempts.number,
               payment_id = coalesce(attempts.payment_id, attempts.operation_id)
          FROM page
         WHERE attempts.operation_id = page.operation_id AND attempts.number = page.number
           AND (attempts.reference IS NULL OR attempts.payment_id IS NULL)
    )
    SELECT operation_id, number FROM page ORDER BY operation_id DESC, number DESC
    """
)


async def still_packed(connection: Connection, *, since: datetime, xid: int) -> bool:
    """Whether what a transaction with this id or a later one wrote of an event is packed.

    `xid`: of the oldest one that ran when the unpacking began, since what it wrote may be behind the page.
    """
    return bool((await connection.execute(_STILL_PACKED, {"since": since, "xid": str(xid)})).scalar_one())


async def unpack_events(connection: Connection, *, after: str, limit: int = AT_ONCE) -> str | None:
    """The next `limit` events after this id are stored as they are; the last one's id, None: there were fewer."""
    found = (await connection.execute(_EVENTS, {"after": after, "limit": limit})).mappings().all()
    whole = [(row["id"], body) for row in found if (body := body_of(row)) != bytes(row["body"])]
    await _write(connection, _EVENTS_UNPACKED, ("ids", "bodies"), whole)
    return str(found[-1]["id"]) if len(found) == limit else None


async def unpack_payments(connection: Connection, *, after: str, limit: int = AT_ONCE) -> str | None:
    """The same of payments, with how each is paid."""
    found = (await connection.execute(_PAYMENTS, {"after": after, "limit": limit})).mappings().all()
    whole = [(row["id"], dumps(unpack_method(row["payment_method"]))) for row in found]
    await _write(connection, _PAYMENTS_UNPACKED, ("ids", "methods"), whole)
    return str(found[-1]["id"]) if len(found) == limit else None


async def unpack_keys(connection: Connection, *, after: Key, limit: int = AT_ONCE) -> Key | None:
    """The same of keys, with their answers and paths, whose order is that of merchant, mode and key."""
    merchant_id, mode, key = after
    place = {"merchant_id": merchant_id, "mode": mode, "key": key}
    found = (await connection.execute(_KEYS, {**place, "limit": limit})).mappings().all()
    whole = []
    for row in found:
        kept = None if row["body"] is None else bytes(row["body"]), row["location"]
        said = kept[0] and unpack(kept[0]), location_from(row)
        if said != kept:
            whole.append((row["merchant_id"], row["mode"], row["key"], *said))
    await _write(connection, _KEYS_UNPACKED, ("merchant_ids", "modes", "keys", "bodies", "locations"), whole)
    if len(found) < limit:
        return None
    return found[-1]["merchant_id"], found[-1]["mode"], found[-1]["key"]


async def unpack_attempts(connection: Connection, *, after: Tried, limit: int = AT_ONCE) -> Tried | None:
    """The next `limit` attempts after this one have reference and payment in their rows; the last one's key."""
    place = {"operation_id": after[0], "number": after[1]}
    found = (await connection.execute(_ATTEMPTS, {**place, "limit": limit})).all()
    return (found[0].operation_id, found[0].number) if len(found) == limit else None


async def _write(
    connection: Connection, statement: TextClause, names: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """All of the page's in one statement: one for each row took ten times as long."""
    if rows:
        await connection.execute(statement, dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))

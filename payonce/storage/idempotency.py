"""Idempotency keys: the unique row that decides, for ever."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    RowMapping,
    Text,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    null,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from payonce.domain.answers import Answer, AnswerKind, encode
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.statements import Query, Statement, single
from payonce.storage.packing import pack, unpack
from payonce.storage.tables import idempotency_keys, payments

ANSWER_KEPT = timedelta(days=30)
LOOKED_AT_AFTER = ANSWER_KEPT + timedelta(
    hours=1
)  # a key is answered soon after it is made, and so looked at once
SECRET_SHOWN = timedelta(hours=24)  # of a webhook endpoint, in the replay of its creation or rotation
_WITH_SECRET = frozenset({AnswerKind.ENDPOINT, AnswerKind.ENDPOINT_CHANGED})
FINGERPRINT_VERSION = 1  # raised when the canonical form changes; a row is compared under its own version


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One row: what the key stands for and, once there is one, its answer."""

    merchant_id: str
    mode: str
    key: str
    fingerprint: bytes
    operation_id: str | None
    location: str
    request_id: str
    created_at: datetime
    fingerprint_version: int = FINGERPRINT_VERSION
    answered_at: datetime | None = None
    answer_kind: str | None = None
    answer_body: bytes | None = None

    @property
    def asking(self) -> Answer | None:
        """The answer that the customer must act: it counts while they may, and until there is a definite one."""
        if self.answered_at is not None or self.answer_body is None:
            return None
        return Answer(AnswerKind.PAYMENT, self.answer_body, definite=False)

    def answer(self, now: datetime) -> Answer | None:
        """The definite answer, without a secret that is no longer shown; None where there is none, or no longer."""
        if self.answer_kind is None or self.answer_body is None or self.answered_at is None:
            return None
        kind = AnswerKind(self.answer_kind)
        shown = kind not in _WITH_SECRET or now - self.answered_at <= SECRET_SHOWN
        return Answer(kind, self.answer_body if shown else without_secret(self.answer_body))

    def expired(self, now: datetime) -> bool:
        """Whether the answer need not be kept any more; the key itself never executes again."""
        return self.answered_at is not None and (
            self.answer_body is None or now - self.answered_at > ANSWER_KEPT
        )


_SHOWN_AT = {"pay": "/v1/payments/", "re": "/v1/refunds/"}  # by how the ids of what is created begin
_FIELDS = tuple(field.name for field in fields(Key))
_COLUMNS = tuple(idempotency_keys.c[name] for name in _FIELDS)
_OF_MERCHANT = (
    idempotency_keys.c.merchant_id == bindparam("merchant_id"),
    idempotency_keys.c.mode == bindparam("mode"),
)
_OF_OPERATION = (*_OF_MERCHANT, idempotency_keys.c.operation_id == bindparam("operation_id"))
_CREATES: Final = "pay_"  # how the ids of creates begin
_BESIDE_CREATE = (  # in words of SQL, so that a prepared statement is known to go by that index
    *_OF_OPERATION,
    ~func.starts_with(idempotency_keys.c.operation_id, literal_column(f"'{_CREATES}'")),
)
_OF_CREATE = (  # by the payment, which has the id of its create and says its key
    *_OF_OPERATION,
    payments.c.id == bindparam("operation_id"),
    idempotency_keys.c.key == payments.c.idempotency_key,
)

_CLAIM = Statement(
    insert(idempotency_keys)
    .values({name: bindparam(name) for name in (*_FIELDS, "forget_at")})
    .on_conflict_do_nothing()
    .returning(idempotency_keys.c.key)
)
_KEY = Statement(select(*_COLUMNS).where(*_OF_MERCHANT, idempotency_keys.c.key == bindparam("key")))
_WRITTEN_BY = Statement(
    select(cast(literal_column("idempotency_keys.xmin"), Text).label("xid")).where(
        *_OF_MERCHANT, idempotency_keys.c.key == bindparam("key")
    )
)


def _answer_of(conditions: tuple[ColumnElement[bool], ...]) -> Statement:
    answer = select(idempotency_keys.c.answer_kind, idempotency_keys.c.answer_body)
    return Statement(answer.where(*conditions, idempotency_keys.c.answer_body.is_not(None)))


def _storing_answer_of(conditions: tuple[ColumnElement[bool], ...]) -> Statement:
    unanswered = update(idempotency_keys).where(*conditions, idempotency_keys.c.answered_at.is_(None))
    names = ("answered_at", "answer_kind", "answer_body")
    return Statement(unanswered.values({name: bindparam(name) for name in names}))


_ANSWER = _answer_of(_BESIDE_CREATE)
_ANSWER_OF_CREATE = _answer_of(_OF_CREATE)
_STORE_ANSWER = _storing_answer_of(_BESIDE_CREATE)
_STORE_ANSWER_OF_CREATE = _storing_answer_of(_OF_CREATE)


def path_of(operation_id: str | None) -> str | None:
    """The path that derives from the id alone, of the payment or the refund that it names; None: it names neither."""
    if operation_id is None:
        return None
    path = _SHOWN_AT.get(operation_id.partition("_")[0])
    return None if path is None else f"{path}{operation_id}"


async def claim_key(connection: Connection, key: Key) -> bool:
    """True: the key is this request's. False: it was taken; read it.

    A concurrent claim of the same key waits here for the other transaction to end.
    """
    values = {name: getattr(key, name) for name in _FIELDS}
    if connection.packs and key.location == path_of(key.operation_id):
        values["location"] = None
    values["forget_at"] = key.created_at + LOOKED_AT_AFTER
    return await connection.fetch(Query(_CLAIM, values, bool))


def key_of(*, merchant_id: str, mode: str, key: str) -> Query[Key | None]:
    """The key's row."""
    values = {"merchant_id": merchant_id, "mode": mode, "key": key}
    return single(_KEY, values, _key_from)


async def find_key(connection: Connection, *, merchant_id: str, mode: str, key: str) -> Key | None:
    return await connection.fetch(key_of(merchant_id=merchant_id, mode=mode, key=key))


def written_by(*, merchant_id: str, mode: str, key: str) -> Query[int | None]:
    """The id of the transaction that wrote the key's row last, as the row shows it; None: there is no such key."""
    values = {"merchant_id": merchant_id, "mode": mode, "key": key}
    return single(_WRITTEN_BY, values, lambda row: int(row["xid"]))


async def find_answer(
    connection: Connection, *, operation_id: str, merchant_id: str, mode: str
) -> Answer | None:
    """The stored answer of an operation; None while there is none or when it is no longer kept.

    One that is not definite counts only while the customer may act: `leaving.may_act`.
    """
    values = {"operation_id": operation_id, "merchant_id": merchant_id, "mode": mode}
    statement = _ANSWER_OF_CREATE if _is_create(operation_id) else _ANSWER
    return await connection.fetch(single(statement, values, _answer_from))


async def answer_key(connection: Connection, key: Key, *, answer: Answer, location: str) -> None:
    """The key that this transaction claimed is answered at once, with no operation behind it."""
    await connection.execute(
        update(idempotency_keys)
        .where(
            idempotency_keys.c.merchant_id == key.merchant_id,
            idempotency_keys.c.mode == key.mode,
            idempotency_keys.c.key == key.key,
        )
        .values(
            operation_id=None,
            location=location,
            answered_at=key.created_at,
            answer_kind=answer.kind,
            answer_body=answer.body,
        )
    )


async def store_answer(
    connection: Connection,
    *,
    operation_id: str,
    merchant_id: str,
    mode: str,
    answer: Answer,
    now: datetime,
) -> None:
    """The operation's first definite answer is kept; a second one changes nothing.

    One that is not definite is stored as a body alone, without the time and the kind of an answer.
    """
    values = {"operation_id": operation_id, "merchant_id": merchant_id, "mode": mode}
    body = pack(answer.body) if connection.packs else answer.body
    given: dict[str, Any] = {"answered_at": None, "answer_kind": None, "answer_body": body}
    if answer.definite:
        given |= {"answered_at": now, "answer_kind": answer.kind}
    statement = _STORE_ANSWER_OF_CREATE if _is_create(operation_id) else _STORE_ANSWER
    await connection.write(statement, {**values, **given})


def _is_create(operation_id: str) -> bool:
    return operation_id.startswith(_CREATES)


def _key_from(row: Mapping[str, Any]) -> Key:
    stored: bytes | None = row["answer_body"]
    body = None if stored is None else unpack(stored)
    return Key(**{**row, "answer_body": body, "location": location_from(row)})


def location_from(row: Mapping[str, Any] | RowMapping) -> str:
    """The path of a key's row, written or left out."""
    written: str | None = row["location"]
    if written is None:
        written = path_of(row["operation_id"])
        assert written is not None, "only what derives is left out"
    return written


def _answer_from(row: Mapping[str, Any]) -> Answer:
    body = unpack(row["answer_body"])
    if row["answer_kind"] is None:
        return Answer(AnswerKind.PAYMENT, body, definite=False)
    return Answer(AnswerKind(row["answer_kind"]), body)


def without_secret(body: bytes) -> bytes:
    """The body that shows an endpoint, without its secret; the other members as they were."""
    members = json.loads(body)
    members.pop("secret", None)
    return encode(members)


async def forget_secrets(connection: Connection, *, now: datetime, limit: int) -> int:
    """At most `limit` answers lose the secret that is no longer shown."""
    query = (
        select(*_COLUMNS)
        .where(
            idempotency_keys.c.operation_id.is_(
                None
            ),  # as of every answer about an endpoint: an index has these few
            idempotency_keys.c.answer_kind.in_(_WITH_SECRET),
            idempotency_keys.c.answered_at < now - SECRET_SHOWN,
            text("position(CAST('\"secret\":' AS bytea) IN answer_body) > 0"),
        )
        .limit(limit)
    )
    old = [Key(**row) for row in (await connection.execute(query)).mappings()]
    for key in old:
        assert key.answer_body is not None
        await connection.execute(
            update(idempotency_keys)
            .where(
                idempotency_keys.c.merchant_id == key.merchant_id,
                idempotency_keys.c.mode == key.mode,
                idempotency_keys.c.key == key.key,
            )
            .values(answer_body=without_secret(key.answer_body))
        )
    return len(old)


async def forget_answers(connection: Connection, *, now: datetime, limit: int) -> int:
    """How many keys were looked at, at most `limit`: answers older than `ANSWER_KEPT` are cleared, their keys stay.

    A key without an answer yet, or with one that came late, is looked at again when that may be so old.
    """
    keys = idempotency_keys
    of = (keys.c.merchant_id, keys.c.mode, keys.c.key)
    due = (
        select(*of)
        .where(keys.c.forget_at <= now)
        .order_by(keys.c.forget_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    old = keys.c.answered_at <= now - ANSWER_KEPT
    looked_at: CursorResult[None] = await connection.execute(
        update(keys)
        .where(*(column == due.c[column.name] for column in of))
        .values(
            answer_body=case((old, null()), else_=keys.c.answer_body),
            forget_at=case((old, null()), else_=func.coalesce(keys.c.answered_at, now) + ANSWER_KEPT),
        )
    )
    return looked_at.rowcount

"""Receipts that were asked for: which are stored, which are still to be drawn, and which could not be.

A key of the store names the hash of what lies there, which the row has before it is put: two renderers, or two rows
of one receipt before and after Postgres was restored, never want one key for different bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    and_,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from payonce.domain.operations import Operation, OperationKind, OperationStatus
from payonce.domain.payment import Payment
from payonce.domain.turns import booked_minor
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.statements import Query, Row, Statement, single
from payonce.storage.payments import OPERATION_COLUMNS, operation_from
from payonce.storage.tables import operations, receipt_erasures, receipts

Form = Literal["html", "pdf"]
WAITING_MAX: Final = 2_000  # of one merchant's in one mode; more are asked for again
AHEAD_MAX: Final = 500  # counted of those that are drawn before one
DRAWN_TRIES_MAX: Final = 5  # that came to nothing; then it is given up
GIVEN_UP_FOR: Final = timedelta(hours=1)  # then whoever asks has it tried anew
LEASED_FOR: Final = timedelta(seconds=45)  # drawn, put and read back in 10 s each
PAYMENT_ITSELF: Final = ""  # in the place of a refund's id
_NEVER: Final = text("'infinity'::timestamptz")


@dataclass(frozen=True, slots=True)
class ReceiptPlace:
    """Which receipt: of a payment, or of one of its refunds, as of an event, in one form."""

    payment_id: str
    refund_id: str
    sequence: int
    form: Form
    erased: bool


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """A receipt that was asked for. `sha256`: of what the store holds; `hashes`: of what it may hold."""

    place: ReceiptPlace
    merchant_id: str
    mode: str
    hashes: tuple[bytes, ...] = ()
    sha256: bytes | None = None
    length: int | None = None
    stored_at: datetime | None = None
    tries: int = 0
    not_drawn: int = 0
    given_up_until: datetime | None = None

    @property
    def key(self) -> str:
        """Where the store has it."""
        assert self.sha256 is not None, "asked only of what is stored"
        return self.key_of(self.sha256)

    def key_of(self, sha256: bytes) -> str:
        """Where the store has these bytes of it."""
        place = self.place
        refund = f"-{place.refund_id}" if place.refund_id else ""
        erased = "-erased" if place.erased else ""
        folder = folder_of(self.merchant_id, place.payment_id)
        return f"{folder}/{place.sequence}{refund}-{sha256.hex()}{erased}.{place.form}"


@dataclass(frozen=True, slots=True)
class Turn:
    """When a receipt is drawn: how many of its merchant's are before it, how long it waits, and how long it must."""

    ahead: int
    age_s: float
    due_in_s: float


def folder_of(merchant_id: str, payment_id: str) -> str:
    """Where everything lies that the store has of the payment."""
    return f"{merchant_id}/{payment_id}"


_PLACE: Final = (
    receipts.c.payment_id,
    receipts.c.refund_id,
    receipts.c.sequence,
    receipts.c.form,
    receipts.c.erased,
)
_SHOWN: Final = (
    *_PLACE,
    *(receipts.c.merchant_id, receipts.c.mode, receipts.c.hashes, receipts.c.sha256),
    *(receipts.c.bytes, receipts.c.stored_at, receipts.c.tries),
    *(receipts.c.not_drawn, receipts.c.given_up_until),
)
_HERE: Final = and_(*(column == bindparam(f"at_{column.name}") for column in _PLACE))
_ERASED: Final = Statement(
    select(receipt_erasures.c.erased_at).where(receipt_erasures.c.payment_id == bindparam("payment_id"))
)
_AT: Final = Statement(select(*_SHOWN).where(_HERE))
_OF_MERCHANT: Final = and_(
    receipts.c.merchant_id == bindparam("merchant_id"), receipts.c.mode == bindparam("mode")
)
_WAITING: Final = Statement(
    select(func.count().label("count")).select_from(
        select(receipts.c.payment_id)
        .where(_OF_MERCHANT, receipts.c.stored_at.is_(None), receipts.c.given_up_until.is_(None))
        .limit(WAITING_MAX)
        .subquery()
    )
)
_OTHERS: Final = receipts.alias("others")
_AHEAD: Final = (
    select(_OTHERS.c.payment_id)
    .where(
        _OTHERS.c.merchant_id == receipts.c.merchant_id,
        _OTHERS.c.mode == receipts.c.mode,
        _OTHERS.c.stored_at.is_(None),
        _OTHERS.c.due_at < receipts.c.due_at,
    )
    .limit(AHEAD_MAX)
    .correlate(receipts)
    .subquery("ahead")
)
_TURN: Final = Statement(
    select(
        select(func.count()).select_from(_AHEAD).correlate(receipts).scalar_subquery().label("ahead"),
        func.extract("epoch", func.now() - receipts.c.asked_at).label("age_s"),
        func.extract(
            "epoch", func.least(receipts.c.due_at, func.now() + timedelta(hours=1)) - func.now()
        ).label("due_in_s"),
    ).where(_HERE)
)
_ASK: Final = Statement(
    upsert(receipts)
    .values({name: bindparam(name) for name in (*(column.name for column in _PLACE), "merchant_id", "mode")})
    .on_conflict_do_nothing()
)
_REFUND: Final = Statement(
    select(*OPERATION_COLUMNS).where(
        operations.c.id == bindparam("id"),
        operations.c.payment_id == bindparam("payment_id"),
        operations.c.kind == OperationKind.REFUND,
    )
)


async def find_refund(connection: Connection, payment: Payment, refund_id: str) -> Operation | None:
    """The payment's refund with this id."""
    values = {"id": refund_id, "payment_id": payment.id}
    return await connection.fetch(single(_REFUND, values, operation_from))


def has_receipt(payment: Payment, refund: Operation | None) -> bool:
    """Whether money moved: something is captured, or the refund, if it is one's, succeeded.

    What an acquirer refunded of itself counts once it is in the payment's amounts: before that it has no event.
    """
    if refund is None:
        return payment.amount_captured_minor > 0
    return refund.status is OperationStatus.SUCCEEDED and booked_minor(refund) > 0


async def place_of(
    connection: Connection, payment: Payment, refund_id: str | None, form: Form
) -> ReceiptPlace:
    """Where the receipt of how it is now has its place."""
    erased = await is_erased(connection, payment.id)
    return ReceiptPlace(payment.id, refund_id or PAYMENT_ITSELF, payment.sequence, form, erased)


async def find(connection: Connection, place: ReceiptPlace) -> ReceiptRow | None:
    """The receipt, if it was asked for."""
    return await connection.fetch(single(_AT, _values(place), _wanted))


async def turn_of(connection: Connection, place: ReceiptPlace) -> Turn:
    """When it is drawn that was asked for."""
    found = await connection.fetch(single(_TURN, _values(place), _turn))
    return found or Turn(0, 0.0, 0.0)  # it was erased meanwhile


async def ask(connection: Connection, place: ReceiptPlace, *, merchant_id: str, mode: str) -> int:
    """How many of the merchant's wait now; safe to repeat. 0: too many do, and this one is not among them."""
    whose = {"merchant_id": merchant_id, "mode": mode}
    waiting = await connection.fetch(Query(_WAITING, whose, _count))
    if waiting >= WAITING_MAX:
        return 0
    await connection.write(_ASK, {**_row(place), **whose})
    return waiting + 1


async def ask_again(connection: Connection, wanted: ReceiptRow) -> None:
    """What the store has lost, or was given up, is drawn once more."""
    now = {"asked_at": func.now(), "due_at": func.now(), "not_drawn": 0, "given_up_until": None}
    as_found = (
        receipts.c.sha256.is_not_distinct_from(wanted.sha256),
        receipts.c.given_up_until.is_not_distinct_from(wanted.given_up_until),
    )
    await connection.execute(
        update(receipts)
        .where(_is(wanted.place), *as_found)
        .values(**now, stored_at=None, sha256=None, bytes=None)
    )


async def is_anything_due(connection: Connection) -> bool:
    """Whether one may be leased."""
    due = select(receipts.c.payment_id).where(*_due()).limit(1)
    return (await connection.execute(due)).first() is not None


async def lease_due(connection: Connection, *, token: str, limit: int) -> list[ReceiptRow]:
    """At most so many that are due, the oldest of each merchant first; nobody else has them for `LEASED_FOR`."""
    due = (
        select(
            *_PLACE,
            receipts.c.due_at,
            func.row_number()
            .over(partition_by=(receipts.c.merchant_id, receipts.c.mode), order_by=receipts.c.due_at)
            .label("turn"),
        )
        .where(*_due())
        .subquery("due")
    )
    next_ = select(*(due.c[column.name] for column in _PLACE)).order_by(due.c.turn, due.c.due_at).limit(limit)
    locked = (
        select(*_PLACE)
        .where(tuple_(*_PLACE).in_(next_), receipts.c.stored_at.is_(None), _is_free())
        .with_for_update(skip_locked=True)
        .cte("locked")
    )
    leased = (
        update(receipts)
        .where(*(column == locked.c[column.name] for column in _PLACE))
        .values(token=token, leased_until=func.now() + LEASED_FOR)
        .returning(*_SHOWN)
    )
    return [_wanted(row) for row in (await connection.execute(leased)).mappings()]


async def release(connection: Connection, *, token: str) -> None:
    """What was leased so may be leased at once, but for what may be on its way into the store."""
    mine = (
        receipts.c.token == token,
        receipts.c.stored_at.is_(None),
        func.cardinality(receipts.c.hashes) == 0,
    )
    await connection.execute(update(receipts).where(*mine).values(token=None, leased_until=None))


async def keep_hash(connection: Connection, wanted: ReceiptRow, sha256: bytes, *, token: str) -> bool:
    """From the commit on, what has this hash under the receipt's key is ours. False: another has the lease."""
    known = sha256 in wanted.hashes
    hashes = receipts.c.hashes if known else func.array_append(receipts.c.hashes, sha256)
    return await _leased(connection, wanted, token, hashes=hashes)


async def stored(
    connection: Connection, wanted: ReceiptRow, sha256: bytes, *, length: int, token: str
) -> bool:
    """The store has it, with this hash. False: another has the lease, or it was erased."""
    values = {"sha256": sha256, "bytes": length, "stored_at": func.now(), "token": None, "leased_until": None}
    return await _leased(connection, wanted, token, **values)


async def put_off(connection: Connection, wanted: ReceiptRow, *, by_s: float, why: str, token: str) -> None:
    """Whoever is free tries it again after so many seconds."""
    due_at = func.now() + timedelta(seconds=by_s)
    values = {"due_at": due_at, "tries": receipts.c.tries + 1, "last_error": why[:500]}
    await _leased(connection, wanted, token, **values, token=None, leased_until=None)


async def not_drawn(connection: Connection, wanted: ReceiptRow, *, by_s: float, why: str, token: str) -> bool:
    """It is put off, as long as it was not tried `DRAWN_TRIES_MAX` times; whether it is given up."""
    if wanted.not_drawn + 1 < DRAWN_TRIES_MAX:
        due: dict[str, Any] = {"due_at": func.now() + timedelta(seconds=by_s)}
    else:
        due = {"due_at": _NEVER, "given_up_until": func.now() + GIVEN_UP_FOR}
    counts = {"tries": receipts.c.tries + 1, "not_drawn": receipts.c.not_drawn + 1, "last_error": why[:500]}
    stands = await _leased(connection, wanted, token, **due, **counts, token=None, leased_until=None)
    return stands and "given_up_until" in due


async def erase(
    connection: Connection, *, payment_id: str, merchant_id: str, mode: str, actor: str
) -> datetime | None:
    """No receipt of the payment with personal data is drawn or answered any more. Safe to repeat.

    Until when one that was leased before may still come into the store; None: none was.
    """
    row = {"payment_id": payment_id, "merchant_id": merchant_id, "mode": mode, "actor": actor}
    await connection.execute(upsert(receipt_erasures).values(row).on_conflict_do_nothing())
    whole = (receipts.c.payment_id == payment_id, receipts.c.erased.is_(False))
    # A put that was not answered in time may be on its way still, although its lease was given up.
    perhaps_put = and_(receipts.c.stored_at.is_(None), func.cardinality(receipts.c.hashes) > 0)
    until = case((perhaps_put, func.now() + LEASED_FOR), else_=receipts.c.leased_until)
    gone = await connection.execute(delete(receipts).where(*whole).returning(until))
    return max((until for until in gone.scalars() if until is not None), default=None)


async def forget(connection: Connection, wanted: ReceiptRow) -> None:
    """Nobody waits for it any more. Safe to repeat."""
    await connection.execute(delete(receipts).where(_is(wanted.place)))


async def is_erased(connection: Connection, payment_id: str) -> bool:
    """Whether the payment's receipts go without personal data."""
    return await connection.fetch(single(_ERASED, {"payment_id": payment_id}, dict)) is not None


async def count_waiting(connection: Connection) -> tuple[int, float]:
    """How many are to be drawn, and for how many seconds the oldest waits; `WAITING_MAX` times ten are looked at."""
    waiting = (
        select(receipts.c.asked_at)
        .where(receipts.c.stored_at.is_(None), receipts.c.given_up_until.is_(None))
        .order_by(receipts.c.due_at)
        .limit(WAITING_MAX * 10)
        .subquery()
    )
    age_s = func.coalesce(func.extract("epoch", func.now() - func.min(waiting.c.asked_at)), 0)
    query = select(func.count().label("waiting"), age_s.label("oldest_s")).select_from(waiting)
    row = (await connection.execute(query)).mappings().one()
    return int(row["waiting"]), float(row["oldest_s"])


async def _leased(connection: Connection, wanted: ReceiptRow, lease: str, **values: Any) -> bool:
    """Whether the lease still stands, and the row has these values."""
    mine = (_is(wanted.place), receipts.c.token == lease, receipts.c.stored_at.is_(None))
    return (await connection.execute(update(receipts).where(*mine).values(**values))).rowcount == 1


def _is(place: ReceiptPlace) -> ColumnElement[bool]:
    return and_(*(column == getattr(place, column.name) for column in _PLACE))


def _due() -> tuple[ColumnElement[bool], ...]:
    return (receipts.c.stored_at.is_(None), receipts.c.due_at <= func.now(), _is_free())


def _is_free() -> ColumnElement[bool]:
    return or_(receipts.c.leased_until.is_(None), receipts.c.leased_until <= func.now())


def _row(place: ReceiptPlace) -> dict[str, Any]:
    return {column.name: getattr(place, column.name) for column in _PLACE}


def _values(place: ReceiptPlace) -> dict[str, Any]:
    return {f"at_{name}": value for name, value in _row(place).items()}


def _wanted(row: Row | RowMapping) -> ReceiptRow:
    place = ReceiptPlace(row["payment_id"], row["refund_id"], row["sequence"], row["form"], row["erased"])
    return ReceiptRow(
        place,
        row["merchant_id"],
        row["mode"],
        tuple(map(bytes, row["hashes"])),
        None if row["sha256"] is None else bytes(row["sha256"]),
        row["bytes"],
        row["stored_at"],
        row["tries"],
        row["not_drawn"],
        row["given_up_until"],
    )


def _turn(row: Row) -> Turn:
    return Turn(int(row["ahead"]), float(row["age_s"]), float(row["due_in_s"]))


def _count(rows: Sequence[Row]) -> int:
    return int(rows[0]["count"])

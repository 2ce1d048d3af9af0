"""The tables that the recorder reads and writes, in memory: its own code runs, and Postgres is not needed.

The statements are those of `payonce.storage`; what each finds or does is said here a second time. Every transaction
ends by checking what Postgres would: the constraints of `payonce.storage.tables`.
"""

import copy
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Table

from payonce.domain.answers import AnswerKind
from payonce.domain.operations import Attempt, AttemptState, Operation, OperationKind, OperationStatus, Origin
from payonce.domain.payment import Payment
from payonce.domain.reviews import Review
from payonce.storage import attempts, audit, idempotency, outbox, payments, review_rows, sweeping
from payonce.storage.driver.connection import Written
from payonce.storage.driver.statements import Query, Row, Statement
from payonce.storage.tables import operations as operations_table

K, O = OperationKind, OperationStatus
LONG_AFTER: Final = datetime(2100, 1, 1, tzinfo=UTC)  # when nothing can arrive any more
Values = dict[str, Any]


@dataclass
class Tables:
    """What one payment has. Rows are replaced, never changed, and stand in the order in which they were written."""

    payments: dict[str, Payment] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    attempts: dict[tuple[str, int], Attempt] = field(default_factory=dict)
    reviews: dict[str, Review] = field(default_factory=dict)
    decisions: dict[str, Values] = field(default_factory=dict)  # by key
    # By operation; with whether it is definite.
    keys: dict[str, tuple[AnswerKind, bytes, bool] | None] = field(default_factory=dict)
    events: list[tuple[str, int, Values]] = field(default_factory=list)  # type, sequence, data

    def copied(self) -> "Tables":
        """As it is now, whatever is written later."""
        return Tables(**{name: copy.copy(value) for name, value in vars(self).items()})

    @property
    def payment(self) -> Payment:
        (paid,) = self.payments.values()
        return paid

    @property
    def open_reviews(self) -> dict[str, Review]:
        return {id_: review for id_, review in self.reviews.items() if review.closed_at is None}

    def add(self, *rows: Payment | Operation | Attempt) -> None:
        """The rows are there, as whoever admits writes them."""
        for row in rows:
            match row:
                case Payment():
                    self.payments[row.id] = row
                case Operation():
                    self.operations[row.id] = row
                case Attempt():
                    self.attempts[row.operation_id, row.number] = row


class Memory:
    """Stands in for `Database`: a transaction that raises leaves nothing behind."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["MemoryConnection"]:
        connection = MemoryConnection(self.tables.copied())
        yield connection
        check_constraints(connection.tables)
        self.tables = connection.tables


class MemoryConnection:
    """One transaction on the tables, the engine's."""

    of_api = False
    packs = False

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    async def fetch(self, query: Query[Any]) -> Any:
        return query.meaning(_READS[query.statement](self.tables, query.values))

    async def fetch_together(self, *queries: Query[Any]) -> tuple[Any, ...]:
        return tuple([await self.fetch(query) for query in queries])

    async def write(self, statement: Statement, values: Row) -> Written:
        _WRITES[statement](self.tables, values)
        return Written()

    async def insert(self, table: Table, row: Row) -> None:
        if table is audit.entries or table is audit.personal:
            return  # what is decided is told of there, and never read here
        assert table is operations_table
        assert row["id"] not in self.tables.operations
        self.tables.add(payments.operation_from(row))

    async def update(self, table: Table, changes: Row, *, where: Row) -> None:
        rows: dict[Any, Any] = getattr(self.tables, table.name)
        key = tuple(where.values())
        key = key if len(key) > 1 else key[0]
        shown = {
            name: value for name, value in changes.items() if name != "return_hash"
        }  # no part of `Attempt`
        rows[key] = replace(rows[key], **shown)


def check_constraints(tables: Tables) -> None:
    """What Postgres refuses to hold. Source: `payonce.storage.tables`."""
    paid, operations = tables.payment, tables.operations.values()
    captured, undone = paid.amount_captured_minor, paid.amount_capture_undone_minor
    refunded, pending = paid.amount_refunded_minor, paid.amount_refund_pending_minor
    assert paid.amount_authorized_minor in (0, paid.amount_minor)
    assert 0 <= captured <= paid.amount_authorized_minor
    assert min(refunded, pending, undone) >= 0
    assert refunded + pending <= captured + undone
    assert min(paid.amount_capture_undecided_minor, paid.amount_refund_undecided_minor) >= 0
    for of in operations:
        held, by_acquirer = of.amount_undecided_minor, of.origin is Origin.ACQUIRER
        case = (of.kind, of.status) == (K.REVERSE, O.FAILED)
        assert of.amount_minor > 0
        assert of.amount_undone_minor >= 0
        assert held == 0 or (held > 0 and (of.status is O.PENDING or case or by_acquirer))
        assert of.sent_as is None or (of.kind is K.REVERSE and of.sent_as in (K.VOID, K.REFUND))
        assert of.target_kind is None or of.kind in (K.REVERSE, K.UNDO, K.REDO)
    assert sum(of.status is O.PENDING and of.kind.exclusive for of in operations) <= 1


def _row(of: Payment | Operation | Attempt | Review) -> Values:
    return {column.name: getattr(of, column.name) for column in fields(of)}


def _one(rows: Mapping[Any, Any], key: Any) -> Sequence[Row]:
    return [_row(rows[key])] if key in rows else []


def _latest(tables: Tables, values: Row) -> Sequence[Row]:
    numbers = [number for of, number in tables.attempts if of == values["operation_id"]]
    return _one(tables.attempts, (values["operation_id"], max(numbers, default=0)))


def _holds(of: Operation) -> bool:
    return of.origin is Origin.ACQUIRER and of.amount_undecided_minor > 0


def _held(tables: Tables, _: Row) -> Sequence[Row]:
    """The latest first."""
    return [
        _row(of) for of in reversed(tables.operations.values()) if _holds(of) or of.amount_ahead_minor > 0
    ]


def _words(tables: Tables, values: Row) -> Sequence[Row]:
    """The latest first."""

    def is_word(of: Operation) -> bool:
        about = of.target_reference == values["reference"]
        return about and of.origin is Origin.ACQUIRER and of.connector_reference is None

    return [_row(of) for of in reversed(tables.operations.values()) if is_word(of)]


def _decided_last(tables: Tables, values: Row) -> Sequence[Row]:
    about = [row for row in tables.decisions.values() if row["operation_id"] == values["operation_id"]]
    return about[-1:]


def _oldest_in_review(tables: Tables, values: Row) -> Sequence[Row]:
    def for_a_person(of: Operation) -> bool:
        kinds = (K.REVERSE, K.EXPIRE)
        return of.status is O.FAILED and (of.kind in kinds or of.ends_operation is not None)

    found = [
        of
        for of in tables.operations.values()
        if of.id not in values["but_not"]
        and of.review_at is not None
        and (of.status is O.PENDING or for_a_person(of) or _holds(of))
    ]
    found.sort(key=lambda of: str(of.review_at))
    return [_row(of) for of in found[:1]]


def _add_events(tables: Tables, values: Row) -> None:
    for type_, sequence, body in zip(values["types"], values["sequences"], values["bodies"], strict=True):
        tables.events.append((type_, sequence, json.loads(body)["data"]))


def _store_answer(tables: Tables, values: Row) -> None:
    """The first definite one stays; where no key names the operation there is nothing to keep."""
    of = values["operation_id"]
    if of in tables.keys and not ((stored := tables.keys[of]) and stored[2]):
        definite = values["answered_at"] is not None
        assert definite == (values["answer_kind"] is not None)
        tables.keys[of] = (values["answer_kind"] or AnswerKind.PAYMENT, values["answer_body"], definite)


def _decide(tables: Tables, values: Row) -> None:
    tables.decisions.setdefault(values["key"], dict(values))


def _begin_review(tables: Tables, values: Row) -> None:
    tables.reviews[values["operation_id"]] = review_rows.review_from(values)


def _end_review(tables: Tables, values: Row) -> None:
    review = tables.reviews.get(values["id"])
    if review is not None and review.closed_at is None:
        tables.reviews[review.operation_id] = replace(review, closed_at=values["at"], closed_by=values["by"])


def _known_as(tables: Tables, values: Row) -> Sequence[Row]:
    named = {
        "kind": values["kind"],
        "connector_account": values["account"],
        "connector_reference": values["connector_reference"],
        "state": AttemptState.APPROVED,
    }
    found = (_row(of) for of in tables.attempts.values())
    return [row for row in found if named.items() <= row.items()]


_READS: dict[Statement, Callable[[Tables, Row], Sequence[Row]]] = {
    payments._LOCKED_TO_RECORD: lambda tables, values: [
        {**row, "xid": 1} for row in _one(tables.payments, values["id"])
    ],
    payments._OPERATION: lambda tables, values: _one(tables.operations, values["id"]),
    payments._HELD: _held,
    payments._WORDS: _words,
    payments._OLDEST_IN_REVIEW: _oldest_in_review,
    attempts._LATEST: _latest,
    attempts._NUMBERED: lambda tables, values: _one(
        tables.attempts, (values["operation_id"], values["number"])
    ),
    attempts._KNOWN_AS: _known_as,
    attempts._NOW: lambda tables, values: [{"now": LONG_AFTER}],
    review_rows._DECIDED: lambda tables, values: (
        [tables.decisions[values["key"]]] if values["key"] in tables.decisions else []
    ),
    review_rows._LATEST: _decided_last,
    review_rows._OF_OPERATION: lambda tables, values: _one(tables.reviews, values["id"]),
}
_WRITES: dict[Statement, Callable[[Tables, Row], None]] = {
    outbox._ADD_EVENTS: _add_events,
    idempotency._STORE_ANSWER: _store_answer,
    idempotency._STORE_ANSWER_OF_CREATE: _store_answer,
    review_rows._DECIDE: _decide,
    review_rows._BEGIN: _begin_review,
    review_rows._END: _end_review,
    sweeping._RELEASE: lambda tables, values: None,  # when to look again is no part of the books
}

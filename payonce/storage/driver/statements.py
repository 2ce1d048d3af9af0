"""Statements of the fast path, compiled once: SQLAlchemy writes them, the driver sends them (see `wire`).

Through SQLAlchemy's connection a statement takes 0.26 to 0.75 ms of our CPU, most of it spent on looking up how it
was compiled before (docs/performance.md).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Generic, TypeVar

from psycopg.adapt import PyFormat
from psycopg.types.json import Json
from sqlalchemy import JSON, LargeBinary, Table, bindparam, insert, update
from sqlalchemy.dialects import registry
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement

from payonce.storage.driver.wire import Command, Wire

_DIALECT = registry.load("postgresql.psycopg")(paramstyle="numeric_dollar")
_SHAPES_MAX = 512  # of inserts and updates, each a set of columns

Row = Mapping[str, Any]
T = TypeVar("T")


dumps = partial(json.dumps, separators=(",", ":"))


def as_json(value: Any) -> Json:
    """The value as the driver writes it: compact, for a column of JSON keeps what it is given."""
    return Json(value, dumps=dumps)


class Statement:
    """A statement as text for Postgres; its values are given by name when it runs.

    Postgres infers the type of each: where it cannot, the statement needs a cast.
    """

    __slots__ = ("_constants", "_formats", "_json", "_names", "_text")

    def __init__(self, clause: ClauseElement) -> None:
        compiled = clause.compile(dialect=_DIALECT)
        assert isinstance(compiled, SQLCompiler)
        self._text = str(compiled).encode()
        self._names = tuple(compiled.positiontup or ())
        self._constants = {name: value for name, value in compiled.params.items() if value is not None}
        types = [compiled.binds[name].type for name in self._names]
        self._json = {name for name, type_ in zip(self._names, types, strict=True) if isinstance(type_, JSON)}
        self._formats = [
            PyFormat.BINARY if isinstance(type_, LargeBinary) else PyFormat.TEXT for type_ in types
        ]

    def command(self, given: Row, wire: Wire) -> Command:
        """The statement with these values, and with those that are part of it."""
        return wire.command(self._text, self.values(given), self._formats)

    def values(self, given: Row) -> list[Any]:
        """The value of each parameter, in order. Raises `KeyError` when one is missing."""
        return [self._value(name, given) for name in self._names]

    def _value(self, name: str, given: Row) -> Any:
        value = given[name] if name in given else self._constants[name]
        return as_json(value) if value is not None and name in self._json else value


@dataclass(frozen=True, slots=True)
class Query(Generic[T]):
    """A statement with its values, and what its rows mean."""

    statement: Statement
    values: Row
    meaning: Callable[[Sequence[Row]], T]


def single(statement: Statement, values: Row, meaning: Callable[[Row], T]) -> Query[T | None]:
    """A query for at most one row."""
    return Query(statement, values, lambda rows: meaning(rows[0]) if rows else None)


@lru_cache(_SHAPES_MAX)
def inserting(table: Table, names: tuple[str, ...]) -> Statement:
    """Inserts a row of these columns."""
    return Statement(insert(table).values({name: bindparam(name) for name in names}))


@lru_cache(_SHAPES_MAX)
def changing(table: Table, names: tuple[str, ...], key: tuple[str, ...]) -> Statement:
    """Updates these columns of the row with this key, which is given as by `key_values`."""
    same = [table.c[name] == bindparam(_key(name)) for name in key]
    return Statement(update(table).where(*same).values({name: bindparam(name) for name in names}))


def key_values(key: Row) -> Row:
    """The values of a key under the names that `changing` gives them."""
    return {_key(name): value for name, value in key.items()}


def _key(name: str) -> str:
    """The parameter for a column of the key, which may be among the changes, too."""
    return f"key_{name}"

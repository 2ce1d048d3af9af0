"""Every fact, in every state of operation, attempt and payment, has the outcome that the table names, and no other.

The recorder itself records each fact, over tables in memory. The table is `facts_and_states`.
"""

from collections.abc import Iterator, Set
from itertools import product
from typing import get_args

import pytest

from payonce.domain.facts import Fact
from payonce.domain.operations import AttemptState, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from tests.support.rows import operation
from tests.unit.domain import named_outcomes
from tests.unit.domain.becoming import Before, Changes, Nothing, Outcome, changes, must
from tests.unit.domain.facts_and_states import ACCEPTED_ROWS, FOREIGN, ROWS, UNREACHABLE, Becomes, Row
from tests.unit.domain.memory import Tables
from tests.unit.domain.playing import FACTS, Play, every_fact, play

Place = tuple[OperationKind, OperationStatus, AttemptState, PaymentStatus]
EACH = [(f"{group}: {row.name}", row) for group, rows in {**ROWS, **ACCEPTED_ROWS}.items() for row in rows]
REASON_WORDS_MIN = 4


@pytest.fixture(scope="module")
async def covered() -> Set[Place]:
    """The states that the table's plays lead to."""
    return {place for _, row in EACH for line in row.plays for place in spoken_of(await play(line))}


@pytest.mark.parametrize("row", [row for _, row in EACH], ids=[name for name, _ in EACH])
async def test_every_fact_has_the_outcome_that_the_table_names(row: Row, covered: Set[Place]) -> None:
    """And recorded once more it changes nothing. What it leads to is a state of the table."""
    for line in row.plays:
        played = await play(line)
        played.check()
        assert (played.operation.kind, played.operation.status, played.attempt.state) == row.state, line
        found = played.tables
        for name in FACTS:
            played.memory.tables = found.copied()
            becomes = named(row, name, played)
            await check(played, name, becomes, where=f"{row.name} ({line}), {name}")
            assert set(places(played.tables)) <= covered, f"{line}, {name}: a state that no row has"


async def check(played: Play, name: str, becomes: Becomes, *, where: str) -> None:
    found, fact = played.tables.copied(), every_fact(played.operation)[name]
    expected = must(becomes, Before.of(played, fact))
    await played.say(fact)
    played.check()
    assert changed(found, played) == expected, f"{where}: not as in {becomes}"
    told, again = played.tables.copied(), played.tables
    await played.say(fact)
    assert changed(told, played) == Changes(), f"{where}: once more"
    assert played.tables.events == again.events


def test_every_member_of_the_union_is_a_fact_of_the_table() -> None:
    assert {type(fact) for fact in every_fact(operation()).values()} == set(get_args(Fact))


def test_every_state_is_in_the_table_or_cannot_be_for_a_reason(covered: Set[Place]) -> None:
    for place in product(OperationKind, OperationStatus, AttemptState, PaymentStatus):
        *of, paid = place
        reasons = [rule.reason for rule in UNREACHABLE if rule.holds((of[0], of[1], of[2]), paid)]
        shown = " ".join(str(part) for part in place)
        if place in covered:
            assert not reasons, f"{shown} is in the table, and cannot be: {reasons}"
        else:
            assert reasons, f"{shown}: in no row, and no reason why it cannot be"


def test_every_reason_is_written() -> None:
    cells = [becomes for _, row in EACH for becomes in [*row.cells.values(), *row.but.values()]]
    written = [becomes.reason for becomes in cells if isinstance(becomes, Nothing)]
    for reason in [*written, *(rule.reason for rule in UNREACHABLE)]:
        assert len(reason.split()) >= REASON_WORDS_MIN


def test_every_outcome_is_the_outcome_of_something() -> None:
    outcomes = {name: value for name, value in vars(named_outcomes).items() if isinstance(value, Outcome)}
    used = {becomes for _, row in EACH for becomes in [*row.cells.values(), *row.but.values()]}
    used |= set(FOREIGN.values())
    assert {name for name, value in outcomes.items() if value not in used} == set()


def named(row: Row, fact: str, played: Play) -> Becomes:
    busy = not played.payment.idle
    becomes = row.becomes(fact, played.payment.status, busy=busy)
    assert becomes is not None, f"{row.name}: the table does not say what becomes of it by {fact}"
    return becomes


def changed(before: Tables, played: Play) -> Changes:
    return changes(before, played.tables, operation_id=played.operation_id, number=played.number)


def spoken_of(played: Play) -> Iterator[Place]:
    operation, attempt = played.operation, played.attempt
    yield operation.kind, operation.status, attempt.state, played.payment.status


def places(tables: Tables) -> Iterator[Place]:
    for (operation_id, _), attempt in tables.attempts.items():
        operation = tables.operations[operation_id]
        yield operation.kind, operation.status, attempt.state, tables.payment.status

"""When a second leg may be claimed, and when nothing of an attempt can have moved."""

from dataclasses import replace
from datetime import timedelta

import pytest

from payonce.domain.legs import Brought, Leg, LegState, due, moves_nothing, waits_for_leg
from payonce.domain.operations import Attempt, AttemptState
from tests.support.rows import NOW, attempt, operation

A, L = AttemptState, LegState
DEADLINE_S = 10.0
CALL_OVER = timedelta(seconds=DEADLINE_S + 2)


def waiting(**changes: object) -> Attempt:
    changes = {"completes": "resume", "connector_reference": "acq", "act_before": NOW, **changes}
    return attempt(operation(), A.WAITING, **changes)


def brought(*states: LegState | None) -> list[Brought]:
    """Returns 1, 2 …, each with a leg in this state."""
    return [
        Brought(number, None if state is None else leg(number, state))
        for number, state in enumerate(states, start=1)
    ]


def leg(number: int, state: LegState) -> Leg:
    return Leg(number=number, owner="boot", token="run", send_before=NOW, state=state)


@pytest.mark.parametrize(
    ("legs", "replays", "expected"),
    [
        ((), False, None),
        ((None,), False, 1),
        ((None, None), False, 1),
        ((L.INVALID, None), False, 2),
        ((L.INVALID, L.INVALID), False, None),
        ((L.NOT_SENT, None), False, 1),
        ((L.CLAIMED, None), False, None),
        ((L.UNKNOWN, None), False, None),
        ((L.DONE, None), False, None),
        ((L.UNKNOWN, None), True, 1),
        ((L.CLAIMED, None), True, None),
        ((L.DONE, None), True, None),
        ((L.INVALID, L.UNKNOWN, None), True, 2),
    ],
)
def test_which_leg_is_due(legs: tuple[LegState | None, ...], replays: bool, expected: int | None) -> None:
    found = due(waiting(), brought(*legs), replays=replays, call_deadline_s=DEADLINE_S, now=NOW)
    assert found == expected


def test_a_claim_that_nobody_ended_is_sent_again_once_its_call_is_over() -> None:
    """Its owner may still be about to send, and then waits for an answer."""
    legs = brought(L.CLAIMED)
    for late, expected in ((CALL_OVER - timedelta(seconds=0.1), None), (CALL_OVER, 1)):
        found = due(waiting(), legs, replays=True, call_deadline_s=DEADLINE_S, now=NOW + late)
        assert found == expected


@pytest.mark.parametrize(
    "found",
    [
        replace(waiting(), completes="customer"),
        replace(waiting(), completes=None),
        replace(waiting(), failure_code="abandoned"),
        *(replace(waiting(), state=state) for state in A if state is not A.WAITING),
    ],
    ids=str,
)
def test_only_an_attempt_that_waits_and_is_not_given_up_has_a_leg(found: Attempt) -> None:
    assert not waits_for_leg(found)
    assert due(found, brought(None), replays=True, call_deadline_s=DEADLINE_S, now=NOW) is None


def test_nothing_moved_where_only_a_leg_could_and_none_was_claimed() -> None:
    left = replace(waiting(), state=A.UNKNOWN)
    assert moves_nothing(left, legs_move_money=True, claimed=False)
    assert not moves_nothing(left, legs_move_money=False, claimed=False), "the customer's page may have"
    assert not moves_nothing(left, legs_move_money=True, claimed=True)
    by_customer = replace(left, completes="customer")
    assert not moves_nothing(by_customer, legs_move_money=True, claimed=False)
    assert not moves_nothing(waiting(), legs_move_money=True, claimed=False), "a leg may still be claimed"

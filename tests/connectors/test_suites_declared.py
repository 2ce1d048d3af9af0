"""What is declared has a suite, and a class that leaves one out is found."""

from dataclasses import replace
from typing import Any

import pytest

from payonce.connectors.base import Capabilities
from payonce.connectors.conformance_challenge import ChallengeConformance, WishesConformance
from payonce.connectors.conformance_customer import CustomerConformance
from payonce.connectors.conformance_declared import suites_missing
from payonce.connectors.conformance_wire import WireConformance
from payonce.domain.operations import OperationKind
from payonce.domain.schedules import CUSTOMER_INQUIRIES
from payonce.domain.truth import Truth

PLAIN = Capabilities(
    methods=frozenset({"wallet.paytm"}),
    call_deadline_s=1,
    finality_s=1,
    inquiry=CUSTOMER_INQUIRIES,
    reversal_by_reference=False,
)
CARD = frozenset({"card"})
BY_LEG: dict[str, Any] = {"needs_action": True, "return_parameters": frozenset({"result"})}
TOLD = {OperationKind.REFUND: Truth.CALLBACK}


@pytest.mark.parametrize(
    ("declared", "suites"),
    [
        ({}, set()),
        ({"methods": CARD}, {"WireConformance"}),
        ({"methods": CARD, "reversal_by_reference": True}, {"WireConformance", "ReversalConformance"}),
        (
            {
                "methods": CARD,
                "reversal_by_reference": True,
                "truth": {OperationKind.AUTHORIZE: Truth.CALLBACK},
            },
            {"WireConformance", "TellingConformance"},
        ),
        ({"replays_not_found": frozenset({OperationKind.REFUND})}, {"ReplayConformance"}),
        ({"callbacks": True}, {"CallbackConformance"}),
        ({"callbacks": True, "truth": TOLD}, {"TellingConformance"}),
        ({"needs_action": True}, {"CustomerConformance"}),
        ({"captures_itself": True}, {"CapturesItselfConformance"}),
        ({"three_ds": frozenset({"merchant"})}, {"HandedInConformance"}),
        (
            {"three_ds": frozenset({"acquirer"})},
            {"WishesConformance", "ChallengeConformance", "ManualChallengeConformance"},
        ),
        (
            {"three_ds": frozenset({"acquirer"}), "capture_methods": frozenset({"automatic"})},
            {"WishesConformance", "ChallengeConformance"},
        ),
        (BY_LEG, {"LegConformance", "MovingLegConformance"}),
        (BY_LEG | {"legs_move_money": False}, {"LegConformance"}),
    ],
)
def test_what_is_declared_has_its_suite(declared: dict[str, Any], suites: set[str]) -> None:
    assert suites_missing(replace(PLAIN, **declared)) == suites


def test_a_suite_that_a_class_inherits_is_taken() -> None:
    class Cards(CustomerConformance, ChallengeConformance): ...

    asks = replace(PLAIN, methods=CARD, needs_action=True, three_ds=frozenset({"acquirer"}))
    assert issubclass(Cards, WishesConformance)
    assert suites_missing(asks, Cards) == {"ManualChallengeConformance", "WireConformance"}
    assert suites_missing(asks, Cards, WireConformance) == {"ManualChallengeConformance"}

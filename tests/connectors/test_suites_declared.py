"""What is declared has a suite, and a class that leaves one out is found."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest

from payonce.connectors.base import Capabilities
from payonce.connectors.conformance_challenge import ChallengeConformance, WishesConformance
from payonce.connectors.conformance_customer import CustomerConformance
from payonce.connectors.conformance_declared import suites_missing
from payonce.connectors.conformance_wire import WireConformance
from payonce.connectors.listing import ListLimits
from payonce.domain.operations import OperationKind
from payonce.domain.schedules import CUSTOMER_INQUIRIES
from payonce.domain.truth import Truth


@dataclass
class Plain:
    """A connector, as far as it declares something."""

    capabilities: Capabilities


class Listed(Plain):
    list_limits: ClassVar = ListLimits()


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
        ({"disputes": Truth.CALLBACK}, {"DisputeConformance"}),
        ({"accepts_disputes": True}, {"AcceptanceConformance"}),
        ({"needs_action": True}, {"CustomerConformance"}),
        ({"captures_itself": True}, {"CapturesItselfConformance"}),
        ({"stored_credentials": frozenset({"token"})}, {"SavedCardConformance"}),
        ({"stored_credentials": frozenset({"number"})}, set()),
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
    assert suites_missing(Plain(replace(PLAIN, **declared))) == suites


def test_a_suite_that_a_class_inherits_is_taken() -> None:
    class Cards(CustomerConformance, ChallengeConformance): ...

    asks = Plain(replace(PLAIN, methods=CARD, needs_action=True, three_ds=frozenset({"acquirer"})))
    assert issubclass(Cards, WishesConformance)
    assert suites_missing(asks, Cards) == {"ManualChallengeConformance", "WireConformance"}
    assert suites_missing(asks, Cards, WireConformance) == {"ManualChallengeConformance"}


def test_a_connector_that_lists_owes_the_suite_of_lists() -> None:
    assert suites_missing(Listed(PLAIN)) == {"ListingConformance"}

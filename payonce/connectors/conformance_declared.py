"""Which suites a connector owes, by what it declares: none is left out unnoticed, and none is skipped.

def test_every_suite_is_taken() -> None:
    assert not suites_missing(OurConnector(account), TestOurConnector, TestOurCards)
"""

from typing import Final, Protocol

from payonce.connectors.base import Capabilities
from payonce.connectors.conformance import ReversalConformance
from payonce.connectors.conformance_acceptance import AcceptanceConformance
from payonce.connectors.conformance_challenge import (
    ChallengeConformance,
    HandedInConformance,
    LegConformance,
    ManualChallengeConformance,
    MovingLegConformance,
    WishesConformance,
)
from payonce.connectors.conformance_customer import (
    CallbackConformance,
    CapturesItselfConformance,
    CustomerConformance,
)
from payonce.connectors.conformance_disputes import DisputeConformance
from payonce.connectors.conformance_listing import ListingConformance
from payonce.connectors.conformance_saved import SavedCardConformance
from payonce.connectors.conformance_truth import ReplayConformance, TellingConformance
from payonce.connectors.conformance_wire import WireConformance
from payonce.domain.operations import OperationKind
from payonce.domain.routing import TOKEN
from payonce.domain.truth import Truth

AT_ONCE: Final = "card"
"""By which method the answer may come with the call: `conformance_wire` breaks its calls."""


class Declaring(Protocol):
    """A connector, as far as it says what it can do; one that lists has `list_limits` as well."""

    capabilities: Capabilities


def suites_missing(connector: Declaring, *taken: type) -> frozenset[str]:
    """The names of the suites that are owed, and that none of these test classes inherits."""
    return frozenset(suite.__name__ for suite in owed(connector) if not _inherited(suite, taken))


def owed(connector: Declaring) -> frozenset[type]:
    """The suites for what is declared. Where a leg completes the challenge, that one shows what a customer does."""
    has = connector.capabilities
    by_leg = bool(has.return_parameters)
    answers = not has.truth_of(OperationKind.AUTHORIZE).is_told  # else what is reversed is told by a callback
    asks_itself = "acquirer" in has.three_ds and not by_leg
    by_declaration: dict[type, bool] = {
        WireConformance: AT_ONCE in has.methods,
        ReversalConformance: has.reversal_by_reference and AT_ONCE in has.methods and answers,
        ReplayConformance: bool(has.replays_not_found) or Truth.REPLAY in has.truth.values(),
        TellingConformance: has.callbacks_carry_facts,
        CallbackConformance: has.callbacks and not has.callbacks_carry_facts,
        CustomerConformance: has.needs_action and not by_leg,
        CapturesItselfConformance: has.captures_itself,
        SavedCardConformance: TOKEN in has.stored_credentials,
        DisputeConformance: has.disputes is not None,
        AcceptanceConformance: has.accepts_disputes,
        ListingConformance: hasattr(connector, "list_limits"),
        WishesConformance: "acquirer" in has.three_ds,
        HandedInConformance: "merchant" in has.three_ds,
        ChallengeConformance: asks_itself,
        ManualChallengeConformance: asks_itself and "manual" in has.capture_methods,
        LegConformance: by_leg,
        MovingLegConformance: by_leg and has.legs_move_money,
    }
    return frozenset(suite for suite, declared in by_declaration.items() if declared)


def _inherited(suite: type, taken: tuple[type, ...]) -> bool:
    return any(issubclass(each, suite) for each in taken)

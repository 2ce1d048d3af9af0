"""`payonce trigger` has an answer for every event of a payment or refund."""

import pytest

from payonce.cli.base import CommandRefused
from payonce.cli.trigger import IMPOSSIBLE, RECIPES, recipe_for
from payonce.domain.events import EVENT_TYPES


def test_every_event_can_be_triggered_or_has_a_reason() -> None:
    of_payments = {type_ for type_ in EVENT_TYPES if type_.startswith(("payment.", "refund."))}
    assert RECIPES.keys() | IMPOSSIBLE.keys() == of_payments
    assert not RECIPES.keys() & IMPOSSIBLE.keys()


@pytest.mark.parametrize("event", ["payment.expired", "payment.lost", ""])
def test_what_cannot_be_triggered_is_refused_with_what_can(event: str) -> None:
    with pytest.raises(CommandRefused) as refused:
        recipe_for(event)
    assert all(type_ in refused.value.message for type_ in RECIPES)

"""What crosses Temporal about a review arrives as the member it was, and has no place for card data."""

import dataclasses
import typing
from datetime import UTC, datetime
from typing import Any

import pytest

from activities import review_messages
from activities.messages import OperationRequest
from activities.review_messages import OpenReview, Over, ReviewRequest, ReviewStanding, Spoken
from activities.reviewing import Reviewing
from payonce.domain.operations import OperationKind
from tests.workflows.crossing import crossed

AT = datetime(2026, 11, 29, 5, 46, 0, 123456, tzinfo=UTC)
ABOUT = Spoken(OperationRequest("pay_1", "op_1", OperationKind.CAPTURE), "op_1-1")
STANDINGS: list[Any] = [
    OpenReview("undone", "it was taken back", "1000 INR", AT, AT),
    OpenReview("undone", "it was taken back", "1000 INR", AT, AT, AT, ABOUT, {"undone": "it stays so"}),
    Over("fact"),
    Over(None),
]


@pytest.mark.parametrize("value", STANDINGS, ids=repr)
async def test_a_standing_crosses_as_the_member_it_is(value: Any) -> None:
    arrived = await crossed(value, ReviewStanding)
    assert (type(arrived), arrived) == (type(value), value)


def test_every_member_has_an_example() -> None:
    assert {type(value) for value in STANDINGS} == set(typing.get_args(ReviewStanding))


@pytest.mark.parametrize("ask_at", [None, AT])
async def test_a_request_crosses_as_it_is(ask_at: datetime | None) -> None:
    """The moment, too: by it the next run knows when to ask, and a review is told from a later one."""
    asked = ReviewRequest("pay_1", "op_1", "undone", ask_at)
    assert await crossed(asked, ReviewRequest) == asked
    assert await crossed(AT, datetime) == AT


def test_no_message_has_a_place_for_card_data() -> None:
    classes = [value for value in vars(review_messages).values() if dataclasses.is_dataclass(value)]
    names = {field.name for message in classes for field in dataclasses.fields(message)}
    assert not names & {"card", "number", "cvc", "pan", "call", "exp_month", "exp_year", "payment_method"}


def test_every_activity_says_what_it_takes_and_gives() -> None:
    """The converter decodes by these hints, which are read at run time."""
    hints = {
        name: typing.get_type_hints(value)
        for name, value in vars(Reviewing).items()
        if hasattr(value, "__temporal_activity_definition")
    }
    assert hints == {
        "look_at_review": {"request": ReviewRequest, "return": ReviewStanding},
        "escalate_review": {"request": ReviewRequest, "due_at": datetime, "return": type(None)},
    }

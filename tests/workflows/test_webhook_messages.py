"""What crosses Temporal about webhooks arrives as the member it was, and names no body and no secret."""

import dataclasses
import typing
from datetime import UTC, datetime
from typing import Any

import pytest

from activities import webhook_messages
from activities.webhook_deliveries import Delivering
from activities.webhook_messages import (
    Delivered,
    DeliveryProgress,
    DeliveryRequest,
    Dropped,
    Exhausted,
    JobEnded,
    JobProgress,
    JobRequest,
    LeftToRelay,
    NextAttempt,
    NotNow,
    PageTaken,
    Waiting,
)
from tests.workflows.crossing import crossed

AT = datetime(2026, 11, 29, 5, 46, 0, 123456, tzinfo=UTC)
EXAMPLES: dict[Any, list[Any]] = {
    DeliveryProgress: [
        Delivered(2),
        Waiting(AT, 2, "timed_out"),
        Waiting(AT, 2, None),
        Exhausted(10, None),
        Dropped(1),
        LeftToRelay(3),
    ],
    JobProgress: [PageTaken(1, 2), NotNow(1, 2, "later"), JobEnded(2, 2, "finished")],
}


@pytest.mark.parametrize(
    ("union", "value"), [(union, value) for union, values in EXAMPLES.items() for value in values], ids=repr
)
async def test_progress_crosses_as_the_member_it_is(union: Any, value: Any) -> None:
    arrived = await crossed(value, union)
    assert (type(arrived), arrived) == (type(value), value)


def test_every_member_has_an_example() -> None:
    for union, values in EXAMPLES.items():
        assert {type(value) for value in values} == set(typing.get_args(union))


@pytest.mark.parametrize(
    "value",
    [
        DeliveryRequest("dlv_1", "we_1", "payment.captured", 1, AT, "timed_out"),
        NextAttempt("dlv_1", "we_1", 1),
        JobRequest("whj_1", 500),
    ],
    ids=repr,
)
async def test_a_request_crosses_as_it_is(value: Any) -> None:
    assert await crossed(value, type(value)) == value


def test_no_message_has_a_place_for_a_body_or_a_secret() -> None:
    classes = [value for value in vars(webhook_messages).values() if dataclasses.is_dataclass(value)]
    names = {field.name for message in classes for field in dataclasses.fields(message)}
    assert not names & {"body", "data", "secret", "secrets", "url", "token", "signature"}


def test_every_activity_says_what_it_takes_and_gives() -> None:
    hints = typing.get_type_hints(Delivering.deliver)
    assert hints == {"request": NextAttempt, "return": DeliveryProgress}
    hints = typing.get_type_hints(Delivering.redeliver_page)
    assert hints == {"request": JobRequest, "return": JobProgress}

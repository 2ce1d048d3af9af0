"""Every message crosses Temporal as what it was: an untagged union would be decoded as its first member."""

import dataclasses
import types
import typing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

import pytest

from activities import messages
from activities.attempting import Attempting
from activities.messages import (
    ActionDue,
    InquiryDue,
    LegDue,
    NothingSent,
    NotOwner,
    OperationRequest,
    PaymentRequest,
    Progress,
    ReversalDue,
    Settled,
)
from activities.resolving import Resolving
from payonce.domain.facts import Fact, Inquiry, Reply
from payonce.domain.operations import OperationKind
from payonce.domain.schedules import UNKNOWN_ACCOUNT_INQUIRIES, InquirySchedule
from tests.workflows.crossing import crossed

SCHEDULE = InquirySchedule(
    first_s=(0.5, 2.0), then_every_s=8, review_after_s=600, slow_every_s=3600, give_up_after_s=1e6
)
CAPTURE = OperationRequest("pay_1", "op_1", OperationKind.CAPTURE)
EXAMPLES: dict[type, list[Any]] = {
    Settled: [
        Settled("captured", open=False, sequence=2),
        Settled("failed", open=False, sequence=2, watched="pay_1-1", watch=SCHEDULE),
        Settled("authorized", True, 1, datetime(2026, 11, 29, 5, 46, 0, 123456, tzinfo=UTC), CAPTURE),
    ],
    InquiryDue: [
        InquiryDue(SCHEDULE, "timeout"),
        InquiryDue(UNKNOWN_ACCOUNT_INQUIRIES, "", review_since=datetime(2026, 11, 22, tzinfo=UTC)),
    ],
    ActionDue: [ActionDue(datetime(2026, 11, 22, 5, 46, 30, tzinfo=UTC), SCHEDULE, "upi_qr")],
    LegDue: [LegDue()],
    ReversalDue: [
        ReversalDue(SCHEDULE, "amount_mismatch"),
        ReversalDue(SCHEDULE, "timeout", review_since=datetime(2026, 11, 22, tzinfo=UTC)),
    ],
    NothingSent: [
        NothingSent("not_sent", may_retry=True),
        NothingSent("not_sent", may_retry=False),
        NothingSent("not_sent", True, True),
        NothingSent("not_sent", may_retry=True, no_attempt=True),
        NothingSent("lacking", may_retry=True, claimed_at=datetime(2026, 11, 22, tzinfo=UTC)),
    ],
    NotOwner: [NotOwner("boot_1")],
}
MEMBERS: tuple[type, ...] = typing.get_args(Progress)


def test_every_member_has_an_example() -> None:
    assert set(EXAMPLES) == set(MEMBERS)


@pytest.mark.parametrize("value", [value for values in EXAMPLES.values() for value in values], ids=repr)
async def test_progress_crosses_as_the_member_it_is(value: Progress) -> None:
    arrived = await crossed(value, Progress)
    assert type(arrived) is type(value)
    assert arrived == value
    if isinstance(arrived, NothingSent) and isinstance(value, NothingSent):
        assert arrived.claimed_at == value.claimed_at


@pytest.mark.parametrize(
    "value",
    [
        PaymentRequest("pay_1", 1099, "INR"),
        PaymentRequest("pay_1", 1099, "INR", doubted=True),
        replace(CAPTURE, doubted=True),
        *(OperationRequest("pay_1", "op_1", kind) for kind in OperationKind),
    ],
    ids=repr,
)
async def test_a_request_crosses_as_it_is(value: Any) -> None:
    assert await crossed(value, type(value)) == value


@pytest.mark.parametrize("union", [Progress, Reply, Inquiry, Fact], ids=repr)
def test_every_member_of_a_union_says_its_kind_and_no_two_the_same(union: Any) -> None:
    assert isinstance(union, types.UnionType)
    kinds = []
    for member in typing.get_args(union):
        hint = typing.get_type_hints(member)["kind"]
        assert typing.get_origin(hint) is Literal
        (kind,) = typing.get_args(hint)
        assert {field.name: field.default for field in dataclasses.fields(member)}["kind"] == kind
        kinds.append(kind)
    assert len(set(kinds)) == len(kinds)


def test_no_message_has_a_place_for_card_data() -> None:
    classes = [value for value in vars(messages).values() if dataclasses.is_dataclass(value)]
    names = {field.name for message in classes for field in dataclasses.fields(message)}
    assert not names & {"card", "number", "cvc", "pan", "call", "exp_month", "exp_year", "payment_method"}


@pytest.mark.parametrize("holder", [Attempting, Resolving])
def test_every_activity_says_what_it_takes_and_gives(holder: type) -> None:
    """The converter decodes by these hints, which are read at run time."""
    activities = [
        value for value in vars(holder).values() if hasattr(value, "__temporal_activity_definition")
    ]
    assert activities
    for activity in activities:
        hints = typing.get_type_hints(activity, localns={"Progress": Progress})
        assert hints["return"] in (Progress, Settled, type(None))
        assert all(hint in (OperationRequest, str) for name, hint in hints.items() if name != "return")

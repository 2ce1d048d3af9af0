"""What is sent to Razorpay to accept a dispute, and what its answers mean."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from razorpay_script import NOW, Open, call, problem
from test_razorpay_disputes import entity

from payonce.connectors.base import Call
from payonce.connectors.conformance import yes
from payonce.domain.errors import ConnectorError, OutcomeUnknown, RateLimited, Rejected
from payonce.domain.facts import Approved, Declined, NotKnown, Pending, Refused
from payonce.domain.operations import OperationKind
from tests.connectors.scripted import Answer, Sent

DISPUTE = "disp_AHfqOvkldwsbqt"
ONE = f"/v1/disputes/{DISPUTE}"
READ, ACCEPT = f"GET {ONE}", f"POST {ONE}/accept"
NOT_OPEN = problem(None)


def acceptance(**changes: Any) -> Call:
    return replace(call(OperationKind.ACCEPT, dispute=DISPUTE), **changes)


async def test_a_dispute_is_accepted_by_one_request_without_a_body(razorpay: Open) -> None:
    connector, server = await razorpay({ACCEPT: Answer(entity(status="lost"))})
    reply = await connector.send(acceptance(), may_send=yes)
    assert isinstance(reply, Approved)
    assert reply.dispute is not None
    assert (reply.dispute.id, reply.dispute.status) == (DISPUTE, "lost")
    assert reply.dispute.only_status
    (sent,) = server.of(ACCEPT)
    assert sent.text == ""
    assert server.of(READ) == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [("lost", Approved), ("won", Declined), ("under_review", Declined), ("open", Refused)],
)
async def test_what_could_not_be_accepted_stands_as_the_dispute_says(
    razorpay: Open, status: str, kind: type
) -> None:
    connector, server = await razorpay({ACCEPT: NOT_OPEN, READ: Answer(entity(status=status))})
    assert isinstance(await connector.send(acceptance(), may_send=yes), kind)
    assert len(server.of(READ)) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("lost", Approved),
        ("won", Declined),
        ("closed", Declined),
        ("open", NotKnown),
        ("under_review", NotKnown),
    ],
)
async def test_what_became_of_it_is_what_the_dispute_says(razorpay: Open, status: str, kind: type) -> None:
    connector, _ = await razorpay({READ: Answer(entity(status=status))})
    assert isinstance(await connector.inquire(acceptance()), kind)


async def test_a_dispute_that_is_open_after_it_was_accepted_is_asked_about(razorpay: Open) -> None:
    connector, _ = await razorpay({ACCEPT: Answer(entity())})
    assert isinstance(await connector.send(acceptance(), may_send=yes), Pending)


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (Answer(entity(id="disp_Another", status="lost")), OutcomeUnknown),
        (Answer({"entity": "dispute"}), OutcomeUnknown),
        (problem(None, status=500), OutcomeUnknown),
        (problem(None, status=404), OutcomeUnknown),
        (problem(None, status=401), Rejected),
        (problem(None, status=429), RateLimited),
        (Answer(reset=True), OutcomeUnknown),
    ],
)
async def test_what_is_no_answer_about_our_dispute_is_none(
    razorpay: Open, answer: Answer, raised: type[ConnectorError]
) -> None:
    connector, _ = await razorpay({ACCEPT: answer})
    with pytest.raises(raised):
        await connector.send(acceptance(), may_send=yes)


async def test_a_dispute_that_cannot_be_read_after_a_refusal_is_unknown(razorpay: Open) -> None:
    connector, _ = await razorpay({ACCEPT: NOT_OPEN, READ: problem(None, status=500)})
    with pytest.raises(OutcomeUnknown):
        await connector.send(acceptance(), may_send=yes)


async def test_a_status_that_is_new_says_nothing(razorpay: Open) -> None:
    connector, _ = await razorpay({READ: Answer(entity(status="something_new"))})
    with pytest.raises(OutcomeUnknown):
        await connector.inquire(acceptance())


async def test_what_is_read_stands_so_since_it_was_asked_for(razorpay: Open) -> None:
    """What is asked later, and answered sooner, is newer."""
    clock = [NOW]

    def slowly(_: Sent) -> Answer:
        clock[0] += timedelta(seconds=10)
        return Answer(entity(status="under_review"))

    connector, _ = await razorpay({ACCEPT: NOT_OPEN, READ: slowly}, now=lambda: clock[0])
    reply = await connector.send(acceptance(), may_send=yes)
    assert isinstance(reply, Declined)
    assert reply.dispute is not None
    assert reply.dispute.at == NOW

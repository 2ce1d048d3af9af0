"""What is sent to Stripe to close a dispute, and what its answers mean."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from stripe_script import CREATED, Open, call, error, invalid
from test_stripe_disputes import DISPUTE, dispute

from payonce.connectors.base import Call
from payonce.connectors.conformance import yes
from payonce.domain.errors import ConnectorError, OutcomeUnknown, RateLimited, Rejected
from payonce.domain.facts import Approved, Declined, NotKnown, Pending, Refused
from payonce.domain.operations import OperationKind
from tests.connectors.scripted import Answer, Sent

ONE = f"/v1/disputes/{DISPUTE}"
READ, CLOSE = f"GET {ONE}", f"POST {ONE}/close"
CLOSED = invalid("dispute_already_closed")


def acceptance(**changes: Any) -> Call:
    return replace(call(OperationKind.ACCEPT, dispute=DISPUTE), **changes)


async def test_a_dispute_is_closed_by_one_request_whose_key_is_the_attempts(stripe: Open) -> None:
    connector, server = await stripe({CLOSE: Answer(dispute("lost"))})
    reply = await connector.send(acceptance(), may_send=yes)
    assert isinstance(reply, Approved)
    assert reply.connector_reference == DISPUTE
    assert reply.dispute is not None
    assert (reply.dispute.status, reply.dispute.only_status) == ("lost", True)
    await connector.send(acceptance(), may_send=yes)
    await connector.send(acceptance(reference="op_01jtest-2"), may_send=yes)
    sent = server.of(CLOSE)
    assert [one.form for one in sent] == [(), (), ()]
    assert sent[0].key is not None
    assert sent[0].key == sent[1].key != sent[2].key
    assert server.of(READ) == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [("lost", Approved), ("won", Declined), ("under_review", Declined), ("needs_response", Refused)],
)
async def test_what_could_not_be_closed_stands_as_the_dispute_says(
    stripe: Open, status: str, kind: type
) -> None:
    connector, server = await stripe({CLOSE: CLOSED, READ: Answer(dispute(status))})
    assert isinstance(await connector.send(acceptance(), may_send=yes), kind)
    assert len(server.of(READ)) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("lost", Approved),
        ("won", Declined),
        ("warning_closed", Declined),
        ("prevented", Declined),
        ("under_review", NotKnown),
        ("needs_response", NotKnown),
    ],
)
async def test_what_became_of_it_is_what_the_dispute_says(stripe: Open, status: str, kind: type) -> None:
    connector, _ = await stripe({READ: Answer(dispute(status))})
    assert isinstance(await connector.inquire(acceptance()), kind)


async def test_a_dispute_that_is_open_after_it_was_closed_is_asked_about(stripe: Open) -> None:
    connector, _ = await stripe({CLOSE: Answer(dispute("needs_response"))})
    assert isinstance(await connector.send(acceptance(), may_send=yes), Pending)


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (Answer(dispute("lost", id="du_2Another")), OutcomeUnknown),
        (Answer(dispute("lost", livemode=True)), OutcomeUnknown),
        (Answer(error("api_error"), status=500), OutcomeUnknown),
        (Answer(error("idempotency_error"), status=400), OutcomeUnknown),
        (Answer(error("invalid_request_error", code="resource_missing"), status=404), OutcomeUnknown),
        (Answer(error("invalid_request_error"), status=401), Rejected),
        (Answer(error("invalid_request_error"), status=403), Rejected),
        (Answer(error("rate_limit_error"), status=429), RateLimited),
        (Answer(reset=True), OutcomeUnknown),
    ],
)
async def test_what_is_no_answer_about_our_dispute_is_none(
    stripe: Open, answer: Answer, raised: type[ConnectorError]
) -> None:
    connector, _ = await stripe({CLOSE: answer})
    with pytest.raises(raised):
        await connector.send(acceptance(), may_send=yes)


async def test_a_dispute_that_cannot_be_read_after_a_refusal_is_unknown(stripe: Open) -> None:
    connector, _ = await stripe({CLOSE: CLOSED, READ: Answer(error("api_error"), status=500)})
    with pytest.raises(OutcomeUnknown):
        await connector.send(acceptance(), may_send=yes)


async def test_nothing_is_sent_without_a_dispute(stripe: Open) -> None:
    connector, _ = await stripe({})
    with pytest.raises(Rejected):
        await connector.send(acceptance(dispute=None), may_send=yes)


async def test_a_status_that_is_new_says_nothing(stripe: Open) -> None:
    connector, _ = await stripe({READ: Answer(dispute("something_new"))})
    with pytest.raises(OutcomeUnknown):
        await connector.inquire(acceptance())


async def test_what_is_read_stands_so_since_it_was_asked_for(stripe: Open) -> None:
    """What is asked later, and answered sooner, is newer."""
    asked_at = datetime.fromtimestamp(CREATED, UTC)
    clock = [asked_at]

    def slowly(_: Sent) -> Answer:
        clock[0] += timedelta(seconds=10)
        return Answer(dispute("under_review"))

    connector, _ = await stripe({CLOSE: CLOSED, READ: slowly}, now=lambda: clock[0])
    reply = await connector.send(acceptance(), may_send=yes)
    assert isinstance(reply, Declined)
    assert reply.dispute is not None
    assert reply.dispute.at == asked_at

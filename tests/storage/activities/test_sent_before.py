"""Attempts that Postgres forgot, or shows as unsent, and the acquirer knows: found before anything is sent."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from activities.messages import InquiryDue, NothingSent, ReversalDue, Settled
from payonce.connectors.base import Call
from payonce.domain.errors import OutcomeUnknown
from payonce.domain.facts import (
    ActionRequired,
    DeclineCode,
    Declined,
    Expired,
    Inquiry,
    NotKnown,
    Pending,
    Reversed,
)
from payonce.domain.operations import AttemptState, Operation, OperationKind
from tests.storage.acting import FakeConnector, Process, age, capture_of
from tests.storage.ledger import Ledger
from tests.support.rows import approval

A = AttemptState
UNDECIDED = [
    Pending("acq-1"),
    ActionRequired("acq-1", {"type": "upi_qr"}, datetime.now(UTC) + timedelta(minutes=5)),
]


@dataclass
class Remembering(FakeConnector):
    """An acquirer that answers an inquiry by the number of the attempt; the others it does not know."""

    known: dict[int, Inquiry | Exception] = field(default_factory=dict)

    async def inquire(self, call: Call) -> Any:
        self.answers["inquire"] = self.known.get(int(call.reference.rpartition("-")[2]), NotKnown())
        return await super().inquire(call)


@pytest.fixture
def acquirer() -> Remembering:
    return Remembering()


@pytest.fixture
def process(shared_ledger: Ledger, acquirer: Remembering) -> Process:
    return Process(shared_ledger, acquirer)


@pytest.fixture
def failed_over(shared_ledger: Ledger) -> Iterator[None]:
    """A fail-over that this process saw, and that Temporal knows nothing of."""
    fail_over = shared_ledger.database.fail_over
    fail_over.timeline = "1"
    fail_over.saw("2")
    yield
    fail_over._seen_at = None


async def second_of(process: Process) -> Operation:
    """A capture whose first attempt is recorded as not sent, so that a run claims the second one."""
    capture = await capture_of(process.ledger)
    await process.ledger.rows(
        "UPDATE attempts SET state = 'not_sent' WHERE operation_id = :id", id=capture.id
    )
    return capture


def calls(capture: Operation, *made: tuple[str, int]) -> list[tuple[str, str]]:
    return [(name, f"{capture.id}-{number}") for name, number in made]


@pytest.mark.parametrize("doubted", [True, False])
async def test_what_is_in_doubt_is_sent_once_the_acquirer_knows_none_of_its_attempts(
    process: Process, acquirer: Remembering, doubted: bool
) -> None:
    capture = await second_of(process)
    acquirer.answers["send"] = approval(capture)
    assert isinstance(await process.attempt(capture, doubted=doubted), Settled)
    asked = [("inquire", 1), ("inquire", 2)] if doubted else []
    assert acquirer.calls == calls(capture, *asked, ("send", 2))


async def test_a_fail_over_that_was_seen_is_doubt_enough(
    process: Process, acquirer: Remembering, failed_over: None
) -> None:
    capture = await second_of(process)
    acquirer.known[2] = approval(capture)
    assert isinstance(await process.attempt(capture), Settled)
    assert acquirer.calls == calls(capture, ("inquire", 1), ("inquire", 2))


async def test_money_that_an_earlier_attempt_moved_counts_and_is_no_late_success(
    process: Process, acquirer: Remembering
) -> None:
    """It is recorded under the claim that was made, and heard of later under the reference it was moved with."""
    capture = await second_of(process)
    acquirer.known[1] = approval(capture)
    progress = await process.attempt(capture, doubted=True)
    assert (isinstance(progress, Settled), acquirer.calls) == (True, calls(capture, ("inquire", 1)))
    paid = await process.ledger.payment(capture.payment_id)
    assert (await process.resolve("hear", capture, f"{capture.id}-1")).status == "captured"
    assert await process.ledger.payment(capture.payment_id) == paid
    query = "SELECT kind FROM operations WHERE payment_id = :id"
    assert await process.ledger.rows(query, id=capture.payment_id) == [(OperationKind.CAPTURE,)]


async def test_other_money_under_an_earlier_reference_is_a_late_success(
    process: Process, acquirer: Remembering
) -> None:
    capture = await second_of(process)
    acquirer.answers["send"] = approval(capture)
    await process.attempt(capture)
    acquirer.known[1] = approval(capture, connector_reference="acq-twice")
    await process.resolve("hear", capture, f"{capture.id}-1")
    query = "SELECT target_reference FROM operations WHERE payment_id = :id AND kind = 'reverse'"
    assert await process.ledger.rows(query, id=capture.payment_id) == [(f"{capture.id}-1",)]


@pytest.mark.parametrize(("number", "sends"), [(1, True), (2, False)])
async def test_a_reference_that_was_reversed_is_not_sent_under_again(
    process: Process, acquirer: Remembering, number: int, sends: bool
) -> None:
    capture = await second_of(process)
    acquirer.known[number] = Reversed()
    acquirer.answers["send"] = approval(capture)
    progress = await process.attempt(capture, doubted=True)
    assert isinstance(progress, Settled if sends else NothingSent)
    assert (("send", f"{capture.id}-2") in acquirer.calls) is sends


@pytest.mark.parametrize("number", [1, 2])
async def test_an_inquiry_that_fails_gives_nothing_back_where_temporal_says_it_is_done(
    process: Process, acquirer: Remembering, number: int
) -> None:
    capture = await second_of(process)
    acquirer.known[number] = OutcomeUnknown("timeout")
    assert isinstance(await process.attempt(capture, doubted=True), InquiryDue)
    assert (await process.ledger.latest(capture.id)).state is A.UNKNOWN
    assert "send" not in dict(acquirer.calls)


async def test_an_inquiry_that_fails_after_a_fail_over_gives_the_claim_back(
    process: Process, acquirer: Remembering, failed_over: None
) -> None:
    capture = await second_of(process)
    acquirer.known[1] = OutcomeUnknown("timeout")
    assert isinstance(await process.attempt(capture), NothingSent)
    assert (await process.ledger.latest(capture.id)).state is A.NOT_SENT
    assert "send" not in dict(acquirer.calls)


@pytest.mark.parametrize("found", [*UNDECIDED, Expired("acq-1")], ids=lambda found: found.kind)
async def test_an_earlier_attempt_that_is_not_decided_is_no_fact_about_this_one(
    process: Process, acquirer: Remembering, found: Inquiry
) -> None:
    capture = await second_of(process)
    acquirer.known[1] = found
    assert isinstance(await process.attempt(capture, doubted=True), InquiryDue)
    latest = await process.ledger.latest(capture.id)
    assert (latest.number, latest.state, latest.connector_reference) == (2, A.UNKNOWN, None)
    assert "send" not in dict(acquirer.calls)


@pytest.mark.parametrize("found", UNDECIDED, ids=lambda found: found.kind)
async def test_while_an_earlier_attempt_is_undecided_nothing_is_proven_until_it_is(
    process: Process, acquirer: Remembering, found: Inquiry
) -> None:
    capture = await undecided_and_old(process, acquirer, found)
    due = await process.resolve("inquire", capture)
    assert (isinstance(due, InquiryDue), due.reason) == (True, "sent_before")
    acquirer.known[1] = OutcomeUnknown("timeout")
    assert isinstance(await process.resolve("inquire", capture), InquiryDue)
    acquirer.known[1] = approval(capture)
    assert (await process.resolve("inquire", capture)).status == "captured"


@pytest.mark.parametrize("found", [Expired("acq-1"), Reversed(), NotKnown()], ids=lambda found: found.kind)
async def test_an_earlier_attempt_that_ended_without_money_holds_up_no_proof(
    process: Process, acquirer: Remembering, found: Inquiry
) -> None:
    capture = await undecided_and_old(process, acquirer, UNDECIDED[0])
    acquirer.known[1] = found
    assert isinstance(await process.resolve("inquire", capture), ReversalDue)


async def test_an_earlier_attempt_that_was_declined_is_the_outcome(
    process: Process, acquirer: Remembering
) -> None:
    capture = await undecided_and_old(process, acquirer, UNDECIDED[0])
    acquirer.known[1] = Declined(DeclineCode.DO_NOT_HONOR)
    assert (await process.resolve("inquire", capture)).status == "authorized"
    assert (await process.ledger.latest(capture.id)).state is A.DECLINED


async def undecided_and_old(process: Process, acquirer: Remembering, found: Inquiry) -> Operation:
    """The second attempt was not sent, since the first is undecided; NOT_FOUND would prove something by now."""
    capture = await second_of(process)
    acquirer.known[1] = found
    await process.attempt(capture, doubted=True)
    await age(process.ledger, capture)
    return capture

"""Razorpay's connector against the sandbox's Razorpay dialect, which somebody else wrote from its documentation."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
import test_razorpay_answered
from razorpay_dialect import HastyHarness, RazorpayHarness
from wire_server import Serve

from payonce.connectors.base import Call
from payonce.connectors.conformance import eventually, following, yes
from payonce.connectors.conformance_acceptance import AcceptanceConformance
from payonce.connectors.conformance_challenge import ChallengeConformance, ManualChallengeConformance
from payonce.connectors.conformance_customer import (
    CallbackConformance,
    CustomerConformance,
    ExpiryConformance,
    decided,
)
from payonce.connectors.conformance_declared import suites_missing
from payonce.connectors.conformance_disputes import DisputeConformance
from payonce.connectors.conformance_listing import ListingConformance
from payonce.domain.errors import NotSent
from payonce.domain.facts import (
    Accepted,
    ActionRequired,
    Approved,
    Declined,
    EndsItself,
    Expired,
    Foreign,
    NotKnown,
    Pending,
    Reversed,
    Stage,
)
from payonce.domain.operations import OperationKind


@pytest.fixture(params=["card", "wallet"])
def method(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
async def harness(
    method: str, acquirer_url: str, refusing_url: str, serve: Serve, witness: httpx.AsyncClient
) -> AsyncIterator[RazorpayHarness]:
    made = RazorpayHarness(method, url=acquirer_url, refusing_url=refusing_url, serve=serve, witness=witness)
    await made.set_up()
    yield made
    await made.close()


class OfCustomers(CustomerConformance):
    """What the suite shows of customers. Nothing is reversed by its reference, nor less than a rupee refunded."""

    test_what_is_reversed_cannot_be_paid_any_more = None
    test_a_payment_that_was_made_is_reversed = None

    async def test_a_part_of_it_is_refunded(self, harness: RazorpayHarness) -> None:
        connector, call = harness.open(), harness.order()
        await connector.send(call, may_send=yes)
        await harness.decide(call.payment_id, approve=True)
        paid = await decided(connector, call)
        assert isinstance(paid, Approved)
        refund = replace(
            following(call, OperationKind.REFUND),
            amount_minor=100,
            authorization_reference=paid.connector_reference,
        )
        reply = await connector.send(refund, may_send=yes)
        assert isinstance(reply, Approved)
        assert reply.amount_minor == 100
        assert await connector.inquire(refund) == reply
        found = await connector.inquire(call)
        assert isinstance(found, Approved)
        assert found.since == ()
        assert list(await harness.movements(call.payment_id))[2:] == ["refund"]


class TestRazorpay(OfCustomers, CallbackConformance):
    """Whoever is sent to a page. No event has an id that is signed, nor a time outside its body."""

    test_a_callback_names_its_event_and_our_reference = None
    test_one_that_is_not_of_now_is_refused = None


class TestRazorpayUpi(OfCustomers):
    """In an app the customer may try again what failed: it is declined once their time is over, and not before."""

    @pytest.fixture(params=["upi", "collect"])
    def method(self, request: pytest.FixtureRequest) -> str:
        found: str = request.param
        return found

    async def test_a_customer_who_declines_pays_nothing(self, harness: RazorpayHarness) -> None:
        call = harness.order()
        await harness.open().send(call, may_send=yes)
        await harness.decide(call.payment_id, approve=False)
        assert isinstance(await harness.open().inquire(call), Pending)
        assert isinstance(await decided(harness.open_later(), call), Declined)
        assert list(await harness.movements(call.payment_id)) == []

    @pytest.mark.parametrize("approve", [True, False])
    async def test_what_is_decided_is_not_cancelled(self, harness: RazorpayHarness, approve: bool) -> None:
        call = harness.order()
        await harness.open().send(call, may_send=yes)
        await harness.decide(call.payment_id, approve=approve)
        before = await decided(harness.open_later(), call)
        assert await harness.open().cancel(call) == EndsItself()
        assert await harness.open_later().inquire(call) == before
        moved = ["authorize", "capture"] if approve else []
        assert list(await harness.movements(call.payment_id)) == moved

    async def test_an_unmapped_status_is_pending(self, harness: RazorpayHarness) -> None:
        """Of a request at an address nothing more is said at once than its number."""
        connector = await harness.open_unmapped()
        assert isinstance(await connector.send(harness.order(), may_send=yes), ActionRequired | Pending)
        assert isinstance(await connector.inquire(harness.order()), Pending)


class TestRazorpayExpires(ExpiryConformance):
    """What nobody answered has failed of itself, and may be authorized still."""

    @pytest.fixture
    async def harness(
        self, acquirer_url: str, refusing_url: str, serve: Serve, witness: httpx.AsyncClient
    ) -> AsyncIterator[RazorpayHarness]:
        made = HastyHarness("card", url=acquirer_url, refusing_url=refusing_url, serve=serve, witness=witness)
        await made.set_up()
        yield made
        await made.close()

    test_who_leaves_it_alone_pays_nothing = ChallengeConformance.test_who_leaves_it_alone_pays_nothing


class TestRazorpayChallenges(ChallengeConformance, ManualChallengeConformance):
    """Every cardholder is asked. Razorpay does not say that they were authenticated, and takes no wish about it.

    Who fails is not declined for good: the same reason is that of those who leave, and may be authorized late.
    """

    test_who_fails_is_declined_for_good = None
    test_who_leaves_it_alone_pays_nothing = None
    test_who_is_asked_and_passes_is_authenticated = None
    test_a_challenge_that_is_forced_asks_whoever_would_not_be = None
    test_a_challenge_that_is_to_be_avoided_asks_nobody = None
    test_a_soft_decline_becomes_a_challenge = None

    @pytest.fixture
    def method(self) -> str:
        return "card"


class TestRazorpaysDisputes(DisputeConformance):
    """What is told of them."""

    @pytest.fixture(params=["card", "upi"])
    def method(self, request: pytest.FixtureRequest) -> str:
        found: str = request.param
        return found


class TestRazorpaysAcceptances(AcceptanceConformance):
    """What is accepted there."""

    @pytest.fixture(params=["upi"])
    def method(self, request: pytest.FixtureRequest) -> str:
        found: str = request.param
        return found


class TestRazorpaysList(ListingConformance):
    """What was paid by wallets and cards, and at an address."""

    @pytest.fixture(params=["wallet", "upi"])
    def method(self, request: pytest.FixtureRequest) -> str:
        found: str = request.param
        return found


@pytest.mark.parametrize("method", ["card"])
async def test_every_suite_is_taken_that_is_declared(harness: RazorpayHarness) -> None:
    answered = test_razorpay_answered.TestRazorpayAnswered
    disputes = (TestRazorpaysDisputes, TestRazorpaysAcceptances)
    taken = (TestRazorpay, TestRazorpayChallenges, TestRazorpaysList, *disputes, answered)
    assert not suites_missing(harness.open(), *taken)


# What only Razorpay does: days are skipped by the bank's own word.


async def authorized_late(harness: RazorpayHarness, **changes: object) -> tuple[Call, Approved]:
    """A card payment that timed out, and that its bank authorized days later."""
    call = replace(harness.order(), **changes)
    connector = harness.open()
    await connector.send(call, may_send=yes)
    await harness.says(call.payment_id, "times_out")
    assert isinstance(await connector.inquire(call), Expired)
    await harness.says(call.payment_id, "approves")

    async def authorized() -> Approved | None:
        fact = await connector.inquire(call)
        return fact if isinstance(fact, Approved) else None

    found = await eventually(authorized)
    return call, found


@pytest.mark.parametrize("method", ["card", "wallet"])
async def test_what_failed_is_authorized_late_and_lapses(harness: RazorpayHarness) -> None:
    call, found = await authorized_late(harness, automatic_capture=False)
    connector = harness.open()
    assert found.stage is Stage.AUTHORIZED
    release = replace(following(call, OperationKind.VOID), authorization_reference=found.connector_reference)
    assert await connector.send(release, may_send=yes) == Accepted(found.connector_reference)
    assert await connector.inquire(release) == Accepted(found.connector_reference)
    assert list(await harness.movements(call.payment_id)) == ["authorize"]
    await harness.says(call.payment_id, "lapses")
    released = await connector.inquire(release)
    assert isinstance(released, Approved)
    assert (released.amount_minor, released.currency) == (1099, "INR")
    assert await connector.inquire(call) == Reversed()
    approved = await connector.inquire(replace(call, approved=True))
    assert isinstance(approved, Approved)
    assert [turn.what for turn in approved.since if isinstance(turn, Foreign)] == ["void"]
    assert list(await harness.movements(call.payment_id)) == ["authorize", "void"]


@pytest.mark.parametrize("method", ["card", "upi"])
async def test_the_same_order_serves_a_further_attempt_and_is_paid_once(harness: RazorpayHarness) -> None:
    """An order whose answer was lost is there, and the attempt that follows finds it."""
    connector = harness.open()
    first = replace(harness.order(), metadata={"sandbox_fault": "create:error_after_charge"})
    with pytest.raises(NotSent):
        await connector.send(first, may_send=yes)
    again = replace(first, reference=f"{first.payment_id}-2")
    assert isinstance(await connector.send(again, may_send=yes), ActionRequired)
    await harness.decide(first.payment_id, approve=True)
    assert isinstance(await decided(connector, again), Approved)
    assert await connector.inquire(first) == NotKnown()
    assert len(await harness.own_ids(first.payment_id)) == 1
    assert list(await harness.movements(first.payment_id)) == ["authorize", "capture"]

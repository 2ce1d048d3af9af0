"""What a connector must show that accepts disputes: tests to inherit, as `conformance_disputes`.

    class TestOurAcceptances(AcceptanceConformance):
        @pytest.fixture
        def harness(self) -> AcceptanceHarness: ...

For those that declare `Capabilities.accepts_disputes`.
"""

from dataclasses import replace
from functools import partial
from typing import Final, Literal, Protocol

import pytest

from payonce.connectors.base import Call, Connector
from payonce.connectors.conformance import eventually, following, no, yes
from payonce.connectors.conformance_disputes import DisputeHarness, becomes, decides, disputes
from payonce.connectors.conformance_wire import WRONG, Break, BreakableWire, told
from payonce.domain.errors import ConnectorError, NotSent, OutcomeUnknown
from payonce.domain.facts import Approved, Declined, NotKnown, Refused
from payonce.domain.operations import OperationKind

DISPUTED: Final = ["authorize", "capture", "dispute"]
GIVEN_IN: Final = ("accepted", "lost")


class AcceptanceHarness(DisputeHarness, Protocol):
    """A harness whose connector can be opened at another address."""

    @property
    def url(self) -> str:
        """Of the acquirer's sandbox: plain HTTP."""
        ...

    def open_at(self, url: str) -> Connector:
        """A connector there, with a call deadline short enough to wait for."""
        ...


class AcceptanceConformance:
    """A dispute is given in once, however often that is said, and no money moves by it."""

    pytestmark = pytest.mark.asyncio

    async def test_what_is_accepted_stays_withdrawn(self, harness: AcceptanceHarness) -> None:
        connector = harness.open()
        assert connector.capabilities.accepts_disputes
        call, _ = await disputed(harness, connector)
        assert await connector.inquire(call) == NotKnown()
        reply = await connector.send(call, may_send=yes)
        check_given_in(reply, call)
        check_given_in(await connector.inquire(call), call)
        assert list(await harness.movements(call.payment_id)) == DISPUTED

    async def test_what_is_accepted_is_accepted_again(self, harness: AcceptanceHarness) -> None:
        connector = harness.open()
        call, _ = await disputed(harness, connector)
        for number in (1, 1, 2):
            again = replace(call, reference=f"{call.reference[:-1]}{number}")
            check_given_in(await connector.send(again, may_send=yes), call)
        assert list(await harness.movements(call.payment_id)) == DISPUTED

    @pytest.mark.parametrize("decision", ["won", "lost", "responded"])
    async def test_what_the_bank_decided_before_stands(
        self, harness: AcceptanceHarness, decision: str
    ) -> None:
        connector = harness.open()
        call, dispute = await disputed(harness, connector)
        await decides(harness, dispute, decision)
        reply = await connector.send(call, may_send=yes)
        found = await connector.inquire(call)
        if decision == "lost":
            check_given_in(reply, call)
            check_given_in(found, call)
            return
        assert isinstance(reply, Declined)
        assert reply.dispute is not None
        assert (reply.dispute.id, reply.dispute.status) == (
            call.dispute,
            "won" if decision == "won" else "under_review",
        )
        assert isinstance(found, Declined) if decision == "won" else found == NotKnown()
        back = ["dispute_reversal"] if decision == "won" else []
        assert list(await harness.movements(call.payment_id)) == [*DISPUTED, *back]

    async def test_nothing_is_sent_without_the_right(self, harness: AcceptanceHarness) -> None:
        connector = harness.open()
        call, _ = await disputed(harness, connector)
        with pytest.raises(NotSent):
            await connector.send(call, may_send=no)
        assert await connector.inquire(call) == NotKnown()

    @pytest.mark.parametrize("how", ["dropped", "lost"])
    async def test_a_call_without_an_answer_is_unknown_and_the_dispute_says(
        self, harness: AcceptanceHarness, how: Literal["dropped", "lost"]
    ) -> None:
        connector = harness.open()
        call, _ = await disputed(harness, connector)
        async with BreakableWire(harness.url, Break(1, how)).running() as wire:
            with pytest.raises(OutcomeUnknown):
                await harness.open_at(wire.url).send(call, may_send=yes)
        if how == "lost":
            await eventually(partial(_given_in, connector, call))
        else:
            assert await connector.inquire(call) == NotKnown()

    @pytest.mark.parametrize("wrong", WRONG)
    async def test_an_answer_that_is_not_documented_proves_nothing(
        self, harness: AcceptanceHarness, wrong: str
    ) -> None:
        connector = harness.open()
        call, _ = await disputed(harness, connector)
        async with BreakableWire(harness.url, Break(1, "replaced", WRONG[wrong])).running() as wire:
            reply = await told(harness.open_at(wire.url), call)
        assert isinstance(reply, OutcomeUnknown), wrong
        check_given_in(await connector.inquire(call), call)

    @pytest.mark.parametrize("wrong", WRONG)
    async def test_a_wrong_answer_to_the_question_proves_nothing(
        self, harness: AcceptanceHarness, wrong: str
    ) -> None:
        call, _ = await disputed(harness, harness.open())
        async with BreakableWire(harness.url, Break(1, "replaced", WRONG[wrong])).running() as wire:
            with pytest.raises(ConnectorError):
                await harness.open_at(wire.url).inquire(call)


async def disputed(harness: AcceptanceHarness, connector: Connector) -> tuple[Call, dict[str, object]]:
    """The acceptance of a dispute that waits for its merchant, and the bank's dispute."""
    call, paid = await harness.paid(connector)
    dispute = await disputes(harness, call)
    said = await becomes(harness, connector, call, paid, status="needs_response", stage="chargeback")
    accepting = replace(
        following(call, OperationKind.ACCEPT),
        dispute=said.id,
        authorization_reference=paid.connector_reference,
    )
    return accepting, dict(dispute)


def check_given_in(found: object, call: Call) -> None:
    """It says that our dispute is given in, with what was withdrawn for it."""
    assert isinstance(found, Approved), found
    assert found.dispute is not None
    assert found.dispute.id == call.dispute
    assert found.dispute.status in GIVEN_IN
    assert found.dispute.only_status or found.dispute.withdrawn_minor == call.amount_minor
    assert (found.amount_minor, found.currency) == (call.amount_minor, call.currency)
    assert not isinstance(found, Declined | Refused)


async def _given_in(connector: Connector, call: Call) -> bool:
    return isinstance(await connector.inquire(call), Approved)

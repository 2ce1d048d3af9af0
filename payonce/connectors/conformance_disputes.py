"""What a connector must show that says what cardholders' banks dispute: tests to inherit, as `conformance`.

    class TestOurDisputes(DisputeConformance):
        @pytest.fixture
        def harness(self) -> DisputeHarness: ...

For those that declare `Capabilities.disputes`, whoever tells of them: an inquiry, or callbacks, each of which says
what changed. Needs pytest-asyncio.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

import pytest

from payonce.connectors.base import Call, Connector
from payonce.connectors.conformance import eventually, following, yes
from payonce.connectors.conformance_learning import learned, read_callbacks
from payonce.domain.disputes import latest
from payonce.domain.facts import Approved, Disputed
from payonce.domain.operations import OperationKind

PART_MINOR: Final = 300
ORDERS_MAX: Final = 120  # of up to five callbacks, all


class DisputeHarness(Protocol):
    """A connector's own acquirer sandbox, where somebody plays the bank. Closes what it opened.

    Where callbacks tell of disputes, it has `callbacks` besides, as `Telling`.
    """

    def open(self) -> Connector:
        """A connector at the acquirer."""
        ...

    async def paid(self, connector: Connector, *, automatic: bool = True) -> tuple[Call, Approved]:
        """A payment that the connector made, and what became of it."""
        ...

    async def bank(self, path: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the page on which people play the bank answers to a form."""
        ...

    async def movements(self, payment_id: str) -> Sequence[str]:
        """What is in the ledger of the payment, oldest first."""
        ...


class DisputeConformance:
    """How each dispute about a payment stands, and how much money is away by it."""

    pytestmark = pytest.mark.asyncio

    async def test_what_nobody_disputes_has_no_dispute(self, harness: DisputeHarness) -> None:
        connector = harness.open()
        call, paid = await harness.paid(connector)
        assert await said(harness, connector, call, paid) == []

    async def test_what_the_bank_took_is_withdrawn_until_it_gives_it_back(
        self, harness: DisputeHarness
    ) -> None:
        connector = harness.open()
        call, paid = await harness.paid(connector)
        dispute = await disputes(harness, call)
        opened = await becomes(harness, connector, call, paid, withdrawn_minor=call.amount_minor)
        assert (opened.stage, opened.status) == ("chargeback", "needs_response")
        assert (opened.amount_minor, opened.currency) == (call.amount_minor, call.currency)
        assert opened.reason
        assert opened.evidence_due_by is not None
        await decides(harness, dispute, "won")
        won = await becomes(harness, connector, call, paid, withdrawn_minor=0)
        assert (won.status, won.id) == ("won", opened.id)
        assert won.at >= opened.at
        moved = await harness.movements(call.payment_id)
        assert list(moved) == ["authorize", "capture", "dispute", "dispute_reversal"]

    async def test_what_is_lost_stays_withdrawn(self, harness: DisputeHarness) -> None:
        connector = harness.open()
        call, paid = await harness.paid(connector)
        dispute = await disputes(harness, call)
        await becomes(harness, connector, call, paid, status="needs_response")
        await decides(harness, dispute, "lost")
        lost = await becomes(harness, connector, call, paid, status="lost")
        assert lost.withdrawn_minor == call.amount_minor

    async def test_a_part_of_it(self, harness: DisputeHarness) -> None:
        connector = harness.open()
        call, paid = await harness.paid(connector)
        await disputes(harness, call, amount=PART_MINOR)
        opened = await becomes(harness, connector, call, paid, stage="chargeback")
        assert (opened.amount_minor, opened.withdrawn_minor) == (PART_MINOR, PART_MINOR)

    async def test_an_inquiry_withdraws_nothing_until_it_becomes_a_chargeback(
        self, harness: DisputeHarness
    ) -> None:
        connector = harness.open()
        call, paid = await harness.paid(connector)
        dispute = await disputes(harness, call, stage="inquiry")
        asked = await becomes(harness, connector, call, paid, status="needs_response")
        assert (asked.stage, asked.withdrawn_minor) == ("inquiry", 0)
        assert list(await harness.movements(call.payment_id)) == ["authorize", "capture"]
        await decides(harness, dispute, "chargeback")
        taken = await becomes(harness, connector, call, paid, stage="chargeback")
        assert taken.withdrawn_minor == call.amount_minor

    async def test_several_about_one_payment_are_each_told(self, harness: DisputeHarness) -> None:
        connector = harness.open()
        call, paid = await harness.paid(connector)
        first = await disputes(harness, call, amount=PART_MINOR)
        await becomes(harness, connector, call, paid, withdrawn_minor=PART_MINOR)
        await decides(harness, first, "lost")
        await disputes(harness, call, amount=2 * PART_MINOR)

        async def both() -> list[Disputed] | None:
            found = await said(harness, connector, call, paid)
            return found if len(found) > 1 else None

        found = await eventually(both)
        assert sorted(one.withdrawn_minor for one in found) == [PART_MINOR, 2 * PART_MINOR]

    async def test_a_refund_that_was_out_before_changes_nothing_of_the_dispute(
        self, harness: DisputeHarness
    ) -> None:
        """The bank asks back what the customer paid, and has it twice: that is for a person, who must see it."""
        connector = harness.open()
        call, paid = await harness.paid(connector)
        refund = replace(
            following(call, OperationKind.REFUND),
            amount_minor=PART_MINOR,
            authorization_reference=paid.connector_reference,
        )
        await connector.send(refund, may_send=yes)
        assert isinstance(await learned(harness, connector, refund), Approved)
        await disputes(harness, call)
        opened = await becomes(harness, connector, call, paid, stage="chargeback")
        assert opened.withdrawn_minor == call.amount_minor
        moved = await harness.movements(call.payment_id)
        assert list(moved) == ["authorize", "capture", "refund", "dispute"]

    async def test_in_whatever_order_it_is_told_it_ends_the_same(self, harness: DisputeHarness) -> None:
        connector = harness.open()
        call, paid = await harness.paid(connector)
        dispute = await disputes(harness, call, stage="inquiry")
        await decides(harness, dispute, "chargeback")
        await decides(harness, dispute, "responded")
        await decides(harness, dispute, "won")
        last = await becomes(harness, connector, call, paid, status="won", withdrawn_minor=0)
        told = [one for one in await words(harness, connector, call) if one.id == last.id]
        for order in itertools.islice(itertools.permutations(told), ORDERS_MAX if told else 0):
            assert latest(order) == last


async def said(harness: DisputeHarness, connector: Connector, call: Call, paid: Approved) -> list[Disputed]:
    """How each dispute about the payment stands, as the connector has it, oldest first."""
    truth = connector.capabilities.disputes
    assert truth is not None
    if truth.is_told:
        told = await words(harness, connector, call)
        return [
            latest([one for one in told if one.id == id_]) for id_ in dict.fromkeys(one.id for one in told)
        ]
    asked = replace(call, attempt_reference=paid.connector_reference, approved=True)
    found = await connector.inquire(asked)
    assert isinstance(found, Approved)
    return list(found.disputes)


async def words(harness: DisputeHarness, connector: Connector, call: Call) -> list[Disputed]:
    """What callbacks said of disputes about the payment; nothing where an inquiry says it."""
    truth = connector.capabilities.disputes
    if truth is None or not truth.is_told:
        return []
    facts = [callback.fact for callback in await read_callbacks(harness, connector, call)]
    return [fact for fact in facts if isinstance(fact, Disputed)]


async def becomes(
    harness: DisputeHarness, connector: Connector, call: Call, paid: Approved, **members: Any
) -> Disputed:
    """The only dispute, once it has these members."""

    async def shows() -> Disputed | None:
        found = await said(harness, connector, call, paid)
        fits = len(found) == 1 and {name: getattr(found[0], name) for name in members} == members
        return found[0] if fits else None

    return await eventually(shows)


async def disputes(harness: DisputeHarness, call: Call, **fields: Any) -> Mapping[str, Any]:
    """The dispute that the bank opens."""
    return await harness.bank("/disputes", {"payment_reference": call.payment_id, **fields})


async def decides(harness: DisputeHarness, dispute: Mapping[str, Any], decision: str) -> None:
    """The bank's next move."""
    await harness.bank(f"/disputes/{dispute['id']}", {"decision": decision})

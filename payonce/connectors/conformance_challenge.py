"""What a connector must show whose acquirer asks cardholders who they are: tests to inherit, as `conformance`.

    class TestOurCards(ChallengeConformance):
        @pytest.fixture
        def harness(self) -> ChallengeHarness: ...

`CustomerConformance` belongs to it: a cardholder is a customer who decides later. `LegConformance` is for connectors
whose challenges are completed by `resume`. Nothing is skipped for what a connector does not declare: that has suites
of its own, and `conformance_declared` says which a connector owes. Needs pytest-asyncio.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from enum import StrEnum
from typing import Final, Protocol, cast

import pytest

from payonce.connectors.base import Call, Connector, TwoLegged
from payonce.connectors.conformance import AFTER, Fault, Holding, eventually, following, no, yes
from payonce.connectors.conformance_customer import CustomerHarness, asking, decided
from payonce.connectors.conformance_learning import outcome_told
from payonce.domain.errors import ConnectorError, LegInvalid, NotSent, OutcomeUnknown
from payonce.domain.facts import (
    ActionRequired,
    Approved,
    Cancelled,
    DeclineCode,
    Declined,
    EndsItself,
    Expired,
    Inquiry,
    Pending,
    Reply,
    Stage,
)
from payonce.domain.operations import OperationKind
from payonce.domain.sca import HandedIn, Sca

HANDED_IN: Final = HandedIn(
    version="2.2.0",
    trans_status="Y",
    eci="05",
    cavv="AJkBBkhgQQAAAE4gSEJydQAAAAA=",
    ds_transaction_id="d65e93c3-35ab-41ba-b307-767bfc19eae3",
)


class Did(StrEnum):
    """What a cardholder did on the page."""

    PASSED = "passed"
    FAILED = "failed"  # for good
    WENT_BACK = "went_back"  # without an answer: the challenge is still open


class ChallengeHarness(CustomerHarness, Protocol):
    """A connector's own acquirer sandbox, with a cardholder in it. `order` is one who is asked."""

    def unasked(self) -> Call:
        """As `order`, of a card whose holder is not asked unless that is forced."""
        ...

    def softly_declined(self) -> Call:
        """As `order`, of a card that is declined softly unless a challenge is forced."""
        ...

    async def does(self, payment_id: str, did: Did) -> None:
        """The cardholder does this, if it is still possible, and their browser goes back."""
        ...

    def late(self) -> AbstractAsyncContextManager[None]:
        """While it lasts, cardholders may pass what was cancelled, if the acquirer ever allows that."""
        ...


class LegHarness(ChallengeHarness, Protocol):
    """Of an acquirer whose challenges are completed by a leg of ours."""

    def brought_back(self, payment_id: str) -> Mapping[str, str]:
        """The declared parameters that the browser brought with it when it went back last."""
        ...

    def faulty_leg(self, call: Call, fault: Fault) -> Call:
        """The call, so that the acquirer does `fault` to its second leg."""
        ...


class WishesConformance:
    """Whether a cardholder is asked follows what was wished for."""

    pytestmark = pytest.mark.asyncio

    async def test_a_challenge_that_is_forced_asks_whoever_would_not_be(
        self, harness: ChallengeHarness
    ) -> None:
        connector = harness.open()
        assert isinstance(await connector.send(harness.unasked(), may_send=yes), Approved)
        forced = replace(harness.unasked(), sca=Sca(challenge="force"))
        assert isinstance(await connector.send(forced, may_send=yes), ActionRequired)

    async def test_a_challenge_that_is_to_be_avoided_asks_nobody(self, harness: ChallengeHarness) -> None:
        connector, call = harness.open(), replace(harness.order(), sca=Sca(challenge="avoid"))
        reply = await connector.send(call, may_send=yes)
        assert isinstance(reply, Approved | Declined)
        if isinstance(reply, Declined):
            assert (reply.code, reply.soft) == (DeclineCode.AUTHENTICATION_REQUIRED, True)

    async def test_exemptions_are_passed_on_and_it_is_told_whether_they_were_honoured(
        self, harness: ChallengeHarness
    ) -> None:
        connector = harness.open()
        for exemption in connector.capabilities.exemptions:
            call = replace(harness.unasked(), sca=Sca.of({"exemption": exemption}))
            reply = await connector.send(call, may_send=yes)
            assert isinstance(reply, Approved)
            assert reply.evidence is not None
            assert reply.evidence.exemption_honoured == exemption

    async def test_a_soft_decline_becomes_a_challenge(self, harness: ChallengeHarness) -> None:
        connector, call = harness.open(), harness.softly_declined()
        reply = await connector.send(call, may_send=yes)
        if connector.capabilities.soft_decline == "resend":
            assert isinstance(reply, Declined)
            assert (reply.code, reply.soft) == (DeclineCode.AUTHENTICATION_REQUIRED, True)
            await check_told(harness, connector, call, reply)
            again = replace(call, reference=f"{call.payment_id}-2", sca=Sca(challenge="force"))
            reply = await connector.send(again, may_send=yes)
        assert isinstance(reply, ActionRequired)
        assert list(await harness.movements(call.payment_id)) == []


class HandedInConformance:
    """Of connectors whose `three_ds` names the merchant: who was authenticated elsewhere is not asked."""

    pytestmark = pytest.mark.asyncio

    async def test_who_was_authenticated_elsewhere_is_not_asked(self, harness: ChallengeHarness) -> None:
        connector = harness.open()
        assert "merchant" in connector.capabilities.three_ds
        reply = await connector.send(replace(harness.order(), authentication=HANDED_IN), may_send=yes)
        assert isinstance(reply, Approved)
        assert reply.evidence is not None
        assert (reply.evidence.authentication, reply.evidence.eci) == ("authenticated", HANDED_IN.eci)


class ChallengeConformance(WishesConformance):
    """Passed, failed, cancelled, left alone, besides wishes. The acquirer's word is the only one."""

    pytestmark = pytest.mark.asyncio

    async def test_who_is_asked_and_passes_is_authenticated(self, harness: ChallengeHarness) -> None:
        connector, call = harness.open(), harness.order()
        assert "acquirer" in connector.capabilities.three_ds
        asked = await connector.send(call, may_send=yes)
        assert isinstance(asked, ActionRequired)
        assert asked.completes == "customer"
        assert asked.action["type"] == "redirect"
        await harness.does(call.payment_id, Did.PASSED)
        found = await decided(connector, call)
        assert isinstance(found, Approved)
        assert found.evidence is not None
        assert found.evidence.authentication == "authenticated"
        assert list(await harness.movements(call.payment_id)) == ["authorize", "capture"]

    async def test_who_fails_is_declined_for_good(self, harness: ChallengeHarness) -> None:
        connector, call = harness.open(), harness.order()
        await connector.send(call, may_send=yes)
        await harness.does(call.payment_id, Did.FAILED)
        found = await decided(connector, call)
        assert isinstance(found, Declined)
        assert (found.code, found.soft) == (DeclineCode.AUTHENTICATION_FAILED, False)
        await harness.does(call.payment_id, Did.PASSED)
        assert await connector.inquire(call) == found
        assert list(await harness.movements(call.payment_id)) == []

    async def test_who_goes_back_may_still_pass(self, harness: ChallengeHarness) -> None:
        connector, call = harness.open(), harness.order()
        await connector.send(call, may_send=yes)
        for _ in range(2):
            await harness.does(call.payment_id, Did.WENT_BACK)
            assert isinstance(await connector.inquire(call), ActionRequired | Pending)
        await harness.does(call.payment_id, Did.PASSED)
        assert isinstance(await decided(connector, call), Approved)

    async def test_who_leaves_it_alone_pays_nothing(self, harness: ChallengeHarness) -> None:
        """It is cancelled by us, or ends by itself: whichever the capabilities say."""
        connector, call = harness.open_hurried(), harness.order()
        await connector.send(call, may_send=yes)
        said = await asking(connector).cancel(call)
        if connector.capabilities.challenge_ends == "itself":
            assert isinstance(said, EndsItself | Cancelled)
            if said == EndsItself():
                assert isinstance(await decided(connector, call), Expired | Declined)
        else:
            assert said == Cancelled()
        await harness.does(call.payment_id, Did.PASSED)
        assert not isinstance(await connector.inquire(call), Approved | ActionRequired)
        assert list(await harness.movements(call.payment_id)) == []

    async def test_what_is_passed_after_it_was_cancelled_is_told_as_the_ledger_has_it(
        self, harness: ChallengeHarness
    ) -> None:
        connector, call = harness.open(), harness.order()
        async with harness.late():
            await connector.send(call, may_send=yes)
            await asking(connector).cancel(call)
            await harness.does(call.payment_id, Did.PASSED)
            found = await connector.inquire(call)
            moved = list(await harness.movements(call.payment_id))
        assert isinstance(found, Approved) is bool(moved)
        assert moved in ([], ["authorize", "capture"])


class ManualChallengeConformance:
    """Of connectors with manual capture: a challenge that is passed authorizes, and captures nothing."""

    pytestmark = pytest.mark.asyncio

    async def test_what_was_authorized_after_a_challenge_is_captured_when_it_is_asked_for(
        self, harness: ChallengeHarness
    ) -> None:
        connector, call = harness.open(), replace(harness.order(), automatic_capture=False)
        assert "manual" in connector.capabilities.capture_methods
        await connector.send(call, may_send=yes)
        await harness.does(call.payment_id, Did.PASSED)
        found = await decided(connector, call)
        assert isinstance(found, Approved)
        assert found.stage is Stage.AUTHORIZED
        capture = replace(
            following(call, OperationKind.CAPTURE), authorization_reference=found.connector_reference
        )
        assert isinstance(await connector.send(capture, may_send=yes), Approved)
        assert list(await harness.movements(call.payment_id)) == ["authorize", "capture"]


class LegConformance:
    """What the browser brought back completes the challenge, once, whatever becomes of the answer."""

    pytestmark = pytest.mark.asyncio

    async def test_the_leg_completes_the_challenge(self, harness: LegHarness) -> None:
        connector = harness.open()
        assert connector.capabilities.return_parameters
        call = await passed(harness, connector)
        assert harness.brought_back(call.payment_id).keys() <= connector.capabilities.return_parameters
        moved = ["authorize", "capture"]
        before = [] if connector.capabilities.legs_move_money else moved
        assert list(await harness.movements(call.payment_id)) == before
        reply = await resumed(harness, connector, call)
        assert isinstance(reply, Approved)
        assert (reply.amount_minor, reply.currency) == (call.amount_minor, call.currency)
        await check_told(harness, connector, call, reply)
        assert list(await harness.movements(call.payment_id)) == moved

    async def test_the_leg_says_that_it_failed(self, harness: LegHarness) -> None:
        connector = harness.open()
        call = await passed(harness, connector, Did.FAILED)
        reply = await resumed(harness, connector, call)
        assert isinstance(reply, Declined)
        assert (reply.code, reply.soft) == (DeclineCode.AUTHENTICATION_FAILED, False)
        await check_told(harness, connector, call, reply)
        assert list(await harness.movements(call.payment_id)) == []

    async def test_without_the_right_no_leg_is_sent(self, harness: LegHarness) -> None:
        connector = harness.open()
        call = await passed(harness, connector)
        before = await harness.requests(call.reference)
        with pytest.raises(NotSent):
            await resumed(harness, connector, call, may_send=no)
        assert await harness.requests(call.reference) == before
        rights = [True]
        reply = await resumed(harness, connector, call, may_send=Holding(asked=rights))
        assert isinstance(reply, Approved)
        assert not rights

    async def test_a_leg_that_cannot_connect_is_not_sent(self, harness: LegHarness) -> None:
        connector = harness.open()
        call = await passed(harness, connector)
        with pytest.raises(NotSent):
            await resumed(harness, harness.open_unreachable(), call)
        assert isinstance(await resumed(harness, connector, call), Approved)

    @pytest.mark.parametrize("fault", AFTER)
    async def test_a_leg_whose_answer_is_lost_has_moved_the_money_once(
        self, harness: LegHarness, fault: Fault
    ) -> None:
        connector = harness.open()
        call = harness.faulty_leg(await passed(harness, connector), fault)
        with pytest.raises(OutcomeUnknown):
            await resumed(harness, connector, call)
        found = await found_out(harness, connector, call)
        assert isinstance(found, Approved)
        await self._repeated(harness, connector, call, found)

    async def test_a_leg_that_did_not_arrive_has_moved_nothing(self, harness: LegHarness) -> None:
        connector = harness.open()
        call = harness.faulty_leg(await passed(harness, connector), Fault.TIMEOUT_BEFORE)
        before = list(await harness.movements(call.payment_id))
        with pytest.raises(OutcomeUnknown):
            await resumed(harness, connector, call)
        assert list(await harness.movements(call.payment_id)) == before
        is_told = connector.capabilities.truth_of(call.kind).is_told
        if connector.capabilities.legs_move_money and not is_told:
            assert isinstance(await connector.inquire(call), ActionRequired | Pending)
        if connector.capabilities.replays_legs:
            assert isinstance(await resumed(harness, connector, call), Approved)
            assert list(await harness.movements(call.payment_id)) == ["authorize", "capture"]

    async def test_a_leg_that_is_sent_twice_moves_the_money_once(self, harness: LegHarness) -> None:
        connector = harness.open()
        call = await passed(harness, connector)
        reply = await resumed(harness, connector, call)
        assert isinstance(reply, Approved)
        await self._repeated(harness, connector, call, reply)

    async def _repeated(
        self, harness: LegHarness, connector: Connector, call: Call, before: Approved
    ) -> None:
        """The same leg, and another one with the same parameters, say what is so, or that they do not know."""
        for leg in (1, 1, 2):
            with suppress(OutcomeUnknown):
                assert await resumed(harness, connector, call, leg=leg) == before
        if connector.capabilities.replays_legs:
            assert await resumed(harness, connector, call) == before
        await check_told(harness, connector, call, before)
        assert list(await harness.movements(call.payment_id)) == ["authorize", "capture"]

    async def test_parameters_that_are_not_good_close_their_leg_only(self, harness: LegHarness) -> None:
        connector = harness.open()
        call, other = await passed(harness, connector), await passed(harness, connector)
        good = harness.brought_back(call.payment_id)
        forged = {name: "x" * len(value) for name, value in good.items()}
        before = list(await harness.movements(call.payment_id))
        for leg, parameters in enumerate((forged, {}), start=1):
            with pytest.raises(LegInvalid):
                await two_legged(connector).resume(call, parameters, leg=leg, may_send=yes)
        brought = harness.brought_back(other.payment_id)
        with pytest.raises(invalid_of_another(connector)):
            await two_legged(connector).resume(call, brought, leg=3, may_send=yes)
        assert list(await harness.movements(call.payment_id)) == before
        assert isinstance(await resumed(harness, connector, call, leg=4), Approved)
        assert list(await harness.movements(call.payment_id)) == ["authorize", "capture"]

    async def test_a_leg_after_the_cancellation_moves_nothing(self, harness: LegHarness) -> None:
        connector = harness.open()
        call = await passed(harness, connector)
        before = list(await harness.movements(call.payment_id))
        said = await asking(connector).cancel(call)
        with suppress(OutcomeUnknown, LegInvalid):
            reply = await resumed(harness, connector, call)
            moved = list(await harness.movements(call.payment_id))
            assert isinstance(reply, Approved) is bool(moved)
        if said != EndsItself():  # until it ends by itself, what comes back counts
            assert list(await harness.movements(call.payment_id)) == before

    async def test_an_unmapped_status_is_pending(self, harness: LegHarness) -> None:
        call = await passed(harness, harness.open())
        assert isinstance(await resumed(harness, await harness.open_unmapped(), call), Pending)

    async def test_what_was_brought_back_shows_in_no_log_and_no_error(
        self, harness: LegHarness, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        caplog.set_level("DEBUG")
        connector = harness.open()
        call = harness.faulty_leg(await passed(harness, connector), Fault.ERROR_AFTER)
        seen = []
        for held in (connector, harness.open_unreachable(), connector):
            try:
                seen.append(repr(await resumed(harness, held, call)))
            except ConnectorError as error:
                seen += [repr(error), str(error.__cause__)]
        written = capfd.readouterr()
        text = "\n".join([*seen, caplog.text, written.out, written.err])
        assert not [value for value in harness.brought_back(call.payment_id).values() if value in text]


class MovingLegConformance:
    """Of connectors with `legs_move_money`: the answer to the leg is the first word of what moved."""

    pytestmark = pytest.mark.asyncio

    async def test_another_amount_is_approved_as_the_acquirer_says(self, harness: LegHarness) -> None:
        connector = harness.open()
        assert connector.capabilities.legs_move_money
        call = harness.faulty_leg(await passed(harness, connector), Fault.AMOUNT_MISMATCH)
        reply = await resumed(harness, connector, call)
        assert isinstance(reply, Approved)
        assert reply.amount_minor != call.amount_minor
        await check_told(harness, connector, call, reply)


async def found_out(harness: LegHarness, connector: Connector, call: Call) -> Reply | Inquiry:
    """What became of a leg whose answer was lost: by inquiry; where nobody can be asked, by sending it again."""
    if not connector.capabilities.truth_of(call.kind).is_told:
        return await decided(connector, call)

    async def again() -> Reply | None:
        with suppress(OutcomeUnknown):
            return await resumed(harness, connector, call)
        return None

    return await eventually(again)


async def check_told(harness: ChallengeHarness, connector: Connector, call: Call, reply: Reply) -> None:
    """The acquirer says the same of it afterwards, when it is asked or of itself."""
    if not connector.capabilities.truth_of(call.kind).is_told:
        assert await connector.inquire(call) == reply
        return
    told = await outcome_told(harness, connector, call)
    assert told.kind == reply.kind
    if isinstance(told, Approved) and isinstance(reply, Approved):
        names = ("connector_reference", "amount_minor", "currency", "stage")
        assert [getattr(told, name) for name in names] == [getattr(reply, name) for name in names]


def invalid_of_another(connector: Connector) -> type[ConnectorError] | tuple[type[ConnectorError], ...]:
    """What is raised for what another payment's cardholder brought back.

    Where nobody can be asked, and the acquirer answers for that other payment, ours stays unknown.
    """
    is_told = connector.capabilities.truth_of(OperationKind.AUTHORIZE).is_told
    return (LegInvalid, OutcomeUnknown) if is_told else LegInvalid


def two_legged(connector: Connector) -> TwoLegged:
    """The connector, whose acquirer waits for a leg."""
    assert connector.capabilities.return_parameters
    return cast("TwoLegged", connector)


async def passed(harness: LegHarness, connector: Connector, did: Did = Did.PASSED) -> Call:
    """A payment whose cardholder did this and is back."""
    call = harness.order()
    asked = await connector.send(call, may_send=yes)
    assert isinstance(asked, ActionRequired)
    assert asked.completes == "resume"
    await harness.does(call.payment_id, did)
    return replace(call, card=None)  # which nobody needs any more


async def resumed(
    harness: LegHarness, connector: Connector, call: Call, *, leg: int = 1, may_send: Holding = yes
) -> Reply:
    """What the leg says, with what the cardholder brought back."""
    parameters = harness.brought_back(call.payment_id)
    return await two_legged(connector).resume(call, parameters, leg=leg, may_send=may_send)

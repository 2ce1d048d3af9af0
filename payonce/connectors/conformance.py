"""What every connector must show against its acquirer's sandbox, as tests to inherit. Needs pytest-asyncio.

    class TestOurConnector(ConnectorConformance, ReversalConformance, TurnsConformance):
        @pytest.fixture
        def harness(self) -> ConformanceHarness: ...

`ReversalConformance` is for connectors with `reversal_by_reference`, `TurnsConformance` for those whose acquirer says
what it did of itself, and whose sandbox can be made to. Where it cannot be asked, the same tests learn what became of
a call as payonce does (`learned`); `conformance_truth` has the suites for that.
"""

import asyncio
import secrets
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from typing import Final, Protocol

import pytest

from payonce.connectors.base import Call, Connector
from payonce.connectors.conformance_learning import Holding as Holding
from payonce.connectors.conformance_learning import answered, check_not_known, learned, turned
from payonce.connectors.conformance_learning import eventually as eventually
from payonce.connectors.conformance_learning import inquired as inquired
from payonce.connectors.conformance_learning import no as no
from payonce.connectors.conformance_learning import yes as yes  # part of this suite
from payonce.domain.cards import Card
from payonce.domain.errors import ConnectorError, NotSent, OutcomeUnknown
from payonce.domain.facts import (
    Approved,
    DeclineCode,
    Declined,
    Foreign,
    Pending,
    Refused,
    Reversed,
    Stage,
    Undone,
)
from payonce.domain.operations import OperationKind

AMOUNT_MINOR: Final = 1099
FOREIGN_MINOR: Final = 99
CALL_DEADLINE_S_MAX: Final = 20.0


class Fault(StrEnum):
    """What the acquirer does to the first request of a call. After: the money has moved."""

    TIMEOUT_AFTER = "timeout_after"
    TIMEOUT_BEFORE = "timeout_before"
    ERROR_AFTER = "error_after"
    RESET_AFTER = "reset_after"
    GARBAGE_AFTER = "garbage_after"
    AMOUNT_MISMATCH = "amount_mismatch"
    AUTHORIZED_ONLY = "authorized_only"  # of an automatic payment: it is not captured with it
    UNDONE = "undone"  # what was captured, or refunded, is taken back at once
    FOREIGN = "foreign"  # somebody refunds `FOREIGN_MINOR` of what was captured, in the acquirer's dashboard
    REFUSED = "refused"  # the data is refused, and always will be
    DECLINED_LATER = "declined_later"  # the request is accepted, and its callback says no


MOVING = (OperationKind.AUTHORIZE, OperationKind.CAPTURE, OperationKind.VOID, OperationKind.REFUND)
UNDOING = ("reversal", "void", "refund")  # how a ledger may show that an authorization was undone
AFTER = (Fault.TIMEOUT_AFTER, Fault.ERROR_AFTER, Fault.RESET_AFTER, Fault.GARBAGE_AFTER)


class ConformanceHarness(Protocol):
    """A connector's own acquirer sandbox, and what can be done to it. Closes every connector it opened."""

    @property
    def currency(self) -> str: ...
    @property
    def approved_card(self) -> Card: ...
    @property
    def declined_cards(self) -> Mapping[DeclineCode, Card]: ...

    def open(self) -> Connector:
        """A connector at the acquirer, with a call deadline short enough to wait for."""
        ...

    def open_unreachable(self) -> Connector:
        """A connector at an address that refuses connections."""
        ...

    async def open_unmapped(self) -> Connector:
        """A connector at something that answers every call in form, with a status nobody has heard of."""
        ...

    def faulty(self, call: Call, fault: Fault) -> Call:
        """The call, so that the acquirer does `fault` to its request."""
        ...

    async def movements(self, payment_id: str) -> Sequence[str]:
        """A payment's ledger: authorize, capture, void, refund and reversal, once per movement."""
        ...

    async def requests(self, reference: str) -> int:
        """How many requests the acquirer received under a reference of ours."""
        ...


class ConnectorConformance:
    """Mappings, and what is known after a failure."""

    pytestmark = pytest.mark.asyncio

    async def test_capabilities_are_within_limits(self, harness: ConformanceHarness) -> None:
        capabilities = harness.open().capabilities
        assert capabilities.methods
        assert 0 < capabilities.call_deadline_s <= CALL_DEADLINE_S_MAX
        assert capabilities.finality_s >= 0
        assert min(*capabilities.inquiry.first_s, capabilities.inquiry.then_every_s) > 0

    async def test_every_operation_is_approved_with_its_amount(self, harness: ConformanceHarness) -> None:
        for kind in MOVING:
            connector = harness.open()
            call = await prepared(harness, connector, kind)
            reply = await answered(harness, connector, call)
            assert isinstance(reply, Approved), kind
            assert (reply.amount_minor, reply.currency) == (call.amount_minor, call.currency)
            assert reply.connector_reference
            assert reply.stage is (Stage.AUTHORIZED if kind is OperationKind.AUTHORIZE else None)
            assert await learned(harness, connector, call) == reply

    async def test_automatic_capture_authorizes_and_captures(self, harness: ConformanceHarness) -> None:
        call = replace(authorization(harness), automatic_capture=True)
        reply = await harness.open().send(call, may_send=yes)
        assert isinstance(reply, Approved)
        assert reply.stage is Stage.CAPTURED
        assert list(await harness.movements(call.payment_id)) == ["authorize", "capture"]

    async def test_several_captures_and_refunds_of_a_part(self, harness: ConformanceHarness) -> None:
        connector = harness.open()
        capture = replace(await prepared(harness, connector, OperationKind.CAPTURE), final=False)
        refund = following(capture, OperationKind.REFUND)
        for call in (capture, refund):
            for amount_minor in (99, 500):
                part = replace(call, amount_minor=amount_minor, reference=f"{call.reference}-{amount_minor}")
                reply = await answered(harness, connector, part)
                assert isinstance(reply, Approved)
                assert reply.amount_minor == amount_minor

    async def test_a_decline_is_a_value_and_so_is_its_inquiry(self, harness: ConformanceHarness) -> None:
        connector = harness.open()
        for code, card in harness.declined_cards.items():
            call = replace(authorization(harness), card=card)
            reply = await connector.send(call, may_send=yes)
            assert isinstance(reply, Declined)
            assert reply.code is code
            found = await learned(harness, connector, call)
            assert isinstance(found, Declined)
            assert found.code is code
            assert list(await harness.movements(call.payment_id)) == []

    async def test_a_refused_connection_is_not_sent(self, harness: ConformanceHarness) -> None:
        call = authorization(harness)
        with pytest.raises(NotSent):
            await harness.open_unreachable().send(call, may_send=yes)
        assert await harness.requests(call.reference) == 0

    async def test_inquiry_of_an_unreachable_acquirer_raises(self, harness: ConformanceHarness) -> None:
        with pytest.raises(ConnectorError):
            await harness.open_unreachable().inquire(authorization(harness))

    @pytest.mark.parametrize("kind", MOVING)
    async def test_without_the_right_nothing_is_sent(
        self, harness: ConformanceHarness, kind: OperationKind
    ) -> None:
        connector = harness.open()
        call = await prepared(harness, connector, kind)
        with pytest.raises(NotSent):
            await connector.send(call, may_send=no)
        assert await harness.requests(call.reference) == 0
        await check_not_known(connector, call)
        assert isinstance(await answered(harness, connector, call), Approved)

    async def test_the_right_is_asked_for_once_per_send(self, harness: ConformanceHarness) -> None:
        rights = [True]
        reply = await harness.open().send(authorization(harness), may_send=Holding(asked=rights))
        assert isinstance(reply, Approved)
        assert not rights

    @pytest.mark.parametrize("fault", AFTER)
    @pytest.mark.parametrize("kind", MOVING)
    async def test_a_failure_after_the_movement_is_unknown_and_found(
        self, harness: ConformanceHarness, kind: OperationKind, fault: Fault
    ) -> None:
        connector = harness.open()
        call = harness.faulty(await prepared(harness, connector, kind), fault)
        before = list(await harness.movements(call.payment_id))
        with pytest.raises(OutcomeUnknown):
            await connector.send(call, may_send=yes)
        found = await learned(harness, connector, call)
        assert isinstance(found, Approved)
        assert (found.amount_minor, found.currency) == (call.amount_minor, call.currency)
        assert list(await harness.movements(call.payment_id)) == [*before, kind]

    @pytest.mark.parametrize("kind", MOVING)
    async def test_a_timeout_before_the_movement_is_unknown_and_not_found(
        self, harness: ConformanceHarness, kind: OperationKind
    ) -> None:
        connector = harness.open()
        call = harness.faulty(await prepared(harness, connector, kind), Fault.TIMEOUT_BEFORE)
        before = list(await harness.movements(call.payment_id))
        with pytest.raises(OutcomeUnknown):
            await connector.send(call, may_send=yes)
        await check_not_known(connector, call)
        assert list(await harness.movements(call.payment_id)) == before

    async def test_inquiry_of_what_was_never_sent_is_not_found(self, harness: ConformanceHarness) -> None:
        await check_not_known(harness.open(), authorization(harness))

    async def test_another_amount_is_approved_as_the_acquirer_says(self, harness: ConformanceHarness) -> None:
        call = harness.faulty(authorization(harness), Fault.AMOUNT_MISMATCH)
        connector = harness.open()
        reply = await connector.send(call, may_send=yes)
        assert isinstance(reply, Approved)
        assert reply.amount_minor != call.amount_minor
        assert await learned(harness, connector, call) == reply

    async def test_an_unmapped_status_is_pending(self, harness: ConformanceHarness) -> None:
        connector = await harness.open_unmapped()
        call = authorization(harness)
        assert isinstance(await connector.send(call, may_send=yes), Pending)
        if not connector.capabilities.truth_of(call.kind).is_told:
            assert isinstance(await connector.inquire(call), Pending)

    async def test_cancelled_after_the_first_byte_it_is_found(self, harness: ConformanceHarness) -> None:
        connector = harness.open()
        call = harness.faulty(authorization(harness), Fault.TIMEOUT_AFTER)
        sending = asyncio.create_task(connector.send(call, may_send=yes))
        await eventually(lambda: harness.movements(call.payment_id))
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert isinstance(await learned(harness, connector, call), Approved)
        assert isinstance(await connector.send(authorization(harness), may_send=yes), Approved)

    async def test_no_card_data_in_logs_reprs_and_errors(
        self,
        harness: ConformanceHarness,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        caplog.set_level("DEBUG")
        connectors = [harness.open(), harness.open_unreachable(), await harness.open_unmapped()]
        card = harness.approved_card
        assert card.cvc
        seen = [repr(connectors)]
        for connector in connectors:
            for fault in AFTER:
                sound = authorization(harness)
                for call in (sound, harness.faulty(authorization(harness), fault)):
                    seen += [repr(call), await told(connector, call)]
        written = capfd.readouterr()
        text = "\n".join([*seen, caplog.text, written.out, written.err])
        assert card.number not in text
        assert f"'{card.cvc}'" not in text
        assert f'"{card.cvc}"' not in text


class ReversalConformance:
    """Undoing by our reference, and blocking it."""

    pytestmark = pytest.mark.asyncio

    async def test_reversal_undoes_once_however_often_it_is_asked(self, harness: ConformanceHarness) -> None:
        connector = harness.open()
        assert connector.capabilities.reversal_by_reference
        for automatic_capture in (False, True):
            call = replace(authorization(harness), automatic_capture=automatic_capture)
            assert isinstance(await connector.send(call, may_send=yes), Approved)
            before = list(await harness.movements(call.payment_id))
            for _ in range(3):
                assert await connector.reverse(call) == Reversed()
            *unchanged, undone = await harness.movements(call.payment_id)
            assert (unchanged, undone in UNDOING) == (before, True)
            assert await connector.inquire(call) == Reversed()

    async def test_reversal_blocks_what_arrives_late(self, harness: ConformanceHarness) -> None:
        connector = harness.open()
        call = authorization(harness)
        assert await connector.reverse(call) == Reversed()
        with suppress(OutcomeUnknown):
            assert not isinstance(await connector.send(call, may_send=yes), Approved)
        assert not isinstance(await connector.inquire(call), Approved)
        assert list(await harness.movements(call.payment_id)) == []
        assert await connector.reverse(call) == Reversed()

    async def test_reversal_of_an_unknown_outcome(self, harness: ConformanceHarness) -> None:
        connector = harness.open()
        call = harness.faulty(authorization(harness), Fault.RESET_AFTER)
        with pytest.raises(OutcomeUnknown):
            await connector.send(call, may_send=yes)
        assert await connector.reverse(call) == Reversed()
        authorized, undone = await harness.movements(call.payment_id)
        assert (authorized, undone in UNDOING) == ("authorize", True)

    async def test_reversal_at_an_unreachable_acquirer_raises(self, harness: ConformanceHarness) -> None:
        with pytest.raises(ConnectorError):
            await harness.open_unreachable().reverse(authorization(harness))


class TurnsConformance:
    """How far it came, and what has become of it since."""

    pytestmark = pytest.mark.asyncio

    async def test_what_is_only_authorized_says_so_and_is_captured_when_it_is_asked_for(
        self, harness: ConformanceHarness
    ) -> None:
        connector = harness.open()
        sound = replace(authorization(harness), automatic_capture=True)
        call = harness.faulty(sound, Fault.AUTHORIZED_ONLY)
        reply = await connector.send(call, may_send=yes)
        assert isinstance(reply, Approved)
        assert reply.stage is Stage.AUTHORIZED
        capture = replace(
            following(call, OperationKind.CAPTURE), authorization_reference=reply.connector_reference
        )
        assert isinstance(await answered(harness, connector, capture), Approved)
        assert list(await harness.movements(call.payment_id)) == ["authorize", "capture"]
        found = await learned(harness, connector, call)
        assert isinstance(found, Approved)
        assert found.stage is Stage.AUTHORIZED  # by itself it captured nothing

    @pytest.mark.parametrize("kind", [OperationKind.AUTHORIZE, OperationKind.CAPTURE, OperationKind.REFUND])
    async def test_what_the_acquirer_takes_back_is_told_with_an_id_of_its_own(
        self, harness: ConformanceHarness, kind: OperationKind
    ) -> None:
        connector = harness.open()
        call = await prepared(harness, connector, kind)
        call = harness.faulty(replace(call, automatic_capture=True), Fault.UNDONE)
        assert isinstance(await answered(harness, connector, call), Approved)
        found = await turned(harness, connector, call)
        assert await turned(harness, connector, call) == found
        (undone,) = found.since
        assert isinstance(undone, Undone)
        assert (undone.amount_minor, undone.currency) == (call.amount_minor, call.currency)
        assert undone.id

    async def test_what_nobody_here_asked_for_is_told_of_the_authorization(
        self, harness: ConformanceHarness
    ) -> None:
        connector = harness.open()
        call = harness.faulty(replace(authorization(harness), automatic_capture=True), Fault.FOREIGN)
        assert isinstance(await connector.send(call, may_send=yes), Approved)
        (foreign,) = (await turned(harness, connector, call)).since
        assert isinstance(foreign, Foreign)
        assert (foreign.what, foreign.amount_minor, foreign.currency) == (
            "refund",
            FOREIGN_MINOR,
            call.currency,
        )

    @pytest.mark.parametrize("kind", MOVING)
    async def test_data_that_is_refused_for_ever_is_a_value_and_nothing_moves(
        self, harness: ConformanceHarness, kind: OperationKind
    ) -> None:
        connector = harness.open()
        call = harness.faulty(await prepared(harness, connector, kind), Fault.REFUSED)
        before = list(await harness.movements(call.payment_id))
        refused = await connector.send(call, may_send=yes)
        assert isinstance(refused, Refused)
        assert refused.code
        assert refused.pointer is None or refused.pointer.startswith("/")
        assert list(await harness.movements(call.payment_id)) == before


def authorization(harness: ConformanceHarness) -> Call:
    """A new payment's authorization that the acquirer approves."""
    payment_id = f"pay_conformance{secrets.token_hex(10)}"
    return Call(
        kind=OperationKind.AUTHORIZE,
        reference=f"{payment_id}-1",
        payment_id=payment_id,
        amount_minor=AMOUNT_MINOR,
        currency=harness.currency,
        card=harness.approved_card,
        operation_id=payment_id,
    )


def following(call: Call, kind: OperationKind) -> Call:
    """Another operation on the same payment, under references of its own."""
    operation_id = f"op_conformance{secrets.token_hex(10)}"
    return replace(call, kind=kind, reference=f"{operation_id}-1", operation_id=operation_id, card=None)


async def prepared(harness: ConformanceHarness, connector: Connector, kind: OperationKind) -> Call:
    """A call of `kind` whose payment has come far enough for it to be approved."""
    call = authorization(harness)
    if kind is OperationKind.AUTHORIZE:
        return call
    call = replace(call, automatic_capture=kind is OperationKind.REFUND)
    reply = await connector.send(call, may_send=yes)
    assert isinstance(reply, Approved)
    return replace(following(call, kind), authorization_reference=reply.connector_reference)


async def told(connector: Connector, call: Call) -> str:
    """All that a log could show of a send: its result, or its error with every frame's variables."""
    try:
        return repr(await connector.send(call, may_send=yes))
    except ConnectorError as error:
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        return "".join(shown.format()) + _attributes(error.__cause__ or error.__context__)


def _attributes(error: BaseException | None) -> str:
    """The bodies that an HTTP client's error would carry along."""
    request = getattr(error, "_request", None)
    return repr([vars(error) if error else None, getattr(request, "content", None)])

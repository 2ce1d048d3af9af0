"""What a connector must show whose customer decides later: the second part of the suite, as tests to inherit.

    class TestOurRail(CustomerConformance, CallbackConformance):
        @pytest.fixture
        def harness(self) -> CustomerHarness: ...

`CallbackConformance` is for connectors with `callbacks`, `ExpiryConformance` for rails that say `expired`,
`CapturesItselfConformance` for those with `captures_itself`. Needs pytest-asyncio.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, cast

import pytest

from payonce.connectors.base import Asking, Call, Calling, Connector
from payonce.connectors.conformance import AFTER, Fault, eventually, following, no, yes
from payonce.domain.errors import CallbackInvalid, ConnectorError, NotSent, OutcomeUnknown
from payonce.domain.facts import (
    ActionRequired,
    Approved,
    Cancelled,
    Declined,
    EndsItself,
    Expired,
    Inquiry,
    NotKnown,
    Pending,
    Reversed,
    Stage,
)
from payonce.domain.operations import OperationKind

ACTIONS: Final = {
    "redirect": {"url"},
    "upi_intent": {"url"},
    "upi_qr": {"url", "image_url"},
    "upi_collect": {"vpa"},
}
"""What `next_action` must hold of each type. Source: the public contract, `api.md`."""


class CustomerHarness(Protocol):
    """A connector's own acquirer sandbox, with a customer in it. Closes every connector it opened."""

    def open(self) -> Connector:
        """A connector at the acquirer, with a call deadline short enough to wait for."""
        ...

    def open_hurried(self) -> Connector:
        """As `open`, at an account whose customers have a second to act."""
        ...

    def open_unreachable(self) -> Connector:
        """A connector at an address that refuses connections."""
        ...

    async def open_unmapped(self) -> Connector:
        """A connector at something that answers every call in form, with a status nobody has heard of."""
        ...

    def order(self) -> Call:
        """A new payment for which somebody will be asked, and that decides nothing by itself."""
        ...

    def faulty(self, call: Call, fault: Fault) -> Call:
        """The call, so that the acquirer does `fault` to its request."""
        ...

    async def decide(self, payment_id: str, *, approve: bool) -> None:
        """The customer does this, if it is still possible."""
        ...

    async def movements(self, payment_id: str) -> Sequence[str]:
        """A payment's ledger: authorize, capture, refund and reversal, once per movement."""
        ...

    async def requests(self, reference: str) -> int:
        """How many requests the acquirer received under a reference of ours."""
        ...

    def callback(self, reference: str, *, event_id: str, at: datetime) -> tuple[dict[str, str], bytes]:
        """Headers, with lower-case names, and body of a callback as the acquirer signs it at that time."""
        ...


class ExpiringHarness(CustomerHarness, Protocol):
    """Of a rail that ends a payment itself."""

    def expiring(self) -> Call:
        """As `order`, of a payment that the rail itself says has expired when its time is over."""
        ...


class CustomerConformance:
    """The customer decides, or does not, and nothing is believed before the acquirer says so."""

    pytestmark = pytest.mark.asyncio

    async def test_capabilities_say_what_a_customer_needs(self, harness: CustomerHarness) -> None:
        capabilities = harness.open().capabilities
        assert capabilities.needs_action
        assert capabilities.methods
        assert capabilities.capture_methods <= {"automatic", "manual"}
        for schedule in (capabilities.inquiry, capabilities.action_inquiry):
            assert min((*schedule.first_s, schedule.then_every_s)) > 0
            assert schedule.give_up_after_s > schedule.then_every_s

    async def test_the_customer_is_asked_and_nothing_moves(self, harness: CustomerHarness) -> None:
        connector, call = harness.open(), harness.order()
        reply = await connector.send(call, may_send=yes)
        assert isinstance(reply, ActionRequired)
        assert reply.expires_at > datetime.now(UTC)
        assert ACTIONS[reply.action["type"]] <= reply.action.keys()
        assert "expires_at" not in reply.action
        assert isinstance(await connector.inquire(call), ActionRequired | Pending)
        assert list(await harness.movements(call.payment_id)) == []

    async def test_a_customer_who_approves_pays_once_what_was_asked(self, harness: CustomerHarness) -> None:
        connector, call = harness.open(), harness.order()
        asked = await connector.send(call, may_send=yes)
        assert isinstance(asked, ActionRequired)
        for _ in range(2):
            await harness.decide(call.payment_id, approve=True)
        found = await decided(connector, call)
        assert isinstance(found, Approved)
        assert (found.amount_minor, found.currency) == (call.amount_minor, call.currency)
        assert found.connector_reference == asked.connector_reference
        assert found.stage is Stage.CAPTURED
        assert list(await harness.movements(call.payment_id)) == ["authorize", "capture"]

    async def test_a_customer_who_declines_pays_nothing(self, harness: CustomerHarness) -> None:
        connector, call = harness.open(), harness.order()
        await connector.send(call, may_send=yes)
        await harness.decide(call.payment_id, approve=False)
        assert isinstance(await decided(connector, call), Declined)
        assert list(await harness.movements(call.payment_id)) == []

    async def test_a_window_that_is_over_proves_nothing(self, harness: CustomerHarness) -> None:
        connector, call = harness.open_hurried(), harness.order()
        asked = await connector.send(call, may_send=yes)
        assert isinstance(asked, ActionRequired)

        async def over() -> bool:
            return datetime.now(UTC) > asked.expires_at

        await eventually(over)
        assert isinstance(await connector.inquire(call), ActionRequired | Pending)
        await harness.decide(call.payment_id, approve=True)
        assert isinstance(await decided(connector, call), Approved)

    async def test_a_part_of_it_is_refunded(self, harness: CustomerHarness) -> None:
        connector, call = harness.open(), harness.order()
        await connector.send(call, may_send=yes)
        await harness.decide(call.payment_id, approve=True)
        paid = await decided(connector, call)
        assert isinstance(paid, Approved)
        refund = replace(
            following(call, OperationKind.REFUND),
            amount_minor=99,
            authorization_reference=paid.connector_reference,
        )
        reply = await connector.send(refund, may_send=yes)
        assert isinstance(reply, Approved)
        assert reply.amount_minor == 99
        assert await connector.inquire(refund) == reply
        assert list(await harness.movements(call.payment_id))[2:] == ["refund"]

    async def test_what_is_reversed_cannot_be_paid_any_more(self, harness: CustomerHarness) -> None:
        connector, call = harness.open(), harness.order()
        assert connector.capabilities.reversal_by_reference
        await connector.send(call, may_send=yes)
        for _ in range(2):
            assert await connector.reverse(call) == Reversed()
        await harness.decide(call.payment_id, approve=True)
        assert await connector.inquire(call) == Reversed()
        assert list(await harness.movements(call.payment_id)) == []

    async def test_a_payment_that_was_made_is_reversed(self, harness: CustomerHarness) -> None:
        connector, call = harness.open(), harness.order()
        await connector.send(call, may_send=yes)
        await harness.decide(call.payment_id, approve=True)
        await decided(connector, call)
        assert await connector.reverse(call) == Reversed()
        assert list(await harness.movements(call.payment_id))[2:] == ["reversal"]

    async def test_what_is_cancelled_cannot_be_paid_any_more(self, harness: CustomerHarness) -> None:
        """Or it ends by itself: then the connector says so, and the customer may pay until then."""
        connector, call = harness.open(), harness.order()
        await connector.send(call, may_send=yes)
        said = [await asking(connector).cancel(call) for _ in range(2)]
        await harness.decide(call.payment_id, approve=True)
        if said == [EndsItself(), EndsItself()]:
            assert connector.capabilities.challenge_ends == "itself"
            assert isinstance(await decided(connector, call), Approved)
            return
        assert said == [Cancelled(), Cancelled()]
        assert not isinstance(await connector.inquire(call), Approved | ActionRequired)
        assert list(await harness.movements(call.payment_id)) == []

    @pytest.mark.parametrize("approve", [True, False])
    async def test_what_is_decided_is_not_cancelled(self, harness: CustomerHarness, approve: bool) -> None:
        """The answer is what it is, or undecided: then it is inquired about next."""
        connector, call = harness.open(), harness.order()
        await connector.send(call, may_send=yes)
        await harness.decide(call.payment_id, approve=approve)
        before = await decided(connector, call)
        said = await asking(connector).cancel(call)
        assert said == before or isinstance(said, Pending | EndsItself)
        assert await connector.inquire(call) == before
        moved = ["authorize", "capture"] if approve else []
        assert list(await harness.movements(call.payment_id)) == moved

    async def test_what_was_never_asked_for_is_not_said_to_be_cancelled(
        self, harness: CustomerHarness
    ) -> None:
        """It may still be on its way."""
        said = await asking(harness.open()).cancel(harness.order())
        assert isinstance(said, NotKnown | Pending | EndsItself)

    async def test_a_cancellation_that_does_not_arrive_says_nothing(self, harness: CustomerHarness) -> None:
        with suppress(ConnectorError):
            said = await asking(harness.open_unreachable()).cancel(harness.order())
            assert said == EndsItself()  # without a call

    async def test_a_refused_connection_is_not_sent(self, harness: CustomerHarness) -> None:
        call = harness.order()
        with pytest.raises(NotSent):
            await harness.open_unreachable().send(call, may_send=yes)
        with pytest.raises(ConnectorError):
            await harness.open_unreachable().inquire(call)
        assert await harness.requests(call.reference) == 0

    async def test_without_the_right_nobody_is_asked(self, harness: CustomerHarness) -> None:
        connector, call = harness.open(), harness.order()
        with pytest.raises(NotSent):
            await connector.send(call, may_send=no)
        assert await connector.inquire(call) == NotKnown()
        assert isinstance(await connector.send(call, may_send=yes), ActionRequired)

    @pytest.mark.parametrize("fault", AFTER)
    async def test_an_answer_that_is_lost_is_unknown_and_found(
        self, harness: CustomerHarness, fault: Fault
    ) -> None:
        connector, call = harness.open(), harness.faulty(harness.order(), fault)
        with pytest.raises(OutcomeUnknown):
            await connector.send(call, may_send=yes)

        async def found() -> bool:
            return isinstance(await connector.inquire(call), ActionRequired | Pending)

        await eventually(found)

    async def test_an_order_that_never_arrived_is_not_found(self, harness: CustomerHarness) -> None:
        connector, call = harness.open(), harness.faulty(harness.order(), Fault.TIMEOUT_BEFORE)
        with pytest.raises(OutcomeUnknown):
            await connector.send(call, may_send=yes)
        assert await connector.inquire(call) == NotKnown()

    async def test_an_unmapped_status_is_pending(self, harness: CustomerHarness) -> None:
        connector = await harness.open_unmapped()
        assert isinstance(await connector.send(harness.order(), may_send=yes), Pending)
        assert isinstance(await connector.inquire(harness.order()), Pending)
        with suppress(ConnectorError):
            said = await asking(connector).cancel(harness.order())
            assert isinstance(said, Pending | EndsItself)


class ExpiryConformance:
    """Where the rail says itself that the customer's time is over."""

    pytestmark = pytest.mark.asyncio

    async def test_the_rails_own_expiry_is_definite(self, harness: ExpiringHarness) -> None:
        connector, call = harness.open_hurried(), harness.expiring()
        await connector.send(call, may_send=yes)
        assert isinstance(await decided(connector, call), Expired)


class CapturesItselfConformance:
    """What is authorized is not paid until the rail has captured it."""

    pytestmark = pytest.mark.asyncio

    async def test_what_is_only_authorized_says_so_until_the_rail_captures_it(
        self, harness: CustomerHarness
    ) -> None:
        connector = harness.open()
        assert connector.capabilities.captures_itself
        call = harness.faulty(harness.order(), Fault.AUTHORIZED_ONLY)
        await connector.send(call, may_send=yes)
        await harness.decide(call.payment_id, approve=True)
        found = await decided(connector, call)
        assert isinstance(found, Approved)
        assert found.stage is Stage.AUTHORIZED

        async def captured() -> Approved | None:
            later = await connector.inquire(call)
            assert isinstance(later, Approved)
            return later if later.stage is Stage.CAPTURED else None

        later = await eventually(captured)
        assert replace(later, stage=Stage.AUTHORIZED) == found
        assert list(await harness.movements(call.payment_id)) == ["authorize", "capture"]


class CallbackConformance:
    """Only the acquirer's own words, as they were signed, not long ago."""

    pytestmark = pytest.mark.asyncio

    async def test_a_callback_names_its_event_and_our_reference(self, harness: CustomerHarness) -> None:
        connector = calling(harness)
        for _ in range(2):
            headers, body = harness.callback("pay_1-1", event_id="event-1", at=NOW)
            callback = connector.read_callback(headers, body, now=NOW)
            assert (callback.event_id, callback.reference) == ("event-1", "pay_1-1")

    @pytest.mark.parametrize("age_s", [-360, 360, 86_400])
    async def test_one_that_is_not_of_now_is_refused(self, harness: CustomerHarness, age_s: int) -> None:
        headers, body = harness.callback("pay_1-1", event_id="event-1", at=NOW - timedelta(seconds=age_s))
        with pytest.raises(CallbackInvalid):
            calling(harness).read_callback(headers, body, now=NOW)

    async def test_one_whose_bytes_were_changed_is_refused(self, harness: CustomerHarness) -> None:
        headers, body = harness.callback("pay_1-1", event_id="event-1", at=NOW)
        for changed in (body + b" ", body[:-1], b"", body.replace(b"pay_1-1", b"pay_2-1")):
            with pytest.raises(CallbackInvalid):
                calling(harness).read_callback(headers, changed, now=NOW)

    async def test_one_without_the_signature_is_refused(self, harness: CustomerHarness) -> None:
        headers, body = harness.callback("pay_1-1", event_id="event-1", at=NOW)
        for name in headers:
            left = {other: value for other, value in headers.items() if other != name}
            broken = {**headers, name: headers[name][:-1] + ("0" if headers[name][-1] != "0" else "1")}
            for each in (left, broken, {}):
                with pytest.raises(CallbackInvalid):
                    calling(harness).read_callback(each, body, now=NOW)


NOW: Final = datetime(2026, 11, 22, 5, 46, tzinfo=UTC)


def calling(harness: CustomerHarness) -> Calling:
    """A connector whose acquirer calls."""
    connector = harness.open()
    assert connector.capabilities.callbacks
    return cast("Calling", connector)


def asking(connector: Connector) -> Asking:
    """The connector, whose acquirer asks customers."""
    assert connector.capabilities.needs_action
    return cast("Asking", connector)


async def decided(connector: Connector, call: Call) -> Inquiry:
    """What the acquirer says once it is not waiting any longer."""

    async def found() -> Inquiry | None:
        inquiry = await connector.inquire(call)
        return None if isinstance(inquiry, ActionRequired | Pending | NotKnown) else inquiry

    return await eventually(found)

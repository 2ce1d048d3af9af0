"""What a connector must show that lists what its acquirer charged: tests to inherit, as `conformance`.

    class TestOurList(ListingConformance):
        @pytest.fixture
        def harness(self) -> ListingHarness: ...

For those that have `list_charges`; `conformance_declared` says so. Needs pytest-asyncio.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, cast

import pytest

from payonce.connectors.base import Call, Connector
from payonce.connectors.conformance import FOREIGN_MINOR, ConformanceHarness, authorization, following, yes
from payonce.connectors.listing import ChargeListing, ChargePage, ChargeProving
from payonce.domain.errors import ConnectorError
from payonce.domain.facts import Approved, Foreign
from payonce.domain.operations import OperationKind
from payonce.domain.reconciling import TheirCharge

SECOND: Final = timedelta(seconds=1)
HOUR: Final = timedelta(hours=1)
LONG: Final = timedelta(days=30)
REFUND_MINOR: Final = 200
PAGE: Final = 2
PAGES_MAX: Final = 1_000
TICK_S: Final = 0.05


class ListingHarness(Protocol):
    """A connector's own acquirer sandbox, where others sell at the same account. Closes what it opened."""

    @property
    def list_page(self) -> str:
        """The dotted name of what says how many a page has."""
        ...

    def open(self) -> Connector:
        """A connector at the acquirer."""
        ...

    def open_unreachable(self) -> Connector:
        """A connector at an address that refuses connections."""
        ...

    async def paid(self, connector: Connector, *, automatic: bool = True) -> tuple[Call, Approved]:
        """A payment that the connector made, and what became of it; not automatic, it is held."""
        ...

    async def unpaid(self, connector: Connector) -> Call:
        """A payment that the connector asked for, and that was declined."""
        ...

    async def others_sell(self) -> str:
        """Somebody else's sale at the account: the acquirer's id of it."""
        ...

    async def others_refund(self, payment_id: str, amount: int) -> None:
        """Somebody refunds so much of the payment in the acquirer's dashboard."""
        ...


class ListingConformance:
    """Whatever was charged at the account is listed, with what an inquiry would say of it."""

    pytestmark = pytest.mark.asyncio

    async def test_the_list_says_of_an_attempt_what_an_inquiry_says(self, harness: ListingHarness) -> None:
        connector, since = harness.open(), _now()
        call, paid = await harness.paid(connector)
        charge = await listed(connector, call, since)
        assert charge.id == paid.connector_reference
        assert charge.said[0].id == charge.id
        asked = replace(call, attempt_reference=charge.id, approved=True)
        assert charge.said[0].fact == await connector.inquire(asked)
        assert charge.currency == call.currency
        assert since - timedelta(seconds=1) <= charge.created_at <= _now()
        totals = charge.totals
        assert (totals.authorized_minor, totals.captured_minor) == (call.amount_minor, call.amount_minor)
        assert (totals.refunded_minor, totals.disputed_minor or 0, totals.held_minor) == (0, 0, 0)

    async def test_what_we_had_paid_is_ours_where_payers_may_write_references(
        self, harness: ListingHarness
    ) -> None:
        connector, since = harness.open(), _now()
        call, _ = await harness.paid(connector)
        charge = await listed(connector, call, since)
        if cast("ChargeListing", connector).list_limits.payers_write:
            proving = cast("ChargeProving", connector)
            assert await proving.is_ours(charge)
            assert not await proving.is_ours(replace(charge, reference="somebody-elses-1"))

    async def test_what_is_held_is_held_until_it_is_captured(self, harness: ListingHarness) -> None:
        connector, since = harness.open(), _now()
        call, held = await harness.paid(connector, automatic=False)
        totals = (await listed(connector, call, since)).totals
        assert (totals.held_minor, totals.captured_minor) == (call.amount_minor, 0)
        capture = following(call, OperationKind.CAPTURE)
        captured = await connector.send(
            replace(capture, authorization_reference=held.connector_reference), may_send=yes
        )
        assert isinstance(captured, Approved)
        totals = (await listed(connector, call, since)).totals
        assert (totals.held_minor, totals.captured_minor) == (0, call.amount_minor)

    async def test_a_refund_of_ours_is_said_under_its_reference(self, harness: ListingHarness) -> None:
        connector, since = harness.open(), _now()
        call, paid = await harness.paid(connector)
        refund = replace(
            following(call, OperationKind.REFUND),
            amount_minor=REFUND_MINOR,
            authorization_reference=paid.connector_reference,
        )
        reply = await connector.send(refund, may_send=yes)
        assert isinstance(reply, Approved)
        charge = await listed(connector, call, since)
        assert charge.totals.refunded_minor == REFUND_MINOR
        (said,) = [one for one in charge.said if one.reference == refund.reference]
        assert (said.id, said.kind) == (reply.connector_reference, OperationKind.REFUND)
        assert (said.amount_minor, said.fact) == (REFUND_MINOR, await connector.inquire(refund))

    async def test_what_others_refund_of_ours_is_foreign(self, harness: ListingHarness) -> None:
        connector, since = harness.open(), _now()
        call, _ = await harness.paid(connector)
        await harness.others_refund(call.payment_id, FOREIGN_MINOR)
        charge = await listed(connector, call, since)
        assert charge.totals.refunded_minor == FOREIGN_MINOR
        fact = charge.said[0].fact
        assert isinstance(fact, Approved)
        (turn,) = fact.since
        assert isinstance(turn, Foreign)
        assert (turn.what, turn.amount_minor) == ("refund", FOREIGN_MINOR)

    async def test_an_older_charge_is_listed_once_something_of_it_moved(
        self, harness: ListingHarness
    ) -> None:
        """Acquirers say when in whole seconds, and many list by when a charge was made."""
        connector, since = harness.open(), _now()
        call, _ = await harness.paid(connector)
        since = (await listed(connector, call, since)).created_at + SECOND
        await asyncio.sleep((since - _now()).total_seconds() + TICK_S)
        await harness.others_refund(call.payment_id, FOREIGN_MINOR)
        assert (await listed(connector, call, since)).totals.refunded_minor == FOREIGN_MINOR

    async def test_what_others_sell_is_listed_under_no_reference_of_ours(
        self, harness: ListingHarness
    ) -> None:
        connector, since = harness.open(), _now()
        call, _ = await harness.paid(connector)
        own_id = await harness.others_sell()
        (theirs,) = [one for one in await everything(connector, since) if one.id == own_id]
        assert theirs.reference != call.reference
        assert theirs.totals.net_minor > 0

    async def test_what_was_declined_moved_nothing(self, harness: ListingHarness) -> None:
        connector, since = harness.open(), _now()
        call = await harness.unpaid(connector)
        found = [one for one in await everything(connector, since) if one.reference == call.reference]
        assert not any(one.totals.live for one in found)

    async def test_no_charge_is_left_out_between_two_pages(
        self, harness: ListingHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not even where more are made while it is read."""
        monkeypatch.setattr(harness.list_page, PAGE)
        connector, since = harness.open(), _now()
        made = {(await harness.paid(connector))[0].reference for _ in range(2 * PAGE + 1)}
        found: list[TheirCharge] = []
        read = 0
        async with aclosing(pages(connector, since)) as following_pages:
            async for page in following_pages:
                assert len(page.charges) <= PAGE
                found += page.charges
                read += 1
                if read == 1:
                    await harness.paid(connector)
        assert made <= {one.reference for one in found}
        assert read > 2

    async def test_what_was_made_long_before_the_time_is_not_listed(self, harness: ListingHarness) -> None:
        """A list may look back for some days."""
        connector = harness.open()
        call, _ = await harness.paid(connector)
        later = await everything(connector, _now() + LONG)
        assert call.reference not in {one.reference for one in later}

    async def test_a_list_out_of_reach_is_an_error_and_not_empty(self, harness: ListingHarness) -> None:
        connector = cast("ChargeListing", harness.open_unreachable())
        with pytest.raises(ConnectorError):
            await connector.list_charges(since=_now() - HOUR, until=_now(), after=None)

    async def test_its_limits_leave_payments_their_share(self, harness: ListingHarness) -> None:
        limits = cast("ChargeListing", harness.open()).list_limits
        assert limits.lag_s >= 0
        assert limits.pages_per_s > 0


async def paid_at_once(
    harness: ConformanceHarness, connector: Connector, *, automatic: bool
) -> tuple[Call, Approved]:
    """`ListingHarness.paid`, where nobody has to be asked."""
    call = replace(authorization(harness), automatic_capture=automatic)
    reply = await connector.send(call, may_send=yes)
    assert isinstance(reply, Approved)
    return call, reply


async def pages(connector: Connector, since: datetime) -> AsyncGenerator[ChargePage]:
    """The list of the time until in an hour, to its end."""
    after, until = None, since + 2 * HOUR
    for _ in range(PAGES_MAX):
        page = await cast("ChargeListing", connector).list_charges(since=since, until=until, after=after)
        yield page
        after = page.following
        if after is None:
            return
    raise AssertionError("a list without an end")


async def everything(connector: Connector, since: datetime) -> list[TheirCharge]:
    """What is listed, each charge as it was listed last."""
    found = {charge.id: charge async for page in pages(connector, since) for charge in page.charges}
    return list(found.values())


async def listed(connector: Connector, call: Call, since: datetime) -> TheirCharge:
    """The one charge of the call's reference."""
    (found,) = [one for one in await everything(connector, since) if one.reference == call.reference]
    return found


def _now() -> datetime:
    return datetime.now(UTC)

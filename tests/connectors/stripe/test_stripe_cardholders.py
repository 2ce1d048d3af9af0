"""Stripe's connector and cardholders who are asked, against the sandbox's Stripe dialect."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

import httpx
import pytest
import test_stripe_dialect
from dialect_side import KEY, WEBHOOK_SECRET, StripeHarness, card
from wire_server import Serve

from payonce.connectors.base import Call, Connector
from payonce.connectors.conformance import authorization, yes
from payonce.connectors.conformance_challenge import (
    HANDED_IN,
    ChallengeConformance,
    Did,
    HandedInConformance,
    ManualChallengeConformance,
)
from payonce.connectors.conformance_customer import (
    NOW,
    CallbackConformance,
    CustomerConformance,
    calling,
    decided,
)
from payonce.connectors.conformance_declared import suites_missing
from payonce.domain.errors import CallbackInvalid
from payonce.domain.facts import Approved, DeclineCode, Declined, Reversed

DECISIONS = {Did.PASSED: "complete", Did.FAILED: "fail"}
INTENTS_MAX = 100  # of the newest: of one page


class CardholderHarness(StripeHarness):
    """`ChallengeHarness` over the dialect."""

    def __init__(self, *, url: str, refusing_url: str, serve: Serve, witness: httpx.AsyncClient) -> None:
        super().__init__(url=url, refusing_url=refusing_url, serve=serve, witness=witness)
        self._pages: dict[str, str] = {}

    def open_hurried(self) -> Connector:
        """Stripe gives nobody a time."""
        return self.open()

    def order(self) -> Call:
        return self._of("4000002760003184")

    def unasked(self) -> Call:
        return self._of("4242424242424242")

    def softly_declined(self) -> Call:
        """Stripe asks by itself."""
        return self.order()

    def _of(self, number: str) -> Call:
        asked = replace(authorization(self), card=card(number), automatic_capture=True)
        return replace(asked, return_url="https://shop.test/back")

    async def decide(self, payment_id: str, *, approve: bool) -> None:
        await self.does(payment_id, Did.PASSED if approve else Did.FAILED)

    async def does(self, payment_id: str, did: Did) -> None:
        page = await self._page(payment_id)
        if page is not None and did in DECISIONS:
            await self._witness.post(page, data={"decision": DECISIONS[did]})

    async def _page(self, payment_id: str) -> str | None:
        """Where the cardholder was sent to, also once that is over; None where they never were."""
        url, headers = f"{self.url}/v1/payment_intents", {"Authorization": f"Bearer {KEY}"}
        found = await self._witness.get(url, params={"limit": INTENTS_MAX}, headers=headers)
        for intent in found.raise_for_status().json()["data"]:
            action = intent["next_action"]
            if intent["metadata"].get("payonce_payment") == payment_id and action is not None:
                self._pages[payment_id] = action["redirect_to_url"]["url"]
        return self._pages.get(payment_id)

    @asynccontextmanager
    async def late(self) -> AsyncIterator[None]:
        """Nothing that was cancelled there is passed any more."""
        yield

    def callback(self, reference: str, *, event_id: str, at: datetime) -> tuple[dict[str, str], bytes]:
        told = {"id": "pi_1", "object": "payment_intent", "metadata": {"payonce_reference": reference}}
        event = {"id": event_id, "object": "event", "type": "payment_intent.succeeded", "livemode": False}
        body = json.dumps({**event, "data": {"object": told}}).encode()
        time = int(at.timestamp())
        mac = hmac.new(WEBHOOK_SECRET.encode(), f"{time}.".encode() + body, hashlib.sha256).hexdigest()
        return {"stripe-signature": f"t={time},v1={mac}"}, body


@pytest.fixture
async def harness(
    acquirer_url: str, refusing_url: str, serve: Serve, witness: httpx.AsyncClient
) -> AsyncIterator[CardholderHarness]:
    made = CardholderHarness(url=acquirer_url, refusing_url=refusing_url, serve=serve, witness=witness)
    await made.set_up()
    yield made
    await made.close()


class TestStripesCardholders(
    CustomerConformance, ChallengeConformance, ManualChallengeConformance, HandedInConformance
):
    """Who is asked has as long as they like, and what they paid is given back by a refund."""

    # The dialect challenges no other test card, whatever is wished for; Stripe has no word for "avoid".
    test_a_challenge_that_is_forced_asks_whoever_would_not_be = None
    test_a_challenge_that_is_to_be_avoided_asks_nobody = None
    test_a_window_that_is_over_proves_nothing = None

    async def test_a_payment_that_was_made_is_reversed(self, harness: CardholderHarness) -> None:
        connector, call = harness.open(), harness.order()
        await connector.send(call, may_send=yes)
        await harness.decide(call.payment_id, approve=True)
        assert isinstance(await decided(connector, call), Approved)
        for _ in range(2):
            assert await connector.reverse(call) == Reversed()
        assert list(await harness.movements(call.payment_id))[2:] == ["refund"]

    async def test_who_was_authenticated_elsewhere_is_not_asked(self, harness: CardholderHarness) -> None:
        """A test card that is always challenged is declined instead, at the dialect."""
        connector = harness.open()
        plain = replace(harness.unasked(), authentication=HANDED_IN)
        assert isinstance(await connector.send(plain, may_send=yes), Approved)
        challenged = replace(harness.order(), authentication=HANDED_IN)
        declined = await connector.send(challenged, may_send=yes)
        assert isinstance(declined, Declined)
        assert declined.code is DeclineCode.AUTHENTICATION_REQUIRED
        await harness.decide(challenged.payment_id, approve=True)
        assert list(await harness.movements(challenged.payment_id)) == []


class TestStripeCalls(CallbackConformance):
    """Passes the suite; ids of events are letters, digits and `_`."""

    async def test_a_callback_names_its_event_and_our_reference(self, harness: CardholderHarness) -> None:
        headers, body = harness.callback("pay_1-1", event_id="evt_1", at=NOW)
        for _ in range(2):
            callback = calling(harness).read_callback(headers, body, now=NOW)
            assert (callback.event_id, callback.reference) == ("evt_1", "pay_1-1")

    async def test_an_id_that_is_none_of_stripes_is_refused(self, harness: CardholderHarness) -> None:
        headers, body = harness.callback("pay_1-1", event_id="event-1", at=NOW)
        with pytest.raises(CallbackInvalid):
            calling(harness).read_callback(headers, body, now=NOW)


async def test_every_suite_is_taken_that_is_declared(harness: CardholderHarness) -> None:
    of_dialect = (
        test_stripe_dialect.TestStripe,
        test_stripe_dialect.TestStripesList,
        test_stripe_dialect.TestStripesDisputes,
        test_stripe_dialect.TestStripesAcceptances,
    )
    assert not suites_missing(harness.open(), *of_dialect, TestStripesCardholders, TestStripeCalls)

"""Stripe's connector against the sandbox's Stripe dialect, which somebody else wrote from Stripe's documentation."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from dialect_side import KEY, StripeHarness, card
from wire_server import Serve

from payonce.connectors.base import Call
from payonce.connectors.conformance import ConnectorConformance, ReversalConformance, yes
from payonce.connectors.conformance_acceptance import AcceptanceConformance
from payonce.connectors.conformance_disputes import DisputeConformance
from payonce.connectors.conformance_listing import ListingConformance
from payonce.connectors.conformance_saved import SavedCardConformance
from payonce.connectors.conformance_truth import ReplayConformance
from payonce.connectors.conformance_wire import WireConformance
from payonce.connectors.stripe.connector import Stripe
from payonce.domain.facts import ActionRequired, Declined
from payonce.domain.operations import OperationKind


@pytest.fixture
async def harness(
    acquirer_url: str, refusing_url: str, serve: Serve, witness: httpx.AsyncClient
) -> AsyncIterator[StripeHarness]:
    made = StripeHarness(url=acquirer_url, refusing_url=refusing_url, serve=serve, witness=witness)
    await made.set_up()
    yield made
    await made.close()


async def test_an_intent_that_failed_at_the_issuers_page_cannot_be_confirmed_again(
    harness: StripeHarness, witness: httpx.AsyncClient
) -> None:
    """With whatever key and secret: the merchant's own card would be taken, too."""
    connector = harness.open()
    assert isinstance(connector, Stripe)
    order = Call(
        kind=OperationKind.AUTHORIZE,
        reference="pay_failed-1",
        payment_id="pay_failed",
        amount_minor=1099,
        currency="USD",
        automatic_capture=True,
        card=card("4000002760003184"),
        return_url="https://pay.example/v1/returns/x",
    )
    asked = await connector.send(order, may_send=yes)
    assert isinstance(asked, ActionRequired)
    back = await witness.post(asked.action["url"], data={"decision": "fail"})
    assert back.status_code == 303
    order = replace(order, attempt_reference=asked.connector_reference, asked=True)
    fact = await connector.inquire(order)
    assert isinstance(fact, Declined)
    again = await witness.post(
        f"{harness.url}/v1/payment_intents/{asked.connector_reference}/confirm",
        data={"payment_method": "pm_card_visa"},
        headers={"Authorization": f"Bearer {KEY}"},
    )
    assert again.status_code == 400, again.text
    assert await connector.inquire(order) == fact
    assert await harness.movements(order.payment_id) == []


class TestStripe(
    ConnectorConformance, ReversalConformance, WireConformance, ReplayConformance, SavedCardConformance
):
    """Passes the suites."""


class TestStripesDisputes(DisputeConformance):
    """What is read of Stripe's disputes."""


class TestStripesAcceptances(AcceptanceConformance):
    """What is closed."""


class TestStripesList(ListingConformance):
    """Intents and their refunds."""

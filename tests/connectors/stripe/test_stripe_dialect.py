"""Stripe's connector against the sandbox's Stripe dialect, which somebody else wrote from Stripe's documentation."""

from collections.abc import AsyncIterator

import httpx
import pytest
from dialect_side import StripeHarness
from wire_server import Serve

from payonce.connectors.conformance import ConnectorConformance, ReversalConformance
from payonce.connectors.conformance_wire import WireConformance


@pytest.fixture
async def harness(
    acquirer_url: str, refusing_url: str, serve: Serve, witness: httpx.AsyncClient
) -> AsyncIterator[StripeHarness]:
    made = StripeHarness(url=acquirer_url, refusing_url=refusing_url, serve=serve, witness=witness)
    await made.set_up()
    yield made
    await made.close()


class TestStripe(ConnectorConformance, ReversalConformance, WireConformance):
    """Passes the suites."""

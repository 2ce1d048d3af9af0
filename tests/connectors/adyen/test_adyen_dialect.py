"""Adyen's connector against the sandbox's Adyen dialect, which somebody else wrote from Adyen's documentation."""

from collections.abc import AsyncIterator

import httpx
import pytest
from adyen_harness import AdyenHarness, Webhooks
from wire_server import Serve

from payonce.connectors.conformance import ConnectorConformance, TurnsConformance
from payonce.connectors.conformance_challenge import (
    HandedInConformance,
    LegConformance,
    MovingLegConformance,
    WishesConformance,
)
from payonce.connectors.conformance_declared import suites_missing
from payonce.connectors.conformance_disputes import DisputeConformance
from payonce.connectors.conformance_truth import ReplayConformance, TellingConformance
from payonce.connectors.conformance_wire import WireConformance


@pytest.fixture
async def harness(
    acquirer_url: str, refusing_url: str, serve: Serve, witness: httpx.AsyncClient
) -> AsyncIterator[AdyenHarness]:
    with Webhooks().running() as webhooks:
        made = AdyenHarness(
            url=acquirer_url, refusing_url=refusing_url, serve=serve, witness=witness, webhooks=webhooks
        )
        await made.set_up()
        yield made
        await made.close()


class TestAdyen(
    ConnectorConformance, TurnsConformance, WireConformance, ReplayConformance, TellingConformance
):
    """Passes the suites."""

    # Adyen says the same of what is authorized and of what it has captured with it.
    test_what_is_only_authorized_says_so_and_is_captured_when_it_is_asked_for = None


class TestAdyensChallenges(LegConformance, MovingLegConformance, WishesConformance, HandedInConformance):
    """Passes the suites: what a browser brought back is sent in a leg, which alone authorizes."""


class TestAdyensDisputes(DisputeConformance):
    """What its webhooks tell of them, one change at a time."""


async def test_every_suite_is_taken_that_is_declared(harness: AdyenHarness) -> None:
    assert not suites_missing(harness.open(), TestAdyen, TestAdyensChallenges, TestAdyensDisputes)

"""A connector at a scripted Stripe; every request of every test is collected for the witnesses."""

from collections.abc import AsyncIterator, Iterator

import pytest
from stripe_judged import of_request
from stripe_script import Open, account, error

from payonce.connectors.stripe.connector import Stripe
from tests.connectors.scripted import Answer, Sent, opening


@pytest.fixture
def sent_to_stripe() -> list[Sent]:
    """What was sent in this test: a witness that has Stripe's own document looks at each."""
    return []


@pytest.fixture
async def stripe(sent_to_stripe: list[Sent]) -> AsyncIterator[Open]:
    """Opens a connector at a server with a script, and closes both."""
    async with opening(
        Stripe,
        account,
        headers={"Request-Id": "req_1"},
        unknown=Answer(error("invalid_request_error", code="not_in_the_script"), status=404),
        sent=sent_to_stripe,
    ) as opened:
        yield opened


@pytest.fixture(autouse=True)
def judged(sent_to_stripe: list[Sent]) -> Iterator[None]:
    """Whatever a test made the connector send is a request that Stripe's own document knows, to the last member."""
    yield
    violations = [found for sent in sent_to_stripe for found in of_request(sent)]
    assert violations == []

"""A connector at a scripted Stripe; every request of every test is collected for the witnesses."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import datetime

import pytest
from stripe_judged import of_request
from stripe_script import Open, Script, Scripted, Sent, account

from payonce.connectors.stripe.connector import Stripe


@pytest.fixture
def sent_to_stripe() -> list[Sent]:
    """What was sent in this test: a witness that has Stripe's own document looks at each."""
    return []


@pytest.fixture
async def stripe(sent_to_stripe: list[Sent]) -> AsyncIterator[Open]:
    """Opens a connector at a server with a script, and closes both."""
    async with AsyncExitStack() as stack:

        async def open_(
            script: Script,
            *,
            mode: str = "test",
            now: Callable[[], datetime] | None = None,
            **options: str,
        ) -> tuple[Stripe, Scripted]:
            server = await stack.enter_async_context(Scripted(script).running())
            opened = account(server.url, mode=mode, **options)
            connector = Stripe(opened) if now is None else Stripe(opened, now=now)
            stack.push_async_callback(connector.close)
            servers.append(server)
            return connector, server

        servers: list[Scripted] = []
        yield open_
        for server in servers:
            sent_to_stripe += server.sent


@pytest.fixture(autouse=True)
def judged(sent_to_stripe: list[Sent]) -> Iterator[None]:
    """Whatever a test made the connector send is a request that Stripe's own document knows, to the last member."""
    yield
    violations = [found for sent in sent_to_stripe for found in of_request(sent)]
    assert violations == []

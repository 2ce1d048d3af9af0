"""A connector at a scripted Adyen; every request of every test is collected for the witness."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import datetime

import pytest
from adyen_script import Open, Script, Scripted, Sent, account

from payonce.connectors.adyen.connector import Adyen
from tests.witnesses.adyen_models import adyen_models


@pytest.fixture
def sent_to_adyen() -> list[Sent]:
    """What was sent in this test: a witness that has Adyen's own models looks at each."""
    return []


@pytest.fixture
async def adyen(sent_to_adyen: list[Sent]) -> AsyncIterator[Open]:
    """Opens a connector at a server with a script, and closes both."""
    async with AsyncExitStack() as stack:

        async def open_(
            script: Script,
            *,
            mode: str = "test",
            now: Callable[[], datetime] | None = None,
            **options: str,
        ) -> tuple[Adyen, Scripted]:
            server = await stack.enter_async_context(Scripted(script).running())
            opened = account(server.url, mode=mode, **options)
            connector = Adyen(opened) if now is None else Adyen(opened, now=now)
            stack.push_async_callback(connector.close)
            servers.append(server)
            return connector, server

        servers: list[Scripted] = []
        yield open_
        for server in servers:
            sent_to_adyen += server.sent


@pytest.fixture(autouse=True)
def judged(sent_to_adyen: list[Sent]) -> Iterator[None]:
    """Whatever a test made the connector send is a request that Adyen's own models know, to the last member."""
    yield
    models = adyen_models() if sent_to_adyen else None
    for sent in sent_to_adyen:
        assert models is not None
        assert models.request(sent.method, sent.path, sent.body) == [], sent.name

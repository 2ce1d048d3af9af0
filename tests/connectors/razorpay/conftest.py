"""A connector at a scripted Razorpay."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import datetime

import pytest
from razorpay_script import NOW, Open, Script, Scripted, account

from payonce.connectors.razorpay.connector import Razorpay


@pytest.fixture
async def razorpay() -> AsyncIterator[Open]:
    """Opens a connector at a server with a script, and closes both."""
    async with AsyncExitStack() as stack:

        async def open_(
            script: Script,
            *,
            mode: str = "test",
            now: Callable[[], datetime] = lambda: NOW,
            **options: str,
        ) -> tuple[Razorpay, Scripted]:
            server = await stack.enter_async_context(Scripted(script).running())
            connector = Razorpay(account(server.url, mode=mode, **options), now=now)
            stack.push_async_callback(connector.close)
            return connector, server

        yield open_

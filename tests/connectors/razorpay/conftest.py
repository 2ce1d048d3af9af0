"""A connector at a scripted Razorpay."""

from collections.abc import AsyncIterator

import pytest
from razorpay_script import NOW, Open, account, problem

from payonce.connectors.razorpay.connector import Razorpay
from tests.connectors.scripted import opening


@pytest.fixture
async def razorpay() -> AsyncIterator[Open]:
    """Opens a connector at a server with a script, and closes both."""
    async with opening(
        Razorpay, account, now=lambda: NOW, unknown=problem("not_in_the_script", status=404), sent=[]
    ) as opened:
        yield opened

"""Two real PostgreSQL servers, shared by the tests of a module: whoever breaks the pair mends it."""

from collections.abc import AsyncIterator

import pytest

from tests.support.pair import Pair, running_pair


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[Pair]:
    """A primary with its synchronous standby."""
    async with running_pair() as pair:
        yield pair


@pytest.fixture
async def pair(running: Pair) -> AsyncIterator[Pair]:
    """The module's pair, whole before and after the test, whatever the test did to it."""
    yield running
    await running.mend()

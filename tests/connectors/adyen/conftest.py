"""A connector at a scripted Adyen; every request of every test is collected for the witness."""

from collections.abc import AsyncIterator, Iterator

import pytest
from adyen_script import Open, account, problem

from payonce.connectors.adyen.connector import Adyen
from tests.connectors.scripted import Sent, opening
from tests.witnesses.adyen_models import adyen_models


@pytest.fixture
def sent_to_adyen() -> list[Sent]:
    """What was sent in this test: a witness that has Adyen's own models looks at each."""
    return []


@pytest.fixture
async def adyen(sent_to_adyen: list[Sent]) -> AsyncIterator[Open]:
    """Opens a connector at a server with a script, and closes both."""
    async with opening(
        Adyen, account, unknown=problem("not_in_the_script", status=404), sent=sent_to_adyen
    ) as opened:
        yield opened


@pytest.fixture(autouse=True)
def judged(sent_to_adyen: list[Sent]) -> Iterator[None]:
    """Whatever a test made the connector send is a request that Adyen's own models know, to the last member."""
    yield
    models = adyen_models() if sent_to_adyen else None
    for sent in sent_to_adyen:
        assert models is not None
        assert models.request(sent.method, sent.path, sent.body) == [], sent.name

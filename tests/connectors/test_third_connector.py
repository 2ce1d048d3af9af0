"""A connector that a stranger wrote from the documentation: found by its entry point, and good enough to pass."""

from collections.abc import AsyncIterator

import httpx
import pytest
from acme_pay import AcmePay
from test_customer_connectors import Harness
from wire_server import Serve

from payonce.connectors.base import ConnectorAccount
from payonce.connectors.conformance_customer import CallbackConformance, CustomerConformance
from payonce.connectors.registry import installed, open_connectors
from payonce.domain.routing import Wanted, choose

PHONEPE = {"type": "wallet", "wallet": {"provider": "phonepe"}}


@pytest.fixture
async def harness(
    acquirer_url: str, refusing_url: str, serve: Serve, witness: httpx.AsyncClient
) -> AsyncIterator[Harness]:
    made = Harness(AcmePay, "wallet", PHONEPE, acquirer_url, refusing_url, serve, witness)
    yield made
    await made.close()


class TestAcmePay(CustomerConformance, CallbackConformance):
    """Passes both suites."""


async def test_an_account_names_it_and_routing_takes_it_first() -> None:
    accounts = [
        ConnectorAccount(id=id_, connector=name, mode="test", base_url="http://127.0.0.1:1", key="k")
        for id_, name in [("acme_in", "acme_pay"), ("sandbox", "sandbox_wallet")]
    ]
    connectors = open_connectors(accounts, registry={**installed(), "acme_pay": lambda: AcmePay})
    reaches = {id_: connector.capabilities for id_, connector in connectors.items()}
    taken = {
        method: choose(
            accounts, reaches, Wanted(mode="test", method=method, currency="INR", amount_minor=1)
        ).account_id
        for method in ("wallet.phonepe", "wallet.paytm")
    }
    assert taken == {"wallet.phonepe": "acme_in", "wallet.paytm": "sandbox"}
    for connector in connectors.values():
        await connector.close()

"""The accounts that the settings make of the sandbox acquirer."""

from typing import Any

import pytest

from payonce.connectors.registry import open_connectors
from payonce.settings import Settings


def settings(**changes: Any) -> Settings:
    values = {
        "database_url": "postgresql://nowhere",
        "redis_url": "redis://nowhere",
        "temporal_address": "nowhere",
        "derivation_key": "d" * 32,
        "sandbox_acquirer_url": "http://acquirer.test",
        "api_port": 8081,
    }
    return Settings(**{**values, **changes})


def test_there_is_one_for_each_of_its_desks_and_collect_is_on() -> None:
    accounts = settings().accounts()
    connectors = open_connectors(accounts)
    methods = {method for connector in connectors.values() for method in connector.capabilities.methods}
    assert methods == {
        *("card", "wallet.apple_pay", "wallet.google_pay", "wallet.paytm", "wallet.phonepe"),
        *("upi.intent", "upi.qr", "upi.collect"),
    }
    assert {account.mode for account in accounts} == {"test"}


@pytest.mark.parametrize(
    ("given", "callbacks", "codes"),
    [
        ({}, "http://127.0.0.1:8081", "http://127.0.0.1:8081"),
        ({"public_url": "https://pay.example/"}, "https://pay.example", "https://pay.example"),
        (
            {"public_url": "https://pay.example", "callbacks_url": "http://api:8080/"},
            "http://api:8080",
            "https://pay.example",
        ),
    ],
)
def test_customers_and_the_acquirer_are_told_where_the_api_is(
    given: dict[str, str], callbacks: str, codes: str
) -> None:
    upi = next(account for account in settings(**given).accounts() if account.id == "sandbox_upi")
    assert upi.callback_url == f"{callbacks}/v1/connectors/sandbox_upi/callbacks"
    assert upi.code_url("pay_1") == f"{codes}/v1/payments/pay_1/qr"


def test_an_account_of_a_merchants_own_is_called_back_too_unless_it_says_where() -> None:
    own = {
        "id": "acme",
        "connector": "acme_pay",
        "mode": "live",
        "base_url": "https://acme.example",
        "key": "k",
    }
    told = {**own, "id": "told", "options": {"callback_url": "https://tunnel.example/x"}}
    here, there, *_ = settings(connector_accounts=(own, told), callbacks_url="http://api:8080").accounts()
    assert here.callback_url == "http://api:8080/v1/connectors/acme_pay/callbacks"
    assert there.callback_url == "https://tunnel.example/x"

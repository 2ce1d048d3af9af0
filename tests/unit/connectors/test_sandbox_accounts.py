"""The accounts that the settings make of the sandbox acquirer."""

from typing import Any

import pytest
from pydantic import ValidationError

from payonce.connectors.registry import open_connectors
from payonce.live import LiveRefused, check_live
from payonce.settings import KNOWN_TO_EVERYBODY, Settings


def settings(**changes: Any) -> Settings:
    values = {
        "database_url": "postgresql://nowhere",
        "redis_url": "redis://nowhere",
        "temporal_address": "nowhere:1",
        "derivation_key": "d" * 32,
        "sandbox_acquirer_url": "http://acquirer.test",
        "sandbox_acquirer_key": "k" * 32,
        "api_port": 8081,
    }
    return Settings(**{**values, **changes})


@pytest.mark.parametrize("key", [None, ""])
def test_the_key_has_no_default(key: str | None) -> None:
    """Issue 14, 6: whoever knew the default signed callbacks."""
    with pytest.raises(ValidationError, match="PAYONCE_SANDBOX_ACQUIRER_KEY"):
        settings(sandbox_acquirer_key=key)

    assert settings(sandbox_acquirer_url=None, sandbox_acquirer_key=key).accounts() == ()


def test_the_default_of_earlier_releases_is_refused_in_live_mode() -> None:
    own = {"id": "a", "connector": "sandbox_card", "mode": "live", "base_url": "https://a.example"}
    for given in (
        {"sandbox_acquirer_key": KNOWN_TO_EVERYBODY},
        {"connector_accounts": ({**own, "key": KNOWN_TO_EVERYBODY},)},
    ):
        settings(**given)
        with pytest.raises(LiveRefused, match=r"known to everybody|PAYONCE_SANDBOX_ACQUIRER_URL"):
            check_live(settings(live=True, **given))


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

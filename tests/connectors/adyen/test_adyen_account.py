"""What an account at Adyen needs, what it can do, and whose it is."""

from dataclasses import replace
from typing import Any

import pytest
from adyen_script import HMAC_KEYS, Open, account, call, problem

from payonce.connectors.adyen.connector import Adyen
from payonce.connectors.base import Identity
from payonce.connectors.registry import installed, open_connectors
from payonce.domain.errors import NotSent, OutcomeUnknown, Rejected
from payonce.domain.facts import EndsItself
from payonce.domain.operations import OperationKind
from payonce.domain.truth import Truth
from tests.connectors.scripted import Answer

ME, METHODS = "GET /v3/me", "POST /v72/paymentMethods"
CREDENTIAL = {
    "id": "S2-1",
    "username": "ws_1@Company.Payonce",
    "companyName": "Payonce",
    "active": True,
    "roles": ["Checkout webservice role"],
    "allowedIpAddresses": [],
    "clientKey": "test_X",
}
SCRIPT = {ME: Answer(CREDENTIAL), METHODS: Answer({"paymentMethods": []})}
K = OperationKind


async def test_who_adyen_says_that_we_are(adyen: Open) -> None:
    connector, server = await adyen(SCRIPT)
    found = await connector.identify()
    assert (found.id, found.mode) == ("Payonce/PayonceECOM/test", "test")
    assert "user name" in found.notes[0]
    assert [sent.name for sent in server.sent] == [ME, METHODS]
    assert server.sent[1].body["merchantAccount"] == "PayonceECOM"
    assert {sent.headers["x-api-key"] for sent in server.sent} == {"AQE-payonce-secret"}


async def test_with_a_login_there_is_nothing_to_note(adyen: Open) -> None:
    _, server = await adyen(SCRIPT)
    held = account(server.url)
    connector = Adyen(replace(held, secrets={**held.secrets, "webhook_login": ("adyen:x",)}))
    assert await connector.identify() == Identity(id="Payonce/PayonceECOM/test", mode="test")
    await connector.close()


@pytest.mark.parametrize(
    ("script", "raised"),
    [
        ({ME: problem("000", status=401)}, Rejected),
        ({ME: problem("010", status=403)}, Rejected),
        ({ME: Answer({**CREDENTIAL, "active": False})}, Rejected),
        ({METHODS: problem("901", status=403)}, Rejected),
        ({METHODS: problem("901")}, Rejected),
        ({METHODS: problem("702")}, OutcomeUnknown),
        ({ME: problem("000", status=404)}, OutcomeUnknown),
        ({ME: Answer({}, status=500)}, OutcomeUnknown),
        ({ME: Answer({**CREDENTIAL, "companyName": ""})}, OutcomeUnknown),
        ({ME: Answer({"id": "S2-1", "active": True})}, OutcomeUnknown),
    ],
)
async def test_who_we_are_is_not_guessed(adyen: Open, script: Any, raised: type[Exception]) -> None:
    connector, _ = await adyen(SCRIPT | script)
    with pytest.raises(raised) as failure:
        await connector.identify()
    assert "AQE-payonce-secret" not in str(failure.value)


@pytest.mark.parametrize(
    ("url", "mode", "region"),
    [
        ("https://checkout-test.adyen.com", "test", "test"),
        ("https://1797a841fbb37ca7-Payonce-checkout-live.adyenpayments.com/checkout", "live", "eu"),
        ("https://1797a841fbb37ca7-Payonce-checkout-live-us.adyenpayments.com/checkout", "live", "us"),
        ("https://1797a841fbb37ca7-Payonce-checkout-live-au.adyenpayments.com/checkout", "live", "au"),
        ("https://evil.example/checkout-live.adyenpayments.com", "test", "test"),
    ],
)
async def test_mode_and_region_are_the_addresss(adyen: Open, url: str, mode: str, region: str) -> None:
    """Keys and references of one region are unknown in another: it is another account."""
    _, server = await adyen(SCRIPT)
    connector = Adyen(account(url, mode=mode, management_url=server.url))
    scripted = Adyen(account(server.url))
    connector._desk = scripted._desk  # the merchant account is asked about at the script
    found = await connector.identify()
    assert (found.id, found.mode) == (f"Payonce/PayonceECOM/{region}", mode)
    await connector.close()


async def test_adyen_at_an_address_that_refuses(refusing_url: str) -> None:
    connector = Adyen(account(refusing_url))
    with pytest.raises(NotSent):
        await connector.identify()
    await connector.close()


@pytest.mark.parametrize("name", ["", "a:b", "a b", "ü", "x" * 101])
def test_a_merchant_account_is_named(name: str) -> None:
    made = account("http://127.0.0.1:1", merchant_account=name)
    with pytest.raises(Rejected, match="merchant_account"):
        open_connectors([made], registry=installed())


@pytest.mark.parametrize("key", ["not hexadecimal", " ", "ab", HMAC_KEYS[0][:-2]])
def test_a_key_that_is_not_hexadecimal_is_said_and_not_told(key: str) -> None:
    """Nor is a part of one: with an empty key everybody can sign."""
    made = account("http://127.0.0.1:1")
    wrong = replace(made, secrets={**made.secrets, "hmac_key": (HMAC_KEYS[0], key)})
    with pytest.raises(Rejected, match="hexadecimal") as raised:
        open_connectors([wrong], registry=installed())
    assert f"{key!r}" not in str(raised.value)


async def test_an_account_names_the_connector_and_what_it_can_do() -> None:
    made = account("http://127.0.0.1:1")
    connector = open_connectors([made], registry=installed())[made.id]
    capabilities = connector.capabilities
    assert isinstance(connector, Adyen)
    assert capabilities.methods == {"card"}
    assert {capabilities.truth_of(kind) for kind in (K.AUTHORIZE, K.CAPTURE, K.VOID, K.REFUND)} == {
        Truth.REPLAY
    }
    assert capabilities.idempotent_replay_s == 31 * 24 * 3600
    assert not capabilities.replays_not_found  # nothing is ever not found there
    assert capabilities.callbacks_carry_facts
    assert capabilities.replays_legs
    assert capabilities.reversible(K.AUTHORIZE)
    assert not capabilities.reversible(K.REFUND)
    assert not capabilities.split_capture
    assert capabilities.data_in_memory
    assert await connector.cancel(call()) == EndsItself()
    await connector.close()


def test_what_an_agreement_has_besides_is_said_of_the_account() -> None:
    full = Adyen(account("http://127.0.0.1:1", multicapture="on", upi="on", wallets="on")).capabilities
    assert full.split_capture
    assert full.methods == {
        *("card", "upi.intent", "upi.qr", "upi.collect", "wallet.apple_pay", "wallet.google_pay")
    }


def test_the_form_asks_for_what_the_connector_reads() -> None:
    assert [secret.name for secret in Adyen.account_form.secrets] == ["key", "hmac_key", "webhook_login"]
    assert [secret.verifies_callbacks for secret in Adyen.account_form.secrets] == [False, True, True]
    assert "merchant_account" in [option.name for option in Adyen.account_form.options]


def test_no_secret_shows() -> None:
    made = account("http://127.0.0.1:1")
    shown = repr([made, Adyen(made)])
    assert "AQE-payonce-secret" not in shown
    assert HMAC_KEYS[0] not in shown


async def test_upi_is_captured_with_its_authorization_only(adyen: Open) -> None:
    """So that routing knows, and what is to be held is not refused by Adyen after its admission."""
    connector, _ = await adyen({}, upi="on")
    assert connector.capabilities.at_once == {"upi.intent", "upi.qr", "upi.collect"}

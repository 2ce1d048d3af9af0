"""What an account at Stripe needs, what it can do, and whose it is."""

from dataclasses import replace
from typing import Any

import pytest
from stripe_judged import nested, of_request
from stripe_script import Open, account, error

from payonce.connectors.base import Identity
from payonce.connectors.registry import installed, open_connectors
from payonce.connectors.stripe.connector import Stripe
from payonce.domain.errors import NotSent, OutcomeUnknown, Rejected
from payonce.domain.operations import OperationKind
from tests.connectors.scripted import Answer

DENIED = Answer(error("invalid_request_error"), status=403)
SCRIPT = {
    "GET /v1/account": Answer({"id": "acct_1Ours", "object": "account"}),
    "GET /v1/balance": Answer({"object": "balance", "livemode": False}),
    "GET /v1/payment_intents": Answer({"object": "list", "data": [], "has_more": False}),
    "GET /v1/refunds": Answer({"object": "list", "data": [], "has_more": False}),
    "GET /v1/events": Answer({"object": "list", "data": [], "has_more": False}),
}


async def test_who_stripe_says_that_we_are(stripe: Open) -> None:
    connector, server = await stripe(SCRIPT)
    assert await connector.identify() == Identity(id="acct_1Ours", mode="test")
    assert {sent.method for sent in server.sent} == {"GET"}


async def test_what_the_key_may_not_do_is_said(stripe: Open) -> None:
    connector, _ = await stripe(SCRIPT | {"GET /v1/refunds": DENIED, "GET /v1/balance": DENIED})
    notes = (await connector.identify()).notes
    assert len(notes) == 2
    assert "Refunds" in notes[0]
    assert "balance" in notes[1]


@pytest.mark.parametrize(
    ("script", "raised"),
    [
        ({"GET /v1/account": DENIED}, Rejected),
        ({"GET /v1/account": Answer(error("x"), status=401)}, Rejected),
        ({"GET /v1/balance": Answer({"object": "balance", "livemode": True})}, Rejected),
        ({"GET /v1/account": Answer(error("api_error"), status=500)}, OutcomeUnknown),
        ({"GET /v1/account": Answer({"id": "acct_1", "object": "customer"})}, OutcomeUnknown),
    ],
)
async def test_who_we_are_is_not_guessed(stripe: Open, script: Any, raised: type[Exception]) -> None:
    connector, _ = await stripe(SCRIPT | script)
    with pytest.raises(raised):
        await connector.identify()


async def test_a_key_that_is_none_is_sent_nowhere() -> None:
    made = account("http://127.0.0.1:1")
    object.__setattr__(made, "key", "pk_test_of_the_browser")
    with pytest.raises(Rejected) as raised:
        await Stripe(made).identify()
    assert "pk_test" not in raised.value.message


async def test_an_account_names_the_connector_and_what_it_can_do() -> None:
    made = account("http://127.0.0.1:1")
    connector = open_connectors([made], registry=installed())[made.id]
    capabilities = connector.capabilities
    assert isinstance(connector, Stripe)
    assert capabilities.methods == {"card"}
    assert capabilities.reversible(OperationKind.AUTHORIZE)
    assert capabilities.callbacks
    assert not capabilities.split_capture
    assert capabilities.currencies is not None
    assert {"EUR", "INR", "ISK"} <= capabilities.currencies
    assert "IQD" not in capabilities.currencies
    await connector.close()


async def test_stripe_at_an_address_that_refuses(refusing_url: str) -> None:
    connector = Stripe(account(refusing_url))
    with pytest.raises(NotSent):
        await connector.identify()
    await connector.close()


def test_the_form_asks_for_what_the_connector_reads() -> None:
    assert [secret.name for secret in Stripe.account_form.secrets] == ["key", "webhook_secret"]
    assert Stripe.account_form.secrets[1].verifies_callbacks
    assert Stripe.account_form.base_url == "https://api.stripe.com"


def test_a_form_stands_for_objects_and_lists() -> None:
    members = [("a", "1"), ("b[c][d]", "2"), ("b[e]", "3"), ("f[]", "4"), ("f[]", "5"), ("g[h][]", "6")]
    assert nested(members) == {"a": "1", "b": {"c": {"d": "2"}, "e": "3"}, "f": ["4", "5"], "g": {"h": ["6"]}}


async def test_a_request_that_stripe_does_not_document_would_be_found(stripe: Open) -> None:
    connector, server = await stripe(SCRIPT)
    await connector.identify()
    asked = replace(server.sent[0], query=(("colour", "red"),))
    assert of_request(server.sent[0]) == []
    assert of_request(asked) != []

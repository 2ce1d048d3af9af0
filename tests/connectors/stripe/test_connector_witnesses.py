"""What Stripe publishes judges the connector: its mock, its examples, and its own check of signatures."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import stripe as sdk
from stripe_script import (
    CANCEL,
    CAPTURE,
    CONFIRM,
    CREATE,
    GET,
    INTENT,
    METHOD,
    METHODS,
    REFUNDS,
    WEBHOOK_SECRETS,
    Open,
    account,
    authorizing,
    call,
    charge,
    held,
    intent,
    listed,
    method,
    paid,
    refund,
)
from test_stripe_callbacks import INTENT_EVENT, mac, signed

from payonce.connectors.base import Call
from payonce.connectors.conformance import yes
from payonce.connectors.conformance_saved import SAVED, saving, storing
from payonce.connectors.stripe.connector import Stripe
from payonce.connectors.stripe.objects import (
    Balance,
    Charge,
    Intent,
    Method,
    Read,
    StripeAccount,
    StripeCustomer,
    StripeEvent,
    StripeRefund,
)
from payonce.domain.errors import CallbackInvalid
from payonce.domain.operations import OperationKind
from payonce.domain.payment_methods import CredentialKind, StoredCredential
from payonce.domain.personal import Address, Customer, Party
from tests.connectors.scripted import Answer, Sent
from tests.witnesses.go import module_directory
from tests.witnesses.stripe_mock import stripe_mock
from tests.witnesses.stripe_spec import MODULE, VERSION

ADDRESS = Address(line1="Hauptstr. 1", city="Köln", postal_code="50667", country="DE")
PERSON = {
    "customer": Customer(name="A. Person", email="a@person.example"),
    "billing": Party(address=ADDRESS),
    "shipping": Party(name="B. Person", address=ADDRESS),
    "return_url": "https://shop.example/done",
}
MODELS = {
    "account": StripeAccount,
    "balance": Balance,
    "charge": Charge,
    "customer": StripeCustomer,
    "event": StripeEvent,
    "payment_intent": Intent,
    "payment_method": Method,
    "refund": StripeRefund,
}


TOKEN = {"customer": "cus_1", "payment_method": METHOD}


def by_token(order: Call) -> Call:
    """Nobody is there."""
    stored = StoredCredential(token=SAVED, reason="recurring", credential=CredentialKind.OF_ACQUIRER)
    return replace(order, card=None, token=TOKEN, stored=stored)


async def everything_sent(stripe: Open) -> list[Sent]:
    """An authorization, captures, a void, a refund, a reversal, and the questions about them."""
    closed = intent("canceled", latest_charge=charge())
    connector, server = await stripe(
        authorizing(
            Answer(held()),
            **{
                CAPTURE: Answer(intent("requires_capture", amount_received=500)),
                CANCEL: Answer(closed),
                "POST /v1/customers": Answer({"id": "cus_1", "object": "customer", "livemode": False}),
                f"GET /v1/payment_methods/{METHOD}": Answer(method(customer="cus_1")),
                f"{METHODS}/{METHOD}/detach": Answer(method()),
                REFUNDS: [Answer(refund()), Answer(refund(metadata={"payonce_reversal": "pay_01jtest-1"}))],
                GET: Answer(paid()),
                "GET /v1/refunds": Answer(listed()),
                "GET /v1/payment_intents": Answer(listed(paid())),
                "GET /v1/account": Answer({"id": "acct_1Ours", "object": "account"}),
                "GET /v1/balance": Answer({"object": "balance", "livemode": False}),
            },
        ),
        multicapture="on",
        copy_metadata="on",
    )
    await connector.send(call(automatic_capture=False, metadata={"order": "17"}, **PERSON), may_send=yes)
    await connector.send(call(OperationKind.CAPTURE, amount_minor=500, final=False), may_send=yes)
    for kind in (OperationKind.VOID, OperationKind.REFUND):
        await connector.send(call(kind), may_send=yes)
    await connector.reverse(call(attempt_reference=INTENT))
    await connector.send(saving(call()), may_send=yes)
    await connector.send(by_token(call()), may_send=yes)
    await storing(connector).delete_token(TOKEN)
    await connector.inquire(call(claimed_at=datetime(2026, 1, 1, tzinfo=UTC)))
    await connector.inquire(call(OperationKind.REFUND))
    await connector.identify()
    return server.sent


async def test_stripe_mock_takes_everything_that_the_connector_sends(stripe: Open) -> None:
    """Its answers are canned, so what was sent to a script is sent to it once more, byte for byte."""
    sent = await everything_sent(stripe)
    kept = {"POST /v1/customers", f"{METHODS}/{METHOD}/detach"}
    posts = {CREATE, METHODS, CONFIRM, CAPTURE, CANCEL, REFUNDS, *kept}
    assert posts <= {one.name for one in sent}
    async with stripe_mock() as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        for one in sent:
            response = await client.request(
                one.method,
                one.path,
                params=one.query,
                content=str(httpx.QueryParams(one.form)),
                headers=headers_of(one),
            )
            assert response.status_code == 200, (one.name, response.text)
        refused = await client.post("/v1/refunds", data={"colour": "red"}, headers=headers_of(sent[0]))
        assert refused.status_code == 400


def headers_of(sent: Sent) -> dict[str, str]:
    own = {"authorization": "Bearer sk_test_123456789012"}  # it wants the form of a key, and knows none
    names = ("content-type", "stripe-version", "idempotency-key")
    return {name: sent.headers[name] for name in names if name in sent.headers} | own


@pytest.fixture(scope="module")
def examples() -> dict[str, Any]:
    """Stripe's published examples, from the Go module: read at test time, and not copied."""
    path = module_directory(MODULE, VERSION) / "embedded" / "openapi" / "fixtures3.json"
    found: dict[str, Any] = json.loads(path.read_text())["resources"]
    return found


@pytest.mark.parametrize("name", MODELS)
def test_the_connector_reads_what_stripe_publishes_as_an_example(examples: dict[str, Any], name: str) -> None:
    model: type[Read] = MODELS[name]
    example = examples[name]
    read = model.model_validate_json(json.dumps(example))
    for member in model.model_fields:
        told = getattr(read, member)
        if isinstance(told, str | int):
            assert told == example[member]


def test_an_intent_is_read_with_the_example_of_a_charge(examples: dict[str, Any]) -> None:
    whole = {**examples["payment_intent"], "latest_charge": examples["charge"]}
    read = Intent.model_validate_json(json.dumps(whole))
    assert read.charge is not None
    assert (read.charge.card.brand, read.charge.card.funding) == ("visa", "credit")


NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
AT = int(NOW.timestamp())
NEW, OLD = WEBHOOK_SECRETS
INDENTED = json.dumps(json.loads(INTENT_EVENT), indent=2).encode() + b"\n"


@pytest.mark.parametrize(
    ("body", "header", "holds"),
    [
        (INTENT_EVENT, signed(INTENT_EVENT), True),
        (INDENTED, signed(INDENTED), True),
        (INDENTED, signed(INTENT_EVENT), False),
        (INTENT_EVENT, f"t={AT},v1={'0' * 64},v1={mac(INTENT_EVENT)}", True),
        (INTENT_EVENT, f"t={AT},v1={mac(INTENT_EVENT)},v0={'0' * 64}", True),
        (INTENT_EVENT, f"t={AT},v0={mac(INTENT_EVENT)}", False),
        (INTENT_EVENT, signed(INTENT_EVENT, at=AT - 300), True),
        (INTENT_EVENT, signed(INTENT_EVENT, at=AT - 301), False),
        (INTENT_EVENT, f"t={AT - 1},v1={mac(INTENT_EVENT)}", False),
        (INTENT_EVENT, signed(INTENT_EVENT, "whsec_another"), False),
        (INTENT_EVENT, f"v1={mac(INTENT_EVENT)}", False),
        (INTENT_EVENT, "", False),
        (INTENT_EVENT + b" ", signed(INTENT_EVENT), False),
    ],
)
def test_the_connector_believes_whom_stripes_sdk_believes(
    body: bytes, header: str, holds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside that ours refuses a time to come, two times, and more than 16 signatures."""
    monkeypatch.setattr("stripe._webhook.time.time", lambda: float(AT))
    connector = Stripe(account("http://127.0.0.1:1"))
    assert held_by_sdk(body, header) is holds
    if holds:
        connector.read_callback({"stripe-signature": header}, body, now=NOW)
    else:
        with pytest.raises(CallbackInvalid):
            connector.read_callback({"stripe-signature": header}, body, now=NOW)


def held_by_sdk(body: bytes, header: str) -> bool:
    try:
        return sdk.WebhookSignature.verify_header(body.decode(), header, NEW, tolerance=300)
    except sdk.SignatureVerificationError:
        return False

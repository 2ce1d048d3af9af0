"""Stripe's own SDK drives the dialect, and verifies what it signs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
import stripe as sdk
from acquirer_process import Acquirer, eventually
from stripe_side import ACCOUNT, SECRET_KEY, WEBHOOK_SECRET, events_side, set_up

from payonce.connectors.base import ConnectorAccount
from payonce.connectors.stripe.connector import Stripe

# The SDK hands its forms to httpx in a way that httpx will drop.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")

KEYS = {"payonce_reference": "ref-sdk", "payonce_payment": "pay_sdk"}
CARD = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2030, "cvc": "973"}


@asynccontextmanager
async def client_of(acquirer: Acquirer, *, key: str = SECRET_KEY) -> AsyncIterator[sdk.StripeClient]:
    """A client that was told where to send, and sends nothing again by itself."""
    http = sdk.HTTPXClient()
    base = f"{str(acquirer.client.base_url).rstrip('/')}/stripe"
    try:
        yield sdk.StripeClient(key, base_addresses={"api": base}, http_client=http, max_network_retries=0)
    finally:
        await http.close_async()


def the_account() -> ConnectorAccount:
    """The connector's account at this acquirer; it sends nothing here."""
    return ConnectorAccount(
        id="stripe_sdk",
        connector="stripe",
        mode="test",
        base_url="http://127.0.0.1:1",
        secrets={"key": (SECRET_KEY,), "webhook_secret": (WEBHOOK_SECRET,)},
        options={},
        identity=ACCOUNT,
        upstream_secret=b"s" * 32,
    )


async def test_the_sdk_and_the_connector_verify_what_the_dialect_signs(acquirer: Acquirer) -> None:
    async with events_side() as side, client_of(acquirer) as client:
        await set_up(acquirer, webhook={"url": side.url, "secrets": [WEBHOOK_SECRET]})
        method = await client.v1.payment_methods.create_async({"type": "card", "card": CARD})
        intent = await client.v1.payment_intents.create_async(
            {"amount": 1099, "currency": "usd", "capture_method": "manual", "metadata": KEYS},
            {"idempotency_key": "ref-sdk-create"},
        )
        held = await client.v1.payment_intents.confirm_async(
            intent.id,
            {"payment_method": method.id, "expand": ["latest_charge"]},
            {"idempotency_key": "ref-sdk-confirm"},
        )
        assert (held.status, held.amount_capturable) == ("requires_capture", 1099)
        assert isinstance(held.latest_charge, sdk.Charge)
        taken = await client.v1.payment_intents.capture_async(intent.id, {"amount_to_capture": 700})
        assert (taken.status, taken.amount_received) == ("succeeded", 700)
        refund = await client.v1.refunds.create_async({"payment_intent": intent.id, "amount": 300})
        assert (refund.status, refund.amount) == ("succeeded", 300)
        await eventually(lambda: side.has("charge.refunded"))
    connector = Stripe(the_account())
    for body, signature in zip(side.bodies, side.signatures, strict=True):
        event = sdk.Webhook.construct_event(body, signature, WEBHOOK_SECRET)
        assert event.type in side.types()
        told = connector.read_callback({"stripe-signature": signature}, body, now=datetime.now(UTC))
        assert told.event_id == event.id
        assert told.reference in ("ref-sdk", intent.id)  # a refund made by the SDK has no reference of ours
        with pytest.raises(sdk.SignatureVerificationError):
            sdk.Webhook.construct_event(body + b" ", signature, WEBHOOK_SECRET)
    entries = await acquirer.ledger(payment_reference="pay_sdk")
    assert [(entry["operation"], entry["amount"]) for entry in entries] == [
        ("authorize", 1099),
        ("capture", 700),
        ("refund", 300),
    ]


async def test_the_sdk_knows_a_decline_when_it_sees_one(acquirer: Acquirer) -> None:
    await set_up(acquirer)
    async with client_of(acquirer) as client:
        with pytest.raises(sdk.CardError) as declined:
            await client.v1.payment_intents.create_async(
                {
                    "amount": 1099,
                    "currency": "usd",
                    "confirm": True,
                    "payment_method": "pm_card_visa_chargeDeclinedLostCard",
                }
            )
    assert (declined.value.code, declined.value.error.decline_code) == ("card_declined", "lost_card")
    assert declined.value.error.payment_intent.status == "requires_payment_method"


async def test_the_sdk_knows_the_other_errors(acquirer: Acquirer) -> None:
    key = {"key": "rk_test_acme0000000000000001", "permissions": ["charge_read"]}
    await set_up(acquirer, keys=[{"key": SECRET_KEY}, key])
    async with client_of(acquirer) as client:
        with pytest.raises(sdk.InvalidRequestError, match="colour"):
            await client.v1.payment_intents.create_async({"amount": 1099, "currency": "usd", "colour": "x"})
        options: sdk.RequestOptions = {"idempotency_key": "key-1"}
        await client.v1.payment_intents.create_async({"amount": 1099, "currency": "usd"}, options)
        with pytest.raises(sdk.IdempotencyError):
            await client.v1.payment_intents.create_async({"amount": 1100, "currency": "usd"}, options)
    async with client_of(acquirer, key="sk_test_nobody0000000000001") as client:
        with pytest.raises(sdk.AuthenticationError):
            await client.v1.payment_intents.list_async()
    async with client_of(acquirer, key=str(key["key"])) as client:
        with pytest.raises(sdk.PermissionError):
            await client.v1.payment_intents.list_async()


async def test_the_sdk_reads_lists_to_their_end(acquirer: Acquirer) -> None:
    await set_up(acquirer)
    async with client_of(acquirer) as client:
        for _ in range(3):
            await client.v1.payment_intents.create_async({"amount": 1099, "currency": "usd"})
        page = await client.v1.payment_intents.list_async({"limit": 2})
        found = [intent.id async for intent in page.auto_paging_iter()]
    assert len(set(found)) == 3

"""Adyen's own SDK for Python drives the dialect, and tells its errors apart."""

import asyncio
from typing import Any

import Adyen
import pytest
from Adyen.exceptions import AdyenAPIAuthenticationError, AdyenAPIUnprocessableEntity, AdyenAPIValidationError
from adyen_side import ACCOUNT, API_KEY, AdyenSide


def client_of(adyen: AdyenSide, *, api_key: str = API_KEY) -> Any:
    """A client of Checkout that was told where to send."""
    client = Adyen.Adyen(xapikey=api_key, platform="test", http_force="requests")
    base = f"{str(adyen.acquirer.client.base_url).rstrip('/')}/adyen/v72"
    for api in (client.checkout.payments_api, client.checkout.modifications_api):
        api.baseUrl = base
    return client.checkout


async def test_the_sdk_pays_captures_and_refunds(adyen: AdyenSide) -> None:
    checkout = client_of(adyen)
    reference, capture, refund = adyen.new(), adyen.new(), adyen.new()
    paid = await asyncio.to_thread(
        checkout.payments_api.payments, adyen.payment(reference), idempotency_key=f"sdk-{reference}"
    )
    assert (paid.status_code, paid.message["resultCode"]) == (200, "Authorised")
    assert paid.psp == paid.message["pspReference"]
    body = {"merchantAccount": ACCOUNT, "amount": {"currency": "USD", "value": 700}, "reference": capture}
    received = await asyncio.to_thread(
        checkout.modifications_api.capture_authorised_payment, body, paid.psp, idempotency_key="sdk-c"
    )
    assert received.message["status"] == "received"
    await adyen.webhooks.has(capture, "CAPTURE")
    body |= {"amount": {"currency": "USD", "value": 300}, "reference": refund}
    await asyncio.to_thread(checkout.modifications_api.refund_captured_payment, body, paid.psp)
    await adyen.webhooks.has(refund, "REFUND")
    assert await adyen.moved(reference) == [("authorize", 1099), ("capture", 700), ("refund", 300)]


async def test_the_sdk_brings_a_shopper_back_and_cancels_by_reference(adyen: AdyenSide) -> None:
    checkout = client_of(adyen)
    reference = adyen.new()
    body = adyen.payment(reference, method={"number": "4212345678910006"})
    asked = await asyncio.to_thread(checkout.payments_api.payments, body)
    result = await adyen.authenticated(asked.message["action"], "complete")
    details = {"details": {"redirectResult": result}}
    paid = await asyncio.to_thread(checkout.payments_api.payments_details, details)
    assert paid.message["resultCode"] == "Authorised"
    with pytest.raises(AdyenAPIUnprocessableEntity):
        await asyncio.to_thread(checkout.payments_api.payments_details, details)
    cancel = {"merchantAccount": ACCOUNT, "paymentReference": reference}
    await asyncio.to_thread(checkout.modifications_api.cancel_authorised_payment, cancel)
    await adyen.webhooks.has(reference, "AUTHORISATION", "TECHNICAL_CANCEL")
    assert await adyen.moved(reference) == [("authorize", 1099), ("void", 1099)]


async def test_the_sdk_knows_the_errors(adyen: AdyenSide) -> None:
    body = adyen.payment(adyen.new())
    stranger = client_of(adyen, api_key="somebody-else-0000001")
    with pytest.raises(AdyenAPIAuthenticationError):
        await asyncio.to_thread(stranger.payments_api.payments, body)
    with pytest.raises(AdyenAPIValidationError):
        await asyncio.to_thread(client_of(adyen).payments_api.payments, {**body, "colour": "red"})

"""One demonstration payment over HTTP: authorized, captured, refunded, and its timeline."""

import asyncio
import secrets
import time
from datetime import UTC, datetime
from typing import Any

import httpx

from devstack.errors import StackError

AMOUNT_MINOR = 1099
CURRENCY = "INR"
CARD = {"number": "4242424242424242", "exp_month": 12, "exp_year": datetime.now(UTC).year + 4, "cvc": "123"}
STEP_WITHIN_S = 30.0
POLL_S = 0.1


async def pay_capture_refund(api_url: str, api_key: str) -> tuple[str, list[dict[str, Any]]]:
    """A payment was authorized, captured and refunded; its id and its events, oldest first."""
    headers = {"Authorization": f"Bearer {api_key}"}
    async with httpx.AsyncClient(
        base_url=api_url, headers=headers, trust_env=False, timeout=STEP_WITHIN_S
    ) as client:
        body = {
            "amount": AMOUNT_MINOR,
            "currency": CURRENCY,
            "capture_method": "manual",
            "payment_method": {"type": "card", "card": CARD},
            "description": "The demonstration of make dev",
        }
        payment_id = (await _post(client, "/v1/payments", body))["id"]
        await _until(client, payment_id, "authorized")
        await _post(client, f"/v1/payments/{payment_id}/capture", {})
        await _until(client, payment_id, "captured")
        await _post(client, f"/v1/payments/{payment_id}/refunds", {"reason": "demonstration"})
        await _until(client, payment_id, "refunded")
        events = (await client.get(f"/v1/payments/{payment_id}/events")).raise_for_status().json()["data"]
        return payment_id, events


async def _post(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    key = f"demo-{secrets.token_hex(8)}"
    answer = await client.post(path, json=body, headers={"Idempotency-Key": key})
    if not answer.is_success:
        raise StackError(f"POST {path} answered {answer.status_code}: {answer.text}")
    content: dict[str, Any] = answer.json()
    return content


async def _until(client: httpx.AsyncClient, payment_id: str, status: str) -> None:
    deadline = time.monotonic() + STEP_WITHIN_S
    while True:
        payment = (await client.get(f"/v1/payments/{payment_id}")).raise_for_status().json()
        if payment["status"] == status:
            return
        if time.monotonic() > deadline:
            raise StackError(f"{payment_id} is {payment['status']} and not {status}")
        await asyncio.sleep(POLL_S)

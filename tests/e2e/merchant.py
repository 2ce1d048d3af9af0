"""A merchant's program: requests with a fresh idempotency key unless a test names one."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.asking import outcome, said
from tests.support.eventually import eventually

Body = dict[str, Any]

APPROVED_CARD = "4242424242424242"
CVC = "123"
ANSWERED_WITHIN_S = 40.0  # the API's own limit is 30 s, with `Prefer: wait`
EVENTS_MAX = 100
SETTLED_WITHIN_S = 90.0  # `api.md`: 60 s in the sandbox; twice two cores may take longer
LONG_UNKNOWN = "error_after_charge,inquire:error_after_charge"  # until the second inquiry

_PARTY = {
    "name": "Quillon Zebrowski",
    "address": {"line1": "7 Larkspur Lane", "city": "Pune", "postal_code": "411001", "country": "IN"},
}
NEVER_SHOWN = ("Quillon", "Larkspur", "203.0.113.77", "Canarybrowser")  # of what follows
EVERY_MEMBER: Body = {  # what a create may say of its customer
    "customer": {"id": "c-1", "name": "Asha Rao", "email": "a@shop.example", "phone": "+49 30 1234"},
    "billing": _PARTY,
    "shipping": _PARTY,
    "browser": {"ip": "203.0.113.77", "user_agent": "Canarybrowser/1.0", "time_zone_offset": -330},
    "channel": "web",
    "statement_descriptor": "SHOP.EXAMPLE",
}


def card(number: str = APPROVED_CARD, **changes: Any) -> Body:
    """A card as `payment_method`."""
    return {
        "type": "card",
        "card": {"number": number, "exp_month": 12, "exp_year": 2030, "cvc": CVC, **changes},
    }


def order(**changes: Any) -> Body:
    """The body of a create."""
    return {"amount": 1099, "currency": "INR", "payment_method": card(), **changes}


def fresh_key() -> str:
    """An idempotency key that nobody used."""
    return f"test-{uuid.uuid4()}"


@dataclass(frozen=True)
class Merchant:
    """A client with one API key, which asks again where a machine that stood still gave it 429, 503 or 504.

    What ends in `ed` has the definite answer, however long that takes, and checks it.
    """

    client: httpx.AsyncClient

    async def ask(
        self, path: str, body: Body | None = None, *, key: str | None = None, **headers: str
    ) -> httpx.Response:
        """What one request is answered, whatever that is."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"Idempotency-Key": key or fresh_key(), **named}
        return await self.client.post(path, json=body or {}, headers=sent)

    async def post(
        self, path: str, body: Body | None = None, *, key: str | None = None, **headers: str
    ) -> httpx.Response:
        key = key or fresh_key()
        return await said(lambda: self.ask(path, body, key=key, **headers))

    async def get(self, path: str, **query: object) -> httpx.Response:
        asked = {name: str(value) for name, value in query.items()}
        return await said(lambda: self.client.get(path, params=asked))

    async def pay(self, *, key: str | None = None, **changes: Any) -> httpx.Response:
        return await self.post("/v1/payments", order(**changes), key=key)

    async def paid(self, *, key: str | None = None, **changes: Any) -> Body:
        """A payment that was captured at once, or authorized with `capture_method="manual"`."""
        return await self._done("/v1/payments", order(**changes), 201, key=key)

    async def authorized(self, **changes: Any) -> Body:
        return await self.paid(capture_method="manual", **changes)

    async def capture(
        self, payment: Body, body: Body | None = None, *, key: str | None = None
    ) -> httpx.Response:
        return await self.post(f"/v1/payments/{payment['id']}/capture", body, key=key)

    async def captured(self, payment: Body, **body: Any) -> Body:
        return await self._done(f"/v1/payments/{payment['id']}/capture", body, 200)

    async def void(
        self, payment: Body, body: Body | None = None, *, key: str | None = None
    ) -> httpx.Response:
        return await self.post(f"/v1/payments/{payment['id']}/void", body, key=key)

    async def voided(self, payment: Body) -> Body:
        return await self._done(f"/v1/payments/{payment['id']}/void", {}, 200)

    async def refund(
        self, payment: Body, body: Body | None = None, *, key: str | None = None
    ) -> httpx.Response:
        return await self.post(f"/v1/payments/{payment['id']}/refunds", body, key=key)

    async def refunded(self, payment: Body, **body: Any) -> Body:
        return await self._done(f"/v1/payments/{payment['id']}/refunds", body, 201)

    async def payment(self, payment: Body) -> Body:
        """The payment as it is now."""
        return answered(await self.get(f"/v1/payments/{payment['id']}"), 200)

    async def events(self, payment: Body) -> list[Body]:
        """The payment's events, oldest first, their sequence without gaps."""
        page = answered(await self.get(f"/v1/payments/{payment['id']}/events", limit=EVENTS_MAX), 200)
        found: list[Body] = page["data"]
        assert [event["sequence"] for event in found] == list(range(1, len(found) + 1))
        return found

    async def timeline(self, payment: Body) -> list[str]:
        """The types of the payment's events."""
        return [event["type"] for event in await self.events(payment)]

    async def settled(self, payment: Body) -> Body:
        """The payment, once nothing about it is unknown."""

        async def known() -> Body:
            now = await self.payment(payment)
            assert now["status"] not in ("init", "processing"), now
            assert now["pending_operation"] is None, now
            return now

        return await eventually(known, SETTLED_WITHIN_S)

    async def _done(self, path: str, body: Body, status: int, *, key: str | None = None) -> Body:
        """The body of the definite answer."""
        key = key or fresh_key()
        return answered(await outcome(lambda: self.post(path, body, key=key)), status)


@asynccontextmanager
async def merchant_with(api_url: str, api_key: str) -> AsyncIterator[Merchant]:
    """A merchant's client while the block runs."""
    async with httpx.AsyncClient(
        base_url=api_url,
        headers={"Authorization": f"Bearer {api_key}"},
        trust_env=False,
        timeout=ANSWERED_WITHIN_S,
        limits=httpx.Limits(max_connections=50),
    ) as client:
        yield Merchant(client)


def answered(response: httpx.Response, status: int) -> Body:
    """The body of an answer with this status."""
    assert response.status_code == status, f"{response.status_code}: {response.text}"
    body: Body = response.json()
    return body


def refused(response: httpx.Response, status: int, code: str) -> Body:
    """The problem document of an answer with this status and code, its shape checked."""
    problem = answered(response, status)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert problem["code"] == code, problem
    assert problem["status"] == status
    assert {"type", "title", "detail", "request_id"} <= problem.keys()
    return problem


def pointers(problem: Body) -> set[str]:
    """Where the problem says that something is wrong."""
    return {mistake["pointer"] for mistake in problem["errors"]}

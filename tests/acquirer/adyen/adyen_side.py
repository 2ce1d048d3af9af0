"""A client of the sandbox's Adyen dialect, and the server to which its webhooks go."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from acquirer_process import Acquirer

from tests.support.eventually import eventually
from tests.witnesses.adyen_models import CHECKOUT, AdyenModels

ACCOUNT, COMPANY = "AcmeECOM", "Acme"
API_KEY = "AQEadyen.sandbox.key-0001"
HMAC_KEY = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"
USER, PASSWORD = "acme", "a password"
RETURN_URL = "https://shop.example/back?order=7"
WAIT_S = 60

Json = dict[str, Any]

EXCHANGES: list[httpx.Response] = []
"""What the test at hand sent and was answered: `conftest.py` has it judged by Adyen's own library."""


@dataclass
class WebhookSide:
    """Takes webhooks, and answers 200, or what is next in `answers`."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    bodies: list[Json] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)

    def items(self, reference: str) -> list[Json]:
        """Those about one payment, or one modification, by the merchant's reference."""
        found = [body["notificationItems"][0]["NotificationRequestItem"] for body in self.bodies]
        return [item for item in found if item["merchantReference"] == reference]

    async def has(self, reference: str, *events: str) -> list[Json]:
        """The webhooks with this reference, once they are these."""

        async def they_are() -> bool:
            return [item["eventCode"] for item in self.items(reference)] == list(events)

        await eventually(they_are, WAIT_S)
        return self.items(reference)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = dict(line.split(": ", 1) for line in head.splitlines()[1:-1])
            headers = {name.lower(): value for name, value in headers.items()}
            self.bodies.append(json.loads(await reader.readexactly(int(headers["content-length"]))))
            self.authorizations.append(headers.get("authorization", ""))
            answer = self.answers.pop(0) if self.answers else 200
            writer.write(f"HTTP/1.1 {answer} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def webhook_side() -> AsyncIterator[WebhookSide]:
    """It listens on a free port while the block runs."""
    side = WebhookSide()
    server = await asyncio.start_server(side.serve, "127.0.0.1", 0)
    side.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/adyen"
    try:
        yield side
    finally:
        server.close()


@dataclass
class AdyenSide:
    """A merchant at the sandbox's Adyen."""

    acquirer: Acquirer
    webhooks: WebhookSide
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def new(self) -> str:
        return f"ref{next(self._numbers)}"

    async def set_up(self, **members: Any) -> str:
        """An account of its own for what is not as by default; its code."""
        code = members.pop("id", ACCOUNT)
        webhook = {"url": self.webhooks.url, "hmac_key": HMAC_KEY, "username": USER, "password": PASSWORD}
        own = {"id": code, "company": COMPANY, "api_keys": [API_KEY], "webhook": webhook, **members}
        response = await self.acquirer.client.put(f"/adyen/accounts/{code}", json=own)
        assert response.status_code == 200, response.text
        return str(code)

    async def post(
        self, path: str, body: Any, *, key: str | None = None, api_key: str = API_KEY
    ) -> httpx.Response:
        headers = {"X-API-Key": api_key} | ({} if key is None else {"Idempotency-Key": key})
        response = await self.acquirer.client.post(f"/adyen/v72{path}", json=body, headers=headers)
        EXCHANGES.append(response)
        return response

    def payment(self, reference: str, **changes: Any) -> Json:
        """A manual card payment of 10.99 USD."""
        method = changes.pop("method", {})
        card = {"type": "scheme", "number": "4111111111111111", "expiryMonth": "03", "expiryYear": "2030"}
        return {
            "merchantAccount": ACCOUNT,
            "amount": {"currency": "USD", "value": 1099},
            "reference": reference,
            "returnUrl": RETURN_URL,
            "paymentMethod": {**card, "cvc": "737", "holderName": "J. Smith", **method},
            "additionalData": {"manualCapture": "true"},
            **changes,
        }

    def automatic(self, reference: str, **changes: Any) -> Json:
        return self.payment(reference, additionalData={}, captureDelayHours=0, **changes)

    def upi(self, reference: str, type: str, **changes: Any) -> Json:
        own = {"amount": {"currency": "INR", "value": 5000}, "captureDelayHours": 0, "additionalData": {}}
        body = {**self.payment(reference), **own, **changes}
        return {**body, "paymentMethod": {"type": type, **changes.get("paymentMethod", {})}}

    async def paid(self, body: Json) -> Json:
        return done(await self.post("/payments", body))

    async def modify(self, psp: str, what: str, amount: int | None = None, **changes: Any) -> Json:
        """A modification with a reference of its own; its answer."""
        money = {} if amount is None else {"amount": {"currency": "USD", "value": amount}}
        body = {"merchantAccount": ACCOUNT, "reference": self.new(), **money, **changes}
        return done(await self.post(f"/payments/{psp}/{what}", body), 201)

    async def told(self, psp: str, what: str, event: str, amount: int | None = None, **changes: Any) -> Json:
        """The webhook that says what became of a modification."""
        answer = await self.modify(psp, what, amount, **changes)
        return (await self.webhooks.has(answer["reference"], event))[0]

    async def moved(self, reference: str) -> list[tuple[str, int]]:
        """What the ledger has of a payment."""
        entries = await self.acquirer.ledger(payment_reference=reference)
        return [(entry["operation"], entry["amount"]) for entry in entries]

    async def authenticated(self, action: Json, decision: str) -> str:
        """What the shopper brings back from the bank's page."""
        response = await self.acquirer.client.post(action["url"], data={"decision": decision})
        assert response.status_code == 303, response.text
        location = httpx.URL(response.headers["location"])
        assert str(location).startswith(RETURN_URL)
        return location.params["redirectResult"]

    async def details(self, result: str, *, key: str | None = None) -> httpx.Response:
        return await self.post("/payments/details", {"details": {"redirectResult": result}}, key=key)


def done(response: httpx.Response, status_code: int = 200) -> Json:
    assert response.status_code == status_code, response.text
    body: Json = response.json()
    return body


def refused(response: httpx.Response, status_code: int) -> Json:
    """The error, with the five members that errors have."""
    body = done(response, status_code)
    assert set(body) == {"status", "errorCode", "message", "errorType", "pspReference"}
    assert body["status"] == status_code
    return body


_MODELS = {
    "paymentMethods": ("PaymentMethodsRequest", "PaymentMethodsResponse"),
    "payments": ("PaymentRequest", "PaymentResponse"),
    "details": ("PaymentDetailsRequest", "PaymentDetailsResponse"),
    "captures": ("PaymentCaptureRequest", "PaymentCaptureResponse"),
    "refunds": ("PaymentRefundRequest", "PaymentRefundResponse"),
    "reversals": ("PaymentReversalRequest", "PaymentReversalResponse"),
    "cancels": ("PaymentCancelRequest", "PaymentCancelResponse"),
    "/cancels": ("StandalonePaymentCancelRequest", "StandalonePaymentCancelResponse"),
}


def violations(models: AdyenModels, response: httpx.Response) -> list[str]:
    """What Adyen's library says against an answer; against the request too, if it was accepted."""
    path = response.request.url.path.removeprefix("/adyen/v72")
    name = path if path == "/cancels" else path.rpartition("/")[2]
    try:
        body = response.json()
    except ValueError:  # the faults `garbage`, `html`, `redirect`
        return []
    if not response.is_success:
        return [] if response.status_code == 404 else models.judged(CHECKOUT, "ServiceError", body)
    request, answer = _MODELS[name]
    return models.judged(CHECKOUT, answer, body) + models.judged(
        CHECKOUT, request, json.loads(response.request.content)
    )

"""A client of the sandbox's Stripe dialect, and the server to which its events go."""

import asyncio
import hashlib
import hmac
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from acquirer_process import Acquirer

from devstack.acquirer.stripe import form
from tests.witnesses.stripe_spec import StripeSpec

ACCOUNT = "acct_1Acme"
SECRET_KEY = "sk_test_acme0000000000000001"
WEBHOOK_SECRET = "whsec_acme_first_generation"
CARD = "4242424242424242"

Json = dict[str, Any]

EXCHANGES: list[httpx.Response] = []
"""What the test at hand sent and was answered: `conftest.py` has it judged by Stripe's own document."""


@dataclass
class StripeSide:
    """Sends forms, as a merchant with this key does."""

    acquirer: Acquirer
    key: str = SECRET_KEY
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def post(self, path: str, form: Json | None = None, *, key: str | None = None) -> httpx.Response:
        own = {} if key is None else {"Idempotency-Key": key}
        response = await self.acquirer.client.post(
            f"/stripe/v1{path}", data=form or {}, headers=self.headers() | own
        )
        EXCHANGES.append(response)
        return response

    async def get(self, path: str, **query: Any) -> httpx.Response:
        response = await self.acquirer.client.get(f"/stripe/v1{path}", params=query, headers=self.headers())
        EXCHANGES.append(response)
        return response

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}", "Stripe-Version": "2026-08-26.dahlia"}

    async def method(self, number: str = CARD, **more: str) -> str:
        form = {"type": "card", "card[number]": number, "card[exp_month]": "12", "card[exp_year]": "2030"}
        own_id: str = done(await self.post("/payment_methods", {**form, "card[cvc]": "973", **more}))["id"]
        return own_id

    async def intent(self, **changes: str) -> Json:
        """An unconfirmed one, with a reference of its own."""
        number = next(self._numbers)
        form = {
            "amount": "1099",
            "currency": "usd",
            "capture_method": "manual",
            "metadata[payonce_reference]": f"ref-{number}",
            "metadata[payonce_payment]": f"pay_{number}",
        }
        return done(await self.post("/payment_intents", form | changes))

    async def confirm(self, own_id: str, method: str = "pm_card_visa", **more: str) -> httpx.Response:
        form = {"payment_method": method, "expand[]": "latest_charge", **more}
        return await self.post(f"/payment_intents/{own_id}/confirm", form)

    async def paid(self, method: str = "pm_card_visa", **changes: str) -> Json:
        """One that was confirmed."""
        intent = await self.intent(**changes)
        return done(await self.confirm(intent["id"], method))

    async def captured(self, method: str = "pm_card_visa", **changes: str) -> Json:
        return await self.paid(method, **{"capture_method": "automatic", **changes})

    async def shown(self, own_id: str) -> Json:
        return done(await self.get(f"/payment_intents/{own_id}", **{"expand[]": "latest_charge"}))


def done(response: httpx.Response) -> Json:
    assert response.status_code == 200, response.text
    body: Json = response.json()
    return body


def error(response: httpx.Response, status_code: int) -> Json:
    """The error's members."""
    assert response.status_code == status_code, response.text
    body: Json = response.json()["error"]
    return body


def violations(spec: StripeSpec, response: httpx.Response) -> list[str]:
    """What Stripe's document says against an answer; against the request too, if it was accepted."""
    request = response.request
    path = request.url.path.removeprefix("/stripe")
    if not response.headers.get("content-type", "").startswith("application/json"):
        return []
    try:
        body = response.json()
    except ValueError:  # the fault `garbage`
        return []
    found = spec.answer(request.method, path, response.status_code, body)
    if response.status_code == 200:
        text = request.content.decode() or request.url.query.decode()
        found += spec.request(request.method, path, form.decoded(text))
    return found


async def set_up(acquirer: Acquirer, **members: Any) -> None:
    """The acquirer plays the account; without `keys` it has one secret key."""
    own = {"id": ACCOUNT, "keys": [{"key": SECRET_KEY}], **members}
    response = await acquirer.client.put(f"/stripe/accounts/{own['id']}", json=own)
    assert response.status_code == 200, response.text


@dataclass
class EventsSide:
    """Takes events, with their headers, and answers 200, or what is next in `answers`."""

    answers: list[int] = field(default_factory=list)
    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def signatures(self) -> list[str]:
        """Stripe's."""
        return [headers["stripe-signature"] for headers in self.headers]

    def events(self) -> list[Json]:
        return [json.loads(body) for body in self.bodies]

    def types(self) -> list[str]:
        return [event.get("type") or event["event"] for event in self.events()]

    async def has(self, type: str) -> bool:
        return type in self.types()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = dict(line.split(": ", 1) for line in head.splitlines()[1:-1])
            headers = {name.lower(): value for name, value in headers.items()}
            self.bodies.append(await reader.readexactly(int(headers["content-length"])))
            self.headers.append(headers)
            answer = self.answers.pop(0) if self.answers else 200
            writer.write(f"HTTP/1.1 {answer} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def events_side(*answers: int) -> AsyncIterator[EventsSide]:
    """It listens on a free port while the block runs."""
    side = EventsSide(list(answers))
    server = await asyncio.start_server(side.serve, "127.0.0.1", 0)
    side.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/events"
    try:
        yield side
    finally:
        server.close()


def signed_by(header: str, body: bytes, secret: str) -> bool:
    """Whether one of the header's `v1` is the secret's over time and body. Source: webhooks/signature."""
    parts = [part.split("=", 1) for part in header.split(",")]
    moment = next(value for name, value in parts if name == "t")
    expected = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return expected in [value for name, value in parts if name == "v1"]

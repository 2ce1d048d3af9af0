"""A client of the sandbox's Razorpay dialect, which also plays its customers and its banks."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from acquirer_process import Acquirer, eventually

ACCOUNT = "acc_Acme0000000001"
KEY_ID, KEY_SECRET = "rzp_test_Acme0000000001", "acme-secret-first-generation"
WEBHOOK_SECRET = "acme-webhook-first-generation"
CARD, DECLINED_CARD = "4100280000001007", "4100280000060003"
CALLBACK_URL = "http://127.0.0.1:9/back"
BROWSER = {
    "java_enabled": False,
    "javascript_enabled": True,
    "timezone_offset": -330,
    "screen_width": 1280,
    "screen_height": 800,
    "color_depth": 24,
}

Json = dict[str, Any]


@dataclass
class RazorpaySide:
    """Sends JSON, as a merchant with this key does."""

    acquirer: Acquirer
    key_id: str = KEY_ID
    secret: str = KEY_SECRET
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def post(self, path: str, body: Json, **headers: str) -> httpx.Response:
        auth = httpx.BasicAuth(self.key_id, self.secret)
        return await self.acquirer.client.post(f"/razorpay/v1{path}", json=body, auth=auth, headers=headers)

    async def get(self, path: str, **query: Any) -> httpx.Response:
        auth = httpx.BasicAuth(self.key_id, self.secret)
        return await self.acquirer.client.get(f"/razorpay/v1{path}", params=query, auth=auth)

    def order_body(self, *, capture: str = "automatic", **changes: Any) -> Json:
        number = next(self._numbers)
        options = {"automatic_expiry_period": 12, "manual_expiry_period": 7200, "refund_speed": "normal"}
        return {
            "amount": 1099,
            "currency": "INR",
            "receipt": f"pay_{number}",
            "payment": {"capture": capture, "capture_options": options},
            **changes,
        }

    async def order(self, *, capture: str = "automatic", **changes: Any) -> Json:
        return done(await self.post("/orders", self.order_body(capture=capture, **changes)))

    def payment_body(self, order: Json, **changes: Any) -> Json:
        return {
            "amount": order["amount"],
            "currency": order["currency"],
            "order_id": order["id"],
            "email": "asha@example.com",
            "contact": "+919000090000",
            "ip": "203.0.113.7",
            "callback_url": CALLBACK_URL,
            **changes,
        }

    def card_body(self, order: Json, *, number: str = CARD, **changes: Any) -> Json:
        card = {"number": number, "name": "Asha", "expiry_month": "12", "expiry_year": "30", "cvv": "973"}
        body = self.payment_body(order, method="card", card=card, browser=BROWSER, user_agent="Mozilla/5.0")
        return {**body, **changes}

    async def asked(self, order: Json, *, number: str = CARD, **changes: Any) -> str:
        """The id of a card payment whose holder was asked."""
        answer = done(
            await self.post("/payments/create/json", self.card_body(order, number=number, **changes))
        )
        own_id: str = answer["razorpay_payment_id"]
        return own_id

    async def by_upi(self, order: Json, upi: Json | None = None, **changes: Any) -> str:
        body = self.payment_body(order, method="upi", upi=upi or {"flow": "intent"}, **changes)
        own_id: str = done(await self.post("/payments/create/upi", body))["razorpay_payment_id"]
        return own_id

    async def paid(self, *, number: str = CARD, decision: str = "success", **changes: Any) -> Json:
        """A card payment that was answered, of an order with these changes."""
        own_id = await self.asked(await self.order(**changes), number=number)
        await self.decide(own_id, decision)
        return await self.shown(own_id)

    async def decide(self, own_id: str, decision: str) -> Json:
        """What the customer does on the bank's page, done by a program."""
        path = f"/razorpay/v1/payments/{own_id.removeprefix('pay_')}/authenticate"
        headers = {"Accept": "application/json"}
        return done(await self.acquirer.client.post(path, data={"decision": decision}, headers=headers))

    async def bank(self, own_id: str, said: str) -> Json:
        return done(await self.acquirer.client.post(f"/razorpay/payments/{own_id}", json={"bank": said}))

    async def shown(self, own_id: str) -> Json:
        return done(await self.get(f"/payments/{own_id}"))

    async def becomes(self, own_id: str, status: str) -> None:
        async def has_become() -> bool:
            return bool((await self.shown(own_id))["status"] == status)

        await eventually(has_become)

    async def movements(self, payment_reference: str) -> list[str]:
        entries = await self.acquirer.ledger(payment_reference=payment_reference)
        return [entry["operation"] for entry in entries]


def done(response: httpx.Response) -> Json:
    assert response.status_code == 200, response.text
    body: Json = response.json()
    return body


def error(response: httpx.Response, status_code: int = 400) -> Json:
    """The error's members."""
    assert response.status_code == status_code, response.text
    body: Json = response.json()["error"]
    assert {"code", "description", "source", "step", "reason", "metadata"} <= set(body)
    return body


async def set_up(acquirer: Acquirer, **members: Any) -> None:
    """The acquirer plays the account; without `keys` it has one."""
    own = {"id": ACCOUNT, "keys": [{"id": KEY_ID, "secret": KEY_SECRET}], **members}
    response = await acquirer.client.put(f"/razorpay/accounts/{own['id']}", json=own)
    assert response.status_code == 200, response.text

"""A merchant that behaves as the contract asks: it sends a request again, with the same key, until it is answered."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from devstack.stack import DevStack
from devstack.state import State
from payonce.domain.ids import IdFactory
from payonce.settings import Settings
from tests.support.asking import ASK_AGAIN_S, is_definite

T = TypeVar("T")
Json = dict[str, Any]

WITHIN_S = 90.0  # an unknown outcome is resolved within 60 s
REQUEST_S = 15.0  # every request is answered within 10 s
KEYS_MAX = 3
NEVER_SENT = ("card_data_lost", "not_processed")  # how a create ends whose sender was in trouble
AMOUNT = 1099
CARD = {
    "type": "card",
    "card": {"number": "4242424242424242", "exp_month": 12, "exp_year": 2030, "cvc": "123"},
}


@dataclass(frozen=True)
class Shop:
    """One merchant's requests, to the API at `url`; ids are known before the request is sent."""

    url: str
    client: httpx.AsyncClient
    merchant_id: str
    ids: IdFactory
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def at(self, url: str) -> "Shop":
        """The same merchant at another process."""
        return Shop(url, self.client, self.merchant_id, self.ids, self.numbers)

    def key(self, word: str = "key") -> str:
        """An idempotency key that was not used before."""
        return f"{word}-{next(self.numbers)}"

    def payment_id(self, key: str) -> str:
        """The id of the payment that a create with this key makes."""
        return self.ids.payment(merchant_id=self.merchant_id, mode="test", key=key)

    async def post(
        self, path: str, body: Json, *, key: str, prefer: str | None = None
    ) -> httpx.Response | None:
        """One request; None when no answer came."""
        headers = {"Idempotency-Key": key} | ({"Prefer": prefer} if prefer else {})
        try:
            return await self.client.post(self.url + path, json=body, headers=headers)
        except httpx.TransportError:
            return None

    async def answered(
        self, path: str, body: Json, *, key: str, within_s: float = WITHIN_S
    ) -> httpx.Response:
        """The definite answer, after as many requests with the same key as it takes."""

        latest = "no answer"

        async def ask() -> httpx.Response | None:
            nonlocal latest
            response = await self.post(path, body, key=key)
            if response is None:
                return None
            latest = f"{response.status_code} {response.text}"
            return response if is_definite(response) else None

        try:
            return await patiently(ask, within_s=within_s)
        except AssertionError as error:
            error.add_note(f"{path} {body} under {key}: {latest}")
            raise

    async def create(self, key: str, **members: Any) -> httpx.Response | None:
        """One create request."""
        return await self.post("/v1/payments", new_payment(**members), key=key)

    async def created(self, *, key: str | None = None, **members: Any) -> str:
        """The id of a payment that was answered 201, under another key where an overload lost the first card."""
        for _ in range(KEYS_MAX):
            key = key or self.key("create")
            response = await self.answered("/v1/payments", new_payment(**members), key=key)
            if response.status_code == 201:
                return str(response.json()["id"])
            assert response.json()["payment"]["last_error"]["code"] in NEVER_SENT, response.text
            key = None
        raise AssertionError(f"no payment under {KEYS_MAX} keys: {response.text}")

    async def authorized(self, **members: Any) -> str:
        """The id of a payment that waits for its capture."""
        return await self.created(capture_method="manual", **members)

    async def get(self, path: str, **query: str) -> Json:
        """What a GET shows, asking again while the API is not there."""

        async def ask() -> httpx.Response | None:
            try:
                response = await self.client.get(self.url + path, params=query)
            except httpx.TransportError:
                return None
            return None if response.status_code in (503, 504) else response

        response = await patiently(ask, within_s=WITHIN_S)
        assert response.status_code == 200, response.text
        body: Json = response.json()
        return body

    async def payment(self, payment_id: str) -> Json:
        return await self.get(f"/v1/payments/{payment_id}")

    async def events(self, payment_id: str) -> list[Json]:
        """Oldest first."""
        events: list[Json] = (await self.get(f"/v1/payments/{payment_id}/events", limit="100"))["data"]
        return events

    async def refunds(self, payment_id: str) -> list[Json]:
        refunds: list[Json] = (await self.get(f"/v1/payments/{payment_id}/refunds", limit="100"))["data"]
        return refunds


@asynccontextmanager
async def open_shop(stack: DevStack, *, number: int = 0) -> AsyncIterator[Shop]:
    """The stack's merchant `number` (from 0), with connections that are not kept: processes come and go."""
    merchant = State.load(stack.options.directory / "state.json").merchants[number]
    environ = {
        key[8:].lower(): value for key, value in stack.product_environ().items() if key[:8] == "PAYONCE_"
    }
    secret = Settings.model_validate(
        {name: environ[name] for name in ("database_url", "redis_url", "temporal_address", "derivation_key")}
    ).secret_for("ids")
    client = httpx.AsyncClient(
        headers={"Authorization": f"Bearer {merchant.key}"},
        limits=httpx.Limits(max_keepalive_connections=0),
        timeout=REQUEST_S,
        trust_env=False,
    )
    async with client:
        yield Shop(stack.api_url, client, merchant.id, IdFactory(secret, cell="a"))


def new_payment(**members: Any) -> Json:
    """The body of a create."""
    return {"amount": AMOUNT, "currency": "INR", "payment_method": CARD} | members


async def patiently(check: Callable[[], Awaitable[T | None]], *, within_s: float) -> T:
    """The first true value that `check` gives, asked four times a second. Raises `AssertionError`."""
    deadline = time.monotonic() + within_s
    while True:
        value = await check()
        if value:
            return value
        assert time.monotonic() < deadline, f"still {value!r} after {within_s:g} s"
        await asyncio.sleep(ASK_AGAIN_S)

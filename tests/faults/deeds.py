"""What a merchant asks for: one request of each kind, on a payment that was made ready for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.faults.books import Books
from tests.faults.shop import WITHIN_S, Json, Shop, new_payment, patiently

NOT_NOW = (429, 503)
AUTHORIZED, CAPTURED = ["authorize"], ["authorize", "capture"]


@dataclass(frozen=True)
class Deed:
    """A kind of request, and what it moves when it succeeds."""

    name: str
    kind: str
    status: int
    before: list[str]  # the movements of the payment that it is about
    moves: list[str]
    path: str = ""  # below the payment; of a create there is none
    members: Mapping[str, Any] = field(default_factory=dict)

    async def prepare(self, shop: Shop, **members: Any) -> "Asked":
        """The request, ready to be sent, and the payment that it is about."""
        if not self.path:
            key = shop.key(self.name)
            body = new_payment(**self.members, **members)
            return Asked(self, key, shop.payment_id(key), "/v1/payments", body)
        method = "automatic" if self.before == CAPTURED else "manual"
        return self.ask(shop, await shop.created(capture_method=method, **members))

    def ask(self, shop: Shop, payment_id: str) -> "Asked":
        """The request about a payment that is there, ready to be sent."""
        path = f"/v1/payments/{payment_id}/{self.path}"
        return Asked(self, shop.key(self.name), payment_id, path, dict(self.members))


@dataclass(frozen=True)
class Asked:
    """One request under one key."""

    deed: Deed
    key: str
    payment_id: str
    path: str
    body: Json

    async def send(self, shop: Shop) -> httpx.Response | None:
        """The request is sent once."""
        return await shop.post(self.path, self.body, key=self.key)

    async def admitted(self, shop: Shop) -> httpx.Response:
        """The first answer that is not "not now"."""

        async def ask() -> httpx.Response | None:
            response = await self.send(shop)
            return response if response is not None and response.status_code not in NOT_NOW else None

        return await patiently(ask, within_s=WITHIN_S)

    async def answered(self, shop: Shop) -> httpx.Response:
        """The definite answer to the request."""
        return await shop.answered(self.path, self.body, key=self.key)

    def check_done(self, response: httpx.Response, books: Books) -> None:
        """It did what it was asked for, once."""
        assert response.status_code == self.deed.status, response.text
        assert response.json().get("status") != "failed", response.text
        assert books.movements == self.deed.before + self.deed.moves

    def check_undone(self, response: httpx.Response, books: Books, *, code: str) -> None:
        """It did nothing, and the answer says why."""
        said = response.json()
        if self.deed.kind != "refund":
            assert response.status_code == 402, response.text
            said = said["payment"]
        assert said["last_error"]["code"] == code, response.text
        assert books.movements == self.deed.before


AUTOMATIC = Deed("automatic", "authorize", 201, [], CAPTURED)
MANUAL = Deed("manual", "authorize", 201, [], AUTHORIZED, members={"capture_method": "manual"})
CAPTURE = Deed("capture", "capture", 200, AUTHORIZED, ["capture"], path="capture")
VOID = Deed("void", "void", 200, AUTHORIZED, ["void"], path="void")
REFUND = Deed("refund", "refund", 201, CAPTURED, ["refund"], path="refunds", members={"amount": 300})
DEEDS = (AUTOMATIC, MANUAL, CAPTURE, VOID, REFUND)

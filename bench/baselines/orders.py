"""The same payment for every baseline: the body as public samples declare it, and the rows that it becomes."""

import os
from datetime import UTC, datetime

from pydantic import BaseModel

from api.admission.requests import NewPayment, Post
from payonce.connectors.base import Connector
from payonce.domain.cards import Card
from payonce.domain.routing import Route
from payonce.runtime import Runtime
from payonce.storage.merchants import Caller

MERCHANT_VARIABLE = "BENCH_MERCHANT_ID"
MODE = "test"


class CardBody(BaseModel):
    number: str
    exp_month: int
    exp_year: int
    cvc: str | None = None


class MethodBody(BaseModel):
    type: str
    card: CardBody


class OrderBody(BaseModel):
    amount: int
    currency: str
    capture_method: str
    payment_method: MethodBody
    merchant_reference: str | None = None


class Always:
    """A right to send that nothing limits: these baselines claim nothing."""

    def __call__(self) -> bool:
        return True

    def left_s(self) -> float:
        return 5.0

    def held_s(self) -> float:
        return 0.0


def card_of(order: OrderBody) -> Card:
    card = order.payment_method.card
    return Card(number=card.number, exp_month=card.exp_month, exp_year=card.exp_year, cvc=card.cvc)


def new_payment(order: OrderBody) -> NewPayment:
    """The order as admission takes it."""
    card = card_of(order)
    visible = {
        "brand": card.brand,
        "last4": card.last4,
        "exp_month": card.exp_month,
        "exp_year": card.exp_year,
    }
    return NewPayment(
        amount_minor=order.amount,
        currency=order.currency,
        capture_method=order.capture_method,
        card=card,
        payment_method={"type": "card", "card": visible},
        merchant_reference=order.merchant_reference,
    )


def post_of(key: str) -> Post:
    """The request as the product would have understood it; the merchant is the bench's."""
    caller = Caller(merchant_id=os.environ[MERCHANT_VARIABLE], mode=MODE)
    return Post(caller=caller, key=key, fingerprint=bytes(32), request_id=f"req_{key}")


def route_of(runtime: Runtime) -> tuple[Route, Connector]:
    """The sandbox's account for cards."""
    (account_id,) = runtime.accounts.called("sandbox_card")
    return Route("sandbox_card", account_id), runtime.accounts.connectors[account_id]


def now() -> datetime:
    return datetime.now(UTC)

"""`payonce trigger payment.captured`: makes the real requests, in the sandbox, that lead to an event."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import httpx
import typer

from payonce.cli.api import ApiKey, ApiUrl, api_client, detail_of
from payonce.cli.base import CommandRefused

REQUEST_S: Final = 15.0
EVENT_S: Final = 120.0  # an unknown outcome is found out within 60 s
POLL_S: Final = 0.3
AMOUNT_MINOR, PART_MINOR, CURRENCY = 1099, 599, "INR"
APPROVED, DECLINED = "4242424242424242", "4000000000000002"
LOST_ANSWER: Final = {"sandbox_fault": "error_after_charge"}  # executed, and nobody is told
TAKEN_BACK: Final = {"sandbox_fault": "undo_capture:1"}  # by the acquirer, a second after it was captured
UPI: Final = {"type": "upi", "upi": {"flow": "intent"}}
LOST_REQUEST: Final = {"sandbox_fault": "timeout_before_charge"}  # not executed, and nobody is told

Body = dict[str, Any]
Recipe = Callable[["Shop"], Awaitable[str]]


def trigger(
    event: Annotated[str, typer.Argument(help="The type of the event, such as payment.captured.")],
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
) -> None:
    """Make the payment in the sandbox that leads to an event, and wait for it."""
    recipe = recipe_for(event)
    client = api_client(api_url, api_key, timeout=httpx.Timeout(REQUEST_S))
    try:
        asyncio.run(_make(client, recipe, event))
    except httpx.HTTPError as error:
        raise CommandRefused(
            f"the API at {client.base_url} does not answer ({type(error).__name__})"
        ) from error


def recipe_for(event: str) -> Recipe:
    """The requests that lead to the event. Raises `CommandRefused`, with what can be had."""
    if recipe := RECIPES.get(event):
        return recipe
    why = IMPOSSIBLE.get(event, "there is no such event")
    raise CommandRefused(f"{event}: {why}. These can be triggered: {', '.join(RECIPES)}")


@dataclass(frozen=True, slots=True)
class Shop:
    """A merchant who pays itself with test cards, and says what it did."""

    client: httpx.AsyncClient

    async def pay(self, number: str = APPROVED, **changes: Any) -> str:
        """A payment's id, whatever became of it."""
        card = {"number": number, "exp_month": 12, "exp_year": datetime.now(UTC).year + 4, "cvc": "123"}
        body = {
            "amount": AMOUNT_MINOR,
            "currency": CURRENCY,
            "payment_method": {"type": "card", "card": card},
            "description": "payonce trigger",
            **changes,
        }
        made = await self._post("/v1/payments", body)
        payment = made.get("payment", made)  # of a decline it is inside
        _say("payment", payment)
        return str(payment["id"])

    async def authorize(self) -> str:
        return await self.pay(capture_method="manual")

    async def capture(self, payment_id: str, **body: Any) -> None:
        _say("captured", await self._post(f"/v1/payments/{payment_id}/capture", body))

    async def void(self, payment_id: str) -> None:
        _say("voided", await self._post(f"/v1/payments/{payment_id}/void", {}))

    async def refund(self, payment_id: str, **body: Any) -> None:
        _say("refund", await self._post(f"/v1/payments/{payment_id}/refunds", body))

    async def event_of(self, payment_id: str, type_: str) -> Body:
        """The payment's first event of the type, once it is there. Raises `CommandRefused` after `EVENT_S`."""
        deadline = time.monotonic() + EVENT_S
        while time.monotonic() < deadline:
            answer = await self.client.get(f"/v1/payments/{payment_id}/events", params={"limit": 100})
            for event in answer.raise_for_status().json()["data"]:
                if event["type"] == type_:
                    found: Body = event
                    return found
            await asyncio.sleep(POLL_S)
        raise CommandRefused(
            f"{payment_id} has no event {type_} after {EVENT_S:.0f} s; do a worker and the API run?"
        )

    async def _post(self, path: str, body: Body) -> Body:
        """The object in the answer, a declined payment's too. Raises `CommandRefused` for anything else."""
        headers = {"Idempotency-Key": f"trigger-{secrets.token_hex(12)}"}
        answer = await self.client.post(path, json=body, headers=headers)
        if not answer.is_success and answer.status_code != httpx.codes.PAYMENT_REQUIRED:
            raise CommandRefused(f"the API answered {answer.status_code}, {detail_of(answer.content)}")
        content: Body = answer.json()
        return content


async def _make(client: httpx.AsyncClient, recipe: Recipe, type_: str) -> None:
    async with client:
        shop = Shop(client)
        event = await shop.event_of(await recipe(shop), type_)
        print(f"{event['id']}  {event['type']}", flush=True)


def _say(what: str, made: Body) -> None:
    print(f"{made['id']}  {what}: {made['status']}", flush=True)


async def _captured_in_part(shop: Shop) -> str:
    payment_id = await shop.authorize()
    await shop.capture(payment_id, amount=PART_MINOR, final=False)
    return payment_id


async def _voided(shop: Shop) -> str:
    payment_id = await shop.authorize()
    await shop.void(payment_id)
    return payment_id


def _refunded(**body: Any) -> Recipe:
    async def recipe(shop: Shop) -> str:
        payment_id = await shop.pay()
        await shop.refund(payment_id, **body)
        return payment_id

    return recipe


RECIPES: Final[Mapping[str, Recipe]] = {
    "payment.requires_action": lambda shop: shop.pay(payment_method=UPI),
    "payment.processing": lambda shop: shop.pay(metadata=LOST_ANSWER),
    "payment.authorized": lambda shop: shop.authorize(),
    "payment.partially_captured": _captured_in_part,
    "payment.captured": lambda shop: shop.pay(),
    "payment.voided": _voided,
    "payment.failed": lambda shop: shop.pay(DECLINED),
    "payment.capture_failed": lambda shop: shop.pay(metadata=TAKEN_BACK),
    "payment.needs_review": lambda shop: shop.pay(metadata=TAKEN_BACK),
    "payment.partially_refunded": _refunded(amount=PART_MINOR),
    "payment.refunded": _refunded(),
    "refund.pending": _refunded(metadata=LOST_ANSWER),
    "refund.succeeded": _refunded(),
    "refund.failed": _refunded(metadata=LOST_REQUEST),
}
IMPOSSIBLE: Final[Mapping[str, str]] = {
    "payment.expired": "an authorization lasts for days, and no request shortens it",
    "payment.late_success": "the sandbox must be set up to break its word, with PATCH {acquirer}/config",
    "payment.review_overdue": "nobody must decide a review until it is due, an hour or more later",
}

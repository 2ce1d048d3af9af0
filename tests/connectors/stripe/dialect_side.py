"""Stripe's connector over the sandbox's Stripe dialect: accounts there, and a harness for the suites."""

import asyncio
import json
import re
from dataclasses import replace
from urllib.parse import parse_qsl

import httpx
from wire_server import WireServer, answer

from payonce.connectors.base import Call, Connector, ConnectorAccount
from payonce.connectors.conformance import Fault
from payonce.connectors.stripe.connector import Stripe
from payonce.domain.cards import Card
from payonce.domain.facts import DeclineCode
from tests.connectors.hurry import SHORT_S
from tests.connectors.played import FAULTS, Played

KEY, WEBHOOK_SECRET, IDENTITY = "sk_test_conformance000000001", "whsec_conformance", "acct_1Conformance"
CELL_SECRET = b"a secret of the cell"

_FAULTS = {**FAULTS, Fault.UNDONE: "undo_refund:0"}


def account(url: str, *, key: str = KEY, **options: str) -> ConnectorAccount:
    return ConnectorAccount(
        id="stripe_test",
        connector="stripe",
        mode="test",
        base_url=url,
        identity=IDENTITY,
        secrets={"key": (key,), "webhook_secret": (WEBHOOK_SECRET,)},
        options={"call_deadline_s": SHORT_S, "copy_metadata": "on", "multicapture": "on", **options},
        upstream_secret=CELL_SECRET,
    )


def card(number: str) -> Card:
    return Card(number=number, exp_month=12, exp_year=2030, cvc="737")


class StripeHarness(Played):
    """`WireHarness` over the dialect."""

    dialect = "/stripe"
    currency = "USD"
    approved_card = card("4242424242424242")
    declined_cards = {  # noqa: RUF012  # a Protocol member, never changed
        DeclineCode.GENERIC_DECLINE: card("4000000000000002"),
        DeclineCode.INSUFFICIENT_FUNDS: card("4000000000009995"),
        DeclineCode.LOST_CARD: card("4000000000009987"),
        DeclineCode.STOLEN_CARD: card("4000000000009979"),
        DeclineCode.EXPIRED_CARD: card("4000000000000069"),
        DeclineCode.INCORRECT_CVC: card("4000000000000127"),
        DeclineCode.PROCESSING_ERROR: card("4000000000000119"),
        DeclineCode.AUTHENTICATION_REQUIRED: card("4000002760003184"),
    }

    async def set_up(self) -> None:
        """The acquirer plays the account."""
        members = {"id": IDENTITY, "keys": [{"key": KEY}], "multicapture": True}
        path, key = f"/stripe/accounts/{IDENTITY}", {"Authorization": "Bearer sandbox-acquirer-key"}
        (await self._witness.put(path, json=members, headers=key)).raise_for_status()

    async def open_unmapped(self) -> Connector:
        return self.open_at((await self._serve(held_for_review)).url)

    def open_at(self, url: str, *, key: str = KEY, **options: str) -> Connector:
        connector = Stripe(account(url, key=key, **{**self.deadline_at(url), **options}))
        self._opened.append(connector)
        return connector

    def key_of(self, request: bytes) -> str:
        found = re.search(rb"(?im)^idempotency-key: (\S+)", request)
        assert found is not None
        return found[1].decode()

    def faulty(self, call: Call, fault: Fault) -> Call:
        self._patience.meets(fault, self._opened)
        if call.kind == "refund":
            return replace(call, operation_metadata={"sandbox_fault": f"refund:{_FAULTS[fault]}"})
        if call.kind == "authorize":
            return replace(call, metadata={"sandbox_fault": _FAULTS[fault]})
        self._mark(call.authorization_reference or "", f"{call.kind}:{_FAULTS[fault]}")
        return call

    def _mark(self, intent_id: str, fault: str) -> None:
        """The intent of a payment whose metadata had the fault from the beginning."""
        httpx.post(
            f"{self.url}/v1/payment_intents/{intent_id}",
            data={"metadata[sandbox_fault]": fault},
            headers={"Authorization": f"Bearer {KEY}"},
            trust_env=False,
            timeout=60,
        ).raise_for_status()

    list_page = "payonce.connectors.stripe.listing.LIST_PAGE"

    async def others_sell(self) -> str:
        form = {"amount": "1099", "currency": "usd", "payment_method": "pm_card_visa", "confirm": "true"}
        sold = await self._witness.post(
            f"{self.url}/v1/payment_intents",
            data={**form, "payment_method_types[]": "card"},
            headers={"Authorization": f"Bearer {KEY}"},
        )
        return str(sold.raise_for_status().json()["id"])


async def held_for_review(
    server: WireServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Something that answers in Stripe's form, with a status of an intent that nobody has heard of."""
    intent: dict[str, object] = {}
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?im)^content-length: ([0-9]+)", head)
        form = dict(parse_qsl((await reader.readexactly(int(length[1]) if length else 0)).decode()))
        if b"POST /v1/payment_methods" in head:
            body: dict[str, object] = {"id": "pm_1", "object": "payment_method", "livemode": False}
        else:
            if "amount" in form:
                intent |= _intent(form)
                server.received = json.dumps(intent).encode()
            body = {**json.loads(server.received), "status": "held_for_review"}
        writer.write(answer(json.dumps(body).encode()))
        await writer.drain()


def _intent(form: dict[str, str]) -> dict[str, object]:
    return {
        "id": "pi_1",
        "object": "payment_intent",
        "created": 1_800_000_000,
        "livemode": False,
        "amount": int(form["amount"]),
        "amount_capturable": 0,
        "amount_received": 0,
        "currency": form["currency"],
        "capture_method": form["capture_method"],
        "metadata": {name[9:-1]: text for name, text in form.items() if name.startswith("metadata[")},
    }

"""Razorpay's connector over the sandbox's Razorpay dialect: accounts there, and a harness for the suites."""

import asyncio
import hashlib
import hmac
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from razorpay_script import BROWSER, CUSTOMER, NOW, order, payment
from wire_server import WireServer, answer

from payonce.connectors.base import Call, Connector, ConnectorAccount
from payonce.connectors.conformance import Fault, yes
from payonce.connectors.conformance_challenge import Did
from payonce.connectors.conformance_customer import decided
from payonce.connectors.razorpay.connector import Razorpay
from payonce.domain.cards import Card
from payonce.domain.facts import Approved, DeclineCode
from payonce.domain.leaving import ACTS_WITHIN
from payonce.domain.operations import OperationKind
from payonce.domain.personal import Party
from tests.connectors.hurry import SHORT_S
from tests.connectors.played import FAULTS as PLAYED_FAULTS
from tests.connectors.played import Played

KEY_ID, SECRET, WEBHOOK_SECRET = "rzp_test_Conformance001", "a-secret-of-the-suite", "whs_of_the_suite"
IDENTITY = "acc_Conformance001"
HASTY, HASTY_KEY_ID = "acc_Hasty000000001", "rzp_test_Hasty000000001"
SANDBOX = {"Authorization": "Bearer sandbox-acquirer-key"}

FAULTS = {**PLAYED_FAULTS, Fault.UNDONE: "undo_refund:0", Fault.REFUSED: "refuse:/amount"}

Now = Callable[[], datetime]


def card(number: str) -> Card:
    return Card(number=number, exp_month=12, exp_year=2030, cvc="737")


APPROVED, DECLINED = card("4100280000001007"), card("4100280000060003")
DECLINED_CARDS = {
    DeclineCode.DO_NOT_HONOR: DECLINED,
    DeclineCode.INSUFFICIENT_FUNDS: card("4100280000080001"),
}


def account(url: str, **options: str) -> ConnectorAccount:
    return ConnectorAccount(
        id="razorpay_test",
        connector="razorpay",
        mode="test",
        base_url=url,
        identity=IDENTITY,
        secrets={"key": (f"{KEY_ID}:{SECRET}",), "webhook_secret": (WEBHOOK_SECRET,)},
        options={
            **{"cards": "on", "upi_collect": "on", "copy_metadata": "on", "call_deadline_s": SHORT_S},
            **options,
        },
        public_url="https://api.example",
        upstream_secret=b"a secret of the cell",
    )


def since() -> datetime:
    return datetime.now(UTC)


class RazorpayHarness(Played):
    """`ChallengeHarness` over the dialect: who is asked has this means of payment."""

    dialect = "/razorpay"
    currency = "INR"
    approved_card = APPROVED
    declined_cards = DECLINED_CARDS
    key_id = KEY_ID

    def __init__(self, method: str, **sandbox: Any) -> None:
        super().__init__(**sandbox)
        self._method = method
        self._numbers: dict[str, Card] = {}

    async def set_up(self) -> None:
        """The acquirer plays the account."""
        own = {"id": IDENTITY, "keys": [{"id": KEY_ID, "secret": SECRET}]}
        webhook = {
            "url": self._refusing_url,
            "secret": WEBHOOK_SECRET,
        }  # what is told is read of the acquirer
        await self._play(
            {**own, "upi_decides_s": 3600, "webhook": webhook}
        )  # nobody answers who is not played

    async def _play(self, members: Mapping[str, Any]) -> None:
        path = f"/razorpay/accounts/{members['id']}"
        (await self._witness.put(path, json=members, headers=SANDBOX)).raise_for_status()

    def open_later(self) -> Razorpay:
        """As `open`, when the customers' time is over: until then a UPI payment that failed may be tried again."""
        return self.open_at(self.url, now=lambda: since() + ACTS_WITHIN)

    def open_hurried(self) -> Razorpay:
        """Whose customers have a second to act: of its own time the rest is over."""
        return self.open_at(self.url, now=lambda: since() - ACTS_WITHIN + timedelta(seconds=1))

    async def open_unmapped(self) -> Razorpay:
        return self.open_at((await self._serve(pondering)).url)

    def open_at(self, url: str, *, now: Now = since, **options: str) -> Razorpay:
        connector = Razorpay(account(url, **self.deadline_at(url), **options), now=now)
        self._opened.append(connector)
        return connector

    def order(self) -> Call:
        return self.asking(APPROVED)

    def asking(self, entered: Card) -> Call:
        payment_id = f"pay_suite{secrets.token_hex(10)}"
        return replace(
            asked_by(self._method, entered),
            reference=f"{payment_id}-1",
            payment_id=payment_id,
            operation_id=payment_id,
        )

    def expiring(self) -> Call:
        return replace(self.order(), metadata={"sandbox_bank": "silent"})

    def unasked(self) -> Call:
        raise NotImplementedError("Razorpay asks every cardholder")

    def softly_declined(self) -> Call:
        raise NotImplementedError("Razorpay has no soft decline")

    def faulty(self, call: Call, fault: Fault) -> Call:
        self._patience.meets(fault, self._opened)
        prefix = "refund:" if call.kind is OperationKind.REFUND else ""
        metadata = {"sandbox_fault": f"{prefix}{FAULTS[fault]}"}
        if call.kind is OperationKind.REFUND:
            return replace(call, operation_metadata=metadata)
        return replace(call, metadata=metadata)

    async def decide(self, payment_id: str, *, approve: bool) -> None:
        await self.says(payment_id, "approves" if approve else "declines")

    async def does(self, payment_id: str, did: Did) -> None:
        decision = {Did.PASSED: "success", Did.FAILED: "failure", Did.WENT_BACK: None}[did]
        if decision is None:
            return
        for own_id in await self.own_ids(payment_id):
            path = f"/razorpay/v1/payments/{own_id.removeprefix('pay_')}/authenticate"
            await self._witness.post(
                path, data={"decision": decision}, headers={"Accept": "application/json"}
            )

    async def says(self, payment_id: str, bank: str) -> None:
        """The bank of whoever was asked says this, if there was somebody and it still may."""
        for own_id in await self.own_ids(payment_id):
            path = f"/razorpay/payments/{own_id}"
            await self._witness.post(path, json={"bank": bank}, headers=SANDBOX)

    async def own_ids(self, payment_id: str) -> list[str]:
        """Razorpay's of what was made for the payment."""
        orders = (await self.read("/v1/orders", receipt=payment_id))["items"]
        found = [await self.read(f"/v1/orders/{each['id']}/payments") for each in orders]
        return [str(one["id"]) for page in found for one in page["items"]]

    async def callbacks(self, call: Call) -> Sequence[tuple[Mapping[str, str], bytes]]:
        asked = {"payment_reference": call.payment_id, "limit": "100"}
        told = await self.listed("/callbacks", **asked)
        return [_signed(json.dumps(one["body"]).encode()) for one in told]

    list_page = "payonce.connectors.razorpay.listing.LIST_PAGE"

    async def paid(self, connector: Connector, *, automatic: bool = True) -> tuple[Call, Approved]:
        call = replace(self.order(), automatic_capture=automatic)
        await connector.send(call, may_send=yes)
        await self.decide(call.payment_id, approve=True)
        found = await decided(connector, call)
        assert isinstance(found, Approved)
        return call, found

    async def unpaid(self, connector: Connector) -> Call:
        call = self.order()
        await connector.send(call, may_send=yes)
        await self.decide(call.payment_id, approve=False)
        return call

    async def others_sell(self) -> str:
        """A payment that payonce did not make: its notes say nothing."""
        others = replace(self.order(), reference="", payment_id=f"order-{secrets.token_hex(8)}")
        await self.open().send(others, may_send=yes)
        await self.decide(others.payment_id, approve=True)
        (own_id,) = await self.own_ids(others.payment_id)
        return own_id

    async def read(self, path: str, **query: str) -> Any:
        auth = httpx.BasicAuth(self.key_id, SECRET)
        response = await self._witness.get(f"/razorpay{path}", params=query, auth=auth)
        return response.raise_for_status().json()

    def late(self) -> AbstractAsyncContextManager[None]:
        @asynccontextmanager
        async def always() -> AsyncIterator[None]:
            yield

        return always()

    def callback(self, reference: str, *, event_id: str, at: datetime) -> tuple[dict[str, str], bytes]:
        told = payment(notes={"payonce_reference": reference}, created_at=int(at.timestamp()))
        body = json.dumps(
            {
                "entity": "event",
                "account_id": IDENTITY,
                "event": "payment.captured",
                "contains": ["payment"],
                "payload": {"payment": {"entity": told}},
                "created_at": int(at.timestamp()),
            }
        ).encode()
        return _signed(body)


def _signed(body: bytes) -> tuple[dict[str, str], bytes]:
    mac = hmac.new(WEBHOOK_SECRET.encode(), body, hashlib.sha256).hexdigest()
    return {"x-razorpay-signature": mac}, body


class HastyHarness(RazorpayHarness):
    """At an account whose ten minutes are over at once."""

    key_id = HASTY_KEY_ID

    async def set_up(self) -> None:
        await self._play({"id": HASTY, "keys": [{"id": HASTY_KEY_ID, "secret": SECRET}], "minute_s": 0.01})

    def open_at(self, url: str, *, now: Now = since, **options: str) -> Razorpay:
        own = {"identity": HASTY, "key": "", "secrets": {"key": (f"{HASTY_KEY_ID}:{SECRET}",)}}
        connector = Razorpay(replace(account(url, **self.deadline_at(url), **options), **own), now=now)
        self._opened.append(connector)
        return connector


def asked_by(method: str, entered: Card) -> Call:
    """A new authorization by this means of payment, without its numbers."""
    means: dict[str, Any] = {
        "card": {"type": "card", "card": {"brand": entered.brand}},
        "upi": {"type": "upi", "upi": {"flow": "qr", "vpa": None}},
        "collect": {"type": "upi", "upi": {"flow": "collect", "vpa": "asha@okbank"}},
        "wallet": {"type": "wallet", "wallet": {"provider": "phonepe"}},
    }
    return Call(
        kind=OperationKind.AUTHORIZE,
        reference="",
        payment_id="",
        amount_minor=1099,
        currency="INR",
        automatic_capture=True,
        card=entered if method == "card" else None,
        payment_method=means[method],
        customer=CUSTOMER,
        billing=Party(name="Asha Rao"),
        browser=BROWSER,
        return_url="https://api.example/v1/returns/token",
    )


async def pondering(server: WireServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Something that answers in Razorpay's form, with a status of a payment that nobody has heard of."""
    told: dict[str, Any] = json.loads(server.received or b"{}")  # on another connection
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
        sent = json.loads(await reader.readexactly(length)) if length else {}
        first = head.split(b" ")[1].split(b"?")[0]
        if first == b"/v1/orders" and sent:
            told = {"receipt": sent["receipt"], "amount": sent["amount"]}
            body: Any = order(**told)
        elif b"/create/" in first:
            told |= {"notes": sent["notes"]}
            server.received = json.dumps(told).encode()
            body = {"razorpay_payment_id": payment()["id"]}
        else:
            asked = head.split(b" ")[1].partition(b"receipt=")[2].split(b"&")[0].decode()
            if asked:
                told = {"receipt": asked, "amount": 1099, "notes": {"payonce_reference": f"{asked}-1"}}
            one = payment("pondering", notes=told["notes"], created_at=int(NOW.timestamp()))
            listed = {"entity": "collection", "count": 1}
            if first == b"/v1/orders":
                body = {**listed, "items": [order(receipt=told["receipt"])]}
            elif first.endswith(b"/payments"):
                body = {**listed, "items": [one]}
            else:
                body = one
        writer.write(answer(json.dumps(body).encode()))
        await writer.drain()

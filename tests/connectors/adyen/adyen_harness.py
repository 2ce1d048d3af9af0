"""Adyen's connector over the sandbox's Adyen dialect: accounts there, and a harness for the suites."""

import asyncio
import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
from wire_server import WireServer, answer

from payonce.connectors.adyen import references
from payonce.connectors.adyen.connector import Adyen
from payonce.connectors.adyen.references import Asked
from payonce.connectors.base import Call, Connector, ConnectorAccount, MaySend
from payonce.connectors.conformance import Fault, authorization, yes
from payonce.connectors.conformance_challenge import Did
from payonce.domain.cards import Card
from payonce.domain.facts import Approved, DeclineCode, Reply
from payonce.domain.operations import OperationKind
from payonce.domain.personal import Party
from tests.connectors.hurry import SHORT_S
from tests.connectors.played import FAULTS, Played

MERCHANT, KEY, HMAC_KEY = "ConformanceECOM", "AQEconformance.0001", "AB" * 32
LOGIN = "payonce:a password"
ACQUIRER_KEY = {"Authorization": "Bearer sandbox-acquirer-key"}
RETURN_URL = "https://api.shop.example/v1/returns/token"

_FAULTS = {**FAULTS, Fault.REFUSED: "refuse:/amount", Fault.DECLINED_LATER: "rejected"}
_DECISIONS = {Did.PASSED: "complete", Did.FAILED: "fail"}


class AdyenAsked(Adyen):
    """What the API asks of a create, which a call of the suites has not."""

    async def send(self, call: Call, *, may_send: MaySend) -> Reply:
        asked = replace(call, return_url=RETURN_URL, billing=Party(name="A. Person"))
        return await super().send(asked, may_send=may_send)


@dataclass
class Webhooks:
    """Takes what Adyen tells, in a thread: it comes whenever it comes, and outlives no test's loop."""

    url: str = ""
    told: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)

    def about(self, wanted: Sequence[str]) -> list[tuple[Mapping[str, str], bytes]]:
        """Those with one of these references."""
        return [(headers, body) for headers, body in list(self.told) if _reference(body) in wanted]

    @contextmanager
    def running(self) -> Iterator["Webhooks"]:
        told = self.told

        class Taking(BaseHTTPRequestHandler):
            timeout = 30

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                told.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        with HTTPServer(("127.0.0.1", 0), Taking) as server:
            self.url = f"http://127.0.0.1:{server.server_port}/webhooks"
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


def _reference(body: bytes) -> str | None:
    """None of what is not Adyen's: who listened on this port before may still be told something."""
    items = json.loads(body).get("notificationItems")
    return None if items is None else str(items[0]["NotificationRequestItem"]["merchantReference"])


def account(url: str, **options: str) -> ConnectorAccount:
    return ConnectorAccount(
        id="adyen_test",
        connector="adyen",
        mode="test",
        base_url=url,
        identity=f"Payonce/{MERCHANT}/test",
        secrets={"key": (KEY,), "hmac_key": (HMAC_KEY,), "webhook_login": (LOGIN,)},
        options={
            **{"call_deadline_s": SHORT_S, "merchant_account": MERCHANT},
            **{"copy_metadata": "on", "multicapture": "on", "upi": "on", "wallets": "on"},
            **options,
        },
        upstream_secret=b"a secret of the cell",
        public_url="https://api.shop.example",
    )


def card(number: str) -> Card:
    return Card(number=number, exp_month=12, exp_year=2030, cvc="019")  # no length of an answer is written so


class AdyenHarness(Played):
    """`TellingHarness`, `WireHarness` and `LegHarness` over the dialect."""

    dialect = "/adyen"
    currency = "EUR"
    # That a cancel was not done is no outcome: it may have been done before.
    accepts = frozenset({OperationKind.CAPTURE, OperationKind.REFUND})
    approved_card = card("4111111111111111")
    declined_cards = {  # noqa: RUF012  # a Protocol member, never changed
        DeclineCode.DO_NOT_HONOR: card("4000000000000002"),
        DeclineCode.INSUFFICIENT_FUNDS: card("4000000000009995"),
        DeclineCode.EXPIRED_CARD: card("4000000000000069"),
        DeclineCode.INCORRECT_CVC: card("4000000000000127"),
        DeclineCode.PROCESSING_ERROR: card("4000000000000119"),
    }

    def __init__(self, *, webhooks: Webhooks, **sandbox: Any) -> None:
        super().__init__(**sandbox)
        self._webhooks = webhooks
        self._brought: dict[str, dict[str, str]] = {}
        self._payments = 0

    async def set_up(self) -> None:
        """The acquirer plays the account."""
        user, _, password = LOGIN.partition(":")
        webhook = {"url": self._webhooks.url, "hmac_key": HMAC_KEY, "username": user, "password": password}
        members = {
            "id": MERCHANT,
            "company": "Payonce",
            "api_keys": [KEY],
            "webhook": webhook,
            "multiple_partial_captures": True,
        }
        path = f"/adyen/accounts/{MERCHANT}"
        (await self._witness.put(path, json=members, headers=ACQUIRER_KEY)).raise_for_status()

    def open_hurried(self) -> Connector:
        return self.open()

    async def open_unmapped(self) -> Connector:
        return self.open_at((await self._serve(mysterious)).url)

    def open_at(self, url: str) -> Connector:
        self._opened.append(AdyenAsked(account(url, **self.deadline_at(url))))
        return self._opened[-1]

    def key_of(self, request: bytes) -> str:
        found = re.search(rb"(?im)^idempotency-key: (\S+)", request)
        assert found is not None
        return found[1].decode()

    def faulty(self, call: Call, fault: Fault) -> Call:
        self._patience.meets(fault, self._opened)
        if fault is Fault.UNDONE:
            wished = "refund:undo_refund:0" if call.kind is OperationKind.REFUND else "undo_capture:0"
            if call.kind is OperationKind.CAPTURE:
                wished = f"capture:{wished}"
        else:
            wished = f"{call.kind}:{_FAULTS[fault]}"
        if call.kind is OperationKind.AUTHORIZE:
            return replace(call, metadata={"sandbox_fault": wished})
        self._wish(call.authorization_reference or "", wished)
        return call

    def _wish(self, psp: str, *faults: str) -> None:
        """The payment is one whose metadata had the faults from the beginning."""
        httpx.post(
            f"{self.url}/payments/{psp}/faults",
            json={"faults": list(faults)},
            headers=ACQUIRER_KEY,
            trust_env=False,
            timeout=60,
        ).raise_for_status()

    def order(self) -> Call:
        return replace(authorization(self), card=card("4212345678910006"), automatic_capture=True)

    def unasked(self) -> Call:
        return authorization(self)

    def softly_declined(self) -> Call:
        return replace(authorization(self), card=card("4000000000003121"))

    async def does(self, payment_id: str, did: Did) -> None:
        if did not in _DECISIONS:
            return
        page = f"{self.url}/pages/{references.plain(payment_id)}"
        back = await asyncio.to_thread(_went_back_to, page, _DECISIONS[did])
        if back is not None:
            self._brought[payment_id] = dict(httpx.URL(back).params)

    def brought_back(self, payment_id: str) -> Mapping[str, str]:
        return self._brought[payment_id]

    def faulty_leg(self, call: Call, fault: Fault) -> Call:
        self._patience.meets(fault, self._opened)
        self._wish(references.plain(call.payment_id), f"resume:{_FAULTS[fault]}")
        return call

    async def paid(self, connector: Connector, *, automatic: bool = True) -> tuple[Call, Approved]:
        call = replace(authorization(self), automatic_capture=automatic)
        reply = await connector.send(call, may_send=yes)
        assert isinstance(reply, Approved)
        return call, reply

    async def bank(self, path: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        named = {"payment_reference": references.plain(str(fields.get("payment_reference", "")))}
        return await super().bank(path, {**fields, **named})

    async def callbacks(self, call: Call) -> Sequence[tuple[Mapping[str, str], bytes]]:
        return self._webhooks.about(named(call.reference))

    async def movements(self, payment_id: str) -> Sequence[str]:
        return await super().movements(references.plain(payment_id))

    async def requests(self, reference: str) -> int:
        return sum([await Played.requests(self, name) for name in named(reference)])


def _went_back_to(page: str, decision: str) -> str | None:
    """Where the page sent the browser, which, other than our client, logs nothing."""
    url = httpx.URL(page)
    browser = HTTPConnection(url.host, url.port, timeout=30)
    try:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        browser.request("POST", url.path, body=f"decision={decision}", headers=form)
        return browser.getresponse().headers["Location"]
    finally:
        browser.close()


def named(reference: str) -> list[str]:
    """By which names Adyen may know a reference of ours."""
    return [references.written(reference, what) for what in Asked]


async def mysterious(server: WireServer, reader: Any, writer: Any) -> None:
    """Answers every request in form, with a result nobody has heard of."""
    while True:
        asked = json.loads(await server.request(reader))
        told: dict[str, Any] = {"resultCode": "Mystery", "pspReference": "ABCDEFGHJKLMNPQR"}
        if "reference" in asked:
            told |= {"merchantReference": asked["reference"], "amount": asked["amount"]}
        writer.write(answer(json.dumps(told).encode()))
        await writer.drain()

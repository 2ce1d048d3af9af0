"""The sandbox connector over the sandbox acquirer: accounts, a harness for the suites, and what else may answer."""

import asyncio
import json
import secrets
from dataclasses import replace

from wire_server import Handler, WireServer, answer

from payonce.connectors.base import Call, Connector, ConnectorAccount
from payonce.connectors.conformance import Fault, authorization, yes
from payonce.connectors.sandbox.card import SandboxCard
from payonce.domain.cards import Card
from payonce.domain.facts import Approved, DeclineCode
from payonce.domain.operations import OperationKind
from tests.connectors.hurry import SHORT_S
from tests.connectors.played import FAULTS, Played

_FAULTS = {**FAULTS, Fault.REFUSED: "refuse:/card/number"}


def account(url: str, *, key: str = "sandbox-acquirer-key", **options: str) -> ConnectorAccount:
    return ConnectorAccount(
        id="sandbox_card_test",
        connector="sandbox_card",
        mode="test",
        base_url=url,
        key=key,
        options={"call_deadline_s": SHORT_S, **options},
    )


def card(number: str) -> Card:
    return Card(number=number, exp_month=12, exp_year=2030, cvc="737")


class SandboxHarness(Played):
    """`ConformanceHarness` over the sandbox acquirer."""

    currency = "INR"
    approved_card = card("4242424242424242")
    declined_cards = {  # noqa: RUF012  # a Protocol member, never changed
        DeclineCode.GENERIC_DECLINE: card("4000000000000002"),
        DeclineCode.INSUFFICIENT_FUNDS: card("4000000000009995"),
        DeclineCode.LOST_CARD: card("4000000000009987"),
        DeclineCode.EXPIRED_CARD: card("4000000000000069"),
        DeclineCode.INCORRECT_CVC: card("4000000000000127"),
        DeclineCode.PROCESSING_ERROR: card("4000000000000119"),
    }

    async def open_unmapped(self) -> Connector:
        server = await self._serve(answering(status="held_for_review"))
        return self.open_at(server.url)

    def open_at(self, url: str, *, key: str = "sandbox-acquirer-key") -> Connector:
        connector = SandboxCard(account(url, key=key, **self.deadline_at(url)))
        self._opened.append(connector)
        return connector

    def key_of(self, request: bytes) -> str:
        """This acquirer has one reference for both."""
        reference: str = json.loads(request.partition(b"\r\n\r\n")[2])["reference"]
        return reference

    def faulty(self, call: Call, fault: Fault) -> Call:
        self._patience.meets(fault, self._opened)
        undone = "undo_refund:0" if call.kind is OperationKind.REFUND else "undo_capture:0"
        return replace(call, metadata={"sandbox_fault": f"{call.kind}:{_FAULTS.get(fault, undone)}"})

    list_page = "payonce.connectors.sandbox.wire.LIST_PAGE"

    async def others_sell(self) -> str:
        others = replace(authorization(self), reference=f"order-{secrets.token_hex(8)}")
        sold = await self.open().send(replace(others, automatic_capture=True), may_send=yes)
        assert isinstance(sold, Approved)
        return str(sold.connector_reference)

    async def faults_of(self, call: Call) -> list[str]:
        asked = await self.listed("/requests", reference=call.reference)
        return [fault for entry in asked for fault in entry["faults"]]


def refusing(problem: dict[str, object]) -> Handler:
    """Refuses every request."""

    async def handle(server: WireServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(100):
            await server.request(reader)
            writer.write(answer(json.dumps(problem).encode(), status="400 Bad Request"))
            await writer.drain()

    return handle


def answering(*, asked: list[dict[str, object]] | None = None, **changes: object) -> Handler:
    """Answers every request as an approved authorization, with these changes; `asked` gets the requests."""
    heard: list[dict[str, object]] = [] if asked is None else asked

    async def handle(server: WireServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(100):
            heard.append(json.loads(await server.request(reader)))
            body = {
                "id": "auth_1",
                "reference": heard[-1]["reference"],
                "operation": "authorize",
                "status": "approved",
                "amount": 1099,
                "currency": "INR",
                "decline_code": None,
                "authorization": "auth_1",
                "expires_at": "2026-11-29T05:46:00Z",
                "created_at": "2026-11-22T05:46:00Z",
            }
            writer.write(answer(json.dumps(body | changes).encode()))
            await writer.drain()

    return handle

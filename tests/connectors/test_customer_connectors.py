"""UPI and wallets at the sandbox acquirer: the suite for rails whose customer decides, and their own links."""

import asyncio
import hashlib
import hmac
import json
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from wire_server import Serve, WireServer, answer, answering_for_ever

from payonce.connectors.base import Call, Connector, ConnectorAccount
from payonce.connectors.conformance import Fault, yes
from payonce.connectors.conformance_acceptance import AcceptanceConformance
from payonce.connectors.conformance_customer import (
    CallbackConformance,
    CapturesItselfConformance,
    CustomerConformance,
    ExpiryConformance,
    asking,
    decided,
)
from payonce.connectors.conformance_disputes import DisputeConformance
from payonce.connectors.sandbox.card import SandboxCard
from payonce.connectors.sandbox.upi import SandboxUpi
from payonce.connectors.sandbox.wallet import SandboxWallet
from payonce.domain.errors import OutcomeUnknown, Rejected
from payonce.domain.facts import (
    ActionRequired,
    Approved,
    Cancelled,
    EndsItself,
    Expired,
    Reversed,
)
from payonce.domain.operations import OperationKind
from payonce.domain.schedules import CUSTOMER_INQUIRIES
from tests.connectors.hurry import Patience

KEY = "sandbox-acquirer-key"
FAULTS = {
    Fault.TIMEOUT_AFTER: "timeout_after_charge",
    Fault.TIMEOUT_BEFORE: "timeout_before_charge",
    Fault.ERROR_AFTER: "error_after_charge",
    Fault.RESET_AFTER: "reset_after_charge",
    Fault.GARBAGE_AFTER: "garbage",
    Fault.AUTHORIZED_ONLY: "authorized_only",
}


@dataclass
class Harness:
    """`CustomerHarness` over the sandbox acquirer; `rail` is the page's name there."""

    connector: Any
    rail: str
    method: dict[str, Any]
    url: str
    refusing_url: str
    serve: Serve
    witness: httpx.AsyncClient
    opened: list[Connector] = field(default_factory=list)
    patience: Patience = field(default_factory=Patience)

    def account(self, url: str, **options: str) -> ConnectorAccount:
        return ConnectorAccount(
            id="account",
            connector=self.connector.name,
            mode="test",
            base_url=url,
            key=KEY,
            options={"call_deadline_s": self.patience.of(itself=url == self.url), **options},
            public_url="https://api.example",
        )

    def open_at(self, url: str, **options: str) -> Connector:
        connector: Connector = self.connector(self.account(url, callback_url="", **options))
        self.opened.append(connector)
        return connector

    def open(self) -> Connector:
        return self.open_at(self.url)

    def open_hurried(self) -> Connector:
        return self.open_at(self.url, window_s="1")

    def open_unreachable(self) -> Connector:
        return self.open_at(self.refusing_url)

    async def open_unmapped(self) -> Connector:
        return self.open_at((await self.serve(held)).url)

    def order(self) -> Call:
        payment_id = f"pay_conformance{secrets.token_hex(10)}"
        return Call(
            kind=OperationKind.AUTHORIZE,
            reference=f"{payment_id}-1",
            payment_id=payment_id,
            amount_minor=1099,
            currency="INR",
            automatic_capture=True,
            operation_id=payment_id,
            payment_method=self.method,
        )

    def expiring(self) -> Call:
        return replace(self.order(), metadata={"sandbox_vpa": "late@upi"})

    def faulty(self, call: Call, fault: Fault) -> Call:
        self.patience.meets(fault, self.opened)
        return replace(call, metadata={"sandbox_fault": f"{call.kind}:{FAULTS[fault]}"})

    async def decide(self, payment_id: str, *, approve: bool) -> None:
        decision = {"decision": "approve" if approve else "decline"}
        await self.witness.post(
            f"/{self.rail}/{payment_id}", data=decision, headers={"Accept": "application/json"}
        )

    async def paid(self, connector: Connector, *, automatic: bool = True) -> tuple[Call, Approved]:
        call = replace(self.order(), automatic_capture=automatic)
        await connector.send(call, may_send=yes)
        await self.decide(call.payment_id, approve=True)
        found = await decided(connector, call)
        assert isinstance(found, Approved)
        return call, found

    async def bank(self, path: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        json_asked = {"Accept": "application/json"}
        answered = await self.witness.post(path, data=dict(fields), headers=json_asked)
        found: Mapping[str, Any] = answered.raise_for_status().json()
        return found

    async def movements(self, payment_id: str) -> Sequence[str]:
        return [entry["operation"] for entry in await self._listed("/ledger", payment_reference=payment_id)]

    async def requests(self, reference: str) -> int:
        return len(await self._listed("/requests", reference=reference))

    def callback(self, reference: str, *, event_id: str, at: datetime) -> tuple[dict[str, str], bytes]:
        body = json.dumps({"id": event_id, "type": "payment.updated", "reference": reference}).encode()
        seconds = str(int(at.timestamp()))
        mac = hmac.new(KEY.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
        return {"acquirer-signature": f"t={seconds},v1={mac}"}, body

    async def close(self) -> None:
        for connector in self.opened:
            await connector.close()

    async def _listed(self, path: str, **query: str) -> list[dict[str, str]]:
        response = await self.witness.get(path, params=query)
        entries: list[dict[str, str]] = response.raise_for_status().json()["entries"]
        return entries


UPI = {"type": "upi", "upi": {"flow": "qr", "vpa": None, "rrn": None}}
WALLET = {"type": "wallet", "wallet": {"provider": "paytm"}}
RAILS = {"upi": (SandboxUpi, UPI), "wallet": (SandboxWallet, WALLET)}


@pytest.fixture(params=list(RAILS))
def rail(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
async def harness(
    rail: str, acquirer_url: str, refusing_url: str, serve: Serve, witness: httpx.AsyncClient
) -> AsyncIterator[Harness]:
    connector, method = RAILS[rail]
    made = Harness(connector, rail, method, acquirer_url, refusing_url, serve, witness)
    yield made
    await made.close()


@pytest.fixture
async def upi(
    acquirer_url: str, refusing_url: str, serve: Serve, witness: httpx.AsyncClient
) -> AsyncIterator[Harness]:
    made = Harness(SandboxUpi, "upi", UPI, acquirer_url, refusing_url, serve, witness)
    yield made
    await made.close()


class TestSandboxRails(CustomerConformance, CapturesItselfConformance, CallbackConformance):
    """Both, one after the other."""


class TestSandboxRailsDisputes(DisputeConformance):
    """What the sandbox's bank asks back."""


class TestSandboxRailsAcceptances(AcceptanceConformance):
    """What the merchant gives in to."""


class TestSandboxCardIsCalled(CallbackConformance):
    """Its acquirer tells what it does of itself."""

    @pytest.fixture
    async def harness(
        self, acquirer_url: str, refusing_url: str, serve: Serve, witness: httpx.AsyncClient
    ) -> AsyncIterator[Harness]:
        made = Harness(SandboxCard, "card", {}, acquirer_url, refusing_url, serve, witness)
        yield made
        await made.close()


class TestSandboxUpiExpires(ExpiryConformance):
    """The sandbox's wallets never say so."""

    @pytest.fixture
    def harness(self, upi: Harness) -> Harness:
        return upi


async def asked(harness: Harness, call: Call, **options: str) -> dict[str, Any]:
    reply = await harness.open_at(harness.url, **options).send(call, may_send=yes)
    assert isinstance(reply, ActionRequired)
    return dict(reply.action)


@pytest.mark.parametrize("flow", ["intent", "qr"])
async def test_the_link_is_one_that_upi_apps_open(upi: Harness, flow: str) -> None:
    """Source: NPCI, UPI Linking Specifications: the parameters and their forms."""
    call = replace(
        upi.order(), payment_method={"type": "upi", "upi": {"flow": flow, "vpa": None, "rrn": None}}
    )
    action = await asked(upi, call, payee_vpa="shop@bank", payee_name="Tea & Co")
    assert action["type"] == f"upi_{flow}"
    link = urlsplit(action["url"])
    assert (link.scheme, link.netloc) == ("upi", "pay")
    parameters = {name: values[0] for name, values in parse_qs(link.query, strict_parsing=True).items()}
    assert parameters["tr"].isalnum()
    assert len(parameters["tr"]) <= 35
    expected = {"pa": "shop@bank", "pn": "Tea & Co", "am": "10.99", "cu": "INR"}
    assert {name: parameters[name] for name in expected} == expected
    assert parameters["tn"]
    if flow == "qr":
        assert action["image_url"] == f"https://api.example/v1/payments/{call.payment_id}/qr"


async def test_collect_asks_the_address_and_has_no_link(upi: Harness) -> None:
    method = {"type": "upi", "upi": {"flow": "collect", "vpa": "pending@upi", "rrn": None}}
    action = await asked(upi, replace(upi.order(), payment_method=method), collect="on")
    assert (action["type"], action["vpa"]) == ("upi_collect", "pending@upi")
    assert "url" not in action


def test_collect_is_there_only_where_the_account_has_it(upi: Harness) -> None:
    def methods(**options: str) -> frozenset[str]:
        return upi.open_at(upi.url, **options).capabilities.methods

    assert methods() == {"upi.intent", "upi.qr"}
    assert methods(collect="on") == {"upi.intent", "upi.qr", "upi.collect"}


def test_an_account_may_ask_as_seldom_as_in_production(upi: Harness) -> None:
    capabilities = upi.open_at(upi.url, inquiry="production").capabilities
    assert capabilities.action_inquiry == capabilities.inquiry == CUSTOMER_INQUIRIES
    assert CUSTOMER_INQUIRIES.first_s[0] >= 90


async def test_a_link_that_got_lost_is_the_same_when_it_is_asked_for(upi: Harness) -> None:
    connector, call = upi.open(), upi.order()
    first = await connector.send(call, may_send=yes)
    assert await connector.inquire(call) == first


async def test_the_rails_reference_and_the_payer_come_with_the_approval_and_refunds_go_by_it(
    upi: Harness,
) -> None:
    connector, call = upi.open(), upi.order()
    await connector.send(call, may_send=yes)
    await upi.decide(call.payment_id, approve=True)
    paid = await decided(connector, call)
    assert isinstance(paid, Approved)
    assert len(paid.rail["rrn"]) == 12
    assert "@" in paid.rail["vpa"]
    method = {"type": "upi", "upi": {"flow": "qr", "vpa": None, **paid.rail}}
    refund = replace(
        call, kind=OperationKind.REFUND, reference="re_" + secrets.token_hex(8), payment_method=method
    )
    reply = await connector.send(refund, may_send=yes)
    assert isinstance(reply, Approved)
    assert reply.rail["rrn"] != paid.rail["rrn"]


async def test_there_is_nothing_to_capture_or_void(harness: Harness) -> None:
    for kind in (OperationKind.CAPTURE, OperationKind.VOID):
        with pytest.raises(Rejected):
            await harness.open().send(replace(harness.order(), kind=kind), may_send=yes)


@pytest.mark.parametrize(("rail", "ends"), [("upi", "itself"), ("wallet", "cancelled")])
def test_who_ends_what_a_customer_left_alone(harness: Harness, ends: str) -> None:
    assert harness.open().capabilities.challenge_ends == ends


async def test_an_acquirer_that_cannot_cancel_says_so_and_when_the_time_is_over(
    harness: Harness, witness: httpx.AsyncClient
) -> None:
    (await witness.patch("/config", json={"challenge_ends": "itself"})).raise_for_status()
    try:
        connector, call = harness.open_hurried(), harness.order()
        await connector.send(call, may_send=yes)
        assert await asking(connector).cancel(call) == EndsItself()
        assert isinstance(await decided(connector, call), Expired)
        assert await asking(connector).cancel(call) == EndsItself()
    finally:
        (await witness.patch("/config", json={"challenge_ends": "cancelled"})).raise_for_status()


@pytest.mark.parametrize(
    "fault", [Fault.TIMEOUT_AFTER, Fault.ERROR_AFTER, Fault.RESET_AFTER, Fault.GARBAGE_AFTER]
)
async def test_a_cancellation_whose_answer_is_lost_is_made_again(harness: Harness, fault: Fault) -> None:
    connector, call = harness.open(), harness.order()
    await connector.send(call, may_send=yes)
    harness.patience.meets(fault, harness.opened)
    faulty = replace(call, metadata={"sandbox_fault": f"cancel:{FAULTS[fault]}"})
    with pytest.raises(OutcomeUnknown):
        await asking(connector).cancel(faulty)
    assert await asking(connector).cancel(faulty) == Cancelled()
    assert await connector.inquire(call) == Reversed()


async def test_an_answer_to_another_cancellation_proves_nothing(harness: Harness, serve: Serve) -> None:
    """Nor does a 404 that is not about our reference."""
    call = harness.order()
    others = json.dumps({"original_reference": "pay_other-1", "status": "cancelled"}).encode()
    for said in (answer(others), answer(b'{"error":"no such path"}', status="404 Not Found")):
        connector = harness.open_at((await serve(answering_for_ever(said))).url)
        with pytest.raises(OutcomeUnknown):
            await asking(connector).cancel(call)


async def held(server: WireServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers the requests of a connection in form, with a status that nobody maps."""
    for _ in range(100):
        said = {
            "id": "acq-1",
            "reference": json.loads(await server.request(reader))["reference"],
            "operation": "authorize",
            "status": "held_for_review",
            "amount": 1099,
            "currency": "INR",
        }
        writer.write(answer(json.dumps(said).encode()))
        await writer.drain()

"""A connector whose acquirer cannot be asked passes every suite that is for it."""

import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from wire_server import Serve, WireServer, answer

from payonce.connectors.base import Call, Connector, ConnectorAccount
from payonce.connectors.conformance import ConnectorConformance, Fault, TurnsConformance
from payonce.connectors.conformance_truth import ReplayConformance, TellingConformance
from payonce.connectors.conformance_wire import WireConformance
from payonce.domain.cards import Card
from payonce.domain.errors import CallbackInvalid
from payonce.domain.facts import DeclineCode, Declined
from payonce.domain.operations import OperationKind
from tests.connectors.ferry_acquirer import DECLINED, FerryAcquirer, signature
from tests.connectors.ferry_pay import FerryPay
from tests.connectors.hurry import Patience

KEY = "ferry-secret"
CARD = Card(number="4242424242424242", exp_month=12, exp_year=2030, cvc="737")


@dataclass
class Harness:
    """`TellingHarness` and `WireHarness` over the fake acquirer."""

    acquirer: FerryAcquirer
    refusing_url: str
    serve: Serve
    opened: list[Connector] = field(default_factory=list)
    patience: Patience = field(default_factory=Patience)
    currency: str = "EUR"
    accepts: frozenset[OperationKind] = frozenset(
        {OperationKind.CAPTURE, OperationKind.VOID, OperationKind.REFUND}
    )
    approved_card: Card = CARD
    declined_cards: Mapping[DeclineCode, Card] = field(
        default_factory=lambda: {DeclineCode.GENERIC_DECLINE: replace(CARD, number=DECLINED)}
    )

    @property
    def url(self) -> str:
        return self.acquirer.url

    def open_at(self, url: str) -> Connector:
        account = ConnectorAccount(
            id="ferry",
            connector="ferry_pay",
            mode="test",
            base_url=url,
            key=KEY,
            options={"call_deadline_s": self.patience.of(itself=url == self.url)},
            upstream_secret=b"u" * 32,
        )
        self.opened.append(FerryPay(account))
        return self.opened[-1]

    def open(self) -> Connector:
        return self.open_at(self.url)

    def open_unreachable(self) -> Connector:
        return self.open_at(self.refusing_url)

    async def open_unmapped(self) -> Connector:
        return self.open_at((await self.serve(mysterious)).url)

    def faulty(self, call: Call, fault: Fault) -> Call:
        self.patience.meets(fault, self.opened)
        return replace(call, metadata={"ferry_fault": fault.value})

    async def movements(self, payment_id: str) -> Sequence[str]:
        return self.acquirer.movements.get(payment_id, [])

    async def requests(self, reference: str) -> int:
        return self.acquirer.requests.get(reference, 0)

    async def callbacks(self, call: Call) -> Sequence[tuple[Mapping[str, str], bytes]]:
        return [({}, body) for body in self.acquirer.told.get(call.reference, [])]

    def key_of(self, request: bytes) -> str:
        found = re.search(rb"(?im)^idempotency-key: *(\S+)", request)
        assert found is not None
        return found[1].decode()


async def mysterious(server: WireServer, reader: Any, writer: Any) -> None:
    """Answers every request in form, with a result nobody has heard of."""
    while True:
        asked = json.loads(await server.request(reader))
        members = {name: asked[name] for name in ("reference", "amount", "currency")}
        writer.write(answer(json.dumps({**members, "psp": "P1", "result": "mystery"}).encode()))
        await writer.drain()


@pytest.fixture
async def harness(refusing_url: str, serve: Serve) -> AsyncIterator[Harness]:
    async with FerryAcquirer(KEY.encode()).running() as acquirer:
        made = Harness(acquirer, refusing_url, serve)
        yield made
        for connector in made.opened:
            await connector.close()


class TestFerryPay(
    ConnectorConformance, TurnsConformance, WireConformance, ReplayConformance, TellingConformance
):
    """Passes the suites."""


def item(**changes: Any) -> dict[str, Any]:
    members = {"psp": "P1", "reference": "op_1-1", "amount": 1099, "currency": "EUR"}
    return {**members, "event": "CAPTURE", "success": True, **changes}


def signed(members: dict[str, Any], secret: str = KEY) -> bytes:
    return json.dumps({**members, "signature": signature(secret.encode(), members)}).encode()


@pytest.mark.parametrize(
    "forged",
    [
        item(psp="P1:op_1-1", reference="1099", amount=1),
        item(reference="op_1:1"),
        item(currency="EUR:X"),
        item(event="CAPTURE:"),
    ],
)
async def test_a_signed_member_that_can_be_read_in_two_ways_is_refused(
    harness: Harness, forged: dict[str, Any]
) -> None:
    connector: Any = harness.open()
    assert connector.read_callback({}, signed(item()), now=datetime.now(UTC)).reference == "op_1-1"
    with pytest.raises(CallbackInvalid):
        connector.read_callback({}, signed(forged), now=datetime.now(UTC))


async def test_what_carries_no_fact_names_its_reference_still(harness: Harness) -> None:
    connector: Any = harness.open()
    callback = connector.read_callback({}, signed(item(event="REPORT_AVAILABLE")), now=datetime.now(UTC))
    assert (callback.reference, callback.fact) == ("op_1-1", None)


async def test_a_refused_capture_is_a_fact_whose_reason_decides_nothing(harness: Harness) -> None:
    connector: Any = harness.open()
    body = signed(item(success=False, reason="stolen card"))
    fact = connector.read_callback({}, body, now=datetime.now(UTC)).fact
    assert fact == Declined(DeclineCode.GENERIC_DECLINE, "P1", {"reason": "stolen card"})

"""The sandbox connector against the sandbox acquirer, and against bodies that the acquirer never sends."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from structlog.testing import capture_logs
from wire_server import Handler, Serve, WireServer, answer

from payonce.connectors.base import Call, Connector, ConnectorAccount
from payonce.connectors.conformance import (
    ConnectorConformance,
    Fault,
    ReversalConformance,
    TurnsConformance,
    authorization,
    following,
    prepared,
    yes,
)
from payonce.connectors.conformance_wire import WireConformance
from payonce.connectors.sandbox.card import SandboxCard
from payonce.domain.cards import Card
from payonce.domain.errors import OutcomeUnknown, Rejected
from payonce.domain.facts import (
    Approved,
    DeclineCode,
    Declined,
    Foreign,
    Pending,
    Redone,
    Refused,
    Reversed,
    Stage,
    Undone,
)
from payonce.domain.operations import OperationKind

DEADLINE_S = "1.0"
_FAULTS = {
    Fault.TIMEOUT_AFTER: "timeout_after_charge",
    Fault.TIMEOUT_BEFORE: "timeout_before_charge",
    Fault.ERROR_AFTER: "error_after_charge",
    Fault.RESET_AFTER: "reset_after_charge",
    Fault.GARBAGE_AFTER: "garbage",
    Fault.AMOUNT_MISMATCH: "amount_mismatch",
    Fault.AUTHORIZED_ONLY: "authorized_only",
    Fault.FOREIGN: "foreign_refund:99",
    Fault.REFUSED: "refuse:/card/number",
}


def account(url: str, *, key: str = "sandbox-acquirer-key", **options: str) -> ConnectorAccount:
    return ConnectorAccount(
        id="sandbox_card_test",
        connector="sandbox_card",
        mode="test",
        base_url=url,
        key=key,
        options={"call_deadline_s": DEADLINE_S, **options},
    )


def card(number: str) -> Card:
    return Card(number=number, exp_month=12, exp_year=2030, cvc="737")


class SandboxHarness:
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

    def __init__(
        self,
        *,
        url: str,
        refusing_url: str,
        serve: Serve,
        witness: httpx.AsyncClient,
    ) -> None:
        self.url = url
        self._refusing_url = refusing_url
        self._serve = serve
        self._witness = witness
        self._opened: list[Connector] = []

    def open(self) -> Connector:
        return self.open_at(self.url)

    def open_unreachable(self) -> Connector:
        return self.open_at(self._refusing_url)

    async def open_unmapped(self) -> Connector:
        server = await self._serve(answering(status="held_for_review"))
        return self.open_at(server.url)

    def open_at(self, url: str, *, key: str = "sandbox-acquirer-key") -> Connector:
        connector = SandboxCard(account(url, key=key))
        self._opened.append(connector)
        return connector

    def key_of(self, request: bytes) -> str:
        """This acquirer has one reference for both."""
        reference: str = json.loads(request.partition(b"\r\n\r\n")[2])["reference"]
        return reference

    def faulty(self, call: Call, fault: Fault) -> Call:
        undone = "undo_refund:0" if call.kind is OperationKind.REFUND else "undo_capture:0"
        return replace(call, metadata={"sandbox_fault": f"{call.kind}:{_FAULTS.get(fault, undone)}"})

    async def movements(self, payment_id: str) -> Sequence[str]:
        entries = await self._listed("/ledger", payment_reference=payment_id)
        return [entry["operation"] for entry in entries]

    async def requests(self, reference: str) -> int:
        return len(await self._listed("/requests", reference=reference))

    async def faults_of(self, call: Call) -> list[str]:
        return [
            f for entry in await self._listed("/requests", reference=call.reference) for f in entry["faults"]
        ]

    async def close(self) -> None:
        for connector in self._opened:
            await connector.close()

    async def _listed(self, path: str, **query: str) -> list[dict[str, str]]:
        response = await self._witness.get(path, params=query)
        response.raise_for_status()
        entries: list[dict[str, str]] = response.json()["entries"]
        return entries


@pytest.fixture
async def harness(
    acquirer_url: str,
    refusing_url: str,
    serve: Serve,
    witness: httpx.AsyncClient,
) -> AsyncIterator[SandboxHarness]:
    harness = SandboxHarness(url=acquirer_url, refusing_url=refusing_url, serve=serve, witness=witness)
    yield harness
    await harness.close()


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


class TestSandboxCard(ConnectorConformance, ReversalConformance, TurnsConformance, WireConformance):
    """Passes the suite."""


async def test_an_authorization_says_when_it_expires(harness: SandboxHarness) -> None:
    reply = await harness.open().send(authorization(harness), may_send=yes)
    assert isinstance(reply, Approved)
    assert reply.capture_before is not None
    assert reply.capture_before - datetime.now(UTC) > timedelta(days=1)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"status": "declined", "decline_code": "do_not_honor"},
            Declined(DeclineCode.DO_NOT_HONOR, "auth_1"),
        ),
        (
            {"status": "declined", "decline_code": "moon_phase"},
            Declined(DeclineCode.GENERIC_DECLINE, "auth_1"),
        ),
        ({"status": "declined", "decline_code": None}, Declined(DeclineCode.GENERIC_DECLINE, "auth_1")),
        ({"status": "held_for_review"}, Pending("auth_1", "unmapped status")),
        ({"status": "declined", "decline_code": "reference_reversed"}, Reversed()),
        ({"status": "reversed"}, Reversed()),
    ],
)
async def test_what_an_answer_means(
    harness: SandboxHarness,
    serve: Serve,
    changes: dict[str, object],
    expected: object,
) -> None:
    connector = harness.open_at((await serve(answering(**changes))).url)
    call = authorization(harness)
    sent = Pending(reason="reversed") if expected == Reversed() else expected
    assert await connector.send(call, may_send=yes) == sent
    assert await connector.inquire(call) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"reference": "pay_somebody-1"},
        {"operation": "refund"},
        {"amount": "1099"},
        {"amount": None},
        {"amount": 10.99},
        {"currency": None},
        {"status": None},
        {"id": ""},
        {"expires_at": "soon"},
    ],
)
async def test_an_answer_to_something_else_leaves_the_outcome_unknown(
    harness: SandboxHarness,
    serve: Serve,
    changes: dict[str, object],
) -> None:
    connector = harness.open_at((await serve(answering(**changes))).url)
    call = authorization(harness)
    with pytest.raises(OutcomeUnknown):
        await connector.send(call, may_send=yes)
    with pytest.raises(OutcomeUnknown):
        await connector.inquire(call)
    with pytest.raises(OutcomeUnknown):
        await connector.reverse(call)


async def test_an_unmapped_code_is_warned_of_by_its_code_alone(harness: SandboxHarness, serve: Serve) -> None:
    server = await serve(answering(status="declined", decline_code="moon_phase"))
    with capture_logs() as logs:
        await harness.open_at(server.url).send(authorization(harness), may_send=yes)
    assert logs == [{"event": "acquirer_decline_code_unmapped", "code": "moon_phase", "log_level": "warning"}]


@pytest.mark.parametrize(
    ("problem", "refused"),
    [
        (
            {"error": "refused", "pointer": "/card/number", "detail": "no"},
            Refused("refused", "/card/number"),
        ),
        ({"error": "refused", "pointer": "/lines/0/a~1b"}, Refused("refused", "/lines/0/a~1b")),
        ({"error": "refused", "pointer": None}, Refused("refused")),
        ({"error": "refused", "pointer": "card"}, Refused("refused")),
        ({"error": "refused", "pointer": "/"}, Refused("refused")),
        ({"error": "refused", "pointer": "/a b"}, Refused("refused")),
        ({"error": "refused", "pointer": "/a\u0000"}, Refused("refused")),
        ({"error": "refused", "pointer": "/a~2"}, Refused("refused")),
        ({"error": "refused", "pointer": "/4242424242424242"}, Refused("refused")),
        ({"error": "refused", "pointer": "/a" * 17}, Refused("refused")),
        ({"error": "refused", "pointer": "/" + "a" * 65}, Refused("refused")),
        ({"error": "x" * 1000}, Refused("x" * 64)),
    ],
)
async def test_a_refusal_is_told_with_a_pointer_that_can_be_shown(
    harness: SandboxHarness, serve: Serve, problem: dict[str, object], refused: Refused
) -> None:
    connector = harness.open_at((await serve(refusing(problem))).url)
    assert await connector.send(authorization(harness), may_send=yes) == refused


@pytest.mark.parametrize("problem", [{}, {"error": 1}, {"error": "refused", "pointer": 1}])
async def test_a_refusal_that_cannot_be_read_proves_nothing(
    harness: SandboxHarness, serve: Serve, problem: dict[str, object]
) -> None:
    connector = harness.open_at((await serve(refusing(problem))).url)
    with pytest.raises(OutcomeUnknown):
        await connector.send(authorization(harness), may_send=yes)


def event(number: int = 1, **changes: object) -> dict[str, object]:
    members = {"type": "undone", "operation": "capture", "amount": 1099, "currency": "INR", "reason": None}
    return {"id": f"turn_{number}", **members, **changes}


@pytest.mark.parametrize(
    ("changes", "turn"),
    [
        ({"reason": "rejected_by_scheme"}, Undone("turn_1", 1099, "INR", "rejected_by_scheme")),
        ({}, Undone("turn_1", 1099, "INR")),
        ({"type": "redone"}, Redone("turn_1", 1099, "INR")),
        ({"type": "foreign", "operation": "refund"}, Foreign("turn_1", "refund", 1099, "INR")),
        ({"type": "foreign", "operation": "void", "amount": 0}, Foreign("turn_1", "void", 0, "INR")),
    ],
)
async def test_what_the_acquirer_did_of_itself(
    harness: SandboxHarness, serve: Serve, changes: dict[str, object], turn: object
) -> None:
    connector = harness.open_at((await serve(answering(history=[event(**changes), event(2)]))).url)
    found = await connector.inquire(authorization(harness))
    assert isinstance(found, Approved)
    assert found.since == (turn, Undone("turn_2", 1099, "INR"))


@pytest.mark.parametrize(
    "history",
    [
        [event(n) for n in range(101)],
        [event(type="repaid")],
        [event(operation="authorize")],
        [event(amount="1099")],
        [event(amount=-1)],
        [event(currency="inr")],
        [event(id="")],
        [event(id="a b")],
        [event(reason=1)],
        {},
    ],
)
async def test_a_history_that_cannot_be_read_proves_nothing(
    harness: SandboxHarness, serve: Serve, history: object
) -> None:
    connector = harness.open_at((await serve(answering(history=history))).url)
    with pytest.raises(OutcomeUnknown):
        await connector.inquire(authorization(harness))


@pytest.mark.parametrize(
    ("stage", "expected"),
    [("authorized", Stage.AUTHORIZED), ("captured", Stage.CAPTURED), (None, Stage.AUTHORIZED)],
)
async def test_how_far_an_authorization_has_come(
    harness: SandboxHarness, serve: Serve, stage: str | None, expected: Stage
) -> None:
    connector = harness.open_at((await serve(answering(stage=stage))).url)
    found = await connector.inquire(authorization(harness))
    assert isinstance(found, Approved)
    assert found.stage is expected


async def test_a_stage_that_nobody_has_heard_of_proves_nothing(harness: SandboxHarness, serve: Serve) -> None:
    connector = harness.open_at((await serve(answering(stage="settled"))).url)
    with pytest.raises(OutcomeUnknown):
        await connector.inquire(authorization(harness))


async def test_what_is_done_later_is_told_by_a_callback(harness: SandboxHarness, serve: Serve) -> None:
    asked: list[dict[str, object]] = []
    connector = SandboxCard(
        replace(account((await serve(answering(asked=asked))).url), public_url="https://api.example")
    )
    await connector.send(authorization(harness), may_send=yes)
    await connector.close()
    assert connector.capabilities.callbacks
    assert asked[0]["callback_url"] == "https://api.example/v1/connectors/sandbox_card/callbacks"


async def test_a_path_that_is_not_there_is_not_a_missing_reference(
    harness: SandboxHarness, acquirer_url: str
) -> None:
    connector = harness.open_at(f"{acquirer_url}/elsewhere")
    call = authorization(harness)
    for ask in (connector.inquire(call), connector.reverse(call), connector.send(call, may_send=yes)):
        with pytest.raises(OutcomeUnknown):
            await ask


async def test_a_wrong_key_is_rejected_and_nothing_moves(harness: SandboxHarness, acquirer_url: str) -> None:
    call = authorization(harness)
    with pytest.raises(Rejected):
        await harness.open_at(acquirer_url, key="wrong").send(call, may_send=yes)
    assert await harness.movements(call.payment_id) == []


async def test_a_malformed_request_is_refused_and_nothing_moves(harness: SandboxHarness) -> None:
    call = replace(authorization(harness), amount_minor=-1)
    assert await harness.open().send(call, may_send=yes) == Refused("invalid_request")
    assert await harness.movements(call.payment_id) == []


@pytest.mark.parametrize("kind", [OperationKind.EXPIRE, OperationKind.REVERSE])
async def test_what_the_acquirer_does_not_have_is_not_sent(
    harness: SandboxHarness, kind: OperationKind
) -> None:
    call = replace(authorization(harness), kind=kind)
    with pytest.raises(Rejected):
        await harness.open().send(call, may_send=yes)
    assert await harness.requests(call.reference) == 0


async def test_an_operation_gets_its_own_faults_only(harness: SandboxHarness) -> None:
    metadata = {
        "sandbox_fault": "slow:1, capture:slow:2,void:slow:3,refund:slow:4,inquire:slow:5,reverse:slow:6"
    }
    connector = harness.open()
    call = replace(authorization(harness), metadata=metadata, automatic_capture=True)
    reply = await connector.send(call, may_send=yes)
    assert isinstance(reply, Approved)
    assert await harness.faults_of(call) == ["authorize:slow:1"]
    refund = replace(following(call, OperationKind.REFUND), authorization_reference=reply.connector_reference)
    await connector.send(refund, may_send=yes)
    assert await harness.faults_of(refund) == ["refund:slow:4"]
    await connector.inquire(refund)
    assert await harness.faults_of(refund) == ["refund:slow:4", "inquire:slow:5"]


async def test_a_refunds_own_faults_are_its_own(harness: SandboxHarness) -> None:
    connector = harness.open()
    first = await prepared(harness, connector, OperationKind.REFUND)
    for refund in (first, following(first, OperationKind.REFUND)):
        part = replace(refund, amount_minor=100, operation_metadata={"sandbox_fault": "error_after_charge"})
        with pytest.raises(OutcomeUnknown):
            await connector.send(part, may_send=yes)
        assert await harness.faults_of(part) == ["refund:error_after_charge"]


async def test_account_options_set_the_deadline_and_finality(refusing_url: str) -> None:
    connector = SandboxCard(account(refusing_url, call_deadline_s="3.5", finality_s="0"))
    assert (connector.capabilities.call_deadline_s, connector.capabilities.finality_s) == (3.5, 0)
    await connector.close()

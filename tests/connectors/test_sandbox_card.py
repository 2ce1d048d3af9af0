"""The sandbox connector against the sandbox acquirer, and against bodies that the acquirer never sends."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sandbox_side import SandboxHarness, account, answering, refusing
from structlog.testing import capture_logs
from wire_server import Serve

from payonce.connectors.conformance import (
    ConnectorConformance,
    ReversalConformance,
    TurnsConformance,
    authorization,
    following,
    prepared,
    yes,
)
from payonce.connectors.conformance_acceptance import AcceptanceConformance
from payonce.connectors.conformance_disputes import DisputeConformance
from payonce.connectors.conformance_listing import ListingConformance
from payonce.connectors.conformance_saved import SavedCardConformance, storing
from payonce.connectors.conformance_wire import WireConformance
from payonce.connectors.sandbox.card import SandboxCard
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
from payonce.domain.payment_methods import Setup, StoredCredential


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


class TestSandboxCardsDisputes(DisputeConformance):
    """What the sandbox's bank asks back."""


class TestSandboxCardsAcceptances(AcceptanceConformance):
    """What the merchant gives in to."""


class TestSandboxCardsList(ListingConformance):
    """The sandbox's own list."""


class TestSandboxCard(
    ConnectorConformance, ReversalConformance, TurnsConformance, WireConformance, SavedCardConformance
):
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
    ours = [line for line in logs if line["event"].startswith("acquirer_")]
    assert ours == [{"event": "acquirer_decline_code_unmapped", "code": "moon_phase", "log_level": "warning"}]


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


async def test_a_token_that_the_acquirer_never_gave_is_gone(harness: SandboxHarness) -> None:
    await storing(harness.open()).delete_token({"token": "tok_" + "0" * 24})


@pytest.mark.parametrize("changes", [{"status": "kept"}, {"reference": "tok_other-deletion"}])
async def test_an_answer_that_confirms_no_deletion_is_none(
    harness: SandboxHarness, serve: Serve, changes: dict[str, object]
) -> None:
    said = {"status": "deleted", **changes}
    connector = harness.open_at((await serve(answering(**said))).url)
    with pytest.raises(OutcomeUnknown):
        await storing(connector).delete_token({"token": "tok_" + "0" * 24})


async def test_the_vaults_number_is_not_kept_by_the_acquirer_too(
    harness: SandboxHarness, serve: Serve
) -> None:
    asked: list[dict[str, object]] = []
    connector = harness.open_at((await serve(answering(asked=asked))).url)
    stored = StoredCredential(token="pm_1", saves=True, setup=Setup.OFF_SESSION)
    await connector.send(replace(authorization(harness), stored=stored), may_send=yes)
    assert "save" not in asked[0]

"""What a connector must show whose acquirer cannot be asked: tests to inherit, as `conformance`.

    class TestOurConnector(ConnectorConformance, ReplayConformance, TellingConformance):
        @pytest.fixture
        def harness(self) -> TellingHarness: ...

`ReplayConformance` is for connectors that say `Truth.REPLAY` of a kind, or send one again that is not found
(`replays_not_found`), `TellingConformance` for all whose callbacks carry facts. Each looks at the kinds that are
declared.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, Protocol, cast

import pytest

from payonce.connectors.base import Call, Callback, Calling, Connector
from payonce.connectors.conformance import (
    AFTER,
    MOVING,
    ConformanceHarness,
    Fault,
    authorization,
    eventually,
    no,
    prepared,
    yes,
)
from payonce.connectors.conformance_learning import (
    Telling,
    answered,
    check_not_known,
    learned_by_replay,
    outcome_told,
    read_callbacks,
)
from payonce.domain.errors import CallbackInvalid, ConnectorError, NotSent, OutcomeUnknown
from payonce.domain.evidence import Evidence
from payonce.domain.facts import Accepted, Approved, Declined, Redone, Refused, Undone
from payonce.domain.operations import OperationKind
from payonce.domain.truth import MODIFICATIONS, Truth

TIMES: Final = 3
WINDOW_S_MIN: Final = 3_600.0  # an outage of ours may last that long
_NO_TIME: Final = datetime.fromtimestamp(0, UTC)
CALLBACK_WITHIN_S_MAX: Final = 30 * 24 * 3600.0


class TellingHarness(ConformanceHarness, Telling, Protocol):
    """A harness of an acquirer whose callbacks carry facts."""

    @property
    def accepts(self) -> frozenset[OperationKind]:
        """The kinds that the acquirer only accepts: what becomes of them it tells."""
        ...


class ReplayConformance:
    """The same call again, with the same key and body, is answered as it was at first, and moves nothing more."""

    pytestmark = pytest.mark.asyncio

    async def test_what_it_declares_fits_together(self, harness: ConformanceHarness) -> None:
        """Nothing is sent again by others that needs a card, and nothing that is undone where it is not found."""
        capabilities = harness.open().capabilities
        assert replayed_by(harness.open())
        assert capabilities.idempotent_replay_s >= WINDOW_S_MIN
        assert capabilities.replays_not_found <= MODIFICATIONS
        for kind in capabilities.replays_not_found:
            assert capabilities.truth_of(kind) is Truth.INQUIRY, kind
            assert not capabilities.reversible(kind), kind

    async def test_what_is_sent_again_is_answered_as_at_first(self, harness: ConformanceHarness) -> None:
        connector = harness.open()
        for kind in replayed_by(connector):
            call = await prepared(harness, connector, kind)
            before = list(await harness.movements(call.payment_id))
            replies = [await connector.send(call, may_send=yes) for _ in range(TIMES)]
            assert replies == [replies[0]] * TIMES, kind
            assert list(await harness.movements(call.payment_id)) == [*before, kind]

    async def test_a_decline_is_answered_again(self, harness: ConformanceHarness) -> None:
        connector = harness.open()
        if OperationKind.AUTHORIZE not in replayed_by(connector):
            return
        for card in harness.declined_cards.values():
            call = replace(authorization(harness), card=card)
            replies = [await connector.send(call, may_send=yes) for _ in range(TIMES)]
            assert isinstance(replies[0], Declined)
            assert replies == [replies[0]] * TIMES

    @pytest.mark.parametrize("fault", AFTER)
    async def test_a_lost_answer_is_had_by_sending_it_again_from_another_process(
        self, harness: ConformanceHarness, fault: Fault
    ) -> None:
        for kind in replayed_by(harness.open()):
            call = harness.faulty(await prepared(harness, harness.open(), kind), fault)
            before = list(await harness.movements(call.payment_id))
            with pytest.raises(OutcomeUnknown):
                await harness.open().send(call, may_send=yes)
            for _ in range(TIMES):
                found = await learned_by_replay(harness, harness.open(), call)
                assert isinstance(found, Approved), kind
                assert (found.amount_minor, found.currency) == (call.amount_minor, call.currency)
            assert list(await harness.movements(call.payment_id)) == [*before, kind]

    async def test_one_that_never_arrived_is_made_by_the_next(self, harness: ConformanceHarness) -> None:
        for kind in replayed_by(harness.open()):
            call = harness.faulty(await prepared(harness, harness.open(), kind), Fault.TIMEOUT_BEFORE)
            before = list(await harness.movements(call.payment_id))
            with pytest.raises(OutcomeUnknown):
                await harness.open().send(call, may_send=yes)
            for _ in range(TIMES):  # the second is the late arrival of the first
                found = await learned_by_replay(harness, harness.open(), call)
                assert isinstance(found, Approved), kind
            assert list(await harness.movements(call.payment_id)) == [*before, kind]

    async def test_another_attempt_is_another_movement(self, harness: ConformanceHarness) -> None:
        """Two refunds of one amount are two."""
        connector = harness.open()
        call = await prepared(harness, connector, OperationKind.REFUND)
        parts = [
            replace(call, amount_minor=call.amount_minor // 3, reference=f"{call.reference}-{n}")
            for n in range(2)
        ]
        before = list(await harness.movements(call.payment_id))
        for part in parts:
            await connector.send(part, may_send=yes)
            assert isinstance(await learned_by_replay(harness, connector, part), Approved)
        assert list(await harness.movements(call.payment_id)) == [*before, "refund", "refund"]

    async def test_without_the_right_nothing_is_sent_again(self, harness: ConformanceHarness) -> None:
        connector = harness.open()
        for kind in replayed_by(connector):
            call = await prepared(harness, connector, kind)
            await connector.send(call, may_send=yes)
            requests = await harness.requests(call.reference)
            with pytest.raises(NotSent):
                await connector.send(call, may_send=no)
            assert await harness.requests(call.reference) == requests, kind


class TellingConformance:
    """Callbacks whose facts count: what is signed of them, and nothing else."""

    pytestmark = pytest.mark.asyncio

    async def test_how_long_each_callback_may_take_is_declared(self, harness: TellingHarness) -> None:
        capabilities = harness.open().capabilities
        assert capabilities.callbacks
        for kind in told_by(harness.open()):
            assert 0 < capabilities.callback_within_s[kind] <= CALLBACK_WITHIN_S_MAX, kind

    async def test_a_callback_carries_what_became_of_our_reference(self, harness: TellingHarness) -> None:
        connector = harness.open()
        for kind in told_by(connector):
            call = await prepared(harness, connector, kind)
            reply = await answered(harness, connector, call)
            assert isinstance(reply, Approved), kind
            fact = await outcome_told(harness, connector, call)
            assert isinstance(fact, Approved), kind
            assert (fact.amount_minor, fact.currency) == (call.amount_minor, call.currency)
            assert fact.connector_reference == reply.connector_reference
            assert fact.stage == reply.stage
            for callback in await read_callbacks(harness, connector, call):
                assert callback.reference == call.reference

    async def test_a_decline_is_told_as_it_was_answered(self, harness: TellingHarness) -> None:
        connector = harness.open()
        if OperationKind.AUTHORIZE not in told_by(connector):
            return
        for card in harness.declined_cards.values():
            call = replace(authorization(harness), card=card)
            assert isinstance(await connector.send(call, may_send=yes), Declined)
            assert isinstance(await outcome_told(harness, connector, call), Declined)

    async def test_it_is_the_same_event_however_often_it_is_told(self, harness: TellingHarness) -> None:
        connector = harness.open()
        call = authorization(harness)
        (headers, body), *_ = await sent(harness, connector, call)
        events = {read(connector, headers, body).event_id for _ in range(TIMES)}
        assert len(events) == 1

    async def test_only_what_is_signed_decides(self, harness: TellingHarness) -> None:
        """Whatever is changed of it, it is refused, or says the same of the money."""
        connector = harness.open()
        for kind in told_by(connector):
            for headers, body in await sent(harness, connector, await prepared(harness, connector, kind)):
                check_signed_decides(connector, headers, body)

    async def test_what_is_accepted_is_not_done_and_may_be_declined_yet(
        self, harness: TellingHarness
    ) -> None:
        connector = harness.open()
        for kind in harness.accepts:
            call = harness.faulty(await prepared(harness, connector, kind), Fault.DECLINED_LATER)
            before = list(await harness.movements(call.payment_id))
            assert isinstance(await connector.send(call, may_send=yes), Accepted), kind
            fact = await outcome_told(harness, connector, call)
            assert isinstance(fact, Declined | Refused), kind
            for headers, body in await harness.callbacks(call):
                check_signed_decides(connector, headers, body)
            assert list(await harness.movements(call.payment_id)) == before

    async def test_one_without_a_signature_is_refused(self, harness: TellingHarness) -> None:
        connector = harness.open()
        (headers, body), *_ = await sent(harness, connector, authorization(harness))
        with pytest.raises(CallbackInvalid):
            read(connector, {}, b"{}")
        for wrong in (b"", b"[]", b"null", b"\xff", body[:-1], b'{"a":' * 10_000):
            with pytest.raises(CallbackInvalid):
                read(connector, headers, wrong)

    async def test_what_was_never_sent_is_unknown_for_ever(self, harness: TellingHarness) -> None:
        connector = harness.open()
        for kind in told_by(connector):
            await check_not_known(connector, replace(authorization(harness), kind=kind))

    async def test_one_that_never_arrived_is_told_by_nobody(self, harness: TellingHarness) -> None:
        connector = harness.open()
        for kind in told_by(connector):
            call = harness.faulty(await prepared(harness, connector, kind), Fault.TIMEOUT_BEFORE)
            with pytest.raises(ConnectorError):
                await connector.send(call, may_send=yes)
            assert list(await harness.callbacks(call)) == []


def replayed_by(connector: Connector) -> list[OperationKind]:
    """The kinds of which it says so: of all, or of what is not found."""
    able = connector.capabilities
    return [kind for kind in MOVING if able.truth_of(kind) is Truth.REPLAY or able.replayed_not_found(kind)]


def told_by(connector: Connector) -> list[OperationKind]:
    """The kinds whose callbacks carry facts."""
    return [kind for kind in MOVING if connector.capabilities.truth_of(kind).is_told]


async def sent(
    harness: TellingHarness, connector: Connector, call: Call
) -> list[tuple[Mapping[str, str], bytes]]:
    """The callbacks about a call that the acquirer approves."""
    assert isinstance(await answered(harness, connector, call), Approved)

    async def some() -> list[tuple[Mapping[str, str], bytes]]:
        return list(await harness.callbacks(call))

    return await eventually(some)


def read(connector: Connector, headers: Mapping[str, str], body: bytes) -> Callback:
    """As the API has it read."""
    return cast("Calling", connector).read_callback(headers, body, now=datetime.now(UTC))


def check_signed_decides(connector: Connector, headers: Mapping[str, str], body: bytes) -> None:
    """No change of an unsigned member changes what it says, and one of a signed member is refused."""
    genuine = read(connector, headers, body)
    refused = 0
    for changed in changes(json.loads(body)):
        try:
            forged = read(connector, headers, json.dumps(changed).encode())
        except CallbackInvalid:
            refused += 1
            continue
        assert forged.reference == genuine.reference
        assert decisive(forged) == decisive(genuine), changed
        assert evidence_of(forged) == evidence_of(genuine) or not evidence_of(forged).signed
    assert refused, "nothing of it is signed"


def evidence_of(callback: Callback) -> Evidence:
    """What it says beside the money."""
    evidence = callback.fact.evidence if isinstance(callback.fact, Approved) else None
    return evidence or Evidence()


def decisive(callback: Callback) -> object:
    """What books follow of it: everything but evidence, the acquirer's own words, and which telling this is."""
    fact = callback.fact
    unsigned: dict[str, dict[str, Any]] = {
        "approved": {"evidence": None, "rail": {}},
        "declined": {"raw": {}},
        "undone": {"reason": ""},
        "pending": {"reason": ""},
        "disputed": {"reason": "", "at": _NO_TIME, "network_reason_code": None, "evidence_due_by": None},
    }
    if isinstance(fact, Undone | Redone) and fact.id == callback.event_id:
        fact = replace(fact, id="")
    if isinstance(fact, Approved) and fact.event == callback.event_id:
        fact = replace(fact, event="")
    return None if fact is None else replace(fact, **unsigned.get(fact.kind, {}))


def changes(value: Any) -> Iterator[Any]:
    """The JSON value with each of its leaves changed, one at a time, or left out."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield {other: kept for other, kept in value.items() if other != name}
            yield from ({**value, name: changed} for changed in changes(inner))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from ([*value[:place], changed, *value[place + 1 :]] for changed in changes(inner))
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield value + 1
    elif isinstance(value, str):
        yield from (f"{value}0", f"{value}:0", value[:-1], "", value.swapcase())

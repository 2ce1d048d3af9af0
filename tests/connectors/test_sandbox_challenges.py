"""Cards at the sandbox whose holder is asked: the suites for customers, challenges and legs, and its own."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import test_sandbox_card
from test_customer_connectors import FAULTS, Harness
from wire_server import Serve, WireServer, answer

from payonce.connectors.base import Call
from payonce.connectors.conformance import Fault, yes
from payonce.connectors.conformance_challenge import (
    HANDED_IN,
    ChallengeConformance,
    Did,
    HandedInConformance,
    LegConformance,
    ManualChallengeConformance,
    MovingLegConformance,
    passed,
    resumed,
    two_legged,
)
from payonce.connectors.conformance_customer import CallbackConformance, CustomerConformance, asking, decided
from payonce.connectors.conformance_declared import suites_missing
from payonce.connectors.sandbox.card import SandboxCard
from payonce.domain.cards import Card
from payonce.domain.errors import LegInvalid, OutcomeUnknown, RateLimited, Rejected
from payonce.domain.evidence import Evidence
from payonce.domain.facts import (
    ActionRequired,
    Approved,
    DeclineCode,
    Declined,
    EndsItself,
    Expired,
    Refused,
    Stage,
)
from payonce.domain.sca import Sca

CHALLENGED = "4000002500003155"
THEN_DECLINED = "4000008260003178"
FRICTIONLESS = "4000000000003055"
ATTEMPTED = "4000000000003105"
EXEMPTS_NOBODY = "4000000000003113"
SOFTLY_DECLINED = "4000000000003121"
NEVER_AUTHENTICATED = "4000000000003139"
PLAIN = "4242424242424242"
DECISIONS = {Did.PASSED: "submit", Did.FAILED: "fail", Did.WENT_BACK: "cancel"}
LEG_FAULTS = {**FAULTS, Fault.AMOUNT_MISMATCH: "amount_mismatch"}


@dataclass
class CardHarness(Harness):
    """`ChallengeHarness`, and `LegHarness` at an account whose challenges are completed by a leg."""

    options: Mapping[str, str] = field(default_factory=dict)
    brought: dict[str, dict[str, str]] = field(default_factory=dict)

    def open_at(self, url: str, **options: str) -> Any:
        return super().open_at(url, **{**self.options, **options})

    def order(self, number: str = CHALLENGED, **changes: Any) -> Call:
        card = Card(number=number, exp_month=12, exp_year=2030, cvc="737")
        return replace(super().order(), card=card, return_url="https://shop.test/back", **changes)

    def unasked(self) -> Call:
        return self.order(PLAIN)

    def softly_declined(self) -> Call:
        return self.order(SOFTLY_DECLINED)

    def faulty_leg(self, call: Call, fault: Fault) -> Call:
        self.patience.meets(fault, self.opened)
        return replace(call, metadata={"sandbox_fault": f"resume:{LEG_FAULTS[fault]}"})

    async def decide(self, payment_id: str, *, approve: bool) -> None:
        await self.does(payment_id, Did.PASSED if approve else Did.FAILED)

    async def does(self, payment_id: str, did: Did) -> None:
        await self.answer(payment_id, DECISIONS[did])

    async def answer(self, payment_id: str, decision: str, *, code: str = "123456") -> httpx.Response:
        data, headers = {"decision": decision, "code": code}, {"Accept": "application/json"}
        response = await self.witness.post(f"/card/{payment_id}", data=data, headers=headers)
        query = parse_qs(urlsplit(response.json().get("return_url") or "").query)
        self.brought[payment_id] = {name: values[0] for name, values in query.items() if name == "result"}
        return response

    def brought_back(self, payment_id: str) -> Mapping[str, str]:
        return self.brought[payment_id]

    @asynccontextmanager
    async def late(self) -> AsyncIterator[None]:
        await self.configure(late_after_reversal="accepted")
        try:
            yield
        finally:
            await self.configure(late_after_reversal="refused")

    async def configure(self, **members: str) -> None:
        (await self.witness.patch("/config", json=members)).raise_for_status()


@pytest.fixture
def options(request: pytest.FixtureRequest) -> dict[str, str]:
    """Of the account."""
    found: dict[str, str] = getattr(request, "param", {})
    return found


@pytest.fixture
async def harness(
    options: dict[str, str],
    acquirer_url: str,
    refusing_url: str,
    serve: Serve,
    witness: httpx.AsyncClient,
) -> AsyncIterator[CardHarness]:
    method = {"type": "card"}
    made = CardHarness(
        SandboxCard, "card", method, acquirer_url, refusing_url, serve, witness, options=options
    )
    yield made
    await made.close()


RESUMES = {"completes": "resume"}
legs = pytest.mark.parametrize("options", [RESUMES], indirect=True)


class TestSandboxCardAsks(
    CustomerConformance,
    ChallengeConformance,
    ManualChallengeConformance,
    HandedInConformance,
    CallbackConformance,
):
    """The page decides, as it does by default."""


@pytest.mark.parametrize(
    "options",
    [{"soft_decline": "itself"}, {"challenge_ends": "itself"}],
    indirect=True,
    ids=["itself", "ends_itself"],
)
class TestSandboxCardAsksOtherwise(ChallengeConformance, ManualChallengeConformance, HandedInConformance):
    """The acquirer steps up itself; or challenges are said to end themselves, though they can be cancelled."""


@pytest.mark.parametrize(
    "options",
    [RESUMES, {**RESUMES, "replays_legs": "on"}, {"completes": "reads"}],
    indirect=True,
    ids=["resume", "replays", "reads"],
)
class TestSandboxCardResumes(LegConformance):
    """A leg completes the challenge, or reads what the page decided."""


@pytest.mark.parametrize(
    "options", [RESUMES, {**RESUMES, "replays_legs": "on"}], indirect=True, ids=["resume", "replays"]
)
class TestSandboxCardMovesByLeg(MovingLegConformance):
    """A leg says first what moved."""


@pytest.mark.parametrize("options", [{}, RESUMES, {"completes": "reads"}], indirect=True)
async def test_every_suite_is_taken_that_is_declared(harness: CardHarness) -> None:
    legs = (TestSandboxCardResumes, TestSandboxCardMovesByLeg)
    of_cards = (
        test_sandbox_card.TestSandboxCard,
        test_sandbox_card.TestSandboxCardsList,
        test_sandbox_card.TestSandboxCardsDisputes,
        test_sandbox_card.TestSandboxCardsAcceptances,
    )
    taken = (*of_cards, TestSandboxCardAsks, *legs)
    assert not suites_missing(harness.open(), *taken)


async def test_a_challenge_is_a_page_to_go_to_and_is_the_same_when_it_is_asked_for(
    harness: CardHarness,
) -> None:
    connector, call = harness.open(), harness.order()
    asked = await connector.send(call, may_send=yes)
    assert isinstance(asked, ActionRequired)
    page = f"{harness.url}/card/{call.payment_id}"
    assert dict(asked.action) == {"type": "redirect", "url": page, "sandbox_url": page}
    assert await connector.inquire(call) == asked


@pytest.mark.parametrize(
    ("number", "answers", "code"),
    [
        (CHALLENGED, ["1", "2", "3"], DeclineCode.AUTHENTICATION_FAILED),
        (THEN_DECLINED, ["1", "123456"], DeclineCode.INSUFFICIENT_FUNDS),
    ],
)
async def test_wrong_codes_and_a_decline_after_the_right_one(
    harness: CardHarness, number: str, answers: list[str], code: DeclineCode
) -> None:
    connector, call = harness.open(), harness.order(number)
    await connector.send(call, may_send=yes)
    for given in answers:
        assert isinstance(await connector.inquire(call), ActionRequired)
        await harness.answer(call.payment_id, "submit", code=given)
    found = await decided(connector, call)
    assert isinstance(found, Declined)
    assert (found.code, found.soft) == (code, False)
    assert found.evidence is not None
    assert found.evidence.authentication == ("failed" if len(answers) == 3 else "authenticated")
    assert list(await harness.movements(call.payment_id)) == []


@pytest.mark.parametrize(
    ("number", "more", "evidence"),
    [
        (PLAIN, {}, None),
        (
            PLAIN,
            {"sca": Sca(exemption="low_value")},
            Evidence(
                authentication="exempted", eci="07", liability="merchant", exemption_honoured="low_value"
            ),
        ),
        (
            FRICTIONLESS,
            {"sca": Sca()},
            Evidence(authentication="frictionless", eci="05", liability="issuer"),
        ),
        (ATTEMPTED, {}, Evidence(authentication="attempted", eci="06", liability="issuer")),
        (
            CHALLENGED,
            {"authentication": HANDED_IN},
            Evidence(authentication="authenticated", eci="05", liability="issuer"),
        ),
    ],
)
async def test_who_is_not_asked_is_approved_at_once(
    harness: CardHarness, number: str, more: dict[str, Any], evidence: Evidence | None
) -> None:
    connector, call = harness.open(), harness.order(number, **more)
    reply = await connector.send(call, may_send=yes)
    assert isinstance(reply, Approved)
    assert reply.evidence == evidence
    assert await connector.inquire(call) == reply


async def test_a_challenge_that_no_exemption_spares(harness: CardHarness) -> None:
    call = harness.order(EXEMPTS_NOBODY, sca=Sca(exemption="transaction_risk_analysis"))
    assert isinstance(await harness.open().send(call, may_send=yes), ActionRequired)


async def test_a_card_that_nobody_can_authenticate_is_declined(harness: CardHarness) -> None:
    reply = await harness.open().send(harness.order(NEVER_AUTHENTICATED), may_send=yes)
    assert isinstance(reply, Declined)
    assert (reply.code, reply.soft) == (DeclineCode.AUTHENTICATION_FAILED, False)


async def test_challenges_that_end_themselves(harness: CardHarness) -> None:
    await harness.configure(challenge_ends="itself")
    try:
        connector, call = harness.open_at(harness.url, window_s="1"), harness.order()
        await connector.send(call, may_send=yes)
        assert await asking(connector).cancel(call) == EndsItself()
        assert isinstance(await decided(connector, call), Expired)
    finally:
        await harness.configure(challenge_ends="cancelled")


def test_what_the_account_can_do(harness: CardHarness) -> None:
    capabilities = harness.open().capabilities
    assert capabilities.three_ds == {"acquirer", "merchant"}
    assert capabilities.exemptions == {"low_value", "transaction_risk_analysis"}
    assert (capabilities.needs_action, capabilities.challenge_ends) == (True, "cancelled")
    assert (capabilities.return_parameters, capabilities.replays_legs) == (frozenset(), False)
    assert capabilities.data_in_memory
    resumes = harness.open_at(harness.url, **RESUMES, replays_legs="on").capabilities
    assert (resumes.return_parameters, resumes.replays_legs) == ({"result"}, True)
    assert resumes.legs_move_money
    assert not harness.open_at(harness.url, completes="reads").capabilities.legs_move_money


def test_what_was_handed_in_shows_in_no_repr(harness: CardHarness) -> None:
    assert HANDED_IN.cavv not in repr(harness.order(authentication=HANDED_IN))


@legs
async def test_a_leg_has_a_key_of_its_own_for_ever(harness: CardHarness, serve: Serve) -> None:
    heard: list[dict[str, Any]] = []
    server = await serve(listening(heard))
    call = await passed(harness, harness.open())
    connector = harness.open_at(server.url)
    for leg in (1, 1, 2):
        await resumed(harness, connector, call, leg=leg)
    first, again, second = heard
    assert first == again
    assert first["result"] == harness.brought_back(call.payment_id)["result"]
    assert {**second, "key": first["key"]} == first
    assert second["key"] != first["key"]


@legs
@pytest.mark.parametrize(
    ("status", "error", "raised"),
    [
        ("400 Bad Request", "result_invalid", LegInvalid),
        ("400 Bad Request", "invalid_request", LegInvalid),
        ("422 Unprocessable Content", "already_processed", OutcomeUnknown),
        ("404 Not Found", "not_found", OutcomeUnknown),
        ("401 Unauthorized", "unauthorized", Rejected),
        ("429 Too Many Requests", "rate_limited", RateLimited),
    ],
)
async def test_what_the_acquirer_may_say_of_a_leg(
    harness: CardHarness, serve: Serve, status: str, error: str, raised: type[Exception]
) -> None:
    server = await serve(listening([], status=status, said={"error": error}))
    call = harness.order()
    with pytest.raises(raised):
        await two_legged(harness.open_at(server.url)).resume(call, {"result": "r"}, leg=1, may_send=yes)


@legs
async def test_a_leg_whose_data_is_refused_for_ever(harness: CardHarness) -> None:
    connector = harness.open()
    call = await passed(harness, connector)
    faulty = replace(call, metadata={"sandbox_fault": "resume:refuse:/result"})
    assert await resumed(harness, connector, faulty) == Refused("refused", "/result")
    assert list(await harness.movements(call.payment_id)) == []


@pytest.mark.parametrize("options", [{**RESUMES, "asks_again": "on"}], indirect=True)
async def test_a_leg_may_want_the_cardholder_on_another_page(harness: CardHarness) -> None:
    connector = harness.open()
    call = await passed(harness, connector)
    first = await connector.inquire(call)
    further = await resumed(harness, connector, call)
    assert isinstance(first, ActionRequired)
    page = f"{first.action['url']}?again=1"
    assert further == replace(first, action={"type": "redirect", "url": page, "sandbox_url": page})
    assert await connector.inquire(call) == further
    assert list(await harness.movements(call.payment_id)) == []
    await harness.does(call.payment_id, Did.PASSED)
    assert isinstance(await resumed(harness, connector, call, leg=2), Approved)
    assert list(await harness.movements(call.payment_id)) == ["authorize", "capture"]


@legs
async def test_a_leg_of_a_manual_payment_authorizes_only(harness: CardHarness) -> None:
    connector = harness.open()
    call = harness.order(automatic_capture=False)
    await connector.send(call, may_send=yes)
    await harness.does(call.payment_id, Did.PASSED)
    reply = await resumed(harness, connector, call)
    assert isinstance(reply, Approved)
    assert reply.stage is Stage.AUTHORIZED
    assert list(await harness.movements(call.payment_id)) == ["authorize"]


def listening(
    heard: list[dict[str, Any]], *, status: str = "200 OK", said: dict[str, str] | None = None
) -> Any:
    """Answers every leg as told, or as one that somebody looks into."""

    async def handle(server: WireServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(100):
            body = json.loads(await server.request(reader))
            heard.append(body)
            held = {"id": "x", "reference": body["reference"], "operation": "authorize", "status": "held"}
            shown = said or {**held, "amount": 1099, "currency": "INR"}
            writer.write(answer(json.dumps(shown).encode(), status=status))
            await writer.drain()

    return handle

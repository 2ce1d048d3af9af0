"""Cards at the sandbox whose holder is asked: the suite for customers, and what authentication comes to."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from test_customer_connectors import Harness
from wire_server import Serve

from payonce.connectors.base import Call, ConnectorAccount
from payonce.connectors.conformance import Fault, following, yes
from payonce.connectors.conformance_customer import CallbackConformance, CustomerConformance, asking, decided
from payonce.connectors.sandbox.card import SandboxCard
from payonce.domain.cards import Card
from payonce.domain.errors import OutcomeUnknown
from payonce.domain.evidence import Evidence
from payonce.domain.facts import ActionRequired, Approved, DeclineCode, Declined, EndsItself, Expired, Stage
from payonce.domain.operations import OperationKind
from payonce.domain.sca import HandedIn, Sca

CHALLENGED = "4000002500003155"
THEN_DECLINED = "4000008260003178"
FRICTIONLESS = "4000000000003055"
ATTEMPTED = "4000000000003105"
EXEMPTS_NOBODY = "4000000000003113"
SOFTLY_DECLINED = "4000000000003121"
NEVER_AUTHENTICATED = "4000000000003139"
PLAIN = "4242424242424242"
HANDED_IN = HandedIn(
    version="2.2.0",
    trans_status="Y",
    eci="05",
    cavv="AJkBBkhgQQAAAE4gSEJydQAAAAA=",
    ds_transaction_id="d65e93c3-35ab-41ba-b307-767bfc19eae3",
)


@dataclass
class CardHarness(Harness):
    """`CustomerHarness` with a card whose holder is asked."""

    def order(self, number: str = CHALLENGED, **changes: Any) -> Call:
        card = Card(number=number, exp_month=12, exp_year=2030, cvc="737")
        return replace(super().order(), card=card, **changes)

    async def decide(self, payment_id: str, *, approve: bool) -> None:
        await self.answer(payment_id, "submit" if approve else "fail")

    async def answer(self, payment_id: str, decision: str, *, code: str = "123456") -> httpx.Response:
        data, headers = {"decision": decision, "code": code}, {"Accept": "application/json"}
        return await self.witness.post(f"/card/{payment_id}", data=data, headers=headers)


@pytest.fixture
async def harness(
    acquirer_url: str, refusing_url: str, serve: Serve, witness: httpx.AsyncClient
) -> AsyncIterator[CardHarness]:
    made = CardHarness(SandboxCard, "card", {"type": "card"}, acquirer_url, refusing_url, serve, witness)
    yield made
    await made.close()


class TestSandboxCardAsks(CustomerConformance, CallbackConformance):
    """Passes the suite."""


async def test_a_challenge_is_a_page_to_go_to_and_is_the_same_when_it_is_asked_for(
    harness: CardHarness,
) -> None:
    connector, call = harness.open(), harness.order()
    asked = await connector.send(call, may_send=yes)
    assert isinstance(asked, ActionRequired)
    page = f"{harness.url}/card/{call.payment_id}"
    assert dict(asked.action) == {"type": "redirect", "url": page, "sandbox_url": page}
    assert asked.completes == "customer"
    assert await connector.inquire(call) == asked


async def test_a_manual_payment_that_was_challenged_is_captured(harness: CardHarness) -> None:
    connector, call = harness.open(), harness.order(automatic_capture=False)
    await connector.send(call, may_send=yes)
    await harness.decide(call.payment_id, approve=True)
    paid = await decided(connector, call)
    assert isinstance(paid, Approved)
    assert (paid.stage, paid.capture_before is not None) == (Stage.AUTHORIZED, True)
    capture = replace(
        following(call, OperationKind.CAPTURE), authorization_reference=paid.connector_reference
    )
    assert isinstance(await connector.send(capture, may_send=yes), Approved)
    assert list(await harness.movements(call.payment_id)) == ["authorize", "capture"]


async def test_what_was_authenticated_is_evidence(harness: CardHarness) -> None:
    connector, call = harness.open(), harness.order()
    await connector.send(call, may_send=yes)
    await harness.decide(call.payment_id, approve=True)
    paid = await decided(connector, call)
    assert isinstance(paid, Approved)
    assert paid.evidence == Evidence(authentication="authenticated", eci="05", liability="issuer")


@pytest.mark.parametrize(
    ("number", "answers", "code"),
    [
        (CHALLENGED, ["fail"], DeclineCode.AUTHENTICATION_FAILED),
        (CHALLENGED, ["submit:1", "submit:2", "submit:3"], DeclineCode.AUTHENTICATION_FAILED),
        (THEN_DECLINED, ["submit:1", "submit:123456"], DeclineCode.INSUFFICIENT_FUNDS),
    ],
)
async def test_who_is_not_approved_is_declined(
    harness: CardHarness, number: str, answers: list[str], code: DeclineCode
) -> None:
    connector, call = harness.open(), harness.order(number)
    await connector.send(call, may_send=yes)
    for answer in answers:
        assert isinstance(await connector.inquire(call), ActionRequired)
        decision, _, given = answer.partition(":")
        await harness.answer(call.payment_id, decision, code=given)
    found = await decided(connector, call)
    assert isinstance(found, Declined)
    assert (found.code, found.soft) == (code, False)
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


@pytest.mark.parametrize(
    ("number", "sca"),
    [
        (EXEMPTS_NOBODY, Sca(exemption="transaction_risk_analysis")),
        (SOFTLY_DECLINED, Sca(challenge="force")),
        (PLAIN, Sca(challenge="force")),
    ],
)
async def test_a_challenge_that_was_forced_or_that_no_exemption_spares(
    harness: CardHarness, number: str, sca: Sca
) -> None:
    assert isinstance(await harness.open().send(harness.order(number, sca=sca), may_send=yes), ActionRequired)


@pytest.mark.parametrize(
    ("number", "sca"),
    [
        (SOFTLY_DECLINED, None),
        (CHALLENGED, Sca(challenge="avoid")),
        (SOFTLY_DECLINED, Sca(challenge="avoid")),
    ],
)
async def test_an_issuer_that_wants_a_challenge_declines_softly(
    harness: CardHarness, number: str, sca: Sca | None
) -> None:
    connector, call = harness.open(), harness.order(number, sca=sca)
    assert connector.capabilities.soft_decline == "resend"
    reply = await connector.send(call, may_send=yes)
    assert isinstance(reply, Declined)
    assert (reply.code, reply.soft) == (DeclineCode.AUTHENTICATION_REQUIRED, True)
    assert await connector.inquire(call) == reply


async def test_an_acquirer_that_steps_up_itself_asks_at_once(harness: CardHarness) -> None:
    connector = harness.open_at(harness.url, soft_decline="itself")
    assert connector.capabilities.soft_decline == "itself"
    assert isinstance(await connector.send(harness.order(SOFTLY_DECLINED), may_send=yes), ActionRequired)


async def test_a_card_that_nobody_can_authenticate_is_declined(harness: CardHarness) -> None:
    reply = await harness.open().send(harness.order(NEVER_AUTHENTICATED), may_send=yes)
    assert isinstance(reply, Declined)
    assert (reply.code, reply.soft) == (DeclineCode.AUTHENTICATION_FAILED, False)


async def test_an_account_whose_challenges_end_themselves(
    harness: CardHarness, witness: httpx.AsyncClient
) -> None:
    (await witness.patch("/config", json={"challenge_ends": "itself"})).raise_for_status()
    try:
        connector = harness.open_at(harness.url, challenge_ends="itself", window_s="1")
        assert connector.capabilities.challenge_ends == "itself"
        call = harness.order()
        await connector.send(call, may_send=yes)
        assert await asking(connector).cancel(call) == EndsItself()
        assert isinstance(await decided(connector, call), Expired)
    finally:
        (await witness.patch("/config", json={"challenge_ends": "cancelled"})).raise_for_status()


def test_what_the_account_can_do() -> None:
    account = ConnectorAccount(
        id="a", connector="sandbox_card", mode="test", base_url="http://127.0.0.1:1", key="k"
    )
    capabilities = SandboxCard(account).capabilities
    assert capabilities.three_ds == {"acquirer", "merchant"}
    assert capabilities.exemptions == {"low_value", "transaction_risk_analysis"}
    assert (capabilities.needs_action, capabilities.challenge_ends) == (True, "cancelled")
    assert capabilities.data_in_memory


def test_what_was_handed_in_shows_in_no_repr(harness: CardHarness) -> None:
    assert HANDED_IN.cavv not in repr(harness.order(authentication=HANDED_IN))


async def test_the_answer_to_a_forced_challenge_that_is_lost_is_found(harness: CardHarness) -> None:
    connector = harness.open()
    call = harness.faulty(harness.order(PLAIN, sca=Sca(challenge="force")), Fault.RESET_AFTER)
    with pytest.raises(OutcomeUnknown):
        await connector.send(call, may_send=yes)
    assert isinstance(await connector.inquire(call), ActionRequired)

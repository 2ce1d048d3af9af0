"""A create's risk is asked for once, before it is admitted, and what was said is on the payment's row."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from api.admission import overload
from api.admission.admission import Admission
from api.admission.requests import KeyInUse, NewPayment
from api.admission.waiting import Result, Unavailable
from payonce.connectors.base import Call, Capabilities, MaySend
from payonce.domain.answers import AnswerKind
from payonce.domain.errors import NotSent, PaymentInReview
from payonce.domain.facts import Approved
from payonce.domain.operations import AttemptState
from payonce.domain.payment import PaymentStatus
from payonce.domain.risk import Assessment, Choices, Policy, RiskVerdict
from payonce.domain.sca import Sca
from payonce.risk.asking import Assessor
from payonce.risk.base import RiskView
from payonce.risk.sandbox import SandboxRisk
from payonce.storage.merchants import Caller
from tests.storage.acting import CAPABILITIES, FakeConnector, stage_of
from tests.storage.admitting import NEW, Shop, post
from tests.storage.ledger import Ledger
from tests.support.eventually import eventually

S, A, V = PaymentStatus, AttemptState, RiskVerdict


@dataclass
class Asked:
    """Says what it is told to, once it may; remembers what it was asked about."""

    name: str = "asked"
    verdict: RiskVerdict = V.ALLOW
    about: list[RiskView] = field(default_factory=list)
    answers: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, view: RiskView, options: Mapping[str, Any]) -> Assessment:
        self.about.append(view)
        await self.answers.wait()
        return Assessment(verdict=self.verdict, reasons=("because",), provider=self.name)

    async def close(self) -> None:
        return None


@dataclass
class Acquirer(FakeConnector):
    """Does what it is asked for, but for the first calls, which do not reach it."""

    unsent: int = 0
    sent: list[Call] = field(default_factory=list)

    async def send(self, call: Call, *, may_send: MaySend) -> Any:
        self.sent.append(call)
        if not may_send() or len(self.sent) <= self.unsent:
            raise NotSent
        return Approved(f"acq-{call.reference}", call.amount_minor, call.currency, stage=stage_of(call))


def able(**changes: Any) -> Acquirer:
    capabilities: Capabilities = replace(CAPABILITIES, **changes)
    return Acquirer(capabilities=capabilities)


@dataclass
class Risky(Shop):
    """A shop whose merchant asks a provider."""

    connector: Any = field(default_factory=Acquirer)
    provider: Asked = field(default_factory=Asked)
    choices: Choices = field(default_factory=Choices)
    new: NewPayment = NEW
    within_s: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        assessor = Assessor({"asked": self.provider, "sandbox": SandboxRisk()}, within_s=self.within_s)
        self.runtime = replace(self.runtime, risk=assessor)
        self.admission = Admission(self.runtime, self.temporal)
        self.provider.answers.set()

    async def create(self, request_id: str) -> Result:
        policy = Policy(providers=("asked",), choices=self.choices)
        caller = Caller(self.ledger.merchant_id, "test", risk=policy)
        asked = replace(post(self.ledger, "k"), request_id=request_id, caller=caller)
        return await self.admission.create_payment(asked, self.new)

    async def paid(self) -> Result:
        """Created, and its attempt run."""
        request = await self.created(1, "r1")
        await self.run()
        return await request


def body(result: Result) -> dict[str, Any]:
    assert result.answer is not None
    shown: dict[str, Any] = json.loads(result.answer.body)
    return shown


async def payment_of(shop: Shop) -> Any:
    return await shop.ledger.payment(shop.payment_id)


@pytest.fixture
async def shop(ledger: Ledger) -> Risky:
    return Risky(ledger)


async def test_what_is_allowed_is_paid_and_shows_why(shop: Risky) -> None:
    shown = body(await shop.paid())
    assert shown["status"] == "captured"
    assert shown["risk"] == {"verdict": "allow", "reasons": ["because"], "provider": "asked"}
    view = shop.provider.about[0]
    assert (view.payment_id, view.first6, view.last4) == (shop.payment_id, "424242", "4242")


async def test_a_known_key_is_asked_about_never_again(shop: Risky) -> None:
    await shop.paid()
    again = await shop.create("r2")
    assert again.replayed
    assert len(shop.provider.about) == 1


async def test_a_blocked_payment_has_failed_and_no_acquirer_heard_of_it(shop: Risky) -> None:
    shop.provider.verdict = V.BLOCK
    result = await shop.create("r1")
    written_by = " UNION ".join(
        f"SELECT xmin::text FROM {table}"
        for table in ("payments", "operations", "events", "idempotency_keys")
    )
    assert len(await shop.ledger.rows(written_by)) == 1  # transaction
    problem = body(result)
    assert result.answer is not None
    assert result.answer.kind is AnswerKind.PAYMENT_BLOCKED
    assert "because" not in result.answer.body.decode()
    assert problem["payment"]["last_error"]["code"] == "payment_blocked"
    paid = await payment_of(shop)
    assert (paid.status, paid.sequence) == (S.FAILED, 1)
    assert paid.risk == {"verdict": "block", "reasons": ["because"], "provider": "asked"}
    assert await shop.ledger.count("attempts") == 0
    events = await shop.ledger.rows("SELECT type, sequence FROM events")
    assert [(event.type, event.sequence) for event in events] == [("payment.failed", 1)]
    again = await shop.create("r2")
    assert again.replayed
    assert again.answer is not None
    assert again.answer.body == result.answer.body


@pytest.mark.parametrize("silent", ["closed", "open"])
async def test_where_nobody_answers_the_merchant_chose(ledger: Ledger, silent: Any) -> None:
    shop = Risky(ledger, choices=Choices(without_answer=silent), within_s=0.05)
    shop.provider.answers.clear()
    if silent == "open":
        assert body(await shop.paid())["risk"]["reasons"] == ["no_answer"]
        return
    with pytest.raises(Unavailable):
        await shop.create("r1")
    assert [await ledger.count(table) for table in ("payments", "idempotency_keys", "operations")] == [
        0,
        0,
        0,
    ]
    shop.runtime.risk._within_s = 60.0
    shop.provider.answers.set()
    assert body(await shop.paid())["status"] == "captured"


async def test_without_an_answer_a_key_that_another_request_holds_is_in_use(ledger: Ledger) -> None:
    """503 would say that nobody is charged; the other request may be about to."""
    answered = Risky(ledger)
    silent = Risky(ledger, choices=Choices(without_answer="closed"), within_s=0.05)
    silent.provider.answers.clear()
    first = await answered.created(1, "r1")
    with pytest.raises(KeyInUse):
        await silent.create("r2")
    await answered.run()
    assert body(await first)["status"] == "captured"


async def test_the_verdict_of_the_request_that_took_the_key_stands(ledger: Ledger) -> None:
    allows, blocks = Risky(ledger), Risky(ledger)
    blocks.provider.verdict = V.BLOCK
    blocks.provider.answers.clear()
    late = asyncio.create_task(blocks.create("r2"))
    while not blocks.provider.about:
        await asyncio.sleep(0)
    shown = body(await allows.paid())
    blocks.provider.answers.set()
    again = await late
    assert again.replayed
    assert body(again) == shown


async def test_a_review_is_authorized_and_held_and_its_merchant_cannot_capture_it(shop: Risky) -> None:
    shop.provider.verdict = V.REVIEW
    shown = body(await shop.paid())
    assert (shown["status"], shown["amount_captured"], shown["capture_method"]) == (
        "authorized",
        0,
        "automatic",
    )
    assert shown["review"]["reason"] == "risk"
    with pytest.raises(PaymentInReview):
        await shop.capture(shop.payment_id)
    paid = await payment_of(shop)
    assert (paid.capture, paid.automatic) == ("held", False)


async def test_a_later_attempt_of_what_is_held_captures_nothing_either(ledger: Ledger) -> None:
    """The call is built anew from the row; the verdict is not asked for again."""
    shop = Risky(ledger, connector=Acquirer(unsent=1))
    shop.provider.verdict = V.REVIEW
    first = await shop.created(1, "r1")
    await shop.run()
    assert await shop.latest() == (1, A.NOT_SENT)
    shop.provider.verdict = V.ALLOW
    await shop.run()
    shown = body(await first)
    assert [call.automatic_capture for call in shop.connector.sent] == [False, False]
    assert (shown["status"], shown["amount_captured"]) == ("authorized", 0)
    assert len(shop.provider.about) == 1


@pytest.mark.parametrize(("choice", "status"), [("block", S.FAILED), ("allow", S.INIT)])
async def test_what_cannot_be_held_is_as_its_merchant_chose(
    ledger: Ledger, choice: Any, status: PaymentStatus
) -> None:
    automatic = able(capture_methods=frozenset({"automatic"}))
    shop = Risky(ledger, connector=automatic, choices=Choices(without_hold=choice))
    shop.provider.verdict = V.REVIEW
    request = asyncio.create_task(shop.create("r1"))
    while not await ledger.count("payments"):
        await asyncio.sleep(0.01)
    paid = await payment_of(shop)
    assert (paid.status, paid.capture) == (status, None)
    assert paid.risk == {
        "verdict": choice,
        "reasons": ["because", "review_impossible"],
        "provider": "asked",
    }
    if choice == "allow":
        await shop.run()
    await request


async def test_a_challenge_is_forced_on_every_attempt(ledger: Ledger) -> None:
    acquirer = able(three_ds=frozenset({"acquirer"}))
    shop = Risky(ledger, connector=acquirer, new=replace(NEW, sca=Sca(exemption="low_value")))
    shop.provider.verdict = V.CHALLENGE
    await shop.paid()
    assert [call.sca and call.sca.challenge for call in acquirer.sent] == ["force"]
    paid = await payment_of(shop)
    assert paid.sca == {"challenge": "force", "exemption": None}


@pytest.mark.parametrize(("choice", "blocked"), [("block", True), ("allow", False)])
async def test_a_challenge_that_no_account_can_ask_for_is_as_its_merchant_chose(
    ledger: Ledger, choice: Any, blocked: bool
) -> None:
    shop = Risky(ledger, choices=Choices(without_challenge=choice))
    shop.provider.verdict = V.CHALLENGE
    shown = body(await (shop.create("r1") if blocked else shop.paid()))
    assert (shown.get("code") == "payment_blocked") is blocked
    assert (await payment_of(shop)).risk["reasons"] == ["because", "challenge_impossible"]


@pytest.mark.parametrize(
    ("said", "verdict"), [("allow", "allow"), ("block", "block"), ("wrong", "allow"), ("slow", "allow")]
)
async def test_the_sandbox_says_what_the_metadata_tell_it(ledger: Ledger, said: str, verdict: str) -> None:
    within_s = 0.05 if said == "slow" else 5.0
    shop = Risky(ledger, new=replace(NEW, metadata={"sandbox_risk": said}), within_s=within_s)
    shown = body(await (shop.create("r1") if said == "block" else shop.paid()))
    assert (shown.get("payment") or shown)["risk"]["verdict"] == verdict


async def test_whoever_waits_for_a_provider_takes_no_place_from_others(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty requests hang at a provider, more than may work at once: none works, and the limit has not moved."""
    monkeypatch.setattr(overload, "WORKING_S_MAX", 600.0)  # nobody is put aside for another reason
    shop = Risky(ledger, in_flight_max=100, within_s=600.0)
    shop.provider.answers.clear()
    places = shop.admission._places
    limit = places.limit.value
    waiting = []
    for number in range(20):
        caller = Caller(ledger.merchant_id, "test", risk=Policy(providers=("asked",)))
        asked = replace(post(ledger, f"w{number}"), caller=caller)
        waiting.append(asyncio.create_task(shop.admission.create_payment(asked, NEW)))

    async def all_away() -> bool:
        return (len(shop.provider.about), places._working) == (20, 0)

    await eventually(all_away)  # each after the moment in which a provider may answer at once
    assert places.limit.value == limit
    assert not any(request.done() for request in waiting)
    for request in waiting:
        request.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert places._open == 0

"""Soft declines over a real Postgres: one further attempt that forces the challenge, or 402."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from activities.messages import ActionDue, InquiryDue, NothingSent, ReversalDue, Settled
from payonce.clock import boot_clock_s
from payonce.connectors.base import Call, MaySend, call_of
from payonce.domain.cards import Card
from payonce.domain.errors import NotSent, OutcomeUnknown
from payonce.domain.facts import Cancelled, DeclineCode, Declined, NotKnown, Reversed
from payonce.domain.operations import AttemptState, Operation, OperationKind
from payonce.domain.payment import PaymentStatus
from payonce.domain.sca import HandedIn, Sca
from payonce.rights import SEND_WITHIN_S, Right
from tests.storage.acting import CAPABILITIES, FakeConnector, Process, age
from tests.storage.customers import answer_of, asked, lapsed
from tests.storage.ledger import Ledger, subject
from tests.support.rows import approval

A, K, S = AttemptState, OperationKind, PaymentStatus
CARD = Card("4242424242424242", 12, 2030)
SOFT = Declined(DeclineCode.AUTHENTICATION_REQUIRED, "acq-1", raw={"decline_code": "1A"}, soft=True)
CAVV = HandedIn(version="2.2.0", trans_status="Y", eci="05", cavv="A" * 28, ds_transaction_id="d" * 36)
REQUIRED = {"code": "payment_declined", "decline_code": "authentication_required"}


@dataclass
class Issuer(FakeConnector):
    """Wants the cardholder authenticated; `forced` is what it says where a challenge is."""

    forced: Any = field(default_factory=lambda: asked(for_s=600))
    sent: list[Call] = field(default_factory=list)

    async def send(self, call: Call, *, may_send: MaySend) -> Any:
        self.sent.append(call)
        forced = call.sca is not None and call.sca.challenge == "force"
        self.answers["send"] = self.forced if forced else self.answers.get("plain", SOFT)
        return await super().send(call, may_send=may_send)

    @property
    def challenges(self) -> list[str | None]:
        return [None if call.sca is None else call.sca.challenge for call in self.sent]


@pytest.fixture
def issuer() -> Issuer:
    return Issuer(
        capabilities=replace(
            CAPABILITIES,
            soft_decline="resend",
            needs_action=True,
            challenge_ends="cancelled",
            reversal_by_reference=False,
        )
    )


@pytest.fixture
def process(shared_ledger: Ledger, issuer: Issuer) -> Process:
    return Process(shared_ledger, issuer)


async def admitted(
    process: Process, *, sca: Sca | None = None, handed_in: HandedIn | None = None
) -> Operation:
    """A create whose claim and card this process has."""
    paid = await process.ledger.add_payment(S.INIT)
    create = await process.ledger.add_operation(paid, K.AUTHORIZE)
    attempt = await process.ledger.latest(create.id)
    call = call_of(paid, create, reference=attempt.reference)
    call = replace(call, card=CARD, sca=sca, authentication=handed_in)
    deadline = boot_clock_s() + SEND_WITHIN_S
    process.rights.grant(create.id, Right(call, 1, attempt.token, "account_1", deadline))
    return create


async def states(process: Process, of: Operation) -> list[tuple[str, str | None]]:
    rows = await process.ledger.rows(
        "SELECT state, routed_by FROM attempts WHERE operation_id = :id ORDER BY number", id=of.id
    )
    return [(row.state, row.routed_by) for row in rows]


async def failed_as_required(process: Process, create: Operation) -> None:
    """402 `payment_declined`, `authentication_required`: what the first attempt said."""
    paid = await process.ledger.payment(create.payment_id)
    assert paid.status is S.FAILED
    assert paid.last_error is not None
    assert {name: paid.last_error[name] for name in REQUIRED} == REQUIRED
    answer = await answer_of(process.ledger, create)
    assert answer["code"] == "payment_declined"


async def test_a_soft_decline_becomes_a_challenge_on_the_same_payment(
    process: Process, issuer: Issuer
) -> None:
    create = await admitted(process)
    assert isinstance(await process.attempt(create), ActionDue)
    assert issuer.challenges == [None, "force"]
    assert [call.reference for call in issuer.sent] == [f"{create.id}-1", f"{create.id}-2"]
    assert [call.card for call in issuer.sent] == [CARD, CARD]
    assert await states(process, create) == [("declined", "payment"), ("waiting", "soft_decline")]
    assert (await process.ledger.payment(create.payment_id)).status is S.REQUIRES_ACTION
    assert await process.ledger.events(create.payment_id) == [(1, "payment.requires_action")], (
        "no word before"
    )
    (kept,) = await process.ledger.rows(
        "SELECT decline FROM attempts WHERE operation_id = :id AND number = 1", id=create.id
    )
    assert kept.decline == {
        "code": "authentication_required",
        "where": "same",
        "raw": {"decline_code": "1A"},
        "soft": True,
    }


async def test_at_an_account_that_is_ahead_the_decline_is_not_taken_for_that_of_the_challenge(
    process: Process, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every attempt is looked for before it is sent; the one that was declined a moment ago is no forgotten one."""

    async def inquired(call: Call) -> Any:
        sent = {one.reference for one in issuer.sent}
        return SOFT if call.reference in sent else NotKnown()

    monkeypatch.setattr("payonce.accounts.Accounts.is_ahead", lambda *_: True)
    monkeypatch.setattr(issuer, "inquire", inquired)
    create = await admitted(process)
    assert isinstance(await process.attempt(create), ActionDue)
    assert issuer.challenges == [None, "force"]
    assert (await process.ledger.payment(create.payment_id)).status is S.REQUIRES_ACTION


async def test_once_only(process: Process, issuer: Issuer) -> None:
    issuer.forced = SOFT
    create = await admitted(process)
    assert isinstance(await process.attempt(create), Settled)
    assert issuer.challenges == [None, "force"]
    await failed_as_required(process, create)


@pytest.mark.parametrize(
    ("sca", "handed_in"),
    [(Sca(challenge="avoid"), None), (None, CAVV)],
    ids=["avoid", "authenticated elsewhere"],
)
async def test_where_it_may_not_step_up_it_is_402(
    process: Process, issuer: Issuer, sca: Sca | None, handed_in: HandedIn | None
) -> None:
    create = await admitted(process, sca=sca, handed_in=handed_in)
    assert isinstance(await process.attempt(create), Settled)
    assert len(issuer.sent) == 1
    await failed_as_required(process, create)


@pytest.mark.parametrize("soft", [SOFT, replace(SOFT, soft=False)], ids=["itself", "hard"])
async def test_an_acquirer_that_steps_up_itself_and_a_hard_decline_have_no_further_attempt(
    process: Process, issuer: Issuer, soft: Declined
) -> None:
    if soft.soft:
        issuer.capabilities = replace(issuer.capabilities, soft_decline="itself")
    issuer.answers["plain"] = soft
    create = await admitted(process)
    assert isinstance(await process.attempt(create), Settled)
    assert await states(process, create) == [("declined", "payment")]
    await failed_as_required(process, create)


async def test_killed_before_the_decline_is_recorded_the_inquiry_finds_it_and_it_is_402(
    process: Process, issuer: Issuer
) -> None:
    create = await admitted(process)
    process.rights.take(create.id)  # its owner is gone
    issuer.answers["inquire"] = SOFT
    await age(process.ledger, create)
    assert isinstance(await process.resolve("inquire", create), Settled)
    assert await states(process, create) == [("declined", "payment")]
    await failed_as_required(process, create)


@asynccontextmanager
async def killed_after_the_claim(process: Process, create: Operation) -> AsyncIterator[None]:
    """The decline and the further claim are committed, and nobody sends it."""
    right = process.rights.take(create.id)
    assert right is not None
    further = await process.claimant.step_up(
        payment_id=create.payment_id, operation_id=create.id, right=right, fact=SOFT
    )
    assert further is not None
    await age(process.ledger, create)
    yield


async def test_killed_after_the_claim_it_is_inquired_about_and_not_found_is_402(
    process: Process, issuer: Issuer
) -> None:
    """Not as `card_data_lost`: the merchant is told what the issuer said."""
    create = await admitted(process)
    async with killed_after_the_claim(process, create):
        issuer.answers["inquire"] = NotKnown()
        assert isinstance(await process.resolve("inquire", create), Settled)
    assert await states(process, create) == [("declined", "payment"), ("not_processed", "soft_decline")]
    assert issuer.sent == []
    await failed_as_required(process, create)


async def test_where_the_acquirer_reverses_by_reference_too(process: Process, issuer: Issuer) -> None:
    issuer.capabilities = replace(issuer.capabilities, reversal_by_reference=True)
    create = await admitted(process)
    async with killed_after_the_claim(process, create):
        issuer.answers |= {"inquire": NotKnown(), "reverse": Reversed()}
        assert isinstance(await process.resolve("inquire", create), ReversalDue)
        assert isinstance(await process.resolve("reverse", create), Settled)
    await failed_as_required(process, create)


async def test_what_was_sent_after_all_counts(process: Process, issuer: Issuer) -> None:
    issuer.forced = OutcomeUnknown("reset")
    create = await admitted(process)
    assert isinstance(await process.attempt(create), InquiryDue)
    issuer.answers["inquire"] = approval(create)
    assert isinstance(await process.resolve("inquire", create), Settled)
    assert (await process.ledger.payment(create.payment_id)).status is S.AUTHORIZED


async def test_a_challenge_that_is_left_alone_is_abandoned_as_any_other(
    process: Process, issuer: Issuer
) -> None:
    create = await admitted(process)
    await process.attempt(create)
    await lapsed(process.ledger, create)
    issuer.answers |= {"inquire": asked(), "cancel": Cancelled()}
    assert isinstance(await process.resolve("inquire", create), ReversalDue)
    await process.resolve("reverse", create, not_found=False)
    paid = await process.ledger.payment(create.payment_id)
    assert paid.last_error is not None
    assert paid.last_error["code"] == "abandoned"


async def test_an_unsent_step_up_is_tried_again_with_its_challenge(process: Process, issuer: Issuer) -> None:
    issuer.forced = NotSent()
    create = await admitted(process)
    assert isinstance(await process.attempt(create), NothingSent)
    issuer.forced = asked(for_s=600)
    assert isinstance(await process.attempt(create), ActionDue)
    assert issuer.challenges == [None, "force", "force"]
    assert await states(process, create) == [
        ("declined", "payment"),
        ("not_sent", "soft_decline"),
        ("waiting", "soft_decline"),
    ]


async def test_one_that_is_never_sent_is_402_once_the_merchant_was_told_to_wait(
    process: Process, issuer: Issuer
) -> None:
    issuer.forced = NotSent()
    create = await admitted(process)
    await process.attempt(create)
    await process.ledger.recorder().defer(subject(create))
    assert isinstance(await process.resolve("give_up", create), Settled)
    paid = await process.ledger.payment(create.payment_id)
    assert paid.last_error is not None
    assert {name: paid.last_error[name] for name in REQUIRED} == REQUIRED


@pytest.mark.parametrize("end", ["lost answer", "lost commit", "down", "late answer"])
async def test_a_claim_that_is_not_proven_sends_nothing(process: Process, issuer: Issuer, end: str) -> None:
    """What the transaction left is either the first attempt, whose decline counts, or a claim that is given back."""
    create = await admitted(process)
    async with process.ledger.flaky(end) as flaky:
        process.claims_in = flaky
        await process.attempt(create)
    assert issuer.challenges == [None]
    found = await states(process, create)
    if end in ("lost commit", "down"):
        assert found == [("declined", "payment")]
        await failed_as_required(process, create)
    else:
        assert found == [("declined", "payment"), ("not_sent", "soft_decline")]
        assert isinstance(await process.resolve("inquire", create), NothingSent)

"""What an acquirer says of a dispute makes of the payment: once, in its order, and never twice the money."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from payonce.domain.disputes import WARNED_BEFORE, Dispute, DisputeStatus, hear, warn
from payonce.domain.events import Settlement
from payonce.domain.facts import Disputed
from payonce.domain.operations import AttemptState, OperationKind
from payonce.domain.payment import Payment, PaymentStatus
from tests.support import rows

AT = datetime(2026, 11, 29, 12, tzinfo=UTC)


def said(*, after_s: float = 0.0, **changes: Any) -> Disputed:
    usual: dict[str, Any] = {
        "id": "dsp_1",
        "stage": "chargeback",
        "status": "needs_response",
        "amount_minor": 1000,
        "currency": "INR",
        "withdrawn_minor": 1000,
        "reason": "fraudulent",
        "at": AT + timedelta(seconds=after_s),
    }
    return Disputed(**{**usual, **changes})


class Case:
    """One payment and what is known of its disputes."""

    def __init__(self, **changes: Any) -> None:
        usual = {"amount_minor": 1000, "amount_authorized_minor": 1000, "amount_captured_minor": 1000}
        self.payment: Payment = rows.payment(PaymentStatus.CAPTURED, **{**usual, **changes})
        self.known: dict[str, Dispute] = {}

    def hears(self, fact: Disputed) -> Settlement:
        operation = rows.operation(OperationKind.AUTHORIZE, payment_id=self.payment.id)
        attempt = rows.attempt(operation, AttemptState.APPROVED)
        settled = hear(
            *(self.payment, operation, attempt, self.known.get(fact.id), fact),
            dispute_id=f"dp_{fact.id}",
            now=AT,
        )
        self.payment = settled.payment
        if settled.dispute is not None:
            self.known[fact.id] = settled.dispute
        return settled

    def warns(self, *, at: datetime) -> Settlement:
        operation = rows.operation(OperationKind.AUTHORIZE, payment_id=self.payment.id)
        settled = warn(self.payment, operation, self.known.get("dsp_1"), now=at)
        self.payment = settled.payment
        if settled.dispute is not None:
            self.known["dsp_1"] = settled.dispute
        return settled


def types(settled: Settlement) -> list[str]:
    return [event.type for event in settled.events]


def test_what_was_withdrawn_cannot_be_refunded() -> None:
    case = Case()
    settled = case.hears(said())
    assert types(settled) == ["dispute.opened", "dispute.funds_withdrawn"]
    assert (case.payment.amount_disputed_minor, case.payment.refundable_minor) == (1000, 0)
    assert case.payment.status is PaymentStatus.CAPTURED
    assert [event.data["object"] for event in settled.events] == ["dispute", "dispute"]
    assert [event.sequence for event in settled.events] == [2, 3]


def test_the_rest_may_be_refunded() -> None:
    case = Case()
    case.hears(said(amount_minor=300, withdrawn_minor=300))
    assert case.payment.refundable_minor == 700


def test_an_inquiry_withdraws_nothing_so_that_a_refund_may_end_it() -> None:
    case = Case()
    settled = case.hears(said(stage="inquiry", withdrawn_minor=0))
    assert types(settled) == ["dispute.opened"]
    assert case.payment.refundable_minor == 1000
    assert types(case.hears(said(after_s=1))) == ["dispute.funds_withdrawn"]
    assert case.payment.refundable_minor == 0


def test_the_same_again_changes_nothing() -> None:
    case = Case()
    case.hears(said())
    before = case.payment
    assert case.hears(said()).dispute is None
    assert case.hears(said(after_s=5)).events == ()
    assert case.payment == before


def test_an_older_word_changes_nothing() -> None:
    case = Case()
    case.hears(said(after_s=9, status="won", withdrawn_minor=0))
    settled = case.hears(said(after_s=3))
    assert settled.dispute is None
    assert case.payment.amount_disputed_minor == 0


@pytest.mark.parametrize(
    ("status", "withdrawn", "told", "refundable"),
    [
        ("won", 0, ["dispute.funds_reinstated", "dispute.won"], 1000),
        ("lost", 1000, ["dispute.lost"], 0),
        ("lost", 600, ["dispute.funds_reinstated", "dispute.lost"], 400),  # partly won
        ("accepted", 1000, ["dispute.updated"], 0),
        ("under_review", 1000, ["dispute.updated"], 0),
    ],
)
def test_how_it_ends(status: Any, withdrawn: int, told: list[str], refundable: int) -> None:
    case = Case()
    case.hears(said())
    assert types(case.hears(said(after_s=1, status=status, withdrawn_minor=withdrawn))) == told
    assert case.payment.refundable_minor == refundable
    assert case.known["dsp_1"].status is DisputeStatus(status)


def test_what_was_won_may_be_asked_back_again() -> None:
    case = Case()
    case.hears(said())
    case.hears(said(after_s=1, status="won", withdrawn_minor=0))
    settled = case.hears(said(after_s=2, stage="pre_arbitration"))
    assert types(settled) == ["dispute.funds_withdrawn"]
    assert case.payment.amount_disputed_minor == 1000


@pytest.mark.parametrize(("status", "withdrawn"), [("won", 0), ("lost", 700)])
def test_who_is_to_act_says_nothing_of_the_money_also_once_no_other_word_is_kept(
    status: Any, withdrawn: int
) -> None:
    """Callbacks are kept for 30 days, and a dispute may last for months."""
    case = Case()
    case.hears(said(withdrawn_minor=700))
    case.hears(said(after_s=1, status=status, withdrawn_minor=withdrawn))
    before = case.known["dsp_1"]
    case.hears(said(after_s=2, status=status, reason="", only_status=True))
    assert case.payment.amount_disputed_minor == withdrawn
    assert (case.known["dsp_1"].reason, case.known["dsp_1"].stage) == (before.reason, before.stage)
    case.hears(said(after_s=3, status="under_review", only_status=True))
    assert (case.known["dsp_1"].status, case.payment.amount_disputed_minor) == ("under_review", withdrawn)


def test_several_disputes_add_up() -> None:
    case = Case()
    case.hears(said(id="a", withdrawn_minor=300))
    case.hears(said(id="b", withdrawn_minor=500))
    assert (case.payment.amount_disputed_minor, case.payment.refundable_minor) == (800, 200)
    case.hears(said(id="a", after_s=1, status="won", withdrawn_minor=0))
    assert (case.payment.amount_disputed_minor, case.payment.refundable_minor) == (500, 500)


@pytest.mark.parametrize(
    ("refunded", "pending", "withdrawn", "twice"),
    [
        (0, 0, 1000, 0),
        (400, 0, 1000, 400),
        (0, 400, 1000, 400),
        (400, 0, 600, 0),
        (400, 0, 700, 100),
        (1000, 0, 9, 9),
    ],
)
def test_a_refund_that_was_out_before_is_shown(
    refunded: int, pending: int, withdrawn: int, twice: int
) -> None:
    case = Case(amount_refunded_minor=refunded, amount_refund_pending_minor=pending)
    case.hears(said(withdrawn_minor=withdrawn))
    assert case.known["dsp_1"].refunded_before_minor == twice
    case.hears(said(after_s=1, withdrawn_minor=withdrawn, status="under_review"))
    assert case.known["dsp_1"].refunded_before_minor == twice


def test_another_currency_shows_the_banks_amount_and_holds_the_payments() -> None:
    case = Case()
    case.hears(said(amount_minor=1500, currency="EUR", withdrawn_minor=1030))
    dispute = case.known["dsp_1"]
    assert (dispute.amount_minor, dispute.currency, dispute.amount_withdrawn_minor) == (1500, "EUR", 1030)
    assert case.payment.refundable_minor == 0  # and not below


def test_long_texts_are_cut() -> None:
    case = Case()
    case.hears(replace(said(), reason="r" * 500, network_reason_code="4" * 500))
    dispute = case.known["dsp_1"]
    assert dispute.network_reason_code is not None
    assert (len(dispute.reason), len(dispute.network_reason_code)) == (100, 100)


DUE = AT + timedelta(days=10)
NEAR = DUE - WARNED_BEFORE


def test_the_merchant_is_told_once_that_evidence_is_due_soon() -> None:
    case = Case()
    assert case.warns(at=NEAR).events == ()
    case.hears(said(evidence_due_by=DUE))
    assert case.warns(at=NEAR - timedelta(seconds=1)).events == ()
    settled = case.warns(at=NEAR)
    assert types(settled) == ["dispute.evidence_due"]
    assert settled.events[0].data["evidence_due_by"] == "2026-12-09T12:00:00.000Z"
    assert settled.events[0].data["submit_to"] == {
        "connector": "sandbox_card",
        "account": "account_1",
        "connector_reference": "dsp_1",
    }
    assert case.warns(at=DUE - timedelta(hours=1)).events == ()
    assert case.payment.amount_disputed_minor == 1000


def test_a_new_deadline_is_told_of_again_and_the_same_one_is_not() -> None:
    case = Case()
    case.hears(said(evidence_due_by=DUE))
    case.warns(at=NEAR)
    case.hears(said(after_s=1, evidence_due_by=DUE, network_reason_code="10.4"))
    assert case.warns(at=NEAR).events == ()
    case.hears(said(after_s=2, stage="pre_arbitration", evidence_due_by=DUE + timedelta(days=1)))
    assert types(case.warns(at=DUE)) == ["dispute.evidence_due"]


@pytest.mark.parametrize("status", ["under_review", "won", "lost", "accepted", "closed"])
def test_nobody_is_told_of_what_nobody_has_to_answer(status: Any) -> None:
    case = Case()
    case.hears(said(status=status, evidence_due_by=DUE))
    assert case.warns(at=NEAR).events == ()


def test_nobody_is_told_when_it_is_too_late_or_no_deadline_is_known() -> None:
    case = Case()
    case.hears(said(evidence_due_by=DUE))
    assert case.warns(at=DUE).events == ()
    case.hears(said(after_s=1, evidence_due_by=None))
    assert case.warns(at=NEAR).events == ()


def test_a_word_about_another_charge_of_the_acquirers_counts_for_nothing() -> None:
    """Where payers may write references: it is held against the id that our attempt has there."""
    payment = Case().payment
    operation = rows.operation(OperationKind.AUTHORIZE, payment_id=payment.id)
    attempt = replace(rows.attempt(operation, AttemptState.APPROVED), connector_reference="pay_ours")
    disputed = {
        about: hear(payment, operation, attempt, None, said(about=about), dispute_id="dp_1", now=AT).payment
        for about in ("pay_ours", "pay_somebody_elses", None)
    }
    assert [found.amount_disputed_minor for found in disputed.values()] == [1000, 0, 1000]


def test_what_is_withdrawn_in_another_currency_takes_all_of_the_payment() -> None:
    case = Case()
    case.hears(said(amount_minor=12, withdrawn_minor=12, currency="EUR", withdrawn_in="EUR"))
    assert (case.payment.amount_disputed_minor, case.payment.refundable_minor) == (1000, 0)
    given_back = said(after_s=1, status="won", withdrawn_minor=0, currency="EUR", withdrawn_in="EUR")
    case.hears(given_back)
    assert (case.payment.amount_disputed_minor, case.payment.refundable_minor) == (0, 1000)
    case.hears(said(id="dsp_2", withdrawn_minor=300, withdrawn_in="INR"))
    assert case.payment.amount_disputed_minor == 300
    early = Case(amount_captured_minor=0)
    early.hears(said(amount_minor=12, withdrawn_minor=12, currency="EUR", withdrawn_in="EUR"))
    assert early.payment.amount_disputed_minor == 1000, "before its capture is known"


def test_one_about_nothing_is_no_dispute() -> None:
    case = Case()
    assert case.hears(said(amount_minor=0)).dispute is None

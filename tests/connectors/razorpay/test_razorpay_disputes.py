"""Disputes as Razorpay's webhooks tell them: all of the body is signed, and each has the whole dispute."""

from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import pytest
from razorpay_script import NOW, PAYMENT_ID, REFERENCE, Open, payment
from test_razorpay_callbacks import event, signed

from payonce.connectors.base import Callback
from payonce.domain.disputes import latest
from payonce.domain.facts import Disputed
from payonce.domain.truth import Truth

AT, DUE_BY = 1_796_000_000, 1_796_500_000
PAID = {"entity": payment()}


def entity(**members: Any) -> dict[str, Any]:
    """As the page on the dispute entity has it."""
    return {
        "id": "disp_AHfqOvkldwsbqt",
        "entity": "dispute",
        "payment_id": PAYMENT_ID,
        "amount": 10000,
        "currency": "INR",
        "amount_deducted": 0,
        "reason_code": "pre_arb",
        "respond_by": DUE_BY,
        "status": "open",
        "phase": "chargeback",
        "created_at": AT - 100,
        "evidence": {"amount": 9000, "summary": "4242424242424242"},
        **members,
    }


async def told(razorpay: Open, name: str = "created", *, at: int = AT, **members: Any) -> Callback:
    connector, _ = await razorpay({})
    payload = {"payment": PAID, "dispute": {"entity": entity(**members)}}
    body = event(f"payment.dispute.{name}", payload=payload, created_at=at, contains=["payment", "dispute"])
    return connector.read_callback(signed(body), body, now=NOW)


async def test_an_event_has_the_dispute_of_our_payment(razorpay: Open) -> None:
    callback = await told(razorpay)
    assert callback.reference == REFERENCE
    assert callback.fact == Disputed(
        id="disp_AHfqOvkldwsbqt",
        stage="chargeback",
        status="needs_response",
        amount_minor=10000,
        currency="INR",
        withdrawn_minor=10000,
        withdrawn_in="INR",
        reason="pre_arb",
        at=datetime.fromtimestamp(AT, UTC),
        evidence_due_by=datetime.fromtimestamp(DUE_BY, UTC),
        about=PAYMENT_ID,
    )
    connector, _ = await razorpay({})
    assert connector.capabilities.disputes is Truth.CALLBACK


@pytest.mark.parametrize(
    ("name", "members", "stage", "status", "withdrawn"),
    [
        ("created", {"phase": "fraud"}, "inquiry", "needs_response", 0),
        ("created", {"phase": "retrieval"}, "inquiry", "needs_response", 0),
        ("created", {"phase": "pre_arbitration"}, "pre_arbitration", "needs_response", 10000),
        ("created", {"phase": "arbitration"}, "arbitration", "needs_response", 10000),
        ("under_review", {"status": "under_review"}, "chargeback", "under_review", 10000),
        ("action_required", {"status": "open"}, "chargeback", "needs_response", 10000),
        ("action_required", {"status": "under_review"}, "chargeback", "needs_response", 10000),
        ("won", {"status": "won"}, "chargeback", "won", 0),
        ("lost", {"status": "lost", "amount_deducted": 9000}, "chargeback", "lost", 9000),
        ("lost", {"status": "lost"}, "chargeback", "lost", 10000),
        ("lost", {"status": "lost", "phase": "fraud", "amount_deducted": 10000}, "chargeback", "lost", 10000),
        ("closed", {"status": "closed"}, "chargeback", "closed", 0),
        ("created", {"phase": "something_new"}, "chargeback", "needs_response", 10000),
        ("created", {"status": "something_new"}, "chargeback", "under_review", 10000),
    ],
)
async def test_how_it_stands(
    razorpay: Open, name: str, members: dict[str, Any], stage: str, status: str, withdrawn: int
) -> None:
    fact = (await told(razorpay, name, **members)).fact
    assert isinstance(fact, Disputed)
    assert (fact.stage, fact.status, fact.withdrawn_minor) == (stage, status, withdrawn)


@pytest.mark.parametrize(
    "members",
    [{"id": "dsp 1"}, {"amount": 0}, {"amount": "10000"}, {"payment_id": None}, {"respond_by": -1}],
)
async def test_one_that_cannot_be_read_makes_no_event_invalid(
    razorpay: Open, members: dict[str, Any]
) -> None:
    """Refused, Razorpay would send it again for a day and then stop calling us."""
    callback = await told(razorpay, **members)
    assert (callback.reference, callback.fact) == (REFERENCE, None)


async def test_in_whatever_order_they_come_they_end_the_same(razorpay: Open) -> None:
    """Also those of one second."""
    facts = [
        (await told(razorpay, phase="retrieval")).fact,
        (await told(razorpay)).fact,
        (await told(razorpay, "under_review", status="under_review")).fact,
        (await told(razorpay, "won", at=AT + 9, status="won")).fact,
        (await told(razorpay, at=AT + 99, phase="pre_arbitration")).fact,
    ]
    ends = {latest([fact for fact in order if isinstance(fact, Disputed)]) for order in permutations(facts)}
    (end,) = ends
    assert (end.stage, end.status, end.withdrawn_minor) == ("pre_arbitration", "needs_response", 10000)

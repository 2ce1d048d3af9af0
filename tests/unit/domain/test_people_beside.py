"""Several things of one payment for a person at once, or beside what is pending: each ends with what is about it."""

from dataclasses import replace

import pytest

from payonce.domain import reviews
from payonce.domain.decisions import Verdict
from payonce.domain.errors import DecisionRefused
from payonce.domain.operations import OperationKind, OperationStatus, Subject
from payonce.domain.payment import PaymentStatus
from payonce.domain.verdicts import decide
from tests.support.verdicts import LATER, decision, late
from tests.unit.domain.playing import Play, play

S, K, O, V = PaymentStatus, OperationKind, OperationStatus, Verdict


async def call_for(played: Play, kind: OperationKind) -> None:
    subject = Subject(played.payment.id, played.latest(kind).id)
    await played._recorder.review(subject, reason="unknown")


async def test_a_review_of_our_own_release_ends_with_a_decision_by_which_nothing_is_left_to_release() -> None:
    """Else the payment shows it for ever, and reconciliation, which leaves reviews alone, never compares it again."""
    played = await play(
        "automatic, authorized, claimed capture, declined, on authorize, captured, claimed void, declined"
    )
    assert played.payment.review is not None
    assert "void_not_confirmed" in played.payment.review["reason"]
    await played.decide(played.latest(K.CAPTURE).id, V.APPROVED)
    assert (played.payment.status, played.payment.review) == (S.CAPTURED, None)
    played.check()


async def test_the_review_of_an_authorization_is_shown_when_that_of_its_late_success_has_ended() -> None:
    """By what others did at the acquirer, which is no outcome of the authorization."""
    played = await play("manual, approved less, approved elsewhere")
    await call_for(played, K.REVERSE)
    await call_for(played, K.AUTHORIZE)
    await played.step("foreign void")
    assert played.latest(K.REVERSE).status is O.SUCCEEDED
    assert reviews.is_open(played.latest(K.AUTHORIZE))
    assert played.payment.review is not None
    played.check()


async def test_what_counts_again_while_a_void_is_pending_is_held_beside_it() -> None:
    """The void may have released it by then: neither outcome is lost."""
    played = await play("automatic, unknown, called for, decided approved, cancelled, void")
    await played.step("on authorize")
    await played.step("approved")
    assert played.payment.status is S.AUTHORIZED
    played.check()
    await played.step("on void")
    await played.step("approved")
    assert (played.payment.status, played.latest(K.VOID).status) == (S.VOIDED, O.SUCCEEDED)
    played.check()


def test_a_late_refund_is_not_paid_while_its_own_reversal_goes_on() -> None:
    """Its amount is held as a pending one's, and would be for ever."""
    matter = late(K.REFUND)
    assert matter.target is not None
    reversing = replace(matter, target=replace(matter.target, status=O.PENDING))
    with pytest.raises(DecisionRefused, match="reversal has begun"):
        decide(reversing, decision(V.PAID), now=LATER)

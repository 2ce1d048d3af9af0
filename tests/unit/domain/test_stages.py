"""What is captured was paid, and what is only authorized is captured by us or by the rail; by example."""

import json
from dataclasses import replace
from typing import Any

import pytest

from payonce.domain import rail, turns
from payonce.domain.answers import AnswerKind
from payonce.domain.ending import succeed
from payonce.domain.facts import Approved, DeclineCode, Declined, Outcome, Pending, Refused, Stage, Unsent
from payonce.domain.operations import (
    Abilities,
    Attempt,
    AttemptState,
    Operation,
    OperationKind,
    OperationStatus,
    Origin,
)
from payonce.domain.payment import Payment, PaymentStatus
from payonce.domain.settlement import Settlement, defer, settle
from payonce.domain.stages import captured_since, follow, staged, stands
from tests.support.rows import CAPTURE_BEFORE, NOW, approval, attempt, captured, operation, payment, under_way
from tests.unit.domain.examples import LATER

S, K, A, O = PaymentStatus, OperationKind, AttemptState, OperationStatus
ITSELF = Abilities(captures_itself=True)
CREATE = operation(K.AUTHORIZE)
DECLINED = Declined(DeclineCode.DO_NOT_HONOR)


def recorded(
    paid: Payment, of: Operation, fact: Outcome, *, sent: Attempt | None = None, **said: Any
) -> Settlement:
    """As the recorder settles a fact, with what follows from it."""
    settled = settle(paid, of, sent or attempt(of), fact, now=LATER, **said)
    return follow(of, settled, follow_up_id=f"{of.id}_next", now=LATER)


def authorized(stage: Stage | None = Stage.AUTHORIZED, **changes: Any) -> Settlement:
    """An automatic payment that was found authorized."""
    paid = payment(capture_method="automatic", **changes)
    return recorded(paid, CREATE, approval(CREATE, stage=stage))


def types(settled: Settlement) -> list[str]:
    return [event.type for event in settled.events]


@pytest.mark.parametrize("stage", [Stage.AUTHORIZED, None])
def test_an_automatic_payment_found_authorized_is_captured_by_an_operation_of_our_own(
    stage: Stage | None,
) -> None:
    settled = authorized(stage)
    assert (settled.payment.status, settled.payment.amount_captured_minor) == (S.AUTHORIZED, 0)
    assert settled.payment.capture_before == CAPTURE_BEFORE
    assert (settled.operation.status, settled.answer, types(settled)) == (
        O.SUCCEEDED,
        None,
        ["payment.authorized"],
    )
    assert settled.attempt is not None
    assert settled.attempt.stage is Stage.AUTHORIZED
    (own,) = settled.added
    assert (own.id, own.kind, own.origin, own.status) == ("pay_1_next", K.CAPTURE, Origin.PAYONCE, O.PENDING)
    assert (own.amount_minor, own.final, own.request_id) == (1000, True, "req_1")
    assert settled.payment.pending_operation == under_way(own)
    assert settled.payment.capturable_minor == 0


def test_a_create_that_waits_for_our_capture_is_answered_with_202_once_that_takes_too_long() -> None:
    settled = authorized()
    told = defer(settled.payment, settled.operation, None, now=LATER)
    assert (told.operation.deferred_at, told.operation.status) == (LATER, O.SUCCEEDED)
    assert (told.payment, told.events) == (settled.payment, ())
    assert defer(told.payment, told.operation, None, now=NOW).operation == told.operation
    paid = recorded(payment(capture_method="automatic"), CREATE, captured(CREATE))
    assert defer(paid.payment, paid.operation, None, now=LATER).operation == paid.operation


def test_what_is_captured_with_it_needs_none_of_our_own() -> None:
    settled = recorded(payment(capture_method="automatic"), CREATE, captured(CREATE))
    assert (settled.payment.status, settled.added) == (S.CAPTURED, ())
    assert settled.attempt is not None
    assert settled.attempt.stage is Stage.CAPTURED


def test_a_manual_payment_needs_none_of_our_own() -> None:
    settled = recorded(payment(), CREATE, approval(CREATE, stage=Stage.AUTHORIZED))
    assert (settled.payment.status, settled.added) == (S.AUTHORIZED, ())
    assert settled.answer is not None


def test_a_manual_payment_found_captured_is_captured() -> None:
    settled = recorded(payment(), CREATE, captured(CREATE))
    assert (settled.payment.status, settled.payment.amount_captured_minor) == (S.CAPTURED, 1000)
    assert types(settled) == ["payment.authorized", "payment.captured"]
    assert settled.answer is not None


@pytest.mark.parametrize("status", [S.INIT, S.PROCESSING, S.REQUIRES_ACTION])
def test_where_the_rail_captures_itself_it_is_waited_for(status: PaymentStatus) -> None:
    paid = payment(status, capture_method="automatic")
    for stage in (Stage.AUTHORIZED, None):
        waiting = recorded(paid, CREATE, approval(CREATE, stage=stage), abilities=ITSELF)
        assert (waiting.payment.status, waiting.operation.status) == (S.PROCESSING, O.PENDING)
        assert (waiting.answer, waiting.added, waiting.payment.next_action) == (None, (), None)
        assert waiting.attempt is not None
        assert (waiting.attempt.state, waiting.attempt.stage) == (A.UNKNOWN, Stage.AUTHORIZED)
    again = approval(CREATE, stage=Stage.AUTHORIZED)
    same = recorded(waiting.payment, waiting.operation, again, sent=waiting.attempt, abilities=ITSELF)
    assert (same.payment, same.operation, same.events) == (waiting.payment, waiting.operation, ())
    done = recorded(
        waiting.payment, waiting.operation, captured(CREATE), sent=waiting.attempt, abilities=ITSELF
    )
    assert done.payment.status is S.CAPTURED
    assert done.answer is not None


def own_capture() -> tuple[Payment, Operation]:
    settled = authorized()
    return settled.payment, settled.added[0]


def test_our_capture_answers_the_create() -> None:
    paid, own = own_capture()
    settled = recorded(paid, own, approval(own))
    assert (settled.payment.status, types(settled), settled.added) == (S.CAPTURED, ["payment.captured"], ())
    assert settled.answer is not None
    assert (settled.answer.kind, settled.answered) == (AnswerKind.PAYMENT, "pay_1")
    assert json.loads(settled.answer.body)["status"] == "captured"


@pytest.mark.parametrize(
    ("fact", "kind", "code"),
    [
        (DECLINED, AnswerKind.PAYMENT_DECLINED, "do_not_honor"),
        (Refused("no"), AnswerKind.PAYMENT_FAILED, "acquirer_refused"),
    ],
)
def test_the_failure_of_our_capture_is_the_creates_and_a_void_of_our_own_follows(
    fact: Outcome, kind: AnswerKind, code: str
) -> None:
    paid, own = own_capture()
    failed = recorded(paid, own, fact)
    assert failed.answer is not None
    assert (failed.answer.kind, failed.answered) == (kind, "pay_1")
    problem = json.loads(failed.answer.body)
    assert problem["request_id"] == "req_1"
    assert problem["payment"]["status"] == "authorized"
    assert problem["payment"]["pending_operation"] == {"type": "void", "amount": 1000}
    assert types(failed) == ["payment.capture_failed"]
    (void,) = failed.added
    assert (void.kind, void.origin, void.amount_minor) == (K.VOID, Origin.PAYONCE, 1000)
    assert failed.payment.pending_operation == under_way(void)
    assert failed.payment.status is S.AUTHORIZED
    released = recorded(failed.payment, void, approval(void))
    assert (released.payment.status, released.answer, released.added) == (S.VOIDED, None, ())
    assert released.payment.last_error == failed.payment.last_error
    assert code in json.dumps(released.payment.last_error)


def test_a_void_of_our_own_that_is_refused_is_for_a_person() -> None:
    paid, own = own_capture()
    failed = recorded(paid, own, DECLINED)
    refused = recorded(failed.payment, failed.added[0], DECLINED)
    assert (refused.payment.status, refused.answer, refused.added) == (S.AUTHORIZED, None, ())
    assert refused.payment.pending_operation is None
    assert refused.payment.review is not None
    assert refused.payment.review["reason"] == "void_not_confirmed"
    assert types(refused) == ["payment.needs_review"]
    assert refused.payment.capture_before == CAPTURE_BEFORE  # it expires


@pytest.mark.parametrize("fact", [Pending(), Unsent()])
def test_while_our_capture_is_undecided_nothing_follows(fact: Outcome) -> None:
    paid, own = own_capture()
    settled = recorded(paid, own, fact)
    assert (settled.payment, settled.answer, settled.added) == (paid, None, ())


def test_a_stage_never_goes_back() -> None:
    approved = attempt(CREATE, A.APPROVED, stage=Stage.CAPTURED)
    assert staged(approved, approval(CREATE, stage=Stage.AUTHORIZED)) == approved
    assert staged(attempt(operation(K.CAPTURE)), captured(CREATE)).stage is None


def by_the_rail(
    paid: Payment, own: rail.Capture | None, fact: Approved | None = None, *, of: Operation = CREATE
) -> Settlement | None:
    known = attempt(of, A.APPROVED, stage=Stage.AUTHORIZED, connector_reference="acq-authorize")
    fact = fact or captured(of)
    assert captured_since(known, fact)
    done = replace(of, status=O.SUCCEEDED, connector_reference="acq-authorize")
    return rail.capture(turns.Found(paid, done, known), fact, own, now=LATER)


def test_what_the_rail_captures_before_ours_was_sent_is_the_capture() -> None:
    paid, own = own_capture()
    settled = by_the_rail(paid, rail.Capture(own, sent=False))
    assert settled is not None
    assert (settled.payment.status, settled.payment.amount_captured_minor) == (S.CAPTURED, 1000)
    assert settled.payment.pending_operation is None
    (ended,) = settled.beside
    assert (ended.id, ended.status) == (own.id, O.SUCCEEDED)
    assert (settled.operation.id, settled.answered) == ("pay_1", "pay_1")
    assert settled.answer is not None
    assert settled.attempt is not None
    assert settled.attempt.stage is Stage.CAPTURED


def test_while_ours_may_have_been_sent_its_outcome_is_waited_for_and_its_failure_is_none() -> None:
    paid, own = own_capture()
    waiting = by_the_rail(paid, rail.Capture(own, sent=True))
    assert waiting is not None
    assert (waiting.payment, waiting.events, waiting.beside) == (paid, (), ())
    by_rail = waiting.attempt
    assert by_rail is not None
    assert by_rail.stage is Stage.CAPTURED
    for fact in (DECLINED, Unsent()):
        settled = settle(paid, own, attempt(own), fact, now=LATER)
        assert stands(settled, CREATE, by_rail)
        assert not stands(settled, CREATE, attempt(CREATE, A.APPROVED, stage=Stage.AUTHORIZED))
    for fact in (approval(own), Pending()):
        assert not stands(settle(paid, own, attempt(own), fact, now=LATER), CREATE, by_rail)


def test_a_manual_authorization_that_the_rail_captures_later_is_captured() -> None:
    settled = by_the_rail(payment(S.AUTHORIZED), None)
    assert settled is not None
    assert (settled.payment.status, types(settled), settled.answer) == (
        S.CAPTURED,
        ["payment.captured"],
        None,
    )


@pytest.mark.parametrize(
    "paid",
    [
        payment(S.PARTIALLY_CAPTURED),
        payment(S.VOIDED),
        payment(S.AUTHORIZED, pending_operation=under_way(operation(K.CAPTURE))),
    ],
    ids=["captured in part", "voided", "a capture is pending"],
)
def test_what_the_rail_captures_beside_others_is_counted_as_what_somebody_else_did(paid: Payment) -> None:
    assert by_the_rail(paid, None) is None
    assert by_the_rail(payment(S.AUTHORIZED), None, captured(CREATE, amount_minor=999)) is None
    assert rail.as_foreign(captured(CREATE)).amount_minor == 1000


def test_an_attempt_of_an_earlier_version_says_nothing_of_its_stage() -> None:
    assert not captured_since(attempt(CREATE, A.APPROVED), captured(CREATE))
    assert not captured_since(attempt(CREATE, A.APPROVED, stage=Stage.CAPTURED), captured(CREATE))
    assert not captured_since(None, captured(CREATE))


def test_a_capture_of_our_own_that_nobody_sends_any_more_is_complete() -> None:
    paid, own = own_capture()
    done = succeed(paid, own, None, reply=None, now=LATER)
    assert (done.payment.status, done.answered) == (S.CAPTURED, "pay_1")

"""The outcomes that a fact may have, by name: what each changes, in full. See `becoming`.

One vocabulary for one table (`facts_and_states`), so one file, however long.
"""

from typing import Final

from payonce.domain.answers import AnswerKind
from payonce.domain.facts import (
    Accepted,
    ActionRequired,
    Declined,
    FailureCode,
    Foreign,
    Reversed,
    Stage,
    Undone,
)
from payonce.domain.operations import AttemptState, OperationKind, OperationStatus, Origin
from payonce.domain.payment import PaymentStatus
from payonce.domain.reviews import ReviewReason
from tests.unit.domain.becoming import (
    CLOSED,
    ERRORS,
    Before,
    Changes,
    Fields,
    Outcome,
    captured_now,
    closed_status,
    pending_amount,
    refundable,
    refunded_now,
    released_now,
    staged,
    turn_of,
    uncaptured,
)

S, K, A, O = PaymentStatus, OperationKind, AttemptState, OperationStatus
R = ReviewReason
OURS: Final = Origin.PAYONCE


# What a fact makes of an operation that has no outcome.


def _done(b: Before) -> Changes:
    of, paid = b.operation, b.payment
    to = Changes(
        operation={"status": O.SUCCEEDED, "connector_reference": b.approved.connector_reference},
        attempt={"state": A.APPROVED, "connector_reference": b.approved.connector_reference},
        closed=_own_review(b),
    )
    match of.kind:
        case K.CAPTURE:
            to.payment, to.told = captured_now(paid, of.amount_minor, last=of.final)
            to.payment |= {"pending_operation": None, "accepted_captures": [], "last_error": None}
            to.answers = {paid.id: AnswerKind.PAYMENT} if of.origin is OURS else _changed(b)
        case K.VOID:
            to.payment, to.told = released_now(paid, ended=S.VOIDED)
            to.payment |= {"pending_operation": None}
            if of.origin is not OURS:
                to.payment |= {"last_error": None}
                to.answers = _changed(b)
        case K.EXPIRE:
            to.payment, to.told = released_now(paid, ended=S.EXPIRED)
            to.payment |= {"pending_operation": None, "last_error": None}
        case K.REFUND:
            _refund_done(b, to)
        case K.REVERSE:
            to.payment, to.operation = _let_go(b, of.id, to.operation)
            to.told = ["payment.capture_failed"] if of.amount_undecided_minor else []
    return to


def _refund_done(b: Before, to: Changes) -> None:
    of, paid = b.operation, b.payment
    to.payment, told = refunded_now(paid, of.amount_minor)
    to.payment["amount_refund_pending_minor"] = paid.amount_refund_pending_minor - of.amount_minor
    to.told = ["refund.succeeded", *told]
    if of.ends_operation is None:
        to.answers = {of.id: AnswerKind.REFUND}
    else:
        to.payment["pending_operation"] = None
        to.others = {of.ends_operation: {"status": O.SUCCEEDED}}
        to.answers = {of.ends_operation: AnswerKind.PAYMENT_CHANGED}


def _authorized(b: Before) -> Changes:
    said = b.approved
    return Changes(
        payment={
            "status": S.AUTHORIZED,
            "amount_authorized_minor": 1000,
            "connector_reference": said.connector_reference,
            "capture_before": said.capture_before,
            "next_action": None,
            "last_error": None,
        },
        operation={"status": O.SUCCEEDED, "connector_reference": said.connector_reference},
        attempt={
            "state": A.APPROVED,
            "connector_reference": said.connector_reference,
            "failure_code": None,
            **staged(b),
        },
        told=["payment.authorized"],
        answers={b.payment.id: AnswerKind.PAYMENT},
        closed=_own_review(b),
    )


def _authorized_and_to_be_captured(b: Before) -> Changes:
    to = _authorized(b)
    to.payment["pending_operation"] = (K.CAPTURE, 1000, False)
    to.added = [_ours(K.CAPTURE, 1000)]
    to.answers = {}
    return to


def _captured_with_it(b: Before) -> Changes:
    to = _authorized(b)
    to.payment |= {"status": S.CAPTURED, "amount_captured_minor": 1000, "capture_before": None}
    to.told = ["payment.authorized", "payment.captured"]
    return to


def _captured_and_to_be_refunded(b: Before) -> Changes:
    to = _captured_with_it(b)
    assert b.pending is not None
    to.payment |= {
        "amount_refund_pending_minor": 1000,
        "pending_operation": (K.VOID, b.pending.amount_minor, True),
    }
    to.added = [{**_ours(K.REFUND, 1000), "ends": b.pending.id}]
    return to


def _doubted(b: Before) -> Changes:
    to = Changes(operation={"deferred_at": True}, attempt={"state": A.UNKNOWN})
    if isinstance(b.fact, Accepted):
        to.attempt["state"] = A.ACCEPTED
    if isinstance(b.fact, ActionRequired | Accepted):
        to.attempt["connector_reference"] = b.fact.connector_reference
    _in_doubt(b, to)
    if isinstance(b.fact, Accepted) and b.operation.kind is K.CAPTURE and not b.operation.final:
        to.payment |= {"pending_operation": None, "accepted_captures": [b.operation.amount_minor]}
        to.operation["accepted_at"] = True
    return to


def _in_doubt(b: Before, to: Changes) -> None:
    if b.operation.kind is K.AUTHORIZE and b.payment.status is not S.PROCESSING:
        to.payment |= {"status": S.PROCESSING, "next_action": None}
        to.told.append("payment.processing")
    if b.operation.kind is K.REFUND and b.operation.deferred_at is None:
        to.told.append("refund.pending")
    if b.operation.kind is K.CAPTURE and b.operation.origin is OURS:
        to.others = {b.payment.id: {"deferred_at": True}}  # the create, which is answered with it


def _waits_for_the_rail(b: Before) -> Changes:
    to = _doubted(b)
    to.attempt |= {"connector_reference": b.approved.connector_reference, **staged(b)}
    return to


def _asked(b: Before) -> Changes:
    assert isinstance(b.fact, ActionRequired)
    reference = b.fact.connector_reference
    return Changes(
        payment={
            "status": S.REQUIRES_ACTION,
            "next_action": "redirect",
            "connector_reference": reference,
        },
        attempt={
            "state": A.WAITING,
            "connector_reference": reference,
            "act_before": True,
            "completes": b.fact.completes,
        },
        told=["payment.requires_action"],
        answers={b.payment.id: AnswerKind.PAYMENT},
    )


def _to_be_reversed(b: Before) -> Changes:
    """More than was asked for is held; of an authorization nothing can be captured meanwhile anyway."""
    said = b.approved
    to = Changes(
        operation={"deferred_at": True},
        attempt={
            "state": A.REVERSING,
            "failure_code": "amount_mismatch",
            "connector_reference": said.connector_reference,
            **staged(b),
        },
    )
    same = said.currency == b.payment.currency
    moved = said.amount_minor if same else b.payment.amount_authorized_minor
    more = max(0, moved - b.operation.amount_minor)
    if b.operation.kind in (K.CAPTURE, K.REFUND) and more:
        to.operation["amount_undecided_minor"] = more
        to.payment = _side(b, b.operation.kind, more)
    _in_doubt(b, to)
    return to


def _given_back_unsent(b: Before) -> Changes:
    return Changes(attempt={"state": A.NOT_SENT})


def _failed(b: Before) -> Changes:
    of, paid, code = b.operation, b.payment, _code(b)
    to = Changes(
        operation={"status": O.FAILED, "last_error": code},
        attempt=_proven(b, code),
        closed=_own_review(b),
    )
    answer = _answer_of(b)
    match of.kind:
        case K.AUTHORIZE:
            to.payment = {"status": S.FAILED, "last_error": code, "next_action": None}
            to.told = ["payment.failed"]
            to.answers = {of.id: answer}
        case K.CAPTURE:
            to.payment, to.operation = _let_go(b, of.id, to.operation)
            to.payment |= {"pending_operation": None, "accepted_captures": [], "last_error": code}
            told = of.amount_undecided_minor or of.origin is OURS or of.accepted_at is not None
            to.told = ["payment.capture_failed"] if told else []
            to.answers = {of.id: answer}
            if of.origin is OURS:
                left = uncaptured(paid)
                to.answers = {paid.id: answer}
                to.added = [_ours(K.VOID, left)]
                to.payment["pending_operation"] = (K.VOID, left, False)
        case K.VOID if of.origin is OURS:
            to.payment = {"pending_operation": None}
            to.told, to.opened = ["payment.needs_review"], [R.NOT_REVERSIBLE]
        case K.VOID:
            to.payment = {"pending_operation": None, "last_error": code}
            to.answers = {of.id: answer}
        case K.EXPIRE:
            to.payment, to.told = released_now(paid, ended=S.EXPIRED)
            to.payment |= {"pending_operation": None, "last_error": code}
            to.told.append("payment.needs_review")
            to.opened = [R.EXPIRY_NOT_CONFIRMED]
        case K.REFUND:
            _refund_failed(b, to, code)
        case K.REVERSE:
            to.told, to.opened = ["payment.needs_review"], [R.LATE]
    if to.opened:
        to.closed = []
    return to


def _refund_failed(b: Before, to: Changes, code: str) -> None:
    of, paid = b.operation, b.payment
    to.payment, to.operation = _let_go(b, of.id, to.operation)
    to.payment["amount_refund_pending_minor"] = paid.amount_refund_pending_minor - of.amount_minor
    to.told = ["refund.failed"]
    if of.ends_operation is None:
        to.answers = {of.id: AnswerKind.REFUND}
        return
    to.told.append("payment.needs_review")
    to.payment |= {"pending_operation": None, "last_error": code}
    to.others = {of.ends_operation: {"status": O.FAILED, "last_error": code}}
    to.answers = {of.ends_operation: _answer_of(b)}
    to.opened = [R.NOT_REVERSIBLE]


def _voided_instead(b: Before) -> Changes:
    """What had been given up came to nothing: the void that waited for that has succeeded."""
    assert b.pending is not None
    code = _code(b)
    return Changes(
        payment={
            "status": S.VOIDED,
            "pending_operation": None,
            "last_error": None,
            "next_action": None,
        },
        operation={"status": O.FAILED, "last_error": code},
        attempt=_proven(b, code),
        others={b.pending.id: {"status": O.SUCCEEDED}},
        told=["payment.voided"],
        answers={b.operation_id: _answer_of(b), b.pending.id: AnswerKind.PAYMENT_CHANGED},
        closed=_own_review(b),
    )


def _stands_by_the_rail(b: Before) -> Changes:
    """Ours came to nothing, and the rail had captured by itself: the create is answered with that."""
    to = Changes(operation={"status": O.SUCCEEDED, "connector_reference": None}, attempt=_proven(b, _code(b)))
    to.payment, to.told = captured_now(b.payment, b.operation.amount_minor, last=True)
    to.payment |= {"pending_operation": None, "last_error": None}
    to.answers = {b.payment.id: AnswerKind.PAYMENT}
    return to


# What contradicts what is recorded.


def _late(b: Before) -> Changes:
    """A case, which holds what the acquirer states: reversed by us, where that is possible, else for a person."""
    of, said = b.operation, b.approved
    same = said.currency == b.payment.currency
    by_us = of.kind in (K.AUTHORIZE, K.CAPTURE) and b.attempt.state is not A.APPROVED
    held = 0 if of.kind is K.AUTHORIZE else said.amount_minor if same else b.payment.amount_authorized_minor
    if of.kind in (K.VOID, K.EXPIRE) and same:
        held = max(held, of.amount_minor)
    case = {
        **_ours(K.REVERSE, said.amount_minor),
        "currency": said.currency,
        "status": O.PENDING if by_us else O.FAILED,
        "of": of.kind,
    }
    to = Changes(payment=_side(b, of.kind, held), told=["payment.late_success"])
    if b.attempt.state is not A.APPROVED:
        to.attempt = {"connector_reference": said.connector_reference, **staged(b)}
    if by_us and not b.reversible:
        only_authorized = of.kind is K.AUTHORIZE and to.attempt.get("stage") is not Stage.CAPTURED
        case["sent_as"] = K.VOID if only_authorized else K.REFUND
    to.added = [{**case, "held": held} if held else case]
    if not (by_us and same):
        to.told.append("payment.needs_review")
        to.opened = [R.LATE]
    return to


def _stated_more(b: Before) -> Changes:
    """The open case holds the most that was stated."""
    of, said, case = b.operation, b.approved, b.case
    same = said.currency == b.payment.currency
    stated = said.amount_minor if same else b.payment.amount_authorized_minor
    held = (
        0 if of.kind is K.AUTHORIZE else max(case.amount_undecided_minor, stated - case.amount_undone_minor)
    )
    to = Changes(attempt=staged(b), told=["payment.late_success"])
    to.others = {
        case.id: {
            "amount_minor": max(case.amount_minor, said.amount_minor if same else 0),
            "amount_undecided_minor": held,
        }
    }
    to.payment = _side(b, of.kind, held - case.amount_undecided_minor)
    if case.status is O.FAILED:
        to.told.append("payment.needs_review")
        to.opened = [R.LATE]
    return to


def _captured_later(b: Before) -> Changes:
    """By the rail: the open case of the authorization is released by a refund."""
    to = Changes(attempt=staged(b), told=["payment.late_success"])
    to.others = {b.case.id: {"sent_as": K.REFUND}}
    return to


def _known_as_captured(b: Before) -> Changes:
    return Changes(attempt=staged(b))


def _captured_though_released(b: Before) -> Changes:
    """A void of ours gave back no capture: the case is open again, for a person."""
    return Changes(
        attempt=staged(b),
        others={
            b.case.id: {
                "status": O.FAILED,
                "amount_minor": max(b.case.amount_minor, b.approved.amount_minor),
            }
        },
        told=["payment.needs_review"],
        opened=[R.LATE],
    )


def _captured_later_and_more(b: Before) -> Changes:
    to = _captured_later(b)
    to.others[b.case.id]["amount_minor"] = b.approved.amount_minor
    return to


def _contradicted(b: Before) -> Changes:
    """As if the acquirer had taken all of it back."""
    return _taken_back(b, stated=b.operation.amount_minor, why=R.CONTRADICTED)


def _reversed_there(b: Before) -> Changes:
    """The acquirer took back what stands of it."""
    return _taken_back(b, stated=_standing(b), why=R.UNDONE)


# What the acquirer does of itself.


def _undone(b: Before) -> Changes:
    same = b.turn.currency == b.payment.currency
    return _taken_back(b, stated=b.turn.amount_minor if same else 0, why=R.UNDONE)


def _taken_back(b: Before, *, stated: int, why: ReviewReason) -> Changes:
    of = b.operation
    redone = sum(turn.amount_undecided_minor for turn in b.holding(K.REDO))
    assert not redone, "such a play has outcomes of its own"
    match of.kind:
        case K.REFUND:
            to = _refund_taken_back(b, min(stated, _standing(b)))
        case K.VOID | K.EXPIRE:
            to = _void_taken_back(b, min(stated, _standing(b)))
        case _:
            to = _capture_taken_back(b, min(stated, _standing(b), b.payment.amount_captured_minor))
    held = to.operation.pop("held")
    kind = {K.AUTHORIZE: K.CAPTURE, K.EXPIRE: K.VOID}.get(of.kind, of.kind)
    to.payment |= _side(b, kind, held)
    to.told.append("payment.needs_review")
    to.opened = [why]
    if isinstance(b.fact, Undone):
        to.added = [turn_of(b, held=held, of=kind)]
    else:
        to.added = [_acquirers(K.UNDO, stated, held=held, of=kind)]
    return to


def _standing(b: Before) -> int:
    """What of the operation has not been taken back; of an authorization, where it was captured with it."""
    stage = b.attempt.stage
    by_itself = stage is Stage.CAPTURED or (stage is None and b.payment.capture_method == "automatic")
    if b.operation.kind is K.AUTHORIZE and not by_itself:
        return 0
    return b.operation.amount_minor - b.operation.amount_undone_minor


def _capture_taken_back(b: Before, counted: int) -> Changes:
    paid = b.payment
    captured = paid.amount_captured_minor - counted
    left = paid.amount_authorized_minor - captured - paid.amount_capture_undecided_minor
    closed = not paid.status.capturable
    to = Changes(
        payment={
            "amount_captured_minor": captured,
            "amount_capture_undone_minor": paid.amount_capture_undone_minor + counted,
        },
        operation={
            "amount_undone_minor": b.operation.amount_undone_minor + counted,
            "held": max(counted, left) if closed else counted,
        },
        told=["payment.capture_failed!"],
    )
    status = paid.status
    if not captured:
        status = S.AUTHORIZED
    elif status in CLOSED:
        status = closed_status(captured, paid.amount_refunded_minor)
    _move(b, to, status)
    return to


def _refund_taken_back(b: Before, counted: int) -> Changes:
    of, paid = b.operation, b.payment
    refunded = paid.amount_refunded_minor - counted
    to = Changes(
        payment={"amount_refunded_minor": refunded},
        operation={"amount_undone_minor": of.amount_undone_minor + counted, "held": counted},
        told=["refund.failed!"],
    )
    if of.amount_undone_minor + counted == of.amount_minor:
        to.operation |= {"status": O.FAILED, "last_error": "taken_back"}
    if paid.status in CLOSED:
        _move(b, to, closed_status(paid.amount_captured_minor, refunded))
    return to


def _void_taken_back(b: Before, counted: int) -> Changes:
    """The authorization stands, unless its time is over; nothing of it can be captured."""
    paid = b.payment
    left = uncaptured(paid) - paid.amount_capture_undecided_minor
    to = Changes(
        operation={
            "amount_undone_minor": b.operation.amount_undone_minor + counted,
            "held": max(counted, left),
        }
    )
    stands = {S.VOIDED: S.AUTHORIZED, **dict.fromkeys(CLOSED, S.PARTIALLY_CAPTURED)}
    _move(b, to, stands.get(paid.status, paid.status))
    return to


def _held_for_a_person(b: Before) -> Changes:
    """Nothing of it can be counted."""
    turn, paid = b.turn, b.payment
    kind = {K.AUTHORIZE: K.CAPTURE, K.EXPIRE: K.VOID}.get(b.operation.kind, b.operation.kind)
    same = turn.currency == paid.currency
    held = min(turn.amount_minor, paid.amount_authorized_minor) if same else paid.amount_authorized_minor
    if not isinstance(turn, Undone):
        held = turn.amount_minor
    return Changes(
        payment=_side(b, kind, held),
        added=[turn_of(b, held=held, of=kind)],
        told=["payment.needs_review"],
        opened=[R.UNDONE],
    )


def _contradicted_authorization(b: Before) -> Changes:
    """What is not captured of it, and what is, may be gone: all of it is held."""
    return Changes(
        payment=_side(b, K.CAPTURE, 1000),
        added=[_acquirers(K.UNDO, 1000, held=1000, of=K.CAPTURE)],
        told=["payment.needs_review"],
        opened=[R.CONTRADICTED],
    )


def _held_whole(b: Before) -> Changes:
    """Nothing of it is in the amounts any more: what the acquirer denies is for a person."""
    return Changes(
        payment=_side(b, K.CAPTURE, 1000),
        added=[_acquirers(K.UNDO, 1000, held=1000, of=K.CAPTURE)],
        told=["payment.needs_review"],
        opened=[R.UNDONE if isinstance(b.fact, Reversed) else R.CONTRADICTED],
    )


def _contradicted_in_what_was_captured_of_it(b: Before) -> Changes:
    """By captures of their own: whether they are gone, too, is for a person."""
    stated = b.payment.amount_captured_minor if isinstance(b.fact, Reversed) else 1000
    held = min(stated, 1000)
    return Changes(
        payment=_side(b, K.CAPTURE, held),
        added=[_acquirers(K.UNDO, stated, held=held, of=K.CAPTURE)],
        told=["payment.needs_review"],
        opened=[R.UNDONE if isinstance(b.fact, Reversed) else R.CONTRADICTED],
    )


def _only_told(b: Before) -> Changes:
    """There is an operation that tells of it; it changes nothing else."""
    of = None if isinstance(b.turn, Foreign) else _turned(b)
    return Changes(added=[turn_of(b, of=of)])


def _rails_capture_undone(b: Before) -> Changes:
    """It was not in the amounts yet: the outcome of our own capture is waited for."""
    stated = b.turn.amount_minor if isinstance(b.fact, Undone) else _standing(b)
    counted = min(stated, _standing(b))
    return Changes(
        payment={"amount_capture_undone_minor": b.payment.amount_capture_undone_minor + counted},
        operation={"amount_undone_minor": b.operation.amount_undone_minor + counted},
        added=[_acquirers(K.UNDO, stated, of=K.CAPTURE)],
    )


def _redone(b: Before) -> Changes:
    """It counts again, and what was held for its undoing is let go. A refund is told as failed: for a person."""
    match b.operation.kind:
        case K.REFUND:
            return _refund_redone(b)
        case K.VOID | K.EXPIRE:
            return _void_redone(b)
        case _:
            return _capture_redone(b)


def _capture_redone(b: Before) -> Changes:
    of, paid = b.operation, b.payment
    free = max(0, uncaptured(paid) - pending_amount(b))
    counted = min(b.turn.amount_minor, of.amount_undone_minor, free)
    to = _undoings_let_go(b, min(b.turn.amount_minor, of.amount_undone_minor))
    undone = paid.amount_capture_undone_minor - counted
    captured = paid.amount_captured_minor + counted
    more: Fields = {"amount_captured_minor": captured}
    told: list[str] = []
    if paid.status.capturable and counted:
        more, told = captured_now(paid, counted, last=of.final and not undone)
    elif counted:
        status = closed_status(captured, paid.amount_refunded_minor)
        again = f"payment.{paid.status}" if paid.status in CLOSED else "payment.captured"
        told = [again] + ([f"payment.{status}"] if again != f"payment.{status}" else [])
        more["status"] = status
    to.payment |= {**more, "amount_capture_undone_minor": undone}
    to.operation = {"amount_undone_minor": of.amount_undone_minor - counted}
    to.told = told
    _hold_the_rest(b, to, b.turn.amount_minor - counted, K.CAPTURE)
    return to


def _refund_redone(b: Before) -> Changes:
    to = _undoings_let_go(b, min(b.turn.amount_minor, b.operation.amount_undone_minor))
    _hold_the_rest(b, to, b.turn.amount_minor, K.REFUND)
    return to


def _void_redone(b: Before) -> Changes:
    of, paid = b.operation, b.payment
    counted = min(b.turn.amount_minor, of.amount_undone_minor)
    to = _undoings_let_go(b, counted)
    to.operation = {"amount_undone_minor": of.amount_undone_minor - counted}
    if paid.status.capturable and b.pending is None:
        more, to.told = released_now(paid, ended=S.VOIDED)
        to.payment |= more
    _hold_the_rest(b, to, b.turn.amount_minor - counted, K.VOID)
    return to


def _undoings_let_go(b: Before, less: int) -> Changes:
    """What is held for undoings, the latest first; all of it with the last. So much less of them is left open."""
    to, let_go, again = Changes(), 0, less
    held = b.holding(K.UNDO)
    if less >= b.operation.amount_undone_minor:
        less = sum(turn.amount_undecided_minor for turn in held)
    for turn in held:
        gone = min(less, turn.amount_undecided_minor)
        less, let_go = less - gone, let_go + gone
        closed = min(again, turn.amount_minor - turn.amount_undone_minor)
        again -= closed
        if gone:
            to.others[turn.id] = {
                "amount_undecided_minor": turn.amount_undecided_minor - gone,
                "amount_undone_minor": turn.amount_undone_minor + closed,
            }
        if gone == turn.amount_undecided_minor:
            to.others[turn.id]["amount_undone_minor"] = turn.amount_minor
            to.closed.append(turn.id)
    to.payment = _side(b, _turned(b), -let_go)
    return to


def _hold_the_rest(b: Before, to: Changes, held: int, kind: OperationKind) -> None:
    to.added = [turn_of(b, held=held, of=kind)]
    if held:
        side = _side(b, kind, held)
        for name, value in side.items():
            to.payment[name] = (
                to.payment.get(name, getattr(b.payment, name)) + value - getattr(b.payment, name)
            )
        to.told.append("payment.needs_review")
        to.opened = [R.UNDONE]


# What others did at the acquirer.


def _booked(b: Before) -> Changes:
    """As far as it fits beside what is pending and held; the rest is held for a person."""
    turn, paid = b.turn, b.payment
    assert isinstance(turn, Foreign)
    stated = turn.amount_minor if turn.currency == paid.currency else 0
    to = Changes()
    if turn.what == "refund":
        fits = min(stated, refundable(paid))
        if fits:
            to.payment, told = refunded_now(paid, fits)
            to.told = ["refund.succeeded", *told]
    else:
        room = uncaptured(paid) - paid.amount_capture_undecided_minor - pending_amount(b)
        fits = max(0, min(stated, room)) if paid.status.capturable else 0
        if fits:
            to.payment, to.told = captured_now(paid, fits, last=False)
    held = turn.amount_minor - fits
    to.payment |= _side(b, K(turn.what), held)
    to.added = [turn_of(b, held=held)]
    if held:
        to.told.append("payment.needs_review")
        to.opened = [R.FOREIGN]
    return to


def _released(b: Before) -> Changes:
    """What is not captured is gone."""
    to = Changes()
    to.payment, to.told = released_now(b.payment, ended=S.VOIDED)
    amount = uncaptured(b.payment) if isinstance(b.fact, Reversed) else 1000
    to.added = [_acquirers(K.VOID, amount)]
    return to


def _release_held(b: Before) -> Changes:
    """What is pending may still succeed, or it was not all of it: all is held, for a person."""
    paid = b.payment
    left = uncaptured(paid) if paid.status.capturable else 0
    amount, currency = (
        (left, "INR") if isinstance(b.fact, Reversed) else (b.turn.amount_minor, b.turn.currency)
    )
    held = max(amount, left)
    return Changes(
        payment=_side(b, K.VOID, held),
        added=[_acquirers(K.VOID, amount, held=held, currency=currency)],
        told=["payment.needs_review"],
        opened=[R.FOREIGN],
    )


def _by_the_rail(b: Before) -> Changes:
    """The rail captured what was known to be authorized only; ours, which was not sent, ends with it."""
    paid = b.payment
    to = Changes(
        payment={"status": S.CAPTURED, "amount_captured_minor": 1000},
        attempt={"stage": Stage.CAPTURED},
        told=["payment.captured"],
    )
    if b.pending is not None:
        reference = b.approved.connector_reference
        to.payment |= {"pending_operation": None, "last_error": None}
        to.others = {b.pending.id: {"status": O.SUCCEEDED, "connector_reference": reference}}
        to.answers = {paid.id: AnswerKind.PAYMENT}
    return to


def _by_others_instead(b: Before) -> Changes:
    """All of it was captured in the dashboard before ours was sent: ours ends with that."""
    assert isinstance(b.turn, Foreign)
    assert b.pending is not None
    return Changes(
        payment={
            "status": S.CAPTURED,
            "amount_captured_minor": 1000,
            "pending_operation": None,
            "last_error": None,
        },
        others={b.pending.id: {"status": O.SUCCEEDED, "connector_reference": b.turn.id}},
        told=["payment.captured"],
        answers={b.payment.id: AnswerKind.PAYMENT},
    )


def _by_the_rail_or_by_us(b: Before) -> Changes:
    """Ours was sent: its outcome is waited for."""
    return Changes(attempt={"stage": Stage.CAPTURED})


def _captured_by_others(b: Before) -> Changes:
    """It is none that was to come: counted as what somebody else did, once for the authorization."""
    said = b.approved
    stated = said.amount_minor if said.currency == b.payment.currency else 0
    room = uncaptured(b.payment) - b.payment.amount_capture_undecided_minor - pending_amount(b)
    fits = max(0, min(stated, room)) if b.payment.status.capturable else 0
    held = said.amount_minor - fits
    to = Changes(added=[_acquirers(K.CAPTURE, said.amount_minor, held=held, currency=said.currency)])
    if fits:
        to.payment, to.told = captured_now(b.payment, fits, last=False)
    to.payment |= _side(b, K.CAPTURE, held)
    if held:
        to.told.append("payment.needs_review")
        to.opened = [R.FOREIGN]
    return to


# What becomes of a late success whose case is open, or was.


def _case_ended(b: Before) -> Changes:
    """The acquirer undid it itself: nothing is held for it any more."""
    case = b.case
    to = Changes(closed=_review_of(b, case.id))
    ended: Fields = {"status": O.SUCCEEDED}
    if isinstance(b.fact, Undone):
        ended["amount_undone_minor"] = case.amount_minor
    to.payment, ended = _let_go(b, case.id, ended)
    to.others = {case.id: ended}
    if case.amount_undecided_minor:
        to.told = ["refund.failed" if case.target_kind is K.REFUND else "payment.capture_failed"]
    if not isinstance(b.fact, Reversed):
        to.added = [turn_of(b, of=None if isinstance(b.fact, Foreign) else case.target_kind)]
    return to


def _case_lessened(b: Before) -> Changes:
    """A part of it is undone: so much less is held, and the rest stays what it was."""
    case, less = b.case, b.turn.amount_minor
    held = max(0, case.amount_undecided_minor - less)
    to = Changes(added=[turn_of(b, of=case.target_kind)])
    to.others = {
        case.id: {"amount_undone_minor": case.amount_undone_minor + less, "amount_undecided_minor": held}
    }
    to.payment = _side(b, _turned(b), held - case.amount_undecided_minor)
    if held < case.amount_undecided_minor:
        to.told = ["refund.failed" if case.target_kind is K.REFUND else "payment.capture_failed"]
    return to


def _case_holds_again(b: Before) -> Changes:
    """What was undone of it stands again."""
    case = b.case
    more = min(case.amount_undone_minor, b.turn.amount_minor)
    held = case.amount_undecided_minor and case.amount_undecided_minor + more
    to = Changes(added=[turn_of(b, of=case.target_kind)])
    to.others = {
        case.id: {
            "amount_undone_minor": case.amount_undone_minor - more,
            "amount_undecided_minor": held,
        }
    }
    to.payment = _side(b, _turned(b), held - case.amount_undecided_minor)
    if held > case.amount_undecided_minor:
        to.told = ["payment.late_success"]
    return to


def _case_open_again(b: Before) -> Changes:
    """It is done again after it had been undone: held again, for a person."""
    case = b.case
    undone = max(0, case.amount_undone_minor - b.turn.amount_minor)
    held = 0 if case.target_kind is K.AUTHORIZE else case.amount_minor - undone
    to = Changes(added=[turn_of(b, of=case.target_kind)])
    to.others = {case.id: {"status": O.FAILED, "amount_undone_minor": undone, "amount_undecided_minor": held}}
    to.payment = _side(b, _turned(b), held)
    to.told, to.opened = ["payment.needs_review"], [R.LATE]
    return to


def _went_back_twice(b: Before) -> Changes:
    """We had refunded it, and the acquirer took it back as well: nothing is held, and a person must know."""
    case = b.case
    return Changes(
        others={case.id: {"status": O.FAILED, "amount_undone_minor": case.amount_minor}},
        added=[turn_of(b, of=case.target_kind)],
        told=["payment.needs_review"],
        opened=[R.LATE],
    )


def _release_undone(b: Before) -> Changes:
    """What we released it by is taken back, or denied: the case is open again, for a person."""
    case = b.operation
    held = 0 if case.target_kind is K.AUTHORIZE else case.amount_minor
    to = Changes(
        payment=_side(b, case.target_kind or K.REVERSE, held),
        operation={"status": O.FAILED, "amount_undecided_minor": held},
        told=["payment.needs_review"],
        opened=[R.LATE],
    )
    if isinstance(b.fact, Undone):
        to.operation["last_error"] = "taken_back"
        to.added = [turn_of(b, of=case.sent_as)]
    elif isinstance(b.fact, Reversed) and b.attempt.state is A.APPROVED:
        to.operation["last_error"] = "taken_back"
        to.added = [_acquirers(K.UNDO, case.amount_minor, of=case.sent_as)]
    return to


def _release_redone(b: Before) -> Changes:
    case = b.operation
    to = Changes(closed=[case.id], added=[turn_of(b, of=case.sent_as)])
    to.payment, to.operation = _let_go(b, case.id, {"status": O.SUCCEEDED, "last_error": None})
    if case.amount_undecided_minor:
        to.told = ["payment.capture_failed"]
    return to


def _released_after_all(b: Before) -> Changes:
    """A release that had failed succeeded: the case ends, whoever was called."""
    case, said = b.operation, b.approved
    to = Changes(
        attempt={
            "state": A.APPROVED,
            "failure_code": None,
            "connector_reference": said.connector_reference,
        },
        closed=_own_review(b),
    )
    done = {"status": O.SUCCEEDED, "connector_reference": said.connector_reference}
    to.payment, to.operation = _let_go(b, case.id, done)
    if case.amount_undecided_minor:
        to.told = ["payment.capture_failed"]
    return to


def _released_otherwise(b: Before) -> Changes:
    """By another amount than was asked for: for a person."""
    to = Changes(
        operation={"status": O.FAILED},
        attempt={
            "state": A.APPROVED,
            "failure_code": None,
            "connector_reference": b.approved.connector_reference,
        },
        told=["payment.needs_review"],
        opened=[R.LATE],
    )
    return to


def _released_needlessly(b: Before) -> Changes:
    """The acquirer had undone it itself, and we paid it back as well: a person must know."""
    return Changes(
        operation={"status": O.FAILED},
        attempt={"state": A.APPROVED, "connector_reference": b.approved.connector_reference},
        told=["payment.needs_review"],
        opened=[R.LATE],
    )


def _paid_back_twice(b: Before) -> Changes:
    """Our refund of a late success was paid twice under one reference: nothing is held, and a person must know."""
    case = b.operation
    return Changes(
        operation={"status": O.FAILED, "amount_undone_minor": case.amount_minor},
        told=["payment.needs_review"],
        opened=[R.LATE],
    )


# Small ones.


def _code(b: Before) -> str:
    if isinstance(b.fact, Reversed):
        without = "abandoned" if b.attempt.asked else "not_processed"
        return b.attempt.failure_code or without
    return ERRORS[b.fact.kind]


def _proven(b: Before, code: str) -> Fields:
    """The attempt that came to nothing."""
    if isinstance(b.fact, Declined):
        reference = b.fact.connector_reference
        decline = {"code": b.fact.code, "where": b.fact.where, "raw": {}}
        return {
            "state": A.DECLINED,
            "connector_reference": reference,
            "failure_code": None,
            "decline": decline,
        }
    return {"state": A.NOT_PROCESSED, "failure_code": FailureCode(code).value}


def _answer_of(b: Before) -> AnswerKind:
    declined = isinstance(b.fact, Declined)
    return AnswerKind.PAYMENT_DECLINED if declined else AnswerKind.PAYMENT_FAILED


def _changed(b: Before) -> dict[str, AnswerKind]:
    return {b.operation_id: AnswerKind.PAYMENT_CHANGED}


def _ours(kind: OperationKind, amount: int) -> Fields:
    return {"kind": kind, "origin": OURS, "status": O.PENDING, "amount": amount, "currency": "INR"}


def _acquirers(
    kind: OperationKind,
    amount: int,
    *,
    held: int = 0,
    of: OperationKind | None = None,
    currency: str = "INR",
) -> Fields:
    shown: Fields = {"kind": kind, "origin": Origin.ACQUIRER, "status": O.SUCCEEDED, "amount": amount}
    more = {"held": held, "of": of}
    return {**shown, "currency": currency, **{name: value for name, value in more.items() if value}}


def _side(b: Before, kind: OperationKind, more: int) -> Fields:
    """So much more is undecided, on the side of refunds or of captures; a late authorization is on neither."""
    if kind in (K.AUTHORIZE, K.REVERSE) or not more:
        return {}
    side = "refund" if kind is K.REFUND else "capture"
    name = f"amount_{side}_undecided_minor"
    return {name: getattr(b.payment, name) + more}


def _let_go(b: Before, operation_id: str, of: Fields) -> tuple[Fields, Fields]:
    """Nothing is held for the operation any more."""
    held = b.tables.operations[operation_id]
    kind = held.target_kind or held.kind
    return _side(b, kind, -held.amount_undecided_minor), {**of, "amount_undecided_minor": 0}


def _turned(b: Before) -> OperationKind:
    """The kind of what is undone, or done again."""
    kind = b.operation.kind
    for of in b.tables.operations.values():
        if of.kind is K.REVERSE and of.target_reference == b.attempt.reference:
            return kind
    if kind is K.REVERSE:
        assert b.operation.sent_as is not None
        return b.operation.sent_as
    return {K.AUTHORIZE: K.CAPTURE, K.EXPIRE: K.VOID}.get(kind, kind)


def _own_review(b: Before) -> list[str]:
    return _review_of(b, b.operation_id)


def _review_of(b: Before, operation_id: str) -> list[str]:
    return [operation_id] if operation_id in b.tables.open_reviews else []


def _move(b: Before, to: Changes, status: PaymentStatus) -> None:
    if status is not b.payment.status:
        to.payment["status"] = status
        to.told.append(f"payment.{status}")


DONE = Outcome("done as it was asked for", _done)
AUTHORIZED = Outcome("authorized", _authorized)
CAPTURE_FOLLOWS = Outcome("authorized, and a capture of our own begins", _authorized_and_to_be_captured)
CAPTURED = Outcome("authorized and captured", _captured_with_it)
REFUND_FOLLOWS = Outcome(
    "captured although it had been given up, and a refund of our own begins", _captured_and_to_be_refunded
)
DOUBTED = Outcome("not known, and told so", _doubted)
WAITS_FOR_RAIL = Outcome("authorized, and the rail's capture is waited for", _waits_for_the_rail)
ASKED = Outcome("the customer is asked to act", _asked)
TO_BE_REVERSED = Outcome("another amount was moved, which is to be reversed", _to_be_reversed)
UNSENT = Outcome("given back, unsent", _given_back_unsent)
STANDS_BY_THE_RAIL = Outcome("it stands, since the rail had captured", _stands_by_the_rail)
FAILED = Outcome("failed", _failed)
VOIDED_INSTEAD = Outcome("came to nothing, and the void that waited for that has succeeded", _voided_instead)
LATE = Outcome("a case of a late success", _late)
STATED_MORE = Outcome("the case holds more", _stated_more)
KNOWN_AS_CAPTURED = Outcome("known to be captured", _known_as_captured)
CAPTURED_THOUGH_RELEASED = Outcome("captured, and our void gave nothing back", _captured_though_released)
CAPTURED_LATER = Outcome("the case is released by a refund", _captured_later)
CAPTURED_LATER_AND_MORE = Outcome("the case is of more, and released by a refund", _captured_later_and_more)
CONTRADICTED = Outcome("held as if it had been taken back", _contradicted)
CONTRADICTED_CAPTURES = Outcome(
    "whether its captures are gone is for a person", _contradicted_in_what_was_captured_of_it
)
REVERSED_THERE = Outcome("what stands of it is taken back", _reversed_there)
TAKEN_BACK = Outcome("taken back", _undone)
HELD = Outcome("held for a person", _held_for_a_person)
ONLY_TOLD = Outcome("on record, and nothing else", _only_told)
HELD_WHOLE = Outcome("held whole for a person", _held_whole)
CONTRADICTED_AUTHORIZATION = Outcome("all of the authorization is held", _contradicted_authorization)
RAILS_CAPTURE_CONTRADICTED = Outcome("the rail's capture does not count any more", _rails_capture_undone)
RAILS_CAPTURE_UNDONE = Outcome("the rail's capture does not count any more", _rails_capture_undone)
DONE_AGAIN = Outcome("counts again", _redone)
BOOKED = Outcome("booked as far as it fits, the rest held", _booked)
RELEASED = Outcome("the rest of the authorization is released", _released)
RELEASE_HELD = Outcome("the release is held beside what is pending", _release_held)
BY_THE_RAIL = Outcome("captured by the rail", _by_the_rail)
BY_OTHERS_INSTEAD = Outcome("captured by others, in place of ours", _by_others_instead)
BY_RAIL_OR_US = Outcome("captured, and our own capture's outcome is waited for", _by_the_rail_or_by_us)
CAPTURED_BY_OTHERS = Outcome("captured, as if by somebody else", _captured_by_others)
CASE_ENDED = Outcome("the case has ended by itself", _case_ended)
CASE_LESSENED = Outcome("less is held for the case", _case_lessened)
CASE_HOLDS_AGAIN = Outcome("more is held for the case again", _case_holds_again)
CASE_OPEN_AGAIN = Outcome("the case is open again", _case_open_again)
WENT_BACK_TWICE = Outcome("went back twice", _went_back_twice)
RELEASE_UNDONE = Outcome("the release is undone, and the case open again", _release_undone)
RELEASE_REDONE = Outcome("the release holds again", _release_redone)
RELEASED_AFTER_ALL = Outcome("released after all", _released_after_all)
RELEASED_OTHERWISE = Outcome("another amount was released", _released_otherwise)
RELEASED_NEEDLESSLY = Outcome("paid back although it was undone", _released_needlessly)
PAID_BACK_TWICE = Outcome("paid back twice", _paid_back_twice)

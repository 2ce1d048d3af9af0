"""What a fact about an attempt makes of the payment, the operation and the merchant's answer.

Pure: the recording function reads the rows under the payment's lock, calls `settle`, and writes what it returns.
The first definite fact wins; a success that contradicts it never overwrites but is compensated (`late`).
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, assert_never

from payonce.domain import claiming, leaving, reviews, stages, undecided
from payonce.domain.answers import (
    Answer,
    AnswerKind,
    decline_error,
    encode,
    failed_answer,
    failure_error,
    payment_view,
    refund_view,
    refusal_error,
    timestamp,
)
from payonce.domain.operations import (
    USUAL,
    Abilities,
    Attempt,
    AttemptState,
    Operation,
    OperationKind,
    OperationStatus,
    Origin,
)
from payonce.domain.outcomes import (
    ActionRequired,
    Approved,
    Cancelled,
    Declined,
    Expired,
    Fact,
    FailureCode,
    Foreign,
    NotProcessed,
    Outcome,
    Pending,
    Redone,
    Refused,
    Reversed,
    Undone,
    Unknown,
    Unsent,
)
from payonce.domain.payment import Change, Payment, PaymentStatus
from payonce.domain.reviews import Review
from payonce.domain.story import Draft as Draft  # part of what is said here
from payonce.domain.story import Settlement as Settlement
from payonce.domain.story import Story


def settle(
    payment: Payment,
    operation: Operation,
    attempt: Attempt,
    fact: Outcome,
    *,
    abilities: Abilities = USUAL,
    now: datetime,
) -> Settlement:
    """What the fact makes of the rows. Safe to repeat: a fact that is known already changes nothing."""
    if operation.status is not OperationStatus.PENDING or _closed(attempt):
        return _contradict(payment, operation, attempt, fact, now=now)
    if attempt.state is AttemptState.REVERSING and not isinstance(fact, Reversed | NotProcessed):
        if isinstance(fact, Approved) and fact.connector_reference != attempt.connector_reference:
            return _contradict(payment, operation, attempt, fact, now=now)  # perhaps after its reversal
        return Settlement(payment, operation, attempt)  # whatever it did is being undone
    return _take(payment, operation, attempt, fact, abilities=abilities, now=now)


def concerns(attempt: Attempt, fact: Fact, *, token: str | None) -> bool:
    """Whether a fact that was found out about the claim with this token counts for the claim that stands.

    An approval, and what became of it, is the reference's, whoever sent it. Everything else is that claim's: another
    one, which a fail-over put in its place, may be about to send. None: it is about whichever claim stands.
    """
    return claiming.concerns(attempt, token=token) or isinstance(fact, Approved | Undone | Redone | Foreign)


def _take(
    payment: Payment,
    operation: Operation,
    attempt: Attempt,
    fact: Outcome,
    *,
    abilities: Abilities,
    now: datetime,
) -> Settlement:
    """What a fact makes of an operation that has no outcome."""
    match fact:
        case Unsent():
            sent = attempt.state is not AttemptState.CLAIMED
            unsent = attempt if sent else replace(attempt, state=AttemptState.NOT_SENT)
            return Settlement(payment, operation, unsent)
        case Unknown() | Pending() if _customer_may_act(attempt, now):
            return Settlement(payment, operation, attempt)
        case Unknown() | Pending():
            return _doubt(payment, operation, replace(attempt, state=AttemptState.UNKNOWN), now=now)
        case ActionRequired():
            return _require_action(payment, operation, attempt, fact, now=now)
        case Approved():
            return _approve(payment, operation, attempt, fact, abilities=abilities, now=now)
        case Declined() | Refused():
            return _turned_down(payment, operation, attempt, fact, now=now)
        case Reversed() | NotProcessed() | Expired() | Cancelled():
            code = _unprocessed_because(attempt, fact)
            undone = replace(attempt, state=AttemptState.NOT_PROCESSED, failure_code=code.value)
            return _fail(payment, operation, undone, failure_error(code), now=now)
        case _:
            assert_never(fact)


def _turned_down(
    payment: Payment, operation: Operation, attempt: Attempt, fact: Declined | Refused, *, now: datetime
) -> Settlement:
    """The issuer's no, or the acquirer's to this data."""
    if isinstance(fact, Refused):
        code = FailureCode.ACQUIRER_REFUSED
        refused = replace(attempt, state=AttemptState.NOT_PROCESSED, failure_code=code.value)
        return _fail(payment, operation, refused, refusal_error(), pointer=fact.pointer, now=now)
    declined = replace(
        attempt,
        state=AttemptState.DECLINED,
        connector_reference=fact.connector_reference,
        failure_code=None,  # the issuer's no, not the merchant who had given it up
    )
    return _fail(payment, operation, declined, decline_error(fact.code), now=now)


def defer(payment: Payment, operation: Operation, attempt: Attempt | None, *, now: datetime) -> Settlement:
    """From now on the operation is answered with 202 until it has an outcome: `processing`, with its event.

    Not while the customer is asked to act: that is an answer. A create that waits for our capture has no answer yet.
    """
    if operation.deferred_at is None and stages.awaits_capture(payment, operation):
        return Settlement(payment, replace(operation, deferred_at=now, updated_at=now), attempt)
    asked = operation.kind is OperationKind.AUTHORIZE and payment.status is PaymentStatus.REQUIRES_ACTION
    if operation.status is not OperationStatus.PENDING or operation.deferred_at is not None or asked:
        return Settlement(payment, operation, attempt)
    return _doubt(payment, operation, attempt, now=now)


def _doubt(payment: Payment, operation: Operation, attempt: Attempt | None, *, now: datetime) -> Settlement:
    """Whether the operation did anything is not known, also where the customer's time to act went by."""
    first = operation.deferred_at is None
    if first:
        operation = replace(operation, deferred_at=now, updated_at=now)
    story = Story(payment, now)
    match operation.kind:
        case OperationKind.AUTHORIZE:
            if payment.status is not PaymentStatus.PROCESSING:
                story.change(Change.DEFERRED, next_action=None)
        case OperationKind.REFUND:
            if first:
                story.tell("refund.pending", refund=operation)
        case OperationKind.CAPTURE | OperationKind.VOID | OperationKind.EXPIRE | OperationKind.REVERSE:
            pass  # the payment keeps its status and shows the pending operation
        case OperationKind.UNDO | OperationKind.REDO:
            pass  # what the acquirer did is never pending
        case _:
            assert_never(operation.kind)
    return Settlement(story.payment, operation, attempt, story.events)


def succeed(
    payment: Payment, operation: Operation, attempt: Attempt | None, *, reply: Approved | None, now: datetime
) -> Settlement:
    """The operation did what was asked. `reply` and `attempt` are None where nothing had to be sent."""
    given_back = operation.amount_undecided_minor
    payment, operation = undecided.hold(payment, operation, amount_minor=0)
    story = Story(payment, now)
    cleared: dict[str, Any] = {"last_error": None, "review": reviews.left(payment, operation)}
    operation = replace(
        operation,
        status=OperationStatus.SUCCEEDED,
        connector_reference=reply.connector_reference if reply else None,
        rail={payment.payment_method["type"]: reply.rail} if reply and reply.rail else None,
        updated_at=now,
        review_at=None,
    )
    match operation.kind:
        case OperationKind.AUTHORIZE:
            assert reply is not None
            _authorized(story, reply, cleared, captured=attempt is not None and stages.captured(attempt))
        case OperationKind.CAPTURE:
            _captured(story, operation, {**cleared, "pending_operation": None})
        case OperationKind.VOID:
            if operation.origin is Origin.PAYONCE:  # it releases what could not be captured
                cleared["last_error"] = payment.last_error
            story.change(Change.VOIDED, **cleared, pending_operation=None, next_action=None)
            _refunds_show(story)
        case OperationKind.EXPIRE:
            story.change(Change.EXPIRED, **cleared, pending_operation=None)
            _refunds_show(story)
        case OperationKind.REFUND:
            _refunded(story, operation, review=cleared["review"])
        case OperationKind.REVERSE:
            story.set(review=cleared["review"])
            if given_back:
                story.tell("payment.capture_failed")  # what was held for it is let go
        case OperationKind.UNDO | OperationKind.REDO:
            pass  # what the acquirer did is never pending
        case _:
            assert_never(operation.kind)
    answer = None if _answered(attempt) else _answer_of_success(story.payment, operation)
    answered = stages.answered_by(operation)
    return Settlement(story.payment, operation, attempt, story.events, answer, answered)


def review(payment: Payment, operation: Operation, *, reason: str, now: datetime) -> Settlement:
    """An operator must decide: the payment says so, and an event does. Safe to repeat; not once it is decided."""
    if operation.review_at is not None or operation.status is not OperationStatus.PENDING:
        return Settlement(payment, operation)
    if operation.kind is OperationKind.REVERSE:
        reason = undecided.words(payment, operation, why=reason)
    return call_operator(payment, operation, reason=reason, now=now)


def escalate(payment: Payment, operation: Operation, review: Review, *, now: datetime) -> Settlement:
    """An event says that the review is overdue, once for each. Safe to repeat; not once it has ended."""
    if review.closed_at is not None or review.overdue_at is not None:
        return Settlement(payment, operation)
    story = Story(payment, now)
    story.tell("payment.review_overdue")
    late = replace(review, overdue_at=now)
    return Settlement(story.payment, operation, None, story.events, escalated=late)


def open_case(
    settled: Settlement, *, case_id: str, abilities: Abilities, now: datetime
) -> tuple[Settlement, Operation]:
    """The case of a late success under its id: a reversal of ours, or one that only a person can decide.

    Where the acquirer cannot reverse it is a void or a refund, of its own. In another currency than the payment's it
    is undone like any other, and a person is told.
    """
    assert settled.late is not None
    assert settled.attempt is not None
    case = replace(settled.late, id=case_id)
    undone_by_us = compensable(settled.operation)
    if undone_by_us and not abilities.reversible:
        case = replace(case, sent_as=stages.released_by(settled.attempt))
    if undone_by_us and case.currency == settled.payment.currency:
        return settled, case
    paid = settled.payment
    if settled.attempt.state is AttemptState.REVERSING:
        paid = undecided.without(paid, settled.operation)
    called = call_operator(settled.payment, case, reason=undecided.words(paid, case), now=now)
    case = called.operation if undone_by_us else replace(called.operation, status=OperationStatus.FAILED)
    told = replace(settled, payment=called.payment, events=settled.events + called.events)
    return replace(told, opened=settled.opened + called.opened), case


def raise_case(
    payment: Payment, case: Operation, late: Operation, *, attempt: Attempt, sent: bool, now: datetime
) -> Settlement:
    """What is known by now of a late success whose case is open: the acquirer may state more than before.

    `late`: the case as this fact alone would open it. `sent`: something was sent for the case, and stays as it is.
    Returns the case as the operation; it is the same where there is nothing new.
    """
    if not _is_open(case):
        return Settlement(payment, case)
    same = case.currency == late.currency
    known = replace(case, amount_minor=max(case.amount_minor, late.amount_minor if same else 0))
    if case.sent_as is not None and not sent:
        known = replace(known, sent_as=stages.released_by(attempt))
    held = max(case.amount_undecided_minor, late.amount_undecided_minor)
    holding, known = undecided.hold(payment, known, amount_minor=held)
    if known == case:
        return Settlement(payment, case)
    story = Story(holding, now)
    story.tell("payment.late_success")
    if case.review_at is None:
        return Settlement(story.payment, replace(known, updated_at=now), None, story.events)
    story.set(review=reviews.left(story.payment, case))
    called = call_operator(story.payment, known, reason=undecided.words(story.payment, known), now=now)
    return replace(called, events=story.events + called.events)


def _is_open(case: Operation) -> bool:
    """Whether the case waits to be undone, or for a person."""
    return case.status is OperationStatus.PENDING or case.amount_undecided_minor > 0


def call_operator(payment: Payment, operation: Operation, *, reason: str, now: datetime) -> Settlement:
    """The payment is in review from now on, with its event; what is no longer pending is told beside others."""
    story = Story(payment, now)
    beside = operation.kind is OperationKind.REVERSE or operation.status is not OperationStatus.PENDING
    story.set(review=reviews.begun(payment, reason, beside=beside, now=now))
    story.tell("payment.needs_review")
    called = replace(operation, review_at=now, updated_at=now)
    opened = reviews.opened(called, words=reason, now=now)
    return Settlement(story.payment, called, None, story.events, opened=(opened,))


def begin_reversal(attempt: Attempt, *, code: FailureCode) -> Attempt:
    """From here on a success of the attempt no longer counts: it will be undone, and the operation fails so."""
    return replace(attempt, state=AttemptState.REVERSING, failure_code=code.value)


def compensable(operation: Operation) -> bool:
    """Whether a late success of it is undone by a reversal; a refund or a void cannot be taken back."""
    return operation.kind in (OperationKind.AUTHORIZE, OperationKind.CAPTURE)


def _require_action(
    payment: Payment, operation: Operation, attempt: Attempt, fact: ActionRequired, *, now: datetime
) -> Settlement:
    """The customer is asked to act, and the merchant gets that as the answer; an outcome follows by itself.

    Where it is known already, or the time to act is over, or only an authorization could wait for anybody,
    nothing is asked of the customer.
    """
    if _customer_may_act(attempt, now):
        return Settlement(payment, operation, attempt)
    reference, act_before = fact.connector_reference, leaving.acts_until(fact.expires_at, now=now)
    if operation.kind is not OperationKind.AUTHORIZE or now >= fact.expires_at or _answered(attempt):
        unknown = replace(attempt, state=AttemptState.UNKNOWN, connector_reference=reference)
        return _doubt(payment, operation, unknown, now=now)
    attempt = replace(
        attempt, state=AttemptState.WAITING, connector_reference=reference, act_before=act_before
    )
    story = Story(payment, now)
    action = {**fact.action, "expires_at": timestamp(act_before)}
    story.change(Change.ACTION_REQUIRED, next_action=action, connector_reference=reference)
    answer = Answer(AnswerKind.PAYMENT, encode(payment_view(story.payment)))
    return Settlement(story.payment, operation, attempt, story.events, answer)


def _customer_may_act(attempt: Attempt, now: datetime) -> bool:
    """Whether the time of the customer who was asked is not over, also where the merchant has given it up."""
    return attempt.act_before is not None and now < attempt.act_before


def _answered(attempt: Attempt | None) -> bool:
    """Whether the merchant has an answer: that the customer must act. It stays the stored one."""
    return attempt is not None and attempt.act_before is not None


def _abandon(
    payment: Payment,
    operation: Operation,
    attempt: Attempt | None,
    error: dict[str, Any],
    *,
    void_id: str,
    now: datetime,
) -> Settlement:
    """The authorization came to nothing; what the payment becomes, the void says that waits for it."""
    payment = replace(payment, review=reviews.left(payment, operation))
    operation = replace(
        operation, status=OperationStatus.FAILED, last_error=error, updated_at=now, review_at=None
    )
    return Settlement(payment, operation, attempt, abandoned=void_id)


def _closed(attempt: Attempt) -> bool:
    """A definite attempt stays as it is, and so does one that its owner gave back as never sent."""
    return attempt.state.definite or attempt.state is AttemptState.NOT_SENT


def _contradict(
    payment: Payment, operation: Operation, attempt: Attempt, fact: Outcome, *, now: datetime
) -> Settlement:
    """The first definite fact stands; a success that contradicts it has consequences, and so has a person's error.

    What it moved counts from here on, so that its event shows what is left. A success that the operation has already,
    found under the reference of an earlier attempt, is the same money. What the acquirer takes back of a success that
    it stated itself, it says as a turn (`turns`): any other word against that is an old one.
    """
    if operation.kind is OperationKind.REVERSE:
        return _about_case(payment, operation, attempt, fact, now=now)
    if _against_a_person(operation, attempt, fact):
        return Settlement(payment, operation, attempt, against=fact)
    if not isinstance(fact, Approved) or attempt.state is AttemptState.APPROVED:
        return Settlement(payment, operation, attempt)
    succeeded = operation.status is OperationStatus.SUCCEEDED
    same = fact.connector_reference == operation.connector_reference
    found_by_a_person = operation.decided_at is not None and attempt.state is AttemptState.NOT_SENT
    if succeeded and (same or found_by_a_person):  # whose attempt Postgres had forgotten
        return Settlement(payment, operation, attempt)
    case = undecided.case_of(payment, operation, attempt, fact, now=now)
    moved = undecided.moved_minor(payment, operation, fact)
    payment, case = undecided.hold(payment, case, amount_minor=moved)
    story = Story(payment, now)
    story.tell("payment.late_success")
    late = stages.staged(replace(attempt, connector_reference=fact.connector_reference), fact)
    return Settlement(story.payment, operation, late, story.events, late=case)


def _against_a_person(operation: Operation, attempt: Attempt, fact: Outcome) -> bool:
    """Whether the acquirer says definitely otherwise than the person who decided that it succeeded.

    The same success is no news, whatever reference it has there: the person may have mistyped it.
    """
    decided = operation.decided_at is not None and operation.status is OperationStatus.SUCCEEDED
    if not decided or attempt.state is not AttemptState.APPROVED:
        return False
    match fact:
        case Approved():
            moves_money = operation.kind not in (OperationKind.VOID, OperationKind.EXPIRE)
            stated = (fact.amount_minor, fact.currency)
            return moves_money and stated != (operation.amount_minor, operation.currency)
        case Declined() | Refused() | Reversed() | NotProcessed() | Expired() | Cancelled():
            return True
        case Pending() | ActionRequired() | Unknown() | Unsent():
            return False  # nothing definite
        case _:
            assert_never(fact)


def _about_case(
    payment: Payment, case: Operation, attempt: Attempt, fact: Outcome, *, now: datetime
) -> Settlement:
    """What was sent to release a late success turned out otherwise than was recorded.

    It is released after all, or, against a person who decided that it was, it is not: then it is in review again.
    """
    if attempt.state is AttemptState.APPROVED or isinstance(
        fact, Pending | ActionRequired | Unknown | Unsent
    ):
        return Settlement(payment, case, attempt)
    failed = case.status is OperationStatus.FAILED
    if isinstance(fact, Approved):
        if not failed:
            return Settlement(payment, case, attempt)  # as a person decided
        approved = replace(attempt, state=AttemptState.APPROVED, failure_code=None)
        return succeed(payment, case, approved, reply=fact, now=now)
    if failed or case.decided_at is None:
        return Settlement(payment, case, attempt)
    held = case.amount_minor if case.currency == payment.currency else payment.amount_authorized_minor
    case = replace(case, status=OperationStatus.FAILED, decided_at=None)
    payment, case = undecided.hold(payment, case, amount_minor=held)
    words = undecided.words(payment, case, why=fact.kind)
    return replace(call_operator(payment, case, reason=words, now=now), attempt=attempt)


def _approve(
    payment: Payment,
    operation: Operation,
    attempt: Attempt,
    reply: Approved,
    *,
    abilities: Abilities,
    now: datetime,
) -> Settlement:
    attempt = stages.staged(replace(attempt, connector_reference=reply.connector_reference), reply)
    moves_money = (operation.sent_as or operation.kind) not in (OperationKind.VOID, OperationKind.EXPIRE)
    asked = (operation.amount_minor, operation.currency)
    if moves_money and (reply.amount_minor, reply.currency) != asked:
        reversing = begin_reversal(attempt, code=FailureCode.AMOUNT_MISMATCH)
        if operation.kind is not OperationKind.REVERSE:  # all that a case is about is held as it is
            more = max(0, undecided.moved_minor(payment, operation, reply) - operation.amount_minor)
            payment, operation = undecided.hold(payment, operation, amount_minor=more)
        return _doubt(payment, operation, reversing, now=now)
    if abilities.captures_itself and stages.lacks_capture(payment, operation, attempt):
        return _doubt(payment, operation, replace(attempt, state=AttemptState.UNKNOWN), now=now)
    approved = replace(attempt, state=AttemptState.APPROVED, failure_code=None)
    return leaving.released(succeed(payment, operation, approved, reply=reply, now=now), now=now)


def _authorized(story: Story, reply: Approved, cleared: dict[str, Any], *, captured: bool) -> None:
    """The books follow what the acquirer did, also where it captured what was only to be authorized."""
    story.change(
        Change.AUTHORIZED,
        **cleared,
        amount_authorized_minor=reply.amount_minor,
        connector_reference=reply.connector_reference,
        capture_before=None if captured else reply.capture_before,
        next_action=None,
        payment_method=_with_rail(story.payment.payment_method, reply),
    )
    if captured:
        story.change(Change.CAPTURED, amount_captured_minor=reply.amount_minor)


def _with_rail(method: Mapping[str, Any], reply: Approved) -> Mapping[str, Any]:
    """The payment method with what the rail said of it."""
    kind = method["type"]
    return {**method, kind: {**method[kind], **reply.rail}} if reply.rail else method


def _captured(story: Story, operation: Operation, cleared: dict[str, Any]) -> None:
    captured = story.payment.amount_captured_minor + operation.amount_minor
    last = operation.final or captured == story.payment.amount_authorized_minor
    change = Change.CAPTURED if last else Change.CAPTURED_IN_PART
    story.change(change, **cleared, amount_captured_minor=captured)
    if last:
        _refunds_show(story)


def _refunded(story: Story, refund: Operation, *, review: Mapping[str, Any] | None) -> None:
    leaving.refunded(story, refund)
    story.set(
        amount_refunded_minor=story.payment.amount_refunded_minor + refund.amount_minor,
        amount_refund_pending_minor=story.payment.amount_refund_pending_minor - refund.amount_minor,
        review=review,
    )
    story.tell("refund.succeeded", refund=refund)
    story.change(refund_change(story.payment))


def _refunds_show(story: Story) -> None:
    """Nothing is capturable any more: from here the status follows the refunds made before."""
    if story.payment.amount_refunded_minor and story.payment.status is PaymentStatus.CAPTURED:
        story.change(refund_change(story.payment))


def refund_change(payment: Payment) -> Change:
    whole = payment.amount_refunded_minor >= payment.amount_captured_minor
    return Change.REFUNDED if whole else Change.REFUNDED_IN_PART


def _answer_of_success(payment: Payment, operation: Operation) -> Answer | None:
    if operation.origin is Origin.PAYONCE and not stages.completes_create(operation):
        return None  # nobody asked over HTTP
    match operation.kind:
        case OperationKind.AUTHORIZE if stages.awaits_capture(payment, operation):
            return None
        case OperationKind.CAPTURE if stages.completes_create(operation):
            return Answer(AnswerKind.PAYMENT, encode(payment_view(payment)))
        case OperationKind.AUTHORIZE:
            return Answer(AnswerKind.PAYMENT, encode(payment_view(payment)))
        case OperationKind.CAPTURE | OperationKind.VOID:
            return Answer(AnswerKind.PAYMENT_CHANGED, encode(payment_view(payment)))
        case OperationKind.REFUND if operation.origin is Origin.MERCHANT:
            return Answer(AnswerKind.REFUND, encode(refund_view(operation)))
        case OperationKind.REFUND:
            return None
        case OperationKind.EXPIRE | OperationKind.REVERSE | OperationKind.UNDO | OperationKind.REDO:
            return None  # nobody asked over HTTP
        case _:
            assert_never(operation.kind)


def _fail(
    payment: Payment,
    operation: Operation,
    attempt: Attempt | None,
    error: dict[str, Any],
    *,
    pointer: str | None = None,
    now: datetime,
) -> Settlement:
    if operation.kind is OperationKind.REVERSE:
        return _not_undone(payment, operation, attempt, error, now=now)
    if operation.kind is OperationKind.AUTHORIZE and payment.pending_operation is not None:
        void_id = str(payment.pending_operation["id"])  # only that is admitted before there is an outcome
        return _abandon(payment, operation, attempt, error, void_id=void_id, now=now)
    given_back = operation.amount_undecided_minor
    payment, operation = undecided.hold(payment, operation, amount_minor=0)
    story = Story(payment, now)
    left = reviews.left(payment, operation)
    operation = replace(
        operation, status=OperationStatus.FAILED, last_error=error, updated_at=now, review_at=None
    )
    answer: Answer | None = None
    opened: tuple[Review, ...] = ()
    kind = operation.kind
    match kind:
        case OperationKind.AUTHORIZE:
            story.change(Change.FAILED, last_error=error, review=left, next_action=None)
            if not _answered(attempt):
                answer = failed_answer(story.payment, error, request_id=operation.request_id, pointer=pointer)
        case OperationKind.VOID if operation.origin is Origin.PAYONCE:
            story.set(pending_operation=None, review=left)
            operation, opened = _call(story, operation, reviews.VOID_NOT_CONFIRMED)
        case OperationKind.CAPTURE | OperationKind.VOID:
            story.set(pending_operation=None, last_error=error, review=left)
            if given_back or stages.completes_create(operation):
                story.tell("payment.capture_failed")
            shown = stages.as_answered(story.payment, operation)
            answer = failed_answer(shown, error, request_id=operation.request_id, pointer=pointer)
        case OperationKind.REFUND:
            story.set(review=left)
            operation, answer, opened = _refund_failed(story, operation, error)
        case OperationKind.EXPIRE:
            # Its time is over whatever the acquirer says; whether it was released is not.
            _expired(story, error, review=left)
            operation, opened = _call(story, operation, reviews.EXPIRY_NOT_CONFIRMED)
        case OperationKind.REVERSE | OperationKind.UNDO | OperationKind.REDO:
            pass  # nobody asked over HTTP
        case _:
            assert_never(kind)
    answered = stages.answered_by(operation)
    return Settlement(story.payment, operation, attempt, story.events, answer, answered, opened=opened)


def _refund_failed(
    story: Story, refund: Operation, error: dict[str, Any]
) -> tuple[Operation, Answer | None, tuple[Review, ...]]:
    held = story.payment.amount_refund_pending_minor - refund.amount_minor
    story.set(amount_refund_pending_minor=held)
    story.tell("refund.failed", refund=refund)
    if refund.origin is Origin.MERCHANT:
        return refund, Answer(AnswerKind.REFUND, encode(refund_view(refund))), ()
    refund = leaving.not_refunded(story, refund, error, now=story.now)
    called = refund.review_at is not None
    opened = (reviews.opened(refund, words=reviews.NOT_RELEASED, now=story.now),) if called else ()
    return refund, None, opened


def _call(story: Story, operation: Operation, reason: str) -> tuple[Operation, tuple[Review, ...]]:
    called = call_operator(story.payment, operation, reason=reason, now=story.now)
    story.payment, story.events = called.payment, story.events + called.events
    return called.operation, called.opened


def _expired(story: Story, error: dict[str, Any], *, review: Mapping[str, Any] | None) -> None:
    story.change(Change.EXPIRED, pending_operation=None, last_error=error, review=review)
    _refunds_show(story)


def not_released(
    payment: Payment, expiry: Operation, attempt: Attempt | None, *, now: datetime
) -> Settlement:
    """The pending expiry has happened here and not at the acquirer, as a person says who is not asked again."""
    code = FailureCode.NOT_PROCESSED
    error = failure_error(code)
    left = reviews.left(payment, expiry)
    payment, expiry = undecided.hold(payment, expiry, amount_minor=0)
    story = Story(payment, now)
    _expired(story, error, review=left)
    expiry = replace(expiry, status=OperationStatus.FAILED, last_error=error, review_at=None, updated_at=now)
    if attempt is not None and not _closed(attempt):
        attempt = replace(attempt, state=AttemptState.NOT_PROCESSED, failure_code=code.value)
    return Settlement(story.payment, expiry, attempt, story.events)


def _not_undone(
    payment: Payment, case: Operation, attempt: Attempt | None, error: dict[str, Any], *, now: datetime
) -> Settlement:
    """What was to release a late success did not: a person decides, and what is held stays held."""
    case = replace(case, status=OperationStatus.FAILED, last_error=error, updated_at=now)
    payment = replace(payment, review=reviews.left(payment, case))
    why = error["decline_code"] or error["code"]
    called = call_operator(payment, case, reason=undecided.words(payment, case, why=why), now=now)
    return replace(called, attempt=attempt)


def give_up(
    payment: Payment, operation: Operation, latest: Attempt | None, *, code: FailureCode, now: datetime
) -> Settlement:
    """The operation failed with nothing on the wire; nothing changes unless its latest attempt is unsent."""
    unsent = latest is None or latest.state is AttemptState.NOT_SENT
    if operation.status is not OperationStatus.PENDING or not unsent:
        return Settlement(payment, operation, latest)
    return _fail(payment, operation, None, failure_error(code), now=now)


def _unprocessed_because(
    attempt: Attempt, fact: Reversed | NotProcessed | Expired | Cancelled
) -> FailureCode:
    match fact:
        case Cancelled():
            return FailureCode.ABANDONED
        case NotProcessed():
            return fact.code
        case Expired():
            return FailureCode.PAYMENT_TIMED_OUT
        case Reversed():
            without = FailureCode.ABANDONED if _answered(attempt) else FailureCode.NOT_PROCESSED
            return FailureCode(attempt.failure_code) if attempt.failure_code else without

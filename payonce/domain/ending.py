"""How an operation ends: what its success or its failure makes of payment, events and the merchant's answer.

Pure, and asked under the payment's lock: see `settlement`.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, assert_never

from payonce.domain import accepting, holding, leaving, reviews, saved_cards, stages, undecided
from payonce.domain.answers import (
    Answer,
    AnswerKind,
    encode,
    failed_answer,
    failure_error,
    payment_view,
    refund_view,
)
from payonce.domain.events import Settlement, Story
from payonce.domain.evidence import capture_before
from payonce.domain.facts import (
    Approved,
    FailureCode,
)
from payonce.domain.operations import (
    Attempt,
    AttemptState,
    Operation,
    OperationKind,
    OperationStatus,
    Origin,
)
from payonce.domain.payment import Change, Payment, PaymentStatus
from payonce.domain.reviews import Review, ReviewReason


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
    opened: tuple[Review, ...] = ()
    match operation.kind:
        case OperationKind.AUTHORIZE:
            assert reply is not None
            _authorized(story, reply, cleared, operation, attempt)
            operation, opened = holding.ask(story, operation)
        case OperationKind.CAPTURE:
            _captured(story, operation, {**cleared, **accepting.let_go(payment, operation)})
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
            if given_back and operation.target_kind is not OperationKind.REFUND:
                story.tell("payment.capture_failed")  # what was held for it is let go
        case OperationKind.UNDO | OperationKind.REDO:
            pass  # what the acquirer did is never pending
        case OperationKind.ACCEPT:
            story.set(review=cleared["review"])  # the rest is the dispute's: see `acceptance`
        case _:
            assert_never(operation.kind)
    answer = _answer_of_success(story.payment, operation)
    answers = stages.answered_by(operation)
    return Settlement(story.payment, operation, attempt, story.events, answer, answers, opened=opened)


def fail(
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
            answer = failed_answer(story.payment, error, request_id=operation.request_id, pointer=pointer)
        case OperationKind.VOID if operation.origin is Origin.PAYONCE:
            story.set(pending_operation=None, review=left)
            operation, opened = _call(story, operation, reviews.VOID_NOT_CONFIRMED)
        case OperationKind.CAPTURE | OperationKind.VOID:
            story.set(**accepting.let_go(payment, operation), last_error=error, review=left)
            if given_back or stages.completes_create(operation) or operation.accepted_at is not None:
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
        case OperationKind.ACCEPT:
            story.set(review=left)
        case OperationKind.REVERSE | OperationKind.UNDO | OperationKind.REDO:
            pass  # nobody asked over HTTP
        case _:
            assert_never(kind)
    answers = stages.answered_by(operation)
    return Settlement(story.payment, operation, attempt, story.events, answer, answers, opened=opened)


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
    if attempt is not None and not attempt.closed:
        attempt = replace(attempt, state=AttemptState.NOT_PROCESSED, failure_code=code.value)
    return Settlement(story.payment, expiry, attempt, story.events)


def review(payment: Payment, operation: Operation, *, reason: str, now: datetime) -> Settlement:
    """An operator must decide: the payment says so, and an event does. Safe to repeat; not once it is decided."""
    if operation.review_at is not None or operation.status is not OperationStatus.PENDING:
        return Settlement(payment, operation)
    if operation.kind is OperationKind.REVERSE:
        reason = undecided.words(payment, operation, why=reason)
    return call_operator(payment, operation, reason=reason, now=now)


def moot(before: Payment, settled: Settlement) -> bool:
    """Whether with this nothing is capturable any more: what of it was released, nobody need say."""
    in_review = before.review is not None and (before.automatic or before.withheld)
    return in_review and before.status.capturable and not settled.payment.status.capturable


def know_released(payment: Payment, void: Operation, *, now: datetime) -> tuple[Payment, Operation]:
    """The payment and the release of our own that was not confirmed, once nobody is asked about it any more."""
    review = reviews.left(payment, void)
    return replace(payment, review=review), replace(void, review_at=None, updated_at=now)


def escalate(payment: Payment, operation: Operation, review: Review, *, now: datetime) -> Settlement:
    """An event says that the review is overdue, once for each. Safe to repeat; not once it has ended.

    What is held for its risk is given up instead, where nothing is pending.
    """
    if review.closed_at is None and review.reason is ReviewReason.RISK and holding.can_end(payment):
        return holding.time_out(payment, operation, now=now)
    if review.closed_at is not None or review.overdue_at is not None:
        return Settlement(payment, operation)
    story = Story(payment, now)
    story.tell("payment.review_overdue")
    late = replace(review, overdue_at=now)
    return Settlement(story.payment, operation, None, story.events, escalated=late)


def call_operator(payment: Payment, operation: Operation, *, reason: str, now: datetime) -> Settlement:
    """The payment is in review from now on, with its event; what is no longer pending is told beside others."""
    story = Story(payment, now)
    beside = operation.kind is OperationKind.REVERSE or operation.status is not OperationStatus.PENDING
    story.set(review=reviews.begun(payment, reason, beside=beside, now=now))
    story.tell("payment.needs_review")
    called = replace(operation, review_at=now, updated_at=now)
    opened = reviews.opened(called, words=reason, now=now)
    return Settlement(story.payment, called, None, story.events, opened=(opened,))


def _authorized(
    story: Story, reply: Approved, cleared: dict[str, Any], operation: Operation, attempt: Attempt | None
) -> None:
    """The books follow what the acquirer did, also where it captured what was only to be authorized.

    Where it does not say until when it holds the amount, the network's usual time does.
    """
    captured = attempt is not None and stages.captured(attempt)
    since = operation.created_at if attempt is None else attempt.claimed_at
    holds_until = reply.capture_before or capture_before(story.payment.payment_method, authorized_at=since)
    story.change(
        Change.AUTHORIZED,
        **cleared,
        amount_authorized_minor=reply.amount_minor,
        connector_reference=reply.connector_reference,
        capture_before=None if captured else holds_until,
        next_action=None,
        payment_method=_as_approved(story.payment, reply),
    )
    if captured:
        story.change(Change.CAPTURED, amount_captured_minor=reply.amount_minor)


def _as_approved(payment: Payment, reply: Approved) -> Mapping[str, Any]:
    """The payment method with what the rail said of it, and the token of a card that is saved."""
    method = payment.payment_method
    kind = method["type"]
    said = {**method, kind: {**method[kind], **reply.rail}} if reply.rail else method
    return saved_cards.shown(said, payment.stored, reply)


def _captured(story: Story, operation: Operation, cleared: dict[str, Any]) -> None:
    captured = story.payment.amount_captured_minor + operation.amount_minor
    last = operation.final or captured == story.payment.amount_authorized_minor
    closes = last and story.payment.status.capturable  # another capture may have released the rest
    change = Change.CAPTURED if closes else Change.CAPTURED_IN_PART
    story.change(change, **cleared, amount_captured_minor=captured)
    if closes:
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
        case OperationKind.AUTHORIZE if (
            stages.awaits_capture(payment, operation) and payment.pending_operation is None
        ):
            return None  # with a void pending it is not captured any more
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
        case (
            OperationKind.EXPIRE
            | OperationKind.REVERSE
            | OperationKind.UNDO
            | OperationKind.REDO
            | OperationKind.ACCEPT
        ):
            return None  # nobody asked over HTTP; or the answer is the dispute: see `acceptance`
        case _:
            assert_never(operation.kind)


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


def _not_undone(
    payment: Payment, case: Operation, attempt: Attempt | None, error: dict[str, Any], *, now: datetime
) -> Settlement:
    """What was to release a late success did not: a person decides, and what is held stays held."""
    case = replace(case, status=OperationStatus.FAILED, last_error=error, updated_at=now)
    payment = replace(payment, review=reviews.left(payment, case))
    why = error["decline_code"] or error["code"]
    called = call_operator(payment, case, reason=undecided.words(payment, case, why=why), now=now)
    return replace(called, attempt=attempt)

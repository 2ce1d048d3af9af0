"""What a fact about an attempt makes of the payment, the operation and the merchant's answer.

Pure: the recording function reads the rows under the payment's lock, calls `settle`, and writes what it returns.
The first definite fact wins; a success that contradicts it never overwrites but is compensated (`late`).
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, assert_never

from payonce.domain.answers import (
    Answer,
    AnswerKind,
    decline_error,
    encode,
    failed_answer,
    failure_error,
    payment_view,
    refund_view,
    timestamp,
)
from payonce.domain.operations import Attempt, AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.outcomes import (
    Approved,
    Declined,
    Fact,
    FailureCode,
    NotProcessed,
    Pending,
    Reversed,
    Unknown,
    Unsent,
)
from payonce.domain.payment import Change, Payment


@dataclass(frozen=True, slots=True)
class Draft:
    """An event to be: its type, its place in the payment's sequence and its data as of then."""

    type: str
    sequence: int
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Settlement:
    """The rows as they are to be, and what goes with them in the same transaction."""

    payment: Payment
    operation: Operation
    attempt: Attempt | None = None
    events: tuple[Draft, ...] = ()
    answer: Answer | None = None
    late: bool = False  # the attempt succeeded against an earlier fact: undo it


@dataclass(slots=True)
class _Story:
    """Collects what happens to one payment, step by step, with an event for each."""

    payment: Payment
    now: datetime
    events: tuple[Draft, ...] = ()

    def change(self, change: Change, **fields: Any) -> None:
        """The status moves by the table; the event carries the new status's name."""
        self.payment = self.payment.changed(change, **fields)
        self.tell(f"payment.{self.payment.status}")

    def tell(self, type_: str, *, refund: Operation | None = None) -> None:
        sequence = self.payment.sequence + 1
        self.payment = replace(self.payment, sequence=sequence, updated_at=self.now)
        data = payment_view(self.payment) if refund is None else refund_view(refund)
        self.events += (Draft(type_, sequence, data),)

    def set(self, **fields: Any) -> None:
        self.payment = replace(self.payment, updated_at=self.now, **fields)


def settle(
    payment: Payment, operation: Operation, attempt: Attempt, fact: Fact, *, now: datetime
) -> Settlement:
    """What the fact makes of the rows. Safe to repeat: a fact that is known already changes nothing."""
    if operation.status is not OperationStatus.PENDING or _closed(attempt):
        return _contradict(payment, operation, attempt, fact, now=now)
    if attempt.state is AttemptState.REVERSING and not isinstance(fact, Reversed | NotProcessed):
        if isinstance(fact, Approved) and fact.connector_reference != attempt.connector_reference:
            return _contradict(payment, operation, attempt, fact, now=now)  # perhaps after its reversal
        return Settlement(payment, operation, attempt)  # whatever it did is being undone
    match fact:
        case Unsent():
            sent = attempt.state is not AttemptState.CLAIMED
            return Settlement(
                payment, operation, attempt if sent else replace(attempt, state=AttemptState.NOT_SENT)
            )
        case Unknown() | Pending():
            return defer(payment, operation, replace(attempt, state=AttemptState.UNKNOWN), now=now)
        case Approved():
            return _approve(payment, operation, attempt, fact, now=now)
        case Declined():
            declined = replace(
                attempt, state=AttemptState.DECLINED, connector_reference=fact.connector_reference
            )
            return _fail(payment, operation, declined, decline_error(fact.code), now=now)
        case Reversed() | NotProcessed():
            code = fact.code if isinstance(fact, NotProcessed) else _undone_because(attempt)
            undone = replace(attempt, state=AttemptState.NOT_PROCESSED, failure_code=code.value)
            return _fail(payment, operation, undone, failure_error(code), now=now)
        case _:
            assert_never(fact)


def defer(payment: Payment, operation: Operation, attempt: Attempt | None, *, now: datetime) -> Settlement:
    """From now on the operation is answered with 202 until it has an outcome: `processing`, with its event."""
    if operation.deferred_at is not None or operation.status is not OperationStatus.PENDING:
        return Settlement(payment, operation, attempt)
    operation = replace(operation, deferred_at=now, updated_at=now)
    story = _Story(payment, now)
    match operation.kind:
        case OperationKind.AUTHORIZE:
            story.change(Change.DEFERRED)
        case OperationKind.REFUND:
            story.tell("refund.pending", refund=operation)
        case OperationKind.CAPTURE | OperationKind.VOID | OperationKind.EXPIRE | OperationKind.REVERSE:
            pass  # the payment keeps its status and shows the pending operation
        case _:
            assert_never(operation.kind)
    return Settlement(story.payment, operation, attempt, story.events)


def succeed(
    payment: Payment, operation: Operation, attempt: Attempt | None, *, reply: Approved | None, now: datetime
) -> Settlement:
    """The operation did what was asked. `reply` and `attempt` are None where nothing had to be sent."""
    story = _Story(payment, now)
    reference = reply.connector_reference if reply else None
    operation = replace(
        operation, status=OperationStatus.SUCCEEDED, connector_reference=reference, updated_at=now
    )
    cleared: dict[str, Any] = {"last_error": None, "review": _review_left(payment, operation)}
    match operation.kind:
        case OperationKind.AUTHORIZE:
            assert reply is not None
            _authorized(story, reply, cleared)
        case OperationKind.CAPTURE:
            _captured(story, operation, {**cleared, "pending_operation": None})
        case OperationKind.VOID:
            story.change(Change.VOIDED, **cleared, pending_operation=None)
            _refunds_show(story)
        case OperationKind.EXPIRE:
            story.change(Change.EXPIRED, **cleared, pending_operation=None)
            _refunds_show(story)
        case OperationKind.REFUND:
            _refunded(story, operation)
        case OperationKind.REVERSE:
            story.set(review=cleared["review"])
        case _:
            assert_never(operation.kind)
    return Settlement(
        story.payment, operation, attempt, story.events, _answer_of_success(story.payment, operation)
    )


def review(payment: Payment, operation: Operation, *, reason: str, now: datetime) -> Settlement:
    """An operator must decide: the payment says so, and an event does. Safe to repeat; not once it is decided."""
    if operation.review_at is not None or operation.status is not OperationStatus.PENDING:
        return Settlement(payment, operation)
    story = _Story(payment, now)
    story.set(review=payment.review or {"reason": reason, "since": timestamp(now)})
    story.tell("payment.needs_review")
    return Settlement(story.payment, replace(operation, review_at=now, updated_at=now), None, story.events)


def _review_left(payment: Payment, operation: Operation) -> Any:
    """What is left of the payment's review when this operation has its outcome: an earlier one's stays."""
    since = operation.review_at and timestamp(operation.review_at)
    return None if payment.review is None or payment.review["since"] == since else payment.review


def begin_reversal(attempt: Attempt, *, code: FailureCode) -> Attempt:
    """From here on a success of the attempt no longer counts: it will be undone, and the operation fails so."""
    return replace(attempt, state=AttemptState.REVERSING, failure_code=code.value)


def compensable(operation: Operation) -> bool:
    """Whether a late success of it is undone by a reversal; a refund or a void cannot be taken back."""
    return operation.kind in (OperationKind.AUTHORIZE, OperationKind.CAPTURE)


def _closed(attempt: Attempt) -> bool:
    """A definite attempt stays as it is, and so does one that its owner gave back as never sent."""
    return attempt.state.definite or attempt.state is AttemptState.NOT_SENT


def _contradict(
    payment: Payment, operation: Operation, attempt: Attempt, fact: Fact, *, now: datetime
) -> Settlement:
    """The first definite fact stands; only a success that contradicts it has consequences."""
    if not isinstance(fact, Approved) or attempt.state is AttemptState.APPROVED:
        return Settlement(payment, operation, attempt)
    story = _Story(payment, now)
    story.tell("payment.late_success")
    late = replace(attempt, connector_reference=fact.connector_reference)
    return Settlement(story.payment, operation, late, story.events, late=True)


def _approve(
    payment: Payment, operation: Operation, attempt: Attempt, reply: Approved, *, now: datetime
) -> Settlement:
    attempt = replace(attempt, connector_reference=reply.connector_reference)
    moves_money = operation.kind not in (OperationKind.VOID, OperationKind.EXPIRE)
    asked = (operation.amount_minor, operation.currency)
    if moves_money and (reply.amount_minor, reply.currency) != asked:
        reversing = begin_reversal(attempt, code=FailureCode.AMOUNT_MISMATCH)
        return defer(payment, operation, reversing, now=now)
    approved = replace(attempt, state=AttemptState.APPROVED)
    return succeed(payment, operation, approved, reply=reply, now=now)


def _authorized(story: _Story, reply: Approved, cleared: dict[str, Any]) -> None:
    story.change(
        Change.AUTHORIZED,
        **cleared,
        amount_authorized_minor=reply.amount_minor,
        connector_reference=reply.connector_reference,
        capture_before=None if story.payment.automatic else reply.capture_before,
        next_action=None,
    )
    if story.payment.automatic:
        story.change(Change.CAPTURED, amount_captured_minor=reply.amount_minor)


def _captured(story: _Story, operation: Operation, cleared: dict[str, Any]) -> None:
    captured = story.payment.amount_captured_minor + operation.amount_minor
    last = operation.final or captured == story.payment.amount_authorized_minor
    change = Change.CAPTURED if last else Change.CAPTURED_IN_PART
    story.change(change, **cleared, amount_captured_minor=captured)
    if last:
        _refunds_show(story)


def _refunded(story: _Story, refund: Operation) -> None:
    story.set(
        amount_refunded_minor=story.payment.amount_refunded_minor + refund.amount_minor,
        amount_refund_pending_minor=story.payment.amount_refund_pending_minor - refund.amount_minor,
        review=_review_left(story.payment, refund),
    )
    story.tell("refund.succeeded", refund=refund)
    story.change(_refund_change(story.payment))


def _refunds_show(story: _Story) -> None:
    """Nothing is capturable any more: from here the status follows the refunds made before."""
    if story.payment.amount_refunded_minor and not story.payment.status.capturable:
        story.change(_refund_change(story.payment))


def _refund_change(payment: Payment) -> Change:
    whole = payment.amount_refunded_minor == payment.amount_captured_minor
    return Change.REFUNDED if whole else Change.REFUNDED_IN_PART


def _answer_of_success(payment: Payment, operation: Operation) -> Answer | None:
    match operation.kind:
        case OperationKind.AUTHORIZE:
            return Answer(AnswerKind.PAYMENT, encode(payment_view(payment)))
        case OperationKind.CAPTURE | OperationKind.VOID:
            return Answer(AnswerKind.PAYMENT_CHANGED, encode(payment_view(payment)))
        case OperationKind.REFUND:
            return Answer(AnswerKind.REFUND, encode(refund_view(operation)))
        case OperationKind.EXPIRE | OperationKind.REVERSE:
            return None  # nobody asked over HTTP
        case _:
            assert_never(operation.kind)


def _fail(
    payment: Payment, operation: Operation, attempt: Attempt | None, error: dict[str, Any], *, now: datetime
) -> Settlement:
    story = _Story(payment, now)
    left = _review_left(payment, operation)
    operation = replace(operation, status=OperationStatus.FAILED, last_error=error, updated_at=now)
    answer: Answer | None
    match operation.kind:
        case OperationKind.AUTHORIZE:
            story.change(Change.FAILED, last_error=error, review=left, next_action=None)
            answer = failed_answer(story.payment, error, request_id=operation.request_id)
        case OperationKind.CAPTURE | OperationKind.VOID:
            story.set(pending_operation=None, last_error=error, review=left)
            answer = failed_answer(story.payment, error, request_id=operation.request_id)
        case OperationKind.REFUND:
            held = story.payment.amount_refund_pending_minor - operation.amount_minor
            story.set(amount_refund_pending_minor=held, review=left)
            story.tell("refund.failed", refund=operation)
            answer = Answer(AnswerKind.REFUND, encode(refund_view(operation)))
        case (
            OperationKind.EXPIRE
        ):  # its time is over whatever the acquirer says; whether it was released is not
            story.change(Change.EXPIRED, pending_operation=None, last_error=error)
            _refunds_show(story)
            story.set(review={"reason": "expiry_not_confirmed", "since": timestamp(now)})
            story.tell("payment.needs_review")
            answer = None
        case OperationKind.REVERSE:
            answer = None
        case _:
            assert_never(operation.kind)
    return Settlement(story.payment, operation, attempt, story.events, answer)


def give_up(
    payment: Payment, operation: Operation, latest: Attempt | None, *, code: FailureCode, now: datetime
) -> Settlement:
    """The operation failed with nothing on the wire; nothing changes unless its latest attempt is unsent."""
    unsent = latest is None or latest.state is AttemptState.NOT_SENT
    if operation.status is not OperationStatus.PENDING or not unsent:
        return Settlement(payment, operation)
    return _fail(payment, operation, None, failure_error(code), now=now)


def _undone_because(attempt: Attempt) -> FailureCode:
    return FailureCode(attempt.failure_code) if attempt.failure_code else FailureCode.NOT_PROCESSED

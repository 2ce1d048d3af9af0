"""What becomes of the books by what a person decided: one function for each thing that a verdict may do.

Pure. Each returns the rows as they are to be, or raises `DecisionRefused`, in words; `verdicts.TABLE` says which is
whose.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

from payonce.domain import acceptance, amounts, ending, holding, reviews, settlement, turns, undecided
from payonce.domain.decisions import Decision, InReview
from payonce.domain.errors import DecisionRefused
from payonce.domain.events import Story
from payonce.domain.facts import Approved, FailureCode, Outcome, Reversed, Stage
from payonce.domain.ids import attempt_reference
from payonce.domain.operations import Attempt, AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.payment import Payment
from payonce.domain.settlement import Settlement

_BEING_REVERSED: Final = "Its reversal has begun, and may be carried out at any moment."


def happened(matter: InReview, decision: Decision, now: datetime) -> Settlement:
    """The pending operation did exactly what was asked for."""
    payment, operation, attempt = matter.payment, matter.operation, matter.attempt
    if attempt is not None and attempt.state is AttemptState.REVERSING:
        raise DecisionRefused(_BEING_REVERSED)
    _refuse_what_ends_with_another(payment, operation)
    _refuse_another_amount(operation, decision.amount_minor, operation.amount_minor, operation.currency)
    reference = decision.reference or (attempt and attempt.connector_reference)
    if not reference:
        raise DecisionRefused("Say the acquirer's reference of it: what follows is sent with that.")
    approved = Approved(
        reference,
        operation.amount_minor,
        operation.currency,
        stage=decision.stage or (Stage.CAPTURED if payment.automatic else Stage.AUTHORIZED),
    )
    sent, abilities = _as_sent(matter), matter.abilities
    settled = settlement.settle(payment, operation, sent, approved, abilities=abilities, now=now)
    return settled if sent == attempt else replace(settled, attempt=attempt)  # what was not sent stays so


def did_not(outcome: Outcome) -> Callable[[InReview, Decision, datetime], Settlement]:
    """The pending operation came to nothing, in this way."""

    def apply(matter: InReview, _: Decision, now: datetime) -> Settlement:
        payment, operation, attempt = matter.payment, matter.operation, matter.attempt
        if operation.kind is OperationKind.EXPIRE:
            return ending.not_released(payment, operation, attempt, now=now)
        if attempt is None or attempt.state is AttemptState.NOT_SENT:
            failed = settlement.give_up(payment, operation, attempt, code=FailureCode.NOT_PROCESSED, now=now)
            return replace(failed, attempt=attempt)
        fact = Reversed() if attempt.state is AttemptState.REVERSING else outcome
        return settlement.settle(payment, operation, attempt, fact, now=now)

    return apply


def dispute_accepted(matter: InReview, _: Decision, now: datetime) -> Settlement:
    """The acquirer has the acceptance of the dispute."""
    return replace(acceptance.succeed(matter.payment, matter.operation, now=now), attempt=matter.attempt)


def undone_case(matter: InReview, _: Decision, now: datetime) -> Settlement:
    """The late success was undone at the acquirer."""
    undone = ending.succeed(matter.payment, matter.operation, None, reply=None, now=now)
    return replace(undone, attempt=matter.attempt)


def dismiss(matter: InReview, _: Decision, now: datetime) -> Settlement:
    """What was held for the late success is let go, and what it was said to be of stays as it was recorded."""
    story = Story(matter.payment, now)
    given_back = matter.operation.amount_undecided_minor
    case = _close(story, matter.operation)
    if given_back and matter.target is not None and matter.target.kind is OperationKind.REFUND:
        story.tell("refund.failed", refund=matter.target)
    elif given_back:
        story.tell("payment.capture_failed")
    return Settlement(story.payment, case, matter.attempt, story.events)


def late_refund_paid(matter: InReview, decision: Decision, now: datetime) -> Settlement:
    """The refund that was told as failed was paid: it has succeeded, and its stored answer stays."""
    case, refund, attempt = matter.operation, matter.target, matter.target_attempt
    if refund is None or attempt is None:
        raise DecisionRefused("The refund that succeeded late is not known any more.")
    if refund.status is OperationStatus.PENDING:
        raise DecisionRefused(_BEING_REVERSED)
    stated = case.amount_minor if decision.amount_minor is None else decision.amount_minor
    _refuse_another_amount(refund, stated, refund.amount_minor, case.currency)
    story = Story(matter.payment, now)
    case = _close(story, case)
    reference = decision.reference or attempt.connector_reference
    refund = replace(refund, connector_reference=reference, updated_at=now, decided_at=now)
    refund = amounts.refund_again(story, refund, refund.amount_minor)
    return Settlement(story.payment, case, matter.attempt, story.events, beside=(refund,))


def late_release_stands(matter: InReview, _: Decision, now: datetime) -> Settlement:
    """The authorization was released, as the late void or expiry said; the stored answer stays."""
    story = Story(matter.payment, now)
    case = _close(story, matter.operation)
    if matter.target is None:
        return Settlement(story.payment, case, matter.attempt, story.events)
    story.set(review=reviews.left(story.payment, matter.target))
    released = replace(
        matter.target,
        status=OperationStatus.SUCCEEDED,
        last_error=None,
        review_at=None,
        decided_at=now,
        updated_at=now,
    )
    if story.payment.status.capturable:
        if not story.payment.idle:
            raise DecisionRefused("A capture or void of this payment is pending: its outcome comes first.")
        voided = ending.succeed(story.payment, released, None, reply=None, now=now)
        story.payment, story.events = voided.payment, story.events + voided.events
    return Settlement(story.payment, case, matter.attempt, story.events, beside=(released,))


def expiry_confirmed(matter: InReview, _: Decision, now: datetime) -> Settlement:
    """What expired here was released there as well."""
    expiry = matter.operation
    error = None if matter.payment.last_error == expiry.last_error else matter.payment.last_error
    story = Story(matter.payment, now)
    story.set(review=reviews.left(story.payment, expiry), last_error=error)
    confirmed = replace(expiry, status=OperationStatus.SUCCEEDED, last_error=None, review_at=None)
    return Settlement(story.payment, confirmed, matter.attempt, story.events)


def void_confirmed(matter: InReview, _: Decision, now: datetime) -> Settlement:
    """What we were to release was released; nothing can be captured any more."""
    story = Story(matter.payment, now)
    story.set(review=reviews.left(story.payment, matter.operation))
    amounts.void_again(story)
    confirmed = replace(matter.operation, status=OperationStatus.SUCCEEDED, last_error=None, review_at=None)
    return Settlement(story.payment, confirmed, matter.attempt, story.events)


def noted(matter: InReview, _: Decision, now: datetime) -> Settlement:
    """It stays as it was recorded; only the review ends."""
    story = Story(matter.payment, now)
    story.set(review=reviews.left(story.payment, matter.operation))
    return Settlement(story.payment, replace(matter.operation, review_at=None), matter.attempt, story.events)


def release_paid(matter: InReview, decision: Decision, now: datetime) -> Settlement:
    """Our own refund of what was given up was paid after all; the void's stored answer stays."""
    refund = matter.operation
    _refuse_another_amount(refund, decision.amount_minor, refund.amount_minor, refund.currency)
    story = Story(matter.payment, now)
    story.set(review=reviews.left(story.payment, refund))
    reference = decision.reference or refund.connector_reference
    refund = replace(refund, review_at=None, connector_reference=reference)
    refund = amounts.refund_again(story, refund, refund.amount_minor)
    return Settlement(story.payment, refund, matter.attempt, story.events)


def stays_undone(matter: InReview, _: Decision, now: datetime) -> Settlement:
    """It is not done again, whatever the acquirer said; where it said so, it is to say so once more."""
    turned = matter.operation
    settled = turns.let_go(matter.payment, turned, now=now)
    said_done = turned.kind is OperationKind.REDO and turned.connector_reference is not None
    return _ahead(settled, turned.amount_undecided_minor) if said_done else settled


def holds_again(matter: InReview, decision: Decision, now: datetime) -> Settlement:
    """Amounts and status are as before the acquirer took it back; what was not counted then is not counted now."""
    turned, target = matter.operation, matter.target
    amount = turns.open_minor(turned)
    _refuse_what_does_not_fit(turned, decision, amount)
    if turned.target_kind is OperationKind.VOID and not matter.payment.idle:
        raise DecisionRefused("A capture or void of this payment is pending: its outcome comes first.")
    if target is None or not amount:
        settled = turns.let_go(matter.payment, replace(turned, final=False), now=now)
        settled = replace(settled, operation=replace(settled.operation, final=turned.final))
    else:
        settled = turns.holds_again(matter.payment, turned, target, now=now)
    if undecided.contradicts(turned):  # what the acquirer says is not so
        return replace(settled, operation=replace(settled.operation, status=OperationStatus.FAILED))
    return _ahead(settled, amount or turned.amount_minor) if turned.kind is OperationKind.UNDO else settled


def risk_taken(matter: InReview, decision: Decision, now: datetime) -> Settlement:
    """What is held may be captured."""
    _refuse_facts(decision)
    return replace(holding.approve(matter.payment, matter.operation, now=now), attempt=matter.attempt)


def risk_not_taken(matter: InReview, decision: Decision, now: datetime) -> Settlement:
    """What is held is voided."""
    _refuse_facts(decision)
    return replace(holding.reject(matter.payment, matter.operation, now=now), attempt=matter.attempt)


def books_it(matter: InReview, decision: Decision, now: datetime) -> Settlement:
    turned = matter.operation
    _refuse_another_amount(turned, decision.amount_minor, turned.amount_minor, turned.currency)
    _refuse_beside_pending(matter.payment, turned.kind)
    return turns.book(matter.payment, turned, now=now)


def strikes_out(matter: InReview, _: Decision, now: datetime) -> Settlement:
    return turns.strike_out(matter.payment, matter.operation, now=now)


def _refuse_facts(decision: Decision) -> None:
    """Whether a risk is taken says nothing of what moved."""
    if (decision.amount_minor, decision.reference, decision.stage) != (None, None, None):
        raise DecisionRefused("A decision about a risk takes no amount, reference or stage.")


def _refuse_what_ends_with_another(payment: Payment, operation: Operation) -> None:
    """A void of what has no outcome, or was captured all the same, has its own with that of what it waits for."""
    refund_id = (payment.pending_operation or {}).get("ended_by")
    if operation.kind is not OperationKind.VOID or payment.status.capturable:
        return
    if payment.status.undecided:
        raise DecisionRefused(
            f"It ends with its authorization, which has no outcome: decide about {payment.id}."
        )
    raise DecisionRefused(f"Nothing is left to release: it ends with the refund {refund_id}.")


def _as_sent(matter: InReview) -> Attempt:
    """The attempt that a person says succeeded, also where Postgres knows of none, or of one that was not sent."""
    attempt, operation = matter.attempt, matter.operation
    if attempt is not None and attempt.state is not AttemptState.NOT_SENT:
        return attempt
    number = 1 if attempt is None else attempt.number
    return Attempt(
        operation_id=operation.id,
        number=number,
        payment_id=operation.payment_id,
        kind=operation.kind,
        connector=matter.payment.connector,
        connector_account=matter.payment.connector_account,
        reference=attempt_reference(operation.id, number),
        state=AttemptState.UNKNOWN,
        owner="",
        token="",
        send_before=operation.created_at,
        claimed_at=operation.created_at,
    )


def _refuse_what_does_not_fit(turned: Operation, decision: Decision, amount: int) -> None:
    """What was done again holds as far as it was undone before; the rest is settled first, which a person says."""
    more = turned.amount_undecided_minor - amount if turned.kind is OperationKind.REDO else 0
    if more and not (amount and decision.amount_minor == amount):
        raise DecisionRefused(
            f"{more} {turned.currency} more was done again than is undone: settle it with the acquirer first."
            + (f" Then decide about {amount}." if amount else "")
        )
    _refuse_another_amount(turned, decision.amount_minor, amount or turned.amount_minor, turned.currency)


def _ahead(settled: Settlement, amount_minor: int) -> Settlement:
    """The acquirer has not said so yet; once it does, that is no news. Another currency is not comparable."""
    if settled.operation.currency != settled.payment.currency:
        return settled
    return replace(settled, operation=replace(settled.operation, amount_ahead_minor=amount_minor))


def _refuse_beside_pending(payment: Payment, kind: OperationKind) -> None:
    """What is pending waits while it does not fit beside what others did: were that let go, it would be sent."""
    accepted = OperationKind.CAPTURE if payment.accepted else None
    waiting = (payment.pending_operation or {}).get("type", accepted)
    match kind:
        case OperationKind.REFUND:
            waiting = "refund" if payment.amount_refund_pending_minor and payment.refunds_exceed else None
        case OperationKind.CAPTURE:
            waiting = waiting if payment.captures_exceed else None
        case _:
            pass
    if waiting is not None:
        raise DecisionRefused(f"A {waiting} of this payment is pending: its outcome comes first.")


def _close(story: Story, case: Operation) -> Operation:
    """The case of a late success that nothing undoes: nothing is held for it, and its review ends."""
    left = reviews.left(story.payment, case)
    story.payment, case = undecided.hold(story.payment, case, amount_minor=0)
    story.set(review=left)
    return replace(case, status=OperationStatus.FAILED, review_at=None)


def _refuse_another_amount(of: Operation, said: int | None, asked: int, currency: str) -> None:
    """It happened as it was asked for, or it did not happen: there is nothing between."""
    if said is not None and said != asked:
        raise DecisionRefused(
            f"{of.id} is of {asked} {of.currency}: settle the rest with the acquirer first."
        )
    if currency != of.currency:
        raise DecisionRefused(
            f"{of.id} is in {of.currency}, and {currency} moved: settle it with the acquirer."
        )

"""What a person decides where no machine can: which verdicts a review allows, and what becomes of the books by each.

A decision is recorded as a fact of the acquirer is, under the lock of the payment; pure here. `TABLE` says, by what
is asked and of what, which verdicts there are. What would change nothing is refused, in words.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from payonce.domain import amounts, claiming, ending, reviews, settlement, turns, undecided
from payonce.domain.card_numbers import looks_like_card_number
from payonce.domain.errors import DecisionRefused
from payonce.domain.events import Story
from payonce.domain.facts import (
    Approved,
    DeclineCode,
    Declined,
    FailureCode,
    NotProcessed,
    Outcome,
    Reversed,
    Stage,
)
from payonce.domain.ids import attempt_reference
from payonce.domain.operations import (
    USUAL,
    Abilities,
    Attempt,
    AttemptState,
    Operation,
    OperationKind,
    OperationStatus,
)
from payonce.domain.payment import Payment
from payonce.domain.reviews import Question
from payonce.domain.settlement import Settlement

TEXT_MAX: Final = 500
REFERENCE_MAX: Final = 100
KEY_MAX: Final = 200


class Verdict(StrEnum):
    """What a person may say of an operation in review."""

    APPROVED = "approved"  # it happened, or it holds
    DECLINED = "declined"  # it did not, and will not
    REVERSED = "reversed"  # it did, and was undone
    PAID = "paid"  # of a refund: the customer has the money
    NOT_PAID = "not_paid"
    UNDONE = "undone"  # what the acquirer took back stays so
    ORPHAN = "orphan"  # it is not of this payment


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One row of `decisions`: who says what, why, and on what evidence."""

    key: str  # the same key is the same decision, for ever
    operation_id: str
    verdict: Verdict
    actor: str  # user@host, as the machine said: not authenticated
    why: str
    evidence: str | None = None
    amount_minor: int | None = None  # what moved, where it is said
    reference: str | None = None  # the acquirer's, where it is said
    stage: Stage | None = None  # how far an authorization came, where it is not what was asked for

    def says_the_same(self, other: "Decision") -> bool:
        """Whether both decide the same, whoever did."""
        return replace(self, actor="") == replace(other, actor="")


@dataclass(frozen=True, slots=True)
class Finality:
    """How long an attempt's account takes until nothing of it can arrive any more."""

    call_deadline_s: float
    finality_s: float


UNKNOWN_FINALITY: Final = Finality(20, 24 * 3600)  # of an account that is not among the settings any more


@dataclass(frozen=True, slots=True)
class InReview:
    """What stands under the lock."""

    payment: Payment
    operation: Operation
    attempt: Attempt | None = None  # the operation's latest
    target: Operation | None = None  # that succeeded late, or that a turn is about
    target_attempt: Attempt | None = None  # of the target: the one that the case or the turn is about
    finality: Finality = UNKNOWN_FINALITY
    abilities: Abilities = USUAL
    latest: Decision | None = None  # about the operation


@dataclass(frozen=True, slots=True)
class Effect:
    """What a verdict does."""

    says: str  # for the person who decides
    _apply: Callable[[InReview, Decision, datetime], Settlement]

    def of(self, matter: InReview, decision: Decision, *, now: datetime) -> Settlement:
        """The rows as they are to be. Raises `DecisionRefused`."""
        return self._apply(matter, decision, now)


def question(operation: Operation) -> tuple[Question, OperationKind] | None:
    """What is asked about the operation, and of what kind; None: nothing."""
    asked = reviews.question(operation)
    if asked is None:
        return None
    about_another = asked in (Question.LATE, Question.UNDONE)
    return asked, operation.target_kind or operation.kind if about_another else operation.kind


def verdicts(operation: Operation) -> Mapping[Verdict, Effect]:
    """The verdicts that the operation's review allows; none where it is not in review."""
    asked = question(operation)
    return {} if asked is None else TABLE.get(asked, {})


def decide(matter: InReview, decision: Decision, *, now: datetime) -> Settlement:
    """What the decision makes of the rows. Raises `DecisionRefused` where it makes nothing of them, in words."""
    operation = matter.operation
    possible = verdicts(operation)
    if not possible:
        raise DecisionRefused(_not_in_review(matter))
    effect = possible.get(decision.verdict)
    if effect is None:
        raise DecisionRefused(f"{operation.id} can only be decided as {', '.join(possible)}.")
    _refuse_what_does_not_belong(operation, decision)
    _refuse_unfit_texts(decision)
    _refuse_too_early(matter, now)
    settled = effect.of(matter, decision, now=now)
    if settled.operation == operation and settled.payment == matter.payment:
        raise DecisionRefused("That would change nothing.")
    _refuse_impossible(settled.payment)
    return replace(settled, operation=replace(settled.operation, decided_at=now, updated_at=now))


def _not_in_review(matter: InReview) -> str:
    said = matter.latest
    if said is None:
        return f"{matter.operation.id} is not in review: nobody is asked to decide anything about it."
    return f"{said.operation_id} is not in review: {said.actor} has decided that it is {said.verdict}."


def settles_at(attempt: Attempt, finality: Finality) -> datetime:
    """When the attempt can be decided: until then it may still be sent, arrive, or be paid by its customer."""
    answered = claiming.unanswered_until(
        attempt, call_deadline_s=finality.call_deadline_s, finality_s=finality.finality_s
    )
    return answered if attempt.act_before is None else max(answered, attempt.act_before)


def _refuse_what_does_not_belong(operation: Operation, decision: Decision) -> None:
    """An amount or a reference says what happened; where nothing did there is none."""
    happened = decision.verdict in (Verdict.APPROVED, Verdict.PAID)
    if not happened and (decision.amount_minor is not None or decision.reference is not None):
        raise DecisionRefused(f"{decision.verdict} takes neither an amount nor a reference.")
    authorizes = operation.kind is OperationKind.AUTHORIZE and happened
    if decision.stage is not None and not authorizes:
        raise DecisionRefused("Only an authorization that was approved has a stage.")


def _refuse_unfit_texts(decision: Decision) -> None:
    """What is kept for ever is short, says why, and is no card number."""
    if not decision.why.strip():
        raise DecisionRefused("Say why.")
    texts = {
        "why": (decision.why, TEXT_MAX),
        "evidence": (decision.evidence or "", TEXT_MAX),
        "reference": (decision.reference or "", REFERENCE_MAX),
        "key": (decision.key, KEY_MAX),
        "actor": (decision.actor, KEY_MAX),
    }
    for name, (text, longest) in texts.items():
        if len(text) > longest:
            raise DecisionRefused(f"{name} is longer than {longest} characters.")
        if not all(character.isprintable() or character == "\n" for character in text):
            raise DecisionRefused(f"{name} has characters that cannot be printed.")
        if name in ("why", "evidence") and looks_like_card_number(text):  # acquirers' references may look so
            raise DecisionRefused(f"{name} holds what looks like a card number: leave that out.")


def _refuse_too_early(matter: InReview, now: datetime) -> None:
    """What may still be sent or arrive is decided by nobody."""
    attempt = matter.attempt
    open_ = matter.operation.status is OperationStatus.PENDING and attempt is not None
    if not open_ or attempt is None or attempt.state.definite or attempt.state is AttemptState.NOT_SENT:
        return
    at = settles_at(attempt, matter.finality)
    if now < at:
        when = at.isoformat(timespec="seconds")
        raise DecisionRefused(f"It may still arrive at the acquirer: it can be decided from {when} on.")


def _refuse_impossible(payment: Payment) -> None:
    """The books hold what they promise: what does not fit is settled with the acquirer, or the merchant, first."""
    over_captured = payment.amount_captured_minor - payment.amount_authorized_minor
    if over_captured > 0:
        raise DecisionRefused(f"{over_captured} more would be captured than was authorized.")
    refunded = payment.amount_refunded_minor + payment.amount_refund_pending_minor
    over_refunded = refunded - payment.amount_captured_minor - payment.amount_capture_undone_minor
    if over_refunded > 0:
        raise DecisionRefused(f"{over_refunded} more would be refunded than was captured.")
    pending = payment.pending_operation
    if pending is not None and not payment.status.open and "ended_by" not in pending:
        raise DecisionRefused(f"A {pending['type']} of this payment is pending: its outcome comes first.")


def _happened(matter: InReview, decision: Decision, now: datetime) -> Settlement:
    """The pending operation did exactly what was asked for."""
    payment, operation, attempt = matter.payment, matter.operation, matter.attempt
    if attempt is not None and attempt.state is AttemptState.REVERSING:
        raise DecisionRefused("Its reversal has begun, and may be carried out at any moment.")
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


def _did_not(outcome: Outcome) -> Callable[[InReview, Decision, datetime], Settlement]:
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


def _undone_case(matter: InReview, _: Decision, now: datetime) -> Settlement:
    """The late success was undone at the acquirer."""
    undone = ending.succeed(matter.payment, matter.operation, None, reply=None, now=now)
    return replace(undone, attempt=matter.attempt)


def _dismiss(matter: InReview, _: Decision, now: datetime) -> Settlement:
    """What was held for the late success is let go, and what it was said to be of stays as it was recorded."""
    story = Story(matter.payment, now)
    given_back = matter.operation.amount_undecided_minor
    case = _close(story, matter.operation)
    if given_back and matter.target is not None and matter.target.kind is OperationKind.REFUND:
        story.tell("refund.failed", refund=matter.target)
    elif given_back:
        story.tell("payment.capture_failed")
    return Settlement(story.payment, case, matter.attempt, story.events)


def _late_refund_paid(matter: InReview, decision: Decision, now: datetime) -> Settlement:
    """The refund that was told as failed was paid: it has succeeded, and its stored answer stays."""
    case, refund, attempt = matter.operation, matter.target, matter.target_attempt
    if refund is None or attempt is None:
        raise DecisionRefused("The refund that succeeded late is not known any more.")
    stated = case.amount_minor if decision.amount_minor is None else decision.amount_minor
    _refuse_another_amount(refund, stated, refund.amount_minor, case.currency)
    story = Story(matter.payment, now)
    case = _close(story, case)
    reference = decision.reference or attempt.connector_reference
    refund = replace(refund, connector_reference=reference, updated_at=now, decided_at=now)
    refund = amounts.refund_again(story, refund, refund.amount_minor)
    return Settlement(story.payment, case, matter.attempt, story.events, beside=(refund,))


def _late_release_stands(matter: InReview, _: Decision, now: datetime) -> Settlement:
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


def _expiry_confirmed(matter: InReview, _: Decision, now: datetime) -> Settlement:
    """What expired here was released there as well."""
    expiry = matter.operation
    error = None if matter.payment.last_error == expiry.last_error else matter.payment.last_error
    story = Story(matter.payment, now)
    story.set(review=reviews.left(story.payment, expiry), last_error=error)
    confirmed = replace(expiry, status=OperationStatus.SUCCEEDED, last_error=None, review_at=None)
    return Settlement(story.payment, confirmed, matter.attempt, story.events)


def _void_confirmed(matter: InReview, _: Decision, now: datetime) -> Settlement:
    """What we were to release was released; nothing can be captured any more."""
    story = Story(matter.payment, now)
    story.set(review=reviews.left(story.payment, matter.operation))
    amounts.void_again(story)
    confirmed = replace(matter.operation, status=OperationStatus.SUCCEEDED, last_error=None, review_at=None)
    return Settlement(story.payment, confirmed, matter.attempt, story.events)


def _noted(matter: InReview, _: Decision, now: datetime) -> Settlement:
    """It stays as it was recorded; only the review ends."""
    story = Story(matter.payment, now)
    story.set(review=reviews.left(story.payment, matter.operation))
    return Settlement(story.payment, replace(matter.operation, review_at=None), matter.attempt, story.events)


def _release_paid(matter: InReview, decision: Decision, now: datetime) -> Settlement:
    """Our own refund of what was given up was paid after all; the void's stored answer stays."""
    refund = matter.operation
    _refuse_another_amount(refund, decision.amount_minor, refund.amount_minor, refund.currency)
    story = Story(matter.payment, now)
    story.set(review=reviews.left(story.payment, refund))
    reference = decision.reference or refund.connector_reference
    refund = replace(refund, review_at=None, connector_reference=reference)
    refund = amounts.refund_again(story, refund, refund.amount_minor)
    return Settlement(story.payment, refund, matter.attempt, story.events)


def _stays_undone(matter: InReview, _: Decision, now: datetime) -> Settlement:
    """It is not done again, whatever the acquirer said; where it said so, it is to say so once more."""
    turned = matter.operation
    settled = turns.let_go(matter.payment, turned, now=now)
    said_done = turned.kind is OperationKind.REDO and turned.connector_reference is not None
    return _ahead(settled, turned.amount_undecided_minor) if said_done else settled


def _holds_again(matter: InReview, decision: Decision, now: datetime) -> Settlement:
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


def _books_it(matter: InReview, decision: Decision, now: datetime) -> Settlement:
    turned = matter.operation
    _refuse_another_amount(turned, decision.amount_minor, turned.amount_minor, turned.currency)
    _refuse_beside_pending(matter.payment, turned.kind)
    return turns.book(matter.payment, turned, now=now)


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


def _strikes_out(matter: InReview, _: Decision, now: datetime) -> Settlement:
    return turns.strike_out(matter.payment, matter.operation, now=now)


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


_K, _Q, _V = OperationKind, Question, Verdict
_NOTHING_HELD = "nothing is held for it any more"
_SUCCEEDED_AFTER_ALL = "the refund has succeeded, with refund.succeeded; its stored answer stays"
_REVERSED_CASE = Effect("it was undone at the acquirer; nothing is held for it any more", _undone_case)
_ORPHAN_CASE = Effect(f"it is not of this payment; {_NOTHING_HELD}", _dismiss)
_DECLINED = _did_not(Declined(DeclineCode.GENERIC_DECLINE))
_ENDED_CAPTURE: Final = {
    _V.APPROVED: Effect("it was captured, with that amount", _happened),
    _V.DECLINED: Effect("it was not captured; its amount may be captured again", _DECLINED),
    _V.REVERSED: Effect("it was captured and undone; its amount may be captured again", _did_not(Reversed())),
}
_LATE_RELEASE: Final = {
    _V.APPROVED: Effect(
        "the authorization was released: voided, unless more was captured", _late_release_stands
    ),
    _V.DECLINED: Effect("the authorization stands, and may be captured again", _dismiss),
}

TABLE: Final[Mapping[tuple[Question, OperationKind], Mapping[Verdict, Effect]]] = {
    (_Q.OUTCOME, _K.AUTHORIZE): {
        _V.APPROVED: Effect("it was authorized, and captured where the payment is automatic", _happened),
        _V.DECLINED: Effect("the issuer or the acquirer said no: failed", _DECLINED),
        _V.REVERSED: Effect("whatever it did was undone: failed", _did_not(Reversed())),
    },
    (_Q.OUTCOME, _K.CAPTURE): _ENDED_CAPTURE,
    (_Q.OUTCOME, _K.VOID): {
        _V.APPROVED: Effect(
            "the authorization was released: voided, or captured where a part was", _happened
        ),
        _V.DECLINED: Effect("nothing was released: the authorization stands", _DECLINED),
        _V.REVERSED: Effect("the release was undone: the authorization stands", _did_not(Reversed())),
    },
    (_Q.OUTCOME, _K.EXPIRE): {
        _V.APPROVED: Effect("the rest was released: expired, or captured where a part was", _happened),
        _V.DECLINED: Effect("expired all the same; the acquirer did not release it", _DECLINED),
        _V.REVERSED: Effect("expired all the same; the release was undone", _did_not(Reversed())),
    },
    (_Q.OUTCOME, _K.REFUND): {
        _V.PAID: Effect("the refund has succeeded", _happened),
        _V.NOT_PAID: Effect(
            "the refund has failed; its amount may be refunded again",
            _did_not(NotProcessed(FailureCode.NOT_PROCESSED)),
        ),
    },
    (_Q.LATE, _K.AUTHORIZE): {_V.REVERSED: _REVERSED_CASE, _V.ORPHAN: _ORPHAN_CASE},
    (_Q.LATE, _K.CAPTURE): {_V.REVERSED: _REVERSED_CASE, _V.ORPHAN: _ORPHAN_CASE},
    (_Q.LATE, _K.REVERSE): {_V.REVERSED: _REVERSED_CASE, _V.ORPHAN: _ORPHAN_CASE},  # of an earlier version
    (_Q.LATE, _K.VOID): _LATE_RELEASE,
    (_Q.LATE, _K.EXPIRE): _LATE_RELEASE,
    (_Q.LATE, _K.REFUND): {
        _V.PAID: Effect(_SUCCEEDED_AFTER_ALL, _late_refund_paid),
        _V.NOT_PAID: Effect(f"the refund stays failed; {_NOTHING_HELD}", _dismiss),
    },
    (_Q.RELEASE, _K.EXPIRE): {
        _V.APPROVED: Effect("it was released at the acquirer after all", _expiry_confirmed),
        _V.DECLINED: Effect("it was not, and stays expired here", _noted),
    },
    (_Q.RELEASE, _K.VOID): {
        _V.APPROVED: Effect("it was released at the acquirer after all: voided", _void_confirmed),
        _V.DECLINED: Effect("it was not: the authorization stands, and may be captured or voided", _noted),
    },
    (_Q.GIVEN_UP, _K.REFUND): {
        _V.PAID: Effect(_SUCCEEDED_AFTER_ALL, _release_paid),
        _V.NOT_PAID: Effect("the payment stays captured, and may be refunded again", _noted),
    },
    (_Q.UNDONE, _K.CAPTURE): {
        _V.UNDONE: Effect(
            "it stays undone: it may be captured again while the authorization holds, else it is expired",
            _stays_undone,
        ),
        _V.APPROVED: Effect("it is captured again, as it was before", _holds_again),
    },
    (_Q.UNDONE, _K.VOID): {
        _V.UNDONE: Effect("the authorization stands, and may be captured", _stays_undone),
        _V.APPROVED: Effect("the authorization is released, as it was before", _holds_again),
    },
    (_Q.UNDONE, _K.REFUND): {
        _V.UNDONE: Effect("the refund stays failed; its amount may be refunded again", _stays_undone),
        _V.PAID: Effect("the refund has succeeded again, with refund.succeeded", _holds_again),
    },
    (_Q.FOREIGN, _K.CAPTURE): {
        _V.APPROVED: Effect("it is of this payment: what fits is booked, the rest let go", _books_it),
        _V.ORPHAN: Effect("it is not of this payment: what was booked of it is taken out", _strikes_out),
    },
    (_Q.FOREIGN, _K.REFUND): {
        _V.APPROVED: Effect("it is of this payment: what fits is booked, the rest let go", _books_it),
        _V.ORPHAN: Effect("it is not of this payment: what was booked of it is taken out", _strikes_out),
    },
    (_Q.FOREIGN, _K.VOID): {
        _V.APPROVED: Effect(
            "the authorization was released: voided, or captured where a part was", _books_it
        ),
        _V.ORPHAN: Effect(f"it is not of this payment; {_NOTHING_HELD}", _strikes_out),
    },
}
"""What is asked, and of what kind of operation; the verdicts, and what becomes of the books by each."""

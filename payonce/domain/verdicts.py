"""Which verdicts a review allows, and what each does: `TABLE`, by what is asked and of what.

Pure. What would change nothing, comes too early or does not fit is refused, in words.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from payonce.domain import effects, holding, reviews
from payonce.domain.card_numbers import looks_like_card_number
from payonce.domain.decisions import KEY_MAX, REFERENCE_MAX, TEXT_MAX, Decision, InReview, Verdict, settles_at
from payonce.domain.errors import DecisionRefused
from payonce.domain.facts import DeclineCode, Declined, FailureCode, NotProcessed, Reversed
from payonce.domain.operations import AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.reviews import Question
from payonce.domain.settlement import Settlement


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
    _refuse_impossible(settled)
    if holding.is_asked(operation):  # the outcome of the authorization is the acquirer's
        return settled
    return replace(settled, operation=replace(settled.operation, decided_at=now, updated_at=now))


def _not_in_review(matter: InReview) -> str:
    said = matter.latest
    if said is None:
        return f"{matter.operation.id} is not in review: nobody is asked to decide anything about it."
    return f"{said.operation_id} is not in review: {said.actor} has decided that it is {said.verdict}."


def _refuse_what_does_not_belong(operation: Operation, decision: Decision) -> None:
    """An amount or a reference says what happened; where nothing did there is none."""
    happened = decision.verdict in (Verdict.APPROVED, Verdict.PAID)
    if not happened and (decision.amount_minor is not None or decision.reference is not None):
        raise DecisionRefused(f"{decision.verdict} takes neither an amount nor a reference.")
    if operation.kind is OperationKind.ACCEPT and decision.amount_minor is not None:
        raise DecisionRefused("An acceptance takes no amount: its dispute has it.")
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


def _refuse_impossible(settled: Settlement) -> None:
    """The books hold what they promise: what does not fit is settled with the acquirer, or the merchant, first.

    A void may be pending of what was captured all the same where a refund of our own begins, with which it ends.
    """
    payment = settled.payment
    over_captured = payment.amount_captured_minor - payment.amount_authorized_minor
    if over_captured > 0:
        raise DecisionRefused(f"{over_captured} more would be captured than was authorized.")
    refunded = payment.amount_refunded_minor + payment.amount_refund_pending_minor
    over_refunded = refunded - payment.amount_captured_minor - payment.amount_capture_undone_minor
    if over_refunded > 0:
        raise DecisionRefused(f"{over_refunded} more would be refunded than was captured.")
    pending = payment.pending_operation
    ends = settled.refund is not None or "ended_by" in (pending or {})
    waiting = "capture" if pending is None else pending["type"]
    if not payment.idle and not payment.status.open and not ends:
        raise DecisionRefused(f"A {waiting} of this payment is pending: its outcome comes first.")


_K, _Q, _V = OperationKind, Question, Verdict
_NOTHING_HELD = "nothing is held for it any more"
_SUCCEEDED_AFTER_ALL = "the refund has succeeded, with refund.succeeded; its stored answer stays"
_REVERSED_CASE = Effect("it was undone at the acquirer; nothing is held for it any more", effects.undone_case)
_ORPHAN_CASE = Effect(f"it is not of this payment; {_NOTHING_HELD}", effects.dismiss)
_DECLINED = effects.did_not(Declined(DeclineCode.GENERIC_DECLINE))
_ENDED_CAPTURE: Final = {
    _V.APPROVED: Effect("it was captured, with that amount", effects.happened),
    _V.DECLINED: Effect("it was not captured; its amount may be captured again", _DECLINED),
    _V.REVERSED: Effect(
        "it was captured and undone; its amount may be captured again", effects.did_not(Reversed())
    ),
}
_LATE_RELEASE: Final = {
    _V.APPROVED: Effect(
        "the authorization was released: voided, unless more was captured", effects.late_release_stands
    ),
    _V.DECLINED: Effect("the authorization stands, and may be captured again", effects.dismiss),
}

TABLE: Final[Mapping[tuple[Question, OperationKind], Mapping[Verdict, Effect]]] = {
    (_Q.OUTCOME, _K.AUTHORIZE): {
        _V.APPROVED: Effect(
            "it was authorized, and captured where the payment is automatic", effects.happened
        ),
        _V.DECLINED: Effect("the issuer or the acquirer said no: failed", _DECLINED),
        _V.REVERSED: Effect("whatever it did was undone: failed", effects.did_not(Reversed())),
    },
    (_Q.OUTCOME, _K.CAPTURE): _ENDED_CAPTURE,
    (_Q.OUTCOME, _K.VOID): {
        _V.APPROVED: Effect(
            "the authorization was released: voided, or captured where a part was", effects.happened
        ),
        _V.DECLINED: Effect("nothing was released: the authorization stands", _DECLINED),
        _V.REVERSED: Effect("the release was undone: the authorization stands", effects.did_not(Reversed())),
    },
    (_Q.OUTCOME, _K.EXPIRE): {
        _V.APPROVED: Effect("the rest was released: expired, or captured where a part was", effects.happened),
        _V.DECLINED: Effect("expired all the same; the acquirer did not release it", _DECLINED),
        _V.REVERSED: Effect("expired all the same; the release was undone", effects.did_not(Reversed())),
    },
    (_Q.OUTCOME, _K.REFUND): {
        _V.PAID: Effect("the refund has succeeded", effects.happened),
        _V.NOT_PAID: Effect(
            "the refund has failed; its amount may be refunded again",
            effects.did_not(NotProcessed(FailureCode.NOT_PROCESSED)),
        ),
    },
    (_Q.OUTCOME, _K.ACCEPT): {
        _V.APPROVED: Effect("the dispute is accepted: what was withdrawn stays so", effects.dispute_accepted),
        _V.DECLINED: Effect("it is not: the dispute stands as the acquirer says", _DECLINED),
    },
    (_Q.LATE, _K.AUTHORIZE): {_V.REVERSED: _REVERSED_CASE, _V.ORPHAN: _ORPHAN_CASE},
    (_Q.LATE, _K.CAPTURE): {_V.REVERSED: _REVERSED_CASE, _V.ORPHAN: _ORPHAN_CASE},
    (_Q.LATE, _K.REVERSE): {_V.REVERSED: _REVERSED_CASE, _V.ORPHAN: _ORPHAN_CASE},  # of an earlier version
    (_Q.LATE, _K.VOID): _LATE_RELEASE,
    (_Q.LATE, _K.EXPIRE): _LATE_RELEASE,
    (_Q.LATE, _K.REFUND): {
        _V.PAID: Effect(_SUCCEEDED_AFTER_ALL, effects.late_refund_paid),
        _V.NOT_PAID: Effect(f"the refund stays failed; {_NOTHING_HELD}", effects.dismiss),
    },
    (_Q.RELEASE, _K.EXPIRE): {
        _V.APPROVED: Effect("it was released at the acquirer after all", effects.expiry_confirmed),
        _V.DECLINED: Effect("it was not, and stays expired here", effects.noted),
    },
    (_Q.RELEASE, _K.VOID): {
        _V.APPROVED: Effect("it was released at the acquirer after all: voided", effects.void_confirmed),
        _V.DECLINED: Effect(
            "it was not: the authorization stands, and may be captured or voided", effects.noted
        ),
    },
    (_Q.RISK, _K.AUTHORIZE): {
        _V.APPROVED: Effect(
            "it may be captured, and is at once where the payment is automatic", effects.risk_taken
        ),
        _V.REJECTED: Effect("it is voided, and nothing of it captured", effects.risk_not_taken),
    },
    (_Q.GIVEN_UP, _K.REFUND): {
        _V.PAID: Effect(_SUCCEEDED_AFTER_ALL, effects.release_paid),
        _V.NOT_PAID: Effect("the payment stays captured, and may be refunded again", effects.noted),
    },
    (_Q.UNDONE, _K.CAPTURE): {
        _V.UNDONE: Effect(
            "it stays undone: it may be captured again while the authorization holds, else it is expired",
            effects.stays_undone,
        ),
        _V.APPROVED: Effect("it is captured again, as it was before", effects.holds_again),
    },
    (_Q.UNDONE, _K.VOID): {
        _V.UNDONE: Effect("the authorization stands, and may be captured", effects.stays_undone),
        _V.APPROVED: Effect("the authorization is released, as it was before", effects.holds_again),
    },
    (_Q.UNDONE, _K.REFUND): {
        _V.UNDONE: Effect("the refund stays failed; its amount may be refunded again", effects.stays_undone),
        _V.PAID: Effect("the refund has succeeded again, with refund.succeeded", effects.holds_again),
    },
    (_Q.FOREIGN, _K.CAPTURE): {
        _V.APPROVED: Effect("it is of this payment: what fits is booked, the rest let go", effects.books_it),
        _V.ORPHAN: Effect(
            "it is not of this payment: what was booked of it is taken out", effects.strikes_out
        ),
    },
    (_Q.FOREIGN, _K.REFUND): {
        _V.APPROVED: Effect("it is of this payment: what fits is booked, the rest let go", effects.books_it),
        _V.ORPHAN: Effect(
            "it is not of this payment: what was booked of it is taken out", effects.strikes_out
        ),
    },
    (_Q.FOREIGN, _K.VOID): {
        _V.APPROVED: Effect(
            "the authorization was released: voided, or captured where a part was", effects.books_it
        ),
        _V.ORPHAN: Effect(f"it is not of this payment; {_NOTHING_HELD}", effects.strikes_out),
    },
}
"""What is asked, and of what kind of operation; the verdicts, and what becomes of the books by each."""

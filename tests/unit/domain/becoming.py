"""What may become of a payment by one fact: named outcomes, each with all that it changes.

An outcome says by itself, from the rows before, what must have changed after: the fields of payment, operation and
attempt, other operations, what began, the events in order, the answers, the reviews. What it does not name must be as
it was. None of it is computed by the code that is tested.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Final

from payonce.domain.answers import AnswerKind
from payonce.domain.facts import Approved, Fact, Foreign, Redone, Stage, Turn, Undone
from payonce.domain.operations import Attempt, AttemptState, Operation, OperationKind, OperationStatus, Origin
from payonce.domain.payment import Payment, PaymentStatus
from payonce.domain.reviews import ReviewReason
from tests.unit.domain.memory import Tables
from tests.unit.domain.playing import Play

S, K, A, O = PaymentStatus, OperationKind, AttemptState, OperationStatus
Fields = dict[str, Any]
NOT_COMPARED: Final = {"updated_at", "sequence", "review", "review_at", "decided_at"}
# Something was captured, and nothing is capturable any more.
CLOSED: Final = (S.CAPTURED, S.PARTIALLY_REFUNDED, S.REFUNDED)
ERRORS: Final = {
    "declined": "do_not_honor",
    "refused": "acquirer_refused",
    "expired": "payment_timed_out",
    "cancelled": "abandoned",
    "reversed": "not_processed",
    "not_processed": "not_processed",
}


@dataclass
class Changes:
    """What differs, or must."""

    payment: Fields = field(default_factory=dict)
    operation: Fields = field(default_factory=dict)  # that the attempt was made for
    attempt: Fields = field(default_factory=dict)
    others: dict[str, Fields] = field(default_factory=dict)  # other operations, by id
    added: list[Fields] = field(default_factory=list)
    told: list[str] = field(
        default_factory=list
    )  # types of events; with a `!` where it had been otherwise before
    answers: dict[str, AnswerKind] = field(default_factory=dict)  # by operation
    opened: list[ReviewReason] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)  # reviews, by operation


@dataclass(frozen=True)
class Before:
    """The rows before the fact, and the fact."""

    tables: Tables
    operation_id: str
    number: int
    fact: Fact
    captures_itself: bool
    reversible: bool

    @staticmethod
    def of(play: Play, fact: Fact) -> "Before":
        can = play.abilities
        return Before(
            play.tables.copied(), play.operation_id, play.number, fact, can.captures_itself, can.reversible
        )

    @property
    def payment(self) -> Payment:
        return self.tables.payment

    @property
    def operation(self) -> Operation:
        return self.tables.operations[self.operation_id]

    @property
    def attempt(self) -> Attempt:
        return self.tables.attempts[self.operation_id, self.number]

    @property
    def approved(self) -> Approved:
        assert isinstance(self.fact, Approved)
        return self.fact

    @property
    def turn(self) -> Turn:
        assert isinstance(self.fact, Undone | Redone | Foreign)
        return self.fact

    @property
    def pending(self) -> Operation | None:
        """The capture, void or expiry that the payment shows."""
        shown = self.payment.pending_operation
        return None if shown is None else self.tables.operations[shown["id"]]

    @property
    def case(self) -> Operation:
        """Of the attempt's late success."""
        (case,) = [of for of in self._targeting if of.kind is K.REVERSE]
        return case

    def holding(self, kind: OperationKind) -> list[Operation]:
        """Earlier turns of the attempt that hold something, the latest first."""
        return [of for of in reversed(self._targeting) if of.kind is kind and of.amount_undecided_minor]

    @property
    def _targeting(self) -> list[Operation]:
        reference = self.attempt.reference
        return [of for of in self.tables.operations.values() if of.target_reference == reference]


@dataclass(frozen=True)
class Outcome:
    """A name, and what must change."""

    name: str
    must: Callable[[Before], Changes]


@dataclass(frozen=True)
class Nothing:
    """Nothing changes, for this reason."""

    reason: str


def changes(before: Tables, after: Tables, *, operation_id: str, number: int) -> Changes:
    """What differs in the rows."""
    found = Changes(
        payment=_differing(before.payment, after.payment),
        operation=_differing(before.operations[operation_id], after.operations[operation_id]),
        attempt=_differing(before.attempts[operation_id, number], after.attempts[operation_id, number]),
    )
    for id_, of in after.operations.items():
        if id_ not in before.operations:
            found.added.append(_shown(of))
        elif id_ != operation_id and (differing := _differing(before.operations[id_], of)):
            found.others[id_] = differing
    for key, attempt in after.attempts.items():
        if key != (operation_id, number):
            assert attempt == before.attempts[key], "another attempt changed"
    for type_, _, data in after.events[len(before.events) :]:
        found.told.append(type_ + ("!" if "previously" in data else ""))
    for id_, answer in after.keys.items():
        stored = before.keys.get(id_)
        if answer is not None and answer != stored and not (stored and stored[2]):
            found.answers[id_] = answer[0]
            _check_body(after, answer[0], json.loads(answer[1]))
        else:
            assert answer == stored, "a stored answer changed"
    found.opened = [
        review.reason for id_, review in after.open_reviews.items() if before.reviews.get(id_) != review
    ]
    found.closed = [id_ for id_ in before.open_reviews if id_ not in after.open_reviews]
    _check_event(after, found.told)
    return found


def must(outcome: Outcome | Nothing, before: Before) -> Changes:
    """What the outcome says, without what is so already."""
    if isinstance(outcome, Nothing):
        return Changes()
    said = outcome.must(before)
    said.payment = _new(before.payment, said.payment)
    said.operation = _new(before.operation, said.operation)
    said.attempt = _new(before.attempt, said.attempt)
    said.others = {
        id_: new for id_, named in said.others.items() if (new := _new(before.tables.operations[id_], named))
    }
    return said


def _differing(before: Any, after: Any) -> Fields:
    names = [column.name for column in fields(before) if column.name not in NOT_COMPARED]
    return {
        name: _plain(name, getattr(after, name))
        for name in names
        if _plain(name, getattr(after, name)) != _plain(name, getattr(before, name))
    }


def _new(before: Any, named: Fields) -> Fields:
    return {name: value for name, value in named.items() if value != _plain(name, getattr(before, name))}


def _plain(name: str, value: Any) -> Any:
    """As outcomes name it: times as whether there is one, errors by their code, what is shown by its type."""
    if name == "accepted_captures":
        return [capture["amount"] for capture in value or ()]
    if name in ("deferred_at", "act_before", "accepted_at"):
        return value is not None
    if name == "last_error":
        return value and (value["decline_code"] or value["code"])
    if name == "next_action":
        return value and value["type"]
    if name == "pending_operation":
        return value and (value["type"], value["amount"], "ended_by" in value)
    return value


def _shown(of: Operation) -> Fields:
    """An operation that began, by what is not its default."""
    named = {
        "kind": of.kind,
        "origin": of.origin,
        "status": of.status,
        "amount": of.amount_minor,
        "currency": of.currency,
        "held": of.amount_undecided_minor,
        "of": of.target_kind,
        "sent_as": of.sent_as,
        "ends": of.ends_operation,
    }
    return {name: value for name, value in named.items() if value not in (None, 0)}


def _check_body(after: Tables, kind: AnswerKind, body: Fields) -> None:
    """The answer shows what the rows say."""
    if kind is AnswerKind.REFUND:
        refund = after.operations[body["id"]]
        assert (body["status"], body["amount"]) == (refund.status, refund.amount_minor)
        return
    failed = kind in (AnswerKind.PAYMENT_DECLINED, AnswerKind.PAYMENT_FAILED)
    shown = body["payment"] if failed else body
    assert _amounts(shown) == _amounts_of(after.payment)


def _check_event(after: Tables, told: list[str]) -> None:
    """The last event about the payment shows it as the rows say."""
    about = [data for type_, _, data in after.events if type_.startswith("payment.")]
    if any(type_.startswith("payment.") for type_ in told):
        assert _amounts(about[-1]) == _amounts_of(after.payment)


def _amounts(shown: Fields) -> Fields:
    return {
        name: shown[name] for name in ("status", "amount_authorized", "amount_captured", "amount_refunded")
    }


def _amounts_of(paid: Payment) -> Fields:
    return {
        "status": paid.status,
        "amount_authorized": paid.amount_authorized_minor,
        "amount_captured": paid.amount_captured_minor,
        "amount_refunded": paid.amount_refunded_minor,
    }


# What follows from the amounts, as the public contract says it.


def closed_status(captured: int, refunded: int) -> PaymentStatus:
    """Of a payment of which something was captured, and nothing is capturable."""
    if not refunded:
        return S.CAPTURED
    return S.REFUNDED if refunded >= captured else S.PARTIALLY_REFUNDED


def uncaptured(paid: Payment) -> int:
    return paid.amount_authorized_minor - paid.amount_captured_minor


def pending_amount(before: Before) -> int:
    accepted = sum(capture["amount"] for capture in before.payment.accepted)
    return int(accepted) + (0 if before.pending is None else before.pending.amount_minor)


def refundable(paid: Payment) -> int:
    gone = paid.amount_refunded_minor + paid.amount_refund_pending_minor + paid.amount_refund_undecided_minor
    return max(0, paid.amount_captured_minor - gone)


def captured_now(paid: Payment, captured: int, *, last: bool) -> tuple[Fields, list[str]]:
    """So much more is captured."""
    total = paid.amount_captured_minor + captured
    done = last or total == paid.amount_authorized_minor
    status: PaymentStatus = S.CAPTURED if done else S.PARTIALLY_CAPTURED
    told = [f"payment.{status}"]
    if done and paid.amount_refunded_minor:
        status = closed_status(total, paid.amount_refunded_minor)
        told.append(f"payment.{status}")
    return {"status": status, "amount_captured_minor": total}, told


def released_now(paid: Payment, *, ended: PaymentStatus) -> tuple[Fields, list[str]]:
    """What is not captured is gone: `ended` where nothing was captured."""
    if not paid.amount_captured_minor:
        return {"status": ended}, [f"payment.{ended}"]
    told, status = ["payment.captured"], closed_status(paid.amount_captured_minor, paid.amount_refunded_minor)
    if status is not S.CAPTURED:
        told.append(f"payment.{status}")
    return {"status": status}, told


def refunded_now(paid: Payment, refunded: int) -> tuple[Fields, list[str]]:
    """So much more is refunded."""
    total = paid.amount_refunded_minor + refunded
    closed = paid.status in CLOSED
    status = closed_status(paid.amount_captured_minor, total) if closed else paid.status
    return {"status": status, "amount_refunded_minor": total}, [f"payment.{status}"]


def when(value: datetime | None) -> bool:
    return value is not None


def turn_of(before: Before, *, held: int = 0, of: OperationKind | None = None) -> Fields:
    """The operation that tells of the turn."""
    turn = before.turn
    kind = K(turn.what) if isinstance(turn, Foreign) else K.UNDO if isinstance(turn, Undone) else K.REDO
    named: Mapping[str, Any] = {"of": of, "held": held}
    shown = {
        "kind": kind,
        "origin": Origin.ACQUIRER,
        "status": O.SUCCEEDED,
        "amount": turn.amount_minor,
        "currency": turn.currency,
    }
    return {**shown, **{name: value for name, value in named.items() if value not in (None, 0)}}


def staged(before: Before) -> Fields:
    """What an approval makes of the attempt's stage."""
    if before.operation.kind is not K.AUTHORIZE or before.attempt.stage is Stage.CAPTURED:
        return {}
    return {"stage": before.approved.stage or before.attempt.stage or Stage.AUTHORIZED}

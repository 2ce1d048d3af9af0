"""What holds of a payment's rows whatever was recorded, and what its events may tell."""

from typing import TYPE_CHECKING, Any, assert_never

from payonce.domain import reviews
from payonce.domain.operations import Operation, OperationKind, OperationStatus, Origin
from payonce.domain.payment import TRANSITIONS, Payment, PaymentStatus

if TYPE_CHECKING:
    from tests.storage.recording.walking import Books

K, O, S = OperationKind, OperationStatus, PaymentStatus
_STEPS = {(before, after) for (before, _), after in TRANSITIONS.items()}
Answers = dict[str, tuple[Any, ...]]


def check(books: "Books", answers: Answers) -> Answers:
    """The definite answers by now; `answers`: those of before, none of which has changed."""
    paid, rows = books.payment, list(books.operations.values())
    _check_amounts(paid, rows)
    _check_pending(paid, rows)
    _check_reviews(books)
    _check_events(books)
    assert _explains(paid), f"{paid.status} does not say what happened"
    assert {id_: books.answers[id_] for id_ in answers} == answers, "a definite answer changed"
    for of in rows:
        waits = of.kind is K.AUTHORIZE and (paid.status.undecided or paid.pending_operation is not None)
        if of.origin is Origin.MERCHANT and of.status is not O.PENDING and not waits:
            assert of.id in books.answers, f"the {of.kind} has an outcome and no answer"
    return books.answers


def _check_amounts(paid: Payment, rows: list[Operation]) -> None:
    assert 0 <= paid.amount_captured_minor <= paid.amount_authorized_minor
    assert paid.refundable_minor + paid.capturable_minor <= paid.amount_authorized_minor
    assert paid.amount_disputed_minor >= 0
    held = sum(of.amount_undecided_minor for of in rows)
    assert held == paid.amount_capture_undecided_minor + paid.amount_refund_undecided_minor
    refunding = [of.amount_minor for of in rows if of.kind is K.REFUND and of.status is O.PENDING]
    assert sum(refunding) == paid.amount_refund_pending_minor
    taken = [of for of in rows if of.kind in (K.AUTHORIZE, K.CAPTURE)]
    assert sum(of.amount_undone_minor for of in taken) == paid.amount_capture_undone_minor


def _check_pending(paid: Payment, rows: list[Operation]) -> None:
    pending = [of for of in rows if of.kind.exclusive and of.status is O.PENDING]
    aside = [(of.id, of.amount_minor) for of in pending if of.accepted_at is not None]
    assert sorted(aside) == sorted((str(one["id"]), int(one["amount"])) for one in paid.accepted)
    busy = [of.id for of in pending if of.accepted_at is None]
    shown = [] if paid.pending_operation is None else [paid.pending_operation["id"]]
    assert busy == shown


def _check_reviews(books: "Books") -> None:
    open_ = {of.id for of in books.operations.values() if reviews.is_open(of)}
    assert books.in_review == open_
    assert (books.payment.review is not None) == bool(open_)


def _check_events(books: "Books") -> None:
    """Without gaps, and each change of status with one event of its name, along the table."""
    assert [sequence for sequence, *_ in books.events] == list(range(1, books.payment.sequence + 1))
    status = S.INIT
    for _, type_, body in books.events:
        if not type_.startswith("payment."):
            continue
        after = S(body["data"]["status"])
        assert after is status or (type_ == f"payment.{after}" and (status, after) in _STEPS)
        status = after
    assert status is books.payment.status


def _explains(paid: Payment) -> bool:
    """Whether the amounts are what the status promises. A refund may be of a capture that was undone meanwhile."""
    captured, refunded = paid.amount_captured_minor, paid.amount_refunded_minor
    match paid.status:
        case S.INIT | S.REQUIRES_ACTION | S.PROCESSING | S.FAILED:
            return paid.amount_authorized_minor == 0
        case S.AUTHORIZED | S.EXPIRED | S.VOIDED:
            return captured == 0
        case S.PARTIALLY_CAPTURED:
            return captured > 0
        case S.CAPTURED:
            return captured > 0 and refunded == 0
        case S.PARTIALLY_REFUNDED:
            return 0 < refunded < captured
        case S.REFUNDED:
            return 0 < captured <= refunded
        case _:
            assert_never(paid.status)

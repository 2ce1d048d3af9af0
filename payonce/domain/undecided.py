"""What an acquirer says has moved and nobody has decided about: what it holds of the limits, and the words for it.

A success that comes after its failure was recorded overwrites nothing, yet the money moved. From the transaction that
records it, the amount that the acquirer states is held out of what may be captured or refunded, until its case is
decided: by the reversal of ours that is confirmed, or by a person. So is what an acquirer moved beyond what it was
asked for, until that is reversed. An operation knows what is held for it; the payment knows the sum of each side.
"""

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from payonce.domain import accepting
from payonce.domain.facts import Approved
from payonce.domain.ids import operation_id_of
from payonce.domain.money import AMOUNT_MINOR_MAX
from payonce.domain.operations import Attempt, Operation, OperationKind, of_our_own
from payonce.domain.payment import Payment

_MOVED = {
    OperationKind.AUTHORIZE: "authorized",
    OperationKind.CAPTURE: "captured",
    OperationKind.VOID: "released",
    OperationKind.EXPIRE: "released",
    OperationKind.REFUND: "refunded",
    OperationKind.REVERSE: "moved",  # a case that an earlier version opened does not say what it undoes
}


def moved_minor(payment: Payment, operation: Operation, fact: Approved) -> int:
    """What the acquirer states that it moved, in the payment's currency; in doubt rather too much than too little.

    Without an amount it did what it was asked for, and a void has no amount of its own. Another currency cannot be
    compared, so it stands for all that was authorized. More than any amount of ours is the largest one.
    """
    if fact.currency != payment.currency:
        return payment.amount_authorized_minor
    stated = min(fact.amount_minor, AMOUNT_MINOR_MAX)
    if operation.kind in (OperationKind.VOID, OperationKind.EXPIRE):
        return max(stated, operation.amount_minor)
    return stated if stated > 0 else operation.amount_minor


def hold(payment: Payment, operation: Operation, *, amount_minor: int) -> tuple[Payment, Operation]:
    """Exactly so much is held for the operation from now on; 0 once it is decided. Safe to repeat.

    A late authorization holds nothing: the payment's amounts are those of the attempt that counts, and nothing of
    what another one moved can be captured or refunded.
    """
    more = amount_minor - operation.amount_undecided_minor
    match operation.target_kind or operation.kind:
        case OperationKind.REFUND:
            held = payment.amount_refund_undecided_minor + more
            payment = replace(payment, amount_refund_undecided_minor=held)
        case OperationKind.CAPTURE | OperationKind.VOID | OperationKind.EXPIRE:
            held = payment.amount_capture_undecided_minor + more
            payment = replace(payment, amount_capture_undecided_minor=held)
        case (
            OperationKind.AUTHORIZE
            | OperationKind.REVERSE
            | OperationKind.UNDO
            | OperationKind.REDO
            | OperationKind.ACCEPT
        ):
            return payment, operation
        case kind:
            assert_never(kind)
    return payment, replace(operation, amount_undecided_minor=amount_minor)


def case_of(
    payment: Payment, operation: Operation, attempt: Attempt, fact: Approved, *, now: datetime
) -> Operation:
    """The operation that undoes the late success of the attempt, or stands for it until a person decides.

    It has no id yet, and nothing is held for it. Its amount is the acquirer's, in the acquirer's currency.
    """
    stated = min(fact.amount_minor, AMOUNT_MINOR_MAX)
    return of_our_own(
        payment,
        OperationKind.REVERSE,
        id_="",
        amount_minor=stated if stated > 0 else operation.amount_minor,
        currency=fact.currency,
        deferred_at=now,
        target_reference=attempt.reference,
        target_kind=operation.kind,
        now=now,
    )


def words(payment: Payment, case: Operation, *, why: str | None = None) -> str:
    """Why a person must look at the case, or at what an acquirer did of itself.

    Operation, amount, what limit is exceeded, why it is not undone.
    """
    kind = _kind(case)
    said = [f"{name(case)} {case.amount_minor} {case.currency} {_happened(case)}"]
    if case.currency != payment.currency:
        said.append(f"the payment is in {payment.currency}")
    else:  # refunds may have been made of a capture that was undone
        undone = (case.kind, kind) == (OperationKind.UNDO, OperationKind.CAPTURE)
        said += _excess(payment, OperationKind.REFUND if undone else kind)
    if why is not None:
        said.append(f"not undone yet ({why})")
    return "; ".join(said)


def name(case: Operation) -> str:
    """How the words begin: with the operation that succeeded late, or with what the acquirer did."""
    match case.kind:
        case OperationKind.REVERSE:
            return f"late_{_kind(case)} {operation_id_of(case.target_reference or '')}:"
        case OperationKind.UNDO if contradicts(case):
            return f"contradicted_{_kind(case)} {case.id}:"
        case OperationKind.UNDO:
            return f"undone_{_kind(case)} {case.id}:"
        case OperationKind.REDO:
            return f"redone_{_kind(case)} {case.id}:"
        case kind:
            return f"foreign_{kind} {case.id}:"


def contradicts(case: Operation) -> bool:
    """Whether it tells what the acquirer says against a recorded success, and not what it did."""
    return case.kind is OperationKind.UNDO and case.connector_reference is None


def without(payment: Payment, operation: Operation) -> Payment:
    """The payment as it is once the pending operation is undone: nothing of it waits for that any more."""
    if operation.kind is OperationKind.REFUND:
        left = payment.amount_refund_pending_minor - operation.amount_minor
        return replace(payment, amount_refund_pending_minor=left)
    if operation.kind.exclusive:
        return replace(payment, **accepting.let_go(payment, operation))
    return payment


def _kind(case: Operation) -> OperationKind:
    """What succeeded late, or was undone; else the kind of what the acquirer did."""
    return case.target_kind or case.kind


def _happened(case: Operation) -> str:
    """What became of the amount, and of which operation where the words do not begin with it."""
    of = operation_id_of(case.target_reference or "")
    match case.kind:
        case OperationKind.UNDO if contradicts(case):
            return f"of {of} counts as done, and the acquirer says {case.reason}"
        case OperationKind.UNDO:
            return f"of {of} was taken back"
        case OperationKind.REDO:
            return f"of {of} was {_MOVED[_kind(case)]} again"
        case _:
            return f"was {_MOVED[_kind(case)]}"


def _excess(payment: Payment, kind: OperationKind) -> list[str]:
    """By how much more was refunded, or captured, than there was; with what is pending, which may succeed as well."""
    match kind:
        case OperationKind.REFUND:
            pending = payment.amount_refund_pending_minor
            moved = payment.amount_refunded_minor + payment.amount_refund_undecided_minor
            over, what = moved + pending - payment.amount_captured_minor, "over-refunded"
        case OperationKind.CAPTURE | OperationKind.VOID | OperationKind.EXPIRE:
            capturing = (payment.pending_operation or {}).get("type") in (None, OperationKind.CAPTURE)
            pending = payment.held_pending_minor if capturing else 0
            moved = payment.amount_captured_minor + payment.amount_capture_undecided_minor
            over, what = moved + pending - payment.amount_authorized_minor, "over-captured"
        case (
            OperationKind.AUTHORIZE
            | OperationKind.REVERSE
            | OperationKind.UNDO
            | OperationKind.REDO
            | OperationKind.ACCEPT
        ):
            return []
        case _:
            assert_never(kind)
    condition = " if what is pending succeeds" if pending else ""
    return [f"{what} by {over}{condition}"] if over > 0 else []

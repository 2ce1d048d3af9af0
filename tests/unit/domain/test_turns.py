"""What an acquirer takes back, does again, or moves of itself: amounts, status, events and review, by example."""

from dataclasses import replace
from typing import Any

import pytest

from payonce.domain import late, turns
from payonce.domain.admission import admit_capture, admit_refund, admit_void
from payonce.domain.errors import NotAllowed
from payonce.domain.facts import Foreign, Redone, Reversed, Stage, Turn, Undone
from payonce.domain.ids import attempt_reference
from payonce.domain.operations import Attempt, AttemptState, Operation, OperationKind, OperationStatus, Origin
from payonce.domain.payment import Payment, PaymentStatus
from payonce.domain.settlement import Settlement, settle
from tests.support.rows import NOW, approval, attempt, operation, payment, under_way

S, K, A, O = PaymentStatus, OperationKind, AttemptState, OperationStatus
LATER = NOW.replace(hour=9)


class Told:
    """A payment that the acquirer tells of, turn by turn: what the recording function does, in memory."""

    def __init__(self, paid: Payment, of: Operation, tried: Attempt) -> None:
        self.payment, self.operation, self.attempt = paid, of, tried
        self.turns: dict[str, Operation] = {}
        self.last = Settlement(paid, of, tried)

    def tell(self, turn: Turn) -> "Told":
        held = tuple(of for of in reversed(self.turns.values()) if of.amount_undecided_minor)
        found = turns.Found(self.payment, self.operation, self.attempt, held)
        return self.take(turns.take(found, turn, turn_id=f"turn_{turn.id}", now=LATER))

    def take(self, settled: Settlement) -> "Told":
        self.last, self.payment = settled, settled.payment
        if settled.operation.id == self.operation.id:
            self.operation = settled.operation
        self._keep(*settled.added, *settled.beside, settled.operation)
        held = {of.id: of.amount_undecided_minor for of in self.turns.values()}
        both = self.payment.amount_capture_undecided_minor + self.payment.amount_refund_undecided_minor
        assert sum(held.values()) + self.operation.amount_undecided_minor == both
        return self

    def _keep(self, *operations: Operation) -> None:
        for of in operations:
            if of.id == self.operation.id:
                self.operation = of
            elif of.origin is Origin.ACQUIRER:
                self.turns[of.id] = of

    @property
    def told(self) -> list[str]:
        return [event.type for event in self.last.events]

    @property
    def amounts(self) -> tuple[int, int, int, int]:
        """Captured, capturable, refunded, refundable."""
        paid = self.payment
        return (
            paid.amount_captured_minor,
            paid.capturable_minor,
            paid.amount_refunded_minor,
            paid.refundable_minor,
        )


def succeeded(kind: K, paid: Payment, *, amount: int = 1000, stage: Stage | None = None, **of: Any) -> Told:
    """The operation has succeeded, and the payment is as given."""
    done = operation(kind, amount_minor=amount, status=O.SUCCEEDED, connector_reference="acq-1", **of)
    return Told(paid, done, attempt(done, A.APPROVED, connector_reference="acq-1", stage=stage))


def automatic(status: S = S.CAPTURED, **changes: Any) -> Told:
    paid = payment(status, capture_method="automatic", capture_before=None, **changes)
    return succeeded(K.AUTHORIZE, paid, stage=Stage.CAPTURED)


def undone(id_: str, amount: int = 1000, currency: str = "INR") -> Undone:
    return Undone(id_, amount, currency, "rejected by the scheme")


def test_a_captured_payment_that_is_taken_back_can_neither_be_refunded_nor_captured() -> None:
    paid = automatic().tell(undone("u1"))
    assert (paid.payment.status, paid.amounts) == (S.AUTHORIZED, (0, 0, 0, 0))
    assert paid.told == ["payment.capture_failed", "payment.authorized", "payment.needs_review"]
    assert paid.last.events[0].data["previously"] == "succeeded"
    assert paid.last.answer is None
    with pytest.raises(NotAllowed) as refused:
        admit_capture(paid.payment, amount_minor=None, now=NOW)
    assert refused.value.refusal == "payment_not_capturable"
    with pytest.raises(NotAllowed) as refused:
        admit_refund(paid.payment, amount_minor=None)
    assert refused.value.refusal == "payment_not_refundable"


def test_what_is_done_again_counts_again_and_ends_the_review() -> None:
    paid = automatic().tell(undone("u1")).tell(Redone("r1", 1000, "INR"))
    assert (paid.payment.status, paid.amounts) == (S.CAPTURED, (1000, 0, 0, 1000))
    assert (paid.told, paid.payment.review) == (["payment.captured"], None)
    assert paid.payment.amount_capture_undone_minor == 0


def test_again_and_again() -> None:
    paid = automatic()
    for turn in range(3):
        paid.tell(undone(f"u{turn}"))
        assert paid.amounts == (0, 0, 0, 0)
        paid.tell(Redone(f"r{turn}", 1000, "INR"))
        assert (paid.payment.status, paid.amounts) == (S.CAPTURED, (1000, 0, 0, 1000))
    assert len(paid.turns) == 6


def test_a_part_that_is_taken_back_leaves_the_rest_captured() -> None:
    paid = automatic().tell(undone("u1", 400))
    assert (paid.payment.status, paid.amounts) == (S.CAPTURED, (600, 0, 0, 600))
    assert paid.told == ["payment.capture_failed", "payment.needs_review"]
    paid.tell(undone("u2", 600))
    assert (paid.payment.status, paid.amounts) == (S.AUTHORIZED, (0, 0, 0, 0))
    paid.tell(Redone("r1", 300, "INR"))
    assert (paid.payment.status, paid.amounts) == (S.PARTIALLY_CAPTURED, (300, 0, 0, 300))
    paid.tell(Redone("r2", 700, "INR"))
    assert (paid.payment.status, paid.amounts, paid.payment.review) == (
        S.CAPTURED,
        (1000, 0, 0, 1000),
        None,
    )


def test_refunds_of_a_capture_that_is_taken_back_are_named_in_the_review() -> None:
    paid = automatic(S.PARTIALLY_REFUNDED).tell(undone("u1"))
    assert (paid.payment.status, paid.amounts) == (S.AUTHORIZED, (0, 0, 300, 0))
    assert paid.payment.review is not None
    assert paid.payment.review["reason"] == (
        "undone_capture turn_u1: 1000 INR of pay_1 was taken back; over-refunded by 300"
    )
    paid.tell(Redone("r1", 1000, "INR"))
    assert (paid.payment.status, paid.amounts) == (S.PARTIALLY_REFUNDED, (1000, 0, 300, 700))
    assert paid.told == ["payment.captured", "payment.partially_refunded"]


def test_a_partial_capture_that_is_taken_back_leaves_the_rest_capturable() -> None:
    paid = succeeded(K.CAPTURE, payment(S.PARTIALLY_CAPTURED), amount=400, final=False).tell(
        undone("u1", 400)
    )
    assert (paid.payment.status, paid.amounts) == (S.AUTHORIZED, (0, 600, 0, 0))
    paid.tell(Redone("r1", 400, "INR"))
    assert (paid.payment.status, paid.amounts) == (S.PARTIALLY_CAPTURED, (400, 600, 0, 400))


def test_a_last_capture_that_is_taken_back_makes_nothing_capturable() -> None:
    """Its rest had been released."""
    paid = succeeded(K.CAPTURE, payment(S.CAPTURED, amount_captured_minor=300), amount=300)
    paid.tell(undone("u1", 300))
    assert (paid.payment.status, paid.amounts) == (S.AUTHORIZED, (0, 0, 0, 0))
    paid.tell(Redone("r1", 300, "INR"))
    assert (paid.payment.status, paid.amounts) == (S.CAPTURED, (300, 0, 0, 300))


def test_a_refund_that_bounces_has_failed_and_its_amount_is_held() -> None:
    paid = succeeded(K.REFUND, payment(S.REFUNDED)).tell(undone("u1"))
    assert (paid.payment.status, paid.amounts) == (S.CAPTURED, (1000, 0, 0, 0))
    assert paid.told == ["refund.failed", "payment.captured", "payment.needs_review"]
    data = paid.last.events[0].data
    assert (data["status"], data["previously"], data["last_error"]["code"]) == (
        "failed",
        "succeeded",
        "taken_back",
    )
    assert paid.operation.status is O.FAILED


def test_a_refund_that_is_done_again_stays_failed_for_a_person() -> None:
    paid = succeeded(K.REFUND, payment(S.REFUNDED)).tell(undone("u1")).tell(Redone("r1", 1000, "INR"))
    assert (paid.operation.status, paid.amounts) == (O.FAILED, (1000, 0, 0, 0))
    assert paid.payment.review is not None
    assert paid.payment.review["reason"] == "redone_refund turn_r1: 1000 INR of op_refund was refunded again"
    paid.tell(undone("u2"))
    assert (paid.amounts, len(paid.turns)) == ((1000, 0, 0, 0), 3)
    assert paid.turns["turn_r1"].amount_undecided_minor == 0


def test_a_void_that_is_undone_once_all_was_captured_leaves_nothing_to_capture_or_to_void() -> None:
    captured = payment(S.CAPTURED)  # a part before the void, the rest by others after it
    paid = succeeded(K.VOID, captured, amount=400).tell(undone("u1", amount=400))
    assert (paid.payment.status, paid.amounts[:2]) == (S.CAPTURED, (1000, 0))
    with pytest.raises(NotAllowed) as refused:
        admit_void(paid.payment, asked=False)
    assert refused.value.refusal == "payment_not_voidable"


def test_what_shows_as_captured_in_part_with_nothing_left_cannot_be_voided() -> None:
    """As the version before showed it; a void of nothing was an error of Postgres."""
    shown = payment(S.PARTIALLY_CAPTURED, amount_captured_minor=1000)
    with pytest.raises(NotAllowed, match="Nothing is left to release"):
        admit_void(shown, asked=False)


def test_a_void_that_is_taken_back_leaves_the_authorization_standing_and_held() -> None:
    paid = succeeded(K.VOID, payment(S.VOIDED)).tell(undone("u1"))
    assert (paid.payment.status, paid.amounts) == (S.AUTHORIZED, (0, 0, 0, 0))
    assert paid.told == ["payment.authorized", "payment.needs_review"]
    paid.tell(Redone("r1", 1000, "INR"))
    assert (paid.payment.status, paid.amounts) == (S.VOIDED, (0, 0, 0, 0))
    assert paid.payment.review is None


@pytest.mark.parametrize("turn", [undone("u1", 1000, "USD"), undone("u1", 5000)], ids=["currency", "more"])
def test_what_cannot_be_counted_in_full_is_for_a_person(turn: Undone) -> None:
    paid = automatic().tell(turn)
    counted = 1000 if turn.currency == "INR" else 0
    assert paid.payment.amount_captured_minor == 1000 - counted
    assert paid.payment.review is not None
    assert paid.turns["turn_u1"].amount_minor == turn.amount_minor


@pytest.mark.parametrize("status", [O.PENDING, O.FAILED])
def test_what_has_not_succeeded_cannot_be_taken_back(status: O) -> None:
    of = operation(K.CAPTURE, status=status)
    paid = Told(payment(S.AUTHORIZED), of, attempt(of, A.UNKNOWN)).tell(undone("u1"))
    assert (paid.turns, paid.told, paid.amounts) == ({}, [], (0, 1000, 0, 0))


def test_a_foreign_refund_counts() -> None:
    paid = automatic().tell(Foreign("f1", "refund", 400, "INR"))
    assert (paid.payment.status, paid.amounts) == (S.PARTIALLY_REFUNDED, (1000, 0, 400, 600))
    assert paid.told == ["refund.succeeded", "payment.partially_refunded"]
    assert paid.payment.review is None


def test_a_foreign_refund_of_more_than_there_is_is_for_a_person() -> None:
    paid = automatic(S.PARTIALLY_REFUNDED).tell(Foreign("f1", "refund", 1000, "INR"))
    assert (paid.payment.status, paid.amounts) == (S.REFUNDED, (1000, 0, 1000, 0))
    assert paid.payment.review is not None
    assert paid.payment.review["reason"].endswith("over-refunded by 300")
    assert paid.turns["turn_f1"].amount_undecided_minor == 300


def test_a_foreign_refund_beside_a_pending_one_waits_for_a_person() -> None:
    paid = automatic(amount_refund_pending_minor=800).tell(Foreign("f1", "refund", 500, "INR"))
    assert paid.amounts == (1000, 0, 200, 0)
    assert paid.turns["turn_f1"].amount_undecided_minor == 300


@pytest.mark.parametrize(("amount", "status"), [(400, S.PARTIALLY_CAPTURED), (1000, S.CAPTURED)])
def test_a_foreign_capture_counts(amount: int, status: S) -> None:
    paid = succeeded(K.AUTHORIZE, payment(S.AUTHORIZED), stage=Stage.AUTHORIZED)
    paid.tell(Foreign("f1", "capture", amount, "INR"))
    assert (paid.payment.status, paid.amounts) == (status, (amount, 1000 - amount, 0, amount))
    assert paid.told == [f"payment.{status}"]


def test_a_foreign_capture_beside_a_pending_one_waits_for_a_person_who_may_book_it() -> None:
    capture = operation(K.CAPTURE)
    paid = succeeded(K.AUTHORIZE, payment(S.AUTHORIZED, pending_operation=under_way(capture)))
    paid.tell(Foreign("f1", "capture", 1000, "INR"))
    assert (paid.payment.status, paid.payment.amount_captured_minor) == (S.AUTHORIZED, 0)
    paid.payment = replace(paid.payment, pending_operation=None)
    paid.take(turns.book(paid.payment, paid.turns["turn_f1"], now=LATER))
    assert (paid.payment.status, paid.amounts, paid.payment.review) == (
        S.CAPTURED,
        (1000, 0, 0, 1000),
        None,
    )


@pytest.mark.parametrize("status", [S.VOIDED, S.EXPIRED, S.FAILED, S.REQUIRES_ACTION, S.CAPTURED])
def test_a_foreign_capture_of_what_is_not_capturable_is_for_a_person(status: S) -> None:
    paid = succeeded(K.AUTHORIZE, payment(status))
    captured = paid.payment.amount_captured_minor
    paid.tell(Foreign("f1", "capture", 500, "INR"))
    assert (paid.payment.status, paid.payment.amount_captured_minor) == (status, captured)
    assert paid.told == ["payment.needs_review"]
    assert paid.turns["turn_f1"].amount_undecided_minor == 500


@pytest.mark.parametrize("status", [S.VOIDED, S.EXPIRED])
def test_a_person_may_book_a_foreign_capture_of_what_had_ended(status: S) -> None:
    paid = succeeded(K.AUTHORIZE, payment(status)).tell(Foreign("f1", "capture", 500, "INR"))
    paid.take(turns.book(paid.payment, paid.turns["turn_f1"], now=LATER))
    assert (paid.payment.status, paid.amounts, paid.told) == (
        S.CAPTURED,
        (500, 0, 0, 500),
        ["payment.captured"],
    )


def test_a_foreign_void_releases_the_rest() -> None:
    paid = succeeded(K.AUTHORIZE, payment(S.PARTIALLY_CAPTURED)).tell(Foreign("f1", "void", 600, "INR"))
    assert (paid.payment.status, paid.amounts) == (S.CAPTURED, (400, 0, 0, 400))


def test_a_foreign_void_of_nothing_changes_nothing() -> None:
    paid = automatic().tell(Foreign("f1", "void", 1000, "INR"))
    assert (paid.payment.status, paid.told, paid.payment.review) == (S.CAPTURED, [], None)
    assert len(paid.turns) == 1


def test_what_is_final_is_let_go() -> None:
    paid = automatic().tell(undone("u1"))
    paid.take(turns.let_go(paid.payment, paid.turns["turn_u1"], now=LATER))
    assert (paid.payment.status, paid.amounts, paid.payment.review) == (S.EXPIRED, (0, 0, 0, 0), None)
    refund = succeeded(K.REFUND, payment(S.REFUNDED)).tell(undone("u1"))
    refund.take(turns.let_go(refund.payment, refund.turns["turn_u1"], now=LATER))
    assert (refund.payment.status, refund.amounts) == (S.CAPTURED, (1000, 0, 0, 1000))


def test_what_holds_after_all_is_as_before() -> None:
    for paid in (automatic(), succeeded(K.REFUND, payment(S.REFUNDED)), succeeded(K.VOID, payment(S.VOIDED))):
        before, of = paid.payment, paid.operation
        paid.tell(undone("u1"))
        paid.take(turns.holds_again(paid.payment, paid.turns["turn_u1"], paid.operation, now=LATER))
        told = {"sequence": paid.payment.sequence, "updated_at": paid.payment.updated_at}
        assert paid.payment == replace(before, **told)
        assert replace(paid.operation, updated_at=of.updated_at) == of


def test_what_is_not_of_this_payment_is_taken_out_again() -> None:
    paid = automatic(S.PARTIALLY_REFUNDED).tell(Foreign("f1", "refund", 1000, "INR"))
    paid.take(turns.strike_out(paid.payment, paid.turns["turn_f1"], now=LATER))
    assert (paid.payment.status, paid.amounts, paid.payment.review) == (
        S.PARTIALLY_REFUNDED,
        (1000, 0, 300, 700),
        None,
    )
    assert paid.turns["turn_f1"].status is O.FAILED


@pytest.mark.parametrize(
    ("fact", "ends"),
    [
        (undone("u1"), True),
        (undone("u1", 999), False),
        (undone("u1", 1000, "USD"), False),
        (Foreign("f1", "refund", 1000, "INR"), True),
        (Foreign("f1", "void", 1000, "INR"), True),
        (Foreign("f1", "capture", 1000, "INR"), False),
        (Redone("r1", 1000, "INR"), False),
        (Reversed(), True),
    ],
)
def test_a_late_success_that_the_acquirer_undoes_itself_needs_nobody(
    fact: Turn | Reversed, ends: bool
) -> None:
    case = operation(K.REVERSE, target_kind=K.AUTHORIZE, target_reference="pay_1-1", id="op_case")
    failed = operation(status=O.FAILED)
    found = turns.Found(payment(S.FAILED), failed, attempt(failed, A.NOT_PROCESSED))
    settled = late.turned(found, case, fact, turn_id="turn_1", now=LATER)
    if isinstance(fact, Foreign) and not ends:
        assert settled is None  # it counts as what others did
        return
    assert settled is not None
    assert ([of.status for of in settled.beside] == [O.SUCCEEDED]) is ends
    assert len(settled.added) == (0 if isinstance(fact, Reversed) else 1)


def test_a_refund_may_succeed_after_its_capture_was_taken_back() -> None:
    paid = automatic(amount_refund_pending_minor=500).tell(undone("u1"))
    refund = operation(K.REFUND, amount_minor=500)
    done = settle(paid.payment, refund, attempt(refund), approval(refund), now=LATER)
    assert (done.payment.status, done.payment.amount_refunded_minor) == (S.AUTHORIZED, 500)


@pytest.mark.parametrize(
    ("paid", "becomes"),
    [
        (automatic(), (S.AUTHORIZED, (0, 0, 0, 0))),
        (succeeded(K.CAPTURE, payment(S.PARTIALLY_CAPTURED), amount=400), (S.AUTHORIZED, (0, 600, 0, 0))),
        (succeeded(K.REFUND, payment(S.REFUNDED)), (S.CAPTURED, (1000, 0, 0, 0))),
        (succeeded(K.VOID, payment(S.VOIDED)), (S.AUTHORIZED, (0, 0, 0, 0))),
        (
            succeeded(K.AUTHORIZE, payment(S.AUTHORIZED), stage=Stage.AUTHORIZED),
            (S.VOIDED, (0, 0, 0, 0)),
        ),
    ],
    ids=["automatic", "capture", "refund", "void", "authorization"],
)
def test_what_succeeded_and_is_called_reversed_is_taken_back(paid: Told, becomes: tuple[S, Any]) -> None:
    """Nobody asked for that: it must not vanish."""
    found = turns.Found(paid.payment, paid.operation, paid.attempt)
    turn = turns.of_reversal(found)
    assert turn is not None
    paid.tell(turn)
    assert (paid.payment.status, paid.amounts) == becomes
    decided = replace(found, operation=replace(found.operation, decided_at=NOW))
    assert turns.of_reversal(decided) is None


@pytest.mark.parametrize("state", [A.CLAIMED, A.UNKNOWN, A.REVERSING, A.NOT_PROCESSED, A.DECLINED])
def test_a_reversal_of_what_did_not_succeed_takes_nothing_back(state: A) -> None:
    of = operation(K.CAPTURE, status=O.FAILED)
    assert turns.of_reversal(turns.Found(payment(S.AUTHORIZED), of, attempt(of, state))) is None


def released_after_a_part() -> Told:
    """A part was captured, and the rest was voided."""
    paid = payment(S.CAPTURED, amount_captured_minor=400, amount_refunded_minor=0)
    return succeeded(K.CAPTURE, paid, amount=400, final=False)


def test_what_was_released_cannot_be_captured_once_the_part_is_captured_again() -> None:
    paid = released_after_a_part().tell(undone("u1", 400)).tell(Redone("r1", 400, "INR"))
    assert (paid.payment.status, paid.amounts) == (S.CAPTURED, (400, 0, 0, 400))
    assert paid.payment.review is None


def test_what_was_released_cannot_be_captured_once_a_person_says_that_the_part_holds() -> None:
    paid = released_after_a_part().tell(undone("u1", 150)).tell(undone("u2", 250))
    paid.take(turns.holds_again(paid.payment, paid.turns["turn_u1"], paid.operation, now=LATER))
    assert (paid.payment.status, paid.amounts) == (S.CAPTURED, (150, 0, 0, 150))


def test_what_was_released_cannot_be_captured_once_the_rest_of_the_part_is_let_go() -> None:
    paid = released_after_a_part().tell(undone("u1", 400)).tell(Redone("r1", 150, "INR"))
    assert (paid.payment.status, paid.amounts) == (S.PARTIALLY_CAPTURED, (150, 0, 0, 150))
    paid.take(turns.let_go(paid.payment, paid.turns["turn_u1"], now=LATER))
    assert (paid.payment.status, paid.amounts) == (S.CAPTURED, (150, 0, 0, 150))


def released_by_a_refund(**changes: Any) -> Told:
    """A capture that had failed succeeded late, and was given back by a refund of our own."""
    paid = payment(S.AUTHORIZED)
    case = operation(
        K.REVERSE,
        status=O.SUCCEEDED,
        origin=Origin.PAYONCE,
        connector_reference="acq-1",
        target_kind=K.CAPTURE,
        target_reference=attempt_reference("op_capture", 1),
        sent_as=K.REFUND,
        **changes,
    )
    return Told(paid, case, attempt(case, A.APPROVED, connector_reference="acq-1"))


def test_the_release_of_a_late_success_that_is_taken_back_is_a_case_again() -> None:
    paid = released_by_a_refund().tell(undone("u1"))
    assert (paid.operation.status, paid.operation.amount_undecided_minor) == (O.FAILED, 1000)
    assert (paid.payment.capturable_minor, paid.payment.status) == (0, S.AUTHORIZED)
    assert paid.payment.review is not None
    assert "taken_back" in paid.payment.review["reason"]
    assert (paid.told, list(paid.turns)) == (["payment.needs_review"], ["turn_u1"])


def test_the_release_of_a_late_success_that_is_made_again_ends_its_case() -> None:
    paid = released_by_a_refund().tell(undone("u1")).tell(Redone("r1", 1000, "INR"))
    assert (paid.operation.status, paid.operation.amount_undecided_minor) == (O.SUCCEEDED, 0)
    assert (paid.payment.review, list(paid.turns)) == (None, ["turn_u1", "turn_r1"])


def test_a_release_that_is_taken_back_again_and_again_is_a_case_each_time() -> None:
    paid = released_by_a_refund().tell(undone("u1"))
    for turn in range(2):
        paid.tell(Redone(f"r{turn}", 1000, "INR")).tell(undone(f"v{turn}"))
        assert (paid.operation.status, paid.operation.amount_undecided_minor) == (O.FAILED, 1000)
    assert len(paid.turns) == 5


@pytest.mark.parametrize("void", [Foreign("f1", "void", 100, "INR"), Foreign("f1", "void", 600, "USD")])
def test_a_foreign_void_of_less_than_the_rest_or_of_other_money_is_for_a_person(void: Foreign) -> None:
    paid = succeeded(K.AUTHORIZE, payment(S.PARTIALLY_CAPTURED)).tell(void)
    assert (paid.payment.status, paid.payment.capturable_minor) == (S.PARTIALLY_CAPTURED, 0)
    assert paid.told == ["payment.needs_review"]

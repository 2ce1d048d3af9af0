"""Of words that say one change each, in whatever order they come, the same dispute is made."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from payonce.domain.disputes import latest, suspect
from payonce.domain.facts import Disputed
from payonce.domain.operations import OperationKind
from payonce.domain.payment import PaymentStatus
from tests.support import rows

AT = datetime(2026, 11, 29, 12, tzinfo=UTC)
DUE = AT + timedelta(days=7)


def word(step: int, status: str, withdrawn: int, *, after_s: float = 0.0, **changes: Any) -> Disputed:
    usual: dict[str, Any] = {
        "id": "dsp_1",
        "stage": "chargeback",
        "status": status,
        "amount_minor": 1000,
        "currency": "INR",
        "withdrawn_minor": withdrawn,
        "reason": "",
        "at": AT + timedelta(seconds=after_s),
        "step": step,
    }
    return Disputed(**{**usual, **changes})


OPENED = word(1, "needs_response", 1000, evidence_due_by=DUE, reason="fraud", network_reason_code="10.4")
SUPPLIED = word(3, "under_review", 1000, after_s=5, only_status=True)
REVERSED = word(4, "won", 0, after_s=2)
TAKEN_AGAIN = word(5, "lost", 1000, after_s=1)


def test_the_procedure_and_not_the_clock_says_which_word_is_newer() -> None:
    ended = {latest(order) for order in itertools.permutations([OPENED, SUPPLIED, REVERSED, TAKEN_AGAIN])}
    (last,) = ended
    assert (last.status, last.withdrawn_minor) == ("lost", 1000)
    assert (last.reason, last.network_reason_code, last.evidence_due_by) == ("fraud", "10.4", DUE)
    assert last.at == AT + timedelta(seconds=5)


def test_who_is_to_act_leaves_the_money_as_it_is() -> None:
    asked = word(0, "needs_response", 0, stage="inquiry")
    for order in itertools.permutations([asked, SUPPLIED]):
        found = latest(order)
        assert (found.stage, found.status, found.withdrawn_minor) == ("inquiry", "under_review", 0)
    alone = latest([SUPPLIED])
    assert (alone.stage, alone.withdrawn_minor) == ("chargeback", 1000), "until more is known it is held"


def test_of_one_step_the_clock_decides_and_then_the_later_status() -> None:
    first, second = word(0, "needs_response", 1000), word(0, "won", 0, after_s=1)
    assert latest([second, first]).status == latest([first, second]).status == "won"
    same = word(0, "under_review", 1000)
    assert latest([same, first]).status == latest([first, same]).status == "under_review"


def test_more_words_are_never_older() -> None:
    """A record made from fewer of them, later, changes nothing: `hear` compares the times."""
    told = [OPENED, SUPPLIED, REVERSED, TAKEN_AGAIN]
    for order in itertools.permutations(told):
        times = [latest(order[:count]).at for count in range(1, len(order) + 1)]
        assert times == sorted(times)


def test_a_suspicion_is_told_once_and_moves_nothing() -> None:
    payment = rows.payment(PaymentStatus.CAPTURED, amount_captured_minor=1000)
    create = rows.operation(OperationKind.AUTHORIZE, payment_id=payment.id)
    told = suspect(payment, create, told_before=False, now=AT)
    (event,) = told.events
    assert (event.type, event.data["id"]) == ("dispute.fraud_warning", payment.id)
    assert told.payment.amount_disputed_minor == payment.amount_disputed_minor
    again = suspect(told.payment, create, told_before=True, now=AT)
    assert (again.payment, again.events) == (told.payment, ())

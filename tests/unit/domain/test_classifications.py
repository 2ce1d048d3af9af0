"""Every member of every enum is classified, and as the contract says."""

import pytest

from payonce.domain.answers import TITLES, AnswerKind
from payonce.domain.facts import Advice, DeclineCode, FailureCode
from payonce.domain.operations import AttemptState, OperationKind
from payonce.domain.payment import PaymentStatus

UNDECIDED = {PaymentStatus.INIT, PaymentStatus.REQUIRES_ACTION, PaymentStatus.PROCESSING}
CAPTURABLE = {PaymentStatus.AUTHORIZED, PaymentStatus.PARTIALLY_CAPTURED}


@pytest.mark.parametrize("status", PaymentStatus)
def test_a_payment_is_open_while_it_is_undecided_or_capturable(status: PaymentStatus) -> None:
    assert status.undecided == (status in UNDECIDED)
    assert status.capturable == (status in CAPTURABLE)
    assert status.open == (status in UNDECIDED | CAPTURABLE)


@pytest.mark.parametrize("kind", OperationKind)
def test_one_capture_void_or_expiry_at_a_time(kind: OperationKind) -> None:
    assert kind.exclusive == (kind in {OperationKind.CAPTURE, OperationKind.VOID, OperationKind.EXPIRE})


@pytest.mark.parametrize("state", AttemptState)
def test_an_attempt_is_definite_only_with_a_fact(state: AttemptState) -> None:
    facts = {AttemptState.APPROVED, AttemptState.DECLINED, AttemptState.NOT_PROCESSED}
    assert state.definite == (state in facts)


@pytest.mark.parametrize("code", DeclineCode)
def test_a_decline_says_what_to_do_and_why(code: DeclineCode) -> None:
    assert code.advice in Advice
    assert code.retryable == (code.advice is Advice.RETRY_LATER)
    assert code.message.endswith(".")


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (DeclineCode.INSUFFICIENT_FUNDS, Advice.RETRY_LATER),
        (DeclineCode.LOST_CARD, Advice.NEVER_RETRY),
        (DeclineCode.STOLEN_CARD, Advice.NEVER_RETRY),
        (DeclineCode.EXPIRED_CARD, Advice.FIX_DATA),
        (DeclineCode.INCORRECT_CVC, Advice.FIX_DATA),
        (DeclineCode.AUTHENTICATION_REQUIRED, Advice.AUTHENTICATE),
    ],
)
def test_the_advice_fits_the_decline(code: DeclineCode, advice: Advice) -> None:
    assert code.advice is advice


@pytest.mark.parametrize("code", FailureCode)
def test_a_failure_says_why(code: FailureCode) -> None:
    assert code.message.endswith(".")


def test_every_answer_that_is_a_problem_has_a_title() -> None:
    successes = {AnswerKind.PAYMENT, AnswerKind.PAYMENT_CHANGED, AnswerKind.REFUND, AnswerKind.ENDPOINT}
    successes |= {
        AnswerKind.ENDPOINT_CHANGED,
        AnswerKind.ACCEPTED,
        AnswerKind.PAYMENT_METHOD,
        AnswerKind.DISPUTE,
    }
    assert set(TITLES) == set(AnswerKind) - successes

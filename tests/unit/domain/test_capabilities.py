"""What an account cannot do with a payment is refused before anything is admitted."""

from dataclasses import dataclass, replace

import pytest

from payonce.domain.capabilities import ANY_AMOUNT, Amounts, check_capture, check_refund, check_void
from payonce.domain.errors import InvalidRequest
from payonce.domain.payment import PaymentStatus
from tests.support.rows import payment


@dataclass(frozen=True)
class FakeRail:
    amounts: Amounts = ANY_AMOUNT
    partial_capture: bool = True
    split_capture: bool = True
    void: bool = True
    partial_refund: bool = True


AUTHORIZED = replace(payment(), status=PaymentStatus.AUTHORIZED, amount_authorized_minor=1_000)
CAPTURED = replace(AUTHORIZED, status=PaymentStatus.CAPTURED, amount_captured_minor=1_000)
CHALLENGED = replace(payment(), status=PaymentStatus.REQUIRES_ACTION)
WHOLE_RUPEES = Amounts(multiple_of={"INR": 100})


@pytest.mark.parametrize(
    ("rail", "amount_minor", "final", "pointer"),
    [
        (FakeRail(split_capture=False), 1_000, False, "/final"),
        (FakeRail(partial_capture=False), 999, True, "/amount"),
        (FakeRail(amounts=WHOLE_RUPEES), 150, True, "/amount"),
    ],
)
def test_a_capture_that_the_account_cannot_make(
    rail: FakeRail, amount_minor: int, final: bool, pointer: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_capture(rail, AUTHORIZED, amount_minor=amount_minor, final=final)
    assert (refused.value.problem_code, refused.value.pointer) == ("amount_not_supported", pointer)
    check_capture(rail, AUTHORIZED, amount_minor=1_000, final=True)


def test_a_void_that_the_account_cannot_make() -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_void(FakeRail(void=False), AUTHORIZED)
    assert refused.value.problem_code == "operation_not_supported"
    check_void(FakeRail(void=False), CHALLENGED)
    check_void(FakeRail(), AUTHORIZED)


@pytest.mark.parametrize("rail", [FakeRail(partial_refund=False), FakeRail(amounts=WHOLE_RUPEES)])
def test_a_refund_that_the_account_cannot_make(rail: FakeRail) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_refund(rail, CAPTURED, amount_minor=950)
    assert (refused.value.problem_code, refused.value.pointer) == ("amount_not_supported", "/amount")
    check_refund(rail, CAPTURED, amount_minor=1_000)


def test_an_account_that_is_not_known_here_refuses_nothing() -> None:
    check_capture(None, AUTHORIZED, amount_minor=1, final=False)
    check_void(None, AUTHORIZED)
    check_refund(None, CAPTURED, amount_minor=1)

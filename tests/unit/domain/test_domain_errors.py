"""Errors carry a stable code, a message and their facts."""

import pytest

from payonce.domain import errors


def every_error() -> list[type[errors.PaymentError]]:
    found, fresh = [errors.PaymentError], [errors.PaymentError]
    while fresh:
        fresh = [child for parent in fresh for child in parent.__subclasses__()]
        found += fresh
    return [kind for kind in found if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", every_error())
def test_every_error_has_a_code_and_a_default_message(kind: type[errors.PaymentError]) -> None:
    assert kind.code == kind.code.lower()
    assert (kind.__doc__ or "").strip()


def test_the_docstring_is_the_default_message() -> None:
    assert str(errors.NotFound()) == "There is no such object."
    assert errors.NotFound("re_1").message == "re_1"


def test_nothing_was_processed_wherever_a_retry_is_allowed() -> None:
    assert errors.NotSent.retryable
    assert errors.RateLimited(retry_after_s=2.0).retry_after_s == 2.0
    assert not errors.OutcomeUnknown.retryable
    assert not errors.Rejected.retryable


def test_a_refusal_keeps_which_one_it_is() -> None:
    refused = errors.NotAllowed("amount_too_large", "Only 5 is capturable.")
    assert (refused.refusal, refused.message) == ("amount_too_large", "Only 5 is capturable.")


def test_an_invalid_request_points_at_the_member() -> None:
    error = errors.InvalidRequest("No.", pointer="/amount", code="invalid_card_number")
    assert (error.pointer, error.problem_code) == ("/amount", "invalid_card_number")
    assert errors.InvalidRequest("No.").problem_code == "invalid_request"

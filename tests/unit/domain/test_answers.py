"""What the API shows, byte for byte."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from payonce.domain.answers import (
    AnswerKind,
    decline_error,
    encode,
    event_body,
    failed_answer,
    failure_error,
    payment_view,
    problem_answer,
    refund_view,
    refusal_error,
    timestamp,
)
from payonce.domain.facts import DeclineCode, Declined, FailureCode
from payonce.domain.operations import OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from tests.support.rows import NOW, operation, payment, under_way

# Source: api.md, "Payment" and "Refund", member by member and in that order.
PAYMENT_MEMBERS = [
    "id",
    "object",
    "status",
    "amount",
    "currency",
    "capture_method",
    "amount_authorized",
    "amount_capturable",
    "amount_captured",
    "amount_refundable",
    "amount_refunded",
    "amount_disputed",
    "payment_method",
    "merchant_reference",
    "description",
    "metadata",
    "return_url",
    "customer",
    "statement_descriptor",
    "authentication",
    "risk",
    "connector",
    "connector_reference",
    "capture_before",
    "next_action",
    "pending_operation",
    "review",
    "last_error",
    "created_at",
    "updated_at",
    "sequence",
]
REFUND_MEMBERS = [
    "id",
    "object",
    "payment",
    "status",
    "amount",
    "currency",
    "reason",
    "metadata",
    "connector_reference",
    "last_error",
    "created_at",
    "updated_at",
]
PROBLEM_MEMBERS = ["type", "title", "detail", "code", "request_id"]


@pytest.mark.parametrize("status", PaymentStatus)
def test_a_payment_shows_exactly_the_members_of_the_contract(status: PaymentStatus) -> None:
    view = payment_view(payment(status))
    assert list(view) == PAYMENT_MEMBERS
    assert (view["object"], view["status"]) == ("payment", status.value)


def test_a_refund_shows_exactly_the_members_of_the_contract() -> None:
    refund = operation(OperationKind.REFUND, id="re_1", amount_minor=300, reason="broken")
    view = refund_view(refund)
    assert list(view) == REFUND_MEMBERS
    assert (view["object"], view["payment"], view["status"]) == ("refund", "pay_1", "pending")


def test_the_amounts_of_a_payment_are_what_is_left_of_them() -> None:
    partly = payment(
        PaymentStatus.PARTIALLY_CAPTURED, amount_refunded_minor=100, amount_refund_pending_minor=50
    )
    view = payment_view(partly)
    assert (view["amount_capturable"], view["amount_refundable"]) == (600, 250)
    captured = payment_view(payment(PaymentStatus.CAPTURED, amount_captured_minor=400))
    assert (captured["amount_capturable"], captured["amount_refundable"]) == (0, 400)


def test_a_pending_operation_shows_its_type_and_amount_only() -> None:
    capture = operation(OperationKind.CAPTURE, amount_minor=400)
    view = payment_view(payment(PaymentStatus.AUTHORIZED, pending_operation=under_way(capture)))
    assert view["pending_operation"] == {"type": "capture", "amount": 400}


def test_the_bytes_of_an_answer_are_stable() -> None:
    body = encode(payment_view(payment(PaymentStatus.AUTHORIZED, description="Größe 7 ₹")))
    assert (
        body
        == (
            '{"id":"pay_1","object":"payment","status":"authorized","amount":1000,"currency":"INR",'
            '"capture_method":"manual","amount_authorized":1000,"amount_capturable":1000,"amount_captured":0,'
            '"amount_refundable":0,"amount_refunded":0,"amount_disputed":0,'
            '"payment_method":{"type":"card","card":{"brand":"visa",'
            '"last4":"4242","exp_month":12,"exp_year":2030}},"merchant_reference":null,'
            '"description":"Größe 7 ₹","metadata":{},"return_url":null,"customer":null,"statement_descriptor":null,'
            '"authentication":null,"risk":null,"connector":"sandbox_card","connector_reference":"acq-authorization",'
            '"capture_before":"2026-11-29T05:46:00.000Z","next_action":null,"pending_operation":null,'
            '"review":null,"last_error":null,"created_at":"2026-11-22T05:46:00.000Z",'
            '"updated_at":"2026-11-22T05:46:00.000Z","sequence":1}'
        ).encode()
    )


def test_a_time_is_utc_with_milliseconds() -> None:
    india = timezone(timedelta(hours=5, minutes=30))
    assert timestamp(datetime(2026, 11, 22, 11, 16, 0, 123999, tzinfo=india)) == "2026-11-22T05:46:00.123Z"
    assert timestamp(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000Z"


def test_an_event_carries_its_payment_as_of_then() -> None:
    data = payment_view(payment(PaymentStatus.CAPTURED))
    body = event_body(event_id="evt_1", type_="payment.captured", at=NOW, sequence=4, data=data)
    event = json.loads(body)
    assert list(event) == ["id", "type", "timestamp", "sequence", "data"]
    assert (event["id"], event["sequence"], event["data"]["status"]) == ("evt_1", 4, "captured")


@pytest.mark.parametrize("kind", [kind for kind in AnswerKind if kind.value.startswith("payment_not")])
def test_a_stored_problem_has_no_status(kind: AnswerKind) -> None:
    problem = json.loads(problem_answer(kind, detail="No.", request_id="req_1").body)
    assert list(problem) == PROBLEM_MEMBERS
    assert (problem["code"], problem["request_id"]) == (kind.value, "req_1")
    assert problem["title"]


def test_a_decline_says_what_to_do_and_holds_the_payment() -> None:
    error = decline_error(Declined(DeclineCode.LOST_CARD))
    failed = payment(PaymentStatus.FAILED, last_error=error)
    answer = failed_answer(failed, error, request_id="req_1")
    problem = json.loads(answer.body)
    assert answer.kind is AnswerKind.PAYMENT_DECLINED
    assert list(problem) == [*PROBLEM_MEMBERS, "decline_code", "retryable", "advice", "payment"]
    assert (problem["decline_code"], problem["retryable"], problem["advice"]) == (
        "lost_card",
        False,
        "never_retry",
    )
    assert problem["payment"] == payment_view(failed)


@pytest.mark.parametrize("code", FailureCode)
def test_a_failure_that_no_issuer_decided_is_no_decline(code: FailureCode) -> None:
    error = failure_error(code)
    answer = failed_answer(payment(PaymentStatus.FAILED, last_error=error), error, request_id=None)
    problem = json.loads(answer.body)
    blocked = code is FailureCode.PAYMENT_BLOCKED
    assert answer.kind is (AnswerKind.PAYMENT_BLOCKED if blocked else AnswerKind.PAYMENT_FAILED)
    assert (problem["decline_code"], problem["advice"], problem["retryable"]) == (None, None, code.retryable)
    assert problem["payment"]["last_error"]["code"] == code.value


def test_last_error_has_the_members_of_the_contract() -> None:
    decline, failure = (
        decline_error(Declined(DeclineCode.DO_NOT_HONOR)),
        failure_error(FailureCode.NOT_PROCESSED),
    )
    for error in (decline, failure, refusal_error()):
        assert list(error) == ["code", "decline_code", "message", "advice"]


def test_a_refund_that_failed_says_why() -> None:
    error = failure_error(FailureCode.NOT_PROCESSED)
    refund = replace(operation(OperationKind.REFUND), status=OperationStatus.FAILED, last_error=error)
    assert refund_view(refund)["last_error"] == error

"""Every status and code of the contract, and what each answer carries."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.admission.requests import KeyExpired, KeyInUse, KeyUnknown
from api.admission.waiting import Unavailable
from api.problems import STATUS, TITLES
from payonce.domain.answers import (
    Answer,
    AnswerKind,
    decline_error,
    failed_answer,
    failure_error,
    problem_answer,
)
from payonce.domain.errors import InvalidRequest, NotFound, OperationInProgress
from payonce.domain.facts import DeclineCode, Declined, FailureCode
from payonce.domain.payment import PaymentStatus
from payonce.storage.driver.database import CommitUnknown, StorageUnavailable
from tests.api.conftest import Merchant
from tests.api.fakes import CARD, FakeAdmission, a_payment, payment_body

CREATE, KEY = "/v1/payments", {"Idempotency-Key": "k"}

CONTRACT = {
    400: "invalid_request invalid_json invalid_card_number invalid_vpa card_expired idempotency_key_missing"
    " idempotency_key_invalid",
    401: "unauthenticated callback_invalid",
    402: "payment_declined payment_failed",
    404: "not_found",
    405: "method_not_allowed",
    409: "idempotency_key_in_use idempotency_key_expired payment_not_capturable payment_not_voidable"
    " payment_not_refundable operation_in_progress receipt_not_ready",
    413: "body_too_large",
    415: "unsupported_media_type",
    422: "idempotency_key_reused amount_too_large currency_not_supported payment_method_not_supported"
    " capture_method_not_supported amount_not_supported operation_not_supported data_required"
    " test_mode_only webhook_url_forbidden",
    429: "rate_limited",
    503: "unavailable",
}


@pytest.mark.parametrize(
    ("code", "status"), [(code, status) for status, codes in CONTRACT.items() for code in codes.split()]
)
def test_every_code_of_the_contract_has_its_status(code: str, status: int) -> None:
    assert STATUS[code] == status
    assert TITLES[code]


def test_codes_and_titles_are_the_same_set() -> None:
    assert STATUS.keys() == TITLES.keys()


@pytest.mark.parametrize(
    ("error", "status", "code", "header"),
    [
        (KeyInUse(), 409, "idempotency_key_in_use", ("retry-after", "1")),
        (
            KeyExpired(location="/v1/payments/pay_x"),
            409,
            "idempotency_key_expired",
            ("location", "/v1/payments/pay_x"),
        ),
        (OperationInProgress(), 409, "operation_in_progress", ("retry-after", "1")),
        (Unavailable(), 503, "unavailable", ("retry-after", "1")),
        (StorageUnavailable(), 503, "unavailable", ("retry-after", "1")),
        (CommitUnknown(), 504, "outcome_unknown", ("retry-after", "1")),
        (KeyUnknown(), 504, "outcome_unknown", ("retry-after", "1")),
        (NotFound("pay_4242424242424242"), 404, "not_found", None),
        (
            InvalidRequest("no", pointer="/currency", code="currency_not_supported"),
            422,
            "currency_not_supported",
            None,
        ),
    ],
)
async def test_what_admission_raises_becomes_a_problem(
    client: httpx.AsyncClient,
    admission: FakeAdmission,
    error: Exception,
    status: int,
    code: str,
    header: tuple[str, str] | None,
) -> None:
    admission.error = error
    response = await client.post(CREATE, json=payment_body(), headers=KEY)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"
    if header is not None:
        assert response.headers[header[0]] == header[1]
    assert "42424242" not in response.text


async def test_an_unforeseen_error_is_a_500_that_tells_nothing(
    client: httpx.AsyncClient, admission: FakeAdmission
) -> None:
    admission.error = RuntimeError("the card is 4242424242424242")
    response = await client.post(CREATE, json=payment_body(), headers=KEY)
    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    assert response.json()["request_id"] == response.headers["request-id"]
    assert "42424242" not in response.text
    assert "RuntimeError" not in response.text


REFUSALS = [
    (AnswerKind.PAYMENT_NOT_CAPTURABLE, 409),
    (AnswerKind.PAYMENT_NOT_VOIDABLE, 409),
    (AnswerKind.PAYMENT_NOT_REFUNDABLE, 409),
    (AnswerKind.AMOUNT_TOO_LARGE, 422),
]


@pytest.mark.parametrize(("kind", "status"), REFUSALS)
async def test_a_stored_refusal_is_sent_with_its_status_and_replayed_byte_for_byte(
    client: httpx.AsyncClient, admission: FakeAdmission, kind: AnswerKind, status: int
) -> None:
    admission.answer = problem_answer(kind, detail="No.", request_id="req_first")
    first = await client.post(f"{CREATE}/pay_a1/capture", headers=KEY)
    second = await client.post(f"{CREATE}/pay_a1/capture", headers=KEY)
    assert (first.status_code, first.json()["status"]) == (status, status)
    assert first.content == second.content
    assert first.json()["request_id"] == "req_first"
    assert list(first.json()) == ["status", "type", "title", "detail", "code", "request_id"]
    assert second.headers["idempotent-replayed"] == "true"


FAILED = a_payment(status=PaymentStatus.FAILED)


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (decline_error(Declined(DeclineCode.INSUFFICIENT_FUNDS)), "payment_declined", True),
        (decline_error(Declined(DeclineCode.LOST_CARD)), "payment_declined", False),
        (failure_error(FailureCode.CARD_DATA_LOST), "payment_failed", True),
    ],
)
async def test_a_decline_is_a_402_with_the_payment_inside(
    client: httpx.AsyncClient, admission: FakeAdmission, error: dict[str, Any], code: str, retryable: bool
) -> None:
    admission.answer = failed_answer(FAILED, error, request_id="req_first")
    response = await client.post(CREATE, json=payment_body(), headers=KEY)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (402, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert (problem["decline_code"], problem["advice"]) == (error["decline_code"], error["advice"])
    assert (problem["retryable"], problem["payment"]["status"]) == (retryable, "failed")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (AnswerKind.PAYMENT, 201),
        (AnswerKind.REFUND, 201),
        (AnswerKind.ENDPOINT, 201),
        (AnswerKind.PAYMENT_METHOD, 201),
        (AnswerKind.PAYMENT_CHANGED, 200),
    ],
)
async def test_a_stored_object_is_sent_as_it_was_stored(
    client: httpx.AsyncClient, admission: FakeAdmission, kind: AnswerKind, status: int
) -> None:
    admission.answer = Answer(kind, b'{"id":"x"}')
    response = await client.post(CREATE, json=payment_body(), headers=KEY)
    assert (response.status_code, response.content) == (status, b'{"id":"x"}')
    assert response.headers["content-type"] == "application/json"
    assert ("location" in response.headers) == (status == 201)


async def test_no_outcome_is_a_202_with_location_and_no_replay(
    client: httpx.AsyncClient, admission: FakeAdmission
) -> None:
    admission.answer, admission.current = None, b'{"status":"processing"}'
    for _ in range(2):
        response = await client.post(CREATE, json=payment_body(), headers=KEY)
        assert (response.status_code, response.content) == (202, b'{"status":"processing"}')
        assert response.headers["location"] == "/v1/payments/pay_a1"
        assert "idempotent-replayed" not in response.headers


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer x", "Basic abc", "Bearer sk_test_" + "a" * 48, "sk_test_" + "a" * 48],
)
async def test_without_a_valid_key_a_request_is_unauthenticated(
    app: FastAPI, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test", headers=headers) as client:
        for response in (
            await client.get(CREATE),
            await client.get(f"{CREATE}/pay_a1"),
            await client.post(CREATE, json=payment_body(), headers=KEY),
            await client.post(CREATE, content=b"x" * 100_000),
        ):
            assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")
            assert response.headers["www-authenticate"].startswith("Bearer ")


@pytest.mark.parametrize("authorization", ["", "Bearer sk_test_" + "a" * 48])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{CREATE}?limit=0"),
        ("GET", f"{CREATE}/a.b"),
        ("POST", f"{CREATE}/a.b/capture"),
        ("POST", f"{CREATE}/a.b/refunds"),
        ("GET", "/v1/events?type=none"),
        ("GET", "/v1/events/stream?types=none"),
        ("DELETE", "/v1/webhook_endpoints/a.b"),
        ("DELETE", "/v1/payment_methods/a.b"),
    ],
)
async def test_without_a_valid_key_that_comes_first_whatever_else_is_wrong(
    app: FastAPI, authorization: str, method: str, path: str
) -> None:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        response = await client.request(method, path, headers={"Authorization": authorization})
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")


async def test_a_number_alone_is_no_id_and_goes_no_further(
    client: httpx.AsyncClient, admission: FakeAdmission
) -> None:
    for path in (f"{CREATE}/{CARD['number']}/capture", f"{CREATE}/{CARD['number']}/refunds"):
        response = await client.post(path, json={}, headers=KEY)
        assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert not admission.calls


async def test_a_live_key_opens_nothing_where_live_is_not_served(
    client: httpx.AsyncClient, merchant: Merchant
) -> None:
    response = await client.get(CREATE, headers={"Authorization": f"Bearer {merchant.live_key}"})
    assert response.status_code == 401


async def test_the_scheme_is_case_insensitive(client: httpx.AsyncClient, merchant: Merchant) -> None:
    response = await client.get(CREATE, headers={"Authorization": f"bEARER {merchant.key}"})
    assert response.status_code == 200


@pytest.mark.parametrize("path", ["/nothing", "/v1/payments/", "/v1", "/v1/payments/a/b/c", "/"])
async def test_an_unknown_path_is_a_problem(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert response.json()["request_id"] == response.headers["request-id"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", CREATE, "GET, HEAD, OPTIONS, POST"),
        ("PUT", f"{CREATE}/pay_a1", "GET, HEAD, OPTIONS"),
        ("GET", f"{CREATE}/pay_a1/capture", "OPTIONS, POST"),
        ("BREW", "/v1/webhook_endpoints/we_1", "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("POST", "/livez", "GET, HEAD, OPTIONS"),
    ],
)
async def test_a_method_that_is_not_there_is_a_405_with_all_that_are(
    client: httpx.AsyncClient, method: str, path: str, allow: str
) -> None:
    response = await client.request(method, path)
    assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
    assert response.headers["allow"] == allow


async def test_options_tells_the_methods(client: httpx.AsyncClient) -> None:
    response = await client.options(CREATE)
    assert (response.status_code, response.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")


async def test_head_is_a_get_without_content(client: httpx.AsyncClient) -> None:
    got, head = await client.get(CREATE), await client.head(CREATE)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]


@pytest.mark.parametrize("payment_id", ["%00", "x" * 65, "a%2Fb", "pay_%C3%A9", "4242424242424242"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_cannot_be_an_id_is_not_found(
    client: httpx.AsyncClient, admission: FakeAdmission, method: str, payment_id: str
) -> None:
    admission.error = NotFound(payment_id)
    path = f"{CREATE}/{payment_id}" + ("/capture" if method == "POST" else "")
    response = await client.request(method, path, headers=KEY)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert "42424242" not in response.text

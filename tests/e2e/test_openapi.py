"""The API against its own OpenAPI document: generated requests, no 5xx, every answer as described."""

from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

from api.openapi import disputes, payment_methods, payments, reconciliation, webhooks
from api.openapi.description import Description
from api.routes.stream import BEGINNING, STREAM_EVENTS
from devstack.stack import DevStack
from tests.e2e.merchant import Merchant, answered, card
from tests.e2e.test_banks_dispute import dispute_of

CASES = 20  # of each operation and mode; about 1,000 in all
MESSAGES = 3  # of the stream; what `made` made has more
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    allow_header_conformance,
]
POSITIVE, NEGATIVE = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
DESCRIPTIONS = [
    found
    for module in (payments, webhooks, payment_methods, disputes, reconciliation)
    for found in vars(module).values()
    if isinstance(found, Description)
]
TAKING_INPUT = [found for found in DESCRIPTIONS if found.parameters or found.body]
RUNS = [(found.id, POSITIVE) for found in DESCRIPTIONS] + [(found.id, NEGATIVE) for found in TAKING_INPUT]


@pytest.fixture(scope="module")
def described(stack: DevStack) -> OpenApiSchema:
    """The document as the API serves it."""
    loaded: OpenApiSchema = schemathesis.openapi.from_url(f"{stack.api_url}/openapi.json")
    return loaded


@pytest.fixture(scope="module")
async def made(shop: Merchant) -> dict[str, str]:
    """An object's id for the beginning of every path that takes one."""
    payment = await shop.authorized(amount=1_000_000)
    await shop.captured(payment, amount=500_000, final=False)
    refund = await shop.refunded(payment, amount=1)
    endpoint = answered(await shop.post("/v1/webhook_endpoints", {"url": "https://shop.example/hooks"}), 201)
    hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    recovery = await shop.post(f"/v1/webhook_endpoints/{endpoint['id']}/recover", {"since": hour_ago})
    assert recovery.status_code == 202
    [event, *_] = await shop.events(payment)
    disputed = await shop.paid(metadata={"sandbox_fault": "dispute:fraudulent"})
    dispute = await dispute_of(shop, disputed)
    return {
        "/v1/payments/": payment["id"],
        "/v1/refunds/": refund["id"],
        "/v1/disputes/": dispute["id"],
        "/v1/events/": event["id"],
        "/v1/webhook_endpoints/": endpoint["id"],
        "/v1/webhook_jobs/": recovery.headers["location"].rpartition("/")[2],
    }


@pytest.mark.parametrize(("operation_id", "mode"), RUNS, ids=str)
def test_the_api_does_what_its_description_says(
    described: OpenApiSchema,
    stack: DevStack,
    made: dict[str, str],
    operation_id: str,
    mode: GenerationMode,
) -> None:
    operation = described.find_operation_by_id(operation_id)

    @hypothesis.settings(
        max_examples=CASES,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def holds(case: Case[Any]) -> None:
        if mode is POSITIVE:
            make_real(case, made)
        headers = {"Authorization": f"Bearer {stack.api_key}"}
        case.call_and_validate(base_url=stack.api_url, headers=headers, checks=CHECKS)

    holds()


@pytest.mark.usefixtures("made")
def test_the_stream_of_events_is_what_its_description_says(stack: DevStack) -> None:
    """Schemathesis takes what is described for a message of the stream: it was described as a string."""
    bounded = SchemathesisConfig.from_dict({"max-stream-events": MESSAGES})
    described = schemathesis.openapi.from_url(f"{stack.api_url}/openapi.json", config=bounded)
    operation = described.find_operation_by_id(STREAM_EVENTS.id)
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    case = operation.Case(headers={"Last-Event-ID": BEGINNING})
    response = case.call_and_validate(base_url=stack.api_url, headers=headers, checks=CHECKS)
    assert response.content.count(b"\ndata: ") == MESSAGES
    refused = operation.Case(query={"types": "payment.unheard_of"})
    response = refused.call_and_validate(base_url=stack.api_url, headers=headers, checks=CHECKS)
    assert response.status_code == 400


def make_real(case: Case[Any], made: dict[str, str]) -> None:
    """A generated card and a generated id become ones that exist: by chance hardly any would."""
    for beginning, id_ in made.items():
        if case.operation.path.startswith(beginning):
            case.path_parameters["id"] = id_
    if "name" in case.path_parameters:
        case.path_parameters["name"] = "sandbox_card"
    body = case.body if isinstance(case.body, dict) else {}
    method = body.get("payment_method")
    if isinstance(method, dict) and "card" in method:
        body["payment_method"] = card()

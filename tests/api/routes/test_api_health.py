"""Health, metrics and the documents."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from jsonschema_rs import Draft202012Validator
from prometheus_client import generate_latest
from temporalio.client import Client

from api.admission.admission import Admission
from api.app import about_to_end, build_app
from api.openapi.description import BASIC_SCHEME, SECURITY_SCHEME
from payonce.domain.answers import decline_error, encode, event_body, failed_answer, payment_view, refund_view
from payonce.domain.facts import DeclineCode, Declined
from payonce.domain.operations import Operation, OperationKind
from payonce.runtime import Runtime
from payonce.storage.webhooks.endpoints import Endpoint, endpoint_view
from tests.api.fakes import CARD, NOW, FakeAdmission, a_payment, payment_body
from tests.support.patience import PATIENT_S
from workers.inbox import Inbox

Probe = Callable[[], Awaitable[object]]


WITHOUT_KEY = (  # a signature, the payment's id, or a token
    "/v1/connectors/{name}/callbacks",
    "/v1/connectors/{name}/{account}/callbacks",
    "/v1/payments/{id}/qr",
    "/v1/returns/{token}",
)


OTHER_CONTENT = {
    "/v1/events/stream": ["text/event-stream"],
    "/v1/payments/{id}/receipt": ["text/html", "application/pdf"],
}
NOT_DONE = {
    "webhook_endpoints": 404,
    "events": 404,
    "payment_methods": 422,
}  # here; what is asked for is understood
WITHOUT_CONTENT = ("204", "302")


@asynccontextmanager
async def _serving(runtime: Runtime, probes: Mapping[str, Probe]) -> AsyncIterator[httpx.AsyncClient]:
    """A client without an API key."""
    app = build_app(runtime, cast("Admission", FakeAdmission()), probes, Inbox(runtime, cast("Client", None)))
    transport = httpx.ASGITransport(app=cast("Any", app))
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        yield client


async def _works() -> None:
    pass


async def _fails() -> None:
    raise ConnectionError("postgresql://user:password@host")


async def _hangs() -> None:
    await asyncio.Event().wait()


@pytest.mark.usefixtures("product_limits")
@pytest.mark.parametrize(
    ("probes", "states"),
    [
        ({"postgres": _works, "redis": _works, "temporal": _works}, ("ok", "ok", "ok")),
        ({"postgres": _fails, "redis": _works, "temporal": _works}, ("failed", "ok", "ok")),
        ({"postgres": _works, "redis": _fails, "temporal": _works}, ("ok", "failed", "ok")),
        ({"postgres": _works, "redis": _works, "temporal": _hangs}, ("ok", "ok", "timeout")),
        ({"postgres": _fails, "redis": _fails, "temporal": _fails}, ("failed", "failed", "failed")),
    ],
)
async def test_a_dependency_that_all_processes_share_is_named_and_makes_none_unready(
    runtime: Runtime, probes: dict[str, Probe], states: tuple[str, ...]
) -> None:
    """Without Temporal every process left the balancer, and what can be answered without it was answered by none."""
    async with _serving(runtime, probes) as client, asyncio.timeout(PATIENT_S):
        response = await client.get("/readyz")
    metrics = generate_latest().decode()
    assert (response.status_code, response.json()["status"]) == (200, "ready")
    assert response.json()["faults"] == []
    assert response.json()["dependencies"] == dict(zip(probes, states, strict=True))
    assert "password" not in response.text
    for name, state in zip(probes, states, strict=True):
        assert f'payonce_dependency_up{{dependency="{name}"}} {1.0 if state == "ok" else 0.0}' in metrics


async def test_a_process_that_is_about_to_end_is_not_ready(client: httpx.AsyncClient, app: FastAPI) -> None:
    assert (await client.get("/readyz")).status_code == 200
    about_to_end(app)
    response = await client.get("/readyz")
    assert (response.status_code, response.json()["faults"]) == (503, ["shutting_down"])
    assert response.json()["dependencies"] == {"postgres": "ok"}
    assert (await client.get("/livez")).status_code == 200


async def test_a_process_that_lost_its_connections_is_not_ready(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.database, "is_stuck", lambda: True)
    async with _serving(runtime, {}) as client:
        response = await client.get("/readyz")
    assert (response.status_code, response.json()["faults"]) == (503, ["connections_stuck"])


@pytest.mark.usefixtures("product_limits")
async def test_a_hanging_dependency_is_asked_once_at_a_time(runtime: Runtime) -> None:
    asked = 0
    release = asyncio.Event()

    async def probe() -> None:
        nonlocal asked
        asked += 1
        await release.wait()

    async with _serving(runtime, {"postgres": probe}) as client, asyncio.timeout(PATIENT_S):
        answers = await asyncio.gather(*(client.get("/readyz") for _ in range(5)))
        assert [answer.json()["dependencies"] for answer in answers] == [{"postgres": "timeout"}] * 5
        assert asked == 1
        release.set()
        assert (await client.get("/readyz")).json()["dependencies"] == {"postgres": "ok"}


async def test_liveness_needs_nothing(runtime: Runtime) -> None:
    async with _serving(runtime, {"postgres": _hangs}) as client:
        response = await client.get("/livez")
        assert (response.status_code, response.json()) == (200, {"status": "ok"})
        assert response.headers["request-id"].startswith("req_")
        assert (await client.head("/livez")).status_code == 200


async def test_metrics_count_requests_by_route_template(client: httpx.AsyncClient) -> None:
    await client.get("/v1/payments/pay_very_special")
    await client.get("/very/special/path")
    await client.request("SPECIAL", "/v1/payments")
    metrics = generate_latest().decode()
    assert 'method="GET",route="/v1/payments/{id}",status="404"' in metrics
    assert 'route="unmatched",status="404"' in metrics
    assert "special" not in metrics.lower()


async def _document(client: httpx.AsyncClient) -> dict[str, Any]:
    return cast("dict[str, Any]", (await client.get("/openapi.json")).raise_for_status().json())


async def test_the_document_describes_every_operation(client: httpx.AsyncClient, app: FastAPI) -> None:
    document = await _document(client)
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len(operations) == 42
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"]
            assert ("{id}" in path) == ("id" in [each["name"] for each in operation["parameters"]])
            if path in WITHOUT_KEY:
                assert operation["security"] == []
                continue
            if path.startswith("/v1/"):
                assert operation["security"] == [{SECURITY_SCHEME: []}, {BASIC_SCHEME: []}]
                assert {"401", "429", "500", "503"} <= operation["responses"].keys()
            if method == "post":
                assert "Idempotency-Key" in [each["name"] for each in operation["parameters"]]
                assert {"400", "409", "413", "415", "422"} <= operation["responses"].keys()
            for status, response in operation["responses"].items():
                good = OTHER_CONTENT.get(path, ["application/json"])
                expected = ["application/problem+json"] if int(status) >= 400 else good
                if path.startswith("/v1/") and status not in WITHOUT_CONTENT:
                    assert list(response["content"]) == expected


async def test_what_may_be_a_replay_is_described_as_one(client: httpx.AsyncClient) -> None:
    paths = (await _document(client))["paths"]
    replayed = {
        (path, status)
        for path in ("/v1/payments", "/v1/payments/{id}/capture", "/v1/payments/{id}/refunds")
        for status, response in paths[path]["post"]["responses"].items()
        if "Idempotent-Replayed" in response["headers"]
    }
    assert replayed == {
        *(("/v1/payments", status) for status in ("201", "402")),
        *(("/v1/payments/{id}/capture", status) for status in ("200", "402", "409", "422")),
        *(("/v1/payments/{id}/refunds", status) for status in ("201", "409", "422")),
    }


async def test_every_reference_in_the_document_resolves(client: httpx.AsyncClient) -> None:
    text = (await client.get("/openapi.json")).text
    document = json.loads(text)
    named = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    used = {part.split('"')[0] for part in text.split('"$ref":"')[1:]}
    assert used <= named


def _valid(document: dict[str, Any], name: str, value: Any) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    Draft202012Validator(schema).validate(value)


async def test_what_is_answered_is_what_is_described(client: httpx.AsyncClient) -> None:
    document = await _document(client)
    payment = a_payment(
        capture_before=NOW,
        customer={"id": "c"},
        pending_operation={"id": "op_1", "type": "capture", "amount": 5},
        review={"reason": "late_refund", "since": "2026-11-22T05:46:00.000Z"},
        last_error=decline_error(Declined(DeclineCode.INCORRECT_CVC)),
    )
    refund = Operation(
        id="re_1",
        payment_id=payment.id,
        merchant_id="mer_1",
        mode="test",
        kind=OperationKind.REFUND,
        amount_minor=5,
        currency="INR",
        created_at=NOW,
        updated_at=NOW,
    )
    _valid(document, "Payment", json.loads(encode(payment_view(payment))))
    _valid(document, "Payment", json.loads(encode(payment_view(a_payment()))))
    _valid(document, "Refund", json.loads(encode(refund_view(refund))))
    for data in (payment_view(payment), refund_view(refund)):
        body = event_body(event_id="evt_1", type_="refund.pending", at=NOW, sequence=1, data=data)
        _valid(document, "Event", json.loads(body))
    endpoint = Endpoint(
        id="we_1",
        merchant_id="mer_1",
        mode="test",
        url="https://shop.example/",
        events=("*",),
        description=None,
        ordered=False,
        enabled=True,
        created_at=NOW,
    )
    asymmetric = endpoint_view(replace(endpoint, signing="ed25519"), public_key="whpk_x")
    _valid(document, "NewEndpoint", endpoint_view(endpoint, secret="whsec_x"))
    _valid(document, "NewEndpoint", asymmetric)
    for shown in (endpoint_view(endpoint), asymmetric):
        _valid(document, "Endpoint", shown)
        for type_, more in (("ping", {}), ("exhausted", {"delivery": "dlv_1", "event": "evt_1"})):
            about = {**shown, **more}
            body = event_body(
                event_id="evt_2", type_=f"webhook_endpoint.{type_}", at=NOW, sequence=0, data=about
            )
            _valid(document, "Event", json.loads(body))
    answer = failed_answer(payment, decline_error(Declined(DeclineCode.LOST_CARD)), request_id="req_1")
    _valid(document, "Problem", {"status": 402, **json.loads(answer.body)})
    refused = await client.post("/v1/payments", json={"amount": 0}, headers={"Idempotency-Key": "k"})
    _valid(document, "Problem", refused.json())
    _valid(document, "Readiness", (await client.get("/readyz")).json())


async def test_the_examples_are_valid_requests(client: httpx.AsyncClient, admission: FakeAdmission) -> None:
    document = await _document(client)
    for path, methods in document["paths"].items():
        operation = methods.get("post")
        if operation is None or path in ("/v1/webhook_endpoints", *WITHOUT_KEY):
            continue
        example = operation["requestBody"]["content"]["application/json"].get("example", {})
        headers = {"Idempotency-Key": path}
        response = await client.post(path.replace("{id}", "pay_a1"), json=example, headers=headers)
        understood = NOT_DONE.get(path.split("/")[2], 201)
        assert response.status_code == understood, response.text
    assert len(admission.calls) == 5


async def test_a_valid_body_is_valid_by_the_document_too(client: httpx.AsyncClient) -> None:
    document = await _document(client)
    _valid(document, "CreatePayment", payment_body(customer=None, metadata={"a": "b"}))
    schema = {"$ref": "#/components/schemas/CreatePayment", "components": document["components"]}
    validator = Draft202012Validator(schema)
    for wrong in (
        {"amount": 0},
        {"amount": 1.5},
        {"currency": "XXX"},
        {"unknown": 1},
        {"payment_method": CARD},
    ):
        assert not validator.is_valid(payment_body(**wrong))


async def test_the_docs_are_one_page_without_scripts(client: httpx.AsyncClient) -> None:
    response = await client.get("/docs")
    assert response.headers["content-type"].startswith("text/html")
    assert "POST</span> /v1/payments</code>" in response.text
    assert "<script" not in response.text
    assert (
        "http"
        not in response.text.replace("https://shop.example", "").replace("http-equiv", "").split("<h2")[0]
    )

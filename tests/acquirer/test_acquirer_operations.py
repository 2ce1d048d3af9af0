"""What the acquirer answers, and what its ledger then says."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from acquirer_process import KEY, START_S_MAX, Acquirer, answered, eventually

DECLINED_CARDS = {
    "4000000000000002": "generic_decline",
    "4000000000009995": "insufficient_funds",
    "4000000000009987": "lost_card",
    "4000000000000069": "expired_card",
    "4000000000000127": "incorrect_cvc",
    "4000000000000119": "processing_error",
    "4000000000003121": "authentication_required",
    "4000000000003139": "authentication_failed",
}


@pytest.mark.parametrize("number", ["4242424242424242", "5555555555554444"])
async def test_any_other_luhn_number_is_approved(acquirer: Acquirer, number: str) -> None:
    answer = await acquirer.authorize(number=number)
    assert (answer["status"], answer["operation"], answer["decline_code"]) == ("approved", "authorize", None)
    assert (answer["amount"], answer["currency"]) == (1099, "INR")
    assert answer["authorization"] == answer["id"]
    lifetime = datetime.fromisoformat(answer["expires_at"]) - datetime.fromisoformat(answer["created_at"])
    assert lifetime.total_seconds() == 604_800
    assert await acquirer.moved(answer["reference"]) == ["authorize"]


@pytest.mark.parametrize(("number", "code"), DECLINED_CARDS.items())
async def test_a_declined_card_moves_nothing_and_can_be_inquired(
    unmoved_acquirer: Acquirer, number: str, code: str
) -> None:
    answer = await unmoved_acquirer.authorize(number=number, capture=True)
    assert (answer["status"], answer["decline_code"], answer["authorization"]) == ("declined", code, None)
    assert await unmoved_acquirer.ledger() == []
    assert answered(await unmoved_acquirer.inquire(answer["reference"])) == answer


async def test_an_automatic_payment_has_two_entries(acquirer: Acquirer) -> None:
    answer = await acquirer.authorize(capture=True)
    entries = await acquirer.ledger(payment_reference="pay_1")
    assert [entry["operation"] for entry in entries] == ["authorize", "capture"]
    assert {entry["amount"] for entry in entries} == {1099}
    assert {entry["reference"] for entry in entries} == {answer["reference"]}


@pytest.mark.parametrize(
    ("path", "operation", "more"),
    [("/captures", "capture", {"final": True}), ("/voids", "void", {}), ("/refunds", "refund", {})],
)
async def test_an_operation_on_an_authorization_moves_its_amount(
    acquirer: Acquirer, path: str, operation: str, more: dict[str, Any]
) -> None:
    authorization = (await acquirer.authorize())["id"]
    order = acquirer.order(authorization=authorization, amount=300, **more)
    answer = answered(await acquirer.post(path, order))
    assert (answer["status"], answer["operation"], answer["amount"]) == ("approved", operation, 300)
    assert answer["authorization"] == authorization
    assert await acquirer.moved(order["reference"]) == [operation]
    assert answered(await acquirer.inquire(order["reference"])) == answer


async def test_an_unknown_authorization_or_another_currency_is_declined(acquirer: Acquirer) -> None:
    authorization = (await acquirer.authorize())["id"]
    for changes in ({"authorization": "auth_none"}, {"authorization": authorization, "currency": "USD"}):
        answer = answered(await acquirer.post("/refunds", acquirer.order(**changes)))
        assert (answer["status"], answer["decline_code"]) == ("declined", "processing_error")
    assert len(await acquirer.ledger()) == 1


async def test_an_expired_authorization_is_not_captured_and_is_still_refunded(
    impatient_acquirer: Acquirer,
) -> None:
    acquirer = impatient_acquirer
    authorization = (await acquirer.authorize(capture=True))["id"]

    async def capture_is_declined() -> bool:
        order = acquirer.order(authorization=authorization, final=False)
        return bool(answered(await acquirer.post("/captures", order))["status"] == "declined")

    await eventually(capture_is_declined)
    refund = await acquirer.post("/refunds", acquirer.order(authorization=authorization))
    assert answered(refund)["status"] == "approved"


async def test_an_unknown_reference_is_not_found(unmoved_acquirer: Acquirer) -> None:
    response = await unmoved_acquirer.inquire("never-seen")
    assert (response.status_code, response.json()) == (404, {"error": "not_found"})


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer other"}, {"Authorization": KEY}])
async def test_without_the_key_nothing_happens(unmoved_acquirer: Acquirer, header: dict[str, str]) -> None:
    body = unmoved_acquirer.authorization()
    async with httpx.AsyncClient(base_url=unmoved_acquirer.client.base_url, timeout=60) as stranger:
        response = await stranger.post("/authorizations", json=body, headers=header)
        assert (response.status_code, response.json()) == (401, {"error": "unauthorized"})
        for path in ("/livez", "/ledger", "/requests", "/config"):
            assert (await stranger.get(path)).status_code == 200
    assert await unmoved_acquirer.ledger() == []
    (logged,) = await unmoved_acquirer.requests(reference=body["reference"])
    assert (logged["payment_reference"], logged["answer"]) == ("pay_1", "401 unauthorized")


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 0},
        {"amount": 2**53},
        {"amount": 10.5},
        {"amount": "10"},
        {"amount": True},
        {"currency": "inr"},
        {"reference": "4242424242424242"},
        {"reference": ""},
        {"unknown": 1},
        {"capture": None},
        {"faults": ["authorize:nonsense"]},
        {"faults": ["timeout_after_charge"]},
        {"faults": ["settle:garbage"]},
        {"number": "4242424242424241"},
    ],
)
async def test_a_malformed_order_is_refused_and_repeats_no_card(
    unmoved_acquirer: Acquirer, changes: dict[str, Any]
) -> None:
    response = await unmoved_acquirer.post("/authorizations", unmoved_acquirer.authorization(**changes))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert "424242424242" not in response.text
    assert await unmoved_acquirer.ledger() == []
    assert (await unmoved_acquirer.requests())[-1]["answer"] == "400 invalid_request"


async def test_a_card_number_in_a_members_name_is_not_repeated(unmoved_acquirer: Acquirer) -> None:
    response = await unmoved_acquirer.post("/voids", {"4242424242424242": 1})
    assert response.status_code == 400
    assert "424242424242" not in response.text


async def test_bodies_are_limited_and_must_be_json(unmoved_acquirer: Acquirer) -> None:
    too_large = await unmoved_acquirer.client.post("/voids", content=b" " * 65_537)
    assert too_large.status_code == 413
    not_json = await unmoved_acquirer.client.post("/voids", content=b"{")
    assert (not_json.status_code, not_json.json()["detail"]) == (400, "body: is not JSON")
    answers = [entry["answer"] for entry in await unmoved_acquirer.requests()]
    assert answers[-2:] == ["413 body_too_large", "400 invalid_request"]


async def test_an_unknown_path_is_not_mistaken_for_an_unknown_reference(unmoved_acquirer: Acquirer) -> None:
    assert (await unmoved_acquirer.post("/deposits", {})).json() == {"error": "no_such_path"}
    assert (await unmoved_acquirer.client.get("/voids")).json() == {"error": "method_not_allowed"}


async def test_a_busy_port_is_one_clear_line(unmoved_acquirer: Acquirer, tmp_path: Path) -> None:
    port = str(unmoved_acquirer.client.base_url.port)
    process = await asyncio.create_subprocess_exec(
        *unmoved_acquirer.command("--port", port, "--data", str(tmp_path / "second.sqlite")),
        stderr=asyncio.subprocess.PIPE,
        env=unmoved_acquirer.environment(),
    )
    _, said = await asyncio.wait_for(process.communicate(), START_S_MAX)
    assert process.returncode == 1
    assert said.decode().splitlines() == [f"127.0.0.1:{port}: Address already in use"]

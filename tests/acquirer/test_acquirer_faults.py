"""What each fault does to the money, to the sender, and to the request after it."""

import asyncio
from typing import Any

import httpx
import pytest
from acquirer_process import GIVES_UP_S, Acquirer, answered, eventually


async def test_timeout_after_moves_money_and_never_answers(acquirer: Acquirer) -> None:
    body = acquirer.authorization(faults=["authorize:timeout_after_charge"])
    with pytest.raises(httpx.ReadTimeout):
        await acquirer.client.post("/authorizations", json=body, timeout=GIVES_UP_S)
    assert await acquirer.moved(body["reference"]) == ["authorize"]
    assert answered(await acquirer.inquire(body["reference"]))["status"] == "approved"
    first = (await acquirer.requests(reference=body["reference"]))[0]
    assert first["answer"] == "none: timeout"


async def test_timeout_before_moves_nothing_and_a_repeat_is_executed(acquirer: Acquirer) -> None:
    body = acquirer.authorization(faults=["authorize:timeout_before_charge"])
    with pytest.raises(httpx.ReadTimeout):
        await acquirer.client.post("/authorizations", json=body, timeout=GIVES_UP_S)
    assert await acquirer.ledger() == []
    assert (await acquirer.inquire(body["reference"])).status_code == 404
    assert answered(await acquirer.post("/authorizations", body))["status"] == "approved"


async def test_a_held_connection_is_closed_in_the_end(impatient_acquirer: Acquirer) -> None:
    body = impatient_acquirer.authorization(faults=["authorize:timeout_after_charge"])
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        await impatient_acquirer.post("/authorizations", body)


async def test_error_after_moves_money_and_answers_500(acquirer: Acquirer) -> None:
    body = acquirer.authorization(faults=["authorize:error_after_charge"])
    assert (await acquirer.post("/authorizations", body)).status_code == 500
    assert await acquirer.moved(body["reference"]) == ["authorize"]


async def test_reset_after_moves_money_and_resets_the_connection(acquirer: Acquirer) -> None:
    body = acquirer.authorization(faults=["authorize:reset_after_charge"])
    with pytest.raises(httpx.ReadError) as caught:
        await acquirer.post("/authorizations", body)
    assert "ConnectionResetError" in _causes(caught.value)
    assert await acquirer.moved(body["reference"]) == ["authorize"]
    assert (await acquirer.requests())[0]["answer"] == "none: reset"


async def test_garbage_moves_money_and_is_no_json(acquirer: Acquirer) -> None:
    body = acquirer.authorization(faults=["authorize:garbage"])
    response = await acquirer.post("/authorizations", body)
    assert response.status_code == 200
    with pytest.raises(ValueError, match="Expecting value"):
        response.json()
    assert await acquirer.moved(body["reference"]) == ["authorize"]


@pytest.mark.parametrize(
    ("fault", "status_code", "moved"),
    [
        ("error_before_charge", 500, []),
        ("rate_limited", 429, []),
        ("redirect", 302, []),
        ("html", 200, ["authorize"]),
        ("other_answer", 200, ["authorize"]),
    ],
)
async def test_an_answer_that_says_nothing_of_the_order(
    acquirer: Acquirer, fault: str, status_code: int, moved: list[str]
) -> None:
    body = acquirer.authorization(faults=[f"authorize:{fault}"])
    response = await acquirer.post("/authorizations", body)
    assert response.status_code == status_code
    assert "retry-after" not in response.headers
    assert body["reference"] not in response.text
    assert await acquirer.moved(body["reference"]) == moved


async def test_amount_mismatch_moves_one_more(acquirer: Acquirer) -> None:
    answer = await acquirer.authorize(capture=True, faults=["authorize:amount_mismatch"])
    assert (answer["status"], answer["amount"]) == ("approved", 1100)
    assert [entry["amount"] for entry in await acquirer.ledger()] == [1100, 1100]
    assert (await acquirer.reverse(answer["reference"]))["amount"] == 1100


async def test_slow_waits_before_it_moves_money(acquirer: Acquirer) -> None:
    body = acquirer.authorization(faults=["authorize:slow:3000"])
    sending = asyncio.create_task(acquirer.post("/authorizations", body))

    async def has_arrived() -> bool:
        return len(await acquirer.requests()) == 1

    await eventually(has_arrived)
    assert (await acquirer.requests())[0]["answer"] is None
    assert await acquirer.ledger() == []
    assert answered(await sending)["status"] == "approved"
    assert (await acquirer.requests())[0]["answer"] == "200 approved"


async def test_a_slow_request_is_too_late_after_a_reversal(acquirer: Acquirer) -> None:
    body = acquirer.authorization(faults=["authorize:slow:3000"])
    sending = asyncio.create_task(acquirer.post("/authorizations", body))

    async def has_arrived() -> bool:
        return len(await acquirer.requests()) == 1

    await eventually(has_arrived)
    assert (await acquirer.reverse(body["reference"]))["status"] == "nothing_to_reverse"
    assert answered(await sending)["decline_code"] == "reference_reversed"
    assert await acquirer.ledger() == []


async def test_a_delay_comes_after_the_movement(acquirer: Acquirer) -> None:
    await acquirer.configure(delay_ms=60_000)
    body = acquirer.authorization()
    with pytest.raises(httpx.ReadTimeout):
        await acquirer.client.post("/authorizations", json=body, timeout=GIVES_UP_S)
    assert await acquirer.moved(body["reference"]) == ["authorize"]


@pytest.mark.parametrize("path", ["/captures", "/voids", "/refunds", "/reversals"])
async def test_every_operation_has_its_own_fault(acquirer: Acquirer, path: str) -> None:
    authorization = await acquirer.authorize(faults=[_fault(path)], fault_scope="scope-1")
    body = _order(acquirer, path, authorization)
    response = await acquirer.post(path, {**body, "faults": [_fault(path)], "fault_scope": "scope-1"})
    assert response.status_code == 500
    assert len(await acquirer.moved(body["reference"])) == 1
    repeat = await acquirer.post(path, {**body, "faults": [_fault(path)], "fault_scope": "scope-1"})
    assert repeat.status_code == 200
    assert len(await acquirer.moved(body["reference"])) == 1


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        ("timeout_after_charge", "none: timeout"),
        ("timeout_before_charge", "none: timeout"),
        ("reset_after_charge", "none: reset"),
        ("error_after_charge", "500 internal_error"),
        ("garbage", "200 garbage"),
    ],
)
async def test_an_inquiry_has_faults_too_and_moves_nothing(
    acquirer: Acquirer, fault: str, answer: str
) -> None:
    reference = (await acquirer.authorize())["reference"]
    inquiry = {"reference": reference, "faults": [f"inquire:{fault}"]}
    try:
        response = await acquirer.client.post("/inquiries", json=inquiry, timeout=GIVES_UP_S)
        assert answer.startswith(str(response.status_code))
    except httpx.TransportError:
        assert answer.startswith("none")
    assert (await acquirer.requests(reference=reference))[-1]["answer"] == answer
    assert answered(await acquirer.post("/inquiries", inquiry))["status"] == "approved"
    assert len(await acquirer.ledger()) == 1


async def test_a_fault_fires_once_for_its_scope_and_again_for_another(acquirer: Acquirer) -> None:
    fault: dict[str, Any] = {"faults": ["authorize:error_after_charge"]}
    statuses = [
        (
            await acquirer.post("/authorizations", acquirer.authorization(**fault, fault_scope=scope))
        ).status_code
        for scope in ("a", "a", "b")
    ]
    assert statuses == [500, 200, 500]


async def test_a_fault_stays_fired_over_a_restart(acquirer: Acquirer) -> None:
    body = acquirer.authorization(faults=["authorize:error_after_charge"])
    assert (await acquirer.post("/authorizations", body)).status_code == 500
    await acquirer.stop()
    await acquirer.start()
    assert (await acquirer.post("/authorizations", body)).status_code == 200


async def test_several_faults_of_one_operation_fire_together(acquirer: Acquirer) -> None:
    faults = [
        "authorize:slow:1",
        "authorize:amount_mismatch",
        "authorize:error_after_charge",
        "capture:garbage",
    ]
    body = acquirer.authorization(faults=faults)
    assert (await acquirer.post("/authorizations", body)).status_code == 500
    assert [entry["amount"] for entry in await acquirer.ledger()] == [1100]


def _fault(path: str) -> str:
    prefix = {"/captures": "capture", "/voids": "void", "/refunds": "refund", "/reversals": "reverse"}[path]
    return f"{prefix}:error_after_charge"


def _order(acquirer: Acquirer, path: str, authorization: dict[str, Any]) -> dict[str, Any]:
    if path == "/reversals":
        return acquirer.reversal(authorization["reference"])
    more = {"final": True} if path == "/captures" else {}
    return acquirer.order(authorization=authorization["id"], **more)


def _causes(error: BaseException | None) -> list[str]:
    names = []
    while error is not None:
        names.append(type(error).__name__)
        error = error.__cause__ or error.__context__
    return names

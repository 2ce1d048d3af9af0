"""The witness itself: what it keeps, what it never keeps, and that it survives."""

import asyncio
import contextlib
import signal
from typing import Any

import httpx
import pytest
from acquirer_process import APPROVED_CARD, Acquirer, answered, eventually


async def test_an_answered_movement_survives_kill_9(acquirer: Acquirer) -> None:
    answer = await acquirer.authorize(capture=True)
    await acquirer.stop(signal.SIGKILL)
    await acquirer.start()
    assert await acquirer.moved(answer["reference"]) == ["authorize", "capture"]
    assert answered(await acquirer.inquire(answer["reference"])) == answer
    assert (await acquirer.requests())[0]["answer"] == "200 approved"


async def test_every_answered_movement_survives_kill_9_under_load(acquirer: Acquirer) -> None:
    answers: list[str] = []

    async def authorize_until_it_dies() -> None:
        with contextlib.suppress(httpx.TransportError):
            while True:
                answers.append((await acquirer.authorize())["reference"])

    senders = [asyncio.create_task(authorize_until_it_dies()) for _ in range(8)]

    async def enough() -> bool:
        return len(answers) >= 40

    await eventually(enough, timeout_s=60.0)
    await acquirer.stop(signal.SIGKILL)
    await asyncio.gather(*senders)
    await acquirer.start()
    moved = [entry["reference"] for entry in await acquirer.ledger()]
    assert set(answers) <= set(moved)
    assert len(moved) == len(set(moved))


async def test_configuration_and_blocks_survive_a_restart(acquirer: Acquirer) -> None:
    await acquirer.configure(idempotency="90s", finality_s=3, delay_ms=1)
    blocked = acquirer.authorization()
    await acquirer.reverse(blocked["reference"])
    await acquirer.stop(signal.SIGKILL)
    await acquirer.start()
    assert answered(await acquirer.client.get("/config")) == {
        "idempotency": "90s",
        "delay_ms": 1,
        "finality_s": 3,
        "late_after_reversal": "refused",
        "callbacks": "on",
        "challenge_ends": "cancelled",
    }
    assert answered(await acquirer.post("/authorizations", blocked))["decline_code"] == "reference_reversed"


@pytest.mark.parametrize(
    "members",
    [
        {"unknown": 1},
        {"idempotency": "sometimes"},
        {"idempotency": "0s"},
        {"idempotency": None},
        {"delay_ms": -1},
        {"delay_ms": 60_001},
        {"delay_ms": "5"},
        {"finality_s": 1.5},
        {"late_after_reversal": "maybe"},
        {"callbacks": "sometimes"},
        {"challenge_ends": "never"},
        {"delay_ms": 5, "unknown": 1},
        [],
    ],
)
async def test_a_bad_configuration_is_refused_whole(unmoved_acquirer: Acquirer, members: Any) -> None:
    before = answered(await unmoved_acquirer.client.get("/config"))
    assert before == {
        "idempotency": "honoured",
        "delay_ms": 0,
        "finality_s": 10,
        "late_after_reversal": "refused",
        "callbacks": "on",
        "challenge_ends": "cancelled",
    }
    response = await unmoved_acquirer.client.patch("/config", json=members)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert answered(await unmoved_acquirer.client.get("/config")) == before


async def test_the_log_has_every_request_in_order(acquirer: Acquirer) -> None:
    body = acquirer.authorization()
    for _ in range(2):
        await acquirer.post("/authorizations", body)
    await acquirer.inquire(body["reference"])
    reversal = await acquirer.reverse(body["reference"])
    await acquirer.post("/authorizations", body)
    logged = await acquirer.requests(payment_reference="pay_1")
    assert [(entry["operation"], entry["answer"]) for entry in logged] == [
        ("authorize", "200 approved"),
        ("authorize", "200 approved"),
        ("inquire", "200 approved"),
        ("reversal", "200 reversed"),
        ("authorize", "200 declined"),
    ]
    assert logged[0]["card"] == "424242******4242"
    assert (logged[3]["reference"], logged[3]["original_reference"]) == (
        reversal["reference"],
        body["reference"],
    )
    assert logged == sorted(logged, key=lambda entry: entry["received_at"])


async def test_no_card_number_and_no_cvc_is_kept(acquirer: Acquirer) -> None:
    declined = "4000000000000002"
    await acquirer.authorize(capture=True)
    await acquirer.authorize(number=declined, faults=["authorize:amount_mismatch"])
    malformed = {"reference": APPROVED_CARD, "payment_reference": APPROVED_CARD, "fault_scope": APPROVED_CARD}
    await acquirer.post("/authorizations", acquirer.authorization(**malformed, amount=0))
    await acquirer.post("/authorizations", {"card": APPROVED_CARD, APPROVED_CARD: "973"})
    await acquirer.stop()
    kept = b"".join(path.read_bytes() for path in acquirer.data.parent.iterdir())
    assert b"424242******4242" in kept
    for secret in (APPROVED_CARD, declined, '"973"', "cvc"):
        assert secret.encode() not in kept


async def test_pages_follow_each_other_without_gap(acquirer: Acquirer) -> None:
    for _ in range(5):
        await acquirer.authorize()
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    pages = 0
    has_more = True
    while has_more and pages < 5:
        body = answered(await acquirer.client.get("/ledger", params=query))
        seen += [entry["id"] for entry in body["entries"]]
        query["after"], has_more, pages = seen[-1], body["has_more"], pages + 1
    assert pages == 3
    assert seen == [entry["id"] for entry in await acquirer.ledger()]
    assert len(seen) == 5


@pytest.mark.parametrize(
    "query",
    ["after=1", "after=req_1", "limit=0", "limit=1001", "limit=x", "colour=red", "after=led_1&after=led_2"],
)
async def test_a_bad_query_is_refused(unmoved_acquirer: Acquirer, query: str) -> None:
    assert (await unmoved_acquirer.client.get(f"/ledger?{query}")).status_code == 400


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_although_requests_hang(acquirer: Acquirer, number: signal.Signals) -> None:
    hanging: list[dict[str, Any]] = [
        {"faults": ["authorize:timeout_after_charge"]},
        {"faults": ["authorize:slow:60000"], "fault_scope": "b"},
    ]
    senders = [
        asyncio.create_task(acquirer.post("/authorizations", acquirer.authorization(**more)))
        for more in hanging
    ]

    async def both_hang() -> bool:
        return len(await acquirer.requests()) == 2

    await eventually(both_hang)
    assert await acquirer.stop(number) == 0
    endings = await asyncio.gather(*senders, return_exceptions=True)
    assert [ending for ending in endings if not isinstance(ending, httpx.TransportError)] == []

"""What a second request with the same reference does, and what a reversal does to both."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from acquirer_process import Acquirer, answered, eventually


async def test_honoured_repeats_the_first_answer_and_moves_nothing(acquirer: Acquirer) -> None:
    body = acquirer.authorization(capture=True)
    answers = await asyncio.gather(*(acquirer.post("/authorizations", body) for _ in range(10)))
    assert len({answer.content for answer in answers}) == 1
    assert await acquirer.moved(body["reference"]) == ["authorize", "capture"]
    assert len(await acquirer.requests(reference=body["reference"])) == 10


async def test_honoured_repeats_a_decline(acquirer: Acquirer) -> None:
    body = acquirer.authorization(number="4000000000000002")
    first, second = [await acquirer.post("/authorizations", body) for _ in range(2)]
    assert first.content == second.content


async def test_honoured_refuses_the_reference_for_something_else(acquirer: Acquirer) -> None:
    first = await acquirer.authorize()
    response = await acquirer.post(
        "/authorizations", acquirer.authorization(reference=first["reference"], amount=5)
    )
    assert response.status_code == 400
    assert len(await acquirer.ledger()) == 1


@pytest.mark.parametrize("path", ["/captures", "/voids", "/refunds"])
async def test_ignored_moves_money_again(acquirer: Acquirer, path: str) -> None:
    await acquirer.configure(idempotency="ignored")
    authorization = (await acquirer.authorize())["id"]
    order = acquirer.order(authorization=authorization, **({"final": True} if path == "/captures" else {}))
    first, second = [answered(await acquirer.post(path, order)) for _ in range(2)]
    assert first["id"] != second["id"]
    assert len(await acquirer.moved(order["reference"])) == 2


async def test_a_window_honours_a_reference_until_it_ends(acquirer: Acquirer) -> None:
    await acquirer.configure(idempotency="1s")
    body = acquirer.authorization()
    first = answered(await acquirer.post("/authorizations", body))

    async def executed_again() -> bool:
        return bool(answered(await acquirer.post("/authorizations", body))["id"] != first["id"])

    await eventually(executed_again)
    first_entry, second_entry = await acquirer.ledger(reference=body["reference"])
    assert second_entry["created_at"][:19] > first_entry["created_at"][:19]


async def test_a_reversal_undoes_an_automatic_payment_once(acquirer: Acquirer) -> None:
    original = (await acquirer.authorize(capture=True))["reference"]
    reversals = [acquirer.reversal(original) for _ in range(5)]
    answers = await asyncio.gather(*(acquirer.post("/reversals", body) for body in reversals))
    statuses = Counter(answered(answer)["status"] for answer in answers)
    assert statuses == {"reversed": 1, "already_reversed": 4}
    entries = [entry for entry in await acquirer.ledger() if entry["operation"] == "reversal"]
    assert [entry["amount"] for entry in entries] == [1099]
    assert entries[0]["reference"] in {body["reference"] for body in reversals}
    assert answered(await acquirer.inquire(original))["status"] == "reversed"
    assert answered(await acquirer.inquire(entries[0]["reference"]))["status"] == "reversed"


async def test_a_reversal_of_nothing_blocks_a_late_arrival(acquirer: Acquirer) -> None:
    late = acquirer.authorization()
    reversal = await acquirer.reverse(late["reference"])
    assert (reversal["status"], reversal["amount"]) == ("nothing_to_reverse", None)
    assert (await acquirer.inquire(late["reference"])).status_code == 404
    answer = answered(await acquirer.post("/authorizations", late))
    assert (answer["status"], answer["decline_code"]) == ("declined", "reference_reversed")
    assert answered(await acquirer.inquire(late["reference"])) == answer
    assert await acquirer.ledger() == []


async def test_a_reversed_reference_is_refused_though_idempotency_is_honoured(acquirer: Acquirer) -> None:
    body = acquirer.authorization()
    await acquirer.post("/authorizations", body)
    await acquirer.reverse(body["reference"])
    assert answered(await acquirer.post("/authorizations", body))["decline_code"] == "reference_reversed"
    assert answered(await acquirer.inquire(body["reference"]))["status"] == "reversed"
    assert len(await acquirer.ledger()) == 2


async def test_accepted_executes_a_late_arrival_that_can_then_be_reversed(acquirer: Acquirer) -> None:
    await acquirer.configure(late_after_reversal="accepted")
    late = acquirer.authorization()
    assert (await acquirer.reverse(late["reference"]))["status"] == "nothing_to_reverse"
    assert answered(await acquirer.post("/authorizations", late))["status"] == "approved"
    assert answered(await acquirer.inquire(late["reference"]))["status"] == "approved"
    assert (await acquirer.reverse(late["reference"]))["status"] == "reversed"
    assert (await acquirer.reverse(late["reference"]))["status"] == "already_reversed"
    assert [entry["operation"] for entry in await acquirer.ledger()] == ["authorize", "reversal"]


async def test_accepted_executes_again_what_was_reversed_and_that_is_reversed_too(acquirer: Acquirer) -> None:
    await acquirer.configure(late_after_reversal="accepted")
    body = acquirer.authorization()
    first = answered(await acquirer.post("/authorizations", body))
    await acquirer.reverse(body["reference"])
    second = answered(await acquirer.post("/authorizations", body))
    assert (second["status"], second["id"] != first["id"]) == ("approved", True)
    assert answered(await acquirer.inquire(body["reference"])) == second
    assert (await acquirer.reverse(body["reference"]))["amount"] == 1099
    operations = [entry["operation"] for entry in await acquirer.ledger()]
    assert operations == ["authorize", "reversal", "authorize", "reversal"]


async def test_one_reversal_undoes_every_execution_of_a_reference(acquirer: Acquirer) -> None:
    await acquirer.configure(idempotency="ignored")
    body = acquirer.authorization()
    for _ in range(2):
        await acquirer.post("/authorizations", body)
    reversal = await acquirer.reverse(body["reference"])
    assert (reversal["status"], reversal["amount"]) == ("reversed", 2198)
    assert await acquirer.moved(reversal["reference"]) == ["reversal"]


async def test_a_declined_operation_has_nothing_to_reverse(acquirer: Acquirer) -> None:
    declined = await acquirer.authorize(number="4000000000000002")
    assert (await acquirer.reverse(declined["reference"]))["status"] == "nothing_to_reverse"


async def test_a_reversed_authorization_is_not_captured(acquirer: Acquirer) -> None:
    authorization = await acquirer.authorize()
    await acquirer.reverse(authorization["reference"])
    order = acquirer.order(authorization=authorization["id"], final=True)
    assert answered(await acquirer.post("/captures", order))["decline_code"] == "processing_error"


@pytest.mark.parametrize("path", ["/captures", "/refunds", "/voids"])
async def test_a_capture_refund_or_void_is_reversed_by_its_reference(acquirer: Acquirer, path: str) -> None:
    more: dict[str, Any] = {"final": True} if path == "/captures" else {}
    order = acquirer.order(authorization=(await acquirer.authorize())["id"], amount=7, **more)
    await acquirer.post(path, order)
    reversal = await acquirer.reverse(order["reference"])
    assert (reversal["status"], reversal["amount"], reversal["currency"]) == ("reversed", 7, "INR")
    assert reversal["original_reference"] == order["reference"]

"""What the merchant's side is told: signed, once more after a failure, and as configured."""

import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from acquirer_process import Acquirer, answered, eventually, eventually_is
from merchant_side import NO_ANSWER, merchant_side

from devstack.acquirer import callbacks, store


async def test_an_answer_of_the_customer_is_told_and_signed(acquirer: Acquirer) -> None:
    async with merchant_side() as merchant:
        order = await acquirer.ask_by_upi(callback_url=merchant.url)
        approved = answered(await acquirer.decide("approve"))
        await eventually(lambda: merchant.has(1))
    (body,) = merchant.bodies
    assert merchant.signatures_hold == [True]
    assert body.pop("id").startswith("cb_")
    assert body == {
        "type": "payment.updated",
        "created_at": approved["decided_at"],
        "reference": order["reference"],
        "payment_reference": "pay_1",
        "operation": "authorize",
        "status": "approved",
        "amount": 1099,
        "currency": "INR",
        "rrn": approved["rrn"],
    }


@pytest.mark.parametrize("decision", ["approve", "decline"])
async def test_a_wallets_answer_is_told_without_an_rrn(acquirer: Acquirer, decision: str) -> None:
    async with merchant_side() as merchant:
        await acquirer.ask_by_wallet(callback_url=merchant.url)
        await acquirer.decide(decision, rail="wallet")
        await eventually(lambda: merchant.has(1))
    assert merchant.statuses() == [{"approve": "approved", "decline": "declined"}[decision]]
    assert "rrn" not in merchant.bodies[0]


async def test_nobody_needs_to_ask_for_what_happens_by_itself(acquirer: Acquirer) -> None:
    async with merchant_side() as merchant:
        await acquirer.ask_by_upi(callback_url=merchant.url, sandbox_vpa="late@upi", window_s=1)
        await eventually(lambda: merchant.has(2))
    assert merchant.statuses() == ["expired", "approved"]
    assert len({body["id"] for body in merchant.bodies}) == 2


async def test_reordered_tells_of_the_late_success_before_the_expiry(acquirer: Acquirer) -> None:
    await acquirer.configure(callbacks="reordered")
    async with merchant_side() as merchant:
        await acquirer.ask_by_upi(callback_url=merchant.url, sandbox_vpa="late@upi", window_s=1)
        await eventually(lambda: merchant.has(2))
    assert merchant.statuses() == ["approved", "expired"]
    assert merchant.bodies[0]["created_at"] > merchant.bodies[1]["created_at"]


async def test_a_refused_or_unanswered_callback_is_sent_again_with_the_same_body(acquirer: Acquirer) -> None:
    async with merchant_side(500, NO_ANSWER, 204) as merchant:
        await acquirer.ask_by_upi(callback_url=merchant.url)
        await acquirer.decide("approve")
        await eventually(lambda: merchant.has(3), timeout_s=60.0)

        async def is_closed() -> bool:
            return (await acquirer.callbacks())[0]["outcome"] is not None

        await eventually(is_closed)
    (listed,) = await acquirer.callbacks(payment_reference="pay_1")
    assert (listed["outcome"], listed["attempts"], listed["last_answer"]) == ("delivered", 3, "204")
    assert merchant.bodies == [listed["body"]] * 3
    assert merchant.signatures_hold == [True] * 3


async def test_a_callback_that_nobody_took_is_sent_after_kill_9(acquirer: Acquirer) -> None:
    async with merchant_side(503) as merchant:
        await acquirer.ask_by_upi(callback_url=merchant.url)
        await acquirer.decide("approve")
        await eventually(lambda: merchant.has(1))
        await acquirer.stop(signal.SIGKILL)
        await acquirer.start()
        await eventually(lambda: merchant.has(2))
    assert merchant.bodies[0] == merchant.bodies[1]


async def test_duplicate_sends_each_twice(acquirer: Acquirer) -> None:
    await acquirer.configure(callbacks="duplicate")
    async with merchant_side() as merchant:
        await acquirer.ask_by_upi(callback_url=merchant.url)
        await acquirer.decide("approve")
        await eventually(lambda: merchant.has(2))
    assert merchant.bodies[0] == merchant.bodies[1]


async def test_off_sends_nothing_even_when_it_is_on_again(acquirer: Acquirer) -> None:
    await acquirer.configure(callbacks="off")
    async with merchant_side() as merchant:
        order = await acquirer.ask_by_upi(callback_url=merchant.url)
        await acquirer.decide("approve")

        async def was_silenced() -> bool:
            return [entry["outcome"] for entry in await acquirer.callbacks()] == ["off"]

        await eventually(was_silenced)
        await acquirer.configure(callbacks="on")
        await acquirer.ask_by_upi(callback_url=merchant.url, payment_reference="pay_2")
        await acquirer.decide("decline", payment="pay_2")
        await eventually(lambda: merchant.has(1))
    assert merchant.statuses() == ["declined"]
    assert await acquirer.status(order["reference"]) == "approved"


@pytest.mark.parametrize(
    ("sandbox_vpa", "status"), [("success@upi", "approved"), ("failure@upi", "declined")]
)
async def test_before_response_tells_the_outcome_before_the_order_is_answered(
    acquirer: Acquirer, sandbox_vpa: str, status: str
) -> None:
    await acquirer.configure(callbacks="before_response")
    async with merchant_side() as merchant:
        order = await acquirer.ask_by_upi(callback_url=merchant.url, sandbox_vpa=sandbox_vpa)
        assert merchant.statuses() == [status]
    assert order["status"] == "pending"
    assert await acquirer.status(order["reference"]) == status


async def test_what_becomes_of_a_card_by_itself_is_told_though_nobody_looks(acquirer: Acquirer) -> None:
    script = ["authorize:undo_capture:0", "authorize:redo_capture:1", "authorize:foreign_refund:5"]
    async with merchant_side() as merchant:
        authorization = await acquirer.authorize(capture=True, callback_url=merchant.url, faults=script)
        await eventually(lambda: merchant.has(3))
    undone = next(body for body in merchant.bodies if body["status"] == "undone")
    assert merchant.signatures_hold == [True] * 3
    assert undone.pop("id").startswith("cb_")
    assert undone == {
        "type": "operation.updated",
        "created_at": authorization["created_at"],
        "reference": authorization["reference"],
        "payment_reference": "pay_1",
        "operation": "authorize",
        "status": "undone",
        "amount": 1099,
        "currency": "INR",
    }
    assert sorted(merchant.statuses()) == ["foreign", "redone", "undone"]
    assert {body["reference"] for body in merchant.bodies} == {authorization["reference"]}


@pytest.mark.parametrize(
    ("path", "fault", "more"),
    [("/captures", "capture:undo_capture:0", {"final": True}), ("/refunds", "refund:undo_refund:0", {})],
)
async def test_a_later_operation_is_told_of_at_its_own_address_or_its_authorizations(
    acquirer: Acquirer, path: str, fault: str, more: dict[str, Any]
) -> None:
    async with merchant_side() as merchant, merchant_side() as own:
        authorization = (await acquirer.authorize(callback_url=merchant.url))["id"]
        for address in ({}, {"callback_url": own.url}):
            order = acquirer.order(authorization=authorization, faults=[fault], **more, **address)
            await acquirer.post(path, {**order, "fault_scope": order["reference"]})
            receiver = own if address else merchant
            await eventually(lambda receiver=receiver: receiver.has(1))
            assert receiver.bodies[0]["reference"] == order["reference"]
            assert receiver.bodies[0]["operation"] == path.removeprefix("/").removesuffix("s")


async def test_a_foreign_capture_is_told_about_the_authorization(acquirer: Acquirer) -> None:
    async with merchant_side() as merchant:
        answer = await acquirer.authorize(callback_url=merchant.url, faults=["authorize:foreign_capture"])
        await eventually(lambda: merchant.has(1))
    (body,) = merchant.bodies
    assert (body["reference"], body["operation"]) == (answer["reference"], "authorize")
    assert (body["status"], body["amount"]) == ("foreign", 1099)


async def test_a_rails_own_late_capture_is_told(acquirer: Acquirer) -> None:
    async with merchant_side() as merchant:
        await acquirer.ask_by_upi(
            callback_url=merchant.url, sandbox_vpa="success@upi", faults=["authorize:authorized_only"]
        )
        await eventually(lambda: merchant.has(2))
    assert [(body["type"], body["status"]) for body in merchant.bodies] == [
        ("payment.updated", "approved"),
        ("operation.updated", "captured"),
    ]


async def test_without_a_callback_url_nothing_is_sent(acquirer: Acquirer) -> None:
    order = await acquirer.ask_by_upi(sandbox_vpa="success@upi", faults=["authorize:undo_capture:0"])
    await eventually_is(acquirer, order["reference"], "approved")

    async def is_undone() -> bool:
        return "undo" in await acquirer.moved(order["reference"])

    await eventually(is_undone)
    assert await acquirer.callbacks() == []


async def test_an_unreachable_merchant_does_not_hold_up_another(acquirer: Acquirer) -> None:
    async with merchant_side(*[NO_ANSWER] * 3) as silent, merchant_side() as merchant:
        for number in range(3):
            payment = f"pay_{number}"
            await acquirer.ask_by_upi(callback_url=silent.url, payment_reference=payment)
            await acquirer.decide("approve", payment=payment)
        await eventually(lambda: silent.has(3))
        await acquirer.ask_by_upi(callback_url=merchant.url, payment_reference="pay_9")
        await acquirer.decide("approve", payment="pay_9")
        await eventually(lambda: merchant.has(1), timeout_s=4)  # sooner than the silent ones are given up


async def test_a_callback_is_dropped_after_its_last_retry(tmp_path: Path) -> None:
    db = store.opened(tmp_path / "acquirer.sqlite")
    now = datetime(2026, 3, 1, tzinfo=UTC)
    payment = {"callback_url": "http://merchant.test/", "reference": "r", "payment_reference": "p"}
    callbacks.queued(
        db, {**payment, "currency": "INR"}, status="approved", amount=1, rrn=None, at=now, send_at=now
    )
    waits = []
    while due := callbacks.due(db, now, limit=1):
        callbacks.tried(db, due[0].position, answer="500", delivered=False, now=now)
        row = db.execute("SELECT * FROM callbacks").fetchone()
        if row["next_attempt_at"] is not None:
            waits.append((datetime.fromisoformat(row["next_attempt_at"]) - now).total_seconds())
            now += timedelta(seconds=waits[-1])
    assert waits == [1, 2, 4, 8, 16]
    assert (row["outcome"], row["attempts"]) == ("dropped", 6)
    db.close()

"""What the merchant's side is told: signed, once more after a failure, and as configured."""

import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

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
        await eventually(lambda: merchant.has(3), timeout_s=20)

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


async def test_without_a_callback_url_nothing_is_sent(acquirer: Acquirer) -> None:
    order = await acquirer.ask_by_upi(sandbox_vpa="success@upi")
    await eventually_is(acquirer, order["reference"], "approved")
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

"""Customers who leave: a challenge is cancelled, or ends by itself."""

from datetime import datetime

import pytest
from acquirer_process import Acquirer, answered, eventually, eventually_is
from merchant_side import merchant_side


async def test_a_cancelled_customer_cannot_pay_any_more(acquirer: Acquirer) -> None:
    order = await acquirer.ask_by_upi()
    body = acquirer.reversal(order["reference"])
    answer = answered(await acquirer.post("/cancellations", body))
    assert (answer["status"], answer["operation"]) == ("cancelled", "cancellation")
    assert (answer["reference"], answer["original_reference"]) == (body["reference"], order["reference"])
    assert (await acquirer.decide("approve")).status_code == 409
    assert await acquirer.status(order["reference"]) == "reversed"
    assert await acquirer.ledger() == []
    logged = (await acquirer.requests(reference=body["reference"]))[0]
    assert (logged["operation"], logged["original_reference"]) == ("cancellation", order["reference"])
    assert logged["answer"] == "200 cancelled"


async def test_a_cancelled_reference_is_blocked_and_is_cancelled_again(acquirer: Acquirer) -> None:
    body = acquirer.upi_order()
    await acquirer.post("/upi/payments", body)
    for _ in range(2):
        assert answered(await acquirer.cancel(body["reference"]))["status"] == "cancelled"
    assert answered(await acquirer.post("/upi/payments", body))["decline_code"] == "reference_reversed"


async def test_what_was_to_succeed_late_does_not_after_a_cancellation(acquirer: Acquirer) -> None:
    late = await acquirer.ask_by_upi(sandbox_vpa="late@upi", window_s=1)
    await eventually_is(acquirer, late["reference"], "expired")
    assert answered(await acquirer.cancel(late["reference"]))["status"] == "cancelled"
    probe = await acquirer.ask_by_upi(payment_reference="pay_2", sandbox_vpa="late@upi", window_s=1)
    await eventually_is(acquirer, probe["reference"], "approved")  # so the late one's time is past, too
    assert await acquirer.moved(late["reference"]) == []


async def test_a_success_after_the_cancellation_counts_when_late_ones_are_accepted(
    acquirer: Acquirer,
) -> None:
    await acquirer.configure(late_after_reversal="accepted")
    order = await acquirer.ask_by_upi()
    assert answered(await acquirer.cancel(order["reference"]))["status"] == "cancelled"
    assert answered(await acquirer.decide("approve"))["status"] == "approved"
    assert answered(await acquirer.cancel(order["reference"]))["status"] == "decided"


@pytest.mark.parametrize("decision", ["approve", "decline"])
@pytest.mark.parametrize("challenge_ends", ["cancelled", "itself"])
async def test_what_is_decided_is_not_cancelled(
    acquirer: Acquirer, decision: str, challenge_ends: str
) -> None:
    await acquirer.configure(challenge_ends=challenge_ends)
    order = await acquirer.ask_by_wallet()
    await acquirer.decide(decision, rail="wallet")
    before = answered(await acquirer.inquire(order["reference"]))
    assert answered(await acquirer.cancel(order["reference"]))["status"] == "decided"
    assert answered(await acquirer.inquire(order["reference"])) == before


async def test_a_card_that_was_answered_or_reversed_is_decided(acquirer: Acquirer) -> None:
    reference = (await acquirer.authorize())["reference"]
    assert answered(await acquirer.cancel(reference))["status"] == "decided"
    await acquirer.reverse(reference)
    assert answered(await acquirer.cancel(reference))["status"] == "decided"


async def test_an_unknown_one_is_not_found_and_not_blocked(acquirer: Acquirer) -> None:
    body = acquirer.upi_order()
    response = await acquirer.cancel(body["reference"])
    assert (response.status_code, response.json()) == (404, {"error": "not_found"})
    assert answered(await acquirer.post("/upi/payments", body))["status"] == "pending"


async def test_a_cancellation_has_faults_and_its_repeat_says_the_same(acquirer: Acquirer) -> None:
    order = await acquirer.ask_by_upi()
    body = acquirer.reversal(order["reference"], faults=["cancel:error_after_charge"])
    assert (await acquirer.post("/cancellations", body)).status_code == 500
    assert answered(await acquirer.post("/cancellations", body))["status"] == "cancelled"


async def test_where_challenges_end_themselves_the_customer_may_still_pay(acquirer: Acquirer) -> None:
    await acquirer.configure(challenge_ends="itself")
    order = await acquirer.ask_by_upi()
    assert answered(await acquirer.cancel(order["reference"]))["status"] == "not_cancellable"
    assert answered(await acquirer.decide("approve"))["status"] == "approved"
    assert await acquirer.moved(order["reference"]) == ["authorize", "capture"]


@pytest.mark.parametrize("is_known_before", [True, False])
async def test_where_challenges_end_themselves_they_do_in_time_and_are_told(
    acquirer: Acquirer, is_known_before: bool
) -> None:
    if is_known_before:
        await acquirer.configure(challenge_ends="itself")
    async with merchant_side() as merchant:
        order = await acquirer.ask_by_wallet(window_s=1, callback_url=merchant.url)
        await acquirer.configure(challenge_ends="itself")
        await eventually(lambda: merchant.has(1))
    assert merchant.statuses() == ["expired"]
    assert merchant.bodies[0]["created_at"] >= order["expires_at"]
    assert await acquirer.status(order["reference"]) == "expired"
    assert (await acquirer.decide("approve", rail="wallet")).status_code == 409
    assert await acquirer.ledger() == []


async def test_one_that_ends_itself_ends_at_its_time_though_nobody_is_there(acquirer: Acquirer) -> None:
    await acquirer.configure(challenge_ends="itself")
    await acquirer.ask_by_upi(window_s=1, callback_url="http://127.0.0.1:9/")

    async def has_ended() -> bool:
        return len(await acquirer.callbacks()) == 1

    await eventually(has_ended)
    (callback,) = await acquirer.callbacks()
    order = callback["body"]
    shown = answered(await acquirer.inquire(order["reference"]))
    assert datetime.fromisoformat(order["created_at"]) == datetime.fromisoformat(shown["expires_at"])


async def test_what_was_configured_meanwhile_does_not_end_what_waits(acquirer: Acquirer) -> None:
    order = await acquirer.ask_by_upi(window_s=3)
    for challenge_ends in ("itself", "cancelled"):
        await acquirer.configure(challenge_ends=challenge_ends)
    probe = await acquirer.ask_by_upi(payment_reference="pay_2", sandbox_vpa="late@upi", window_s=3)
    await eventually_is(acquirer, probe["reference"], "expired")  # so the other's window is past, too
    assert await acquirer.status(order["reference"]) == "pending"

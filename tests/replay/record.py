"""`python -m tests.replay.record [NAME…]`: records the histories that are replayed in CI, from real servers.

Run it after a change to a workflow that is meant to change histories; before a release, keep the old files of
every branch behind `workflow.patched` under names of their own.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.service import RPCError

from devstack.stack import INFRASTRUCTURE, PRODUCT, DevStack
from payonce.domain.facts import Approved, Stage
from payonce.domain.ids import attempt_reference
from payonce.domain.operations import Subject
from payonce.runtime import open_runtime
from tests.acquirer.acquirer_process import Acquirer
from tests.e2e.merchant import answered, merchant_with
from tests.replay.histories import CARD, FOLDER, NAMES, path_of
from tests.replay.process import process_without_workflows, settings_of
from tests.replay.recorder import UNTIL_DONE_S, Recorder
from tests.support.eventually import eventually
from tests.support.servers import ACQUIRER_KEY, running
from tests.webhooks.receiver import receiving, status
from workers.reconciliation import SCHEDULE_ID

VALIDITY_S = 4
UPDATES_MAX = 4  # of a short run
CHALLENGED, SOFTLY_DECLINED = "4000002500003155", "4000000000003121"


async def automatic(recorder: Recorder) -> None:
    await recorder.keep("automatic", (await recorder.pay())["id"])


async def declined(recorder: Recorder) -> None:
    method = {"type": "card", "card": {**CARD, "number": "4000000000009995"}}
    await recorder.keep("declined", (await recorder.pay(method=method))["id"])


async def manual_with_two_captures(recorder: Recorder) -> None:
    payment = await recorder.pay(capture_method="manual")
    await recorder.shop.captured(payment, amount=500, final=False)
    await recorder.shop.captured(payment)
    await recorder.keep("manual_with_two_captures", payment["id"])


async def void(recorder: Recorder) -> None:
    payment = await recorder.pay(capture_method="manual")
    await recorder.shop.voided(payment)
    await recorder.keep("void", payment["id"])


async def review_ended_by_a_fact(recorder: Recorder) -> None:
    """The acquirer takes the capture back, and makes it again while a person is called."""
    payment = await recorder.pay(fault="undo_capture:1,redo_capture:5")
    query = f"WorkflowType = 'ReviewWorkflow' AND PaymentId = '{payment['id']}'"
    started = await eventually(lambda: recorder.listed(query), UNTIL_DONE_S)
    assert started is not None
    await recorder.keep("review_ended_by_a_fact", started)


async def refund(recorder: Recorder) -> None:
    refund = await recorder.shop.refunded(await recorder.pay(), amount=99)
    await recorder.keep("refund", refund["id"])


async def dispute_accepted(recorder: Recorder) -> None:
    """The first request does not arrive, which is certain after a while; the second one does."""
    payment = await recorder.pay(fault="dispute:fraudulent,accept:error_before_charge")
    found = await eventually(lambda: recorder.disputed(payment), UNTIL_DONE_S)
    answered(await recorder.shop.post(f"/v1/disputes/{found}/accept"), 202)
    query = f"WorkflowType = 'AcceptanceWorkflow' AND PaymentId = '{payment['id']}'"
    started = await eventually(lambda: recorder.listed(query), UNTIL_DONE_S)
    assert started is not None
    await recorder.keep("dispute_accepted", started)


async def unknown_outcome_found(recorder: Recorder) -> None:
    payment = await recorder.pay(fault="error_after_charge")
    await recorder.settled(payment, "captured")
    await recorder.keep("unknown_outcome_found", payment["id"])


async def unknown_outcome_not_found(recorder: Recorder) -> None:
    payment = await recorder.pay(fault="timeout_before_charge")
    await recorder.settled(payment, "failed")
    await recorder.keep("unknown_outcome_not_found", payment["id"])


async def unknown_capture_found(recorder: Recorder) -> None:
    payment = await recorder.pay(fault="capture:error_after_charge", capture_method="manual")
    answered(await recorder.shop.capture(payment), 202)
    await recorder.settled(payment, "captured")
    await recorder.keep("unknown_capture_found", payment["id"])


async def amount_mismatch_reversed(recorder: Recorder) -> None:
    payment = await recorder.pay(fault="amount_mismatch")
    await recorder.settled(payment, "failed")
    await recorder.keep("amount_mismatch_reversed", payment["id"])


async def authorized_then_captured(recorder: Recorder) -> None:
    """An automatic payment that was found authorized, and a capture of our own whose outcome was unknown first."""
    payment = await recorder.pay(fault="authorized_only,capture:error_after_charge")
    await recorder.settled(payment, "captured")
    await recorder.keep("authorized_then_captured", payment["id"])


async def authorized_then_released(recorder: Recorder) -> None:
    """… and one whose capture was refused: a void of our own followed."""
    payment = await recorder.pay(fault="authorized_only,capture:refuse:/amount")
    await recorder.becomes(payment, "voided")
    await recorder.keep("authorized_then_released", payment["id"])


async def resumed_after_terminate(recorder: Recorder) -> None:
    """The second run, which loads everything from Postgres and carries the capture on."""
    payment = await recorder.pay(capture_method="manual")
    await recorder.temporal.get_workflow_handle(payment["id"]).terminate("recorded")
    answered(await recorder.shop.capture(payment), 200)
    await recorder.keep("resumed_after_terminate", payment["id"])


async def takeover_sent_by_the_owner(recorder: Recorder) -> None:
    """Another process ran the task; the one that holds the card was asked through its own queue, and sent."""
    async with process_without_workflows(recorder.stack, answers=True) as process:
        payment_id = await process.create()
        await recorder.settled({"id": payment_id}, "captured")
    await recorder.keep("takeover_sent_by_the_owner", payment_id)


async def takeover_without_the_owner(recorder: Recorder) -> None:
    """The process that holds the card never answered: inquired about, reversed, failed with `card_data_lost`."""
    async with process_without_workflows(recorder.stack, answers=False) as process:
        payment_id = await process.create()
        payment = await recorder.settled({"id": payment_id}, "failed")
    assert payment["last_error"]["code"] == "card_data_lost", payment
    await recorder.keep("takeover_without_the_owner", payment_id)


async def late_success_reversed(recorder: Recorder) -> None:
    payment = await recorder.pay(fault="timeout_before_charge")
    await recorder.settled(payment, "failed")
    async with open_runtime(settings_of(recorder.stack)) as runtime:
        late = Approved("late-1", payment["amount"], payment["currency"], stage=Stage.CAPTURED)
        await runtime.recorder.record(Subject(payment["id"], payment["id"]), attempt=1, fact=late)
        reversal_id = runtime.ids.reversal(reference=attempt_reference(payment["id"], 1))
    await eventually(lambda: started(recorder.temporal, reversal_id))
    await recorder.keep("late_success_reversed", reversal_id)


async def customer_paid(recorder: Recorder) -> None:
    """The acquirer spoke, and was asked."""
    payment = await recorder.ask("success@upi")
    await recorder.becomes(payment, "captured")
    await recorder.keep("customer_paid", payment["id"])


async def customer_declined(recorder: Recorder) -> None:
    payment = await recorder.ask("failure@upi")
    await recorder.becomes(payment, "failed")
    await recorder.keep("customer_declined", payment["id"])


async def customer_never_asked_again(recorder: Recorder) -> None:
    """The window passed without a definite answer; the customer paid while it was `processing`."""
    payment = await recorder.ask("pending@upi")
    await recorder.becomes(payment, "processing")
    await recorder.decide(payment)
    await recorder.becomes(payment, "captured")
    await recorder.keep("customer_never_asked_again", payment["id"])


async def customer_abandoned(recorder: Recorder) -> None:
    payment = await recorder.ask("pending@upi")
    await recorder.shop.voided(payment)
    await recorder.keep("customer_abandoned", payment["id"])


async def customer_paid_after_the_void(recorder: Recorder) -> None:
    """The acquirer did not get the cancellation; what was paid meanwhile is refunded, and the void ends with that."""
    payment = await recorder.ask("pending@upi", fault="cancel:timeout_before_charge")
    async with asyncio.TaskGroup() as group:
        group.create_task(recorder.shop.void(payment))
        await recorder.is_pending(payment)
        await recorder.decide(payment)
    await recorder.becomes(payment, "refunded")
    await recorder.keep("customer_paid_after_the_void", payment["id"])


async def customer_left_alone(recorder: Recorder) -> None:
    """Nobody acted on the wallet's page: cancelled by us."""
    payment = await recorder.ask(method={"type": "wallet", "wallet": {"provider": "paytm"}})
    await recorder.becomes(payment, "failed", within_s=2 * UNTIL_DONE_S)
    await recorder.keep("customer_left_alone", payment["id"])


async def customer_expired_and_paid(recorder: Recorder) -> None:
    """The rail said `expired`, was watched, and approved it after all."""
    payment = await recorder.ask("late@upi")
    await recorder.becomes(payment, "failed")
    await recorder.keep("customer_expired_and_paid", payment["id"])
    await recorder.keep("customer_heard_of_late", await recorder.heard_of(payment))


async def challenge_passed(recorder: Recorder) -> None:
    """The cardholder passed, and came back by our page."""
    payment = await recorder.challenged(CHALLENGED)
    await recorder.come_back(payment)
    await recorder.becomes(payment, "captured")
    await recorder.keep("challenge_passed", payment["id"])


async def soft_decline_stepped_up(recorder: Recorder) -> None:
    """The issuer wanted a challenge, which the second attempt forced."""
    payment = await recorder.challenged(SOFTLY_DECLINED)
    await recorder.come_back(payment)
    await recorder.becomes(payment, "captured")
    await recorder.keep("soft_decline_stepped_up", payment["id"])


async def challenge_by_a_leg(recorder: Recorder) -> None:
    """What the cardholder brought back was sent by a second leg, which took the money."""
    payment = await recorder.challenged(CHALLENGED)
    await recorder.come_back(payment)
    await recorder.becomes(payment, "captured")
    await recorder.keep("challenge_by_a_leg", payment["id"])


async def callback_heard_again(recorder: Recorder) -> None:
    """The acquirer speaks of a decided payment, and again while it is asked."""
    payment = await recorder.pay(fault="inquire:slow:4000")
    await recorder.spoken_of(payment, "first")
    started = await recorder.heard_of(payment)
    await recorder.spoken_of(payment, "second")
    await recorder.keep("callback_heard_again", started)


async def expiry(recorder: Recorder) -> None:
    payment = await recorder.pay(capture_method="manual")
    await recorder.settled(payment, "authorized")
    await recorder.keep("expiry", payment["id"])


async def began_anew(recorder: Recorder) -> None:
    """A run that has had all its updates but one, and the one that follows it."""
    payment = await recorder.pay(capture_method="manual")
    first = await recorder.temporal.get_workflow_handle(payment["id"]).describe()
    for _ in range(UPDATES_MAX):
        await recorder.shop.captured(payment, amount=100, final=False)
    await recorder.shop.captured(payment)
    await recorder.keep("began_anew", payment["id"], run_id=first.run_id)
    await recorder.keep("followed_a_long_run", payment["id"])


async def webhook_delivered(recorder: Recorder) -> None:
    """A delivery whose first two attempts fail: the second one is the workflow's."""
    async with receiving(answers=[status(500)]) as receiver:
        endpoint = await recorder.endpoint(receiver.url, "payment.captured")
        await recorder.pay()
        delivery = await recorder.failed_delivery(endpoint)
        await recorder.keep("webhook_delivered", delivery)
        await recorder.shop.client.delete(f"/v1/webhook_endpoints/{endpoint}")


async def webhook_dropped(recorder: Recorder) -> None:
    """A delivery whose endpoint was disabled before the retry."""
    async with receiving(otherwise=status(500)) as receiver:
        endpoint = await recorder.endpoint(receiver.url, "payment.captured")
        await recorder.pay()
        delivery = await recorder.failed_delivery(endpoint)
        path = f"/v1/webhook_endpoints/{endpoint}"
        (await recorder.shop.client.patch(path, json={"enabled": False})).raise_for_status()
        await recorder.keep("webhook_dropped", delivery)


async def webhook_recovered(recorder: Recorder) -> None:
    """A job that first waits for the newest events to settle."""
    async with receiving() as receiver:
        endpoint = await recorder.endpoint(receiver.url, "payment.voided")
        payment = await recorder.pay(capture_method="manual")
        path = f"/v1/webhook_endpoints/{endpoint}"
        (await recorder.shop.client.patch(path, json={"events": ["payment.authorized"]})).raise_for_status()
        answer = await recorder.shop.post(f"{path}/recover", {"since": payment["created_at"]})
        job = answered(answer, 202)
        assert job["count"] >= 1, job
        await recorder.keep("webhook_recovered", answer.headers["location"].rpartition("/")[2])
        await recorder.shop.client.delete(path)


async def reconciled(recorder: Recorder) -> None:
    """A run as the Schedule begins it, which finds a payment as it is recorded."""
    await recorder.settled(await recorder.pay(), "captured")

    async def begun() -> str | None:
        try:
            await recorder.temporal.get_schedule_handle(SCHEDULE_ID).trigger()
        except RPCError:  # no process has made the Schedule yet
            return None
        return await recorder.listed("WorkflowType = 'ReconciliationWorkflow'")

    await recorder.keep("reconciled", str(await eventually(begun, UNTIL_DONE_S)))


async def started(temporal: Client, workflow_id: str) -> bool:
    """Whether the workflow is there."""
    found = [one.id async for one in temporal.list_workflows(f"WorkflowId = '{workflow_id}'")]
    return bool(found)


Scenario = Callable[[Recorder], Coroutine[Any, Any, None]]
SCENARIOS: tuple[Scenario, ...] = (
    automatic,
    declined,
    manual_with_two_captures,
    void,
    refund,
    dispute_accepted,
    unknown_outcome_found,
    unknown_outcome_not_found,
    unknown_capture_found,
    amount_mismatch_reversed,
    authorized_then_captured,
    authorized_then_released,
    resumed_after_terminate,
    takeover_sent_by_the_owner,
    takeover_without_the_owner,
    late_success_reversed,
    webhook_delivered,
    webhook_dropped,
    webhook_recovered,
    customer_paid,
    customer_declined,
    customer_never_asked_again,
    customer_abandoned,
    customer_paid_after_the_void,
    customer_left_alone,
    customer_expired_and_paid,
    callback_heard_again,
    review_ended_by_a_fact,
    reconciled,
    challenge_passed,
    soft_decline_stepped_up,
)
SCENARIOS_OF_SHORT_RUNS: tuple[Scenario, ...] = (began_anew,)
SHORT_RUNS = {"history.maxTotalUpdates": UPDATES_MAX}


async def record_all() -> None:
    """Every history is new."""
    FOLDER.mkdir(exist_ok=True)
    async with running() as stack:
        await record(stack, *SCENARIOS)
    async with running(temporal_settings=SHORT_RUNS) as stack:
        await record(stack, *SCENARIOS_OF_SHORT_RUNS)
    await record_beside(expiry, "--authorization-validity-s", str(VALIDITY_S))
    await record_by_legs()


async def record_by_legs() -> None:
    """With an account at which a second leg moves the money."""
    await record_beside(challenge_by_a_leg, completes="resume")


async def record_beside(scenario: Scenario, *arguments: str, **options: str) -> None:
    """Beside an acquirer of its own, started with these arguments; cards go to an account with these options."""
    with tempfile.TemporaryDirectory() as directory:
        acquirer = Acquirer(Path(directory) / "ledger.sqlite", arguments)
        try:
            await acquirer.start()
            parts = [part for part in (*INFRASTRUCTURE, *PRODUCT) if part != "acquirer"]
            url = str(acquirer.client.base_url)
            account = {
                **{"id": "recorded", "connector": "sandbox_card", "mode": "test"},
                **{"base_url": url, "key": ACQUIRER_KEY, "options": options},
            }
            async with running(
                *parts,
                environ={"PAYONCE_SANDBOX_ACQUIRER_URL": url},
                product_environ={"PAYONCE_CONNECTOR_ACCOUNTS": json.dumps([account])} if options else {},
            ) as stack:
                await record(stack, scenario)
        finally:
            await acquirer.close()


async def record(stack: DevStack, *scenarios: Scenario) -> None:
    """The scenarios' histories are recorded, all at once."""
    temporal = await Client.connect(stack.temporal_address)
    async with merchant_with(stack.api_url, stack.api_key) as shop:
        recorder = Recorder(stack, shop, temporal)
        async with asyncio.TaskGroup() as group:
            for scenario in scenarios:
                group.create_task(scenario(recorder))


async def record_some(names: set[str]) -> None:
    """The histories of the scenarios with these names are new."""
    for settings, scenarios in (({}, SCENARIOS), (SHORT_RUNS, SCENARIOS_OF_SHORT_RUNS)):
        if chosen := [scenario for scenario in scenarios if scenario.__name__ in names]:
            async with running(temporal_settings=settings) as stack:
                await record(stack, *chosen)
    if challenge_by_a_leg.__name__ in names:
        await record_by_legs()


def main() -> None:
    if names := set(sys.argv[1:]):
        asyncio.run(record_some(names))
        return
    before = {name: path_of(name).stat().st_mtime_ns for name in NAMES if path_of(name).exists()}
    asyncio.run(record_all())
    missing = [name for name in NAMES if not path_of(name).exists()]
    stale = [name for name, at in before.items() if path_of(name).stat().st_mtime_ns == at]
    if missing or stale:
        sys.exit(f"not recorded: {', '.join(missing + stale)}")


if __name__ == "__main__":
    main()

"""What operators see of a payment in Temporal: its id, a summary, search attributes, details in words, no card."""

import json

import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client, WorkflowExecutionStatus

from devstack.stack import DevStack
from tests.e2e.merchant import Body, Merchant, answered, card
from tests.replay.histories import CARD, card_data
from tests.support.eventually import eventually

NAMES = {
    *("MerchantId", "PaymentId", "PaymentStatus", "Connector", "PaymentMethod", "Currency", "AmountMinor"),
}


@pytest.fixture(scope="module")
async def temporal(stack: DevStack) -> Client:
    return await Client.connect(stack.temporal_address)


async def attributes(temporal: Client, workflow_id: str) -> Body:
    """Our search attributes of the workflow."""
    described = await temporal.get_workflow_handle(workflow_id).describe()
    pairs = {pair.key.name: pair.value for pair in described.typed_search_attributes}
    return {name: value for name, value in pairs.items() if name in NAMES}


async def details(temporal: Client, workflow_id: str) -> str:
    """The current details, as the Web UI asks for them."""
    handle = temporal.get_workflow_handle(workflow_id)
    metadata: WorkflowMetadata = await handle.query(
        "__temporal_workflow_metadata", result_type=WorkflowMetadata
    )
    return metadata.current_details


async def found(temporal: Client, query: str) -> set[str]:
    """The ids of the workflows that the query lists."""
    return {execution.id async for execution in temporal.list_workflows(query)}


async def test_a_payments_workflow_has_its_id_and_says_what_it_is(shop: Merchant, temporal: Client) -> None:
    payment = await shop.paid()

    async def ended() -> bool:
        described = await temporal.get_workflow_handle(payment["id"]).describe()
        return described.status is WorkflowExecutionStatus.COMPLETED

    await eventually(ended)
    described = await temporal.get_workflow_handle(payment["id"]).describe()
    assert described.workflow_type == "PaymentWorkflow"
    assert await described.static_summary() == "10.99 INR by card, automatic capture"
    assert await details(temporal, payment["id"]) == "**captured**"


async def test_a_payment_is_found_by_every_search_attribute(shop: Merchant, temporal: Client) -> None:
    payment = await shop.authorized(amount=2_500)

    async def shown() -> Body:
        now = await attributes(temporal, payment["id"])
        assert now["PaymentStatus"] == "authorized"
        return now

    now = await eventually(shown)
    assert now.keys() == NAMES
    assert now["PaymentId"] == payment["id"]
    assert (now["Connector"], now["PaymentMethod"]) == ("sandbox_card", "card")
    assert (now["Currency"], now["AmountMinor"]) == ("INR", 2_500)
    query = " AND ".join(
        f"{name} = {json.dumps(value).replace(chr(34), chr(39))}" for name, value in now.items()
    )

    async def listed() -> bool:
        return await found(temporal, query) == {payment["id"]}

    await eventually(listed)


async def test_an_open_authorization_says_until_when_it_waits(shop: Merchant, temporal: Client) -> None:
    payment = await shop.authorized()
    await shop.captured(payment, amount=500, final=False)

    async def waits() -> str:
        text = await details(temporal, payment["id"])
        assert text.startswith("**partially_captured**")
        return text

    text = await eventually(waits)
    assert f"Waiting for a capture or a void until {payment['capture_before'][:10]}" in text


async def test_an_unknown_outcome_is_found_as_processing_and_says_what_is_done(
    shop: Merchant, temporal: Client
) -> None:
    fault = {"sandbox_fault": "error_after_charge,inquire:error_after_charge"}
    payment = answered(await shop.pay(metadata=fault), 202)
    query = f"PaymentStatus = 'processing' AND PaymentId = '{payment['id']}'"

    async def listed() -> bool:
        return payment["id"] in await found(temporal, query)

    await eventually(listed)
    text = await details(temporal, payment["id"])
    assert text.startswith("**processing**\n\nWaiting for inquiry ")
    assert " about the authorization: " in text
    await shop.settled(payment)

    async def captured() -> bool:
        return bool((await attributes(temporal, payment["id"]))["PaymentStatus"] == "captured")

    await eventually(captured)


async def test_a_payment_that_waits_for_its_customer_says_so_and_until_when(
    shop: Merchant, temporal: Client
) -> None:
    payment = await shop.paid(payment_method={"type": "upi", "upi": {"flow": "intent"}})
    until = payment["next_action"]["expires_at"]
    day = f"WaitingUntil > '{until[:10]}T00:00:00Z'"
    query = f"PaymentStatus = 'requires_action' AND {day} AND PaymentId = '{payment['id']}'"

    async def listed() -> bool:
        return payment["id"] in await found(temporal, query)

    await eventually(listed)
    text = await details(temporal, payment["id"])
    assert text.startswith(f"**requires_action**\n\nWaiting for the customer until {until[:19]}")
    await shop.voided(payment)

    async def left() -> bool:
        described = await temporal.get_workflow_handle(payment["id"]).describe()
        now = {pair.key.name: pair.value for pair in described.typed_search_attributes}
        return now["PaymentStatus"] == "voided" and "WaitingUntil" not in now

    await eventually(left)


async def test_a_customer_who_pays_after_an_operator_terminated_the_workflow_has_paid(
    shop: Merchant, temporal: Client
) -> None:
    """What the acquirer says is followed up by a workflow of its own."""
    payment = await shop.paid(payment_method={"type": "upi", "upi": {"flow": "intent"}})
    await temporal.get_workflow_handle(payment["id"]).terminate("by mistake")
    async with httpx.AsyncClient(trust_env=False, timeout=60) as customer:
        page = payment["next_action"]["sandbox_url"]
        answer = await customer.post(
            page, data={"decision": "approve"}, headers={"Accept": "application/json"}
        )
        answer.raise_for_status()

    async def captured() -> bool:
        return bool((await shop.payment(payment))["status"] == "captured")

    await eventually(captured)
    query = f"WorkflowType = 'CallbackWorkflow' AND PaymentId = '{payment['id']}'"

    async def listed() -> bool:
        return bool(await found(temporal, query))

    await eventually(listed)


async def test_a_refunds_workflow_has_its_id_and_names_its_payment(shop: Merchant, temporal: Client) -> None:
    payment = await shop.paid()
    refund = await shop.refunded(payment, amount=99)
    described = await temporal.get_workflow_handle(refund["id"]).describe()
    assert described.workflow_type == "RefundWorkflow"
    assert await described.static_summary() == f"Refund of 0.99 INR, {payment['id']}"
    assert (await attributes(temporal, refund["id"]))["PaymentId"] == payment["id"]


async def test_a_review_is_found_by_its_reason_and_says_what_to_type(
    shop: Merchant, temporal: Client
) -> None:
    """The acquirer takes the capture back: the payment is open again, and a person must decide."""
    payment = await shop.paid(metadata={"sandbox_fault": "undo_capture:1"})
    query = f"ReviewReason = 'undone' AND ExecutionStatus = 'Running' AND PaymentId = '{payment['id']}'"

    async def listed() -> set[str]:
        return await found(temporal, query)

    (review,) = await eventually(listed, timeout_s=60.0)
    described = await temporal.get_workflow_handle(review).describe()
    assert described.workflow_type == "ReviewWorkflow"
    summary = f"In review: capture of 10.99 INR, {payment['id']}: the acquirer took it back"
    assert await described.static_summary() == summary
    values = {pair.key.name: pair.value for pair in described.typed_search_attributes}
    assert (values["MerchantId"], values["Connector"], values["Currency"], values["AmountMinor"]) == (
        (await attributes(temporal, payment["id"]))["MerchantId"],
        "sandbox_card",
        "INR",
        1_099,
    )

    async def shown() -> str:
        text = await details(temporal, review)
        assert text.startswith("In **review** (undone): the acquirer took it back.")
        return text

    text = await eventually(shown)
    operation_id = review.removeprefix("review-")
    assert f"payonce review show {payment['id']}" in text
    assert f'payonce review decide {operation_id} <verdict> --why "…"' in text
    assert "- `undone`: " in text
    since = (await shop.payment(payment))["review"]["since"]
    assert f"Since {since[:19]}" in text

    async def runs_again() -> bool:
        latest = await temporal.get_workflow_handle(payment["id"]).describe()
        return latest.status is WorkflowExecutionStatus.RUNNING

    await eventually(runs_again)


async def test_a_review_that_a_fact_ends_is_found_no_more_and_one_that_was_terminated_is_shown_again(
    shop: Merchant, temporal: Client
) -> None:
    payment = await shop.paid(metadata={"sandbox_fault": "undo_capture:1,redo_capture:20"})
    query = (
        f"WorkflowType = 'ReviewWorkflow' AND ExecutionStatus = 'Running' AND PaymentId = '{payment['id']}'"
    )

    async def listed() -> set[str]:
        return await found(temporal, query)

    (review,) = await eventually(listed, timeout_s=60.0)
    first = await temporal.get_workflow_handle(review).describe()
    await temporal.get_workflow_handle(review).terminate("by mistake")

    async def ended() -> bool:
        latest = await temporal.get_workflow_handle(review).describe()
        assert latest.run_id != first.run_id
        return latest.status is WorkflowExecutionStatus.COMPLETED

    await eventually(ended, timeout_s=60)
    assert await temporal.get_workflow_handle(review).result() == "fact"
    now = await shop.payment(payment)
    assert (now["status"], now["review"]) == ("captured", None)


@pytest.mark.parametrize("capture_method", ["automatic", "manual"])
async def test_no_history_and_no_description_holds_card_data(
    shop: Merchant, temporal: Client, capture_method: str
) -> None:
    method = {"type": "card", "card": CARD}
    payment = await shop.paid(payment_method=method, capture_method=capture_method)
    failed = (await shop.pay(payment_method=card("4000000000000002", cvc=CARD["cvc"]))).json()["payment"]
    for workflow_id in (payment["id"], failed["id"]):
        handle = temporal.get_workflow_handle(workflow_id)
        history = await handle.fetch_history()
        assert list(card_data(json.loads(history.to_json()))) == []
        described = await handle.describe()
        assert list(card_data(MessageToDict(described.raw_description))) == []
        assert "4000000000000002" not in history.to_json()

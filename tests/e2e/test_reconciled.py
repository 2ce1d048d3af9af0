"""What somebody did at the acquirer, and nobody told, is found by the command and by the Schedule."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client

from devstack import razorpay_account, stripe_account
from devstack.stack import DevStack
from tests.e2e.merchant import Body, Merchant, answered
from tests.e2e.test_disputes_elsewhere import Bank, moved, paid
from tests.support.eventually import eventually
from tests.support.forks import ran
from tests.support.witness import Witness
from workers.reconciliation import SCHEDULE_ID

WITHIN_S = 180.0  # other acquirers' lists may lag by a minute
EVERY_S = 4.0  # a run costs a second of CPU, and each that comes too early is one more beside other tests


@pytest.fixture
async def heard_again(witness: Witness) -> AsyncIterator[None]:
    """Whatever a test does to callbacks."""
    yield
    await witness.configure(callbacks="on")


@pytest.fixture
async def silent(witness: Witness, heard_again: None) -> None:
    """The acquirer tells nothing."""
    await witness.configure(callbacks="off")


async def refunded_there(witness: Witness, payment_id: str, amount: int) -> None:
    """In the acquirer's dashboard."""
    asked = {"payment_reference": payment_id, "what": "refund", "amount": amount}
    (await witness.client.post("/dashboard", json=asked)).raise_for_status()


async def reconciled(stack: DevStack, account: str) -> str:
    command = ("tests.support.command", "reconcile", "run", "--account", account)
    ended = await ran(*command, environ=stack.product_environ(), within_s=WITHIN_S)
    assert ended.status == 0, ended.error
    return ended.out


@pytest.mark.parametrize(
    ("by", "account", "at"),
    [
        ("command", "sandbox_card", {}),
        ("schedule", "sandbox_card", {}),
        ("command", stripe_account.ACCOUNT_ID, {"metadata": {"sandbox_account": "stripe"}}),
    ],
)
async def test_a_refund_of_which_nobody_told_is_known_after_a_run(
    by: str, account: str, at: Body, stack: DevStack, shop: Merchant, witness: Witness, silent: None
) -> None:
    payment = await shop.paid(**at)
    await refunded_there(witness, payment["id"], 400)
    assert ("refund", 400) in await witness.movements(payment["id"])
    assert (await shop.payment(payment))["amount_refunded"] == 0  # as it stays without reconciliation
    temporal = await Client.connect(stack.temporal_address)

    async def known() -> bool:
        if by == "command":
            await reconciled(stack, account)
        else:
            await temporal.get_schedule_handle(SCHEDULE_ID).trigger()
        await asyncio.sleep(EVERY_S)
        return bool((await shop.payment(payment))["amount_refunded"] == 400)

    async def settled() -> Body:
        listed = answered(await shop.get("/v1/reconciliation", result="amount", limit=100), 200)["data"]
        (found,) = [one for one in listed if one["payment"] == payment["id"]]
        return found if found["settled_by"] else {}

    await eventually(known, WITHIN_S)  # once the refund is final
    found = await eventually(settled, WITHIN_S)
    assert (found["amount_here"], found["amount_there"]) == (0, 400)
    assert found["settled_by"].startswith("re_")


@pytest.mark.parametrize(
    ("account", "named"),
    [("sandbox_card", ""), (stripe_account.ACCOUNT_ID, "stripe"), (razorpay_account.ACCOUNT_ID, "razorpay")],
)
async def test_a_dispute_of_which_nobody_told_is_known_after_a_run(
    account: str, named: str, stack: DevStack, shop: Merchant, witness: Witness, heard_again: None
) -> None:
    payment = await paid(shop, named) if named else await shop.paid()
    await witness.configure(callbacks="off")
    bank = Bank(witness)
    at_acquirer = await bank.disputes(payment)
    assert ("dispute", 1099) in await moved(witness, payment)
    assert (await shop.payment(payment))["amount_refundable"] == 1099  # as it stays without reconciliation

    async def shown(**members: object) -> bool:
        await reconciled(stack, account)
        await asyncio.sleep(EVERY_S)
        listed = answered(await shop.get("/v1/disputes", limit=100), 200)["data"]
        mine = [each for each in listed if each["payment"] == payment["id"]]
        return [{name: each[name] for name in members} for each in mine] == [members]

    await eventually(lambda: shown(status="needs_response", amount_withdrawn=1099), WITHIN_S)
    now = await shop.payment(payment)
    assert (now["amount_disputed"], now["amount_refundable"]) == (1099, 0)
    await bank.decides(at_acquirer, "won")
    await eventually(lambda: shown(status="won", amount_withdrawn=0), WITHIN_S)
    assert (await shop.payment(payment))["amount_refundable"] == 1099

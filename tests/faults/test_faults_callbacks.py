"""Killed or stopped between a callback, the inbox and the signal: nothing is lost, and nothing happens twice.

The account asks the acquirer so seldom (first after 90 s) that only what it was told leads to a capture in time.
"""

import asyncio
import hashlib
import hmac
import json
import time

import httpx
import pytest

from devstack.stack import DevStack
from tests.faults.arming import Action, CallbackPoint, doomed_api
from tests.faults.shop import Json, Shop, patiently
from tests.support.servers import ACQUIRER_KEY
from tests.support.witness import Witness

KEY = ACQUIRER_KEY.encode()
UPI = {"type": "upi", "upi": {"flow": "intent"}}
TOLD_WITHIN_S = 75.0  # sooner than the first inquiry
PAID = [("authorize", 1099), ("capture", 1099)]


async def asked(shop: Shop, ledger: Witness, *, approve: bool = True) -> str:
    """The id of a payment whose customer has approved; nobody was told."""
    payment_id = await shop.created(payment_method=UPI)
    if approve:
        page = f"{ledger.url}/upi/{payment_id}"
        answer = {"Accept": "application/json"}
        (await shop.client.post(page, data={"decision": "approve"}, headers=answer)).raise_for_status()
    return payment_id


async def call(shop: Shop, payment_id: str, *, event_id: str = "cb_1") -> httpx.Response | None:
    """The acquirer's message, to this process; None when no answer came."""
    told = {"id": f"{event_id}_{payment_id}", "reference": f"{payment_id}-1", "status": "approved"}
    body, at = json.dumps(told).encode(), int(time.time())
    mac = hmac.new(KEY, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {"Acquirer-Signature": f"t={at},v1={mac}", "Content-Type": "application/json"}
    try:
        return await shop.client.post(
            f"{shop.url}/v1/connectors/sandbox_upi/callbacks", content=body, headers=headers, timeout=60
        )
    except httpx.TransportError:
        return None


async def tell(shop: Shop, payment_id: str, *, event_id: str = "cb_1") -> None:
    """The acquirer's message is taken; as an acquirer does, it is sent again where there is no answer yet."""

    async def taken() -> bool:
        response = await call(shop, payment_id, event_id=event_id)
        if response is None or response.status_code in (503, 504):
            return False
        assert response.status_code == 200, response.text
        return True

    await patiently(taken, within_s=TOLD_WITHIN_S)


async def captured(shop: Shop, payment_id: str) -> None:
    async def is_so() -> Json | None:
        payment = await shop.payment(payment_id)
        return payment if payment["status"] == "captured" else None

    await patiently(is_so, within_s=TOLD_WITHIN_S)


async def check_once(shop: Shop, ledger: Witness, payment_id: str) -> None:
    types = [event["type"] for event in await shop.events(payment_id)]
    assert types == ["payment.requires_action", "payment.authorized", "payment.captured"]
    assert await ledger.movements(payment_id) == PAID


@pytest.mark.parametrize("action", ["kill", "stop"])
@pytest.mark.parametrize("point", ["received", "spoken"])
async def test_a_message_in_the_inbox_is_followed_up_whoever_dies(
    city: DevStack, shop: Shop, ledger: Witness, point: CallbackPoint, action: Action
) -> None:
    payment_id = await asked(shop, ledger)
    async with doomed_api(city, name=f"callback-{point}-{action}") as doomed:
        doomed.arm("callback", point, payment_id, action=action)
        calling = asyncio.create_task(call(shop.at(doomed.url), payment_id))
        await doomed.reached("callback", point, payment_id)
        await captured(shop, payment_id)
    await calling
    await check_once(shop, ledger, payment_id)


async def test_a_message_that_was_not_answered_is_told_again(
    city: DevStack, shop: Shop, ledger: Witness
) -> None:
    payment_id = await asked(shop, ledger)
    async with doomed_api(city, name="callback-before-inbox") as doomed:
        doomed.arm("callback", "before_inbox", payment_id, action="kill")
        assert await call(shop.at(doomed.url), payment_id) is None
        await doomed.reached("callback", "before_inbox", payment_id)
    for _ in range(3):
        await tell(shop, payment_id)
    await captured(shop, payment_id)
    await check_once(shop, ledger, payment_id)


async def test_a_message_waits_for_temporal(city: DevStack, shop: Shop, ledger: Witness) -> None:
    payment_id = await asked(shop, ledger)
    await city.kill("temporal")
    await tell(shop, payment_id)
    await city.start("temporal")
    await captured(shop, payment_id)
    await check_once(shop, ledger, payment_id)


async def test_a_lie_with_a_valid_signature_moves_nothing(shop: Shop, ledger: Witness) -> None:
    payment_id = await asked(shop, ledger, approve=False)
    for number in range(3):
        await tell(shop, payment_id, event_id=f"lie_{number}")

    async def inquired() -> bool:
        requests = await ledger.requests(payment_reference=payment_id)
        return len([entry for entry in requests if entry["operation"] == "inquire"]) >= 1

    await patiently(inquired, within_s=TOLD_WITHIN_S)
    assert (await shop.payment(payment_id))["status"] == "requires_action"
    assert await ledger.movements(payment_id) == []

"""Webhooks of the sandbox's Adyen: signed, authenticated, sent again until they are accepted."""

import base64
import copy

import Adyen.util
import httpx
from adyen_side import HMAC_KEY, PASSWORD, USER, AdyenSide, Json

from tests.support.eventually import eventually


def of_reference(adyen: AdyenSide, reference: str) -> list[Json]:
    return [
        body
        for body in adyen.webhooks.bodies
        if body["notificationItems"][0]["NotificationRequestItem"]["merchantReference"] == reference
    ]


async def test_adyens_sdk_verifies_the_signatures_of_payments_and_modifications(adyen: AdyenSide) -> None:
    reference = adyen.new()
    psp = (await adyen.paid(adyen.payment(reference)))["pspReference"]
    item = await adyen.told(psp, "captures", "CAPTURE", 1099)
    await adyen.webhooks.has(reference, "AUTHORISATION")
    bodies = of_reference(adyen, reference) + of_reference(adyen, item["merchantReference"])
    assert len(bodies) == 2
    for body in bodies:
        assert body["live"] == "false"
        assert Adyen.util.is_valid_hmac_notification(body, HMAC_KEY)
        for member, value in (("success", "false"), ("eventCode", "REFUND"), ("pspReference", "X" * 16)):
            other = copy.deepcopy(body)
            other["notificationItems"][0]["NotificationRequestItem"][member] = value
            assert not Adyen.util.is_valid_hmac_notification(other, HMAC_KEY)


async def test_what_is_unsigned_can_be_changed_without_notice(adyen: AdyenSide) -> None:
    reference = adyen.new()
    await adyen.paid(adyen.payment(reference))
    await adyen.webhooks.has(reference, "AUTHORISATION")
    (body,) = copy.deepcopy(of_reference(adyen, reference))
    body["notificationItems"][0]["NotificationRequestItem"] |= {"reason": "x", "eventDate": "x"}
    assert Adyen.util.is_valid_hmac_notification(body, HMAC_KEY)


async def test_the_request_has_basic_authentication(adyen: AdyenSide) -> None:
    reference = adyen.new()
    await adyen.paid(adyen.payment(reference))
    await adyen.webhooks.has(reference, "AUTHORISATION")
    expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert set(adyen.webhooks.authorizations) == {f"Basic {expected}"}


async def test_a_webhook_that_is_not_accepted_comes_again_the_same(adyen: AdyenSide) -> None:
    reference = adyen.new()
    adyen.webhooks.answers = [500]
    await adyen.paid(adyen.payment(reference))
    await adyen.webhooks.has(reference, "AUTHORISATION", "AUTHORISATION")
    first, second = of_reference(adyen, reference)
    assert first == second

    async def is_delivered() -> bool:
        (entry,) = await adyen.acquirer.callbacks(payment_reference=reference)
        return (entry["outcome"], entry["attempts"]) == ("delivered", 2)

    await eventually(is_delivered, 60)


async def test_webhooks_are_silenced_doubled_and_come_before_the_answer(adyen: AdyenSide) -> None:
    silent, doubled, first = adyen.new(), adyen.new(), adyen.new()
    try:
        await adyen.acquirer.configure(callbacks="off")
        await adyen.paid(adyen.payment(silent))

        async def is_off() -> bool:
            return [entry["outcome"] for entry in await adyen.acquirer.callbacks(reference=silent)] == ["off"]

        await eventually(is_off, 60)
        await adyen.acquirer.configure(callbacks="duplicate")
        await adyen.paid(adyen.payment(doubled))
        await adyen.webhooks.has(doubled, "AUTHORISATION", "AUTHORISATION")
        await adyen.acquirer.configure(callbacks="before_response")
        await adyen.paid(adyen.payment(first))
        assert len(adyen.webhooks.items(first)) == 1
    finally:
        await adyen.acquirer.configure(callbacks="on")
    assert adyen.webhooks.items(silent) == []


async def test_an_account_is_made_with_the_sandboxs_key_only(adyen: AdyenSide) -> None:
    path = "/adyen/accounts/AcmeECOM"
    async with httpx.AsyncClient(base_url=adyen.acquirer.client.base_url, timeout=60) as stranger:
        assert (await stranger.put(path, json={})).status_code == 401
    answer = await adyen.acquirer.client.put(path, json={"id": "AcmeECOM", "hmac_key": HMAC_KEY})
    assert answer.status_code == 400
    assert HMAC_KEY not in answer.text

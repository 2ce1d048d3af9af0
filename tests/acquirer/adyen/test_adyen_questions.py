"""Whose a key is, what a merchant account takes, and the webhook by which somebody tries the way."""

from typing import Any

from acquirer_process import KEY
from adyen_side import ACCOUNT, API_KEY, COMPANY, HMAC_KEY, AdyenSide, done, refused

from devstack.acquirer.adyen import notifications
from tests.witnesses.adyen_models import MANAGEMENT, adyen_models


async def me(adyen: AdyenSide, api_key: str) -> Any:
    return await adyen.acquirer.client.get("/adyen/v3/me", headers={"X-API-Key": api_key})


async def test_a_key_is_told_whose_it_is(adyen: AdyenSide) -> None:
    answer = done(await me(adyen, API_KEY))
    assert (answer["companyName"], answer["active"]) == (COMPANY, True)


async def test_what_is_told_of_a_key_is_adyens_own_model(adyen: AdyenSide) -> None:
    assert adyen_models().judged(MANAGEMENT, "MeApiCredential", done(await me(adyen, API_KEY))) == []


async def test_a_key_of_nobody_is_told_nothing(adyen: AdyenSide) -> None:
    refused(await me(adyen, "AQEnobody.sandbox.key-1"), 401)
    refused(await me(adyen, ""), 401)


async def test_a_merchant_account_lists_its_methods(adyen: AdyenSide) -> None:
    every = done(await adyen.post("/paymentMethods", {"merchantAccount": ACCOUNT}))["paymentMethods"]
    assert {"scheme", "upi_qr"} <= {method["type"] for method in every}
    asked = {"merchantAccount": ACCOUNT, "allowedPaymentMethods": ["scheme"]}
    cards = done(await adyen.post("/paymentMethods", asked))["paymentMethods"]
    assert [method["type"] for method in cards] == ["scheme"]
    unwanted = {"merchantAccount": ACCOUNT, "blockedPaymentMethods": ["scheme"]}
    others = done(await adyen.post("/paymentMethods", unwanted))["paymentMethods"]
    assert others == [method for method in every if method["type"] != "scheme"]


async def test_another_merchant_account_or_an_unknown_member_is_refused(adyen: AdyenSide) -> None:
    refused(await adyen.post("/paymentMethods", {"merchantAccount": "SomebodyElse"}), 403)
    refused(await adyen.post("/paymentMethods", {"merchantAccount": ACCOUNT, "colour": "red"}), 400)
    refused(await adyen.post("/paymentMethods", {}), 400)


async def test_a_test_webhook_is_signed_as_the_others_and_moves_nothing(adyen: AdyenSide) -> None:
    control = {"Authorization": f"Bearer {KEY}"}
    path = f"/adyen/customer-area/webhooks/{ACCOUNT}/test"
    told = done(await adyen.acquirer.client.post(path, headers=control))
    (item,) = await adyen.webhooks.has(told["merchantReference"], "AUTHORISATION")
    assert item["additionalData"]["hmacSignature"] == notifications.signature(item, HMAC_KEY)
    assert await adyen.moved(told["merchantReference"]) == []
    missing = await adyen.acquirer.client.post("/adyen/customer-area/webhooks/Nobody/test", headers=control)
    assert missing.status_code == 404

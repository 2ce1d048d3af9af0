"""The account that `make dev` plays: its settings' key works at the sandbox."""

from acquirer_process import KEY
from adyen_side import AdyenSide, done

from devstack import adyen_account


async def test_the_accounts_key_is_that_of_its_settings(adyen: AdyenSide) -> None:
    url = str(adyen.acquirer.client.base_url).rstrip("/")
    api_url = adyen.webhooks.url.removesuffix("/adyen")
    await adyen_account.play(url, KEY, api_url=api_url)
    settings = adyen_account.account(url, KEY, call_deadline_s="3")
    assert settings["options"]["call_deadline_s"] == "3"
    reference = adyen.new()
    body = adyen.payment(reference, merchantAccount=settings["options"]["merchant_account"])
    answer = done(await adyen.post("/payments", body, api_key=settings["key"]))
    assert answer["resultCode"] == "Authorised"
    await adyen.webhooks.has(reference, "AUTHORISATION")

"""An Adyen account that somebody types: asked about at Adyen, and not paid with before its webhook came."""

import httpx
import pytest

from devstack.parts import CHECKOUT
from devstack.stack import DevStack
from tests.e2e.merchant import Merchant
from tests.e2e.test_adyen_paid import pay
from tests.support.eventually import eventually
from tests.support.forks import ran
from tests.support.servers import ACQUIRER_KEY
from tests.support.witness import Witness

ID, MERCHANT_ACCOUNT, COMPANY = "adyen_of_a_shop", "TypedECOM", "Typed"
API_KEY, HMAC_KEY, LOGIN = "AQEtyped.sandbox.key-0001", "CD" * 32, "typed:a password"
CONTROL = {"Authorization": f"Bearer {ACQUIRER_KEY}"}
WITHIN_S = 60.0


async def typed(stack: DevStack, *arguments: str, secrets: str = "") -> tuple[int, str]:
    """`payonce accounts …`: its status, and all that it said."""
    environ = {**stack.product_environ(), "PYTHONPATH": str(CHECKOUT)}
    ended = await ran(
        *("tests.support.command", "accounts", *arguments),
        environ=environ,
        within_s=WITHIN_S,
        given=secrets.encode(),
    )
    return ended.status, ended.out + ended.error


@pytest.fixture
async def at_adyen(stack: DevStack, witness: Witness) -> None:
    """Adyen has the merchant account, whose webhook goes to the address that an account of this id will have."""
    user, _, password = LOGIN.partition(":")
    url = f"{stack.api_url}/v1/connectors/adyen/{ID}/callbacks"
    webhook = {"url": url, "hmac_key": HMAC_KEY, "username": user, "password": password}
    members = {"id": MERCHANT_ACCOUNT, "company": COMPANY, "api_keys": [API_KEY], "webhook": webhook}
    answer = await witness.client.put(f"/adyen/accounts/{MERCHANT_ACCOUNT}", json=members, headers=CONTROL)
    assert answer.status_code == httpx.codes.OK, answer.text


def adding(stack: DevStack, *, name: str = MERCHANT_ACCOUNT) -> tuple[str, ...]:
    return (
        *("add", "adyen", "--id", ID, "--base-url", f"{stack.acquirer_url}/adyen", "--json"),
        *("--option", f"merchant_account={name}", "--option", "only_asked=on"),
    )


def lines(key: str = API_KEY) -> str:
    return f"key={key}\nhmac_key={HMAC_KEY}\nwebhook_login={LOGIN}\n"


@pytest.mark.usefixtures("at_adyen")
async def test_an_account_is_asked_about_and_takes_payments_once_its_webhook_came(
    stack: DevStack, other_shop: Merchant, witness: Witness
) -> None:
    status, said = await typed(stack, *adding(stack), secrets=lines("AQEnobody.sandbox.key-1"))
    assert status != 0
    assert "Adyen refuses the API key" in said
    status, said = await typed(stack, *adding(stack, name="SomebodyElse"), secrets=lines())
    assert status != 0
    assert "may not use this merchant account" in said

    status, said = await typed(stack, *adding(stack), secrets=lines())
    assert status == 0, said
    assert f"{COMPANY}/{MERCHANT_ACCOUNT}/test" in said
    assert not [secret for secret in (API_KEY, HMAC_KEY, "a password") if secret in said]
    try:
        status, said = await typed(stack, "check", ID)
        assert (status, "no callback has come yet" in said) == (1, True), said
        assert (await account_of(other_shop, await pay(other_shop))) != ID
        path = f"/adyen/customer-area/webhooks/{MERCHANT_ACCOUNT}/test"
        assert (await witness.client.post(path, headers=CONTROL)).status_code == httpx.codes.OK

        async def is_heard() -> bool:
            status, said = await typed(stack, "check", ID)
            return status == 0 and "the latest callback came at" in said

        async def takes_payments() -> bool:
            payment = await pay(other_shop)
            return payment["status"] == "captured" and await account_of(other_shop, payment) == ID

        await eventually(is_heard, WITHIN_S)
        await eventually(takes_payments, WITHIN_S)
    finally:
        await typed(stack, "disable", ID)


async def account_of(shop: Merchant, payment: dict[str, object]) -> object:
    listed = (await shop.get(f"/v1/payments/{payment['id']}/attempts")).json()
    return listed["data"][0]["account"]

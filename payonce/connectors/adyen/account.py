"""What an account at Adyen needs, and who Adyen says that it is.

Keys and references are a company's and a region's, so an account is company, merchant account and region for ever.
Source: docs.adyen.com/development-resources/live-endpoints; Management API v3, `GET /me`; Checkout v72,
`POST /paymentMethods`. Read, not tried.
"""

import re
from typing import Final
from urllib.parse import urlsplit

from pydantic import BaseModel

from payonce.connectors.adyen.answers import ApiCredential
from payonce.connectors.adyen.desk import VERSION, AdyenDesk, problem
from payonce.connectors.base import AccountForm, ConnectorAccount, Identity, OptionField, SecretField
from payonce.connectors.http import AcquirerHttp, Documented, HttpRequest
from payonce.domain.errors import OutcomeUnknown, Rejected

HMAC_KEY: Final = "hmac_key"
KEY_BYTES: Final = 32  # of each that Adyen makes: with less of one others could sign
WEBHOOK_LOGIN: Final = "webhook_login"
ON: Final = "on"

FORM: Final = AccountForm(
    callbacks_say_whose=True,
    secrets=(
        SecretField("key", "API key of a web service user of the merchant account"),
        SecretField(
            HMAC_KEY, "HMAC key of the standard webhook, as it is shown: hexadecimal", verifies_callbacks=True
        ),
        SecretField(
            WEBHOOK_LOGIN,
            "User name and password of the standard webhook, as user:password",
            verifies_callbacks=True,
            required=False,
        ),
    ),
    options=(
        OptionField("merchant_account", "The merchant account's name"),
        OptionField("multicapture", "`on`: Adyen has enabled several captures of one authorization"),
        OptionField("upi", "`on`: the merchant account takes UPI"),
        OptionField("wallets", "`on`: it takes network tokens, of Apple Pay and Google Pay"),
        OptionField("copy_metadata", "`on`: the merchant's metadata are shown at Adyen, too"),
        OptionField("management_url", "Of the Management API, where it is not Adyen's own"),
    ),
)

_LIVE: Final = re.compile(r"[a-z0-9-]+-checkout-live(?:-(?P<region>[a-z0-9]+))?\.adyenpayments\.com")
_TEST: Final = "checkout-test.adyen.com"
_MANAGEMENT: Final = {
    "live": "https://management-live.adyen.com",
    "test": "https://management-test.adyen.com",
}
_EUROPE: Final = "eu"


class _Asked(BaseModel):
    merchantAccount: str
    allowedPaymentMethods: list[str] = ["scheme"]  # the whole list is long


def merchant_account(account: ConnectorAccount) -> str:
    """Its name. Raises `ValueError` where it is missing, or could be read as two members of a signature."""
    name = account.options.get("merchant_account", "")
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", name):
        raise ValueError("the option merchant_account is the name of Adyen's merchant account")
    return name


def hmac_keys(account: ConnectorAccount) -> tuple[bytes, ...]:
    """The newest first. Raises `ValueError` for one that is not hexadecimal, or a part, and does not tell it."""
    try:
        keys = tuple(bytes.fromhex(key) for key in account.secrets.get(HMAC_KEY, ()) if key)
    except ValueError:
        keys = (b"",)
    if any(len(key) < KEY_BYTES for key in keys):
        raise ValueError(f"the secret hmac_key is hexadecimal, {2 * KEY_BYTES} digits")
    return keys


async def identify(desk: AdyenDesk, account: ConnectorAccount) -> Identity:
    """Whose the key is, and whether it may use the merchant account; see `Identifying`. Moves nothing."""
    mode, region = _place(account.base_url)
    found = await _credential(account, mode=mode)
    if not found.active:
        raise Rejected("Adyen says that the API credential is not active.")
    await _check_merchant_account(desk, account)
    notes = [] if account.secret(WEBHOOK_LOGIN) else ["The webhook has no user name and password: set them."]
    return Identity(
        id=f"{found.company}/{merchant_account(account)}/{region}",
        mode="live" if mode == "live" else "test",
        notes=tuple(notes),
    )


def _place(base_url: str) -> tuple[str, str]:
    """Mode and region, which are the address's: keys of one are unknown in another."""
    live = _LIVE.fullmatch(urlsplit(base_url).hostname or "")
    return ("test", "test") if live is None else ("live", live["region"] or _EUROPE)


async def _credential(account: ConnectorAccount, *, mode: str) -> ApiCredential:
    own = (urlsplit(account.base_url).hostname or "") == _TEST or mode == "live"
    url = account.options.get("management_url") or (_MANAGEMENT[mode] if own else account.base_url)
    http = AcquirerHttp(
        base_url=url,
        headers={"X-API-Key": account.key},
        call_deadline_s=5,
        documented=Documented(answers=frozenset({401, 403, 404, 422})),
    )
    try:
        response = await http.call(HttpRequest(method="GET", path="/v3/me"), may_send=None)
    finally:
        await http.close()
    if response.status in (401, 403):
        raise Rejected("Adyen refuses the API key, or the key is of the other mode.")
    if response.status >= 400:
        raise OutcomeUnknown(f"HTTP {response.status} {problem(response).code or ''}".rstrip())
    return response.read(ApiCredential)


async def _check_merchant_account(desk: AdyenDesk, account: ConnectorAccount) -> None:
    """Which methods it has is a question that only those may ask who may use it."""
    asked = HttpRequest(
        path=f"/{VERSION}/paymentMethods", json=_Asked(merchantAccount=merchant_account(account))
    )
    response = await desk.http.call(asked, may_send=None)
    if response.status in (401, 403) or (response.status == 422 and problem(response).code == "901"):
        raise Rejected(
            "The API key may not use this merchant account: look for its name and the key's roles."
        )
    if response.status >= 400:
        raise OutcomeUnknown(f"HTTP {response.status} {problem(response).code or ''}".rstrip())

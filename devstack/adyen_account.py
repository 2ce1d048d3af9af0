"""An Adyen merchant account at the sandbox acquirer, which plays it, and the same account in the product's settings.

It takes the payments that ask for it: `metadata.sandbox_account` is `adyen`.
"""

import hashlib
import hmac
from typing import Any, Final

import httpx

from devstack.errors import StackError

ACCOUNT_ID: Final = "adyen_sandbox"
MERCHANT_ACCOUNT: Final = "PayonceECOM"
COMPANY: Final = "Payonce"
USERNAME: Final = "payonce"

_OPTIONS: Final = {
    **{"merchant_account": MERCHANT_ACCOUNT, "upi": "on", "wallets": "on"},
    **{"only_asked": "on", "copy_metadata": "on"},
    **{"call_deadline_s": "10"},
}


def _secret(acquirer_key: str, what: str) -> str:
    return hmac.new(acquirer_key.encode(), what.encode(), hashlib.sha256).hexdigest()


def _api_key(acquirer_key: str) -> str:
    return f"AQE{_secret(acquirer_key, 'adyen key')}"


def account(acquirer_url: str, acquirer_key: str, **options: str) -> dict[str, Any]:
    """The account as a member of PAYONCE_CONNECTOR_ACCOUNTS."""
    return {
        "id": ACCOUNT_ID,
        "connector": "adyen",
        "mode": "test",
        "base_url": f"{acquirer_url}/adyen",
        "key": _api_key(acquirer_key),
        "secrets": {
            "hmac_key": _secret(acquirer_key, "adyen webhook"),
            "webhook_login": f"{USERNAME}:{_secret(acquirer_key, 'adyen password')}",
        },
        "options": {**_OPTIONS, **options},
    }


async def play(acquirer_url: str, acquirer_key: str, *, api_url: str) -> None:
    """The acquirer plays the account, and tells this API what happens. Safe to repeat."""
    webhook = {
        "url": f"{api_url}/v1/connectors/adyen/{ACCOUNT_ID}/callbacks",
        "hmac_key": _secret(acquirer_key, "adyen webhook"),
        "username": USERNAME,
        "password": _secret(acquirer_key, "adyen password"),
    }
    members: dict[str, Any] = {
        "id": MERCHANT_ACCOUNT,
        "company": COMPANY,
        "api_keys": [_api_key(acquirer_key)],
        "webhook": webhook,
    }
    async with httpx.AsyncClient(base_url=acquirer_url, trust_env=False, timeout=60) as client:
        path, headers = f"/adyen/accounts/{MERCHANT_ACCOUNT}", {"Authorization": f"Bearer {acquirer_key}"}
        answer = await client.put(path, json=members, headers=headers)
    if answer.status_code != httpx.codes.OK:
        raise StackError(f"the acquirer answered {answer.status_code} to an Adyen account")

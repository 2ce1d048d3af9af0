"""A Razorpay account at the sandbox acquirer, which plays it, and the same account in the product's settings.

It takes the payments that ask for it: `metadata.sandbox_account` is `razorpay`.
"""

import hashlib
import hmac
import json
from typing import Any, Final

import httpx

from devstack.errors import StackError

ACCOUNT_ID: Final = "razorpay_sandbox"
IDENTITY: Final = "acc_Payonce0000001"

_OPTIONS: Final = {
    **{"only_asked": "on", "copy_metadata": "on", "cards": "on", "upi_collect": "on"},
    **{"merchant_id": IDENTITY, "call_deadline_s": "10", "finality_s": "10"},
}


def _secret(acquirer_key: str, what: str) -> str:
    return hmac.new(acquirer_key.encode(), what.encode(), hashlib.sha256).hexdigest()


def key_id(acquirer_key: str) -> str:
    """The key's public half."""
    return f"rzp_test_{_secret(acquirer_key, 'razorpay key id')[:14]}"


def key_secret(acquirer_key: str) -> str:
    """The key's secret half."""
    return _secret(acquirer_key, "razorpay key secret")[:40]


def webhook_secret(acquirer_key: str) -> str:
    """What events are signed with."""
    return _secret(acquirer_key, "razorpay webhook")[:40]


def account(acquirer_url: str, acquirer_key: str, **options: str) -> dict[str, Any]:
    """The account as a member of PAYONCE_CONNECTOR_ACCOUNTS."""
    return {
        "id": ACCOUNT_ID,
        "connector": "razorpay",
        "mode": "test",
        "base_url": f"{acquirer_url}/razorpay",
        "key": f"{key_id(acquirer_key)}:{key_secret(acquirer_key)}",
        "secrets": {"webhook_secret": webhook_secret(acquirer_key)},
        "options": {**_OPTIONS, **options},
    }


def settings(acquirer_url: str, acquirer_key: str, **options: str) -> str:
    """PAYONCE_CONNECTOR_ACCOUNTS with this account alone."""
    return json.dumps([account(acquirer_url, acquirer_key, **options)])


async def play(acquirer_url: str, acquirer_key: str, *, api_url: str) -> None:
    """The acquirer plays the account, and tells this API what happens. Safe to repeat."""
    members: dict[str, Any] = {
        "id": IDENTITY,
        "keys": [{"id": key_id(acquirer_key), "secret": key_secret(acquirer_key)}],
        "webhook": {
            "url": f"{api_url}/v1/connectors/razorpay/callbacks",
            "secret": webhook_secret(acquirer_key),
        },
    }
    async with httpx.AsyncClient(base_url=acquirer_url, trust_env=False, timeout=60) as client:
        path, headers = f"/razorpay/accounts/{IDENTITY}", {"Authorization": f"Bearer {acquirer_key}"}
        answer = await client.put(path, json=members, headers=headers)
    if answer.status_code != httpx.codes.OK:
        raise StackError(f"the acquirer answered {answer.status_code} to a Razorpay account")

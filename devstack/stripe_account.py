"""A Stripe account at the sandbox acquirer, which plays it, and the same account in the product's settings.

It takes the payments that ask for it: `metadata.sandbox_account` is `stripe`.
"""

import hashlib
import hmac
import json
from typing import Any, Final

import httpx

from devstack.errors import StackError

ACCOUNT_ID: Final = "stripe_sandbox"
IDENTITY: Final = "acct_1Payonce"


_OPTIONS: Final = {
    **{"only_asked": "on", "copy_metadata": "on", "multicapture": "on"},
    **{"call_deadline_s": "10", "finality_s": "10"},
}


def _secret(acquirer_key: str, what: str) -> str:
    return hmac.new(acquirer_key.encode(), what.encode(), hashlib.sha256).hexdigest()


def _key(acquirer_key: str) -> str:
    return f"sk_test_{_secret(acquirer_key, 'stripe key')[:40]}"


def _webhook_secret(acquirer_key: str) -> str:
    return f"whsec_{_secret(acquirer_key, 'stripe webhook')[:40]}"


def settings(acquirer_url: str, acquirer_key: str, **options: str) -> str:
    """PAYONCE_CONNECTOR_ACCOUNTS with this account; its answers are final as soon as the sandbox's own."""
    account = {
        "id": ACCOUNT_ID,
        "connector": "stripe",
        "mode": "test",
        "base_url": f"{acquirer_url}/stripe",
        "key": _key(acquirer_key),
        "secrets": {"webhook_secret": _webhook_secret(acquirer_key)},
        "options": {**_OPTIONS, **options},
    }
    return json.dumps([account])


async def play(acquirer_url: str, acquirer_key: str, *, api_url: str) -> None:
    """The acquirer plays the account, and tells this API what happens. Safe to repeat."""
    webhook = {
        "url": f"{api_url}/v1/connectors/stripe/callbacks",
        "secrets": [_webhook_secret(acquirer_key)],
    }
    members: dict[str, Any] = {
        "id": IDENTITY,
        "keys": [{"key": _key(acquirer_key)}],
        "multicapture": True,
        "webhook": webhook,
    }
    async with httpx.AsyncClient(base_url=acquirer_url, trust_env=False, timeout=60) as client:
        path, headers = f"/stripe/accounts/{IDENTITY}", {"Authorization": f"Bearer {acquirer_key}"}
        answer = await client.put(path, json=members, headers=headers)
    if answer.status_code != httpx.codes.OK:
        raise StackError(f"the acquirer answered {answer.status_code} to a Stripe account")

"""What an account at Razorpay needs, and who it belongs to."""

import re
from typing import Final, Literal

from payonce.connectors.base import AccountForm, ConnectorAccount, Identity, OptionField, SecretField
from payonce.connectors.http import HttpRequest
from payonce.connectors.razorpay import forms
from payonce.connectors.razorpay.desk import RazorpayDesk, asked_in_vain
from payonce.domain.errors import Rejected

WEBHOOK_SECRET: Final = "webhook_secret"  # noqa: S105 - the name of one
MERCHANT: Final = "merchant_id"
ON: Final = "on"

FORM: Final = AccountForm(
    secrets=(
        SecretField("key", "Key id and key secret with a colon between them (rzp_live_…:…)"),
        SecretField(
            WEBHOOK_SECRET,
            "Secret of the webhook, as it was typed into the dashboard",
            verifies_callbacks=True,
            required=False,
        ),
    ),
    options=(
        OptionField(MERCHANT, "Merchant id, as the dashboard shows it (acc_… or its last part); required"),
        OptionField("currencies", "Which the account takes, as INR,USD; INR where it is not said"),
        OptionField("cards", "`on`: Razorpay has approved cards from server to server"),
        OptionField("upi_collect", "`on`: the merchant may still send collect requests"),
        OptionField("website", "The merchant's site, which banks are told of"),
        OptionField("copy_metadata", "`on`: the merchant's metadata are shown at Razorpay, too"),
    ),
    base_url="https://api.razorpay.com",
)

_KEY: Final = re.compile(r"rzp_(test|live)_[A-Za-z0-9]{1,40}:[!-~]{1,128}")
_MERCHANT: Final = re.compile(r"(?:acc_)?([A-Za-z0-9]{14})")
_MAY: Final = ((forms.PAYMENTS, "payments"), (forms.REFUNDS, "refunds"))


def mode(key: str) -> Literal["test", "live"]:
    """Which world a key is of. Raises `Rejected` for what is no key id and secret."""
    if not _KEY.fullmatch(key):
        raise Rejected(
            "A key of Razorpay is its id and its secret with a colon between them: rzp_test_…:… or rzp_live_…:…"
        )
    return "live" if key.startswith("rzp_live_") else "test"


def merchant(account: ConnectorAccount) -> str | None:
    """The merchant as events name it; None where nobody said."""
    found = _MERCHANT.fullmatch(account.options.get(MERCHANT, ""))
    return None if found is None else f"acc_{found[1]}"


async def identify(desk: RazorpayDesk, account: ConnectorAccount) -> Identity:
    """Whose the key is; see `Identifying`.

    Razorpay has no call that says so: the merchant's id is what a person typed, which every event is compared with.
    """
    mode_ = mode(account.key)
    merchant_id = merchant(account)
    if merchant_id is None:
        raise Rejected(
            f"Say the merchant id of the dashboard: option {MERCHANT}, acc_ and 14 letters or digits."
        )
    if await _denied(desk, forms.ORDERS):
        raise Rejected("Razorpay refuses the key, or it may not read orders.")
    notes = [
        f"The key may not read {named}: give it the permission."
        for path, named in _MAY
        if await _denied(desk, path)
    ]
    if not account.secrets.get(WEBHOOK_SECRET):
        notes.append("Without the webhook's secret nothing that Razorpay tells is read.")
    return Identity(id=merchant_id, mode=mode_, notes=tuple(notes))


async def _denied(desk: RazorpayDesk, path: str) -> bool:
    response = await desk.http.call(HttpRequest(method="GET", path=path, query={"count": 1}), may_send=None)
    if response.status in (400, 401, 403):
        return True
    if response.status >= 400:
        raise asked_in_vain(response, reference=path)
    return False

"""What an account at Stripe needs, and who Stripe says that it is."""

from typing import Final

from payonce.connectors.base import AccountForm, ConnectorAccount, Identity, OptionField, SecretField
from payonce.connectors.requests import HttpRequest
from payonce.connectors.stripe import forms
from payonce.connectors.stripe.desk import StripeDesk, asked_in_vain
from payonce.connectors.stripe.objects import Balance, StripeAccount
from payonce.domain.errors import Rejected

WEBHOOK_SECRET: Final = "webhook_secret"  # noqa: S105 - the name of one
ON: Final = "on"

FORM: Final = AccountForm(
    secrets=(
        SecretField("key", "Secret key, or better a restricted key (sk_… or rk_…)"),
        SecretField(
            WEBHOOK_SECRET,
            "Signing secret of the webhook endpoint (whsec_…)",
            verifies_callbacks=True,
            required=False,
        ),
    ),
    options=(
        OptionField("multicapture", "`on`: Stripe has enabled several captures of one authorization"),
        OptionField("copy_metadata", "`on`: the merchant's metadata are shown at Stripe, too"),
    ),
    base_url="https://api.stripe.com",
)

_PREFIXES: Final = ("sk_test_", "rk_test_", "sk_live_", "rk_live_")
_MAY: Final = (
    (forms.INTENTS, "PaymentIntents"),
    (forms.REFUNDS, "Charges and Refunds"),
    (forms.EVENTS, "Events"),
)


async def identify(desk: StripeDesk, account: ConnectorAccount) -> Identity:
    """Whose the key is, by `GET /v1/account` and the mode of its balance; see `Identifying`."""
    if not account.key.startswith(_PREFIXES):
        raise Rejected(
            "A secret or restricted key of Stripe begins with sk_test_, sk_live_, rk_test_ or rk_live_."
        )
    live = account.key.split("_")[1] == "live"
    found = await _read(desk, "/v1/account")
    if found is None:
        raise Rejected(
            "Stripe refuses the key, or the key may not read the account: give it that permission."
        )
    notes = [
        f"The key may not read {named}: give it the permission."
        for path, named in _MAY
        if await _denied(desk, path)
    ]
    balance = await _balance(desk)
    if balance is None:
        notes.append("The key may not read the balance, so its mode is known by its prefix alone.")
    elif balance.livemode is not live:
        raise Rejected("The key's prefix says another mode than Stripe does.")
    return Identity(id=found.id, mode="live" if live else "test", notes=tuple(notes))


async def _read(desk: StripeDesk, path: str) -> StripeAccount | None:
    response = await desk.http.call(HttpRequest(method="GET", path=path), may_send=None)
    if response.status in (401, 403):
        return None
    if response.status >= 400:
        raise asked_in_vain(response, reference=path)
    return response.read(StripeAccount)


async def _balance(desk: StripeDesk) -> Balance | None:
    response = await desk.http.call(HttpRequest(method="GET", path="/v1/balance"), may_send=None)
    return response.read(Balance) if response.status == 200 else None


async def _denied(desk: StripeDesk, path: str) -> bool:
    asked = HttpRequest(method="GET", path=path, query={"limit": 1})
    return (await desk.http.call(asked, may_send=None)).status in (401, 403)

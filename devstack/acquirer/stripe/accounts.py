"""The accounts that the sandbox plays: identity, mode, keys, permissions, where their events go.

Source: docs.stripe.com/keys (secret and restricted keys, their prefixes, test and live mode; a restricted key has
the permissions that it was given), api/authentication (bearer or basic, the key as the user's name).
"""

import base64
import binascii
import hmac
import sqlite3
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from devstack.acquirer.bodies import Url
from devstack.acquirer.stripe.errors import Refusal

AccountId = Annotated[str, Field(pattern=r"^acct_[A-Za-z0-9]{4,40}$")]
ApiKey = Annotated[str, Field(pattern=r"^(sk|rk)_(test|live)_[A-Za-z0-9_]{4,120}$")]
Secret = Annotated[str, Field(pattern=r"^[!-~]{8,200}$")]
Permission = Literal[
    "account_read",
    "charge_read",
    "charge_write",
    "customer_write",
    "dispute_read",
    "dispute_write",
    "early_fraud_warning_read",
    "event_read",
    "payment_intent_read",
    "payment_intent_write",
    "payment_method_read",
    "payment_method_write",
    "refund_read",
    "refund_write",
]
KEYS_MAX = 8


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class Key(_Model):
    """A secret key; with `permissions` a restricted one. An expired key is refused."""

    key: ApiKey = Field(repr=False)
    permissions: list[Permission] | None = None
    expired: bool = False

    @model_validator(mode="after")
    def _only_restricted_keys_lack_permissions(self) -> Self:
        if self.key.startswith("rk_") == (self.permissions is None):
            raise ValueError("permissions are for restricted keys, and needed there")
        return self


class Webhook(_Model):
    """Where events go. While a secret is being rolled there are two, and each signs.

    Source: webhooks/signature: a rolled secret may stay valid for up to 24 hours, with one signature for each.
    """

    url: Url
    secrets: list[Secret] = Field(min_length=1, max_length=2, repr=False)
    events: list[str] = Field(default=["*"], max_length=100)


class Account(_Model):
    """One account in one mode. `*_member`: the names in `metadata` under which the merchant's references lie.

    `redirect_methods`: it has payment methods that send the customer away, beside cards.
    """

    id: AccountId
    livemode: bool = False
    keys: list[Key] = Field(min_length=1, max_length=KEYS_MAX)
    webhook: Webhook | None = None
    multicapture: bool = False
    redirect_methods: bool = False
    idempotency_s: int = Field(default=86_400, ge=1, le=31_536_000)
    refund_settles_s: int = Field(default=2, ge=0, le=86_400)
    reference_member: str = Field(default="payonce_reference", max_length=40)
    payment_reference_member: str = Field(default="payonce_payment", max_length=40)
    country: str = Field(default="US", pattern=r"^[A-Z]{2}$")
    default_currency: str = Field(default="usd", pattern=r"^[a-z]{3}$")

    @model_validator(mode="after")
    def _has_keys_of_its_mode(self) -> Self:
        mode = "live" if self.livemode else "test"
        if any(each.key.split("_")[1] != mode for each in self.keys):
            raise ValueError("every key must be of the account's mode")
        return self


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what their key may do."""

    account: Account
    key: Key

    def needs(self, permission: Permission) -> None:
        """Raises `Refusal` where the key lacks it. Source: api/errors, 403; the names are a *guess*."""
        if self.key.permissions is None or permission in self.key.permissions:
            return
        if permission.replace("_read", "_write") in self.key.permissions:
            return
        message = (
            f"The provided key '{_masked(self.key.key)}' does not have the required permissions for this endpoint"
            f" on account '{self.account.id}'. Having the 'rak_{permission}' permission would allow this request"
            " to continue."
        )
        raise Refusal(403, message, code="more_permissions_required", began=False)


def put(db: sqlite3.Connection, account: Account) -> None:
    """The account is as given from now on."""
    db.execute(
        "INSERT OR REPLACE INTO stripe_accounts VALUES (?, ?, ?)",
        (account.id, int(account.livemode), account.model_dump_json()),
    )


def every(db: sqlite3.Connection) -> list[Account]:
    """All accounts, in no order that matters."""
    rows = db.execute("SELECT body FROM stripe_accounts ORDER BY id, livemode LIMIT 100")
    return [Account.model_validate_json(row["body"]) for row in rows]


def of(db: sqlite3.Connection, own_id: str, *, livemode: bool) -> Account | None:
    """The account that has this id in this mode."""
    row = db.execute(
        "SELECT body FROM stripe_accounts WHERE id = ? AND livemode = ?", (own_id, int(livemode))
    ).fetchone()
    return None if row is None else Account.model_validate_json(row["body"])


def calling(db: sqlite3.Connection, authorization: str) -> Caller:
    """Who the header's key is of. Raises `Refusal`.

    Source: api/errors, 401 "No valid API key provided"; error-codes, `api_key_expired`.
    """
    given = _given_key(authorization)
    if not given:
        raise Refusal(401, "You did not provide an API key.", began=False)
    for account in every(db):
        for key in account.keys:
            if hmac.compare_digest(given.encode(), key.key.encode()):
                if key.expired:
                    message = f"Expired API Key provided: {_masked(given)}"
                    raise Refusal(401, message, code="api_key_expired", began=False)
                return Caller(account, key)
    raise Refusal(401, f"Invalid API Key provided: {_masked(given)}", began=False)


def _given_key(authorization: str) -> str:
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _masked(key: str) -> str:
    """What may be said of a key: its kind and its last four characters."""
    kind = "_".join(key.split("_")[:2]) + "_" if key.count("_") >= 2 else ""
    return f"{kind[:8]}********{key[-4:] if len(key) > 16 else ''}"

"""The accounts that the sandbox plays: identity, mode, keys, settings, where their events go.

Source: api/authentication: basic auth of key id and key secret, test and live keys; keys are rolled at once or after
24 hours. payments/payments/capture-settings/api: capture settings of the account, which an order overrides.
"""

import base64
import binascii
import hmac
import sqlite3
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from devstack.acquirer.bodies import Url
from devstack.acquirer.razorpay.errors import elsewhere

AccountId = Annotated[str, Field(pattern=r"^acc_[A-Za-z0-9]{4,40}$")]
KeyId = Annotated[str, Field(pattern=r"^rzp_(test|live)_[A-Za-z0-9]{4,60}$")]
Secret = Annotated[str, Field(pattern=r"^[!-~]{8,200}$")]
KEYS_MAX = 4


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class Key(_Model):
    """A key. An expired one is refused."""

    id: KeyId
    secret: Secret = Field(repr=False)
    expired: bool = False


class Webhook(_Model):
    """Where events go. An event keeps the secret that it was born with (webhooks/validate-test)."""

    url: Url
    secret: Secret = Field(repr=False)
    events: list[str] = Field(default=["*"], max_length=100)


class Account(_Model):
    """One account in one mode.

    `receipt_reused`: two pages differ on an order with `unique_receipt` whose receipt is taken: the same order again
    (s2s/test-s2s/best-practices/retries-and-idempotency), or 400 (s2s/test-s2s/error-index, "Orders").
    `s2s`: payments may be made from server to server, which Razorpay enables on request; else their paths are not
    found (errors/common, "The requested URL was not found on the server"). `customers_answer_s`: nobody has to play
    them. `minute_s`: how many seconds a minute of Razorpay's own times lasts. `*_member`: the names in `notes` under
    which the merchant's references lie.
    """

    id: AccountId
    livemode: bool = False
    keys: list[Key] = Field(min_length=1, max_length=KEYS_MAX)
    webhook: Webhook | None = None
    s2s: bool = True
    capture: Literal["automatic", "manual"] = "automatic"
    receipt_reused: Literal["same_order", "refused"] = "same_order"
    refunds: Literal["processed", "pending"] = "processed"
    refund_settles_s: int = Field(default=2, ge=0, le=86_400)
    customers_answer_s: int | None = Field(default=None, ge=0, le=86_400)
    upi_decides_s: int = Field(default=1, ge=0, le=86_400)
    minute_s: float = Field(default=60.0, ge=0, le=60)
    requests_per_s: int | None = Field(default=None, ge=1, le=10_000)
    reference_member: str = Field(default="payonce_reference", max_length=40)
    payment_reference_member: str = Field(default="payonce_payment", max_length=40)

    @model_validator(mode="after")
    def _has_keys_of_its_mode(self) -> Self:
        mode = "live" if self.livemode else "test"
        if any(each.id.split("_")[1] != mode for each in self.keys):
            raise ValueError("every key must be of the account's mode")
        return self

    def key(self, key_id: str) -> Key | None:
        """The key that has this id."""
        return next((each for each in self.keys if each.id == key_id), None)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and with which key."""

    account: Account
    key: Key


def put(db: sqlite3.Connection, account: Account) -> None:
    """The account is as given from now on."""
    db.execute(
        "INSERT OR REPLACE INTO razorpay_accounts VALUES (?, ?, ?)",
        (account.id, int(account.livemode), account.model_dump_json()),
    )


def every(db: sqlite3.Connection) -> list[Account]:
    """All accounts, in no order that matters."""
    rows = db.execute("SELECT body FROM razorpay_accounts ORDER BY id, livemode LIMIT 100")
    return [Account.model_validate_json(row["body"]) for row in rows]


def of(db: sqlite3.Connection, own_id: str, *, livemode: bool) -> Account | None:
    """The account that has this id in this mode."""
    row = db.execute(
        "SELECT body FROM razorpay_accounts WHERE id = ? AND livemode = ?", (own_id, int(livemode))
    ).fetchone()
    return None if row is None else Account.model_validate_json(row["body"])


def calling(db: sqlite3.Connection, authorization: str) -> Caller:
    """Whose key the header has. Raises `Refusal`.

    Source: api/authentication: `Basic`, written so, else authentication fails; api/understand: 401;
    api/orders/fetch-all, "Failure", for the words.
    """
    key_id, secret = _given(authorization)
    for account in every(db):
        for key in account.keys:
            if (
                key.id == key_id
                and hmac.compare_digest(secret.encode(), key.secret.encode())
                and not key.expired
            ):
                return Caller(account, key)
    raise elsewhere(401, "The api key provided is invalid")


def _given(authorization: str) -> tuple[str, str]:
    scheme, _, rest = authorization.partition(" ")
    if scheme != "Basic":
        return "", ""
    try:
        key_id, _, secret = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return key_id, secret

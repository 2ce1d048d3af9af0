"""The merchant accounts that the sandbox plays: their keys, where their webhooks go, how they capture."""

import hmac
import sqlite3
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from devstack.acquirer.adyen.errors import forbidden, unauthorized
from devstack.acquirer.bodies import Url

AccountCode = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{3,80}$")]
ApiKey = Annotated[str, Field(pattern=r"^[!-~]{16,512}$")]
HmacKey = Annotated[str, Field(pattern=r"^([0-9A-Fa-f]{2}){16,64}$")]
Name = Annotated[str, Field(pattern=r"^[!-~]{1,64}$")]
Member = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]{1,20}$")]
KEY_VALID_S = 31 * 86_400


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class Webhook(_Model):
    """Where standard webhooks go.

    Source: development-resources/webhooks/verify-hmac-signatures: the key is the endpoint's; what was made before a
    new key was saved keeps the signature of the old one. spec, Webhooks, `BasicAuth`.
    """

    url: Url
    hmac_key: HmacKey = Field(repr=False)
    username: Name | None = None
    password: str | None = Field(default=None, pattern=r"^[ -~]{1,200}$", repr=False)


class Account(_Model):
    """One merchant account of a company account, with the API keys that may use it.

    `capture_delay_hours`: what the Customer Area says of payments that do not say it; None: manual.
    `processing_s`: after how long a modification's outcome is known and told.
    """

    id: AccountCode
    company: AccountCode
    live: bool = False
    api_keys: list[ApiKey] = Field(min_length=1, max_length=8, repr=False)
    webhook: Webhook | None = None
    capture_delay_hours: int | None = Field(default=0, ge=0, le=672)
    multiple_partial_captures: bool = False
    idempotency_s: int = Field(default=KEY_VALID_S, ge=1, le=31_536_000)
    processing_s: int = Field(default=0, ge=0, le=86_400)
    upi_window_s: int = Field(default=30, ge=1, le=86_400)
    redirect_by_post: bool = False
    reference_member: Member = "payonce_reference"
    payment_reference_member: Member = "payonce_payment"


def put(db: sqlite3.Connection, account: Account) -> None:
    """The account is as given from now on."""
    db.execute("INSERT OR REPLACE INTO adyen_accounts VALUES (?, ?)", (account.id, account.model_dump_json()))


def of(db: sqlite3.Connection, code: str) -> Account | None:
    """The merchant account of this code."""
    row = db.execute("SELECT body FROM adyen_accounts WHERE id = ?", (code,)).fetchone()
    return None if row is None else Account.model_validate_json(row["body"])


def calling(db: sqlite3.Connection, api_key: str) -> list[Account]:
    """The merchant accounts that the key may use. Raises `Refusal` where there is none.

    Source: spec, "Authentication": the header `X-API-Key`; development-resources/api-credentials.
    """
    rows = db.execute("SELECT body FROM adyen_accounts ORDER BY id LIMIT 100")
    every = [Account.model_validate_json(row["body"]) for row in rows]
    given = api_key.encode()
    found = [
        account
        for account in every
        if any(hmac.compare_digest(given, key.encode()) for key in account.api_keys)
    ]
    if not found:
        raise unauthorized()
    return found


def named(accounts: list[Account], code: str) -> Account:
    """The one that the body names. Raises `Refusal`."""
    for account in accounts:
        if account.id == code:
            return account
    raise forbidden()

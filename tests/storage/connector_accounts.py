"""An acquirer whose secrets say whose they are, and its accounts in Postgres."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar

from payonce.connectors.base import (
    AccountForm,
    Callback,
    ConnectorAccount,
    Identity,
    SecretField,
)
from payonce.domain.errors import CallbackInvalid, OutcomeUnknown, Rejected
from payonce.sealing import Sealer
from payonce.storage import connector_accounts as store
from payonce.storage.connector_accounts import StoredAccount
from tests.storage.acting import CAPABILITIES
from tests.storage.ledger import Ledger, settings_of

NAME = "telling"


class TellingConnector:
    """Secrets are `<identity>:<anything>`; `refused:` is nobody's, and `away:` is not answered."""

    name = NAME
    capabilities = replace(CAPABILITIES, callbacks=True)
    account_form: ClassVar[AccountForm] = AccountForm(
        secrets=(
            SecretField("key", "the key"),
            SecretField("callbacks", "the callback secret", verifies_callbacks=True, required=False),
        ),
        base_url="https://acquirer.example",
    )

    def __init__(self, account: ConnectorAccount) -> None:
        self.account = account
        self.closed = False

    async def identify(self) -> Identity:
        who = self.account.secret("key").partition(":")[0]
        if who == "refused":
            raise Rejected("the key is not known")
        if who == "away":
            raise OutcomeUnknown("no answer")
        return Identity(id=who, mode="test")

    def read_callback(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Callback:
        if headers.get("secret") not in self.account.secrets.get("callbacks", ()):
            raise CallbackInvalid
        return Callback(headers["event"], body.decode())

    async def close(self) -> None:
        self.closed = True


def account(id_: str = "acct_1", *, key: str = "shop:1", **changes: Any) -> ConnectorAccount:
    values: dict[str, Any] = {
        "id": id_,
        "connector": NAME,
        "mode": "test",
        "base_url": "https://acquirer.example",
        "identity": key.partition(":")[0],
        "secrets": {"key": (key,), "callbacks": ("signs-1",)},
    }
    return ConnectorAccount(**values | changes)


def sealer_of(ledger: Ledger) -> Sealer:
    return Sealer(settings_of(ledger).webhook_keys())


async def added(ledger: Ledger, new: ConnectorAccount) -> StoredAccount:
    async with ledger.database.transaction() as connection:
        return await store.insert_account(connection, new, sealer_of(ledger))


async def rotated(ledger: Ledger, stored: StoredAccount, **values: str) -> StoredAccount:
    async with ledger.database.transaction() as connection:
        return await store.rotate(connection, stored, values, sealer_of(ledger), verifying=["callbacks"])

"""Connector accounts in Postgres: sealed, pinned, and followed by every process."""

from dataclasses import replace
from typing import Any, ClassVar

import pytest

from payonce.accounts import Accounts, Source
from payonce.connectors.base import Identity
from payonce.connectors.measured import Calls, Whose
from payonce.domain.errors import NotFound, OutcomeUnknown
from payonce.domain.routing import ConnectorAccount
from payonce.sealing import CannotUnseal, Sealer, SealingKey
from payonce.storage import connector_accounts as store
from tests.storage.acting import CAPABILITIES
from tests.storage.ledger import Ledger, settings_of

SEALER = Sealer([SealingKey("test", b"s" * 32)])
SECRET, NEWER = "sk_test_first_secret", "sk_test_second_secret"


class Fake:
    """An acquirer that knows whose each key is."""

    name = "fake"
    capabilities = CAPABILITIES
    whose: ClassVar[dict[str, str]] = {SECRET: "acct_1", NEWER: "acct_1"}
    closed: ClassVar[list[str]] = []

    def __init__(self, account: ConnectorAccount) -> None:
        self._key = account.secret("secret_key")

    async def identify(self) -> Identity:
        if self._key not in self.whose:
            raise OutcomeUnknown("away")
        return Identity(id=self.whose[self._key], mode="test")

    async def close(self) -> None:
        self.closed.append(self._key)


def account(id_: str = "ca_1", **changes: Any) -> ConnectorAccount:
    made = ConnectorAccount(
        id=id_,
        connector="fake",
        mode="test",
        base_url="https://acquirer.example",
        identity="acct_1",
        secrets={"secret_key": (SECRET,)},
    )
    return replace(made, **changes)


def process(ledger: Ledger) -> Accounts:
    accounts = Accounts(source=Source(ledger.database, settings_of(ledger), SEALER, Calls()))
    accounts._known = {"fake": lambda: Fake}  # type: ignore[assignment, return-value]
    return accounts


async def entered(ledger: Ledger, of: ConnectorAccount) -> store.StoredAccount:
    async with ledger.database.transaction() as connection:
        return await store.insert_account(connection, of, SEALER)


async def test_a_secret_opens_in_its_own_row_only_and_shows_nowhere(ledger: Ledger) -> None:
    stored = await entered(ledger, account())
    await entered(ledger, account("ca_2", identity="acct_2"))
    assert stored.unsealed(SEALER).secret("secret_key") == SECRET
    assert SECRET not in repr(stored) + repr(stored.unsealed(SEALER))
    await ledger.rows(
        "UPDATE connector_secrets AS one SET sealed = other.sealed FROM connector_secrets AS other"
        " WHERE one.account_id = 'ca_2' AND other.account_id = 'ca_1'"
    )
    async with ledger.database.reading() as connection:
        moved = await store.find_account(connection, "ca_2")
    assert moved is not None
    with pytest.raises(CannotUnseal) as refused:
        moved.unsealed(SEALER)
    assert SECRET not in str(refused.value)


async def test_an_agreement_is_entered_once_for_a_merchant(ledger: Ledger) -> None:
    await entered(ledger, account())
    with pytest.raises(store.AccountExists, match="ca_1"):
        await entered(ledger, account("ca_2"))
    await entered(ledger, account("ca_2", merchant_id=ledger.merchant_id))
    with pytest.raises(NotFound):
        await entered(ledger, account("ca_3", merchant_id="mer_nobody"))


async def test_every_process_follows_and_an_unknown_id_is_read_on_demand(ledger: Ledger) -> None:
    one, two = process(ledger), process(ledger)
    await one.begin()
    await entered(ledger, account())
    await entered(ledger, account("ca_own", merchant_id=ledger.merchant_id))
    assert (await one.connector("ca_1")).name == "fake"
    for each in (one, two):
        await each.begin()
        assert [a.id for a in each.candidates(ledger.merchant_id)] == ["ca_own", "ca_1"]
        assert [a.id for a in each.candidates("mer_other")] == ["ca_1"]
    async with ledger.database.transaction() as connection:
        await store.set_enabled(connection, "ca_1", enabled=False)
    await two.begin()
    assert two.candidates("mer_other") == ()
    assert (await two.connector("ca_1")).whose is Whose.PINNED  # what is under way goes on
    with pytest.raises(NotFound):
        await two.connector("ca_nobody")
    await one.close()
    await two.close()


@pytest.mark.parametrize(("verifying", "kept"), [(("secret_key",), 2), ((), 1)])
async def test_a_rotated_secret_replaces_the_connector(
    ledger: Ledger, verifying: tuple[str, ...], kept: int
) -> None:
    stored, here = await entered(ledger, account()), process(ledger)
    await here.begin()
    before = await here.connector("ca_1")
    Fake.closed.clear()
    async with ledger.database.transaction() as connection:
        after = await store.rotate(connection, stored, {"secret_key": NEWER}, SEALER, verifying=verifying)
    assert len(after.unsealed(SEALER).secrets["secret_key"]) == kept
    assert after.unsealed(SEALER).secret("secret_key") == NEWER
    await here.begin()
    assert await here.connector("ca_1") is before
    assert (before.whose, Fake.closed) == (Whose.PINNED, [SECRET])
    await here.close()


@pytest.mark.parametrize(("says", "open_"), [("acct_1", True), ("acct_2", False), (None, True)])
async def test_keys_of_another_account_take_no_payment_and_ask_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, says: str | None, open_: bool
) -> None:
    """An acquirer that is away closes nothing."""
    monkeypatch.setattr(Fake, "whose", {} if says is None else {SECRET: says})
    await entered(ledger, account())
    here = process(ledger)
    await here.begin()
    assert bool(here.candidates("mer_1")) is open_
    if not open_:
        with pytest.raises(OutcomeUnknown):
            await (await here.connector("ca_1")).inquire(None)
    await here.close()

"""What one process enters, every other follows; and an account's secrets are believed by what the acquirer says."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import text

from payonce.accounts import Accounts, Source
from payonce.connectors import registry
from payonce.connectors.measured import Calls, Whose
from payonce.domain.errors import NotFound
from payonce.domain.operations import OperationKind
from payonce.domain.truth import Truth
from payonce.metrics import ACCOUNTS_CLOSED, CALLBACK_HEARD
from payonce.storage import connector_accounts as store
from tests.storage.connector_accounts import NAME, TellingConnector, account, added, rotated, sealer_of
from tests.storage.ledger import Ledger, settings_of


@pytest.fixture
async def accounts(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Accounts]:
    """Those of another process than the one that enters them."""
    monkeypatch.setitem(registry._BUILT_IN, NAME, TellingConnector)
    opened = Accounts(source=Source(ledger.database, settings_of(ledger), sealer_of(ledger), Calls()))
    yield opened
    await opened.close()


def taking(accounts: Accounts, merchant_id: str = "mer_any") -> list[str]:
    return [one.id for one in accounts.candidates(merchant_id)]


async def test_a_new_account_takes_payments_and_a_disabled_one_none(
    ledger: Ledger, accounts: Accounts
) -> None:
    await accounts.begin()
    assert taking(accounts) == []
    await added(ledger, account())
    await accounts.begin()
    assert taking(accounts) == ["acct_1"]
    async with ledger.database.transaction() as connection:
        await store.set_enabled(connection, "acct_1", enabled=False)
    await accounts.begin()
    assert taking(accounts) == []
    assert await accounts.connector("acct_1")  # what is under way there goes on


async def test_a_merchants_own_accounts_come_before_those_for_all(ledger: Ledger, accounts: Accounts) -> None:
    await added(ledger, account("acct_all"))
    await added(ledger, account("acct_own", key="own:1", merchant_id=ledger.merchant_id))
    await accounts.begin()
    assert taking(accounts, ledger.merchant_id) == ["acct_own", "acct_all"]
    assert taking(accounts) == ["acct_all"]


async def test_an_account_that_is_not_known_here_yet_is_read_on_demand(
    ledger: Ledger, accounts: Accounts
) -> None:
    await added(ledger, account())
    assert (await accounts.connector("acct_1")).name == NAME
    with pytest.raises(NotFound):
        await accounts.connector("acct_2")


async def test_a_rotated_secret_replaces_the_connector_and_the_old_one_is_closed(
    ledger: Ledger, accounts: Accounts
) -> None:
    stored = await added(ledger, account())
    await accounts.begin()
    measured = accounts.connectors["acct_1"]
    old = measured._held.connector
    await rotated(ledger, stored, key="shop:2")
    await accounts.begin()
    assert accounts.connectors["acct_1"] is measured
    assert measured._held.connector.account.key == "shop:2"
    assert old.closed


async def test_where_callbacks_carry_the_truth_none_is_paid_before_one_has_come(
    ledger: Ledger, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever process received it; and a disabled account stays so."""
    told = replace(TellingConnector.capabilities, truth={OperationKind.CAPTURE: Truth.CALLBACK})
    monkeypatch.setattr(TellingConnector, "capabilities", told)
    await added(ledger, account())
    await accounts.begin()
    unheard = ACCOUNTS_CLOSED.labels("acct_1", "unheard")
    assert (taking(accounts), unheard._value.get()) == ([], 1)
    assert await accounts.connector("acct_1")
    other = Accounts(source=accounts._source)
    await other.begin()
    for _ in range(2):
        other.heard("acct_1")
        await asyncio.gather(*other._tasks)
    ((heard_at, version),) = await ledger.rows("SELECT heard_at, version FROM connector_accounts")
    assert (heard_at is not None, version) == (True, 2)
    for process in (accounts, other):
        await process.begin()
        assert taking(process) == ["acct_1"]
    assert unheard._value.get() == 0
    assert CALLBACK_HEARD.labels("acct_1")._value.get() >= heard_at.timestamp()
    await other.close()


async def test_an_account_is_told_heard_once_a_minute(ledger: Ledger, accounts: Accounts) -> None:
    await added(ledger, account())
    await accounts.begin()
    accounts.heard("of the settings")
    for at in ("now() - interval '59 seconds'", "now() - interval '61 seconds'"):
        async with ledger.database.transaction() as connection:
            query = text(f"UPDATE connector_accounts SET heard_at = {at} RETURNING heard_at")
            before = (await connection.execute(query)).scalar_one()
            await store.heard(connection, "acct_1")
        ((after, version),) = await ledger.rows("SELECT heard_at, version FROM connector_accounts")
        assert (after > before, version) == ("61" in at, 1)


@pytest.mark.parametrize(
    ("key", "whose", "takes"),
    [
        ("other:1", Whose.ANOTHER, False),
        ("refused:1", Whose.REFUSED, False),
        ("away:1", Whose.UNANSWERED, True),
    ],
)
async def test_secrets_of_somebody_else_close_the_account_here(
    ledger: Ledger, accounts: Accounts, key: str, whose: Whose, takes: bool
) -> None:
    await added(ledger, account(key=key, identity="shop"))
    await accounts.begin()
    assert accounts.connectors["acct_1"].whose is whose
    assert taking(accounts) == (["acct_1"] if takes else [])
    if not takes:
        assert ACCOUNTS_CLOSED.labels("acct_1", whose)._value.get() == 1


async def test_every_account_has_the_secret_of_the_cell(ledger: Ledger, accounts: Accounts) -> None:
    await added(ledger, account())
    await accounts.begin()
    (found,) = accounts.candidates("mer_any")
    assert found.upstream_secret == settings_of(ledger).secret_for("upstream_keys")

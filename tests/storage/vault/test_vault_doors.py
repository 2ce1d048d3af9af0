"""The vault in Postgres: what its doors do, and that there is no other way in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from psycopg import sql

from payonce.domain.errors import PaymentError
from payonce.storage.driver.database import Database
from payonce.vault import doors
from payonce.vault.keys import CannotOpen
from payonce.vault.saving import NotThere, TooManySaved
from tests.storage.vault.saving import MERCHANT, NUMBER, OTHER_NUMBER, a_vault, opened, ran, read, saved

TABLES = (
    *("cards", "fingerprints", "fingerprint_hashes", "saves", "keys", "processes"),
    *("risk_facts", "risk_cards", "risk_saved"),
)
BEATS = {"vault_beat", "vault_left"}
ASKED = {"risk_note", "risk_listed", "risk_saved_card"}  # by the built-in rules
SAVED = {"risk_save", "risk_forget"}  # of a saved card
MAY = {
    "payonce_api": {"vault_put", "vault_fingerprint", "vault_keep", "vault_erase", *BEATS, *ASKED, *SAVED},
    "payonce_sender": {"vault_take", *BEATS},
    "payonce_engine": {
        *("vault_keep", "vault_erase", "vault_erase_due", *BEATS),
        *("risk_since", "risk_complete", "risk_erase", "risk_forget", "risk_list_card", "risk_unlist_card"),
    },
    "payonce_keys": {
        *("vault_keys", "vault_wrapped", "vault_rewrap"),
        *("vault_processes", "vault_known_keys", "vault_retire"),
    },
    "a_stranger": set[str](),  # any other role: the relay's, the console's
}
DENIED = psycopg.errors.InsufficientPrivilege


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with opened(database_url) as database:
        yield database


@pytest.fixture
async def session(database_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """A session of the superuser, who becomes others."""
    url = database_url.replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as session:
        await session.execute(
            "DO $$ BEGIN CREATE ROLE a_stranger NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
        )
        yield session


async def test_a_card_that_was_put_is_taken_and_opens(database: Database) -> None:
    vault = a_vault()
    card, shown = await saved(database, vault)

    assert await read(database, vault, card) == NUMBER
    assert shown.startswith("fp_")


@pytest.mark.parametrize("role", MAY)
async def test_no_role_reads_or_changes_a_table_of_the_vault(
    session: psycopg.AsyncConnection, role: str
) -> None:
    await session.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))

    for table in TABLES:
        for statement in ("SELECT FROM {}", "DELETE FROM {}", "COPY {} TO STDOUT"):
            with pytest.raises(DENIED):
                await session.execute(sql.SQL(statement).format(sql.Identifier("vault", table)))
    with pytest.raises(DENIED):
        await session.execute("CREATE TABLE vault.mine ()")


@pytest.mark.parametrize("role", MAY)
async def test_each_role_has_its_own_doors_and_no_other(session: psycopg.AsyncConnection, role: str) -> None:
    found = await session.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'vault'::regnamespace"
        " AND has_function_privilege(%(role)s, oid, 'EXECUTE')",
        {"role": role},
    )
    assert {name for (name,) in await found.fetchall()} == MAY[role]


@pytest.mark.parametrize("role", sorted(set(MAY) - {"payonce_sender"}))
async def test_only_who_sends_takes(session: psycopg.AsyncConnection, role: str) -> None:
    await session.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))

    with pytest.raises(DENIED):
        await session.execute("SELECT * FROM vault.vault_take('vc_1', 'mer_1', 'test', 'card')")


async def test_who_sends_takes_without_seeing_the_table(
    session: psycopg.AsyncConnection, database: Database
) -> None:
    card, _ = await saved(database, a_vault())
    await session.execute("SET ROLE payonce_sender")

    found = await session.execute(
        "SELECT ciphertext FROM vault.vault_take(%s, %s, 'test', 'card')", (card.place.record_id, MERCHANT)
    )

    assert await found.fetchone() == (card.envelope.ciphertext,)


async def test_every_function_is_the_vaults_and_looks_names_up_nowhere_else(
    session: psycopg.AsyncConnection,
) -> None:
    found = await session.execute(
        "SELECT proname, pg_get_userbyid(proowner), prosecdef, proconfig FROM pg_proc"
        " WHERE pronamespace = 'vault'::regnamespace"
    )
    functions = await found.fetchall()

    assert len(functions) == 26
    for name, owner, definer, config in functions:
        assert (owner, definer, config) == (
            "payonce_vault",
            True,
            ["search_path=pg_catalog, pg_temp"],
        ), name


async def test_nobody_is_a_member_of_the_vaults_role_and_nobody_logs_in_as_it(
    session: psycopg.AsyncConnection,
) -> None:
    found = await session.execute(
        "SELECT rolcanlogin, rolsuper, rolbypassrls,"
        " EXISTS (SELECT FROM pg_auth_members WHERE roleid = pg_roles.oid AND set_option"
        "         AND NOT (SELECT rolsuper FROM pg_roles other WHERE other.oid = member))"
        " FROM pg_roles WHERE rolname = 'payonce_vault'"
    )
    assert await found.fetchone() == (False, False, False, False)


@pytest.mark.parametrize("what", [{"merchant_id": "mer_2"}, {"mode": "live"}, {"purpose": "token"}], ids=str)
async def test_a_card_is_not_found_by_another_tenant_mode_or_purpose(
    database: Database, what: dict[str, str]
) -> None:
    vault = a_vault()
    card, _ = await saved(database, vault)
    elsewhere = replace(card, place=replace(card.place, **what))

    with pytest.raises(NotThere):
        await read(database, vault, elsewhere)
    if "purpose" not in what:
        async with database.transaction() as connection:
            assert not await doors.keep(connection, elsewhere.place)
            assert not await doors.erase(connection, elsewhere.place)
            assert await doors.fingerprint(connection, elsewhere.place) is None


@pytest.mark.parametrize(
    "columns",
    ["ciphertext", "wrapped_key", "ciphertext, wrapped_key, data_key_id", "merchant_id", "mode", "purpose"],
)
async def test_what_was_swapped_between_rows_does_not_open(database: Database, columns: str) -> None:
    """By somebody who may change the table itself."""
    vault = a_vault()
    mine, _ = await saved(database, vault)
    other, _ = await saved(database, vault, OTHER_NUMBER, merchant_id="mer_2", mode="live")
    await ran(database, "UPDATE vault.cards SET purpose = 'token' WHERE merchant_id = 'mer_2'")
    await ran(database, "ALTER TABLE vault.cards DROP CONSTRAINT cards_data_key_id_key")
    await ran(
        database,
        f"UPDATE vault.cards c SET ({columns}) = (SELECT {columns} FROM vault.cards o"
        f" WHERE o.id = '{other.place.record_id}') WHERE c.id = '{mine.place.record_id}'",
    )
    moved = {
        name: getattr(replace(other.place, purpose="token"), name)
        for name in ("merchant_id", "mode", "purpose")
        if name == columns
    }

    with pytest.raises(CannotOpen):
        await read(database, vault, replace(mine, place=replace(mine.place, **moved)))


async def test_a_card_that_is_not_kept_cannot_be_taken_after_24_hours_and_is_erased(
    database: Database,
) -> None:
    vault = a_vault()
    card, _ = await saved(database, vault, kept=False)
    kept, _ = await saved(database, vault, OTHER_NUMBER)
    assert await read(database, vault, card) == NUMBER
    await ran(database, "UPDATE vault.cards SET erase_at = erase_at - interval '24 hours'")

    with pytest.raises(NotThere):
        await read(database, vault, card)
    async with database.transaction() as connection:
        assert not await doors.keep(connection, card.place)  # it is too late
        assert await doors.erase_due(connection, at_most=10) == 1
        assert await doors.erase_due(connection, at_most=10) == 0
    assert await ran(database, "SELECT FROM vault.fingerprints") == 1
    assert await read(database, vault, kept) == OTHER_NUMBER


async def test_a_provisional_card_is_due_24_hours_after_it_was_put(
    database: Database, session: psycopg.AsyncConnection
) -> None:
    await saved(database, a_vault(), kept=False)

    found = await session.execute("SELECT erase_at - created_at FROM vault.cards")

    assert await found.fetchone() == (timedelta(hours=24),)


async def test_an_erased_card_is_gone_with_the_name_of_its_number(database: Database) -> None:
    vault = a_vault()
    card, shown = await saved(database, vault)
    again, _ = await saved(database, vault)
    async with database.transaction() as connection:
        assert await doors.erase(connection, card.place)
        assert not await doors.erase(connection, card.place)
        assert await doors.fingerprint(connection, again.place) == shown
        assert await doors.erase(connection, again.place)

    with pytest.raises(NotThere):
        await read(database, vault, card)
    for table in ("cards", "fingerprints", "fingerprint_hashes"):
        assert await ran(database, f"SELECT FROM vault.{table}") == 0


async def test_a_put_that_is_rolled_back_leaves_nothing(database: Database) -> None:
    vault = a_vault()
    card = await vault.seal(NUMBER, merchant_id=MERCHANT, mode="test")
    with suppress(PaymentError):
        async with database.transaction() as connection:
            assert await vault.put(connection, card)
            raise PaymentError

    for table in TABLES:
        assert await ran(database, f"SELECT FROM vault.{table}") == 0


async def test_a_fingerprint_is_one_for_a_merchants_number_and_another_elsewhere(database: Database) -> None:
    vault = a_vault()
    shown = [(await saved(database, vault))[1] for _ in range(2)]
    others = [
        (await saved(database, vault, OTHER_NUMBER))[1],
        (await saved(database, vault, merchant_id="mer_2"))[1],
        (await saved(database, vault, mode="live"))[1],
    ]

    assert shown[0] == shown[1]
    assert len({shown[0], *others}) == 4


async def test_a_fingerprint_outlives_the_key_that_it_was_found_by(database: Database) -> None:
    _, shown = await saved(database, a_vault(fingerprint_keys=("f1",)))
    _, during = await saved(database, a_vault(fingerprint_keys=("f2", "f1")))
    _, after = await saved(database, a_vault(fingerprint_keys=("f2",)))

    assert shown == during == after


async def test_the_same_number_saved_at_the_same_moment_has_one_fingerprint(database: Database) -> None:
    vault = a_vault()
    found = await asyncio.gather(*(saved(database, vault) for _ in range(4)))

    assert len({shown for _, shown in found}) == 1
    assert await ran(database, "SELECT FROM vault.fingerprints") == 1


async def test_a_merchant_saves_so_many_different_numbers_an_hour(database: Database) -> None:
    vault = a_vault(saves_max=2)
    for number in (NUMBER, OTHER_NUMBER, NUMBER):
        await saved(database, vault, number)

    with pytest.raises(TooManySaved):
        await saved(database, vault, "4000000000009995")
    await saved(database, vault, "4000000000009995", merchant_id="mer_2")
    await ran(database, "UPDATE vault.saves SET saved_at = saved_at - interval '1 hour'")
    await saved(database, vault, "4000000000009995")


async def test_no_table_outside_the_vault_has_anything_of_it(session: psycopg.AsyncConnection) -> None:
    found = await session.execute(
        "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE relkind IN ('r', 'v', 'm') AND nspname NOT IN ('pg_catalog', 'information_schema')"
        " AND pg_get_userbyid(relowner) = 'payonce_vault'"
    )
    assert {name for (name,) in await found.fetchall()} == set(TABLES)

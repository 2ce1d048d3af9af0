"""The audit log in Postgres can only be added to, by every role of the product."""

from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg import sql

from payonce.domain.audit import Act, Actor, ActorKind, AuditAction
from payonce.storage import audit
from payonce.storage.driver.database import Database

WRITERS = ("payonce_api", "payonce_sender", "payonce_keys", "payonce_engine")
ROLES = (*WRITERS, "payonce_vault", "a_stranger")
TABLES = ("entries", "personal", "seals", "told")
DENIED = psycopg.errors.InsufficientPrivilege
ADD = (
    "INSERT INTO audit.entries (id, merchant_id, mode, kind, action, actor_kind, actor, subject, details)"
    " VALUES (%s, 'mer_1', 'test', 'decision', 'api_key.created', 'person', 'me', 'key_1', '{}')"
)
BY = Actor(kind=ActorKind.PERSON, id="ann@desk", origin="192.0.2.7")


@pytest.fixture
async def session(database_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """A session of the superuser, who becomes others."""
    url = database_url.replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as session:
        await session.execute(
            "DO $$ BEGIN CREATE ROLE a_stranger NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
        )
        await session.execute(ADD, ("aud_there",))
        yield session


@pytest.mark.parametrize("role", ROLES)
async def test_no_role_changes_what_is_there(session: psycopg.AsyncConnection, role: str) -> None:
    await become(session, role)

    for table in TABLES:
        for statement in ("DELETE FROM {}", "TRUNCATE {} CASCADE", "ALTER TABLE {} ADD mine text"):
            with pytest.raises(DENIED):
                await session.execute(sql.SQL(statement).format(sql.Identifier("audit", table)))
    for change in ("UPDATE audit.entries SET actor = 'x'", "UPDATE audit.seals SET entries = 0"):
        with pytest.raises(DENIED):
            await session.execute(change)
    with pytest.raises(DENIED):
        await session.execute("DROP TRIGGER entries_only_added_to_row ON audit.entries")


@pytest.mark.parametrize("role", WRITERS)
async def test_who_may_decide_adds_and_says_neither_when_nor_in_which_transaction(
    session: psycopg.AsyncConnection, role: str
) -> None:
    await become(session, role)
    await speak_for(session, "mer_1")
    await session.execute(ADD, (f"aud_{role}",))

    for column, value in (("at", "now()"), ("transaction_id", "'3'")):
        statement = ADD.replace("details)", f"details, {column})").replace("'{}')", f"'{{}}', {value})")
        with pytest.raises(DENIED):
            await session.execute(statement, ("aud_2",))


@pytest.mark.parametrize("whose", [None, "mer_2"])
async def test_the_api_adds_of_its_own_tenant_only(
    session: psycopg.AsyncConnection, whose: str | None
) -> None:
    await become(session, "payonce_api")
    if whose is not None:
        await speak_for(session, whose)

    with pytest.raises(DENIED, match="row-level security"):
        await session.execute(ADD, ("aud_2",))


@pytest.mark.parametrize("role", sorted(set(ROLES) - {"payonce_engine"}))
async def test_only_who_seals_reads(session: psycopg.AsyncConnection, role: str) -> None:
    await become(session, role)

    for table in TABLES:
        with pytest.raises(DENIED):
            await session.execute(sql.SQL("SELECT FROM {}").format(sql.Identifier("audit", table)))
    for function in ("erase_personal('aud_there')", "forget_old(1)"):
        with pytest.raises(DENIED):
            await session.execute(f"SELECT audit.{function}")


async def test_not_even_a_superuser_changes_it_by_mistake(session: psycopg.AsyncConnection) -> None:
    for table in TABLES:
        with pytest.raises(DENIED, match="only added to"):
            await session.execute(sql.SQL("TRUNCATE {} CASCADE").format(sql.Identifier("audit", table)))
    for change in ("UPDATE audit.entries SET actor = 'x'", "DELETE FROM audit.entries"):
        with pytest.raises(DENIED, match="only added to"):
            await session.execute(change)


async def test_nobody_is_a_member_of_the_logs_role(session: psycopg.AsyncConnection) -> None:
    found = await session.execute(
        "SELECT rolcanlogin, rolsuper, rolbypassrls,"
        " EXISTS (SELECT FROM pg_auth_members WHERE roleid = pg_roles.oid AND set_option"
        "         AND NOT (SELECT rolsuper FROM pg_roles other WHERE other.oid = member))"
        " FROM pg_roles WHERE rolname = 'payonce_audit'"
    )
    assert await found.fetchone() == (False, False, False, False)


async def test_an_entry_says_who_what_and_from_where(
    session: psycopg.AsyncConnection, database_url: str
) -> None:
    database = Database(database_url, pool_size=2)
    act = Act(
        action=AuditAction.KEY_REVOKED, subject="key_9", merchant_id="mer_1", mode="test", details={"n": 1}
    )
    async with database.transaction() as connection:
        await audit.decided(connection, BY, act, why="lost laptop")
    await database.close()

    found = await session.execute(
        "SELECT kind, action, actor_kind, actor, subject, merchant_id, mode, details, members, salt, personal_hash"
        " FROM audit.entries JOIN audit.personal ON entry_id = id"
    )
    (row,) = await found.fetchall()
    assert row[:8] == (
        "decision",
        "api_key.revoked",
        "person",
        "ann@desk",
        "key_9",
        "mer_1",
        "test",
        {"n": 1},
    )
    assert row[8] == {"origin": "192.0.2.7", "why": "lost laptop"}
    assert row[10] == audit.hash_of_personal(row[9], row[8])


async def test_a_number_that_is_taken_is_an_access(
    session: psycopg.AsyncConnection, database_url: str
) -> None:
    database = Database(database_url, pool_size=2)
    async with database.transaction() as connection:
        await audit.accessed(
            connection,
            Actor(kind=ActorKind.PROCESS, id="api@host"),
            record_id="vc_1",
            payment_id="pay_1",
            merchant_id="mer_1",
            mode="test",
            purpose="payment",
        )
    await database.close()

    found = await session.execute(
        "SELECT kind, actor, subject, details, personal_hash FROM audit.entries WHERE action = 'card.taken'"
    )
    details = {"payment_id": "pay_1", "purpose": "payment"}
    assert await found.fetchall() == [("access", "api@host", "vc_1", details, None)]


async def become(session: psycopg.AsyncConnection, role: str) -> None:
    await session.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))


async def speak_for(session: psycopg.AsyncConnection, merchant_id: str) -> None:
    await session.execute(
        "SELECT set_config('payonce.merchant_id', %s, false), set_config('payonce.mode', 'test', false)",
        (merchant_id,),
    )

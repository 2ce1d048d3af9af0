"""The migrations of the vault and the audit log, run by one who is no superuser and may make no roles."""

import asyncio

import psycopg
import pytest
from psycopg import sql

from payonce.storage.migrating import upgrade
from tests.support.databases import PostgresServer

ADD = """
    INSERT INTO audit.entries (id, kind, action, actor_kind, actor, subject, details)
         VALUES ('aud_1', 'decision', 'a', 'person', 'me', 'x', '{}')
"""


async def test_who_migrates_needs_the_owners_roles_only_while_migrating(
    postgres_server: PostgresServer,
) -> None:
    """The roles are there: the server's other databases have them."""
    async with postgres_server.empty_database() as url:
        plain = url.replace("+psycopg", "")
        async with await psycopg.AsyncConnection.connect(plain, autocommit=True) as superuser:
            database = sql.Identifier(superuser.info.dbname)
            await superuser.execute("CREATE ROLE a_migrator LOGIN")
            await superuser.execute("GRANT payonce_vault, payonce_audit TO a_migrator")
            await superuser.execute(sql.SQL("ALTER DATABASE {} OWNER TO a_migrator").format(database))
            try:
                await asyncio.to_thread(upgrade, url.replace("postgres@", "a_migrator@"))
                await superuser.execute("REVOKE payonce_vault, payonce_audit FROM a_migrator")
                await superuser.execute("SET ROLE a_migrator")
                for statement in ("SELECT FROM vault.cards", "DELETE FROM audit.entries"):
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        await superuser.execute(statement)
                await superuser.execute(ADD)  # it is whom this release's processes may connect as
                await superuser.execute("RESET ROLE")
                found = await superuser.execute(
                    "SELECT DISTINCT schemaname, tableowner FROM pg_tables"
                    " WHERE schemaname IN ('vault', 'audit') ORDER BY 2"
                )
                assert await found.fetchall() == [("audit", "payonce_audit"), ("vault", "payonce_vault")]
            finally:
                await superuser.execute("RESET ROLE")
                await superuser.execute("REASSIGN OWNED BY a_migrator TO postgres")
                await superuser.execute("DROP OWNED BY a_migrator")
                await superuser.execute("DROP ROLE a_migrator")

"""Whether the roles that a process connects as are those on which the keeping apart of tenants rests."""

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import RowMapping, text

from payonce.settings import SettingsWrong
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import Database, words_of

_URL: Final = "PAYONCE_API_DATABASE_URL"
_SEE: Final = "see docs/operations.md, Roles"
# `server`: the same database at the same server, also where two addresses lead there.
_ROLE: Final = text(
    """
    SELECT role.rolname AS name, role.rolsuper AS superuser, role.rolbypassrls AS bypasses,
           EXISTS (SELECT FROM pg_roles AS group_ WHERE group_.rolname = 'payonce_api'
                      AND pg_has_role(role.oid, group_.oid, 'USAGE')) AS is_api,
           EXISTS (SELECT FROM pg_roles AS group_ WHERE group_.rolname = 'payonce_engine'
                      AND pg_has_role(role.oid, group_.oid, 'USAGE')) AS is_engine,
           ARRAY(SELECT group_.rolname FROM pg_roles AS group_
                  WHERE (group_.rolsuper OR group_.rolbypassrls OR group_.rolname IN
                        ('payonce_engine', 'payonce_sender', 'payonce_keys', 'payonce_vault', 'payonce_audit',
                         'pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files', 'pg_write_server_files',
                         'pg_execute_server_program'))
                    AND pg_has_role(role.oid, group_.oid, 'MEMBER')) AS may_act_as,
           EXISTS (SELECT FROM pg_roles AS group_ WHERE group_.rolname = 'payonce_sender'
                      AND pg_has_role(role.oid, group_.oid, of_server.becoming)) AS may_send,
           ARRAY(SELECT kept.relname FROM pg_class AS kept WHERE kept.oid = ANY (of_tenants.tables)
                    AND pg_has_role(role.oid, kept.relowner, 'MEMBER')) AS owns,
           ARRAY(SELECT kept.relname FROM pg_class AS kept WHERE kept.oid = ANY (of_tenants.tables)
                    AND NOT row_security_active(kept.oid)) AS sees_all_of,
           cardinality(of_tenants.tables) > 0 AS kept_apart,
           (SELECT oid FROM pg_database WHERE datname = current_database()) || ' ' || pg_postmaster_start_time()
               AS server
      FROM pg_roles AS role
     CROSS JOIN (SELECT ARRAY(SELECT oid FROM pg_class WHERE relrowsecurity AND relkind IN ('r', 'p')
                                 AND relnamespace = to_regnamespace(current_schema())) AS tables) AS of_tenants
     CROSS JOIN (SELECT CASE WHEN current_setting('server_version_num')::int >= 160000
                             THEN 'SET' ELSE 'MEMBER' END AS becoming) AS of_server
     WHERE role.rolname = current_user
    """
)


async def check_engine_role(database: Database, *, sends_saved: bool = False) -> None:
    """Returns when the engine sees every row and, where it sends saved cards, may take them.

    Raises `SettingsWrong`: one that is held by policies finds nothing.
    """
    async with database.reading() as connection:
        role = await _role(connection)
    if not role["kept_apart"]:
        raise SettingsWrong(
            "PAYONCE_DATABASE_URL: the tables are of an earlier release; run `payonce db upgrade`"
        )
    if role["sees_all_of"] == [] and not role["is_engine"]:
        raise SettingsWrong(
            f"PAYONCE_DATABASE_URL: the role {role['name']} would see no row: it is not payonce_engine, nor the"
            f" owner of the tables ({_SEE})"
        )
    if sends_saved and not role["may_send"]:
        raise SettingsWrong(
            f"PAYONCE_DATABASE_URL: the role {role['name']} may not take saved cards out of the vault:"
            f" GRANT payonce_sender TO {role['name']} ({_SEE})"
        )


async def check_api_role(database: Database) -> None:
    """Returns when what the API serves is kept to one tenant by Postgres. Raises `SettingsWrong`."""
    if not database.tenants.are_apart:
        raise SettingsWrong(
            f"{_URL}: it is not set: API keys are served as payonce_api, to which Postgres shows one merchant at a"
            f" time ({_SEE})"
        )
    async with database.reading() as connection:
        engine = await _role(connection)
    try:
        async with database.tenants.reading(None) as connection:
            role = await _role(connection)
    except Exception as error:
        raise SettingsWrong(f"{_URL}: Postgres does not answer: {words_of(error)}") from error
    if role["server"] != engine["server"]:
        raise SettingsWrong(f"{_URL}: it leads to another database than PAYONCE_DATABASE_URL")
    for wrong in _wrong_with(role):
        raise SettingsWrong(
            f"{_URL}: the role {role['name']} {wrong}: it must be payonce_api, or a login that is a member of it and"
            f" of nothing else of payonce's ({_SEE})"
        )


def _wrong_with(role: RowMapping | dict[str, Any]) -> Iterator[str]:
    if role["superuser"]:
        yield "is a superuser, whom no policy holds"
    elif role["bypasses"]:
        yield "has BYPASSRLS, so no policy holds it"
    elif role["owns"]:
        yield "is the owner of tables, or may act as their owner, whom no policy holds"
    elif role["may_act_as"]:
        yield f"may act as {', '.join(sorted(role['may_act_as']))}"
    elif role["sees_all_of"]:
        yield f"sees every row of {', '.join(sorted(role['sees_all_of']))}"
    elif not role["is_api"]:
        yield "may do nothing"


async def _role(connection: Connection) -> RowMapping:
    return (await connection.execute(_ROLE)).mappings().one()

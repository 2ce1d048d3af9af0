"""What the catalogue says of tenants: no table was forgotten, and no right was given by the way."""

from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg import sql

TENANT, ENGINE = "payonce_api", "payonce_engine"
WHAT_TO_DO = (
    "In the migration that makes the table, call `keep_apart` of payonce/storage/migrations/tenancy.py with the verbs"
    " that each role needs, or `engine_only` where its rows belong to no merchant and the API has no business;"
    " then enter what the API may do in API_MAY of this test."
)
_READ, _APPEND, _WRITE = {"SELECT"}, {"SELECT", "INSERT"}, {"SELECT", "INSERT", "UPDATE"}
API_MAY = {
    "attempts": _WRITE,
    "credentials": _WRITE,
    "disputes": _READ,
    "events": _APPEND,
    "idempotency_keys": _WRITE,
    "merchant_profiles": _READ,
    "merchants": {"SELECT (id)", "UPDATE (id)"},
    "operations": _WRITE,
    "payment_methods": _WRITE,
    "payments": _WRITE,
    "receipt_erasures": _READ,
    "receipts": _WRITE,
    "reconciliations": _READ,
    "risk_lists": _READ,
    "returns": {f"SELECT ({name})" for name in ("operation_id", "attempt", "number", "digest")},
    "webhook_deliveries": _WRITE,
    "webhook_endpoints": {*_WRITE, "DELETE"},
    "webhook_jobs": _APPEND,
    "webhook_secrets": {*_WRITE, "DELETE"},
}
API_DOORS = {
    *("tenant_of_key", "payments_written_in", "events_written_in", "reconciliations_written_in"),
}
_TABLES = """
    SELECT c.relname AS name, c.relrowsecurity AS kept_apart,
           EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'merchant_id'
                      AND NOT a.attisdropped) AS of_merchants,
           ARRAY(SELECT unnest(p.polroles)::regrole::text FROM pg_policy p
                  WHERE p.polrelid = c.oid AND p.polpermissive) AS seen_by
      FROM pg_class c
     WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
"""
_RIGHTS = """
    SELECT table_name, verb FROM (
        SELECT c.relname AS table_name, c.relnamespace, given.grantee, given.privilege_type AS verb
          FROM pg_class c CROSS JOIN aclexplode(c.relacl) AS given
         UNION ALL
        SELECT c.relname, c.relnamespace, given.grantee, given.privilege_type || ' (' || a.attname || ')'
          FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid CROSS JOIN aclexplode(a.attacl) AS given
         ) AS granted
     WHERE relnamespace = 'public'::regnamespace
       AND grantee = coalesce(to_regrole(%(role)s)::oid, 0)
"""


@pytest.fixture
async def catalogue(module_database_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    url = module_database_url.replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        yield connection


async def tables(catalogue: psycopg.AsyncConnection) -> dict[str, tuple[bool, bool, list[str]]]:
    found = await (await catalogue.execute(_TABLES)).fetchall()
    return {name: (kept_apart, of_merchants, seen_by) for name, kept_apart, of_merchants, seen_by in found}


async def rights(catalogue: psycopg.AsyncConnection, role: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for table, right in await (await catalogue.execute(_RIGHTS, {"role": role})).fetchall():
        found.setdefault(table, set()).add(right)
    return found


async def test_every_table_with_a_merchant_is_kept_apart_by_the_database(
    catalogue: psycopg.AsyncConnection,
) -> None:
    found = await tables(catalogue)
    assert found["payments"][:2] == (True, True)  # it looks at the right thing

    forgotten = [name for name, (kept, of_merchants, _) in found.items() if of_merchants and not kept]
    assert not forgotten, f"{forgotten} have a merchant_id and no row-level security. {WHAT_TO_DO}"


async def test_whatever_the_api_may_touch_shows_it_one_tenant_and_the_engine_all(
    catalogue: psycopg.AsyncConnection,
) -> None:
    found, api, engine = (
        await tables(catalogue),
        await rights(catalogue, TENANT),
        await rights(catalogue, ENGINE),
    )

    for name, (kept, _, seen_by) in found.items():
        if name in api:
            assert kept, f"{name}: the API sees every tenant's rows. {WHAT_TO_DO}"
            assert TENANT in seen_by, f"{name}: the API sees none of its rows. {WHAT_TO_DO}"
        if kept:
            assert ENGINE in seen_by, f"{name}: the engine sees none of its rows. {WHAT_TO_DO}"
        assert name in engine, f"{name}: the engine may do nothing with it. {WHAT_TO_DO}"


async def test_the_api_may_do_with_each_table_what_it_has_to_and_nothing_else(
    catalogue: psycopg.AsyncConnection,
) -> None:
    assert await rights(catalogue, TENANT) == API_MAY, WHAT_TO_DO


async def test_what_lies_in_other_schemas_the_api_cannot_read(catalogue: psycopg.AsyncConnection) -> None:
    found = await catalogue.execute(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname NOT IN ('public', 'pg_catalog', 'information_schema')"
        " AND n.nspname NOT LIKE 'pg_toast%%' AND has_schema_privilege(%(role)s, n.oid, 'USAGE')"
        " AND has_any_column_privilege(%(role)s, c.oid, 'SELECT')",
        {"role": TENANT},
    )

    assert await found.fetchall() == []


async def test_no_other_schema_has_a_table_of_merchants_without_row_level_security(
    catalogue: psycopg.AsyncConnection,
) -> None:
    found = await catalogue.execute(
        "SELECT c.oid::regclass::text, c.relrowsecurity FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relkind IN ('r', 'p') AND a.attname = 'merchant_id' AND NOT a.attisdropped"
        " AND c.relnamespace IN ('vault'::regnamespace, 'audit'::regnamespace)"
    )
    kept_apart = dict(await found.fetchall())

    assert {"vault.cards", "audit.entries"} <= kept_apart.keys()
    assert all(kept_apart.values()), (
        f"{kept_apart}: ENABLE ROW LEVEL SECURITY in the migration, as its owner."
    )


async def test_who_was_let_into_the_vault_by_mistake_sees_no_card(catalogue: psycopg.AsyncConnection) -> None:
    await catalogue.execute(
        "SELECT vault.vault_put('vc_kept_apart', 'mer_1', 'test', 'card', 1, 'x', 'dk_kept_apart', 'x', 'k',"
        " ARRAY['1'], ARRAY[sha256('1')], 'fp_kept_apart', '1', sha256('1'), 9)"
    )
    assert await (await catalogue.execute("SELECT count(*) FROM vault.cards")).fetchone() == (1,)
    async with catalogue.transaction(force_rollback=True):
        await catalogue.execute("GRANT pg_read_all_data TO payonce_engine")
        await catalogue.execute("SET LOCAL ROLE payonce_engine")
        for table in ("cards", "fingerprint_hashes", "saves"):
            assert await (await catalogue.execute(f"SELECT FROM vault.{table}")).fetchall() == []


async def test_nobody_else_was_given_a_table(catalogue: psycopg.AsyncConnection) -> None:
    for role in ("PUBLIC", "payonce_sender", "payonce_keys", "payonce_vault"):
        assert (await rights(catalogue, role)).keys() & (await tables(catalogue)).keys() == set()


async def test_what_happened_and_who_decided_it_is_only_added_to(catalogue: psycopg.AsyncConnection) -> None:
    engine = await rights(catalogue, ENGINE)

    assert (engine["events"], engine["decisions"]) == (_APPEND, _APPEND)
    assert not any("TRUNCATE" in verbs for verbs in engine.values())


async def test_the_api_has_the_doors_that_ask_for_a_secret_or_tell_nothing(
    catalogue: psycopg.AsyncConnection,
) -> None:
    found = await catalogue.execute(
        "SELECT proname, proconfig FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef"
        " AND has_function_privilege(%s, oid, 'EXECUTE')",
        (TENANT,),
    )
    doors = dict(await found.fetchall())

    assert doors.keys() == API_DOORS
    assert all(setting == ["search_path=pg_catalog, pg_temp"] for setting in doors.values())


@pytest.mark.parametrize("role", [TENANT, ENGINE])
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM events",
        "UPDATE events SET type = 'payment.captured'",
        "TRUNCATE payments CASCADE",
        "DELETE FROM payments",
        "DELETE FROM idempotency_keys",
        "SELECT FROM vault.cards",
        "SELECT * FROM vault.vault_take('vc_1', 'mer_1', 'test', 'card')",
        "ALTER TABLE payments DISABLE ROW LEVEL SECURITY",
        "DROP POLICY tenant ON payments",
        "CREATE TABLE mine ()",
    ],
)
async def test_neither_role_may(catalogue: psycopg.AsyncConnection, role: str, statement: str) -> None:
    await catalogue.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await catalogue.execute(sql.SQL(statement))


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT FROM api_keys",
        "SELECT FROM connector_secrets",
        "SELECT FROM callbacks",
        "SELECT FROM reviews",
        "SELECT sealed FROM returns",
        "SELECT name FROM merchants",
        "INSERT INTO api_keys VALUES ('key_1', 'mer_1', 'test', '', '', now())",
        "UPDATE merchants SET return_origins = '{}'",
    ],
)
async def test_the_api_may_not(catalogue: psycopg.AsyncConnection, statement: str) -> None:
    await catalogue.execute("SET ROLE payonce_api")

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await catalogue.execute(sql.SQL(statement))

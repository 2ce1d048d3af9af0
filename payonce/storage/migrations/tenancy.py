"""For migrations: what the product's roles may do with a table, and which of its rows they see.

`payonce_api` serves what comes with an API key. It sees the rows of one merchant in one mode, whom its transaction
names (`Connection.speak_for`), and none while it names nobody. `payonce_engine` carries out and sees every row.
Whoever owns the tables migrates, and is held by no policy.

Every table that a migration makes is given to them here, once: `keep_apart` where rows belong to a merchant, by
themselves or by a parent, `engine_only` where no request with an API key reads or writes them. A test asks the
catalogue (tests/storage/tenants/test_catalogue.py). What is done here for a released migration never changes.
"""

from collections.abc import Iterable
from typing import Final

from alembic import op

API: Final = "payonce_api"
ENGINE: Final = "payonce_engine"
READ: Final = ("SELECT",)
APPEND: Final = ("SELECT", "INSERT")
WRITE: Final = ("SELECT", "INSERT", "UPDATE")
EVERYTHING: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")

# After the transaction that set it a setting is '' and not unset: both mean nobody.
MERCHANT: Final = "NULLIF(current_setting('payonce.merchant_id', true), '')"
MODE: Final = "NULLIF(current_setting('payonce.mode', true), '')"
OF_TENANT: Final = f"merchant_id = {MERCHANT} AND mode = {MODE}"


def of_parent(table: str, column: str, parent: str) -> str:
    """The rule for rows whose parent, which this column names by its id, belongs to the tenant.

    It sees of the parent's table what the role sees of it. Source: PostgreSQL, "Row Security Policies". `OFFSET 0`:
    each parent is looked up by its id; without, Postgres read all of the tenant's for one row (3.4 ms, measured).
    """
    return f"EXISTS (SELECT FROM {parent} AS parent WHERE parent.id = {table}.{column} OFFSET 0)"


def keep_apart(
    table: str,
    *,
    api: Iterable[str] = (),
    engine: Iterable[str] = EVERYTHING,
    rule: str = OF_TENANT,
    added: str | None = None,
) -> None:
    """The API's role may do `api` with the tenant's rows and sees no others; the engine may do `engine` with all.

    `rule` tells the tenant's rows; `added`: what a row that the API adds must fulfil besides. Safe to repeat.
    """
    api = tuple(api)
    statements = [
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        *_without_policies(table),
        f"CREATE POLICY engine ON {table} TO {ENGINE} USING (true) WITH CHECK (true)",
    ]
    if api:
        statements.append(f"CREATE POLICY tenant ON {table} TO {API} USING ({rule}) WITH CHECK ({rule})")
    if added is not None:
        statements.append(
            f"CREATE POLICY added ON {table} AS RESTRICTIVE FOR INSERT TO {API} WITH CHECK ({added})"
        )
    _at_once(*statements, *_granted(table, api=api, engine=engine))


def engine_only(table: str, *, engine: Iterable[str] = EVERYTHING) -> None:
    """The engine may do so with the table, whose rows belong to no merchant, and the API nothing. Safe to repeat."""
    _at_once(*_granted(table, api=(), engine=engine))


def undo(table: str) -> None:
    """As before: nobody but the owner has a right, and no policy holds anybody."""
    _at_once(
        *_without_policies(table),
        f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
        f"REVOKE ALL ON {table} FROM {API}, {ENGINE}",
    )


def _without_policies(table: str) -> list[str]:
    return [f"DROP POLICY IF EXISTS {name} ON {table}" for name in ("tenant", "added", "engine")]


def _granted(table: str, *, api: Iterable[str], engine: Iterable[str]) -> list[str]:
    """Rights on columns go with those on the table."""
    rights = ((API, ", ".join(api)), (ENGINE, ", ".join(engine)))
    granted = [f"GRANT {verbs} ON {table} TO {role}" for role, verbs in rights if verbs]
    return [f"REVOKE ALL ON {table} FROM {API}, {ENGINE}", *granted]


def _at_once(*statements: str) -> None:
    """In one statement, so that no moment has the half of it, whether in a transaction or not."""
    op.execute(f"DO $tenancy$ BEGIN {'; '.join(statements)}; END $tenancy$")

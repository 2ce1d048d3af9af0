"""reconciliation: what acquirers list of their charges, how far each list was read, and what was found"""

from alembic import op

from payonce.storage.migrations import tenancy

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

_RUNS = """
CREATE TABLE IF NOT EXISTS reconciliation_runs (
    id text PRIMARY KEY,
    account text NOT NULL,
    mode text NOT NULL,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    following text,
    pages bigint NOT NULL DEFAULT 0,
    charges bigint NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    stopped text,
    allowed_at timestamptz,
    CONSTRAINT reconciliation_runs_span_check CHECK (since < until)
)
"""
_OBJECTS = """
CREATE TABLE IF NOT EXISTS acquirer_objects (
    account text NOT NULL,
    acquirer_id text NOT NULL,
    kind text NOT NULL,
    charge_id text NOT NULL,
    reference text,
    payment_id text,
    currency text NOT NULL,
    amount_minor bigint NOT NULL,
    net_minor bigint NOT NULL,
    held_minor bigint NOT NULL,
    result text,
    created_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (account, acquirer_id)
)
"""
_MISSING = """
CREATE TABLE IF NOT EXISTS missing_attempts (
    account text NOT NULL,
    reference text NOT NULL,
    operation_id text NOT NULL,
    payment_id text NOT NULL,
    run text NOT NULL,
    missed_at timestamptz NOT NULL,
    PRIMARY KEY (account, reference)
)
"""
_FINDINGS = """
CREATE TABLE IF NOT EXISTS reconciliations (
    id text PRIMARY KEY,
    merchant_id text,
    mode text NOT NULL,
    account text NOT NULL,
    run text NOT NULL,
    result text NOT NULL,
    payment_id text,
    operation_id text,
    amount_here_minor bigint,
    amount_there_minor bigint,
    currency text,
    acquirer_reference text,
    created_at timestamptz NOT NULL,
    settled_at timestamptz,
    settled_by text,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT reconciliations_result_check CHECK (result IN ('matched', 'missing_there', 'charged_there',
        'orphan', 'foreign', 'amount', 'released_there', 'double_charge'))
)
"""
_STRETCH = "date_bin('06:00:00'::interval, created_at, '2000-01-01 00:00:00+00'::timestamptz)"
_INDEXES = (
    "UNIQUE INDEX IF NOT EXISTS reconciliation_runs_open_key ON reconciliation_runs (account)"
    " WHERE ended_at IS NULL",
    "INDEX IF NOT EXISTS reconciliation_runs_account_idx ON reconciliation_runs (account, started_at)",
    "INDEX IF NOT EXISTS acquirer_objects_reference_idx ON acquirer_objects (account, reference)",
    "INDEX IF NOT EXISTS acquirer_objects_live_idx ON acquirer_objects (payment_id)"
    " WHERE net_minor > 0 OR held_minor > 0",
    "INDEX IF NOT EXISTS acquirer_objects_orphan_idx ON acquirer_objects (reference) WHERE result = 'orphan'",
    "INDEX IF NOT EXISTS reconciliations_result_idx"
    " ON reconciliations (merchant_id, mode, result, xid, created_at, id)",
    "INDEX IF NOT EXISTS reconciliations_account_idx"
    " ON reconciliations (merchant_id, mode, account, result, xid, created_at, id)",
    f"INDEX IF NOT EXISTS reconciliations_made_idx ON reconciliations (({_STRETCH}), xid)",
    "INDEX IF NOT EXISTS reconciliations_open_idx ON reconciliations (created_at)"
    " WHERE settled_at IS NULL AND result NOT IN ('matched', 'foreign')",
)
# As those of payments and events: see migration 0024.
_WRITTEN_IN = f"""
CREATE OR REPLACE FUNCTION {{schema}}.reconciliations_written_in(p_after timestamptz, p_before timestamptz)
RETURNS TABLE (first text, last text) LANGUAGE plpgsql STABLE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN RETURN QUERY
    WITH RECURSIVE stretches AS (
        (SELECT {_STRETCH} AS begins, xid AS first_xid FROM {{schema}}.reconciliations
          WHERE {_STRETCH} > coalesce(p_after, '-infinity') - interval '6 hours'
            AND {_STRETCH} < coalesce(p_before, 'infinity')
          ORDER BY 1, 2 LIMIT 1)
         UNION ALL
        SELECT later.* FROM stretches CROSS JOIN LATERAL (
               SELECT {_STRETCH} AS begins, xid AS first_xid FROM {{schema}}.reconciliations
                WHERE {_STRETCH} > stretches.begins AND {_STRETCH} < coalesce(p_before, 'infinity')
                ORDER BY 1, 2 LIMIT 1) AS later)
    SELECT min(first_xid)::text,
           max((SELECT xid FROM {{schema}}.reconciliations
                 WHERE {_STRETCH} = begins ORDER BY xid DESC LIMIT 1))::text
      FROM stretches;
END $$
"""  # noqa: S608 - of constants only
_CLAIMED = "attempts_claimed_idx"


def upgrade() -> None:
    for table in (_RUNS, _OBJECTS, _MISSING, _FINDINGS):
        op.execute(table)
    for index in _INDEXES:
        op.execute(f"CREATE {index}")
    for table in ("reconciliation_runs", "acquirer_objects", "missing_attempts"):
        tenancy.engine_only(table)
    tenancy.keep_apart("reconciliations", api=tenancy.READ, engine=tenancy.WRITE)
    schema = op.get_bind().exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    door = f"{schema}.reconciliations_written_in"
    op.execute(_WRITTEN_IN.format(schema=schema))
    op.execute(f"REVOKE ALL ON FUNCTION {door} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {door} TO {tenancy.API}")
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_CLAIMED}")  # of an earlier try that broke off
        op.execute(f"CREATE INDEX CONCURRENTLY {_CLAIMED} ON attempts USING brin (claimed_at)")


def downgrade() -> None:
    op.drop_index(_CLAIMED, "attempts")
    op.execute("DROP FUNCTION IF EXISTS reconciliations_written_in")
    for table in ("reconciliations", "missing_attempts", "acquirer_objects", "reconciliation_runs"):
        op.drop_table(table)

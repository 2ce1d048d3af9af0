"""a span of time that has no end asks for its bound at one end only: half of the look-ups

What tells the transactions of a span (migrations 0024 and 0035) looked for the first and the last one of each stretch
of six hours. Without an end of the span no transaction is too late, and without a beginning none too early.
"""

from alembic import op

from payonce.storage.migrations.tenancy import ENGINE

revision = "0049"
down_revision = "0048"
branch_labels = None
depends_on = None

_TABLES = ("payments", "events", "reconciliations")
_STRETCH = "date_bin('06:00:00'::interval, created_at, '2000-01-01 00:00:00+00'::timestamptz)"
_FUNCTION = """
CREATE OR REPLACE FUNCTION {schema}.{table}_written_in(p_after timestamptz, p_before timestamptz)
RETURNS TABLE (first text, last text) LANGUAGE plpgsql STABLE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN RETURN QUERY {query}; END $$
"""
_WRITTEN = """
    WITH RECURSIVE upwards AS (
        (SELECT {stretch} AS begins, xid FROM {schema}.{table}
          WHERE p_after IS NOT NULL AND {stretch} > p_after - interval '6 hours'
            AND {stretch} < coalesce(p_before, 'infinity')
          ORDER BY 1, 2 LIMIT 1)
         UNION ALL
        SELECT next.* FROM upwards CROSS JOIN LATERAL (
               SELECT {stretch} AS begins, xid FROM {schema}.{table}
                WHERE {stretch} > upwards.begins AND {stretch} < coalesce(p_before, 'infinity')
                ORDER BY 1, 2 LIMIT 1) AS next
    ), downwards AS (
        (SELECT {stretch} AS begins, xid FROM {schema}.{table}
          WHERE p_before IS NOT NULL AND {stretch} < p_before
            AND {stretch} > coalesce(p_after, '-infinity') - interval '6 hours'
          ORDER BY 1 DESC, 2 DESC LIMIT 1)
         UNION ALL
        SELECT next.* FROM downwards CROSS JOIN LATERAL (
               SELECT {stretch} AS begins, xid FROM {schema}.{table}
                WHERE {stretch} < downwards.begins
                  AND {stretch} > coalesce(p_after, '-infinity') - interval '6 hours'
                ORDER BY 1 DESC, 2 DESC LIMIT 1) AS next
    ), bounds AS (
        SELECT (SELECT min(xid) FROM upwards) AS lowest, (SELECT max(xid) FROM downwards) AS highest
    )
    SELECT CASE WHEN coalesce(lowest, highest) IS NULL THEN NULL
                WHEN p_after IS NULL THEN '0' ELSE lowest::text END,
           CASE WHEN p_before IS NULL THEN '18446744073709551615' ELSE highest::text END
      FROM bounds
"""
_BOTH_ENDS = """
    WITH RECURSIVE stretches AS (
        (SELECT {stretch} AS begins, xid AS first_xid FROM {schema}.{table}
          WHERE {stretch} > coalesce(p_after, '-infinity') - interval '6 hours'
            AND {stretch} < coalesce(p_before, 'infinity')
          ORDER BY 1, 2 LIMIT 1)
         UNION ALL
        SELECT later.* FROM stretches CROSS JOIN LATERAL (
               SELECT {stretch} AS begins, xid AS first_xid FROM {schema}.{table}
                WHERE {stretch} > stretches.begins AND {stretch} < coalesce(p_before, 'infinity')
                ORDER BY 1, 2 LIMIT 1) AS later)
    SELECT min(first_xid)::text,
           max((SELECT xid FROM {schema}.{table} WHERE {stretch} = begins ORDER BY xid DESC LIMIT 1))::text
      FROM stretches
"""


def upgrade() -> None:
    _replace(_WRITTEN)
    for table in _TABLES:
        op.execute(f"GRANT EXECUTE ON FUNCTION {table}_written_in TO {ENGINE}")


def downgrade() -> None:
    for table in _TABLES:
        op.execute(f"REVOKE EXECUTE ON FUNCTION {table}_written_in FROM {ENGINE}")
    _replace(_BOTH_ENDS)


def _replace(query: str) -> None:
    schema = op.get_bind().exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    for table in _TABLES:
        of = {"schema": schema, "table": table}
        op.execute(_FUNCTION.format(**of, query=query.format(**of, stretch=_STRETCH)))

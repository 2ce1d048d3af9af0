"""tenants: which rows the API's role sees, and what it and the engine may do with each table

The roles are there since 0020, as whom nobody logs in before an operator says so. For the owner of the tables, who
migrates, nothing changes; any other role that reads them sees nothing from now on, unless it is made a member of
`payonce_engine`. Each table in a transaction of its own, so that no exclusive lock is kept while another is waited for.
"""

from typing import Any

from alembic import op

from payonce.storage.migrations.tenancy import (
    API,
    APPEND,
    ENGINE,
    EVERYTHING,
    MERCHANT,
    READ,
    WRITE,
    engine_only,
    keep_apart,
    of_parent,
    undo,
)

revision = "0024"
down_revision = "0028"
branch_labels = None
depends_on = None

_KEPT_APART: dict[str, dict[str, Any]] = {
    # It locks its merchant's row, for which Postgres wants a right to update: of what a policy keeps as it is.
    "merchants": {"api": ("SELECT (id)", "UPDATE (id)"), "engine": WRITE, "rule": f"id = {MERCHANT}"},
    "api_keys": {"engine": WRITE},
    "connector_accounts": {"engine": WRITE},
    "payments": {"api": WRITE, "engine": WRITE},
    "operations": {"api": WRITE, "engine": WRITE},
    "attempts": {
        "api": WRITE,
        "engine": WRITE,
        "rule": of_parent("attempts", "payment_id", "payments"),
    },
    "returns": {
        "api": ("SELECT (operation_id, attempt, number, digest)",),
        "engine": WRITE,
        "rule": of_parent("returns", "operation_id", "operations"),
    },
    "reviews": {"engine": WRITE},
    "idempotency_keys": {"api": WRITE, "engine": WRITE},
    "events": {"api": APPEND, "engine": APPEND},
    "webhook_endpoints": {"api": EVERYTHING, "engine": EVERYTHING},
    "webhook_secrets": {
        "api": EVERYTHING,
        "rule": of_parent("webhook_secrets", "endpoint_id", "webhook_endpoints"),
    },
    "webhook_deliveries": {
        "api": WRITE,
        "engine": WRITE,
        "rule": of_parent("webhook_deliveries", "event_id", "events"),  # an endpoint may be gone
        "added": of_parent("webhook_deliveries", "endpoint_id", "webhook_endpoints"),
    },
    "webhook_jobs": {"api": APPEND, "engine": WRITE},
    "payment_methods": {"api": WRITE, "engine": EVERYTHING},
    "credentials": {
        "api": WRITE,
        "rule": of_parent("credentials", "payment_method_id", "payment_methods"),
    },
    "merchant_profiles": {"api": READ, "engine": EVERYTHING, "rule": f"merchant_id = {MERCHANT}"},
    "receipts": {"api": WRITE, "engine": EVERYTHING},
    "receipt_erasures": {"api": READ, "engine": WRITE},
}
_OF_THE_ENGINE = {
    "connector_secrets": EVERYTHING,
    "legs": WRITE,
    "decisions": APPEND,
    "callbacks": EVERYTHING,
    "issuer_table": WRITE,
    "issuer_ranges": EVERYTHING,
    "alembic_version": READ,
}

# The doors of the API's role to what it does not know the tenant of: by a secret, or by what tells nothing.
_DOORS = {
    # Who presents a key, before anybody is known.
    "tenant_of_key(p_key_hash bytea)": """
        RETURNS TABLE (key_id text, merchant_id text, mode text, merchant jsonb) LANGUAGE sql STABLE {definer} AS $$
            SELECT k.id, k.merchant_id, k.mode, to_jsonb(m)
            FROM {schema}.api_keys k JOIN {schema}.merchants m ON m.id = k.merchant_id
            WHERE k.key_hash = p_key_hash AND k.revoked_at IS NULL
        $$""",
    # Whose customer comes back, by the hash of the token in the address.
    "tenant_of_return(p_return_hash bytea)": """
        RETURNS TABLE (merchant_id text, mode text, payment_id text, operation_id text, number smallint)
        LANGUAGE sql STABLE {definer} AS $$
            SELECT p.merchant_id, p.mode, p.id, a.operation_id, a.number
            FROM {schema}.attempts a JOIN {schema}.payments p ON p.id = a.payment_id
            WHERE a.return_hash = p_return_hash
        $$""",
    # What a payment's code says while its customer is to scan one, for whoever knows the payment's id.
    "code_of_payment(p_payment_id text)": """
        RETURNS text LANGUAGE sql STABLE {definer} AS $$
            SELECT p.next_action ->> 'url' FROM {schema}.payments p
            WHERE p.id = p_payment_id AND p.next_action::jsonb ? 'image_url'
        $$""",
    **{
        # Which transactions wrote what was made in a span of time (`storage.spans`): numbers that belong to nobody.
        # The index that tells is one over all merchants, and no policy lets Postgres use it.
        f"{table}_written_in(p_after timestamptz, p_before timestamptz)": f"""
        RETURNS TABLE (first text, last text) LANGUAGE plpgsql STABLE {{definer}} AS $$
        BEGIN RETURN QUERY
            WITH RECURSIVE stretches AS (
                (SELECT {stretch} AS begins, xid AS first_xid FROM {{schema}}.{table}
                  WHERE {stretch} > coalesce(p_after, '-infinity') - interval '6 hours'
                    AND {stretch} < coalesce(p_before, 'infinity')
                  ORDER BY 1, 2 LIMIT 1)
                 UNION ALL
                SELECT later.* FROM stretches CROSS JOIN LATERAL (
                       SELECT {stretch} AS begins, xid AS first_xid FROM {{schema}}.{table}
                        WHERE {stretch} > stretches.begins AND {stretch} < coalesce(p_before, 'infinity')
                        ORDER BY 1, 2 LIMIT 1) AS later)
            SELECT min(first_xid)::text,
                   max((SELECT xid FROM {{schema}}.{table}
                         WHERE {stretch} = begins ORDER BY xid DESC LIMIT 1))::text
              FROM stretches;
        END $$"""  # noqa: S608 - of constants only
        for stretch in ("date_bin('06:00:00'::interval, created_at, '2000-01-01 00:00:00+00'::timestamptz)",)
        for table in ("payments", "events")
    },
}
_DEFINER = "SECURITY DEFINER SET search_path = pg_catalog, pg_temp"


def upgrade() -> None:
    schema = op.get_bind().exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    with op.get_context().autocommit_block():
        op.execute(f"GRANT USAGE ON SCHEMA {schema} TO {API}, {ENGINE}")
        for table, given in _KEPT_APART.items():
            keep_apart(table, **given)
        for table, verbs in _OF_THE_ENGINE.items():
            engine_only(table, engine=verbs)
    for signature, body in _DOORS.items():
        op.execute(
            f"CREATE OR REPLACE FUNCTION {schema}.{signature} {body.format(schema=schema, definer=_DEFINER)}"
        )
        name = signature.partition("(")[0]
        op.execute(f"REVOKE ALL ON FUNCTION {schema}.{name} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {schema}.{name} TO {API}")


def downgrade() -> None:
    for signature in _DOORS:
        op.execute(f"DROP FUNCTION IF EXISTS {signature.partition('(')[0]}")
    with op.get_context().autocommit_block():
        for table in (*_KEPT_APART, *_OF_THE_ENGINE):
            undo(table)

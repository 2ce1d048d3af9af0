"""authentication: what was asked for, who may come back, what a browser brought, and the legs that sent it on

Every column is empty in the rows that are there, and nothing is rewritten. In transactions of their own, so that no
exclusive lock is kept while a table is read; what broke off begins again.
"""

from alembic import op

revision = "0017"
down_revision = "0015"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("attempts", "completes", "text"),
    ("attempts", "returned_at", "timestamptz"),
    ("attempts", "return_hash", "bytea"),
    ("payments", "sca", "jsonb"),
    ("payments", "authentication", "jsonb"),
    ("merchants", "return_origins", "text[] DEFAULT '{}' NOT NULL"),
)
_CHECK = "attempts_completes_check"
_INDEXES = {
    "attempts_return_idx": (
        "CREATE UNIQUE INDEX CONCURRENTLY attempts_return_idx ON attempts (return_hash)"
        " WHERE return_hash IS NOT NULL"
    ),
    "returns_sealed_idx": (
        "CREATE INDEX CONCURRENTLY returns_sealed_idx ON returns (received_at) WHERE sealed IS NOT NULL"
    ),
}


def upgrade() -> None:
    for table, name, definition in _COLUMNS:
        op.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {name} {definition}")
    op.execute(f"ALTER TABLE attempts DROP CONSTRAINT IF EXISTS {_CHECK}")
    op.create_check_constraint(
        op.f(_CHECK), "attempts", "completes IN ('customer', 'resume')", postgresql_not_valid=True
    )
    op.execute("""
        CREATE TABLE IF NOT EXISTS returns (
            operation_id text NOT NULL,
            attempt smallint NOT NULL,
            number smallint NOT NULL CONSTRAINT returns_number_check CHECK (number BETWEEN 1 AND 5),
            digest bytea NOT NULL,
            key_id text,
            sealed bytea,
            received_at timestamptz NOT NULL,
            CONSTRAINT returns_pkey PRIMARY KEY (operation_id, attempt, number),
            CONSTRAINT returns_operation_id_attempt_digest_key UNIQUE (operation_id, attempt, digest),
            CONSTRAINT returns_sealed_check CHECK ((key_id IS NULL) = (sealed IS NULL)),
            CONSTRAINT returns_operation_id_fkey FOREIGN KEY (operation_id, attempt)
                REFERENCES attempts (operation_id, number)
        )""")
    op.execute("""
        CREATE TABLE IF NOT EXISTS legs (
            operation_id text NOT NULL,
            attempt smallint NOT NULL,
            number smallint NOT NULL,
            owner text NOT NULL,
            token text NOT NULL,
            send_before timestamptz NOT NULL,
            claimed_at timestamptz NOT NULL,
            state text NOT NULL,
            CONSTRAINT legs_pkey PRIMARY KEY (operation_id, attempt, number),
            CONSTRAINT legs_state_check
                CHECK (state IN ('claimed', 'not_sent', 'unknown', 'invalid', 'done')),
            CONSTRAINT legs_operation_id_fkey FOREIGN KEY (operation_id, attempt, number)
                REFERENCES returns (operation_id, attempt, number)
        )""")
    with op.get_context().autocommit_block():
        op.execute(f"ALTER TABLE attempts VALIDATE CONSTRAINT {_CHECK}")  # reads and writes go on
        for name, made in _INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(made)


def downgrade() -> None:
    op.drop_table("legs")
    op.drop_table("returns")
    op.drop_index("attempts_return_idx", table_name="attempts")
    op.drop_constraint(op.f(_CHECK), "attempts")
    for table, name, _ in _COLUMNS:
        op.drop_column(table, name)

"""accepted: captures that the acquirer has accepted stand aside, and block no others

Both columns are empty in the rows that are there, and nothing is rewritten. In transactions of their own, so that no
exclusive lock is kept while a table is read; what broke off begins again.
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_COLUMNS = (("payments", "accepted_captures", "jsonb"), ("operations", "accepted_at", "timestamptz"))
_BEFORE, _NOW = "operations_one_pending_key", "operations_one_blocking_key"
_BLOCKING = "status = 'pending' AND kind IN ('capture', 'void', 'expire')"


def upgrade() -> None:
    for table, name, definition in _COLUMNS:
        op.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {name} {definition}")
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_NOW}")
        op.execute(
            f"CREATE UNIQUE INDEX CONCURRENTLY {_NOW} ON operations (payment_id)"
            f" WHERE {_BLOCKING} AND accepted_at IS NULL"
        )
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_BEFORE}")


def downgrade() -> None:
    """Raises `IntegrityError` while several captures of a payment have no outcome: the earlier version holds one."""
    op.execute(f"CREATE UNIQUE INDEX {_BEFORE} ON operations (payment_id) WHERE {_BLOCKING}")
    op.drop_index(_NOW, table_name="operations")
    for table, name, _ in _COLUMNS:
        op.drop_column(table, name)

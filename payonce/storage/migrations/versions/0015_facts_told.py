"""facts told: what a callback carries, and that nobody knows what it is about

Both columns are empty in the rows that are there, and nothing is rewritten. In transactions of their own, so that no
exclusive lock is kept while a table is read; what broke off begins again.
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_COLUMNS = (("fact", "jsonb"), ("unknown_at", "timestamptz"))
_INDEXES = {
    "callbacks_forget_idx": (
        "CREATE INDEX CONCURRENTLY callbacks_forget_idx ON callbacks (received_at) WHERE fact IS NULL"
    ),
    "callbacks_facts_idx": (
        "CREATE INDEX CONCURRENTLY callbacks_facts_idx ON callbacks (reference) WHERE fact IS NOT NULL"
    ),
    "callbacks_unknown_idx": (
        "CREATE INDEX CONCURRENTLY callbacks_unknown_idx ON callbacks (unknown_at) WHERE unknown_at IS NOT NULL"
    ),
}


def upgrade() -> None:
    for name, definition in _COLUMNS:
        op.execute(f"ALTER TABLE callbacks ADD COLUMN IF NOT EXISTS {name} {definition}")
    with op.get_context().autocommit_block():
        for name, made in _INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(made)
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS callbacks_received_idx")


def downgrade() -> None:
    op.create_index("callbacks_received_idx", "callbacks", ["received_at"])
    for name in _INDEXES:
        op.drop_index(name, "callbacks")
    for name, _ in _COLUMNS:
        op.drop_column("callbacks", name)

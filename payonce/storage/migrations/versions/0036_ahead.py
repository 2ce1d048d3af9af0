"""which accounts are ahead of Postgres is asked every few seconds by every process

The index holds what was stopped and is not allowed again: nothing, as a rule.
"""

from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS reconciliation_runs_stopped_idx")
        op.execute(
            "CREATE INDEX CONCURRENTLY reconciliation_runs_stopped_idx ON reconciliation_runs (account)"
            " WHERE stopped IS NOT NULL AND allowed_at IS NULL"
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS reconciliation_runs_stopped_idx")

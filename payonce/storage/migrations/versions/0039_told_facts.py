"""what callbacks told is read once more by reconciliation, account by account, by when it came"""

from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS callbacks_told_idx")  # of an earlier try that broke off
        op.execute(
            "CREATE INDEX CONCURRENTLY callbacks_told_idx"
            " ON callbacks (connector_account, received_at, event_id) WHERE fact IS NOT NULL"
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS callbacks_told_idx")

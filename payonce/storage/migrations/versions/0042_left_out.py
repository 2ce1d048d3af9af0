"""what a run of reconciliation could not read: it is not whole, and the next one reads from where the last whole one
ended
"""

from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE reconciliation_runs ADD COLUMN IF NOT EXISTS left_out bigint NOT NULL DEFAULT 0")


def downgrade() -> None:
    op.drop_column("reconciliation_runs", "left_out")

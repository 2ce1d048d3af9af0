"""receipts that cannot be drawn: how often it was tried, and until when none is tried any more

The columns are new and empty; what waits goes on.
"""

from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE receipts"
        " ADD COLUMN IF NOT EXISTS not_drawn integer NOT NULL DEFAULT 0,"
        " ADD COLUMN IF NOT EXISTS given_up_until timestamptz"
    )


def downgrade() -> None:
    """What was given up is tried again."""
    op.execute("UPDATE receipts SET due_at = now() WHERE given_up_until IS NOT NULL")
    op.execute("ALTER TABLE receipts DROP COLUMN given_up_until, DROP COLUMN not_drawn")

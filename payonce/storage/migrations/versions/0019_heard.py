"""heard: when each connector account's latest callback came

Empty in the rows that are there, and nothing is rewritten.
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE connector_accounts ADD COLUMN IF NOT EXISTS heard_at timestamptz")


def downgrade() -> None:
    op.drop_column("connector_accounts", "heard_at")

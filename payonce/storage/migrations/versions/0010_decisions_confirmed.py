"""decisions confirmed: what a person decided ahead of the acquirer's word, and whether who decided had signed in

Columns with a constant default: no row is written. A process of the version before leaves both at it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE operations ADD COLUMN IF NOT EXISTS amount_ahead_minor bigint NOT NULL DEFAULT 0")
    op.add_column(
        "decisions", sa.Column("authenticated", sa.Boolean(), server_default="false", nullable=False)
    )


def downgrade() -> None:
    op.drop_column("decisions", "authenticated")
    op.drop_column("operations", "amount_ahead_minor")

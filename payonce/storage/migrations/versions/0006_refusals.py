"""refusals: how often the engine refused to take an operation, whatever time passes"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("operations", sa.Column("refusals", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("operations", "refusals")

"""async rails: attempts that wait for a customer, the inbox of callbacks"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_STATES = "'claimed', 'not_sent', 'waiting', 'unknown', 'reversing', 'approved', 'declined', 'not_processed'"


def upgrade() -> None:
    op.add_column("operations", sa.Column("rail", postgresql.JSON(none_as_null=True), nullable=True))
    op.add_column("attempts", sa.Column("act_before", sa.DateTime(timezone=True), nullable=True))
    op.drop_constraint(op.f("attempts_state_check"), "attempts", type_="check")
    op.create_check_constraint(op.f("attempts_state_check"), "attempts", f"state IN ({_STATES})")
    op.create_table(
        "callbacks",
        sa.Column("connector", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("handled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sweep_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sweeps", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("connector", "event_id", name=op.f("callbacks_pkey")),
    )
    op.create_index(
        "callbacks_sweep_idx",
        "callbacks",
        ["sweep_at"],
        unique=False,
        postgresql_where=sa.text("handled_at IS NULL"),
    )
    op.create_index("callbacks_received_idx", "callbacks", ["received_at"], unique=False)

"""released: creates that were given back leave the sweeper's queue, which has an index for each kind

Creates that are given back by now are found by their latest attempt; the day after which one is closed goes on from
its admission, as it did. The old index goes at once: beside it the planner may walk through everything given back.
A process of the release before that still runs sweeps without an index until it ends.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_DUE = "status = 'pending' AND (released_at IS NULL OR deferred_at IS NOT NULL)"
_RELEASED = "status = 'pending' AND released_at IS NOT NULL AND deferred_at IS NULL"
_MARK = """
    UPDATE operations
       SET released_at = operations.created_at
     WHERE operations.status = 'pending' AND operations.kind = 'authorize'
       AND (SELECT attempts.state FROM attempts WHERE attempts.operation_id = operations.id
             ORDER BY attempts.number DESC LIMIT 1) = 'not_sent'
"""


def upgrade() -> None:
    op.add_column("operations", sa.Column("released_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("operations", sa.Column("behind_since", sa.DateTime(timezone=True), nullable=True))
    op.execute(_MARK)
    op.create_index(
        "operations_due_idx", "operations", ["kind", "sweep_at"], unique=False, postgresql_where=sa.text(_DUE)
    )
    op.create_index(
        "operations_released_idx",
        "operations",
        ["released_at"],
        unique=False,
        postgresql_where=sa.text(_RELEASED),
    )
    op.drop_index(
        "operations_sweep_idx", table_name="operations", postgresql_where=sa.text("status = 'pending'")
    )


def downgrade() -> None:
    op.create_index(
        "operations_sweep_idx",
        "operations",
        ["sweep_at"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.drop_index("operations_released_idx", table_name="operations", postgresql_where=sa.text(_RELEASED))
    op.drop_index("operations_due_idx", table_name="operations", postgresql_where=sa.text(_DUE))
    op.drop_column("operations", "behind_since")
    op.drop_column("operations", "released_at")

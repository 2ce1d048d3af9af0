"""released: creates that were given back leave the sweeper's queue, which has an index for each kind

Creates that are given back by now are found by their latest attempt; the day after which one is closed goes on from
its admission, as it did. In three transactions, so that no exclusive lock is kept while a table is read; what is there
already is left as it is.

`operations_sweep_idx` stays for the processes of the release before, which look into it every second; a later
migration drops it. This release's queries do not read it, however many creates are given back (a test counts).
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
       AND operations.released_at IS NULL
       AND (SELECT attempts.state FROM attempts WHERE attempts.operation_id = operations.id
             ORDER BY attempts.number DESC LIMIT 1) = 'not_sent'
"""
_INDEXES = (
    ("operations_due_idx", ("kind", "sweep_at"), _DUE),
    ("operations_released_idx", ("released_at",), _RELEASED),
)


def upgrade() -> None:
    for name in ("released_at", "behind_since"):
        op.execute(f"ALTER TABLE operations ADD COLUMN IF NOT EXISTS {name} timestamptz")
    with op.get_context().autocommit_block():
        op.execute(_MARK)
    for name, columns, condition in _INDEXES:
        where = sa.text(condition)
        op.create_index(name, "operations", list(columns), postgresql_where=where, if_not_exists=True)


def downgrade() -> None:
    for name, _, _ in _INDEXES:
        op.drop_index(name, table_name="operations")
    for column in ("behind_since", "released_at"):
        op.drop_column("operations", column)

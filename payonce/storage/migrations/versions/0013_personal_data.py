"""personal data: what acquirers need of a customer, sealed; the channel and the statement's text

Columns without a default: no row is written. The index holds only payments that have personal data, none of which is
there yet, and is built concurrently. What is there already is left as it is: one that broke off begins again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_COLUMNS = {
    "statement_descriptor": "text",
    "channel": "text",
    "personal_key_id": "text",
    "personal_sealed": "bytea",
}
_CHECKS = {
    "payments_channel_check": "channel IN ('web', 'ios', 'android', 'moto')",
    "payments_personal_check": "(personal_key_id IS NULL) = (personal_sealed IS NULL)",
}
_INDEX = "payments_personal_idx"


def upgrade() -> None:
    for name, type_ in _COLUMNS.items():
        op.execute(f"ALTER TABLE payments ADD COLUMN IF NOT EXISTS {name} {type_}")
    for name, condition in _CHECKS.items():
        op.execute(f"ALTER TABLE payments DROP CONSTRAINT IF EXISTS {name}")
        op.create_check_constraint(op.f(name), "payments", condition, postgresql_not_valid=True)
    with op.get_context().autocommit_block():
        for name in _CHECKS:
            op.execute(f"ALTER TABLE payments VALIDATE CONSTRAINT {name}")  # reads and writes go on
        if not _is_valid(_INDEX):
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_INDEX}")
            op.execute(
                f"CREATE INDEX CONCURRENTLY {_INDEX} ON payments (created_at, id)"
                " WHERE personal_sealed IS NOT NULL"
            )


def downgrade() -> None:
    op.drop_index(_INDEX, "payments")
    for name in _CHECKS:
        op.drop_constraint(op.f(name), "payments")
    for name in _COLUMNS:
        op.drop_column("payments", name)


def _is_valid(name: str) -> bool:
    query = sa.text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
    return bool(op.get_bind().execute(query, {"name": name}).scalar())

"""facts of acquirers: who an attempt was sent to, the codes of a decline, the evidence of an approval

Columns without a default: no row is written. What is there already is left as it is: one that broke off begins again.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_COLUMNS = {"acquirer_identity": "text", "decline": "jsonb", "evidence": "jsonb"}


def upgrade() -> None:
    for name, type_ in _COLUMNS.items():
        op.execute(f"ALTER TABLE attempts ADD COLUMN IF NOT EXISTS {name} {type_}")


def downgrade() -> None:
    for name in _COLUMNS:
        op.drop_column("attempts", name)

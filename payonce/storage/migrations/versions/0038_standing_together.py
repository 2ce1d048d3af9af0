"""charges that stand beside another of their payment are marked, so that double charges are found among those alone"""

from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None

_INDEX = "acquirer_objects_together_idx"


def upgrade() -> None:
    op.execute(
        "ALTER TABLE acquirer_objects"
        " ADD COLUMN IF NOT EXISTS stands_with_another boolean NOT NULL DEFAULT false"
    )
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_INDEX}")  # of an earlier try that broke off
        op.execute(
            f"CREATE INDEX CONCURRENTLY {_INDEX} ON acquirer_objects (payment_id) WHERE stands_with_another"
        )
        op.execute(
            "UPDATE acquirer_objects SET stands_with_another = true"
            " WHERE (net_minor > 0 OR held_minor > 0) AND NOT stands_with_another"
            "   AND payment_id IN (SELECT payment_id FROM acquirer_objects"
            "                       WHERE net_minor > 0 OR held_minor > 0"
            "                       GROUP BY payment_id HAVING count(*) > 1)"
        )


def downgrade() -> None:
    op.drop_column("acquirer_objects", "stands_with_another")

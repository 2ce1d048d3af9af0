"""answers forgotten: when the sweeper may look at a key's answer, in an index of those that have one

Only keys that have an answer still, or none yet, are in it, so it has those of thirty days. Keys that are there get
their time in steps, each by itself: what broke off is gone on with. A process of the release before gives new keys
their time through the column's default.
"""

from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

_BLOCKS = 1_000  # of a step: 8 MB
_INDEX = "idempotency_keys_forget_idx"
# One hour more than answers are kept: it is answered soon after it is made, and so looked at once.
_FROM = "interval '30 days 1 hour'"
_STEP = f"""
    UPDATE idempotency_keys
       SET forget_at = CASE WHEN answered_at IS NULL THEN now() + {_FROM} ELSE answered_at + {_FROM} END
     WHERE ctid >= '({{first}},0)' AND ctid < '({{next}},0)'
       AND forget_at IS NULL AND (answered_at IS NULL OR answer_body IS NOT NULL)
"""  # noqa: S608 - of constants only


def upgrade() -> None:
    op.execute("ALTER TABLE idempotency_keys ADD COLUMN IF NOT EXISTS forget_at timestamptz")
    op.execute(f"ALTER TABLE idempotency_keys ALTER forget_at SET DEFAULT now() + {_FROM}")
    with op.get_context().autocommit_block():
        size = "SELECT pg_relation_size('idempotency_keys') / current_setting('block_size')::bigint"
        blocks = op.get_bind().exec_driver_sql(size).scalar_one()
        for first in range(0, blocks, _BLOCKS):
            op.execute(_STEP.format(first=first, next=first + _BLOCKS))
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_INDEX}")  # of an earlier try that broke off
        op.execute(
            f"CREATE INDEX CONCURRENTLY {_INDEX} ON idempotency_keys (forget_at) WHERE forget_at IS NOT NULL"
        )


def downgrade() -> None:
    op.drop_column("idempotency_keys", "forget_at")

"""operations that accept a dispute, one at a time for each

The check on kinds is replaced under a short lock, and looks at the rows that are there afterwards, without one.
"""

from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None

_KINDS = "'authorize', 'capture', 'void', 'refund', 'expire', 'reverse', 'undo', 'redo'"
_CHECKS = {
    "operations_kind_check": f"kind IN ({_KINDS}, 'accept')",
    "operations_dispute_check": "(dispute_id IS NOT NULL) = (kind = 'accept')",
}
_INDEX = "operations_one_acceptance_key"
# The version before cannot show it. Before anything else: a check that only the rows there fail would hold for them
# as soon as they change, and no acceptance under way could be recorded any more.
_UNLESS_ACCEPTED = """
    DO $$ BEGIN
        IF EXISTS (SELECT FROM operations WHERE kind = 'accept') THEN
            RAISE EXCEPTION 'disputes were accepted, which the version before cannot show';
        END IF;
    END $$
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE operations ADD COLUMN IF NOT EXISTS dispute_id text")
        for name, condition in _CHECKS.items():
            op.execute(
                f"ALTER TABLE operations DROP CONSTRAINT IF EXISTS {name},"
                f" ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID"
            )
            op.execute(f"ALTER TABLE operations VALIDATE CONSTRAINT {name}")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_INDEX}")  # of an earlier try that broke off
        op.execute(
            f"CREATE UNIQUE INDEX CONCURRENTLY {_INDEX} ON operations (dispute_id)"
            " WHERE status = 'pending' AND kind = 'accept'"
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(_UNLESS_ACCEPTED)
        op.execute(
            "ALTER TABLE operations DROP CONSTRAINT IF EXISTS operations_kind_check,"
            f" ADD CONSTRAINT operations_kind_check CHECK (kind IN ({_KINDS})) NOT VALID"
        )
        op.execute("ALTER TABLE operations VALIDATE CONSTRAINT operations_kind_check")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_INDEX}")
        op.execute("ALTER TABLE operations DROP CONSTRAINT IF EXISTS operations_dispute_check")
        op.execute("ALTER TABLE operations DROP COLUMN IF EXISTS dispute_id")

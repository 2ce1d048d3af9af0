"""an index of events by time is without their ids, so that those of one transaction share an entry

Recoveries and replays go by it; nothing is ordered by time and id. The old one goes when the new one is there, for the
version before, too.
"""

from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None

_INDEX, _BEFORE = "events_time_idx", "events_list_idx"


def upgrade() -> None:
    _replace(_BEFORE, by=f"{_INDEX} ON events (merchant_id, mode, created_at)")


def downgrade() -> None:
    _replace(_INDEX, by=f"{_BEFORE} ON events (merchant_id, mode, created_at, id)")


def _replace(index: str, *, by: str) -> None:
    with op.get_context().autocommit_block():
        name = by.partition(" ")[0]
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")  # of an earlier try that broke off
        op.execute(f"CREATE INDEX CONCURRENTLY {by}")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}")

"""indexes of lists of events are without ids and sequences: transaction and time are their order, nearly alone

The events of one transaction, most often two, share an entry of the list of all; they are put in order when they are
read. An old index goes when the new one is there, for the version before, too, whose lists are the same.
"""

from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None

_PLACE = "xid, created_at"
_INDEXES = {  # the new one's name, the old one's, and what both are of
    "events_by_place_idx": ("events_place_idx", "events (merchant_id, mode, {place})"),
    "events_by_type_idx": ("events_type_idx", "events (merchant_id, mode, type, {place})"),
}


def upgrade() -> None:
    for new, (old, of) in _INDEXES.items():
        _replace(old, by=new, of=of.format(place=_PLACE))


def downgrade() -> None:
    for new, (old, of) in _INDEXES.items():
        _replace(new, by=old, of=of.format(place=f"{_PLACE}, sequence, id"))


def _replace(index: str, *, by: str, of: str) -> None:
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {by}")  # of an earlier try that broke off
        op.execute(f"CREATE INDEX CONCURRENTLY {by} ON {of}")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}")

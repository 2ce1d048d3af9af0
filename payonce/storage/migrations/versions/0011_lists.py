"""lists: an index for every filter and for what goes together, and none besides that payments would pay for

Built concurrently: nothing waits for one but the migration. One that broke off leaves an index that is not valid; it
is dropped and built anew. Those that are not needed any more go at once, since Postgres, where nearly all rows have one
status, takes an index without the status for as good, and then looks for a rare one in all rows. A process of the
version before finds the same without them, and sorts for it: its lists are slow until it is replaced.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_STRETCH = (
    "date_bin('06:00:00'::interval, created_at, '2000-01-01 00:00:00+00'::timestamp with time zone)"  # UTC
)
_ADDED = {
    "payments_made_idx": f"payments ({_STRETCH}, xid)",
    "payments_referred_idx": "payments (merchant_id, mode, merchant_reference, status, xid, created_at, id)"
    " WHERE merchant_reference IS NOT NULL",
    "events_made_idx": f"events ({_STRETCH}, xid)",
    "webhook_deliveries_listed_idx": "webhook_deliveries (endpoint_id, status, xid, created_at, sequence, id)",
}
_DROPPED = {
    "payments_reference_idx": "payments (merchant_id, mode, merchant_reference)",
    "payments_place_idx": "payments (merchant_id, mode, xid, created_at, id)",
    "payments_list_idx": "payments (merchant_id, mode, created_at, id)",
    "payments_key_idx": "payments (merchant_id, mode, idempotency_key)",
    "webhook_deliveries_place_idx": "webhook_deliveries (endpoint_id, xid, created_at, sequence, id)",
    "webhook_deliveries_status_idx": "webhook_deliveries (endpoint_id, status, xid, created_at, sequence, id)"
    " WHERE status IN ('exhausted', 'dropped')",
    "operations_list_idx": "operations (merchant_id, mode, created_at, id) WHERE kind = 'refund'",
    "operations_sweep_idx": "operations (sweep_at) WHERE status = 'pending'",
}


def upgrade() -> None:
    _exchange(_ADDED, _DROPPED)


def downgrade() -> None:
    _exchange(_DROPPED, _ADDED)


def _exchange(added: dict[str, str], dropped: dict[str, str]) -> None:
    with op.get_context().autocommit_block():
        for name, definition in added.items():
            if not _is_valid(name):
                op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
                op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {definition}")
        for name in dropped:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


def _is_valid(name: str) -> bool:
    query = sa.text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
    return bool(op.get_bind().execute(query, {"name": name}).scalar())

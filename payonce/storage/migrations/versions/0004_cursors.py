"""cursors: what is listed and followed knows the transaction that wrote it

Adding the columns rewrites no table: rows that are there get the constant 0 and stay in the order of their times.
The indexes are built under the lock that adding takes, which keeps reads out, too. Where the tables are large, make
columns and indexes beforehand (docs/operations.md, "Releases"): what is there already is left as it is.
"""

import sqlalchemy as sa
from alembic import op

from payonce.storage.tables import Xid

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_LISTED = ("payments", "operations", "events", "webhook_endpoints", "webhook_deliveries")
_INDEXES = (
    ("payments_place_idx", "payments", ("merchant_id", "mode", "xid", "created_at", "id"), None),
    ("payments_status_idx", "payments", ("merchant_id", "mode", "status", "xid", "created_at", "id"), None),
    (
        "operations_place_idx",
        "operations",
        ("merchant_id", "mode", "xid", "created_at", "id"),
        "kind = 'refund'",
    ),
    (
        "operations_status_idx",
        "operations",
        ("merchant_id", "mode", "status", "xid", "created_at", "id"),
        "kind = 'refund'",
    ),
    ("events_place_idx", "events", ("merchant_id", "mode", "xid", "created_at", "sequence", "id"), None),
    (
        "events_type_idx",
        "events",
        ("merchant_id", "mode", "type", "xid", "created_at", "sequence", "id"),
        None,
    ),
    (
        "webhook_deliveries_place_idx",
        "webhook_deliveries",
        ("endpoint_id", "xid", "created_at", "sequence", "id"),
        None,
    ),
    (
        "webhook_deliveries_status_idx",
        "webhook_deliveries",
        ("endpoint_id", "status", "xid", "created_at", "sequence", "id"),
        "status IN ('exhausted', 'dropped')",
    ),
)


def upgrade() -> None:
    for table in _LISTED:
        _add_writer(table)
    _extend_jobs()
    for name, table, columns, condition in _INDEXES:
        where = None if condition is None else sa.text(condition)
        op.create_index(name, table, list(columns), unique=False, postgresql_where=where, if_not_exists=True)


def downgrade() -> None:
    for name, table, _, _ in _INDEXES:
        op.drop_index(name, table_name=table)
    for table in _LISTED:
        op.drop_column(table, "xid")
    for name in ("xid", "oldest_running", "position_xid"):
        op.drop_column("webhook_jobs", name)


def _add_writer(table: str) -> None:
    """Rows from now on know their transaction."""
    op.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS xid xid8 NOT NULL DEFAULT '0'")
    op.execute(f"ALTER TABLE {table} ALTER COLUMN xid SET DEFAULT pg_current_xact_id()")


def _extend_jobs() -> None:
    """A job that has not ended goes on where it is: the events that it is to take are older than this."""
    for name, default in (
        ("xid", "pg_current_xact_id()"),
        ("oldest_running", "pg_snapshot_xmin(pg_current_snapshot())"),
    ):
        op.add_column("webhook_jobs", sa.Column(name, Xid(), nullable=False, server_default=sa.text(default)))
    op.add_column("webhook_jobs", sa.Column("position_xid", Xid(), nullable=True))

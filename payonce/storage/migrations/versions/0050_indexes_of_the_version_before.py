"""indexes that only the version before 0047 reads are gone

By them it looks for a payment's operations, an operation's key, a callback's attempt, a recovery's events and what may
be captured. So this waits until its last process is gone.
"""

from alembic import op

revision = "0050"
down_revision = "0049"
branch_labels = None
depends_on = None

ONCE_REPLACED = True

_REFERENCE = "attempts_reference_key"
_INDEXES = {
    "operations_payment_idx": "operations (payment_id)",
    "idempotency_keys_operation_idx": "idempotency_keys (operation_id)",
    "events_time_idx": "events (merchant_id, mode, created_at)",
    "payments_open_idx": (
        "payments (id) WHERE status IN ('init', 'requires_action', 'processing', 'authorized', 'partially_captured')"
    ),
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for index in _INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}")
        op.execute(f"ALTER TABLE attempts DROP CONSTRAINT IF EXISTS {_REFERENCE}")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for index, of in _INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}")
            op.execute(f"CREATE INDEX CONCURRENTLY {index} ON {of}")
        # A constraint has its index; without one it is what an earlier try left.
        op.execute(f"ALTER TABLE attempts DROP CONSTRAINT IF EXISTS {_REFERENCE}")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_REFERENCE}")
        op.execute(f"CREATE UNIQUE INDEX CONCURRENTLY {_REFERENCE} ON attempts (reference)")
        op.execute(f"ALTER TABLE attempts ADD CONSTRAINT {_REFERENCE} UNIQUE USING INDEX {_REFERENCE}")

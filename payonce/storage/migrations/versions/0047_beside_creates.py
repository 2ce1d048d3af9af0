"""what a create's own id finds is in no second index: its operation by the payment, its key by the operation

A create's operation has the payment's id, and its key is in the payment's row. And of payments only those are indexed
that may be captured, not each that is under way. The indexes of all of them stay for the version before; 0050 drops
them.
"""

from alembic import op

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None

_INDEXES = {
    "operations_beside_create_idx": "operations (payment_id) WHERE id <> payment_id",
    "idempotency_keys_beside_create_idx": (
        "idempotency_keys (operation_id) WHERE operation_id IS NULL OR NOT starts_with(operation_id, 'pay_')"
    ),
    "payments_capturable_idx": "payments (id) WHERE status IN ('authorized', 'partially_captured')",
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for index, of in _INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}")  # of an earlier try that broke off
            op.execute(f"CREATE INDEX CONCURRENTLY {index} ON {of}")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for index in _INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}")

"""first schema"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "merchants",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("merchants_pkey")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("mode IN ('test', 'live')", name=op.f("api_keys_mode_check")),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("api_keys_merchant_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("api_keys_pkey")),
        sa.UniqueConstraint("key_hash", name=op.f("api_keys_key_hash_key")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprint_version", sa.SmallInteger(), nullable=False),
        sa.Column("operation_id", sa.Text(), nullable=True),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answer_kind", sa.Text(), nullable=True),
        sa.Column("answer_body", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint(
            "(answered_at IS NULL) = (answer_kind IS NULL)", name=op.f("idempotency_keys_answer_check")
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchants.id"], name=op.f("idempotency_keys_merchant_id_fkey")
        ),
        sa.PrimaryKeyConstraint("merchant_id", "mode", "key", name=op.f("idempotency_keys_pkey")),
    )
    op.create_index("idempotency_keys_operation_idx", "idempotency_keys", ["operation_id"], unique=False)
    op.create_table(
        "payments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("capture_method", sa.Text(), nullable=False),
        sa.Column("payment_method", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("connector", sa.Text(), nullable=False),
        sa.Column("connector_account", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("amount_authorized_minor", sa.BigInteger(), nullable=False),
        sa.Column("amount_captured_minor", sa.BigInteger(), nullable=False),
        sa.Column("amount_refunded_minor", sa.BigInteger(), nullable=False),
        sa.Column("amount_refund_pending_minor", sa.BigInteger(), nullable=False),
        sa.Column("merchant_reference", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("metadata", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("return_url", sa.Text(), nullable=True),
        sa.Column("customer", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("connector_reference", sa.Text(), nullable=True),
        sa.Column("capture_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_action", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("pending_operation", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("review", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("last_error", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "status IN ('init', 'requires_action', 'processing', 'authorized', 'partially_captured', 'captured', 'voided', 'expired', 'failed', 'partially_refunded', 'refunded')",
            name=op.f("payments_status_check"),
        ),
        sa.CheckConstraint(
            "amount_authorized_minor IN (0, amount_minor)", name=op.f("payments_authorized_check")
        ),
        sa.CheckConstraint(
            "amount_captured_minor BETWEEN 0 AND amount_authorized_minor",
            name=op.f("payments_captured_check"),
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("payments_amount_check")),
        sa.CheckConstraint(
            "amount_refunded_minor >= 0 AND amount_refund_pending_minor >= 0 AND amount_refunded_minor + amount_refund_pending_minor <= amount_captured_minor",
            name=op.f("payments_refunded_check"),
        ),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("payments_merchant_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("payments_pkey")),
    )
    op.create_index("payments_key_idx", "payments", ["merchant_id", "mode", "idempotency_key"], unique=False)
    op.create_index(
        "payments_list_idx", "payments", ["merchant_id", "mode", "created_at", "id"], unique=False
    )
    op.create_index(
        "payments_open_idx",
        "payments",
        ["id"],
        unique=False,
        postgresql_where=sa.text(
            "status IN ('init', 'requires_action', 'processing', 'authorized', 'partially_captured')"
        ),
    )
    op.create_index(
        "payments_reference_idx", "payments", ["merchant_id", "mode", "merchant_reference"], unique=False
    )
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("ordered", sa.Boolean(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchants.id"], name=op.f("webhook_endpoints_merchant_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("webhook_endpoints_pkey")),
    )
    op.create_index(
        "webhook_endpoints_list_idx",
        "webhook_endpoints",
        ["merchant_id", "mode", "created_at", "id"],
        unique=False,
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.Text(), nullable=True),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("events_payment_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("events_pkey")),
        sa.UniqueConstraint("payment_id", "sequence", name=op.f("events_payment_id_sequence_key")),
    )
    op.create_index("events_list_idx", "events", ["merchant_id", "mode", "created_at", "id"], unique=False)
    op.create_table(
        "operations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.Text(), nullable=False),
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("final", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("metadata", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("connector_reference", sa.Text(), nullable=True),
        sa.Column("last_error", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("deferred_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("review_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("target_reference", sa.Text(), nullable=True),
        sa.Column("sweep_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sweeps", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "kind IN ('authorize', 'capture', 'void', 'refund', 'expire', 'reverse')",
            name=op.f("operations_kind_check"),
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'succeeded', 'failed')", name=op.f("operations_status_check")
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("operations_amount_check")),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("operations_payment_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("operations_pkey")),
    )
    op.create_index(
        "operations_list_idx",
        "operations",
        ["merchant_id", "mode", "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("kind = 'refund'"),
    )
    op.create_index(
        "operations_one_pending_key",
        "operations",
        ["payment_id"],
        unique=True,
        postgresql_where=sa.text("status = 'pending' AND kind IN ('capture', 'void', 'expire')"),
    )
    op.create_index("operations_payment_idx", "operations", ["payment_id"], unique=False)
    op.create_index(
        "operations_sweep_idx",
        "operations",
        ["sweep_at"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_table(
        "attempts",
        sa.Column("operation_id", sa.Text(), nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("payment_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("connector", sa.Text(), nullable=False),
        sa.Column("connector_account", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("send_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("connector_reference", sa.Text(), nullable=True),
        sa.Column("failure_code", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('claimed', 'not_sent', 'unknown', 'reversing', 'approved', 'declined', 'not_processed')",
            name=op.f("attempts_state_check"),
        ),
        sa.CheckConstraint("number > 0", name=op.f("attempts_number_check")),
        sa.ForeignKeyConstraint(["operation_id"], ["operations.id"], name=op.f("attempts_operation_id_fkey")),
        sa.PrimaryKeyConstraint("operation_id", "number", name=op.f("attempts_pkey")),
        sa.UniqueConstraint("reference", name=op.f("attempts_reference_key")),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("endpoint_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column(
            "attempts",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default="[]",
            nullable=False,
        ),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'succeeded', 'exhausted', 'dropped')",
            name=op.f("webhook_deliveries_status_check"),
        ),
        sa.ForeignKeyConstraint(["event_id"], ["events.id"], name=op.f("webhook_deliveries_event_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("webhook_deliveries_pkey")),
    )
    op.create_index(
        "webhook_deliveries_due_idx",
        "webhook_deliveries",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        "webhook_deliveries_endpoint_idx",
        "webhook_deliveries",
        ["endpoint_id", "created_at", "id"],
        unique=False,
    )
    op.create_index("webhook_deliveries_event_idx", "webhook_deliveries", ["event_id"], unique=False)


def downgrade() -> None:
    op.drop_index("webhook_deliveries_event_idx", table_name="webhook_deliveries")
    op.drop_index("webhook_deliveries_endpoint_idx", table_name="webhook_deliveries")
    op.drop_index(
        "webhook_deliveries_due_idx",
        table_name="webhook_deliveries",
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.drop_table("webhook_deliveries")
    op.drop_table("attempts")
    op.drop_index(
        "operations_sweep_idx", table_name="operations", postgresql_where=sa.text("status = 'pending'")
    )
    op.drop_index("operations_payment_idx", table_name="operations")
    op.drop_index(
        "operations_one_pending_key",
        table_name="operations",
        postgresql_where=sa.text("status = 'pending' AND kind IN ('capture', 'void', 'expire')"),
    )
    op.drop_index("operations_list_idx", table_name="operations", postgresql_where=sa.text("kind = 'refund'"))
    op.drop_table("operations")
    op.drop_index("events_list_idx", table_name="events")
    op.drop_table("events")
    op.drop_index("webhook_endpoints_list_idx", table_name="webhook_endpoints")
    op.drop_table("webhook_endpoints")
    op.drop_index("payments_reference_idx", table_name="payments")
    op.drop_index(
        "payments_open_idx",
        table_name="payments",
        postgresql_where=sa.text(
            "status IN ('init', 'requires_action', 'processing', 'authorized', 'partially_captured')"
        ),
    )
    op.drop_index("payments_list_idx", table_name="payments")
    op.drop_index("payments_key_idx", table_name="payments")
    op.drop_table("payments")
    op.drop_index("idempotency_keys_operation_idx", table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_table("api_keys")
    op.drop_table("merchants")

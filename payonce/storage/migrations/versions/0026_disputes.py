"""disputes: what cardholders dispute with their banks, and how much of a payment the banks have taken back

The payments' column has a constant default: no row is written.
"""

from alembic import op

from payonce.storage.migrations import tenancy

revision = "0026"
down_revision = "0029"
branch_labels = None
depends_on = None

_DISPUTES = """
CREATE TABLE IF NOT EXISTS disputes (
    id text PRIMARY KEY,
    payment_id text NOT NULL REFERENCES payments (id),
    merchant_id text NOT NULL,
    mode text NOT NULL,
    connector text NOT NULL,
    connector_account text NOT NULL,
    acquirer_id text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    amount_withdrawn_minor bigint NOT NULL,
    stage text NOT NULL,
    status text NOT NULL,
    reason text NOT NULL,
    network_reason_code text,
    refunded_before_minor bigint NOT NULL,
    evidence_due_by timestamptz,
    warned_at timestamptz,
    said_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT disputes_account_key UNIQUE (connector_account, acquirer_id),
    CONSTRAINT disputes_amount_check
        CHECK (amount_minor > 0 AND amount_withdrawn_minor >= 0 AND refunded_before_minor >= 0),
    CONSTRAINT disputes_stage_check
        CHECK (stage IN ('inquiry', 'chargeback', 'pre_arbitration', 'arbitration')),
    CONSTRAINT disputes_status_check
        CHECK (status IN ('needs_response', 'under_review', 'won', 'lost', 'accepted', 'closed'))
)
"""
_INDEXES = (
    "disputes_list_idx ON disputes (merchant_id, mode, xid, created_at, id)",
    "disputes_status_idx ON disputes (merchant_id, mode, status, xid, created_at, id)",
    "disputes_payment_idx ON disputes (payment_id)",
    "disputes_due_idx ON disputes (evidence_due_by) WHERE status = 'needs_response' AND warned_at IS NULL",
)


def upgrade() -> None:
    op.execute(_DISPUTES)
    for index in _INDEXES:
        op.execute(f"CREATE INDEX IF NOT EXISTS {index}")
    tenancy.keep_apart("disputes", api=tenancy.READ, engine=tenancy.WRITE)
    op.execute(
        "ALTER TABLE payments ADD COLUMN IF NOT EXISTS amount_disputed_minor bigint NOT NULL DEFAULT 0"
    )


def downgrade() -> None:
    op.drop_column("payments", "amount_disputed_minor")
    op.drop_table("disputes")

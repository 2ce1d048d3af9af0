"""payment methods: saved cards with their credentials, what a payment has to do with one, how a merchant stores them

Old rows get no new values: `card_storage` is `none` until an operator says otherwise. The payments' column is empty
for all that is there, so that nothing is rewritten.
"""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_PAYMENT_METHODS = """
CREATE TABLE IF NOT EXISTS payment_methods (
    id text PRIMARY KEY,
    merchant_id text NOT NULL REFERENCES merchants (id),
    mode text NOT NULL,
    state text NOT NULL,
    setup text NOT NULL,
    customer_id text,
    brand text NOT NULL,
    last4 text NOT NULL,
    exp_month smallint NOT NULL,
    exp_year smallint NOT NULL,
    fingerprint text,
    payment_id text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    sweep_at timestamptz,
    sweeps integer NOT NULL DEFAULT 0,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT payment_methods_mode_check CHECK (mode IN ('test', 'live')),
    CONSTRAINT payment_methods_state_check CHECK (state IN ('provisional', 'active', 'deleted')),
    CONSTRAINT payment_methods_setup_check CHECK (setup IN ('on_session', 'off_session')),
    CONSTRAINT payment_methods_deleted_check CHECK ((state = 'deleted') = (deleted_at IS NOT NULL))
)
"""
_CREDENTIALS = """
CREATE TABLE IF NOT EXISTS credentials (
    payment_method_id text NOT NULL REFERENCES payment_methods (id),
    kind text NOT NULL,
    connector_account text NOT NULL DEFAULT '',
    vault_record text,
    token json,
    network_transaction json,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (payment_method_id, kind, connector_account),
    CONSTRAINT credentials_kind_check CHECK (kind IN ('vaulted', 'acquirer_token', 'network_token')),
    CONSTRAINT credentials_of_kind_check CHECK (
        (kind = 'vaulted') = (vault_record IS NOT NULL)
        AND (kind = 'acquirer_token') = (connector_account <> '')
        AND (kind = 'vaulted') = (token IS NULL)
    )
)
"""


_INDEX = "payments_token_idx"
_INDEXES = (
    "CREATE INDEX IF NOT EXISTS payment_methods_list_idx ON payment_methods (merchant_id, mode, xid, created_at, id)",
    "CREATE INDEX IF NOT EXISTS payment_methods_customer_idx ON payment_methods"
    " (merchant_id, mode, customer_id, xid, created_at, id) WHERE customer_id IS NOT NULL",
    "CREATE UNIQUE INDEX IF NOT EXISTS payment_methods_payment_key ON payment_methods (payment_id)"
    " WHERE payment_id IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS payment_methods_sweep_idx ON payment_methods (sweep_at) WHERE sweep_at IS NOT NULL",
)


def upgrade() -> None:
    op.execute(_PAYMENT_METHODS)
    for statement in (*_INDEXES, _CREDENTIALS):
        op.execute(statement)
    op.execute("ALTER TABLE payments ADD COLUMN IF NOT EXISTS stored_credential jsonb")
    op.execute(
        "ALTER TABLE merchants ADD COLUMN IF NOT EXISTS card_storage text NOT NULL DEFAULT 'none'"
        " CONSTRAINT merchants_card_storage_check CHECK (card_storage IN ('none', 'acquirer', 'vault'))"
    )
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_INDEX}")
        op.execute(
            f"CREATE INDEX CONCURRENTLY {_INDEX} ON payments ((stored_credential ->> 'token'))"
            " WHERE stored_credential IS NOT NULL AND status IN ('init', 'requires_action', 'processing')"
        )


def downgrade() -> None:
    """What was saved is gone, but for the numbers in the vault, which nobody can pay with any more."""
    op.execute("ALTER TABLE merchants DROP COLUMN card_storage")
    op.drop_index(_INDEX, "payments")
    op.execute("ALTER TABLE payments DROP COLUMN stored_credential")
    op.drop_table("credentials")
    op.drop_table("payment_methods")

"""receipts: which were asked for and where they are, what merchants look like on them, and what was erased

Nothing that is there is touched, and the tables are empty.
"""

from alembic import op

revision = "0025"
down_revision = "0023"
branch_labels = None
depends_on = None

_INDEXES = (
    "CREATE INDEX IF NOT EXISTS receipts_due_idx ON receipts (due_at) WHERE stored_at IS NULL",
    "CREATE INDEX IF NOT EXISTS receipts_waiting_idx ON receipts (merchant_id, mode) WHERE stored_at IS NULL",
)


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE IF NOT EXISTS merchant_profiles (
            merchant_id text PRIMARY KEY REFERENCES merchants (id),
            address text NOT NULL DEFAULT '',
            logo bytea,
            updated_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT merchant_profiles_logo_check CHECK (octet_length(logo) BETWEEN 1 AND 131072)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE IF NOT EXISTS receipts (
            payment_id text NOT NULL REFERENCES payments (id),
            refund_id text NOT NULL,
            sequence integer NOT NULL,
            form text NOT NULL,
            erased boolean NOT NULL,
            merchant_id text NOT NULL,
            mode text NOT NULL,
            asked_at timestamptz NOT NULL DEFAULT now(),
            due_at timestamptz NOT NULL DEFAULT now(),
            tries integer NOT NULL DEFAULT 0,
            last_error text,
            token text,
            leased_until timestamptz,
            hashes bytea[] NOT NULL DEFAULT '{}',
            sha256 bytea,
            bytes integer,
            stored_at timestamptz,
            PRIMARY KEY (payment_id, refund_id, sequence, form, erased),
            CONSTRAINT receipts_form_check CHECK (form IN ('html', 'pdf')),
            CONSTRAINT receipts_stored_check CHECK ((stored_at IS NULL) = (sha256 IS NULL)),
            CONSTRAINT receipts_bytes_check CHECK ((stored_at IS NULL) = (bytes IS NULL))
        )
        """
    )
    op.execute(
        """
        CREATE TABLE IF NOT EXISTS receipt_erasures (
            payment_id text PRIMARY KEY REFERENCES payments (id),
            merchant_id text NOT NULL,
            mode text NOT NULL,
            actor text NOT NULL,
            erased_at timestamptz NOT NULL DEFAULT now()
        )
        """
    )
    with op.get_context().autocommit_block():
        for statement in _INDEXES:
            op.execute(statement)


def downgrade() -> None:
    """What the store has stays there, and nobody finds it."""
    op.drop_table("receipt_erasures")
    op.drop_table("receipts")
    op.drop_table("merchant_profiles")

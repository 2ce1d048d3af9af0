"""connector accounts: as rows, with sealed secrets; callbacks by account; why an attempt went where it went

The inbox's new key is built concurrently, and takes the old one's place at once. A process of the version before
writes callbacks without an account: they are told apart as before. What broke off begins again.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_KEY = "callbacks_by_account_key"


def upgrade() -> None:
    op.execute("ALTER TABLE attempts ADD COLUMN IF NOT EXISTS routed_by text")
    op.execute("ALTER TABLE callbacks ADD COLUMN IF NOT EXISTS connector_account text NOT NULL DEFAULT ''")
    if not _is_keyed_by_account():
        with op.get_context().autocommit_block():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_KEY}")
            op.execute(
                f"CREATE UNIQUE INDEX CONCURRENTLY {_KEY} ON callbacks (connector, connector_account, event_id)"
            )
        op.execute(
            "ALTER TABLE callbacks DROP CONSTRAINT callbacks_pkey,"
            f" ADD CONSTRAINT callbacks_pkey PRIMARY KEY USING INDEX {_KEY}"
        )
    op.create_table(
        "connector_accounts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("merchant_id", sa.Text(), nullable=True),
        sa.Column("connector", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=False),
        sa.Column("options", postgresql.JSONB(none_as_null=True), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="enabled", nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("mode IN ('test', 'live')", name=op.f("connector_accounts_mode_check")),
        sa.CheckConstraint("state IN ('enabled', 'disabled')", name=op.f("connector_accounts_state_check")),
        sa.CheckConstraint("identity <> ''", name=op.f("connector_accounts_identity_check")),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchants.id"], name=op.f("connector_accounts_merchant_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("connector_accounts_pkey")),
        sa.UniqueConstraint(
            *("connector", "mode", "identity", "merchant_id"),
            name="connector_accounts_identity_key",
            postgresql_nulls_not_distinct=True,
        ),
        if_not_exists=True,
    )
    op.create_table(
        "connector_secrets",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("previous_until", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("generation > 0", name=op.f("connector_secrets_generation_check")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["connector_accounts.id"], name=op.f("connector_secrets_account_id_fkey")
        ),
        sa.PrimaryKeyConstraint("account_id", "name", "generation", name=op.f("connector_secrets_pkey")),
        if_not_exists=True,
    )


def downgrade() -> None:
    op.drop_table("connector_secrets")
    op.drop_table("connector_accounts")
    op.execute(
        "DELETE FROM callbacks AS one USING callbacks AS other WHERE one.connector = other.connector"
        " AND one.event_id = other.event_id AND one.connector_account > other.connector_account"
    )
    op.execute(
        "ALTER TABLE callbacks DROP CONSTRAINT callbacks_pkey,"
        " ADD CONSTRAINT callbacks_pkey PRIMARY KEY (connector, event_id)"
    )
    op.drop_column("callbacks", "connector_account")
    op.drop_column("attempts", "routed_by")


def _is_keyed_by_account() -> bool:
    query = sa.text("SELECT indnkeyatts = 3 FROM pg_index WHERE indexrelid = 'callbacks_pkey'::regclass")
    return bool(op.get_bind().execute(query).scalar())

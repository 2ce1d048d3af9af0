"""payments and keys lock no merchant: their foreign keys locked its row for each payment

Of one merchant's payments at the same time nearly each made a multixact of all of them. A key and its payment have the
merchant of an API key, which a foreign key holds, and nobody deletes merchants. Each goes under a lock of a moment.
"""

from alembic import op

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None

# Each with what is locked for it: in the order of a create, which has its key, its merchant, and then its payment.
_TABLES = {"payments": "merchants, payments", "idempotency_keys": "idempotency_keys, merchants"}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for table, locked in _TABLES.items():
            drop = f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {table}_merchant_id_fkey"
            op.execute(f"DO $$ BEGIN LOCK TABLE {locked}; {drop}; END $$")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for table in _TABLES:
            name = f"{table}_merchant_id_fkey"
            op.execute(
                f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name},"
                f" ADD CONSTRAINT {name} FOREIGN KEY (merchant_id) REFERENCES merchants (id) NOT VALID"
            )
            op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")

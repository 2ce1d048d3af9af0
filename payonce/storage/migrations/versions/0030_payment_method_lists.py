"""payment methods: lists read past none that is deleted; the API's role keeps what it puts into the vault

The indexes that go had the deleted ones in them, which a list would have to read through.
"""

from alembic import op

from payonce.storage.migrations.ownership import as_owner_of_vault

revision = "0030"
down_revision = "0031"
branch_labels = None
depends_on = None

_LIST, _CUSTOMER = "payment_methods_list_idx", "payment_methods_customer_idx"
_ACTIVE_LIST, _ACTIVE_CUSTOMER = "payment_methods_active_idx", "payment_methods_active_customer_idx"
_ALL = {
    _LIST: "(merchant_id, mode, xid, created_at, id)",
    _CUSTOMER: "(merchant_id, mode, customer_id, xid, created_at, id) WHERE customer_id IS NOT NULL",
}
_ACTIVE = {
    _ACTIVE_LIST: "(merchant_id, mode, xid, created_at, id) WHERE state = 'active'",
    _ACTIVE_CUSTOMER: "(merchant_id, mode, customer_id, xid, created_at, id)"
    " WHERE customer_id IS NOT NULL AND state = 'active'",
}


def upgrade() -> None:
    with as_owner_of_vault():
        op.execute("GRANT EXECUTE ON FUNCTION vault.vault_keep TO payonce_api")
    _instead(_ACTIVE, of=_ALL)


def downgrade() -> None:
    _instead(_ALL, of=_ACTIVE)
    with as_owner_of_vault():
        op.execute("REVOKE EXECUTE ON FUNCTION vault.vault_keep FROM payonce_api")


def _instead(made: dict[str, str], *, of: dict[str, str]) -> None:
    with op.get_context().autocommit_block():
        for name, columns in made.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON payment_methods {columns}")
        for name in of:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")

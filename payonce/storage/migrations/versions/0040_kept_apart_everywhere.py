"""tenants: the vault's tables and the audit log have row-level security, too, and doors that nobody uses are gone

The vault's functions run as its tables' owner, whom no policy holds; whoever else is let in by a mistake sees no row.
Who serves an API key adds to the audit log what its own tenant did, and nothing else.
"""

from alembic import op

from payonce.storage.migrations.ownership import as_owner_of_audit, as_owner_of_vault
from payonce.storage.migrations.tenancy import API, OF_TENANT

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

_VAULT = (
    *("cards", "fingerprints", "fingerprint_hashes", "saves"),
    *("risk_facts", "risk_cards", "risk_saved"),
)
_ENTRIES = "audit.entries"
_UNUSED = ("tenant_of_return(bytea)", "code_of_payment(text)")  # both pages are the engine's


def upgrade() -> None:
    with as_owner_of_vault():
        for table in _VAULT:
            op.execute(f"ALTER TABLE vault.{table} ENABLE ROW LEVEL SECURITY")
    with as_owner_of_audit():
        op.execute(f"ALTER TABLE {_ENTRIES} ENABLE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY granted ON {_ENTRIES} USING (true) WITH CHECK (true)")
        op.execute(
            f"CREATE POLICY tenant ON {_ENTRIES} AS RESTRICTIVE FOR INSERT TO {API} WITH CHECK ({OF_TENANT})"
        )
    for door in _UNUSED:
        op.execute(f"DROP FUNCTION IF EXISTS {door}")


def downgrade() -> None:
    """As before, but for the doors, which the version before does not use either."""
    with as_owner_of_audit():
        for policy in ("tenant", "granted"):
            op.execute(f"DROP POLICY {policy} ON {_ENTRIES}")
        op.execute(f"ALTER TABLE {_ENTRIES} DISABLE ROW LEVEL SECURITY")
    with as_owner_of_vault():
        for table in _VAULT:
            op.execute(f"ALTER TABLE vault.{table} DISABLE ROW LEVEL SECURITY")

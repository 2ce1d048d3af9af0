"""tenants: commands that list a card run as the engine; only the engine fills up what is counted"""

from alembic import op

from payonce.storage.migrations.ownership import as_owner_of_vault
from payonce.storage.migrations.tenancy import API, ENGINE

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

_LISTING = "vault.risk_list_card, vault.risk_unlist_card"


def upgrade() -> None:
    with as_owner_of_vault():
        op.execute(f"GRANT EXECUTE ON FUNCTION {_LISTING} TO {ENGINE}")
        op.execute(f"REVOKE EXECUTE ON FUNCTION vault.risk_since FROM {API}")


def downgrade() -> None:
    with as_owner_of_vault():
        op.execute(f"GRANT EXECUTE ON FUNCTION vault.risk_since TO {API}")
        op.execute(f"REVOKE EXECUTE ON FUNCTION {_LISTING} FROM {ENGINE}")

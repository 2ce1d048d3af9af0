"""risk: saved cards are counted and listed as what they are

By the keyed hash that counts have of a number, in the vault's schema. Cards that were saved before have none.
"""

from alembic import op

from payonce.storage.migrations.ownership import as_owner_of_vault
from payonce.storage.migrations.tenancy import API, ENGINE

revision = "0032"
down_revision = "0030"
branch_labels = None
depends_on = None

_DEFINER = "SECURITY DEFINER SET search_path = pg_catalog, pg_temp"
_VAULT = (
    """
CREATE TABLE vault.risk_saved (
    payment_method_id text PRIMARY KEY,
    merchant_id text NOT NULL,
    mode text NOT NULL CHECK (mode IN ('test', 'live')),
    card text NOT NULL
)""",
    """
CREATE FUNCTION vault.risk_save(p_payment_method_id text, p_merchant_id text, p_mode text, p_card text)
RETURNS void LANGUAGE sql <definer> AS $$
    INSERT INTO vault.risk_saved VALUES (p_payment_method_id, p_merchant_id, p_mode, p_card)
    ON CONFLICT (payment_method_id) DO NOTHING
$$""",
    """
CREATE FUNCTION vault.risk_saved_card(p_payment_method_id text, p_merchant_id text, p_mode text)
RETURNS text LANGUAGE sql STABLE <definer> AS $$
    SELECT s.card FROM vault.risk_saved s
    WHERE s.payment_method_id = p_payment_method_id AND s.merchant_id = p_merchant_id AND s.mode = p_mode
$$""",
    """
CREATE FUNCTION vault.risk_forget(p_payment_method_id text, p_merchant_id text, p_mode text)
RETURNS void LANGUAGE sql <definer> AS $$
    DELETE FROM vault.risk_saved s
    WHERE s.payment_method_id = p_payment_method_id AND s.merchant_id = p_merchant_id AND s.mode = p_mode
$$""",
)
_FUNCTIONS = {"risk_save": (API,), "risk_saved_card": (API,), "risk_forget": (API, ENGINE)}


def upgrade() -> None:
    migrator = op.get_bind().exec_driver_sql("SELECT quote_ident(current_user)").scalar_one()
    with as_owner_of_vault():
        for statement in _VAULT:
            op.execute(statement.replace("<definer>", _DEFINER))
        op.execute("REVOKE ALL ON vault.risk_saved FROM PUBLIC")
        for function, roles in _FUNCTIONS.items():
            op.execute(f"REVOKE ALL ON FUNCTION vault.{function} FROM PUBLIC")
            for role in (*roles, migrator):
                op.execute(f"GRANT EXECUTE ON FUNCTION vault.{function} TO {role}")


def downgrade() -> None:
    """Saved cards are not known again any more."""
    with as_owner_of_vault():
        for function in _FUNCTIONS:
            op.execute(f"DROP FUNCTION vault.{function}")
        op.execute("DROP TABLE vault.risk_saved")

"""risk counts: who paid when, as hashes that only the vault's functions reach, and what merchants list

Nothing that is there is touched. A fact names no payment, so that the hash of a card does not lead to the first six and
last four of its number.
"""

from alembic import op

from payonce.storage.migrations.ownership import as_owner_of_vault
from payonce.storage.migrations.tenancy import API, ENGINE, EVERYTHING, READ, keep_apart

revision = "0031"
down_revision = "0026"
branch_labels = None
depends_on = None

_DEFINER = "SECURITY DEFINER SET search_path = pg_catalog, pg_temp"
_VAULT = (
    """
CREATE TABLE vault.risk_facts (
    member text PRIMARY KEY,
    merchant_id text NOT NULL,
    mode text NOT NULL CHECK (mode IN ('test', 'live')),
    card text,
    customer text,
    address text,
    at timestamptz NOT NULL,
    declined boolean
)""",
    "CREATE INDEX risk_facts_at_idx ON vault.risk_facts (merchant_id, mode, at, member)",
    "CREATE INDEX risk_facts_age_idx ON vault.risk_facts (at)",
    """
CREATE TABLE vault.risk_cards (
    merchant_id text NOT NULL,
    mode text NOT NULL,
    card text NOT NULL,
    list text NOT NULL CHECK (list IN ('allow', 'challenge', 'review', 'block')),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (merchant_id, mode, card)
)""",
    """
CREATE FUNCTION vault.risk_note(
    p_member text, p_merchant_id text, p_mode text, p_card text, p_customer text, p_address text
) RETURNS void LANGUAGE sql <definer> AS $$
    INSERT INTO vault.risk_facts VALUES
        (p_member, p_merchant_id, p_mode, p_card, p_customer, p_address, clock_timestamp())
    ON CONFLICT (member) DO NOTHING
$$""",
    """
CREATE FUNCTION vault.risk_complete(p_member text, p_declined boolean) RETURNS SETOF vault.risk_facts
LANGUAGE sql <definer> AS $$
    UPDATE vault.risk_facts f SET declined = p_declined WHERE f.member = p_member AND f.declined IS NULL RETURNING f.*
$$""",
    """
CREATE FUNCTION vault.risk_since(p_merchant_id text, p_mode text, p_since timestamptz, p_after text, p_max int)
RETURNS SETOF vault.risk_facts LANGUAGE sql STABLE <definer> AS $$
    SELECT f.* FROM vault.risk_facts f
    WHERE f.merchant_id = p_merchant_id AND f.mode = p_mode AND (f.at, f.member) > (p_since, p_after)
    ORDER BY f.at, f.member LIMIT p_max
$$""",
    """
CREATE FUNCTION vault.risk_erase(p_max int) RETURNS int LANGUAGE plpgsql <definer> AS $$
DECLARE
    v_erased int;
BEGIN
    DELETE FROM vault.risk_cards c WHERE c.expires_at < clock_timestamp();
    DELETE FROM vault.risk_facts f WHERE f.member IN (
        SELECT o.member FROM vault.risk_facts o WHERE o.at < clock_timestamp() - interval '30 days'
        ORDER BY o.at LIMIT p_max FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS v_erased = ROW_COUNT;
    RETURN v_erased;
END $$""",
    """
CREATE FUNCTION vault.risk_list_card(p_member text, p_merchant_id text, p_mode text, p_list text)
RETURNS boolean LANGUAGE plpgsql <definer> AS $$
BEGIN
    INSERT INTO vault.risk_cards
        SELECT f.merchant_id, f.mode, f.card, p_list, clock_timestamp() + interval '180 days'
        FROM vault.risk_facts f
        WHERE f.member = p_member AND f.merchant_id = p_merchant_id AND f.mode = p_mode AND f.card IS NOT NULL
    ON CONFLICT (merchant_id, mode, card) DO UPDATE SET list = EXCLUDED.list, expires_at = EXCLUDED.expires_at;
    RETURN FOUND;
END $$""",
    """
CREATE FUNCTION vault.risk_unlist_card(p_member text, p_merchant_id text, p_mode text)
RETURNS boolean LANGUAGE plpgsql <definer> AS $$
BEGIN
    DELETE FROM vault.risk_cards c USING vault.risk_facts f
        WHERE f.member = p_member AND f.merchant_id = p_merchant_id AND f.mode = p_mode
            AND c.merchant_id = f.merchant_id AND c.mode = f.mode AND c.card = f.card;
    RETURN FOUND;
END $$""",
    """
CREATE FUNCTION vault.risk_listed(p_merchant_id text, p_mode text, p_card text)
RETURNS text LANGUAGE sql STABLE <definer> AS $$
    SELECT c.list FROM vault.risk_cards c
    WHERE c.merchant_id = p_merchant_id AND c.mode = p_mode AND c.card = p_card
        AND c.expires_at > clock_timestamp()
$$""",
)
_FUNCTIONS = {
    "risk_note": ("payonce_api",),
    "risk_listed": ("payonce_api",),
    "risk_since": ("payonce_api", "payonce_engine"),
    "risk_complete": ("payonce_engine",),
    "risk_erase": ("payonce_engine",),
    "risk_list_card": (),
    "risk_unlist_card": (),
}


def upgrade() -> None:
    migrator = op.get_bind().exec_driver_sql("SELECT quote_ident(current_user)").scalar_one()
    with as_owner_of_vault():
        for statement in _VAULT:
            op.execute(statement.replace("<definer>", _DEFINER))
        op.execute("REVOKE ALL ON vault.risk_facts, vault.risk_cards FROM PUBLIC")
        for function, roles in _FUNCTIONS.items():
            op.execute(f"REVOKE ALL ON FUNCTION vault.{function} FROM PUBLIC")
            for role in (*roles, migrator):
                op.execute(f"GRANT EXECUTE ON FUNCTION vault.{function} TO {role}")
        op.execute(f"GRANT USAGE ON SCHEMA vault TO {API}, {ENGINE}, {migrator}")
    op.execute("""
        CREATE TABLE IF NOT EXISTS risk_lists (
            merchant_id text NOT NULL,
            mode text NOT NULL,
            kind text NOT NULL,
            value text NOT NULL,
            list text NOT NULL,
            created_at timestamptz NOT NULL,
            CONSTRAINT risk_lists_pkey PRIMARY KEY (merchant_id, mode, kind, value),
            CONSTRAINT risk_lists_merchant_id_fkey FOREIGN KEY (merchant_id) REFERENCES merchants (id),
            CONSTRAINT risk_lists_mode_check CHECK (mode IN ('test', 'live')),
            CONSTRAINT risk_lists_kind_check CHECK (kind IN ('customer', 'email', 'address', 'country')),
            CONSTRAINT risk_lists_list_check CHECK (list IN ('allow', 'challenge', 'review', 'block'))
        )""")
    keep_apart("risk_lists", api=READ, engine=EVERYTHING)


def downgrade() -> None:
    """What was counted and listed is gone."""
    op.drop_table("risk_lists")
    with as_owner_of_vault():
        for function in _FUNCTIONS:
            op.execute(f"DROP FUNCTION vault.{function}")
        op.execute("DROP TABLE vault.risk_cards, vault.risk_facts")

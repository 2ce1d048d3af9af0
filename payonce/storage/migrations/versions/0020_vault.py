"""vault: saved card numbers in a schema of their own, behind functions that a role of its own owns

Nothing that is there is touched. Roles belong to the whole server: one that is there already stays as it is, and the
downgrade leaves them. Whoever migrates needs CREATEROLE, or finds the roles made and may act as `payonce_vault`.
"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_OWNER = "payonce_vault"
_ROLES = (_OWNER, "payonce_api", "payonce_sender", "payonce_engine", "payonce_keys")

# Two sessions may make the same role at once, in two databases of one server.
_CREATE_ROLE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
        CREATE ROLE {role} NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$
"""

# Who makes a role does not by that act as it. Where a person made the roles, that person made us a member, too.
_JOIN = f"""
DO $$ BEGIN
    BEGIN
        EXECUTE format('GRANT {_OWNER} TO %I', current_user);
    EXCEPTION WHEN insufficient_privilege THEN NULL;
    END;
    EXECUTE format('GRANT CREATE ON DATABASE %I TO {_OWNER}', current_database());
END $$
"""
_LEAVE = f"""
DO $$ BEGIN
    EXECUTE format('REVOKE CREATE ON DATABASE %I FROM {_OWNER}', current_database());
    BEGIN
        EXECUTE format('REVOKE {_OWNER} FROM %I', current_user);
    EXCEPTION WHEN insufficient_privilege THEN NULL;
    END;
END $$
"""

_TABLES = """
CREATE TABLE vault.fingerprints (
    shown text PRIMARY KEY,
    merchant_id text NOT NULL,
    mode text NOT NULL CHECK (mode IN ('test', 'live'))
);
CREATE TABLE vault.fingerprint_hashes (
    merchant_id text NOT NULL,
    mode text NOT NULL,
    version text NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    shown text NOT NULL REFERENCES vault.fingerprints ON DELETE CASCADE,
    PRIMARY KEY (merchant_id, mode, version, hash)
);
CREATE INDEX fingerprint_hashes_shown_idx ON vault.fingerprint_hashes (shown);
CREATE TABLE vault.saves (
    merchant_id text NOT NULL,
    mode text NOT NULL,
    version text NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    saved_at timestamptz NOT NULL,
    PRIMARY KEY (merchant_id, mode, version, hash)
);
CREATE INDEX saves_age_idx ON vault.saves (saved_at);
CREATE TABLE vault.cards (
    id text PRIMARY KEY,
    merchant_id text NOT NULL,
    mode text NOT NULL CHECK (mode IN ('test', 'live')),
    purpose text NOT NULL,
    format smallint NOT NULL,
    ciphertext bytea NOT NULL,
    data_key_id text NOT NULL UNIQUE,
    wrapped_key bytea NOT NULL,
    key_id text NOT NULL,
    fingerprint text NOT NULL REFERENCES vault.fingerprints,
    erase_at timestamptz,
    created_at timestamptz NOT NULL
);
CREATE INDEX cards_key_idx ON vault.cards (key_id, id);
CREATE INDEX cards_fingerprint_idx ON vault.cards (fingerprint);
CREATE INDEX cards_erase_idx ON vault.cards (erase_at) WHERE erase_at IS NOT NULL;
"""

# The limit may be passed by as many as save at once: it is against card testers, and orders nobody to wait.
_PUT = """
CREATE FUNCTION vault.vault_put(
    p_id text, p_merchant_id text, p_mode text, p_purpose text, p_format int,
    p_ciphertext bytea, p_data_key_id text, p_wrapped_key bytea, p_key_id text,
    p_versions text[], p_hashes bytea[], p_shown text, p_internal_version text, p_internal_hash bytea,
    p_saves_max int
) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_shown text;
BEGIN
    INSERT INTO vault.saves VALUES (p_merchant_id, p_mode, p_internal_version, p_internal_hash, v_now)
        ON CONFLICT (merchant_id, mode, version, hash) DO UPDATE SET saved_at = EXCLUDED.saved_at;
    IF p_saves_max < (
        SELECT count(*) FROM vault.saves s
        WHERE s.merchant_id = p_merchant_id AND s.mode = p_mode AND s.saved_at > v_now - interval '1 hour'
    ) THEN
        RETURN NULL;
    END IF;
    -- The number's known name under any version: locked, so that nobody forgets it until this transaction ends.
    SELECT f.shown INTO v_shown
        FROM unnest(p_versions, p_hashes) AS given (version, hash)
        JOIN vault.fingerprint_hashes h ON h.merchant_id = p_merchant_id AND h.mode = p_mode
            AND h.version = given.version AND h.hash = given.hash
        JOIN vault.fingerprints f ON f.shown = h.shown
        LIMIT 1 FOR KEY SHARE OF f;
    IF v_shown IS NULL THEN
        v_shown := p_shown;
        INSERT INTO vault.fingerprints VALUES (v_shown, p_merchant_id, p_mode);
    END IF;
    INSERT INTO vault.fingerprint_hashes AS h
        SELECT p_merchant_id, p_mode, given.version, given.hash, v_shown
        FROM unnest(p_versions, p_hashes) AS given (version, hash) ORDER BY given.version
        ON CONFLICT (merchant_id, mode, version, hash) DO NOTHING;
    -- Whoever saved the same number for the first time at the same moment was first.
    SELECT h.shown INTO STRICT v_shown FROM vault.fingerprint_hashes h
        WHERE h.merchant_id = p_merchant_id AND h.mode = p_mode
            AND h.version = p_versions[1] AND h.hash = p_hashes[1];
    IF v_shown <> p_shown THEN
        DELETE FROM vault.fingerprints f WHERE f.shown = p_shown;
    END IF;
    INSERT INTO vault.cards VALUES (
        p_id, p_merchant_id, p_mode, p_purpose, p_format, p_ciphertext, p_data_key_id, p_wrapped_key, p_key_id,
        v_shown, v_now + interval '24 hours', v_now
    );
    RETURN v_shown;
END $$
"""
_TAKE = """
CREATE FUNCTION vault.vault_take(p_id text, p_merchant_id text, p_mode text, p_purpose text)
RETURNS TABLE (format smallint, ciphertext bytea, data_key_id text, wrapped_key bytea, key_id text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.format, c.ciphertext, c.data_key_id, c.wrapped_key, c.key_id FROM vault.cards c
    WHERE c.id = p_id AND c.merchant_id = p_merchant_id AND c.mode = p_mode AND c.purpose = p_purpose
        AND (c.erase_at IS NULL OR c.erase_at > clock_timestamp())
$$
"""
_SHOWN = """
CREATE FUNCTION vault.vault_fingerprint(p_id text, p_merchant_id text, p_mode text)
RETURNS text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.fingerprint FROM vault.cards c
    WHERE c.id = p_id AND c.merchant_id = p_merchant_id AND c.mode = p_mode
$$
"""
_KEEP = """
CREATE FUNCTION vault.vault_keep(p_id text, p_merchant_id text, p_mode text)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE vault.cards c SET erase_at = NULL
        WHERE c.id = p_id AND c.merchant_id = p_merchant_id AND c.mode = p_mode
            AND (c.erase_at IS NULL OR c.erase_at > clock_timestamp());
    RETURN FOUND;
END $$
"""
# A name is forgotten with its last card. The second statement sees what was committed before it had the lock.
_FORGET = """
CREATE FUNCTION vault.forget_fingerprint(p_shown text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM vault.fingerprints f WHERE f.shown = p_shown FOR UPDATE;
    DELETE FROM vault.fingerprints f
        WHERE f.shown = p_shown AND NOT EXISTS (SELECT FROM vault.cards c WHERE c.fingerprint = p_shown);
END $$
"""
_ERASE = """
CREATE FUNCTION vault.vault_erase(p_id text, p_merchant_id text, p_mode text)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_shown text;
BEGIN
    DELETE FROM vault.cards c WHERE c.id = p_id AND c.merchant_id = p_merchant_id AND c.mode = p_mode
        RETURNING c.fingerprint INTO v_shown;
    IF v_shown IS NULL THEN
        RETURN false;
    END IF;
    PERFORM vault.forget_fingerprint(v_shown);
    RETURN true;
END $$
"""
_ERASE_DUE = """
CREATE FUNCTION vault.vault_erase_due(p_max int)
RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_card record;
    v_erased int := 0;
BEGIN
    DELETE FROM vault.saves s WHERE s.saved_at < clock_timestamp() - interval '1 hour';
    FOR v_card IN
        SELECT c.id, c.fingerprint FROM vault.cards c WHERE c.erase_at <= clock_timestamp()
        ORDER BY c.fingerprint LIMIT p_max FOR UPDATE SKIP LOCKED
    LOOP
        DELETE FROM vault.cards c WHERE c.id = v_card.id;
        PERFORM vault.forget_fingerprint(v_card.fingerprint);
        v_erased := v_erased + 1;
    END LOOP;
    RETURN v_erased;
END $$
"""
_USED_KEYS = """
CREATE FUNCTION vault.vault_keys()
RETURNS TABLE (key_id text, cards bigint) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.key_id, count(*) FROM vault.cards c GROUP BY c.key_id ORDER BY c.key_id
$$
"""
_WRAPPED = """
CREATE FUNCTION vault.vault_wrapped(p_key_id text, p_after text, p_max int)
RETURNS TABLE (id text, key_id text, wrapped_key bytea) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.id, c.key_id, c.wrapped_key FROM vault.cards c
    WHERE c.key_id <> p_key_id AND c.id > p_after ORDER BY c.id LIMIT p_max
$$
"""
_REWRAP = """
CREATE FUNCTION vault.vault_rewrap(
    p_id text, p_old_key_id text, p_old_wrapped bytea, p_new_key_id text, p_new_wrapped bytea
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE vault.cards c SET key_id = p_new_key_id, wrapped_key = p_new_wrapped
        WHERE c.id = p_id AND c.key_id = p_old_key_id AND c.wrapped_key = p_old_wrapped;
    RETURN FOUND;
END $$
"""
_FUNCTIONS = (
    *(_PUT, _TAKE, _SHOWN, _KEEP, _FORGET, _ERASE, _ERASE_DUE),
    *(_USED_KEYS, _WRAPPED, _REWRAP),
)
_MAY = {
    "payonce_api": ("vault_put", "vault_fingerprint", "vault_erase"),
    "payonce_sender": ("vault_take",),
    "payonce_engine": ("vault_keep", "vault_erase", "vault_erase_due"),
    "payonce_keys": ("vault_keys", "vault_wrapped", "vault_rewrap"),
}


def upgrade() -> None:
    for role in _ROLES:
        op.execute(_CREATE_ROLE.format(role=role))
    op.execute(_JOIN)
    op.execute(f"SET LOCAL ROLE {_OWNER}")
    op.execute("CREATE SCHEMA vault")
    for statement in (*_TABLES.split(";\n"), *_FUNCTIONS):
        if statement.strip():
            op.execute(statement)
    op.execute("REVOKE ALL ON SCHEMA vault FROM PUBLIC")
    op.execute("REVOKE ALL ON ALL TABLES IN SCHEMA vault FROM PUBLIC")
    op.execute("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA vault FROM PUBLIC")
    for role, functions in _MAY.items():
        op.execute(f"GRANT USAGE ON SCHEMA vault TO {role}")
        for function in functions:
            op.execute(f"GRANT EXECUTE ON FUNCTION vault.{function} TO {role}")
    op.execute("RESET ROLE")
    op.execute(_LEAVE)


def downgrade() -> None:
    """Every saved card is gone. The roles stay: another database of the server may use them."""
    op.execute(_JOIN)
    op.execute(f"SET LOCAL ROLE {_OWNER}")
    op.execute("DROP SCHEMA vault CASCADE")
    op.execute("RESET ROLE")
    op.execute(_LEAVE)

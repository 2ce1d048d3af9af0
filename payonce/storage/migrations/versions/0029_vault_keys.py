"""vault keys: which processes wrap with which key, and old keys that wrap nothing any more

A key that is retired can wrap no card again, whoever still knows it: a process that stood still while the keys were
rotated is refused, and its card is saved by another one.
"""

from alembic import op

from payonce.storage.migrations.ownership import as_owner_of_vault

revision = "0029"
down_revision = "0024"
branch_labels = None
depends_on = None

_BEATING = ("payonce_api", "payonce_engine", "payonce_sender")

_TABLES = """
CREATE TABLE vault.keys (
    key_id text PRIMARY KEY,
    retired_at timestamptz
);
CREATE TABLE vault.processes (
    owner text PRIMARY KEY,
    name text NOT NULL,
    key_id text NOT NULL,
    seen_at timestamptz NOT NULL
);
INSERT INTO vault.keys SELECT DISTINCT key_id FROM vault.cards
"""

# The lock is held to the end of the transaction: a key that is being retired has no card on its way.
_MAY_WRAP = """
CREATE FUNCTION vault.key_may_wrap()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_retired_at timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtext('vault.keys'), hashtext(NEW.key_id));
    SELECT k.retired_at INTO v_retired_at FROM vault.keys k WHERE k.key_id = NEW.key_id;
    IF NOT FOUND THEN
        INSERT INTO vault.keys VALUES (NEW.key_id) ON CONFLICT DO NOTHING;
    ELSIF v_retired_at IS NOT NULL THEN
        RAISE EXCEPTION 'the key % is retired', NEW.key_id USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN NEW;
END $$
"""
_TRIGGERS = (
    "CREATE TRIGGER cards_put_trigger BEFORE INSERT ON vault.cards"
    " FOR EACH ROW EXECUTE FUNCTION vault.key_may_wrap()",
    "CREATE TRIGGER cards_wrapped_trigger BEFORE UPDATE OF key_id ON vault.cards"
    " FOR EACH ROW WHEN (OLD.key_id IS DISTINCT FROM NEW.key_id) EXECUTE FUNCTION vault.key_may_wrap()",
)
_BEAT = """
CREATE FUNCTION vault.vault_beat(p_owner text, p_name text, p_key_id text)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO vault.keys VALUES (p_key_id) ON CONFLICT DO NOTHING;
    INSERT INTO vault.processes VALUES (p_owner, p_name, p_key_id, clock_timestamp())
        ON CONFLICT (owner) DO UPDATE SET key_id = EXCLUDED.key_id, seen_at = EXCLUDED.seen_at;
    DELETE FROM vault.processes p WHERE p.seen_at < clock_timestamp() - interval '1 day';
    RETURN EXISTS (SELECT FROM vault.keys k WHERE k.key_id = p_key_id AND k.retired_at IS NULL);
END $$
"""
_LEFT = """
CREATE FUNCTION vault.vault_left(p_owner text)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM vault.processes p WHERE p.owner = p_owner
$$
"""
_PROCESSES = """
CREATE FUNCTION vault.vault_processes(p_within_s int)
RETURNS TABLE (name text, key_id text, seen_s_ago float8)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.name, p.key_id, extract(epoch FROM clock_timestamp() - p.seen_at)::float8 FROM vault.processes p
    WHERE p.seen_at > clock_timestamp() - make_interval(secs => p_within_s) ORDER BY p.name, p.owner
$$
"""
_KNOWN = """
CREATE FUNCTION vault.vault_known_keys()
RETURNS TABLE (key_id text, retired_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT k.key_id, k.retired_at FROM vault.keys k ORDER BY k.key_id
$$
"""
# Each statement sees what was committed before it had the lock.
_RETIRE = """
CREATE FUNCTION vault.vault_retire(p_newest text, p_within_s int)
RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_key_id text;
    v_retired int := 0;
BEGIN
    FOR v_key_id IN
        SELECT k.key_id FROM vault.keys k WHERE k.key_id <> p_newest AND k.retired_at IS NULL ORDER BY k.key_id
    LOOP
        CONTINUE WHEN NOT pg_try_advisory_xact_lock(hashtext('vault.keys'), hashtext(v_key_id));
        UPDATE vault.keys k SET retired_at = clock_timestamp()
            WHERE k.key_id = v_key_id AND k.retired_at IS NULL
                AND NOT EXISTS (SELECT FROM vault.cards c WHERE c.key_id = v_key_id)
                AND NOT EXISTS (
                    SELECT FROM vault.processes p WHERE p.key_id = v_key_id
                        AND p.seen_at > clock_timestamp() - make_interval(secs => p_within_s)
                );
        IF FOUND THEN
            v_retired := v_retired + 1;
        END IF;
    END LOOP;
    RETURN v_retired;
END $$
"""
_ERASE_DUE = """
CREATE OR REPLACE FUNCTION vault.vault_erase_due(p_max int)
RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_card record;
    v_erased int := 0;
BEGIN
    DELETE FROM vault.saves s WHERE s.ctid = ANY (ARRAY(
        SELECT old.ctid FROM vault.saves old WHERE old.saved_at < clock_timestamp() - interval '1 hour'
        LIMIT {saves_max} FOR UPDATE SKIP LOCKED
    ));
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
_MAY = {
    "vault_beat": _BEATING,
    "vault_left": _BEATING,
    "vault_processes": ("payonce_keys",),
    "vault_known_keys": ("payonce_keys",),
    "vault_retire": ("payonce_keys",),
}


def upgrade() -> None:
    with as_owner_of_vault():
        functions = (
            _MAY_WRAP,
            _BEAT,
            _LEFT,
            _PROCESSES,
            _KNOWN,
            _RETIRE,
            _ERASE_DUE.format(saves_max="10 * p_max"),
        )
        for statement in (*_TABLES.split(";\n"), *functions, *_TRIGGERS):
            op.execute(statement)
        for function in ("key_may_wrap", *_MAY):
            op.execute(f"REVOKE ALL ON FUNCTION vault.{function} FROM PUBLIC")
        for function, roles in _MAY.items():
            op.execute(f"GRANT EXECUTE ON FUNCTION vault.{function} TO {', '.join(roles)}")


def downgrade() -> None:
    """Retired keys may wrap again. What is erased in time is what the migration before erased."""
    with as_owner_of_vault():
        op.execute("DROP TRIGGER cards_put_trigger ON vault.cards")
        op.execute("DROP TRIGGER cards_wrapped_trigger ON vault.cards")
        for function in ("key_may_wrap", *_MAY):
            op.execute(f"DROP FUNCTION vault.{function}")
        op.execute("DROP TABLE vault.keys, vault.processes")
        op.execute(_ERASE_DUE.format(saves_max="ALL"))

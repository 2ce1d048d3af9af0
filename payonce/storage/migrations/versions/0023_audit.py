"""audit log: who decided what, and each time a saved number was taken; a schema of its own that can only be added to

Nothing that is there is touched. As the vault's (0020): whoever migrates needs CREATEROLE, or finds the role made and
may act as `payonce_audit`.
"""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_OWNER = "payonce_audit"

# Two sessions may make the same role at once, in two databases of one server.
_CREATE_ROLE = f"""
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{_OWNER}') THEN
        CREATE ROLE {_OWNER} NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$
"""
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

# `transaction_id` and `at` are Postgres's: no role may say them.
_TABLES = (
    """
CREATE TABLE audit.entries (
    id text COLLATE "C" PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 64),
    transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind text NOT NULL CHECK (kind IN ('decision', 'access')),
    action text NOT NULL CHECK (length(action) BETWEEN 1 AND 64),
    actor_kind text NOT NULL CHECK (actor_kind IN ('person', 'api_key', 'process')),
    actor text NOT NULL CHECK (length(actor) BETWEEN 1 AND 200),
    subject text NOT NULL CHECK (length(subject) BETWEEN 1 AND 200),
    merchant_id text,
    mode text CHECK (mode IN ('test', 'live')),
    details jsonb NOT NULL CHECK (octet_length(details::text) <= 8192),
    personal_hash bytea CHECK (octet_length(personal_hash) = 32)
)""",
    "CREATE INDEX entries_place_idx ON audit.entries (transaction_id, id)",
    "CREATE INDEX entries_subject_idx ON audit.entries (subject)",
    "CREATE INDEX entries_at_idx ON audit.entries USING brin (at)",
    """
CREATE TABLE audit.personal (
    entry_id text COLLATE "C" PRIMARY KEY REFERENCES audit.entries ON DELETE CASCADE,
    salt bytea NOT NULL CHECK (octet_length(salt) = 16),
    members jsonb NOT NULL CHECK (octet_length(members::text) <= 8192)
)""",
    """
CREATE TABLE audit.seals (
    hour timestamptz PRIMARY KEY,
    since timestamptz NOT NULL CHECK (since <= hour),
    first_transaction xid8 NOT NULL,
    next_transaction xid8 NOT NULL CHECK (first_transaction <= next_transaction),
    entries bigint NOT NULL CHECK (entries >= 0),
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    sealed_at timestamptz NOT NULL DEFAULT clock_timestamp()
)""",
    """
CREATE TABLE audit.told (
    hour timestamptz NOT NULL REFERENCES audit.seals,
    place text NOT NULL CHECK (place IN ('log', 'store')),
    agrees boolean NOT NULL,
    told_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (hour, place)
)""",
)
# Against a mistake of who could: the roles below are not granted it in the first place.
_REFUSE = """
CREATE FUNCTION audit.refuse() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_user = 'payonce_audit' AND TG_TABLE_NAME IN ('entries', 'personal') THEN
        RETURN OLD;
    END IF;
    RAISE insufficient_privilege USING MESSAGE = format('audit.%s is only added to', TG_TABLE_NAME);
END $$
"""
_ONLY_ADDED_TO = ("entries", "personal", "seals", "told")
_ERASE = """
CREATE FUNCTION audit.erase_personal(p_entry_id text)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM audit.personal p WHERE p.entry_id = p_entry_id;
    RETURN FOUND;
END $$
"""
# 12 months by PCI DSS 10.5.1, and one more.
_FORGET = """
CREATE FUNCTION audit.forget_old(p_max int)
RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_forgotten int;
BEGIN
    DELETE FROM audit.entries e WHERE e.id IN (
        SELECT o.id FROM audit.entries o
        WHERE o.at < clock_timestamp() - interval '400 days'
            AND o.transaction_id < (SELECT max(s.next_transaction) FROM audit.seals s)
        ORDER BY o.transaction_id, o.id LIMIT p_max
    );
    GET DIAGNOSTICS v_forgotten = ROW_COUNT;
    RETURN v_forgotten;
END $$
"""
_FUNCTIONS = (_REFUSE, _ERASE, _FORGET)
_WRITE = (
    "GRANT USAGE ON SCHEMA audit TO {role}",
    "GRANT INSERT (id, kind, action, actor_kind, actor, subject, merchant_id, mode, details, personal_hash)"
    " ON audit.entries TO {role}",
    "GRANT INSERT ON audit.personal TO {role}",
)
_OVERSEE = (
    "GRANT SELECT ON audit.entries, audit.personal, audit.seals, audit.told TO {role}",
    "GRANT INSERT (hour, since, first_transaction, next_transaction, entries, digest) ON audit.seals TO {role}",
    "GRANT INSERT (hour, place, agrees) ON audit.told TO {role}",
    "GRANT EXECUTE ON FUNCTION audit.erase_personal, audit.forget_old TO {role}",
)
_MAY = {
    "payonce_api": _WRITE,
    "payonce_sender": _WRITE,
    "payonce_keys": _WRITE,
    "payonce_engine": (*_WRITE, *_OVERSEE),
    "{whoever migrates}": (*_WRITE, *_OVERSEE),
}
# The processes of this release may connect as the one that migrates.
_GRANT_TO_OURSELVES = "DO $$ BEGIN EXECUTE format('{statement}', (SELECT session_user)); END $$"


def upgrade() -> None:
    op.execute(_CREATE_ROLE)
    op.execute(_JOIN)
    op.execute(f"SET LOCAL ROLE {_OWNER}")
    op.execute("CREATE SCHEMA audit")
    for statement in (*_TABLES, *_FUNCTIONS):
        op.execute(statement)
    for table in _ONLY_ADDED_TO:
        for what, each in (("UPDATE OR DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
            name = f"{table}_only_added_to_{each.lower()}"
            op.execute(
                f"CREATE TRIGGER {name} BEFORE {what} ON audit.{table} FOR EACH {each} EXECUTE FUNCTION audit.refuse()"
            )
    op.execute("REVOKE ALL ON SCHEMA audit FROM PUBLIC")
    op.execute("REVOKE ALL ON ALL TABLES IN SCHEMA audit FROM PUBLIC")
    op.execute("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA audit FROM PUBLIC")
    _grant()
    op.execute("RESET ROLE")
    op.execute(_LEAVE)


def _grant() -> None:
    for role, statements in _MAY.items():
        for statement in statements:
            if role.startswith("{"):
                op.execute(_GRANT_TO_OURSELVES.format(statement=statement.format(role="%I")))
            else:
                op.execute(statement.format(role=role))


def downgrade() -> None:
    """The log is gone: what the receipt store has of it stays. The role stays, too."""
    op.execute(_JOIN)
    op.execute(f"SET LOCAL ROLE {_OWNER}")
    op.execute("DROP SCHEMA audit CASCADE")
    op.execute("RESET ROLE")
    op.execute(_LEAVE)

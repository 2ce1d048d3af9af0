"""facts of acquirers: what else an attempt keeps, a callback that carries a fact, captures that are accepted

Every column is empty in the rows that are there, and nothing is rewritten. In transactions of their own, so that no
exclusive lock is kept while a table is read or an index built; what broke off begins again. The new index allows one
pending capture or void besides captures that the acquirer has accepted, of which there are none yet: until the old one
is gone, it holds as well.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("attempts", "acquirer_identity", "text"),
    ("attempts", "decline", "jsonb"),
    ("attempts", "evidence", "jsonb"),
    ("operations", "accepted_at", "timestamptz"),
    ("payments", "accepted_captures", "json"),
    ("callbacks", "fact", "jsonb"),
)
_STATES = (
    "state IN ('claimed', 'not_sent', 'waiting', 'accepted', 'unknown', 'reversing', 'approved', 'declined',"
    " 'not_processed')"
)
_STATES_BEFORE = _STATES.replace("'accepted', ", "")
_EXCLUSIVE = "status = 'pending' AND kind IN ('capture', 'void', 'expire')"
_INDEX = ("operations_one_exclusive_key", f"{_EXCLUSIVE} AND accepted_at IS NULL")
_INDEX_BEFORE = ("operations_one_pending_key", _EXCLUSIVE)


def upgrade() -> None:
    for table, name, definition in _COLUMNS:
        op.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {name} {definition}")
    _allow(_STATES)
    _exchange(_INDEX, _INDEX_BEFORE)


def downgrade() -> None:
    _exchange(_INDEX_BEFORE, _INDEX)  # refused while captures are accepted beside another
    _allow(_STATES_BEFORE)
    for table, name, _ in _COLUMNS:
        op.drop_column(table, name)


def _allow(states: str) -> None:
    op.execute("ALTER TABLE attempts DROP CONSTRAINT IF EXISTS attempts_state_check")
    op.create_check_constraint(op.f("attempts_state_check"), "attempts", states, postgresql_not_valid=True)
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE attempts VALIDATE CONSTRAINT attempts_state_check")  # reads and writes go on


def _exchange(added: tuple[str, str], dropped: tuple[str, str]) -> None:
    name, condition = added
    with op.get_context().autocommit_block():
        if not _is_valid(name):
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(
                f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON operations (payment_id) WHERE {condition}"
            )
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {dropped[0]}")


def _is_valid(name: str) -> bool:
    query = sa.text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
    return bool(op.get_bind().execute(query, {"name": name}).scalar())

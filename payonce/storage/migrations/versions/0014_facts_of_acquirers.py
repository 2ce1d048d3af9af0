"""facts of acquirers: what else an attempt keeps, and that the acquirer has accepted it

Every column is empty in the rows that are there, and nothing is rewritten. In transactions of their own, so that no
exclusive lock is kept while a table is read; what broke off begins again.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("attempts", "acquirer_identity", "text"),
    ("attempts", "decline", "jsonb"),
    ("attempts", "evidence", "jsonb"),
)
_STATES = (
    "state IN ('claimed', 'not_sent', 'waiting', 'accepted', 'unknown', 'reversing', 'approved', 'declined',"
    " 'not_processed')"
)
_STATES_BEFORE = _STATES.replace("'accepted', ", "")


def upgrade() -> None:
    for table, name, definition in _COLUMNS:
        op.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {name} {definition}")
    _allow(_STATES)


def downgrade() -> None:
    _allow(_STATES_BEFORE)  # refused while an attempt is accepted
    for table, name, _ in _COLUMNS:
        op.drop_column(table, name)


def _allow(states: str) -> None:
    op.execute("ALTER TABLE attempts DROP CONSTRAINT IF EXISTS attempts_state_check")
    op.create_check_constraint(op.f("attempts_state_check"), "attempts", states, postgresql_not_valid=True)
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE attempts VALIDATE CONSTRAINT attempts_state_check")  # reads and writes go on

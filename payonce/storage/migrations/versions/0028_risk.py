"""risk: a payment's verdict and what holds its capture back, and what each merchant chose

Every column is empty in the rows that are there, and nothing is rewritten.
"""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_COLUMNS = (("payments", "risk", "jsonb"), ("payments", "capture", "text"), ("merchants", "risk", "jsonb"))
_REASONS = (
    "'undecided', 'not_reversible', 'amount_mismatch', 'expiry_not_confirmed', 'late', 'undone', 'foreign',"
    " 'engine_refused', 'recording_lost', 'contradicted'"
)
_VERDICTS = "'approved', 'declined', 'reversed', 'paid', 'not_paid', 'undone', 'orphan'"
_CHECKS = {
    ("reviews", "reason"): (f"reason IN ({_REASONS})", f"reason IN ({_REASONS}, 'risk')"),
    ("reviews", "closed_by"): (
        "closed_by IN ('fact', 'decision')",
        "closed_by IN ('fact', 'decision', 'time')",
    ),
    ("decisions", "verdict"): (f"verdict IN ({_VERDICTS})", f"verdict IN ({_VERDICTS}, 'rejected')"),
}


def upgrade() -> None:
    for table, name, definition in _COLUMNS:
        op.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {name} {definition}")
    made = {("payments", "capture"): "capture IN ('held', 'rejected')"}
    made |= {place: now for place, (_, now) in _CHECKS.items()}
    for (table, column), condition in made.items():
        _replace(table, column, condition)
    with op.get_context().autocommit_block():
        for table, column in made:  # reads and writes go on
            op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {table}_{column}_check")


def downgrade() -> None:
    """What is held would be captured by the earlier version, and what was decided about it has no place there."""
    op.drop_constraint(op.f("payments_capture_check"), "payments")
    for (table, column), (before, _) in _CHECKS.items():
        _replace(table, column, before)
        op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {table}_{column}_check")
    for table, name, _ in _COLUMNS:
        op.drop_column(table, name)


def _replace(table: str, column: str, condition: str) -> None:
    name = f"{table}_{column}_check"
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
    op.create_check_constraint(op.f(name), table, condition, postgresql_not_valid=True)

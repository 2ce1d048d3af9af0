"""facts that change: who made an operation, how far an authorization has come, what an acquirer took back

In transactions of their own, so that no exclusive lock is kept while a table is read. What is there already is left as
it is: one that broke off begins again.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("payments", "amount_capture_undone_minor", "bigint NOT NULL DEFAULT 0"),
    ("operations", "origin", "text NOT NULL DEFAULT 'merchant'"),
    ("operations", "amount_undone_minor", "bigint NOT NULL DEFAULT 0"),
    ("operations", "sent_as", "text"),
    ("operations", "ends_operation", "text"),
    ("attempts", "stage", "text"),
)
_OURS = "UPDATE operations SET origin = 'payonce' WHERE kind IN ('expire', 'reverse') AND origin = 'merchant'"
# Each is wider than the one before, so that processes of both versions keep it.
_CHECKS = (
    (
        "payments",
        "payments_refunded_check",
        "amount_refunded_minor >= 0 AND amount_refund_pending_minor >= 0 AND amount_capture_undone_minor >= 0"
        " AND amount_refunded_minor + amount_refund_pending_minor"
        " <= amount_captured_minor + amount_capture_undone_minor",
    ),
    (
        "operations",
        "operations_kind_check",
        "kind IN ('authorize', 'capture', 'void', 'refund', 'expire', 'reverse', 'undo', 'redo')",
    ),
    ("operations", "operations_origin_check", "origin IN ('merchant', 'payonce', 'acquirer')"),
    (
        "operations",
        "operations_sent_as_check",
        "sent_as IS NULL OR kind = 'reverse' AND sent_as IN ('void', 'refund')",
    ),
    ("operations", "operations_undone_check", "amount_undone_minor >= 0"),
    (
        "operations",
        "operations_target_kind_check",
        "target_kind IS NULL OR kind IN ('reverse', 'undo', 'redo')"
        " AND target_kind IN ('authorize', 'capture', 'void', 'refund', 'expire')",
    ),
    (
        "operations",
        "operations_undecided_check",
        "amount_undecided_minor = 0 OR amount_undecided_minor > 0"
        " AND (status = 'pending' OR status = 'failed' AND kind = 'reverse' OR origin = 'acquirer')",
    ),
    ("attempts", "attempts_stage_check", "stage IN ('authorized', 'captured')"),
)
_NEW = (
    "operations_origin_check",
    "operations_sent_as_check",
    "operations_undone_check",
    "attempts_stage_check",
)
_BEFORE = (
    (
        "payments",
        "payments_refunded_check",
        "amount_refunded_minor >= 0 AND amount_refund_pending_minor >= 0"
        " AND amount_refunded_minor + amount_refund_pending_minor <= amount_captured_minor",
    ),
    (
        "operations",
        "operations_kind_check",
        "kind IN ('authorize', 'capture', 'void', 'refund', 'expire', 'reverse')",
    ),
    (
        "operations",
        "operations_target_kind_check",
        "target_kind IS NULL"
        " OR kind = 'reverse' AND target_kind IN ('authorize', 'capture', 'void', 'refund', 'expire')",
    ),
    (
        "operations",
        "operations_undecided_check",
        "amount_undecided_minor = 0 OR amount_undecided_minor > 0"
        " AND (status = 'pending' OR status = 'failed' AND kind = 'reverse')",
    ),
)


def upgrade() -> None:
    for table, name, definition in _COLUMNS:
        op.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {name} {definition}")
    with op.get_context().autocommit_block():
        op.execute(_OURS)
    _replace(_CHECKS)


def downgrade() -> None:
    _replace(_BEFORE)  # refused where an acquirer took something back: the version before cannot show it
    for table, name, _ in _CHECKS:
        if name in _NEW:
            op.drop_constraint(op.f(name), table)
    for table, name, _ in _COLUMNS:
        op.drop_column(table, name)


def _replace(checks: tuple[tuple[str, str, str], ...]) -> None:
    for table, name, condition in checks:
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
        op.create_check_constraint(op.f(name), table, condition, postgresql_not_valid=True)
    with op.get_context().autocommit_block():
        for table, name, _ in checks:
            op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")  # reads and writes go on

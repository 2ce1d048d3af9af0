"""late amounts: what moved after its failure was recorded is held until it is decided"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Cases that were opened before: what the acquirer stated was not kept, so what was asked for is held.
_NAME_TARGETS = """
    UPDATE operations SET target_kind = attempts.kind FROM attempts
     WHERE operations.kind = 'reverse' AND attempts.reference = operations.target_reference
"""
_HOLD = """
    UPDATE operations SET amount_undecided_minor = amount_minor
     WHERE kind = 'reverse' AND status <> 'succeeded' AND target_kind <> 'authorize'
"""
_SUM_UP = """
    UPDATE payments SET amount_capture_undecided_minor = held.capture, amount_refund_undecided_minor = held.refund
      FROM (SELECT payment_id,
                   coalesce(sum(amount_undecided_minor) FILTER (WHERE target_kind <> 'refund'), 0) AS capture,
                   coalesce(sum(amount_undecided_minor) FILTER (WHERE target_kind = 'refund'), 0) AS refund
              FROM operations WHERE amount_undecided_minor > 0 GROUP BY payment_id) AS held
     WHERE payments.id = held.payment_id
"""


def upgrade() -> None:
    for name in ("amount_capture_undecided_minor", "amount_refund_undecided_minor"):
        op.add_column("payments", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("operations", sa.Column("target_kind", sa.Text(), nullable=True))
    op.add_column(
        "operations", sa.Column("amount_undecided_minor", sa.BigInteger(), server_default="0", nullable=False)
    )
    for statement in (_NAME_TARGETS, _HOLD, _SUM_UP):
        op.execute(statement)
    # A process of the version before that decides a case does not know what is held for it: it is refused, and tries
    # again until one of this version does it.
    op.create_check_constraint(
        op.f("payments_undecided_check"),
        "payments",
        "amount_capture_undecided_minor >= 0 AND amount_refund_undecided_minor >= 0",
    )
    op.create_check_constraint(
        op.f("operations_target_kind_check"),
        "operations",
        "target_kind IS NULL"
        " OR kind = 'reverse' AND target_kind IN ('authorize', 'capture', 'void', 'refund', 'expire')",
    )
    op.create_check_constraint(
        op.f("operations_undecided_check"),
        "operations",
        "amount_undecided_minor = 0 OR amount_undecided_minor > 0"
        " AND (status = 'pending' OR status = 'failed' AND kind = 'reverse')",
    )

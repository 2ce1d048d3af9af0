"""indexes of lists of payments and of findings are without ids: time and transaction are their order, nearly alone

What one transaction wrote at one time is put in order by id when it is read. An old index goes when the new one is
there, for the version before, too, whose lists are the same.
"""

from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None

_PLACE = "xid, created_at"
_INDEXES = {  # the new one's name, the old one's, and what both are of
    "payments_by_status_idx": ("payments_status_idx", "payments (merchant_id, mode, status, {place})"),
    "payments_by_reference_idx": (
        "payments_referred_idx",
        "payments (merchant_id, mode, merchant_reference, status, {place}) WHERE merchant_reference IS NOT NULL",
    ),
    "reconciliations_by_result_idx": (
        "reconciliations_result_idx",
        "reconciliations (merchant_id, mode, result, {place})",
    ),
    "reconciliations_by_account_idx": (
        "reconciliations_account_idx",
        "reconciliations (merchant_id, mode, account, result, {place})",
    ),
}


def upgrade() -> None:
    for new, (old, of) in _INDEXES.items():
        _replace(old, by=new, of=of.format(place=_PLACE))


def downgrade() -> None:
    for new, (old, of) in _INDEXES.items():
        _replace(new, by=old, of=of.format(place=f"{_PLACE}, id"))


def _replace(index: str, *, by: str, of: str) -> None:
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {by}")  # of an earlier try that broke off
        op.execute(f"CREATE INDEX CONCURRENTLY {by} ON {of}")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}")

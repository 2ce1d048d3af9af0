"""what derives from a row's own id need not be written: an attempt's reference and payment, a key's location

Whose an attempt is, its operation tells. Each column is looked at under a lock of a moment. Going back is refused while
a row lacks one of them: before, `payonce db unpack` writes them.
"""

from alembic import op
from sqlalchemy.exc import IntegrityError

from payonce.storage.migrations.tenancy import of_parent

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None

_DERIVED = (("attempts", "reference"), ("attempts", "payment_id"), ("idempotency_keys", "location"))


def upgrade() -> None:
    # One table's lock at a time: a create locks its key and then its attempt.
    with op.get_context().autocommit_block():
        for table, column in _DERIVED:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL")
        _see_by("operation_id", "operations")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for table, column in _DERIVED:
            check = f"{table}_{column}_written"
            op.execute(
                f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {check},"
                f" ADD CONSTRAINT {check} CHECK ({column} IS NOT NULL) NOT VALID"
            )
            try:
                op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {check}")
            except IntegrityError as error:
                op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {check}")
                raise RuntimeError(
                    f"rows of {table} have no {column}: run payonce db unpack first"
                ) from error
            # Postgres takes the check's word for it, and reads nothing.
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL, DROP CONSTRAINT {check}")
        _see_by("payment_id", "payments")


def _see_by(column: str, parent: str) -> None:
    rule = of_parent("attempts", column, parent)
    op.execute(f"ALTER POLICY tenant ON attempts USING ({rule}) WITH CHECK ({rule})")

"""payment methods: the country in which a card was issued, as far as it was known when the card was saved

Empty for all that is there: where it is not known, nothing is refused for it.
"""

from alembic import op

revision = "0027"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE payment_methods ADD COLUMN IF NOT EXISTS issuer_country text")


def downgrade() -> None:
    """Merchant-initiated payments with cards issued in India are not told from others any more."""
    op.execute("ALTER TABLE payment_methods DROP COLUMN issuer_country")

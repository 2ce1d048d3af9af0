"""issuers: in which country cards were issued, by ranges of their numbers that an operator imports

Nothing that is there is touched, and both tables are empty until then.
"""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE IF NOT EXISTS issuer_table (
            id smallint PRIMARY KEY,
            generation bigint NOT NULL,
            ranges integer NOT NULL,
            imported_at timestamptz NOT NULL,
            CONSTRAINT issuer_table_one_row_check CHECK (id = 1),
            CONSTRAINT issuer_table_ranges_check CHECK (ranges > 0)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE IF NOT EXISTS issuer_ranges (
            generation bigint NOT NULL,
            part integer NOT NULL,
            packed bytea NOT NULL,
            PRIMARY KEY (generation, part),
            CONSTRAINT issuer_ranges_whole_check
                CHECK (octet_length(packed) > 0 AND octet_length(packed) % 10 = 0)
        )
        """
    )


def downgrade() -> None:
    op.drop_table("issuer_ranges")
    op.drop_table("issuer_table")

"""webhooks: sealed secrets, endpoint health, ordered and repeated deliveries, jobs"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _add_secrets()
    _extend_endpoints()
    _extend_deliveries()
    _add_jobs()


def _add_secrets() -> None:
    op.create_table(
        "webhook_secrets",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("endpoint_id", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("algorithm IN ('hmac', 'ed25519')", name=op.f("webhook_secrets_algorithm_check")),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["webhook_endpoints.id"],
            name=op.f("webhook_secrets_endpoint_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("webhook_secrets_pkey")),
    )
    op.create_index("webhook_secrets_endpoint_idx", "webhook_secrets", ["endpoint_id"], unique=False)


def _extend_endpoints() -> None:
    op.alter_column("webhook_endpoints", "secret", existing_type=sa.Text(), nullable=True)
    time = sa.DateTime(timezone=True)
    for column in (
        sa.Column("signing", sa.Text(), server_default="hmac", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failing_since", time, nullable=True),
        sa.Column("last_success_at", time, nullable=True),
        sa.Column("warned", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
    ):
        op.add_column("webhook_endpoints", column)
    for name, condition in (
        ("signing", "signing IN ('hmac', 'ed25519')"),
        ("disabled_reason", "disabled_reason IN ('merchant', 'gone', 'failing')"),
    ):
        op.create_check_constraint(op.f(f"webhook_endpoints_{name}_check"), "webhook_endpoints", condition)


def _extend_deliveries() -> None:
    for column in (
        sa.Column("payment_id", sa.Text(), nullable=True),
        sa.Column("sequence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("ordered", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("cause", sa.Text(), server_default="event", nullable=False),
        sa.Column("holder", sa.Text(), server_default="relay", nullable=False),
    ):
        op.add_column("webhook_deliveries", column)
    op.execute(
        "UPDATE webhook_deliveries AS delivery SET payment_id = event.payment_id, sequence = event.sequence"
        " FROM events AS event WHERE event.id = delivery.event_id"
    )
    for name, condition in (
        ("cause", "cause IN ('event', 'redelivery', 'recovery', 'replay', 'ping')"),
        ("holder", "holder IN ('relay', 'workflow')"),
    ):
        op.create_check_constraint(op.f(f"webhook_deliveries_{name}_check"), "webhook_deliveries", condition)
    op.create_index(
        "webhook_deliveries_order_idx",
        "webhook_deliveries",
        ["endpoint_id", "payment_id", "sequence"],
        unique=False,
        postgresql_where=sa.text("status = 'pending' AND ordered"),
    )
    for name, condition in (
        ("first", "attempts = '[]'::jsonb"),
        ("again", "holder = 'relay' AND attempts <> '[]'::jsonb"),
        ("held", "holder = 'workflow'"),
    ):
        op.create_index(
            f"webhook_deliveries_{name}_idx",
            "webhook_deliveries",
            ["endpoint_id", "next_attempt_at"],
            unique=False,
            postgresql_where=sa.text(f"status = 'pending' AND {condition}"),
        )


def _add_jobs() -> None:
    op.create_table(
        "webhook_jobs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("endpoint_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("types", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), server_default="0", nullable=False),
        sa.Column("position_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("position_id", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('recover', 'replay')", name=op.f("webhook_jobs_kind_check")),
        sa.CheckConstraint(
            "state IN ('pending', 'running', 'finished', 'failed')", name=op.f("webhook_jobs_state_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("webhook_jobs_pkey")),
    )


def downgrade() -> None:
    """Back to the first schema. Secrets that were sealed are gone with their table."""
    op.drop_table("webhook_jobs")
    for name in ("order", "first", "again", "held"):
        op.drop_index(f"webhook_deliveries_{name}_idx", table_name="webhook_deliveries")
    for name in ("payment_id", "sequence", "ordered", "cause", "holder"):
        op.drop_column("webhook_deliveries", name)
    names = ("signing", "failures", "failing_since", "last_success_at", "warned", "disabled_reason")
    for name in names:
        op.drop_column("webhook_endpoints", name)
    op.drop_table("webhook_secrets")

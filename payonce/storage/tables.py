"""The tables, as the migrations build them; a test compares the two. One schema, so one file, however long.

Which role may do what with a table, and which merchant's rows it sees, its migration says: `migrations/tenancy.py`.

Rules that the code checks under the payment's row lock stand here a second time as CHECK and UNIQUE constraints.

What is listed or followed has the id of the transaction that wrote it (`xid`), by which it is ordered; 0: from
before there was such a column. Its indexes by time are for spans of time.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

from payonce.storage.packing import StoredBody


class Xid(UserDefinedType[int]):
    """The id of a transaction (`xid8`), as a number: given in order and never a second time."""

    cache_ok = True
    render_bind_cast = True

    def get_col_spec(self, **_: Any) -> str:
        return "xid8"

    def bind_processor(self, dialect: Any) -> Callable[[Any], str]:
        return str

    def literal_processor(self, dialect: Any) -> Callable[[Any], str]:
        return "'{}'".format

    def result_processor(self, dialect: Any, coltype: Any) -> Callable[[Any], int]:
        return int


ischema_names["xid8"] = Xid  # else the comparison of model and database does not know it

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)

_Time = DateTime(timezone=True)
_Json = JSON(none_as_null=True)  # keeps the order of members, as the merchant sent them
_JsonB = JSONB(none_as_null=True)

# The six hours in which a row was made. By it and the transaction, `payonce.storage.spans` finds which transactions
# wrote what was made in a span of time.
STRETCH = "date_bin('06:00:00'::interval, created_at, '2000-01-01 00:00:00+00'::timestamp with time zone)"
# What the sweeper takes and what it closes: said here once, so that its queries find their partial indexes.
RELEASED = "status = 'pending' AND released_at IS NOT NULL AND deferred_at IS NULL"  # waits for its merchant
DUE = "status = 'pending' AND (released_at IS NULL OR deferred_at IS NOT NULL)"  # pending, and not released
# A create's operation is found by its payment's id, which it has, and its key by what the payment's row says of it.
BESIDE_CREATE = "id <> payment_id"  # of operations
CAPTURABLE = "status IN ('authorized', 'partially_captured')"  # no automatic payment ever is
ACTIVE = "state = 'active'"  # the same, of the lists of payment methods


def _written_by() -> Column[int]:
    """The transaction that wrote the row: Postgres fills it in."""
    return Column("xid", Xid, nullable=False, server_default=text("pg_current_xact_id()"))


merchants = Table(
    "merchants",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", _Time, nullable=False),
    # Whose pages customers of live payments may be sent back to.
    Column("return_origins", ARRAY(Text), nullable=False, server_default="{}"),
    Column("card_storage", Text, nullable=False, server_default="none"),  # where cards are saved
    CheckConstraint("card_storage IN ('none', 'acquirer', 'vault')", name="card_storage"),
    Column(
        "risk", _JsonB
    ),  # who is asked about its payments, and what follows, by mode: see `domain.risk.Policy`
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("merchant_id", Text, ForeignKey("merchants.id"), nullable=False),
    Column("mode", Text, nullable=False),
    Column("key_hash", LargeBinary, nullable=False, unique=True),
    Column("prefix", Text, nullable=False),  # what may be shown: sk_test_… and the last four
    Column("created_at", _Time, nullable=False),
    Column("revoked_at", _Time),
    CheckConstraint("mode IN ('test', 'live')", name="mode"),
)

connector_accounts = Table(  # no row is ever deleted: attempts name them
    "connector_accounts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("merchant_id", Text, ForeignKey("merchants.id")),  # none: for every merchant
    Column("connector", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("base_url", Text, nullable=False),
    Column("options", _JsonB, nullable=False),
    Column("identity", Text, nullable=False),  # who the acquirer says it is; never changed
    Column("state", Text, nullable=False, server_default="enabled"),
    Column("position", Integer, nullable=False),  # the lower, the sooner it takes a payment
    Column("version", Integer, nullable=False, server_default="1"),  # one more with every change
    Column("heard_at", _Time),  # when its latest callback came, to the minute; none: never
    Column("created_at", _Time, nullable=False),
    Column("updated_at", _Time, nullable=False),
    CheckConstraint("mode IN ('test', 'live')", name="mode"),
    CheckConstraint("state IN ('enabled', 'disabled')", name="state"),
    CheckConstraint("identity <> ''", name="identity"),
    UniqueConstraint(
        *("connector", "mode", "identity", "merchant_id"),
        name="connector_accounts_identity_key",
        postgresql_nulls_not_distinct=True,
    ),
)

connector_secrets = Table(
    "connector_secrets",
    metadata,
    Column("account_id", Text, ForeignKey("connector_accounts.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("generation", Integer, primary_key=True),
    Column("key_id", Text, nullable=False),  # of the key that sealed it
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", _Time, nullable=False),
    Column("previous_until", _Time),  # none: the current one
    CheckConstraint("generation > 0", name="generation"),
)

payments = Table(
    "payments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("merchant_id", Text, nullable=False),  # a foreign key would lock the merchant for each payment
    Column("mode", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("capture_method", Text, nullable=False),
    Column("payment_method", _Json, nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("connector", Text, nullable=False),
    Column("connector_account", Text, nullable=False),
    Column("created_at", _Time, nullable=False),
    Column("updated_at", _Time, nullable=False),
    Column("amount_authorized_minor", BigInteger, nullable=False),
    Column("amount_captured_minor", BigInteger, nullable=False),
    Column("amount_refunded_minor", BigInteger, nullable=False),
    Column("amount_refund_pending_minor", BigInteger, nullable=False),
    Column("merchant_reference", Text),
    Column("description", Text),
    Column("metadata", _Json, nullable=False),
    Column("return_url", Text),
    Column("customer", _Json),
    Column("connector_reference", Text),
    Column("capture_before", _Time),
    Column("next_action", _Json),
    Column("pending_operation", _Json),
    Column("review", _Json),
    Column("last_error", _Json),
    Column("sequence", Integer, nullable=False),
    Column("amount_capture_undecided_minor", BigInteger, nullable=False, server_default="0"),
    Column("amount_refund_undecided_minor", BigInteger, nullable=False, server_default="0"),
    Column("amount_capture_undone_minor", BigInteger, nullable=False, server_default="0"),
    Column("amount_disputed_minor", BigInteger, nullable=False, server_default="0"),
    Column("statement_descriptor", Text),
    Column("channel", Text),
    Column("personal_key_id", Text),
    Column("personal_sealed", LargeBinary),  # erased after 30 days: see `personal_data`
    Column("sca", _JsonB),  # {"challenge", "exemption"}, or {"handed_in"}: see `Payment`
    Column("authentication", _JsonB),  # as the API shows it
    Column("accepted_captures", _JsonB),
    Column("stored_credential", _JsonB),  # what it has to do with a saved card: see `Payment`
    Column("risk", _JsonB),  # {"verdict", "reasons", "provider"}, as the API shows it
    Column("capture", Text),  # what holds it back, whatever `capture_method` says
    _written_by(),
    CheckConstraint("amount_minor > 0", name="amount"),
    CheckConstraint("capture IN ('held', 'rejected')", name="capture"),
    CheckConstraint("amount_authorized_minor IN (0, amount_minor)", name="authorized"),
    CheckConstraint("amount_captured_minor BETWEEN 0 AND amount_authorized_minor", name="captured"),
    CheckConstraint(
        # Of captures that the acquirer took back later, refunds may have been made.
        "amount_refunded_minor >= 0 AND amount_refund_pending_minor >= 0 AND amount_capture_undone_minor >= 0"
        " AND amount_refunded_minor + amount_refund_pending_minor"
        " <= amount_captured_minor + amount_capture_undone_minor",
        name="refunded",
    ),
    # May exceed what there is: the acquirer has moved it, whether it was to or not.
    CheckConstraint(
        "amount_capture_undecided_minor >= 0 AND amount_refund_undecided_minor >= 0", name="undecided"
    ),
    CheckConstraint(
        "status IN ('init', 'requires_action', 'processing', 'authorized', 'partially_captured', 'captured',"
        " 'voided', 'expired', 'failed', 'partially_refunded', 'refunded')",
        name="status",
    ),
    CheckConstraint("channel IN ('web', 'ios', 'android', 'moto')", name="channel"),
    CheckConstraint("(personal_key_id IS NULL) = (personal_sealed IS NULL)", name="personal"),
    # What a transaction wrote at one time is put in order by its id when it is read.
    Index("payments_by_status_idx", "merchant_id", "mode", "status", "xid", "created_at"),
    Index(
        "payments_by_reference_idx",
        *("merchant_id", "mode", "merchant_reference", "status", "xid", "created_at"),
        postgresql_where=text("merchant_reference IS NOT NULL"),
    ),
    Index("payments_made_idx", text(STRETCH), "xid"),
    Index(
        "payments_token_idx",
        text("(stored_credential ->> 'token')"),
        postgresql_where=text(
            "stored_credential IS NOT NULL AND status IN ('init', 'requires_action', 'processing')"
        ),
    ),
    Index("payments_personal_idx", "created_at", "id", postgresql_where=text("personal_sealed IS NOT NULL")),
    Index("payments_capturable_idx", "id", postgresql_where=text(CAPTURABLE)),
)

payment_methods = Table(
    "payment_methods",
    metadata,
    Column("id", Text, primary_key=True),
    Column("merchant_id", Text, ForeignKey("merchants.id"), nullable=False),
    Column("mode", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("setup", Text, nullable=False),
    Column("customer_id", Text),
    Column("brand", Text, nullable=False),
    Column("last4", Text, nullable=False),
    Column("exp_month", SmallInteger, nullable=False),
    Column("exp_year", SmallInteger, nullable=False),
    Column("fingerprint", Text),  # the merchant's own name for the number, where the vault gave it one
    Column("payment_id", Text),  # with which it was saved
    Column("created_at", _Time, nullable=False),
    Column("updated_at", _Time, nullable=False),
    Column("deleted_at", _Time),
    Column("sweep_at", _Time),  # when the sweeper may look at what is to be erased of it
    Column("sweeps", Integer, nullable=False, server_default="0"),
    Column("issuer_country", Text),  # as far as it was known when the card was saved
    _written_by(),
    CheckConstraint("mode IN ('test', 'live')", name="mode"),
    CheckConstraint("state IN ('provisional', 'active', 'deleted')", name="state"),
    CheckConstraint("setup IN ('on_session', 'off_session')", name="setup"),
    CheckConstraint("(state = 'deleted') = (deleted_at IS NOT NULL)", name="deleted"),
    Index(
        "payment_methods_active_idx",
        *("merchant_id", "mode", "xid", "created_at", "id"),
        postgresql_where=text(ACTIVE),
    ),
    Index(
        "payment_methods_active_customer_idx",
        *("merchant_id", "mode", "customer_id", "xid", "created_at", "id"),
        postgresql_where=text(f"customer_id IS NOT NULL AND {ACTIVE}"),
    ),
    Index(
        "payment_methods_payment_key",
        "payment_id",
        unique=True,
        postgresql_where=text("payment_id IS NOT NULL"),
    ),
    Index("payment_methods_sweep_idx", "sweep_at", postgresql_where=text("sweep_at IS NOT NULL")),
)

credentials = Table(  # what a saved card is paid with: its number in the vault, or an account's token for it
    "credentials",
    metadata,
    Column("payment_method_id", Text, ForeignKey("payment_methods.id"), primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("connector_account", Text, primary_key=True, server_default=""),  # whose token it is
    Column("vault_record", Text),
    Column("token", _Json),  # in the acquirer's own words
    Column("network_transaction", _Json),  # of the payment that it was saved with: see `Credential`
    Column("created_at", _Time, nullable=False),
    CheckConstraint("kind IN ('vaulted', 'acquirer_token', 'network_token')", name="kind"),
    CheckConstraint(
        "(kind = 'vaulted') = (vault_record IS NOT NULL)"
        " AND (kind = 'acquirer_token') = (connector_account <> '')"
        " AND (kind = 'vaulted') = (token IS NULL)",
        name="of_kind",
    ),
)

operations = Table(
    "operations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("payment_id", Text, ForeignKey("payments.id"), nullable=False),
    Column("merchant_id", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("created_at", _Time, nullable=False),
    Column("updated_at", _Time, nullable=False),
    Column("status", Text, nullable=False),
    Column("final", Boolean, nullable=False),
    Column("reason", Text),
    Column("metadata", _Json, nullable=False),
    Column("connector_reference", Text),
    Column("last_error", _Json),
    Column("request_id", Text),
    Column("deferred_at", _Time),
    Column("review_at", _Time),
    Column("target_reference", Text),
    Column("rail", _Json),
    Column("sweep_at", _Time, nullable=False),  # when the sweeper may look at it next
    Column("sweeps", Integer, nullable=False, server_default="0"),
    Column("refusals", Integer, nullable=False, server_default="0"),  # how often Temporal refused to take it
    Column("released_at", _Time),  # since when the latest attempt of a create is given back, unsent
    Column("behind_since", _Time),  # since when its workflow is seen completed, although it is pending
    Column("target_kind", Text),
    Column("amount_undecided_minor", BigInteger, nullable=False, server_default="0"),
    Column("origin", Text, nullable=False, server_default="merchant"),
    Column("amount_undone_minor", BigInteger, nullable=False, server_default="0"),
    Column("sent_as", Text),
    Column("ends_operation", Text),
    Column("decided_at", _Time),  # since when a person's decision is its outcome
    Column("amount_ahead_minor", BigInteger, nullable=False, server_default="0"),
    Column("accepted_at", _Time),  # of a capture: since when it stands aside
    Column("dispute_id", Text),  # that it accepts
    _written_by(),
    CheckConstraint(
        "kind IN ('authorize', 'capture', 'void', 'refund', 'expire', 'reverse', 'undo', 'redo', 'accept')",
        name="kind",
    ),
    CheckConstraint("(dispute_id IS NOT NULL) = (kind = 'accept')", name="dispute"),
    CheckConstraint("origin IN ('merchant', 'payonce', 'acquirer')", name="origin"),
    CheckConstraint("sent_as IS NULL OR kind = 'reverse' AND sent_as IN ('void', 'refund')", name="sent_as"),
    CheckConstraint("amount_undone_minor >= 0", name="undone"),
    CheckConstraint("status IN ('pending', 'succeeded', 'failed')", name="status"),
    CheckConstraint("amount_minor > 0", name="amount"),
    CheckConstraint(
        "target_kind IS NULL OR kind IN ('reverse', 'undo', 'redo')"
        " AND target_kind IN ('authorize', 'capture', 'void', 'refund', 'expire')",
        name="target_kind",
    ),
    # Held until it is decided. A late success that failed to be undone is what a person decides; so is what the
    # acquirer did of itself.
    CheckConstraint(
        "amount_undecided_minor = 0 OR amount_undecided_minor > 0"
        " AND (status = 'pending' OR status = 'failed' AND kind = 'reverse' OR origin = 'acquirer')",
        name="undecided",
    ),
    Index("operations_beside_create_idx", "payment_id", postgresql_where=text(BESIDE_CREATE)),
    Index(
        "operations_place_idx",
        *("merchant_id", "mode", "xid", "created_at", "id"),
        postgresql_where=text("kind = 'refund'"),
    ),
    Index(
        "operations_status_idx",
        *("merchant_id", "mode", "status", "xid", "created_at", "id"),
        postgresql_where=text("kind = 'refund'"),
    ),
    Index(
        "operations_one_blocking_key",
        "payment_id",
        unique=True,
        postgresql_where=text(
            "status = 'pending' AND kind IN ('capture', 'void', 'expire') AND accepted_at IS NULL"
        ),
    ),
    Index(  # a dispute's acceptance that is under way
        "operations_one_acceptance_key",
        "dispute_id",
        unique=True,
        postgresql_where=text("status = 'pending' AND kind = 'accept'"),
    ),
    Index("operations_due_idx", "kind", "sweep_at", postgresql_where=text(DUE)),
    Index("operations_released_idx", "released_at", postgresql_where=text(RELEASED)),
)

attempts = Table(
    "attempts",
    metadata,
    Column("operation_id", Text, ForeignKey("operations.id"), primary_key=True),
    Column("number", SmallInteger, primary_key=True),
    Column("payment_id", Text),  # none: the operation's id, as that of a create is
    Column("kind", Text, nullable=False),
    Column("connector", Text, nullable=False),
    Column("connector_account", Text, nullable=False),
    Column("reference", Text),  # none: it derives from the operation's id and the number
    Column("state", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("send_before", _Time, nullable=False),
    Column("claimed_at", _Time, nullable=False),
    Column("connector_reference", Text),
    Column("failure_code", Text),
    Column("act_before", _Time),
    Column("stage", Text),
    Column("routed_by", Text),  # why it went to this account; none: by a version that did not say
    Column("acquirer_identity", Text),
    Column(
        "decline", _JsonB
    ),  # {"code", "where", "raw": {…}}: ours, where the same may be tried, the acquirer's
    Column("evidence", _JsonB),  # what the acquirer says of an approval
    Column("completes", Text),  # by what the challenge may move money: the customer, or a leg of ours
    Column("returned_at", _Time),  # since when the customer is back from the acquirer's page
    Column("return_hash", LargeBinary),  # of the token in the address of our page for that
    CheckConstraint("number > 0", name="number"),
    CheckConstraint("stage IN ('authorized', 'captured')", name="stage"),
    CheckConstraint(
        "state IN ('claimed', 'not_sent', 'waiting', 'accepted', 'unknown', 'reversing', 'approved', 'declined',"
        " 'not_processed')",
        name="state",
    ),
    CheckConstraint("completes IN ('customer', 'resume')", name="completes"),
    Index(
        "attempts_return_idx",
        "return_hash",
        unique=True,
        postgresql_where=text("return_hash IS NOT NULL"),
    ),
    Index("attempts_claimed_idx", "claimed_at", postgresql_using="brin"),
)

risk_lists = (
    Table(  # of a merchant's customers, e-mail addresses, networks and countries; cards are in the vault
        "risk_lists",
        metadata,
        Column("merchant_id", Text, ForeignKey("merchants.id"), primary_key=True),
        Column("mode", Text, primary_key=True),
        Column("kind", Text, primary_key=True),
        Column("value", Text, primary_key=True),
        Column("list", Text, nullable=False),
        Column("created_at", _Time, nullable=False),
        CheckConstraint("mode IN ('test', 'live')", name="mode"),
        CheckConstraint("kind IN ('customer', 'email', 'address', 'country')", name="kind"),
        CheckConstraint("list IN ('allow', 'challenge', 'review', 'block')", name="list"),
    )
)

returns = Table(  # what browsers brought back, each set once
    "returns",
    metadata,
    Column("operation_id", Text, primary_key=True),
    Column("attempt", SmallInteger, primary_key=True),
    Column("number", SmallInteger, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("key_id", Text),
    Column("sealed", LargeBinary),  # erased with the outcome
    Column("received_at", _Time, nullable=False),
    ForeignKeyConstraint(["operation_id", "attempt"], ["attempts.operation_id", "attempts.number"]),
    UniqueConstraint("operation_id", "attempt", "digest"),
    CheckConstraint("number BETWEEN 1 AND 5", name="number"),
    CheckConstraint("(key_id IS NULL) = (sealed IS NULL)", name="sealed"),
    Index("returns_sealed_idx", "received_at", postgresql_where=text("sealed IS NOT NULL")),
)

legs = Table(  # our second call for an attempt, with what a browser brought back
    "legs",
    metadata,
    Column("operation_id", Text, primary_key=True),
    Column("attempt", SmallInteger, primary_key=True),
    Column("number", SmallInteger, primary_key=True),  # of the return that it sends
    Column("owner", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("send_before", _Time, nullable=False),
    Column("claimed_at", _Time, nullable=False),
    Column("state", Text, nullable=False),
    ForeignKeyConstraint(
        ["operation_id", "attempt", "number"], ["returns.operation_id", "returns.attempt", "returns.number"]
    ),
    CheckConstraint("state IN ('claimed', 'not_sent', 'unknown', 'invalid', 'done')", name="state"),
)

disputes = Table(
    "disputes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("payment_id", Text, ForeignKey("payments.id"), nullable=False),
    Column("merchant_id", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("connector", Text, nullable=False),
    Column("connector_account", Text, nullable=False),
    Column("acquirer_id", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),  # the bank's
    Column("amount_withdrawn_minor", BigInteger, nullable=False),  # in the payment's currency
    Column("stage", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("network_reason_code", Text),
    Column("refunded_before_minor", BigInteger, nullable=False),
    Column("evidence_due_by", _Time),
    Column("warned_at", _Time),  # since when the merchant was told that evidence is due
    Column("said_at", _Time, nullable=False),  # by the acquirer's clock
    Column("created_at", _Time, nullable=False),
    Column("updated_at", _Time, nullable=False),
    _written_by(),
    UniqueConstraint("connector_account", "acquirer_id", name="disputes_account_key"),
    CheckConstraint(
        "amount_minor > 0 AND amount_withdrawn_minor >= 0 AND refunded_before_minor >= 0", name="amount"
    ),
    CheckConstraint("stage IN ('inquiry', 'chargeback', 'pre_arbitration', 'arbitration')", name="stage"),
    CheckConstraint(
        "status IN ('needs_response', 'under_review', 'won', 'lost', 'accepted', 'closed')", name="status"
    ),
    Index("disputes_list_idx", "merchant_id", "mode", "xid", "created_at", "id"),
    Index("disputes_status_idx", "merchant_id", "mode", "status", "xid", "created_at", "id"),
    Index("disputes_payment_idx", "payment_id"),
    Index(
        "disputes_due_idx",
        "evidence_due_by",
        postgresql_where=text("status = 'needs_response' AND warned_at IS NULL"),
    ),
)

reviews = Table(
    "reviews",
    metadata,
    Column("operation_id", Text, ForeignKey("operations.id"), primary_key=True),
    Column("payment_id", Text, nullable=False),
    Column("merchant_id", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("words", Text, nullable=False),
    Column("opened_at", _Time, nullable=False),
    Column("due_at", _Time, nullable=False),
    Column("overdue_at", _Time),
    Column("closed_at", _Time),
    Column("closed_by", Text),
    # When the sweeper may look at it next: while it is open, and once more when it is closed.
    Column("sweep_at", _Time),
    Column("sweeps", Integer, nullable=False, server_default="0"),
    CheckConstraint(
        "reason IN ('undecided', 'not_reversible', 'amount_mismatch', 'expiry_not_confirmed', 'late', 'undone',"
        " 'foreign', 'engine_refused', 'recording_lost', 'contradicted', 'risk')",
        name="reason",
    ),
    CheckConstraint("closed_by IN ('fact', 'decision', 'time')", name="closed_by"),
    CheckConstraint("(closed_at IS NULL) = (closed_by IS NULL)", name="closed"),
    Index("reviews_open_idx", "due_at", postgresql_where=text("closed_at IS NULL")),
    Index("reviews_sweep_idx", "sweep_at", postgresql_where=text("sweep_at IS NOT NULL")),
    Index("reviews_payment_idx", "payment_id"),
)

decisions = Table(  # append-only
    "decisions",
    metadata,
    Column("key", Text, primary_key=True),
    Column("operation_id", Text, ForeignKey("operations.id"), nullable=False),
    Column("payment_id", Text, nullable=False),
    Column("reason", Text, nullable=False),  # of the review that it ended
    Column("verdict", Text, nullable=False),
    Column("actor", Text, nullable=False),  # user@host, as the machine said
    # Whether the actor signed in: nobody does at a command line.
    Column("authenticated", Boolean, nullable=False, server_default="false"),
    Column("why", Text, nullable=False),
    Column("evidence", Text),
    Column("amount_minor", BigInteger),
    Column("reference", Text),
    Column("stage", Text),
    Column("created_at", _Time, nullable=False),
    CheckConstraint("stage IN ('authorized', 'captured')", name="stage"),
    CheckConstraint(
        "verdict IN ('approved', 'declined', 'reversed', 'paid', 'not_paid', 'undone', 'orphan', 'rejected')",
        name="verdict",
    ),
    Index("decisions_operation_idx", "operation_id"),
)

callbacks = Table(
    "callbacks",
    metadata,
    Column("connector", Text, primary_key=True),
    Column("connector_account", Text, primary_key=True, server_default=""),  # that verified it
    Column("event_id", Text, primary_key=True),  # the acquirer's, or a hash of the body
    Column("reference", Text, nullable=False),  # of the attempt that it is about: ours
    Column("received_at", _Time, nullable=False),
    Column("handled_at", _Time),  # since when Temporal has it, or nobody needs it
    Column("sweep_at", _Time, nullable=False),  # when the sweeper may look at it next
    Column("sweeps", Integer, nullable=False, server_default="0"),
    Column("fact", _JsonB),  # what it carries, where that may count: kept as long as the payment
    Column("unknown_at", _Time),  # since when nobody looks for its reference any more: a person may
    Index("callbacks_sweep_idx", "sweep_at", postgresql_where=text("handled_at IS NULL")),
    Index("callbacks_forget_idx", "received_at", postgresql_where=text("fact IS NULL")),
    Index("callbacks_facts_idx", "reference", postgresql_where=text("fact IS NOT NULL")),
    Index(
        "callbacks_told_idx",
        "connector_account",
        "received_at",
        "event_id",
        postgresql_where=text("fact IS NOT NULL"),
    ),
    Index("callbacks_unknown_idx", "unknown_at", postgresql_where=text("unknown_at IS NOT NULL")),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("merchant_id", Text, primary_key=True),  # no foreign key, as of payments
    Column("mode", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("fingerprint_version", SmallInteger, nullable=False),
    Column("operation_id", Text),  # what the key executes; none where the answer is a refusal
    # Path of the object, for 201, 202 and after expiry; none: it derives from the operation's id.
    Column("location", Text),
    Column("request_id", Text, nullable=False),
    Column("created_at", _Time, nullable=False),
    Column("answered_at", _Time),
    Column("answer_kind", Text),
    # Packed, or as it is; cleared when the answer is no longer kept; the key stays for ever
    Column("answer_body", LargeBinary),
    # When the sweeper may look whether that is so; none: it is.
    Column("forget_at", _Time, server_default=text("now() + interval '30 days 1 hour'")),
    Index(
        "idempotency_keys_beside_create_idx",
        "operation_id",
        postgresql_where=text("operation_id IS NULL OR NOT starts_with(operation_id, 'pay_')"),
    ),
    Index("idempotency_keys_forget_idx", "forget_at", postgresql_where=text("forget_at IS NOT NULL")),
    CheckConstraint("(answered_at IS NULL) = (answer_kind IS NULL)", name="answer"),
)

events = Table(
    "events",
    metadata,
    Column("id", Text, primary_key=True),
    Column("merchant_id", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("payment_id", Text, ForeignKey("payments.id")),
    Column("sequence", Integer, nullable=False),
    Column("type", Text, nullable=False),
    Column("body", StoredBody, nullable=False),  # packed, or as it is: see `packing.body_of`
    Column("created_at", _Time, nullable=False),
    _written_by(),
    UniqueConstraint("payment_id", "sequence"),
    # What a transaction wrote at one time is put in order by its sequence and id when it is read.
    Index("events_by_place_idx", "merchant_id", "mode", "xid", "created_at"),
    Index("events_by_type_idx", "merchant_id", "mode", "type", "xid", "created_at"),
    Index("events_made_idx", text(STRETCH), "xid"),
)

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", Text, primary_key=True),
    Column("merchant_id", Text, ForeignKey("merchants.id"), nullable=False),
    Column("mode", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("events", _JsonB, nullable=False),
    Column("description", Text),
    Column("ordered", Boolean, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("secret", Text),  # as the first release kept it, in the clear; no longer written, dropped later
    Column("created_at", _Time, nullable=False),
    Column("signing", Text, nullable=False, server_default="hmac"),
    Column("failures", Integer, nullable=False, server_default="0"),  # attempts since the last success
    Column("failing_since", _Time),  # the first of them
    Column("last_success_at", _Time),
    Column("warned", SmallInteger, nullable=False, server_default="0"),  # 1 after a day, 2 after three
    Column("disabled_reason", Text),
    _written_by(),
    CheckConstraint("signing IN ('hmac', 'ed25519')", name="signing"),
    CheckConstraint("disabled_reason IN ('merchant', 'gone', 'failing')", name="disabled_reason"),
    Index("webhook_endpoints_list_idx", "merchant_id", "mode", "created_at", "id"),
)

webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    Column("id", Text, primary_key=True),
    Column("endpoint_id", Text, ForeignKey("webhook_endpoints.id", ondelete="CASCADE"), nullable=False),
    Column("algorithm", Text, nullable=False),
    Column("key_id", Text, nullable=False),  # of the key that sealed it
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", _Time, nullable=False),
    Column("expires_at", _Time),  # none: the current one
    CheckConstraint("algorithm IN ('hmac', 'ed25519')", name="algorithm"),
    Index("webhook_secrets_endpoint_idx", "endpoint_id"),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("event_id", Text, ForeignKey("events.id"), nullable=False),
    Column("endpoint_id", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="pending"),
    Column("attempts", _JsonB, nullable=False, server_default="[]"),
    Column("next_attempt_at", _Time),
    Column("lease_owner", Text),
    Column("lease_until", _Time),
    Column("created_at", _Time, nullable=False),
    Column("payment_id", Text),  # the event's, as is the sequence
    Column("sequence", Integer, nullable=False, server_default="0"),
    # The endpoint's, as of creation.
    Column("ordered", Boolean, nullable=False, server_default=text("false")),
    Column("cause", Text, nullable=False, server_default="event"),
    Column("holder", Text, nullable=False, server_default="relay"),
    _written_by(),
    CheckConstraint("status IN ('pending', 'succeeded', 'exhausted', 'dropped')", name="status"),
    CheckConstraint("cause IN ('event', 'redelivery', 'recovery', 'replay', 'ping')", name="cause"),
    CheckConstraint("holder IN ('relay', 'workflow')", name="holder"),
    Index("webhook_deliveries_due_idx", "next_attempt_at", postgresql_where=text("status = 'pending'")),
    Index("webhook_deliveries_endpoint_idx", "endpoint_id", "created_at", "id"),
    Index(
        "webhook_deliveries_listed_idx",
        *("endpoint_id", "status", "xid", "created_at", "sequence", "id"),
    ),
    Index("webhook_deliveries_event_idx", "event_id"),
    Index(
        "webhook_deliveries_order_idx",
        "endpoint_id",
        "payment_id",
        "sequence",
        postgresql_where=text("status = 'pending' AND ordered"),
    ),
    # The relay's two lanes and what workflows hold: by endpoint, so that a backlog costs the others nothing.
    Index(
        "webhook_deliveries_first_idx",
        "endpoint_id",
        "next_attempt_at",
        postgresql_where=text("status = 'pending' AND attempts = '[]'::jsonb"),
    ),
    Index(
        "webhook_deliveries_again_idx",
        "endpoint_id",
        "next_attempt_at",
        postgresql_where=text("status = 'pending' AND holder = 'relay' AND attempts <> '[]'::jsonb"),
    ),
    Index(
        "webhook_deliveries_held_idx",
        "endpoint_id",
        "next_attempt_at",
        postgresql_where=text("status = 'pending' AND holder = 'workflow'"),
    ),
)

webhook_jobs = Table(
    "webhook_jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("merchant_id", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("endpoint_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("since", _Time, nullable=False),
    Column("until", _Time, nullable=False),
    Column("types", _JsonB, nullable=False),
    Column("total", Integer, nullable=False),
    Column("done", Integer, nullable=False, server_default="0"),
    # With the transaction: behind which events it is. By an earlier release: the last one's that was taken by time.
    Column("position_at", _Time),
    Column("position_id", Text),  # of that; no longer written
    Column("state", Text, nullable=False, server_default="pending"),
    Column("request_id", Text),
    Column("created_at", _Time, nullable=False),
    Column("finished_at", _Time),
    _written_by(),
    # Every transaction below it had ended when the job was made.
    Column(
        "oldest_running",
        Xid,
        nullable=False,
        server_default=text("pg_snapshot_xmin(pg_current_snapshot())"),
    ),
    Column("position_xid", Xid),  # the transaction; none: at the beginning
    CheckConstraint("kind IN ('recover', 'replay')", name="kind"),
    CheckConstraint("state IN ('pending', 'running', 'finished', 'failed')", name="state"),
)

# Which table of issuers is in force, in its only row; and its ranges, packed as `payonce.domain.issuers` says.
issuer_table = Table(
    "issuer_table",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("generation", BigInteger, nullable=False),
    Column("ranges", Integer, nullable=False),
    Column("imported_at", _Time, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
    CheckConstraint("ranges > 0", name="ranges"),
)

issuer_ranges = Table(
    "issuer_ranges",
    metadata,
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("packed", LargeBinary, nullable=False),
    CheckConstraint("octet_length(packed) > 0 AND octet_length(packed) % 10 = 0", name="whole"),
)

# What a merchant's receipts show of it besides its name.
merchant_profiles = Table(
    "merchant_profiles",
    metadata,
    Column("merchant_id", Text, ForeignKey("merchants.id"), primary_key=True),
    Column("address", Text, nullable=False, server_default=""),
    Column("logo", LargeBinary),  # a PNG that we wrote
    Column("updated_at", _Time, nullable=False, server_default=text("now()")),
    CheckConstraint("octet_length(logo) BETWEEN 1 AND 131072", name="logo"),
)

receipts = Table(  # that were asked for
    "receipts",
    metadata,
    Column("payment_id", Text, ForeignKey("payments.id"), primary_key=True),
    Column("refund_id", Text, primary_key=True),  # empty: of the payment itself
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("form", Text, primary_key=True),
    Column("erased", Boolean, primary_key=True),  # without personal data
    Column("merchant_id", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("asked_at", _Time, nullable=False, server_default=text("now()")),
    Column("due_at", _Time, nullable=False, server_default=text("now()")),  # when it may be drawn next
    Column("tries", Integer, nullable=False, server_default="0"),  # that came to nothing
    Column("not_drawn", Integer, nullable=False, server_default="0"),  # of them, since it was asked for
    Column("given_up_until", _Time),  # it could not be drawn, and is not due
    Column("last_error", Text),
    Column("token", Text),  # of the lease
    Column("leased_until", _Time),
    Column(
        "hashes", ARRAY(LargeBinary), nullable=False, server_default="{}"
    ),  # of what was, or is to be, put
    Column("sha256", LargeBinary),  # of what the store has
    Column("bytes", Integer),
    Column("stored_at", _Time),
    CheckConstraint("form IN ('html', 'pdf')", name="form"),
    CheckConstraint("(stored_at IS NULL) = (sha256 IS NULL)", name="stored"),
    CheckConstraint("(stored_at IS NULL) = (bytes IS NULL)", name="bytes"),
    Index("receipts_due_idx", "due_at", postgresql_where=text("stored_at IS NULL")),
    Index("receipts_waiting_idx", "merchant_id", "mode", postgresql_where=text("stored_at IS NULL")),
)

receipt_erasures = Table(  # payments whose receipts go without personal data
    "receipt_erasures",
    metadata,
    Column("payment_id", Text, ForeignKey("payments.id"), primary_key=True),
    Column("merchant_id", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("actor", Text, nullable=False),  # user@host, as the machine said
    Column("erased_at", _Time, nullable=False, server_default=text("now()")),
)

reconciliation_runs = Table(
    "reconciliation_runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("since", _Time, nullable=False),
    Column("until", _Time, nullable=False),
    Column("following", Text),  # where the next page begins, in the acquirer's words; null: at the first
    Column("pages", BigInteger, nullable=False, server_default=text("0")),
    Column("charges", BigInteger, nullable=False, server_default=text("0")),
    Column("left_out", BigInteger, nullable=False, server_default=text("0")),  # that nobody could read
    Column("started_at", _Time, nullable=False),
    Column("ended_at", _Time),
    Column("stopped", Text),  # why it ended before its end
    Column("allowed_at", _Time),  # since when a person lets the account be read again all the same
    CheckConstraint("since < until", name="span"),
    Index(
        "reconciliation_runs_open_key",
        "account",
        unique=True,
        postgresql_where=text("ended_at IS NULL"),
    ),
    Index("reconciliation_runs_account_idx", "account", "started_at"),
    Index(
        "reconciliation_runs_stopped_idx",
        "account",
        postgresql_where=text("stopped IS NOT NULL AND allowed_at IS NULL"),
    ),
)

acquirer_objects = Table(
    "acquirer_objects",
    metadata,
    Column("account", Text, primary_key=True),
    Column("acquirer_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("charge_id", Text, nullable=False),
    Column("reference", Text),  # ours, as far as the acquirer says so
    Column("payment_id", Text),  # ours; null: not known here
    Column("currency", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("net_minor", BigInteger, nullable=False),  # of a charge: paid by it; of all else 0
    Column("held_minor", BigInteger, nullable=False),
    Column("result", Text),  # what the latest comparison of a charge found
    Column("created_at", _Time, nullable=False),  # by the acquirer's clock
    Column("seen_at", _Time, nullable=False),
    Column("stands_with_another", Boolean, nullable=False, server_default=text("false")),  # or did once
    Index("acquirer_objects_reference_idx", "account", "reference"),
    Index(
        "acquirer_objects_live_idx",
        "payment_id",
        postgresql_where=text("net_minor > 0 OR held_minor > 0"),
    ),
    Index(
        "acquirer_objects_together_idx",
        "payment_id",
        postgresql_where=text("stands_with_another"),
    ),
    Index("acquirer_objects_orphan_idx", "reference", postgresql_where=text("result = 'orphan'")),
)

missing_attempts = Table(
    "missing_attempts",
    metadata,
    Column("account", Text, primary_key=True),
    Column("reference", Text, primary_key=True),
    Column("operation_id", Text, nullable=False),
    Column("payment_id", Text, nullable=False),
    Column("run", Text, nullable=False),  # that missed it first
    Column("missed_at", _Time, nullable=False),
)

reconciliations = Table(
    "reconciliations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("merchant_id", Text),  # null: nobody knows whose it is
    Column("mode", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("result", Text, nullable=False),
    Column("payment_id", Text),
    Column("operation_id", Text),
    Column("amount_here_minor", BigInteger),
    Column("amount_there_minor", BigInteger),
    Column("currency", Text),
    Column("acquirer_reference", Text),
    Column("created_at", _Time, nullable=False),
    Column("settled_at", _Time),
    Column("settled_by", Text),  # an operation, or who decided
    _written_by(),
    CheckConstraint(
        "result IN ('matched', 'missing_there', 'charged_there', 'orphan', 'foreign', 'amount',"
        " 'released_there', 'double_charge')",
        name="result",
    ),
    Index("reconciliations_by_result_idx", "merchant_id", "mode", "result", "xid", "created_at"),
    Index("reconciliations_by_account_idx", "merchant_id", "mode", "account", "result", "xid", "created_at"),
    Index("reconciliations_made_idx", text(STRETCH), "xid"),
    Index(
        "reconciliations_open_idx",
        "created_at",
        postgresql_where=text("settled_at IS NULL AND result NOT IN ('matched', 'foreign')"),
    ),
)

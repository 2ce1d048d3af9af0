"""What is counted, for Prometheus; labels are bounded sets, never ids.

What is alerted on is there at 0 before it first happens: Prometheus sees no increase in a series that begins at 1.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import product

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics, start_http_server

from payonce.domain.claiming import CommitEnd
from payonce.domain.delivery import DeliveryStatus
from payonce.domain.errors import NotSent, OutcomeUnknown, RateLimited, Rejected
from payonce.domain.operations import OperationKind, OperationStatus
from payonce.domain.reconciling import ComparisonResult
from payonce.domain.reviews import ReviewReason
from payonce.domain.risk import RiskVerdict

disable_created_metrics()  # type: ignore[no-untyped-call] # a second series of every one, which nothing asks for

OUTCOMES = Counter(
    "payonce_operation_outcomes", "Operations with a definite outcome", ["kind", "status", "connector"]
)
LATE_SUCCESSES = Counter(
    "payonce_late_successes", "Successes that contradicted a recorded failure; each is undone", ["kind"]
)
REVIEWS = Counter("payonce_reviews", "Operations that an operator must decide", ["kind"])
REVIEWS_ESCALATED = Counter(
    "payonce_reviews_escalated", "Reviews that nobody decided by their due time", ["reason"]
)
REVIEWS_OPEN = Gauge("payonce_reviews_open", "Operations that wait for a person", ["reason"])
REVIEWS_OVERDUE = Gauge("payonce_reviews_overdue", "Those of them whose due time is over", ["reason"])
CONNECTOR_CALLS = Counter(
    "payonce_connector_calls", "Calls to acquirers by what they established", ["account", "kind", "result"]
)
CONNECTOR_SECONDS = Histogram(
    "payonce_connector_call_seconds",
    "Time of a call to an acquirer",
    ["account", "kind"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20),
)
ACCOUNTS_CLOSED = Gauge(
    "payonce_connector_account_closed",
    "1 while this process sends no new payment to the account, by why that is",
    ["account", "reason"],
)
CALLBACK_HEARD = Gauge(
    "payonce_callback_heard_timestamp_seconds",
    "When the account's latest callback came, in seconds since 1970, as far as this process knows",
    ["account"],
)
ANOTHER_ACQUIRER = Counter(
    "payonce_another_acquirer",
    "Attempts whose account is another one by now, as the acquirer calls it",
    ["account"],
)
ISSUER_TABLE_AGE_SECONDS = Gauge(
    "payonce_issuer_table_age_seconds",
    "How long ago the table of issuers was imported that this process knows; 0 where it knows none",
)
RISK_ASKED = Counter(
    "payonce_risk_asked", "New payments about whose risk somebody was asked, by the verdict", ["verdict"]
)
RISK_ANSWERED = Counter("payonce_risk_answered", "Answers of risk providers that came in time", ["provider"])
RISK_UNANSWERED = Counter(
    "payonce_risk_unanswered",
    "Risk providers that gave no answer, or none that counts",
    ["provider", "reason"],
)
VAULT_ERASED = Counter(
    "payonce_vault_cards_erased", "Cards that nobody kept within 24 h, erased from the vault by the sweeper"
)
AUDIT_SEAL_AGE_SECONDS = Gauge(
    "payonce_audit_seal_age_seconds",
    "How long ago the last hour of the audit log ended whose seal the receipt store has, as this process knows",
)
AUDIT_SEALS_DIFFER = Counter(
    "payonce_audit_seals_differ",
    "Hours of the audit log of which the receipt store has another seal, or whose entries are not those sealed",
)
RECONCILED = Counter(
    "payonce_reconciliation_findings", "What comparisons with acquirers' lists found that is new", ["result"]
)
RECONCILIATION_OPEN = Gauge(
    "payonce_reconciliation_open", "Findings that nothing and nobody has settled", ["result"]
)
DOUBLE_CHARGES = Counter(
    "payonce_double_charge", "Payments of which two of the acquirers' charges stood at the same time"
)
RECONCILIATION_ENDED = Gauge(
    "payonce_reconciliation_last_success_timestamp_seconds",
    "When the account was last compared with its acquirer's list to the end, in seconds since 1970",
    ["account"],
)
RECONCILIATION_STOPPED = Gauge(
    "payonce_reconciliation_stopped",
    "1 while an account is not compared, since the acquirer knows newer payments of ours than Postgres",
    ["account"],
)
JOB_ENDED = Gauge(
    "payonce_job_last_success_timestamp_seconds",
    "When a round of what this process does again and again last ended well, in seconds since 1970; 0: none yet",
    ["name"],  # Prometheus has a label `job` of its own
)
SAVED_CARDS_ERASED = Counter(
    "payonce_saved_cards_erased", "What was erased of saved cards that were deleted, or never kept", ["what"]
)
DISPUTED_AND_REFUNDED = Counter(
    "payonce_disputed_and_refunded",
    "Withdrawals by a cardholder's bank of what was refunded already, or is being refunded",
    ["account"],
)
TOKENS_NOT_DELETED = Counter(
    "payonce_tokens_not_deleted",
    "Calls to delete a saved card's token at its acquirer that failed",
    ["account"],
)
REQUESTS = Counter("payonce_http_requests", "Answered requests", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "payonce_http_request_seconds",
    "Time from a request's first byte to its answer",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10),
)
STAGE_SECONDS = Histogram(
    "payonce_payment_stage_seconds",
    "Time that each stage of a request of money took: see docs/operations.md",
    ["stage"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5),
)
CONNECTIONS = Gauge("payonce_http_connections", "Connections of clients that are open")
CONNECTIONS_CUT = Counter(
    "payonce_http_connections_cut",
    "Connections ended at once: an answer was not taken, another needed the place, or there was none",
    ["reason"],
)
IN_FLIGHT = Gauge("payonce_admitted_in_flight", "Operations that a request of this process waits for")
ADMISSION_LIMIT = Gauge("payonce_admission_limit", "Payments that may work at once: it follows our own time")
WORKING = Gauge("payonce_admission_working", "Payments that work now, those at an acquirer apart")
REFUSED = Counter(
    "payonce_admission_refused", "Requests refused before anything was done for them", ["reason"]
)
COMMITS_UNPROVEN = Counter(
    "payonce_commits_unproven", "COMMITs that granted nothing and said nothing, by how they ended", ["end"]
)
GATE_CLOSED = Gauge(
    "payonce_gate_closed", "1 while no COMMIT of this process may be believed: the standby is missing"
)
DEPENDENCY_UP = Gauge(
    "payonce_dependency_up",
    "1 if it answered when /readyz was asked last, which fails for none of them",
    ["dependency"],
)
SWEPT = Counter("payonce_swept", "Operations that the sweeper handed to Temporal again", ["kind"])
BEHIND = Counter(
    "payonce_recordings_lost", "Operations done in Temporal, and open in Postgres for a minute", ["kind"]
)
RESUMED = Counter("payonce_workflows_resumed", "Workflows that were started again from Postgres")
CALLBACKS = Counter(
    "payonce_callbacks", "Callbacks of acquirers by what became of them", ["connector", "result"]
)
RETURNS = Counter("payonce_returns", "Customers who came back, by what became of that", ["result"])
RECEIPTS = Counter("payonce_receipts", "Receipts by what became of one try to make them", ["form", "result"])
RECEIPTS_WAITING = Gauge("payonce_receipts_waiting", "Receipts that were asked for and are not stored yet")
RECEIPTS_OLDEST_SECONDS = Gauge(
    "payonce_receipts_oldest_waiting_seconds", "How long the oldest of them has waited"
)
DELIVERIES = Counter("payonce_webhook_attempts", "Webhook delivery attempts", ["result"])
DELIVERY_LAG_SECONDS = Histogram(
    "payonce_webhook_first_attempt_lag_seconds",
    "Time from the event's commit to its first delivery attempt",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
DELIVERIES_ENDED = Counter(
    "payonce_webhook_deliveries_ended", "Deliveries by how an attempt ended them", ["status"]
)
DELIVERIES_PENDING = Gauge(
    "payonce_webhook_deliveries_pending",
    "Deliveries that wait: for a first attempt, for the relay's retry, for their workflow",
    ["lane"],
)
DELIVERY_OLDEST_DUE_SECONDS = Gauge(
    "payonce_webhook_oldest_due_seconds",
    "How long the oldest due first attempt at an endpoint that does not fail has waited",
)
ENDPOINTS_FAILING = Gauge(
    "payonce_webhook_endpoints_failing", "Enabled endpoints whose latest attempts failed"
)
DELIVERIES_HANDED_OVER = Counter(
    "payonce_webhook_deliveries_handed_over", "Failed deliveries that went to a workflow", ["result"]
)

_ASKED = (
    *("authorize", "capture", "void", "refund", "accept", "replay", "resume", "inquire", "reverse", "cancel"),
    *("delete_token", "list"),
)
_UNANSWERED = ("interrupted", *(error.code for error in (NotSent, OutcomeUnknown, Rejected, RateLimited)))
_DECIDED = tuple(status for status in OperationStatus if status is not OperationStatus.PENDING)


def at_zero(counter: Counter | Gauge, *values: Iterable[str]) -> None:
    """The counter has a series for every combination of these values of its labels."""
    for labels in product(*values):
        counter.labels(*labels)


class Rounds:
    """Of one recurring job of this process, which is told of as soon as it begins: as one that never ended well."""

    def __init__(self, job: str) -> None:
        self._ended = JOB_ENDED.labels(job)

    def ended(self) -> None:
        """A round ended well, whether there was anything to do or not."""
        self._ended.set_to_current_time()


def accounts_at_zero(connectors: Mapping[str, str]) -> None:
    """The same of what is counted by account or connector; `connectors`: each account's connector, by its id."""
    names = set(connectors.values())
    at_zero(OUTCOMES, OperationKind, _DECIDED, names)
    at_zero(CALLBACKS, names, ("received", "known", "invalid", "limited", "foreign", "unknown"))
    at_zero(CONNECTOR_CALLS, connectors, _ASKED, _UNANSWERED)
    at_zero(ANOTHER_ACQUIRER, connectors)
    at_zero(DISPUTED_AND_REFUNDED, connectors)
    at_zero(TOKENS_NOT_DELETED, connectors)
    at_zero(ACCOUNTS_CLOSED, connectors, ("not_opened", "refused", "another_identity", "unheard"))


@contextmanager
def served(host: str, port: int | None) -> Iterator[None]:
    """What this process counts is served on a port of its own while the block runs; without a port, nowhere.

    Not beside the API: a rendering takes 22 ms, and the figures are nobody else's business. Raises `OSError`.
    """
    if port is None:
        yield
        return
    try:
        server, thread = start_http_server(port, addr=host)
    except OSError as error:
        raise OSError(error.errno, f"PAYONCE_METRICS_PORT={port}: {error.strerror}") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


at_zero(LATE_SUCCESSES, OperationKind)
at_zero(REVIEWS, OperationKind)
at_zero(REVIEWS_ESCALATED, ReviewReason)
at_zero(RECONCILED, ComparisonResult)
at_zero(RISK_ASKED, (*RiskVerdict, "none"))
at_zero(RISK_ANSWERED, ("rules", "http"))
at_zero(RISK_UNANSWERED, ("rules", "http"), ("busy", "late", "failed", "wrong", "left_alone"))
at_zero(REFUSED, ("rate", "busy", "unknown", "drawing", "large_bodies", "return", "cards_saved"))
at_zero(SAVED_CARDS_ERASED, ("deleted", "never_kept"))
at_zero(RETURNS, ("taken", "known", "late", "empty", "ahead", "unknown"))
at_zero(RECEIPTS, ("html", "pdf"), ("stored", "not_drawn", "not_stored", "given_up"))
at_zero(CONNECTIONS_CUT, ("no_room", "gave_way", "nothing_taken"))
at_zero(COMMITS_UNPROVEN, (end for end in CommitEnd if not end.proves))
at_zero(SWEPT, (kind for kind in OperationKind if kind.carried_out))
at_zero(BEHIND, (kind for kind in OperationKind if kind.carried_out))
at_zero(DELIVERIES_ENDED, (status for status in DeliveryStatus if status is not DeliveryStatus.PENDING))
at_zero(DELIVERIES_HANDED_OVER, ("started", "kept"))

"""The acquirer's SQLite file: what moved, what was asked, what was answered, what is to come. Commits are fsynced."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PAGE_MAX = 1000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS operations (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    reference TEXT NOT NULL,
    operation TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN
        ('approved', 'declined', 'reversed', 'nothing_to_reverse', 'already_reversed')),
    amount_asked INTEGER,
    amount INTEGER,
    currency TEXT,
    decline_code TEXT,
    authorization TEXT,
    original_reference TEXT,
    payment_reference TEXT NOT NULL,
    expires_at TEXT,
    reversed_by TEXT,
    created_at TEXT NOT NULL,
    stage TEXT CHECK (stage IN ('authorized', 'captured')),
    callback_url TEXT,
    authentication TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS operations_reference ON operations (reference);
CREATE INDEX IF NOT EXISTS operations_authorization ON operations (authorization);

CREATE TABLE IF NOT EXISTS ledger (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    reference TEXT NOT NULL,
    operation TEXT NOT NULL
        CHECK (operation IN ('authorize', 'capture', 'void', 'refund', 'reversal', 'undo', 'dispute',
            'dispute_reversal')),
    amount INTEGER NOT NULL CHECK (amount > 0),
    currency TEXT NOT NULL,
    payment_reference TEXT NOT NULL,
    created_at TEXT NOT NULL,
    origin TEXT NOT NULL CHECK (origin IN ('payonce', 'acquirer', 'bank')),
    undoes INTEGER UNIQUE REFERENCES ledger (position),
    operation_id TEXT,
    CHECK ((operation = 'undo') = (undoes IS NOT NULL)),
    CHECK (operation <> 'undo' OR origin = 'acquirer'),
    CHECK ((operation IN ('dispute', 'dispute_reversal')) = (origin = 'bank'))
) STRICT;
CREATE INDEX IF NOT EXISTS ledger_reference ON ledger (reference);
CREATE INDEX IF NOT EXISTS ledger_operation_id ON ledger (operation_id);
CREATE INDEX IF NOT EXISTS ledger_payment_reference ON ledger (payment_reference);

CREATE TABLE IF NOT EXISTS requests (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    operation TEXT NOT NULL,
    reference TEXT,
    original_reference TEXT,
    payment_reference TEXT,
    amount INTEGER,
    currency TEXT,
    card TEXT,
    sca TEXT,
    authentication TEXT,
    faults TEXT NOT NULL,
    received_at TEXT NOT NULL,
    answer TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS requests_reference ON requests (reference);
CREATE INDEX IF NOT EXISTS requests_payment_reference ON requests (payment_reference);

CREATE TABLE IF NOT EXISTS customer_payments (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    rail TEXT NOT NULL CHECK (rail IN ('upi', 'wallet', 'card')),
    reference TEXT NOT NULL,
    payment_reference TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    amount_added INTEGER NOT NULL,
    currency TEXT NOT NULL,
    payer TEXT NOT NULL,
    details TEXT NOT NULL,
    page TEXT NOT NULL,
    callback_url TEXT,
    return_url TEXT,
    state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'declined', 'expired')),
    due_at TEXT,
    expires_at TEXT NOT NULL,
    decided_at TEXT,
    withdrawn_at TEXT,
    created_at TEXT NOT NULL,
    faults TEXT NOT NULL DEFAULT '[]',
    authentication TEXT,
    wrong_codes INTEGER NOT NULL DEFAULT 0,
    result_token TEXT UNIQUE
) STRICT;
CREATE INDEX IF NOT EXISTS customer_payments_reference ON customer_payments (reference);
CREATE INDEX IF NOT EXISTS customer_payments_payment_reference ON customer_payments (payment_reference);
CREATE INDEX IF NOT EXISTS customer_payments_due ON customer_payments (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS resumptions (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    challenge_id TEXT NOT NULL,
    key TEXT NOT NULL,
    answer TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS resumptions_challenge_id ON resumptions (challenge_id);

CREATE TABLE IF NOT EXISTS turns (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    operation_id TEXT NOT NULL,
    type TEXT NOT NULL CHECK (type IN ('captured', 'undone', 'redone', 'foreign')),
    operation TEXT NOT NULL CHECK (operation IN ('capture', 'refund', 'void')),
    amount INTEGER CHECK (amount > 0),
    due_at TEXT,
    happened_at TEXT,
    CHECK (due_at IS NULL OR happened_at IS NULL),
    CHECK (happened_at IS NULL OR amount IS NOT NULL)
) STRICT;
CREATE INDEX IF NOT EXISTS turns_operation_id ON turns (operation_id);
CREATE INDEX IF NOT EXISTS turns_due ON turns (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS disputes (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    operation_id TEXT NOT NULL,
    reference TEXT NOT NULL,
    payment_reference TEXT NOT NULL,
    stage TEXT NOT NULL CHECK (stage IN ('inquiry', 'chargeback', 'pre_arbitration', 'arbitration')),
    status TEXT NOT NULL CHECK (status IN
        ('needs_response', 'under_review', 'won', 'lost', 'accepted', 'closed')),
    reason TEXT NOT NULL,
    network_reason_code TEXT,
    amount INTEGER NOT NULL CHECK (amount > 0),
    currency TEXT NOT NULL,
    asked_back INTEGER NOT NULL CHECK (asked_back > 0),
    withdrawn INTEGER NOT NULL CHECK (withdrawn BETWEEN 0 AND asked_back),
    evidence_due_by TEXT,
    said_at TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS disputes_operation_id ON disputes (operation_id);
CREATE INDEX IF NOT EXISTS disputes_payment_reference ON disputes (payment_reference);
CREATE TABLE IF NOT EXISTS dispute_plans (
    position INTEGER PRIMARY KEY AUTOINCREMENT, operation_id TEXT NOT NULL, wish TEXT NOT NULL, due_at TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS dispute_plans_due ON dispute_plans (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS saved_cards (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    token TEXT NOT NULL UNIQUE,
    reference TEXT NOT NULL UNIQUE,
    card TEXT NOT NULL,
    decline_code TEXT,
    asks TEXT NOT NULL,
    deleted_at TEXT,
    created_at TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS rrns (
    position INTEGER PRIMARY KEY AUTOINCREMENT, operation_id TEXT NOT NULL UNIQUE, rrn TEXT UNIQUE
) STRICT;

CREATE TABLE IF NOT EXISTS callbacks (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    reference TEXT NOT NULL,
    payment_reference TEXT NOT NULL,
    url TEXT NOT NULL,
    body TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_at TEXT,
    outcome TEXT CHECK (outcome IN ('delivered', 'dropped', 'off')),
    last_answer TEXT,
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS callbacks_payment_reference ON callbacks (payment_reference);
CREATE INDEX IF NOT EXISTS callbacks_due ON callbacks (next_attempt_at) WHERE next_attempt_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS blocked_references (reference TEXT PRIMARY KEY, blocked_at TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS fired_faults (
    scope TEXT NOT NULL, entry TEXT NOT NULL, PRIMARY KEY (scope, entry)
) STRICT;

CREATE TABLE IF NOT EXISTS stripe_accounts (
    id TEXT NOT NULL, livemode INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (id, livemode)
) STRICT;
CREATE TABLE IF NOT EXISTS stripe_objects (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL,
    livemode INTEGER NOT NULL,
    type TEXT NOT NULL,
    created INTEGER NOT NULL,
    body TEXT NOT NULL,
    aside TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS stripe_objects_listed ON stripe_objects (account, livemode, type, position);
CREATE INDEX IF NOT EXISTS stripe_objects_of_intent ON stripe_objects (json_extract(body, '$.payment_intent'));
CREATE INDEX IF NOT EXISTS stripe_objects_page ON stripe_objects (json_extract(aside, '$.page'));
CREATE TABLE IF NOT EXISTS stripe_keys (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    livemode INTEGER NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status_code INTEGER NOT NULL,
    body TEXT NOT NULL,
    request_id TEXT NOT NULL,
    saved_at TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS stripe_keys_key ON stripe_keys (account, livemode, key);
CREATE TABLE IF NOT EXISTS stripe_due (
    position INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, object_id TEXT NOT NULL, due_at TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS stripe_due_due ON stripe_due (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS razorpay_accounts (
    id TEXT NOT NULL, livemode INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (id, livemode)
) STRICT;
CREATE TABLE IF NOT EXISTS razorpay_objects (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL,
    livemode INTEGER NOT NULL,
    type TEXT NOT NULL,
    created INTEGER NOT NULL,
    body TEXT NOT NULL,
    aside TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS razorpay_objects_listed ON razorpay_objects (account, livemode, type, position);
CREATE INDEX IF NOT EXISTS razorpay_objects_receipt ON razorpay_objects (json_extract(body, '$.receipt'));
CREATE INDEX IF NOT EXISTS razorpay_objects_order ON razorpay_objects (json_extract(body, '$.order_id'));
CREATE INDEX IF NOT EXISTS razorpay_objects_payment ON razorpay_objects (json_extract(body, '$.payment_id'));
CREATE TABLE IF NOT EXISTS razorpay_keys (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    livemode INTEGER NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    body TEXT NOT NULL,
    saved_at TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS razorpay_keys_key ON razorpay_keys (account, livemode, key);
CREATE TABLE IF NOT EXISTS razorpay_due (
    position INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, object_id TEXT NOT NULL, due_at TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS razorpay_due_due ON razorpay_due (due_at) WHERE due_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS adyen_accounts (id TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS adyen_objects (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('payment', 'modification')),
    reference TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS adyen_objects_reference ON adyen_objects (account, kind, reference);
CREATE INDEX IF NOT EXISTS adyen_objects_page ON adyen_objects (json_extract(body, '$.page'));
CREATE INDEX IF NOT EXISTS adyen_objects_result ON adyen_objects (json_extract(body, '$.redirect_result'));
CREATE INDEX IF NOT EXISTS adyen_objects_payment ON adyen_objects (json_extract(body, '$.payment_reference'));
CREATE TABLE IF NOT EXISTS adyen_keys (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    company TEXT NOT NULL,
    key TEXT NOT NULL,
    status_code INTEGER NOT NULL,
    body TEXT NOT NULL,
    saved_at TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS adyen_keys_key ON adyen_keys (company, key);
CREATE TABLE IF NOT EXISTS adyen_due (
    position INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, object_id TEXT NOT NULL, due_at TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS adyen_due_due ON adyen_due (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS config (only INTEGER PRIMARY KEY CHECK (only = 1), body TEXT NOT NULL) STRICT;
"""

_ADDED = {
    "operations": {
        "stage": "stage TEXT CHECK (stage IN ('authorized', 'captured'))",
        "callback_url": "callback_url TEXT",
        "authentication": "authentication TEXT",
    },
    "requests": {"sca": "sca TEXT", "authentication": "authentication TEXT"},
    "customer_payments": {"faults": "faults TEXT NOT NULL DEFAULT '[]'"},
}
# What was authorized by an older version says what it moved; all its entries were asked for. Which operation an
# entry belongs to was not kept: nothing is to come of it.
_LEDGER_CARRIED_OVER = """
INSERT INTO ledger
    (position, reference, operation, amount, currency, payment_reference, created_at, origin)
    SELECT position, reference, operation, amount, currency, payment_reference, created_at, 'payonce'
    FROM ledger_before ORDER BY position;
DROP TABLE ledger_before;
UPDATE operations SET stage = CASE WHEN reference IN (SELECT reference FROM ledger WHERE operation = 'capture')
    THEN 'captured' ELSE 'authorized' END
    WHERE operation = 'authorize' AND status = 'approved';
"""
_LEDGER_COLUMNS = (
    "position, reference, operation, amount, currency, payment_reference, created_at, origin, undoes,"
    " operation_id"
)
_LEDGER_WITHOUT_BANKS_CARRIED_OVER = f"""
INSERT INTO ledger ({_LEDGER_COLUMNS}) SELECT {_LEDGER_COLUMNS} FROM ledger_before ORDER BY position;
DROP TABLE ledger_before;
"""  # noqa: S608 - our own columns
_CUSTOMER_COLUMNS = (
    "position, id, rail, reference, payment_reference, amount, amount_added, currency, payer, details, page,"
    " callback_url, return_url, state, due_at, expires_at, decided_at, withdrawn_at, created_at, faults"
)
_CUSTOMERS_CARRIED_OVER = f"""
INSERT INTO customer_payments ({_CUSTOMER_COLUMNS})
    SELECT {_CUSTOMER_COLUMNS} FROM customer_payments_before ORDER BY position;
DROP TABLE customer_payments_before;
"""  # noqa: S608 - our own columns


def opened(path: Path) -> sqlite3.Connection:
    """A connection to the file, which has its tables; every commit is on disk when it returns.

    A file of an older version is renewed in one transaction.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.executescript(_script(db))
    return db


def _script(db: sqlite3.Connection) -> str:
    """The script that makes a file of an older version, or none, one of this version, whole or not at all."""
    missing = [
        f"ALTER TABLE {table} ADD COLUMN {declared};"
        for table, columns in _ADDED.items()
        for name, declared in columns.items()
        if (there := _columns(db, table)) and name not in there
    ]
    older = {
        table: carried_over
        for table, newest, carried_over in (
            ("ledger", "origin", _LEDGER_CARRIED_OVER),
            ("customer_payments", "result_token", _CUSTOMERS_CARRIED_OVER),
        )
        if (there := _columns(db, table)) and newest not in there
    }
    if "ledger" not in older and (declared := _declared(db, "ledger")) and "'dispute'" not in declared:
        older["ledger"] = _LEDGER_WITHOUT_BANKS_CARRIED_OVER
    aside = [statement for table in older for statement in _set_aside(db, table)]
    return "\n".join(["BEGIN IMMEDIATE;", *missing, *aside, _SCHEMA, *older.values(), "COMMIT;"])


def _set_aside(db: sqlite3.Connection, table: str) -> list[str]:
    """Its rows stay under another name; an index goes with its table, so the new table could not have its name."""
    rows = db.execute(
        "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL", (table,)
    ).fetchall()
    indexes = [f"DROP INDEX {row['name']};" for row in rows]
    return [*indexes, f"ALTER TABLE {table} RENAME TO {table}_before;"]


def _declared(db: sqlite3.Connection, table: str) -> str:
    """As the table was created; empty where there is none."""
    row = db.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone()
    return "" if row is None else str(row["sql"])


def _columns(db: sqlite3.Connection, table: str) -> set[str]:
    return {row["name"] for row in db.execute("SELECT name FROM pragma_table_info(?)", (table,))}


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All statements inside are committed and fsynced together, or none is."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def inserted(db: sqlite3.Connection, table: str, **columns: str | int | None) -> int:
    """The position of the new row. Table and column names are this package's own, never a sender's."""
    names, places = ", ".join(columns), ", ".join("?" * len(columns))
    statement = f"INSERT INTO {table} ({names}) VALUES ({places})"  # noqa: S608 - see the docstring
    position = db.execute(statement, tuple(columns.values())).lastrowid
    assert position is not None
    return position


def is_first(db: sqlite3.Connection, scope: str, entry: str) -> bool:
    """Whether the fault is set off: it was not before, within this scope."""
    return db.execute("INSERT OR IGNORE INTO fired_faults VALUES (?, ?)", (scope, entry)).rowcount == 1


def page(
    db: sqlite3.Connection, table: str, *, filters: dict[str, str], after: int, limit: int
) -> tuple[list[dict[str, Any]], bool]:
    """Up to `limit` rows of `table` after a position, oldest first, and whether more follow."""
    conditions = " AND ".join(["position > ?", *(f"{column} = ?" for column in filters)])
    statement = f"SELECT * FROM {table} WHERE {conditions} ORDER BY position LIMIT ?"  # noqa: S608 - ours
    rows = db.execute(statement, (after, *filters.values(), limit + 1)).fetchall()
    return [dict(row) for row in rows[:limit]], len(rows) > limit


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds, so that text order is time order."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

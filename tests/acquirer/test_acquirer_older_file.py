"""A file that an older acquirer wrote opens: nothing in it is lost, and what follows is as in a new one."""

import sqlite3
from pathlib import Path

import pytest
from acquirer_process import Acquirer, answered, eventually

from devstack.acquirer import store

AT = "2026-11-01T10:00:00.000000Z"
# As written by the version that knew `reversal` as its last movement.
OLDER = f"""
CREATE TABLE operations (
    position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, reference TEXT NOT NULL,
    operation TEXT NOT NULL, status TEXT NOT NULL CHECK (status IN
        ('approved', 'declined', 'reversed', 'nothing_to_reverse', 'already_reversed')),
    amount_asked INTEGER, amount INTEGER, currency TEXT, decline_code TEXT, authorization TEXT,
    original_reference TEXT, payment_reference TEXT NOT NULL, expires_at TEXT, reversed_by TEXT,
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX operations_reference ON operations (reference);
CREATE TABLE ledger (
    position INTEGER PRIMARY KEY AUTOINCREMENT, reference TEXT NOT NULL,
    operation TEXT NOT NULL CHECK (operation IN ('authorize', 'capture', 'void', 'refund', 'reversal')),
    amount INTEGER NOT NULL CHECK (amount > 0), currency TEXT NOT NULL, payment_reference TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX ledger_reference ON ledger (reference);
CREATE INDEX ledger_payment_reference ON ledger (payment_reference);
CREATE TABLE config (only INTEGER PRIMARY KEY CHECK (only = 1), body TEXT NOT NULL) STRICT;
INSERT INTO config VALUES (1, '{{"idempotency":"90s","delay_ms":0,"finality_s":3,"callbacks":"on"}}');
INSERT INTO operations VALUES
    (1, 'auth_1', 'r1', 'authorize', 'approved', 5, 5, 'INR', NULL, 'auth_1', NULL, 'pay_1',
     '2036-11-01T10:00:00.000000Z', NULL, '{AT}'),
    (2, 'auth_2', 'r2', 'authorize', 'approved', 5, 5, 'INR', NULL, 'auth_2', NULL, 'pay_1',
     '2036-11-01T10:00:00.000000Z', NULL, '{AT}'),
    (3, 'auth_3', 'r3', 'authorize', 'declined', 5, 5, 'INR', 'lost_card', NULL, NULL, 'pay_1', NULL, NULL, '{AT}');
INSERT INTO ledger VALUES
    (1, 'r1', 'authorize', 5, 'INR', 'pay_1', '{AT}'), (2, 'r1', 'capture', 5, 'INR', 'pay_1', '{AT}'),
    (4, 'r2', 'authorize', 5, 'INR', 'pay_1', '{AT}');
"""
WITH_CUSTOMERS = f"""
CREATE TABLE customer_payments (
    position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, rail TEXT NOT NULL,
    reference TEXT NOT NULL, payment_reference TEXT NOT NULL, amount INTEGER NOT NULL,
    amount_added INTEGER NOT NULL, currency TEXT NOT NULL, payer TEXT NOT NULL, details TEXT NOT NULL,
    page TEXT NOT NULL, callback_url TEXT, return_url TEXT, state TEXT NOT NULL, due_at TEXT,
    expires_at TEXT NOT NULL, decided_at TEXT, withdrawn_at TEXT, created_at TEXT NOT NULL
) STRICT;
INSERT INTO customer_payments VALUES
    (1, 'upi1', 'upi', 'u1', 'pay_1', 7, 0, 'INR', 'late@upi', '{{}}', 'http://x/upi/pay_1', NULL, NULL, 'expired',
     '{AT}', '{AT}', NULL, NULL, '{AT}');
"""


@pytest.mark.parametrize("older", [OLDER, OLDER + WITH_CUSTOMERS])
async def test_an_older_file_keeps_what_moved_and_goes_on(acquirer: Acquirer, older: str) -> None:
    await acquirer.stop()
    for path in acquirer.data.parent.iterdir():
        path.unlink()
    with sqlite3.connect(acquirer.data) as db:
        db.executescript(older)
    db.close()
    for _ in range(2):
        await acquirer.stop()
        await acquirer.start()
    entries = [entry for entry in await acquirer.ledger() if entry["reference"].startswith("r")]
    assert [(entry["id"], entry["operation"], entry["origin"]) for entry in entries] == [
        ("led_1", "authorize", "payonce"),
        ("led_2", "capture", "payonce"),
        ("led_4", "authorize", "payonce"),
    ]
    found = [answered(await acquirer.inquire(reference)) for reference in ("r1", "r2", "r3")]
    assert [answer["stage"] for answer in found] == ["captured", "authorized", None]
    assert answered(await acquirer.client.get("/config"))["challenge_ends"] == "cancelled"
    order = acquirer.order(authorization="auth_2", final=True, faults=["capture:undo_capture:0"])
    await acquirer.post("/captures", order)

    async def is_undone() -> bool:
        return await acquirer.moved(order["reference"]) == ["capture", "undo"]

    await eventually(is_undone)
    assert await acquirer.moved("u1") == (["authorize", "capture"] if older != OLDER else [])
    assert (await acquirer.authorize(number="4000002500003155"))["status"] == "pending"


def test_a_renewed_file_holds_the_rules_of_a_new_one(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "older.sqlite") as db:
        db.executescript(OLDER + WITH_CUSTOMERS)
    db.close()
    shapes = []
    for name in ("older.sqlite", "new.sqlite"):
        opened = store.opened(tmp_path / name)
        tables = [
            row["name"] for row in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        shapes.append(
            {
                "columns": {
                    table: [
                        (row["name"], row["type"], row["notnull"], row["dflt_value"])
                        for row in opened.execute("SELECT * FROM pragma_table_info(?)", (table,))
                    ]
                    for table in sorted(tables)
                },
                "indexes": sorted(
                    row["name"]
                    for row in opened.execute("SELECT name FROM sqlite_master WHERE type = 'index'")
                ),
            }
        )
        opened.close()
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    "columns",
    [
        {"operation": "undo", "origin": "acquirer"},
        {"operation": "undo", "origin": "payonce", "undoes": 1},
        {"operation": "capture", "origin": "acquirer", "undoes": 1},
        {"operation": "capture", "origin": "bank"},
        {"operation": "settle", "origin": "payonce"},
    ],
)
def test_the_ledger_takes_no_entry_that_means_nothing(tmp_path: Path, columns: dict[str, str | int]) -> None:
    db = store.opened(tmp_path / "acquirer.sqlite")
    every = {"reference": "r", "amount": 1, "currency": "INR", "payment_reference": "p", "created_at": AT}
    store.inserted(db, "ledger", **every, operation="capture", origin="payonce")
    with pytest.raises(sqlite3.IntegrityError):
        store.inserted(db, "ledger", **every, **columns)
    undo = {**every, "operation": "undo", "origin": "acquirer", "undoes": 1}
    store.inserted(db, "ledger", **undo)
    with pytest.raises(sqlite3.IntegrityError):  # once
        store.inserted(db, "ledger", **undo)
    db.close()

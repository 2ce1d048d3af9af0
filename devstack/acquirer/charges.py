"""The list of charges: each with its totals and with what the acquirer says of every operation on it."""

import hmac
import re
import sqlite3
from datetime import datetime
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devstack.acquirer import movements, store, turns
from devstack.acquirer.desk import Desk, invalid
from devstack.acquirer.movements import Terms
from devstack.acquirer.scripts import Rail

LIMIT_MAX: Final = 100
_NAMES: Final = {"since", "until", "after", "limit", "rail"}
_OF_CHARGE: Final = (
    "(SELECT id FROM operations WHERE authorization = ?1 AND reversed_by IS NULL AND operation <> 'reversal'"
    " UNION ALL SELECT id FROM turns WHERE operation_id = ?1)"
)


def routes(desk: Desk, *, key: str) -> list[Route]:
    """`GET /charges?since=&until=&after=&limit=&rail=`, with the key."""

    async def listed(request: Request) -> Response:
        given = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {key}".encode()):
            return JSONResponse({"error": "unauthorized"}, 401)
        query = dict(request.query_params)
        try:
            asked = _asked(query)
        except ValueError:
            return JSONResponse(invalid("the query takes since, until, after, limit and rail").body, 400)
        return JSONResponse(await desk.run(desk.within, partial(_page, **asked)))

    return [Route("/charges", listed)]


def _asked(query: dict[str, str]) -> dict[str, Any]:
    """What the list was asked for. Raises `ValueError`."""
    limit, after = int(query.get("limit", LIMIT_MAX)), query.get("after", "0")
    if not _NAMES.issuperset(query) or not 1 <= limit <= LIMIT_MAX or not re.fullmatch(r"\d{1,18}", after):
        raise ValueError
    return {
        "since": store.timestamp(datetime.fromisoformat(query["since"])),
        "until": store.timestamp(datetime.fromisoformat(query["until"])),
        "after": int(after),
        "limit": limit,
        "rail": None if "rail" not in query else str(Rail(query["rail"])),
    }


def _page(
    db: sqlite3.Connection,
    terms: Terms,
    *,
    since: str,
    until: str,
    after: int,
    limit: int,
    rail: str | None,
) -> dict[str, Any]:
    """The charges of which something moved in that time, in the order in which it did, each once on a page."""
    entries = db.execute(
        "SELECT position, operation_id FROM ledger WHERE position > ? AND created_at >= ? AND created_at < ?"
        " AND operation_id IS NOT NULL ORDER BY position LIMIT ?",
        (after, since, until, limit),
    ).fetchall()
    ids = dict.fromkeys(_charge_of(db, entry["operation_id"]) for entry in entries)
    found = (movements.operation(db, id_) for id_ in ids if id_ is not None and _is_own(db, id_))
    charges = [_charge(db, row, terms) for row in found if row is not None and _fits(db, row, rail)]
    following = str(entries[-1]["position"]) if len(entries) == limit else None
    return {"charges": charges, "next": following}


def _charge_of(db: sqlite3.Connection, moved_by: str) -> str | None:
    """The authorization that a movement was about, whoever made it."""
    row = db.execute(
        "SELECT authorization AS id FROM operations WHERE id = ?1"
        " UNION ALL SELECT operation_id FROM turns WHERE id = ?1"
        " UNION ALL SELECT operation_id FROM disputes WHERE id = ?1 LIMIT 1",
        (moved_by,),
    ).fetchone()
    return None if row is None else row["id"]


def _is_own(db: sqlite3.Connection, charge: str) -> bool:
    """Whether our own protocol asked for it: accounts that speak another acquirer's have a list of their own."""
    asked = db.execute("SELECT 1 FROM customer_payments WHERE id = ?", (charge,)).fetchone()
    return asked is not None or movements.is_id("authorize", charge)


def _fits(db: sqlite3.Connection, row: sqlite3.Row, rail: str | None) -> bool:
    asked = db.execute(
        "SELECT rail FROM customer_payments WHERE reference = ? LIMIT 1", (row["reference"],)
    ).fetchone()
    return rail is None or rail == (Rail.CARD if asked is None else asked["rail"])


def _charge(db: sqlite3.Connection, row: sqlite3.Row, terms: Terms) -> dict[str, Any]:
    gone = row["reversed_by"] is not None
    names = ("id", "reference", "payment_reference", "currency", "created_at")
    disputed = db.execute(
        "SELECT coalesce(sum(withdrawn), 0) FROM disputes WHERE operation_id = ?", (row["id"],)
    ).fetchone()[0]
    return {
        **{name: row[name] for name in names},
        "authorized": row["amount"],
        "captured": 0 if gone else _stands(db, row["id"], "capture"),
        "refunded": 0 if gone else _stands(db, row["id"], "refund"),
        "disputed": int(disputed),
        "held": 0 if gone or store.timestamp(terms.now) >= row["expires_at"] else turns.left(db, row["id"]),
        "operations": [_said(db, each) for each in _operations(db, row["id"])],
    }


def _stands(db: sqlite3.Connection, charge: str, operation: str) -> int:
    """What was moved so of the charge, and neither undone nor reversed."""
    total = db.execute(
        f"SELECT coalesce(sum(amount), 0) FROM ledger AS entry WHERE operation_id IN {_OF_CHARGE}"  # noqa: S608
        " AND operation = ?2 AND NOT EXISTS"
        " (SELECT 1 FROM ledger AS undoing WHERE undoing.undoes = entry.position)",
        (charge, operation),
    ).fetchone()[0]
    return int(total)


def _operations(db: sqlite3.Connection, charge: str) -> list[sqlite3.Row]:
    return db.execute(
        "SELECT * FROM operations WHERE authorization = ? AND status = 'approved' AND operation <> 'reversal'"
        " ORDER BY position",
        (charge,),
    ).fetchall()


def _said(db: sqlite3.Connection, row: sqlite3.Row) -> dict[str, Any]:
    """As an inquiry by its reference would be answered."""
    result = movements.answer(db, row)
    return result if row["reversed_by"] is None else {**result, "status": "reversed"}

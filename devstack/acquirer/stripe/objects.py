"""Stripe's objects in the sandbox's file: kept as they are answered, with what is nobody's business beside them.

Source of the members: spec, `components.schemas`.
"""

import json
import secrets
import sqlite3
import string
from dataclasses import dataclass
from typing import Any

from devstack.acquirer.stripe.accounts import Account
from devstack.acquirer.stripe.errors import Json, invalid, missing

_LETTERS = string.ascii_letters + string.digits
EVENT_PREFIX = "evt_"
EXPAND_DEPTH_MAX = 4
# Which members of which object are ids of others, and of what; None where they are null here. Source: spec, the
# members that are either a text or an object.
_EXPANDABLE: dict[str, dict[str, str | None]] = {
    "payment_intent": {
        **{"latest_charge": "charge", "payment_method": "payment_method"},
        **dict.fromkeys(("customer", "application", "on_behalf_of", "review")),
    },
    "charge": {
        **{"payment_intent": "payment_intent", "refunds": None},
        **dict.fromkeys(("balance_transaction", "customer", "application", "application_fee", "review")),
        **dict.fromkeys(("failure_balance_transaction", "on_behalf_of", "source_transfer")),
    },
    "refund": {
        **{"charge": "charge", "payment_intent": "payment_intent", "payment_method": "payment_method"},
        **dict.fromkeys(("balance_transaction", "customer", "failure_balance_transaction")),
    },
    "payment_method": {"customer": None},
    "dispute": {"charge": "charge", "payment_intent": "payment_intent"},
    "radar.early_fraud_warning": {"charge": "charge", "payment_intent": "payment_intent"},
}


@dataclass(slots=True)
class Stored:
    """An object and, `aside`, what the sandbox knows of it. `body` is what is answered."""

    body: Json
    aside: Json

    @property
    def id(self) -> str:
        """The object's id."""
        return str(self.body["id"])


def new_id(prefix: str) -> str:
    """An id of Stripe's look."""
    return f"{prefix}_3" + "".join(secrets.choice(_LETTERS) for _ in range(23))


def put(db: sqlite3.Connection, account: Account, stored: Stored) -> None:
    """The object is stored, new or changed."""
    body, aside = json.dumps(stored.body), json.dumps(stored.aside)
    db.execute(
        "INSERT INTO stripe_objects (id, account, livemode, type, created, body, aside)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET body = excluded.body, aside = excluded.aside",
        (
            stored.id,
            account.id,
            int(account.livemode),
            stored.body["object"],
            stored.body["created"],
            body,
            aside,
        ),
    )


def find(db: sqlite3.Connection, account: Account, type: str, own_id: str) -> Stored | None:
    """The account's object. One of another account or mode is not there."""
    row = db.execute(
        "SELECT body, aside FROM stripe_objects WHERE id = ? AND account = ? AND livemode = ? AND type = ?",
        (own_id, account.id, int(account.livemode), type),
    ).fetchone()
    return None if row is None else Stored(json.loads(row["body"]), json.loads(row["aside"]))


def get(db: sqlite3.Connection, account: Account, type: str, own_id: str, *, param: str) -> Stored:
    """The account's object. Raises `Refusal` where it has none."""
    stored = find(db, account, type, own_id)
    if stored is None:
        raise missing(type if type != "payment_method" else "PaymentMethod", own_id, param=param)
    return stored


def owner(db: sqlite3.Connection, own_id: str) -> tuple[str, bool, str] | None:
    """Account, mode and type of an object."""
    row = db.execute("SELECT account, livemode, type FROM stripe_objects WHERE id = ?", (own_id,)).fetchone()
    return None if row is None else (row["account"], bool(row["livemode"]), row["type"])


def page(
    db: sqlite3.Connection, account: Account, type: str, form: Json, *, where: dict[str, list[str]], url: str
) -> Json:
    """A page of a list, newest first. `where`: members, each with the values that it may have.

    Source: api/pagination: `limit` 1 to 100, default 10; `starting_after` and `ending_before` are ids of objects.
    """
    limit = form.get("limit", 10)
    if not 1 <= limit <= 100:
        raise invalid("Invalid integer: limit must be 1 to 100.", param="limit")
    conditions, values = (
        ["account = ?", "livemode = ?", "type = ?"],
        [account.id, int(account.livemode), type],
    )
    for member, any_of in where.items():
        conditions.append(f"json_extract(body, '$.{member}') IN ({', '.join('?' * len(any_of))})")
        values += any_of
    _add_created(form.get("created"), conditions, values)
    backwards = "ending_before" in form
    for name, sign in (("starting_after", "<"), ("ending_before", ">")):
        if name in form:
            conditions.append(f"position {sign} ?")
            values.append(_position(db, account, type, form[name], param=name))
    rows = db.execute(
        f"SELECT body FROM stripe_objects WHERE {' AND '.join(conditions)}"  # noqa: S608 - names are ours
        f" ORDER BY position {'ASC' if backwards else 'DESC'} LIMIT ?",
        (*values, limit + 1),
    ).fetchall()
    found = [json.loads(row["body"]) for row in rows[:limit]]
    data = found[::-1] if backwards else found
    return {"object": "list", "data": data, "has_more": len(rows) > limit, "url": url}


def _add_created(created: Any, conditions: list[str], values: list[Any]) -> None:
    """Source: spec, the lists' `created`: a time in seconds, or a hash of gt, gte, lt, lte."""
    if created is None:
        return
    bounds = created if isinstance(created, dict) else {"eq": created}
    signs = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "eq": "="}
    for name, moment in bounds.items():
        conditions.append(f"created {signs[name]} ?")
        values.append(moment)


def _position(db: sqlite3.Connection, account: Account, type: str, own_id: str, *, param: str) -> int:
    get(db, account, type, own_id, param=param)
    row = db.execute("SELECT position FROM stripe_objects WHERE id = ?", (own_id,)).fetchone()
    return int(row["position"])


def check_expand(type: str, paths: list[str]) -> None:
    """Raises `Refusal` for what cannot be expanded in an answer of this type, or a list of it, before any work.

    Source: docs.stripe.com/expand: with dots, four levels at most, `data.` within lists.
    """
    for path in paths:
        parts = path.split(".")
        if len(parts) > EXPAND_DEPTH_MAX:
            raise invalid(f"You cannot expand more than {EXPAND_DEPTH_MAX} levels.", param="expand")
        at: str | None = type
        for part in parts:
            if at is not None and at.startswith("list of ") and part == "data":
                at = at.removeprefix("list of ")
            elif part in _EXPANDABLE.get(at or "", {}):
                at = _EXPANDABLE[at or ""][part]
            else:
                raise invalid(f"This property cannot be expanded ({path[:100]}).", param="expand")


def expanded(db: sqlite3.Connection, account: Account, body: Json, paths: list[str]) -> Json:
    """The answer with what was asked for in place of ids. The paths were checked."""
    for path in paths:
        _expand(db, account, body, path.split("."))
    return body


def _expand(db: sqlite3.Connection, account: Account, body: Json, parts: list[str]) -> None:
    first, *rest = parts
    if body.get("object") == "list":
        for item in body["data"] if rest else []:
            _expand(db, account, item, rest)
        return
    if first == "refunds":
        url = f"/v1/charges/{body['id']}/refunds"
        body["refunds"] = page(db, account, "refund", {}, where={"charge": [body["id"]]}, url=url)
    kind = _EXPANDABLE.get(str(body.get("object")), {}).get(first)
    if kind is not None and isinstance(body.get(first), str):
        stored = find(db, account, kind, body[first])
        body[first] = body[first] if stored is None else stored.body
    if rest and isinstance(body.get(first), dict):
        _expand(db, account, body[first], rest)

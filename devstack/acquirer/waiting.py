"""Payments that wait for a customer: asked for, decided, lapsed, withdrawn. Inside the caller's transaction.

A decision becomes a row of operations under the payment's own id, and money in the ledger, so refunds and
reversals find it as they find a card's. What happens by itself happens at its due time, whenever somebody looks.
"""

import json
import secrets
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from devstack.acquirer import authenticating, callbacks, disputes, faults, movements, scripts, store, turns
from devstack.acquirer.bodies import Authorize, CustomerOrder, MoneyOrder, PayByUpi, PayByWallet
from devstack.acquirer.config import Config
from devstack.acquirer.movements import Result, Stage, Terms
from devstack.acquirer.scripts import Rail, State
from devstack.acquirer.upi_uri import upi_uri

_REORDERED_BY = timedelta(seconds=1)  # how long after its successor an overtaken callback leaves
BROUGHT_FIRST = (
    "brought_first"  # of a card whose holder is asked again: the detail with what the first page gave
)
SECOND_PAGE = "?again=1"  # where they are asked again: the same page under an address of its own
_SHOWN_DETAILS = ("intent", "provider", "completes")
_RANK = {"approved": 0, "pending": 1, "expired": 2, "reversed": 3, "declined": 4}


class ReferenceReused(Exception):
    """The reference was used before, for another operation, amount or currency."""


class Decision(StrEnum):
    """What a customer does on the page."""

    APPROVE = "approve"
    DECLINE = "decline"

    @property
    def state(self) -> State:
        """What the payment is in once this holds."""
        return State.APPROVED if self is Decision.APPROVE else State.DECLINED


@dataclass(frozen=True, slots=True)
class Shown:
    """A payment as its page shows it. `answer_by` is None when no answer of the customer's counts (any more)."""

    result: Result
    rail: Rail
    payment_reference: str
    details: dict[str, Any]
    return_url: str | None
    decided_at: str | None
    decides_itself: bool
    has_lapsed: bool
    answer_by: datetime | None
    authenticated: bool | None = None  # of a card: whether its holder was; None while nobody knows
    wrong_codes: int = 0
    result_token: str | None = None  # what the browser brings back, where that counts


def opened(
    db: sqlite3.Connection,
    order: CustomerOrder | Authorize,
    terms: Terms,
    *,
    challenge: Mapping[str, Any] | None = None,
) -> Result:
    """The customer was asked; the answer is `pending`, with where they go on. `challenge`: details of a card's."""
    rail = _rail(order)
    expires_at = terms.now + timedelta(seconds=order.window_s)
    payer = order.payer_vpa() if isinstance(order, PayByUpi) else ""
    closes_at = _closes_at(expires_at, terms.config)
    step = scripts.next_step(
        payer, State.PENDING, created_at=terms.now, expires_at=expires_at, closes_at=closes_at
    )
    own_id = f"{rail}{secrets.token_hex(12)}"  # letters and digits only: it is the link's `tr`
    position = store.inserted(
        db,
        "customer_payments",
        id=own_id,
        rail=rail,
        reference=order.reference,
        payment_reference=order.payment_reference,
        amount=order.amount,
        amount_added=terms.amount_added,
        currency=order.currency,
        payer=payer,
        details=json.dumps(challenge or _details(order, own_id)),
        page=f"{terms.page_base}/{rail}/{order.payment_reference}",
        callback_url=order.callback_url,
        return_url=order.return_url if isinstance(order, PayByWallet | Authorize) else None,
        state=State.PENDING,
        due_at=None if step is None else store.timestamp(_due_at(step, terms)),
        expires_at=store.timestamp(expires_at),
        created_at=store.timestamp(terms.now),
        faults=json.dumps(terms.entries),
    )
    asked = db.execute("SELECT * FROM customer_payments WHERE position = ?", (position,)).fetchone()
    return _asked(asked)


def first_answer(db: sqlite3.Connection, order: MoneyOrder, *, since: datetime) -> Result | None:
    """What was answered when the same was asked under this reference, if that still stands.

    Raises `ReferenceReused`.
    """
    row = db.execute(
        "SELECT * FROM customer_payments WHERE reference = ? AND created_at > ? AND withdrawn_at IS NULL"
        " ORDER BY position DESC LIMIT 1",
        (order.reference, store.timestamp(since)),
    ).fetchone()
    if row is None or _status(db, row) == "reversed":
        return None
    asked = (row["rail"], row["amount"], row["currency"])
    if not isinstance(order, CustomerOrder | Authorize) or asked != (
        _rail(order),
        order.amount,
        order.currency,
    ):
        raise ReferenceReused
    return _asked(row)


def found(db: sqlite3.Connection, reference: str) -> Result | None:
    """Where the reference stands; of several payments under it, the one that could still move money, or has."""
    rows = db.execute(
        "SELECT * FROM customer_payments WHERE reference = ? ORDER BY position", (reference,)
    ).fetchall()
    results = [result_of(db, row) for row in rows]
    return min(results, key=lambda result: _RANK[result["status"]], default=None)


def withdrawn(db: sqlite3.Connection, reference: str, now: datetime) -> None:
    """Whatever still waits under the reference is dead, or late if late ones are accepted."""
    db.execute(
        "UPDATE customer_payments SET withdrawn_at = ? WHERE reference = ? AND withdrawn_at IS NULL"
        " AND state IN ('pending', 'expired')",
        (store.timestamp(now), reference),
    )


def shown(db: sqlite3.Connection, rail: Rail, payment_reference: str, terms: Terms) -> Shown | None:
    """What the page is about: the latest that can be answered, else the latest; None if there is none."""
    rows = db.execute(
        "SELECT * FROM customer_payments WHERE rail = ? AND payment_reference = ? ORDER BY position DESC",
        (rail, payment_reference),
    ).fetchall()
    found = [_shown(db, row, terms) for row in rows]
    return next((each for each in found if each.answer_by is not None), found[0] if found else None)


def decided(db: sqlite3.Connection, payment: Shown, decision: Decision, terms: Terms) -> Shown:
    """The customer's answer holds; the payment as it is now. It must be one that can be answered."""
    moved_on(db, row_of(db, payment.result["id"]), scripts.Step(decision.state, terms.now), terms)
    return now_shown(db, payment, terms)


def now_shown(db: sqlite3.Connection, payment: Shown, terms: Terms) -> Shown:
    """The payment as it has become."""
    return _shown(db, row_of(db, payment.result["id"]), terms)


def reconsidered(db: sqlite3.Connection, config: Config, now: datetime) -> None:
    """Who waits for a customer ends by itself, now or later, as the configuration says from now on."""
    rows = db.execute("SELECT * FROM customer_payments WHERE state = 'pending' AND withdrawn_at IS NULL")
    for row in rows.fetchall():
        if _own_step(row) is not None:
            continue
        closes_at = _closes_at(datetime.fromisoformat(row["expires_at"]), config)
        due_at = store.timestamp(max(closes_at, now))
        db.execute("UPDATE customer_payments SET due_at = ? WHERE id = ?", (due_at, row["id"]))


def moved_by_itself(db: sqlite3.Connection, row: sqlite3.Row, terms: Terms) -> None:
    """What was due of the payment has happened at its time, or nothing more is due."""
    step = None if not is_alive(row, terms) else _own_step(row, config=terms.config)
    if step is None:
        db.execute("UPDATE customer_payments SET due_at = NULL WHERE id = ?", (row["id"],))
    else:
        moved_on(db, row, scripts.Step(step.state, datetime.fromisoformat(row["due_at"])), terms)


def is_alive(row: sqlite3.Row, terms: Terms) -> bool:
    """Whether what waits may still move money, though perhaps late."""
    return row["withdrawn_at"] is None or terms.config.late_after_reversal == "accepted"


def next_due(db: sqlite3.Connection, now: datetime) -> sqlite3.Row | None:
    """The payment whose time came first, if any's has."""
    row: sqlite3.Row | None = db.execute(
        "SELECT * FROM customer_payments WHERE due_at <= ? ORDER BY due_at, position LIMIT 1",
        (store.timestamp(now),),
    ).fetchone()
    return row


def row_of(db: sqlite3.Connection, own_id: str) -> sqlite3.Row:
    """The payment that has this id."""
    row: sqlite3.Row = db.execute("SELECT * FROM customer_payments WHERE id = ?", (own_id,)).fetchone()
    return row


def moved_on(db: sqlite3.Connection, row: sqlite3.Row, step: scripts.Step, terms: Terms) -> None:
    """The payment is in the step's state, its money has moved, its next step is due, its callback queued."""
    following = _own_step(row, state=step.state)
    db.execute(
        "UPDATE customer_payments SET state = ?, decided_at = ?, due_at = ? WHERE id = ?",
        (
            step.state,
            None if step.state is State.EXPIRED else store.timestamp(step.at),
            None if following is None else store.timestamp(following.at),
            row["id"],
        ),
    )
    rrn = None
    amount = row["amount"]
    if step.state is not State.EXPIRED:
        result = _recorded(db, row, step, terms)
        amount, rrn = result["amount"], movements.rrn_of(db, row["id"])
    overtaken = following is not None and terms.config.callbacks == "reordered"
    send_at = following.at + _REORDERED_BY if following is not None and overtaken else step.at
    callbacks.queued(db, row, status=step.state, amount=amount, rrn=rrn, at=step.at, send_at=send_at)


def _recorded(db: sqlite3.Connection, row: sqlite3.Row, step: scripts.Step, terms: Terms) -> Result:
    approved = step.state is State.APPROVED
    entries = [*json.loads(row["faults"]), *terms.entries]
    captures = not faults.authorizes_only(entries) and _captures(row)
    result = movements.recorded(
        db,
        id=_unused_id(db, row),
        reference=row["reference"],
        operation="authorize",
        payment_reference=row["payment_reference"],
        amount_asked=row["amount"],
        amount_added=row["amount_added"] or terms.amount_added,
        currency=row["currency"],
        authorization=None,
        decline_code=None if approved else decline_code(row) or "generic_decline",
        stage=Stage.CAPTURED if captures else Stage.AUTHORIZED,
        callback_url=row["callback_url"],
        at=step.at,
        validity_s=terms.authorization_validity_s,
        authentication=row["authentication"],
    )
    if approved:
        moved = ("authorize", "capture") if captures else ("authorize",)
        movements.entered(db, result, *moved, payment_reference=row["payment_reference"])
        turns.planned(db, result["id"], entries, at=step.at)
        disputes.planned(db, result["id"], entries, at=step.at)
        if not captures and row["rail"] != Rail.CARD:
            turns.planned_own_capture(db, row["id"], at=step.at)
        if row["rail"] == Rail.UPI:
            movements.given_rrn(db, row["id"], step.at)
    return result


def _unused_id(db: sqlite3.Connection, row: sqlite3.Row) -> str:
    """The payment's own id, unless money has moved under it: where repeats are not recognised, it does again."""
    return row["id"] if movements.operation(db, row["id"]) is None else movements.new_id("authorize")


def decline_code(row: sqlite3.Row) -> str | None:
    """Why a card is not approved, now that its holder is authenticated or is not; None: it is approved."""
    if _is_authenticated(row) is False:
        return authenticating.FAILED
    code: str | None = json.loads(row["details"]).get("decline_code")
    return code


def _is_authenticated(row: sqlite3.Row) -> bool | None:
    said = row["authentication"]
    return None if said is None else json.loads(said)["result"] != "failed"


def _captures(row: sqlite3.Row) -> bool:
    """Whether what is authorized is taken, too: always, but for a card that was asked for by hand."""
    return bool(json.loads(row["details"]).get("capture", True))


def _rail(order: CustomerOrder | Authorize) -> Rail:
    return order.rail if isinstance(order, CustomerOrder) else Rail.CARD


def _closes_at(expires_at: datetime, config: Config) -> datetime:
    """When nobody can answer any more, and what waits is over."""
    return expires_at if config.challenge_ends == "itself" else expires_at + scripts.PAGES_CLOSE_AFTER


def _own_step(
    row: sqlite3.Row, *, state: State | None = None, config: Config | None = None
) -> scripts.Step | None:
    """What happens next by itself. Without `config`: apart from the end of what waits for its customer."""
    expires_at = datetime.fromisoformat(row["expires_at"])
    return scripts.next_step(
        row["payer"],
        state or State(row["state"]),
        created_at=datetime.fromisoformat(row["created_at"]),
        expires_at=expires_at,
        closes_at=None if config is None else _closes_at(expires_at, config),
    )


def _due_at(step: scripts.Step, terms: Terms) -> datetime:
    at_once = terms.config.callbacks == "before_response" and step.state is not State.EXPIRED
    return terms.now if at_once else step.at


def _details(order: CustomerOrder | Authorize, own_id: str) -> dict[str, Any]:
    """What only some orders have, as answers and the page show it."""
    assert isinstance(order, CustomerOrder)
    common = {"note": order.note}
    match order:
        case PayByUpi():
            payee = order.payee.model_dump()
            own = {"flow": order.flow, "payer_vpa": order.payer_vpa(), "payee": payee, "provider": None}
            return {
                **common,
                **own,
                **({} if order.flow == "collect" else {"intent": _intent(order, own_id)}),
            }
        case PayByWallet():
            recipient = None if order.payee is None else order.payee.model_dump()
            return {**common, "provider": order.provider, "payee": recipient}
        case _:
            raise AssertionError(order.rail)


def _intent(order: PayByUpi, own_id: str) -> str:
    return upi_uri(
        payee_vpa=order.payee.vpa,
        payee_name=order.payee.name,
        reference=own_id,
        amount_minor=order.amount,
        currency=order.currency,
        note=order.note,
    )


def _asked(row: sqlite3.Row) -> Result:
    """What was answered when it was asked for; the same bytes whatever has become of it."""
    details = json.loads(row["details"])
    more = {name: details[name] for name in _SHOWN_DETAILS if details.get(name) is not None}
    common = _common(row, status=State.PENDING, amount=row["amount"])
    return {**common, "page": row["page"], **more}


def _common(row: sqlite3.Row, *, status: str, amount: int) -> Result:
    own = {name: row[name] for name in ("id", "reference", "currency", "expires_at", "created_at")}
    said = {"operation": "authorize", "status": status, "amount": amount, "decline_code": None}
    return {**own, **said, "stage": None, "history": [], "authentication": None, "soft": False}


def result_of(db: sqlite3.Connection, row: sqlite3.Row) -> Result:
    """The payment as an inquiry is answered."""
    status = _status(db, row)
    result = _common(row, status=status, amount=row["amount"]) | {"authorization": None}
    decided = movements.operation(db, row["id"])
    if decided is not None:
        names = (
            "amount",
            "decline_code",
            "authorization",
            "stage",
            "history",
            "authentication",
            "soft",
            "disputes",
        )
        said = movements.answer(db, decided)
        result |= {name: said[name] for name in (*names, "token") if name in said}
    result["decided_at"] = row["decided_at"]
    if row["rail"] == Rail.CARD:
        details = json.loads(row["details"])
        page = row["page"] + (SECOND_PAGE if BROUGHT_FIRST in details else "")
        result |= {"page": page, "completes": details["completes"]}
    if row["rail"] == Rail.UPI:
        result |= {"rrn": movements.rrn_of(db, row["id"]), "payer_vpa": row["payer"]}
    return result


def _status(db: sqlite3.Connection, row: sqlite3.Row) -> str:
    state = State(row["state"])
    if state is State.DECLINED:
        return state
    if state is State.APPROVED:
        operation = movements.operation(db, row["id"])
        return state if operation is None or operation["reversed_by"] is None else "reversed"
    return state if row["withdrawn_at"] is None else "reversed"


def _shown(db: sqlite3.Connection, row: sqlite3.Row, terms: Terms) -> Shown:
    expires_at = datetime.fromisoformat(row["expires_at"])
    answer_by = _closes_at(expires_at, terms.config)
    decides_itself = _own_step(row, state=State.PENDING) is not None
    open_ = row["state"] == State.PENDING and row["authentication"] is None
    answerable = open_ and is_alive(row, terms) and not decides_itself and terms.now < answer_by
    return Shown(
        result=result_of(db, row),
        rail=Rail(row["rail"]),
        payment_reference=row["payment_reference"],
        details=json.loads(row["details"]),
        return_url=row["return_url"],
        decided_at=row["decided_at"],
        decides_itself=decides_itself and row["due_at"] is not None,
        has_lapsed=terms.now >= expires_at,
        answer_by=answer_by if answerable else None,
        authenticated=_is_authenticated(row),
        wrong_codes=row["wrong_codes"],
        result_token=row["result_token"],
    )

"""Cardholders who are asked who they are: opened, answered, resumed. Inside the caller's transaction.

A challenge is a payment that waits (`waiting`), of the rail `card`. What the number leads to is decided when it is
opened, so no number is kept: only its first and last digits, for the page.
"""

import json
import secrets
import sqlite3
from enum import StrEnum
from typing import Any

from devstack.acquirer import authenticating, scripts, store, waiting
from devstack.acquirer.authenticating import Course
from devstack.acquirer.bodies import Authorize, Resume
from devstack.acquirer.movements import Result, Terms
from devstack.acquirer.scripts import Rail, State
from devstack.acquirer.waiting import BROUGHT_FIRST, Shown

CODE = "123456"
WRONG_CODES_MAX = 3  # the last of them fails


class ResultInvalid(Exception):
    """What a browser is said to have brought back is not what it was given, or not for this reference."""


class AlreadyProcessed(Exception):
    """The challenge was resumed before, under another key."""


class Answer(StrEnum):
    """What a cardholder does on the page."""

    SUBMIT = "submit"
    FAIL = "fail"
    CANCEL = "cancel"  # goes back to the merchant; the challenge stays open


def opened(db: sqlite3.Connection, order: Authorize, course: Course, terms: Terms, *, masked: str) -> Result:
    """The cardholder was asked; the answer is `pending`."""
    details: dict[str, Any] = {
        "card": masked,
        "capture": order.capture,
        "decline_code": course.decline_code,
        "completes": order.completes,
        "asks_again": order.asks_again,
        "returns_by": order.returns_by,
    }
    return waiting.opened(db, order, terms, challenge=details)


def answered(
    payment_reference: str, answer: Answer, code: str, db: sqlite3.Connection, terms: Terms
) -> tuple[Shown | None, bool]:
    """The payment as it is afterwards, and whether the cardholder's answer holds (perhaps since before)."""
    payment = waiting.shown(db, Rail.CARD, payment_reference, terms)
    if payment is None or answer is Answer.CANCEL:
        return payment, payment is not None
    if payment.answer_by is None:
        return payment, payment.authenticated is (answer is Answer.SUBMIT)
    if answer is Answer.SUBMIT and code != CODE and payment.wrong_codes + 1 < WRONG_CODES_MAX:
        own_id = payment.result["id"]
        db.execute("UPDATE customer_payments SET wrong_codes = wrong_codes + 1 WHERE id = ?", (own_id,))
    else:
        _authenticated(db, payment, terms, passed=answer is Answer.SUBMIT and code == CODE)
    return waiting.now_shown(db, payment, terms), True


def resumed(db: sqlite3.Connection, order: Resume, terms: Terms) -> Result:
    """What became of the challenge, now that its holder's browser is back with the page's result.

    Where that completes it, the issuer decides now and the money moves, once; or, once, its holder is asked again,
    and what they bring back from there completes it. The same key is answered the same again, as long as keys are
    honoured. Raises `ResultInvalid` or `AlreadyProcessed`.
    """
    row = db.execute(
        "SELECT * FROM customer_payments WHERE reference = ?"
        " AND (result_token = ? OR json_extract(details, ?) = ?)",
        (order.reference, order.result, f"$.{BROUGHT_FIRST}", order.result),
    ).fetchone()
    if row is None:
        raise ResultInvalid
    details = json.loads(row["details"])
    if details["completes"] == "reads":
        return waiting.result_of(db, row)
    since = terms.config.honoured_since(terms.now)
    first = details.get(BROUGHT_FIRST) == order.result
    answers = {} if since is None else _answers(db, row, since=store.timestamp(since), first=first)
    if order.key in answers:
        return answers[order.key]
    if answers:
        raise AlreadyProcessed
    if not first and row["state"] != State.EXPIRED and waiting.is_alive(row, terms):
        _gone_on(db, row, details, terms)
    answer = waiting.result_of(db, waiting.row_of(db, row["id"]))
    store.inserted(
        db,
        "resumptions",
        challenge_id=row["id"],
        key=order.key,
        answer=json.dumps(answer),
        created_at=store.timestamp(terms.now),
    )
    return answer


def _gone_on(db: sqlite3.Connection, row: sqlite3.Row, details: dict[str, Any], terms: Terms) -> None:
    """The issuer has decided, or wants a cardholder who passed to pass once more, on another page."""
    if not details.get("asks_again") or json.loads(row["authentication"])["result"] == "failed":
        _decided(db, row, terms)
        return
    asked = {**details, "asks_again": False, BROUGHT_FIRST: row["result_token"]}
    db.execute(
        "UPDATE customer_payments SET details = ?, authentication = NULL, result_token = NULL, wrong_codes = 0"
        " WHERE id = ?",
        (json.dumps(asked), row["id"]),
    )


def _answers(db: sqlite3.Connection, row: sqlite3.Row, *, since: str, first: bool) -> dict[str, Result]:
    """What was answered by key, the latest of each. `first`: to what the first page gave, where a second follows."""
    rows = db.execute(
        "SELECT key, answer FROM resumptions WHERE challenge_id = ? AND created_at > ? ORDER BY position",
        (row["id"], since),
    ).fetchall()
    answers = {found["key"]: json.loads(found["answer"]) for found in rows}
    return {key: said for key, said in answers.items() if (said["status"] == State.PENDING) is first}


def _authenticated(db: sqlite3.Connection, payment: Shown, terms: Terms, *, passed: bool) -> None:
    """It is known what the authentication came to; unless somebody resumes it, the issuer decides at once."""
    details = payment.details
    said = authenticating.came_to(details["card"], "authenticated" if passed else "failed")
    token = None if details["completes"] == "customer" else f"res_{secrets.token_urlsafe(24)}"
    db.execute(
        "UPDATE customer_payments SET authentication = ?, result_token = ? WHERE id = ?",
        (json.dumps(said), token, payment.result["id"]),
    )
    if details["completes"] != "resume":
        _decided(db, waiting.row_of(db, payment.result["id"]), terms)


def _decided(db: sqlite3.Connection, row: sqlite3.Row, terms: Terms) -> None:
    """The issuer has approved or declined, and what it approved has moved."""
    state = State.APPROVED if waiting.decline_code(row) is None else State.DECLINED
    waiting.moved_on(db, row, scripts.Step(state, terms.now), terms)

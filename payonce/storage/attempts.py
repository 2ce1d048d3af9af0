"""Attempts: who may send, and what became of it.

A claim is a row, unique by (operation, number), committed before the first byte. Its owner alone may send, and
alone may say that nothing was sent; everyone else who finds it without an outcome inquires.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime
from typing import Any, cast

from sqlalchemy import bindparam, func, insert, select, text

from payonce.domain import claiming, leaving
from payonce.domain.claiming import SEND_WITHIN, Release
from payonce.domain.facts import Stage
from payonce.domain.ids import attempt_named, attempt_reference
from payonce.domain.operations import Attempt, AttemptState, Operation, OperationKind
from payonce.domain.routing import Because
from payonce.storage import sweeping
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.statements import Query, Statement, single
from payonce.storage.payments import of_payment
from payonce.storage.references import PAYMENT_ID
from payonce.storage.tables import attempts, operations

_FIELDS = tuple(field.name for field in fields(Attempt))
_READ = tuple(name for name in _FIELDS if name != "reference")
COLUMNS = tuple(PAYMENT_ID if name == "payment_id" else attempts.c[name] for name in _READ)
_CLAIMED_AS = (
    *("operation_id", "number", "payment_id", "kind", "connector", "connector_account", "reference"),
    "acquirer_identity",
)
_CLAIM = Statement(
    insert(attempts).values(
        **{name: bindparam(name) for name in (*_CLAIMED_AS, "state", "owner", "token", "routed_by")},
        claimed_at=func.now(),
        send_before=func.now() + text(f"interval '{int(SEND_WITHIN.total_seconds())} seconds'"),
    )
)
_OF_OPERATION = select(*COLUMNS).where(attempts.c.operation_id == bindparam("operation_id"))
_LATEST = Statement(_OF_OPERATION.order_by(attempts.c.number.desc()).limit(1))
_NUMBERED = Statement(_OF_OPERATION.where(attempts.c.number == bindparam("number")))
_NOW = Statement(select(func.clock_timestamp().label("now")))
_KNOWN_AS = Statement(
    select(attempts.c.number)
    .join(operations, operations.c.id == attempts.c.operation_id)
    .where(
        of_payment(bindparam("payment_id")),
        attempts.c.kind == bindparam("kind"),
        attempts.c.connector_account == bindparam("account"),
        attempts.c.connector_reference == bindparam("connector_reference"),
        attempts.c.state == AttemptState.APPROVED,
    )
    .limit(1)
)


async def insert_claim(
    connection: Connection,
    operation: Operation,
    *,
    number: int,
    connector: str,
    connector_account: str,
    owner: str,
    token: str,
    routed_by: Because = Because.PAYMENT,
    acquirer_identity: str | None = None,
) -> str:
    """This owner may send attempt `number` until `send_before`; returns our reference for it.

    `acquirer_identity`: how the acquirer calls the account to which it will be sent, where that is pinned.

    The transaction fails with psycopg's `IntegrityError` when the number is taken: the caller holds the payment's
    lock, so that says that the claim was made without it.
    """
    reference, creates = attempt_reference(operation.id, number), operation.payment_id == operation.id
    values = {
        "operation_id": operation.id,
        "number": number,
        "payment_id": None if connection.packs and creates else operation.payment_id,
        "kind": operation.kind,
        "connector": connector,
        "connector_account": connector_account,
        "reference": None if connection.packs else reference,
        "acquirer_identity": acquirer_identity,
        "state": AttemptState.CLAIMED,
        "owner": owner,
        "token": token,
        "routed_by": routed_by,
    }
    await connection.write(_CLAIM, values)
    if number > 1 and operation.kind is OperationKind.AUTHORIZE:
        await sweeping.claimed_again(connection, operation.id)
    return reference


def latest(operation_id: str) -> Query[Attempt | None]:
    """The operation's attempt with the highest number."""
    return single(_LATEST, {"operation_id": operation_id}, attempt_from)


def numbered(operation_id: str, number: int) -> Query[Attempt | None]:
    """The operation's attempt with this number."""
    return single(_NUMBERED, {"operation_id": operation_id, "number": number}, attempt_from)


def database_now() -> Query[datetime]:
    """The database's clock at this moment, by which others judge a claim."""
    return Query(_NOW, {}, lambda rows: cast("datetime", rows[0]["now"]))


async def find_by_reference(connection: Connection, reference: str) -> Attempt | None:
    """The attempt with this reference of ours; None for any other text, too."""
    named = attempt_named(reference)
    return None if named is None else await connection.fetch(numbered(*named))


def is_ours(attempt: Attempt, *, kind: str, connector_reference: str) -> Query[bool]:
    """Whether that is what the acquirer calls a success of payonce's own, of the same payment and account."""
    values = {
        "payment_id": attempt.payment_id,
        "account": attempt.connector_account,
        "kind": kind,
        "connector_reference": connector_reference,
    }
    return Query(_KNOWN_AS, values, bool)


async def release(connection: Connection, *, operation_id: str, number: int, token: str) -> Release:
    """The claim is given back, provably unsent, once this is committed; or what stands in its place.

    The caller holds the lock that the claim's transaction took, so that that one has ended.
    """
    attempt = await connection.fetch(latest(operation_id))
    found = claiming.release(attempt, number=number, token=token)
    if attempt is not None and found is Release.GIVEN_BACK:
        await save_attempt(connection, attempt, replace(attempt, state=AttemptState.NOT_SENT))
    return found


async def abandon(connection: Connection, attempt: Attempt) -> None:
    """The authorization for which the customer was to act is given up: a success of it will be released.

    In the transaction that admits the void, under the payment's lock, so that the customer's act comes before it
    or has the void to wait for.
    """
    await save_attempt(connection, attempt, leaving.abandoned(attempt))


async def save_attempt(
    connection: Connection, before: Attempt, after: Attempt, *, return_hash: bytes | None = None
) -> None:
    """Writes what changed; the caller holds the payment's lock.

    `return_hash`: of the token with which the customer comes back who is asked to act from now on.
    """
    changes: dict[str, Any] = {
        name: getattr(after, name) for name in _FIELDS if getattr(after, name) != getattr(before, name)
    }
    if return_hash is not None:
        changes["return_hash"] = return_hash
    where = {"operation_id": after.operation_id, "number": after.number}
    await connection.update(attempts, changes, where=where)
    if changes.get("state") is AttemptState.NOT_SENT and after.kind is OperationKind.AUTHORIZE:
        await sweeping.released(connection, after.operation_id)


def attempt_from(row: Mapping[str, Any]) -> Attempt:
    values = {name: row[name] for name in _READ}
    reference = attempt_reference(row["operation_id"], row["number"])
    kind, state = OperationKind(row["kind"]), AttemptState(row["state"])
    stage = None if row["stage"] is None else Stage(row["stage"])
    return Attempt(**{**values, "reference": reference, "kind": kind, "state": state, "stage": stage})

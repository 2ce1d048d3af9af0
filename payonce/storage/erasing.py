"""What is left to erase of payment methods: found by the sweeper, and gone bit by bit.

A deleted payment method's row stays, with nothing behind it: lists are followed from it.
"""

from sqlalchemy import bindparam, delete, func, null, select, text, update

from payonce.domain.payment_methods import Credential
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.statements import Query, Statement
from payonce.storage.sweeping import FIRST_PAUSE_S, pause
from payonce.storage.tables import credentials, payment_methods

_BEING_PAID_WITH = Statement(  # as `payments_token_idx` has it: a test says that no status is missing
    text(
        "SELECT EXISTS (SELECT FROM payments WHERE stored_credential ->> 'token' = :token"
        " AND stored_credential IS NOT NULL AND status IN ('init', 'requires_action', 'processing')) AS found"
    )
)
_OF_METHOD = credentials.c.payment_method_id == bindparam("id")
_ERASE_CREDENTIAL = Statement(
    delete(credentials).where(
        _OF_METHOD,
        credentials.c.kind == bindparam("kind"),
        credentials.c.connector_account == bindparam("connector_account"),
    )
)
_METHOD = payment_methods.c.id == bindparam("id")
_FINISHED = Statement(
    update(payment_methods).where(_METHOD).values(sweep_at=null(), sweeps=0, fingerprint=null())
)
_LOOK_AGAIN = Statement(
    update(payment_methods)
    .where(_METHOD)
    .values(sweeps=0, sweep_at=func.now() + text(f"interval '{FIRST_PAUSE_S} seconds'"))
)


async def dequeue(connection: Connection, *, limit: int) -> list[tuple[str, int]]:
    """Payment methods of which something is to be erased now, and how often they were looked at.

    The longest overdue first; other sweepers do not see them for a while.
    """
    due = (
        select(payment_methods.c.id)
        .where(payment_methods.c.sweep_at <= func.now())
        .order_by(payment_methods.c.sweep_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    taken = (
        update(payment_methods)
        .where(payment_methods.c.id.in_(due.scalar_subquery()))
        .values(sweep_at=func.now() + pause(payment_methods.c.sweeps), sweeps=payment_methods.c.sweeps + 1)
        .returning(payment_methods.c.id, payment_methods.c.sweeps)
    )
    return [(row.id, row.sweeps) for row in await connection.execute(taken)]


def is_being_paid_with(id_: str) -> Query[bool]:
    """Whether a payment that was admitted with it is undecided."""
    return Query(_BEING_PAID_WITH, {"token": id_}, lambda rows: bool(rows[0]["found"]))


async def look_again(connection: Connection, id_: str) -> None:
    """The next look comes after the first pause, however often it was looked at."""
    await connection.write(_LOOK_AGAIN, {"id": id_})


async def erase_credential(connection: Connection, credential: Credential) -> None:
    """Nobody can pay with it by this credential."""
    account = credential.connector_account
    values = {"id": credential.payment_method_id, "kind": credential.kind, "connector_account": account}
    await connection.write(_ERASE_CREDENTIAL, values)


async def finished(connection: Connection, id_: str) -> None:
    """Nothing is left to erase, and its number's name is forgotten."""
    await connection.write(_FINISHED, {"id": id_})

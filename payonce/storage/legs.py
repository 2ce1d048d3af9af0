"""Legs: who may send what a browser brought back, and how that ended."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import and_, bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from payonce.domain.claiming import SEND_WITHIN
from payonce.domain.legs import Brought, EndedLeg, Leg, LegState
from payonce.domain.operations import Attempt
from payonce.domain.sca import LEGS_MAX
from payonce.sealing import Sealed
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.statements import Query, Row, Statement
from payonce.storage.tables import legs, returns

_SAME: Final = ("operation_id", "attempt", "number")
_OF_ATTEMPT = Statement(
    select(
        returns.c.number,
        returns.c.key_id,
        returns.c.sealed,
        *(legs.c[name] for name in ("owner", "token", "send_before", "state")),
    )
    .select_from(returns.outerjoin(legs, and_(*(returns.c[name] == legs.c[name] for name in _SAME))))
    .where(returns.c.operation_id == bindparam("operation_id"), returns.c.attempt == bindparam("attempt"))
    .order_by(returns.c.number)
    .limit(LEGS_MAX)
)
_CLAIMS = insert(legs).values(
    **{name: bindparam(name) for name in (*_SAME, "owner", "token", "state")},
    claimed_at=func.now(),
    send_before=func.now() + text(f"interval '{int(SEND_WITHIN.total_seconds())} seconds'"),
)
_CLAIM = Statement(
    _CLAIMS.on_conflict_do_update(
        index_elements=[legs.c[name] for name in _SAME],
        set_={
            name: _CLAIMS.excluded[name] for name in ("owner", "token", "state", "claimed_at", "send_before")
        },
    )
)
_END = Statement(
    update(legs)
    .where(
        *(legs.c[name] == bindparam(f"of_{name}") for name in _SAME),
        legs.c.token == bindparam("of_token"),
        legs.c.state == LegState.CLAIMED,
    )
    .values(state=bindparam("state"))
)


@dataclass(frozen=True, slots=True)
class BroughtBack:
    """A return with its leg, and its parameters as they are stored; None: they are erased."""

    brought: Brought
    sealed: Sealed | None


def of_attempt(attempt: Attempt) -> Query[list[BroughtBack]]:
    """Every return of the attempt, in order, with its leg."""
    values = {"operation_id": attempt.operation_id, "attempt": attempt.number}
    return Query(_OF_ATTEMPT, values, lambda rows: [_brought(row) for row in rows])


async def claim(connection: Connection, attempt: Attempt, *, number: int, owner: str, token: str) -> None:
    """This owner may send the leg until its `send_before`. The caller holds the payment's lock and found it due."""
    values = {**_key(attempt, number), "owner": owner, "token": token, "state": LegState.CLAIMED}
    await connection.write(_CLAIM, values)


async def end(connection: Connection, attempt: Attempt, leg: EndedLeg) -> None:
    """How that claim ended is stored; one that another claim has replaced, or that ended, stays as it is."""
    where = {f"of_{name}": value for name, value in _key(attempt, leg.number).items()}
    await connection.write(_END, {**where, "of_token": leg.token, "state": leg.state})


def _key(attempt: Attempt, number: int) -> Row:
    return {"operation_id": attempt.operation_id, "attempt": attempt.number, "number": number}


def _brought(row: Row) -> BroughtBack:
    leg = None
    if row["token"] is not None:
        leg = Leg(
            number=row["number"],
            owner=row["owner"],
            token=row["token"],
            send_before=row["send_before"],
            state=LegState(row["state"]),
        )
    sealed = None if row["sealed"] is None else Sealed(row["key_id"], row["sealed"])
    return BroughtBack(Brought(row["number"], leg), sealed)

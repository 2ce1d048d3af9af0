"""What browsers brought back from an acquirer's page: each set once, sealed, and erased with the outcome."""

import hashlib
import hmac
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, cast

from sqlalchemy import RowMapping, bindparam, func, insert, null, select, tuple_, update

from payonce.domain.ids import hash_of_return
from payonce.domain.operations import Attempt
from payonce.domain.returning import Returned, is_new
from payonce.sealing import Sealed, Sealer
from payonce.storage.attempts import COLUMNS, attempt_from
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.statements import Query, Statement, single
from payonce.storage.personal_data import KEPT, SEALED_AT_ONCE
from payonce.storage.tables import attempts, returns

NAMES_A_SET: Final = ("operation_id", "attempt", "number")

_WITH_TOKEN = Statement(select(*COLUMNS).where(attempts.c.return_hash == bindparam("return_hash")))
_OF_ATTEMPT = (
    returns.c.operation_id == bindparam("operation_id"),
    returns.c.attempt == bindparam("attempt"),
)
_DIGESTS = Statement(select(returns.c.digest).where(*_OF_ATTEMPT).order_by(returns.c.number))
_ADD = Statement(
    insert(returns).values(
        {name: bindparam(name) for name in (*NAMES_A_SET, "digest", "key_id", "sealed", "received_at")}
    )
)
_ERASE = Statement(
    update(returns)
    .where(returns.c.operation_id == bindparam("of_operation"), returns.c.sealed.is_not(None))
    .values(key_id=null(), sealed=null())
)
_PLACE = (returns.c.received_at, returns.c.operation_id, returns.c.attempt, returns.c.number)


@dataclass(frozen=True, slots=True)
class WalkedReturns:
    """How far a walk over all that is sealed has come."""

    received_at: datetime
    operation_id: str
    attempt: int
    number: int


@dataclass(frozen=True, slots=True)
class Carried:
    """What a browser carries: the parameters that count, and a digest of them under a secret of ours."""

    parameters: Mapping[str, str] = field(repr=False)
    digest: bytes
    sealer: Sealer = field(repr=False)

    @classmethod
    def of(cls, parameters: Mapping[str, str], *, sealer: Sealer, secret: bytes) -> "Carried":
        digest = hmac.new(secret, _written(parameters).encode(), hashlib.sha256).digest()
        return cls(parameters, digest, sealer)

    def returned(self, attempt: Attempt, known: Collection[bytes]) -> Returned | None:
        """As it is stored beside the sets that are known; None where it is one of them, or there are too many."""
        if not is_new(self.digest, known):
            return None
        number = len(known) + 1
        if not self.parameters:
            return Returned(number, self.digest)
        sealed = seal(self.sealer, self.parameters, attempt, number=number)
        return Returned(number, self.digest, sealed.key_id, sealed.data)


def seal(sealer: Sealer, parameters: Mapping[str, str], attempt: Attempt, *, number: int) -> Sealed:
    """As it may be stored: as another return, or another attempt's, it does not open."""
    return sealer.seal(_written(parameters), about=_about(attempt.operation_id, attempt.number, number))


def unseal(sealer: Sealer, sealed: Sealed, attempt: Attempt, *, number: int) -> Mapping[str, str]:
    """What this return of the attempt brought. Raises `CannotUnseal`."""
    written = sealer.unseal(sealed, about=_about(attempt.operation_id, attempt.number, number))
    return cast("Mapping[str, str]", json.loads(written))


def with_token(token: str) -> Query[Attempt | None]:
    """The attempt whose customer comes back with this token."""
    return single(_WITH_TOKEN, {"return_hash": hash_of_return(token)}, attempt_from)


def digests(attempt: Attempt) -> Query[tuple[bytes, ...]]:
    """Of the sets that were brought back for the attempt, the first first."""
    values = {"operation_id": attempt.operation_id, "attempt": attempt.number}
    return Query(_DIGESTS, values, lambda rows: tuple(bytes(row["digest"]) for row in rows))


async def add(connection: Connection, attempt: Attempt, returned: Returned, *, now: datetime) -> None:
    """The set is there; the caller holds the payment's lock."""
    values = {
        "operation_id": attempt.operation_id,
        "attempt": attempt.number,
        "number": returned.number,
        "digest": returned.digest,
        "key_id": returned.key_id,
        "sealed": returned.sealed,
        "received_at": now,
    }
    await connection.write(_ADD, values)


async def erase_of(connection: Connection, operation_id: str) -> None:
    """Nobody needs any more what was brought back for the operation."""
    await connection.write(_ERASE, {"of_operation": operation_id})


async def erase(connection: Connection, *, limit: int) -> int:
    """How many sets were kept for longer than `KEPT`, without an outcome; they are empty now. At most `limit`."""
    key = tuple_(*(returns.c[name] for name in NAMES_A_SET))
    over = (
        select(*(returns.c[name] for name in NAMES_A_SET))
        .where(returns.c.sealed.is_not(None), returns.c.received_at < func.now() - KEPT)
        .order_by(returns.c.received_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    erased = update(returns).where(key.in_(over)).values(key_id=null(), sealed=null())
    return (await connection.execute(erased)).rowcount


async def seal_again(
    connection: Connection, sealer: Sealer, *, after: WalkedReturns | None, limit: int = SEALED_AT_ONCE
) -> WalkedReturns | None:
    """The next `limit` after this place are sealed with the sealer's first key; None: there were fewer.

    Raises `CannotUnseal`.
    """
    query = select(returns).where(returns.c.sealed.is_not(None))
    if after is not None:
        place = (after.received_at, after.operation_id, after.attempt, after.number)
        query = query.where(tuple_(*_PLACE) > place)
    found = (
        (await connection.execute(query.order_by(*_PLACE).limit(limit).with_for_update())).mappings().all()
    )
    for row in found:
        if row["key_id"] != sealer.key_id:
            written = sealer.unseal(_sealed_from(row), about=_about_row(row))
            again = sealer.seal(written, about=_about_row(row))
            changes = {"key_id": again.key_id, "sealed": again.data}
            await connection.update(returns, changes, where={name: row[name] for name in NAMES_A_SET})
    if len(found) < limit:
        return None
    last = found[-1]
    return WalkedReturns(last["received_at"], last["operation_id"], last["attempt"], last["number"])


def _written(parameters: Mapping[str, str]) -> str:
    return json.dumps(dict(parameters), sort_keys=True)


def _sealed_from(row: RowMapping) -> Sealed:
    return Sealed(row["key_id"], bytes(row["sealed"]))


def _about_row(row: RowMapping) -> tuple[str, ...]:
    return _about(row["operation_id"], row["attempt"], row["number"])


def _about(operation_id: str, attempt: int, number: int) -> tuple[str, ...]:
    return ("return", operation_id, str(attempt), str(number))

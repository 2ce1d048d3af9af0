"""Payment methods and their credentials: rows in, domain objects out.

Whoever changes one holds its row's lock. A payment that saves a card, or pays with one, is locked before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, bindparam, delete, select

from payonce.domain.payment_methods import (
    Credential,
    CredentialKind,
    NetworkTransaction,
    PaymentMethod,
    SavedState,
    Setup,
)
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.statements import Query, Statement, single
from payonce.storage.tables import credentials, payment_methods

_METHOD_FIELDS = tuple(each.name for each in fields(PaymentMethod))
_CREDENTIAL_FIELDS = tuple(each.name for each in fields(Credential))
PAYMENT_METHOD_COLUMNS = tuple(payment_methods.c[name] for name in _METHOD_FIELDS)
CREDENTIALS_MAX = 50  # of one payment method

_METHOD = select(*PAYMENT_METHOD_COLUMNS).where(payment_methods.c.id == bindparam("id"))
_LOCKED = Statement(_METHOD.with_for_update())
_ANY = Statement(_METHOD)
_MINE = _METHOD.where(
    payment_methods.c.merchant_id == bindparam("merchant_id"),
    payment_methods.c.mode == bindparam("mode"),
    payment_methods.c.state == SavedState.ACTIVE,
)
_USABLE = Statement(_MINE)
# Whoever deletes it waits for those who pay with it, and they for whoever deletes it.
_TO_PAY_WITH = Statement(_MINE.with_for_update(key_share=True))
_OF_METHOD = credentials.c.payment_method_id == bindparam("payment_method_id")
_TO_DELETE = Statement(_MINE.with_for_update())
_CREDENTIALS = Statement(
    select(*(credentials.c[name] for name in _CREDENTIAL_FIELDS))
    .where(_OF_METHOD)
    .order_by(credentials.c.kind.desc(), credentials.c.created_at)
    .limit(CREDENTIALS_MAX)
)
_ERASE_CREDENTIALS = Statement(delete(credentials).where(_OF_METHOD))
_ERASE = Statement(delete(payment_methods).where(payment_methods.c.id == bindparam("id")))


async def insert(
    connection: Connection,
    method: PaymentMethod,
    given: Sequence[Credential],
    *,
    sweep_at: datetime | None = None,
) -> None:
    """The payment method is there with these credentials. `sweep_at`: of a provisional one, when it is too old."""
    row = {name: getattr(method, name) for name in _METHOD_FIELDS}
    await connection.insert(payment_methods, {**row, "sweep_at": sweep_at})
    for credential in given:
        await add_credential(connection, credential, now=method.created_at)


async def add_credential(connection: Connection, credential: Credential, *, now: datetime) -> None:
    """The payment method can be paid with by one credential more."""
    row = {name: getattr(credential, name) for name in _CREDENTIAL_FIELDS}
    told = credential.network_transaction
    row["network_transaction"] = None if told is None else told.kept()
    await connection.insert(credentials, {**row, "created_at": now})


async def save(
    connection: Connection, before: PaymentMethod, after: PaymentMethod, *, sweep_at: datetime | None = None
) -> None:
    """Writes what changed, and when the sweeper is to look at it; the caller holds the row's lock."""
    changes = {
        name: getattr(after, name) for name in _METHOD_FIELDS if getattr(after, name) != getattr(before, name)
    }
    await connection.update(payment_methods, {**changes, "sweep_at": sweep_at}, where={"id": after.id})


async def activate(connection: Connection, active: PaymentMethod, *, xid: int) -> None:
    """The provisional payment method is the merchant's, in lists as of this transaction, whose id `xid` is."""
    changes = {
        "state": active.state,
        "updated_at": active.updated_at,
        "issuer_country": active.issuer_country,
        "sweep_at": None,
        "xid": xid,
    }
    await connection.update(payment_methods, changes, where={"id": active.id})


async def keep_network_transaction(connection: Connection, id_: str, told: NetworkTransaction) -> None:
    """The payment method's number goes to acquirers with this from here on."""
    of_number = {"payment_method_id": id_, "kind": CredentialKind.VAULTED, "connector_account": ""}
    await connection.update(credentials, {"network_transaction": told.kept()}, where=of_number)


async def erase(connection: Connection, id_: str) -> None:
    """Nothing is left of the payment method and its credentials; what lies in the vault, `doors.erase` erases."""
    await connection.write(_ERASE_CREDENTIALS, {"payment_method_id": id_})
    await connection.write(_ERASE, {"id": id_})


def usable(id_: str, *, merchant_id: str, mode: str) -> Query[PaymentMethod | None]:
    """The merchant's payment method; one that is deleted, not yet approved or another merchant's is not there."""
    return single(_USABLE, {"id": id_, "merchant_id": merchant_id, "mode": mode}, method_from)


def to_pay_with(id_: str, *, merchant_id: str, mode: str) -> Query[PaymentMethod | None]:
    """As `usable`, until the transaction ends: nobody deletes it meanwhile."""
    return single(_TO_PAY_WITH, {"id": id_, "merchant_id": merchant_id, "mode": mode}, method_from)


def to_delete(id_: str, *, merchant_id: str, mode: str) -> Query[PaymentMethod | None]:
    """As `usable`, once nobody is admitted to pay with it any more: until the transaction ends nobody else is."""
    return single(_TO_DELETE, {"id": id_, "merchant_id": merchant_id, "mode": mode}, method_from)


def locked(id_: str) -> Query[PaymentMethod | None]:
    """The payment method in whatever state, whoever's it is, its row locked to the end of the transaction."""
    return single(_LOCKED, {"id": id_}, method_from)


def in_any_state(id_: str) -> Query[PaymentMethod | None]:
    """The payment method in whatever state, whoever's it is: a payment that was admitted with it goes on."""
    return single(_ANY, {"id": id_}, method_from)


def credentials_of(id_: str) -> Query[list[Credential]]:
    """What the payment method can be paid with: its number in the vault first."""
    return Query(
        _CREDENTIALS, {"payment_method_id": id_}, lambda rows: [credential_from(row) for row in rows]
    )


def method_from(row: RowMapping | Mapping[str, Any]) -> PaymentMethod:
    values = {name: row[name] for name in _METHOD_FIELDS}
    return PaymentMethod(**{**values, "state": SavedState(row["state"]), "setup": Setup(row["setup"])})


def credential_from(row: RowMapping | Mapping[str, Any]) -> Credential:
    values = {name: row[name] for name in _CREDENTIAL_FIELDS}
    told = row["network_transaction"]
    return Credential(
        **{
            **values,
            "kind": CredentialKind(row["kind"]),
            "network_transaction": None if told is None else NetworkTransaction.of(told),
        }
    )

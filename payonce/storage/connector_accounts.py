"""Connector accounts as rows, and their secrets, sealed: one generation is current, one before it verifies.

A row is never deleted, and its identity and mode never change: an attempt that names the account names for ever the
agreement at which it was made. Every change counts `version` up, which is how every process notices.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, RowMapping, Select, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from payonce.domain.errors import Conflict, NotFound
from payonce.domain.routing import ConnectorAccount
from payonce.sealing import Sealed, Sealer
from payonce.storage.driver.connection import Connection
from payonce.storage.tables import connector_accounts as table
from payonce.storage.tables import connector_secrets as secrets
from payonce.storage.tables import merchants

OVERLAP: Final = timedelta(days=15)  # acquirers sign old events with the old secret
ACCOUNTS_MAX: Final = 10_000  # each process holds them all, in memory
SEALED_AT_ONCE: Final = 500
HEARD_EVERY: Final = timedelta(minutes=1)


class AccountExists(Conflict):
    """There is an account for the same agreement, or with the same id."""

    code = "account_exists"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedSecret:
    """One generation of a secret as it lies in Postgres."""

    account_id: str
    name: str
    generation: int
    sealed: Sealed
    previous_until: datetime | None = None  # none: the current one

    @property
    def about(self) -> tuple[str, ...]:
        """What the sealed value is bound to: moved to another row, it does not open."""
        return ("connector_secrets", self.account_id, self.name, str(self.generation))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAccount:
    """A row with the secrets that are in use."""

    account: ConnectorAccount  # without its secrets
    position: int = 0
    version: int = 1
    created_at: datetime | None = None
    heard_at: datetime | None = None  # when the latest callback came, to the minute
    secrets: tuple[SealedSecret, ...] = field(default=(), repr=False)  # the newest first

    @property
    def id(self) -> str:
        return self.account.id

    @property
    def state(self) -> tuple[int, tuple[tuple[str, int], ...]]:
        """What is another as soon as anything of the account has changed."""
        return self.version, tuple((secret.name, secret.generation) for secret in self.secrets)

    def unsealed(self, sealer: Sealer) -> ConnectorAccount:
        """The account with its secrets. Raises `CannotUnseal`."""
        by_name: defaultdict[str, list[str]] = defaultdict(list)
        for secret in self.secrets:
            by_name[secret.name].append(sealer.unseal(secret.sealed, about=secret.about))
        return replace(self.account, secrets={name: tuple(values) for name, values in by_name.items()})


async def fingerprint(connection: Connection) -> tuple[int, int, int]:
    """Another as soon as any account has changed, or an earlier secret's time is over.

    Not the number of the newest change: what is given out first may be committed last. Versions only grow and no row
    goes, so their sum is another after each commit.
    """
    active = select(func.count()).select_from(secrets).where(_active()).scalar_subquery()
    query = select(func.count(), func.coalesce(func.sum(table.c.version), 0), active).select_from(table)
    row: Sequence[Any] = list((await connection.execute(query)).one())
    count, versions, generations = row
    return int(count), int(versions), int(generations)


async def all_accounts(connection: Connection) -> list[StoredAccount]:
    """At most `ACCOUNTS_MAX`, in the order in which they take payments."""
    return await _read(connection, select(table).order_by(table.c.position, table.c.id).limit(ACCOUNTS_MAX))


async def find_account(
    connection: Connection, account_id: str, *, lock: bool = False
) -> StoredAccount | None:
    """The account, its row locked if asked for."""
    query = select(table).where(table.c.id == account_id)
    found = await _read(connection, query.with_for_update() if lock else query)
    return found[0] if found else None


async def same_agreement(connection: Connection, account: ConnectorAccount) -> str | None:
    """The id of the account that is entered for this agreement and merchant already."""
    query = select(table.c.id).where(
        table.c.connector == account.connector,
        table.c.mode == account.mode,
        table.c.identity == account.identity,
        table.c.merchant_id.is_not_distinct_from(account.merchant_id),
    )
    found: str | None = (await connection.execute(query)).scalar_one_or_none()
    return found


async def insert_account(
    connection: Connection, account: ConnectorAccount, sealer: Sealer, *, position: int | None = None
) -> StoredAccount:
    """The account is entered, its secrets sealed; without a position it comes after all others.

    Raises `AccountExists`, and `NotFound` where the merchant does not exist.
    """
    if account.merchant_id is not None:
        merchant = select(merchants.c.id).where(merchants.c.id == account.merchant_id)
        if (await connection.execute(merchant)).first() is None:
            raise NotFound(f"There is no merchant {account.merchant_id}.")
    last = select(func.coalesce(func.max(table.c.position), 0) + 1).scalar_subquery()
    values: dict[str, Any] = {
        "id": account.id,
        "merchant_id": account.merchant_id,
        "connector": account.connector,
        "mode": account.mode,
        "base_url": account.base_url,
        "options": dict(account.options),
        "identity": account.identity,
        "position": last if position is None else position,
        "created_at": func.now(),
        "updated_at": func.now(),
    }
    adding = insert(table).values(values).on_conflict_do_nothing().returning(table.c.id)
    if (await connection.execute(adding)).first() is None:
        other = await same_agreement(connection, account)
        about = f"with the id {account.id}" if other is None else f"for {account.identity}: {other}"
        raise AccountExists(f"There is an account {about}.")
    for name, (value, *_) in account.secrets.items():
        await _add_secret(connection, sealer, value, account_id=account.id, name=name, generation=1)
    return await _existing(connection, account.id)


async def rotate(
    connection: Connection,
    stored: StoredAccount,
    values: Mapping[str, str],
    sealer: Sealer,
    *,
    verifying: Collection[str],
) -> StoredAccount:
    """The values are current; those before that verify callbacks do so for `OVERLAP` more, the others are gone.

    `stored`: as it was when the acquirer was asked whose the values are. Raises `Conflict` where it is another now.
    """
    locked = await _existing(connection, stored.id, lock=True)
    if locked.version != stored.version:
        raise Conflict(f"{stored.id} has been changed meanwhile; try again.")
    for name, value in values.items():
        mine = (secrets.c.account_id == stored.id, secrets.c.name == name)
        newest = select(func.coalesce(func.max(secrets.c.generation), 0)).where(*mine)
        generation = int((await connection.execute(newest)).scalar_one())
        keep = secrets.c.generation == (generation if name in verifying else 0)
        await connection.execute(delete(secrets).where(*mine, ~keep))
        await connection.execute(update(secrets).where(*mine).values(previous_until=func.now() + OVERLAP))
        await _add_secret(
            connection, sealer, value, account_id=stored.id, name=name, generation=generation + 1
        )
    await _changed(connection, stored.id, {})
    return await _existing(connection, stored.id)


async def set_enabled(connection: Connection, account_id: str, *, enabled: bool) -> StoredAccount:
    """New payments go there, or none do; what is under way goes on. Safe to repeat. Raises `NotFound`."""
    locked = await _existing(connection, account_id, lock=True)
    if locked.account.enabled != enabled:
        await _changed(connection, account_id, {"state": "enabled" if enabled else "disabled"})
    return await _existing(connection, account_id)


async def seal_again(connection: Connection, sealer: Sealer, *, limit: int = SEALED_AT_ONCE) -> int:
    """How many secrets were sealed with another key than the sealer's first; now they are sealed with that one.

    At most `limit` at a time: once it returns 0, no secret needs another key. Raises `CannotUnseal`.
    """
    query = select(secrets).where(secrets.c.key_id != sealer.key_id).order_by(secrets.c.account_id)
    found = (await connection.execute(query.limit(limit).with_for_update())).mappings().all()
    for secret in map(_secret_from, found):
        sealed = sealer.seal(sealer.unseal(secret.sealed, about=secret.about), about=secret.about)
        await connection.execute(
            update(secrets)
            .where(
                secrets.c.account_id == secret.account_id,
                secrets.c.name == secret.name,
                secrets.c.generation == secret.generation,
            )
            .values(key_id=sealed.key_id, sealed=sealed.data)
        )
    return len(found)


async def heard(connection: Connection, account_id: str) -> None:
    """A callback has come that the account verified. Safe to repeat; the first is a change that processes follow."""
    mine = table.c.id == account_id
    first = update(table).where(mine, table.c.heard_at.is_(None))
    await connection.execute(first.values(heard_at=func.now(), version=table.c.version + 1))
    stale = table.c.heard_at < func.now() - HEARD_EVERY
    await connection.execute(update(table).where(mine, stale).values(heard_at=func.now()))


async def _read(connection: Connection, query: Select[Any]) -> list[StoredAccount]:
    rows = (await connection.execute(query)).mappings().all()
    of = secrets.c.account_id.in_([row["id"] for row in rows])
    newest_first = (secrets.c.account_id, secrets.c.name, secrets.c.generation.desc())
    found = await connection.execute(select(secrets).where(of, _active()).order_by(*newest_first))
    by_account: defaultdict[str, list[SealedSecret]] = defaultdict(list)
    for row in found.mappings():
        by_account[row["account_id"]].append(_secret_from(row))
    return [_account_from(row, by_account[row["id"]]) for row in rows]


async def _existing(connection: Connection, account_id: str, *, lock: bool = False) -> StoredAccount:
    found = await find_account(connection, account_id, lock=lock)
    if found is None:
        raise NotFound(f"There is no connector account {account_id}.")
    return found


async def _changed(connection: Connection, account_id: str, changes: Mapping[str, Any]) -> None:
    values = {**changes, "version": table.c.version + 1, "updated_at": func.now()}
    await connection.execute(update(table).where(table.c.id == account_id).values(values))


async def _add_secret(
    connection: Connection, sealer: Sealer, value: str, *, account_id: str, name: str, generation: int
) -> None:
    bound = SealedSecret(account_id=account_id, name=name, generation=generation, sealed=Sealed("", b""))
    sealed = sealer.seal(value, about=bound.about)
    values = {
        "account_id": account_id,
        "name": name,
        "generation": generation,
        "key_id": sealed.key_id,
        "sealed": sealed.data,
        "created_at": func.now(),
    }
    await connection.execute(insert(secrets).values(values))


def _active() -> ColumnElement[bool]:
    return or_(secrets.c.previous_until.is_(None), secrets.c.previous_until > func.now())


def _account_from(row: RowMapping, of: Sequence[SealedSecret]) -> StoredAccount:
    account = ConnectorAccount(
        id=row["id"],
        merchant_id=row["merchant_id"],
        connector=row["connector"],
        mode=row["mode"],
        base_url=row["base_url"],
        options=row["options"],
        identity=row["identity"],
        enabled=row["state"] == "enabled",
    )
    return StoredAccount(
        account=account,
        position=row["position"],
        version=row["version"],
        created_at=row["created_at"],
        heard_at=row["heard_at"],
        secrets=tuple(of),
    )


def _secret_from(row: RowMapping) -> SealedSecret:
    return SealedSecret(
        account_id=row["account_id"],
        name=row["name"],
        generation=row["generation"],
        sealed=Sealed(row["key_id"], bytes(row["sealed"])),
        previous_until=row["previous_until"],
    )

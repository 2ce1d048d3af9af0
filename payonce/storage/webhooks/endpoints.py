"""Webhook endpoints: where a merchant wants which events."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, case, delete, func, insert, select, text, update

from payonce.domain.answers import timestamp
from payonce.storage.driver.connection import Connection
from payonce.storage.tables import merchants, webhook_endpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint of one merchant in one mode."""

    id: str
    merchant_id: str
    mode: str
    url: str
    events: tuple[str, ...]
    description: str | None
    ordered: bool
    enabled: bool
    created_at: datetime
    signing: str = "hmac"
    failures: int = 0  # attempts that failed since the last success
    failing_since: datetime | None = None  # the first of them
    last_success_at: datetime | None = None
    warned: int = 0  # how often the merchant was told that it fails
    disabled_reason: str | None = None  # merchant, gone or failing


_FIELDS = tuple(item.name for item in fields(Endpoint))
ENDPOINT_COLUMNS = tuple(webhook_endpoints.c[name] for name in _FIELDS)
ENDPOINTS_MAX = 50  # of a merchant in a mode; each takes slots and look-ups
_CHANGEABLE = frozenset({"url", "events", "enabled", "description"})

# Those that are being attempted are left to their relay, which finds the endpoint gone when it completes.
_DROP_PENDING = text(
    """
    UPDATE webhook_deliveries
       SET status = 'dropped', next_attempt_at = NULL, lease_owner = NULL, lease_until = NULL
     WHERE endpoint_id = :endpoint_id AND status = 'pending' AND (lease_until IS NULL OR lease_until <= now())
    """
)


async def count_endpoints(connection: Connection, *, merchant_id: str, mode: str) -> int:
    """How many there are; nobody who counts adds one to them before the transaction ends."""
    merchant = select(merchants.c.id).where(merchants.c.id == merchant_id)
    await connection.execute(merchant.with_for_update(key_share=True))
    columns = webhook_endpoints.c
    mine = select(func.count()).where(columns.merchant_id == merchant_id, columns.mode == mode)
    return int((await connection.execute(mine)).scalar_one())


async def insert_endpoint(connection: Connection, endpoint: Endpoint) -> None:
    """Events that are recorded from the commit on are delivered to it."""
    values = {name: getattr(endpoint, name) for name in _FIELDS}
    await connection.execute(insert(webhook_endpoints), {**values, "events": list(endpoint.events)})


async def find_endpoint(
    connection: Connection, endpoint_id: str, *, merchant_id: str, mode: str
) -> Endpoint | None:
    """The merchant's endpoint; another merchant's is not there."""
    query = select(*ENDPOINT_COLUMNS).where(*_owned(endpoint_id, merchant_id=merchant_id, mode=mode))
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else endpoint_from(row)


async def update_endpoint(
    connection: Connection, endpoint_id: str, *, merchant_id: str, mode: str, changes: Mapping[str, Any]
) -> Endpoint | None:
    """The endpoint as changed, None if there is none. Disabled: what was waiting for it is dropped.

    `changes` may name `url`, `events`, `enabled` and `description`. Enabled again, it starts with a clean record.
    """
    assert changes.keys() <= _CHANGEABLE
    if not changes:
        return await find_endpoint(connection, endpoint_id, merchant_id=merchant_id, mode=mode)
    query = (
        update(webhook_endpoints)
        .where(*_owned(endpoint_id, merchant_id=merchant_id, mode=mode))
        .values(_values(changes))
        .returning(*ENDPOINT_COLUMNS)
    )
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        return None
    if changes.get("enabled") is False:
        await drop_pending(connection, endpoint_id)
    return endpoint_from(row)


async def delete_endpoint(connection: Connection, endpoint_id: str, *, merchant_id: str, mode: str) -> bool:
    """Whether it was there. It is gone, and what was waiting for it is dropped."""
    query = delete(webhook_endpoints).where(*_owned(endpoint_id, merchant_id=merchant_id, mode=mode))
    if (await connection.execute(query)).rowcount == 0:
        return False
    await drop_pending(connection, endpoint_id)
    return True


async def drop_pending(connection: Connection, endpoint_id: str) -> None:
    """Nothing waits for the endpoint any more."""
    await connection.execute(_DROP_PENDING, {"endpoint_id": endpoint_id})


def endpoint_view(
    endpoint: Endpoint, *, secret: str | None = None, public_key: str | None = None
) -> dict[str, Any]:
    """The endpoint object of the API: with its secret where the API says so, or its public key."""
    asymmetric = {"signing": endpoint.signing} if endpoint.signing != "hmac" else {}
    return {
        "id": endpoint.id,
        "object": "webhook_endpoint",
        "url": endpoint.url,
        "events": list(endpoint.events),
        "description": endpoint.description,
        "ordered": endpoint.ordered,
        "enabled": endpoint.enabled,
        **asymmetric,
        **({} if public_key is None else {"public_key": public_key}),
        **({} if secret is None else {"secret": secret}),
        "created_at": timestamp(endpoint.created_at),
    }


def endpoint_from(row: RowMapping | Mapping[str, Any]) -> Endpoint:
    values = {name: row[name] for name in _FIELDS}
    return Endpoint(**{**values, "events": tuple(row["events"])})


def _values(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that change; the right sides of an UPDATE still see the old row."""
    values = dict(changes)
    if "events" in changes:
        values["events"] = list(changes["events"])
    was_enabled, columns = webhook_endpoints.c.enabled, webhook_endpoints.c
    if changes.get("enabled") is False:
        values["disabled_reason"] = case((was_enabled, "merchant"), else_=columns.disabled_reason)
    if changes.get("enabled") is True:
        for name, clean in (("failures", 0), ("failing_since", None), ("warned", 0)):
            values[name] = case((was_enabled, columns[name]), else_=clean)
        values["disabled_reason"] = None
    return values


def _owned(endpoint_id: str, *, merchant_id: str, mode: str) -> tuple[Any, ...]:
    columns = webhook_endpoints.c
    return (columns.id == endpoint_id, columns.merchant_id == merchant_id, columns.mode == mode)

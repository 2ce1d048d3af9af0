"""The health of endpoints as completions change it, and the operational events that tell of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, text

from payonce.domain.answers import event_body
from payonce.domain.endpoint_health import DisabledReason, EndpointEvent, EndpointHealth, after
from payonce.domain.ids import random_id
from payonce.storage.driver.connection import Connection
from payonce.storage.tables import events
from payonce.storage.webhooks.endpoints import Endpoint, drop_pending, endpoint_view, find_endpoint

# In one order, so that two relays cannot deadlock.
_LOCK = text(
    """
    SELECT id, merchant_id, mode, url, failures, failing_since, last_success_at, warned,
           coalesce(CAST(:now AS timestamptz), now()) AS now
      FROM webhook_endpoints
     WHERE id = ANY (CAST(:ids AS text[])) AND enabled
     ORDER BY id
       FOR NO KEY UPDATE
    """
)
_NOTE = text(
    """
    UPDATE webhook_endpoints
       SET failures = :failures, failing_since = :failing_since, last_success_at = :last_success_at,
           warned = :warned
     WHERE id = :id
    """
)
_DISABLE = text("UPDATE webhook_endpoints SET enabled = false, disabled_reason = :reason WHERE id = :id")
# The endpoint's own troubles are not sent to it.
_ADD_DELIVERIES = text(
    """
    INSERT INTO webhook_deliveries (id, event_id, endpoint_id, next_attempt_at, created_at)
    SELECT 'dlv_' || substr(md5(CAST(:event_id AS text) || endpoint.id), 1, 24), :event_id, endpoint.id,
           now(), now()
      FROM webhook_endpoints AS endpoint
     WHERE endpoint.merchant_id = :merchant_id AND endpoint.mode = :mode AND endpoint.enabled
       AND endpoint.id <> :about AND (endpoint.events ? '*' OR endpoint.events ? CAST(:type AS text))
    """
)


@dataclass(frozen=True, slots=True)
class Patient:
    """An enabled endpoint under its row's lock."""

    id: str
    merchant_id: str
    mode: str
    url: str
    health: EndpointHealth
    now: datetime


async def lock(
    connection: Connection, endpoint_ids: Collection[str], *, now: datetime | None
) -> dict[str, Patient]:
    """The enabled ones of the endpoints by id, locked until the transaction ends."""
    if not endpoint_ids:
        return {}
    found = await connection.execute(_LOCK, {"ids": sorted(endpoint_ids), "now": now})
    return {
        row["id"]: Patient(
            *(row["id"], row["merchant_id"], row["mode"], row["url"]),
            EndpointHealth(row["failures"], row["failing_since"], row["last_success_at"], row["warned"]),
            row["now"],
        )
        for row in found.mappings()
    }


async def disable_gone(
    connection: Connection, patients: dict[str, Patient], gone: Collection[tuple[str, str]]
) -> None:
    """Endpoints that said 410 are disabled and no patients any more, unless they got another URL meanwhile."""
    for endpoint_id, url in sorted(gone):
        patient = patients.get(endpoint_id)
        if patient is not None and patient.url == url:
            del patients[endpoint_id]
            await _disable(connection, patient, DisabledReason.GONE)


async def note(
    connection: Connection, patients: Mapping[str, Patient], results: Mapping[str, Sequence[bool]]
) -> frozenset[str]:
    """The endpoints' health after attempts that succeeded or failed is on record; who was disabled for it."""
    disabled = set()
    for endpoint_id in sorted(results):
        patient = patients[endpoint_id]
        change = after(patient.health, results[endpoint_id], now=patient.now)
        await connection.execute(_NOTE, {"id": endpoint_id, **_columns(change.health)})
        for type_ in change.events:
            if type_ is not EndpointEvent.DISABLED:
                await tell(connection, patient, type_)
        if change.disabled:
            await _disable(connection, patient, DisabledReason.FAILING)
            disabled.add(endpoint_id)
    return frozenset(disabled)


async def tell(
    connection: Connection,
    patient: Patient,
    type_: EndpointEvent,
    *,
    about: Mapping[str, str] | None = None,
) -> None:
    """The merchant's other endpoints that want it get an event that shows this one as it is now."""
    endpoint = await find_endpoint(connection, patient.id, merchant_id=patient.merchant_id, mode=patient.mode)
    assert endpoint is not None  # its row is locked
    data: dict[str, Any] = {**endpoint_view(endpoint), **(about or {})}
    await _add_event(connection, endpoint, type_=type_, data=data, now=patient.now)


async def _disable(connection: Connection, patient: Patient, reason: DisabledReason) -> None:
    await connection.execute(_DISABLE, {"id": patient.id, "reason": reason})
    await drop_pending(connection, patient.id)
    await tell(connection, patient, EndpointEvent.DISABLED)


def _columns(health: EndpointHealth) -> dict[str, Any]:
    return {
        "failures": health.failures,
        "failing_since": health.failing_since,
        "last_success_at": health.last_success_at,
        "warned": health.warned,
    }


async def _add_event(
    connection: Connection, endpoint: Endpoint, *, type_: str, data: Mapping[str, object], now: datetime
) -> None:
    event_id = random_id("evt")
    owner = {"merchant_id": endpoint.merchant_id, "mode": endpoint.mode}
    body = event_body(event_id=event_id, type_=type_, at=now, sequence=0, data=data)
    row = {"id": event_id, **owner, "sequence": 0, "type": type_, "body": body, "created_at": now}
    await connection.execute(insert(events), row)
    about = {"event_id": event_id, "about": endpoint.id, "type": type_}
    await connection.execute(_ADD_DELIVERIES, {**about, **owner})

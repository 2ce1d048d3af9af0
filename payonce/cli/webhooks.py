"""`payonce webhooks`: verify a saved request; look at an endpoint's deliveries; replay events to it."""

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from sqlalchemy import RowMapping

from payonce.cli.base import CommandRefused, Json, Why, content_of, deciding, in_transaction, moment, show
from payonce.domain.audit import Act, AuditAction
from payonce.domain.delivery import DeliveryStatus
from payonce.domain.ids import ID_PATTERN
from payonce.storage.driver.connection import Connection
from payonce.storage.oversight import endpoint_of, recent_deliveries
from payonce.storage.webhooks.redeliveries import EVENTS_KEPT, Job, add_job
from payonce.webhooks.verifying import TOLERANCE_S, InvalidKey, fault_of

FILE_BYTES_MAX: Final = 1024 * 1024
BODY_SHOWN: Final = 500  # characters of an answer, as text

Endpoint = Annotated[str, typer.Option(help="The endpoint's id, we_….")]

app = typer.Typer(no_args_is_help=True, help="Webhooks: saved requests, deliveries, replays.")


@app.command("verify")
def verify(
    secret: Annotated[
        str,
        typer.Option(
            envvar="PAYONCE_WEBHOOK_SECRET", help="whsec_…, or the public key whpk_… of an ed25519 endpoint."
        ),
    ],
    headers: Annotated[Path | None, typer.Option(help="A file with a header a line, Name: value.")] = None,
    body: Annotated[Path | None, typer.Option(help="A file with the body's bytes.")] = None,
    request: Annotated[Path | None, typer.Option(help="Instead of both: a saved HTTP request.")] = None,
    tolerance_s: Annotated[float, typer.Option(help="How old the request may be.", min=0)] = TOLERANCE_S,
) -> None:
    """Say whether a saved request is from us; if not, why, with exit status 1."""
    found, content = _saved(headers, body, request)
    try:
        fault = fault_of(found, content, key=secret.strip(), now=datetime.now(UTC), tolerance_s=tolerance_s)
    except InvalidKey as error:
        raise CommandRefused(str(error)) from error
    if fault:
        sys.exit(f"not valid: {fault}")
    print("valid")


@app.command("deliveries")
def deliveries(
    endpoint: Endpoint,
    status: Annotated[DeliveryStatus | None, typer.Option(help="Only these.")] = None,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1, max=1_000)] = 20,
    as_json: Json = False,
) -> None:
    """List an endpoint's deliveries with every attempt and what the receiver answered, redacted."""

    async def read(connection: Connection) -> list[RowMapping]:
        return await recent_deliveries(connection, _id(endpoint), status=status, limit=limit)

    for row in in_transaction(read):
        show(dict(row), as_json, _told(row))


@app.command("replay")
def replay(  # noqa: PLR0917 - typer takes them by name
    endpoint: Endpoint,
    since: Annotated[str, typer.Option(help="The first event's time, RFC 3339.")],
    until: Annotated[str | None, typer.Option(help="Events before this time; now, if left out.")] = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", help="Only this type; may be repeated. Else what it wants.")
    ] = None,
    why: Why = None,
    as_json: Json = False,
) -> None:
    """Deliver events to an endpoint again, whether it has got them or not. A relay begins within seconds."""
    now = datetime.now(UTC)
    first, end = moment(since, "--since"), now if until is None else moment(until, "--until")
    if not now - EVENTS_KEPT <= first < end:
        raise CommandRefused(f"--since must be before --until, and at most {EVENTS_KEPT.days} days ago")

    async def order(connection: Connection) -> Job:
        found = await endpoint_of(connection, _id(endpoint))
        if not found.enabled:
            raise CommandRefused(f"{endpoint} is disabled; its merchant can enable it")
        wanted = tuple(types or found.events)
        return await add_job(
            connection, found, kind="replay", since=first, until=end, types=wanted, request_id=None, now=now
        )

    job = deciding(order, _act, why=why)
    values = {name: getattr(job, name) for name in ("id", "endpoint_id", "since", "until", "types", "total")}
    show(values, as_json, f"{job.id}  {job.total} events to {job.endpoint_id}; the workflow has this id")


def _act(job: Job) -> Act:
    details = {
        "job": job.id,
        "since": job.since.isoformat(),
        "until": job.until.isoformat(),
        "events": job.total,
    }
    return Act(action=AuditAction.EVENTS_REPLAYED, subject=job.endpoint_id, details=details)


def _saved(headers: Path | None, body: Path | None, request: Path | None) -> tuple[Mapping[str, str], bytes]:
    """The headers and the body's bytes. Raises `CommandRefused`."""
    if request is not None and headers is None and body is None:
        return _split(_content(request))
    if request is None and headers is not None and body is not None:
        return _headers(_content(headers)), _content(body)
    raise CommandRefused("say --headers and --body, or --request")


def _split(saved: bytes) -> tuple[Mapping[str, str], bytes]:
    """The parts of a request as it went over the wire; what follows `Content-Length` is not of it."""
    line_end = b"\r\n" if b"\r\n\r\n" in saved else b"\n"
    head, _, body = saved.partition(line_end * 2)
    found = _headers(head)
    length = found.get("content-length", "")
    return found, body[: int(length)] if length.isascii() and length.isdigit() else body


def _headers(text: bytes) -> dict[str, str]:
    """By name in lower case; a line that is no header, such as a request line, is left out."""
    pairs = (line.partition(":") for line in text.decode("latin-1").splitlines())
    return {
        name.strip().lower(): value.strip()
        for name, colon, value in pairs
        if colon and " " not in name.strip()
    }


def _content(path: Path) -> bytes:
    return content_of(path, bytes_max=FILE_BYTES_MAX)


def _told(row: RowMapping) -> str:
    """One delivery, and a line for each attempt."""
    due = f", next attempt {row['next_attempt_at']:%Y-%m-%d %H:%M:%S}Z" if row["next_attempt_at"] else ""
    head = f"{row['id']}  {row['event_id']}  {row['type']}  {row['status']} ({row['cause']}, {row['holder']}){due}"
    return "\n".join([head, *(f"    {_attempt(attempt)}" for attempt in row["attempts"])])


def _attempt(attempt: Mapping[str, Any]) -> str:
    result = attempt["error"] or "ok"
    status = attempt["status_code"] or "no status"
    address = f" at {attempt['ip']}" if attempt.get("ip") else ""
    answer = (
        f": {json.dumps(attempt['body'][:BODY_SHOWN], ensure_ascii=False)}" if attempt.get("body") else ""
    )
    return f"{attempt['at']}  {status}  {result}  {attempt['duration_ms']} ms{address}{answer}"


def _id(endpoint: str) -> str:
    if not ID_PATTERN.match(endpoint):
        raise CommandRefused(f"{endpoint!r} is not the id of an endpoint")
    return endpoint

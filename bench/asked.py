"""What is asked of a database whatever its size: each list with each filter, and what runs behind the API."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, cast

import httpx
from fastapi import FastAPI
from sqlalchemy import text
from temporalio.client import Client

from api.admission.admission import Admission
from api.app import build_app
from bench.fates import ACCOUNT
from bench.plans import blocks_read, combinations, explained, lists_of, rows_read, statements
from payonce.domain.delivery import DeliveryStatus
from payonce.domain.disputes import DisputeStatus
from payonce.domain.ids import attempt_reference
from payonce.domain.operations import OperationKind, OperationStatus
from payonce.domain.reconciling import ComparisonResult
from payonce.runtime import Runtime
from payonce.storage import (
    callbacks,
    events,
    idempotency,
    missing,
    personal_data,
    reconciliation,
    review_queue,
    sweeping,
)
from payonce.storage.driver.connection import Connection
from payonce.storage.merchants import Caller
from payonce.storage.reconciliation_runs import Run
from payonce.storage.webhooks import handover, jobs
from payonce.storage.webhooks.queue import Lane, lease_due
from workers.inbox import Inbox

MODE: Final = "test"
LEASE: Final = "growth"
TIMES: Final = 2  # each is asked; the quicker one counts
FILTERS_AT_ONCE: Final = 2
TYPES: Final = (
    *("payment.authorized", "payment.captured", "payment.failed", "payment.refunded", "payment.voided"),
    *("payment.expired", "dispute.won"),  # one in a thousand, and one that never happened
)
STATUSES: Final[Mapping[str, Sequence[str]]] = {
    "/v1/payments": ("captured", "failed", "voided", "expired", "processing"),
    "/v1/refunds": list(OperationStatus),
    "/v1/disputes": list(DisputeStatus),
    "/v1/webhook_endpoints/{id}/deliveries": list(DeliveryStatus),
}
_MINE: Final = "merchant_id = :merchant AND mode = :mode ORDER BY xid, created_at, id"
_CURSORS: Final[
    Mapping[str, str]
] = {  # the rows of a list in its order, of which the one in the middle is one
    "/v1/payments": f"payments WHERE {_MINE}",
    "/v1/refunds": f"operations WHERE kind = 'refund' AND {_MINE}",
    "/v1/events": f"events WHERE {_MINE}",
    "/v1/disputes": f"disputes WHERE {_MINE}",
    "/v1/reconciliation": f"reconciliations WHERE {_MINE}",
    "/v1/payment_methods": f"payment_methods WHERE state = 'active' AND {_MINE}",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One question, how long its answer took, and what its statements read."""

    of: str
    what: str
    ms: float
    rows: float
    blocks: int
    failed: str | None = None


class Lists:
    """The API's lists for one merchant, in process."""

    def __init__(self, runtime: Runtime, *, merchant_id: str, key: str, until: datetime) -> None:
        self._runtime, self._merchant_id, self._until = runtime, merchant_id, until
        inbox = Inbox(runtime, cast("Client", None))
        admission = Admission(runtime, cast("Client", None))
        self.app: FastAPI = build_app(runtime, admission, {}, inbox)
        self._headers = {"Authorization": f"Bearer {key}"}

    async def asked(self) -> AsyncIterator[Asked]:
        """Every list with every filter, two at once at most, and from the middle both ways."""
        transport = httpx.ASGITransport(app=cast("Any", self.app))
        values, named = await self._values(), await self._named()
        async with httpx.AsyncClient(
            transport=transport, base_url="http://api.test", headers=self._headers
        ) as client:
            for path in lists_of(self.app):
                url = _url(path, named)
                if url is None:
                    continue
                filters = {**values, "status": STATUSES.get(path, ())}
                queries = combinations(
                    self.app, path, filters, cursor=await self._cursor(path), at_once=FILTERS_AT_ONCE
                )
                for query in queries:
                    yield await self._ask(client, path, url, query)

    async def _ask(self, client: httpx.AsyncClient, path: str, url: str, query: Mapping[str, str]) -> Asked:
        took: list[float] = []
        failed = None
        for _ in range(TIMES):
            with statements() as executed:
                began = time.perf_counter()
                response = await client.get(url, params=query)
                took.append(time.perf_counter() - began)
            if response.status_code != httpx.codes.OK:
                failed = f"{response.status_code} {response.json().get('code')}"
        settings = {"payonce.merchant_id": self._merchant_id, "payonce.mode": MODE}
        plans = await explained(
            _plain(self._runtime.settings.api_database_url), executed, settings=settings, times=1
        )
        return Asked(
            of=f"GET {path}",
            what="&".join(f"{name}={value}" for name, value in query.items()),
            ms=min(took) * 1000,
            rows=sum(rows_read(plan) for _, plan in plans),
            blocks=sum(blocks_read(plan) for _, plan in plans),
            failed=failed,
        )

    async def _values(self) -> dict[str, Sequence[str]]:
        """Of each filter what there is and what there is not."""
        row = await self._one("idempotency_key AS key", f"payments WHERE {_MINE}")
        referred = await self._one(
            "merchant_reference AS reference", f"payments WHERE merchant_reference IS NOT NULL AND {_MINE}"
        )
        after = self._until - timedelta(days=200)
        return {
            "type": TYPES,
            "delivered": ("true", "false"),
            "merchant_reference": (*_there(referred, "reference"), "unknown"),
            "idempotency_key": (*_there(row, "key"), "unknown"),
            "customer": ("customer-7", "unknown"),
            "account": (ACCOUNT, "unknown"),
            "result": list(ComparisonResult),
            "created_after": (_stamp(after),),
            "created_before": (_stamp(after + timedelta(days=3)),),
        }

    async def _named(self) -> dict[str, str]:
        """The payment and the endpoint whose lists are asked for."""
        refund = await self._one("payment_id", f"operations WHERE kind = 'refund' AND {_MINE}")
        endpoint = await self._one("id", f"webhook_endpoints WHERE {_MINE}")
        return {
            **({"payments": refund["payment_id"]} if refund else {}),
            **({"webhook_endpoints": endpoint["id"]} if endpoint else {}),
        }

    async def _cursor(self, path: str) -> str | None:
        if path not in _CURSORS:
            return None
        (counted,) = (await self._one("count(*)", _CURSORS[path].partition(" ORDER BY")[0]) or {}).values()
        row = await self._one("id", f"{_CURSORS[path]} OFFSET {counted // 2}")
        return None if row is None else str(row["id"])

    async def _one(self, columns: str, rows: str) -> Mapping[str, Any] | None:
        async with self._runtime.database.transaction() as connection:
            await connection.execute(text("SET LOCAL statement_timeout = '120s'"))
            query = f"SELECT {columns} FROM {rows} LIMIT 1"  # noqa: S608 - of constants only
            found = await connection.execute(text(query), {"merchant": self._merchant_id, "mode": MODE})
            row = found.mappings().first()
            return None if row is None else dict(row)


Work = Callable[[Connection], Awaitable[Any]]


async def asked_behind(
    runtime: Runtime, *, merchants: Sequence[str], until: datetime
) -> AsyncIterator[Asked]:
    """What the relay, the sweeper, the feed, retention and reconciliation ask, each rolled back."""
    async with runtime.database.transaction() as connection:
        rows = await connection.execute(
            text("SELECT operation_id, number FROM attempts ORDER BY 1, 2 LIMIT 100")
        )
        references = [attempt_reference(row.operation_id, row.number) for row in rows]
    for what, work in _behind(merchants, references, until):
        yield await _worked(runtime, what, work)


async def _worked(runtime: Runtime, what: str, work: Work) -> Asked:
    of, _, what = what.partition(": ")
    took: list[float] = []
    failed = None
    for _ in range(TIMES):
        began = time.perf_counter()
        try:
            async with _undone(runtime) as connection:
                with statements() as executed:
                    await work(connection)
        except Exception as error:  # it took longer than the product lets it
            failed = type(error).__name__
        took.append(time.perf_counter() - began)
    plans = await explained(_plain(runtime.settings.database_url), executed, times=1)
    return Asked(
        of=of,
        what=what,
        ms=min(took) * 1000,
        rows=sum(rows_read(plan) for _, plan in plans),
        blocks=sum(blocks_read(plan) for _, plan in plans),
        failed=failed,
    )


class _UndoneError(Exception):
    """So that nothing of the transaction holds."""


@asynccontextmanager
async def _undone(runtime: Runtime) -> AsyncIterator[Connection]:
    with suppress(_UndoneError):
        async with runtime.database.transaction() as connection:
            yield connection
            raise _UndoneError


def _behind(
    merchants: Sequence[str], references: Sequence[str], until: datetime
) -> Iterator[tuple[str, Work]]:
    yield from _sweeps()
    yield from _relayed()
    yield from _followed(merchants)
    run = Run(
        id="rcr_growth",
        account=ACCOUNT,
        mode=MODE,
        since=until - timedelta(days=2),
        until=until - timedelta(days=1),
        started_at=until,
    )
    yield from _reconciled(run, references, until)


def _sweeps() -> Iterator[tuple[str, Work]]:
    for kind in (OperationKind.AUTHORIZE, OperationKind.REFUND):

        async def dequeue(connection: Connection, kind: OperationKind = kind) -> None:
            await sweeping.dequeue(connection, kind, limit=50)

        yield f"sweeper: operations of kind {kind}", dequeue
    yield "sweeper: released creates", lambda it: sweeping.dequeue_released(it, limit=10)
    yield "sweeper: what may be captured", lambda it: sweeping.capturable_payments(it, after="", limit=200)
    yield "sweeper: callbacks", lambda it: callbacks.dequeue(it, limit=100)
    yield "sweeper: reviews", lambda it: review_queue.dequeue(it, limit=50)
    yield "retention: answers", lambda it: idempotency.forget_answers(it, now=_now(), limit=1_000)
    yield "retention: secrets", lambda it: idempotency.forget_secrets(it, now=_now(), limit=1_000)
    yield "retention: callbacks", lambda it: callbacks.forget(it, now=_now(), limit=1_000)
    yield "retention: personal data", lambda it: personal_data.erase(it, limit=500)


def _relayed() -> Iterator[tuple[str, Work]]:
    for lane in Lane:

        async def lease(connection: Connection, lane: Lane = lane) -> None:
            await lease_due(
                connection,
                lane,
                token=LEASE,
                lease_s=1,
                limit=100,
                room_each=10,
                rooms={},
            )

        yield f"relay: lane {lane.name.lower()}", lease
    yield "relay: what workflows hold too long", lambda it: handover.overdue(it, limit=100)
    yield "relay: backlog", handover.backlog
    yield "relay: jobs", lambda it: jobs.unstarted(it, limit=100)


def _followed(merchants: Sequence[str]) -> Iterator[tuple[str, Work]]:
    callers = [Caller(merchant, MODE) for merchant in merchants]
    end, first = 2**62, events.EventPlace.before(0)
    late = events.EventPlace.before(2**61)
    yield "feed: who has news", lambda it: events.with_news(it, callers, after=late, ended=end)
    for merchant in (callers[0], callers[-1]):
        yield "feed: the newest event", partial(events.newest, caller=merchant, ended=end)
        for types in ([], ["payment.voided"], ["dispute.won"], ["payment.expired", "dispute.won"]):

            async def page(connection: Connection, of: Caller = merchant, types: list[str] = types) -> None:
                await events.page(connection, of, after=first, ended=end, types=types, limit=100)

            yield f"feed: events of types {types}", page


def _reconciled(run: Run, references: Sequence[str], until: datetime) -> Iterator[tuple[str, Work]]:
    patience = until - timedelta(hours=1)
    yield "reconciliation: what is known", lambda it: reconciliation.known(it, references)
    yield (
        "reconciliation: whether anything was claimed since",
        lambda it: reconciliation.claimed_since(it, ACCOUNT, run.until),
    )
    yield "reconciliation: what is missing", lambda it: missing.miss(it, run, now=until)
    yield (
        "reconciliation: what agrees",
        lambda it: reconciliation.agrees(it, run, list(references), now=until),
    )
    yield "reconciliation: reviewed", lambda it: reconciliation.reviewed(it, now=until)
    yield "reconciliation: charged once", lambda it: reconciliation.charged_once(it, now=until)
    yield (
        "reconciliation: charged twice",
        lambda it: reconciliation.charged_twice(it, before=run.until, patience=patience),
    )
    yield "reconciliation: open findings", reconciliation.count_open
    yield (
        "reconciliation: what was told",
        lambda it: callbacks.told(it, ACCOUNT, since=run.since, until=run.until, after=None, limit=200),
    )
    yield (
        "reconciliation: what nobody knew when it came",
        lambda it: callbacks.known_by_now(it, ACCOUNT, identity=None, limit=1_000),
    )
    yield (
        "reconciliation: what the books show by now",
        lambda it: reconciliation.shown(it, ACCOUNT, now=until),
    )


def _url(path: str, named: Mapping[str, str]) -> str | None:
    if "{id}" not in path:
        return path
    id_ = named.get(path.split("/")[2])
    return None if id_ is None else path.replace("{id}", id_)


def _there(row: Mapping[str, Any] | None, name: str) -> tuple[str, ...]:
    return () if row is None else (str(row[name]),)


def _stamp(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _plain(url: str | None) -> str:
    return (url or "").replace("+psycopg", "")


def _now() -> datetime:
    return datetime.now(UTC)

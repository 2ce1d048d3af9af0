"""What a run cost on the servers: processor time, commits and WAL, state transitions and history."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from psycopg import AsyncConnection
from temporalio.client import Client
from temporalio.service import RPCError

from bench.processes import cpu_by_name, machine_s

GENERATOR, OTHERS = "generator", "others"
QUIET_CORES = 0.15  # all of a target's processes together; less than this is pollers and timers
IDLE_CORES, IDLE_VARIES = 0.3, 0.1  # a Temporal server on Postgres has so much of them that it is never below
QUIET_LOOK_S, QUIET_WITHIN_S, STEADY_LOOKS = 0.5, 15.0, 4
HISTORIES_SAMPLED = 20
CLOSED_WITHIN_S = 5.0
LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Reading:
    """The counters at one moment."""

    at_s: float
    machine_s: float  # all processors together, whoever used them
    cpu_s: Mapping[str, float]  # by process
    written: Mapping[str, int]  # by Postgres: transactions that wrote
    wal_bytes: Mapping[str, int]


class Meter:
    """Reads the counters of one target. `pids` are looked up at each reading."""

    def __init__(
        self, pids: Callable[[], Mapping[str, int]], postgres: Mapping[str, AsyncConnection[Any]]
    ) -> None:
        self._pids = pids
        self._postgres = postgres

    async def read(self) -> Reading:
        """The counters now; looking at them writes nothing."""
        counted = {name: await _counted(connection) for name, connection in self._postgres.items()}
        return Reading(
            at_s=time.perf_counter(),
            machine_s=machine_s(),
            cpu_s={**cpu_by_name(self._pids()), GENERATOR: time.process_time()},
            written={name: written for name, (written, _) in counted.items()},
            wal_bytes={name: wal for name, (_, wal) in counted.items()},
        )

    async def until_quiet(self) -> bool:
        """What earlier runs left behind is done; False when it is not within the limit."""
        deadline = time.perf_counter() + QUIET_WITHIN_S
        before, looks = await self.read(), list[float]()
        while before.at_s < deadline:
            await asyncio.sleep(QUIET_LOOK_S)
            after = await self.read()
            looks.append(sum(used for name, used in cores(before, after).items() if name != OTHERS))
            if is_quiet(looks):
                return True
            before = after
        return False


def is_quiet(looks: Sequence[float]) -> bool:
    """Whether only pollers and timers are left, by the cores in use at each look: few, or no fewer than before."""
    lately = looks[-STEADY_LOOKS:]
    steady = len(lately) == STEADY_LOOKS and max(lately) - min(lately) < IDLE_VARIES
    return looks[-1] < QUIET_CORES or (steady and max(lately) < IDLE_CORES)


@asynccontextmanager
async def open_meter(
    pids: Callable[[], Mapping[str, int]], database_urls: Mapping[str, str]
) -> AsyncIterator[Meter]:
    """A meter, with a connection to each Postgres while the block runs."""
    async with AsyncExitStack() as stack:
        postgres = {
            name: await stack.enter_async_context(await AsyncConnection.connect(url, autocommit=True))
            for name, url in database_urls.items()
        }
        yield Meter(pids, postgres)


def cost(before: Reading, after: Reading, payments: int) -> dict[str, Any]:
    """What each payment cost between two readings: CPU in milliseconds, commits, WAL bytes."""
    each = max(payments, 1)
    used = {name: after.cpu_s[name] - before.cpu_s.get(name, 0.0) for name in after.cpu_s}
    return {
        "cpu_ms": {name: round(seconds * 1000 / each, 3) for name, seconds in sorted(used.items())},
        "commits": _per(before.written, after.written, each, digits=3),
        "wal_bytes": _per(before.wal_bytes, after.wal_bytes, each, digits=0),
    }


def cores(before: Reading, after: Reading) -> dict[str, float]:
    """The processors that each process kept busy between two readings; `others` is what we know nothing of."""
    seconds = after.at_s - before.at_s
    used = {name: value - before.cpu_s.get(name, 0.0) for name, value in after.cpu_s.items()}
    used[OTHERS] = after.machine_s - before.machine_s - sum(used.values())
    return {name: round(value / seconds, 4) for name, value in used.items()}


async def histories(client: Client, ids: Sequence[str]) -> dict[str, float]:
    """Means over a sample of closed workflows: state transitions, events, and bytes of history.

    One that is open still (an authorization that waits for its capture) counts as it is.
    """
    step = max(len(ids) // HISTORIES_SAMPLED, 1)
    described = [await _described(client, id_) for id_ in ids[::step][:HISTORIES_SAMPLED]]
    found = [info for info in described if info is not None]
    if not found:
        return {}
    return {
        "state_transitions": round(fmean(info.state_transition_count for info in found), 2),
        "history_events": round(fmean(info.history_length for info in found), 2),
        "history_bytes": round(fmean(info.history_size_bytes for info in found)),
        "sampled": len(found),
    }


async def unfinished(database_url: str) -> int:
    """Operations without an outcome whose latest attempt was not given back as unsent."""
    query = """
        SELECT count(*) FROM operations AS operation
        WHERE status = 'pending' AND NOT EXISTS (
            SELECT FROM attempts WHERE operation_id = operation.id AND state = 'not_sent'
            AND number = (SELECT max(number) FROM attempts WHERE operation_id = operation.id))
    """
    async with await AsyncConnection.connect(database_url, autocommit=True) as connection:
        row = await (await connection.execute(query)).fetchone()
    assert row is not None
    return int(row[0])


async def _counted(connection: AsyncConnection[Any]) -> tuple[int, int]:
    """The next transaction id, which only transactions that write are given, and the WAL's length."""
    query = (
        "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint, pg_current_wal_lsn() - '0/0'::pg_lsn"
    )
    row = await (await connection.execute(query)).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


async def _described(client: Client, workflow_id: str) -> Any:
    """What the server says of the workflow once it is closed, or when that takes too long; None without it."""
    deadline = time.perf_counter() + CLOSED_WITHIN_S
    while True:
        try:
            description = await client.get_workflow_handle(workflow_id).describe()
        except RPCError:
            return None
        if description.close_time is not None or time.perf_counter() > deadline:
            return description.raw_description.workflow_execution_info
        await asyncio.sleep(LOOK_EVERY_S)


def _per(before: Mapping[str, int], after: Mapping[str, int], each: int, *, digits: int) -> dict[str, float]:
    return {name: round((after[name] - before[name]) / each, digits) for name in after}

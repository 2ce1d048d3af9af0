"""What a query read: every list with its filters is asked over HTTP, and its statements explained as they ran."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any

import psycopg
from fastapi import FastAPI
from sqlalchemy import Engine, event

Plan = dict[str, Any]
Executed = list[tuple[str, Any]]
PAGING = ("limit", "starting_after", "ending_before")


@contextmanager
def statements() -> Iterator[Executed]:
    """The queries that SQLAlchemy executes meanwhile, and their parameters."""
    executed: Executed = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        executed.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield executed
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def explained(
    url: str, executed: Executed, *, settings: Mapping[str, str] | None = None, times: int = 2
) -> list[tuple[str, Plan]]:
    """The queries of one transaction, executed again with these settings and rolled back, and how they went."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        return await explained_on(connection, executed, settings=settings, times=times)


async def explained_on(
    connection: psycopg.AsyncConnection[Any],
    executed: Executed,
    *,
    settings: Mapping[str, str] | None = None,
    times: int = 2,
) -> list[tuple[str, Plan]]:
    """The same on a connection that is there, whose transaction begins and ends with it."""
    found: list[tuple[str, Plan]] = []
    for name, value in (settings or {}).items():
        await connection.execute("SELECT set_config(%s, %s, true)", (name, value))
    for statement, parameters in executed:
        if statement.startswith("SET "):
            await connection.execute(statement.encode())
            continue
        explain = b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statement.encode()
        for _ in range(times):  # the first reads the catalogue, too
            ((plan,),) = await (await connection.execute(explain, parameters)).fetchall()
        found.append((statement, plan[0]["Plan"]))
    await connection.rollback()
    return found


def scans(plan: Plan) -> list[Plan]:
    """The nodes that read a table."""
    return [node for node in nodes(plan) if "Scan" in node["Node Type"] and "Relation Name" in node]


def nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def rows_read(plan: Plan) -> float:
    """Of all tables, what was left out by a filter included."""
    return sum(_rows_of(node) for node in scans(plan))


def blocks_read(plan: Plan) -> int:
    """Of 8 KiB, found in memory or not."""
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def _rows_of(node: Plan) -> float:
    left_out = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return float((node["Actual Rows"] + left_out) * node["Actual Loops"])


def lists_of(app: FastAPI) -> list[str]:
    """The documented lists' paths."""
    return [path for path in app.openapi()["paths"] if "limit" in parameters_of(app, path)]


def parameters_of(app: FastAPI, path: str) -> list[str]:
    """The names in its query."""
    described = app.openapi()["paths"][path].get("get", {})
    return [each["name"] for each in described.get("parameters", ()) if each["in"] == "query"]


def combinations(
    app: FastAPI,
    path: str,
    values: Mapping[str, Sequence[str]],
    *,
    cursor: str | None,
    at_once: int | None = None,
) -> Iterator[dict[str, str]]:
    """Each filter's values and its absence, with each other's, from the newest and from the cursor both ways.

    `at_once`: no more filters than these, and from the cursor one.
    """
    names = [name for name in parameters_of(app, path) if name not in PAGING]
    choices = [(None, *values[name]) for name in names]
    cursors = (None,) if cursor is None else (None, "starting_after", "ending_before")
    for way, *chosen in product(cursors, *choices):
        query = {name: value for name, value in zip(names, chosen, strict=True) if value is not None}
        if at_once is not None and len(query) > (at_once if way is None else 1):
            continue
        yield query if way is None or cursor is None else {**query, way: cursor}

"""`python -m bench.growth --payments N`: what becomes of every query when there are N old payments, in one run.

A Postgres of its own is started, with an empty database and one that is filled (`bench.lives` says with what), both
migrated the same way. Every list with every filter and everything that the processes behind the API look for is
asked of both; then payments are made in both in turn. It says beforehand how much disc it needs, and ends by itself.
"""

import argparse
import asyncio
import json
import logging
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, Final

import psycopg
import structlog
from pydantic import SecretStr

from api.admission.requests import NewPayment, Post
from bench import machine
from bench.asked import MODE, Asked, Lists, asked_behind
from bench.baselines.no_engine import admit
from bench.fates import ACCOUNT, SIZES
from bench.filling import FILLED, TooLittleRoom, check_room, fill
from bench.lives import Filling
from bench.processes import cpu_s
from bench.report import table
from bench.surroundings import directory, plain_environ
from devstack.postgres import (
    API_ROLE,
    WORKER_ROLE,
    as_role,
    create_database,
    open_logins,
    product_url,
    server_url,
)
from devstack.stack import DevStack, StackOptions
from payonce.domain.facts import Approved, Stage
from payonce.domain.operations import Subject
from payonce.domain.routing import Route
from payonce.runtime import Runtime, open_runtime
from payonce.settings import Settings
from payonce.storage.merchants import Caller, create_key, create_merchant
from payonce.storage.migrating import upgrade

NOWHERE: Final = "127.0.0.1:1"
PAID: Final = 400  # payments of a round
ROUNDS: Final = 5
STATISTICS_S: Final = 3.0  # until every backend has told what it did
YEAR_AT_100_PER_S: Final = 100 * 86_400 * 365
ASKED_BY: Final = {"the largest": 0, "the second, with webhooks": 1, "one with few": 5, "one with none": 7}


@dataclass(frozen=True, slots=True)
class Opened:
    """One of the two databases, with its merchants and their keys."""

    runtime: Runtime
    merchants: Sequence[str]
    keys: Sequence[str]
    url: str


async def measure(payments: int) -> dict[str, Any]:
    """Every figure."""
    began, until = time.monotonic(), datetime.now(UTC).replace(microsecond=0)
    with directory() as path:
        options = StackOptions(
            directory=path, parts=("postgres",), environ=plain_environ(), any_ports=True, restart=False
        )
        async with DevStack(options) as stack:
            port, pid = stack.port("postgres"), stack.pids["postgres"]
            async with _opened(port, "without") as empty, _opened(port, "filled") as filled:
                _say("filling")
                await _fill(filled, payments, until)
                filled_s = time.monotonic() - began
                sizes = await _sizes(filled.url, payments)
                _say(f"filled after {filled_s:.0f} s; asking")
                asked = [await _asked(one, until) for one in (empty, filled)]
                _say("paying")
                paid = await _paid(pid, {"empty": empty, "filled": filled})
                rewritten = await _rewritten(filled.url)
    return {
        "at": until.isoformat(),
        "commit": machine.commit(),
        "machine": machine.described(),
        "payments": payments,
        "filled_s": round(filled_s),
        "took_s": round(time.monotonic() - began),
        "empty": [asdict(one) for one in asked[0]],
        "filled": [asdict(one) for one in asked[1]],
        "sizes": sizes,
        "payment": paid,
        "rewritten": rewritten,
    }


@asynccontextmanager
async def _opened(port: int, name: str) -> AsyncIterator[Opened]:
    """A migrated database, whose connections are those of the product's two roles."""
    await create_database(port, name)
    await asyncio.to_thread(upgrade, product_url(port, name))
    await open_logins(product_url(port, name))
    settings = Settings(
        database_url=as_role(product_url(port, name), WORKER_ROLE),
        api_database_url=as_role(product_url(port, name), API_ROLE),
        redis_url=f"redis://{NOWHERE}",
        temporal_address=NOWHERE,
        derivation_key=SecretStr("the bench's only " * 3),
        pack_bodies=True,
    )
    async with open_runtime(settings, for_api=True) as runtime:
        merchants, keys = [], []
        async with runtime.database.transaction() as connection:
            for number in range(len(SIZES) + 1):
                merchant = await create_merchant(connection, name=f"Shop {number}")
                secret = settings.secret_for("api_keys")
                _, key = await create_key(connection, merchant_id=merchant.id, mode=MODE, secret=secret)
                merchants.append(merchant.id)
                keys.append(key)
        yield Opened(runtime, merchants, keys, server_url(port, name))


async def _fill(opened: Opened, payments: int, until: datetime) -> None:
    async with await psycopg.AsyncConnection.connect(opened.url, autocommit=True) as connection:
        await connection.execute(
            "INSERT INTO webhook_endpoints (id, merchant_id, mode, url, events, ordered, enabled, created_at)"
            " VALUES ('we_growth', %s, %s, 'https://a.example/', '[\"*\"]', false, true, %s)",
            [opened.merchants[1], MODE, until],
        )
    merchants = opened.merchants[: len(SIZES)]
    filling = Filling(payments, until, merchants, opened.runtime.ids, endpoint="we_growth", mode=MODE)
    await fill(opened.url, filling)


async def _asked(opened: Opened, until: datetime) -> list[Asked]:
    found: list[Asked] = []
    for who, number in ASKED_BY.items():
        lists = Lists(
            opened.runtime, merchant_id=opened.merchants[number], key=opened.keys[number], until=until
        )
        async for one in lists.asked():
            found.append(replace(one, what=f"{who}: {one.what}"))
    async for one in asked_behind(opened.runtime, merchants=opened.merchants, until=until):
        found.append(one)
    return found


async def _sizes(url: str, payments: int) -> dict[str, dict[str, float]]:
    """Bytes of each table and of each of its indexes, by payment."""
    query = """
        SELECT relation.relname AS name, pg_table_size(relation.oid) AS bytes, coalesce(of.relname, '') AS of
          FROM pg_class AS relation
          LEFT JOIN pg_index AS index ON index.indexrelid = relation.oid
          LEFT JOIN pg_class AS of ON of.oid = index.indrelid
         WHERE relation.relname = ANY (%s) OR of.relname = ANY (%s)
    """
    found: defaultdict[str, dict[str, float]] = defaultdict(dict)
    async with await psycopg.AsyncConnection.connect(url) as connection:
        for name, size, of in await (await connection.execute(query, [list(FILLED)] * 2)).fetchall():
            found[of or name][name if of else ""] = round(size / payments, 1)
    return dict(found)


async def _paid(pid: int, databases: Mapping[str, Opened]) -> dict[str, dict[str, float]]:
    """What Postgres uses for a payment, admitted and recorded by the product's own functions, in turn in each."""
    rounds: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    numbers = count()
    for opened in databases.values():
        await pay(opened, numbers, PAID)
    for _ in range(ROUNDS):
        for name, opened in databases.items():
            before = cpu_s(pid), await _wal(opened.url)
            await pay(opened, numbers, PAID)
            after = cpu_s(pid), await _wal(opened.url)
            rounds[name].append(((after[0] - before[0]) * 1000 / PAID, (after[1] - before[1]) / PAID))
    return {
        name: {
            "cpu_ms": round(median(cpu for cpu, _ in found), 3),
            "wal_bytes": round(median(wal for _, wal in found)),
        }
        for name, found in rounds.items()
    }


async def _rewritten(url: str) -> dict[str, dict[str, float]]:
    """Of each table the share of row changes that no index had to be told of, while payments were made."""
    query = """
        SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
         WHERE relname = ANY (%s) AND n_tup_upd >= %s
    """
    await asyncio.sleep(STATISTICS_S)
    async with await psycopg.AsyncConnection.connect(url) as connection:
        found = await (await connection.execute(query, [list(FILLED), PAID])).fetchall()
    return {
        name: {"changed": changed, "share without indexes": round(hot / changed, 3)}
        for name, changed, hot in found
    }


async def pay(opened: Opened, numbers: Iterable[int], payments: int) -> None:
    """So many payments with the next numbers, admitted and recorded by the product's own functions."""
    runtime, caller = opened.runtime, Caller(opened.merchants[0], MODE)
    card = {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2040}
    new = NewPayment(
        amount_minor=1099,
        currency="INR",
        capture_method="automatic",
        card=None,
        payment_method={"type": "card", "card": card},
        merchant_reference="order",
    )
    for number, _ in zip(numbers, range(payments), strict=False):
        key = f"growth-{number}"
        post = Post(caller=caller, key=key, fingerprint=bytes(32), request_id=f"req_{key}")
        payment, operation, reference = await admit(runtime, Route(ACCOUNT, ACCOUNT), post, new)
        fact = Approved(f"ch_{reference[-26:]}", operation.amount_minor, "INR", stage=Stage.CAPTURED)
        await runtime.recorder.record(Subject(payment.id, operation.id), attempt=1, fact=fact)


async def _wal(url: str) -> int:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        row = await (await connection.execute("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")).fetchone()
    assert row is not None
    return int(row[0])


def rendered(figures: Mapping[str, Any]) -> str:
    """The report in Markdown."""
    at = figures["machine"]
    head = (
        f"Commit `{figures['commit']}`, {figures['at']}: {figures['payments']:,} payments, {at['cores']} cores of"
        f" {at['processor']}, filled in {figures['filled_s']} s, {figures['took_s']} s in all."
    )
    sections = [head, "### Slowest of each list and query\n\n" + _slowest(figures)]
    sections.append("### At rest, bytes a payment\n\n" + _at_rest(figures["sizes"]))
    paid = figures["payment"]
    rows = [[name, of["cpu_ms"], of["wal_bytes"]] for name, of in paid.items()]
    sections.append("### A payment\n\n" + table(["", "Postgres, ms of CPU", "WAL bytes"], rows))
    changed = [[name, *of.values()] for name, of in figures["rewritten"].items()]
    sections.append(
        "### Rows changed by payments\n\n" + table(["", "changed", "share without indexes"], changed)
    )
    return "\n\n".join(sections) + "\n"


def _slowest(figures: Mapping[str, Any]) -> str:
    """Of each list and query the question of which most rows were read, and the one that took longest."""
    by_list: defaultdict[str, dict[str, list[Mapping[str, Any]]]] = defaultdict(
        lambda: {"empty": [], "filled": []}
    )
    for which in ("empty", "filled"):
        for one in figures[which]:
            by_list[_name(one)][which].append(one)
    rows = []
    for name, of in by_list.items():
        if not of["filled"]:
            continue
        slow = max(of["filled"], key=lambda one: one["ms"])
        wide = max(of["filled"], key=lambda one: one["rows"])
        before = max((one["ms"] for one in of["empty"]), default=None)
        failed = sum(one["failed"] is not None for one in of["filled"])
        rows.append(
            [name, len(of["filled"]), before, slow["ms"], wide["rows"], wide["blocks"], failed, wide["what"]]
        )
    head = ["", "asked", "ms, empty", "ms", "rows read", "blocks", "failed", "where most rows are read"]
    return table(head, rows)


def _name(one: Mapping[str, Any]) -> str:
    return one["of"] if one["of"].startswith("GET") else f"{one['of']}: {one['what']}"


def _at_rest(sizes: Mapping[str, Mapping[str, float]]) -> str:
    rows: list[list[Any]] = []
    for name, parts in sorted(sizes.items(), key=lambda of: -sum(of[1].values())):
        indexes = {of: size for of, size in parts.items() if of}
        shown = ", ".join(f"{of.removeprefix(name + '_')} {size:.0f}" for of, size in indexes.items())
        rows.append([name, parts.get("", 0.0), sum(indexes.values()), sum(parts.values()), shown])
    total = sum(row[3] for row in rows)
    rows.append(["together", sum(row[1] for row in rows), sum(row[2] for row in rows), total, ""])
    year = f"A year of 100 payments a second: {total * YEAR_AT_100_PER_S / 1e12:.1f} TB (extrapolated)."
    return table(["", "rows", "indexes", "together", "of which"], rows) + f"\n\n{year}"


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--payments", type=int, default=200_000)
    parser.add_argument("--out", type=Path, default=Path(".payonce/bench-growth.json"))
    given = parser.parse_args()
    if given.payments < 1:
        parser.error("--payments is at least 1")
    try:
        _say(check_room(given.payments, Path(tempfile.gettempdir())))
    except TooLittleRoom as refused:
        parser.exit(1, f"too little room: {refused}\n")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    figures = asyncio.run(measure(given.payments))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(figures, indent=1) + "\n")
    print(rendered(figures))


if __name__ == "__main__":
    main()

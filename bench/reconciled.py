"""`python -m bench.reconciled --charges N`: the reconciler reads a day of so many charges, and the hour after it.

A Postgres of its own is filled with the day's payments, and the sandbox acquirer's file with the same and a few of
each discrepancy. Then `payonce reconcile run` reads them as it would in operation. It ends by itself.
"""

import argparse
import asyncio
import json
import logging
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
import structlog
from pydantic import SecretStr

from bench import machine
from bench.fates import ACCOUNT, SIZES
from bench.filling import TooLittleRoom, check_room, fill
from bench.listed import CHARGED_SHARE, OF_EACH, Books, ListedDay
from bench.processes import cpu_s
from bench.report import table
from bench.surroundings import ACQUIRER_KEY, NOWHERE, directory, held_port, plain_environ, service_of
from devstack import parts
from devstack.acquirer import store
from devstack.parts import CHECKOUT
from devstack.ports import LOOPBACK
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
from payonce.domain.ids import IdFactory
from payonce.runtime import open_runtime
from payonce.settings import Settings
from payonce.storage.merchants import create_merchant
from payonce.storage.migrating import upgrade

NAME: Final = "reconciled"
RUN_S_MIN: Final = 900.0
RUN_S_EACH: Final = 0.04  # of a charge: a run is ended after the longer of both
LOOKED_EVERY_S: Final = 0.2
SETTLES: Final = timedelta(minutes=5)  # the day ended so long ago, so that all of it is final
MODE: Final = "test"
STATISTICS_S: Final = 2.0  # until every backend has told what it did
COUNTED: Final = "SELECT sum(calls), sum(rows) FROM pg_stat_statements"
WRITTEN: Final = (
    "SELECT xact_commit, tup_returned + tup_fetched, tup_inserted + tup_updated + tup_deleted"
    " FROM pg_stat_database WHERE datname = %s"
)


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything is."""

    environ: Mapping[str, str]  # of the product
    url: str  # of Postgres, for its superuser
    postgres: int  # process ids
    acquirer: int
    acquirer_url: str
    run_within_s: float


async def measure(charges: int) -> dict[str, Any]:
    """Every figure."""
    began = time.monotonic()
    payments = round(charges / CHARGED_SHARE)
    with directory() as path, held_port() as port:
        options = StackOptions(
            directory=path, parts=("postgres",), environ=plain_environ(), any_ports=True, restart=False
        )
        async with DevStack(options) as stack:
            await _count_statements(stack)
            environ = await _migrated(stack, f"http://{LOOPBACK}:{port}")
            url = server_url(stack.port("postgres"), NAME)
            ledger = path / "acquirer.sqlite"
            books = await _filled(environ, url, ledger, payments)
            filled_s = time.monotonic() - began
            _say(f"{books.charges:,} charges after {filled_s:.0f} s; reading")
            part = parts.acquirer(port=port, ledger=ledger, key=ACQUIRER_KEY, environ=plain_environ())
            service = service_of(part, path)
            try:
                await service.start()
                assert service.pid is not None
                at = Places(
                    *(environ, url, stack.pids["postgres"], service.pid, f"http://{LOOPBACK}:{port}"),
                    run_within_s=max(RUN_S_MIN, RUN_S_EACH * books.charges),
                )
                await _by_hand(at.acquirer_url, books)
                runs = {"the day": await _run(at), "the next run": await _run(at)}
                if (read := runs["the day"]["charges"]) < books.charges:
                    raise RuntimeError(f"the run read {read} of {books.charges} charges")
            finally:
                await service.end()
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": machine.commit(),
        "machine": machine.described(),
        "charges": books.charges,
        "planted": dict(books.planted),
        "filled_s": round(filled_s),
        "took_s": round(time.monotonic() - began),
        "runs": runs,
    }


async def _count_statements(stack: DevStack) -> None:
    """Postgres counts them from here on."""
    url = server_url(stack.port("postgres"), "postgres")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
    await stack.end("postgres")
    await stack.start("postgres")


async def _migrated(stack: DevStack, acquirer_url: str) -> dict[str, str]:
    """The product's environment, over a migrated database of its own."""
    port = stack.port("postgres")
    await create_database(port, NAME)
    await asyncio.to_thread(upgrade, product_url(port, NAME))
    await open_logins(product_url(port, NAME))
    async with await psycopg.AsyncConnection.connect(server_url(port, NAME), autocommit=True) as connection:
        await connection.execute("CREATE EXTENSION pg_stat_statements")
    return {
        "PAYONCE_DATABASE_URL": as_role(product_url(port, NAME), WORKER_ROLE),
        "PAYONCE_API_DATABASE_URL": as_role(product_url(port, NAME), API_ROLE),
        "PAYONCE_REDIS_URL": f"redis://{NOWHERE}",
        "PAYONCE_TEMPORAL_ADDRESS": NOWHERE,
        "PAYONCE_DERIVATION_KEY": "the bench's only " * 3,
        "PAYONCE_SANDBOX_ACQUIRER_URL": acquirer_url,
        "PAYONCE_SANDBOX_ACQUIRER_KEY": ACQUIRER_KEY,
    }


async def _filled(environ: Mapping[str, str], url: str, ledger: Path, payments: int) -> Books:
    until = datetime.now(UTC).replace(microsecond=0) - SETTLES
    merchants, ids = await _merchants(environ)
    with _file(ledger) as db:
        books = Books(db)
        await fill(url, ListedDay(payments, until, merchants, ids, mode=MODE, books=books))
        orphans = [
            ids.payment(merchant_id=merchants[0], mode=MODE, key=f"forgotten-{number}")
            for number in range(OF_EACH)
        ]
        books.strangers(orphans, until - timedelta(hours=12))
    return books


async def _merchants(environ: Mapping[str, str]) -> tuple[list[str], IdFactory]:
    settings = Settings(
        database_url=environ["PAYONCE_DATABASE_URL"],
        redis_url=environ["PAYONCE_REDIS_URL"],
        temporal_address=NOWHERE,
        derivation_key=SecretStr(environ["PAYONCE_DERIVATION_KEY"]),
    )
    async with open_runtime(settings, with_vault=False) as runtime:
        async with runtime.database.transaction() as connection:
            made = [await create_merchant(connection, name=f"Shop {number}") for number in range(len(SIZES))]
        return [one.id for one in made], runtime.ids


@contextmanager
def _file(ledger: Path) -> Iterator[sqlite3.Connection]:
    """The acquirer's own file, written in long transactions."""
    db = store.opened(ledger)
    try:
        db.execute("PRAGMA synchronous=OFF")
        db.execute("BEGIN IMMEDIATE")
        yield db
        db.execute("COMMIT")
    finally:
        db.close()


async def _by_hand(acquirer_url: str, books: Books) -> None:
    """What people do in the acquirer's dashboard, of which nobody tells payonce."""
    async with httpx.AsyncClient(base_url=acquirer_url, trust_env=False, timeout=60) as client:
        for payment_id, what in books.by_hand:
            asked = {"payment_reference": payment_id, "what": what}
            body = asked if what == "void" else {**asked, "amount": 1}
            (await client.post("/dashboard", json=body)).raise_for_status()


async def _run(at: Places) -> dict[str, Any]:
    """One `payonce reconcile run`, a process of its own, and what it took of it and of Postgres."""
    async with await psycopg.AsyncConnection.connect(at.url, autocommit=True) as connection:
        await connection.execute("SELECT pg_stat_statements_reset()")
        written, cpu = await _one(connection, WRITTEN, NAME), _cpu(at)
        asked = await _inquiries(at.acquirer_url)
        began = time.monotonic()
        printed, used, peak_kb = await asyncio.to_thread(_reconcile, at.environ, at.run_within_s)
        took_s = time.monotonic() - began
        await asyncio.sleep(STATISTICS_S)
        counted, after, cpu_after = (
            await _one(connection, COUNTED),
            await _one(connection, WRITTEN, NAME),
            _cpu(at),
        )
    (report,) = json.loads(printed.splitlines()[-1])["accounts"]
    return {
        "seconds": round(took_s, 1),
        "charges": report["charges"],
        "pages": report["pages"],
        "calls": report["pages"] + await _inquiries(at.acquirer_url) - asked,
        "found": report["found"],
        "peak_rss_mb": round(peak_kb / 1024, 1),
        "cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "postgres_cpu_s": round(cpu_after[0] - cpu[0], 1),
        "acquirer_cpu_s": round(cpu_after[1] - cpu[1], 1),
        "statements": int(counted[0]),
        "rows_answered": int(counted[1]),
        "transactions": after[0] - written[0],
        "rows_read": after[1] - written[1],
        "rows_written": after[2] - written[2],
    }


def _reconcile(environ: Mapping[str, str], within_s: float) -> tuple[str, resource.struct_rusage, int]:
    """What it printed and used, and its peak memory. Raises `RuntimeError` where it failed or was late."""
    arguments = [sys.executable, "-m", "payonce", "reconcile", "run", "--account", ACCOUNT, "--json"]
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(  # noqa: S603 - our own command
            arguments, env={**plain_environ(), **environ}, cwd=CHECKOUT, stdout=out, stderr=subprocess.DEVNULL
        )
        late = threading.Timer(within_s, process.kill)
        late.start()
        try:
            peak_kb = 0
            while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
                peak_kb = max(peak_kb, _peak_kb(process.pid))
                time.sleep(LOOKED_EVERY_S)
            _, status, used = ended
        finally:
            late.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        printed = out.read()
    if process.returncode:
        raise RuntimeError(f"payonce reconcile run: {process.returncode}: {printed}")
    return printed, used, peak_kb


def _peak_kb(pid: int) -> int:
    """Of the program alone: `ru_maxrss` of a child begins with what its parent had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


async def _one(connection: psycopg.AsyncConnection[Any], query: str, *values: str) -> tuple[Any, ...]:
    row = await (await connection.execute(query.encode(), values)).fetchone()
    assert row is not None
    return tuple(row)


async def _inquiries(acquirer_url: str) -> int:
    """How often the acquirer was asked about one payment, so far."""
    async with httpx.AsyncClient(base_url=acquirer_url, trust_env=False, timeout=60) as client:
        client.headers["Authorization"] = f"Bearer {ACQUIRER_KEY}"
        answer = (await client.get("/requests", params={"limit": 1000})).raise_for_status().json()
    return sum(one["operation"] == "inquire" for one in answer["entries"])


def _cpu(at: Places) -> tuple[float, float]:
    return cpu_s(at.postgres), cpu_s(at.acquirer)


def rendered(figures: Mapping[str, Any]) -> str:
    """The report in Markdown."""
    on = figures["machine"]
    head = (
        f"Commit `{figures['commit']}`, {figures['at']}: {figures['charges']:,} charges, {on['cores']} cores of"
        f" {on['processor']}, filled in {figures['filled_s']} s, {figures['took_s']} s in all."
        f" Planted: {_in_words(figures['planted'])}."
    )
    runs = figures["runs"]
    shown = [name for name in next(iter(runs.values())) if name != "found"]
    rows = [[name, *(run[name] for run in runs.values())] for name in shown]
    rows.append(["found", *(_in_words(run["found"]) for run in runs.values())])
    return head + "\n\n" + table(["", *runs], rows) + "\n"


def _in_words(found: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(found.items())) or "nothing"


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.reconciled", description=__doc__)
    parser.add_argument("--charges", type=int, default=2_000)
    given = parser.parse_args()
    if given.charges < 100:
        parser.error("--charges is at least 100")
    try:
        _say(check_room(round(given.charges / CHARGED_SHARE), Path(tempfile.gettempdir())))
    except TooLittleRoom as refused:
        parser.exit(1, f"too little room: {refused}\n")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    print(rendered(asyncio.run(measure(given.charges))))


if __name__ == "__main__":
    main()

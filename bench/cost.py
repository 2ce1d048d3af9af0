"""`python -m bench.cost`: what one payment costs each process, in milliseconds of CPU, a fixed number at a time.

For one change before and after: run it in two checkouts in turn, and believe a difference only when it comes back.
A closed loop says nothing of latency under load; that is `python -m bench`.
"""

import argparse
import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from itertools import count
from pathlib import Path
from statistics import fmean, median

import uvloop

from bench.measure import cost
from bench.surroundings import Server, Setup, environ_from
from bench.targets import BASELINES, PAYONCE, Target, open_baseline, open_payonce
from bench.traffic import Kind, Request
from bench.wire import Pool, Reply

WARM_UP = 200
Figures = dict[str, float]


async def main(arguments: argparse.Namespace) -> None:
    """Each round's costs are on the terminal, and their medians."""
    setup = Setup(
        delay_ms=arguments.delay_ms,
        server=Server.from_file(arguments.temporal_server),
        product_environ=environ_from(arguments.product_environ),
    )
    async with _opening(setup, arguments.target) as target:
        pool = Pool(target.host, target.port)
        try:
            await pool.warm(arguments.at_once)
            await _answer_all(target, pool, Kind.AUTOMATIC, WARM_UP, at_once=arguments.at_once)
            rounds = [
                _shown(await _round(target, pool, arguments), str(number))
                for number in range(1, arguments.rounds + 1)
            ]
        finally:
            pool.close()
    _shown({name: median(one[name] for one in rounds) for name in rounds[0]}, "median")


async def _round(target: Target, pool: Pool, arguments: argparse.Namespace) -> Figures:
    payments = arguments.payments
    if not await target.meter.until_quiet():
        print("not quiet yet")
    before = await target.meter.read()
    latencies = await _answer_all(target, pool, arguments.kind, payments, at_once=arguments.at_once)
    after = await target.meter.read()
    used: Figures = cost(before, after, payments)["cpu_ms"]
    return {
        **used,
        "all": sum(used.values()),
        "mean latency": fmean(latencies) * 1000,
        "per second": payments / (after.at_s - before.at_s),
    }


async def _answer_all(
    target: Target, pool: Pool, kind: Kind, payments: int, *, at_once: int
) -> Sequence[float]:
    """The seconds that each payment took. Raises `RuntimeError` at the first answer that is not the expected one."""
    loop, numbers, latencies = asyncio.get_running_loop(), count(), list[float]()

    async def ask(request: Request) -> Reply:
        connection = pool.take() or await pool.connect()
        answered: asyncio.Future[Reply] = loop.create_future()
        connection.ask(request.content, answered.set_result)
        reply = await answered
        if not request.is_expected(reply):
            raise RuntimeError(f"{request.kind}: {reply.status} {reply.body[:300]!r}")
        return reply

    async def send_one_after_another() -> None:
        while next(numbers) < payments:
            began = loop.time()
            following: Request | None = target.shop.request(kind)
            while following is not None:
                following = target.shop.answered(following, await ask(following))
            latencies.append(loop.time() - began)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(send_one_after_another())
    return latencies


def _opening(setup: Setup, name: str) -> AbstractAsyncContextManager[Target]:
    return open_payonce(setup) if name == PAYONCE else open_baseline(setup, name)


def _shown(figures: Figures, title: str) -> Figures:
    print(f"{title:>6}  " + "  ".join(f"{name} {value:.2f}" for name, value in figures.items()), flush=True)
    return figures


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.cost", description=__doc__)
    parser.add_argument("--target", choices=[PAYONCE, *BASELINES], default=PAYONCE)
    parser.add_argument("--kind", type=Kind, choices=[Kind.AUTOMATIC, Kind.MANUAL, Kind.DECLINED, Kind.REPLAY],
                        default=Kind.AUTOMATIC)  # fmt: skip
    parser.add_argument("--payments", type=int, default=500, help="in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--delay-ms", type=int, default=0, help="that the acquirer adds")
    parser.add_argument("--temporal-server", type=Path, help="as of `python -m bench`")
    parser.add_argument("--product-environ", action="append", default=[], metavar="PAYONCE_NAME=VALUE")
    return parser


if __name__ == "__main__":
    parser = _parser()
    given = parser.parse_args()
    if min(given.payments, given.rounds, given.at_once) < 1:
        parser.error("--payments, --rounds and --at-once are at least 1")
    uvloop.run(main(given))

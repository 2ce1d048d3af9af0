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
from bench.samples import REFUSALS
from bench.surroundings import Server, Setup, environ_from
from bench.targets import BASELINES, PAYONCE, Target, open_baseline, open_payonce
from bench.traffic import Kind, Request
from bench.wire import Pool, Reply

WARM_UP = 200
UNEXPECTED_MAX = 0.02  # of the answers: on a machine that others use as well, one is late at times
TRIES, AGAIN_AFTER_S = 20, 0.1
Figures = dict[str, float]


async def main(arguments: argparse.Namespace) -> None:
    """Each round's costs are on the terminal, and their medians."""
    setup = Setup(
        delay_ms=arguments.delay_ms,
        server=Server.from_file(arguments.temporal_server),
        product_environ=environ_from(arguments.product_environ),
    )
    async with _opening(setup, arguments) as target:
        pool = Pool(target.host, target.port)
        try:
            await pool.warm(arguments.at_once)
            await answer_all(target, pool, Kind.AUTOMATIC, WARM_UP, at_once=arguments.at_once)
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
    latencies, others = await answer_all(target, pool, arguments.kind, payments, at_once=arguments.at_once)
    after = await target.meter.read()
    used: Figures = cost(before, after, payments)["cpu_ms"]
    return {
        **used,
        "all": sum(used.values()),
        "mean latency": fmean(latencies) * 1000,
        "per second": payments / (after.at_s - before.at_s),
        "unexpected": float(others),
    }


async def answer_all(
    target: Target, pool: Pool, kind: Kind, payments: int, *, at_once: int
) -> tuple[Sequence[float], int]:
    """The seconds that each payment took, and how many of their answers were not the expected ones.

    Raises `RuntimeError` when too many were not.
    """
    loop, numbers, latencies = asyncio.get_running_loop(), count(), list[float]()
    others: list[str] = []

    async def send_one_after_another() -> None:
        while next(numbers) < payments:
            began = loop.time()
            following: Request | None = target.shop.request(kind)
            while following is not None:
                reply = await ask(pool, following)
                if not following.is_expected(reply):
                    others.append(f"{following.kind}: {reply.status} {reply.body[:300]!r}")
                    break
                following = target.shop.answered(following, reply)
            latencies.append(loop.time() - began)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(send_one_after_another())
    if len(others) > max(payments * UNEXPECTED_MAX, 1):
        raise RuntimeError(f"{len(others)} unexpected answers, the first: {others[0]}")
    return latencies, len(others)


async def ask(pool: Pool, request: Request) -> Reply:
    """The answer; a refusal for want of room is asked again, as merchants do."""
    for _ in range(TRIES - 1):
        reply = await _asked_once(pool, request)
        if reply.status not in REFUSALS:
            return reply
        await asyncio.sleep(AGAIN_AFTER_S)
    return await _asked_once(pool, request)


async def _asked_once(pool: Pool, request: Request) -> Reply:
    connection = pool.take() or await pool.connect()
    answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    connection.ask(request.content, lambda reply: None if answered.done() else answered.set_result(reply))
    return await answered


def _opening(setup: Setup, arguments: argparse.Namespace) -> AbstractAsyncContextManager[Target]:
    if arguments.target != PAYONCE:
        return open_baseline(setup, arguments.target)
    share = {} if arguments.api_share is None else {"api_share": arguments.api_share}
    return open_payonce(setup, api_processes=arguments.api_processes, **share)


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
    parser.add_argument("--api-processes", type=int, default=1, help="of payonce")
    parser.add_argument("--api-share", type=float, help="of a processor, that each of them is held to (root)")
    parser.add_argument("--temporal-server", type=Path, help="as of `python -m bench`")
    parser.add_argument("--product-environ", action="append", default=[], metavar="PAYONCE_NAME=VALUE")
    return parser


if __name__ == "__main__":
    parser = _parser()
    given = parser.parse_args()
    if min(given.payments, given.rounds, given.at_once) < 1:
        parser.error("--payments, --rounds and --at-once are at least 1")
    uvloop.run(main(given))

"""`python -m bench.steady`: payonce alone at one modest rate, without and with webhooks: what capacity is made of."""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from bench import machine
from bench.capacity import Assumptions, costs_of, rendered
from bench.plan import Bench, Pace
from bench.report import stages_of
from bench.surroundings import Server, Setup
from bench.targets import PAYONCE, open_null, open_payonce
from bench.temporal_server import DEVELOPMENT, POSTGRES, chosen_server
from devstack.errors import StackError

RATE_PER_S, ANSWERS = 20.0, 1_000


async def figures(arguments: argparse.Namespace) -> dict[str, Any]:
    """As `make bench` writes them, of payonce's `half` and `webhooks` alone."""
    began, where = datetime.now(UTC), machine.described()
    async with chosen_server(arguments.temporal) as server:
        runs = await _runs(arguments, server)
    return {
        "at": began.isoformat(timespec="seconds"),
        "commit": machine.commit(),
        "machine": where,
        "settings": {"temporal": arguments.temporal, "acquirer_delay_ms": arguments.acquirer_delay_ms},
        "targets": {PAYONCE: runs},
    }


async def _runs(arguments: argparse.Namespace, server: Server | None) -> dict[str, Any]:
    setup = Setup(delay_ms=arguments.acquirer_delay_ms, server=server)
    async with open_payonce(setup) as target, open_null() as sink:
        pace = Pace(answers=arguments.answers)
        bench = Bench(target, pace, seed=1, report=lambda line: print(line, flush=True))
        try:
            await bench.warm_up()
            return {
                "idle_cores": await bench.idle(),
                "half": await bench.load(arguments.rate),
                "webhooks": await bench.with_webhooks(arguments.rate, sink.url),
            }
        finally:
            bench.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.steady", description=__doc__)
    parser.add_argument("--rate", type=float, default=RATE_PER_S, help="payments per second")
    parser.add_argument("--answers", type=int, default=ANSWERS, help="of each of the two runs, at least")
    parser.add_argument("--acquirer-delay-ms", type=int, default=50)
    parser.add_argument("--temporal", choices=(POSTGRES, DEVELOPMENT), default=POSTGRES)
    parser.add_argument("--out", type=Path, required=True, help="the JSON, for `bench.capacity`")
    return parser


def main() -> None:
    """The JSON is written, and the cells that follow are on the terminal."""
    arguments = _parser().parse_args()
    try:
        found = uvloop.run(figures(arguments))
    except (StackError, RuntimeError) as error:
        sys.exit(f"bench: {error}")
    arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    runs = found["targets"][PAYONCE]
    print("\n" + stages_of(runs["half"]))
    print("\n" + rendered(costs_of(runs["webhooks"]), Assumptions()))


if __name__ == "__main__":
    main()

"""`make bench`: measures payonce and its baselines, prints the report, and keeps the figures and a plot."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

from bench import plot, ratios
from bench.everything import Everything
from bench.plan import QUICK, SHORT, Pace
from bench.report import rendered
from bench.surroundings import Server, Setup, environ_from
from bench.temporal_server import DEVELOPMENT, POSTGRES, chosen_server
from bench.traffic import Kind
from bench.turns import Turns
from devstack.errors import StackError
from devstack.stack import MAX_API_PROCESSES

OUT = {POSTGRES: Path("docs/bench.json"), DEVELOPMENT: Path("docs/bench-development.json")}
QUICK_OUT = Path(".payonce/bench-quick.json")
QUICK_TURNS = Turns(times=1, payments=100, rounds=1)
MIX = "automatic=60,manual=15,refund=10,declined=10,replay=5"
DRAWN = tuple(kind for kind in Kind if kind is not Kind.CAPTURE)


def main() -> None:
    """The report is on the terminal, the figures in a file, and the plot beside it."""
    parser = _parser()
    arguments = parser.parse_args()
    try:
        figures = uvloop.run(_figures(arguments))
    except (ValueError, KeyError, OSError) as error:
        parser.error(str(error) or type(error).__name__)
    except (StackError, RuntimeError) as error:
        sys.exit(f"bench: {error}")
    found = ratios.ratios(figures)
    figures["ratios"] = ratios.as_json(found)
    print("\n" + rendered(figures, found))
    out = arguments.out or (QUICK_OUT if arguments.quick else OUT[arguments.temporal])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(figures, indent=1) + "\n")
    _plot(figures, out.with_suffix(".png"))
    print(f"figures: {out}")


def mix_from(text: str) -> dict[Kind, float]:
    """From KIND=WEIGHT,… Raises `ValueError`."""
    mix: dict[Kind, float] = {}
    for part in text.split(","):
        name, equals, weight = part.partition("=")
        kind = Kind(name)
        if not equals or kind not in DRAWN or float(weight) < 0:
            raise ValueError(f"{part!r} is not KIND=WEIGHT with one of {', '.join(DRAWN)}")
        mix[kind] = float(weight)
    return mix


async def _figures(arguments: argparse.Namespace) -> dict[str, Any]:
    given = Server.from_file(arguments.temporal_server)
    if given is None and arguments.temporal_address is not None:
        given = Server(arguments.temporal_address)
    if given is not None:
        return await _everything(arguments, given).figures()
    async with chosen_server(arguments.temporal) as server:
        return await _everything(arguments, server).figures()


def _everything(arguments: argparse.Namespace, server: Server | None) -> Everything:
    if not 1 <= arguments.api_processes <= MAX_API_PROCESSES:
        raise ValueError(f"--api-processes is from 1 to {MAX_API_PROCESSES}")
    began = time.monotonic()
    return Everything(
        setup=Setup(
            delay_ms=arguments.acquirer_delay_ms,
            server=server,
            product_environ=environ_from(arguments.product_environ),
        ),
        pace=QUICK if arguments.quick else SHORT if arguments.short else Pace(),
        mix=mix_from(arguments.mix),
        api_processes=arguments.api_processes,
        seed=arguments.seed,
        turns=QUICK_TURNS if arguments.quick else Turns(),
        report=lambda line: print(f"{time.monotonic() - began:6.0f} s  {line}", flush=True),
    )


def _plot(figures: dict[str, object], path: Path) -> None:
    try:
        plot.draw(figures, path)
    except ImportError:
        print("no plot: install the extra `bench`")
    else:
        print(f"plot: {path}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="every phase for seconds only: shows that it works"
    )
    parser.add_argument("--short", action="store_true", help="half the time: a little noisier")
    parser.add_argument("--out", type=Path, help=f"the JSON; else {OUT[POSTGRES]} or the like")
    parser.add_argument(
        "--temporal",
        choices=(POSTGRES, DEVELOPMENT),
        default=POSTGRES,
        help="a server as production has it, or the development server",
    )
    parser.add_argument("--temporal-address", help="a Temporal server that runs already, as host:port")
    parser.add_argument(
        "--temporal-server",
        type=Path,
        help="a file with the line that its start script printed: its costs too",
    )
    parser.add_argument(
        "--api-processes", type=int, default=1, help="also measures 2 to N API processes on one port"
    )
    parser.add_argument("--acquirer-delay-ms", type=int, default=50)
    parser.add_argument("--mix", default=MIX, help="weights of the mixed load")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--product-environ", action="append", default=[], metavar="PAYONCE_NAME=VALUE", help="may be repeated"
    )
    return parser


if __name__ == "__main__":
    main()

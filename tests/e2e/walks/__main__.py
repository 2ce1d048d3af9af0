"""`python -m tests.e2e.walks [name …]`: plays the walks against the `make dev` that runs here, and prints each."""

import argparse
import asyncio
import json
import sys
from pathlib import Path

from tests.e2e.merchant import merchant_with
from tests.e2e.walks import WALKS
from tests.e2e.walks.scene import Scene
from tests.support.witness import witness_of

DIRECTORY = Path(".payonce")


async def walk(names: list[str]) -> None:
    """Each walk was played and shown. Raises `AssertionError` where one does not lead where it should."""
    dev = json.loads((DIRECTORY / "dev.json").read_text())
    environ = json.loads((DIRECTORY / "environ.json").read_text())
    async with (
        merchant_with(dev["api_url"], dev["api_key"]) as shop,
        witness_of(dev["acquirer_url"]) as witness,
    ):
        for name in names:
            scene = Scene(shop, witness, environ)
            payment = await WALKS[name](scene)
            print(f"\n=== {name}: {(WALKS[name].__doc__ or '').strip().splitlines()[0]}")
            print("\n".join(scene.said))
            print(await scene.shown(payment), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.walks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *WALKS], help="which; else all")
    names = parser.parse_args().names or list(WALKS)
    if not (DIRECTORY / "environ.json").exists():
        sys.exit("walks: `make dev` does not run here")
    asyncio.run(walk(names))


if __name__ == "__main__":
    main()

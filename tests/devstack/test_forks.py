"""What tests fork dies with the process that asked for it, however that ends."""

import asyncio
import os
import sys
from pathlib import Path

from devstack.parts import CHECKOUT
from tests.support.eventually import eventually
from tests.support.servers import ACQUIRER_KEY

PARENT = """
import asyncio, os, sys
from pathlib import Path
from devstack.processes import Command
from tests.support.forks import Forked

async def main():
    arguments = (sys.executable, "-m", "devstack.acquirer", "--port", "0", "--data", sys.argv[1])
    command = Command(arguments, dict(os.environ), Path.cwd())
    process = await Forked.start(command, Path(sys.argv[1] + ".log"), capture=True)
    await process.line()
    print(process.pid, flush=True)
    await process.wait()

if __name__ == "__main__":
    asyncio.run(main())
"""


async def test_a_forked_program_dies_with_the_process_that_asked_for_it(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARENT, str(tmp_path / "acquirer.sqlite")),
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "ACQUIRER_KEY": ACQUIRER_KEY},
        cwd=CHECKOUT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert parent.stdout is not None
    try:
        async with asyncio.timeout(120):
            forked = Path(f"/proc/{int(await parent.stdout.readline())}/stat")
        assert forked.exists()
    finally:
        parent.kill()
        await parent.wait()

    async def is_gone() -> bool:
        return not forked.exists()

    await eventually(is_gone)

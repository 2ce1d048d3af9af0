"""What tests fork dies with the process that asked for it, however that ends; how it ended is what it said."""

import asyncio
import os
import sys
import threading
from multiprocessing import forkserver
from pathlib import Path

import pytest

from devstack.parts import CHECKOUT
from tests.support.eventually import eventually
from tests.support.forks import ran
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


async def test_how_a_program_ended_is_read_by_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two may see that it is there, then one reads it and the other hears 255, "and it wrote nothing"."""
    threads, read = set(), forkserver.read_signed

    def reading(fd: int) -> int:
        threads.add(threading.get_ident())
        return read(fd)

    monkeypatch.setattr(forkserver, "read_signed", reading)
    helped = (ran("payonce", "--help", environ=os.environ) for _ in range(3))
    assert [each.status for each in await asyncio.gather(*helped)] == [0, 0, 0]
    assert len(threads) == 1

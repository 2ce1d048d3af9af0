"""stripe-mock itself: Stripe's stateless server, which refuses what its document does not allow."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.witnesses.go import built
from tests.witnesses.stripe_spec import MODULE, VERSION

START_S_MAX = 60
_LISTENING = re.compile(rb"Listening for HTTP at address: (\S+)")


@asynccontextmanager
async def stripe_mock() -> AsyncIterator[str]:
    """Its base address, while it runs on free ports of loopback. The test is skipped where there is no Go."""
    program = await asyncio.to_thread(built, MODULE, VERSION)
    process = await asyncio.create_subprocess_exec(
        program,
        *("-http-addr", "127.0.0.1:0", "-https-addr", "127.0.0.1:0"),  # without the second, on all addresses
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield f"http://{await asyncio.wait_for(_address(process), START_S_MAX)}"
    finally:
        process.kill()
        await process.communicate()


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async for line in process.stdout:
        if found := _LISTENING.search(line):
            return found[1].decode()
    raise AssertionError(f"stripe-mock ended with {await process.wait()}")

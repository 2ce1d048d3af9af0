"""A real S3 server from a package, which checks signatures: SeaweedFS. Nothing is downloaded."""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from devstack import tether
from devstack.ports import LOOPBACK, Ports
from payonce.receipts.store import ReceiptStore, open_store
from payonce.settings import Settings
from tests.support.eventually import eventually

BUCKET, KEY_ID, SECRET = "receipts", "a-key-id", "a secret of the tests"
_PORTS = tuple(
    f"{name}.port{kind}" for name in ("s3", "master", "volume", "filer", "admin") for kind in ("", ".grpc")
)
_NEEDED = {
    "database_url": "postgresql://x",
    "redis_url": "redis://x",
    "temporal_address": "x:1",
    "derivation_key": "k" * 32,
    "receipts_url": f"s3://{BUCKET}",
}


@dataclass
class S3:
    """The server. `environ`: the variables by which it is found."""

    url: str
    process: asyncio.subprocess.Process

    @property
    def environ(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }


def settings(**changes: object) -> Settings:
    """Those of a process that keeps receipts in the bucket."""
    return Settings.model_validate({**_NEEDED, **changes})


def opened(**changes: object) -> ReceiptStore:
    """The store, as the variables of the environment name it."""
    return open_store(settings(**changes))


@asynccontextmanager
async def running_s3() -> AsyncIterator[S3]:
    """It answers while the block runs, with an empty bucket."""
    weed, ports = Path(sys.executable).with_name("weed"), Ports()
    chosen = {name: ports.free() for name in _PORTS}
    with tempfile.TemporaryDirectory(prefix="payonce-s3-") as directory:
        ports.close()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, tether.__file__, str(os.getpid()), "-"),
            *(str(weed), "mini", f"-dir={directory}", f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}"),
            *(f"-bucket={BUCKET}", "-webdav=false", "-admin.ui=false", "-master.telemetry=false"),
            *(
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                *(f"-{name}={port}" for name, port in chosen.items()),
            ),
            env={**os.environ, "AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET},
            cwd=directory,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        server = S3(f"http://{LOOPBACK}:{chosen['s3.port']}", process)
        try:
            await eventually(lambda: _answers(server))
            yield server
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _answers(server: S3) -> bool:
    assert server.process.returncode is None, "weed has ended"
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{server.url}/{BUCKET}")
    except httpx.HTTPError:
        return False
    return answer.status_code == httpx.codes.FORBIDDEN  # it is there, and asks for a signature

"""The sandbox acquirer as a process of its own, and servers that misbehave below HTTP."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from wire_server import PATIENT_S, Handler, OpenHttp, Serve, WireServer

from devstack import tether
from payonce.connectors.http import AcquirerHttp, Documented

STOP_S_MAX = 10.0


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts wire servers, and stops them."""
    async with AsyncExitStack() as stack:

        async def start(handler: Handler) -> WireServer:
            return await stack.enter_async_context(WireServer(handler).running())

        yield start


@pytest.fixture
def refusing_url() -> Iterator[str]:
    """An address that refuses connections: bound, so that nobody else gets it, and not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture(scope="session")
def acquirer_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The sandbox acquirer, a process of its own with an empty ledger."""
    data = tmp_path_factory.mktemp("acquirer") / "ledger.sqlite"
    tied = [sys.executable, tether.__file__, str(os.getpid()), "-"]
    command = [*tied, sys.executable, "-m", "devstack.acquirer", "--port", "0", "--data", str(data)]
    root = Path(__file__).parents[2]
    environ = {**os.environ, "ACQUIRER_KEY": "sandbox-acquirer-key"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root, env=environ) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()
            process.wait(STOP_S_MAX)


@pytest.fixture
async def witness(acquirer_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Reads the acquirer's ledger and its record of requests."""
    async with httpx.AsyncClient(base_url=acquirer_url, trust_env=False, timeout=60) as client:
        yield client


@pytest.fixture
async def open_http() -> AsyncIterator[OpenHttp]:
    """Opens `AcquirerHttp`s, and closes them."""
    opened: list[AcquirerHttp] = []

    def open_(url: str, *, call_deadline_s: float = PATIENT_S, **options: Any) -> AcquirerHttp:
        http = AcquirerHttp(
            base_url=url,
            headers={"Authorization": "Bearer key"},
            call_deadline_s=call_deadline_s,
            documented=Documented(answers=frozenset({404}), rejections=frozenset({400, 401, 429})),
            **options,
        )
        opened.append(http)
        return http

    yield open_
    for http in opened:
        await http.close()

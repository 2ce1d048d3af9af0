"""The app over a real Postgres, with an admission that decides as the test says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import text
from temporalio.client import Client

from api.admission.admission import Admission
from api.app import build_app
from api.http.connections import Connections
from api.main import listening_socket, server_for
from payonce.runtime import Runtime, open_runtime
from payonce.settings import Settings
from payonce.storage.merchants import create_key, create_merchant
from tests.api.fakes import FakeAdmission
from tests.support.databases import as_api
from tests.support.eventually import eventually
from workers.inbox import Inbox


@dataclass
class Merchant:
    """A merchant with a test key and a live one."""

    id: str
    key: str
    live_key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


@pytest.fixture(scope="module")
async def runtime(module_database_url: str) -> AsyncIterator[Runtime]:
    """Without connector accounts; Redis is away, which only costs latency. API keys are served as payonce_api."""
    settings = Settings(
        database_url=module_database_url,
        api_database_url=as_api(module_database_url),
        redis_url="redis://127.0.0.1:1",
        temporal_address="127.0.0.1:1",
        derivation_key=SecretStr("tests-only-" * 4),
        pack_bodies=True,
    )
    async with open_runtime(settings, for_api=True) as opened:
        yield opened


@pytest.fixture(scope="module")
async def merchant(runtime: Runtime) -> Merchant:
    return await a_merchant(runtime, "Shop")


@pytest.fixture(scope="module")
async def other_merchant(runtime: Runtime) -> Merchant:
    return await a_merchant(runtime, "Other")


async def a_merchant(runtime: Runtime, name: str) -> Merchant:
    """A new merchant with its keys."""
    secret = runtime.settings.secret_for("api_keys")
    async with runtime.database.transaction() as connection:
        merchant = await create_merchant(connection, name=name)
        _, key = await create_key(connection, merchant_id=merchant.id, mode="test", secret=secret)
        _, live = await create_key(connection, merchant_id=merchant.id, mode="live", secret=secret)
    return Merchant(merchant.id, key, live)


@pytest.fixture
def admission(runtime: Runtime) -> FakeAdmission:
    return FakeAdmission(real=Admission(runtime, cast("Client", None)))


@pytest.fixture
def app(runtime: Runtime, admission: FakeAdmission) -> FastAPI:
    return app_of(runtime, admission)


def app_of(runtime: Runtime, admission: FakeAdmission) -> FastAPI:
    """The app with this admission."""
    inbox = Inbox(runtime, cast("Client", None))
    return build_app(runtime, cast("Admission", admission), {"postgres": runtime.database.ping}, inbox)


@pytest.fixture
async def client(app: FastAPI, merchant: Merchant) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the merchant's test key."""
    transport = httpx.ASGITransport(app=cast("Any", app))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://api.test", headers=merchant.headers
    ) as opened:
        yield opened


@dataclass
class Serving:
    """The app on a real socket of loopback."""

    url: str
    stop: Callable[[], None]
    ended: "asyncio.Task[None]"
    connections: Connections


@pytest.fixture
async def serving(app: FastAPI) -> AsyncIterator[Serving]:
    async with serving_of(app) as served:
        yield served


@asynccontextmanager
async def serving_of(app: FastAPI, connections: Connections | None = None) -> AsyncIterator[Serving]:
    """The app is served while the block runs, to as many as come where no bound is given."""
    if connections is None:
        connections = Connections(most=1_000, most_of_one_address=1_000)
    with listening_socket("127.0.0.1", 0) as listener:
        server = server_for(app, connections, on_stop=app.state.feed.close)
        ended = asyncio.create_task(server.serve([listener]))

        async def started() -> bool:
            return server.started

        await eventually(started)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield Serving(url, server.stop, ended, connections)
        server.stop()
        await ended


@pytest.fixture
async def no_endpoints(runtime: Runtime) -> None:
    """The test begins without endpoints, events and what was made of them."""
    async with runtime.database.transaction() as connection:
        await connection.execute(text("TRUNCATE events, webhook_jobs, webhook_endpoints CASCADE"))

"""What docker-compose.yml does to a new server, done: it makes the logins that start-up wants."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from devstack.parts import CHECKOUT
from devstack.postgres import DATABASE, drop_database, place_cluster
from payonce.settings import SettingsWrong
from payonce.storage.driver.database import Database
from payonce.storage.migrating import upgrade
from payonce.storage.roles import check_api_role, check_engine_role
from tests.support.servers import running

SCRIPTS = CHECKOUT / "deploy" / "postgres"
PASSWORDS = {
    "PAYONCE_POSTGRES_PASSWORD": "owner",
    "TEMPORAL_POSTGRES_PASSWORD": "temporal",
    "API_PASSWORD": "api",
    "ENGINE_PASSWORD": "engine",
    "WORKER_PASSWORD": "worker",
}


@dataclass(frozen=True)
class Server:
    port: int
    programs: Path

    def url(self, user: str) -> str:
        return f"postgresql+psycopg://{user}@127.0.0.1:{self.port}/payonce"

    async def script(self, name: str, **environ: str) -> None:
        """The script has run, as the container runs it."""
        place = {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PATH": f"{self.programs}:{os.environ['PATH']}",
        }
        process = await asyncio.create_subprocess_exec(
            *("sh", str(SCRIPTS / name)), env={**PASSWORDS, **place, **environ}
        )
        assert await process.wait() == 0


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with running("postgres") as stack:
        programs = place_cluster(stack.options.directory, os.environ, lambda _line: None).programs
        made = Server(stack.port("postgres"), programs)
        await drop_database(made.port, DATABASE)
        await made.script("create-databases.sh", POSTGRES_USER="postgres", POSTGRES_DB="postgres")
        await asyncio.to_thread(upgrade, made.url("payonce"))
        yield made


async def test_the_scripts_of_compose_make_the_roles_that_start_up_wants(server: Server) -> None:
    for _ in range(2):  # safe to repeat
        await server.script("open-logins.sh", PGUSER="payonce", PGDATABASE="payonce")
    sending = Database(server.url("payonce_worker"), pool_size=2, api_url=server.url("payonce_api"))
    telling = Database(server.url("payonce_engine"), pool_size=2)
    try:
        await check_engine_role(sending, sends_saved=True)
        await check_api_role(sending)
        await check_engine_role(telling)
        with pytest.raises(SettingsWrong, match="may not take saved cards"):
            await check_engine_role(telling, sends_saved=True)
    finally:
        await sending.close()
        await telling.close()


async def test_who_migrates_serves_no_api_key(server: Server) -> None:
    database = Database(server.url("payonce"), pool_size=2, api_url=server.url("payonce"))
    try:
        with pytest.raises(SettingsWrong, match="is the owner of tables"):
            await check_api_role(database)
        with pytest.raises(SettingsWrong, match="GRANT payonce_sender TO payonce "):
            await check_engine_role(database, sends_saved=True)
    finally:
        await database.close()

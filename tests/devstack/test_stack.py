"""Parts start, die, come back on their port, and keep what they should."""

import os
import signal
import stat
from pathlib import Path

import pytest
import redis.asyncio
from psycopg import AsyncConnection

from devstack.checkout import alone, reset
from devstack.errors import StackError
from devstack.postgres import server_url
from devstack.stack import DevStack, StackOptions, api_processes
from devstack.state import Merchant, State
from payonce.vault.keys import read_key_file
from tests.support.eventually import eventually
from tests.support.servers import running, server_directory
from tests.support.witness import witness_of


async def test_a_part_that_dies_is_back_on_its_port_with_a_new_pid() -> None:
    async with running("redis", restart=True) as stack:
        first = stack.pids["redis"]
        os.kill(first, signal.SIGKILL)

        async def back() -> bool:
            return stack.pids.get("redis", first) != first

        await eventually(back)
        await stack.start("redis")
        await answers(stack.redis_url)


async def test_a_part_that_a_test_killed_stays_down_until_it_is_started() -> None:
    async with running("redis", restart=True) as stack:
        await stack.kill("redis")
        assert "redis" not in stack.pids
        with pytest.raises(redis.exceptions.ConnectionError):
            await answers(stack.redis_url)
        await stack.start("redis")
        await answers(stack.redis_url)


async def test_postgres_and_temporal_keep_what_they_hold_when_they_are_killed() -> None:
    async with running("postgres", "temporal") as stack:
        url = server_url(stack.port("postgres"), "payonce")
        async with await AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute("CREATE TABLE kept ()")
        await stack.restart("temporal")
        await stack.restart("postgres")
        async with await AsyncConnection.connect(url) as connection:
            await connection.execute("SELECT FROM kept")


async def test_a_paused_postgres_answers_nobody_and_goes_on() -> None:
    async with running("postgres") as stack:
        url = server_url(stack.port("postgres"), "payonce")
        async with await AsyncConnection.connect(url) as connection:
            stack.pause("postgres")
            stat = Path(f"/proc/{connection.info.backend_pid}/stat")

            async def stopped() -> bool:
                return stat.read_text().rpartition(") ")[2].startswith("T")

            await eventually(stopped)
            stack.resume("postgres")
            await connection.execute("SELECT 1")


async def test_the_acquirer_answers_the_witness() -> None:
    async with running("acquirer") as stack, witness_of(stack.acquirer_url) as witness:
        await witness.configure(idempotency="ignored")
        await stack.restart("acquirer")
        assert (await witness.client.get("/config")).json()["idempotency"] == "ignored"
        assert await witness.ledger() == []


async def test_a_part_whose_address_is_given_is_not_started() -> None:
    given = {"PAYONCE_REDIS_URL": "redis://127.0.0.1:1/0"}
    async with running("redis", environ=given) as stack:
        assert stack.pids == {}
        assert stack.redis_url == given["PAYONCE_REDIS_URL"]


async def test_a_stack_that_cannot_start_leaves_no_process() -> None:
    with server_directory() as directory:
        (directory / "acquirer.sqlite").mkdir()
        options = StackOptions(
            directory=directory, parts=("redis", "acquirer"), any_ports=True, restart=False
        )
        stack = DevStack(options)
        with pytest.raises(StackError, match="acquirer did not start: "):
            await stack.__aenter__()
        assert stack.pids == {}


def test_one_stack_at_a_time_uses_a_directory(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(StackError, match=rf"runs already \(process {os.getpid()}\)$"):
        reset(tmp_path)


def test_a_reset_forgets_everything(tmp_path: Path) -> None:
    State(tmp_path / "state.json").save()
    (tmp_path / "logs").mkdir()
    reset(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_the_state_is_kept_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    saved = State(path, merchants=(Merchant("m_1", "Demo Shop", "sk_test_1"),))
    saved.save()
    assert State.load(path) == saved
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "0", "many", "65", "-1"])
def test_an_impossible_number_of_api_processes_is_one_clear_line(text: str) -> None:
    with pytest.raises(StackError, match="PAYONCE_API_PROCESSES"):
        api_processes({"PAYONCE_API_PROCESSES": text})


async def answers(redis_url: str) -> None:
    async with redis.asyncio.from_url(redis_url) as client:
        await client.ping()


async def test_the_vault_s_key_is_made_once_for_its_owner_only() -> None:
    with server_directory() as directory:
        found = []
        for _ in range(2):
            options = StackOptions(directory=directory, parts=(), any_ports=True)
            async with DevStack(options):
                found.append((directory / "vault-keys.json").read_text())
        assert found[0] == found[1]
        assert stat.S_IMODE((directory / "vault-keys.json").stat().st_mode) == 0o600
        assert await read_key_file(directory / "vault-keys.json").newest() == "development"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"PAYONCE_VAULT_KEY_FILE": "/run/keys.json"}, "/run/keys.json"),
        ({"PAYONCE_VAULT_TRANSIT_URL": "http://127.0.0.1:8200"}, None),
    ],
)
def test_a_vault_that_is_given_is_used_instead(
    tmp_path: Path, given: dict[str, str], expected: str | None
) -> None:
    addresses = {
        "PAYONCE_DATABASE_URL": "postgresql+psycopg://x",
        "PAYONCE_REDIS_URL": "redis://x",
        "PAYONCE_TEMPORAL_ADDRESS": "x:1",
        "PAYONCE_SANDBOX_ACQUIRER_URL": "http://x",
    }
    stack = DevStack(StackOptions(directory=tmp_path, parts=(), environ={**addresses, **given}))
    assert stack.product_environ().get("PAYONCE_VAULT_KEY_FILE") == expected

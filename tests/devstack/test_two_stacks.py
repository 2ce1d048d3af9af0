"""Two stacks beside each other, and strangers: each part has a port of its own, and is never taken for another's."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis.asyncio

from devstack.errors import PortTaken, StackError
from devstack.listeners import listeners, sockets_of
from devstack.parts import Part, runs
from devstack.ports import LOOPBACK
from devstack.processes import Command
from devstack.service import Service
from devstack.stack import DEFAULT_PORTS, DevStack, StackOptions
from tests.support.servers import server_directory

VARIABLE = DEFAULT_PORTS["redis"][0]


@pytest.fixture
def strangers() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def default(monkeypatch: pytest.MonkeyPatch) -> int:
    """The port that Valkey has by default, as long as this test runs: a free one."""
    port = free_port()
    monkeypatch.setitem(DEFAULT_PORTS, "redis", (VARIABLE, port))
    return port


def free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as server:
        return int(server.getsockname()[1])


def options(directory: Path, **more: object) -> StackOptions:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PAYONCE_")}
    return StackOptions(
        **{"directory": directory, "parts": ("redis",), "environ": inherited, "restart": False, **more}
    )


async def test_two_stacks_with_the_same_default_each_have_a_server(default: int) -> None:
    with server_directory() as here, server_directory() as there:
        async with DevStack(options(here)) as first, DevStack(options(there)) as second:
            assert first.port("redis") == default != second.port("redis")
            assert await process_of(first) == first.pids["redis"]
            assert await process_of(second) == second.pids["redis"]


async def test_a_part_whose_default_port_another_takes_meanwhile_tries_another(
    default: int, strangers: ExitStack
) -> None:
    """The stranger comes after the ports were chosen and before anything listens."""
    said: list[str] = []

    def report(line: str) -> None:
        if not said:
            strangers.enter_context(socket.create_server((LOOPBACK, default)))
        said.append(line)

    with server_directory() as directory:
        async with DevStack(options(directory, report=report)) as stack:
            moved = stack.port("redis")
            assert moved != default
            assert await process_of(stack) == stack.pids["redis"]
    assert f"port {default} was taken meanwhile: redis moves to {moved}" in said


async def test_a_port_that_was_asked_for_is_not_exchanged(default: int, strangers: ExitStack) -> None:
    def report(_line: str) -> None:
        strangers.enter_context(socket.create_server((LOOPBACK, default), reuse_port=True))

    with server_directory() as directory:
        chosen = options(directory, environ={**os.environ, VARIABLE: str(default)}, report=report)
        with pytest.raises(StackError, match=rf"^port {default} \({VARIABLE}\) is busy$"):
            await DevStack(chosen).__aenter__()


async def test_a_server_that_answers_is_not_ours_unless_our_process_listens(
    tmp_path: Path, strangers: ExitStack
) -> None:
    """Whatever it answers: two API processes of two stacks would even share the port."""
    stranger = strangers.enter_context(socket.create_server((LOOPBACK, 0)))
    port = stranger.getsockname()[1]
    idle = Command((sys.executable, "-c", "import signal; signal.pause()"), dict(os.environ), Path("/"))
    part = Part(name="idle", command=idle, is_ready=runs, ports=(port,))
    service = Service(part, tmp_path / "log", report=lambda _line: None, on_change=lambda: None)
    try:
        with pytest.raises(
            PortTaken, match=f"another program listens on port {port}, which idle was to have"
        ):
            await service.start()
    finally:
        await service.kill()


async def test_a_part_that_ended_since_its_port_was_in_use_lost_the_port(tmp_path: Path) -> None:
    """Also where it is free again by now."""
    port = free_port()
    words = f"bind: Address already in use\n{port}: aborting"
    command = Command((sys.executable, "-c", f"raise SystemExit({words!r})"), dict(os.environ), Path("/"))
    part = Part(name="late", command=command, is_ready=never, ports=(1, port))
    service = Service(part, tmp_path / "log", report=lambda _line: None, on_change=lambda: None)
    with pytest.raises(PortTaken, match="late did not start") as lost:
        await service.start()
    assert lost.value.port == port


def test_the_kernel_says_who_listens() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        assert listeners(port) <= sockets_of([os.getpid()])
        assert len(listeners(port)) == 1
    assert listeners(port) == set()


async def never() -> bool:
    return False


async def process_of(stack: DevStack) -> int:
    async with redis.asyncio.from_url(stack.redis_url) as client:
        return int((await client.info("server"))["process_id"])


@pytest.mark.parametrize("seen", [[False, True], [True]])
def test_our_own_listener_that_one_look_left_out_is_no_stranger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strangers: ExitStack, seen: list[bool]
) -> None:
    server = strangers.enter_context(socket.create_server((LOOPBACK, 0)))
    port = server.getsockname()[1]
    looks = iter(seen)
    ours = listeners(port)
    monkeypatch.setattr("devstack.service.sockets_of", lambda _pids: ours if next(looks, True) else set())
    waiting(tmp_path, port)._look_for_strangers()


def test_what_begins_to_listen_between_the_looks_is_no_stranger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our processes are looked at last, and have it."""
    opened: set[str] = set()

    def listening(_port: int) -> set[str]:
        found = set(opened) or {"left"}
        opened.add("new")
        return found

    monkeypatch.setattr("devstack.service.listeners", listening)
    monkeypatch.setattr("devstack.service.sockets_of", lambda _pids: set(opened))
    waiting(tmp_path, 1)._look_for_strangers()


def test_a_stranger_that_both_looks_see_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strangers: ExitStack
) -> None:
    server = strangers.enter_context(socket.create_server((LOOPBACK, 0)))
    monkeypatch.setattr("devstack.service.sockets_of", lambda _pids: set())
    with pytest.raises(PortTaken):
        waiting(tmp_path, server.getsockname()[1])._look_for_strangers()


def waiting(directory: Path, port: int) -> Service:
    """A part that is to have the port, and has not begun."""
    command = Command((sys.executable, "-c", "pass"), dict(os.environ), Path("/"))
    part = Part(name="waiting", command=command, is_ready=runs, ports=(port,))
    return Service(part, directory / "log", report=lambda _line: None, on_change=lambda: None)

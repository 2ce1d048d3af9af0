"""Which ports the stack takes."""

import socket
from collections.abc import Iterator

import pytest

from devstack.errors import StackError
from devstack.ports import LOOPBACK, Ports


@pytest.fixture
def ports() -> Iterator[Ports]:
    chosen = Ports()
    yield chosen
    chosen.close()


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.create_server((LOOPBACK, 0)) as listener:
        yield listener.getsockname()[1]


def test_a_busy_default_moves_to_a_free_port(ports: Ports, busy_port: int) -> None:
    assert ports.choose({}, "PAYONCE_API_PORT", busy_port) != busy_port


def test_a_busy_port_that_was_asked_for_is_one_clear_line(ports: Ports, busy_port: int) -> None:
    with pytest.raises(StackError, match=rf"^port {busy_port} \(PAYONCE_API_PORT\) is busy: .*$"):
        ports.choose({"PAYONCE_API_PORT": str(busy_port)}, "PAYONCE_API_PORT", 1)


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "65536", "80.0", "٣"])
def test_what_is_no_port_number_is_one_clear_line(ports: Ports, text: str) -> None:
    with pytest.raises(StackError, match="is not a port number"):
        ports.choose({"PAYONCE_API_PORT": text}, "PAYONCE_API_PORT", 1)


def test_a_held_port_can_be_listened_on_again_and_again(ports: Ports) -> None:
    port = ports.free()
    for _ in range(2):
        with (
            socket.create_server((LOOPBACK, port), reuse_port=True),
            socket.create_server((LOOPBACK, port), reuse_port=True),
            socket.create_connection((LOOPBACK, port)),
        ):
            pass


def test_two_stacks_at_once_never_choose_the_same_port(ports: Ports) -> None:
    default = ports.free()
    ports.close()
    others = Ports()
    try:
        first, second = (one.choose({}, "PAYONCE_API_PORT", default) for one in (ports, others))
        assert first == default
        assert second != default
        with pytest.raises(StackError, match=f"port {default} .PAYONCE_API_PORT. is busy"):
            others.choose({"PAYONCE_API_PORT": str(default)}, "PAYONCE_API_PORT", 1)
        ports.close()
        assert others.choose({}, "PAYONCE_API_PORT", default) == default
    finally:
        others.close()


def test_a_held_port_is_not_given_to_anybody_else(ports: Ports) -> None:
    held = {ports.free() for _ in range(100)}
    others = Ports()
    try:
        assert held.isdisjoint(others.free() for _ in range(100))
    finally:
        others.close()


def test_a_port_below_a_limit_is_held_as_any_other(ports: Ports) -> None:
    port = ports.free_below(1 << 15)
    assert 1_024 < port < 1 << 15
    other = Ports()
    try:
        with pytest.raises(StackError, match="busy"):
            other.choose({"PORT": str(port)}, "PORT", port)
    finally:
        other.close()

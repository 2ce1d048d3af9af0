"""Keeps unit tests to themselves."""

import socket
from typing import NoReturn

import pytest


def forbid_connections(patch: pytest.MonkeyPatch) -> None:
    """Nothing in this process connects to anything until the patch is undone."""
    for name in ("connect", "connect_ex"):
        patch.setattr(socket.socket, name, _refuse)


def _refuse(_socket: socket.socket, address: object) -> NoReturn:
    raise AssertionError(f"a unit test connected to {address}")

"""Loopback ports that stay ours for as long as the stack lives."""

import random
import socket
from collections.abc import Mapping
from contextlib import suppress

from devstack.errors import StackError

LOOPBACK = "127.0.0.1"
LOWEST, PORT_TRIES = 10_000, 100  # of the ports that are asked for below a limit


class Ports:
    """Holds each port with a bound socket that never listens, and with a name that only one process can have.

    A part that sets SO_REUSEADDR (all of ours do) can listen on a held port, now and after a restart; so could
    another stack, which would hold it as well: the name keeps it off. It is a Unix socket's in the abstract
    namespace, which goes with the process and, like ports, belongs to the network namespace. Linux only.
    """

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def choose(self, environ: Mapping[str, str], variable: str, default: int, *, number: int = 0) -> int:
        """Holds the port the variable names, else the default, else (when the default is busy) a free one.

        The variable may name the first of several: `number` is how many come before this one.
        """
        if variable in environ:
            return self._explicit(variable, environ[variable], number)
        try:
            return self._hold(default)
        except OSError:
            return self.free()

    def free(self) -> int:
        """Holds a port that nothing uses."""
        return self._hold(0)

    def free_below(self, limit: int) -> int:
        """Holds a port below the limit that nothing uses. Raises StackError where none of many tried is free."""
        for port in random.sample(range(LOWEST, limit), PORT_TRIES):
            with suppress(OSError):
                return self._hold(port)
        raise StackError(f"no free port below {limit} found")

    def close(self) -> None:
        """Every held port is free for others again."""
        while self._held:
            self._held.pop().close()

    def _explicit(self, variable: str, text: str, number: int) -> int:
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535 - number:
            raise StackError(f"{variable}={text!r} is not a port number (1 to {65535 - number})")
        port = int(text) + number
        try:
            return self._hold(port)
        except OSError as error:
            raise StackError(f"port {port} ({variable}) is busy: {error.strerror}") from error

    def _hold(self, port: int) -> int:
        holder, name = socket.socket(), socket.socket(socket.AF_UNIX)
        try:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind((LOOPBACK, port))
            chosen = int(holder.getsockname()[1])
            name.bind(f"\0payonce-devstack-port-{chosen}")
        except OSError:
            holder.close()
            name.close()
            raise
        self._held += (holder, name)
        return chosen

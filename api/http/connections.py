"""How many connections a process holds, which of them goes when there are more, and that each one's end comes.

A transport that is closed waits until its client has taken everything: a client that reads nothing keeps it for
ever. And one that is closed while its client still sends is reset by the kernel, and the client may never read the
answer (RFC 9112 §9.6). uvicorn 0.54 heeds neither.
"""

import asyncio
from asyncio.events import TimerHandle
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv6Address
from typing import Any, Protocol

from payonce.metrics import CONNECTIONS, CONNECTIONS_CUT

NETWORK_BITS = 64  # of an IPv6 address: what one customer of a provider has at least (RFC 6177)
TAKEN_S = 10.0  # within one to two of these each byte is taken
LINGER_S = 2.0  # for what a client still sends when it has its answer
LINGER_BYTES_MAX = 1024 * 1024


class ClientConnection(Protocol):
    """What can be ended."""

    def give_way(self) -> None:
        """It ends at once."""


class Connections:
    """The open connections of one process.

    A client that keeps a connection and asks nothing rests. While there are too many, whoever has rested longest
    gives way to who comes; where nobody rests, who comes finds no place. So idle connections, however many, keep
    nobody out.
    """

    def __init__(self, *, most: int, most_of_one_address: int) -> None:
        self._most, self._most_of_one = most, most_of_one_address
        self._address_of: dict[ClientConnection, str] = {}
        self._of_one: dict[str, int] = {}
        self._resting: dict[ClientConnection, None] = {}  # who has rested longest first

    def __len__(self) -> int:
        return len(self._address_of)

    def has_room(self, connection: ClientConnection, host: str) -> bool:
        """Whether the new connection may stay: then it is counted, and rests."""
        address = address_of(host)
        crowded = self._of_one.get(address, 0) >= self._most_of_one
        if crowded or len(self._address_of) >= self._most:
            leaving = self._longest_resting(address if crowded else None)
            if leaving is None:
                CONNECTIONS_CUT.labels("no_room").inc()
                return False
            CONNECTIONS_CUT.labels("gave_way").inc()
            self.closed(leaving)
            leaving.give_way()
        self._address_of[connection] = address
        self._of_one[address] = self._of_one.get(address, 0) + 1
        self._resting[connection] = None
        CONNECTIONS.set(len(self._address_of))
        return True

    def works(self, connection: ClientConnection) -> None:
        """A request of it is under way."""
        self._resting.pop(connection, None)

    def rests(self, connection: ClientConnection) -> None:
        """Its requests are answered."""
        if connection in self._address_of:
            self._resting[connection] = None

    def closed(self, connection: ClientConnection) -> None:
        """It counts no longer; safe to repeat."""
        address = self._address_of.pop(connection, None)
        if address is None:
            return
        self._resting.pop(connection, None)
        self._of_one[address] -= 1
        if not self._of_one[address]:
            del self._of_one[address]
        CONNECTIONS.set(len(self._address_of))

    def _longest_resting(self, address: str | None) -> ClientConnection | None:
        """Of this address, or of all. At most `most` are looked at."""
        of_it = (each for each in self._resting if address in (None, self._address_of[each]))
        return next(of_it, None)


def address_of(host: str) -> str:
    """What counts as one client: an IPv4 address, or the network of an IPv6 one."""
    if ":" not in host:
        return host
    address = IPv6Address(host)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Address(int(address) >> NETWORK_BITS << NETWORK_BITS))


class ClientWire:
    """What uvicorn asks of a transport; `is_sending` tells whether the client is in the middle of something."""

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, is_sending: Callable[[], bool]
    ) -> None:
        self._transport, self._loop, self._is_sending = transport, loop, is_sending
        self._closing = False
        self._written = self._due = (
            0  # bytes since the beginning; and how many of them are to be taken by now
        )
        self._taking: TimerHandle | None = None
        self._lingering: TimerHandle | None = None
        self._heard_bytes = 0
        self.get_extra_info: Callable[..., Any] = transport.get_extra_info
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def is_closing(self) -> bool:
        """Whether nothing more is said."""
        return self._closing or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """The bytes are on their way; where the client does not take them, the connection is cut."""
        if self._closing:
            return
        self._transport.write(data)
        self._written += len(data)
        if self._taking is None:
            self._due = self._written
            self._taking = self._loop.call_later(TAKEN_S, self._look_what_was_taken)

    def close(self) -> None:
        """What was said reaches the client, also one that still sends, and then the connection ends."""
        if self._closing:
            return
        self._closing = True
        if not self._is_sending() or self._transport.is_closing():
            self._transport.close()
            return
        self._lingering = self._loop.call_later(LINGER_S, self._transport.close)
        with suppress(OSError, RuntimeError):  # the client is gone meanwhile
            self._transport.write_eof()
            self._transport.resume_reading()

    def heard(self, size: int) -> None:
        """So many bytes came that nobody reads any more."""
        self._heard_bytes += size
        if self._heard_bytes > LINGER_BYTES_MAX:
            self._transport.close()

    def cut(self) -> None:
        """The connection ends at once."""
        self._closing = True
        self._transport.abort()

    def ended(self) -> None:
        """No timer is left."""
        for timer in (self._taking, self._lingering):
            if timer is not None:
                timer.cancel()

    def _look_what_was_taken(self) -> None:
        """Looks again while there is something; what was due and is still here cuts the connection."""
        self._taking = None
        here = self._transport.get_write_buffer_size()
        if self._written - here < self._due:
            CONNECTIONS_CUT.labels("nothing_taken").inc()
            self.cut()
        elif here:
            self._due = self._written
            self._taking = self._loop.call_later(TAKEN_S, self._look_what_was_taken)

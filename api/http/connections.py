"""How many connections a process holds, in all and of one address, and which of them goes when there are more."""

from ipaddress import IPv6Address
from typing import Protocol

from payonce.metrics import CONNECTIONS, CONNECTIONS_CUT

NETWORK_BITS = 64  # of an IPv6 address: what one customer of a provider has at least (RFC 6177)


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

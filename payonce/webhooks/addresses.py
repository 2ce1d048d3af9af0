"""Where a webhook may go: only to public addresses, whatever a URL's spelling and a name's resolution.

A URL is read once, by one parser that knows one spelling of each thing; what it does not know is refused. No
name is looked up before the first attempt. There it is resolved once, all its addresses are judged, and exactly
those are dialled: nobody looks the name up again between the judgement and the connection (DNS rebinding).
Sources: RFC 3986, the IANA special-purpose address registries (RFC 6890).
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import httpcore

from payonce.counted import Allowance, CountingBackend
from payonce.domain.errors import InvalidRequest, PaymentError

URL_LENGTH_MAX: Final = 2_048
PORT_MAX: Final = 65_535
CONNECT_S: Final = 5.0  # for each address
DIALLED_MAX: Final = 4  # addresses of one name that an attempt tries
LOOKUP_THREADS: Final = 64  # a resolver that hangs holds its thread beyond the attempt's deadline

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
LookUp = Callable[[str, int], Awaitable[Sequence[IPAddress]]]

_LIVE_SCHEMES: Final = frozenset({"https"})
_TEST_SCHEMES: Final = frozenset({"https", "http"})
_LIVE_PORTS: Final = frozenset({443, 8443})
_TEST_PORTS: Final = _LIVE_PORTS | {80, 8080}
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

# ASCII only, and no userinfo, fragment, zone id, backslash or control character: none of them is in here.
# Wider than RFC 3986 where receivers are: `_` in names (RFC 2181 §11), and `[]` in a query (`x[]=1`).
_URL: Final = re.compile(
    r"(?P<scheme>https?)://"
    r"(?:\[(?P<ipv6>[0-9a-f:.]{2,45})\]|(?P<host>[a-z0-9_.-]{1,253}))"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/(?:[a-z0-9._~!$&'()*+,;=:@/-]|%[0-9a-f]{2})*)?"
    r"(?P<query>\?(?:[a-z0-9._~!$&'()*+,;=:@/?\[\]-]|%[0-9a-f]{2})*)?",
    re.IGNORECASE | re.ASCII,
)
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# A host whose last label is one is an IPv4 address (WHATWG URL).
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LOCAL_NAMES: Final = frozenset(
    {
        "localhost",
        "local",
        "localdomain",
        "internal",
        "intranet",
        "lan",
        "home",
        "corp",
        "private",
        "onion",
        "arpa",
    }
)


def _networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(network) for network in text.split())


# Written out: `ipaddress.is_global` is true for multicast, 6to4, NAT64 and site-local ones (CPython 3.11).
_FORBIDDEN_IPV4: Final = _networks(
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24"
    " 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4"
    " 168.63.129.16/32"  # Azure's own services, as seen from its machines
)
# Only global unicast is public. Mapped, compatible, NAT64, local and multicast addresses are outside of it.
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
# 2001::/23 has Teredo and ORCHID in it; 2002::/16 is 6to4.
_FORBIDDEN_IPV6: Final = _networks("2001::/23 2001:db8::/32 2002::/16 3fff::/20")

_LOOKUPS: Final = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="webhook-lookup")
_Found = list[tuple[Any, ...]]
_asked: dict[tuple[str, int], "Future[_Found]"] = {}  # names that are being looked up; one thread for each


class ForbiddenAddress(PaymentError):
    """Webhooks are not sent to this address."""

    code = "forbidden_address"


class NameNotResolved(PaymentError):
    """The host's name has no address."""

    code = "name_not_resolved"
    retryable = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A URL as it was understood. `loopback`: our own machine, which only the development stack may mean."""

    scheme: str
    host: str  # a lower-case name, or an address in its canonical form without brackets
    port: int
    path: str  # with the query
    address: IPAddress | None
    loopback: bool

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def tls_name(self) -> str:
        """The name that the certificate must have, without the dot of an absolute one (RFC 6066 §3)."""
        return self.host.removesuffix(".")


async def look_up(host: str, port: int) -> Sequence[IPAddress]:
    """The name's addresses as the system's resolver knows them. Raises `NameNotResolved`.

    Whoever asks while the same name is being looked up gets that answer: a name whose resolver hangs holds one
    thread, however many attempts want it.
    """
    try:
        found = await asyncio.wrap_future(_asking(host, port))
    except (OSError, UnicodeError) as error:
        raise NameNotResolved() from error
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def _asking(host: str, port: int) -> "Future[_Found]":
    """The look-up of this name. Nobody who stops waiting for it can cancel it, since it counts as running."""
    asked = _asked.get((host, port))
    if asked is None:
        asked = _asked[host, port] = Future()
        asked.set_running_or_notify_cancel()
        _LOOKUPS.submit(_ask, asked, host, port)
    return asked


def _ask(asked: "Future[_Found]", host: str, port: int) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except Exception as error:  # theirs to judge who asked
        del _asked[host, port]
        asked.set_exception(error)
    else:
        del _asked[host, port]
        asked.set_result(found)


def check_url(url: str, *, mode: str, allow_loopback: bool) -> None:
    """Returns when the URL may be registered. Raises `InvalidRequest` with code `webhook_url_forbidden`.

    It is judged by its form alone: a name that was looked up here would tell whoever registers it which internal
    names exist. Every attempt judges its addresses.
    """
    try:
        parse_url(url, mode=mode, allow_loopback=allow_loopback)
    except ForbiddenAddress as error:
        raise InvalidRequest(error.message, pointer="/url", code="webhook_url_forbidden") from error


def parse_url(url: str, *, mode: str, allow_loopback: bool) -> Target:
    """The URL understood. Raises `ForbiddenAddress` for what the mode forbids or one would have to guess."""
    match = _URL.fullmatch(url) if len(url) <= URL_LENGTH_MAX else None
    if match is None:
        raise ForbiddenAddress("The URL must be an absolute https URL without user, password and fragment.")
    scheme = match["scheme"].lower()
    host, address = _host(match["ipv6"], (match["host"] or "").lower())
    target = Target(
        scheme=scheme,
        host=host,
        port=int(match["port"] or _DEFAULT_PORTS[scheme]),
        path=(match["path"] or "/") + (match["query"] or ""),
        address=address,
        loopback=allow_loopback and _means_loopback(host, address),
    )
    _check_rules(target, mode=mode)
    return target


async def resolve(target: Target, *, look_up: LookUp = look_up) -> tuple[IPAddress, ...]:
    """The addresses to dial, in order; one forbidden address forbids the name.

    Raises `ForbiddenAddress` and `NameNotResolved`.
    """
    found = (target.address,) if target.address else await look_up(target.host, target.port)
    addresses = tuple(dict.fromkeys(found))
    if not addresses:
        raise NameNotResolved()
    allowed = _is_loopback if target.loopback else is_public
    if not all(allowed(address) for address in addresses):
        raise ForbiddenAddress("The URL's host is not a public address.")
    return addresses


def is_public(address: IPAddress) -> bool:
    """Anyone on the internet may be there, and nobody else."""
    if isinstance(address, ipaddress.IPv4Address):
        return not _in(address, _FORBIDDEN_IPV4)
    return address in _GLOBAL_UNICAST and not _in(address, _FORBIDDEN_IPV6)


async def dial(
    addresses: Sequence[IPAddress], port: int, *, allowance: Allowance | None = None
) -> httpcore.AsyncNetworkStream:
    """A connection to the first address that accepts one; what comes in on it is counted.

    Without an `allowance` that is renewed it is good for one answer.

    Raises what the last one raised.
    """
    failure: Exception = httpcore.ConnectError("no address")
    backend = CountingBackend(allowance or Allowance())
    for address in addresses[:DIALLED_MAX]:
        try:
            return await backend.connect_tcp(str(address), port, CONNECT_S)
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            failure = error
    raise failure


def _check_rules(target: Target, *, mode: str) -> None:
    if not 1 <= target.port <= PORT_MAX:
        raise ForbiddenAddress("The URL's port is not a port.")
    if target.loopback:
        return
    if target.scheme not in (_TEST_SCHEMES if mode == "test" else _LIVE_SCHEMES):
        raise ForbiddenAddress("The URL must begin with https://.")
    if target.port not in (_TEST_PORTS if mode == "test" else _LIVE_PORTS):
        raise ForbiddenAddress("Webhooks are not sent to this port.")
    if not (is_public(target.address) if target.address else _is_public_name(target.host)):
        raise ForbiddenAddress("The URL's host is not a public one.")


def _host(ipv6: str | None, host: str) -> tuple[str, IPAddress | None]:
    """The host as it is dialled and named, and its address if it is one."""
    try:
        if ipv6 is not None:
            address: IPAddress = ipaddress.IPv6Address(ipv6)
            return str(address), address
        # 127.0.0.1, but also 0x7f.1, 2130706433 and 017700000001.
        if _NUMBER.fullmatch(_labels(host)[-1]):
            address = ipaddress.IPv4Address(host)
            return str(address), address
    except ValueError as error:
        raise ForbiddenAddress("The URL's host is not a valid address.") from error
    if not all(_LABEL.fullmatch(label) for label in _labels(host)):
        raise ForbiddenAddress("The URL's host is not a valid name.")
    return host, None


def _means_loopback(host: str, address: IPAddress | None) -> bool:
    return _is_loopback(address) if address else _labels(host)[-1] == "localhost"


def _is_loopback(address: IPAddress) -> bool:
    """127.0.0.0/8 and ::1, and nothing mapped onto them."""
    return address.is_loopback and getattr(address, "ipv4_mapped", None) is None


def _is_public_name(host: str) -> bool:
    """Not one that only a private network answers (RFC 6761, RFC 6762, RFC 8375, ICANN's collisions)."""
    labels = _labels(host)
    return len(labels) > 1 and labels[-1] not in _LOCAL_NAMES


def _labels(host: str) -> list[str]:
    """A name's parts; a dot at its end makes it absolute and no other name."""
    return host.removesuffix(".").split(".")


def _in(address: IPAddress, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    return any(address in network for network in networks)

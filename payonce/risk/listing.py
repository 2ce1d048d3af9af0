"""How entries of a merchant's lists are spelled: the same whoever writes them, and found without a search."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from payonce.domain.card_numbers import looks_like_card_number
from payonce.domain.errors import InvalidRequest
from payonce.domain.risk_rules import UNKNOWN

KINDS: Final = ("customer", "email", "address", "country")
VALUE_MAX_LENGTH: Final = 254
_COUNTRY: Final = re.compile("[A-Z]{2}")
_PREFIXES: Final = {4: (8, 16, 24, 32), 6: (32, 48, 64, 128)}  # of networks that may be listed


def listed_value(kind: str, value: str) -> str:
    """As it lies in a list."""
    match kind:
        case "email":
            return value.strip().lower()
        case "country":
            return value.upper()
        case _:
            return value


def checked_value(kind: str, value: str) -> str:
    """As it may lie in a list. Raises `InvalidRequest` for what no payment can have, and for a card's number."""
    if not 1 <= len(value) <= VALUE_MAX_LENGTH or not value.isprintable():
        raise InvalidRequest(f"A value has 1 to {VALUE_MAX_LENGTH} printable characters.")
    if kind == "address":
        return _checked_network(value)
    if looks_like_card_number(value):
        raise InvalidRequest("A value must not hold anything that looks like a card number.")
    found = listed_value(kind, value)
    if kind == "country" and found != UNKNOWN and not _COUNTRY.fullmatch(found):
        raise InvalidRequest(f"A country is two letters (ISO 3166-1), or {UNKNOWN.lower()}.")
    return found


def networks_around(ip: str) -> list[str]:
    """The address and the networks around it that may be listed."""
    address = plain_address(ip)
    return [str(ip_network((address, prefix), strict=False)) for prefix in _PREFIXES[address.version]]


def plain_address(ip: str) -> IPv4Address | IPv6Address:
    """The address; an IPv4 one also where a server with one socket for both spells it `::ffff:…`."""
    address = ip_address(ip)
    return getattr(address, "ipv4_mapped", None) or address


def _checked_network(value: str) -> str:
    try:
        network = ip_network(value if "/" in value else plain_address(value))
    except ValueError:
        raise InvalidRequest(f"{value!r} is no address and no network.") from None
    if network.prefixlen not in _PREFIXES[network.version]:
        lengths = ", ".join(f"/{prefix}" for prefix in _PREFIXES[network.version])
        raise InvalidRequest(f"A network is one of {lengths}.")
    return str(network)

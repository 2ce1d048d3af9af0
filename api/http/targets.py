"""Where a request is meant to go: its target, and the `Host` beside it.

Source: RFC 9112 §3.2, with the grammar of RFC 3986 §3.2 and what RFC 9110 §4.2 says of http URIs. What we serve is
the same under every name; a request that names two, or none, may mean another server to who stands before us.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import Final

from api.problems import Mistake, Problem

# FastAPI decodes path and query of every request, before anybody asks for a key: 27 KB of `a=b&` took 24 ms.
TARGET_BYTES_MAX: Final = 8 * 1024  # RFC 9112 §3 recommends 8,000; the longest of ours have 2,000
PARAMETERS_MAX: Final = 50

_HOST: Final = rb"""(?:
    \[ (?: [0-9a-f:.]+ | v[0-9a-f]+\.[a-z0-9\-._~!$&'()*+,;=:]+ ) \]   # an address in brackets
    | (?: [a-z0-9\-._~!$&'()*+,;=] | %[0-9a-f]{2} )*                   # or a name, which may be empty
) (?: :[0-9]* )?"""
_IS_HOST = re.compile(_HOST, re.VERBOSE | re.IGNORECASE)
_ABSOLUTE = re.compile(
    rb"https?:// (?P<authority>" + _HOST + rb") (?P<path> /[^?]* )? (?P<query> \?.* )?",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)


def check_host(values: Sequence[bytes], *, required: bool) -> None:
    """Raises `Problem` unless there is one valid `Host`, or none where it is not required."""
    if len(values) > 1 or (required and not values):
        raise Problem("invalid_request", "A request has one Host.")
    if values and not (_IS_HOST.fullmatch(values[0]) and _is_address_in(values[0])):
        raise Problem("invalid_request", "The Host is not valid.")


def _is_address_in(host: bytes) -> bool:
    """Whether what stands in brackets, if anything does, is an IPv6 address or one of the future."""
    inside = host.partition(b"]")[0].removeprefix(b"[").decode()
    if not host.startswith(b"[") or inside[:1] in ("v", "V"):
        return True
    try:
        IPv6Address(inside)
    except ValueError:
        return False
    return True


def origin_form(method: bytes, target: bytes) -> bytes:
    """The target's path and query, whatever its form; `*` only with OPTIONS. Raises `Problem`."""
    if target.count(b"&") >= PARAMETERS_MAX:
        detail = f"The query string has more than {PARAMETERS_MAX} parameters."
        raise Problem("invalid_request", detail, mistakes=[Mistake("", detail)])
    if b"#" in target:
        raise Problem("invalid_request", "The target has a fragment.")
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return target
    found = _ABSOLUTE.fullmatch(target)
    if found is None or found["authority"].partition(b":")[0] == b"":
        raise Problem("invalid_request", "The target is a path, or an http or https URI with a host.")
    return (found["path"] or b"/") + (found["query"] or b"")

"""The authorities that httpx's clients trust are read once in a process: 25 ms of CPU for each client otherwise.

The product's own contexts are as it makes them.
"""

import os
import ssl
from functools import cache
from typing import Any

import httpx
from httpx._transports import default  # where its transports take them from; nothing public does

_made = httpx.create_ssl_context


def read_once() -> None:
    """Clients that ask for nothing else share a context, which nobody changes."""
    default.create_ssl_context = _create


def _create(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
    if verify is not True or cert is not None:
        return _made(verify, cert, trust_env)
    told = [os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")] if trust_env else []
    return _usual(*told)


@cache
def _usual(*told: str | None) -> ssl.SSLContext:
    """That of an environment which says this of it."""
    return _made(trust_env=bool(told))

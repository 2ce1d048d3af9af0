"""Key-encryption keys in OpenBao or HashiCorp Vault: its transit engine wraps, and the keys never leave it.

Called by our own client, since a blocking one in a request's way would stop every payment of the process. Nothing
is tried again here: whoever waits is told at once, and decides.
Source: OpenBao's API documentation, "Transit secrets engine" (encrypt, decrypt, read key).
"""

import asyncio
import base64
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import httpx

from payonce.connectors.breaker import CircuitBreaker
from payonce.logging import get_logger
from payonce.vault.keys import CannotOpen, VaultUnavailable, Wrapped, joined

CALL_S: Final = 0.5
FAILURES_MAX: Final = 5  # in a row: each held somebody up for half a second
ANSWER_BYTES_MAX: Final = 64 * 1024
CONNECTIONS_MAX: Final = 50
_WRAPPED: Final = re.compile(rb"vault:v([1-9][0-9]{0,8}):[A-Za-z0-9+/=]+")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TransitServer:
    """Where the keys are. The token's file is read for each call, so that an agent may renew it."""

    url: str
    key: str
    token_file: Path
    mount: str = "transit"
    ca: Path | None = None


class TransitKeys:
    """The versions of one key of a transit engine: the latest wraps, in every process at once."""

    def __init__(self, server: TransitServer) -> None:
        self._server = server
        self._breaker = CircuitBreaker(failures_max=FAILURES_MAX)
        self._client = httpx.AsyncClient(
            base_url=f"{server.url.rstrip('/')}/v1/{server.mount}/",
            verify=ssl.create_default_context(cafile=str(server.ca) if server.ca else None),
            timeout=CALL_S,
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX),
            trust_env=False,
        )

    async def wrap(self, data_key: bytes, *, record_id: str) -> Wrapped:
        """As `WrappingKeys.wrap`."""
        body = {"plaintext": _base64(data_key), "associated_data": self._bound_to(record_id)}
        status, answer = await self._call("POST", f"encrypt/{self._server.key}", body)
        if status != httpx.codes.OK:
            self._refused("encrypt", status)
        data = str(answer.get("ciphertext", "")).encode()
        return Wrapped(self._key_id(data), data)

    async def unwrap(self, wrapped: Wrapped, *, record_id: str) -> bytes:
        """As `WrappingKeys.unwrap`."""
        if _WRAPPED.fullmatch(wrapped.data) is None or self._key_id(wrapped.data) != wrapped.key_id:
            raise CannotOpen
        body = {"ciphertext": wrapped.data.decode(), "associated_data": self._bound_to(record_id)}
        status, answer = await self._call("POST", f"decrypt/{self._server.key}", body)
        if status == httpx.codes.BAD_REQUEST:  # changed, moved, or older than min_decryption_version
            raise CannotOpen
        if status != httpx.codes.OK:
            self._refused("decrypt", status)
        try:
            return base64.b64decode(str(answer["plaintext"]), validate=True)
        except (KeyError, ValueError):
            raise VaultUnavailable("the key server answered something else") from None

    async def newest(self) -> str:
        """As `WrappingKeys.newest`."""
        status, answer = await self._call("GET", f"keys/{self._server.key}", None)
        if status != httpx.codes.OK or not isinstance(answer.get("latest_version"), int):
            self._refused("read the key", status)
        return f"{self._server.key}:v{answer['latest_version']}"

    async def close(self) -> None:
        """As `WrappingKeys.close`."""
        await self._client.aclose()

    def _bound_to(self, record_id: str) -> str:
        """The version needs no place in it: what one version wrapped no other opens."""
        return _base64(joined(("data key", record_id, self._server.key)))

    def _key_id(self, data: bytes) -> str:
        found = _WRAPPED.fullmatch(data)
        if found is None:
            raise VaultUnavailable("the key server answered something else")
        return f"{self._server.key}:v{found[1].decode()}"

    async def _call(
        self, method: str, path: str, body: Mapping[str, str] | None
    ) -> tuple[int, dict[str, Any]]:
        """The status and its `data`. Raises `VaultUnavailable`, after half a second at most."""
        if not self._breaker.admits():
            raise VaultUnavailable("the key server failed several times and is left alone for a moment")
        try:
            async with asyncio.timeout(CALL_S):
                status, text = await self._exchange(method, path, body)
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            self._breaker.failed()
            log.warning("vault_keys_unreachable", error=type(error).__name__)
            raise VaultUnavailable("the key server does not answer") from error
        except BaseException:
            self._breaker.abandoned()
            raise
        if status >= httpx.codes.INTERNAL_SERVER_ERROR:  # 503: it is sealed
            self._breaker.failed()
        else:
            self._breaker.succeeded()
        return status, _data_of(text) if status == httpx.codes.OK else {}

    async def _exchange(self, method: str, path: str, body: Mapping[str, str] | None) -> tuple[int, bytes]:
        token = self._server.token_file.read_text().strip()
        headers = {"X-Vault-Token": token}
        async with self._client.stream(method, path, json=body, headers=headers) as response:
            text = b""
            async for piece in response.aiter_bytes():
                text += piece
                if len(text) > ANSWER_BYTES_MAX:
                    raise httpx.DecodingError("the answer is too long")
            return response.status_code, text

    def _refused(self, what: str, status: int) -> NoReturn:
        """It answered no: it is sealed, or our token or policy is wrong, which is for a person."""
        log.error("vault_keys_refused", asked_to=what, status=status)
        raise VaultUnavailable(f"the key server refuses to {what}: {status}")


def _data_of(text: bytes) -> dict[str, Any]:
    try:
        data = json.loads(text)["data"]
    except (ValueError, TypeError, KeyError):
        data = None
    if not isinstance(data, dict):
        raise VaultUnavailable("the key server answered something else")
    return data


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()

"""Key-encryption keys: they wrap the data key of each card. Here those of a file; `transit` has those of a server."""

import base64
import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from payonce.domain.errors import PaymentError
from payonce.settings import SettingsWrong

KEYS_MAX: Final = 32
FILE_BYTES_MAX: Final = 64 * 1024
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,32}")
_FOR_OTHERS: Final = 0o077


class VaultUnavailable(PaymentError):
    """The keys of the vault are out of reach; nothing was changed."""

    code = "unavailable"
    retryable = True


class CannotOpen(PaymentError):
    """A card or its data key was changed, moved to another place, or is older than the keys that are here."""

    code = "internal_error"


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A data key that only the key-encryption key with this id opens."""

    key_id: str
    data: bytes = field(repr=False)


class WrappingKeys(Protocol):
    """Wraps and opens data keys; each is bound to its record and to the key that wraps it."""

    async def wrap(self, data_key: bytes, *, record_id: str) -> Wrapped:
        """The data key, wrapped by the newest key. Raises `VaultUnavailable`."""
        ...

    async def unwrap(self, wrapped: Wrapped, *, record_id: str) -> bytes:
        """The data key. Raises `CannotOpen`, and `VaultUnavailable`."""
        ...

    async def newest(self) -> str:
        """The id of the key that wraps now. Raises `VaultUnavailable`."""
        ...

    async def close(self) -> None:
        """No connection is left."""
        ...


class FileKeys:
    """The keys of a file: the first wraps, all of them open."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        assert keys, "`read_key_file` refuses a file without one"
        self._ciphers = {id_: AESGCM(key) for id_, key in keys.items()}
        self._newest = next(iter(keys))

    async def wrap(self, data_key: bytes, *, record_id: str) -> Wrapped:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        bound_to = _bound_to(record_id, self._newest)
        return Wrapped(self._newest, nonce + self._ciphers[self._newest].encrypt(nonce, data_key, bound_to))

    async def unwrap(self, wrapped: Wrapped, *, record_id: str) -> bytes:
        cipher = self._ciphers.get(wrapped.key_id)
        if cipher is None:
            raise CannotOpen(f"There is no key {wrapped.key_id} in the key file.")
        nonce, data = wrapped.data[:_NONCE_BYTES], wrapped.data[_NONCE_BYTES:]
        try:
            return cipher.decrypt(nonce, data, _bound_to(record_id, wrapped.key_id))
        except (InvalidTag, ValueError):  # ValueError: too short to be one
            raise CannotOpen from None

    async def newest(self) -> str:
        return self._newest

    async def close(self) -> None:
        """Nothing is open."""


def read_key_file(path: Path) -> FileKeys:
    """The keys of `{"keys": [{"id": "2026-11", "key": "<base64 of 32 bytes>"}]}`. Raises `SettingsWrong`.

    Nobody but its owner may have any right to the file.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & _FOR_OTHERS:
                raise SettingsWrong(f"{path}: others than its owner may use it (`chmod 600`)")
            text = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise SettingsWrong(f"{path}: {error.strerror or error}") from error
    try:
        return FileKeys(_keys_of(json.loads(text) if len(text) <= FILE_BYTES_MAX else None))
    except (ValueError, TypeError, KeyError):
        # Without the cause, which might show a part of a key.
        raise SettingsWrong(
            f'{path}: it is not {{"keys": [{{"id": "…", "key": "<base64 of 32 bytes>"}}]}} with 1 to {KEYS_MAX} keys'
        ) from None


def _keys_of(told: Any) -> dict[str, bytes]:
    listed = told["keys"]
    keys = {each["id"]: base64.b64decode(each["key"], validate=True) for each in listed}
    fit = all(_ID.fullmatch(id_) and len(key) == _KEY_BYTES for id_, key in keys.items())
    if not fit or not 1 <= len(listed) <= KEYS_MAX or len(keys) < len(listed):
        raise ValueError("no such keys")
    return keys


def _bound_to(record_id: str, key_id: str) -> bytes:
    return joined(("data key", record_id, key_id))


def joined(parts: Sequence[str]) -> bytes:
    """Every part with its length, so that no two lists of parts read the same."""
    encoded = [part.encode() for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)

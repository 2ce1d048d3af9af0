"""Sealing: what must be read again but may not lie in the clear, such as the secrets of webhook endpoints.

AES-256-GCM with a random nonce of 96 bits (NIST SP 800-38D: at most 2^32 values under one key). What a value is
about goes in as associated data, with the key's id, so that a sealed value put into another row does not open.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from payonce.domain.errors import PaymentError

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class CannotUnseal(PaymentError):
    """The value was sealed with a key that is not here any more, or it was changed or moved."""

    code = "internal_error"


@dataclass(frozen=True, slots=True)
class SealingKey:
    """A key and the id under which sealed values name it."""

    id: str
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A value that only the key with this id opens."""

    key_id: str
    data: bytes = field(repr=False)  # the nonce, the ciphertext, the tag


class Sealer:
    """Seals with the first key and opens what any of them sealed: so the sealing key can be replaced."""

    def __init__(self, keys: Sequence[SealingKey]) -> None:
        assert keys, "there is always the derived key"
        self.key_id = keys[0].id  # of the one that seals
        self._ciphers = {key.id: AESGCM(key.key) for key in keys}

    def seal(self, value: str, *, about: Sequence[str]) -> Sealed:
        """The value, readable again only with the same `about`."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._ciphers[self.key_id].encrypt(nonce, value.encode(), _associated(self.key_id, about))
        return Sealed(self.key_id, nonce + sealed)

    def unseal(self, sealed: Sealed, *, about: Sequence[str]) -> str:
        """The value that was sealed about the same. Raises `CannotUnseal`."""
        cipher = self._ciphers.get(sealed.key_id)
        if cipher is None:
            raise CannotUnseal(f"There is no sealing key {sealed.key_id}.")
        nonce, data = sealed.data[:_NONCE_BYTES], sealed.data[_NONCE_BYTES:]
        try:
            return cipher.decrypt(nonce, data, _associated(sealed.key_id, about)).decode()
        except (InvalidTag, ValueError):  # ValueError: too short to be one
            raise CannotUnseal from None


def _associated(key_id: str, about: Sequence[str]) -> bytes:
    """Every part with its length, so that no two lists of parts read the same."""
    parts = [part.encode() for part in (key_id, *about)]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)

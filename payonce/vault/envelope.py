"""A card number under a key of its own, which is wrapped by a key-encryption key.

The ciphertext is bound to its format, tenant, mode, record, purpose and data key, so that it opens in its own row
only. AES-256-GCM (NIST SP 800-38D); each data key encrypts one value, once.
"""

import secrets
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from payonce.domain.ids import random_id
from payonce.vault.keys import CannotOpen, Wrapped, WrappingKeys, joined

FORMAT: Final = 1
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class VaultPlace:
    """Where a number belongs; sealed for one place it opens in no other."""

    record_id: str
    merchant_id: str
    mode: str
    purpose: str


@dataclass(frozen=True, slots=True)
class SealedNumber:
    """A sealed number and its wrapped key."""

    format: int
    data_key_id: str
    wrapped: Wrapped
    ciphertext: bytes = field(repr=False)


async def seal(number: str, place: VaultPlace, keys: WrappingKeys) -> SealedNumber:
    """The number, readable again in its place only. Raises `VaultUnavailable`.

    It may take a call to another server: no transaction may be open meanwhile.
    """
    data_key = secrets.token_bytes(_KEY_BYTES)
    data_key_id = random_id("dk")
    nonce = secrets.token_bytes(_NONCE_BYTES)
    bound_to = _bound_to(FORMAT, place, data_key_id)
    ciphertext = nonce + AESGCM(data_key).encrypt(nonce, number.encode(), bound_to)
    wrapped = await keys.wrap(data_key, record_id=place.record_id)
    return SealedNumber(FORMAT, data_key_id, wrapped, ciphertext)


async def unseal(envelope: SealedNumber, place: VaultPlace, keys: WrappingKeys) -> str:
    """The number. Raises `CannotOpen`, and `VaultUnavailable` as above."""
    if envelope.format != FORMAT:
        raise CannotOpen(f"There is no format {envelope.format} here.")
    data_key = await keys.unwrap(envelope.wrapped, record_id=place.record_id)
    nonce, data = envelope.ciphertext[:_NONCE_BYTES], envelope.ciphertext[_NONCE_BYTES:]
    bound_to = _bound_to(envelope.format, place, envelope.data_key_id)
    try:
        return AESGCM(data_key).decrypt(nonce, data, bound_to).decode()
    except (InvalidTag, ValueError):  # ValueError: too short to be one
        raise CannotOpen from None


def _bound_to(format_: int, place: VaultPlace, data_key_id: str) -> bytes:
    return joined(
        ("card", str(format_), place.merchant_id, place.mode, place.record_id, place.purpose, data_key_id)
    )

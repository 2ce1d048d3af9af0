"""By what a card number is known again without being read.

A number's hash never leaves the vault's schema. What merchants are shown is a name drawn for it when they first save
it: so that neither can be found from the other, nor from the first six and last four digits.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from payonce.sealing import SealingKey
from payonce.vault.keys import joined


@dataclass(frozen=True, slots=True)
class Hashes:
    """Of one number: those by which its merchant's name for it is found, the newest first, and the internal one."""

    versions: tuple[str, ...]
    of_merchant: tuple[bytes, ...] = field(repr=False)
    internal_version: str
    internal: bytes = field(repr=False)


class Fingerprints:
    """Hashes under every key there is: a number hashed with an older one keeps its name, and gets a newer hash."""

    def __init__(self, keys: Sequence[SealingKey]) -> None:
        assert keys, "there is always the derived key"
        self._keys = tuple(keys)

    def of(self, number: str, *, merchant_id: str, mode: str) -> Hashes:
        """The hashes of the number; another merchant, or the other mode, has others, but for the internal one."""
        newest = self._keys[0]
        return Hashes(
            versions=tuple(key.id for key in self._keys),
            of_merchant=tuple(_hash(key, ("shown", merchant_id, mode, number)) for key in self._keys),
            internal_version=newest.id,
            internal=_hash(newest, ("internal", number)),
        )


def _hash(key: SealingKey, parts: Sequence[str]) -> bytes:
    return hmac.new(key.key, joined(parts), hashlib.sha256).digest()

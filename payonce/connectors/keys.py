"""Idempotency keys that acquirers see: the same attempt has the same key for ever, another attempt another one."""

import hashlib
import hmac
import string
from dataclasses import dataclass, field
from typing import Final, Literal

from payonce.domain.routing import ConnectorAccount

Purpose = Literal[
    "pre",
    "pre-2",
    "pre-3",
    "send",
    "leg-1",
    "leg-2",
    "leg-3",
    "leg-4",
    "leg-5",
    "reverse",
    "reverse-2",
    "cancel",
]
"""Which of an attempt's calls a key is for: no two calls share one."""

BITS_MIN: Final = 128  # two attempts of an account never meet by chance
LETTERS_AND_DIGITS: Final = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class UpstreamKeys:
    """The keys of one account, derived from a secret of the cell that never rotates.

    `identity` is the acquirer's own name of the account, or its id here where it was never asked for that.
    """

    secret: bytes = field(repr=False)
    identity: str

    @classmethod
    def of(cls, account: ConnectorAccount) -> "UpstreamKeys":
        """The keys of an account. Raises `ValueError` where the cell's secret is missing."""
        if not account.upstream_secret:
            raise ValueError("the account has no secret to derive keys from")
        return cls(account.upstream_secret, account.identity or account.id)

    def key(
        self, reference: str, purpose: Purpose, *, length: int = 32, alphabet: str = LETTERS_AND_DIGITS
    ) -> str:
        """The key of a call for the attempt with our reference, in the acquirer's charset and length.

        Raises `ValueError` where these hold fewer than `BITS_MIN` bits, or a character twice.
        """
        if len(set(alphabet)) != len(alphabet) or len(alphabet) ** length < 2**BITS_MIN:
            raise ValueError("too few keys are possible")
        named = "\n".join((self.identity, reference, purpose))
        number = int.from_bytes(hmac.new(self.secret, named.encode(), hashlib.sha512).digest(), "big")
        digits = []
        for _ in range(length):
            number, digit = divmod(number, len(alphabet))
            digits.append(alphabet[digit])
        return "".join(digits)

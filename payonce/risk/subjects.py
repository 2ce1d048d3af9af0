"""By what payments are counted together: keyed hashes, of one merchant in one mode.

The key is derived from the vault's first fingerprint key, for this purpose alone: whoever reads Redis or the counts
in Postgres learns of a card that it is the same, and can neither find its number by trying nor meet the hash anywhere
else. What stands for a payment there is a hash, too, so that a count does not lead to the first six and last four.
Another first key begins the counts anew.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address, ip_network
from typing import Any, Final

from payonce.domain.risk import RiskSubjects
from payonce.risk.listing import plain_address
from payonce.sealing import SealingKey

_NETWORK_BITS: Final = 64  # of an IPv6 address: what one household or telephone has
_BY: Final = ("id", "email", "phone")  # what a customer is known again by


class SubjectHashes:
    """Made with one key."""

    def __init__(self, keys: Sequence[SealingKey]) -> None:
        self._key = hmac.new(keys[0].key, b"risk_subjects\x01", hashlib.sha256).digest()

    def of(
        self,
        *,
        payment_id: str,
        merchant_id: str,
        mode: str,
        number: str | None,
        customer: Mapping[str, Any] | None,
        ip: str | None,
    ) -> RiskSubjects:
        """What is known of who pays, as far as the payment says it."""

        def hashed(kind: str, value: str | None) -> str | None:
            return None if value is None else self._hash(kind, merchant_id, mode, value)

        return RiskSubjects(
            card=None if number is None else self.card(number, merchant_id=merchant_id, mode=mode),
            customer=hashed("customer", _who(customer)),
            address=hashed("address", None if ip is None else network_of(ip)),
            member=self.member(payment_id),
        )

    def card(self, number: str, *, merchant_id: str, mode: str) -> str:
        """What stands for the card in a count, and in a list."""
        return self._hash("card", merchant_id, mode, number)

    def member(self, payment_id: str) -> str:
        """What stands for the payment in a count: the same whoever counts it, and however often."""
        return self._hash("payment", payment_id)

    def _hash(self, *parts: str) -> str:
        data = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
        return hmac.new(self._key, data, hashlib.sha256).hexdigest()[:40]


def network_of(ip: str) -> str:
    """The address, or of an IPv6 one the network that one customer has."""
    address = plain_address(ip)
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _NETWORK_BITS), strict=False))
    return str(address)


def _who(customer: Mapping[str, Any] | None) -> str | None:
    """By the merchant's id, else by what reaches them."""
    found = next((str(customer[name]).lower() for name in _BY if customer and customer.get(name)), None)
    return found

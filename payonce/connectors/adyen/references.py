"""Our references as Adyen takes them, there and back.

A hyphen separates several references in one at Adyen, a colon the members of a signature, and UPI's banks take
letters and digits alone. So nothing else is sent. The first letter says what was asked for under the reference: a
callback about an attempt of ours has it, signed, and what was done in the Customer Area is told of the payment's.
Source: Checkout v72, `PaymentRequest.reference` (at most 80 characters); docs.adyen.com/payment-methods/upi.
"""

import re
from enum import StrEnum
from typing import Final

from payonce.connectors.base import Call
from payonce.domain.errors import Rejected
from payonce.domain.operations import OperationKind

LENGTH_MAX: Final = 80


class Asked(StrEnum):
    """What was asked for under a reference, by its first letter."""

    SALE = "A"  # an authorization that is captured at once, without a capture of ours
    AUTHORIZATION = "M"  # one that is captured by itself later
    CAPTURE = "C"
    CANCEL = "V"
    REFUND = "R"
    REVERSAL = "X"  # of the authorization whose reference follows

    @property
    def is_payment(self) -> bool:
        """Whether it is a payment's own reference, and no modification's."""
        return self in (Asked.SALE, Asked.AUTHORIZATION)


_ESCAPED: Final = {"Z": "ZZ", "-": "Zd", "_": "Zu"}
_ORIGINAL: Final = {escaped: original for original, escaped in _ESCAPED.items()}
_OURS: Final = re.compile(r"(?P<asked>[AMCVRX])(?P<rest>(?:[A-Ya-z0-9]|Z[Zdu])+)")
_KINDS: Final = {
    OperationKind.CAPTURE: Asked.CAPTURE,
    OperationKind.VOID: Asked.CANCEL,
    OperationKind.REFUND: Asked.REFUND,
}


def asked(call: Call) -> Asked:
    """What a call asks for. Raises `Rejected` for what is never sent."""
    if call.kind is OperationKind.AUTHORIZE:
        return Asked.SALE if call.automatic_capture else Asked.AUTHORIZATION
    if call.kind not in _KINDS:
        raise Rejected(f"{call.kind} is not sent to this acquirer")
    return _KINDS[call.kind]


def sent(call: Call) -> str:
    """The call's own reference as Adyen has it."""
    return written(call.reference, asked(call))


def written(reference: str, what: Asked) -> str:
    """A reference of ours as Adyen has it."""
    return what + plain(reference)


def plain(text: str) -> str:
    """Letters and digits alone, and another text for every other one."""
    return "".join(_ESCAPED.get(character, character) for character in text)


def read(reference: str) -> tuple[str, Asked] | None:
    """Ours, and what was asked for under it; None for one that is not ours."""
    found = _OURS.fullmatch(reference)
    if found is None or len(reference) > LENGTH_MAX + 1:
        return None
    rest = re.sub(r"Z[Zdu]", lambda escaped: _ORIGINAL[escaped[0]], found["rest"])
    return rest, Asked(found["asked"])

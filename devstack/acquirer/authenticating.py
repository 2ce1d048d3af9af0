"""What is to be done to authenticate a card's holder, and what that comes to. Decides; moves and writes nothing."""

from dataclasses import dataclass
from typing import Any

from devstack.acquirer.bodies import Authorize
from devstack.acquirer.cards import Asks
from devstack.acquirer.movements import SOFT_DECLINE
from devstack.acquirer.saved_cards import Instrument

FAILED = "authentication_failed"

Authentication = dict[str, Any]
"""`result`, `eci`, `liability`, `exemption_honoured`, as answers show it."""

# Source: Visa and Mastercard, electronic commerce indicators: authenticated, attempted, neither.
_ECIS = ("05", "06", "07")
_ECIS_OF_MASTERCARD = ("02", "01", "00")
_RANK = {"authenticated": 0, "frictionless": 0, "attempted": 1}


@dataclass(frozen=True, slots=True)
class Course:
    """What follows an order. `decline_code`, of a challenge: what the issuer says once it is passed.

    `authentication` is None where nothing was asked for, nor done.
    """

    challenges: bool
    decline_code: str | None = None
    authentication: Authentication | None = None


def course_of(order: Authorize, paid_with: Instrument) -> Course:
    """What the order leads to, by what it is paid with and by what the merchant says of authentication."""
    card = paid_with.leads_to
    if order.network_token is not None:  # a device authenticated its owner
        return Course(challenges=False, decline_code=card.decline_code)
    if order.authentication is not None:
        result = "authenticated" if order.authentication.trans_status == "Y" else "attempted"
        said = came_to(paid_with.masked, result) | {"eci": order.authentication.eci}
        return Course(challenges=False, decline_code=card.decline_code, authentication=said)
    if card.asks is Asks.IN_VAIN:
        return _refused(paid_with, FAILED, "failed")
    if _challenges(order, card.asks):
        return Course(challenges=True, decline_code=card.decline_code)
    if _needs_challenge(order, card.asks):
        return _refused(paid_with, SOFT_DECLINE, "none")
    return Course(challenges=False, decline_code=card.decline_code, authentication=_unasked(order, paid_with))


def came_to(masked: str, result: str, *, exemption: str | None = None) -> Authentication:
    """What is answered of an authentication with this result: whoever was authenticated shifts the liability."""
    ecis = _ECIS_OF_MASTERCARD if masked[0] in "25" else _ECIS
    rank = _RANK.get(result, 2)
    return {
        "result": result,
        "eci": ecis[rank],
        "liability": "merchant" if rank == 2 else "issuer",
        "exemption_honoured": exemption,
    }


def _challenges(order: Authorize, asks: Asks) -> bool:
    if order.challenge() == "avoid":
        return False
    if order.challenge() == "force":
        return True
    if asks is Asks.SOFTLY:
        return order.soft_decline == "itself" and not order.off_session
    return _needs_challenge(order, asks) and (asks is Asks.IN_SPITE_OF_ALL or not order.off_session)


def _needs_challenge(order: Authorize, asks: Asks) -> bool:
    """Whether the issuer approves nothing without one."""
    match asks:
        case Asks.ALWAYS:
            return order.exemption() is None
        case Asks.IN_SPITE_OF_ALL | Asks.SOFTLY:
            return True
        case _:
            return False


def _refused(paid_with: Instrument, code: str, result: str) -> Course:
    said = came_to(paid_with.masked, result)
    return Course(challenges=False, decline_code=code, authentication=said)


def _unasked(order: Authorize, paid_with: Instrument) -> Authentication | None:
    """What it comes to where nobody is asked."""
    asks, masked = paid_with.leads_to.asks, paid_with.masked
    if order.exemption() is not None:
        return came_to(masked, "exempted", exemption=order.exemption())
    avoided = order.challenge() == "avoid"
    if asks is Asks.FRICTIONLESS and not avoided:
        return came_to(masked, "frictionless")
    if asks is Asks.ATTEMPTED and not avoided:
        return came_to(masked, "attempted")
    return came_to(masked, "none") if avoided else None

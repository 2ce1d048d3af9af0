"""What a payment shows of its cardholder's authentication: what the acquirer said of the attempt that decided."""

from typing import Any

from payonce.domain.evidence import Evidence
from payonce.domain.facts import Approved, DeclineCode, Declined
from payonce.domain.payment import Payment


def shown(payment: Payment, decided: Approved | Declined) -> dict[str, Any] | None:
    """As the API shows it; None where nothing was asked for and there is nothing to say.

    Who is liable is never computed. What was asked for and not spoken of is `unknown`.
    """
    said = decided.evidence or Evidence()
    result = said.authentication or _by_decline(decided)
    silent = result in (None, "none") and said.eci is None and said.liability is None
    if silent and payment.sca is None:
        return None
    requested = None if payment.sca is None else payment.sca.get("exemption")
    return {
        "result": result or "unknown",
        "eci": said.eci,
        "liability": said.liability,
        "exemption": {"requested": requested, "honoured": said.exemption_honoured},
    }


def _by_decline(decided: Approved | Declined) -> str | None:
    failed = isinstance(decided, Declined) and decided.code is DeclineCode.AUTHENTICATION_FAILED
    return "failed" if failed else None

"""What Razorpay's objects say of an attempt, in our words.

Source: razorpay.com/docs/payments/payments (life cycle), /docs/payments/payments/late-authorisation,
/docs/payments/refunds/auto-refunds, /docs/webhooks/payments and /docs/api/refunds/entity. Read, not tried.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import structlog

from payonce.connectors.base import Call
from payonce.connectors.razorpay import codes, forms
from payonce.connectors.razorpay.objects import PaymentMade, RazorpayError, RazorpayPayment, RazorpayRefund
from payonce.domain.errors import OutcomeUnknown
from payonce.domain.evidence import Evidence
from payonce.domain.facts import (
    Accepted,
    ActionRequired,
    Approved,
    DeclineCode,
    Declined,
    Expired,
    Foreign,
    NotKnown,
    Pending,
    Reversed,
    Stage,
    Turn,
    Undone,
)
from payonce.domain.leaving import ACTS_WITHIN

log = structlog.get_logger(__name__)

_UPI: Final = "upi"

# What became of a payment, beside its own id: by these names payonce knows its own capture, and its own release,
# again (`payonce.domain.rail.as_foreign`).
_CAPTURED: Final = "/captured"
_LAPSED: Final = "/lapsed"

Standing = Approved | Declined | Expired | Pending | Reversed
"""How an attempt stands by a payment."""


def authorization(found: RazorpayPayment, call: Call, *, now: datetime) -> Standing:
    """How an authorization stands. What was refunded of it is not in a payment: see `refunded`."""
    if found.contradicts_itself:
        return _contradictory(found, call)
    match found.status:
        case "created":
            return Pending(found.id, reason="created")
        case "authorized":
            return _approved(found, call, Stage.AUTHORIZED)
        case "captured" | "refunded" if found.captured and call.automatic_capture:
            return _approved(found, call, Stage.CAPTURED)
        case "captured" | "refunded" if found.captured:
            return _captured_manually(found, call)
        case "refunded":
            return _lapsed(found, call)
        case "failed":
            return failed(found, now=now)
        case status:
            log.warning("acquirer_status_unmapped", reference=call.reference, status=status)
            return Pending(found.id, reason="unmapped status")


def failed(found: RazorpayPayment, *, now: datetime) -> Declined | Expired | Pending:
    """A payment that failed: declined where somebody decided, else it may still be authorized for days.

    In a UPI app the customer may try the same payment again, whatever the bank said: until the time to act is over
    nothing about it is decided.
    """
    failure = codes.PaymentFailure(found.error_reason, found.error_source, found.error_step)
    acting = found.method == _UPI and now < datetime.fromtimestamp(found.created_at, UTC) + ACTS_WITHIN
    if acting and not codes.before_any_bank(failure):
        return Pending(found.id, reason="failed, and may be tried again")
    if not codes.heard_of(failure):
        log.warning("acquirer_decline_code_unmapped", code=found.error_reason)
    meaning = codes.declined(failure)
    if meaning is None:
        return Expired(found.id)
    return Declined(meaning.code, connector_reference=found.id, raw=_raw(found), where=meaning.where)


def failed_at_once(error: RazorpayError, call: Call, payment_id: str) -> Declined | Pending:
    """A payment that was made and failed with the same answer; what may still become of it is asked."""
    failure = codes.PaymentFailure(error.reason, error.source, error.step)
    meaning = codes.declined(failure)
    again = call.payment_method.get("type") == _UPI and not codes.before_any_bank(failure)
    if meaning is None or again:
        return Pending(payment_id, reason=error.reason or "failed")
    said = {"code": error.code, "reason": error.reason, "source": error.source, "step": error.step}
    raw = {name: value for name, value in said.items() if value}
    return Declined(meaning.code, connector_reference=payment_id, raw=raw, where=meaning.where)


def asked(
    made: PaymentMade, call: Call, *, live: bool, image_url: str, now: datetime
) -> ActionRequired | None:
    """What the customer has to do; None: nothing is said of it."""
    action = _action(made, call, live=live, image_url=image_url)
    return None if action is None else ActionRequired(made.razorpay_payment_id, action, now + ACTS_WITHIN)


def capture(found: RazorpayPayment, call: Call) -> Approved | Declined | NotKnown | Pending:
    """How a capture stands. Razorpay keeps no mark of whose it was: what is captured is captured, whole and once."""
    if found.contradicts_itself:
        return _contradictory(found, call)
    if found.captured:
        _check_amount(found, call)
        return Approved(f"{found.id}{_CAPTURED}", found.amount, found.currency)
    if found.status == "authorized":
        return NotKnown()
    if found.status == "refunded":
        return Declined(DeclineCode.GENERIC_DECLINE, connector_reference=found.id, raw={"code": "lapsed"})
    return Pending(found.id, reason=f"{found.status}, and not captured")


def void(found: RazorpayPayment, call: Call) -> Accepted | Approved | Declined | Pending:
    """How a release stands, which Razorpay makes of itself, days later, of what nobody has captured."""
    if found.contradicts_itself:
        return _contradictory(found, call)
    if found.captured:
        return Declined(DeclineCode.GENERIC_DECLINE, connector_reference=found.id, raw={"code": "captured"})
    if found.status == "authorized":
        return Accepted(found.id)
    if found.status == "refunded":
        return Approved(f"{found.id}{_LAPSED}", found.amount, found.currency)
    return Pending(found.id, reason=f"{found.status}, and not released")


def refund(found: RazorpayRefund, call: Call) -> Accepted | Approved | Declined | Pending:
    """How a refund of ours stands. One that failed after it had succeeded was taken back."""
    rrn = found.acquirer_data.rrn
    approved = Approved(found.id, found.amount, found.currency, rail={} if rrn is None else {"rrn": rrn})
    match found.status:
        case "processed":
            return approved
        case "pending":
            return Accepted(found.id)
        case "failed" if call.approved:
            undone = _bounced(found)
            return replace(approved, since=(undone,))
        case "failed":
            return Declined(DeclineCode.GENERIC_DECLINE, connector_reference=found.id)
        case status:
            log.warning("acquirer_status_unmapped", reference=call.reference, status=status)
            return Pending(found.id, reason="unmapped status")


def refunded(approved: Approved, refunds: Sequence[RazorpayRefund]) -> Approved:
    """The approval with what somebody else refunded of it, oldest first, and which of these have failed."""
    by_others = sorted(
        (one for one in refunds if one.reference is None), key=lambda one: (one.created_at, one.id)
    )
    turns = (turn for one in by_others if (turn := _by_others(one)) is not None)
    return replace(approved, since=(*approved.since, *turns))


def _by_others(one: RazorpayRefund) -> Turn | None:
    """What somebody else's refund came to; None: nothing yet. What has failed is never made again."""
    match one.status:
        case "processed":
            return Foreign(one.id, "refund", one.amount, one.currency)
        case "failed":
            return _bounced(one, refund=one.id)
        case _:
            return None


def _bounced(one: RazorpayRefund, *, refund: str | None = None) -> Undone:
    """`refund`: its id, where others made it."""
    return Undone(f"{one.id}/failed", one.amount, one.currency, "failed", refund)


def _contradictory(found: RazorpayPayment, call: Call) -> Pending:
    log.error("acquirer_payment_contradicts_itself", reference=call.reference, status=found.status)
    return Pending(found.id, reason=f"{found.status}, and captured")


def _captured_manually(found: RazorpayPayment, call: Call) -> Approved:
    """By a capture of ours, or in the dashboard: Razorpay keeps no mark of whose it was, and captures once."""
    captured = Foreign(f"{found.id}{_CAPTURED}", "capture", found.amount, found.currency, perhaps_ours=True)
    return replace(_approved(found, call, Stage.AUTHORIZED), since=(captured,))


def _lapsed(found: RazorpayPayment, call: Call) -> Approved | Reversed:
    """Authorized, never captured, and so given back by Razorpay: of what nobody knew of, nothing is left."""
    if not call.approved:
        return Reversed()
    lapsed = Foreign(f"{found.id}{_LAPSED}", "void", found.amount, found.currency)
    return replace(_approved(found, call, Stage.AUTHORIZED), since=(lapsed,))


def _approved(found: RazorpayPayment, call: Call, stage: Stage) -> Approved:
    until = None
    if not (call.automatic_capture and stage is Stage.CAPTURED):
        until = datetime.fromtimestamp(found.created_at, UTC) + forms.HOLDS
    return Approved(
        found.id,
        found.amount,
        found.currency,
        capture_before=until,
        rail=_rail(found),
        stage=stage,
        evidence=_evidence(found),
    )


def _rail(found: RazorpayPayment) -> dict[str, str]:
    if found.method != _UPI:
        return {}
    payer = found.vpa if found.upi is None else found.upi.vpa or found.vpa
    known = {"rrn": found.acquirer_data.rrn, "vpa": payer}
    return {name: value for name, value in known.items() if value is not None}


def _evidence(found: RazorpayPayment) -> Evidence | None:
    """What the bank says beside its yes; not who bears a fraud, nor how the cardholder was authenticated."""
    if found.card is None:
        return None
    return Evidence(
        scheme=None if found.card.network is None else found.card.network.lower(),
        authorization_code=found.acquirer_data.auth_code,
        funding=found.card.type,
    )


def _action(made: PaymentMade, call: Call, *, live: bool, image_url: str) -> dict[str, str] | None:
    flow = call.payment_method.get("upi", {}).get("flow")
    if flow == "collect":
        return {"type": "upi_collect", "vpa": call.payment_method["upi"]["vpa"]}
    if flow is not None and made.link is not None:
        code = {"image_url": image_url} if flow == "qr" else {}
        return {"type": f"upi_{flow}", "url": made.link} | code
    page = made.page
    if flow is not None or page is None or not page.startswith("https://" if live else "http"):
        return None
    return {"type": "redirect", "url": page} | ({} if live else {"sandbox_url": page})


def _raw(found: RazorpayPayment) -> dict[str, str]:
    said = {
        "code": found.error_code,
        "reason": found.error_reason,
        "source": found.error_source,
        "step": found.error_step,
    }
    return {name: value for name, value in said.items() if value}


def _check_amount(found: RazorpayPayment, call: Call) -> None:
    if found.amount != call.amount_minor:
        raise OutcomeUnknown("another amount is captured", connector_reference=found.id)

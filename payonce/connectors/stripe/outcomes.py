"""What an intent, a refund or an error says, in our words.

One intent is one attempt, confirmed once. What it says of itself is believed, and not what was asked for.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from payonce.connectors.base import Call
from payonce.connectors.stripe.amounts import from_stripe
from payonce.connectors.stripe.answers import Charge, Intent, StripeError, StripeRefund
from payonce.connectors.stripe.codes import lapsed, meaning_of, refused_pointer
from payonce.connectors.stripe.wire import MARK, REFERENCE, REVERSAL, mark_of
from payonce.domain.errors import OutcomeUnknown
from payonce.domain.facts import (
    Approved,
    DeclineCode,
    Declined,
    Expired,
    Foreign,
    Inquiry,
    NotKnown,
    Pending,
    Refused,
    Reply,
    Reversed,
    Stage,
    Turn,
    Undone,
)

ABANDONED = "abandoned"  # the cancellation reason of a reversal of ours
REQUESTED = "requested_by_customer"  # that of a void, and of a challenge that we cannot carry out yet


def authorized(intent: Intent, refunds: tuple[StripeRefund, ...] = ()) -> Inquiry:
    """What has become of an authorization. `refunds`: all of the intent's, where its charge was refunded."""
    match intent.status:
        case "succeeded" if any(_given_back(refund) for refund in refunds):
            return Reversed()
        case "requires_capture" | "succeeded":
            return _approved(intent, refunds)
        case "canceled":
            return _canceled(intent, refunds)
        case "requires_payment_method" | "requires_confirmation" if intent.last_payment_error is not None:
            return declined(intent.last_payment_error, intent)
        case "requires_payment_method" | "requires_confirmation":
            return NotKnown()  # nobody confirmed it: nothing was asked of the issuer
        case status:  # processing, requires_action, and what nobody has heard of
            return Pending(intent.id, reason=status[:64])


def captured(intent: Intent, call: Call, *, several: bool) -> Inquiry:
    """What has become of a capture, whose reference the intent carries since it was made.

    One capture alone is what was received in all; of several each has the amount that it was marked with.
    """
    marked = intent.metadata.get(mark_of(call))
    if marked is None or not intent.amount_received:
        return NotKnown()
    if not (marked.isascii() and marked.isdigit()):
        raise OutcomeUnknown("a capture that is marked with no amount")
    charge = _charge(intent)
    amount = int(marked) if several else intent.amount_received
    return Approved(charge.id, from_stripe(amount, call.currency), call.currency)


def voided(intent: Intent, call: Call) -> Inquiry:
    """What has become of a void: an intent that is canceled holds nothing any more."""
    if intent.status != "canceled":
        return NotKnown()
    return Approved(intent.id, call.amount_minor, call.currency)


def refunded(refund: StripeRefund, call: Call) -> Reply:
    """What has become of a refund. One that fails after it had succeeded was taken back."""
    amount_minor = from_stripe(refund.amount, call.currency)
    if refund.currency != call.currency.lower():
        raise OutcomeUnknown("a refund in another currency", connector_reference=refund.id)
    match refund.status:
        case "succeeded":
            return Approved(refund.id, amount_minor, call.currency)
        case "failed" | "canceled" if call.approved:
            reason = refund.failure_reason or ""
            undone = Undone(f"{refund.id}/failed", amount_minor, call.currency, reason[:64])
            return Approved(refund.id, amount_minor, call.currency, since=(undone,))
        case "failed" | "canceled":
            return Declined(DeclineCode.GENERIC_DECLINE, refund.id)
        case _:  # pending, requires_action, and what nobody has heard of
            return Pending(refund.id)


def declined(error: StripeError, intent: Intent | None = None) -> Declined:
    """The issuer's no, or Stripe's for it."""
    meaning = meaning_of(error.code, error.decline_code)
    return Declined(meaning.code, None if intent is None else intent.id)


def refused(error: StripeError) -> Refused | None:
    """Data that Stripe will never take; None: the error is not about that."""
    pointer = refused_pointer(error.code)
    if error.type != "invalid_request_error" or pointer is None:
        return None
    return Refused(error.code or "", pointer or None)


def gone(error: StripeError, intent: Intent | None) -> Declined | None:
    """The authorization that was to be captured, voided or refunded is over; None: the error does not say so."""
    over = lapsed(error.code) or (intent is not None and intent.status == "canceled")
    return Declined(DeclineCode.GENERIC_DECLINE, None if intent is None else intent.id) if over else None


def _approved(intent: Intent, refunds: tuple[StripeRefund, ...]) -> Approved:
    charge, currency = _charge(intent), intent.currency.upper()
    card = charge.payment_method_details.card if charge.payment_method_details else None
    held = charge.amount if card is None or card.amount_authorized is None else card.amount_authorized
    automatic = intent.capture_method != "manual"
    amount = intent.amount_received if automatic and intent.status == "succeeded" else held
    before = None if card is None or card.capture_before is None else card.capture_before
    return Approved(
        connector_reference=intent.id,
        amount_minor=from_stripe(amount, currency),
        currency=currency,
        capture_before=None if before is None else datetime.fromtimestamp(before, UTC),
        stage=Stage.CAPTURED if automatic and intent.status == "succeeded" else Stage.AUTHORIZED,
        since=(
            *_captured_elsewhere(intent, automatic=automatic),
            *_refunded_elsewhere(intent, charge, refunds),
        ),
    )


def _canceled(intent: Intent, refunds: tuple[StripeRefund, ...]) -> Inquiry:
    """Canceled before anything was held, by a reversal of ours, by a void, in the dashboard, or by Stripe in time."""
    if intent.cancellation_reason == ABANDONED:
        return Reversed()
    if isinstance(intent.latest_charge, Charge) and intent.latest_charge.paid:
        found = _approved(intent, refunds)
        return found if _lapsed(intent, found) else replace(found, since=(*found.since, _released(intent)))
    if intent.last_payment_error is not None:
        return declined(intent.last_payment_error, intent)
    if intent.cancellation_reason == REQUESTED:
        return Declined(DeclineCode.AUTHENTICATION_REQUIRED, intent.id)
    return Expired(intent.id)


def _lapsed(intent: Intent, found: Approved) -> bool:
    """Whether the time to capture was over: payonce expires what it holds at the same time, by itself."""
    at, before = intent.canceled_at, found.capture_before
    over = at is not None and before is not None and at >= before.timestamp()
    return over or intent.cancellation_reason in ("automatic", "expired")


def _released(intent: Intent) -> Foreign:
    """Where a void of ours did it, that one counts, and this once with it."""
    charge, currency = _charge(intent), intent.currency.upper()
    rest = from_stripe(charge.amount - charge.amount_captured, currency)
    return Foreign(f"{intent.id}/canceled", "void", rest, currency)


def _captured_elsewhere(intent: Intent, *, automatic: bool) -> tuple[Turn, ...]:
    """A capture that carries no mark of ours was made in the dashboard."""
    marks = [name for name in intent.metadata if name.startswith(MARK)]
    if automatic or not intent.amount_received or marks:
        return ()
    currency = intent.currency.upper()
    amount_minor = from_stripe(intent.amount_received, currency)
    return (Foreign(f"{intent.id}/captured", "capture", amount_minor, currency),)


def _refunded_elsewhere(
    intent: Intent, charge: Charge, refunds: tuple[StripeRefund, ...]
) -> tuple[Turn, ...]:
    """StripeRefunds without a mark of ours. What a capture of a part released is listed among them, and is none."""
    released = charge.amount - intent.amount_received if intent.amount_received else 0
    turns: list[Turn] = []
    for refund in sorted(refunds, key=lambda each: (each.created, each.id)):
        ours = bool({REFERENCE, REVERSAL} & _names(refund.metadata))
        if ours or refund.status in ("failed", "canceled", None):
            continue
        if released and refund.amount == released:
            released = 0
            continue
        currency = refund.currency.upper()
        turns.append(Foreign(refund.id, "refund", from_stripe(refund.amount, currency), currency))
    return tuple(turns)


def _given_back(refund: StripeRefund) -> bool:
    """Whether it is that of a reversal of ours, and came about."""
    return REVERSAL in _names(refund.metadata) and refund.status == "succeeded"


def _names(metadata: Mapping[str, str] | None) -> set[str]:
    return set(metadata or ())


def _charge(intent: Intent) -> Charge:
    """The charge that proves what the intent says. Raises `OutcomeUnknown` where it is not told."""
    charge = intent.latest_charge
    if not isinstance(charge, Charge) or charge.currency != intent.currency:
        raise OutcomeUnknown("an intent without its charge", connector_reference=intent.id)
    return charge

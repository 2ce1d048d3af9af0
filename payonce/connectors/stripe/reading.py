"""What Stripe's objects say of an attempt, in our words.

Source: docs.stripe.com/payments/paymentintents/lifecycle, /api/payment_intents/object, /api/refunds/object and
/payments/place-a-hold-on-a-payment-method. Read, not tried.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from payonce.connectors.base import Call
from payonce.connectors.stripe import codes, forms, marks
from payonce.connectors.stripe.amounts import from_stripe, to_stripe
from payonce.connectors.stripe.objects import (
    CAPTURE,
    REFERENCE,
    REVERSAL,
    Charge,
    ChargeOutcome,
    Checks,
    Intent,
    StripeError,
    StripeRefund,
    ThreeDSecure,
)
from payonce.domain.errors import OutcomeUnknown
from payonce.domain.evidence import Evidence
from payonce.domain.facts import (
    ActionRequired,
    Approved,
    Cancellation,
    Cancelled,
    DeclineCode,
    Declined,
    Foreign,
    NotKnown,
    Pending,
    Reversed,
    Stage,
    Turn,
    Undone,
)
from payonce.domain.leaving import ACTS_WITHIN
from payonce.domain.sca import AuthenticationResult

log = structlog.get_logger(__name__)

# How long an authorization holds where the charge does not say so (`capture_before`), by brand, card not present.
# Visa's of a payment that the merchant initiates is the shortest; networks that are not listed have it too.
_HOLDS: Final = dict.fromkeys(("mastercard", "amex", "discover", "diners"), timedelta(days=7))
_HOLDS_SHORTEST: Final = timedelta(days=4, hours=18)

_SAID: Final = ("code", "decline_code", "advice_code", "network_advice_code", "network_decline_code")

_NOT_AUTHENTICATED: Final = "payment_intent_authentication_failure"  # no card error: nothing was charged
_FORBIDDEN_BY_NETWORK: Final = "previously_declined_do_not_retry"  # Visa's limit on repeats, kept by Stripe

_AUTHENTICATED: Final[dict[str, AuthenticationResult]] = {
    "authenticated": "authenticated",
    "attempt_acknowledged": "attempted",
    "exempted": "exempted",
    "failed": "failed",
    "not_supported": "none",
}

CUSTOMER: Final = "customer"
METHOD: Final = "payment_method"
"""The members of `Approved.token`."""

Standing = Approved | Declined | Pending | NotKnown | Reversed
"""How an attempt stands by an intent."""


def check(intent: Intent, call: Call, *, id_: str | None) -> None:
    """Raises `OutcomeUnknown` for the answer to another request."""
    if id_ is not None and intent.id != id_:
        raise OutcomeUnknown("another intent than was asked about")
    if intent.currency != call.currency.lower():
        raise OutcomeUnknown("an intent in another currency", connector_reference=id_)
    if id_ is None and intent.metadata.get(REFERENCE) != call.reference:
        raise OutcomeUnknown("an intent of another attempt")


def authorization(intent: Intent, call: Call) -> Standing:
    """How an authorization stands. What was refunded since is not in an intent: see `refunded`."""
    match intent.status:
        case "requires_capture":
            held = intent.amount_capturable + intent.amount_received
            return _approved(intent, call, amount=held, stage=Stage.AUTHORIZED)
        case "succeeded":
            return _succeeded(intent, call)
        case "canceled":
            return _canceled(intent, call)
        case "requires_payment_method" | "requires_confirmation":
            return _unpaid(intent)
        case "processing" | "requires_action":
            return Pending(intent.id, reason=intent.status)
        case status:
            log.warning("acquirer_status_unmapped", reference=call.reference, status=status)
            return Pending(intent.id, reason="unmapped status")


def asked(intent: Intent, *, live: bool) -> ActionRequired | None:
    """What the customer has to do; None: nothing that a server can pass on.

    Stripe names no end of it, and lets an intent wait for days: it is ours to end, 15 minutes after it was made.
    """
    page = intent.page
    if intent.status != "requires_action" or page is None or (live and not page.startswith("https://")):
        return None
    action = {"type": "redirect", "url": page} | ({} if live else {"sandbox_url": page})
    return ActionRequired(intent.id, action, datetime.fromtimestamp(intent.created, UTC) + ACTS_WITHIN)


def ended(intent: Intent, call: Call) -> Cancellation:
    """What has become of an intent whose customer is to pay no more; cancelled, it holds nothing either."""
    if (
        intent.status == "canceled"
        and intent.cancellation_reason == forms.GIVEN_UP
        and not intent.amount_received
    ):
        return Cancelled()
    found = authorization(intent, call)
    return Pending(intent.id, reason="not found by its id") if isinstance(found, NotKnown) else found


def capture(intent: Intent, call: Call, *, several: bool, answered: bool) -> Approved | Pending | NotKnown:
    """How a capture stands. `answered`: the intent is the answer to the capture itself."""
    marked = marks.amount(intent.metadata, call.reference)
    if intent.status not in ("succeeded", "requires_capture", "canceled"):
        log.warning("acquirer_status_unmapped", reference=call.reference, status=intent.status)
        return Pending(intent.id, reason="unmapped status")
    if several:
        if marked is not None and marked <= intent.amount_received:
            return _captured(intent, call, marked)
    elif intent.status == "succeeded":
        asked = to_stripe(call.amount_minor, call.currency)
        if answered or marked is not None or intent.amount_received == asked:
            return _captured(intent, call, intent.amount_received)
        return Pending(intent.id, reason="captured otherwise")
    return Pending(intent.id, reason="not captured") if answered else NotKnown()


def void(intent: Intent, call: Call, *, answered: bool) -> Approved | Pending | NotKnown:
    """How the release of an authorization stands. What Stripe or others released is foreign: see `_canceled`."""
    by_others = intent.cancellation_reason not in forms.BY_US and not answered
    if intent.status == "canceled" and not by_others:
        charge = intent.charge
        held, taken = (intent.amount, 0) if charge is None else (charge.amount, charge.amount_captured)
        return Approved(intent.id, from_stripe(held - taken, call.currency), call.currency)
    return Pending(intent.id, reason="not released") if answered else NotKnown()


def refund(found: StripeRefund, call: Call) -> Approved | Declined | Pending:
    """How a refund of ours stands. One that failed after it had succeeded was taken back."""
    approved = Approved(found.id, from_stripe(found.amount, call.currency), call.currency)
    match found.status:
        case "succeeded":
            return approved
        case "pending" | "requires_action":
            return Pending(found.id, reason=found.status)
        case "failed" | "canceled" if call.approved:
            undone = _bounced(found, approved.amount_minor, approved.currency)
            return _with_turns(approved, (undone,))
        case "failed" | "canceled":
            return Declined(DeclineCode.GENERIC_DECLINE, connector_reference=found.id)
        case status:
            log.warning("acquirer_status_unmapped", reference=call.reference, status=status)
            return Pending(found.id, reason="unmapped status")


def check_refund(found: StripeRefund, call: Call) -> None:
    """Raises `OutcomeUnknown` for the answer to another request."""
    of = found.payment_intent
    if found.reference != call.reference or (of is not None and of != call.authorization_reference):
        raise OutcomeUnknown("a refund of another attempt")
    if found.currency != call.currency.lower():
        raise OutcomeUnknown("a refund in another currency", connector_reference=found.id)


def after_refunds(fact: Standing, intent: Intent, refunds: Sequence[StripeRefund], call: Call) -> Standing:
    """How an authorization stands with every refund of its intent, newest first."""
    if isinstance(fact, Reversed) and not is_given_back(intent, refunds):
        return Pending(intent.id, reason="taken, and not given back")
    return refunded(fact, refunds, call) if isinstance(fact, Approved) else fact


def refunded(approved: Approved, refunds: Sequence[StripeRefund], call: Call) -> Approved | Reversed:
    """The approval with what became of others' refunds of it, oldest first; what our reversal gave back is undone.

    That is so where all refunds that succeeded cover it: one of somebody else's may fail after ours was made.
    """
    given_back = sum(one.amount for one in refunds if one.status == "succeeded")
    reversed_ = any(is_reversal(one, call) and one.status == "succeeded" for one in refunds)
    if reversed_ and given_back >= to_stripe(approved.amount_minor, approved.currency):
        return Reversed()
    foreign = [turn for one in reversed(refunds) if (turn := _by_others(one, call)) is not None]
    return _with_turns(approved, (*approved.since, *foreign))


def _by_others(one: StripeRefund, call: Call) -> Turn | None:
    """What somebody else's refund came to; None: it is ours, or nothing yet. What has failed is never made again."""
    if _ours(one):
        return None
    amount_minor = from_stripe(one.amount, call.currency)
    match one.status:
        case "succeeded":
            return Foreign(one.id, "refund", amount_minor, call.currency)
        case "failed" | "canceled":
            return _bounced(one, amount_minor, call.currency, refund=one.id)
        case _:
            return None


def _bounced(one: StripeRefund, amount_minor: int, currency: str, *, refund: str | None = None) -> Undone:
    """`refund`: its id, where others made it."""
    return Undone(
        f"{one.id}/{one.status}", amount_minor, currency, one.failure_reason or str(one.status), refund
    )


def is_reversal(one: StripeRefund, call: Call) -> bool:
    """Whether it undoes this attempt."""
    return (one.metadata or {}).get(REVERSAL) == call.reference


def is_given_back(intent: Intent, refunds: Sequence[StripeRefund]) -> bool:
    """Whether all that the intent took is back; a refund that may still fail has given nothing back."""
    return sum(one.amount for one in refunds if one.status == "succeeded") >= intent.amount_received


def declined(error: StripeError, *, intent_id: str | None, charge: Charge | None = None) -> Declined:
    """A card error, which Stripe documents as a charge that failed: that one, where it is shown."""
    if not codes.heard_of(error):
        log.warning("acquirer_decline_code_unmapped", code=error.decline_code or error.code)
    meaning = codes.declined(error, blocked=charge is not None and _blocked(charge))
    said = {name: getattr(error, name) for name in _SAID}
    country = None if charge is None else charge.card.country
    return Declined(
        meaning.code,
        connector_reference=intent_id,
        raw={name: code for name, code in said.items() if code is not None},
        where=meaning.where,
        evidence=None if country is None else Evidence(issuer_country=country),
    )


def _succeeded(intent: Intent, call: Call) -> Approved:
    """By itself a manual authorization captures nothing, nor one that a capture of ours has taken."""
    ours = [name for name in intent.metadata if name.startswith(CAPTURE)]
    if call.automatic_capture and not ours:
        return _approved(intent, call, amount=intent.amount_received, stage=Stage.CAPTURED)
    held = intent.amount if intent.charge is None else intent.charge.amount
    approved = _approved(intent, call, amount=held, stage=Stage.AUTHORIZED)
    if ours:
        return approved
    taken = from_stripe(intent.amount_received, call.currency)
    return _with_turns(approved, (Foreign(f"{intent.id}/captured", "capture", taken, call.currency),))


def _canceled(intent: Intent, call: Call) -> Standing:
    charge = intent.charge
    held = charge is not None and charge.status == "succeeded"
    let_go = held and not call.approved and not intent.amount_received
    if let_go and intent.cancellation_reason in (forms.GIVEN_UP, forms.NOT_AUTHENTICATED):
        return Reversed()  # by us, while its customer was to act: what they authorized meanwhile is let go
    if charge is not None and held and intent.cancellation_reason != forms.REVERSED:
        approved = _approved(intent, call, amount=charge.amount, stage=Stage.AUTHORIZED)
        if intent.cancellation_reason in forms.BY_US:
            return approved  # by our void, or in the dashboard: an intent does not say which
        rest = from_stripe(charge.amount - charge.amount_captured, call.currency)
        return _with_turns(approved, (Foreign(f"{intent.id}/canceled", "void", rest, call.currency),))
    failed = _failure(intent)
    if failed is not None:
        return declined(failed, intent_id=intent.id, charge=intent.charge)
    if intent.cancellation_reason == forms.NOT_AUTHENTICATED:
        return Declined(DeclineCode.AUTHENTICATION_REQUIRED, connector_reference=intent.id)
    told = intent.latest_charge is None or charge is not None
    return Reversed() if told else Pending(intent.id, reason="a charge that is not told")


def _unpaid(intent: Intent) -> Declined | NotKnown | Pending:
    """Nothing is charged. Without a try nobody has confirmed it yet."""
    failed = _failure(intent)
    if failed is not None:
        return declined(failed, intent_id=intent.id, charge=intent.charge)
    return NotKnown() if intent.latest_charge is None else Pending(intent.id, reason="no failure told")


def _failure(intent: Intent) -> StripeError | None:
    """Why its last try failed; None where it did not, as far as is said."""
    error = intent.last_payment_error
    if error is not None and (error.type == "card_error" or error.code == _NOT_AUTHENTICATED):
        return error
    if intent.charge is not None and intent.charge.status == "failed":
        return _told_by(intent.charge)
    return None


def _told_by(charge: Charge) -> StripeError:
    """The card error of a charge that failed; only an issuer's reason is a decline code."""
    outcome = charge.outcome or ChargeOutcome()
    return StripeError(
        type="card_error",
        code=charge.failure_code,
        decline_code=outcome.reason if outcome.type == "issuer_declined" else None,
        advice_code=outcome.advice_code,
        network_advice_code=outcome.network_advice_code,
        network_decline_code=outcome.network_decline_code,
    )


def _blocked(charge: Charge) -> bool:
    """Whether Stripe's rules about this account stopped it, and not one that a network has about the card."""
    outcome = charge.outcome or ChargeOutcome()
    return outcome.type == "blocked" and outcome.reason != _FORBIDDEN_BY_NETWORK


def _approved(intent: Intent, call: Call, *, amount: int, stage: Stage) -> Approved:
    until = None if call.automatic_capture and stage is Stage.CAPTURED else _holds_until(intent)
    return Approved(
        connector_reference=intent.id,
        amount_minor=_proven(amount, call, intent),
        currency=call.currency,
        capture_before=until,
        stage=stage,
        evidence=None if intent.charge is None else _evidence(intent.charge, call),
        token=_token(intent, call),
    )


def _token(intent: Intent, call: Call) -> dict[str, str] | None:
    """By which the card is paid with again, where it was to be kept: attached to its customer with the approval."""
    if call.keeps is None or intent.customer is None or intent.payment_method is None:
        return None
    return {CUSTOMER: intent.customer, METHOD: intent.payment_method}


def _evidence(charge: Charge, call: Call) -> Evidence:
    """What Stripe says beside its yes. Who bears a fraud it does not say."""
    card, checks, secure = charge.card, charge.card.checks, charge.card.three_d_secure
    known = card.network_transaction_id is not None
    return Evidence(
        scheme=card.network or card.brand,
        network_transaction_id=card.network_transaction_id,
        network_transaction_amount_minor=from_stripe(charge.amount, call.currency) if known else None,
        network_transaction_date=datetime.fromtimestamp(charge.created, UTC).date() if known else None,
        authorization_code=card.authorization_code,
        avs_result=None if checks is None else _avs(checks),
        cvc_result=None if checks is None else checks.cvc_check,
        eci=None if secure is None else secure.electronic_commerce_indicator,
        authentication=None if secure is None else _authentication(secure),
        issuer_country=card.country,
        funding=card.funding,
    )


def _authentication(secure: ThreeDSecure) -> AuthenticationResult:
    """Source: the charge object, `payment_method_details.card.three_d_secure.result`."""
    if secure.result == "authenticated" and secure.authentication_flow == "frictionless":
        return "frictionless"
    return _AUTHENTICATED.get(secure.result or "", "unknown")


def _avs(checks: Checks) -> str | None:
    """Both results of the address, as Stripe names them: `line1=pass postal_code=fail`."""
    results = {"line1": checks.address_line1_check, "postal_code": checks.address_postal_code_check}
    return " ".join(f"{name}={result}" for name, result in results.items() if result is not None) or None


def _captured(intent: Intent, call: Call, amount: int) -> Approved:
    return Approved(intent.id, _proven(amount, call, intent), call.currency)


def _proven(amount: int, call: Call, intent: Intent) -> int:
    """Our amount. Raises `OutcomeUnknown` for an approval that says none."""
    if amount == 0:
        raise OutcomeUnknown("an approval without an amount", connector_reference=intent.id)
    return from_stripe(amount, call.currency)


def _holds_until(intent: Intent) -> datetime:
    """When the authorization ends: there is always a date, since what nobody captures lapses without a word."""
    charge: Charge | None = intent.charge
    if charge is None:
        return datetime.fromtimestamp(intent.created, UTC) + _HOLDS_SHORTEST
    if charge.card.capture_before is not None:
        return datetime.fromtimestamp(charge.card.capture_before, UTC)
    holds = _HOLDS.get(charge.card.brand or "", _HOLDS_SHORTEST)
    return datetime.fromtimestamp(charge.created, UTC) + holds


def _ours(one: StripeRefund) -> bool:
    return bool({REFERENCE, REVERSAL} & set(one.metadata or {}))


def _with_turns(approved: Approved, since: tuple[Turn, ...]) -> Approved:
    return replace(approved, since=since)

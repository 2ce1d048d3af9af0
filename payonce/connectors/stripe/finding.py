"""The intent of an attempt, also where its id was never heard: by the same create again, later by the list."""

from datetime import UTC, datetime, timedelta
from typing import Final

from payonce.connectors.base import Call
from payonce.connectors.http import HttpRequest
from payonce.connectors.requests import FormValue
from payonce.connectors.stripe.amounts import to_stripe
from payonce.connectors.stripe.answers import Intent, Intents, StripeRefund, StripeRefunds
from payonce.connectors.stripe.wire import EXPANDED, PAYMENT, REFERENCE, StripeWire, intent_path, is_ok
from payonce.domain.errors import OutcomeUnknown

KEYS_LAST: Final = timedelta(hours=20)  # Stripe may prune a key once it is 24 h old
CREATED_AROUND: Final = timedelta(minutes=5)  # the claim, by clocks that differ
PAGE: Final = 100
PAGES_MAX: Final = 20


def create(wire: StripeWire, call: Call) -> HttpRequest:
    """An intent that nobody has confirmed: it holds no card, so anybody may send it again for this attempt.

    Nothing is in it that only the process has that sends: under its key it must be the same request for ever.
    """
    form: dict[str, FormValue] = {
        "amount": to_stripe(call.amount_minor, call.currency),
        "currency": call.currency.lower(),
        "capture_method": "automatic" if call.automatic_capture else "manual",
        "confirmation_method": "automatic",
        "payment_method_types": ["card"],
        "metadata": {**wire.copied(call.metadata), REFERENCE: call.reference, PAYMENT: call.payment_id},
        "description": call.description,
        "statement_descriptor_suffix": call.statement_descriptor,
        "payment_method_options": {"card": {"request_multicapture": "if_available"}}
        if wire.several
        else None,
    }
    return wire.keyed("/v1/payment_intents", form, call, "pre-2")


async def intent_of(wire: StripeWire, call: Call) -> Intent:
    """The attempt's intent as it is now. Raises `OutcomeUnknown`.

    That Stripe has none by an id that it gave proves nothing of the attempt: the key is another account's, say.
    """
    id_ = call.attempt_reference or await _id_of(wire, call)
    found = await wire.get(intent_path(id_), Intent, {"expand": list(EXPANDED)})
    if found is None or found.metadata.get(REFERENCE) != call.reference:
        raise OutcomeUnknown("an answer to another request, or none")
    return wire.own(found, call)


async def authorization_of(wire: StripeWire, call: Call) -> Intent:
    """The intent that a capture or void is about. Raises `OutcomeUnknown`."""
    if call.authorization_reference is None:
        raise OutcomeUnknown("the authorization has no reference of Stripe's")
    found = await wire.get(intent_path(call.authorization_reference), Intent, {"expand": list(EXPANDED)})
    if found is None:
        raise OutcomeUnknown("the authorization is not there")
    return wire.own(found, call)


async def refunds_of(wire: StripeWire, intent_id: str) -> tuple[StripeRefund, ...]:
    """Every refund of the intent, to the last page. Raises `OutcomeUnknown`, also for more than can be read."""
    found: list[StripeRefund] = []
    for _ in range(PAGES_MAX):
        query: dict[str, FormValue] = {"payment_intent": intent_id, "limit": PAGE}
        if found:
            query["starting_after"] = found[-1].id
        page = await wire.get("/v1/refunds", StripeRefunds, query)
        if page is None:
            raise OutcomeUnknown("the refunds are not there")
        found += page.data
        if not page.has_more:
            return tuple(found)
        if not page.data:
            break
    raise OutcomeUnknown("more refunds than can be read")


async def _id_of(wire: StripeWire, call: Call) -> str:
    """Its id, where no answer told it. A create that comes again under its key is answered as the first one was."""
    age = timedelta() if call.claimed_at is None else datetime.now(UTC) - call.claimed_at
    if age < KEYS_LAST:
        response = await wire.ask(create(wire, call))
        if not is_ok(response):
            raise OutcomeUnknown(f"HTTP {response.status}: its create is not answered as it was")
        return wire.own(response.read(Intent), call).id
    assert call.claimed_at is not None
    return await _listed(wire, call, around=call.claimed_at)


async def _listed(wire: StripeWire, call: Call, *, around: datetime) -> str:
    """Its id by the list. That it is not there proves nothing: the list may be behind, or the create never came."""
    after, before = around - CREATED_AROUND, around + CREATED_AROUND
    query: dict[str, FormValue] = {
        "created": {"gte": int(after.timestamp()), "lte": int(before.timestamp())},
        "limit": PAGE,
    }
    for _ in range(PAGES_MAX):
        page = await wire.get("/v1/payment_intents", Intents, query)
        if page is None:
            break
        for intent in page.data:
            if intent.metadata.get(REFERENCE) == call.reference:
                return intent.id
        if not page.has_more or not page.data:
            break
        query["starting_after"] = page.data[-1].id
    raise OutcomeUnknown("its key may be pruned, and it is in no list")

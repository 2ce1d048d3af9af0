"""Orders. Source: api/orders/create, fetch-all, fetch-with-id, fetch-payments."""

import hashlib
import json

from devstack.acquirer.razorpay import objects, parameters, shapes, wishes
from devstack.acquirer.razorpay.call import Call
from devstack.acquirer.razorpay.errors import Json, Refusal, invalid
from devstack.acquirer.razorpay.objects import Stored
from devstack.acquirer.razorpay.parameters import (
    boolean,
    digits,
    hashed,
    integer,
    one_of,
    passive,
    text_up_to,
)

AUTOMATIC_EXPIRY_MINUTES_MIN, EXPIRY_MINUTES_MAX = 12, 7200
_ZERO_DECIMALS = ("JPY", "KRW", "VND", "CLP", "ISK", "XAF", "XOF", "PYG", "RWF", "UGX", "VUV")
_CAPTURE_OPTIONS = {
    "automatic_expiry_period": integer,
    "manual_expiry_period": integer,
    "refund_speed": one_of("normal", "optimum"),
}
CREATE = {
    "amount": integer,
    "currency": text_up_to(3),
    "receipt": text_up_to(40),
    "unique_receipt": boolean,
    "notes": parameters.notes,
    "partial_payment": boolean,
    "payment": hashed(
        {
            "capture": one_of("automatic", "manual"),
            "capture_options": hashed(_CAPTURE_OPTIONS, required=("refund_speed",)),
        },
        required=("capture",),
    ),
    **passive("first_payment_min_amount", "customer_id", "method", "offers", "discount"),
}
LIST = parameters.PAGED | {"authorized": digits, "receipt": text_up_to(40), **passive("expand[]")}
PAYMENTS = parameters.PAGED | passive("expand[]")


def create(call: Call, form: Json) -> Json:
    """An order, new, or the one that has this receipt where that was asked to be unique.

    Source: s2s/test-s2s/best-practices/retries-and-idempotency: with `unique_receipt` a repeat gets the same order;
    error-index: "Order receipt should be unique.", which is answered where anything else differs.
    """
    _check_amount(form["amount"], form["currency"])
    _check_capture(form.get("payment"))
    wishes.checked(form.get("notes", {}))
    fingerprint = hashlib.sha256(json.dumps(form, sort_keys=True).encode()).hexdigest()
    if form.get("unique_receipt") and "receipt" in form:
        first = with_receipt(call, form["receipt"])
        if first is not None:
            if call.account.receipt_reused == "same_order" and first.aside["fingerprint"] == fingerprint:
                return first.body
            raise invalid("Order receipt should be unique.", field="receipt")
    own_id, notes = objects.new_id("order"), form.get("notes", {})
    payment_reference = call.payment_reference(notes, form.get("receipt") or own_id)
    aside = {
        "reference": call.reference(notes, payment_reference),
        "payment_reference": payment_reference,
        "notes": notes,
        "capture": form.get("payment"),
        "fingerprint": fingerprint,
    }
    stored = Stored(own_id, shapes.order(own_id, form, created=call.seconds), aside)
    call.put(stored)
    return stored.body


def with_receipt(call: Call, receipt: str) -> Stored | None:
    """The first order with the receipt."""
    found = objects.listed(
        *(call.db, call.account, "order"),
        where={"receipt": receipt},
        query={},
        count=1,
        skip=0,
        newest_first=False,
    )
    return found[0] if found else None


def list_(call: Call, query: Json) -> Json:
    """Orders, newest first, as the sample of api/orders/fetch-all has them.

    Without `unique_receipt` several orders may have the same receipt: that sample shows two.
    """
    count, skip = parameters.window(query)
    where = {"receipt": query["receipt"]} if "receipt" in query else {}
    found = objects.listed(
        *(call.db, call.account, "order"), where=where, query=query, count=count, skip=skip, newest_first=True
    )
    return objects.collection([stored.body for stored in found])


def retrieve(call: Call, query: Json, own_id: str) -> Json:
    """The order as it is."""
    return call.get("order", own_id).body


def payments(call: Call, query: Json, own_id: str) -> Json:
    """All payments of the order, oldest first, as the sample of api/orders/fetch-payments has them.

    That page names no parameter and says that all that are authorized or failed are in the answer; that those which
    still wait are, too, is a *guess* (`created` is in its list of statuses); `count` and `skip` are those of
    api/understand, "Pagination", and 100 at most.
    """
    order = call.get("order", own_id)
    count, skip = parameters.window(query, default=parameters.COUNT_MAX)
    found = objects.listed(
        *(call.db, call.account, "payment"),
        where={"order_id": order.id},
        query=query,
        count=count,
        skip=skip,
        newest_first=False,
    )
    return objects.collection([stored.body for stored in found])


def _check_amount(amount: int, currency: str) -> None:
    """Source: api/orders/create, "Errors" and `amount`: at least 1.00; three decimals end in 0."""
    if len(currency) != 3 or not currency.isalpha() or not currency.isupper():
        raise invalid("The currency is not supported.", field="currency")
    smallest = 1 if currency in _ZERO_DECIMALS else 100
    if amount < smallest:
        raise invalid(f"The amount must be at least {currency} 1.00", field="amount")
    if currency in ("BHD", "JOD", "KWD", "OMR", "TND") and amount % 10:
        raise invalid("The amount must end in 0 in a currency of three decimals.", field="amount")


def _check_capture(settings: Json | None) -> None:
    """Raises `Refusal`. Source: payments/payments/capture-settings/api, "Request Parameters"."""
    if settings is None or "capture_options" not in settings:
        return
    options, is_automatic = settings["capture_options"], settings["capture"] == "automatic"
    automatic = options.get("automatic_expiry_period")
    manual = options.get("manual_expiry_period", EXPIRY_MINUTES_MAX)
    if is_automatic and automatic is None:
        raise _wrong_period("automatic_expiry_period", "is required where capture is automatic")
    if automatic is not None and is_automatic and automatic < AUTOMATIC_EXPIRY_MINUTES_MIN:
        raise _wrong_period("automatic_expiry_period", f"must be at least {AUTOMATIC_EXPIRY_MINUTES_MIN}")
    if manual > EXPIRY_MINUTES_MAX:
        raise _wrong_period("manual_expiry_period", f"may not be greater than {EXPIRY_MINUTES_MAX}")
    if manual < (automatic or 0):
        raise _wrong_period("manual_expiry_period", "must be at least the automatic_expiry_period")


def _wrong_period(name: str, said: str) -> Refusal:
    field = f"payment.capture_options.{name}"
    return invalid(f"The {name} {said}.", field=field)

"""Customers, as far as cards are kept with them.

Source: api/customers/create; api/payment_methods/attach and /detach; payments/save-during-payment: with
`setup_future_usage` the payment method is attached to the intent's customer once the payment is confirmed.
"""

from devstack.acquirer.stripe import objects, parameters
from devstack.acquirer.stripe.call import Call
from devstack.acquirer.stripe.errors import Json, invalid
from devstack.acquirer.stripe.objects import Stored
from devstack.acquirer.stripe.parameters import metadata, passive, text

KNOWN = {
    "metadata": metadata,
    "expand": parameters.listed(text),
    **passive(
        "address", "balance", "business_name", "cash_balance", "description", "email", "individual_name"
    ),
    **passive(
        "invoice_prefix", "invoice_settings", "name", "next_invoice_sequence", "payment_method", "phone"
    ),
    **passive("preferred_locales", "shipping", "source", "tax", "tax_exempt", "tax_id_data", "test_clock"),
}
DETACH = {"expand": parameters.listed(text)}
# Source: spec, detach: "After a PaymentMethod is detached, it can no longer be used for a payment".
_USED_UP = "The provided PaymentMethod was detached from a Customer. It may not be used again."


def create(call: Call, form: Json) -> Json:
    """Somebody with whom a card may be kept."""
    own_id = objects.new_id("cus")
    names = parameters.merged({}, form.get("metadata", {}))
    body = {
        "id": own_id,
        "object": "customer",
        "balance": 0,
        "created": call.seconds,
        "default_source": None,
        "description": form.get("description"),
        "email": form.get("email"),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": call.account.livemode,
        "metadata": names,
        "shipping": None,
    }
    reference = call.reference(names, own_id)
    aside = {"reference": reference, "payment_reference": call.payment_reference(names, reference)}
    call.put(Stored(body, aside))
    return body


def checked(call: Call, intent: Stored, method: Stored) -> None:
    """Raises `Refusal` for a payment method that is another customer's, or of no use any more."""
    if method.aside.get("detached"):
        raise invalid(_USED_UP, param="payment_method")
    customer = method.body["customer"]
    if customer is not None and customer != intent.body["customer"]:
        raise invalid("The PaymentMethod belongs to another Customer.", param="payment_method")


def kept(call: Call, intent: Stored, method: Stored) -> None:
    """The payment method is with the intent's customer, if it was to be kept."""
    customer = intent.body["customer"]
    if customer is None or intent.body["setup_future_usage"] is None or method.body["customer"] == customer:
        return
    method.body["customer"] = customer
    call.put(method)
    call.happened("payment_method.attached", method)


def detach(call: Call, form: Json, own_id: str) -> Json:
    """The payment method is nobody's, and can be used no more."""
    method = call.get("payment_method", own_id, param="payment_method")
    if method.body["customer"] is None:
        message = "The payment method you provided is not attached to a customer so detachment is impossible."
        raise invalid(message, param="payment_method")
    before = {"customer": method.body["customer"]}
    method.body["customer"] = None
    method.aside["detached"] = True
    call.put(method)
    call.happened("payment_method.detached", method, before)
    return method.body

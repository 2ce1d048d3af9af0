"""The operations on saved cards: what each does, takes and answers."""

from typing import Final

from api.openapi import objects
from api.openapi.description import (
    ID_IN_PATH,
    KEY_CODES,
    LIST_CODES,
    OBJECT_CODES,
    OK,
    PAGE,
    POST,
    Description,
    list_of,
    model_ref,
    query,
)
from api.problems import CREATED, NO_CONTENT
from api.schemas.payment_methods import CreatePaymentMethod
from payonce.domain.payment_methods import CUSTOMER_ID_MAX_LENGTH

_METHOD: Final = model_ref(objects.SavedPaymentMethodView)

CREATE_PAYMENT_METHOD = Description(
    id="createPaymentMethod",
    tag="Payment methods",
    summary="Save a card without a payment",
    text="For merchants whose `card_storage` is `vault`; others save cards with a payment, or not at all"
    " (`card_storage_refused`). The same is answered for a card that was issued in India, or in a country that is not"
    " known. The `cvc` is not kept. Nothing is sent to an acquirer: whether the card works, its first payment tells."
    " The same card saved again is another payment method with the same `fingerprint`. Too many different numbers"
    " within an hour: `rate_limited`. 503: the keys of the vault are out of reach, and nothing was saved.",
    answers={CREATED: ("The saved card", _METHOD)},
    codes=(*KEY_CODES, "invalid_card_number", "card_expired", "card_storage_refused"),
    body=CreatePaymentMethod,
    example={
        "type": "card",
        "card": {"number": "4242424242424242", "exp_month": 12, "exp_year": 2030},
        "customer": {"id": "customer-7"},
    },
    parameters=POST,
)
LIST_PAYMENT_METHODS = Description(
    id="listPaymentMethods",
    tag="Payment methods",
    summary="List saved cards, newest first",
    answers={OK: ("A page of saved cards", list_of(objects.SavedPaymentMethodView))},
    codes=LIST_CODES,
    parameters=(
        *PAGE,
        query(
            "customer",
            {"type": "string", "maxLength": CUSTOMER_ID_MAX_LENGTH},
            "Only those of the customer with this id",
        ),
    ),
)
GET_PAYMENT_METHOD = Description(
    id="getPaymentMethod",
    tag="Payment methods",
    summary="Get a saved card",
    answers={OK: ("The saved card", _METHOD)},
    codes=OBJECT_CODES,
    parameters=(ID_IN_PATH,),
)
DELETE_PAYMENT_METHOD = Description(
    id="deletePaymentMethod",
    tag="Payment methods",
    summary="Delete a saved card",
    text="No payment is made with it from the answer on. Payments that were admitted before go on; once they are"
    " decided, and a day later at the latest, its number is erased, and the acquirer's token is deleted until the"
    " acquirer confirms it.",
    answers={NO_CONTENT: ("It is gone", None)},
    codes=(*OBJECT_CODES, "outcome_unknown"),
    parameters=(ID_IN_PATH,),
)

"""`POST /payments/details`: the shopper is back, and the payment is authorized or refused.

Source: online-payments/3d-secure/redirect-3ds2: `details.redirectResult` as it came with the return; spec,
`PaymentDetailsRequest`, `PaymentDetailsResponse`.
"""

import sqlite3

from devstack.acquirer.adyen import cards, objects, payments, shapes
from devstack.acquirer.adyen.accounts import Account
from devstack.acquirer.adyen.call import Call
from devstack.acquirer.adyen.errors import Json, in_progress, invalid
from devstack.acquirer.adyen.orders import PaymentDetails


def meant(db: sqlite3.Connection, order: PaymentDetails, mine: list[Account]) -> Json:
    """The payment that the shopper came back from, of one of these accounts. Raises `Refusal`.

    Source: spec, 422: a validation error; code and wording of what cannot be decrypted: Adyen/adyen-php-api-library
    issue 138. That a return which is not Adyen's is answered so is a *guess*.
    """
    result = order.details.redirectResult
    found = (
        objects.of_member(db, "page", order.paymentData)
        if result is None
        else objects.of_member(db, "redirect_result", result)
    )
    if found is None or found["account"] not in [account.id for account in mine]:
        raise invalid("174", "Unable to decrypt data")
    return found


def submitted(call: Call, order: PaymentDetails, payment: Json) -> Json:
    """What is answered. Raises `Refusal` where it was submitted before.

    Source: Adyen/adyen-magento2 issue 2211. Of UPI, whose outcome comes by itself, the state as it is: a *guess*.
    """
    if order.details.redirectResult is None:
        return shapes.payment_answer(payment)
    if payment["is_processed"] or payment["state"] != "waiting":
        raise in_progress()
    payment["is_processed"] = True
    match payment["decision"]:
        case "fail":
            payments.refuse(payment, cards.NOT_AUTHENTICATED)
        case "cancel":
            payments.refuse(payment, cards.CANCELLED_BY_SHOPPER)
        case _:
            payment["is_authenticated"] = True
    payments.decided(call, payment)
    return shapes.payment_answer(payment)

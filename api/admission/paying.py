"""A saved card that a payment is made with: found in the admission, and usable until that ends."""

from dataclasses import replace
from datetime import UTC, datetime

from api.admission.requests import NewPayment
from payonce.domain.ids import ID_PATTERN
from payonce.domain.payment import Payment
from payonce.domain.payment_methods import SavedCard, StoredCredential
from payonce.domain.saved_cards import check_usable, no_such_method
from payonce.storage import payment_methods
from payonce.storage.driver.connection import Connection
from payonce.storage.merchants import Caller


async def find(connection: Connection, caller: Caller, new: NewPayment) -> SavedCard | None:
    """The saved card; None for a payment without one, for which nothing is read. Raises `InvalidRequest`.

    Nobody deletes it before the transaction ends.
    """
    if new.token is None:
        return None
    if not ID_PATTERN.match(new.token):
        raise no_such_method()
    method, credentials = await connection.fetch_together(
        payment_methods.to_pay_with(new.token, merchant_id=caller.merchant_id, mode=caller.mode),
        payment_methods.credentials_of(new.token),
    )
    usable = check_usable(
        method,
        customer_id=(new.customer or {}).get("id"),
        off_session=new.off_session,
        now=datetime.now(UTC),
    )
    return SavedCard(method=usable, credentials=credentials)


def with_saved(payment: Payment, new: NewPayment, saved: SavedCard | None) -> Payment:
    """The payment that is made with it, at its account."""
    if saved is None:
        return payment
    method = saved.method
    card = {
        "brand": method.brand,
        "last4": method.last4,
        "exp_month": method.exp_month,
        "exp_year": method.exp_year,
        "token": method.id,
    }
    stored = StoredCredential(
        token=method.id,
        setup=new.setup,
        reason=new.reason,
        credential=saved.at(payment.connector_account),
        in_memory=new.cvc is not None,
    )
    return replace(payment, payment_method={"type": "card", "card": card}, stored_credential=stored.kept())

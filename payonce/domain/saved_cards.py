"""What a payment may ask of saved cards, and whether its approval saves one."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from payonce.domain.answers import decline_error
from payonce.domain.errors import InvalidRequest
from payonce.domain.facts import Approved, Cancelled, DeclineCode, Declined, Expired, Outcome
from payonce.domain.operations import Attempt
from payonce.domain.payment import Payment
from payonce.domain.payment_methods import (
    CardStorage,
    CredentialKind,
    NetworkTransaction,
    PaymentMethod,
    Reason,
    Setup,
    StoredCredential,
)
from payonce.domain.sca import HandedIn, Sca

REFUSED: Final = "card_storage_refused"
TOKEN: Final = "/payment_method/token"  # noqa: S105 - a JSON Pointer
_NOT_VAULTED: Final = "IN"
"""Where only the issuer and the networks may keep card numbers. Source: RBI/2021-22/96."""


def check_saving(setup: Setup | None, *, method: str, sca: Sca | None) -> None:
    """Raises `InvalidRequest` for what no payment may ask that saves its card."""
    if setup is None:
        return
    if method != "card":
        raise InvalidRequest("Only cards are saved.", pointer="/setup")
    if setup is Setup.OFF_SESSION and sca is not None and sca.exemption is not None:
        raise InvalidRequest(
            "A payment that sets a card up for payments without its customer takes no exemption.",
            pointer="/sca/exemption",
        )


def check_storage(storage: CardStorage, issuer_country: str | None, *, pointer: str) -> None:
    """Raises `InvalidRequest` where the merchant's cards are not saved, or this one may not be."""
    if storage == "none":
        raise InvalidRequest("This merchant's cards are not saved.", pointer=pointer, code=REFUSED)
    if storage == "vault" and issuer_country in (None, _NOT_VAULTED):
        raise InvalidRequest(
            "The vault keeps no card that was issued in India, or in a country that is not known.",
            pointer=pointer,
            code=REFUSED,
        )


def must_be_erased(reply: Approved | Declined | None) -> bool:
    """Whether the acquirer says of the issuer that no vault may keep the number, whatever the table said."""
    return issuer_country(reply) == _NOT_VAULTED


def issuer_country(reply: Approved | Declined | None) -> str | None:
    """What the acquirer says of the issuer, which counts more than a table of ours."""
    evidence = None if reply is None else reply.evidence
    return None if evidence is None else evidence.issuer_country


def is_saved(stored: StoredCredential | None, reply: Approved) -> bool:
    """Whether the payment saves its card, now that it is approved."""
    if stored is None or not stored.saves:
        return False
    if stored.credential is CredentialKind.OF_ACQUIRER:
        return bool(reply.token)
    return not must_be_erased(reply)


def shown(method: Mapping[str, Any], stored: StoredCredential | None, reply: Approved) -> Mapping[str, Any]:
    """The payment method of an approved payment, as the API shows it: with the token where its card is saved."""
    if stored is None or not is_saved(stored, reply):
        return method
    return {**method, "card": {**method["card"], "token": stored.token}}


def network_transaction(reply: Approved | None, *, account: str) -> NetworkTransaction | None:
    """The scheme's word for this payment, where the acquirer says it whole and signs what it says."""
    evidence = None if reply is None else reply.evidence
    if reply is None or evidence is None or not evidence.signed:
        return None
    id_, on = evidence.network_transaction_id, evidence.network_transaction_date
    if id_ is None or on is None:
        return None
    amount = evidence.network_transaction_amount_minor
    return NetworkTransaction(
        scheme=evidence.scheme,
        id=id_,
        amount_minor=reply.amount_minor if amount is None else amount,
        currency=reply.currency,
        on=on,
        connector_account=account,
    )


def check_paying(
    *,
    token: str | None,
    cvc: str | None,
    off_session: bool,
    reason: Reason | None,
    setup: Setup | None,
    sca: Sca | None,
    authentication: HandedIn | None,
) -> None:
    """Raises `InvalidRequest` for what no payment may ask, whatever the saved card is."""
    if not off_session:
        if reason is not None:
            raise InvalidRequest("It is the reason of a payment without its customer.", pointer="/reason")
        return
    if token is None:
        raise _not_set_up()
    if reason is None:
        raise InvalidRequest("It is required with off_session.", pointer="/reason")
    beside = {
        "/setup": setup is not None,
        "/authentication": authentication is not None,
        "/payment_method/cvc": cvc is not None,
        "/sca/challenge": sca is not None and sca.challenge == "force",
    }
    wrong = [pointer for pointer, given in beside.items() if given]
    if wrong:
        raise InvalidRequest("Nobody is there for that: it must not come with off_session.", pointer=wrong[0])


def check_usable(
    method: PaymentMethod | None, *, customer_id: str | None, off_session: bool, now: datetime
) -> PaymentMethod:
    """The merchant's payment method, which this payment may be made with. Raises `InvalidRequest`.

    One that belongs to another customer is answered as one that is not there.
    """
    if method is None or method.customer_id not in (None, customer_id):
        raise no_such_method()
    if off_session and method.setup is not Setup.OFF_SESSION:
        raise _not_set_up()
    if method.expired(now):
        raise InvalidRequest("The card's month is over.", pointer=TOKEN, code="card_expired")
    return method


def no_such_method() -> InvalidRequest:
    """As if there had never been one."""
    return InvalidRequest("There is no such payment method.", pointer=TOKEN)


def is_unattended(stored: StoredCredential | None) -> bool:
    """Whether nobody is there who could act: what asks for that is a decline."""
    return stored is not None and stored.by_merchant


def unattended(payment: Payment, attempt: Attempt, fact: Outcome) -> dict[str, Any] | None:
    """`last_error` of a payment that somebody was to authenticate while nobody was there; None of any other."""
    challenged = attempt.asked or isinstance(fact, Cancelled | Expired)
    if not challenged or not is_unattended(payment.stored):
        return None
    return decline_error(Declined(DeclineCode.AUTHENTICATION_REQUIRED))


def _not_set_up() -> InvalidRequest:
    return InvalidRequest(
        "It needs a saved card that its customer set up for payments without them.", pointer="/off_session"
    )

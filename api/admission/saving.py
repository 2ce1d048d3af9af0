"""A card that is to be saved with its payment: sealed before the transaction, and put by it, provisionally."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from api.admission.requests import NewPayment
from payonce.domain.cards import Card
from payonce.domain.payment import Payment
from payonce.domain.payment_methods import (
    Credential,
    CredentialKind,
    PaymentMethod,
    SavedState,
    Setup,
    StoredCredential,
)
from payonce.domain.saved_cards import check_storage
from payonce.runtime import Runtime
from payonce.storage import payment_methods, risk_facts
from payonce.storage.driver.connection import Connection
from payonce.storage.merchants import Caller
from payonce.vault.keys import VaultUnavailable
from payonce.vault.saving import SealedCard, Vault

PROVISIONAL_FOR: Final = timedelta(hours=24)  # as in the vault: see `Vault.put`

SealedOrNot = SealedCard | VaultUnavailable | None
"""The card for the vault, or why it is not sealed; None: nothing goes there."""


def in_vault(caller: Caller, new: NewPayment) -> bool:
    """Whether the vault is to keep the card."""
    return new.saves is not None and caller.card_storage == "vault"


async def seal(runtime: Runtime, caller: Caller, new: NewPayment) -> SealedOrNot:
    """What `put` needs. That the keys are out of reach is said once the key is known to be new: see `put`."""
    if not in_vault(caller, new) or new.card is None or runtime.vault is None:
        return None
    try:
        return await runtime.vault.seal(new.card.number, merchant_id=caller.merchant_id, mode=caller.mode)
    except VaultUnavailable as unavailable:
        return unavailable


def check(runtime: Runtime, caller: Caller, new: NewPayment) -> None:
    """Raises `InvalidRequest` for a card that is to be saved, and may not be."""
    if new.saves is not None:
        country = runtime.issuers.country_of(new.card, mode=caller.mode)
        check_storage(caller.card_storage, country, pointer="/setup")


async def put(
    connection: Connection,
    runtime: Runtime,
    payment: Payment,
    *,
    caller: Caller,
    new: NewPayment,
    sealed: SealedOrNot,
) -> Payment:
    """The payment, and with it the card that it saves: nobody can pay with that before it is approved.

    Raises `VaultUnavailable`, and `TooManySaved`: then nothing is admitted.
    """
    if new.card is None or new.saves is None:
        return payment
    method = replace(
        _provisional(payment, new.card, setup=new.saves),
        id=runtime.ids.saved_with(payment_id=payment.id),
        issuer_country=runtime.issuers.country_of(new.card, mode=payment.mode),
    )
    kind, given = CredentialKind.OF_ACQUIRER, []  # which comes with the approval
    if in_vault(caller, new):
        kind = CredentialKind.VAULTED
        record, fingerprint = await _vaulted(connection, runtime.vault, sealed)
        given.append(Credential(payment_method_id=method.id, kind=kind, vault_record=record))
        method = replace(method, fingerprint=fingerprint)
    await payment_methods.insert(connection, method, given, sweep_at=payment.created_at + PROVISIONAL_FOR)
    of_card = runtime.risk_subjects.card(new.card.number, merchant_id=payment.merchant_id, mode=payment.mode)
    await risk_facts.save(connection, method.id, payment.merchant_id, payment.mode, card=of_card)
    stored = StoredCredential(token=method.id, saves=True, setup=new.saves, credential=kind)
    return replace(payment, stored_credential=stored.kept())


async def _vaulted(connection: Connection, vault: Vault | None, sealed: SealedOrNot) -> tuple[str, str]:
    """The record in which the card lies now, and the fingerprint that its merchant is shown."""
    if isinstance(sealed, VaultUnavailable):
        raise sealed
    if vault is None or sealed is None:
        raise VaultUnavailable("no keys are named: no card can be saved")
    return sealed.place.record_id, await vault.put(connection, sealed)


def _provisional(payment: Payment, card: Card, *, setup: Setup) -> PaymentMethod:
    customer = payment.customer or {}
    return PaymentMethod(
        id="",
        merchant_id=payment.merchant_id,
        mode=payment.mode,
        state=SavedState.PROVISIONAL,
        setup=setup,
        customer_id=customer.get("id"),
        brand=card.brand,
        last4=card.last4,
        exp_month=card.exp_month,
        exp_year=card.exp_year,
        fingerprint=None,
        payment_id=payment.id,
        created_at=payment.created_at,
        updated_at=payment.created_at,
    )

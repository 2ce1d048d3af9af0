"""Paying with a saved card: what an attempt needs of it, and how its number is taken from the vault.

The number is taken once the claim is proven, by who may send it and for this one call; that it is taken is in the
audit log with the claim. An acquirer's own token needs no vault.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from payonce.connectors.base import Call
from payonce.domain.audit import Actor, ActorKind
from payonce.domain.cards import Card
from payonce.domain.facts import FailureCode, NotProcessed, Unsent
from payonce.domain.payment import Payment
from payonce.domain.payment_methods import CredentialKind, SavedCard
from payonce.logging import get_logger
from payonce.storage import audit, payment_methods
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import Database, within
from payonce.vault import doors
from payonce.vault.envelope import SealedNumber, VaultPlace
from payonce.vault.keys import CannotOpen, VaultUnavailable
from payonce.vault.saving import CARD, NotThere, Vault

TAKE_WITHIN_S: Final = 2.0  # of the 5 s that a claim may be sent in

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Takes:
    """The number that an attempt needs, and what the request said beside it."""

    place: VaultPlace
    exp_month: int
    exp_year: int
    cvc: str | None = field(default=None, repr=False)

    def card(self, number: str) -> Card:
        return Card(number, self.exp_month, self.exp_year, self.cvc)


async def saved_card(connection: Connection, payment: Payment) -> SavedCard | None:
    """The saved card that the payment is made with, as long as it is not erased; None for any other payment."""
    stored = payment.stored
    if stored is None or not stored.paid_with:
        return None
    method, credentials = await connection.fetch_together(
        payment_methods.in_any_state(stored.token), payment_methods.credentials_of(stored.token)
    )
    return None if method is None else SavedCard(method=method, credentials=credentials)


def with_credential(call: Call, payment: Payment, saved: SavedCard | None) -> Call:
    """With the account's own token, or what the scheme said of the payment that set the card up.

    That is told with the number, where the merchant asks for the money: an acquirer knows it of its own tokens.
    """
    stored = payment.stored
    if stored is None or saved is None:
        return call
    credential = saved.credential(stored.credential, payment.connector_account)
    if credential is None:
        return call
    if stored.credential is CredentialKind.OF_ACQUIRER:
        return replace(call, token=credential.token)
    told = credential.network_transaction if stored.by_merchant else None
    return replace(call, network_transaction=told)


def to_take(payment: Payment, saved: SavedCard | None, *, cvc: str | None = None) -> Takes | None:
    """What is taken from the vault for an attempt of the payment; None: nothing."""
    stored = payment.stored
    if stored is None or saved is None or stored.credential is not CredentialKind.VAULTED:
        return None
    credential = saved.vaulted
    if credential is None or credential.vault_record is None:
        return None
    place = VaultPlace(credential.vault_record, payment.merchant_id, payment.mode, CARD)
    method = saved.method
    return Takes(place=place, exp_month=method.exp_month, exp_year=method.exp_year, cvc=cvc)


async def note(connection: Connection, takes: Takes | None, call: Call, *, by: Actor) -> None:
    """That the number is taken, and for whom, is in the audit log once the claim holds; no round trip more."""
    if takes is None or call.stored is None:
        return
    await audit.accessed(
        connection,
        by,
        record_id=takes.place.record_id,
        payment_id=call.payment_id,
        merchant_id=takes.place.merchant_id,
        mode=takes.place.mode,
        purpose=call.stored.reason or "on_session",
    )


def as_process(owner: str) -> Actor:
    """Who goes on with a payment that was admitted before."""
    return Actor(kind=ActorKind.PROCESS, id=owner)


class Numbers:
    """The vault, to who sends."""

    def __init__(self, database: Database, vault: Vault | None) -> None:
        self._database = database
        self._vault = vault

    async def taken(self, takes: Takes) -> Card | Unsent | NotProcessed:
        """The card, for one call; or that nothing is sent without it.

        Where the keys, or Postgres, are out of reach the next attempt may have them. A number that is gone, or does
        not open, does not come back.
        """
        try:
            return await self._taken(takes)
        except (NotThere, CannotOpen) as error:
            log.error("saved_card_lost", record=takes.place.record_id, error=type(error).__name__)
            return NotProcessed(FailureCode.CARD_DATA_LOST)
        except Exception as error:  # whatever it was, nothing is sent without the number
            log.warning("saved_card_not_taken", record=takes.place.record_id, error=type(error).__name__)
            return Unsent(getattr(error, "code", "not_taken"))

    async def _taken(self, takes: Takes) -> Card:
        if self._vault is None:
            raise VaultUnavailable("no keys of a vault are named here")
        envelope = await within(TAKE_WITHIN_S, self._envelope(takes.place))
        return takes.card(await self._vault.open(envelope, takes.place))

    async def _envelope(self, place: VaultPlace) -> SealedNumber | None:
        async with self._database.reading() as connection:
            return await doors.take(connection, place)

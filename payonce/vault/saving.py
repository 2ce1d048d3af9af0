"""Saving a card number, and reading it again."""

from dataclasses import dataclass, field
from typing import Final

from payonce.domain.errors import PaymentError
from payonce.domain.ids import random_id
from payonce.settings import Settings
from payonce.storage.driver.connection import Connection
from payonce.vault import doors
from payonce.vault.envelope import SealedNumber, VaultPlace, seal, unseal
from payonce.vault.fingerprints import Fingerprints, Hashes
from payonce.vault.keys import WrappingKeys, read_key_file
from payonce.vault.transit import TransitKeys, TransitServer

CARD: Final = "card"


class TooManySaved(PaymentError):
    """The merchant saved more card numbers in an hour than it may."""

    code = "rate_limited"
    retryable = True
    retry_after_s = 60.0  # the hour goes on with each number that was saved in it


class NotThere(PaymentError):
    """The card is erased, or was never kept."""

    code = "not_found"


@dataclass(frozen=True, slots=True)
class SealedCard:
    """A card that is ready to be put: what it takes is done before the transaction begins."""

    place: VaultPlace
    envelope: SealedNumber
    hashes: Hashes = field(repr=False)


class Vault:
    """Seals and opens cards; what lies in Postgres is worth nothing without its keys."""

    def __init__(self, keys: WrappingKeys, fingerprints: Fingerprints, *, saves_max: int) -> None:
        self.keys = keys
        self._fingerprints = fingerprints
        self._saves_max = saves_max

    async def seal(self, number: str, *, merchant_id: str, mode: str) -> SealedCard:
        """The card, not stored yet. Raises `VaultUnavailable`; no transaction may be open meanwhile."""
        place = VaultPlace(random_id("vc"), merchant_id, mode, CARD)
        hashes = self._fingerprints.of(number, merchant_id=merchant_id, mode=mode)
        return SealedCard(place, await seal(number, place, self.keys), hashes)

    async def put(self, connection: Connection, card: SealedCard) -> str:
        """The card is there for 24 h, or until `doors.keep`; the fingerprint that its merchant is shown.

        Raises `TooManySaved`.
        """
        shown = await doors.put(
            *(connection, card.place, card.envelope, card.hashes),
            shown=random_id("fp"),
            saves_max=self._saves_max,
        )
        if shown is None:
            raise TooManySaved
        return shown

    async def open(self, envelope: SealedNumber | None, place: VaultPlace) -> str:
        """The number of what `doors.take` found, after its transaction. Raises `NotThere`, `CannotOpen` and
        `VaultUnavailable`.
        """
        if envelope is None:
            raise NotThere
        return await unseal(envelope, place, self.keys)


def open_vault(settings: Settings) -> Vault | None:
    """The vault, or None where no keys are named. Raises `SettingsWrong`."""
    keys = _keys(settings)
    if keys is None:
        return None
    fingerprints = Fingerprints(settings.fingerprint_keys())
    return Vault(keys, fingerprints, saves_max=settings.vault_saves_per_hour)


def _keys(settings: Settings) -> WrappingKeys | None:
    if settings.vault_key_file is not None:
        return read_key_file(settings.vault_key_file)
    if settings.vault_transit_url is None or settings.vault_transit_token_file is None:
        return None
    return TransitKeys(
        TransitServer(
            url=settings.vault_transit_url,
            key=settings.vault_transit_key,
            token_file=settings.vault_transit_token_file,
            mount=settings.vault_transit_mount,
            ca=settings.vault_transit_ca,
        )
    )

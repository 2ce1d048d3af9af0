"""Endpoints' secrets in use: made and sealed for the API, opened and kept at hand for the relay."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from payonce.sealing import Sealer
from payonce.storage.webhooks.secrets import StoredSecret, seal_secret
from payonce.webhooks.signing import Signing, new_secret, public_key

OPENED_MAX: Final = 10_000  # about 2 MB


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A secret as it is stored, and what of it the merchant is shown."""

    stored: StoredSecret
    secret: str | None = field(repr=False)  # of an hmac endpoint, this once
    public_key: str | None  # of an ed25519 endpoint


def make_secret(sealer: Sealer, *, endpoint_id: str, signing: Signing, at: datetime) -> NewSecret:
    """A secret that no endpoint had before, to be stored as the endpoint's current one."""
    plain = new_secret(signing)
    stored = seal_secret(sealer, plain, endpoint_id=endpoint_id, algorithm=signing.value, at=at)
    if signing is Signing.ED25519:
        return NewSecret(stored, None, public_key(plain))
    return NewSecret(stored, plain, None)


def public_key_of(sealer: Sealer, stored: StoredSecret) -> str:
    """The public key that belongs to a stored ed25519 secret. Raises `CannotUnseal`."""
    return public_key(sealer.unseal(stored.sealed, about=stored.about))


class SigningSecrets:
    """Opens secrets, each once: the newest `OPENED_MAX` of them stay in memory. A secret never changes."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._opened: OrderedDict[str, str] = OrderedDict()

    def of(self, stored: Sequence[StoredSecret]) -> tuple[str, ...]:
        """What signs, in the order given. Raises `CannotUnseal`."""
        return tuple(self._open(secret) for secret in stored)

    def _open(self, secret: StoredSecret) -> str:
        plain = self._opened.get(secret.id)
        if plain is None:
            plain = self._opened[secret.id] = self._sealer.unseal(secret.sealed, about=secret.about)
            if len(self._opened) > OPENED_MAX:
                self._opened.popitem(last=False)
        return plain

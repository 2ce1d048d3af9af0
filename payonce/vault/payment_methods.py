"""Payment methods with what the vault holds of them: saved, deleted, and erased.

A number is erased with its payment method's deletion; or, where payments were admitted with it before, once they are
decided, and a day later at the latest. What takes more than a moment is left to the sweeper: see `erase`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from payonce.domain.payment_methods import Credential, CredentialKind, PaymentMethod, SavedState
from payonce.storage import erasing, outbox, payment_methods, risk_facts
from payonce.storage.driver.connection import Connection
from payonce.vault import doors
from payonce.vault.envelope import VaultPlace
from payonce.vault.saving import CARD, SealedCard, Vault

KEPT_FOR_UNDECIDED: Final = timedelta(hours=24)  # by then a create that was given back is closed


async def save(
    connection: Connection, vault: Vault, method: PaymentMethod, card: SealedCard
) -> PaymentMethod:
    """The payment method is there with its number and the event that tells of it, fingerprinted.

    Raises `TooManySaved`: then the transaction has to end without any of it.
    """
    saved = replace(method, fingerprint=await vault.put(connection, card))
    if not await doors.keep(connection, card.place):
        raise AssertionError("what was put a moment ago is there")
    credential = Credential(
        payment_method_id=saved.id, kind=CredentialKind.VAULTED, vault_record=card.place.record_id
    )
    await payment_methods.insert(connection, saved, [credential])
    await outbox.add_payment_method_event(connection, saved, "payment_method.active", now=saved.created_at)
    return saved


async def delete(connection: Connection, id_: str, *, merchant_id: str, mode: str) -> bool:
    """Nobody is admitted to pay with it from the commit on, and the event says so. False: there is no such one."""
    method = await connection.fetch(payment_methods.to_delete(id_, merchant_id=merchant_id, mode=mode))
    if method is None:
        return False
    now = datetime.now(UTC)
    undecided, credentials = await connection.fetch_together(
        erasing.is_being_paid_with(id_), payment_methods.credentials_of(id_)
    )
    if not undecided:
        await _erase_numbers(connection, method, credentials)
    gone = replace(method, state=SavedState.DELETED, deleted_at=now, updated_at=now)
    await payment_methods.save(connection, method, gone, sweep_at=now)
    await outbox.add_payment_method_event(connection, gone, "payment_method.deleted", now=now)
    return True


@dataclass(frozen=True, slots=True)
class Erased:
    """What came of a look at a payment method of which something is to be erased."""

    what: Literal["deleted", "never_kept"] | None = None  # if nothing is left of it, which it was
    tokens: Sequence[Credential] = ()  # which their acquirers have to delete first


async def erase(connection: Connection, id_: str) -> Erased:
    """As much is erased of the payment method as may be by now: of one that was never kept, all.

    Nothing happens to one that is there. Safe to repeat.
    """
    method = await connection.fetch(payment_methods.locked(id_))
    if method is None or method.state is SavedState.ACTIVE:
        return Erased()
    undecided, credentials = await connection.fetch_together(
        erasing.is_being_paid_with(id_), payment_methods.credentials_of(id_)
    )
    if method.state is SavedState.PROVISIONAL:
        left = await discard(connection, method, credentials, now=datetime.now(UTC))
        return Erased() if left else Erased("never_kept")
    if undecided and not _over(method):
        await erasing.look_again(connection, id_)
        return Erased()
    await _erase_numbers(connection, method, credentials)
    tokens = [one for one in credentials if one.kind is CredentialKind.OF_ACQUIRER]
    for credential in credentials:
        if credential not in tokens:
            await erasing.erase_credential(connection, credential)
    if tokens:
        return Erased(tokens=tokens)
    await erasing.finished(connection, id_)
    return Erased("deleted")


async def discard(
    connection: Connection, method: PaymentMethod, credentials: Sequence[Credential], *, now: datetime
) -> bool:
    """Nothing is left of a payment method that its payment did not keep; True: but tokens, which acquirers delete."""
    await _erase_numbers(connection, method, credentials)
    if all(one.kind is not CredentialKind.OF_ACQUIRER for one in credentials):
        await payment_methods.erase(connection, method.id)
        return False
    gone = replace(method, state=SavedState.DELETED, deleted_at=now, updated_at=now)
    await payment_methods.save(connection, method, gone, sweep_at=now)
    return True


async def token_deleted(connection: Connection, credential: Credential) -> bool:
    """The acquirer has the token no more, and so have we; whether nothing is left of its payment method by that."""
    id_ = credential.payment_method_id
    await connection.fetch(payment_methods.locked(id_))
    await erasing.erase_credential(connection, credential)
    if await connection.fetch(payment_methods.credentials_of(id_)):
        return False
    await erasing.finished(connection, id_)
    return True


def _over(method: PaymentMethod) -> bool:
    """Whether nobody may wait for the payments any longer that were admitted with it."""
    deleted_at = method.deleted_at
    return deleted_at is not None and datetime.now(UTC) - deleted_at >= KEPT_FOR_UNDECIDED


async def _erase_numbers(
    connection: Connection, method: PaymentMethod, credentials: Sequence[Credential]
) -> None:
    for record in [one.vault_record for one in credentials if one.vault_record is not None]:
        await doors.erase(connection, VaultPlace(record, method.merchant_id, method.mode, CARD))
    await risk_facts.forget(connection, method.id, method.merchant_id, method.mode)

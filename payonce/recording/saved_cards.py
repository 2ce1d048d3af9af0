"""What the outcome of a payment makes of the card that it saves, or is paid with.

In the transaction that records the outcome, and under the payment's lock, which is taken before the card's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from payonce.domain import saved_cards
from payonce.domain.audit import Act, Actor, ActorKind, AuditAction
from payonce.domain.events import EventType
from payonce.domain.facts import Approved, Declined, Fact
from payonce.domain.operations import OperationKind, OperationStatus
from payonce.domain.payment_methods import (
    Credential,
    CredentialKind,
    PaymentMethod,
    SavedState,
    Setup,
    StoredCredential,
)
from payonce.domain.settlement import Settlement
from payonce.recording.rows import Decide, Rows
from payonce.storage import audit, outbox, payment_methods
from payonce.storage.driver.connection import Connection, Written
from payonce.vault import doors
from payonce.vault import payment_methods as vaulted
from payonce.vault.envelope import VaultPlace
from payonce.vault.saving import CARD


@dataclass(frozen=True, slots=True)
class MethodEvent:
    """An event of a payment method, which comes after those of the payment."""

    method: PaymentMethod
    type: EventType


@dataclass(frozen=True, slots=True)
class _Saved:
    """The card as the transaction found it, locked."""

    method: PaymentMethod
    credentials: tuple[Credential, ...]

    @property
    def place(self) -> VaultPlace | None:
        """Where its number lies; None: in no vault."""
        record = next((one.vault_record for one in self.credentials if one.vault_record is not None), None)
        method = self.method
        return None if record is None else VaultPlace(record, method.merchant_id, method.mode, CARD)


async def follow(
    connection: Connection,
    rows: Rows,
    decide: Decide,
    settled: Settlement,
    *,
    about: Fact | None,
    now: datetime,
) -> tuple[Settlement, MethodEvent | None]:
    """What is settled, with what it makes of a saved card. Nothing is read for a payment without one."""
    stored = rows.payment.stored
    if stored is None:
        return settled, None
    reply = about if isinstance(about, Approved) else None
    if not _has_outcome(rows, settled):
        if stored.saves and reply is not None and reply.token is not None:
            await _take_token(connection, rows, stored, reply.token, now=now)
        return settled, None
    saved = await _locked(connection, stored)
    if settled.operation.status is OperationStatus.FAILED:
        if stored.saves:
            await _forget(connection, saved, now=now)
            return settled, None
        declined = about if isinstance(about, Declined) else None
        return settled, await _erased(connection, rows, saved, declined, now=now)
    if stored.saves:
        return await _save(connection, rows, decide, settled, saved, reply=reply, now=now)
    return settled, await _paid_with(connection, rows, stored, saved, reply=reply, now=now)


async def tell(connection: Connection, told: MethodEvent | None, *, now: datetime) -> tuple[Written, ...]:
    """The event, if there is one, and its deliveries are there; whoever calls has written those of the payment."""
    if told is None:
        return ()
    return (await outbox.add_payment_method_event(connection, told.method, told.type, now=now),)


def _has_outcome(rows: Rows, settled: Settlement) -> bool:
    """Whether the create has its first outcome with this."""
    pending = rows.operation.status is OperationStatus.PENDING
    decided = settled.operation.status is not OperationStatus.PENDING
    return rows.operation.kind is OperationKind.AUTHORIZE and pending and decided


async def _locked(connection: Connection, stored: StoredCredential) -> _Saved | None:
    method, found = await connection.fetch_together(
        payment_methods.locked(stored.token), payment_methods.credentials_of(stored.token)
    )
    return None if method is None else _Saved(method, tuple(found))


async def _save(
    connection: Connection,
    rows: Rows,
    decide: Decide,
    settled: Settlement,
    saved: _Saved | None,
    *,
    reply: Approved | None,
    now: datetime,
) -> tuple[Settlement, MethodEvent | None]:
    """The card is the merchant's from here on; one whose time as a provisional one is over is not saved any more."""
    if "token" not in settled.payment.payment_method["card"]:
        await _forget(connection, saved, now=now)
        await _audit_erasure(connection, rows, saved, reply)
        return settled, None
    if saved is None or not await _kept(connection, saved):
        await _forget(connection, saved, now=now)
        if saved is None and reply is not None and reply.token is not None:
            await _leave_token(connection, rows, reply.token, now=now)
        return decide(_without(rows), now), None
    country = saved_cards.issuer_country(reply) or saved.method.issuer_country
    active = replace(saved.method, state=SavedState.ACTIVE, updated_at=now, issuer_country=country)
    await payment_methods.activate(connection, active, xid=rows.xid)
    await _keep_credential(connection, rows, saved, reply=reply, now=now)
    return settled, MethodEvent(active, "payment_method.active")


def _without(rows: Rows) -> Rows:
    """The rows of a payment that saves no card."""
    return rows.with_payment(replace(rows.payment, stored_credential=None))


async def _kept(connection: Connection, saved: _Saved) -> bool:
    if saved.method.state is not SavedState.PROVISIONAL:
        return False
    return saved.place is None or await doors.keep(connection, saved.place)


async def _keep_credential(
    connection: Connection, rows: Rows, saved: _Saved, *, reply: Approved | None, now: datetime
) -> None:
    """The account's token; with a number, what the scheme calls the payment that it was set up with."""
    if not saved.credentials and reply is not None and reply.token is not None:
        of_acquirer = _of_acquirer(rows, saved.method.id, reply.token)
        await payment_methods.add_credential(connection, of_acquirer, now=now)
    told = saved_cards.network_transaction(reply, account=rows.payment.connector_account)
    if saved.place is not None and told is not None:
        await payment_methods.keep_network_transaction(connection, saved.method.id, told)


def _of_acquirer(rows: Rows, id_: str, token: Mapping[str, str]) -> Credential:
    return Credential(
        payment_method_id=id_,
        kind=CredentialKind.OF_ACQUIRER,
        connector_account=rows.payment.connector_account,
        token=token,
    )


async def _forget(connection: Connection, saved: _Saved | None, *, now: datetime) -> None:
    """Nothing is left of a card that was to be saved, but what its acquirer is told to delete."""
    if saved is not None and saved.method.state is SavedState.PROVISIONAL:
        await vaulted.discard(connection, saved.method, saved.credentials, now=now)


async def _take_token(
    connection: Connection, rows: Rows, stored: StoredCredential, token: Mapping[str, str], *, now: datetime
) -> None:
    """The acquirer has the card by an approval that is no outcome: of another amount, or after a failure.

    The token goes with the card that is still to be saved, and to be deleted where there is none.
    """
    saved = await _locked(connection, stored)
    if saved is None:
        await _leave_token(connection, rows, token, now=now)
    elif saved.method.state is SavedState.PROVISIONAL and not saved.credentials:
        of_acquirer = _of_acquirer(rows, saved.method.id, token)
        await payment_methods.add_credential(connection, of_acquirer, now=now)


async def _leave_token(
    connection: Connection, rows: Rows, token: Mapping[str, str], *, now: datetime
) -> None:
    """A deleted payment method stands for the acquirer's token, so that the sweeper has it deleted there."""
    payment, stored, card = rows.payment, rows.payment.stored, rows.payment.payment_method["card"]
    assert stored is not None
    method = PaymentMethod(
        id=stored.token,
        merchant_id=payment.merchant_id,
        mode=payment.mode,
        state=SavedState.DELETED,
        setup=stored.setup or Setup.ON_SESSION,
        customer_id=None,
        brand=card["brand"],
        last4=card["last4"],
        exp_month=card["exp_month"],
        exp_year=card["exp_year"],
        fingerprint=None,
        payment_id=payment.id,
        created_at=now,
        updated_at=now,
        deleted_at=now,
    )
    given = [_of_acquirer(rows, method.id, token)]
    await payment_methods.insert(connection, method, given, sweep_at=now)


async def _audit_erasure(
    connection: Connection, rows: Rows, saved: _Saved | None, reply: Approved | Declined | None
) -> None:
    """That a number left the vault for what the acquirer says of its issuer is in the audit log."""
    place = None if saved is None else saved.place
    if place is None or not saved_cards.must_be_erased(reply):
        return
    account = rows.payment.connector_account
    by = Actor(kind=ActorKind.PROCESS, id=account if rows.attempt is None else rows.attempt.owner)
    act = Act(
        action=AuditAction.CARD_ERASED,
        subject=place.record_id,
        merchant_id=place.merchant_id,
        mode=place.mode,
        details={"payment_id": rows.payment.id, "account": account, "because": "issuer_country"},
    )
    await audit.decided(connection, by, act)


async def _paid_with(
    connection: Connection,
    rows: Rows,
    stored: StoredCredential,
    saved: _Saved | None,
    *,
    reply: Approved | None,
    now: datetime,
) -> MethodEvent | None:
    """A card that was saved before: set up for more, or erased where no vault may keep it."""
    if saved is None or saved.method.state is not SavedState.ACTIVE:
        return None
    if (gone := await _erased(connection, rows, saved, reply, now=now)) is not None:
        return gone
    present = stored.reason is None
    if not present or stored.setup is not Setup.OFF_SESSION or saved.method.setup is Setup.OFF_SESSION:
        return None
    set_up = replace(saved.method, setup=Setup.OFF_SESSION, updated_at=now)
    await payment_methods.save(connection, saved.method, set_up)
    await _keep_credential(
        connection, rows, saved, reply=replace(reply, token=None) if reply else None, now=now
    )
    return MethodEvent(set_up, "payment_method.updated")


async def _erased(
    connection: Connection,
    rows: Rows,
    saved: _Saved | None,
    reply: Approved | Declined | None,
    *,
    now: datetime,
) -> MethodEvent | None:
    """A card that was saved before leaves the vault where none may keep it: who declines it knows its issuer, too."""
    if saved is None or saved.method.state is not SavedState.ACTIVE or saved.place is None:
        return None
    if not saved_cards.must_be_erased(reply):
        return None
    await doors.erase(connection, saved.place)
    await _audit_erasure(connection, rows, saved, reply)
    gone = replace(saved.method, state=SavedState.DELETED, deleted_at=now, updated_at=now)
    await payment_methods.save(connection, saved.method, gone, sweep_at=now)
    return MethodEvent(gone, "payment_method.deleted")

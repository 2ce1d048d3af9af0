"""A shop whose customers pay with saved cards: its vault, and the acquirer that says what a test says."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from temporalio.testing import ActivityEnvironment

from activities.attempting import Attempting
from activities.messages import OperationRequest, Progress
from api.admission.admission import Admission
from api.admission.requests import NewPayment
from api.admission.waiting import Result
from payonce.claims import Claimant
from payonce.connectors.base import Call, MaySend
from payonce.domain.ids import random_id
from payonce.domain.operations import OperationKind
from payonce.domain.payment_methods import (
    Credential,
    CredentialKind,
    NetworkTransaction,
    PaymentMethod,
    Setup,
)
from payonce.paying import Numbers
from payonce.storage import payment_methods
from payonce.vault import doors
from payonce.vault.saving import Vault
from tests.storage.acting import CAPABILITIES, SEALER, FakeConnector
from tests.storage.admitting import NEW, Shop, post
from tests.storage.ledger import IDS, Ledger
from tests.storage.vault.saving import NUMBER, a_vault
from tests.support.eventually import eventually
from tests.support.rows import saved_card

FIRST = NetworkTransaction(
    scheme="visa",
    id="483297487231504",
    amount_minor=4200,
    currency="INR",
    on=date(2026, 11, 1),
    connector_account="account_1",
)
TAKES_SAVED = replace(CAPABILITIES, stored_credentials=frozenset({"number", "token"}))


@dataclass
class Acquirer(FakeConnector):
    """Remembers what it was sent, card and all."""

    capabilities: Any = TAKES_SAVED
    sent: list[Call] = field(default_factory=list)

    async def send(self, call: Call, *, may_send: MaySend) -> Any:
        self.sent.append(call)
        return await super().send(call, may_send=may_send)


@dataclass
class SavingShop(Shop):
    """One API process and its runs, with a vault."""

    connector: Any = field(default_factory=Acquirer)
    vault: Vault | None = field(default_factory=a_vault)
    numbers: Any = None  # None: the vault's
    key: str = field(default_factory=lambda: random_id("key"))

    def __post_init__(self) -> None:
        super().__post_init__()
        self.payment_id = IDS.payment(merchant_id=self.ledger.merchant_id, mode="test", key=self.key)
        self.runtime = replace(self.runtime, vault=self.vault)
        self.admission = Admission(self.runtime, self.temporal)

    async def pay(self, new: NewPayment) -> Result:
        return await self.admission.create_payment(post(self.ledger, self.key), new)

    async def admitted(self, new: NewPayment, *, number: int = 1) -> "asyncio.Task[Result]":
        """The request, which waits; the right to attempt `number` is granted."""
        request = asyncio.create_task(self.pay(new))

        async def granted() -> bool:
            if request.done():
                await request
            return self.rights.granted == number

        await eventually(granted)
        return request

    def attempting(self) -> Attempting:
        return Attempting(
            rights=self.rights,
            claimant=Claimant(self.runtime.database, self.rights, self.runtime.accounts, sealer=SEALER),
            recorder=self.runtime.recorder,
            accounts=self.runtime.accounts,
            fail_over=self.runtime.database.fail_over,
            numbers=self.numbers or Numbers(self.runtime.database, self.vault),
        )

    async def run(self) -> Progress:
        environment = ActivityEnvironment()
        environment.info = replace(environment.info, is_local=True)
        request = OperationRequest(self.payment_id, self.payment_id, OperationKind.AUTHORIZE)
        progress: Progress = await environment.run(self.attempting().authorize, request)
        return progress


def by(method: PaymentMethod, **more: Any) -> NewPayment:
    """A create by this saved card."""
    return replace(NEW, card=None, payment_method={"type": "card"}, token=method.id, **more)


async def saved(
    ledger: Ledger,
    *,
    vault: Vault | None = None,
    tokens_at: tuple[str, ...] = (),
    vaulted: bool = True,
    number: str = NUMBER,
    **changes: Any,
) -> PaymentMethod:
    """A card of the merchant's customer, in the vault, or as tokens at accounts."""
    usual = {"merchant_id": ledger.merchant_id, "setup": Setup.OFF_SESSION, "last4": number[-4:]}
    method = saved_card(**{**usual, **changes})
    given = [
        Credential(
            payment_method_id=method.id,
            kind=CredentialKind.OF_ACQUIRER,
            connector_account=account,
            token={"token": f"tok_{account}"},
        )
        for account in tokens_at
    ]
    async with ledger.database.transaction() as connection:
        if vaulted:
            given.append(await _vaulted(connection, vault or a_vault(), method, number))
        await payment_methods.insert(connection, method, given)
    return method


async def _vaulted(connection: Any, vault: Vault, method: PaymentMethod, number: str) -> Credential:
    card = await vault.seal(number, merchant_id=method.merchant_id, mode=method.mode)
    await vault.put(connection, card)
    assert await doors.keep(connection, card.place)
    return Credential(
        payment_method_id=method.id,
        kind=CredentialKind.VAULTED,
        vault_record=card.place.record_id,
        network_transaction=FIRST,
    )


async def taken(ledger: Ledger) -> list[tuple[str, str]]:
    """Which numbers were taken, and for what, as the audit log has it."""
    found = await ledger.rows(
        "SELECT subject, details FROM audit.entries WHERE action = 'card.taken' AND merchant_id = :id"
        " ORDER BY transaction_id",
        id=ledger.merchant_id,
    )
    return [(row.subject, row.details["purpose"]) for row in found]

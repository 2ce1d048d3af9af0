"""A shop whose customers' cards are saved with a payment, and what is looked at afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from api.admission.posts import CreatePost
from api.admission.requests import NewPayment, Post
from api.admission.transaction import Admitted, Decider
from api.admission.waiting import Outcomes, Result
from payonce.clock import boot_clock_s
from payonce.domain.cards import Card
from payonce.domain.evidence import Evidence
from payonce.domain.facts import Approved
from payonce.domain.operations import Operation, OperationKind, Subject
from payonce.domain.payment import Payment
from payonce.domain.payment_methods import CardStorage, Setup
from payonce.rights import SEND_WITHIN_S
from payonce.storage import attempts
from payonce.storage.merchants import Caller
from payonce.vault.saving import Vault
from tests.storage.admitting import NEW, Shop
from tests.storage.ledger import IDS
from tests.storage.vault.saving import a_vault

NUMBER = "4242424242424242"
INDIAN = "4000003560000008"
UNKNOWN = "5555555555554444"
NETWORK = Evidence(
    scheme="visa",
    network_transaction_id="483298341432324",
    network_transaction_amount_minor=1000,
    network_transaction_date=date(2026, 11, 22),
)


def saving(number: str = NUMBER, *, setup: Setup | None = Setup.OFF_SESSION, **changes: Any) -> NewPayment:
    return replace(NEW, card=Card(number, 12, 2040, "123"), setup=setup, capture_method="manual", **changes)


@dataclass
class SavingShop(Shop):
    """Nothing is handed to Temporal, and nobody waits for an outcome: the test records what becomes of it."""

    storage: CardStorage = "vault"
    vault: Vault | None = field(default_factory=a_vault)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.runtime = replace(self.runtime, vault=self.vault)
        self.admission = type(self.admission)(self.runtime, self.temporal)

    def post(self, key: str = "k") -> Post:
        caller = Caller(self.ledger.merchant_id, "test", key_id="key_1", card_storage=self.storage)
        return Post(caller=caller, key=key, fingerprint=key.encode(), request_id=f"req_{key}")

    async def save(self, new: NewPayment | None = None, *, key: str = "k") -> Result:
        return await self.admission.create_payment(self.post(key), new or saving())

    def id_of(self, key: str = "k") -> str:
        return IDS.payment(merchant_id=self.ledger.merchant_id, mode="test", key=key)

    def token(self, key: str = "k") -> str:
        return IDS.saved_with(payment_id=self.id_of(key))

    async def admitted(self, new: NewPayment | None = None, *, key: str = "k") -> Operation:
        """The create, with its attempt claimed, and not carried out."""
        create = CreatePost(
            runtime=self.runtime,
            post=self.post(key),
            new=new or saving(),
            deadline=boot_clock_s() + SEND_WITHIN_S,
        )
        decider = Decider(self.runtime.database, Outcomes(self.runtime))
        decision = await decider.decide(await create.prepared())
        assert isinstance(decision, Admitted)
        assert decision.right is not None
        self.rights.grant(decision.operation.id, decision.right)
        return decision.operation

    async def record(self, of: Operation, fact: Any, **options: Any) -> Payment:
        async with self.ledger.database.transaction() as connection:
            latest = await connection.fetch(attempts.latest(of.id))
        assert latest is not None
        recorder = options.pop("recorder", None) or self.ledger.recorder()
        await recorder.record(Subject(of.payment_id, of.id), attempt=latest.number, fact=fact, **options)
        return await self.ledger.payment(of.payment_id)

    async def methods(self) -> list[Mapping[str, Any]]:
        found = await self.ledger.rows("SELECT * FROM payment_methods ORDER BY id")
        return [row._mapping for row in found]

    async def credentials(self) -> list[Mapping[str, Any]]:
        return [row._mapping for row in await self.ledger.rows("SELECT * FROM credentials")]

    async def erasures_audited(self) -> list[tuple[str, str]]:
        """By which process a number was taken out of the vault, and after which payment."""
        found = await self.ledger.rows(
            "SELECT actor, details FROM audit.entries WHERE action = 'card.erased' AND merchant_id = :id",
            id=self.ledger.merchant_id,
        )
        return [(row.actor, row.details["payment_id"]) for row in found]

    async def vaulted(self) -> list[bool]:
        """Of each number in the vault, whether it stays."""
        return [
            row.kept for row in await self.ledger.rows("SELECT erase_at IS NULL AS kept FROM vault.cards")
        ]

    async def told(self, type_: str = "payment_method.%") -> list[str]:
        query = "SELECT type FROM events WHERE type LIKE :type ORDER BY created_at, type"
        return [row.type for row in await self.ledger.rows(query, type=type_)]


def approved(of: Operation, **changes: Any) -> Approved:
    assert of.kind is OperationKind.AUTHORIZE
    return Approved(f"acq-{of.id}", of.amount_minor, of.currency, **changes)

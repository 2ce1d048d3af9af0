"""Payments that are made here and at the acquirer, or at one of the two only."""

import dataclasses
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from payonce.accounts import Accounts
from payonce.connectors.conformance import yes
from payonce.connectors.measured import Calls, Measured
from payonce.domain.facts import Approved, Fact, FailureCode, NotProcessed
from payonce.domain.ids import attempt_reference
from payonce.domain.operations import Operation, OperationKind
from payonce.domain.payment import Payment
from payonce.domain.reconciling import ListFinding
from payonce.reconciling.reading import Reconciler, Report
from payonce.runtime import Runtime
from payonce.standing import call_about, read_standing
from payonce.storage import reconciliation as store
from tests.storage.ledger import IDS, Ledger, runtime_of, subject
from tests.storage.reconciling.acquirer import Acquirer
from tests.storage.reconciling.sides import ACCOUNT, Side

AMOUNT = 1000
K = OperationKind


@dataclass
class Shop:
    """One merchant at one account."""

    ledger: Ledger
    acquirer: Acquirer
    side: Side
    later: timedelta = timedelta(minutes=10)
    _keys: Any = field(default_factory=count)

    async def open(self) -> None:
        account, connector = await self.side.opened()
        self.connector = Measured(ACCOUNT, connector, Calls())
        self.runtime: Runtime = dataclasses.replace(
            runtime_of(self.ledger), accounts=Accounts([account], {ACCOUNT: self.connector})
        )

    async def close(self) -> None:
        await self.connector.close()

    async def wants(self, *, automatic: bool = True, **changes: Any) -> tuple[Payment, Operation]:
        """A payment that is admitted and claimed, and of which the acquirer has not heard."""
        key = f"key-{next(self._keys)}"
        id_ = IDS.payment(merchant_id=self.ledger.merchant_id, mode="test", key=key)
        how = "automatic" if automatic else "manual"
        payment = await self.ledger.add_payment(id=id_, capture_method=how, **changes)
        return payment, await self.ledger.add_operation(payment, K.AUTHORIZE)

    async def charges(self, payment_id: str, *, capture: bool = True) -> str:
        """The acquirer charges it, whoever asked; its id there."""
        reference = attempt_reference(payment_id, 1)
        id_, _ = await self.side.charges(reference, payment_id, amount=AMOUNT, capture=capture)
        return id_

    async def sells_elsewhere(self) -> str:
        """Somebody else's sale at the same account; under which name the acquirer's ledger has it."""
        _, named = await self.side.charges(None, "order-17", amount=AMOUNT, capture=True)
        return named

    async def hears(self, operation: Operation, charge_id: str) -> None:
        """What the acquirer says of the operation's attempt, which is known by this id there, is recorded here."""
        async with self.ledger.database.reading() as connection:
            standing = await read_standing(connection, operation.payment_id, operation.id, lock=False)
        assert standing.attempt is not None
        call = call_about(standing, standing.attempt)
        found = await self.connector.inquire(dataclasses.replace(call, attempt_reference=charge_id))
        assert found.kind != "not_found"
        await self.records(operation, found)  # type: ignore[arg-type]

    async def records(self, operation: Operation, fact: Fact) -> None:
        await self.ledger.recorder().record(subject(operation), attempt=1, fact=fact)

    async def paid(self, *, automatic: bool = True) -> Payment:
        """A payment that both sides have."""
        payment, operation = await self.wants(automatic=automatic)
        await self.hears(operation, await self.charges(payment.id, capture=automatic))
        return await self.ledger.payment(payment.id)

    async def failed(self) -> Payment:
        """A payment that was proven here never to have been processed."""
        payment, operation = await self.wants()
        await self.records(operation, NotProcessed(FailureCode.NOT_PROCESSED))
        return await self.ledger.payment(payment.id)

    async def captures(self, payment: Payment) -> None:
        """A capture of ours that succeeded, here and at the acquirer."""
        capture = await self.ledger.add_operation(payment, K.CAPTURE)
        async with self.ledger.database.reading() as connection:
            standing = await read_standing(connection, payment.id, capture.id, lock=False)
        assert standing.attempt is not None
        call = call_about(standing, standing.attempt)
        found = await self.connector.send(call, may_send=yes)
        await self.records(capture, found)  # type: ignore[arg-type]

    async def refunds(self, payment: Payment, amount: int) -> Operation:
        """A refund of ours that succeeded, here and at the acquirer."""
        refund = await self.wants_refund(payment, amount)
        reference, charge_id = attempt_reference(refund.id, 1), payment.connector_reference
        assert charge_id is not None
        id_ = await self.side.refunds(charge_id, amount, reference=reference, payment_id=payment.id)
        await self.records(refund, Approved(id_, amount, "INR"))
        return refund

    async def wants_refund(self, payment: Payment, amount: int) -> Operation:
        """A refund that is admitted and claimed, and of which the acquirer has not heard."""
        key = f"key-{next(self._keys)}"
        id_ = IDS.refund(merchant_id=self.ledger.merchant_id, mode="test", key=key)
        return await self.ledger.add_operation(payment, K.REFUND, id=id_, amount_minor=amount)

    async def others(self, payment: Payment, what: str, amount: int | None = None) -> None:
        """Somebody does so in the acquirer's dashboard."""
        asked = {"payment_reference": payment.id, "what": what}
        answer = await self.acquirer.post(
            "/dashboard", asked if amount is None else {**asked, "amount": amount}
        )
        assert answer.status_code == 200, answer.text

    def reconciler(self, later: timedelta | None = None) -> Reconciler:
        return Reconciler(self.runtime, now=lambda: datetime.now(UTC) + (later or self.later))

    async def reconciled(self, later: timedelta | None = None) -> Report:
        return await self.reconciler(later).run(ACCOUNT)

    async def findings(self) -> list[ListFinding]:
        """All but what agrees, oldest first."""
        async with self.ledger.database.reading() as connection:
            found = await store.found(connection, result=None, account=None, unsettled=False, limit=100)
        return [one for one in reversed(found) if one.result != "matched"]

    async def net(self, payment_id: str) -> int:
        """What the customer has paid, by the acquirer's own ledger: reversals and refunds taken off."""
        entries = (await self.acquirer.client.get("/ledger", params={"payment_reference": payment_id})).json()
        signs = {"capture": 1, "refund": -1, "reversal": -1, "dispute": -1, "dispute_reversal": 1}
        return sum(signs.get(entry["operation"], 0) * entry["amount"] for entry in entries["entries"])

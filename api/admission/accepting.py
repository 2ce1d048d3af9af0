"""What the POST that accepts a dispute admits, in the one transaction that decides it."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from api.admission import used_keys
from api.admission.requests import Post, key_row
from api.admission.transaction import Admitted, Decision, Taking
from api.admission.waiting import SWEEP_AFTER
from payonce.domain import acceptance
from payonce.domain.audit import Act, AuditAction
from payonce.domain.disputes import Dispute
from payonce.domain.errors import NotFound
from payonce.domain.operations import Operation, OperationKind, operation_of
from payonce.domain.payment import Payment
from payonce.runtime import Runtime
from payonce.storage import audit, disputes, payments
from payonce.storage.driver.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptPost:
    """The acceptance of a dispute, decided under its payment's lock. It holds nothing of the payment's amounts."""

    runtime: Runtime = field(repr=False)
    post: Post
    dispute_id: str

    async def admit(self, connection: Connection, taking: Taking) -> Decision:
        """The acceptance is there, or what the key means. A refusal uses no key up.

        Raises `NotFound`, `DisputeNotOpen`, `InvalidRequest`, and what `used_keys.meaning` does.
        """
        location = f"/v1/disputes/{self.dispute_id}"
        key = key_row(self.post, operation_id=self._operation_id, location=location)
        if not await taking.key(connection, key):
            return await used_keys.meaning(connection, self.post)
        payment, dispute = await self._locked(connection)
        under_way = await connection.fetch(payments.acceptance_is_under_way(dispute.id))
        supported = await self._is_supported(connection, dispute)
        acceptance.admit(dispute, under_way=under_way, supported=supported)
        operation = self._operation(payment, dispute)
        await payments.insert_operation(connection, operation, sweep_at=operation.created_at + SWEEP_AFTER)
        await self._audit(connection, dispute)
        return Admitted(payment, operation, dispute=dispute)

    async def _locked(self, connection: Connection) -> tuple[Payment, Dispute]:
        """The dispute as it stands under its payment's lock."""
        caller = self.post.caller
        wanted = disputes.of_merchant(self.dispute_id, merchant_id=caller.merchant_id, mode=caller.mode)
        seen = await connection.fetch(wanted)
        if seen is None:
            raise NotFound(f"There is no dispute {self.dispute_id}.")
        payment = await connection.fetch(payments.locked(seen.payment_id))
        dispute = await connection.fetch(wanted)
        assert payment is not None
        assert dispute is not None
        return payment, dispute

    async def _is_supported(self, connection: Connection, dispute: Dispute) -> bool:
        """Whether the dispute's account takes it; one that is not there any more may be back."""
        on = None if connection.of_api else connection
        found = await self.runtime.accounts.find(dispute.connector_account, on)
        return found is None or found.capabilities.accepts_disputes

    def _operation(self, payment: Payment, dispute: Dispute) -> Operation:
        operation = operation_of(
            payment,
            OperationKind.ACCEPT,
            id_=self._operation_id,
            amount_minor=dispute.amount_minor,
            now=datetime.now(UTC),
            currency=dispute.currency,
            request_id=self.post.request_id,
        )
        return replace(operation, dispute_id=dispute.id)

    async def _audit(self, connection: Connection, dispute: Dispute) -> None:
        act = Act(
            action=AuditAction.DISPUTE_ACCEPTED,
            subject=dispute.id,
            merchant_id=dispute.merchant_id,
            mode=dispute.mode,
            details={"payment_id": dispute.payment_id, "operation_id": self._operation_id},
        )
        await audit.decided(connection, self.post.actor, act)

    @property
    def _operation_id(self) -> str:
        caller = self.post.caller
        return self.runtime.ids.operation(merchant_id=caller.merchant_id, mode=caller.mode, key=self.post.key)

"""What became of an authorization counts: in Postgres with its recording, in Redis once that is committed."""

from dataclasses import dataclass

from payonce.domain.operations import OperationKind, OperationStatus
from payonce.domain.settlement import Settlement
from payonce.risk.counts import VelocityCounts
from payonce.risk.subjects import SubjectHashes
from payonce.storage import risk_facts
from payonce.storage.driver.connection import Connection


@dataclass(frozen=True, slots=True)
class RiskOutcome:
    """One that says something of who pays."""

    merchant_id: str
    mode: str
    member: str
    declined: bool


class RiskOutcomes:
    """Of payments about whose risk somebody was asked."""

    def __init__(self, hashes: SubjectHashes, counts: VelocityCounts) -> None:
        self._hashes, self._counts = hashes, counts

    async def complete(self, connection: Connection, settled: Settlement) -> RiskOutcome | None:
        """The authorization has its outcome with this transaction: no round trip more."""
        payment, operation = settled.payment, settled.operation
        if payment.risk is None or operation.kind is not OperationKind.AUTHORIZE:
            return None
        declined = (operation.last_error or {}).get("code") == "payment_declined"
        if not declined and operation.status is not OperationStatus.SUCCEEDED:
            return None  # nobody said anything of who pays
        member = self._hashes.member(payment.id)
        await risk_facts.complete(connection, member, declined=declined)
        return RiskOutcome(payment.merchant_id, payment.mode, member, declined)

    def tell(self, outcome: RiskOutcome) -> None:
        """It is committed, and counts soon."""
        self._counts.tell(outcome.merchant_id, outcome.mode, outcome.member, declined=outcome.declined)

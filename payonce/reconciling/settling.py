"""What a comparison found is carried out: facts are recorded, workflows woken, objects and findings kept."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from payonce.connectors.measured import Measured
from payonce.domain.facts import Approved, Foreign, Undone
from payonce.domain.ids import operation_id_of
from payonce.domain.operations import Subject
from payonce.domain.reconciling import (
    GIVEN_BACK,
    Compared,
    ComparisonResult,
    Difference,
    ListFinding,
    Ours,
    Said,
    TheirCharge,
    part_of,
)
from payonce.logging import get_logger
from payonce.recording.rows import turn_id
from payonce.runtime import Runtime
from payonce.storage import callbacks
from payonce.storage import reconciliation as store
from payonce.storage.callbacks import Received
from payonce.storage.driver.connection import Connection
from payonce.storage.reconciliation import SeenObject
from payonce.storage.reconciliation_runs import Run

log = get_logger(__name__)

_Compared = Sequence[tuple[TheirCharge, Compared]]


class PageResults:
    """Of one page of one run."""

    def __init__(self, runtime: Runtime, run: Run, connector: Measured, *, now: datetime) -> None:
        self._runtime = runtime
        self._run = run
        self._connector = connector
        self._now = now
        self._paid: Mapping[str, tuple[str, str]] = {}  # merchant and mode of the payments that are there
        self._known: Mapping[str, Ours] = {}

    @property
    def payment_ids(self) -> Collection[str]:
        """Those payments of the page that are known here."""
        return self._paid.keys()

    async def findings(
        self, connection: Connection, compared: _Compared, known: Mapping[str, Ours]
    ) -> list[ListFinding]:
        """What it came to, before anything is done about it."""
        ids = {_payment_of(charge, known) for charge, of in compared if not of.elsewhere} - {None}
        paid = await store.existing_payments(connection, [id_ for id_ in ids if id_ is not None])
        accounts = self._runtime.accounts
        self._paid = {
            id_: whose for id_, whose in paid.items() if accounts.may_charge_for(self._run.account, *whose)
        }
        self._known = known
        return [self._finding(charge, found) for charge, of in compared for found in of.found]

    async def carry_out(self, compared: _Compared, known: Mapping[str, Ours]) -> dict[str, str]:
        """Facts are recorded through the one function; by which operation each finding is settled, by its id."""
        settled = {}
        for charge, of in compared:
            for found in of.found:
                if not found.records or found.ours is None or not await self._is_ours(charge, found):
                    continue
                await self._record(charge, found, known)
                by = await self._settled_by(charge, found)
                if by is not None:
                    settled[self._id(found)] = by
        return settled

    async def _is_ours(self, charge: TheirCharge, found: Difference) -> bool:
        """Whether it is known to be ours; one that may be somebody else's stays open, for a person."""
        charges = found.result is ComparisonResult.CHARGED_THERE and found.about.id == charge.id
        if not charges or await self._connector.is_ours(charge):
            return True
        log.error("charge_of_others_under_our_reference", acquirer_id=charge.id, reference=charge.reference)
        return False

    async def keep(self, connection: Connection, compared: _Compared, settled: Mapping[str, str]) -> None:
        """What was seen is kept, what is settled says so, and what waits for its outcome has a word in the inbox."""
        here = [(charge, of) for charge, of in compared if not of.elsewhere]
        seen = [self._seen(charge, of, said) for charge, of in here for said in charge.said]
        await store.saw(connection, seen)
        for finding_id, by in settled.items():
            await store.settle(connection, finding_id, by=by, now=self._now)
        agree = [
            charge.id for charge, of in here if [one.result for one in of.found] == [ComparisonResult.MATCHED]
        ]
        await store.agrees(connection, self._run, agree, now=self._now)
        for charge, of in here:
            for ours in of.wakes:
                await callbacks.put(connection, self._word(charge, ours), now=self._now)

    async def _record(self, charge: TheirCharge, found: Difference, known: Mapping[str, Ours]) -> None:
        """Of one that failed here its success; of one whose totals differ all that the acquirer says."""
        facts = [found.about] if found.result is ComparisonResult.CHARGED_THERE else charge.said
        for said in facts:
            ours = part_of(charge, said, known)
            if ours is None:
                continue
            await self._runtime.recorder.record(
                Subject(ours.payment.id, ours.operation.id),
                attempt=ours.attempt.number,
                fact=said.fact,
                abilities=self._connector.capabilities.abilities(ours.attempt.kind),
            )

    def _id(self, found: Difference) -> str:
        named = f"{found.result} {found.detail}"
        return self._runtime.ids.reconciliation(account=self._run.account, about=found.about.id, found=named)

    def _finding(self, charge: TheirCharge, found: Difference) -> ListFinding:
        """Whose it is its payment says, where that is there; else its account, if that is a merchant's."""
        ours, payment_id = found.ours, _payment_of(charge, self._known)
        merchant_id, mode = self._paid.get(
            payment_id or "", (self._runtime.accounts.merchant_of(self._run.account), self._run.mode)
        )
        return ListFinding(
            id=self._id(found),
            merchant_id=merchant_id,
            mode=mode,
            account=self._run.account,
            run=self._run.id,
            result=found.result,
            payment_id=payment_id if payment_id in self._paid else None,
            operation_id=None if ours is None else ours.operation.id,
            amount_here_minor=found.amount_here_minor,
            amount_there_minor=found.amount_there_minor,
            currency=charge.currency,
            acquirer_reference=found.about.id,
            created_at=self._now,
        )

    async def _settled_by(self, charge: TheirCharge, found: Difference) -> str | None:
        """The operation that came of it, if one did."""
        ours = found.ours
        if ours is None or not found.records or found.detail == GIVEN_BACK:
            return None
        if found.result is ComparisonResult.CHARGED_THERE:
            if ours.undecided:
                return ours.operation.id  # it is its outcome
            made = [self._runtime.ids.reversal(reference=ours.attempt.reference)]
        else:
            made = [id_ for said in charge.said for id_ in self._turns(said, ours)]
        async with self._runtime.database.reading() as connection:
            there = await store.existing_operations(connection, made)
        disputed = [
            self._runtime.ids.dispute(account=self._run.account, acquirer_id=dispute.id)
            for said in charge.said
            if isinstance(said.fact, Approved)
            for dispute in said.fact.disputes
        ]
        return next(iter(reversed(there or disputed)), None)

    def _turns(self, said: Said, ours: Ours) -> list[str]:
        """The ids of the operations that tell what the acquirer did of itself, or others there."""
        if not isinstance(said.fact, Approved):
            return []
        attempt = ours.attempt
        return [
            turn_id(self._runtime.ids, attempt, turn)
            for turn in said.fact.since
            if isinstance(turn, Foreign | Undone)
        ]

    def _seen(self, charge: TheirCharge, of: Compared, said: Said) -> SeenObject:
        is_charge = said.id == charge.id
        payment_id = _payment_of(charge, self._known)
        return SeenObject(
            account=self._run.account,
            acquirer_id=said.id,
            kind=said.kind,
            charge_id=charge.id,
            reference=said.reference,
            payment_id=payment_id if payment_id in self._paid else None,
            currency=charge.currency,
            amount_minor=said.amount_minor,
            net_minor=charge.totals.net_minor if is_charge else 0,
            held_minor=charge.totals.held_minor if is_charge else 0,
            result=of.found[0].result if is_charge and of.found else None,
            created_at=charge.created_at,
            seen_at=self._now,
        )

    def _word(self, charge: TheirCharge, ours: Ours) -> Received:
        """As if the acquirer had told it: whoever waits for the outcome asks. Once in a run."""
        event_id = f"{self._run.id} {charge.id} {ours.attempt.reference}"
        attempt = ours.attempt
        return Received(attempt.connector, attempt.connector_account, event_id, attempt.reference)


def _payment_of(charge: TheirCharge, known: Mapping[str, Ours]) -> str | None:
    """The payment that the charge was made for, if its reference is one of ours; whether it is there is not known."""
    if charge.reference is None:
        return None
    own = known.get(charge.reference)
    return operation_id_of(charge.reference) if own is None else own.payment.id

"""What banks dispute, as lists say it: a dispute of which nobody told is heard as if a callback had come.

Some acquirers say it of a charge, others list disputes apart. What is no news by the rows is left alone, without the
payment's lock; the rest goes through the one function that hears callbacks.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

from payonce.connectors.measured import Measured
from payonce.domain import disputes as rules
from payonce.domain.claiming import same_acquirer
from payonce.domain.disputes import Dispute
from payonce.domain.errors import UnexpectedAnswer, UnknownThere
from payonce.domain.facts import Approved, Disputed
from payonce.domain.operations import OperationKind, Subject
from payonce.domain.reconciling import Compared, ComparisonResult, ListFinding, Ours, TheirCharge
from payonce.logging import get_logger
from payonce.runtime import Runtime
from payonce.storage import disputes
from payonce.storage import reconciliation as store
from payonce.storage.reconciliation_runs import Run

log = get_logger(__name__)

_About = tuple[Ours, Disputed]


class PageDisputes:
    """Of one page of one run."""

    def __init__(self, runtime: Runtime, run: Run, connector: Measured, *, now: datetime) -> None:
        self._runtime = runtime
        self._database = runtime.database
        self._run = run
        self._connector = connector
        self._now = now

    async def hear(
        self,
        compared: Sequence[tuple[TheirCharge, Compared]],
        apart: Sequence[Disputed],
        known: Mapping[str, Ours],
    ) -> list[ListFinding]:
        """Each dispute of ours is known as the acquirer has it; what is found new: those whose money moved unheard.

        After what is said of the charges is recorded. `apart`: those that are listed for themselves. Safe to repeat.
        """
        about = [*self._of_charges(compared, known), *await self._listed_apart(apart)]
        if not about:
            return []
        async with self._database.reading() as connection:
            there = await disputes.by_ids(connection, [self._id(said) for _, said in about])
        news = [(ours, said, after) for ours, said in about if (after := self._news(ours, said, there))]
        found = [one for ours, said, after in news if (one := self._finding(ours, said, after, there))]
        async with self._database.transaction() as connection:  # before anything comes of them
            added = await store.add(connection, found)
        for ours, said, _ in news:
            subject = Subject(ours.payment.id, ours.operation.id)
            await self._runtime.recorder.hear(subject, attempt=ours.attempt.number, said=said)
        await self._settle(found, about, there)
        return added

    def _of_charges(
        self, compared: Sequence[tuple[TheirCharge, Compared]], known: Mapping[str, Ours]
    ) -> list[_About]:
        here = (charge for charge, of in compared if not (of.elsewhere or of.only_orphans().found))
        ours = ((known.get(charge.reference or ""), charge) for charge in here)
        return [
            (own, said)
            for own, charge in ours
            if own is not None and self._is_about(own, charge.id)
            for said in _disputes_of(charge)
        ]

    async def _listed_apart(self, apart: Sequence[Disputed]) -> list[_About]:
        """Each with what we know of the charge that it names; one about nothing of ours is left out."""
        charges = {said.about for said in apart if said.about is not None}
        if not charges:
            return []
        async with self._database.reading() as connection:
            seen = await store.seen_references(connection, self._run.account, charges)
        for charge_id in sorted(charges - seen.keys()):  # made before lists were read
            try:
                seen[charge_id] = await self._connector.reference_of(charge_id)
            except (UnexpectedAnswer, UnknownThere) as error:
                log.error("disputed_charge_not_read", acquirer_id=charge_id, why=error.message)
            await asyncio.sleep(self._pause_s)
        references = {reference for reference in seen.values() if reference is not None}
        async with self._database.reading() as connection:
            known = await store.known(connection, references)
        found = ((known.get(seen.get(said.about or "") or ""), said) for said in apart)
        return [(ours, said) for ours, said in found if ours and self._is_about(ours, said.about or "")]

    @property
    def _pause_s(self) -> float:
        limits = self._connector.list_limits
        return 0.0 if limits is None else 1 / limits.pages_per_s

    def _is_about(self, ours: Ours, charge_id: str) -> bool:
        """Whether the charge is the one that stands here for the attempt: references may be copied."""
        accounts, attempt = self._runtime.accounts, ours.attempt
        return (
            ours.kind is OperationKind.AUTHORIZE
            and attempt.connector_account == self._run.account
            and charge_id in (attempt.connector_reference, ours.operation.connector_reference)
            and same_acquirer(attempt, accounts.identities.get(self._run.account))
            and accounts.may_charge_for(self._run.account, ours.payment.merchant_id, ours.payment.mode)
        )

    def _news(self, ours: Ours, said: Disputed, there: Mapping[str, Dispute]) -> Dispute | None:
        """The dispute as it will be; None where nothing changes."""
        id_ = self._id(said)
        return rules.hear(
            *(ours.payment, ours.operation, ours.attempt, there.get(id_), said),
            dispute_id=id_,
            now=self._now,
        ).dispute

    def _finding(
        self, ours: Ours, said: Disputed, after: Dispute, there: Mapping[str, Dispute]
    ) -> ListFinding | None:
        before = there.get(after.id)
        here = 0 if before is None else before.amount_withdrawn_minor
        if here == after.amount_withdrawn_minor:
            return None
        named = f"{ComparisonResult.AMOUNT} disputed {here} {after.amount_withdrawn_minor}"
        return ListFinding(
            id=self._runtime.ids.reconciliation(account=self._run.account, about=said.id, found=named),
            merchant_id=ours.payment.merchant_id,
            mode=ours.payment.mode,
            account=self._run.account,
            run=self._run.id,
            result=ComparisonResult.AMOUNT,
            payment_id=ours.payment.id,
            operation_id=None,
            amount_here_minor=here,
            amount_there_minor=after.amount_withdrawn_minor,
            currency=ours.payment.currency,
            acquirer_reference=said.id,
            created_at=self._now,
        )

    async def _settle(
        self, found: Sequence[ListFinding], about: Sequence[_About], there: Mapping[str, Dispute]
    ) -> None:
        """By the dispute that shows it; what a run that was killed left open, by that in which nothing differs."""
        differing = {one.acquirer_reference for one in found}
        agree = [said.id for _, said in about if said.id not in differing and self._id(said) in there]
        async with self._database.transaction() as connection:
            for one in found:
                by = self._runtime.ids.dispute(
                    account=self._run.account, acquirer_id=one.acquirer_reference or ""
                )
                await store.settle(connection, one.id, by=by, now=self._now)
            await store.agrees(connection, self._run, agree, now=self._now)

    def _id(self, said: Disputed) -> str:
        return self._runtime.ids.dispute(account=self._run.account, acquirer_id=said.id)


def _disputes_of(charge: TheirCharge) -> Sequence[Disputed]:
    fact = charge.said[0].fact
    return fact.disputes if isinstance(fact, Approved) else ()

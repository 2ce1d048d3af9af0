"""Where an acquirer has no list, what it told is read once more: what was taken and never followed up is found.

Nothing is recorded here. What the books do not show, or what nobody knew when it came and somebody does by now, goes
back into the inbox, which records it as any callback: once, in the order in which it came.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from payonce.domain.claiming import same_acquirer
from payonce.domain.facts import Approved, Redone, Undone
from payonce.domain.ids import operation_id_of
from payonce.domain.reconciling import ComparisonResult, ListFinding, Ours
from payonce.domain.retelling import ToldFact, is_orphan, named, was_missed
from payonce.logging import get_logger
from payonce.recording.rows import turn_id
from payonce.runtime import Runtime
from payonce.storage import callbacks, told
from payonce.storage import reconciliation as store
from payonce.storage.callbacks import KeptFact, Received
from payonce.storage.driver.connection import Connection
from payonce.storage.reconciliation import SeenObject
from payonce.storage.reconciliation_runs import Run

PAGE: Final = 200
PUT_BACK_MAX: Final = 1_000  # of those whose attempt is known by now, in one run

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ToldPage:
    """Some of what was told, and what is new about it. `following`: where the next page begins."""

    facts: int
    added: list[ListFinding]
    following: str | None


class ToldFacts:
    """Safe to repeat, and at the same time as the inbox: a fact counts once, whoever hands it over."""

    def __init__(self, runtime: Runtime, *, now: Callable[[], datetime]) -> None:
        self._runtime = runtime
        self._now = now

    async def page(self, run: Run) -> ToldPage:
        """The next facts are compared, and what was missed of them is found and in the inbox again, together."""
        database = self._runtime.database
        async with database.reading() as connection:
            kept = await callbacks.told(
                connection,
                run.account,
                since=run.since,
                until=run.until,
                after=_place(run.following),
                limit=PAGE,
            )
            facts = _read(kept)
            known = await store.known(connection, {one.reference for _, one in facts})
            missed = await self._missed(connection, run, facts, known)
            orphans = self._orphans(facts, known)
            ids = {operation_id_of(one.reference) for one in orphans}
            there = await store.existing_payments(connection, ids)
        may_charge_for = partial(self._runtime.accounts.may_charge_for, run.account)
        paid = {id_: whose for id_, whose in there.items() if may_charge_for(*whose)}
        found = [self._finding(run, one, known.get(one.reference), paid) for _, one in missed]
        found += [self._finding(run, one, None, paid) for one in orphans]
        async with database.transaction() as connection:
            added = await store.add(connection, [one for one in found if one is not None])
            await store.saw(connection, [self._seen(run, one) for one in orphans])
            await callbacks.again(connection, [received for received, _ in missed])
        following = _name(kept[-1]) if len(kept) == PAGE else None
        return ToldPage(len(kept), added, following)

    async def end(self, connection: Connection, run: Run) -> None:
        """What is known by now is in the inbox again, and what the books show by now is settled."""
        identity = self._runtime.accounts.identities.get(run.account)
        known = await callbacks.known_by_now(connection, run.account, identity=identity, limit=PUT_BACK_MAX)
        await callbacks.again(connection, known)
        await store.attached(connection, run.account, now=self._now())
        await store.shown(connection, run.account, now=self._now())

    async def _missed(
        self,
        connection: Connection,
        run: Run,
        facts: Sequence[tuple[KeptFact, ToldFact]],
        known: Mapping[str, Ours],
    ) -> list[tuple[Received, ToldFact]]:
        """Not what is still to be handed over, nor what another account, or its acquirer's keys of before, told."""
        identity = self._runtime.accounts.identities.get(run.account)
        about = [
            (kept.received, one, known[one.reference])
            for kept, one in facts
            if one.reference in known and not kept.open
        ]
        here = [
            (received, one, ours)
            for received, one, ours in about
            if ours.attempt.connector_account == run.account and same_acquirer(ours.attempt, identity)
        ]
        turned = {
            received.event_id: turn_id(self._runtime.ids, ours.attempt, one.fact)
            for received, one, ours in here
            if isinstance(one.fact, Undone | Redone)
        }
        there = set(await store.existing_operations(connection, list(turned.values())))
        return [
            (received, one)
            for received, one, ours in here
            if was_missed(one.fact, ours, turn_known=turned.get(received.event_id) in there)
        ]

    def _orphans(
        self, facts: Sequence[tuple[KeptFact, ToldFact]], known: Mapping[str, Ours]
    ) -> list[ToldFact]:
        has_form = self._runtime.ids.has_form
        unknown = (one for _, one in facts if one.reference not in known)
        return [one for one in unknown if is_orphan(one, ours_by_form=has_form(one.reference))]

    def _finding(
        self, run: Run, one: ToldFact, ours: Ours | None, paid: Mapping[str, tuple[str, str]]
    ) -> ListFinding | None:
        """Whose it is its payment says, where that is there; else its account, if that is a merchant's."""
        result = ComparisonResult.ORPHAN if ours is None else named(one.fact)
        if result is None or not isinstance(one.fact, Approved | Undone | Redone):
            return None
        id_ = one.fact.connector_reference if isinstance(one.fact, Approved) else one.fact.id
        payment_id = operation_id_of(one.reference) if ours is None else ours.payment.id
        whose = paid.get(payment_id, (self._runtime.accounts.merchant_of(run.account), run.mode))
        merchant_id, mode = whose if ours is None else (ours.payment.merchant_id, ours.payment.mode)
        return ListFinding(
            id=self._runtime.ids.reconciliation(account=run.account, about=id_, found=f"{result} told"),
            merchant_id=merchant_id,
            mode=mode,
            account=run.account,
            run=run.id,
            result=result,
            payment_id=payment_id if ours is not None or payment_id in paid else None,
            operation_id=None if ours is None else ours.operation.id,
            amount_here_minor=0,
            amount_there_minor=one.fact.amount_minor,
            currency=one.fact.currency,
            acquirer_reference=id_,
            created_at=self._now(),
        )

    def _seen(self, run: Run, one: ToldFact) -> SeenObject:
        """By it the orphan is known again. It stands for no charge: nobody said what is left of it."""
        assert isinstance(one.fact, Approved)
        return SeenObject(
            account=run.account,
            acquirer_id=one.fact.connector_reference,
            kind="told",
            charge_id=one.fact.connector_reference,
            reference=one.reference,
            payment_id=None,
            currency=one.fact.currency,
            amount_minor=one.fact.amount_minor,
            net_minor=0,
            held_minor=0,
            result=ComparisonResult.ORPHAN,
            created_at=one.told_at,
            seen_at=self._now(),
        )


def _read(kept: Sequence[KeptFact]) -> list[tuple[KeptFact, ToldFact]]:
    """One of a version that has other kinds of facts holds up no other."""
    read = []
    for one in kept:
        try:
            fact = told.decoded(one.received.fact or {})
        except ValueError:
            log.error("told_fact_unreadable", account=one.received.account, reference=one.received.reference)
            continue
        read.append((one, ToldFact(one.received.reference, fact, one.received_at)))
    return read


def _name(kept: KeptFact) -> str:
    return f"{kept.received_at.isoformat()} {kept.received.event_id}"


def _place(following: str | None) -> tuple[datetime, str] | None:
    if following is None:
        return None
    at, _, event_id = following.partition(" ")
    return datetime.fromisoformat(at), event_id

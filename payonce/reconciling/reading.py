"""One account's list is read from where the last run ended to a moment ago, page by page, and compared.

Each page is compared and recorded before the next is asked for, and where it ended is kept in the transaction that
keeps what was seen: a run that is killed goes on there, and what it does a second time changes nothing.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from payonce.connectors.listing import ChargePage
from payonce.connectors.measured import Measured
from payonce.domain.errors import NotFound, PaymentError
from payonce.domain.ids import random_id
from payonce.domain.reconciling import (
    LEFT_OUT,
    NO_LIST,
    STOPPED,
    UNDER_WAY,
    UNFINISHED,
    Compared,
    ComparisonResult,
    ListFinding,
    Ours,
    TheirCharge,
    compare,
)
from payonce.logging import get_logger
from payonce.metrics import DOUBLE_CHARGES, RECONCILED
from payonce.reconciling.disputing import PageDisputes
from payonce.reconciling.missing import Missing
from payonce.reconciling.settling import PageResults
from payonce.reconciling.told import ToldFacts
from payonce.runtime import Runtime
from payonce.storage import reconciliation as store
from payonce.storage import reconciliation_runs
from payonce.storage.callbacks import UNKNOWN_FOR
from payonce.storage.reconciliation_runs import Run

OVERLAP: Final = timedelta(hours=2)  # lists lag, and clocks differ
FIRST_LOOK_BACK: Final = timedelta(days=7)
REVERSED_WITHIN: Final = timedelta(hours=1)  # a double charge that is being undone is none for so long
PAGES_MAX: Final = 100_000  # at once: a longer run goes on with the next call
RUN_MAX: Final = timedelta(days=7)  # after which where it ended means nothing to some acquirers any more
CLOCKS_DIFFER: Final = timedelta(seconds=60)
RESTORED: Final = "restored"

log = get_logger(__name__)


class Stopped(PaymentError):
    """The acquirer has newer charges of ours than Postgres: it was restored or cloned. `payonce reconcile allow`."""

    code = STOPPED


class AlreadyReading(PaymentError):
    """Another run of the account goes on: this one has ended."""

    code = UNDER_WAY


class Unfinished(PaymentError):
    """The list is longer than what is read at once: the next run goes on where this one is."""

    code = UNFINISHED


class LeftOut(PaymentError):
    """All but some charges was compared, which may be ours, and which nobody can read: the log names them.

    The next run begins where this one did, and nothing is said to be missing meanwhile.
    """

    code = LEFT_OUT


class Unlisted(PaymentError):
    """This account's acquirer has no list of charges, and its callbacks carry no facts."""

    code = NO_LIST


@dataclass(frozen=True, slots=True)
class Report:
    """What a run came to."""

    run: str
    account: str
    since: datetime
    until: datetime
    pages: int
    charges: int
    found: dict[str, int]  # what is new, by result


def _now() -> datetime:
    return datetime.now(UTC)


class Reconciler:
    """Safe to run twice, and at the same time: pages are compared once or twice, and found out once."""

    def __init__(self, runtime: Runtime, *, now: Callable[[], datetime] = _now) -> None:
        self._runtime = runtime
        self._database = runtime.database
        self._now = now
        self._missing = Missing(runtime, now=now)
        self._told = ToldFacts(runtime, now=now)

    def listed(self) -> list[str]:
        """The accounts that can be compared."""
        accounts = self._runtime.accounts
        return sorted(id_ for id_ in accounts.ids if _can_be_compared(accounts.connectors.get(id_)))

    async def run(self, account_id: str) -> Report:
        """The account is compared up to a moment ago.

        Raises `Unlisted`, `Stopped`, `Unfinished`, `LeftOut`, and as connector and storage.
        """
        connector = await self._runtime.accounts.connector(account_id)
        limits = connector.list_limits
        if limits is None:
            return await self._run_told(account_id, connector)
        lag = timedelta(seconds=connector.capabilities.finality_s + limits.lag_s)
        run = await self._begin(account_id, lag=lag)
        new: dict[str, int] = {}
        has_ours = False
        for _ in range(PAGES_MAX):
            page = await connector.list_charges(since=run.since, until=run.until, after=run.following)
            listed_at = min(self._now(), run.until + timedelta(seconds=limits.lag_s))
            known, compared = await self._compare(run, page.charges, connector, listed_at=listed_at)
            run = await self._stopped_where_restored(run, compared)
            paid = await self._settle(run, compared, known, connector, new=new)
            has_ours = has_ours or bool(paid)
            if run.stopped is None:
                await self._hear(run, page, compared, known, connector, new=new)
            read, left_out = len(page.charges), len(page.unreadable)
            run = await self._turn(run, following=page.following, charges=read, left_out=left_out, paid=paid)
            if page.following is None:
                break
            await asyncio.sleep(1 / limits.pages_per_s)
        else:
            raise Unfinished(f"{account_id} was read as far as {run.pages} pages; the next run goes on.")
        await self._end(run, new, has_ours=has_ours)
        return Report(run.id, account_id, run.since, run.until, run.pages, run.charges, new)

    async def _run_told(self, account_id: str, connector: Measured) -> Report:
        """What the acquirer told is read once more, as long after it came as its attempt may not be known."""
        if not connector.capabilities.callbacks_carry_facts:
            raise Unlisted(f"The acquirer of {account_id} has no list of charges.")
        run = await self._begin(account_id, lag=UNKNOWN_FOR)
        new: dict[str, int] = {}
        for _ in range(PAGES_MAX):
            page = await self._told.page(run)
            self._tell(page.added, new)
            run = await self._turn(run, following=page.following, charges=page.facts)
            if page.following is None:
                break
        else:
            raise Unfinished(f"{account_id} was read as far as {run.pages} pages; the next run goes on.")
        async with self._database.transaction() as connection:
            await self._told.end(connection, run)
            await reconciliation_runs.end(connection, run.id, now=self._now())
        return Report(run.id, account_id, run.since, run.until, run.pages, run.charges, new)

    async def _turn(
        self, run: Run, *, following: str | None, charges: int, left_out: int = 0, paid: Collection[str] = ()
    ) -> Run:
        """The page is read, and the run goes on where it ended. Raises `AlreadyReading`."""
        async with self._database.transaction() as connection:
            await store.mark_standing_together(connection, paid)
            ours = await reconciliation_runs.turn_page(
                connection, run, following=following, charges=charges, left_out=left_out
            )
        if not ours:
            raise AlreadyReading(f"Another run of {run.account} is under way, and goes on.")
        return replace(
            run,
            following=following,
            pages=run.pages + 1,
            charges=run.charges + charges,
            left_out=run.left_out + left_out,
        )

    async def _begin(self, account_id: str, *, lag: timedelta) -> Run:
        """The run that has not ended; or a new one, from where the last one ended and 2 h before."""
        now = self._now()
        until = now - lag
        async with self._database.transaction() as connection:
            under_way = await reconciliation_runs.open_run(connection, account_id)
            if under_way is not None:
                if under_way.stopped is not None or now - under_way.started_at <= RUN_MAX:
                    return under_way
                await reconciliation_runs.give_up(connection, under_way, now=now)
            last = await reconciliation_runs.last_run(connection, account_id, whole=False)
            if last is not None and last.stopped is not None and last.allowed_at is None:
                raise Stopped
            whole = await reconciliation_runs.last_run(connection, account_id, whole=True)
            since = until - FIRST_LOOK_BACK if whole is None else min(whole.until, until) - OVERLAP
            run = Run(
                id=random_id("rcr"),
                account=account_id,
                mode=self._runtime.accounts.mode_of(account_id),
                since=since,
                until=until,
                started_at=now,
            )
            if not await reconciliation_runs.begin(connection, run):
                raise AlreadyReading(f"Another run of {account_id} has just begun.")
        return run

    async def _compare(
        self, run: Run, charges: tuple[TheirCharge, ...], connector: Measured, *, listed_at: datetime
    ) -> tuple[dict[str, Ours], list[tuple[TheirCharge, Compared]]]:
        """What is known of the page's references, and what each of its charges is against that."""
        references = {said.reference for one in charges for said in one.said if said.reference is not None}
        async with self._database.reading() as connection:
            known = self._of_account(run, await store.known(connection, references))
        compared = [
            (
                one,
                compare(
                    one,
                    known,
                    account=run.account,
                    is_apart=partial(self._runtime.accounts.is_apart, run.account),
                    has_our_form=self._runtime.ids.has_form,
                    finality_s=connector.capabilities.finality_s,
                    listed_at=listed_at,
                ),
            )
            for one in charges
        ]
        return known, compared

    async def _settle(
        self,
        run: Run,
        compared: list[tuple[TheirCharge, Compared]],
        known: dict[str, Ours],
        connector: Measured,
        *,
        new: dict[str, int],
    ) -> Collection[str]:
        """What the page says is recorded where it is news, and kept. The payments that it is about.

        In a run that was stopped no more than its orphans are found.
        """
        if run.stopped is not None:
            compared = [(charge, of.only_orphans()) for charge, of in compared]
        settling = PageResults(self._runtime, run, connector, now=self._now())
        async with self._database.transaction() as connection:  # before anything comes of them
            added = await store.add(connection, await settling.findings(connection, compared, known))
        settled = await settling.carry_out(compared, known)
        async with self._database.transaction() as connection:
            await settling.keep(connection, compared, settled)
        self._tell(added, new)
        return settling.payment_ids

    async def _hear(
        self,
        run: Run,
        page: ChargePage,
        compared: list[tuple[TheirCharge, Compared]],
        known: dict[str, Ours],
        connector: Measured,
        *,
        new: dict[str, int],
    ) -> None:
        """What banks dispute is heard, also where the totals agree: an inquiry, say, moves nothing."""
        hearing = PageDisputes(self._runtime, run, connector, now=self._now())
        self._tell(await hearing.hear(compared, page.disputes, known), new)

    def _of_account(self, run: Run, known: dict[str, Ours]) -> dict[str, Ours]:
        """What a charge at this account may be about: at a merchant's own, nothing of another merchant's."""
        may_charge_for = partial(self._runtime.accounts.may_charge_for, run.account)
        return {
            reference: ours
            for reference, ours in known.items()
            if may_charge_for(ours.payment.merchant_id, ours.payment.mode)
        }

    async def _stopped_where_restored(self, run: Run, compared: list[tuple[TheirCharge, Compared]]) -> Run:
        """The run, stopped where an orphan is newer than the newest attempt at the account that is known here.

        It reads on, so that a person sees all the orphans, and what is sent there is looked for first. One that a
        person has seen so, and allowed, stops no other run.
        """
        orphans = [charge for charge, of in compared if of.only_orphans().found]
        if run.stopped is not None or not orphans:
            return run
        newest = max(orphans, key=lambda one: one.created_at)
        async with self._database.reading() as connection:
            allowed = await reconciliation_runs.allowed_until(connection, run.account)
            if allowed is not None and newest.created_at <= allowed:
                return run
            if await store.claimed_since(connection, run.account, newest.created_at - CLOCKS_DIFFER):
                return run
        async with self._database.transaction() as connection:
            await reconciliation_runs.stop(connection, run.id, why=RESTORED)
        log.error("reconciliation_stopped", account=run.account, run=run.id, acquirer_id=newest.id)
        return replace(run, stopped=RESTORED)

    async def _end(self, run: Run, new: dict[str, int], *, has_ours: bool) -> None:
        """What is missing is looked for, and what was charged twice told; then the run has ended.

        Raises `Stopped` where it was stopped: nothing is concluded; `LeftOut` where something could not be read: what
        is missing may be that.
        """
        if run.stopped is not None:
            async with self._database.transaction() as connection:
                await reconciliation_runs.end(connection, run.id, now=self._now())
            raise Stopped
        findings = [] if run.left_out else await self._missing.look(run, has_ours=has_ours)
        async with self._database.transaction() as connection:
            added = await store.add(connection, findings)
        self._tell(added, new)
        now = self._now()
        async with self._database.transaction() as connection:
            await store.charged_once(connection, now=now)
            await store.reviewed(connection, now=now)
            await store.attached(connection, run.account, now=now)
            twice = await store.charged_twice(connection, before=run.until, patience=now - REVERSED_WITHIN)
            cases = [self._case(run, one, now=now) for one in twice]
            await store.stands_again(connection, cases)
            told = await store.add(connection, cases)
            await reconciliation_runs.end(connection, run.id, now=now)
            DOUBLE_CHARGES.inc(len(told))
        self._tell(told, new)
        if run.left_out:
            raise LeftOut(
                f"{run.account} was compared but for {run.left_out} that nobody can read (see the log)."
            )

    def _case(self, run: Run, twice: store.Twice, *, now: datetime) -> ListFinding:
        """One for a payment, however many runs see it."""
        return ListFinding(
            id=self._runtime.ids.reconciliation(
                account="", about=twice.payment_id, found=ComparisonResult.DOUBLE_CHARGE
            ),
            merchant_id=twice.merchant_id,
            mode=twice.mode,
            account=twice.account,
            run=run.id,
            result=ComparisonResult.DOUBLE_CHARGE,
            payment_id=twice.payment_id,
            operation_id=twice.payment_id,
            amount_here_minor=0,
            amount_there_minor=twice.amount_minor,
            currency=twice.currency,
            acquirer_reference=twice.acquirer_id,
            created_at=now,
        )

    def _tell(self, findings: list[ListFinding], new: dict[str, int]) -> None:
        for one in findings:
            RECONCILED.labels(one.result).inc()
            new[one.result.value] = new.get(one.result.value, 0) + 1
            if one.result.is_alarming:
                log.error(
                    "reconciliation_found",
                    finding=one.id,
                    result=one.result,
                    account=one.account,
                    payment_id=one.payment_id,
                    acquirer_id=one.acquirer_reference,
                )


def _can_be_compared(connector: Measured | None) -> bool:
    """Whether there is a list, or callbacks that say as much as an inquiry."""
    if connector is None:
        return False
    return connector.list_limits is not None or connector.capabilities.callbacks_carry_facts


async def reconcile_all(reconciler: Reconciler, *, only: str | None = None) -> list[Report | str]:
    """Each account that can be is compared, in runs of their own; one that fails holds up none."""
    reports: list[Report | str] = []
    for account in reconciler.listed() if only is None else [only]:
        try:
            reports.append(await reconciler.run(account))
        except (PaymentError, NotFound) as error:
            log.error("reconciliation_failed", account=account, error=error.code)
            reports.append(f"{account}: {error.message}")
    return reports

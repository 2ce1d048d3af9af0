"""What succeeded here and is in no list there: missed in two runs and unknown when asked for, it is for a person.

Where an acquirer has an answer for what it provably does not have, that answer is enough. At others (Stripe,
Razorpay) "there is nothing under this id" alone proves nothing: a wrong key gets it, too. But with two whole lists
that lack it, the second of which has other payments of ours, it is for a person all the same. No money is moved.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from payonce.domain.errors import ConnectorError, UnknownThere
from payonce.domain.operations import Attempt, AttemptState
from payonce.domain.reconciling import ComparisonResult, ListFinding
from payonce.logging import get_logger
from payonce.runtime import Runtime
from payonce.standing import Cases, Standing
from payonce.storage import missing as store
from payonce.storage.missing import Missed
from payonce.storage.reconciliation_runs import Run

ROUNDS_MAX = 100  # of `MISSING_AT_ONCE` each
UNKNOWN_AFTER: Final = timedelta(minutes=50)  # two runs that a person starts one after the other are as one

log = get_logger(__name__)


class Missing:
    """Asks about what a list lacks."""

    def __init__(self, runtime: Runtime, *, now: Callable[[], datetime]) -> None:
        self._runtime = runtime
        self._now = now
        accounts = runtime.accounts
        self._cases = Cases(runtime.database, runtime.ids, accounts.capabilities, accounts.identities)

    async def look(self, run: Run, *, has_ours: bool) -> list[ListFinding]:
        """What is missing for the second time was asked for, and what nobody knows is held for a person.

        `has_ours`: the list had something of ours, so it is of the books that we are in.
        """
        database = self._runtime.database
        async with database.transaction() as connection:
            await store.seen_after_all(connection, run.account)
        for _ in range(ROUNDS_MAX):
            async with database.transaction() as connection:
                missed = await store.miss(connection, run, now=self._now())
            if missed < store.MISSING_AT_ONCE:
                break
        async with database.reading() as connection:
            twice = await store.twice_missed(connection, run)
        findings: list[ListFinding] = []
        for one in twice:
            finding = await self._ask(run, one, has_ours=has_ours)
            if finding is not None:
                findings.append(finding)
        return findings

    async def _ask(self, run: Run, missed: Missed, *, has_ours: bool) -> ListFinding | None:
        """What the acquirer says of it is recorded; nothing is concluded where it does not answer."""
        standing, attempt = await self._cases.of_reference(missed.subject, missed.reference)
        connector = await self._runtime.accounts.connector(attempt.connector_account)
        if attempt.state is not AttemptState.APPROVED or not self._cases.same_acquirer(attempt):
            await self._miss_no_more(run, missed)  # it does not count any more, or nobody can be asked
            return None
        try:
            found = await connector.inquire(self._cases.call(standing, attempt))
        except UnknownThere as error:
            if not has_ours or self._now() - missed.missed_at < UNKNOWN_AFTER:
                log.warning("missing_not_concluded", reference=missed.reference, said=error.message)
                return None
            why = f"that it does not know it ({error.message}), and it is in none of the lists of two runs"
            return await self._hold(run, missed, standing, attempt, why=why)
        except ConnectorError as error:
            log.warning("missing_not_asked", reference=missed.reference, error=error.code)
            return None
        if found.kind == "not_found":
            return await self._hold(run, missed, standing, attempt)
        if found.kind not in ("pending", "accepted", "action_required"):
            await self._runtime.recorder.record(
                missed.subject,
                attempt=attempt.number,
                fact=found,
                abilities=connector.capabilities.abilities(attempt.kind),
            )
        await self._miss_no_more(run, missed)
        return None

    async def _hold(
        self, run: Run, missed: Missed, standing: Standing, attempt: Attempt, *, why: str | None = None
    ) -> ListFinding:
        """It is held, and a person called."""
        await self._runtime.recorder.miss(missed.subject, attempt=attempt.number, why=why)
        await self._miss_no_more(run, missed)
        return self._finding(run, standing, attempt)

    async def _miss_no_more(self, run: Run, missed: Missed) -> None:
        async with self._runtime.database.transaction() as connection:
            await store.not_missing(connection, run.account, [missed.reference])

    def _finding(self, run: Run, standing: Standing, attempt: Attempt) -> ListFinding:
        """In the payment's review, until a person decides."""
        payment, operation = standing.payment, standing.operation
        return ListFinding(
            id=self._runtime.ids.reconciliation(
                account=run.account, about=attempt.reference, found=ComparisonResult.MISSING_THERE
            ),
            merchant_id=payment.merchant_id,
            mode=payment.mode,
            account=run.account,
            run=run.id,
            result=ComparisonResult.MISSING_THERE,
            payment_id=payment.id,
            operation_id=operation.id,
            amount_here_minor=operation.amount_minor,
            amount_there_minor=0,
            currency=operation.currency,
            acquirer_reference=attempt.connector_reference,
            created_at=self._now(),
        )

"""The one function that records a fact: activity, inquiry, callback, reconciliation, a zombie or a person's decision.

Under the payment's row lock it reads the rows, asks `payonce.domain.settlement` what the fact makes of them, and
writes the fact, the state, the events, their deliveries and the merchant's answer in one transaction.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from payonce.domain import (
    claiming,
    ending,
    holding,
    leaving,
    returning,
    settlement,
    stages,
    turns,
    verdicts,
)
from payonce.domain.decisions import Decision, InReview
from payonce.domain.errors import NotFound
from payonce.domain.facts import (
    Approved,
    BankWord,
    Fact,
    FailureCode,
    Foreign,
    FraudWarned,
    NotProcessed,
    Redone,
    Reversed,
    Undone,
)
from payonce.domain.ids import IdFactory
from payonce.domain.legs import EndedLeg
from payonce.domain.operations import (
    USUAL,
    Abilities,
    AttemptState,
    Operation,
    OperationStatus,
    Subject,
)
from payonce.domain.reviews import ClosedBy
from payonce.domain.settlement import Settlement
from payonce.logging import get_logger
from payonce.recording import consequences, disputing, saved_cards, turning
from payonce.recording import rows as locked_rows
from payonce.recording.decisions import Account, Deciding, DecisionTaken, read_deciding
from payonce.recording.observing import observe
from payonce.recording.rows import Decide, Reading, Rows
from payonce.risk.outcomes import RiskOutcome, RiskOutcomes
from payonce.storage import legs, payments, returns
from payonce.storage.callbacks import Received
from payonce.storage.driver.connection import Connection, Written
from payonce.storage.driver.database import CommitUnknown, Database, StorageUnavailable
from payonce.storage.returns import Carried
from payonce.wakeups import WakeUps

_RETRY_DELAYS_S = (0.05, 0.2, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0)  # about 15 s: then the claim goes through inquiry

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What one transaction wrote."""

    settled: Settlement
    decided: bool  # the operation has its outcome since then
    deliveries: Sequence[Written]
    counted: RiskOutcome | None = None


class Recorder:
    """Records facts; safe to call twice with the same one, from anywhere."""

    def __init__(
        self, database: Database, ids: IdFactory, wakeups: WakeUps, *, risk: RiskOutcomes | None = None
    ) -> None:
        self._database = database
        self._ids = ids
        self._wakeups = wakeups
        self._risk = risk
        self._running: set[asyncio.Task[Settlement]] = set()

    async def record(
        self,
        subject: Subject,
        *,
        attempt: int,
        fact: Fact,
        token: str | None = None,
        abilities: Abilities = USUAL,
        leg: EndedLeg | None = None,
    ) -> Settlement:
        """The fact about this attempt is recorded, whatever becomes of the caller.

        `token`: of the claim that it was found out about; where another one stands in its place since a fail-over,
        only an approval counts. None: of whichever claim stands. What has become of an approval since is recorded
        after it, each turn in a transaction of its own. `leg`: whose answer it is; that leg has ended in the same
        transaction. Idempotent; not interrupted by cancellation.
        Raises `StorageUnavailable` or `CommitUnknown` after about 15 s in which no COMMIT was proven: the claim then
        stands without an outcome and is inquired about.
        """
        settled = await self._record_one(
            subject, attempt=attempt, said=fact, token=token, abilities=abilities, leg=leg
        )
        for turn in fact.since if isinstance(fact, Approved) else ():
            turned = await self._record_one(
                subject, attempt=attempt, said=turn, token=token, abilities=abilities
            )
            settled = replace(settled, payment=turned.payment, operation=turned.operation)
        for said in fact.disputes if isinstance(fact, Approved) else ():
            heard = await self.hear(subject, attempt=attempt, said=said)
            settled = replace(settled, payment=heard.payment, operation=heard.operation)
        return settled

    async def hear(
        self, subject: Subject, *, attempt: int, said: BankWord, told: Received | None = None
    ) -> Settlement:
        """What a bank said of the attempt, in this callback where one carried it. Idempotent; raises as `record`."""
        if isinstance(said, FraudWarned):
            reading, decide = disputing.suspecting()
        else:
            reading, decide = disputing.hearing(self._ids, subject, attempt, said, told=told)
        return await self._shielded(subject, attempt=attempt, decide=decide, reading=reading)

    async def _record_one(
        self,
        subject: Subject,
        *,
        attempt: int,
        said: Fact,
        token: str | None,
        abilities: Abilities,
        leg: EndedLeg | None = None,
    ) -> Settlement:
        def decide(rows: Rows, now: datetime) -> Settlement:
            if rows.attempt is None:
                raise NotFound(f"attempt {attempt} of {subject.operation_id}")
            if not settlement.concerns(rows.attempt, said, token=token):
                log.warning("fact_of_another_claim", operation_id=subject.operation_id, fact=said.kind)
                return Settlement(rows.payment, rows.operation, rows.attempt)
            fact = turns.done_again(rows.operation, rows.attempt, said) or said
            if isinstance(fact, Undone | Redone | Foreign | Reversed) and rows.others is not None:
                turned = turning.of_acquirer(self._ids, rows, rows.attempt, rows.others, fact, now=now)
                if turned is not None or not isinstance(fact, Reversed):
                    return turned or Settlement(rows.payment, rows.operation, rows.attempt)
            assert not isinstance(fact, Undone | Redone | Foreign)
            if isinstance(fact, Approved) and rows.others is not None:
                return turning.captured_by_rail(self._ids, rows, rows.attempt, rows.others, fact, now=now)
            return settlement.settle(
                rows.payment, rows.operation, rows.attempt, fact, abilities=abilities, now=now
            )

        return await self._shielded(
            subject, attempt=attempt, decide=decide, abilities=abilities, about=said, leg=leg
        )

    async def defer(self, subject: Subject) -> Settlement:
        """Nobody waits any longer: `processing` (or `refund.pending`) unless there is an outcome already."""

        def decide(rows: Rows, now: datetime) -> Settlement:
            return settlement.defer(rows.payment, rows.operation, None, now=now)

        return await self._shielded(subject, attempt=None, decide=decide)

    async def give_up(self, subject: Subject, *, code: FailureCode) -> Settlement:
        """The operation failed, where its latest attempt is provably unsent; otherwise nothing changes."""

        def decide(rows: Rows, now: datetime) -> Settlement:
            return settlement.give_up(rows.payment, rows.operation, rows.attempt, code=code, now=now)

        return await self._shielded(subject, attempt=None, decide=decide)

    async def miss(self, subject: Subject, *, attempt: int, why: str | None = None) -> Settlement:
        """The acquirer, asked again, knows nothing of what counts as done: it is held until a person decides.

        As a definite no against a success, once; `why` in words. Of one that has no success, or that a person
        decided, nothing changes.
        """

        def decide(rows: Rows, _: datetime) -> Settlement:
            found = Settlement(rows.payment, rows.operation, rows.attempt)
            approved = rows.attempt is not None and rows.attempt.state is AttemptState.APPROVED
            if not approved or rows.operation.decided_at is not None:
                return found
            return replace(found, against=NotProcessed(FailureCode.NOT_PROCESSED, why))

        return await self._shielded(subject, attempt=attempt, decide=decide)

    async def begin_reversal(self, subject: Subject, *, token: str, code: FailureCode) -> bool:
        """The claim that was inquired about is being reversed: a success that arrives from now on does not count.

        False when it has a definite outcome, or was given back, or is not the latest; then nothing may be reversed.
        """

        def decide(rows: Rows, now: datetime) -> Settlement:
            attempt = rows.attempt
            if attempt is None or not claiming.reversal_may_begin(attempt, token=token):
                return Settlement(rows.payment, rows.operation, attempt)
            if attempt.state is AttemptState.REVERSING:  # marked before; this COMMIT proves it
                return Settlement(rows.payment, rows.operation, attempt)
            return Settlement(rows.payment, rows.operation, settlement.begin_reversal(attempt, code=code))

        attempt = (await self._shielded(subject, attempt=None, decide=decide)).attempt
        return attempt is not None and attempt.state is AttemptState.REVERSING and attempt.token == token

    async def prove(self, subject: Subject) -> Settlement:
        """Nothing changes, and how the operation stands holds also after a fail-over."""

        def decide(rows: Rows, now: datetime) -> Settlement:
            return Settlement(rows.payment, rows.operation)

        return await self._shielded(subject, attempt=None, decide=decide)

    async def complete(self, subject: Subject) -> Settlement:
        """An operation for which nothing had to be sent succeeded: an expiry, a reversal that was confirmed."""

        def decide(rows: Rows, now: datetime) -> Settlement:
            if rows.operation.status is not OperationStatus.PENDING:
                return Settlement(rows.payment, rows.operation)
            return ending.succeed(rows.payment, rows.operation, None, reply=None, now=now)

        return await self._shielded(subject, attempt=None, decide=decide)

    async def review(self, subject: Subject, *, reason: str) -> Settlement:
        """An operator must decide; the payment, an event, a metric and an error in the log say so."""

        def decide(rows: Rows, now: datetime) -> Settlement:
            return ending.review(rows.payment, rows.operation, reason=reason, now=now)

        return await self._shielded(subject, attempt=None, decide=decide)

    async def overdue(self, subject: Subject, *, due_at: datetime) -> Settlement:
        """A review that was due then and is open has escalated: an event, a metric and an error in the log say so.

        What was held for its risk is voided instead. Once for each review, whoever calls; the caller's clock counts.
        """

        async def reading(_: Connection, rows: Rows) -> Rows:
            return replace(rows, by=ClosedBy.TIME)

        def decide(rows: Rows, now: datetime) -> Settlement:
            if rows.review is None or rows.review.due_at != due_at:
                return Settlement(rows.payment, rows.operation)  # another review began meanwhile
            return ending.escalate(rows.payment, rows.operation, rows.review, now=now)

        return await self._shielded(subject, attempt=None, decide=decide, reading=reading)

    async def warn(self, *, payment_id: str, dispute_id: str) -> Settlement:
        """The merchant was told that evidence is due soon in the dispute; once for each deadline, whoever calls."""
        reading, decide = disputing.warning(dispute_id)
        return await self._shielded(
            Subject(payment_id, payment_id), attempt=None, decide=decide, reading=reading
        )

    async def decide(
        self, subject: Subject, decision: Decision, *, accounts: Mapping[str, Account]
    ) -> DecisionTaken:
        """The operation in review is as the person decided, with the decision's own row in the same transaction.

        `accounts` are the connector accounts, by id. The same decision under its key again changes
        nothing. Raises `DecisionRefused`, in words, `NotFound`, and as `record` what storage raises.
        """
        tried = False  # a COMMIT of this call that proves nothing may hold all the same
        taken: Deciding | None = None

        async def reading(connection: Connection, rows: Rows) -> Rows:
            found = InReview(rows.payment, rows.operation, rows.attempt)
            deciding = await read_deciding(connection, found, decision, accounts)
            return replace(rows, deciding=deciding, by=ClosedBy.DECISION)

        def decide(rows: Rows, _: datetime) -> Settlement:
            nonlocal tried, taken
            taken = rows.deciding
            assert taken is not None
            if taken.known is not None:
                return Settlement(rows.payment, rows.operation, rows.attempt)
            settled = verdicts.decide(taken.matter, decision, now=taken.decided.at)
            tried = True
            return settled

        settled = await self._shielded(subject, attempt=None, decide=decide, reading=reading)
        assert taken is not None
        decided = taken.known or taken.decided
        again = taken.known is not None and not tried
        log.info("review_decided", operation_id=subject.operation_id, verdict=decision.verdict, again=again)
        return DecisionTaken(settled.payment, settled.operation, decided, again)

    async def returned(self, subject: Subject, *, attempt: int, carried: Carried) -> Settlement:
        """The customer of this attempt is back; where that counts, it is in `returned`, and the inbox has word of it.

        Idempotent; raises as `record` does.
        """

        async def reading(connection: Connection, rows: Rows) -> Rows:
            if rows.attempt is None:
                raise NotFound(f"attempt {attempt} of {subject.operation_id}")
            known = await connection.fetch(returns.digests(rows.attempt))
            return replace(rows, returned=carried.returned(rows.attempt, known))

        def decide(rows: Rows, now: datetime) -> Settlement:
            assert rows.attempt is not None
            return returning.take(rows.payment, rows.operation, rows.attempt, rows.returned, now=now)

        return await self._shielded(subject, attempt=attempt, decide=decide, reading=reading)

    async def drain(self) -> None:
        """Every recording that began has ended; a process calls this before it closes its connections."""
        if self._running:
            await asyncio.wait(self._running)

    async def _shielded(
        self,
        subject: Subject,
        *,
        attempt: int | None,
        decide: Decide,
        abilities: Abilities = USUAL,
        about: Fact | None = None,
        reading: Reading | None = None,
        leg: EndedLeg | None = None,
    ) -> Settlement:
        """The caller may be cancelled; the recording goes on. `about`: what may touch other operations, too.

        `reading` reads what else `decide` needs.
        """
        task = asyncio.create_task(
            self._persist(
                subject,
                attempt=attempt,
                decide=decide,
                abilities=abilities,
                about=about,
                reading=reading,
                leg=leg,
            )
        )
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _persist(
        self,
        subject: Subject,
        *,
        attempt: int | None,
        decide: Decide,
        abilities: Abilities = USUAL,
        about: Fact | None = None,
        reading: Reading | None = None,
        leg: EndedLeg | None = None,
    ) -> Settlement:
        recorded: Recorded | None = None

        async def once() -> Recorded:
            """Proven when it returns: a write, if only of the row's lock, whose COMMIT was answered."""
            nonlocal recorded
            async with self._database.transaction() as connection:
                rows = await locked_rows.read(connection, subject, attempt)
                if about is not None:
                    rows = replace(
                        rows, others=await locked_rows.read_others(connection, self._ids, rows, about)
                    )
                if recorded is not None and _stands(recorded, rows):
                    return recorded  # what an earlier try wrote, and could not prove
                if reading is not None:
                    rows = await reading(connection, rows)
                settled, deliveries = await self._apply(
                    connection, rows, decide, about=about, abilities=abilities
                )
                if leg is not None and rows.attempt is not None:
                    await legs.end(connection, rows.attempt, leg)
                was_pending = rows.operation.status is OperationStatus.PENDING
                decided = was_pending and settled.operation.status is not OperationStatus.PENDING
                counted = None
                if decided and self._risk is not None:
                    counted = await self._risk.complete(connection, settled)
                recorded = Recorded(settled, decided, deliveries, counted)
            return recorded

        stored = await _until_stored(once, subject)
        self._wake(subject, stored)
        if stored.counted is not None and self._risk is not None:
            self._risk.tell(stored.counted)
        observe(stored.settled, decided=stored.decided)
        return stored.settled

    def _wake(self, subject: Subject, recorded: Recorded) -> None:
        settled = recorded.settled
        self._wakeups.wake(
            subject.operation_id,
            answer=settled.answer,
            events=bool(settled.events),
            deliveries=any(written.rows for written in recorded.deliveries),
        )
        for waiting in (settled.abandoned, settled.operation.ends_operation):
            if waiting is not None:
                self._wakeups.wake(waiting)
        if settled.answered is not None:
            self._wakeups.wake(settled.answered, answer=settled.answer)
        for beside in settled.beside:
            self._wakeups.wake(beside.id)

    async def _apply(
        self, connection: Connection, rows: Rows, decide: Decide, *, about: Fact | None, abilities: Abilities
    ) -> tuple[Settlement, Sequence[Written]]:
        now = datetime.now(UTC)
        settled, told = await saved_cards.follow(
            connection, rows, decide, decide(rows, now), about=about, now=now
        )
        if holding.is_moot(rows.payment, settled):
            settled = await consequences.without_risk(connection, rows, decide, settled, now=now)
        elif ending.moot(rows.payment, settled):
            settled = await consequences.without_release(
                connection, self._ids, rows, decide, settled, now=now
            )
        if settled.against is not None or settled.confirms is not None:
            settled = await consequences.hear(connection, self._ids, rows, settled, now=now)
        if settled.late is not None:
            settled = await consequences.compensate(
                connection, self._ids, rows, settled, now=now, abilities=abilities
            )
        if settled.refund is not None:
            settled = self._with_refund(settled, settled.refund)
        if settled.abandoned is not None:
            settled, voided = await self._void(connection, rows, settled, void_id=settled.abandoned, now=now)
            return settled, [*voided, *await saved_cards.tell(connection, told, now=now)]
        if stages.completes_create(rows.operation) and rows.operation.status is OperationStatus.PENDING:
            settled = await consequences.complete_create(connection, rows, settled, now=now)
        follow_up_id = self._ids.follow_up(operation_id=rows.operation.id)
        settled = stages.follow(rows.operation, settled, follow_up_id=follow_up_id, now=now)
        settled = await consequences.with_other_review(connection, rows, settled)
        rows, settled = await disputing.conclude(connection, rows, settled, about=about, now=now)
        written = [await locked_rows.write(connection, self._ids, rows, settled, now=now)]
        written += await saved_cards.tell(connection, told, now=now)
        if (ended := consequences.ended_by(rows.operation, settled)) is not None:
            written.append(await self._end(connection, rows, settled, void_id=ended, now=now))
        return settled, written

    async def _void(
        self, connection: Connection, rows: Rows, settled: Settlement, *, void_id: str, now: datetime
    ) -> tuple[Settlement, Sequence[Written]]:
        """The void that gave the payment up succeeded, in the transaction that records that it came to nothing."""
        void = await self._other(connection, void_id)
        written = await locked_rows.write(
            connection, self._ids, rows, replace(settled, payment=rows.payment), now=now
        )
        voided = ending.succeed(settled.payment, void, None, reply=None, now=now)
        of_void = rows.of_another(void)
        voided = await consequences.with_other_review(connection, of_void, voided)
        answer = leaving.given_up(voided.payment, settled.operation)
        settled = replace(settled, answer=answer)
        await locked_rows.store_answer(connection, settled, now=now)
        deliveries = [written, await locked_rows.write(connection, self._ids, of_void, voided, now=now)]
        return replace(settled, payment=voided.payment, events=voided.events), deliveries

    def _with_refund(self, settled: Settlement, refund: Operation) -> Settlement:
        """What was captured although it had been given up is refunded, by an operation of our own."""
        refund_id = self._ids.release(void_id=refund.ends_operation or "")
        settled, refund = leaving.begin_refund(settled, refund_id=refund_id)
        return replace(settled, added=(*settled.added, refund))

    async def _end(
        self, connection: Connection, rows: Rows, settled: Settlement, *, void_id: str, now: datetime
    ) -> Written:
        """The void that waited for our refund has its outcome, in the transaction that records the refund's."""
        void = await self._other(connection, void_id)
        ended = leaving.end(void, settled, now=now)
        of_void = replace(rows.of_another(void), payment=settled.payment)
        return await locked_rows.write(connection, self._ids, of_void, ended, now=now)

    async def _other(self, connection: Connection, operation_id: str) -> Operation:
        operation = await connection.fetch(payments.operation_by_id(operation_id))
        if operation is None:
            raise NotFound(operation_id)
        return operation


def _stands(recorded: Recorded, rows: Rows) -> bool:
    """Whether the payment is as an earlier try left it. One that told nothing is as well made again."""
    left, found = recorded.settled.payment, rows.payment
    told = bool(recorded.settled.events)
    return told and (left.sequence, left.updated_at) == (found.sequence, found.updated_at)


async def _until_stored(once: Callable[[], Awaitable[Recorded]], subject: Subject) -> Recorded:
    """A COMMIT that proves nothing is followed by another: reading and recording again answers every error."""
    for delay_s in _RETRY_DELAYS_S:
        try:
            return await once()
        except (StorageUnavailable, CommitUnknown) as error:
            log.warning("recording_retried", operation_id=subject.operation_id, error=error.code)
            await asyncio.sleep(delay_s)
    return await once()

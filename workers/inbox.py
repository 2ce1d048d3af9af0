"""Callbacks: put into the inbox once, then handed to whoever works on the operation they are about.

A callback makes a workflow ask the acquirer: the payment's while its operation has no outcome, else one of its own.
So a lie with a valid signature costs an inquiry. Where the connector says that callbacks carry the truth of that kind
of operation, what this one carries is recorded first, as any other fact.
"""

import asyncio
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import Client

from payonce.connectors.base import Callback
from payonce.domain import retelling
from payonce.domain.claiming import same_acquirer
from payonce.domain.errors import CallbackInvalid, OutcomeUnknown, PaymentError
from payonce.domain.facts import Approved, Disputed, FraudWarned, Told, Turn
from payonce.domain.operations import Attempt, Operation, OperationKind, OperationStatus, Subject
from payonce.domain.payment import Payment
from payonce.logging import get_logger
from payonce.metrics import ANOTHER_ACQUIRER, CALLBACKS
from payonce.runtime import Runtime
from payonce.storage import attempts, callbacks, payments
from payonce.storage.callbacks import Received
from payonce.storage.told import decoded, decoded_all, encoded
from payonce.waiting import first
from workers.dispatch import Dispatcher

HANDING_OVER_MAX = 1_000  # waiting or under way in one process; what is more, the sweeper takes
LOCATED_WITHIN_S = 3.0  # so that an acquirer that does not answer holds up little else
AT_ONCE = 4  # of the process' connections to Postgres, so that a flood of callbacks leaves payments theirs

PAUSE_S, PAUSE_S_MAX = 1.0, 600.0  # between two turns of one reference; twice as long each time
REFERENCES_MAX = 10_000  # whose turns are remembered
TOGETHER_MAX = 1_000  # messages that wait for one turn

log = get_logger(__name__)

_About = tuple[str, str, str]  # connector, account and reference


class ReferenceTurns:
    """When news of a reference are followed up: the first at once, then ever more seldom while more come.

    So that many messages about one payment, genuine or not, cost a few inquiries.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next: dict[
            Hashable, tuple[float, float]
        ] = {}  # the time of the next turn, and the pause after it

    def wait_s(self, reference: Hashable) -> float:
        """How long news that came now would wait for the turn after those that were taken."""
        at_s, _ = self._next.get(reference, (0.0, 0.0))
        return max(at_s - self._clock(), 0.0)

    def take(self, reference: Hashable) -> float:
        """The wait for the next turn, which nobody else gets."""
        now_s = self._clock()
        at_s, pause_s = self._next.pop(reference, (0.0, 0.0))
        quiet = now_s >= at_s + pause_s
        pause_s = PAUSE_S if quiet else min(pause_s * 2, PAUSE_S_MAX)
        turn_s = max(at_s, now_s)
        self._next[reference] = turn_s + pause_s, pause_s
        if len(self._next) > REFERENCES_MAX:
            del self._next[next(iter(self._next))]
        return turn_s - now_s


class Inbox:
    """Receives callbacks, and hands them over; the sweeper takes what was received and not handed over."""

    def __init__(self, runtime: Runtime, temporal: Client, *, turns: ReferenceTurns | None = None) -> None:
        self._runtime = runtime
        self._dispatcher = Dispatcher(temporal)
        self._turns = turns or ReferenceTurns()
        self._waiting: dict[_About, list[Received]] = {}  # for one turn
        self._handing_over: set[asyncio.Task[bool]] = set()
        self._ending = asyncio.Event()
        self._receiving = asyncio.Semaphore(AT_ONCE)
        self._telling = asyncio.Semaphore(AT_ONCE)  # apart: while Temporal is away it takes seconds

    async def receive(self, connector: str, callback: Callback, *, accounts: Sequence[str]) -> None:
        """The callback is in the inbox for good, and on its way; one that was there before changes nothing.

        `accounts`: whose secrets verified it; one that has several is about whichever of them the attempt was made
        at. Raises `CallbackInvalid` where that is none of them, and `StorageUnavailable` or `CommitUnknown`: the
        acquirer then tells it again.
        """
        later = timedelta(seconds=self._turns.wait_s((connector, callback.reference)))
        async with self._receiving, self._runtime.database.transaction() as connection:
            attempt = await attempts.find_by_reference(connection, callback.reference)
            account = accounts[0] if attempt is None else attempt.connector_account
            if account not in accounts:
                raise _foreign(connector, accounts[0])
            fact = self._kept_fact(callback, account)
            received = Received(connector, account, callback.event_id, callback.reference, fact)
            new = await callbacks.put(connection, received, now=datetime.now(UTC), later=later)
        self._runtime.accounts.heard(account)
        CALLBACKS.labels(connector, "received" if new else "known").inc()
        if new:
            self._follow_up(received)

    def hear(self, received: Received) -> None:
        """What was put into the inbox with something else is on its way, at the next turn of its reference."""
        self._follow_up(received)

    async def drain(self) -> None:
        """Every hand-over that began here has ended; those whose turn has not come are left to the sweeper."""
        self._ending.set()
        if self._handing_over:
            await asyncio.wait(self._handing_over)

    async def sweep(self, *, limit: int) -> int:
        """What nobody has handed over yet is handed over, at most `limit`; returns how many could be.

        Fewer than were taken could be where Temporal or Postgres is away.
        """
        async with self._runtime.database.transaction() as connection:
            due = await callbacks.dequeue(connection, limit=limit)
        together: dict[_About, list[Received]] = {}
        for received in due:
            together.setdefault(_about(received), []).append(received)
        done = await asyncio.gather(*(self._try_to_hand_over(*group) for group in together.values()))
        return sum(len(group) for group, is_done in zip(together.values(), done, strict=True) if is_done)

    def _follow_up(self, received: Received) -> None:
        """It waits for the next turn of its reference, with others; or for the sweeper, where too many do."""
        waiting = self._waiting.get(_about(received))
        if waiting is not None and len(waiting) < TOGETHER_MAX:
            waiting.append(received)
        if waiting is not None or len(self._handing_over) >= HANDING_OVER_MAX:
            return
        self._waiting[_about(received)] = [received]
        wait_s = self._turns.take((received.connector, received.reference))
        task = asyncio.create_task(self._hand_over_after(wait_s, _about(received)))
        self._handing_over.add(task)
        task.add_done_callback(self._handing_over.discard)

    async def _hand_over_after(self, wait_s: float, about: _About) -> bool:
        """At the turn, with all that came until then; False where the process ends before."""
        if wait_s > 0 and await first(self._ending, timeout_s=wait_s):
            return False
        return await self._try_to_hand_over(*self._waiting.pop(about))

    async def _try_to_hand_over(self, *received: Received) -> bool:
        connector = received[0].connector
        try:
            async with self._telling:
                await self.hand_over(*received)
        except PaymentError as error:
            log.warning("callback_not_handed_over", connector=connector, error=error.code)
            return False
        except Exception as error:  # ours to mend; the sweeper takes it again, and the others meanwhile
            log.error("callback_hand_over_broken", connector=connector, error=type(error).__name__)
            return False
        return True

    async def hand_over(self, *received: Received) -> None:
        """The facts of these, of one account and reference, are recorded and Temporal has them, or nobody needs them.

        Safe to repeat. What nobody knows is looked for again for `callbacks.UNKNOWN_FOR`, and then left for a person.

        Raises `NotHandedOver` and what storage raises.
        """
        found = await self._find(received[0])
        now = datetime.now(UTC)
        if found is None or not await self._record(found, received):
            await self._give_up_unknown(received, now=now)
            return
        await self._tell(found)
        async with self._runtime.database.transaction() as connection:
            await callbacks.handled(connection, received, now=now)

    async def _give_up_unknown(self, received: Sequence[Received], *, now: datetime) -> None:
        async with self._runtime.database.transaction() as connection:
            given_up = await callbacks.give_up_unknown(connection, received, now=now)
        if given_up:
            CALLBACKS.labels(received[0].connector, "unknown").inc(given_up)
            log.error("callback_of_unknown_reference", connector=received[0].connector)

    def _kept_fact(self, callback: Callback, account: str) -> Mapping[str, Any] | None:
        capabilities = self._runtime.accounts.capabilities.get(account)
        if callback.fact is None or capabilities is None or not capabilities.carried(callback.fact):
            return None
        return encoded(callback.fact)

    async def _record(self, found: "_Found", received: Sequence[Received]) -> bool:
        """What they carry is recorded under the token of the attempt, in the order in which it came.

        Nothing is where the acquirer is asked what became of such an operation. False: the account is not that of the
        attempt any more, as the acquirer calls it, so that what it says of it proves nothing.
        """
        carried = [(one, decoded(one.fact)) for one in received if one.fact is not None]
        attempt, accounts = found.attempt, self._runtime.accounts
        if not carried:
            return True
        account = await accounts.find(attempt.connector_account)
        if account is None:
            log.error("callback_of_no_account", account=attempt.connector_account)
            return False
        of_banks = [(one, fact) for one, fact in carried if isinstance(fact, Disputed | FraudWarned)]
        is_told = account.capabilities.truth_of(found.kind).is_told
        told = [fact for _, fact in carried if is_told and not isinstance(fact, Disputed | FraudWarned)]
        if not told and not of_banks:
            return True
        if not same_acquirer(attempt, accounts.identities.get(attempt.connector_account)):
            ANOTHER_ACQUIRER.labels(attempt.connector_account).inc()
            log.error(
                "another_acquirer", account=attempt.connector_account, operation_id=attempt.operation_id
            )
            return False
        if any(isinstance(fact, Approved) for fact in told):
            all_told = await self._all_told(received[0])
            told = [retelling.as_told(fact, all_told, kind=found.kind) for fact in told]
            told += [fact for fact in all_told if isinstance(fact, Turn)]  # nothing, where they came before
        subject = Subject(attempt.payment_id, attempt.operation_id)
        for fact in told:
            await self._runtime.recorder.record(
                subject,
                attempt=attempt.number,
                token=attempt.token,
                fact=fact,
                abilities=account.capabilities.abilities(attempt.kind),
            )
        for one, said in of_banks:
            await self._runtime.recorder.hear(subject, attempt=attempt.number, said=said, told=one)
        return True

    async def _all_told(self, received: Received) -> list[Told]:
        """Of the reference, oldest first. What was recorded counts once."""
        async with self._runtime.database.reading() as connection:
            return decoded_all(await callbacks.facts_about(connection, received))

    async def _tell(self, found: "_Found") -> None:
        """The workflow that works on the operation; where there is none, one that asks and records.

        A payment that waits for captures has one, too, which then follows what others did to the payment.
        """
        payment, operation, reference = found.payment, found.operation, found.attempt.reference
        waits = payment.status.capturable and operation.kind is not OperationKind.REFUND
        worked_on = operation.status is OperationStatus.PENDING or waits
        if worked_on and await self._dispatcher.acquirer_spoke(operation, reference):
            return
        workflow_id = self._runtime.ids.callback(connector=found.attempt.connector, reference=reference)
        await self._dispatcher.start_callback(payment, operation, reference, workflow_id=workflow_id)

    async def _find(self, received: Received) -> "_Found | None":
        """What the reference is about, ours or the acquirer's own: an attempt at this very account."""
        found = await self._known(received, received.reference)
        if found is not None:
            return found
        located = await self._located(received)
        return None if located is None else await self._known(received, located)

    async def _located(self, received: Received) -> str | None:
        """Our reference of what the acquirer calls as the callback does, where it can be asked that.

        Raises the `ConnectorError`s: then it is asked again, as long as it takes.
        """
        connector = await self._runtime.accounts.find(received.account) if received.account else None
        if connector is None:
            return None
        try:
            async with asyncio.timeout(LOCATED_WITHIN_S):
                return await connector.locate(received.reference)
        except TimeoutError:
            raise OutcomeUnknown("timed out") from None

    async def _known(self, received: Received, reference: str) -> "_Found | None":
        """What this reference of ours is about, where it is an attempt at this very account."""
        async with self._runtime.database.reading() as connection:
            attempt = await attempts.find_by_reference(connection, reference)
            if attempt is None or attempt.connector != received.connector:
                return None
            if received.account and attempt.connector_account != received.account:
                log.error(
                    "callback_of_another_account", account=received.account
                )  # it came before the attempt
                return None
            payment = await connection.fetch(payments.payment_of_any_merchant(attempt.payment_id))
            operation = await connection.fetch(payments.operation_by_id(attempt.operation_id))
        if payment is None or operation is None:
            return None
        return _Found(payment, operation, attempt)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a reference is about."""

    payment: Payment
    operation: Operation
    attempt: Attempt

    @property
    def kind(self) -> OperationKind:
        """As what the acquirer got it."""
        return self.operation.sent_as or self.operation.kind


def _foreign(connector: str, account: str) -> CallbackInvalid:
    """A secret of one account has signed what is about another's: it was given away, or is used twice."""
    CALLBACKS.labels(connector, "foreign").inc()
    log.error("callback_of_another_account", account=account)
    return CallbackInvalid()


def _about(received: Received) -> _About:
    return received.connector, received.account, received.reference

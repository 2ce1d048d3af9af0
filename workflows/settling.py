"""An operation, from its first attempt to its outcome: the loop that every workflow shares."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError, is_cancelled_exception

from workflows.renewal import BegunAnew

with workflow.unsafe.imports_passed_through():
    from activities import options
    from activities.attempting import Attempting
    from activities.messages import (
        LACKING,
        ActionDue,
        InquiryDue,
        LegDue,
        NothingSent,
        NotOwner,
        OperationRequest,
        Progress,
        ReversalDue,
        Settled,
    )
    from activities.resolving import Resolving
    from activities.resuming import Resuming
    from payonce.domain.operations import OperationKind
    from payonce.domain.schedules import (
        CREATE_RETRIES_MAX,
        NOT_SENT_RETRIES_S,
        UNKNOWN_ACCOUNT_INQUIRIES,
        USED_UP_EVERY_S,
        InquirySchedule,
        retry_delay_s,
    )

STEPS_MAX = 5_000  # of one operation; the run begins anew long before

_NEVER_STOPS = "review-never-stops-asking"
_NOUNS = {
    OperationKind.AUTHORIZE: "authorization",
    OperationKind.REVERSE: "release",
    OperationKind.ACCEPT: "acceptance",
}  # the others are nouns already
_NOTHING_SENT = {
    LACKING: "others moved what it needs, or a bank took it back, which is to be settled first",
    "done_by_others": "others did the same, perhaps in its stead, which a person must decide about",
    "reversed_before": "what was sent before is reversed",
    "not_processed": "the acquirer did not process the one before",
}  # otherwise the acquirer could not be reached
_ATTEMPTS: dict[OperationKind, Any] = {
    OperationKind.AUTHORIZE: Attempting.authorize,
    OperationKind.CAPTURE: Attempting.capture,
    OperationKind.VOID: Attempting.void,
    OperationKind.REFUND: Attempting.refund,
    OperationKind.REVERSE: Attempting.undo,  # one that is a void or refund of its own
    OperationKind.ACCEPT: Attempting.accept,
}


class Settling:
    """Carries one operation to its outcome. Calls `changed` whenever it waits for something else.

    Where it only waits to ask again, `begins_anew` may say that the next run does that.
    """

    def __init__(
        self, request: OperationRequest, *, changed: Callable[[], None], begins_anew: Callable[[], bool]
    ) -> None:
        self._request = request
        self._changed = changed
        self._begins_anew = begins_anew
        self._what = _NOUNS.get(request.kind, request.kind)
        self._attempts = 0
        self._inquiries = 0
        self._unknown_since: float | None = None
        self._claimed_at: float | None = None  # of the attempt in doubt, where that is known
        self._seen_at: datetime | None = None  # when the attempt was claimed that Postgres had last
        self._operator_called = False
        self._acting_since: float | None = None
        self._woken = False  # whether there may be news before the schedule says so
        self._waiting = False  # between two inquiries: nothing is under way
        self._spoken: str | None = None  # the reference that the acquirer spoke of, until it is asked
        self.acts_until: datetime | None = None  # while the customer is to act
        self.in_review: str | None = None  # in words, once a person must decide
        self.waiting_for = f"the acquirer to answer the {self._what}"
        self.unknown = False  # whether the acquirer may have done it without our knowing

    async def outcome(self) -> Settled:
        """The operation's outcome, however long it takes.

        Raises `ApplicationError` of type `nothing_sent` when a create cannot be sent any more (the API answers
        503 and the key goes on), and of type `unresolved` after very many steps: the sweeper starts another run.
        Raises `BegunAnew` when the next run goes on with it.
        """
        self._changed()
        progress = await self._attempt()
        for _ in range(STEPS_MAX):
            match progress:
                case Settled():
                    return progress if self._spoken is None else await self._listen(progress, self._spoken)
                case NotOwner():
                    progress = await self._attempt_at(progress.owner)
                case NothingSent():
                    progress = await self._after_nothing_sent(progress)
                case InquiryDue():
                    await self._wait_to_ask(progress)
                    progress = await self._inquire(f"what became of the {self._what}")
                case ActionDue():
                    await self._wait_for_customer(progress)
                    progress = await self._inquire("whether the customer has acted")
                case LegDue():
                    progress = await self._resume()
                case ReversalDue():
                    progress = await self._reverse(progress)
        raise ApplicationError("too many steps", type="unresolved", non_retryable=True)

    def hear(self, reference: str) -> None:
        """The acquirer spoke of this operation: it is asked now, not when the schedule says so."""
        self._spoken = reference
        self.wake()

    def wake(self) -> None:
        """Another operation changed the payment: how this one stands is looked at now."""
        self._woken = True

    async def _attempt(self) -> Progress:
        """One attempt in this process. If it cannot be told how it ended, the claim is inquired about."""
        self._attempts += 1
        try:
            return await workflow.execute_local_activity_method(
                _ATTEMPTS[self._request.kind], self._request, **options.ATTEMPT
            )
        except FailureError as error:
            return _proves_nothing(error)

    async def _attempt_at(self, owner: str) -> Progress:
        """The attempt at the process that holds the card; if that does not answer, it proves nothing."""
        self._wait_for("the process that holds the card")
        try:
            return await workflow.execute_activity_method(
                _ATTEMPTS[self._request.kind],
                self._request,
                task_queue=options.owner_queue(owner),
                summary="at the process that holds the card",
                **options.ATTEMPT_AT_OWNER,
            )
        except FailureError as error:
            return _proves_nothing(error)

    async def _after_nothing_sent(self, nothing: NothingSent) -> Progress:
        """A further attempt with backoff, where one is possible; never while an earlier one is unclear.

        One that was in Postgres and is not any more may have been sent: it is inquired about before.
        """
        if self._is_forgotten(nothing):
            self._request = replace(self._request, doubted=True)
        delay_s = self._retry_delay_s(nothing)
        if delay_s is None:
            return await self._stop_trying()
        why = _NOTHING_SENT.get(nothing.reason, "the acquirer could not be reached")
        self._wait_for(f"attempt {self._attempts + 1}: {why}")
        await workflow.sleep(delay_s, summary=f"before attempt {self._attempts + 1}")
        return await self._attempt()

    def _is_forgotten(self, nothing: NothingSent) -> bool:
        """Whether Postgres had a later attempt than it has now."""
        if self._seen_at is None:
            return False
        return nothing.no_attempt or (nothing.claimed_at is not None and nothing.claimed_at < self._seen_at)

    def _retry_delay_s(self, nothing: NothingSent) -> float | None:
        if not nothing.may_retry:
            return None
        if nothing.patient:
            return retry_delay_s(self._attempts - 1) if self._attempts <= CREATE_RETRIES_MAX else None
        if self._request.kind is OperationKind.AUTHORIZE:
            done = self._attempts - 1
            return NOT_SENT_RETRIES_S[done] if done < len(NOT_SENT_RETRIES_S) else None
        return retry_delay_s(self._attempts - 1)

    async def _stop_trying(self) -> Progress:
        """The operation failed as never processed; a create that may go on with its key ends this run instead."""
        progress = await self._resolve(Resolving.give_up, f"the {self._what} was never sent")
        if isinstance(progress, NothingSent):
            raise ApplicationError("nothing was sent", type="nothing_sent", non_retryable=True)
        return progress

    async def _resume(self) -> Progress:
        self._wait_for("the acquirer to answer what the customer brought back")
        return await self._resolve(Resuming.resume, "the second leg, with what the customer brought back")

    async def _reverse(self, due: ReversalDue) -> Progress:
        self.unknown, self.acts_until = True, None
        self._wait_for(f"the reversal of the {self._what} ({due.reason})")
        asked = replace(self._request, token=due.token)
        progress = await self._resolve(Resolving.reverse, f"undo the {self._what}", asked)
        if isinstance(progress, ReversalDue):
            await self._wait_to_ask(progress)
        return progress

    async def _wait_to_ask(self, due: InquiryDue | ReversalDue) -> None:
        """Waits as the rail's schedule says; past its limit an operator is called. It never ends."""
        now = workflow.time()
        self._note_review(due.review_since, due.reason)
        self._seen_at = due.claimed_at or self._seen_at
        if self._unknown_since is None:
            self._unknown_since = now
            self._claimed_at = None if due.claimed_at is None else due.claimed_at.timestamp()
        since_s = now - self._unknown_since
        delay_s = due.schedule.delay_s(inquiries=self._inquiries, since_s=since_s)
        if delay_s is None:
            delay_s = used_up_delay_s()
        if not self._operator_called and self._is_overdue(due.schedule, now, since_s=since_s):
            await self._call_operator(due.reason)
        self._inquiries += 1
        self.unknown, self.acts_until = True, None
        self._wait_for(f"inquiry {self._inquiries} about the {self._what}: {due.reason}")
        await self._sleep(delay_s, summary=f"before inquiry {self._inquiries}")

    def _is_overdue(self, schedule: InquirySchedule, now: float, *, since_s: float) -> bool:
        """Whether an operator is to be told. Runs that begin anew do not put it off: the claim's age counts,
        once this run has asked for itself."""
        if not schedule.calls_operator:
            return False
        if self._claimed_at is not None and self._inquiries:
            since_s = max(since_s, now - self._claimed_at)
        return since_s >= schedule.review_after_s

    async def _wait_for_customer(self, due: ActionDue) -> None:
        """Waits until the acquirer spoke, the rail's next inquiry is due, or the time to act is over."""
        now = workflow.time()
        if self._acting_since is None:
            self._acting_since = now
        left_s = max(1.0, due.until.timestamp() - now)  # at least a second, since clocks differ
        delay_s = due.schedule.delay_s(inquiries=self._inquiries, since_s=now - self._acting_since)
        until = due.until.isoformat(timespec="seconds")
        self.acts_until = due.until
        self._wait_for(f"the customer until {until} ({due.action})")
        summary = f"before inquiry {self._inquiries + 1}; the customer may act until {until}"
        if not await self._sleep(left_s if delay_s is None else min(delay_s, left_s), summary=summary):
            self._inquiries += 1

    @property
    def rests(self) -> bool:
        """Whether the run may end here: nothing is under way, and there is no news that only this run has."""
        return self._waiting and not self._woken

    async def _sleep(self, delay_s: float, *, summary: str) -> bool:
        """Whether there may be news before the time is over. Raises `BegunAnew`."""
        self._waiting = True
        with suppress(asyncio.TimeoutError):
            await workflow.wait_condition(
                lambda: self._woken or self._begins_anew(), timeout=delay_s, timeout_summary=summary
            )
        if self.rests and self._begins_anew():
            raise BegunAnew
        self._waiting = False
        woken, self._woken = self._woken, False
        return woken

    async def _inquire(self, summary: str) -> Progress:
        """How the operation stands, the acquirer asked where it is open. What it spoke of is then answered."""
        spoken, self._spoken = self._spoken, None
        progress = await self._resolve(Resolving.inquire, summary)
        if isinstance(progress, Settled) and not progress.asked and self._spoken is None:
            self._spoken = spoken  # another operation settled it meanwhile, and nobody was asked
        return progress

    async def _listen(self, settled: Settled, reference: str) -> Settled:
        """What the acquirer said while its last answer was being recorded may be news."""
        self._woken, self._spoken = False, None
        try:
            heard = await hear(self._request, reference)
        except FailureError as error:  # nobody to ask, or no answer: the outcome stands
            if is_cancelled_exception(error):
                raise
            return settled
        return heard if isinstance(heard, Settled) else settled

    def _note_review(self, since: datetime | None, reason: str) -> None:
        if since is not None:
            self.in_review = in_review(self._request.payment_id, since=since, reason=reason)

    async def _call_operator(self, reason: str) -> None:
        self._operator_called = True
        await workflow.execute_activity_method(
            Resolving.call_operator,
            args=[self._request, reason],
            summary=f"needs review: {reason}",
            **options.BOOKKEEPING,
        )
        if self.in_review is None:
            self._note_review(workflow.now(), reason)

    async def _resolve(
        self, activity: Any, summary: str, request: OperationRequest | None = None
    ) -> Progress:
        progress: Progress = await workflow.execute_activity_method(
            activity, request or self._request, summary=summary, **options.INQUIRE
        )
        return progress

    def _wait_for(self, what: str) -> None:
        self.waiting_for = what
        self._changed()


def used_up_delay_s() -> float:
    """The wait once a schedule is used up. In a run of an earlier version, which ended there, it raises."""
    if workflow.patched(_NEVER_STOPS):
        return USED_UP_EVERY_S
    raise ApplicationError("the inquiries are used up", type="unresolved", non_retryable=True)


def in_review(payment_id: str, *, since: datetime, reason: str) -> str:
    """For the details of a run that carries on what a person must decide."""
    return f"In **review** since {since.isoformat(timespec='seconds')}: {reason}. `payonce review show {payment_id}`"


async def hear(request: OperationRequest, reference: str) -> Progress:
    """What the acquirer says of this attempt of ours is recorded, whatever was known of it before.

    Raises `ApplicationError` (`unresolved`) when it never answers.
    """
    started = workflow.time()
    for inquiries in range(STEPS_MAX):
        progress: Progress = await workflow.execute_activity_method(
            Resolving.hear, args=[request, reference], summary="the acquirer spoke", **options.INQUIRE
        )
        if not isinstance(progress, InquiryDue):
            return progress
        delay_s = progress.schedule.delay_s(inquiries=inquiries, since_s=workflow.time() - started)
        if delay_s is None:
            break
        await workflow.sleep(delay_s, summary=f"the acquirer did not answer: {progress.reason}")
    raise ApplicationError("the inquiries are used up", type="unresolved", non_retryable=True)


def _proves_nothing(error: FailureError) -> InquiryDue:
    """An attempt that ended without saying how. A local activity fails with its own error, a regular one with
    an `ActivityError` around it. Raises the error again if it is this workflow's cancellation."""
    if is_cancelled_exception(error):
        raise error
    return InquiryDue(UNKNOWN_ACCOUNT_INQUIRIES, type(error.cause or error).__name__)


class Shared:
    """One `Settling` for each operation of a workflow: an update and a resumed run wait for the same one."""

    def __init__(self, *, changed: Callable[[], None], begins_anew: Callable[[], bool]) -> None:
        self._changed = changed
        self._begins_anew = begins_anew
        self._running: dict[str, asyncio.Task[Settled]] = {}
        self._settling: dict[str, Settling] = {}

    async def outcome(self, request: OperationRequest) -> Settled:
        """The operation's outcome; a second caller joins the first."""
        task = self._running.get(request.operation_id)
        if task is None:
            settling = Settling(request, changed=self._changed, begins_anew=self._begins_anew)
            self._settling[request.operation_id] = settling
            task = asyncio.create_task(settling.outcome())
            self._running[request.operation_id] = task
        try:
            return await asyncio.shield(task)
        finally:
            if task.done():
                self._running.pop(request.operation_id, None)
                self._settling.pop(request.operation_id, None)

    def hear(self, request: OperationRequest, reference: str) -> bool:
        """Whether the operation is under way: then the acquirer is asked about it at once."""
        settling = self._settling.get(request.operation_id)
        if settling is not None:
            settling.hear(reference)
        return settling is not None

    def wake(self) -> None:
        """Whatever is under way looks at how it stands now."""
        for settling in self._settling.values():
            settling.wake()

    @property
    def rest(self) -> bool:
        """Whether nothing is under way but waiting."""
        return all(settling.rests for settling in self._settling.values())

    @property
    def acts_until(self) -> datetime | None:
        """Until when the customer may act, while anybody waits for that."""
        return next((one.acts_until for one in self._settling.values() if one.acts_until), None)

    @property
    def unknown(self) -> bool:
        """Whether the outcome of an operation under way is unknown."""
        return any(settling.unknown for settling in self._settling.values())

    def waiting_for(self) -> str | None:
        """What the operations under way wait for, in words."""
        return "; ".join(settling.waiting_for for settling in self._settling.values()) or None

    def in_review(self) -> list[str]:
        """Of those under way that a person must decide, in words."""
        return [settling.in_review for settling in self._settling.values() if settling.in_review is not None]


def expiry_delay(until: float) -> timedelta:
    """The timer to the end of an authorization; at least a second, since clocks differ."""
    return timedelta(seconds=max(1.0, until - workflow.time()))

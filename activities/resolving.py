"""Unknown outcomes, to the end: inquire by our reference, reverse, expire, give up, call an operator."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from temporalio import activity

from activities.earlier import SENT_BEFORE, found_earlier
from activities.heartbeats import heartbeating
from activities.messages import LACKING, InquiryDue, LegDue, OperationRequest, Progress, ReversalDue, Settled
from activities.progress import (
    after_asking,
    after_recording,
    as_found,
    aside,
    is_ours_to_end,
    schedule_of,
    settled,
    until_over,
    with_review,
)
from activities.replaying import DONE_BY_OTHERS, WINDOW_CLOSED, by_anyone, window_closed
from payonce.domain import disputes
from payonce.domain.errors import ConnectorError
from payonce.domain.facts import (
    Accepted,
    ActionRequired,
    Approved,
    Cancelled,
    Declined,
    EndsItself,
    Fact,
    FailureCode,
    NotKnown,
    NotProcessed,
    Pending,
    Refused,
    Unknown,
)
from payonce.domain.legs import moves_nothing
from payonce.domain.operations import AttemptState, OperationKind, OperationStatus
from payonce.domain.schedules import until_told
from payonce.domain.truth import in_doubt

if TYPE_CHECKING:
    from payonce.accounts import Accounts
    from payonce.connectors.base import Asking, Call, Connector
    from payonce.domain.operations import Attempt, Subject
    from payonce.domain.schedules import InquirySchedule
    from payonce.domain.settlement import Settlement
    from payonce.legs import Legs
    from payonce.recording.recorder import Recorder
    from payonce.replays import Replays
    from payonce.standing import Cases, Standing

ANOTHER_ACQUIRER = "another_acquirer"
"""Why nothing is proven: the account is not that of the attempt any more, as the acquirer calls it."""

CALLBACK_AWAITED = "callback_awaited"
"""Why nothing is known yet: the acquirer tells, and cannot be asked."""

_SAY_NOTHING_ELSEWHERE = ("not_found", "reversed")  # by whom the attempt was not sent to


class Resolving:
    """What anyone may do about an operation: everything except send it."""

    def __init__(
        self, *, cases: Cases, recorder: Recorder, accounts: Accounts, legs: Legs, replays: Replays
    ) -> None:
        self._cases = cases
        self._legs = legs
        self._recorder = recorder
        self._accounts = accounts
        self._replays = replays

    @activity.defn
    @heartbeating
    async def inquire(self, request: OperationRequest) -> Progress:
        """The acquirer was asked once, at the account on the attempt's row, what became of the attempt."""
        standing = await self._standing(request.subject)
        if not standing.abandons:
            progress = with_review(await self._inquire(request, standing), standing.operation)
            return aside(progress, request, standing.payment, standing.operation)
        create = _create_of(request)
        progress = await self._inquire(create, await self._standing(create.subject))
        return with_review(await self._of_void(request, progress, undecided=ReversalDue), standing.operation)

    async def _inquire(self, request: OperationRequest, standing: Standing) -> Progress:
        connector = self._connector(standing)
        progress = as_found(standing, connector.capabilities, here="")
        attempt = standing.attempt
        if attempt is None or progress.kind not in ("inquiry_due", "action_due"):
            return progress  # while its owner may still send, that one is asked again
        if progress.kind == "action_due" and await self._legs.is_due(standing):
            return LegDue()
        if progress.kind == "inquiry_due":
            await self._recorder.defer(request.subject)
        return await self._ask(request, standing, attempt, schedule_of(attempt, connector.capabilities))

    async def _ask(
        self, request: OperationRequest, standing: Standing, attempt: Attempt, schedule: InquirySchedule
    ) -> Progress:
        """What the acquirer says about the attempt is recorded, and what follows from that."""
        connector = self._connector(standing)
        call = self._cases.call(standing, attempt)
        if connector.capabilities.truth_of(call.kind).is_told:
            return await self._learn(request, standing, attempt, call)
        try:
            found = await connector.inquire(call)
        except ConnectorError as error:
            return await self._unanswered(request, standing, attempt, error.code)
        if found.kind in _SAY_NOTHING_ELSEWHERE and not self._cases.same_acquirer(attempt):
            return await self._unanswered(request, standing, attempt, ANOTHER_ACQUIRER)
        if found.kind != "not_found":
            stored = await self._store(request, attempt, found)
            return after_asking(stored, connector.capabilities, found=found, now=standing.now)
        if attempt.state is AttemptState.WAITING:  # the acquirer had it: this proves nothing yet
            return await self._unanswered(request, standing, attempt, "not_found")
        replayed = connector.capabilities.replayed_not_found(call.kind)
        if not replayed and not self._cases.not_found_proves(
            attempt, connector.capabilities, now=standing.now
        ):
            return InquiryDue(schedule, "not_found_yet")
        return await self._ask_earlier(request, standing, attempt, schedule)

    async def _learn(
        self, request: OperationRequest, standing: Standing, attempt: Attempt, call: Call
    ) -> Progress:
        """Nobody can be asked. What is in doubt is sent again, where that may be; else its callback is waited for.

        Nothing is ever not found so. What can be sent again no more is for a person; a fact still counts then.
        """
        capabilities = self._connector(standing).capabilities
        if not by_anyone(call, capabilities) or not in_doubt(attempt):
            return await self._unanswered(request, standing, attempt, CALLBACK_AWAITED)
        later = until_told(capabilities.callback_due_s(call.kind))
        return await self._send_again(request, standing, attempt, later)

    async def _send_again(
        self, request: OperationRequest, standing: Standing, attempt: Attempt, later: InquirySchedule
    ) -> Progress:
        """What the acquirer answers to the same request is recorded.

        Where it may have forgotten the key, or others have done the like meanwhile, a person is called, and the next
        look is by the schedule `later`.
        """
        capabilities = self._connector(standing).capabilities
        call = self._cases.call(standing, attempt)
        for_a_person = WINDOW_CLOSED if window_closed(standing, attempt, capabilities) else None
        if for_a_person is None and await self._cases.done_by_others(call.kind, attempt):
            for_a_person = DONE_BY_OTHERS
        if for_a_person is not None:
            called = await self._recorder.review(request.subject, reason=for_a_person)
            return with_review(InquiryDue(later, for_a_person), called.operation)
        if not self._cases.same_acquirer(attempt):
            return await self._unanswered(request, standing, attempt, ANOTHER_ACQUIRER)
        found = await self._replays.replay(request.subject, standing, attempt)
        if isinstance(found, Declined | Refused) and not capabilities.truth_of(call.kind).is_told:
            found = await self._unless_found(standing, call, found)
        if isinstance(found, Unknown) and found.connector_reference is None:
            return await self._unanswered(request, standing, attempt, found.cause)
        stored = await self._store(request, attempt, found)
        return after_recording(stored, capabilities, may_retry=False)

    async def _unless_found(self, standing: Standing, call: Call, turned_down: Declined | Refused) -> Fact:
        """What the acquirer says of the attempt when it is asked once more; where it knows none, it turned this down.

        Such an answer to the second request may come of what the first has done.
        """
        try:
            found = await self._connector(standing).inquire(call)
        except ConnectorError as error:
            return Unknown(error.code)
        return turned_down if isinstance(found, NotKnown) else found

    async def _ask_earlier(
        self, request: OperationRequest, standing: Standing, attempt: Attempt, schedule: InquirySchedule
    ) -> Progress:
        """The attempt is not known at the acquirer; nor is an earlier one, whose outcome would be the operation's.

        Then it was not processed; or it is sent again, where that is how a late arrival is made harmless. Postgres
        may have forgotten an earlier one: while that is undecided, the operation is inquired about, and an operator
        called as the schedule says.
        """
        connector = self._connector(standing)
        call = self._cases.call(standing, attempt)
        try:
            earlier = await found_earlier(connector, call, number=attempt.number)
        except ConnectorError as error:
            return InquiryDue(schedule, error.code)
        if isinstance(earlier, Approved | Declined):
            return await self._record(request, standing, attempt, earlier)
        if isinstance(earlier, Accepted | Pending | ActionRequired):
            return InquiryDue(schedule, SENT_BEFORE)
        if connector.capabilities.replayed_not_found(call.kind):
            return await self._send_again(request, standing, attempt, schedule)
        if connector.capabilities.reversible(attempt.kind):
            return ReversalDue(schedule, "not_found", token=attempt.token)
        return await self._record(request, standing, attempt, NotProcessed(self._unprocessed(standing)))

    async def _unanswered(
        self, request: OperationRequest, standing: Standing, attempt: Attempt, reason: str
    ) -> Progress:
        """The acquirer did not say anything; where a customer's time to act went by meanwhile, that counts."""
        if attempt.state is AttemptState.WAITING:
            stored = await self._store(request, attempt, Unknown(reason))
            return after_asking(stored, self._connector(standing).capabilities, now=standing.now)
        return InquiryDue(schedule_of(attempt, self._connector(standing).capabilities), reason)

    @activity.defn
    @heartbeating
    async def hear(self, request: OperationRequest, reference: str) -> Progress:
        """The acquirer, which spoke of the attempt with this reference, was asked, and its word is recorded.

        Whatever is known of the operation: this is how a success after its failure is noticed. Safe to repeat.
        """
        standing, attempt = await self._cases.of_reference(request.subject, reference)
        connector = await self._accounts.connector(attempt.connector_account)
        call = self._cases.call(standing, attempt)
        if connector.capabilities.truth_of(call.kind).is_told:
            return settled(standing.payment)  # whoever received the callback recorded what it says
        try:
            found = await connector.inquire(call)
        except ConnectorError as error:
            return InquiryDue(connector.capabilities.inquiry, error.code)
        if found.kind == "not_found" or found.kind in ("accepted", "pending", "action_required"):
            return settled(standing.payment)  # nothing definite: whoever waits for an outcome asks again
        if found.kind in _SAY_NOTHING_ELSEWHERE and not self._cases.same_acquirer(attempt):
            return settled(standing.payment)
        return await self._record(request, standing, attempt, found)

    @activity.defn
    @heartbeating
    async def reverse(self, request: OperationRequest) -> Progress:
        """What the attempt did is undone and its late arrival blocked; then its outcome counts. Safe to repeat."""
        standing = await self._standing(request.subject)
        if not standing.abandons:
            return with_review(await self._end(request, standing), standing.operation)
        create = _create_of(request)
        progress = await self._end(create, await self._standing(create.subject))
        return with_review(await self._of_void(request, progress, undecided=InquiryDue), standing.operation)

    async def _end(self, request: OperationRequest, standing: Standing) -> Progress:
        """What nobody is to pay any more is cancelled. All else is undone by the reference it was asked for with.

        That is what is marked so, and what the acquirer was found not to know, as its claim's token says.
        """
        attempt = standing.attempt
        if attempt is None or attempt.state is AttemptState.REVERSING or request.token is not None:
            return await self._reverse(request, standing)
        if self._is_given_up(standing, attempt):
            return await self._cancel(request, standing, attempt)
        return as_found(standing, self._connector(standing).capabilities, here="")

    def _is_given_up(self, standing: Standing, attempt: Attempt) -> bool:
        pending = standing.operation.status is OperationStatus.PENDING and attempt.left_alone
        voided = standing.payment.pending_operation is not None
        return pending and (voided or is_ours_to_end(attempt, self._connector(standing).capabilities))

    async def _cancel(self, request: OperationRequest, standing: Standing, attempt: Attempt) -> Progress:
        """The acquirer was told that nobody is to pay any more, and what it says is recorded.

        Where it says nothing definite it is inquired about next, since it may have been paid.
        """
        connector = self._connector(standing)
        schedule = connector.capabilities.inquiry
        moved_by_legs = connector.capabilities.legs_move_money
        claimed = await self._legs.was_claimed(attempt)
        if moves_nothing(attempt, legs_move_money=moved_by_legs, claimed=claimed):
            return await self._record(request, standing, attempt, Cancelled())
        if not self._cases.same_acquirer(attempt):
            return InquiryDue(schedule, ANOTHER_ACQUIRER)
        try:
            answer = await cast("Asking", connector).cancel(self._cases.call(standing, attempt))
        except ConnectorError as error:
            return InquiryDue(schedule, error.code)
        if isinstance(answer, EndsItself):
            schedule = until_over(attempt, connector.capabilities, now=standing.now)
        if isinstance(answer, EndsItself | NotKnown):
            return InquiryDue(schedule, answer.kind)
        return await self._record(request, standing, attempt, answer)

    async def _of_void(
        self, void: OperationRequest, progress: Progress, *, undecided: type[InquiryDue | ReversalDue]
    ) -> Progress:
        """Where the void stands, whose authorization stands at `progress`: one without an outcome is asked about and
        cancelled in turn, on the rail's schedule, and the void is answered with 202."""
        standing = await self._standing(void.subject)
        if not standing.abandons:
            return as_found(standing, self._connector(standing).capabilities, here="")
        if not isinstance(progress, InquiryDue):
            return progress
        await self._recorder.defer(void.subject)
        return undecided(progress.schedule, progress.reason, review_since=progress.review_since)

    async def _reverse(self, request: OperationRequest, standing: Standing) -> Progress:
        connector = self._connector(standing)
        capabilities, schedule = connector.capabilities, connector.capabilities.inquiry
        attempt = standing.attempt
        if attempt is None or standing.operation.status is not OperationStatus.PENDING:
            return as_found(standing, capabilities, here="")
        if not capabilities.reversible(attempt.kind):
            called = await self._recorder.review(request.subject, reason="not_reversible")
            return with_review(ReversalDue(schedule, "not_reversible", token=attempt.token), called.operation)
        if attempt.took_another_amount and disputes.may_have(standing.payment, standing.operation):
            due = ReversalDue(schedule, LACKING, token=attempt.token)
            return with_review(due, standing.operation)
        if not self._cases.same_acquirer(attempt):
            return ReversalDue(schedule, ANOTHER_ACQUIRER, token=attempt.token)
        if not await self._begin_reversal(request, standing):
            return as_found(await self._standing(request.subject), capabilities, here="")
        try:
            reversed_ = await connector.reverse(self._cases.call(standing, attempt))
        except ConnectorError as error:
            return ReversalDue(schedule, error.code, token=attempt.token)
        return await self._record(request, standing, attempt, reversed_)

    @activity.defn
    @heartbeating
    async def reverse_late(self, request: OperationRequest) -> Progress:
        """A success that came after its failure was proven is undone, by the operation opened for it.

        Which is proven first: after a fail-over that forgets it, and the failure, the success may count.
        """
        late = await self._cases.late_success(request.subject)
        connector = await self._accounts.connector(late.attempt.connector_account)
        schedule = connector.capabilities.inquiry
        standing = await self._recorder.prove(request.subject)
        if standing.operation.status is not OperationStatus.PENDING:
            return settled(standing.payment)
        if disputes.may_have(standing.payment, standing.operation):
            return with_review(ReversalDue(schedule, LACKING), standing.operation)
        if not self._cases.same_acquirer(late.attempt):
            return with_review(ReversalDue(schedule, ANOTHER_ACQUIRER), standing.operation)
        try:
            await connector.reverse(late.call)
        except ConnectorError as error:
            return with_review(ReversalDue(schedule, error.code), standing.operation)
        return settled((await self._recorder.complete(request.subject)).payment)

    @activity.defn
    async def expire(self, payment_id: str) -> Settled:
        """The rest of the authorization expired, unless a capture or void is pending: then that comes first."""
        await self._accounts.connector((await self._cases.payment(payment_id)).connector_account)
        operation_id = await self._cases.admit_expiry(payment_id)
        if operation_id is not None:
            request = OperationRequest(payment_id, operation_id, OperationKind.EXPIRE)
            return settled((await self._recorder.complete(request.subject)).payment)
        return settled(await self._cases.payment(payment_id))

    @activity.defn
    async def give_up(self, request: OperationRequest) -> Progress:
        """The operation failed as never processed, where its latest attempt was provably not sent.

        A create that nobody was told about with 202 is left as it is instead: its key may go on. So is one whose
        key went on meanwhile: what was found under the lock is how it stands.
        """
        standing = await self._standing(request.subject)
        capabilities = self._connector(standing).capabilities
        progress = as_found(standing, capabilities, here="")
        told = standing.operation.deferred_at is not None
        if progress.kind != "nothing_sent" or (request.kind is OperationKind.AUTHORIZE and not told):
            return progress
        found = await self._recorder.give_up(request.subject, code=FailureCode.NOT_PROCESSED)
        now = replace(standing, payment=found.payment, operation=found.operation, attempt=found.attempt)
        return as_found(now, capabilities, here="")

    @activity.defn
    async def call_operator(self, request: OperationRequest, reason: str) -> None:
        """An operator is told that the operation does not resolve by itself. Safe to repeat.

        A void that gives up what has no outcome ends with that: it is the authorization that a person can decide.
        """
        abandons = (await self._cases.standing(request.subject)).abandons
        about = _create_of(request) if abandons else request
        await self._recorder.review(about.subject, reason=reason)

    async def _begin_reversal(self, request: OperationRequest, standing: Standing) -> bool:
        """Only when NOT_FOUND is proof; marked in Postgres first, so that nobody records a success meanwhile.

        A mark that was only read is made again: it may be on this server only, and a fail-over would forget it.
        """
        attempt, capabilities = standing.attempt, self._connector(standing).capabilities
        if attempt is None:
            return False
        marked = attempt.state is AttemptState.REVERSING
        inquired = attempt.token == request.token
        proven = inquired and self._cases.not_found_proves(attempt, capabilities, now=standing.now)
        if not marked and not proven:
            return False
        return await self._recorder.begin_reversal(
            request.subject, token=attempt.token, code=self._unprocessed(standing)
        )

    async def _record(
        self, request: OperationRequest, standing: Standing, attempt: Attempt, fact: Fact
    ) -> Progress:
        stored = await self._store(request, attempt, fact)
        capabilities = self._accounts.connectors[attempt.connector_account].capabilities
        return after_recording(stored, capabilities, may_retry=False)

    async def _store(self, request: OperationRequest, attempt: Attempt, fact: Fact) -> Settlement:
        capabilities = self._accounts.connectors[attempt.connector_account].capabilities
        return await self._recorder.record(
            request.subject,
            attempt=attempt.number,
            token=attempt.token,
            fact=fact,
            abilities=capabilities.abilities(attempt.kind),
        )

    def _unprocessed(self, standing: Standing) -> FailureCode:
        """Why nothing was processed: the card is lost where its owner never said what became of the claim."""
        attempt, kind = standing.attempt, standing.operation.kind
        in_memory = self._connector(standing).capabilities.in_memory(standing.payment)
        secret = kind is OperationKind.AUTHORIZE and in_memory
        lost = secret and attempt is not None and attempt.state is AttemptState.CLAIMED
        return FailureCode.CARD_DATA_LOST if lost else FailureCode.NOT_PROCESSED

    def _connector(self, standing: Standing) -> Connector:
        """Always the account on the attempt's row."""
        return self._accounts.connectors[standing.connector_account]

    async def _standing(self, subject: Subject) -> Standing:
        """How the operation stands, whose account is known in this process from now on."""
        standing = await self._cases.standing(subject)
        await self._accounts.connector(standing.connector_account)
        return standing


def _create_of(void: OperationRequest) -> OperationRequest:
    """The authorization that the void gives up; what was found out about its claim goes along."""
    return OperationRequest(
        void.payment_id, void.payment_id, OperationKind.AUTHORIZE, token=void.token, doubted=void.doubted
    )

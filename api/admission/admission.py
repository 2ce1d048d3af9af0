"""Admission: one Postgres transaction decides what a key means, before Temporal is touched.

Then what it admitted is handed to Temporal, and the first outcome is awaited.
"""

import asyncio
from collections.abc import Mapping

from temporalio.client import Client

from api.admission import used_keys
from api.admission.accepting import AcceptPost
from api.admission.hand_over import Carrier
from api.admission.overload import AdaptiveLimit, Place, Places, Work, carrying_out
from api.admission.posts import (
    CapturePost,
    ChangePost,
    CreatePost,
    PostWithoutPlace,
    RefundPost,
    VoidPost,
    Write,
    WritingPost,
)
from api.admission.requests import KeyFree, KeyInUse, NewPayment, Post
from api.admission.risk import RiskDesk
from api.admission.transaction import Admitted, Decider
from api.admission.waiting import ANSWER_WITHIN_S, Awaited, Deadline, Outcomes, Result, Unanswered
from api.http.passage import Passage, RequestStage
from payonce.clock import boot_clock_s
from payonce.rights import SEND_WITHIN_S
from payonce.runtime import Runtime

LOOKING_UP_MAX = 4  # requests at a time that may ask for the answer to a key while there is no place


class Admission:
    """The POSTs that move money, and `execute_once` for those that only write."""

    def __init__(self, runtime: Runtime, temporal: Client) -> None:
        self._runtime = runtime
        self._outcomes = Outcomes(runtime)
        self._decider = Decider(runtime.database, self._outcomes)
        self._carrier = Carrier(runtime, temporal)
        self._risk = RiskDesk(runtime)
        settings = runtime.settings
        limit = AdaptiveLimit(ceiling=settings.in_flight_max, target_s=settings.own_time_target_ms / 1000)
        self._places = Places(limit, open_max=settings.in_flight_max)
        self._looking_up = 0  # without a place
        self._waiting = 0  # for another request's operation

    async def create_payment(self, post: Post, new: NewPayment) -> Result:
        """Authorizes, and captures when automatic. Raises what the module's errors and `InvalidRequest` say."""
        deadline = boot_clock_s() + SEND_WITHIN_S  # read before the transaction begins
        create = CreatePost(runtime=self._runtime, post=post, new=new, deadline=deadline)
        result = await self._execute(create, Work.CREATE)
        if result.blocked:
            self._runtime.wakeups.wake_relay()
        return result

    async def capture(self, post: Post, payment_id: str, *, amount_minor: int | None, final: bool) -> Result:
        """Captures all that is capturable, or part of it; `final` releases the rest."""
        capture = CapturePost(
            runtime=self._runtime, post=post, payment_id=payment_id, amount_minor=amount_minor, final=final
        )
        return await self._execute(capture, Work.CHANGE)

    async def void(self, post: Post, payment_id: str, *, reason: str | None) -> Result:
        """Releases what is authorized and not captured."""
        void = VoidPost(runtime=self._runtime, post=post, payment_id=payment_id, reason=reason)
        return await self._execute(void, Work.CHANGE)

    async def refund(
        self,
        post: Post,
        payment_id: str,
        *,
        amount_minor: int | None,
        reason: str | None,
        metadata: Mapping[str, str],
    ) -> Result:
        """Refunds all that is refundable, or part of it."""
        refund = RefundPost(
            runtime=self._runtime,
            post=post,
            payment_id=payment_id,
            amount_minor=amount_minor,
            reason=reason,
            metadata=metadata,
        )
        return await self._execute(refund, Work.CHANGE)

    async def accept_dispute(self, post: Post, dispute_id: str) -> Result:
        """Tells the acquirer that the merchant accepts the dispute."""
        accept = AcceptPost(runtime=self._runtime, post=post, dispute_id=dispute_id)
        return await self._execute(accept, Work.CHANGE)

    async def execute_once(self, post: Post, write: Write) -> Result:
        """The key and a creation that only writes, in one transaction: `write` returns the answer and its path."""
        decision = await self._decider.decide(WritingPost(post=post, write=write))
        if isinstance(decision, Result):
            return decision
        raise KeyInUse  # only while the first request's transaction is open

    async def _execute(self, asked: CreatePost | ChangePost | AcceptPost, work: Work) -> Result:
        """Decided in one transaction where there is a place for it, carried out, and answered."""
        passage = asked.post.passage
        passage.end(RequestStage.READ)
        place = None if self._runtime.rights.full else await self._places.enter(work)
        if place is None:
            return await self._without_place(asked.post)
        passage.end(RequestStage.PLACE)
        patience = Deadline(ANSWER_WITHIN_S - place.waited_s)
        try:
            if isinstance(asked, CreatePost):
                asked = await self._risk.assessed(asked, place)
                if asked.saves_in_vault:
                    with place.away():
                        asked = await asked.prepared()
                passage.end(RequestStage.RISK)
            decision = await self._decider.decide(asked)
            passage.end(RequestStage.ADMIT)
            if isinstance(decision, Admitted):
                return await self._carry_out(decision, place, asked.post, patience=patience)
        finally:
            place.leave()
        return decision if isinstance(decision, Result) else await self._of_another(asked.post, decision)

    async def _carry_out(self, admitted: Admitted, place: Place, post: Post, *, patience: Deadline) -> Result:
        """The right is granted, now that its claim is proven; the operation is handed over, its outcome awaited."""
        operation_id, passage = admitted.operation.id, post.passage
        with carrying_out(place, passage, self._runtime.calls, operation_id):
            if admitted.right is not None:
                self._runtime.rights.grant(operation_id, admitted.right)
            with self._runtime.wakeups.waiting(operation_id) as waiter:
                handing_over = asyncio.create_task(self._hand_over(admitted, passage))
                handing_over.add_done_callback(lambda task: waiter.event.set() if _failed(task) else None)
                awaited = Awaited(
                    payment=admitted.payment,
                    operation=admitted.operation,
                    right=admitted.right,
                    waiter=waiter,
                    handing_over=handing_over,
                    wait_s=post.wait_s,
                    patience=patience,
                    dispute=admitted.dispute,
                )
                try:
                    return await self._outcomes.first(awaited)
                finally:
                    self._outcomes.leave(handing_over)

    async def _hand_over(self, admitted: Admitted, passage: Passage) -> None:
        await self._carrier.hand_over(admitted)
        passage.handed_over()

    async def _of_another(self, post: Post, pending: Unanswered) -> Result:
        """An operation that another request is waiting for: wait as asked, then 202, replay or 409."""
        if pending.current is not None and not post.wait_s:
            return pending.as_result()
        wait_s = post.wait_s if self._waiting < self._runtime.settings.in_flight_max else 0.0
        self._waiting += 1
        try:
            answered = await self._outcomes.wait_for_other(pending, wait_s=wait_s)
        finally:
            self._waiting -= 1
        if answered is None and pending.current is not None:
            return pending.as_result()
        if answered is None:
            raise KeyInUse
        return answered

    async def _without_place(self, post: Post) -> Result:
        """Nothing is admitted, but what became of a key that was used before is still said, to a few at a time.

        Raises `TooManyRequests` otherwise, and not `Unavailable`: that would promise that the key is not admitted,
        and another process may be about to.
        """
        if self._looking_up >= LOOKING_UP_MAX:
            raise used_keys.no_place()
        self._looking_up += 1
        try:
            found = await self._decider.decide(PostWithoutPlace(post=post))
        except KeyFree:
            raise used_keys.no_place() from None  # not a known key, or one whose first request was rolled back
        finally:
            self._looking_up -= 1
        if isinstance(found, Unanswered) and found.current is not None:
            return found.as_result()
        if isinstance(found, Result):
            return found
        raise KeyInUse


def _failed(task: asyncio.Task[None]) -> bool:
    return not task.cancelled() and task.exception() is not None

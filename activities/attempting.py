"""Attempts: hold the claim, call the acquirer once, record what it said."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from temporalio import activity

from activities.earlier import SENT_BEFORE, found_earlier
from activities.heartbeats import heartbeats
from activities.messages import OperationRequest, Progress
from activities.progress import after_recording, as_found, aside, settled
from activities.replaying import DONE_BY_OTHERS, by_owner
from activities.unattended import turned_away
from payonce.domain import stepping_up
from payonce.domain.cards import Card
from payonce.domain.errors import ConnectorError, OutcomeUnknown, PaymentError
from payonce.domain.facts import (
    ActionRequired,
    Approved,
    Declined,
    Fact,
    FailureCode,
    NotProcessed,
    Unknown,
    Unsent,
)
from payonce.domain.operations import AttemptState, OperationKind
from payonce.domain.truth import window_open

if TYPE_CHECKING:
    from payonce.accounts import Accounts
    from payonce.claims import Claimant
    from payonce.connectors.base import Call, Capabilities
    from payonce.domain.settlement import Settlement
    from payonce.paying import Numbers
    from payonce.recording.recorder import Recorder
    from payonce.rights import Right, Rights
    from payonce.standing import Standing
    from payonce.storage.standby import FailOver

LATE_INQUIRIES_MAX = 20  # the schedule reaches every acquirer's finality long before


class Attempting:
    """Runs one attempt of an operation; a second run of the same one never sends again."""

    def __init__(
        self,
        *,
        rights: Rights,
        claimant: Claimant,
        recorder: Recorder,
        accounts: Accounts,
        fail_over: FailOver,
        numbers: Numbers | None = None,
    ) -> None:
        self._rights = rights
        self._fail_over = fail_over
        self._claimant = claimant
        self._recorder = recorder
        self._accounts = accounts
        self._numbers = numbers
        self._running: set[asyncio.Task[Progress]] = set()

    @activity.defn
    async def authorize(self, request: OperationRequest) -> Progress:
        """The authorization was attempted by the process that owns the claim, or someone says who owns it."""
        return await self._attempt(request)

    @activity.defn
    async def capture(self, request: OperationRequest) -> Progress:
        """The capture was attempted once, or was found attempted."""
        return await self._attempt(request)

    @activity.defn
    async def void(self, request: OperationRequest) -> Progress:
        """The void was attempted once, or was found attempted."""
        return await self._attempt(request)

    @activity.defn
    async def refund(self, request: OperationRequest) -> Progress:
        """The refund was attempted once, or was found attempted."""
        return await self._attempt(request)

    @activity.defn
    async def undo(self, request: OperationRequest) -> Progress:
        """What succeeded late was released by a void or refund, attempted once, or was found attempted."""
        return await self._attempt(request)

    @activity.defn
    async def accept(self, request: OperationRequest) -> Progress:
        """The acquirer was told once that we accept the dispute, or was found told."""
        return await self._attempt(request)

    async def _attempt(self, request: OperationRequest) -> Progress:
        """What was begun is ended and recorded, whatever becomes of the run.

        The SDK cancels a local activity whose workflow task has timed out: a process that was stopped wakes up to
        that, and would forget what it is just sending, or leave a claim with nobody to send it.
        """
        task = asyncio.create_task(self._run(request))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        async with heartbeats():
            return await asyncio.shield(task)

    async def _run(self, request: OperationRequest) -> Progress:
        right = self._rights.take(request.operation_id)
        if right is None:
            claimed = await self._claimant.claim(
                payment_id=request.payment_id, operation_id=request.operation_id
            )
            if claimed.kind == "standing":
                return await self._found(request, claimed)
            right = claimed
        fact = await self._send(request, right)
        further = await self._step_up(request, right, fact)
        if further is not None:
            right, fact = further, await self._send(request, further, follows=True)
        return await self._record(request, right, fact)

    async def _step_up(self, request: OperationRequest, right: Right, fact: Fact) -> Right | None:
        """The right to ask again with a challenge, where the issuer wants one and the acquirer leaves that to us."""
        wanted = stepping_up.wanted(
            fact,
            sca=right.call.sca,
            handed_in=right.call.authentication,
            soft_decline=self._accounts.capabilities[right.connector_account].soft_decline,
            held_s=right.permit().held_s(),
            unattended=right.call.unattended,
        )
        if not wanted or not isinstance(fact, Declined):
            return None
        try:
            return await self._claimant.step_up(
                payment_id=request.payment_id, operation_id=request.operation_id, right=right, fact=fact
            )
        except PaymentError:  # Postgres: the decline is recorded as any other, however long that takes
            return None

    async def _send(self, request: OperationRequest, right: Right, *, follows: bool = False) -> Fact:
        """What one call established; every doubt is `Unknown`. `follows`: on what this run sent, and was declined."""
        connector = self._accounts.connectors[right.connector_account]
        doubted = request.doubted or self._rights.doubts(request.operation_id)
        told = connector.capabilities.truth_of(
            right.call.kind
        ).is_told  # nobody can be asked: its key has to do
        ahead = not told and self._accounts.is_ahead(right.connector_account)
        if doubted or self._fail_over.recent or ahead:
            found = await self._sent_before(right, doubted=doubted, follows=follows)
            if found is not None:
                return found
        armed = await self._with_number(right)
        if armed.kind != "right":
            return armed
        right = armed
        try:
            reply = await connector.send(right.call, may_send=right.permit())
            if isinstance(reply, ActionRequired) and right.call.unattended:
                return await turned_away(connector, right.call, reply)
            return reply
        except OutcomeUnknown as error:
            return await by_owner(connector, right, Unknown(error.message, error.connector_reference))
        except ConnectorError as error:  # NotSent, Rejected, RateLimited: nothing was processed
            return Unsent(error.code)

    async def _with_number(self, right: Right) -> Right | Unsent | NotProcessed:
        """The right, for this one call with the number of the saved card; or that nothing is sent without it."""
        if right.takes is None:
            return NotProcessed(FailureCode.CARD_DATA_LOST) if right.lacks_credential else right
        if self._numbers is None:
            return Unsent("no_vault")
        card = await self._numbers.taken(right.takes)
        return right.with_card(card) if isinstance(card, Card) else card

    async def _sent_before(self, right: Right, *, doubted: bool, follows: bool) -> Fact | None:
        """What an attempt that Postgres forgot has done, under this reference or an earlier one; None: nothing.

        A narrowing, not a proof: its call may be on its way (`design.md` §2 rule 9). Where Temporal says that the
        operation is done (`doubted`), nothing is given back before the acquirer has answered. An earlier attempt
        that is undecided is no fact about this one: nothing is sent, and the inquiries go on (`Resolving.inquire`).
        """
        connector = self._accounts.connectors[right.connector_account]
        if connector.capabilities.truth_of(right.call.kind).is_told:  # there is nobody to ask
            first = right.attempt == 1 or follows
            if first and _is_answered_as_before(right.call, connector.capabilities):
                return None
            return Unknown(SENT_BEFORE) if doubted else Unsent(SENT_BEFORE)
        try:
            earlier = await found_earlier(connector, right.call, number=1 if follows else right.attempt)
            if earlier is not None:
                return earlier if isinstance(earlier, Approved | Declined) else Unknown(SENT_BEFORE)
            found = await connector.inquire(right.call)
        except ConnectorError as error:
            return Unknown(error.code) if doubted else Unsent(error.code)
        if found.kind == "not_found":
            return None
        if found.kind == "reversed":
            return Unsent("reversed_before")  # the next attempt has another reference
        return found

    async def _record(self, request: OperationRequest, right: Right, fact: Fact) -> Progress:
        connector = self._accounts.connectors[right.connector_account]
        settlement = await self._store(request, right, fact)
        if isinstance(fact, Unsent) and request.kind is OperationKind.AUTHORIZE:
            self._rights.keep_unsent(request.operation_id, right)
        if isinstance(fact, Unknown) and _overtaken(settlement):
            await self._ask_late(request, right)
        progress = after_recording(settlement, connector.capabilities, may_retry=True)
        return aside(progress, request, settlement.payment, settlement.operation)

    async def _ask_late(self, request: OperationRequest, right: Right) -> None:
        """What this process sent after others had proven the attempt unsent is recorded, if it was approved.

        It was stopped between its last check and the socket, for longer than its call may take: nobody else asks
        any more, and an acquirer may accept what it was told to block (`design.md` §2 rule 9).
        """
        connector = self._accounts.connectors[right.connector_account]
        if connector.capabilities.truth_of(right.call.kind).is_told:
            return  # whatever it did is told by the acquirer
        schedule, finality_s = connector.capabilities.inquiry, connector.capabilities.finality_s
        clock = asyncio.get_running_loop().time
        began = clock()
        for inquiries in range(LATE_INQUIRIES_MAX):
            delay_s = schedule.delay_s(inquiries=inquiries, since_s=clock() - began)
            if delay_s is None:
                return
            await asyncio.sleep(delay_s)
            final = clock() - began >= finality_s
            with suppress(ConnectorError):
                found = await connector.inquire(right.call)
                if isinstance(found, Approved) and (await self._store(request, right, found)).late:
                    return
                if final:
                    return

    async def _store(self, request: OperationRequest, right: Right, fact: Fact) -> Settlement:
        capabilities = self._accounts.connectors[right.connector_account].capabilities
        return await self._recorder.record(
            request.subject,
            attempt=right.attempt,
            token=right.token,
            fact=fact,
            abilities=capabilities.abilities(right.call.kind),
        )

    async def _found(self, request: OperationRequest, standing: Standing) -> Progress:
        """A run that may not send leaves the claim alone; from now on the operation is answered with 202.

        A local run at the owner itself sends to the owner's queue, too: between its look for the right and its
        look at the row, a request of this process may have claimed anew and not granted the right yet.
        """
        capabilities = (await self._accounts.connector(standing.connector_account)).capabilities
        here = "" if activity.info().is_local else self._rights.owner
        progress = as_found(standing, capabilities, here=here)
        if standing.done_by_others:
            await self._recorder.review(request.subject, reason=DONE_BY_OTHERS)
        if progress.kind == "inquiry_due":
            await self._recorder.defer(request.subject)
        if progress.kind == "nothing_sent" and standing.captured:
            return settled((await self._recorder.complete(request.subject)).payment)
        return aside(progress, request, standing.payment, standing.operation)


def _is_answered_as_before(call: Call, capabilities: Capabilities) -> bool:
    """Whether the first attempt, were it sent a second time, is certain to be one: the acquirer knows its key."""
    window_s = capabilities.idempotent_replay_s
    return call.since is not None and window_open(call.since, datetime.now(UTC), window_s=window_s)


def _overtaken(settlement: Settlement) -> bool:
    """Whether others have settled the attempt as not processed, or are about to, while it was under way here."""
    attempt = settlement.attempt
    return attempt is not None and attempt.state in (AttemptState.NOT_PROCESSED, AttemptState.REVERSING)

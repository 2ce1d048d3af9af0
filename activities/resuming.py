"""The second leg: what a customer brought back is sent to the acquirer once, and what it says is recorded."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from temporalio import activity

from activities.heartbeats import heartbeats
from activities.messages import LegDue, OperationRequest, Progress
from activities.progress import after_recording, as_found
from payonce.domain.errors import ConnectorError, LegInvalid, OutcomeUnknown, PaymentError, Rejected
from payonce.domain.facts import ActionRequired, Fact, Unknown
from payonce.domain.legs import LegState

if TYPE_CHECKING:
    from payonce.accounts import Accounts
    from payonce.connectors.base import TwoLegged
    from payonce.legs import LegRight, Legs
    from payonce.recording.recorder import Recorder
    from payonce.standing import Cases


class Resuming:
    """Anyone may do this: what a leg needs is in Postgres, sealed. Its claim is what makes it one call."""

    def __init__(self, *, cases: Cases, legs: Legs, recorder: Recorder, accounts: Accounts) -> None:
        self._cases = cases
        self._legs = legs
        self._recorder = recorder
        self._accounts = accounts
        self._running: set[asyncio.Task[Progress]] = set()

    @activity.defn
    async def resume(self, request: OperationRequest) -> Progress:
        """The leg that was due was sent, and what the acquirer said is recorded; or none was due any more.

        What was begun is ended and recorded, whatever becomes of the run. Safe to repeat: a leg that is claimed is
        sent again only where the acquirer answers it as before.
        """
        task = asyncio.create_task(self._resume(request))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        async with heartbeats():
            return await asyncio.shield(task)

    async def _resume(self, request: OperationRequest) -> Progress:
        leg = await self._legs.claim(request.subject)
        if leg is None:
            return await self._found(request)
        fact, state = await self._send(leg)
        if fact is not None:
            return await self._record(request, leg, fact, state)
        # Where this is lost, the leg counts as one that may have been processed: its attempt is asked about.
        with suppress(PaymentError):
            await self._legs.end(leg, state)
        return await self._found(request, again=state is LegState.INVALID)

    async def _send(self, leg: LegRight) -> tuple[Fact | None, LegState]:
        """What the call established, None where it says nothing about the attempt; and how the leg ended."""
        connector = cast("TwoLegged", self._accounts.connectors[leg.right.connector_account])
        call, permit = leg.right.call, leg.right.permit()
        try:
            fact = await connector.resume(call, leg.parameters, leg=leg.number, may_send=permit)
        except LegInvalid:
            return None, LegState.INVALID
        except OutcomeUnknown as error:
            return Unknown(error.message, error.connector_reference), LegState.UNKNOWN
        except Rejected as error:  # our credentials, for what the acquirer took with the same ones
            return Unknown(error.code), LegState.UNKNOWN
        except ConnectorError:  # NotSent, RateLimited: nothing was processed
            return None, LegState.NOT_SENT
        if isinstance(
            fact, ActionRequired
        ):  # nothing moved, and what they bring back from there is another set
            return replace(fact, further=True), LegState.INVALID
        return fact, LegState.DONE

    async def _record(
        self, request: OperationRequest, leg: LegRight, fact: Fact, state: LegState
    ) -> Progress:
        """In one transaction with how the leg ended, so that nobody is asked to act whose next set has no leg."""
        capabilities = self._accounts.capabilities[leg.right.connector_account]
        settlement = await self._recorder.record(
            request.subject,
            attempt=leg.attempt.number,
            token=leg.attempt.token,
            fact=fact,
            abilities=capabilities.abilities(leg.attempt.kind),
            leg=leg.ended(state),
        )
        return after_recording(settlement, capabilities, may_retry=False)

    async def _found(self, request: OperationRequest, *, again: bool = False) -> Progress:
        """How the operation stands. `again`: another return may have a leg at once, since this one's was invalid."""
        standing = await self._cases.standing(request.subject)
        connector = await self._accounts.connector(standing.connector_account)
        if again and await self._legs.is_due(standing):
            return LegDue()
        return as_found(standing, connector.capabilities, here="")

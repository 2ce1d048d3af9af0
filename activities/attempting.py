"""Attempts: hold the claim, call the acquirer once, record what it said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from temporalio import activity

from activities.messages import OperationRequest, Progress
from activities.options import HEARTBEAT_EVERY_S
from activities.progress import after_recording, as_found
from payonce.domain.errors import ConnectorError, OutcomeUnknown
from payonce.domain.operations import OperationKind
from payonce.domain.outcomes import Fact, Unknown, Unsent

if TYPE_CHECKING:
    from payonce.claims import Claimant, Right, Rights, Standing
    from payonce.connectors.base import Connector
    from payonce.storage.recording import Recorder


class Attempting:
    """Runs one attempt of an operation; a second run of the same one never sends again."""

    def __init__(
        self, *, rights: Rights, claimant: Claimant, recorder: Recorder, connectors: Mapping[str, Connector]
    ) -> None:
        self._rights = rights
        self._claimant = claimant
        self._recorder = recorder
        self._connectors = connectors

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

    async def _attempt(self, request: OperationRequest) -> Progress:
        right = self._rights.take(request.operation_id)
        if right is None:
            claimed = await self._claimant.claim(
                payment_id=request.payment_id, operation_id=request.operation_id
            )
            if claimed.kind == "standing":
                return await self._found(request, claimed)
            right = claimed
        async with _heartbeats():
            fact = await self._send(right)
            return await self._record(request, right, fact)

    async def _send(self, right: Right) -> Fact:
        """What one call established; every doubt is `Unknown`."""
        connector = self._connectors[right.connector_account]
        try:
            return await connector.send(right.call, may_send=right.holds)
        except OutcomeUnknown as error:
            return Unknown(error.message)
        except ConnectorError as error:  # NotSent, Rejected, RateLimited: nothing was processed
            return Unsent(error.code)

    async def _record(self, request: OperationRequest, right: Right, fact: Fact) -> Progress:
        connector = self._connectors[right.connector_account]
        settlement = await self._recorder.record(
            request.subject,
            attempt=right.attempt,
            fact=fact,
            reversible=connector.capabilities.reversal_by_reference,
        )
        if isinstance(fact, Unsent) and request.kind is OperationKind.AUTHORIZE:
            self._rights.keep_unsent(request.operation_id, right)
        return after_recording(settlement, connector.capabilities.inquiry, may_retry=True)

    async def _found(self, request: OperationRequest, standing: Standing) -> Progress:
        """A run that may not send leaves the claim alone; from now on the operation is answered with 202."""
        schedule = self._connectors[standing.payment.connector_account].capabilities.inquiry
        progress = as_found(standing, schedule, here=self._rights.owner)
        if progress.kind == "inquiry_due":
            await self._recorder.defer(request.subject)
        return progress


@asynccontextmanager
async def _heartbeats() -> AsyncIterator[None]:
    """A regular activity heartbeats while the block runs; a local one has no heartbeat."""
    if activity.info().is_local:
        yield
        return
    task = asyncio.create_task(_heartbeat())
    try:
        yield
    finally:
        task.cancel()


async def _heartbeat() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(HEARTBEAT_EVERY_S)

"""A request whose answer was lost is sent again, with the same key and body: the acquirer answers it as at first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from payonce.claims import SEND_WITHIN_S, Right
from payonce.clock import boot_clock_s
from payonce.connectors.base import call_of
from payonce.domain.errors import ConnectorError, OutcomeUnknown
from payonce.domain.facts import Unknown
from payonce.domain.operations import AttemptState, OperationStatus
from payonce.domain.truth import MODIFICATIONS, Truth, anyone_may_replay, in_doubt, window_open

if TYPE_CHECKING:
    from payonce.accounts import Accounts
    from payonce.connectors.base import Call, Capabilities
    from payonce.connectors.measured import Measured
    from payonce.domain.facts import Fact
    from payonce.domain.operations import Attempt, Subject
    from payonce.recording.recorder import Recorder
    from payonce.standing import Standing

OWNER_PAUSES_S: Final = (0.0, 2.0, 4.0)  # before each replay of an authorization by its owner
ANYONE_NOT_NOW: Final = "not_replayed"  # why nothing was sent again: another run came first, or comes first
WINDOW_CLOSED: Final = "replay_window_closed"


def by_anyone(call: Call, capabilities: Capabilities) -> bool:
    """Whether what was sent may be sent again by whoever looks at it: it holds nothing secret."""
    return capabilities.truth_of(call.kind) is Truth.REPLAY and call.kind in MODIFICATIONS


def window_closed(standing: Standing, attempt: Attempt, capabilities: Capabilities) -> bool:
    """Whether an attempt in doubt cannot be sent again any more, since the acquirer may have forgotten its key."""
    window_s = capabilities.idempotent_replay_s
    return in_doubt(attempt) and not window_open(attempt.claimed_at, standing.now, window_s=window_s)


class Replaying:
    """Sends again what was sent. Where the first request never arrived that moves money, so it needs what that needs.

    It is no right to send: it is for the reference and the body of one attempt, at the account it was sent to.
    """

    def __init__(self, *, recorder: Recorder, accounts: Accounts) -> None:
        self._recorder = recorder
        self._accounts = accounts

    async def replay(self, subject: Subject, standing: Standing, attempt: Attempt) -> Fact:
        """What the acquirer answers to a capture, void or refund that is sent again; every doubt is `Unknown`.

        Whoever calls knows that the account is still the acquirer's that it was sent to, and that the window is open.
        Before the first byte it is proven that the attempt is in doubt: its owner cannot give it back any more.
        """
        deadline = boot_clock_s() + SEND_WITHIN_S  # read before the transaction begins
        connector = self._accounts.connectors[attempt.connector_account]
        if not _may(standing, attempt, connector.capabilities):
            return Unknown(ANYONE_NOT_NOW)
        doubted = await self._recorder.record(
            subject,
            attempt=attempt.number,
            token=attempt.token,
            fact=Unknown(ANYONE_NOT_NOW),
            abilities=connector.capabilities.abilities(attempt.kind),
        )
        held, pending = doubted.attempt, doubted.operation.status is OperationStatus.PENDING
        if (
            held is None
            or held.token != attempt.token
            or held.state is not AttemptState.UNKNOWN
            or not pending
        ):
            return Unknown(ANYONE_NOT_NOW)
        call = call_of(
            standing.payment, standing.operation, reference=attempt.reference, target=standing.target
        )
        right = Right(call, attempt.number, attempt.token, attempt.connector_account, deadline)
        return await _sent_again(connector, right)


def _may(standing: Standing, attempt: Attempt, capabilities: Capabilities) -> bool:
    """Where others moved meanwhile what it needs, the first request may not have arrived: then this would be it."""
    unneeded = standing.lacks or standing.captured or standing.refunds or standing.abandons
    window_s = capabilities.idempotent_replay_s
    return not unneeded and anyone_may_replay(attempt, standing.now, window_s=window_s)


async def _sent_again(connector: Measured, right: Right) -> Fact:
    try:
        return await connector.replay(right.call, may_send=right.permit())
    except OutcomeUnknown as error:
        return Unknown(error.message, error.connector_reference)
    except ConnectorError as error:  # of this request, and nothing about the one before
        return Unknown(error.code)


async def by_owner(connector: Measured, right: Right, unknown: Unknown) -> Fact:
    """What the acquirer answers to an authorization that its owner sends again, while the card is in its memory.

    From 1 s to 20 s after the claim, a few times; then, and where the acquirer does not replay it, it stays unknown.
    """
    capabilities = connector.capabilities
    if capabilities.truth_of(right.call.kind) is not Truth.REPLAY or right.call.kind in MODIFICATIONS:
        return unknown
    fact: Fact = unknown
    for pause_s in OWNER_PAUSES_S:
        permit = right.replay(window_s=capabilities.idempotent_replay_s)
        await asyncio.sleep(max(pause_s, permit.opens_in_s()))
        if not permit.left_s():
            break
        try:
            return await connector.replay(right.call, may_send=permit)
        except OutcomeUnknown as error:
            known = error.connector_reference or unknown.connector_reference
            fact = unknown = Unknown(error.message, known)
        except ConnectorError:  # refused credentials are said by `Measured`; the first request stays in doubt
            continue
    return fact

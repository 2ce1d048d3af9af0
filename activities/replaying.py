"""What may be sent again whose answer was lost, and how its owner does it: the acquirer answers it as at first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from payonce.domain.errors import ConnectorError, OutcomeUnknown
from payonce.domain.facts import Unknown
from payonce.domain.truth import MODIFICATIONS, Truth, in_doubt, window_open

if TYPE_CHECKING:
    from payonce.connectors.base import Call, Capabilities
    from payonce.connectors.measured import Measured
    from payonce.domain.facts import Fact
    from payonce.domain.operations import Attempt
    from payonce.rights import Right
    from payonce.standing import Standing

OWNER_PAUSES_S: Final = (0.0, 2.0, 4.0)  # before each replay of an authorization by its owner
WINDOW_CLOSED: Final = "replay_window_closed"
DONE_BY_OTHERS: Final = "done_by_others"
"""Why it is not sent, or not again: whoever saw it stand still may have done it at the acquirer by hand."""


def by_anyone(call: Call, capabilities: Capabilities) -> bool:
    """Whether what was sent may be sent again by whoever looks at it: it holds nothing secret."""
    return capabilities.truth_of(call.kind) is Truth.REPLAY and call.kind in MODIFICATIONS


def window_closed(standing: Standing, attempt: Attempt, capabilities: Capabilities) -> bool:
    """Whether an attempt in doubt cannot be sent again any more, since the acquirer may have forgotten its key."""
    window_s = capabilities.idempotent_replay_s
    return in_doubt(attempt) and not window_open(attempt.claimed_at, standing.now, window_s=window_s)


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

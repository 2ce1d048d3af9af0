"""A challenge in answer to a payment without its customer: it is cancelled at once, and is the issuer's no."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from payonce.domain.errors import ConnectorError
from payonce.domain.facts import ActionRequired, Approved, Cancelled, DeclineCode, Declined, Refused

if TYPE_CHECKING:
    from payonce.connectors.base import Asking, Call
    from payonce.connectors.measured import Measured
    from payonce.domain.facts import Fact


async def turned_away(connector: Measured, call: Call, asked: ActionRequired) -> Fact:
    """The decline, once nobody can pass the challenge any more; until then what the acquirer asked for.

    That is recorded as what is left alone, so that it is cancelled, or ends, without anybody being asked.
    """
    declined = Declined(DeclineCode.AUTHENTICATION_REQUIRED, asked.connector_reference)
    if asked.completes == "resume" and connector.capabilities.legs_move_money:
        return declined  # only a leg of ours could move anything, and none is sent
    reference = asked.connector_reference
    about = replace(
        call, card=None, attempt_reference=reference, authorization_reference=reference, asked=True
    )
    try:
        answer = await cast("Asking", connector).cancel(about)
    except ConnectorError:
        return asked
    if isinstance(answer, Cancelled):
        return declined
    return answer if isinstance(answer, Approved | Declined | Refused) else asked

"""Attempts that Postgres shows as unsent, or forgot, and that the acquirer may know all the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from payonce.domain.ids import attempt_reference, operation_id_of
from payonce.domain.operations import OperationKind

if TYPE_CHECKING:
    from payonce.connectors.base import Call, Connector
    from payonce.domain.facts import Inquiry

SENT_BEFORE = "sent_before"  # why nothing is sent or proven: an earlier attempt is undecided at the acquirer
_MATTERS_MOST = (
    "approved",
    "accepted",
    "pending",
    "action_required",
    "declined",
    "expired",
)  # the others moved nothing


async def found_earlier(connector: Connector, call: Call, *, number: int) -> Inquiry | None:
    """What the acquirer knows of the attempts before `number`, whose call this is; None: nothing.

    Of several that it knows the one that matters most, which is never one that is not found or was reversed. Only an
    approval or a decline says something of the operation; the rest is about that attempt alone. Raises
    `ConnectorError`.
    """
    if call.kind is OperationKind.ACCEPT:
        return None  # whichever attempt is asked about, its dispute is: that was asked
    known: list[Inquiry] = []
    for earlier in range(1, number):
        known.append(await connector.inquire(_of_earlier(call, earlier)))
    mattering = [found for found in known if found.kind in _MATTERS_MOST]
    return min(mattering, key=lambda found: _MATTERS_MOST.index(found.kind), default=None)


def _of_earlier(call: Call, number: int) -> Call:
    """The call of that attempt, of which we know nothing but our own reference."""
    earlier = replace(
        call,
        reference=attempt_reference(operation_id_of(call.reference), number),
        attempt_reference=None,
        claimed_at=call.since,  # when it was claimed is forgotten: not before that
    )
    authorizes = call.kind is OperationKind.AUTHORIZE
    return replace(earlier, authorization_reference=None) if authorizes else earlier

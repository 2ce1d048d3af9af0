"""A dispute at Stripe is accepted by closing it, which cannot be taken back: it is `lost` then.

Only one that is `needs_response` can be closed; of an inquiry (`warning_…`) Stripe's document says nothing, and
nothing is sent for one. What is said here of the dispute is who is to act, and nothing of the money: its movements
are read with the payment. Source: docs.stripe.com/api/disputes/close and /disputes/retrieve. Read, not tried.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import structlog

from payonce.connectors import acceptances
from payonce.connectors.base import Call, MaySend
from payonce.connectors.http import SEND_S_MAX, AcquirerResponse, HttpRequest, segment
from payonce.connectors.stripe.amounts import from_stripe
from payonce.connectors.stripe.desk import StripeDesk, asked_in_vain, not_moved, problem
from payonce.connectors.stripe.disputing import BYTES_MAX, DISPUTES, STATUS, StripeDispute
from payonce.domain.errors import ConnectorError, OutcomeUnknown, Rejected
from payonce.domain.facts import Approved, Declined, Disputed, NotKnown, Pending, Refused

log = structlog.get_logger(__name__)

_INVALID: Final = "invalid_request_error"


class StripeAcceptances:
    """Closes disputes of one account, and reads them."""

    def __init__(self, desk: StripeDesk, *, now: Callable[[], datetime]) -> None:
        self._desk = desk
        self._now = now

    async def accept(self, call: Call, *, may_send: MaySend) -> Approved | Declined | Pending | Refused:
        """The dispute is closed, or stands otherwise; see `Connector.send`."""
        close = self._desk.post(f"{_path(call)}/close", {}, reference=call.reference, purpose="send")
        answer = await self._desk.http.sending(may_send).move(close)
        if answer.status < 400:
            said = self._said(answer, call, at=self._now())
            return acceptances.outcome(call, said) or Pending(said.id, reason="not closed")
        error = problem(answer)
        if answer.status != 400 or error.type != _INVALID:
            raise not_moved(answer, error, reference=call.reference, object_id=call.dispute)
        return await self._not_closed(call, error.code or _INVALID, may_send)

    async def inquire(self, call: Call) -> Approved | Declined | NotKnown:
        """What became of the acceptance, by how the dispute stands; see `Connector.inquire`."""
        return acceptances.outcome(call, await self._standing(call)) or NotKnown()

    async def _not_closed(self, call: Call, code: str, may_send: MaySend) -> Approved | Declined | Refused:
        """Stripe closed nothing by this request: the dispute says whether it is decided, or another one closed it."""
        try:
            async with asyncio.timeout(max(SEND_S_MAX - may_send.held_s(), 0.0)):
                said = await self._standing(call)
        except TimeoutError:
            raise OutcomeUnknown("timed out", connector_reference=call.dispute) from None
        except ConnectorError as error:
            raise OutcomeUnknown(error.message, connector_reference=call.dispute) from None
        found = acceptances.outcome(call, said)
        if found is not None:
            return found
        return acceptances.too_late(said) if said.status == "under_review" else Refused(code)

    async def _standing(self, call: Call) -> Disputed:
        asked_at = self._now()
        request = HttpRequest(method="GET", path=_path(call), documented=self._desk.longer(BYTES_MAX))
        answer = await self._desk.http.call(request, may_send=None)
        if answer.status >= 400:
            raise asked_in_vain(answer, reference=call.reference)
        return self._said(answer, call, at=asked_at)

    def _said(self, answer: AcquirerResponse, call: Call, *, at: datetime) -> Disputed:
        """How our dispute stands, since then at least. Raises `OutcomeUnknown` for another one."""
        found = answer.read(StripeDispute)
        self._desk.check_mode(found.livemode)
        if found.id != call.dispute:
            raise OutcomeUnknown("another dispute than was asked about", connector_reference=call.dispute)
        status = STATUS.get(found.status)
        if status is None:
            log.warning("acquirer_status_unmapped", reference=call.reference, status=found.status)
            raise OutcomeUnknown("an unmapped status of the dispute", connector_reference=found.id)
        return Disputed(
            id=found.id,
            stage="chargeback",
            status=status,
            amount_minor=from_stripe(found.amount, found.currency.upper()),
            currency=found.currency.upper(),
            withdrawn_minor=0,
            reason=found.reason or "",
            at=at.astimezone(UTC),
            only_status=True,
        )


def _path(call: Call) -> str:
    if call.dispute is None:
        raise Rejected("an acceptance without its dispute")
    return f"{DISPUTES}/{segment(call.dispute)}"

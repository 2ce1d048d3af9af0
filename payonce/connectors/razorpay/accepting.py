"""A dispute at Razorpay is accepted by a call of its own, which cannot be taken back: it is `lost` then.

The call has no key, and needs none: a dispute that is not `open` is not accepted once more. What is said here of the
dispute is who is to act, and nothing of the money: its webhooks have that, and reconciliation. Source:
razorpay.com/docs/api/disputes/accept and /docs/api/disputes/fetch-with-id. Read, not tried.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import structlog

from payonce.connectors import acceptances
from payonce.connectors.base import Call, MaySend
from payonce.connectors.http import SEND_S_MAX, AcquirerResponse, HttpRequest, segment
from payonce.connectors.razorpay import forms
from payonce.connectors.razorpay.desk import RazorpayDesk, not_moved, ours_to_mend, problem
from payonce.connectors.razorpay.disputing import RazorpayDispute, is_mapped, standing
from payonce.domain.errors import ConnectorError, OutcomeUnknown, Rejected
from payonce.domain.facts import Approved, Declined, Disputed, NotKnown, Pending, Refused

log = structlog.get_logger(__name__)


class RazorpayAcceptances:
    """Accepts disputes of one account, and reads them."""

    def __init__(self, desk: RazorpayDesk, *, now: Callable[[], datetime]) -> None:
        self._desk = desk
        self._now = now

    async def accept(self, call: Call, *, may_send: MaySend) -> Approved | Declined | Pending | Refused:
        """The dispute is accepted, or stands otherwise; see `Connector.send`."""
        request = HttpRequest(path=f"{_path(call)}/accept")
        answer = await self._desk.http.sending(may_send).move(request)
        if answer.status < 400:
            said = self._said(answer.read(RazorpayDispute), call, at=self._now())
            return acceptances.outcome(call, said) or Pending(said.id, reason="not accepted")
        error = problem(answer)
        if answer.status != 400 or ours_to_mend(answer, error):
            raise not_moved(answer, error, reference=call.reference, object_id=call.dispute)
        return await self._not_accepted(call, answer, may_send)

    async def inquire(self, call: Call) -> Approved | Declined | NotKnown:
        """What became of the acceptance, by how the dispute stands; see `Connector.inquire`."""
        return acceptances.outcome(call, await self._standing(call)) or NotKnown()

    async def _not_accepted(
        self, call: Call, answer: AcquirerResponse, may_send: MaySend
    ) -> Approved | Declined | Refused:
        """Nothing was accepted by this request: the dispute says whether it is decided, or was accepted before."""
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
        late = said.status == "under_review"
        return acceptances.too_late(said) if late else Refused(problem(answer).code or "not_accepted")

    async def _standing(self, call: Call) -> Disputed:
        asked_at = self._now()
        found = await self._desk.ask(_path(call), RazorpayDispute, reference=call.reference)
        return self._said(found, call, at=asked_at)

    def _said(self, found: RazorpayDispute, call: Call, *, at: datetime) -> Disputed:
        """How our dispute stands, since that second at least. Raises `OutcomeUnknown` for another one."""
        if found.id != call.dispute:
            raise OutcomeUnknown("another dispute than was asked about", connector_reference=call.dispute)
        if not is_mapped(found):
            log.warning("acquirer_status_unmapped", reference=call.reference, status=found.status)
            raise OutcomeUnknown("an unmapped status of the dispute", connector_reference=found.id)
        return replace(standing(found, name="", at=int(at.timestamp())), only_status=True)


def _path(call: Call) -> str:
    if call.dispute is None:
        raise Rejected("an acceptance without its dispute")
    return f"{forms.DISPUTES}/{segment(call.dispute)}"

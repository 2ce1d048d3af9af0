"""What Razorpay turns down for good: data that it never takes, and orders that are there already."""

from typing import Final

import structlog

from payonce.connectors.base import Call
from payonce.connectors.http import AcquirerResponse
from payonce.connectors.razorpay import codes, forms
from payonce.connectors.razorpay.desk import not_prepared, ours_to_mend, problem
from payonce.connectors.razorpay.objects import RazorpayError
from payonce.domain.errors import NotSent, OutcomeUnknown
from payonce.domain.facts import Refused

log = structlog.get_logger(__name__)

_INVALID: Final = "BAD_REQUEST_ERROR"
_OURS: Final = (None, "business", "NA")  # whose mistake a request is that Razorpay does not take


def is_known_receipt(answer: AcquirerResponse) -> bool:
    """Whether an order of this receipt is there already: some accounts refuse it rather than answer that one."""
    try:
        error = problem(answer)
    except OutcomeUnknown:
        return False
    return answer.status == 400 and "receipt" in f"{error.field} {error.description}".lower()


def refused_before(answer: AcquirerResponse, call: Call) -> Refused:
    """An order that was not made: its data is refused, or nothing was sent."""
    try:
        error = problem(answer)
    except OutcomeUnknown as unknown:
        raise NotSent(f"before the money call: {unknown.message}") from None
    if answer.status == 400 and is_refusal(error) and not ours_to_mend(answer, error):
        return refused(call, error)
    raise not_prepared(answer, reference=call.reference)


def is_refusal(error: RazorpayError) -> bool:
    """Whether Razorpay will never take this data: it says that it validates a request before it does anything."""
    ours = error.source in _OURS and error.step in (None, "NA", "payment_initiation", "order_creation")
    return error.code == _INVALID and ours and error.reason in codes.REFUSED


def refused(call: Call, error: RazorpayError) -> Refused:
    """Razorpay never takes this data; the log has the reason and the field, and nothing else of it."""
    code = error.reason or error.code or _INVALID
    log.warning(
        "acquirer_refused", operation=call.kind, reference=call.reference, code=code, field=error.field
    )
    return Refused(code, forms.pointer(error.field))

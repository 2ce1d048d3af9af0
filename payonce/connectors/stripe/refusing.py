"""What Stripe turns down for good: a card that is declined, or data that it never takes."""

from typing import Final

import structlog

from payonce.connectors.base import Call
from payonce.connectors.http import AcquirerResponse
from payonce.connectors.stripe import codes, forms, reading
from payonce.connectors.stripe.desk import not_moved, not_prepared, ours_to_mend, problem
from payonce.connectors.stripe.objects import ErrorBody
from payonce.domain.errors import NotSent, OutcomeUnknown
from payonce.domain.facts import Declined, Refused

log = structlog.get_logger(__name__)

CARD_ERROR: Final = "card_error"
INVALID: Final = "invalid_request_error"


def raise_unless_ended(
    answer: AcquirerResponse, error: ErrorBody, call: Call, *, object_id: str | None
) -> None:
    """Returns where Stripe turned the capture, void or refund down for good."""
    for_good = error.code in codes.ENDED or codes.refused(error) is not None
    if not (answer.status == 400 and error.type == INVALID and for_good):
        raise not_moved(answer, error, reference=call.reference, object_id=object_id)


def turned_down_before(answer: AcquirerResponse, call: Call) -> Declined | Refused:
    """A call before the money call that was not done: the card is declined, or the data refused."""
    try:
        error = problem(answer)
    except OutcomeUnknown as unknown:
        raise NotSent(f"before the money call: {unknown.message}") from None
    if answer.status == 402 and error.type == CARD_ERROR:
        return reading.declined(error, intent_id=None)
    for_good = codes.refused(error) is not None or error.param is not None
    if answer.status == 400 and error.type == INVALID and for_good and not ours_to_mend(answer, error):
        return refused(call, error, codes.refused(error) or "")
    raise not_prepared(answer, reference=call.reference)


def refused(call: Call, error: ErrorBody, pointer: str) -> Refused:
    """Stripe never takes this data; the log has the code and the parameter, and nothing else of it."""
    code = error.code or INVALID
    log.warning(
        "acquirer_refused", operation=call.kind, reference=call.reference, code=code, param=error.param
    )
    return Refused(code, pointer or forms.pointer(error.param))

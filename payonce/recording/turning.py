"""What a turn of the acquirer makes of the rows under the payment's lock."""

from datetime import datetime

from payonce.domain import bounced, late, rail, turns
from payonce.domain.facts import Approved, Reversed, Turn, Undone, is_of_another
from payonce.domain.ids import IdFactory
from payonce.domain.operations import Attempt, AttemptState, OperationStatus
from payonce.domain.settlement import Settlement
from payonce.logging import get_logger
from payonce.recording.rows import Others, Rows, turn_id

log = get_logger(__name__)


def captured_by_rail(
    ids: IdFactory, rows: Rows, attempt: Attempt, others: Others, fact: Approved, *, now: datetime
) -> Settlement:
    """As the capture that was to come; else as what somebody else did, which it stays once it is known so."""
    found = turns.Found(rows.payment, rows.operation, attempt, others.held)
    counted = None if others.known else rail.capture(found, fact, others.capture, now=now)
    settled = counted or of_acquirer(ids, rows, attempt, others, rail.as_foreign(fact), now=now)
    return settled or Settlement(rows.payment, rows.operation, attempt)


def of_acquirer(
    ids: IdFactory, rows: Rows, attempt: Attempt, others: Others, fact: Turn | Reversed, *, now: datetime
) -> Settlement | None:
    """What the turn makes of the rows; None where it changes nothing, or is known."""
    found = turns.Found(rows.payment, rows.operation, attempt, others.held)
    own_id = turn_id(ids, attempt, fact)
    if isinstance(fact, Undone | Reversed) and _leaves_ours(rows, attempt, fact):
        log.warning("turn_of_another_payment", operation_id=rows.operation.id, turn=fact.kind)
        return Settlement(rows.payment, rows.operation, attempt)
    undecided = rows.operation.status is OperationStatus.PENDING and not attempt.state.definite
    if others.known or (isinstance(fact, Reversed) and undecided):
        return None  # known, or an outcome; a case beside that has a reversal of its own
    if others.refund is not None and isinstance(fact, Undone):
        return bounced.take(found, others.refund, fact, case=others.case, turn_id=own_id, now=now)
    if others.case is not None and not turns.stands(found):
        told = late.turned(found, others.case, fact, turn_id=own_id, now=now)
        if told is not None:
            return told
    turn = turns.of_reversal(found) if isinstance(fact, Reversed) else fact
    if turn is None:
        return None
    counted = rail.by_others(found, turn, others.capture, now=now)
    if counted is not None:
        return counted
    settled = turns.take(found, turn, turn_id=own_id, now=now)
    if not settled.added:
        log.warning("turn_of_nothing", operation_id=rows.operation.id, turn=fact.kind)
    return settled


def _leaves_ours(rows: Rows, attempt: Attempt, fact: Undone | Reversed) -> bool:
    """Whether it takes back what was done with another payment, which was charged under our reference.

    A person who decided may have mistyped how the acquirer calls ours.
    """
    stands = attempt.state is AttemptState.APPROVED and rows.operation.decided_at is None
    return stands and is_of_another(fact.about, attempt.connector_reference)

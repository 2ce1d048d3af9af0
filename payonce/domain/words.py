"""What an acquirer says against a decision that something succeeded, and what it says after that.

Each such word is an operation of origin `acquirer` without an id of the acquirer's: an undo, which is held for a
person, or a redo that takes it back. So the same word again is no news, and no other is dropped. Pure, as `turns` is:
the recording function calls `hear` under the payment's lock and writes what it returns.
"""

from collections.abc import Sequence
from datetime import datetime

from payonce.domain import turns
from payonce.domain.facts import Approved, Outcome, Redone
from payonce.domain.operations import Operation, OperationKind, OperationStatus
from payonce.domain.settlement import Settlement
from payonce.domain.turns import Found


def hear(
    found: Found, fact: Outcome, words: Sequence[Operation], *, agrees: bool, word_id: str, now: datetime
) -> Settlement | None:
    """What the acquirer's word makes of the rows; None where it is no news.

    `agrees`: whether it says what was decided. `words`: what it said before of this attempt, the latest first.
    `word_id`: the id of the operation that tells of this one.
    """
    if not agrees:
        known = _known(words, turns.said(fact))
        return None if known else turns.contradict(found, fact, turn_id=word_id, now=now)
    last = words[0] if words else None
    if not isinstance(fact, Approved) or last is None or last.kind is OperationKind.REDO:
        return None  # it said so last
    if last.amount_undecided_minor and found.payment.idle:
        return _taken_back(found, last, now=now)
    if not (last.amount_undecided_minor or _believed(last)):
        return None
    again = Redone(word_id, found.operation.amount_minor, found.operation.currency)
    return turns.take(found, again, turn_id=word_id, now=now)


def _known(words: Sequence[Operation], word: str) -> bool:
    """Whether a person must decide, or has decided: that the acquirer is right, or that this very word is wrong."""
    for told in words:
        if told.kind is OperationKind.REDO or not (told.amount_undecided_minor or told.decided_at):
            return False  # it took back what it had said before
        if told.amount_undecided_minor or _believed(told) or told.reason == word:
            return True
    return False


def _believed(told: Operation) -> bool:
    """Whether a person decided that the acquirer is right; that it is wrong is a failure of its word."""
    return told.decided_at is not None and told.status is OperationStatus.SUCCEEDED


def _taken_back(found: Found, word: Operation, *, now: datetime) -> Settlement:
    """The acquirer says by now what was decided: all is as before it contradicted."""
    settled = turns.holds_again(found.payment, word, found.operation, now=now)
    (target,) = settled.beside
    return Settlement(settled.payment, target, found.attempt, settled.events, beside=(settled.operation,))

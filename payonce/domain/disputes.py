"""Disputes: what an acquirer says that a cardholder's bank asks back, and what that makes of the payment.

A dispute is the acquirer's, one for its id of it. What it has withdrawn and not given back can no longer be refunded:
a refund beside it would pay the customer twice, and one that is still to be sent waits (`Payment.refunds_exceed`).
A refund that was out before we heard of it is shown, and is for a person. Pure: the recording function calls `hear`
under the payment's lock and writes what it returns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, get_args

from payonce.domain.events import EventType, Settlement, Story
from payonce.domain.facts import Disputed, DisputeStage, is_of_another
from payonce.domain.money import AMOUNT_MINOR_MAX
from payonce.domain.operations import Attempt, Operation, OperationKind
from payonce.domain.payment import Payment

REASON_MAX: Final = 100
FRAUD_WARNING: Final = "dispute.fraud_warning"
WARNED_BEFORE: Final = timedelta(days=3)  # of a week or more that acquirers give


class DisputeStatus(StrEnum):
    """Who is to act, or how it ended."""

    NEEDS_RESPONSE = "needs_response"
    UNDER_REVIEW = "under_review"
    WON = "won"
    LOST = "lost"
    ACCEPTED = "accepted"  # by us, or by the acquirer for us
    CLOSED = "closed"  # an inquiry that came to nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """One row of `disputes`."""

    id: str
    payment_id: str
    merchant_id: str
    mode: str
    connector: str
    connector_account: str
    acquirer_id: str
    amount_minor: int
    currency: str  # the bank's: it may differ from the payment's
    amount_withdrawn_minor: int  # and not given back, in the payment's currency
    stage: str
    status: DisputeStatus
    reason: str
    network_reason_code: str | None
    refunded_before_minor: int  # of what is withdrawn: refunded, or being refunded, before we heard of it
    evidence_due_by: datetime | None
    warned_at: datetime | None  # since when the merchant knows that this deadline is near
    said_at: datetime  # when the acquirer said so, by its own clock: an older word changes nothing
    created_at: datetime
    updated_at: datetime


_STAGES: Final = get_args(DisputeStage)
_STATUSES: Final = tuple(DisputeStatus)


def latest(words: Sequence[Disputed]) -> Disputed:
    """How a dispute stands by all that was ever said of it, in whatever order it came. Not of nothing.

    Of two words of one moment the one of the later stage counts, then that of the later status. One that says who is
    to act leaves the money as those before it have it.
    """
    ordered = sorted(words, key=_order)
    last = ordered[-1]
    of_money = [word for word in ordered if not word.only_status] or [last]
    due_by = [word.evidence_due_by for word in ordered if word.evidence_due_by is not None]
    codes = [word.network_reason_code for word in ordered if word.network_reason_code is not None]
    return replace(
        of_money[-1],
        status=last.status,
        reason=next((word.reason for word in reversed(ordered) if word.reason), ""),
        at=max(word.at for word in ordered),
        evidence_due_by=due_by[-1] if due_by else None,
        network_reason_code=codes[-1] if codes else None,
    )


def _order(word: Disputed) -> tuple[int, datetime, int, int]:
    return word.step, word.at, _STAGES.index(word.stage), _STATUSES.index(DisputeStatus(word.status))


def suspect(payment: Payment, operation: Operation, *, told_before: bool, now: datetime) -> Settlement:
    """The merchant is told, once for each payment, that the cardholder's bank suspects a fraud. Safe to repeat."""
    if told_before:
        return Settlement(payment, operation)
    story = Story(payment, now)
    story.tell(FRAUD_WARNING)
    return Settlement(story.payment, operation, None, story.events)


def hear(
    payment: Payment,
    operation: Operation,
    attempt: Attempt,
    known: Dispute | None,
    said: Disputed,
    *,
    dispute_id: str,
    accepting: bool = False,
    now: datetime,
) -> Settlement:
    """What the acquirer's word makes of the rows; of an older one, or the same again, nothing. Safe to repeat.

    Nor of one about nothing, or about another payment's dispute. `accepting`: its acceptance is under way, or done:
    an acquirer that has no word for that says that it is lost.
    """
    other = known is not None and (known.payment_id != payment.id or said.at < known.said_at)
    elsewhere = is_of_another(said.about, attempt.connector_reference)
    if other or elsewhere or said.amount_minor <= 0:
        return Settlement(payment, operation, attempt)
    told = _told(payment, attempt, known, said, dispute_id=dispute_id, now=now)
    given_in = accepting or (known is not None and known.status is DisputeStatus.ACCEPTED)
    if given_in and told.status is DisputeStatus.LOST:
        told = replace(told, status=DisputeStatus.ACCEPTED)
    if (
        known is not None and said.only_status
    ):  # what was said of the money before is not kept as long as a dispute
        told = replace(known, status=told.status, said_at=told.said_at, updated_at=now)
    if known is not None and replace(told, updated_at=known.updated_at, said_at=known.said_at) == known:
        return Settlement(payment, operation, attempt)
    before = 0 if known is None else known.amount_withdrawn_minor
    story = Story(payment, now)
    disputed = payment.amount_disputed_minor + told.amount_withdrawn_minor - before
    story.set(amount_disputed_minor=disputed)
    told = _with_refunds(payment, told, before=before)
    for type_ in _events(known, told):
        story.tell(type_, dispute=told)
    return Settlement(story.payment, operation, attempt, story.events, dispute=told)


def may_have(payment: Payment, operation: Operation) -> bool:
    """Whether a bank may have taken back what would be given back by undoing the operation, or what it is about.

    Of two charges of one payment nobody says here which of them that was.
    """
    match operation.target_kind or operation.kind:
        case OperationKind.AUTHORIZE | OperationKind.REVERSE:  # a case of an earlier version says no more
            return payment.amount_disputed_minor > 0
        case OperationKind.CAPTURE:
            return payment.disputes_exceed
        case _:
            return False  # its undoing gives the customer nothing


def warn(payment: Payment, operation: Operation, known: Dispute | None, *, now: datetime) -> Settlement:
    """The merchant is told, once for each deadline, that evidence is due soon, and where. Safe to repeat.

    Of a dispute that nobody has to answer any more, or no longer can, nothing is told.
    """
    due = None if known is None or known.warned_at is not None else known.evidence_due_by
    if known is None or due is None or known.status is not DisputeStatus.NEEDS_RESPONSE:
        return Settlement(payment, operation)
    if not now < due <= now + WARNED_BEFORE:
        return Settlement(payment, operation)
    story, told = Story(payment, now), replace(known, warned_at=now, updated_at=now)
    story.tell("dispute.evidence_due", dispute=told, submit_to=_submit_to(told))
    return Settlement(story.payment, operation, None, story.events, dispute=told)


def _submit_to(dispute: Dispute) -> Mapping[str, str]:
    """Where evidence is handed in: at the acquirer, which knows the dispute by this."""
    return {
        "connector": dispute.connector,
        "account": dispute.connector_account,
        "connector_reference": dispute.acquirer_id,
    }


def _told(
    payment: Payment,
    attempt: Attempt,
    known: Dispute | None,
    said: Disputed,
    *,
    dispute_id: str,
    now: datetime,
) -> Dispute:
    withdrawn = 0 if said.stage == "inquiry" else min(said.withdrawn_minor, AMOUNT_MINOR_MAX)
    if withdrawn and said.withdrawn_in not in (None, payment.currency):
        withdrawn = (
            payment.amount_captured_minor or payment.amount_minor
        )  # how much of it that is nobody says
    return Dispute(
        id=dispute_id,
        payment_id=payment.id,
        merchant_id=payment.merchant_id,
        mode=payment.mode,
        connector=attempt.connector,
        connector_account=attempt.connector_account,
        acquirer_id=said.id,
        amount_minor=min(said.amount_minor, AMOUNT_MINOR_MAX),
        currency=said.currency,
        amount_withdrawn_minor=withdrawn,
        stage=said.stage,
        status=DisputeStatus(said.status),
        reason=said.reason[:REASON_MAX],
        network_reason_code=None
        if said.network_reason_code is None
        else said.network_reason_code[:REASON_MAX],
        refunded_before_minor=0 if known is None else known.refunded_before_minor,
        evidence_due_by=said.evidence_due_by,
        warned_at=None if known is None or known.evidence_due_by != said.evidence_due_by else known.warned_at,
        said_at=said.at,
        created_at=now if known is None else known.created_at,
        updated_at=now,
    )


def _with_refunds(payment: Payment, told: Dispute, *, before: int) -> Dispute:
    """With what was refunded already of the money that is newly withdrawn: the customer may have both."""
    newly = told.amount_withdrawn_minor - before
    if newly <= 0:
        return told
    others = payment.amount_disputed_minor - before
    refunded = payment.amount_refunded_minor + payment.amount_refund_pending_minor
    left = max(0, payment.amount_captured_minor - refunded - others - before)
    twice = min(newly, max(0, newly - left), refunded)
    return replace(told, refunded_before_minor=told.refunded_before_minor + twice)


def _events(known: Dispute | None, told: Dispute) -> list[EventType]:
    """In the order in which it happened: opened or changed, the money, the end."""
    found: list[EventType] = ["dispute.opened"] if known is None else []
    before = 0 if known is None else known.amount_withdrawn_minor
    if told.amount_withdrawn_minor > before:
        found.append("dispute.funds_withdrawn")
    if told.amount_withdrawn_minor < before:
        found.append("dispute.funds_reinstated")
    if known is None or told.status is not known.status:
        match told.status:
            case DisputeStatus.WON:
                found.append("dispute.won")
            case DisputeStatus.LOST:
                found.append("dispute.lost")
            case _:
                pass
    return found or ["dispute.updated"]

"""What cardholders' banks dispute at Stripe: read by the intent, and whose it is by the id that an event has.

Stripe's disputes have metadata of their own, and so not our reference: that is the intent's. A charge may have
several, one after the other. An inquiry, whose status begins with `warning_`, withdraws nothing. Source: Stripe's
OpenAPI document, version 2026-08-26.dahlia, `dispute` and `radar.early_fraud_warning`; the maintainers in
github.com/stripe/openapi/issues/156 (by list, and not by the charge). Read, not tried. From memory: that a charge is
`disputed` with an inquiry, too.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeVar

import structlog
from pydantic import Field, ValidationError

from payonce.connectors.base import Call
from payonce.connectors.http import AcquirerResponse, HttpRequest, segment
from payonce.connectors.stripe.amounts import from_stripe
from payonce.connectors.stripe.desk import StripeDesk, asked_in_vain
from payonce.connectors.stripe.objects import (
    REFERENCE,
    Charge,
    Currency,
    Id,
    Intent,
    ListPage,
    Metadata,
    Read,
    Text,
)
from payonce.domain.errors import ConnectorError, OutcomeUnknown
from payonce.domain.facts import Approved, Disputed

log = structlog.get_logger(__name__)

DISPUTES: Final = "/v1/disputes"
WARNINGS: Final = "/v1/radar/early_fraud_warnings"
OF_CHARGE_MAX: Final = 20
BYTES_MAX: Final = 4 * 1024 * 1024  # its evidence is text of ours, as long as we like
_NAMED: Final = {
    re.compile(r"(dp|du)_[A-Za-z0-9]{1,250}"): DISPUTES,
    re.compile(r"issfr_[A-Za-z0-9]{1,250}"): WARNINGS,
}
_REFERENCE: Final = re.compile(r"[!-~]{1,128}")
_FOR_GOOD: Final = (400, 401, 403, 404)  # asked again, the answer is the same
_INQUIRY: Final = "warning_"
STATUS: Final[dict[str, Literal["needs_response", "under_review", "won", "lost", "closed"]]] = {
    "warning_needs_response": "needs_response",
    "warning_under_review": "under_review",
    "warning_closed": "closed",
    "needs_response": "needs_response",
    "under_review": "under_review",
    "won": "won",
    "lost": "lost",
    "prevented": "closed",  # refunded before it became one
}

Fact = TypeVar("Fact")


class _Movement(Read):
    """What was taken from the account's balance (below 0), or given back; its fee is beside it."""

    amount: Annotated[int, Field(ge=-(2**53), le=2**53)]
    currency: Currency


class _Card(Read):
    network_reason_code: Text = None


class _Method(Read):
    card: _Card | None = None


class _Evidence(Read):
    due_by: Annotated[int, Field(ge=0, le=2**40)] | None = None


class StripeDispute(Read):
    """Without its evidence, which may name the customer."""

    id: Id
    object: Literal["dispute"]
    status: str
    amount: Annotated[int, Field(gt=0, le=2**53)]
    currency: Currency
    livemode: bool
    payment_intent: Id | None = None
    reason: Text = None
    balance_transactions: Annotated[tuple[_Movement, ...], Field(max_length=20, strict=False)] = ()
    evidence_details: _Evidence = _Evidence()
    payment_method_details: _Method | None = None


class _Disputes(ListPage):
    """Of `GET /v1/disputes`: each is read apart, so that one that cannot be read hides no other."""

    data: Annotated[list[Any], Field(max_length=100)]


class _Owner(Read):
    id: Id
    metadata: Metadata | None = None


class _About(Read):
    """A dispute or a warning, with its intent."""

    id: Id
    livemode: bool
    payment_intent: _Owner | Id | None = None


class Disputing:
    """Reads, and moves nothing."""

    def __init__(self, desk: StripeDesk, *, now: Callable[[], datetime]) -> None:
        self._desk = desk
        self._now = now

    async def told(self, fact: Fact, call: Call, intent: Intent) -> Fact | Approved:
        """The approval with the disputes about its charge. Raises the `ConnectorError`s where they may be read later.

        Not of an approval that is news: a payment does not wait for its disputes.
        """
        charge = intent.charge
        if not isinstance(fact, Approved) or charge is None or not charge.disputed:
            return fact
        try:
            return replace(fact, disputes=await self._of(call, intent, charge))
        except ConnectorError as error:
            if call.approved:
                raise
            log.warning("acquirer_disputes_not_read", reference=call.reference, why=error.message)
            return fact

    async def locate(self, reference: str) -> str | None:
        """Our reference of the payment that the dispute or the warning is about; see `Locating`."""
        path = next((path for named, path in _NAMED.items() if named.fullmatch(reference)), None)
        if path is None:
            return None
        answer = await self._read(f"{path}/{segment(reference)}", {"expand": ["payment_intent"]})
        if answer is None:
            return None
        found = answer.read(_About)
        self._desk.check_mode(found.livemode)
        owner = found.payment_intent
        ours = (owner.metadata or {}).get(REFERENCE) if isinstance(owner, _Owner) else None
        return ours if found.id == reference and ours is not None and _REFERENCE.fullmatch(ours) else None

    async def _of(self, call: Call, intent: Intent, charge: Charge) -> tuple[Disputed, ...]:
        """Every dispute about the charge, oldest first. They stand so since they were asked for, at least."""
        asked_at = self._now()
        answer = await self._read(DISPUTES, {"payment_intent": intent.id, "limit": OF_CHARGE_MAX})
        if answer is None:
            return ()
        page = answer.read(_Disputes)
        if page.has_more:
            log.error("acquirer_disputes_not_all_read", reference=call.reference)
        read = [self._one(raw, call, intent, charge, at=asked_at) for raw in reversed(page.data)]
        return tuple(one for one in read if one is not None)

    def _one(self, raw: Any, call: Call, intent: Intent, charge: Charge, *, at: datetime) -> Disputed | None:
        """How it stands; None of one that cannot be read, which is for a person and holds up nothing."""
        try:
            found = StripeDispute.model_validate(raw)
            if found.payment_intent in (None, intent.id) and found.livemode is self._desk.live:
                return standing(found, call, charge, at=at)
        except (ValidationError, OutcomeUnknown):  # the first holds the raw body
            pass
        log.error("acquirer_dispute_unreadable", reference=call.reference)
        return None

    async def _read(self, path: str, query: dict[str, Any]) -> AcquirerResponse | None:
        """The answer; None where Stripe does not have it, or does not show it to this key."""
        request = HttpRequest(method="GET", path=path, query=query, documented=self._desk.longer(BYTES_MAX))
        answer = await self._desk.http.call(request, may_send=None)
        if answer.status < 400:
            return answer
        error = asked_in_vain(answer, reference=path)
        if answer.status in _FOR_GOOD:
            log.error("acquirer_disputes_not_shown", path=path, status=answer.status)
            return None
        raise error


def standing(found: StripeDispute, call: Call, charge: Charge, *, at: datetime) -> Disputed:
    """How the dispute stands, in our words. A status that is new says nothing of the money: its movements do."""
    status = STATUS.get(found.status)
    if status is None:
        log.warning("acquirer_status_unmapped", reference=call.reference, status=found.status)
    due_by, method = found.evidence_details.due_by, found.payment_method_details
    return Disputed(
        id=found.id,
        stage="inquiry" if _is_inquiry(found) else "chargeback",
        status=status or "under_review",
        amount_minor=from_stripe(found.amount, found.currency.upper()),
        currency=found.currency.upper(),
        withdrawn_minor=_withdrawn(found, call, charge),
        reason=found.reason or "",
        at=at,
        network_reason_code=None
        if method is None or method.card is None
        else method.card.network_reason_code,
        evidence_due_by=datetime.fromtimestamp(due_by, UTC) if due_by else None,
    )


def _is_inquiry(found: StripeDispute) -> bool:
    return found.status.startswith(_INQUIRY) and not _taken(found.balance_transactions)


def _withdrawn(found: StripeDispute, call: Call, charge: Charge) -> int:
    """What is out of the balance, in the payment's currency. One that is about to be withdrawn counts as if it were.

    A balance may be in another currency than the payment: then as much of the dispute as is out of the balance.
    """
    currency, taken = charge.currency, _taken(found.balance_transactions)
    asked = found.amount if found.currency == currency else charge.amount
    if not found.balance_transactions:
        open_ = found.status in ("needs_response", "under_review", "lost")
        return from_stripe(asked, currency.upper()) if open_ else 0
    if all(one.currency == currency for one in found.balance_transactions):
        return from_stripe(taken, currency.upper())
    first = max(1, -min(one.amount for one in found.balance_transactions))
    return from_stripe(min(asked, -(-asked * taken // first)), currency.upper())


def _taken(movements: Sequence[_Movement]) -> int:
    return max(0, -sum(one.amount for one in movements))

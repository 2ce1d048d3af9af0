"""Razorpay's list of what was paid: payments made in a time, older ones that were refunded in it, and disputes.

All three are listed by the time they were made. What failed may be authorized for days, and what is authorized
captured, or lapse: so once a day the payments of the days before are read again. So are the disputes of months: which
of them changed no list says. All are asked for a time that is over: nothing comes into it while they are read.
Source: razorpay.com/docs/api/payments/fetch-all-payments, /docs/api/refunds/fetch-all, /docs/api/disputes/fetch-all.
Read, not tried.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import structlog

from payonce.connectors.base import Call
from payonce.connectors.http import segment
from payonce.connectors.listing import ChargePage, ListLimits, Unreadable, answered, page_of, readable
from payonce.connectors.razorpay import disputing, forms, reading
from payonce.connectors.razorpay.desk import RazorpayDesk
from payonce.connectors.razorpay.disputing import ListedDisputes
from payonce.connectors.razorpay.finding import OrderFinding
from payonce.connectors.razorpay.objects import (
    PAYMENT,
    REFERENCE,
    SHORT,
    ListedPayments,
    ListedRefunds,
    MalformedPayment,
    MalformedRefund,
    OnePayment,
    RazorpayOrder,
    RazorpayPayment,
    RazorpayRefund,
)
from payonce.connectors.requests import FormValue
from payonce.domain.errors import OutcomeUnknown, UnexpectedAnswer
from payonce.domain.facts import Approved, Reversed
from payonce.domain.ids import operation_id_of
from payonce.domain.operations import OperationKind
from payonce.domain.reconciling import Said, TheirCharge, Totals

log = structlog.get_logger(__name__)

LIMITS: Final = ListLimits(
    lag_s=60.0, pages_per_s=1.0, payers_write=True
)  # no page of theirs says how many requests are allowed
LIST_PAGE: Final = 100
REFUNDS_PAGE: Final = 10  # each may cost two reads, of its payment and of what else was refunded of it
LIST_BYTES_MAX: Final = 4 * 1024 * 1024
PAGE_S_MAX: Final = 25.0
CHANGES_WITHIN: Final = timedelta(days=5)  # late authorizations; what is held lapses sooner
DISPUTED_FOR: Final = timedelta(
    days=180
)  # a guess, on the long side: from a chargeback to what an arbitration says

_PAYMENTS, _REFUNDS, _DISPUTES = "payments", "refunds", "disputes"
_REFERENCE: Final = re.compile(r"[!-~]{1,128}")
_NAMELESS: Final = "without an id"
_UNPAID: Final = ("created", "failed")


class PaymentList:
    """Reads, and moves nothing. Where a page ended is a word for the list and how many of it were read."""

    def __init__(self, desk: RazorpayDesk, finding: OrderFinding, *, now: Callable[[], datetime]) -> None:
        self._desk = desk
        self._finding = finding
        self._now = now

    async def page(self, *, since: datetime, until: datetime, after: str | None) -> ChargePage:
        """See `ChargeListing`."""
        daily = since.astimezone(UTC).date() != until.astimezone(UTC).date()
        made_since = since - CHANGES_WITHIN if daily else since
        disputed_since = since - DISPUTED_FOR if daily else since
        name, _, read = (after or _PAYMENTS).partition(" ")
        skip = int(read or 0)
        try:
            async with asyncio.timeout(PAGE_S_MAX):
                if name == _PAYMENTS:
                    return await self._of_payments(made_since, until, skip=skip)
                if name == _DISPUTES:
                    return await self._of_disputes(disputed_since, until, skip=skip)
                return await self._of_refunds(since, until, skip=skip, made_since=made_since)
        except TimeoutError:
            raise OutcomeUnknown("timed out") from None

    async def is_ours(self, charge: TheirCharge) -> bool:
        """By its order, whose receipt only a secret key writes: the notes of a payment its payer's browser may."""
        found = await self._read(charge.id)
        if isinstance(found, MalformedPayment):
            raise UnexpectedAnswer("a payment that is not as it is documented")
        order_id = found.order_id
        if order_id is None or charge.reference is None:
            return False
        path = f"{forms.ORDERS}/{segment(order_id)}"
        order = await self._desk.ask(path, RazorpayOrder, reference=charge.reference)
        if order.id != order_id:
            raise OutcomeUnknown("another order than was asked about")
        return order.receipt == operation_id_of(charge.reference)

    async def reference_of(self, charge_id: str) -> str | None:
        """What its notes say."""
        found = await self._read(charge_id)
        return None if isinstance(found, MalformedPayment) else _reference(found)

    async def _of_payments(self, since: datetime, until: datetime, *, skip: int) -> ChargePage:
        query = _query(since, until, count=LIST_PAGE, skip=skip)
        page = await self._desk.ask(
            forms.PAYMENTS, ListedPayments, reference=_PAYMENTS, query=query, bytes_max=LIST_BYTES_MAX
        )
        ended = _ended(len(page.items), skip, count=LIST_PAGE)
        following = _REFUNDS if ended is None else f"{_PAYMENTS} {ended}"
        return await page_of(page.items, self._charge, following=following)

    async def _of_refunds(
        self, since: datetime, until: datetime, *, skip: int, made_since: datetime
    ) -> ChargePage:
        """Payments that were made before those that are listed, by what was refunded of them."""
        query = _query(since, until, count=REFUNDS_PAGE, skip=skip)
        page = await self._desk.ask(
            forms.REFUNDS, ListedRefunds, reference=_REFUNDS, query=query, bytes_max=LIST_BYTES_MAX
        )
        ids = dict.fromkeys(one.payment_id for one in page.items if one.payment_id is not None)
        odd = (one for one in page.items if isinstance(one, MalformedRefund) and one.payment_id is None)
        before = int(made_since.timestamp())
        ended = _ended(len(page.items), skip, count=REFUNDS_PAGE)
        following = _DISPUTES if ended is None else f"{_REFUNDS} {ended}"
        asked_for: list[str | MalformedRefund] = [*ids, *odd]
        return await page_of(asked_for, partial(self._older, before=before), following=following)

    async def _older(self, about: str | MalformedRefund, *, before: int) -> TheirCharge | None:
        """The payment of this id as it is by now; None of one that was listed. Raises `Unreadable`."""
        if isinstance(about, MalformedRefund):
            raise Unreadable(about.id or _NAMELESS, "a refund that is not as it is documented")
        with answered(about):
            found = await self._read(about)
        return None if (found.created_at or 0) >= before else await self._charge(found)

    async def _of_disputes(self, since: datetime, until: datetime, *, skip: int) -> ChargePage:
        """They stand so since they were asked for, at least. None, where Razorpay does not show them.

        Nor where it shows something else than it documents: asked once more, the answer is the same, and what is said
        of payments would never be concluded from.
        """
        asked_at, query = self._now(), _query(since, until, count=LIST_PAGE, skip=skip)
        try:
            page = await self._desk.shown(
                forms.DISPUTES, ListedDisputes, reference=_DISPUTES, query=query, bytes_max=LIST_BYTES_MAX
            )
        except UnexpectedAnswer as error:
            log.error("acquirer_disputes_unreadable", path=forms.DISPUTES, why=error.message)
            return ChargePage(())
        if page is None:
            log.error("acquirer_disputes_not_shown", path=forms.DISPUTES)
            return ChargePage(())
        ended = _ended(len(page.items), skip, count=LIST_PAGE)
        following = None if ended is None else f"{_DISPUTES} {ended}"
        return ChargePage((), following, disputes=disputing.listed(page.items, at=asked_at))

    async def _read(self, payment_id: str) -> RazorpayPayment | MalformedPayment:
        path = f"{forms.PAYMENTS}/{segment(payment_id)}"
        found = (await self._desk.ask(path, OnePayment, reference=payment_id)).root
        if found.id is None:
            return found.model_copy(update={"id": payment_id})
        if found.id != payment_id:
            raise OutcomeUnknown("another payment than was asked about")
        return found

    async def _charge(self, found: RazorpayPayment | MalformedPayment) -> TheirCharge | None:
        """What the payment took or holds, or gave back; None: it never came so far.

        Raises `Unreadable` for one that cannot be read, and may be ours: what it stands for is not known.
        """
        if isinstance(found, MalformedPayment):
            if found.notes is None or found.notes.get(REFERENCE) is not None:
                raise Unreadable(found.id or _NAMELESS, "it is not as it is documented")
            log.warning("acquirer_charge_of_others_not_read", acquirer_id=found.id, why="malformed")
            return None
        if found.status in _UNPAID and not found.captured:
            return None
        if _reference(found) is not None:
            return await self._told(found)
        try:
            return await self._told(found)
        except OutcomeUnknown as error:
            log.warning("acquirer_charge_of_others_not_read", acquirer_id=found.id, why=error.message)
            return _of_others(found)

    async def _told(self, found: RazorpayPayment) -> TheirCharge:
        with readable(found.id):
            call = _call(found)
            fact = reading.authorization(found, call, now=self._now())
        if not isinstance(fact, Approved | Reversed):
            raise Unreadable(found.id, f"it is {fact.kind}")
        refunds: Sequence[RazorpayRefund] = ()
        if found.captured and found.amount_refunded:
            with answered(found.id):
                refunds = await self._finding.refunds(call, found.id)
        with readable(found.id):
            return _as_charge(found, call, fact, refunds)


def _as_charge(
    found: RazorpayPayment, call: Call, fact: Approved | Reversed, refunds: Sequence[RazorpayRefund]
) -> TheirCharge:
    told = reading.refunded(fact, refunds) if isinstance(fact, Approved) else fact
    reference = _reference(found)
    return TheirCharge(
        id=found.id,
        reference=reference,
        currency=found.currency,
        created_at=datetime.fromtimestamp(found.created_at, UTC),
        totals=_totals(found, refunds),
        said=(
            Said(found.id, OperationKind.AUTHORIZE, reference, found.amount, told),
            *_taken_or_lapsed(found, call),
            *_refunds_said(refunds, call),
        ),
    )


def _of_others(found: RazorpayPayment) -> TheirCharge:
    """Somebody else's, of which no more is known than what it took."""
    taken = Approved(found.id, found.amount, found.currency)
    return TheirCharge(
        id=found.id,
        reference=None,
        currency=found.currency,
        created_at=datetime.fromtimestamp(found.created_at, UTC),
        totals=_totals(found, ()),
        said=(Said(found.id, OperationKind.AUTHORIZE, None, found.amount, taken),),
    )


def _reference(found: RazorpayPayment) -> str | None:
    """Ours, where it may be: all that we ask for pays an order."""
    return None if found.order_id is None else _ours(found.reference)


def _query(since: datetime, until: datetime, *, count: int, skip: int) -> dict[str, FormValue]:
    return {"from": int(since.timestamp()), "to": int(until.timestamp()), "count": count, "skip": skip}


def _ended(listed: int, skip: int, *, count: int) -> int | None:
    """How many were read, where there may be more: Razorpay may list fewer than it is asked for."""
    return None if listed < min(count, SHORT) else skip + listed


def _call(found: RazorpayPayment) -> Call:
    """What an inquiry about the payment's attempt would be given, as far as a payment says it.

    It does not say whether it was to be captured by itself. What is captured is told as Razorpay's own, which counts
    as the capture that was to come, or as somebody else's.
    """
    return Call(
        kind=OperationKind.AUTHORIZE,
        reference=found.reference or found.id,
        payment_id=found.notes.get(PAYMENT, ""),
        amount_minor=found.amount,
        currency=found.currency,
        automatic_capture=True,
        attempt_reference=found.id,
        authorization_reference=found.id,
        approved=True,  # its bank did
    )


def _totals(found: RazorpayPayment, refunds: Sequence[RazorpayRefund]) -> Totals:
    """A refund that may still fail has given nothing back. Disputes are not read: see the guide."""
    return Totals(
        authorized_minor=found.amount,
        captured_minor=found.amount if found.captured else 0,
        refunded_minor=sum(one.amount for one in refunds if one.status == "processed"),
        disputed_minor=None,
        held_minor=found.amount if found.status == "authorized" else 0,
    )


def _taken_or_lapsed(found: RazorpayPayment, call: Call) -> list[Said]:
    """Its capture or release, by the id under which payonce knows its own. Nobody says whose it was."""
    said = []
    for kind, read in ((OperationKind.CAPTURE, reading.capture), (OperationKind.VOID, reading.void)):
        fact = read(found, replace(call, kind=kind))
        if isinstance(fact, Approved):
            said.append(Said(fact.connector_reference or found.id, kind, None, fact.amount_minor, fact))
    return said


def _refunds_said(refunds: Sequence[RazorpayRefund], call: Call) -> list[Said]:
    """Each refund of ours of which there is an outcome, oldest first."""
    said = []
    for one in sorted(refunds, key=lambda one: (one.created_at, one.id)):
        reference = _ours(one.reference)
        if reference is None:
            continue
        fact = reading.refund(one, replace(call, kind=OperationKind.REFUND, reference=reference))
        if isinstance(fact, Approved):
            said.append(Said(one.id, OperationKind.REFUND, reference, fact.amount_minor, fact))
    return said


def _ours(reference: str | None) -> str | None:
    """The reference, where it may be one of ours: anybody may write there what they like."""
    return reference if reference is not None and _REFERENCE.fullmatch(reference) else None

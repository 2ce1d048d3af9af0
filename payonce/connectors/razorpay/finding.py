"""How an attempt of ours is found at Razorpay: through the order of its payment, read whole.

The order is found by its receipt, which is the payment's number and unique; its payments by our reference in their
notes. Payments that failed come before the good one, so a list is never read in part. A payment of our order that is
no attempt of ours, and did not fail, is for a person.
Source: razorpay.com/docs/api/orders/fetch-all, /docs/api/payments/fetch-payments-orders. Read, not tried.
"""

from typing import Final

import structlog

from payonce.connectors.base import Call
from payonce.connectors.http import segment
from payonce.connectors.razorpay import forms
from payonce.connectors.razorpay.desk import RazorpayDesk
from payonce.connectors.razorpay.objects import (
    SHORT,
    RazorpayOrder,
    RazorpayOrders,
    RazorpayPayment,
    RazorpayPayments,
    RazorpayRefund,
    RazorpayRefunds,
)
from payonce.domain.errors import OutcomeUnknown

log = structlog.get_logger(__name__)

_FAILED: Final = "failed"
_UNDECIDED: Final = ("created", _FAILED)
_ORDER: Final = "order_"


class OrderFinding:
    """Reads, and moves nothing."""

    def __init__(self, desk: RazorpayDesk) -> None:
        self._desk = desk

    async def payment(self, call: Call) -> RazorpayPayment | None:
        """The authorization's payment; None where the order has none of it, or there is no order.

        Raises the `ConnectorError`s: also where Razorpay does not know a payment that it gave out itself.
        """
        known = call.attempt_reference
        order_id = await self._order_id(call, known)
        if order_id is None:
            return None
        listed = await self._payments(call, order_id)
        ours = [one for one in listed if one.reference == call.reference]
        if known is not None and not known.startswith(_ORDER) and known not in {one.id for one in ours}:
            raise OutcomeUnknown("a payment that is not in its order any more")
        _raise_for_strangers(listed, call)
        return _the_one(ours, call)

    async def by_id(self, call: Call, payment_id: str, *, deadline_s: float | None = None) -> RazorpayPayment:
        """The payment with this id, of our payment."""
        path = f"{forms.PAYMENTS}/{segment(payment_id)}"
        found = await self._desk.ask(path, RazorpayPayment, reference=call.reference, deadline_s=deadline_s)
        if found.id != payment_id or found.currency != call.currency:
            raise OutcomeUnknown("another payment than was asked about")
        return found

    async def order(self, call: Call) -> RazorpayOrder | None:
        """The order of our payment by its receipt; None where there is none. Several are more than one may be."""
        pages = await self._desk.all(
            forms.ORDERS, RazorpayOrders, {"receipt": call.payment_id}, reference=call.reference
        )
        ours = [one for page in pages for one in page.items if one.receipt == call.payment_id]
        if len({one.id for one in ours}) > 1:
            log.error("acquirer_orders_of_one_payment", reference=call.reference)
            raise OutcomeUnknown("several orders of one payment")
        return ours[0] if ours else None

    async def refund(self, call: Call) -> RazorpayRefund | None:
        """The refund of ours; None where the list of its payment, read whole, has none."""
        payment_id = forms.authorization_of(call)
        known = call.attempt_reference
        if known is not None and known != payment_id:
            path = f"{forms.REFUNDS}/{segment(known)}"
            found = await self._desk.ask(path, RazorpayRefund, reference=call.reference)
            if found.id != known:
                raise OutcomeUnknown("another refund than was asked about")
            check_refund(found, call)
            return found
        ours = [one for one in await self.refunds(call, payment_id) if one.reference == call.reference]
        if len({one.id for one in ours}) > 1:
            log.error("acquirer_refunds_of_one_attempt", reference=call.reference)
            raise OutcomeUnknown("several refunds under one reference")
        for one in ours:
            check_refund(one, call)
        return ours[0] if ours else None

    async def refunds(self, call: Call, payment_id: str) -> list[RazorpayRefund]:
        """Every refund of the payment."""
        path = f"{forms.PAYMENTS}/{segment(payment_id)}/refunds"
        pages = await self._desk.all(path, RazorpayRefunds, {}, reference=call.reference)
        found = [one for page in pages for one in page.items]
        if any(one.payment_id != payment_id or one.currency != call.currency for one in found):
            raise OutcomeUnknown("refunds of another payment")
        return found

    async def _order_id(self, call: Call, known: str | None) -> str | None:
        if known is not None and known.startswith(_ORDER):
            return known
        if known is not None:
            found = await self.by_id(call, known)
            if found.order_id is None:
                raise OutcomeUnknown("a payment that is in no order", connector_reference=known)
            return found.order_id
        order = await self.order(call)
        return None if order is None else order.id

    async def _payments(self, call: Call, order_id: str) -> list[RazorpayPayment]:
        path = f"{forms.ORDERS}/{segment(order_id)}/payments"
        page = await self._desk.ask(path, RazorpayPayments, reference=call.reference)
        if page.count != len(page.items) or len(page.items) >= SHORT:  # no way is documented to read on
            raise OutcomeUnknown("a list of payments that is not whole")
        if any(one.order_id != order_id or one.currency != call.currency for one in page.items):
            raise OutcomeUnknown("payments of another order")
        return page.items


def check_refund(found: RazorpayRefund, call: Call) -> None:
    """Raises `OutcomeUnknown` for the answer to another request."""
    if found.reference != call.reference or found.payment_id != call.authorization_reference:
        raise OutcomeUnknown("a refund of another attempt")
    if found.currency != call.currency:
        raise OutcomeUnknown("a refund in another currency", connector_reference=found.id)


def _the_one(ours: list[RazorpayPayment], call: Call) -> RazorpayPayment | None:
    """What counts of the attempt's payments: one that is paid, else one that may be, else one that failed."""
    paid = [one for one in ours if one.status not in _UNDECIDED]
    if len(paid) > 1:
        log.error("acquirer_payments_of_one_attempt", reference=call.reference)
        raise OutcomeUnknown("several payments under one reference")
    waiting = [one for one in ours if one.status != _FAILED]
    return next(iter((*paid, *waiting, *ours)), None)


def _raise_for_strangers(listed: list[RazorpayPayment], call: Call) -> None:
    """Nobody but us knows the order: who paid it without a reference of ours has paid our payment."""
    if any(one.reference is None and one.status != _FAILED for one in listed):
        log.error("acquirer_payment_without_reference", reference=call.reference)
        raise OutcomeUnknown("a payment of the order that is no attempt of ours")

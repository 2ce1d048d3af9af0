"""Razorpay: cards, UPI and wallets, by orders.

One order for each payment, which nobody else knows of; one payment of it for each attempt, known by our reference in
its notes. No call but a refund has a key, so no payment is ever sent twice: what became of it is asked by the order.
A refund may be, by its key, and a capture, since Razorpay captures a payment once.
What is authorized and not captured goes back of itself after some days; there is nothing that releases it sooner.
Source: razorpay.com/docs. Read, and nothing of it tried against the real service.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import ClassVar, Final, TypeVar, assert_never

import structlog

from payonce.connectors.base import (
    AccountForm,
    Call,
    Callback,
    Capabilities,
    ConnectorAccount,
    Identity,
    MaySend,
)
from payonce.connectors.http import SEND_S_MAX, AcquirerResponse, HttpRequest, Sending, segment
from payonce.connectors.listing import ChargePage, ListLimits
from payonce.connectors.razorpay import account as accounts
from payonce.connectors.razorpay import amounts, callbacks, forms, listing, reading
from payonce.connectors.razorpay.accepting import RazorpayAcceptances
from payonce.connectors.razorpay.desk import RazorpayDesk, not_moved, ours_to_mend, problem
from payonce.connectors.razorpay.finding import OrderFinding, check_refund
from payonce.connectors.razorpay.objects import (
    PaymentMade,
    RazorpayError,
    RazorpayOrder,
    RazorpayOrders,
    RazorpayPayment,
    RazorpayRefund,
)
from payonce.connectors.razorpay.refusing import is_known_receipt, is_refusal, refused, refused_before
from payonce.domain.capabilities import Required
from payonce.domain.errors import ConnectorError, NotSent, OutcomeUnknown, Rejected
from payonce.domain.facts import (
    Accepted,
    Approved,
    Cancellation,
    Declined,
    EndsItself,
    Inquiry,
    NotKnown,
    Pending,
    Refused,
    Reply,
    Reversed,
)
from payonce.domain.operations import OperationKind
from payonce.domain.reconciling import TheirCharge
from payonce.domain.schedules import LATE_INQUIRIES, InquirySchedule
from payonce.domain.truth import MODIFICATIONS, Truth

log = structlog.get_logger(__name__)

CALL_DEADLINE_S: Final = 20.0
FINALITY_S: Final = 900.0  # of payments: a guess, on the long side: nothing shuts out what comes late
# How long a refund's key is good: a guess, since no page says it. A payment is captured once, whatever is sent.
REPLAYED_S: Final = 6 * 3600.0
ASKING_S_MAX: Final = 25.0  # of a whole inquiry, lists included
INQUIRY: Final = InquirySchedule(
    first_s=(1, 2, 4, 8),
    then_every_s=30,
    review_after_s=1800,  # what waits is failed by Razorpay itself after 10 minutes
    slow_every_s=3600,
    give_up_after_s=30 * 24 * 3600,
)
# While the customer is at the bank's page, or in their app: a webhook says sooner what they did there.
ACTION_INQUIRY: Final = InquirySchedule(
    first_s=(90, 180),
    then_every_s=300,
    review_after_s=3600,
    slow_every_s=3600,
    give_up_after_s=30 * 24 * 3600,
)
# A refund takes 5 to 7 working days, and what was never captured goes back after 3 days.
ACCEPTED_INQUIRY: Final = InquirySchedule(
    first_s=(30, 600, 3600),
    then_every_s=6 * 3600,
    review_after_s=12 * 24 * 3600,
    slow_every_s=24 * 3600,
    give_up_after_s=60 * 24 * 3600,
)
P = TypeVar("P", RazorpayOrder, RazorpayOrders)

_CARD: Final = frozenset({"card"})
_UPI: Final = frozenset({"upi.intent", "upi.qr"})
_COLLECT: Final = frozenset({"upi.collect"})
_WALLETS: Final = frozenset({"wallet.paytm", "wallet.phonepe"})
_NEEDED_OF_ALL: Final = ("/customer/email", "/customer/phone")
_NEEDED_OF_COLLECT: Final = ("/browser/ip", "/browser/user_agent")
_NEEDED_OF_CARDS: Final = (
    "/billing/name",
    *_NEEDED_OF_COLLECT,
    "/browser/color_depth",
    "/browser/java_enabled",
    "/browser/javascript_enabled",
    "/browser/screen_height",
    "/browser/screen_width",
    "/browser/time_zone_offset",
)
_REQUIRED: Final = (
    *(Required(pointer=pointer) for pointer in _NEEDED_OF_ALL),
    *(Required(pointer=pointer, methods=_COLLECT) for pointer in _NEEDED_OF_COLLECT),
    *(Required(pointer=pointer, methods=_CARD) for pointer in _NEEDED_OF_CARDS),
)
_AT_HOME: Final = ("upi", "wallet")  # in one currency, whatever else the account takes
_BRANDS: Final = frozenset({"visa", "mastercard", "amex", "rupay", "diners"})


class Razorpay:
    """Razorpay at one account. Options: those of `account_form`, `call_deadline_s`, `finality_s`."""

    name = "razorpay"
    account_form: ClassVar[AccountForm] = accounts.FORM
    list_limits: ClassVar[ListLimits] = listing.LIMITS

    def __init__(
        self, account: ConnectorAccount, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        options = account.options
        self._account = account
        self._now = now
        self._live = account.mode == "live"
        self._terms = forms.RazorpayTerms(
            website=options.get("website"), copy_metadata=options.get("copy_metadata") == accounts.ON
        )
        self._currencies = amounts.taken(options.get("currencies", amounts.HOME))
        deadline_s = float(options.get("call_deadline_s", CALL_DEADLINE_S))
        self._desk = RazorpayDesk(account, call_deadline_s=deadline_s)
        self._finding = OrderFinding(self._desk)
        self._acceptances = RazorpayAcceptances(self._desk, now=now)
        self._list = listing.PaymentList(self._desk, self._finding, now=now)
        self.capabilities = Capabilities(
            methods=_methods(options),
            call_deadline_s=deadline_s,
            finality_s=float(options.get("finality_s", FINALITY_S)),
            inquiry=INQUIRY,
            action_inquiry=ACTION_INQUIRY,
            accepted_inquiry=ACCEPTED_INQUIRY,
            late_inquiry=LATE_INQUIRIES,
            reversal_by_reference=False,
            replays_not_found=MODIFICATIONS - {OperationKind.VOID},  # a void sends nothing
            idempotent_replay_s=REPLAYED_S,
            currencies=self._currencies,
            brands=_BRANDS,
            amounts=amounts.AMOUNTS,
            required=_REQUIRED,
            partial_capture=False,
            split_capture=False,
            void=False,
            needs_action=True,
            three_ds=frozenset({"acquirer"}),
            challenge_ends="itself",
            callbacks=True,
            disputes=Truth.CALLBACK,
            accepts_disputes=True,
        )

    async def send(self, call: Call, *, may_send: MaySend) -> Reply:
        """Authorizes, captures or refunds under our reference, or accepts a dispute; a void waits for the lapse."""
        if call.kind is OperationKind.ACCEPT:
            return await self._acceptances.accept(call, may_send=may_send)
        if call.kind is not OperationKind.VOID and not amounts.exact(
            call.amount_minor, call.currency, self._currencies
        ):
            return Refused(
                "amount_not_exact", "/amount"
            )  # before admission already: see `Capabilities.amounts`
        match call.kind:
            case OperationKind.AUTHORIZE:
                return await self._authorize(call, self._desk.http.sending(may_send), may_send)
            case OperationKind.CAPTURE:
                return await self._capture(call, self._desk.http.sending(may_send), may_send)
            case OperationKind.VOID:
                return _left_to_lapse(call, may_send)
            case OperationKind.REFUND:
                return await self._refund(call, self._desk.http.sending(may_send), may_send)
            case OperationKind.EXPIRE | OperationKind.REVERSE | OperationKind.UNDO | OperationKind.REDO:
                raise Rejected(f"{call.kind} is not sent to this acquirer")  # see `Capabilities`
            case _:
                assert_never(call.kind)

    async def inquire(self, call: Call) -> Inquiry:
        """What became of our reference; see `Connector`."""
        try:
            async with asyncio.timeout(ASKING_S_MAX):
                if call.kind is OperationKind.ACCEPT:
                    return await self._acceptances.inquire(call)
                return await self._inquire(call)
        except TimeoutError:
            raise OutcomeUnknown("timed out") from None

    async def reverse(self, call: Call) -> Reversed:
        """Never called, see `Capabilities`: Razorpay releases nothing when it is asked, and blocks nothing."""
        raise Rejected(f"{call.kind} cannot be undone at Razorpay by its reference")

    async def cancel(self, call: Call) -> Cancellation:
        """Nothing is sent: Razorpay ends by itself, after 10 minutes, what a customer has left alone."""
        return EndsItself()

    def read_callback(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Callback:
        """The callback, once its signature is checked; see `Calling`. There is no time in what Razorpay signs."""
        return callbacks.read(
            headers.get("x-razorpay-signature", ""),
            body,
            secrets=self._account.secrets.get(accounts.WEBHOOK_SECRET, ()),
            identity=self._account.identity or accounts.merchant(self._account),
        )

    async def list_charges(self, *, since: datetime, until: datetime, after: str | None) -> ChargePage:
        """What was paid in that time; see `ChargeListing`."""
        return await self._list.page(since=since, until=until, after=after)

    async def is_ours(self, charge: TheirCharge) -> bool:
        """Whether the payment pays an order of ours; see `ChargeProving`."""
        return await self._list.is_ours(charge)

    async def reference_of(self, charge_id: str) -> str | None:
        """What the payment says it was made for; see `DisputeListing`."""
        return await self._list.reference_of(charge_id)

    async def identify(self) -> Identity:
        """Who the account belongs to; see `Identifying`."""
        return await accounts.identify(self._desk, self._account)

    async def close(self) -> None:
        """Closes the connections."""
        await self._desk.http.close()

    async def _authorize(self, call: Call, sending: Sending, may_send: MaySend) -> Reply:
        """The order is made, or found again, then a payment of it."""
        pointer = forms.too_long(call)
        if pointer is not None:
            return Refused("too_long", pointer)
        if call.payment_method.get("type") in _AT_HOME and call.currency != amounts.HOME:
            return Refused("currency_not_supported", "/currency")
        order = await self._ordered(call, sending)
        if isinstance(order, Refused):
            return order
        answer = await self._move(self._paying(call, order.id), sending, object_id=order.id)
        if answer.status >= 400:
            return self._not_paid(call, answer, order_id=order.id)
        made = _read_made(answer, object_id=order.id)
        return await self._asked(call, made, may_send, order_id=order.id)

    async def _ordered(self, call: Call, sending: Sending) -> RazorpayOrder | Refused:
        """The order of our payment, which is its own. Whatever is wrong with it is `NotSent`: nobody can pay it."""
        (answer,) = await sending.prepare(
            HttpRequest(path=forms.ORDERS, json=forms.order(call, copy_metadata=self._terms.copy_metadata))
        )
        if answer.status < 400:
            return _checked(_read_prepared(answer, RazorpayOrder), call)
        if is_known_receipt(answer):
            known = HttpRequest(method="GET", path=forms.ORDERS, query={"receipt": call.payment_id})
            (answer,) = await sending.prepare(known)
            if answer.status < 400:
                return _checked(_same_receipt(_read_prepared(answer, RazorpayOrders), call), call)
        return refused_before(answer, call)

    def _paying(self, call: Call, order_id: str) -> HttpRequest:
        """The money call. Raises `Rejected` where what it needs is not there."""
        match call.payment_method.get("type", "card"):
            case "upi":
                form = forms.upi(call, order_id=order_id, terms=self._terms)
                return HttpRequest(path=forms.CREATE_UPI, json=form)
            case "wallet":
                form = forms.wallet(call, order_id=order_id, terms=self._terms)
                return HttpRequest(path=forms.CREATE, json=form)
            case _ if call.card is not None:
                form = forms.card(call, call.card, order_id=order_id, terms=self._terms)
                return HttpRequest(path=forms.CREATE, json=form)
            case _:
                raise Rejected("authorize without a card")

    async def _asked(self, call: Call, made: PaymentMade, may_send: MaySend, *, order_id: str) -> Reply:
        """What the customer has to do; where nothing is said of it, what became of the payment."""
        payment_id = made.razorpay_payment_id
        image_url = self._account.code_url(call.payment_id)
        asked = reading.asked(made, call, live=self._live, image_url=image_url, now=self._now())
        if asked is not None:
            return asked
        if made.next:
            log.warning("acquirer_action_unmapped", reference=call.reference)
            return Pending(payment_id, reason="an action that is not passed on")
        found = await self._found_at_once(call, payment_id, may_send)
        if (found.order_id, found.reference) != (order_id, call.reference):
            raise OutcomeUnknown("a payment of another attempt", connector_reference=payment_id)
        return _reply(reading.authorization(found, call, now=self._now()), payment_id)

    def _not_paid(
        self, call: Call, answer: AcquirerResponse, *, order_id: str
    ) -> Declined | Pending | Refused:
        """A payment that was made and failed is what its failure says. Without one the data may be refused."""
        error = _read_problem(answer, object_id=order_id)
        about = error.metadata
        another = about.order_id not in (None, order_id)
        if answer.status == 400 and about.payment_id is not None and not another:
            return reading.failed_at_once(error, call, about.payment_id)
        if answer.status == 400 and about.payment_id is None and is_refusal(error) and not another:
            return refused(call, error)
        raise not_moved(answer, error, reference=call.reference, object_id=order_id)

    async def _capture(self, call: Call, sending: Sending, may_send: MaySend) -> Reply:
        payment_id = forms.authorization_of(call)
        request = HttpRequest(path=f"{_path(payment_id)}/capture", json=forms.capture(call))
        answer = await self._move(request, sending, object_id=payment_id)
        if answer.status < 400:
            found = self._payment(answer, call, id_=payment_id)
            captured = reading.capture(found, call)
            return Pending(payment_id, "not captured") if isinstance(captured, NotKnown) else captured
        error = _read_problem(answer, object_id=payment_id)
        if answer.status != 400 or ours_to_mend(answer, error):
            raise not_moved(answer, error, reference=call.reference, object_id=payment_id)
        return await self._not_captured(call, error, payment_id, may_send)

    async def _not_captured(
        self, call: Call, error: RazorpayError, payment_id: str, may_send: MaySend
    ) -> Reply:
        """Razorpay captures nothing twice: the payment says whether it is captured, or ended otherwise."""
        found = await self._found_at_once(call, payment_id, may_send)
        captured = reading.capture(found, call)
        if isinstance(captured, NotKnown) and is_refusal(error):
            return refused(call, error)
        if isinstance(captured, Declined):
            return refused(call, error)
        return Pending(payment_id, "not captured") if isinstance(captured, NotKnown) else captured

    async def _refund(self, call: Call, sending: Sending, may_send: MaySend) -> Reply:
        payment_id = forms.authorization_of(call)
        form = forms.refund(call, copy_metadata=self._terms.copy_metadata)
        request = self._desk.refund(f"{_path(payment_id)}/refund", form, reference=call.reference)
        answer = await self._move(request, sending, object_id=None)
        if answer.status < 400:
            found = answer.read(RazorpayRefund)
            check_refund(found, call)
            return reading.refund(found, call)
        error = problem(answer)
        if answer.status == 400 and is_refusal(error):
            return await self._not_refunded(call, error, may_send)
        raise not_moved(answer, error, reference=call.reference, object_id=None)

    async def _not_refunded(self, call: Call, error: RazorpayError, may_send: MaySend) -> Reply:
        """Refused, unless it is there: then its first answer was lost, and nothing more can be refunded."""
        try:
            async with asyncio.timeout(max(SEND_S_MAX - may_send.held_s(), 0.0)):
                found = await self._finding.refund(call)
        except TimeoutError:
            raise OutcomeUnknown("timed out") from None
        except ConnectorError as failed:
            raise OutcomeUnknown(failed.message) from None
        return refused(call, error) if found is None else reading.refund(found, call)

    async def _inquire(self, call: Call) -> Inquiry:
        match call.kind:
            case OperationKind.AUTHORIZE:
                found = await self._finding.payment(call)
                return NotKnown() if found is None else await self._standing(call, found)
            case OperationKind.REFUND:
                refund = await self._finding.refund(call)
                return NotKnown() if refund is None else reading.refund(refund, call)
            case OperationKind.VOID:
                return reading.void(await self._finding.by_id(call, forms.authorization_of(call)), call)
            case _:
                found = await self._finding.by_id(call, forms.authorization_of(call))
                return reading.capture(found, call)

    async def _standing(self, call: Call, found: RazorpayPayment) -> Inquiry:
        fact = reading.authorization(found, call, now=self._now())
        if isinstance(fact, Approved) and found.captured and (found.amount_refunded > 0 or call.approved):
            return reading.refunded(fact, await self._finding.refunds(call, found.id))
        return fact

    async def _found_at_once(self, call: Call, payment_id: str, may_send: MaySend) -> RazorpayPayment:
        """The payment, asked within the same `send`: whatever fails then is unknown."""
        left_s = SEND_S_MAX - may_send.held_s()
        try:
            return await self._finding.by_id(call, payment_id, deadline_s=max(left_s, 0.0))
        except ConnectorError as error:
            raise OutcomeUnknown(error.message, connector_reference=payment_id) from None

    async def _move(
        self, request: HttpRequest, sending: Sending, *, object_id: str | None
    ) -> AcquirerResponse:
        """The answer to the money call. Where that is unknown, the object it acts on is named."""
        try:
            return await sending.move(request)
        except OutcomeUnknown as unknown:
            raise OutcomeUnknown(unknown.message, connector_reference=object_id) from None

    def _payment(self, answer: AcquirerResponse, call: Call, *, id_: str) -> RazorpayPayment:
        """The payment, once it is known to be the one that was asked for. Raises `OutcomeUnknown`."""
        try:
            found = answer.read(RazorpayPayment)
        except OutcomeUnknown as unknown:
            raise OutcomeUnknown(unknown.message, connector_reference=id_) from None
        if found.id != id_ or found.currency != call.currency:
            raise OutcomeUnknown("another payment than was asked about", connector_reference=id_)
        return found


def _methods(options: Mapping[str, str]) -> frozenset[str]:
    """Cards and collect requests only where the account has them: Razorpay, and NPCI, allow them to few."""
    cards = _CARD if options.get("cards") == accounts.ON else frozenset()
    collect = _COLLECT if options.get("upi_collect") == accounts.ON else frozenset()
    return _UPI | _WALLETS | cards | collect


def _left_to_lapse(call: Call, may_send: MaySend) -> Accepted:
    """A release of our own: nothing is sent, since Razorpay has no call for it; what lapses is asked about."""
    payment_id = forms.authorization_of(call)
    if not may_send():
        raise NotSent("the right to send has lapsed")
    return Accepted(payment_id)


def _path(payment_id: str) -> str:
    return f"{forms.PAYMENTS}/{segment(payment_id)}"


def _read_prepared(answer: AcquirerResponse, model: type[P]) -> P:
    try:
        return answer.read(model)
    except OutcomeUnknown as unknown:
        raise NotSent(f"before the money call: {unknown.message}") from None


def _read_made(answer: AcquirerResponse, *, object_id: str) -> PaymentMade:
    try:
        return answer.read(PaymentMade)
    except OutcomeUnknown as unknown:
        raise OutcomeUnknown(unknown.message, connector_reference=object_id) from None


def _read_problem(answer: AcquirerResponse, *, object_id: str) -> RazorpayError:
    try:
        return problem(answer)
    except OutcomeUnknown as unknown:
        raise OutcomeUnknown(unknown.message, connector_reference=object_id) from None


def _checked(order: RazorpayOrder, call: Call) -> RazorpayOrder:
    """The order that was asked for. Raises `NotSent` for another one, and for one that is paid already."""
    same = (order.receipt, order.amount, order.currency) == (
        call.payment_id,
        call.amount_minor,
        call.currency,
    )
    if not same or order.amount_paid:
        log.error("acquirer_order_of_another_payment", reference=call.reference, status=order.status)
        raise NotSent("before the money call: another order than was asked for")
    return order


def _same_receipt(listed: RazorpayOrders, call: Call) -> RazorpayOrder:
    """The one with our receipt, which others may contain. Raises `NotSent` where there is none, or several."""
    ours = [one for one in listed.items if one.receipt == call.payment_id]
    if len(ours) != 1:
        raise NotSent("before the money call: its order is not found")
    return ours[0]


def _reply(found: reading.Standing, payment_id: str) -> Reply:
    """What an answer to the money call is: that it was given back already is asked about once more."""
    return Pending(payment_id, reason="reversed") if isinstance(found, Reversed) else found

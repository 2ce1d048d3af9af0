"""Stripe: cards by PaymentIntents.

A payment is an intent that we create unconfirmed and confirm once; it is found, cancelled and refunded by its id. An
intent that is cancelled can never be confirmed, so a cancellation blocks what may still be on its way.
Source: docs.stripe.com/api, version 2026-08-26.dahlia. Read, and nothing of it tried against the real service.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import ClassVar, Final, assert_never

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
from payonce.connectors.http import AcquirerResponse, HttpRequest, Sending, segment
from payonce.connectors.listing import ChargePage, ListLimits
from payonce.connectors.stripe import account as accounts
from payonce.connectors.stripe import amounts, callbacks, codes, forms, listing, marks, reading
from payonce.connectors.stripe.accepting import StripeAcceptances
from payonce.connectors.stripe.desk import (
    StripeDesk,
    not_moved,
    not_prepared,
    problem,
    within,
)
from payonce.connectors.stripe.disputing import Disputing
from payonce.connectors.stripe.finding import Finding
from payonce.connectors.stripe.keeping import Keeping
from payonce.connectors.stripe.listing import ChargeList
from payonce.connectors.stripe.objects import Intent, Method, StripeRefund
from payonce.connectors.stripe.refusing import (
    CARD_ERROR,
    INVALID,
    raise_unless_ended,
    refused,
    turned_down_before,
)
from payonce.domain.errors import ConnectorError, NotSent, OutcomeUnknown, Rejected
from payonce.domain.facts import (
    ActionRequired,
    Approved,
    Cancellation,
    DeclineCode,
    Declined,
    Inquiry,
    NotKnown,
    Pending,
    Refused,
    Reply,
    Reversed,
)
from payonce.domain.operations import OperationKind
from payonce.domain.sca import BY_ACQUIRER, BY_MERCHANT
from payonce.domain.schedules import InquirySchedule
from payonce.domain.truth import MODIFICATIONS, Truth

log = structlog.get_logger(__name__)

CALL_DEADLINE_S: Final = 20.0
FINALITY_S: Final = 300.0  # of authorizations: a guess, on the long side, and then the intent is cancelled
KEYS_KEPT_S: Final = 24 * 3600.0  # at least. Source: docs.stripe.com/api/idempotent_requests
INQUIRY: Final = InquirySchedule(
    first_s=(1, 2, 4, 8),
    then_every_s=15,
    review_after_s=600,
    slow_every_s=3600,
    give_up_after_s=30 * 24 * 3600,
)
# While the customer is at the issuer's page: a webhook says sooner what they did there.
ACTION_INQUIRY: Final = InquirySchedule(
    first_s=(30, 60),
    then_every_s=120,
    review_after_s=3600,
    slow_every_s=3600,
    give_up_after_s=30 * 24 * 3600,
)


class Stripe:
    """Stripe at one account. Options: `multicapture`, `copy_metadata`, `call_deadline_s`, `finality_s`."""

    name = "stripe"
    account_form: ClassVar[AccountForm] = accounts.FORM
    list_limits: ClassVar[ListLimits] = listing.LIMITS

    def __init__(
        self, account: ConnectorAccount, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._account = account
        self._several = account.options.get("multicapture") == accounts.ON
        self._copy = account.options.get("copy_metadata") == accounts.ON
        deadline_s = float(account.options.get("call_deadline_s", CALL_DEADLINE_S))
        self._desk = StripeDesk(account, call_deadline_s=deadline_s)
        self._keeping = Keeping(self._desk)
        self._finding = Finding(self._desk, create=self._create_again, now=now)
        self._disputing = Disputing(self._desk, now=now)
        self._acceptances = StripeAcceptances(self._desk, now=now)
        self._listing = ChargeList(self._desk, self._finding, self._disputing)
        self.capabilities = Capabilities(
            methods=frozenset({"card"}),
            call_deadline_s=deadline_s,
            finality_s=float(account.options.get("finality_s", FINALITY_S)),
            inquiry=INQUIRY,
            reversal_by_reference=True,
            reverses=frozenset({OperationKind.AUTHORIZE}),
            replays_not_found=MODIFICATIONS,  # nothing shuts out a late one, and the same key answers as at first
            idempotent_replay_s=KEYS_KEPT_S,
            currencies=amounts.CURRENCIES,
            amounts=amounts.AMOUNTS,
            split_capture=self._several,
            callbacks=True,
            disputes=Truth.INQUIRY,
            accepts_disputes=True,
            needs_action=True,
            three_ds=frozenset({BY_ACQUIRER, BY_MERCHANT}),
            challenge_ends="cancelled",
            stored_credentials=frozenset({"number", "token"}),
            action_inquiry=ACTION_INQUIRY,
        )

    async def send(self, call: Call, *, may_send: MaySend) -> Reply:
        """Authorizes, captures, voids or refunds under our reference, or accepts a dispute; see `Connector`."""
        if call.kind is OperationKind.ACCEPT:
            return await self._acceptances.accept(call, may_send=may_send)
        sending = self._desk.http.sending(may_send)
        if call.kind is not OperationKind.VOID and not amounts.exact(call.amount_minor, call.currency):
            return Refused(
                "amount_not_exact", "/amount"
            )  # before admission already: see `Capabilities.amounts`
        match call.kind:
            case OperationKind.AUTHORIZE:
                return await self._authorize(call, sending)
            case OperationKind.CAPTURE:
                room = await self._room(call, sending) if self._several else {}
                form = forms.capture(call, several_captures=self._several, room=room)
                return await self._modify(call, sending, "capture", form)
            case OperationKind.VOID:
                return await self._modify(call, sending, "cancel", forms.cancellation(forms.VOIDED))
            case OperationKind.REFUND:
                return await self._refund(call, sending)
            case OperationKind.EXPIRE | OperationKind.REVERSE | OperationKind.UNDO | OperationKind.REDO:
                raise Rejected(
                    f"{call.kind} is not sent to this acquirer"
                )  # see `Capabilities`, and `reverse`
            case _:
                assert_never(call.kind)

    async def inquire(self, call: Call) -> Inquiry:
        """What became of our reference; see `Connector`."""
        if call.kind is OperationKind.ACCEPT:
            return await within(self._acceptances.inquire(call))
        return await within(self._inquire(call))

    async def reverse(self, call: Call) -> Reversed:
        """The intent is cancelled, or what it took is refunded; see `Connector`."""
        return await within(self._reverse(call))

    async def cancel(self, call: Call) -> Cancellation:
        """Nobody can pay the intent any more, or what had become of it before; see `Asking`."""
        return await within(self._end(call))

    def read_callback(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Callback:
        """The callback, once its signature is checked; see `Calling`."""
        return callbacks.read(
            headers.get("stripe-signature", ""),
            body,
            secrets=self._account.secrets.get(accounts.WEBHOOK_SECRET, ()),
            live=self._desk.live,
            identity=self._account.identity,
            now=now,
        )

    async def locate(self, reference: str) -> str | None:
        """Our reference of what a dispute or a fraud warning is about; see `Locating`."""
        return await within(self._disputing.locate(reference))

    async def list_charges(self, *, since: datetime, until: datetime, after: str | None) -> ChargePage:
        """What Stripe charged in that time; see `ChargeListing`."""
        return await within(self._listing.page(since=since, until=until, after=after))

    async def delete_token(self, token: Mapping[str, str]) -> None:
        """The card is detached from its customer, and cannot be paid with again; see `Storing`."""
        await within(self._keeping.detach(token))

    async def identify(self) -> Identity:
        """Who Stripe says that we are; see `Identifying`."""
        return await accounts.identify(self._desk, self._account)

    async def close(self) -> None:
        """Closes the connections."""
        await self._desk.http.close()

    async def _authorize(self, call: Call, sending: Sending) -> Reply:
        """The intent and the card are made side by side, then the one is confirmed with the other.

        A card that is to be kept has a customer first, since an intent is made with it; one that is kept has both.
        """
        if call.token is not None:
            return await self._pay_by_token(call, call.token, sending)
        if call.card is None:
            raise Rejected("authorize without a card")
        if (pointer := forms.not_taken(call)) is not None:
            return Refused("three_d_secure_not_taken", pointer)
        method = self._desk.post(
            forms.METHODS, forms.method(call, call.card), reference=call.reference, purpose="pre-2"
        )
        customer_id = None
        if call.keeps is not None:
            (kept_with,) = await sending.prepare(self._keeping.customer(call))
            if kept_with.status >= 400:
                return turned_down_before(kept_with, call)
            customer_id = self._keeping.prepared(kept_with)
        made, entered = await sending.prepare(self._create(call, customer_id), method)
        for answer in (entered, made):
            if answer.status >= 400:
                return turned_down_before(answer, call)
        intent, method_id = self._before(made, call, id_=None), entered.read(Method)
        self._prepared_in_mode(method_id.livemode)
        return await self._confirm(call, sending, intent.id, method_id.id)

    async def _pay_by_token(self, call: Call, token: Mapping[str, str], sending: Sending) -> Reply:
        """An intent of the customer that the card is kept with, confirmed with that card."""
        customer_id, method_id = token.get(reading.CUSTOMER), token.get(reading.METHOD)
        if customer_id is None or method_id is None:
            raise Rejected("a token that is not of this acquirer")
        (made,) = await sending.prepare(self._create(call, customer_id))
        if made.status >= 400:
            return turned_down_before(made, call)
        return await self._confirm(call, sending, self._before(made, call, id_=None).id, method_id)

    async def _confirm(self, call: Call, sending: Sending, intent_id: str, method_id: str) -> Reply:
        form = forms.confirmation(call, method_id)
        answer = await self._move(call, sending, f"{_path(intent_id)}/confirm", form, object_id=intent_id)
        return await self._confirmed(call, answer, intent_id=intent_id)

    async def _confirmed(self, call: Call, answer: AcquirerResponse, *, intent_id: str) -> Reply:
        if answer.status >= 400:
            return self._not_confirmed(call, answer, intent_id=intent_id)
        found = self._intent(answer, call, id_=intent_id)
        if found.status == "requires_action":
            return await self._challenged(call, found)
        return _reply(reading.authorization(found, call), intent_id)

    def _not_confirmed(
        self, call: Call, answer: AcquirerResponse, *, intent_id: str
    ) -> Declined | Pending | Refused:
        """A card error about our very intent is a decline; an intent that was cancelled before is what it is."""
        error = problem(answer)
        about = error.payment_intent
        same = about is not None and about.id == intent_id and about.livemode is self._desk.live
        if same and about is not None and answer.status == 402 and error.type == CARD_ERROR:
            return reading.declined(error, intent_id=intent_id, charge=about.charge)
        if same and about is not None and answer.status == 400 and about.status == "canceled":
            return Pending(intent_id, reason="reversed")
        pointer = codes.refused(error)
        untouched = about is None or (same and about.latest_charge is None and about.status in _UNPAID)
        if answer.status == 400 and error.type == INVALID and pointer is not None and untouched:
            return refused(call, error, pointer)
        raise not_moved(answer, error, reference=call.reference, object_id=intent_id)

    async def _challenged(self, call: Call, intent: Intent) -> ActionRequired | Declined | Pending:
        """The customer is sent to the issuer's page, where there is one and they can come back from it."""
        asked = reading.asked(intent, live=self._desk.live)
        return await self._leave_unauthenticated(call, intent.id) if asked is None else asked

    async def _leave_unauthenticated(self, call: Call, intent_id: str) -> Declined | Pending:
        """Nobody can authenticate: the intent is closed, and the issuer's wish is a decline."""
        try:
            closed = await self._cancel(call, intent_id, forms.NOT_AUTHENTICATED)
        except ConnectorError:
            return Pending(intent_id, reason="requires_action")
        if closed.status != "canceled":
            return Pending(intent_id, reason="requires_action")
        return Declined(DeclineCode.AUTHENTICATION_REQUIRED, connector_reference=intent_id)

    async def _room(self, call: Call, sending: Sending) -> dict[str, str]:
        """What makes room for the capture's mark on its intent; what is wrong with that is `NotSent`."""
        intent_id = forms.authorization_of(call)
        (answer,) = await sending.prepare(HttpRequest(method="GET", path=_path(intent_id)))
        if answer.status >= 400:
            raise not_prepared(answer, reference=call.reference)
        return marks.made_room(self._before(answer, call, id_=intent_id).metadata)

    async def _modify(
        self, call: Call, sending: Sending, action: str, form: forms.Form
    ) -> Approved | Pending | Refused:
        """A capture or a void of the intent."""
        intent_id = forms.authorization_of(call)
        answer = await self._move(call, sending, f"{_path(intent_id)}/{action}", form, object_id=intent_id)
        if answer.status < 400:
            found = self._intent(answer, call, id_=intent_id)
            return _reply_of(self._modified(found, call, answered=True), intent_id)
        error = problem(answer)
        about = error.payment_intent
        if about is not None and about.id == intent_id and about.status == "canceled":
            if call.kind is OperationKind.VOID:
                return Pending(intent_id, reason="canceled already")
            return refused(call, error, "")
        raise_unless_ended(answer, error, call, object_id=intent_id)
        return refused(call, error, codes.refused(error) or "")

    def _modified(self, found: Intent, call: Call, *, answered: bool) -> Approved | Pending | NotKnown:
        if call.kind is OperationKind.CAPTURE:
            return reading.capture(found, call, several=self._several, answered=answered)
        return reading.void(found, call, answered=answered)

    async def _refund(self, call: Call, sending: Sending) -> Reply:
        form = forms.refund(call, copy_metadata=self._copy)
        answer = await self._move(call, sending, forms.REFUNDS, form, object_id=None)
        if answer.status < 400:
            found = answer.read(StripeRefund)
            reading.check_refund(found, call)
            return reading.refund(found, call)
        error = problem(answer)
        raise_unless_ended(answer, error, call, object_id=None)
        return refused(call, error, codes.refused(error) or "")

    async def _inquire(self, call: Call) -> Inquiry:
        match call.kind:
            case OperationKind.AUTHORIZE:
                return await self._inquire_authorization(call)
            case OperationKind.REFUND:
                found = await self._finding.refund(call)
                return NotKnown() if found is None else reading.refund(found, call)
            case _:
                intent = await self._finding.by_id(call, forms.authorization_of(call))
                return self._modified(intent, call, answered=False)

    async def _inquire_authorization(self, call: Call) -> Inquiry:
        intent = await self._finding.intent(call)
        if intent.status == "requires_action":
            return await self._challenged(call, intent)
        fact = reading.authorization(intent, call)
        if isinstance(fact, Declined):
            return await self._closed(call, intent, fact)
        return await self._disputing.told(await self._with_refunds(call, intent, fact), call, intent)

    async def _with_refunds(self, call: Call, intent: Intent, fact: reading.Standing) -> reading.Standing:
        # Of a refund that failed the charge says nothing any more.
        given_back = call.approved or intent.charge is None or intent.charge.amount_refunded > 0
        asks = isinstance(fact, Reversed) or (isinstance(fact, Approved) and given_back)
        if asks and intent.amount_received:
            refunds = await self._finding.refunds(call, intent.id)
            return reading.after_refunds(fact, intent, refunds, call)
        return fact

    async def _reverse(self, call: Call) -> Reversed:
        if call.kind is not OperationKind.AUTHORIZE:
            raise OutcomeUnknown(f"{call.kind} cannot be undone at Stripe")
        intent = await self._finding.intent(call)
        if intent.status not in ("canceled", "succeeded"):
            intent = await self._cancel(call, intent.id, forms.REVERSED)
        if intent.status == "canceled" and not intent.amount_received:
            return Reversed()
        if intent.status in ("canceled", "succeeded"):
            return await self._give_back(call, intent)
        raise OutcomeUnknown("the intent is not cancelled", connector_reference=intent.id)

    async def _end(self, call: Call) -> Cancellation:
        """Documented: once an intent is cancelled, every later operation on it fails.

        One that is authorized meanwhile is let go by that: nothing is held any more.
        """
        intent = await self._finding.intent(call)
        if intent.status in _OPEN:
            intent = await self._cancel(call, intent.id, forms.GIVEN_UP)
        found = reading.ended(intent, call)
        return await self._closed(call, intent, found) if isinstance(found, Declined) else found

    async def _closed(self, call: Call, intent: Intent, failed: Declined) -> Declined | Pending:
        """The decline, once nobody can confirm its intent again.

        Whose customer was at the issuer's page has the intent's secret from the address that led them back, and needs
        no more than that and the merchant's publishable key. One that they confirmed meanwhile is asked about again.
        """
        if not call.asked or intent.status == "canceled":
            return failed
        try:
            closed = await self._cancel(call, intent.id, forms.NOT_AUTHENTICATED)
        except ConnectorError:
            return Pending(intent.id, reason="failed, and not cancelled")
        return failed if closed.status == "canceled" else Pending(intent.id, reason="failed, and open again")

    async def _give_back(self, call: Call, intent: Intent) -> Reversed:
        """What the intent took is refunded, once, however often this is asked.

        A refund that may still fail, whoever made it, has given nothing back yet.
        """
        refunds = await self._finding.refunds(call, intent.id)
        rest = intent.amount_received - sum(one.amount for one in refunds if one.status in _GIVING_BACK)
        if rest > 0 and not any(reading.is_reversal(one, call) for one in refunds):
            form = forms.reversal(call, intent_id=intent.id, amount=rest)
            request = self._desk.post(forms.REFUNDS, form, reference=call.reference, purpose="reverse")
            made = await self._desk.ask(request, StripeRefund, reference=call.reference)
            if not reading.is_reversal(made, call):
                raise OutcomeUnknown("a refund of another attempt", connector_reference=intent.id)
            refunds = [*refunds, made]
        if not reading.is_given_back(intent, refunds):
            raise OutcomeUnknown("the refund has not succeeded", connector_reference=intent.id)
        return Reversed()

    async def _cancel(self, call: Call, intent_id: str, reason: str) -> Intent:
        """The intent after its cancellation, which is repeated without a key: a key would repeat an old error."""
        request = HttpRequest(path=f"{_path(intent_id)}/cancel", form=forms.cancellation(reason))
        found = await self._desk.ask(request, Intent, reference=call.reference)
        self._desk.check_mode(found.livemode)
        reading.check(found, call, id_=intent_id)
        return found

    async def _move(
        self, call: Call, sending: Sending, path: str, form: forms.Form, *, object_id: str | None
    ) -> AcquirerResponse:
        """The answer to the money call. Where that is unknown, the object it acts on is named."""
        request = self._desk.post(path, form, reference=call.reference, purpose="send")
        try:
            return await sending.move(request)
        except OutcomeUnknown as unknown:
            raise OutcomeUnknown(unknown.message, connector_reference=object_id) from None

    def _create(self, call: Call, customer_id: str | None = None) -> HttpRequest:
        """The intent, under the attempt's key: the same again finds the same."""
        form = forms.intent(
            call, several_captures=self._several, copy_metadata=self._copy, customer=customer_id
        )
        return self._desk.post(forms.INTENTS, form, reference=call.reference, purpose="pre")

    async def _create_again(self, call: Call) -> HttpRequest:
        """As it was sent. Without the token that it was paid with, its key does not fit: then the list finds it."""
        return self._create(call, await self._keeping.customer_again(call))

    def _before(self, answer: AcquirerResponse, call: Call, *, id_: str | None) -> Intent:
        """The intent before the money call. What is wrong with it is `NotSent`: nothing has moved."""
        try:
            intent = self._intent(answer, call, id_=id_)
        except OutcomeUnknown as unknown:
            raise NotSent(f"before the money call: {unknown.message}") from None
        return intent

    def _intent(self, answer: AcquirerResponse, call: Call, *, id_: str | None) -> Intent:
        """The intent, once it is known to be the one that was asked for. Raises `OutcomeUnknown`."""
        try:
            found = answer.read(Intent)
            self._desk.check_mode(found.livemode)
            reading.check(found, call, id_=id_)
        except OutcomeUnknown as unknown:
            raise OutcomeUnknown(unknown.message, connector_reference=id_) from None
        return found

    def _prepared_in_mode(self, livemode: bool) -> None:
        try:
            self._desk.check_mode(livemode)
        except OutcomeUnknown as unknown:
            raise NotSent(f"before the money call: {unknown.message}") from None


_OPEN: Final = ("requires_action", "requires_confirmation")  # after a failure it is decided
_UNPAID: Final = ("requires_payment_method", "requires_confirmation")
_GIVING_BACK: Final = ("succeeded", "pending", "requires_action")


def _reply(found: reading.Standing, intent_id: str) -> Reply:
    """What an answer to a confirmation is: it was confirmed, so that it is not known says nothing."""
    if isinstance(found, Reversed):
        return Pending(intent_id, reason="reversed")
    return Pending(intent_id, reason="not confirmed") if isinstance(found, NotKnown) else found


def _reply_of(found: Approved | Pending | NotKnown, intent_id: str) -> Approved | Pending:
    return Pending(intent_id, reason="not done") if isinstance(found, NotKnown) else found


def _path(intent_id: str) -> str:
    return f"{forms.INTENTS}/{segment(intent_id)}"

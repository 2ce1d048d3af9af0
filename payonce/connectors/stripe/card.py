"""Cards at Stripe.

A card is made a PaymentMethod and an intent is created, side by side: neither moves anything. Confirming the intent
is the one call that does. What became of an attempt is what its intent says.

Not tried against the real service: see `docs/acquirers/stripe.md` for what is read and what is proven.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import ClassVar, Final, Literal

import structlog

from payonce.connectors.base import (
    AccountForm,
    Call,
    Callback,
    Capabilities,
    ConnectorAccount,
    Identity,
    MaySend,
    OptionField,
    SecretField,
)
from payonce.connectors.http import AcquirerResponse, HttpRequest
from payonce.connectors.requests import FormValue
from payonce.connectors.stripe import callbacks, finding, outcomes
from payonce.connectors.stripe.amounts import AMOUNTS, CURRENCIES, to_stripe
from payonce.connectors.stripe.answers import Intent, StripeAccount, StripeMethod, StripeRefund
from payonce.connectors.stripe.wire import (
    EXPANDED,
    METADATA,
    MULTICAPTURE,
    REFERENCE,
    REVERSAL,
    SECRET_KEY,
    WEBHOOK_SECRET,
    StripeWire,
    intent_path,
    is_decline,
    is_ok,
    mark_of,
    problem,
)
from payonce.domain.cards import Card
from payonce.domain.errors import OutcomeUnknown, Rejected
from payonce.domain.facts import DeclineCode, Declined, Inquiry, NotKnown, Pending, Refused, Reply, Reversed
from payonce.domain.operations import OperationKind
from payonce.domain.personal import Customer, Party
from payonce.domain.schedules import InquirySchedule

log = structlog.get_logger(__name__)

CALL_DEADLINE_S: Final = 20.0
FINALITY_S: Final = 300.0
INQUIRY: Final = InquirySchedule(
    first_s=(2, 4, 8, 16, 30, 60),
    then_every_s=120,
    review_after_s=4 * 3600,
    slow_every_s=3600,
    give_up_after_s=30 * 24 * 3600,
)
_REFUSALS: Final = {
    "HTTP 401": "Stripe does not know this key: it is wrong, was revoked, or has expired.",
    "HTTP 403": "Stripe does not let this key read its own account: give it that permission.",
}
BRANDS: Final = frozenset({"visa", "mastercard", "amex", "discover", "jcb", "diners", "unknown"})


class StripeCard:
    """Stripe's cards at one account. Options: `multicapture`, `metadata`, `call_deadline_s`, `finality_s`."""

    name = "stripe"
    account_form: ClassVar[AccountForm] = AccountForm(
        secrets=(
            SecretField(SECRET_KEY, "the secret key, or a restricted one (sk_… or rk_…)"),
            SecretField(
                WEBHOOK_SECRET,
                "the signing secret of the webhook endpoint (whsec_…)",
                verifies_callbacks=True,
            ),
        ),
        options=(
            OptionField(MULTICAPTURE, "on, where Stripe has switched on several captures"),
            OptionField(METADATA, "on, where merchants' metadata is to go to Stripe"),
        ),
        base_url="https://api.stripe.com",
    )

    def __init__(self, account: ConnectorAccount) -> None:
        for name in (MULTICAPTURE, METADATA):
            if account.options.get(name, "off") not in ("on", "off"):
                raise ValueError(f"the option {name} is on or off")
        deadline_s = float(account.options.get("call_deadline_s", CALL_DEADLINE_S))
        self._account = account
        self._wire = StripeWire(account, call_deadline_s=deadline_s)
        self.capabilities = Capabilities(
            methods=frozenset({"card"}),
            call_deadline_s=deadline_s,
            finality_s=float(account.options.get("finality_s", FINALITY_S)),
            inquiry=INQUIRY,
            reversal_by_reference=True,
            reverses=frozenset({OperationKind.AUTHORIZE}),
            currencies=CURRENCIES,
            brands=BRANDS,
            amounts=AMOUNTS,
            split_capture=self._wire.several,
            callbacks=bool(account.secret(WEBHOOK_SECRET)),
        )

    async def send(self, call: Call, *, may_send: MaySend) -> Reply:
        """Authorizes, captures, voids or refunds under our reference; see `Connector`."""
        match call.kind:
            case OperationKind.AUTHORIZE:
                return await self._authorize(call, may_send)
            case OperationKind.CAPTURE:
                return await self._capture(call, may_send)
            case OperationKind.VOID:
                return await self._void(call, may_send)
            case OperationKind.REFUND:
                return await self._refund(call, may_send)
            case _:
                raise Rejected(f"{call.kind} is not sent to Stripe")  # see `reverse`

    async def inquire(self, call: Call) -> Inquiry:
        """What became of our reference; see `Connector`. A challenge is closed: nobody could pass it yet."""
        match call.kind:
            case OperationKind.AUTHORIZE:
                return await self._authorization(call)
            case OperationKind.REFUND:
                return await self._refund_of(call)
            case _:
                intent = await finding.authorization_of(self._wire, call)
                if call.kind is OperationKind.VOID:
                    return outcomes.voided(intent, call)
                return outcomes.captured(intent, call, several=self._wire.several)

    async def reverse(self, call: Call) -> Reversed:
        """The intent is canceled, after which Stripe refuses everything about it, or refunded; see `Connector`."""
        if call.kind is not OperationKind.AUTHORIZE:
            raise Rejected(f"a {call.kind} cannot be reversed at Stripe")
        intent = await finding.intent_of(self._wire, call)
        if intent.status == "succeeded":
            return await self._give_back(call, intent)
        if intent.status != "canceled":
            await self._cancel(intent, call, reason=outcomes.ABANDONED)
        return Reversed()

    def read_callback(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Callback:
        """The callback, once its signature is checked; see `Calling`."""
        secrets = self._account.secrets.get(WEBHOOK_SECRET, ())
        return callbacks.read(headers, body, secrets=secrets, livemode=self._account.mode == "live", now=now)

    async def identify(self) -> Identity:
        """Which of Stripe's accounts the key belongs to, and in which mode; see `Identifying`."""
        try:
            request = HttpRequest(method="GET", path="/v1/account")
            response = await self._wire.http.call(request, may_send=None)
        except Rejected as refused:
            raise Rejected(_REFUSALS.get(refused.message, refused.message)) from None
        if not is_ok(response):
            raise OutcomeUnknown(f"HTTP {response.status}")
        account = response.read(StripeAccount)
        waiting = "Stripe says that the account cannot take charges yet."
        notes = (waiting,) if account.charges_enabled is False else ()
        return Identity(id=account.id, mode=_mode_of(self._account.secret(SECRET_KEY)), notes=notes)

    async def close(self) -> None:
        """Closes the connections."""
        await self._wire.http.close()

    async def _authorize(self, call: Call, may_send: MaySend) -> Reply:
        if call.card is None:
            raise Rejected("authorize without a card")
        sending = self._wire.http.sending(may_send)
        method, created = await sending.prepare(
            self._method(call, call.card), finding.create(self._wire, call)
        )
        for response in (method, created):
            if not is_ok(response):
                return _turned_down_before(response)
        intent = self._wire.own(created.read(Intent), call)
        form: dict[str, FormValue] = {
            "payment_method": method.read(StripeMethod).id,
            "expand": list(EXPANDED),
        }
        request = self._wire.keyed(intent_path(intent.id, "/confirm"), form, call, "send")
        try:
            return await self._confirmed(await sending.move(request), call, intent.id)
        except OutcomeUnknown as unknown:
            raise OutcomeUnknown(unknown.message, connector_reference=intent.id) from None

    async def _confirmed(self, response: AcquirerResponse, call: Call, intent_id: str) -> Reply:
        """What confirming the intent did."""
        if not is_ok(response):
            error = problem(response)
            about = error.payment_intent
            if is_decline(response, error) and about is not None and about.id == intent_id:
                return outcomes.declined(error, about)
            raise OutcomeUnknown(
                f"HTTP {response.status}"
            )  # a canceled intent, an unknown member: it is asked for
        intent = self._wire.own(response.read(Intent), call)
        if intent.id != intent_id or intent.metadata.get(REFERENCE) != call.reference:
            raise OutcomeUnknown("an answer to another request")
        if intent.status == "requires_action":
            return await self._leave_challenge(intent, call)
        found = outcomes.authorized(intent)
        return Pending(intent.id) if isinstance(found, NotKnown | Reversed) else found

    async def _leave_challenge(self, intent: Intent, call: Call) -> Declined | Pending:
        """Challenges come with the next issue: until then nobody is to pass one."""
        try:
            await self._cancel(intent, call, reason=outcomes.REQUESTED)
        except OutcomeUnknown:
            return Pending(intent.id, reason="challenge")
        return Declined(DeclineCode.AUTHENTICATION_REQUIRED, intent.id)

    async def _capture(self, call: Call, may_send: MaySend) -> Reply:
        amount = to_stripe(call.amount_minor, call.currency)
        form: dict[str, FormValue] = {
            "amount_to_capture": amount,
            "metadata": {mark_of(call): str(amount)},
            "expand": list(EXPANDED),
            "final_capture": call.final if self._wire.several else None,
        }
        response = await self._move(intent_path(_intent_id(call), "/capture"), form, call, may_send)
        if not is_ok(response):
            return _turned_down(response)
        found = outcomes.captured(self._own_answer(response, call), call, several=self._wire.several)
        return Pending() if isinstance(found, NotKnown | Reversed) else found

    async def _void(self, call: Call, may_send: MaySend) -> Reply:
        form = {"cancellation_reason": outcomes.REQUESTED}
        response = await self._move(intent_path(_intent_id(call), "/cancel"), form, call, may_send)
        if not is_ok(response):
            about = problem(response).payment_intent
            if about is None or about.id != call.authorization_reference:
                raise OutcomeUnknown(f"HTTP {response.status}")
            found = outcomes.voided(self._wire.own(about, call), call)
        else:
            found = outcomes.voided(self._own_answer(response, call), call)
        return Pending() if isinstance(found, NotKnown | Reversed) else found

    async def _refund(self, call: Call, may_send: MaySend) -> Reply:
        form: dict[str, FormValue] = {
            "payment_intent": _intent_id(call),
            "amount": to_stripe(call.amount_minor, call.currency),
            "metadata": {**self._wire.copied(call.operation_metadata), REFERENCE: call.reference},
        }
        response = await self._move("/v1/refunds", form, call, may_send)
        if not is_ok(response):
            return _turned_down(response)
        refund = response.read(StripeRefund)
        if (refund.metadata or {}).get(REFERENCE) != call.reference or refund.payment_intent != _intent_id(
            call
        ):
            raise OutcomeUnknown("an answer to another request")
        return outcomes.refunded(refund, call)

    async def _authorization(self, call: Call) -> Inquiry:
        intent = await finding.intent_of(self._wire, call)
        if intent.status == "requires_action":
            return await self._leave_challenge(intent, call)
        charge = intent.latest_charge
        refunded = not isinstance(charge, str) and charge is not None and charge.amount_refunded > 0
        refunds = await finding.refunds_of(self._wire, intent.id) if refunded else ()
        return outcomes.authorized(intent, refunds)

    async def _refund_of(self, call: Call) -> Inquiry:
        """Among all of the intent's by our reference, read whole: one that is missing is proof."""
        if call.authorization_reference is None:
            raise OutcomeUnknown("the authorization has no reference of Stripe's")
        for refund in await finding.refunds_of(self._wire, call.authorization_reference):
            if (refund.metadata or {}).get(REFERENCE) == call.reference:
                return outcomes.refunded(refund, call)
        return NotKnown()

    async def _give_back(self, call: Call, intent: Intent) -> Reversed:
        """All that was received is refunded, once: a refund of ours that is there already is looked for first."""
        for refund in await finding.refunds_of(self._wire, intent.id):
            if (refund.metadata or {}).get(REVERSAL) == call.reference:
                return _given_back(refund)
        form: dict[str, FormValue] = {"payment_intent": intent.id, "metadata": {REVERSAL: call.reference}}
        response = await self._wire.ask(self._wire.keyed("/v1/refunds", form, call, "reverse"))
        if not is_ok(response):
            raise OutcomeUnknown(f"HTTP {response.status}: {problem(response).code}")
        return _given_back(response.read(StripeRefund))

    async def _cancel(self, intent: Intent, call: Call, *, reason: str) -> None:
        """The intent is canceled, or was. Raises `OutcomeUnknown`.

        Without a key: Stripe would answer a cancellation that failed once as it did then, whatever has become of the
        intent. Canceling it twice is canceling it once.
        """
        form = {"cancellation_reason": reason}
        response = await self._wire.ask(HttpRequest(path=intent_path(intent.id, "/cancel"), form=form))
        about = response.read(Intent) if is_ok(response) else problem(response).payment_intent
        if about is None or about.id != intent.id or self._wire.own(about, call).status != "canceled":
            raise OutcomeUnknown("the intent is not canceled", connector_reference=intent.id)

    def _method(self, call: Call, card: Card) -> HttpRequest:
        number: dict[str, FormValue] = {
            "number": card.number,
            "exp_month": card.exp_month,
            "exp_year": card.exp_year,
            "cvc": card.cvc,
        }
        form: dict[str, FormValue] = {"type": "card", "card": number, "billing_details": _bill(call)}
        return self._wire.keyed("/v1/payment_methods", form, call, "pre")

    def _own_answer(self, response: AcquirerResponse, call: Call) -> Intent:
        intent = self._wire.own(response.read(Intent), call)
        if intent.id != call.authorization_reference:
            raise OutcomeUnknown("an answer to another request")
        return intent

    async def _move(
        self, path: str, form: Mapping[str, FormValue], call: Call, may_send: MaySend
    ) -> AcquirerResponse:
        return await self._wire.http.call(self._wire.keyed(path, form, call, "send"), may_send=may_send)


def _mode_of(key: str) -> Literal["live", "test"]:
    """The mode that a key is of: its prefix says so (docs.stripe.com/keys). Raises `Rejected`."""
    if key.startswith(("sk_live_", "rk_live_")):
        return "live"
    if key.startswith(("sk_test_", "rk_test_")):
        return "test"
    raise Rejected("The key is no secret or restricted key of Stripe's: these begin with sk_ or rk_.")


def _bill(call: Call) -> dict[str, FormValue] | None:
    """Of the customer and the bill what is known; None: nothing."""
    customer, billing = call.customer or Customer(), call.billing or Party()
    bill: dict[str, FormValue] = {
        "name": billing.name or customer.name,
        "email": customer.email,
        "phone": customer.phone,
        "address": None if billing.address is None else asdict(billing.address),
    }
    return bill if any(value is not None for value in bill.values()) else None


def _parcel(call: Call) -> dict[str, FormValue] | None:
    """Whom the parcel is for; Stripe takes none without a name and an address."""
    shipping = call.shipping
    if shipping is None or shipping.name is None or shipping.address is None:
        return None
    return {"name": shipping.name, "address": asdict(shipping.address)}


def _intent_id(call: Call) -> str:
    if call.authorization_reference is None:
        raise Rejected(f"{call.kind} without the authorization's reference")
    return call.authorization_reference


def _turned_down_before(response: AcquirerResponse) -> Declined | Refused:
    """A card or data that is refused before anything was asked of the issuer. Raises `Rejected` for all else."""
    error = problem(response)
    if is_decline(response, error):
        return outcomes.declined(error)
    refused = outcomes.refused(error)
    if refused is not None:
        return refused
    log.error("stripe_prepare_rejected", status=response.status, code=error.code, param=error.param)
    raise Rejected(f"HTTP {response.status}: {error.code or error.type}")


def _turned_down(response: AcquirerResponse) -> Declined | Refused:
    """A capture or refund that Stripe says it did not make. Raises `OutcomeUnknown` for what does not say so."""
    error = problem(response)
    if is_decline(response, error):
        return outcomes.declined(error)
    answer = outcomes.gone(error, error.payment_intent) or outcomes.refused(error)
    if answer is None:
        raise OutcomeUnknown(f"HTTP {response.status}: {error.code or error.type}")
    return answer


def _given_back(refund: StripeRefund) -> Reversed:
    if refund.status != "succeeded":
        raise OutcomeUnknown("the refund is not confirmed")
    return Reversed()

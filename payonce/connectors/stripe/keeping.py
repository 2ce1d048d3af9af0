"""Cards that Stripe keeps: each with a customer of its own, to which it is attached with the payment's approval.

Source: docs.stripe.com/api/customers/create, /api/payment_methods/detach, and `setup_future_usage` of an intent's
confirmation. Read, not tried.
"""

from collections.abc import Mapping
from typing import Final

from payonce.connectors.base import Call
from payonce.connectors.http import AcquirerResponse, HttpRequest, segment
from payonce.connectors.stripe import forms, reading
from payonce.connectors.stripe.desk import StripeDesk, asked_in_vain, problem
from payonce.connectors.stripe.objects import Method, StripeCustomer
from payonce.domain.errors import NotSent, OutcomeUnknown

_MISSING: Final = "resource_missing"


class Keeping:
    """Moves nothing: a customer has no card until a payment that names both is approved."""

    def __init__(self, desk: StripeDesk) -> None:
        self._desk = desk

    def customer(self, call: Call) -> HttpRequest:
        """With whom the card is to be kept, under a key of its own: the same again finds the same."""
        form = forms.customer(call)
        return self._desk.post(forms.CUSTOMERS, form, reference=call.reference, purpose="pre-3")

    def prepared(self, answer: AcquirerResponse) -> str:
        """The customer's id before the money call. What is wrong with it is `NotSent`: nothing has moved."""
        try:
            made = answer.read(StripeCustomer)
            self._desk.check_mode(made.livemode)
        except OutcomeUnknown as unknown:
            raise NotSent(f"before the money call: {unknown.message}") from None
        return made.id

    async def customer_again(self, call: Call) -> str | None:
        """The id of the customer that the call's intent has, as far as the call says it; None: it has none."""
        if call.keeps is None:
            return None if call.token is None else call.token.get(reading.CUSTOMER)
        made = await self._desk.ask(self.customer(call), StripeCustomer, reference=call.reference)
        self._desk.check_mode(made.livemode)
        return made.id

    async def detach(self, token: Mapping[str, str]) -> None:
        """Stripe says that the card is with nobody: one that was detached is never paid with again."""
        method_id = token.get(reading.METHOD)
        if method_id is None:
            return
        path = f"{forms.METHODS}/{segment(method_id)}"
        response = await self._desk.http.call(HttpRequest(method="GET", path=path), may_send=None)
        if response.status == 404 and problem(response).code == _MISSING:
            return
        if response.status >= 400:
            raise asked_in_vain(response, reference=method_id)
        found = response.read(Method)
        if found.customer is not None:
            found = await self._desk.ask(
                HttpRequest(path=f"{path}/detach", form={}), Method, reference=method_id
            )
        self._desk.check_mode(found.livemode)
        if found.id != method_id or found.customer is not None:
            raise OutcomeUnknown("the card is not detached")

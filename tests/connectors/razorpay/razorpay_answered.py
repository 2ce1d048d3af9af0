"""Razorpay's connector with customers who answer at once, for the suites of those whose `send` gets the outcome."""

import hashlib
import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import httpx
from razorpay_dialect import DECLINED_CARDS, SECRET, Now, RazorpayHarness, account, asked_by, since

from payonce.connectors.base import Call, MaySend
from payonce.connectors.conformance import Fault
from payonce.connectors.conformance_learning import eventually
from payonce.connectors.razorpay import forms
from payonce.connectors.razorpay.connector import Razorpay
from payonce.domain.cards import Card
from payonce.domain.errors import ConnectorError, OutcomeUnknown
from payonce.domain.facts import Accepted, ActionRequired, Inquiry, Pending, Reply
from payonce.domain.operations import OperationKind

FAULTS_OF_CAPTURES = {
    Fault.TIMEOUT_AFTER: "timeout_after_charge",
    Fault.TIMEOUT_BEFORE: "timeout_before_charge",
    Fault.ERROR_AFTER: "error_after_charge",
    Fault.RESET_AFTER: "reset_after_charge",
    Fault.GARBAGE_AFTER: "garbage",
    Fault.REFUSED: "refuse:/amount",
}


class AnsweredRazorpay(Razorpay):
    """As Razorpay, with all that a call needs; who is asked answers, and what is released lapses, before it returns.

    What became of it is asked elsewhere, so that whatever stands on the wire sees the calls of a `send` alone.
    """

    witness: Razorpay
    decide: Callable[[Call], Any]
    lapse: Callable[[Call], Any]

    async def send(self, call: Call, *, may_send: MaySend) -> Reply:
        whole = call if call.kind is not OperationKind.AUTHORIZE else completed(call)
        reply = await super().send(whole, may_send=may_send)
        if isinstance(reply, ActionRequired):
            await self.decide(call)
            return await self._outcome(whole)
        if call.kind is OperationKind.VOID and isinstance(reply, Accepted):
            await self.lapse(call)
            return await self._outcome(whole)
        return reply

    async def _outcome(self, call: Call) -> Any:
        async def decided() -> Inquiry | None:
            try:
                found = await self.witness.inquire(call)
            except ConnectorError as error:
                raise OutcomeUnknown(error.message) from None
            return None if isinstance(found, Pending | Accepted) else found

        return await eventually(decided)


class AnsweredHarness(RazorpayHarness):
    """`WireHarness` over the dialect, whose cardholders answer as their card says."""

    def open_at(self, url: str, *, now: Now = since, **options: str) -> Razorpay:
        connector = AnsweredRazorpay(account(url, **self.deadline_at(url), **options), now=now)
        connector.witness = Razorpay(account(self.url, **self.deadline_at(self.url)), now=now)
        connector.decide, connector.lapse = self._decide, self._lapse
        self._opened += [connector, connector.witness]
        return connector

    def key_of(self, request: bytes) -> str:
        """What Razorpay knows a request again by: an order's receipt, or our reference in a payment's notes."""
        path = request.split(b" ")[1].decode()
        found = re.search(rb'"payonce_reference":"([^"]+)"', request)
        if found is not None:
            return f"{path} {found[1].decode()}"
        body = json.loads(request.partition(b"\r\n\r\n")[2])
        return f"{path} {body['receipt']}"

    def faulty(self, call: Call, fault: Fault) -> Call:
        self._patience.meets(fault, self._opened)
        if call.kind is OperationKind.CAPTURE:
            return replace(
                call, authorization_reference=self._held(call, f"capture:{FAULTS_OF_CAPTURES[fault]}")
            )
        faulty = super().faulty(call, fault)
        if call.kind is OperationKind.REFUND:
            return faulty
        return replace(faulty, metadata={**faulty.metadata, "sandbox_bank": "answers:0"})

    async def _decide(self, call: Call) -> None:
        declines = call.card is not None and call.card in DECLINED_CARDS.values()
        await self.answers(call.payment_id, "failure" if declines else "success")

    async def answers(self, payment_id: str, decision: str) -> None:
        for own_id in await self.own_ids(payment_id):
            path = f"/razorpay/v1/payments/{own_id.removeprefix('pay_')}/authenticate"
            with suppress(httpx.HTTPError):
                await self._witness.post(
                    path, data={"decision": decision}, headers={"Accept": "application/json"}
                )

    async def _lapse(self, call: Call) -> None:
        await self.says(call.payment_id, "lapses")

    def _held(self, call: Call, fault: str) -> str:
        """Another authorization of the payment, whose notes had the fault from the beginning."""
        receipt = hashlib.sha256(f"{call.reference} {fault}".encode()).hexdigest()[:40]
        notes = {"payonce_payment": call.payment_id, "payonce_reference": receipt, "sandbox_fault": fault}
        whole = completed(replace(call, kind=OperationKind.AUTHORIZE, card=self.approved_card))
        sent = {"amount": call.amount_minor, "currency": call.currency, "notes": notes}
        with httpx.Client(
            base_url=self.url, auth=(self.key_id, SECRET), trust_env=False, timeout=60
        ) as client:
            made = client.post(
                "/v1/orders", json={**sent, "receipt": receipt, "payment": {"capture": "manual"}}
            )
            form = paying(whole, order_id=made.raise_for_status().json()["id"])
            own_id = client.post("/v1/payments/create/json", json={**form, **sent}).raise_for_status().json()
            page = f"/v1/payments/{own_id['razorpay_payment_id'].removeprefix('pay_')}/authenticate"
            answered = client.post(page, data={"decision": "success"}, headers={"Accept": "application/json"})
        answered.raise_for_status()
        return str(own_id["razorpay_payment_id"])


def completed(call: Call) -> Call:
    """The call with all that Razorpay needs of a cardholder."""
    whole = asked_by("card", call.card or Card("", 1, 2030))
    members = ("payment_method", "customer", "billing", "browser", "return_url")
    return replace(call, **{name: getattr(whole, name) for name in members})


def paying(call: Call, *, order_id: str) -> dict[str, Any]:
    """The body of a card's payment."""
    assert call.card is not None
    terms = forms.RazorpayTerms(website=None, copy_metadata=False)
    written: dict[str, Any] = json.loads(
        forms.card(call, call.card, order_id=order_id, terms=terms).model_dump_json(exclude_none=True)
    )
    return written

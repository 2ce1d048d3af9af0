"""Adyen: cards, UPI and network tokens by Checkout v72.

Adyen cannot be asked what became of a request. The same request under the same key is answered as at first, for 31
days at least, and a signed webhook says the outcome: of captures, cancels and refunds nothing else does.
Source: docs.adyen.com, read in 2026-11. Nothing of it was tried against the real service.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import ClassVar, Final

import structlog

from payonce.connectors.adyen import account as accounts
from payonce.connectors.adyen import amounts, bodies, callbacks, codes, reading, references
from payonce.connectors.adyen.answers import PaymentAnswer, ReceivedAnswer
from payonce.connectors.adyen.desk import (
    AdyenDesk,
    asked_in_vain,
    not_moved,
    problem,
    refused,
    undecided,
)
from payonce.connectors.base import (
    AccountForm,
    Call,
    Callback,
    Capabilities,
    ConnectorAccount,
    Identity,
    MaySend,
)
from payonce.connectors.http import AcquirerResponse, HttpRequest, segment
from payonce.connectors.keys import Purpose
from payonce.domain.errors import LegInvalid, OutcomeUnknown, Rejected
from payonce.domain.facts import (
    Accepted,
    Cancellation,
    Declined,
    EndsItself,
    Inquiry,
    Pending,
    Refused,
    Reply,
    Reversed,
)
from payonce.domain.operations import OperationKind
from payonce.domain.sca import LEGS_MAX
from payonce.domain.schedules import InquirySchedule
from payonce.domain.truth import Truth

log = structlog.get_logger(__name__)

K = OperationKind
HOUR_S, DAY_S = 3600.0, 24 * 3600.0
CALL_DEADLINE_S: Final = 20.0
FINALITY_S: Final = 300.0  # of nothing: what Adyen does not know it never says
KEPT_S: Final = 31 * DAY_S  # how long a key is known at least
# Of what is sent again: the same answer comes at once, or the first request is still under way.
REPLAYS: Final = InquirySchedule(
    first_s=(2, 5, 15, 60),
    then_every_s=600,
    review_after_s=6 * HOUR_S,
    slow_every_s=6 * HOUR_S,
    give_up_after_s=30 * DAY_S,
)
# A webhook is tried again for days where nobody took it; then a person looks into the Customer Area.
CALLBACK_WITHIN_S: Final = {K.AUTHORIZE: HOUR_S, K.CAPTURE: 3 * DAY_S, K.VOID: DAY_S, K.REFUND: 10 * DAY_S}
_PATHS: Final = {K.CAPTURE: "captures", K.VOID: "cancels", K.REFUND: "refunds"}
_LEGS: Final[dict[int, Purpose]] = {1: "leg-1", 2: "leg-2", 3: "leg-3", 4: "leg-4", 5: "leg-5"}
assert len(_LEGS) == LEGS_MAX


class Adyen:
    """One merchant account. Options: see `account.FORM`, and `call_deadline_s`."""

    name = "adyen"
    account_form: ClassVar[AccountForm] = accounts.FORM

    def __init__(
        self, account: ConnectorAccount, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._account = account
        self._now = now
        self._merchant_account = accounts.merchant_account(account)
        self._hmac_keys = accounts.hmac_keys(account)
        deadline_s = float(account.options.get("call_deadline_s", CALL_DEADLINE_S))
        self._desk = AdyenDesk(account, call_deadline_s=deadline_s)
        self.capabilities = _capabilities(account, deadline_s=deadline_s)

    async def send(self, call: Call, *, may_send: MaySend) -> Reply:
        """Authorizes, captures, voids or refunds under our reference; see `Connector`."""
        unfit = _unfit(call)
        if unfit is not None:
            return unfit
        if call.kind is not K.AUTHORIZE:
            return await self._modify(call, may_send)
        body = bodies.payment(
            call,
            merchant_account=self._merchant_account,
            secret=self._account.upstream_secret,
            copy_metadata=self._account.options.get("copy_metadata") == accounts.ON,
        )
        request = self._desk.post("/payments", body, reference=call.reference, purpose="send")
        response = await self._desk.http.call(request, may_send=may_send)
        if response.status >= 400:
            return refused(response, reference=call.reference, operation=call.kind)
        return self._read(response, call)

    async def resume(
        self, call: Call, parameters: Mapping[str, str], *, leg: int, may_send: MaySend
    ) -> Reply:
        """`/payments/details`, which authorizes a card whose holder was asked; see `TwoLegged`."""
        if not bodies.RETURNED & parameters.keys():
            raise LegInvalid
        request = self._desk.post(
            "/payments/details", bodies.details(parameters), reference=call.reference, purpose=_LEGS[leg]
        )
        response = await self._desk.http.call(request, may_send=may_send)
        if response.status < 400:
            return self._read(response, call, leg=True)
        error = problem(response)
        if response.status == 422 and error.code in codes.LEG_INVALID and not undecided(response, error):
            raise LegInvalid
        not_moved(response, error, reference=call.reference)

    async def inquire(self, call: Call) -> Inquiry:
        """Nobody can be asked; see `Capabilities.truth`."""
        raise Rejected("Adyen answers no questions")

    async def reverse(self, call: Call) -> Reversed:
        """Whatever an authorization did is to be undone; that it is, its callback alone says: see `Connector`.

        By Adyen's reference it is cancelled or given back, whichever it needs; by ours alone it can be cancelled.
        Nothing of it blocks what arrives late. Raises `OutcomeUnknown`, always.
        """
        if call.kind is not K.AUTHORIZE:
            raise OutcomeUnknown(f"{call.kind} cannot be undone at Adyen")
        psp = call.attempt_reference
        by_reference = psp is None or psp == references.sent(call)
        body = bodies.reversal(call, merchant_account=self._merchant_account, by_reference=by_reference)
        path = "/cancels" if by_reference else f"/payments/{segment(psp or '')}/reversals"
        purpose: Purpose = "reverse-2" if by_reference else "reverse"
        request = self._desk.post(path, body, reference=call.reference, purpose=purpose)
        response = await self._desk.http.call(request, may_send=None)
        if response.status >= 400:
            asked_in_vain(response, reference=call.reference)
        raise OutcomeUnknown("its reversal is received, and not done yet", connector_reference=psp)

    async def cancel(self, call: Call) -> Cancellation:
        """Without a call: what waits for its customer cannot be taken from them, and Adyen tells how it ends."""
        return EndsItself()

    def read_callback(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Callback:
        """The callback, once its signatures are checked; see `Calling`. It has no time."""
        return callbacks.read(
            headers,
            body,
            keys=self._hmac_keys,
            logins=[login for login in self._account.secrets.get(accounts.WEBHOOK_LOGIN, ()) if login],
            merchant_account=self._merchant_account,
        )

    async def identify(self) -> Identity:
        """Who Adyen says that we are; see `Identifying`."""
        return await accounts.identify(self._desk, self._account)

    async def close(self) -> None:
        """Closes the connections."""
        await self._desk.http.close()

    def _read(self, response: AcquirerResponse, call: Call, *, leg: bool = False) -> Reply:
        """`leg`: what was asked came out of a browser, and may be another payment's, which was declined."""
        answer = response.read(PaymentAnswer)
        reading.check(answer, call)
        reply = reading.authorization(answer, call, account=self._account, now=self._now())
        if leg and isinstance(reply, Declined) and not reading.names(answer, call):
            log.warning("acquirer_answer_names_nothing", reference=call.reference, status=answer.result)
            return Pending(call.attempt_reference, reason="declined, and not said of what")
        return reply

    async def _modify(self, call: Call, may_send: MaySend) -> Accepted | Pending | Refused:
        psp = bodies.authorization_of(call)
        request = self._modification(call, psp)
        response = await self._desk.http.call(request, may_send=may_send)
        if response.status >= 400:
            return refused(response, reference=call.reference, operation=call.kind)
        answer = response.read(ReceivedAnswer)
        _check(answer, call, psp=psp, merchant_account=self._merchant_account)
        if answer.status != "received":
            log.warning("acquirer_status_unmapped", reference=call.reference, status=answer.status)
            return Pending(answer.psp, reason="unmapped status")
        return Accepted(answer.psp)

    def _modification(self, call: Call, psp: str) -> HttpRequest:
        body = bodies.modification(call, merchant_account=self._merchant_account)
        path = f"/payments/{segment(psp)}/{_PATHS[call.kind]}"
        return self._desk.post(path, body, reference=call.reference, purpose="send")


def _capabilities(account: ConnectorAccount, *, deadline_s: float) -> Capabilities:
    upi = {"upi.intent", "upi.qr", "upi.collect"} if account.options.get("upi") == accounts.ON else set()
    wallets = (
        {"wallet.apple_pay", "wallet.google_pay"} if account.options.get("wallets") == accounts.ON else set()
    )
    return Capabilities(
        methods=frozenset({"card"} | upi | wallets),
        at_once=frozenset(upi),
        call_deadline_s=deadline_s,
        finality_s=FINALITY_S,
        inquiry=REPLAYS,
        reversal_by_reference=True,
        reverses=frozenset({K.AUTHORIZE}),
        truth=dict.fromkeys((K.AUTHORIZE, K.CAPTURE, K.VOID, K.REFUND), Truth.REPLAY),
        disputes=Truth.CALLBACK,
        idempotent_replay_s=KEPT_S,
        callback_within_s=CALLBACK_WITHIN_S,
        currencies=amounts.CURRENCIES,
        amounts=amounts.AMOUNTS,
        required=bodies.REQUIRED,
        split_capture=account.options.get("multicapture") == accounts.ON,
        callbacks=True,
        needs_action=True,
        three_ds=frozenset({"acquirer", "merchant"}),
        exemptions=frozenset({"low_value", "transaction_risk_analysis"}),
        soft_decline="resend",
        stored_credentials=frozenset({"number"}),
        return_parameters=bodies.RETURNED,
        legs_move_money=True,
        replays_legs=True,
        challenge_ends="itself",
    )


def _unfit(call: Call) -> Refused | None:
    """What Adyen would not take, said before it is asked; most of it is refused before admission already."""
    if call.kind is not K.VOID:
        try:
            bodies.amount(call)
        except ValueError:
            return Refused("amount_not_exact", "/amount")
    if call.kind is K.AUTHORIZE and call.payment_method.get("type") == "upi" and not call.automatic_capture:
        return Refused("upi_is_captured_at_once", "/capture_method")
    return None


def _check(answer: ReceivedAnswer, call: Call, *, psp: str, merchant_account: str) -> None:
    """Raises `OutcomeUnknown` for the answer to another request."""
    ours = answer.reference in (None, references.sent(call))
    same = answer.payment == psp and answer.account == merchant_account
    if not (ours and same):
        raise OutcomeUnknown("an answer to another request")
    if answer.amount is not None and answer.amount.currency != call.currency:
        raise OutcomeUnknown("an answer in another currency")

"""Cards, and the network tokens of device wallets, at the sandbox acquirer."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Final, assert_never

from pydantic import BaseModel, ConfigDict, Field

from payonce.connectors.base import Call, Callback, Capabilities, ConnectorAccount, MaySend
from payonce.connectors.listing import ChargePage
from payonce.connectors.sandbox import wire
from payonce.connectors.sandbox.answers import SandboxAnswer
from payonce.connectors.sandbox.wire import Desk, Request, SandboxMoney
from payonce.domain.cards import Card, NetworkToken
from payonce.domain.errors import LegInvalid, OutcomeUnknown, Rejected
from payonce.domain.facts import (
    ActionRequired,
    Approved,
    Cancellation,
    Declined,
    Expired,
    Inquiry,
    NotKnown,
    Pending,
    Refused,
    Reply,
    Reversed,
)
from payonce.domain.operations import OperationKind
from payonce.domain.sca import BY_ACQUIRER, BY_MERCHANT, Completes, HandedIn, Sca
from payonce.domain.schedules import UNKNOWN_ACCOUNT_INQUIRIES
from payonce.domain.truth import Truth

WINDOW_S: Final = 900
RESULT: Final = "result"  # what the page gives the browser to bring back, where a leg follows


class _CardBody(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    number: str = Field(repr=False)
    exp_month: int
    exp_year: int
    cvc: str | None = Field(default=None, repr=False)


class _TokenBody(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    number: str = Field(repr=False)
    exp_month: int
    exp_year: int
    cryptogram: str = Field(repr=False)
    eci: str | None = None


class _ScaBody(BaseModel):
    model_config = ConfigDict(frozen=True)

    challenge: str
    exemption: str | None = None


class _HandedInBody(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    version: str = Field(repr=False)
    trans_status: str = Field(repr=False)
    eci: str = Field(repr=False)
    cavv: str = Field(repr=False)
    ds_transaction_id: str = Field(repr=False)


class _StoredBody(BaseModel):
    model_config = ConfigDict(frozen=True)

    initiator: str
    reason: str | None = None
    network_transaction_id: str | None = None


class _Authorization(SandboxMoney):
    capture: bool
    window_s: int
    soft_decline: str | None = None
    completes: str | None = None
    asks_again: bool | None = None
    returns_by: str | None = None
    callback_url: str | None = None
    return_url: str | None = None
    card: _CardBody | None = None
    network_token: _TokenBody | None = None
    token: str | None = Field(default=None, repr=False)
    save: str | None = None
    sca: _ScaBody | None = None
    authentication: _HandedInBody | None = None
    off_session: bool | None = None
    stored: _StoredBody | None = None


class _Resumption(Request):
    result: str = Field(repr=False)
    key: str


class _Modification(SandboxMoney):
    authorization: str
    final: bool | None = None  # of captures only


class SandboxCard:
    """The sandbox acquirer's card desk at one account.

    Account options, besides those of `Desk`: `window_s` (a cardholder's time), `soft_decline` (`itself` or `resend`:
    who asks again with a challenge), `challenge_ends` (as in `Capabilities`), `completes` (`resume`: the page only
    authenticates, and a second leg moves the money; `reads`: the page moves it, and the leg reads), `returns_by`
    (`post`: browsers come back with a form), `replays_legs` (`on`: a leg that was lost may be sent again),
    `asks_again` (`on`, with `completes: resume`: the first leg is answered with one page more).
    """

    name = "sandbox_card"
    list_limits = wire.LIST_LIMITS

    def __init__(self, account: ConnectorAccount) -> None:
        self._desk = Desk(account)
        self._account = account
        self._itself = account.options.get("soft_decline") == "itself"
        self._completes = account.options.get("completes", "customer")
        self._returns_by = account.options.get("returns_by", "get")
        resumes = self._completes != "customer"
        self._asks_again = self._completes == "resume" and account.options.get("asks_again") == "on"
        ends_itself = account.options.get("challenge_ends") == "itself"
        self.capabilities = Capabilities(
            methods=frozenset({"card", "wallet.apple_pay", "wallet.google_pay"}),
            call_deadline_s=self._desk.call_deadline_s,
            finality_s=self._desk.finality_s,
            inquiry=UNKNOWN_ACCOUNT_INQUIRIES,
            reversal_by_reference=True,
            callbacks=True,
            disputes=Truth.INQUIRY,
            accepts_disputes=True,
            needs_action=True,
            action_inquiry=wire.ACTION_INQUIRY,
            challenge_ends="itself" if ends_itself else "cancelled",
            three_ds=frozenset({BY_ACQUIRER, BY_MERCHANT}),
            exemptions=frozenset({"low_value", "transaction_risk_analysis"}),
            soft_decline="itself" if self._itself else "resend",
            return_parameters=frozenset({RESULT}) if resumes else frozenset(),
            legs_move_money=self._completes != "reads",
            stored_credentials=frozenset({"number", "token"}),
            replays_legs=resumes and account.options.get("replays_legs") == "on",
        )

    async def send(self, call: Call, *, may_send: MaySend) -> Reply:
        """Authorizes, captures, voids or refunds under our reference, or accepts a dispute; see `Connector`."""
        if call.kind is OperationKind.ACCEPT:
            return await self._desk.accept(call, may_send=may_send)
        path, body = self._order(call)
        answer = await self._desk.order(path, body, call, may_send=may_send)
        if isinstance(answer, Refused):
            return answer
        return self._reply(answer, call)

    async def resume(
        self, call: Call, parameters: Mapping[str, str], *, leg: int, may_send: MaySend
    ) -> Reply:
        """Goes on with what the page gave to the browser; see `TwoLegged`."""
        result = parameters.get(RESULT)
        if not result:
            raise LegInvalid("the browser brought nothing back")  # as after a Cancel on the page
        members = wire.common(call, operation="resume")
        body = _Resumption(**members, result=result, key=f"{call.reference}-leg-{leg}")
        answer = await self._desk.resume(body, call, may_send=may_send)
        return answer if isinstance(answer, Refused) else self._reply(answer, call)

    async def inquire(self, call: Call) -> Inquiry:
        """What became of our reference; see `Connector`."""
        if call.kind is OperationKind.ACCEPT:
            return await self._desk.inquire_acceptance(call)
        answer = await self._desk.inquire(call)
        return NotKnown() if answer is None else self._outcome(answer, call)

    async def list_charges(self, *, since: datetime, until: datetime, after: str | None) -> ChargePage:
        """What moved at the card desk, whoever asked for it; see `ChargeListing`."""
        return await self._desk.list_charges("card", since=since, until=until, after=after)

    async def reverse(self, call: Call) -> Reversed:
        """Undoes and blocks our reference; see `Connector`."""
        return await self._desk.reverse(call)

    async def cancel(self, call: Call) -> Cancellation:
        """Lets nobody pass the challenge under our reference any more; see `Asking`."""
        return await self._desk.cancel(call)

    async def delete_token(self, token: Mapping[str, str]) -> None:
        """Nobody pays with our token any more; see `Storing`."""
        await self._desk.delete_token(token)

    def read_callback(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Callback:
        """The callback, once its signature is checked; see `Calling`."""
        return self._desk.read_callback(headers, body, now=now)

    async def close(self) -> None:
        """Closes the connections."""
        await self._desk.close()

    def _order(self, call: Call) -> tuple[str, Request]:
        """The path and the body of an operation. Raises `Rejected` for one that this acquirer does not have."""
        match call.kind:
            case OperationKind.AUTHORIZE:
                return "/authorizations", self._authorization(call)
            case OperationKind.CAPTURE:
                return "/captures", _modification(call, final=call.final)
            case OperationKind.VOID:
                return "/voids", _modification(call)
            case OperationKind.REFUND:
                return "/refunds", _modification(call)
            case (
                OperationKind.EXPIRE
                | OperationKind.REVERSE
                | OperationKind.UNDO
                | OperationKind.REDO
                | OperationKind.ACCEPT
            ):
                raise Rejected(
                    f"{call.kind} is not sent to this acquirer"
                )  # see `Capabilities`, and `reverse`
            case _:
                assert_never(call.kind)

    def _authorization(self, call: Call) -> _Authorization:
        token = None if call.token is None else call.token.get(wire.TOKEN)
        if call.card is None and call.network_token is None and token is None:
            raise Rejected("authorize without a card")
        return _Authorization(
            **wire.money(call),
            capture=call.automatic_capture,
            window_s=int(self._account.options.get("window_s", WINDOW_S)),
            soft_decline="itself" if self._itself else None,
            completes=self._completes,
            asks_again=self._asks_again or None,
            returns_by=self._returns_by,
            callback_url=self._account.callback_url,
            return_url=call.return_url,
            card=None if call.card is None else _card(call.card),
            network_token=None if call.network_token is None else _token(call.network_token),
            token=token,
            save=call.keeps,
            sca=None if call.sca is None else _sca(call.sca),
            authentication=None if call.authentication is None else _handed_in(call.authentication),
            off_session=True if call.unattended else None,
            stored=_stored(call),
        )

    def _reply(self, answer: SandboxAnswer, call: Call) -> Reply:
        outcome = self._outcome(answer, call)
        return Pending(reason="reversed") if isinstance(outcome, Reversed) else outcome

    def _outcome(
        self, answer: SandboxAnswer, call: Call
    ) -> Approved | ActionRequired | Declined | Expired | Pending | Reversed:
        match answer.status:
            case "approved":
                return wire.approved(answer, capture_before=answer.expires_at)
            case "expired":
                return Expired(connector_reference=answer.id)
            case "pending" if call.kind is OperationKind.AUTHORIZE:
                if answer.expires_at is None:
                    raise OutcomeUnknown("a challenge without an end")
                completes: Completes = "customer" if answer.completes == "customer" else "resume"
                return ActionRequired(answer.id, self._action(answer, call), answer.expires_at, completes)
            case _:
                return wire.decided(answer)

    def _action(self, answer: SandboxAnswer, call: Call) -> dict[str, str]:
        """What the cardholder has to do, as the API shows it."""
        page = answer.page or f"{self._account.base_url}/card/{call.payment_id}"
        return {"type": "redirect", "url": page, "sandbox_url": page}


def _modification(call: Call, *, final: bool | None = None) -> _Modification:
    authorization = wire.authorization_of(call)
    return _Modification(**wire.money(call), authorization=authorization, final=final)


def _card(card: Card) -> _CardBody:
    return _CardBody(number=card.number, exp_month=card.exp_month, exp_year=card.exp_year, cvc=card.cvc)


def _token(token: NetworkToken) -> _TokenBody:
    return _TokenBody(
        number=token.number,
        exp_month=token.exp_month,
        exp_year=token.exp_year,
        cryptogram=token.cryptogram,
        eci=token.eci,
    )


def _sca(sca: Sca) -> _ScaBody:
    return _ScaBody(challenge=sca.challenge, exemption=sca.exemption)


def _stored(call: Call) -> _StoredBody | None:
    """Of a card that was saved before: who asks for the money, and what the scheme said of the first payment."""
    if call.stored is None or not call.stored.paid_with:
        return None
    told = call.network_transaction
    return _StoredBody(
        initiator="merchant" if call.unattended else "customer",
        reason=call.stored.reason,
        network_transaction_id=None if told is None else told.id,
    )


def _handed_in(given: HandedIn) -> _HandedInBody:
    """As it was handed in, unchanged."""
    return _HandedInBody(**asdict(given))

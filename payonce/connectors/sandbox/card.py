"""Cards, and the network tokens of device wallets, at the sandbox acquirer."""

from collections.abc import Mapping
from datetime import datetime
from typing import assert_never

from pydantic import BaseModel, ConfigDict, Field

from payonce.connectors.base import Call, Callback, Capabilities, ConnectorAccount, MaySend
from payonce.connectors.sandbox import wire
from payonce.connectors.sandbox.wire import Desk, Request, SandboxAnswer, SandboxMoney
from payonce.domain.cards import Card, NetworkToken
from payonce.domain.errors import Rejected
from payonce.domain.facts import Approved, Declined, Inquiry, NotKnown, Pending, Refused, Reply, Reversed
from payonce.domain.operations import OperationKind
from payonce.domain.schedules import UNKNOWN_ACCOUNT_INQUIRIES


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


class _Authorization(SandboxMoney):
    capture: bool
    callback_url: str | None = None
    card: _CardBody | None = None
    network_token: _TokenBody | None = None


class _Modification(SandboxMoney):
    authorization: str
    final: bool | None = None  # of captures only


class SandboxCard:
    """The sandbox acquirer's card desk at one account; see `Desk` for the account's options."""

    name = "sandbox_card"

    def __init__(self, account: ConnectorAccount) -> None:
        self._desk = Desk(account)
        self._callback_url = account.callback_url
        self.capabilities = Capabilities(
            methods=frozenset({"card", "wallet.apple_pay", "wallet.google_pay"}),
            call_deadline_s=self._desk.call_deadline_s,
            finality_s=self._desk.finality_s,
            inquiry=UNKNOWN_ACCOUNT_INQUIRIES,
            reversal_by_reference=True,
            callbacks=True,
        )

    async def send(self, call: Call, *, may_send: MaySend) -> Reply:
        """Authorizes, captures, voids or refunds under our reference; see `Connector`."""
        path, body = _order(call, callback_url=self._callback_url)
        answer = await self._desk.order(path, body, call, may_send=may_send)
        if isinstance(answer, Refused):
            return answer
        outcome = _outcome(answer)
        return Pending(reason="reversed") if isinstance(outcome, Reversed) else outcome

    async def inquire(self, call: Call) -> Inquiry:
        """What became of our reference; see `Connector`."""
        answer = await self._desk.inquire(call)
        return NotKnown() if answer is None else _outcome(answer)

    async def reverse(self, call: Call) -> Reversed:
        """Undoes and blocks our reference; see `Connector`."""
        return await self._desk.reverse(call)

    def read_callback(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Callback:
        """The callback, once its signature is checked; see `Calling`."""
        return self._desk.read_callback(headers, body, now=now)

    async def close(self) -> None:
        """Closes the connections."""
        await self._desk.close()


def _order(call: Call, *, callback_url: str | None) -> tuple[str, Request]:
    """The path and the body of an operation. Raises `Rejected` for one that this acquirer does not have."""
    match call.kind:
        case OperationKind.AUTHORIZE:
            return "/authorizations", _authorization(call, callback_url)
        case OperationKind.CAPTURE:
            return "/captures", _modification(call, final=call.final)
        case OperationKind.VOID:
            return "/voids", _modification(call)
        case OperationKind.REFUND:
            return "/refunds", _modification(call)
        case OperationKind.EXPIRE | OperationKind.REVERSE | OperationKind.UNDO | OperationKind.REDO:
            raise Rejected(f"{call.kind} is not sent to this acquirer")  # see `Capabilities`, and `reverse`
        case _:
            assert_never(call.kind)


def _authorization(call: Call, callback_url: str | None) -> _Authorization:
    if call.card is None and call.network_token is None:
        raise Rejected("authorize without a card")
    return _Authorization(
        **wire.money(call),
        capture=call.automatic_capture,
        callback_url=callback_url,
        card=None if call.card is None else _card(call.card),
        network_token=None if call.network_token is None else _token(call.network_token),
    )


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


def _outcome(answer: SandboxAnswer) -> Approved | Declined | Pending | Reversed:
    if answer.status == "approved":
        return wire.approved(answer, capture_before=answer.expires_at)
    return wire.decided(answer)

"""What the sandbox acquirer's rails share whose customer decides: UPI and the wallets with a page of their own."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Literal

from payonce.connectors.base import Call, Callback, Capabilities, ConnectorAccount, MaySend
from payonce.connectors.listing import ChargePage
from payonce.connectors.sandbox import wire
from payonce.connectors.sandbox.answers import SandboxAnswer
from payonce.connectors.sandbox.wire import Desk, SandboxMoney
from payonce.domain.errors import OutcomeUnknown, Rejected
from payonce.domain.facts import (
    ActionRequired,
    Cancellation,
    Expired,
    Inquiry,
    NotKnown,
    Pending,
    Refused,
    Reply,
    Reversed,
)
from payonce.domain.operations import OperationKind
from payonce.domain.schedules import CUSTOMER_INQUIRIES, LATE_INQUIRIES, UNKNOWN_ACCOUNT_INQUIRIES
from payonce.domain.truth import Truth


class CustomerRail(ABC):
    """The acquirer at one account. The first answer is `pending`, with what the customer has to do.

    Account options, besides those of `Desk`: `window_s`, `callback_url`, `inquiry` (`production`: as seldom as UPI
    asks for).
    """

    list_limits = wire.LIST_LIMITS
    path: ClassVar[str]  # of the order, at the acquirer
    page: ClassVar[str]  # beginning of the customer's page there
    window_s: ClassVar[int]
    challenge_ends: ClassVar[Literal["cancelled", "itself"]]  # of what a customer has left alone

    def __init__(self, account: ConnectorAccount) -> None:
        self._desk = Desk(account)
        self._account = account
        seldom = account.options.get("inquiry") == "production"
        self.capabilities = Capabilities(
            methods=self._methods(account.options),
            call_deadline_s=self._desk.call_deadline_s,
            finality_s=self._desk.finality_s,
            inquiry=CUSTOMER_INQUIRIES if seldom else UNKNOWN_ACCOUNT_INQUIRIES,
            action_inquiry=CUSTOMER_INQUIRIES if seldom else wire.ACTION_INQUIRY,
            late_inquiry=LATE_INQUIRIES if seldom else wire.LATE_INQUIRY,
            reversal_by_reference=True,
            currencies=frozenset({"INR"}),
            capture_methods=frozenset({"automatic"}),
            split_capture=False,
            captures_itself=True,
            needs_action=True,
            challenge_ends=self.challenge_ends,
            callbacks=True,
            disputes=Truth.INQUIRY,
            accepts_disputes=True,
            data_in_memory=False,
        )

    async def send(self, call: Call, *, may_send: MaySend) -> Reply:
        """Asks the customer for money, gives it back, or accepts a dispute; see `Connector`."""
        match call.kind:
            case OperationKind.AUTHORIZE:
                answer = await self._desk.order(self.path, self._order(call), call, may_send=may_send)
            case OperationKind.REFUND:
                answer = await self._desk.order("/refunds", self._refund(call), call, may_send=may_send)
            case OperationKind.ACCEPT:
                return await self._desk.accept(call, may_send=may_send)
            case _:
                raise Rejected(f"{call.kind} does not exist on this rail")
        if isinstance(answer, Refused):
            return answer
        outcome = self._outcome(answer, call)
        return Pending(reason="reversed") if isinstance(outcome, Reversed) else outcome

    async def inquire(self, call: Call) -> Inquiry:
        """What became of our reference; see `Connector`."""
        if call.kind is OperationKind.ACCEPT:
            return await self._desk.inquire_acceptance(call)
        answer = await self._desk.inquire(call)
        return NotKnown() if answer is None else self._outcome(answer, call)

    async def list_charges(self, *, since: datetime, until: datetime, after: str | None) -> ChargePage:
        """What moved on this rail, whoever asked for it; see `ChargeListing`."""
        return await self._desk.list_charges(self.page, since=since, until=until, after=after)

    async def reverse(self, call: Call) -> Reversed:
        """Undoes and blocks our reference; see `Connector`."""
        return await self._desk.reverse(call)

    async def cancel(self, call: Call) -> Cancellation:
        """Lets nobody pay our reference any more; see `Asking`."""
        return await self._desk.cancel(call)

    def read_callback(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Callback:
        """The callback, once its signature is checked; see `Calling`."""
        return self._desk.read_callback(headers, body, now=now)

    async def close(self) -> None:
        """Closes the connections."""
        await self._desk.close()

    @abstractmethod
    def _methods(self, options: Mapping[str, str]) -> frozenset[str]:
        """What the account takes."""

    @abstractmethod
    def _order(self, call: Call) -> SandboxMoney:
        """The request that asks the customer."""

    @abstractmethod
    def _refund(self, call: Call) -> SandboxMoney:
        """The request that gives money back."""

    @abstractmethod
    def _action(self, answer: SandboxAnswer, call: Call) -> dict[str, Any]:
        """What the customer has to do, as the API shows it."""

    def _common(self, call: Call) -> dict[str, Any]:
        """What every order says."""
        window_s = int(self._account.options.get("window_s", self.window_s))
        return {**wire.money(call), "window_s": window_s, "callback_url": self._account.callback_url}

    def _page(self, answer: SandboxAnswer, call: Call) -> str:
        """Where to play the customer."""
        return answer.page or f"{self._account.base_url}/{self.page}/{call.payment_id}"

    def _outcome(self, answer: SandboxAnswer, call: Call) -> Reply | Reversed:
        match answer.status:
            case "approved":
                known = {"rrn": answer.rrn, "vpa": answer.payer_vpa}
                return wire.approved(answer, rail={name: value for name, value in known.items() if value})
            case "expired":
                return Expired(connector_reference=answer.id)
            case "pending" if call.kind is OperationKind.AUTHORIZE:
                if answer.expires_at is None:
                    raise OutcomeUnknown("a payment that waits without an end")
                return ActionRequired(answer.id, self._action(answer, call), answer.expires_at)
            case _:
                return wire.decided(answer)

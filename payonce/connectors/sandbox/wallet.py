"""Wallets that pay on a page of their own, at the sandbox acquirer: paytm and phonepe."""

from collections.abc import Mapping
from typing import Any

from payonce.connectors.base import Call
from payonce.connectors.sandbox import wire
from payonce.connectors.sandbox.answers import SandboxAnswer
from payonce.connectors.sandbox.customer import CustomerRail
from payonce.connectors.sandbox.wire import SandboxMoney


class _Payment(SandboxMoney):
    provider: str
    window_s: int
    return_url: str | None = None
    callback_url: str | None = None


class _Refund(SandboxMoney):
    authorization: str


class SandboxWallet(CustomerRail):
    """The sandbox acquirer's wallet desk at one account; see `CustomerRail` for the account's options."""

    name = "sandbox_wallet"
    path, page, window_s = "/wallets/payments", "wallet", 120
    challenge_ends = "cancelled"

    def _methods(self, _options: Mapping[str, str]) -> frozenset[str]:
        return frozenset({"wallet.paytm", "wallet.phonepe"})

    def _order(self, call: Call) -> SandboxMoney:
        provider = call.payment_method["wallet"]["provider"]
        return _Payment(**self._common(call), provider=provider, return_url=call.return_url)

    def _refund(self, call: Call) -> SandboxMoney:
        return _Refund(**wire.money(call), authorization=wire.authorization_of(call))

    def _action(self, answer: SandboxAnswer, call: Call) -> dict[str, Any]:
        page = self._page(answer, call)
        return {"type": "redirect", "url": page, "sandbox_url": page}

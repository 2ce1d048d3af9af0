"""UPI at the sandbox acquirer: intent, QR and collect."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict

from payonce.connectors.base import Call, ConnectorAccount
from payonce.connectors.sandbox import switches, wire
from payonce.connectors.sandbox.answers import SandboxAnswer
from payonce.connectors.sandbox.customer import CustomerRail
from payonce.connectors.sandbox.wire import SandboxMoney

PAYEE_VPA, PAYEE_NAME = "shop@sandbox", "Payonce Sandbox Shop"


class _Payee(BaseModel):
    model_config = ConfigDict(frozen=True)

    vpa: str
    name: str


class _Payment(SandboxMoney):
    flow: str
    vpa: str | None = None
    sandbox_vpa: str | None = None
    window_s: int
    payee: _Payee
    callback_url: str | None = None


class _Refund(SandboxMoney):
    rrn: str | None = None
    authorization: str | None = None


class SandboxUpi(CustomerRail):
    """The sandbox acquirer's UPI desk at one account.

    Account options, besides those of `CustomerRail`: `collect` (`on`; the rail retires that flow), `payee_vpa`,
    `payee_name`.
    """

    name = "sandbox_upi"
    path, page, window_s = "/upi/payments", "upi", 30
    challenge_ends = "itself"

    def __init__(self, account: ConnectorAccount) -> None:
        super().__init__(account)
        vpa, name = account.options.get("payee_vpa", PAYEE_VPA), account.options.get("payee_name", PAYEE_NAME)
        self._payee = _Payee(vpa=vpa, name=name)

    def _methods(self, options: Mapping[str, str]) -> frozenset[str]:
        collect = {"upi.collect"} if options.get("collect") == "on" else set()
        return frozenset({"upi.intent", "upi.qr"} | collect)

    def _order(self, call: Call) -> SandboxMoney:
        upi = call.payment_method["upi"]
        collect = upi["flow"] == "collect"
        return _Payment(
            **self._common(call),
            flow=upi["flow"],
            vpa=upi["vpa"] if collect else None,
            sandbox_vpa=None if collect else call.metadata.get(switches.VPA_METADATA),
            payee=self._payee,
        )

    def _refund(self, call: Call) -> SandboxMoney:
        """By the rail's own reference where it is known, as banks trace it."""
        rrn = call.payment_method["upi"].get("rrn")
        authorization = None if rrn else wire.authorization_of(call)
        return _Refund(**wire.money(call), rrn=rrn, authorization=authorization)

    def _action(self, answer: SandboxAnswer, call: Call) -> dict[str, Any]:
        upi = call.payment_method["upi"]
        page = self._page(answer, call)
        if upi["flow"] == "collect":
            return {"type": "upi_collect", "vpa": upi["vpa"], "sandbox_url": page}
        action = {"type": f"upi_{upi['flow']}", "url": answer.intent or self._link(answer, call)}
        if upi["flow"] == "qr":
            action["image_url"] = self._account.code_url(call.payment_id)
        return {**action, "sandbox_url": page}

    def _link(self, answer: SandboxAnswer, call: Call) -> str:
        """The link again, which the answer to an inquiry does not repeat: all its parts are known.

        Source: NPCI, UPI Linking Specifications: `pa`, `pn`, `tr`, `am`, `cu` and `tn`.
        """
        parts = {
            "pa": quote(self._payee.vpa, safe="@"),
            "pn": quote(self._payee.name, safe=""),
            "tr": quote(answer.id, safe=""),
            "am": f"{call.amount_minor // 100}.{call.amount_minor % 100:02d}",
            "cu": call.currency,
            "tn": quote(f"Payment to {self._payee.name}", safe=""),
        }
        return "upi://pay?" + "&".join(f"{name}={value}" for name, value in parts.items())

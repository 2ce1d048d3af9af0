"""What harnesses have in common whose acquirer the sandbox acquirer plays: its ledger, its pages, its dashboard."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx
from wire_server import Serve

from payonce.connectors.base import Call, Connector
from payonce.connectors.conformance import Fault, authorization, yes
from payonce.connectors.conformance_listing import paid_at_once
from payonce.domain.facts import Approved, DeclineCode, Declined
from tests.connectors.hurry import Patience

# As every dialect calls them.
FAULTS = {
    Fault.TIMEOUT_AFTER: "timeout_after_charge",
    Fault.TIMEOUT_BEFORE: "timeout_before_charge",
    Fault.ERROR_AFTER: "error_after_charge",
    Fault.RESET_AFTER: "reset_after_charge",
    Fault.GARBAGE_AFTER: "garbage",
    Fault.AMOUNT_MISMATCH: "amount_mismatch",
    Fault.AUTHORIZED_ONLY: "authorized_only",
    Fault.FOREIGN: "foreign_refund:99",
}


class Played(ABC):
    """A harness but for its connector, and for what is its dialect's own."""

    dialect = ""  # the path below which it is spoken

    def __init__(self, *, url: str, refusing_url: str, serve: Serve, witness: httpx.AsyncClient) -> None:
        self.url = f"{url}{self.dialect}"
        self._refusing_url = refusing_url
        self._serve = serve
        self._witness = witness
        self._opened: list[Connector] = []
        self._patience = Patience()

    @abstractmethod
    def open_at(self, url: str) -> Connector: ...

    def open(self) -> Any:
        return self.open_at(self.url)

    def open_unreachable(self) -> Any:
        return self.open_at(self._refusing_url)

    def deadline_at(self, url: str) -> dict[str, str]:
        """The option of an account at this address that says how long its calls may take."""
        return {"call_deadline_s": self._patience.of(itself=url == self.url)}

    async def close(self) -> None:
        for connector in self._opened:
            await connector.close()

    async def bank(self, path: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        json_asked = {"Accept": "application/json"}
        answered = await self._witness.post(path, data=dict(fields), headers=json_asked)
        found: Mapping[str, Any] = answered.raise_for_status().json()
        return found

    async def paid(self, connector: Connector, *, automatic: bool = True) -> tuple[Call, Approved]:
        return await paid_at_once(self, connector, automatic=automatic)

    async def unpaid(self, connector: Connector) -> Call:
        call = replace(authorization(self), card=self.declined_cards[DeclineCode.GENERIC_DECLINE])
        assert isinstance(await connector.send(call, may_send=yes), Declined)
        return call

    async def others_refund(self, payment_id: str, amount: int) -> None:
        asked = {"payment_reference": payment_id, "what": "refund", "amount": amount}
        (await self._witness.post("/dashboard", json=asked)).raise_for_status()

    async def movements(self, payment_id: str) -> Sequence[str]:
        entries = await self.listed("/ledger", payment_reference=payment_id)
        return [entry["operation"] for entry in entries]

    async def requests(self, reference: str) -> int:
        return len(await self.listed("/requests", reference=reference))

    async def listed(self, path: str, **query: str) -> list[dict[str, Any]]:
        """The entries that the acquirer shows to whoever asks."""
        response = await self._witness.get(path, params=query)
        entries: list[dict[str, Any]] = response.raise_for_status().json()["entries"]
        return entries

"""The acquirers that a test's sandbox plays: each charges, refunds and is listed in its own words."""

from typing import Any, Final, Protocol

import httpx

from payonce.connectors.base import Connector
from payonce.connectors.razorpay.connector import Razorpay
from payonce.connectors.sandbox.card import SandboxCard
from payonce.connectors.stripe.connector import Stripe
from payonce.domain.routing import ConnectorAccount
from tests.storage.reconciling.acquirer import Acquirer, Body
from tests.support.servers import ACQUIRER_KEY

ACCOUNT = "account_1"


class Side(Protocol):
    """What a shop does at its acquirer beside payonce. `page`: the name of what says how long a page is."""

    page: str

    async def opened(self) -> tuple[ConnectorAccount, Connector]: ...

    async def charges(
        self, reference: str | None, payment_id: str, *, amount: int, capture: bool
    ) -> tuple[str, str]:
        """Its id there, and under which name its ledger has it. `reference`: None, where it is somebody else's."""
        ...

    async def refunds(self, charge_id: str, amount: int, *, reference: str | None, payment_id: str) -> str:
        """Its id there. `reference`: None, where somebody does so by hand."""
        ...

    async def lets_go(self, charge_id: str, payment_id: str) -> None:
        """What is held is released, and payonce did not ask for it."""
        ...


class SandboxSide:
    """The sandbox's own cards."""

    page = "payonce.connectors.sandbox.wire.LIST_PAGE"

    def __init__(self, acquirer: Acquirer) -> None:
        self._acquirer = acquirer
        self._charged: set[str] = set()

    async def opened(self) -> tuple[ConnectorAccount, Connector]:
        account = _account("sandbox_card", str(self._acquirer.client.base_url), key=ACQUIRER_KEY)
        return account, SandboxCard(account)

    async def charges(
        self, reference: str | None, payment_id: str, *, amount: int, capture: bool
    ) -> tuple[str, str]:
        if reference in self._charged:  # an acquirer that charges twice
            await self._acquirer.client.patch("/config", json={"idempotency": "ignored"})
        self._charged |= {reference or payment_id}
        named = {"reference": reference or payment_id, "payment_reference": payment_id}
        answer = await self._acquirer.authorize(**named, amount=amount, capture=capture)
        return answer["id"], payment_id

    async def refunds(self, charge_id: str, amount: int, *, reference: str | None, payment_id: str) -> str:
        order = {
            "reference": reference or "by-hand",
            "payment_reference": payment_id,
            "authorization": charge_id,
            "amount": amount,
            "currency": "INR",
        }
        answer = (await self._acquirer.post("/refunds", order)).json()
        assert answer["status"] == "approved"
        return str(answer["id"])

    async def lets_go(self, charge_id: str, payment_id: str) -> None:
        await _voided_in_the_dashboard(self._acquirer.client, payment_id)


class StripeSide:
    """An account of Stripe's."""

    page = "payonce.connectors.stripe.listing.LIST_PAGE"
    identity, key = "acct_1Reconciled", "sk_test_reconciled0001"

    def __init__(self, acquirer: Acquirer) -> None:
        self._client = acquirer.client

    async def opened(self) -> tuple[ConnectorAccount, Connector]:
        members = {"id": self.identity, "keys": [{"key": self.key}]}
        put = await self._client.put(f"/stripe/accounts/{self.identity}", json=members)
        put.raise_for_status()
        account = _account("stripe", f"{self._client.base_url}/stripe", key=self.key)
        return account, Stripe(account)

    async def charges(
        self, reference: str | None, payment_id: str, *, amount: int, capture: bool
    ) -> tuple[str, str]:
        form = {
            "amount": amount,
            "currency": "inr",
            "capture_method": "automatic" if capture else "manual",
            "payment_method_types[]": "card",
            "payment_method": "pm_card_visa",
            "confirm": "true",
        }
        ours = {"metadata[payonce_reference]": reference, "metadata[payonce_payment]": payment_id}
        made = await self._post("/payment_intents", form | (ours if reference else {}))
        return made["id"], payment_id if reference else made["id"]

    async def refunds(self, charge_id: str, amount: int, *, reference: str | None, payment_id: str) -> str:
        ours = {"metadata[payonce_reference]": reference} if reference else {}
        return str(
            (await self._post("/refunds", {"payment_intent": charge_id, "amount": amount, **ours}))["id"]
        )

    async def lets_go(self, charge_id: str, payment_id: str) -> None:
        await _voided_in_the_dashboard(self._client, payment_id)

    async def _post(self, path: str, form: Body) -> Body:
        headers = {"Authorization": f"Bearer {self.key}"}
        answer: httpx.Response = await self._client.post(f"/stripe/v1{path}", data=form, headers=headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


class RazorpaySide:
    """An account of Razorpay's. Its customers pass their bank's page at once."""

    page = "payonce.connectors.razorpay.listing.LIST_PAGE"
    identity, key_id, secret = "acc_Reconciled0001", "rzp_test_Reconciled0001", "reconciled-secret"

    def __init__(self, acquirer: Acquirer) -> None:
        self._client = acquirer.client

    async def opened(self) -> tuple[ConnectorAccount, Connector]:
        members = {"id": self.identity, "keys": [{"id": self.key_id, "secret": self.secret}]}
        put = await self._client.put(f"/razorpay/accounts/{self.identity}", json=members)
        put.raise_for_status()
        key = f"{self.key_id}:{self.secret}"
        account = _account("razorpay", f"{self._client.base_url}/razorpay", key=key)
        return account, Razorpay(account)

    async def charges(
        self, reference: str | None, payment_id: str, *, amount: int, capture: bool
    ) -> tuple[str, str]:
        own_id = await self._asked(reference, payment_id, amount=amount, capture=capture)
        await self._passes(own_id)
        return own_id, payment_id

    async def authorizes_late(self, reference: str, payment_id: str, *, amount: int) -> None:
        """The bank said nothing for ten minutes, and yes later."""
        own_id = await self._asked(reference, payment_id, amount=amount, capture=True)
        for said in ("times_out", "approves"):
            await self._says(own_id, said)

    async def forges(self, reference: str, payment_id: str, *, amount: int) -> str:
        """Somebody's order is paid in a browser that writes a reference of ours into the notes; its id there."""
        order = await self._order("order-17", amount=amount, capture=True)
        own_id = await self._pays(order, amount, notes=_notes(reference, payment_id))
        await self._passes(own_id)
        return own_id

    async def _passes(self, own_id: str) -> None:
        """Its bank's page says yes."""
        path = f"/razorpay/v1/payments/{own_id.removeprefix('pay_')}/authenticate"
        passed = await self._client.post(
            path, data={"decision": "success"}, headers={"Accept": "application/json"}
        )
        passed.raise_for_status()

    async def _asked(self, reference: str | None, payment_id: str, *, amount: int, capture: bool) -> str:
        order = await self._order(payment_id, amount=amount, capture=capture)
        return await self._pays(order, amount, notes=_notes(reference, payment_id) if reference else {})

    async def _order(self, receipt: str, *, amount: int, capture: bool) -> str:
        options = {"automatic_expiry_period": 12, "manual_expiry_period": 7200, "refund_speed": "normal"}
        mode = {"capture": "automatic" if capture else "manual", "capture_options": options}
        asked = {"amount": amount, "currency": "INR", "receipt": receipt, "payment": mode}
        return str((await self._post("/orders", asked))["id"])

    async def _pays(self, order_id: str, amount: int, *, notes: dict[str, str]) -> str:
        asked = {"amount": amount, "currency": "INR", **_BY_WALLET, "order_id": order_id, "notes": notes}
        return str((await self._post("/payments/create/json", asked))["razorpay_payment_id"])

    async def refunds(self, charge_id: str, amount: int, *, reference: str | None, payment_id: str) -> str:
        notes = _notes(reference, payment_id) if reference else {}
        body = {"amount": amount, "notes": notes}
        return str((await self._post(f"/payments/{charge_id}/refund", body))["id"])

    async def lets_go(self, charge_id: str, payment_id: str) -> None:
        await self._says(charge_id, "lapses")

    async def _says(self, own_id: str, bank: str) -> None:
        (await self._client.post(f"/razorpay/payments/{own_id}", json={"bank": bank})).raise_for_status()

    async def _post(self, path: str, body: Body) -> Body:
        auth = httpx.BasicAuth(self.key_id, self.secret)
        answer: httpx.Response = await self._client.post(f"/razorpay/v1{path}", json=body, auth=auth)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


_BY_WALLET: Final = {
    "method": "wallet",
    "wallet": "phonepe",
    "email": "asha@example.com",
    "contact": "+919000090000",
    "callback_url": "http://127.0.0.1:9/back",
}
SIDES: Final[dict[str, type[SandboxSide | StripeSide | RazorpaySide]]] = {
    "sandbox": SandboxSide,
    "stripe": StripeSide,
    "razorpay": RazorpaySide,
}


def _notes(reference: str, payment_id: str) -> dict[str, str]:
    return {"payonce_reference": reference, "payonce_payment": payment_id}


async def _voided_in_the_dashboard(client: httpx.AsyncClient, payment_id: str) -> None:
    asked = {"payment_reference": payment_id, "what": "void"}
    (await client.post("/dashboard", json=asked)).raise_for_status()


def _account(connector: str, url: str, *, key: str, **members: Any) -> ConnectorAccount:
    return ConnectorAccount(
        id=ACCOUNT,
        connector=connector,
        mode="test",
        base_url=url,
        secrets={"key": (key,)},
        options={"finality_s": "10"},
        upstream_secret=b"s" * 32,
        **members,
    )

"""A stack on which payments are made for their histories, and what is done to them."""

import asyncio
import hashlib
import hmac
import json
import time
from dataclasses import dataclass

import httpx
from temporalio.client import Client

from devstack.stack import DevStack
from payonce.domain.ids import attempt_reference
from tests.e2e.merchant import Body, Merchant, answered
from tests.replay.histories import CARD, FOLDER, path_of, write
from tests.support.eventually import eventually
from tests.support.servers import ACQUIRER_KEY

UNTIL_DONE_S = 120.0
CARD_METHOD = {"type": "card", "card": CARD}
UPI_METHOD = {"type": "upi", "upi": {"flow": "intent"}}


@dataclass(frozen=True)
class Recorder:
    """A stack on which payments are made, and the way to their histories."""

    stack: DevStack
    shop: Merchant
    temporal: Client

    async def keep(self, name: str, workflow_id: str, *, run_id: str | None = None) -> None:
        """The history of the workflow's latest run, or of this one, is in its file, once the latest has ended."""
        async with asyncio.timeout(UNTIL_DONE_S):
            await self.temporal.get_workflow_handle(workflow_id).result()
        write(name, await self.temporal.get_workflow_handle(workflow_id, run_id=run_id).fetch_history())
        print(f"recorded {path_of(name).relative_to(FOLDER.parent)}")

    async def pay(
        self, *, fault: str | None = None, method: Body = CARD_METHOD, capture_method: str = "automatic"
    ) -> Body:
        """A payment with the recorded card, whatever became of it."""
        metadata = {} if fault is None else {"sandbox_fault": fault}
        answer = await self.shop.pay(payment_method=method, metadata=metadata, capture_method=capture_method)
        body = answer.json()
        payment: Body = body.get("payment", body)
        return payment

    async def endpoint(self, url: str, *types: str) -> str:
        """The id of a new endpoint that wants these events."""
        made = await self.shop.post("/v1/webhook_endpoints", {"url": url, "events": list(types)})
        return str(answered(made, 201)["id"])

    async def failed_delivery(self, endpoint_id: str) -> str:
        """The id of the endpoint's only delivery, once its workflow has been started."""
        query = f"EndpointId = '{endpoint_id}'"
        return str(await eventually(lambda: self.listed(query), timeout_s=60.0))

    async def ask(
        self, vpa: str = "pending@upi", *, fault: str | None = None, method: Body = UPI_METHOD
    ) -> Body:
        """A payment whose customer is asked, and decides as this address does."""
        metadata = {"sandbox_vpa": vpa} | ({} if fault is None else {"sandbox_fault": fault})
        return answered(await self.shop.pay(payment_method=method, metadata=metadata), 201)

    async def is_pending(self, payment: Body) -> None:
        """Returns once a capture or void of the payment is."""

        async def is_so() -> bool:
            return (await self.shop.payment(payment))["pending_operation"] is not None

        await eventually(is_so, UNTIL_DONE_S)

    async def disputed(self, payment: Body) -> str | None:
        """The id of the payment's dispute, once it is known."""
        listed = answered(await self.shop.get("/v1/disputes", limit=100), 200)["data"]
        return next((str(one["id"]) for one in listed if one["payment"] == payment["id"]), None)

    async def decide(self, payment: Body) -> None:
        """The customer approves on the sandbox page."""
        async with httpx.AsyncClient(trust_env=False, timeout=60) as customer:
            page = payment["next_action"]["sandbox_url"]
            answer = await customer.post(
                page, data={"decision": "approve"}, headers={"Accept": "application/json"}
            )
            answer.raise_for_status()

    async def challenged(self, number: str) -> Body:
        """A payment whose cardholder is sent to their bank's page."""
        method = {"type": "card", "card": {**CARD, "number": number}}
        payment = answered(await self.shop.pay(payment_method=method), 201)
        assert payment["status"] == "requires_action", payment
        return payment

    async def come_back(self, payment: Body) -> None:
        """The cardholder passes, and their browser follows where that leads."""
        async with httpx.AsyncClient(trust_env=False, follow_redirects=True, timeout=60) as browser:
            data = {"decision": "submit", "code": "123456"}
            (await browser.post(payment["next_action"]["url"], data=data)).raise_for_status()

    async def becomes(self, payment: Body, status: str, *, within_s: float = UNTIL_DONE_S) -> None:
        """Returns once the payment has this status."""

        async def is_so() -> bool:
            return bool((await self.shop.payment(payment))["status"] == status)

        await eventually(is_so, within_s)

    async def heard_of(self, payment: Body) -> str:
        """The workflow that followed up what the acquirer said of the decided payment."""
        query = f"WorkflowType = 'CallbackWorkflow' AND PaymentId = '{payment['id']}'"
        started = await eventually(lambda: self.listed(query), UNTIL_DONE_S)
        assert started is not None
        return started

    async def spoken_of(self, payment: Body, event: str) -> None:
        """The acquirer has told something of the payment's authorization."""
        reference, at = attempt_reference(payment["id"], 1), int(time.time())
        told = json.dumps({"id": f"{event}_{reference}", "reference": reference}).encode()
        mac = hmac.new(ACQUIRER_KEY.encode(), f"{at}.".encode() + told, hashlib.sha256).hexdigest()
        async with httpx.AsyncClient(base_url=self.stack.api_url, trust_env=False, timeout=60) as acquirer:
            headers = {"Acquirer-Signature": f"t={at},v1={mac}", "Content-Type": "application/json"}
            path = f"/v1/connectors/{payment['connector']}/callbacks"
            (await acquirer.post(path, content=told, headers=headers)).raise_for_status()

    async def listed(self, query: str) -> str | None:
        """The id of a workflow that the query lists, once there is one."""
        return next(iter([found.id async for found in self.temporal.list_workflows(query)]), None)

    async def settled(self, payment: Body, status: str) -> Body:
        """The payment, once nothing about it is unknown; it has this status then."""
        now = await self.shop.settled(payment)
        assert now["status"] == status, now
        return now

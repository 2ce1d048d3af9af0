"""An API process without a workflow worker: what it admits is carried out elsewhere."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from temporalio.worker import Worker

from activities.attempting import Attempting
from activities.options import owner_queue
from api.admission.admission import Admission
from api.admission.requests import NewPayment, Post
from devstack.seed import NAMES as NAMES_OF_MERCHANTS
from devstack.stack import DevStack
from payonce.claims import Claimant
from payonce.domain.cards import Card
from payonce.runtime import Runtime, open_runtime
from payonce.settings import Settings
from payonce.storage.merchants import Caller, list_merchants
from tests.e2e.merchant import fresh_key
from tests.replay.histories import CARD
from workers.temporal import connect


@dataclass(frozen=True)
class Process:
    """An API process as far as it admits payments and, perhaps, answers on its own task queue."""

    runtime: Runtime
    admission: Admission

    async def create(self) -> str:
        """The id of a payment that was admitted here and is carried out elsewhere."""
        async with self.runtime.database.transaction() as connection:
            ids = {merchant.name: merchant.id for merchant in await list_merchants(connection)}
        key = fresh_key()
        caller = Caller(ids[NAMES_OF_MERCHANTS[0]], "test")
        number, cvc = str(CARD["number"]), str(CARD["cvc"])
        await self.admission.create_payment(
            Post(caller=caller, key=key, fingerprint=key.encode(), request_id=key),
            NewPayment(
                amount_minor=1099,
                currency="INR",
                capture_method="automatic",
                card=Card(number, 12, 2030, cvc),
                payment_method={"type": "card", "card": {"brand": "visa", "last4": number[-4:]}},
            ),
        )
        return self.runtime.ids.payment(merchant_id=caller.merchant_id, mode=caller.mode, key=key)


@asynccontextmanager
async def process_without_workflows(stack: DevStack, *, answers: bool) -> AsyncIterator[Process]:
    """Its starts are never eager, since its client has no workflow worker."""
    async with open_runtime(settings_of(stack)) as runtime, AsyncExitStack() as open_until_done:
        client = await connect(runtime.settings)
        attempting = Attempting(
            rights=runtime.rights,
            claimant=Claimant(runtime.database, runtime.rights, runtime.accounts),
            recorder=runtime.recorder,
            accounts=runtime.accounts,
            fail_over=runtime.database.fail_over,
        )
        if answers:
            queue = owner_queue(runtime.rights.owner)
            worker = Worker(client, task_queue=queue, activities=[attempting.authorize])
            await open_until_done.enter_async_context(worker)
        yield Process(runtime, Admission(runtime, client))


def settings_of(stack: DevStack) -> Settings:
    """What the product's processes are told."""
    prefix = "PAYONCE_"
    given = {name: value for name, value in stack.product_environ().items() if name.startswith(prefix)}
    known = {name.removeprefix(prefix).lower(): value for name, value in given.items()}
    texts: dict[str, Any] = {name: value for name, value in known.items() if name in Settings.model_fields}
    return Settings(**texts)

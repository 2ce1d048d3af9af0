"""Merchants at work while something breaks: payments, captures and refunds, each asked for until it is answered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.faults.books import at_rest
from tests.faults.deeds import AUTOMATIC, CAPTURE, MANUAL, REFUND, VOID
from tests.faults.shop import NEVER_SENT, Shop, patiently
from tests.support.witness import Witness
from tests.webhooks.receiver import Receiver

MERCHANTS = 6
ROUNDS_MAX = 200
ENOUGH = 6  # rounds before the break, and again after it


@dataclass
class Load:
    """Which payments were made so far."""

    shop: Shop
    payments: list[str] = field(default_factory=list)
    stopped: bool = False

    async def goes_on(self) -> None:
        """Some more rounds were finished from now on."""
        enough = len(self.payments) + ENOUGH

        async def finished() -> bool:
            return len(self.payments) >= enough

        await patiently(finished, within_s=60.0)

    async def work(self) -> None:
        """One merchant, round after round: a payment, and a change of it if it was made."""
        for number in range(ROUNDS_MAX):
            if self.stopped:
                return
            create, change = ((AUTOMATIC, REFUND), (MANUAL, CAPTURE), (MANUAL, VOID))[number % 3]
            created = await create.prepare(self.shop)
            response = await created.answered(self.shop)
            if response.status_code == 201:
                await change.ask(self.shop, created.payment_id).answered(self.shop)
            else:
                assert response.json()["payment"]["last_error"]["code"] in NEVER_SENT, response.text
            self.payments.append(created.payment_id)


@asynccontextmanager
async def under_load(shop: Shop, ledger: Witness, hooks: Receiver) -> AsyncIterator[Load]:
    """Merchants work while the block runs; afterwards all books agree and every event was delivered."""
    load = Load(shop)
    async with asyncio.TaskGroup() as group:
        for _ in range(MERCHANTS):
            group.create_task(load.work())
        await load.goes_on()
        yield load
        await load.goes_on()
        load.stopped = True
    for payment_id in load.payments:
        books = await at_rest(shop, ledger, payment_id)
        await delivered(hooks, {event["id"] for event in books.events})


async def delivered(hooks: Receiver, event_ids: set[str]) -> None:
    """The receiver has got each of the events at least once."""

    async def none_missing() -> bool:
        return event_ids <= set(hooks.ids)

    await patiently(none_missing, within_s=60.0)

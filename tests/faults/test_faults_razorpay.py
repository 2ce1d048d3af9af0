"""The API process is killed at every point of an attempt at Razorpay, whose payments and captures have no key.

By UPI, whose test mode answers by itself. No payment is ever sent twice: what became of it is asked by the order. A
capture and a refund that are not found there are sent again, and done once.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from devstack import razorpay_account
from devstack.stack import DevStack
from tests.faults import deeds
from tests.faults.arming import Point, doomed_api, environ_with_faults
from tests.faults.books import Books, at_rest
from tests.faults.conftest import NOT_THE_ACQUIRER
from tests.faults.deeds import Asked, Deed
from tests.faults.shop import Json, Shop, open_shop, patiently
from tests.support.servers import ACQUIRER_KEY, running
from tests.support.witness import Witness, witness_of

SHORT = {"only_asked": "off", "call_deadline_s": "3", "finality_s": "2"}
WITHIN_S = 180.0
BY_UPI: Json = {
    "payment_method": {"type": "upi", "upi": {"flow": "qr"}},
    "customer": {"name": "Asha Rao", "email": "asha@shop.example", "phone": "+919000090000"},
}
DEEDS = (deeds.AUTOMATIC, deeds.CAPTURE, deeds.REFUND)
POINTS: tuple[Point, ...] = ("admitted", "before_send", "after_send", "after_record")
BY_NAME = pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.name)

Ended = tuple[Asked, httpx.Response, Books]
Reached = dict[str, "asyncio.Task[dict[str, Asked]]"]


@dataclass(frozen=True)
class City:
    """The product, whose UPI payments all go to Razorpay; its merchant, and Razorpay's own ledger."""

    stack: DevStack
    shop: Shop
    ledger: Witness

    async def prepared(self, url: str, deed: Deed) -> Asked:
        """A request for the process at `url`, about a payment that is ready for it."""
        there = self.shop.at(url)
        if not deed.path:
            return await deed.prepare(there, **BY_UPI)
        method, status = ("manual", "authorized") if deed.kind == "capture" else ("automatic", "captured")
        payment_id = await there.created(capture_method=method, **BY_UPI)
        await self.becomes(payment_id, status)
        return deed.ask(there, payment_id)

    async def becomes(self, payment_id: str, *statuses: str) -> None:
        async def so() -> bool:
            return (await self.shop.payment(payment_id))["status"] in statuses

        await patiently(so, within_s=WITHIN_S)

    async def ended(self, asked: Asked) -> Ended:
        """What became of a request, at rest."""
        response = await self.shop.answered(asked.path, asked.body, key=asked.key, within_s=WITHIN_S)
        if asked.deed.kind == "authorize":
            await self.becomes(asked.payment_id, "captured", "failed")
        return asked, response, await at_rest(self.shop, self.ledger, asked.payment_id, within_s=WITHIN_S)


@pytest.fixture(scope="module")
async def razorpays_city(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[City]:
    """Everything of it runs."""
    faults: Path = tmp_path_factory.mktemp("razorpay-faults")
    async with running("acquirer") as bank:
        accounts = razorpay_account.settings(bank.acquirer_url, ACQUIRER_KEY, **SHORT)
        environ = {"PAYONCE_SANDBOX_ACQUIRER_URL": bank.acquirer_url}
        own = {"PAYONCE_CONNECTOR_ACCOUNTS": accounts, **environ_with_faults(faults)}
        async with (
            running(*NOT_THE_ACQUIRER, environ=environ, product_environ=own) as stack,
            open_shop(stack) as shop,
            witness_of(bank.acquirer_url) as witness,
        ):
            await razorpay_account.play(bank.acquirer_url, ACQUIRER_KEY, api_url=stack.api_url)
            yield City(stack, shop, witness)


@pytest.fixture(scope="module")
async def reached(razorpays_city: City) -> AsyncIterator[Reached]:
    """What was asked for of each process that was killed at each point; all at once, since most of it is waiting."""
    tasks: Reached = {point: asyncio.create_task(_kill_at(razorpays_city, point)) for point in POINTS}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


async def _kill_at(city: City, point: Point) -> dict[str, Asked]:
    """One request of each kind has reached the point in one process, and the process is dead."""
    async with doomed_api(city.stack, name=f"razorpay-{point}") as doomed:
        asked = [await city.prepared(doomed.url, deed) for deed in DEEDS]
        for one in asked:
            doomed.arm(one.deed.kind, point, one.payment_id, action="kill", together=len(asked))
        there = city.shop.at(doomed.url)
        await asyncio.gather(*(one.send(there) for one in asked))
        for one in asked:
            await doomed.reached(one.deed.kind, point, one.payment_id)
    return {one.deed.name: one for one in asked}


@BY_NAME
@pytest.mark.parametrize("point", ["after_send", "after_record"])
async def test_what_razorpay_did_before_the_kill_is_done_once(
    razorpays_city: City, reached: Reached, point: str, deed: Deed
) -> None:
    asked, response, books = await razorpays_city.ended((await reached[point])[deed.name])
    asked.check_done(response, books)


async def test_a_payment_that_was_claimed_and_not_sent_to_razorpay_fails_and_says_so(
    razorpays_city: City, reached: Reached
) -> None:
    """Its order has none of it. It says `card_data_lost`, by UPI too: its process died."""
    begun = (await reached["before_send"])[deeds.AUTOMATIC.name]
    asked, response, books = await razorpays_city.ended(begun)
    asked.check_undone(response, books, code="card_data_lost")


@pytest.mark.parametrize("deed", DEEDS[1:], ids=lambda deed: deed.name)
async def test_what_was_claimed_and_not_sent_to_razorpay_is_sent_by_others_and_done_once(
    razorpays_city: City, reached: Reached, deed: Deed
) -> None:
    asked, response, books = await razorpays_city.ended((await reached["before_send"])[deed.name])
    asked.check_done(response, books)


@pytest.mark.parametrize("deed", DEEDS[1:], ids=lambda deed: deed.name)
async def test_what_was_admitted_is_carried_out_once_by_others(
    razorpays_city: City, reached: Reached, deed: Deed
) -> None:
    asked, response, books = await razorpays_city.ended((await reached["admitted"])[deed.name])
    asked.check_done(response, books)

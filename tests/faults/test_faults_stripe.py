"""The API process is killed at every point of an attempt at Stripe, whose money call comes after others.

What it claimed and did not send, or sent long after others had asked about it, is sent under the same key by others:
it is done once, whichever of the requests comes first.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from devstack import stripe_account
from devstack.stack import DevStack
from tests.faults import deeds
from tests.faults.arming import Point, doomed_api, environ_with_faults
from tests.faults.books import Books, at_rest
from tests.faults.conftest import NOT_THE_ACQUIRER
from tests.faults.deeds import Asked, Deed
from tests.faults.shop import Shop, open_shop, patiently
from tests.support.servers import ACQUIRER_KEY, running
from tests.support.witness import Witness, witness_of

SHORT = {"only_asked": "off", "call_deadline_s": "3", "finality_s": "2"}
POINTS: tuple[Point, ...] = ("admitted", "before_send", "after_send", "after_record")
AGAIN = (deeds.CAPTURE, deeds.VOID, deeds.REFUND)  # sent again where they are not found
DEEDS = (deeds.AUTOMATIC, *AGAIN)
IN_A_CALL: Point = "after_check"  # of the first call that is made, which is none that moves money
BY_NAME = pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.name)
OF_AGAIN = pytest.mark.parametrize("deed", AGAIN, ids=lambda deed: deed.name)

Ended = tuple[Asked, httpx.Response, Books]
Killed = dict[tuple[str, str], "asyncio.Task[Ended]"]
Late = dict[str, "asyncio.Task[Ended]"]


@pytest.fixture(scope="module")
async def stripes_bank() -> AsyncIterator[DevStack]:
    """An acquirer that plays Stripe, and honours its keys as Stripe does."""
    async with running("acquirer") as stack:
        yield stack


@pytest.fixture(scope="module")
async def stripes_city(
    stripes_bank: DevStack, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[DevStack]:
    """The product, whose cards all go to Stripe."""
    accounts = stripe_account.settings(stripes_bank.acquirer_url, ACQUIRER_KEY, **SHORT)
    faults: Path = tmp_path_factory.mktemp("stripe-faults")
    async with running(
        *NOT_THE_ACQUIRER,
        environ={"PAYONCE_SANDBOX_ACQUIRER_URL": stripes_bank.acquirer_url},
        product_environ={"PAYONCE_CONNECTOR_ACCOUNTS": accounts, **environ_with_faults(faults)},
    ) as stack:
        await stripe_account.play(stripes_bank.acquirer_url, ACQUIRER_KEY, api_url=stack.api_url)
        yield stack


@pytest.fixture(scope="module")
async def stripes_shop(stripes_city: DevStack) -> AsyncIterator[Shop]:
    async with open_shop(stripes_city) as shop:
        yield shop


@pytest.fixture(scope="module")
async def killed(stripes_bank: DevStack, stripes_city: DevStack, stripes_shop: Shop) -> AsyncIterator[Killed]:
    """What became of each deed whose process was killed at each point; all at once, since most of it is waiting."""
    async with witness_of(stripes_bank.acquirer_url) as ledger:
        reached = {
            **{point: asyncio.create_task(_kill_at(stripes_city, stripes_shop, point)) for point in POINTS},
            IN_A_CALL: asyncio.create_task(_kill_at(stripes_city, stripes_shop, IN_A_CALL, deeds.AUTOMATIC)),
        }
        tasks = {
            (point, deed.name): asyncio.create_task(_end(stripes_shop, ledger, reached[point], deed))
            for point in reached
            for deed in DEEDS
            if point != IN_A_CALL or deed is deeds.AUTOMATIC
        }
        yield tasks
        for task in (*tasks.values(), *reached.values()):
            task.cancel()
        await asyncio.gather(*tasks.values(), *reached.values(), return_exceptions=True)


async def _kill_at(city: DevStack, shop: Shop, point: Point, *of: Deed) -> dict[str, Asked]:
    """One request of each kind has reached the point in one process, and the process is dead."""
    async with doomed_api(city, name=f"stripe-{point}") as doomed:
        there = shop.at(doomed.url)
        asked = [await deed.prepare(there) for deed in of or DEEDS]
        for one in asked:
            doomed.arm(one.deed.kind, point, one.payment_id, action="kill", together=len(asked))
        await asyncio.gather(*(one.send(there) for one in asked))
        for one in asked:
            await doomed.reached(one.deed.kind, point, one.payment_id)
    return {one.deed.name: one for one in asked}


async def _end(shop: Shop, ledger: Witness, reached: "asyncio.Task[dict[str, Asked]]", deed: Deed) -> Ended:
    asked = (await reached)[deed.name]
    response = await asked.answered(shop)
    return asked, response, await at_rest(shop, ledger, asked.payment_id)


@BY_NAME
@pytest.mark.parametrize("point", ["after_send", "after_record"])
async def test_what_stripe_did_before_the_kill_is_done_once(killed: Killed, point: str, deed: Deed) -> None:
    asked, response, books = await killed[point, deed.name]
    asked.check_done(response, books)


async def test_a_card_that_was_claimed_and_not_sent_to_stripe_fails_and_says_so(killed: Killed) -> None:
    asked, response, books = await killed["before_send", deeds.AUTOMATIC.name]
    asked.check_undone(response, books, code="card_data_lost")


@OF_AGAIN
async def test_what_was_claimed_and_not_sent_to_stripe_is_sent_by_others_and_done_once(
    killed: Killed, deed: Deed
) -> None:
    asked, response, books = await killed["before_send", deed.name]
    asked.check_done(response, books)


@BY_NAME
async def test_what_was_admitted_is_carried_out_by_others_unless_the_card_died(
    killed: Killed, deed: Deed
) -> None:
    asked, response, books = await killed["admitted", deed.name]
    if deed.kind == "authorize":
        asked.check_undone(response, books, code="card_data_lost")
    else:
        asked.check_done(response, books)


async def test_a_process_that_dies_in_a_call_before_the_money_call_leaves_nothing_in_the_ledger(
    killed: Killed,
) -> None:
    asked, response, books = await killed[IN_A_CALL, deeds.AUTOMATIC.name]
    asked.check_undone(response, books, code="card_data_lost")


@pytest.fixture(scope="module")
async def late(stripes_bank: DevStack, stripes_city: DevStack, stripes_shop: Shop) -> AsyncIterator[Late]:
    """What became of each deed whose request arrived long after others had asked about it; all at once."""
    async with witness_of(stripes_bank.acquirer_url) as ledger:
        tasks = {
            deed.name: asyncio.create_task(_arrive_late(stripes_city, stripes_shop, ledger, deed))
            for deed in AGAIN
        }
        yield tasks
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


async def _arrive_late(city: DevStack, shop: Shop, ledger: Witness, deed: Deed) -> Ended:
    """Its process stands still between the last check and the write to the socket, until others have its outcome."""
    async with doomed_api(city, name=f"stripe-late-{deed.name}") as doomed:
        there = shop.at(doomed.url)
        asked = await deed.prepare(there)
        doomed.arm(deed.kind, IN_A_CALL, asked.payment_id, action="stop")
        sending = asyncio.create_task(asked.send(there))
        try:
            await doomed.reached(deed.kind, IN_A_CALL, asked.payment_id)
            response = await asked.answered(shop)
            before = len(await _asked_for(ledger, asked))
            doomed.service.resume()

            async def arrived_or_given_up() -> bool:
                """Once its time is over it may end the call before a byte is written, as the machine goes."""
                return sending.done() or len(await _asked_for(ledger, asked)) > before

            await patiently(arrived_or_given_up, within_s=60.0)
        finally:
            await sending
        return asked, response, await at_rest(shop, ledger, asked.payment_id)


async def _asked_for(ledger: Witness, asked: Asked) -> list[str]:
    """The requests that Stripe got to do it, whatever it answered."""
    requests = await ledger.requests(payment_reference=asked.payment_id)
    return [one["operation"] for one in requests if one["operation"] == asked.deed.kind]


@OF_AGAIN
async def test_what_arrives_after_it_was_sent_again_is_done_once(late: Late, deed: Deed) -> None:
    asked, response, books = await late[deed.name]
    asked.check_done(response, books)

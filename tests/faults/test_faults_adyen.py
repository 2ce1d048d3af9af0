"""The API process is killed, or stopped, at every point of an attempt at Adyen, which answers no questions.

A modification is sent again under its key by whoever carries it on. An authorization only its own process could send
again, which is dead: what Adyen has of it the webhook tells, and of what it never got nobody ever says anything.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from devstack import adyen_account
from devstack.stack import DevStack
from payonce.connectors.adyen import references
from tests.faults import deeds
from tests.faults.arming import Point, doomed_api, environ_with_faults
from tests.faults.books import Books, at_rest
from tests.faults.conftest import NOT_THE_ACQUIRER
from tests.faults.deeds import Asked, Deed
from tests.faults.shop import Json, Shop, open_shop, patiently
from tests.support.servers import ACQUIRER_KEY, running
from tests.support.witness import Entry, Witness, witness_of

SHORT = {"only_asked": "off", "call_deadline_s": "3"}
WITHIN_S = 180.0  # what is in doubt is sent again after 2, 5, 15 and 60 s
HOLDER: Json = {
    "return_url": "https://shop.example/back",
    "customer": {"email": "asha@shop.example"},
    "billing": {
        "name": "Asha Rao",
        "address": {"line1": "7 Larkspur Lane", "city": "Pune", "postal_code": "411001", "country": "IN"},
    },
    "browser": {
        **{"ip": "203.0.113.7", "user_agent": "Mozilla/5.0", "accept": "text/html", "language": "en-GB"},
        **{"color_depth": 24, "screen_width": 1080, "screen_height": 2400, "time_zone_offset": -330},
        "java_enabled": False,
    },
}
AUTOMATIC = deeds.AUTOMATIC
MODIFICATIONS = (deeds.CAPTURE, deeds.VOID, deeds.REFUND)
DEEDS = (AUTOMATIC, *MODIFICATIONS)
POINTS: tuple[Point, ...] = ("admitted", "before_send", "after_send", "after_record")
BY_NAME = pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.name)
MODIFIED = pytest.mark.parametrize("deed", MODIFICATIONS, ids=lambda deed: deed.name)

Ended = tuple[Asked, httpx.Response, Books]
Reached = dict[str, "asyncio.Task[dict[str, Asked]]"]


class AdyensLedger(Witness):
    """Adyen knows a payment by letters and digits alone."""

    async def ledger(self, **query: str) -> list[Entry]:
        return await super().ledger(**{name: references.plain(text) for name, text in query.items()})


@dataclass(frozen=True)
class City:
    """The product, whose cards all go to Adyen; its merchant, and Adyen's own ledger."""

    stack: DevStack
    shop: Shop
    ledger: AdyensLedger

    async def prepared(self, url: str, wanted: tuple[Deed, ...]) -> list[Asked]:
        """Requests for the process at `url`, about payments that are ready for them at Adyen, too."""
        there = self.shop.at(url)
        return [await deed.prepare(there, **HOLDER) for deed in wanted]

    async def ended(self, asked: Asked) -> Ended:
        """What became of a request, at rest."""
        response = await self.shop.answered(asked.path, asked.body, key=asked.key, within_s=WITHIN_S)
        return asked, response, await at_rest(self.shop, self.ledger, asked.payment_id, within_s=WITHIN_S)

    async def received(self, asked: Asked) -> list[str]:
        """What Adyen was asked for about the payment."""
        found = await self.ledger.requests(payment_reference=references.plain(asked.payment_id))
        return [entry["operation"] for entry in found]


@pytest.fixture(scope="module")
async def adyens_city(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[City]:
    """Everything of it runs."""
    faults: Path = tmp_path_factory.mktemp("adyen-faults")
    async with running("acquirer") as bank:
        accounts = json.dumps([adyen_account.account(bank.acquirer_url, ACQUIRER_KEY, **SHORT)])
        environ = {"PAYONCE_SANDBOX_ACQUIRER_URL": bank.acquirer_url}
        own = {"PAYONCE_CONNECTOR_ACCOUNTS": accounts, **environ_with_faults(faults)}
        async with (
            running(*NOT_THE_ACQUIRER, environ=environ, product_environ=own) as stack,
            open_shop(stack) as shop,
            witness_of(bank.acquirer_url) as witness,
        ):
            await adyen_account.play(bank.acquirer_url, ACQUIRER_KEY, api_url=stack.api_url)
            yield City(stack, shop, AdyensLedger(witness.url, witness.client))


@pytest.fixture(scope="module")
async def reached(adyens_city: City) -> AsyncIterator[Reached]:
    """What was asked for of each process that was killed at each point; all at once, since most of it is waiting."""
    tasks: Reached = {point: asyncio.create_task(_kill_at(adyens_city, point)) for point in POINTS}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


async def _kill_at(city: City, point: Point) -> dict[str, Asked]:
    """One request of each kind has reached the point in one process, and the process is dead."""
    async with doomed_api(city.stack, name=f"adyen-{point}") as doomed:
        asked = await city.prepared(doomed.url, DEEDS)
        for one in asked:
            doomed.arm(one.deed.kind, point, one.payment_id, action="kill", together=len(asked))
        there = city.shop.at(doomed.url)
        await asyncio.gather(*(one.send(there) for one in asked))
        for one in asked:
            await doomed.reached(one.deed.kind, point, one.payment_id)
    return {one.deed.name: one for one in asked}


@BY_NAME
@pytest.mark.parametrize("point", ["after_send", "after_record"])
async def test_what_adyen_did_before_the_kill_is_done_once(
    adyens_city: City, reached: Reached, point: str, deed: Deed
) -> None:
    asked, response, books = await adyens_city.ended((await reached[point])[deed.name])
    asked.check_done(response, books)


@MODIFIED
@pytest.mark.parametrize("point", ["admitted", "before_send"])
async def test_a_modification_that_was_not_sent_is_made_once_by_others(
    adyens_city: City, reached: Reached, point: str, deed: Deed
) -> None:
    asked, response, books = await adyens_city.ended((await reached[point])[deed.name])
    asked.check_done(response, books)


@pytest.mark.parametrize("point", ["admitted", "before_send"])
async def test_an_authorization_that_died_with_its_card_is_sent_by_nobody_and_is_never_called_failed(
    adyens_city: City, reached: Reached, point: str
) -> None:
    """Only a webhook could say that it failed, and of what Adyen never got there is none: after an hour, a person."""
    asked = (await reached[point])[AUTOMATIC.name]

    async def is_carried_on() -> bool:
        response = await asked.send(adyens_city.shop)
        return response is not None and response.status_code == 202

    await patiently(is_carried_on, within_s=WITHIN_S)
    assert (await adyens_city.shop.payment(asked.payment_id))["status"] == "processing"
    assert await adyens_city.received(asked) == []
    assert await adyens_city.ledger.movements(asked.payment_id) == []


@MODIFIED
async def test_a_process_that_stood_still_before_it_sent_sends_nothing_when_it_goes_on(
    adyens_city: City, deed: Deed
) -> None:
    """Others sent it under the same key meanwhile; whatever it does then, the money has moved once."""
    async with doomed_api(adyens_city.stack, name=f"adyen-stopped-{deed.name}") as doomed:
        (asked,) = await adyens_city.prepared(doomed.url, (deed,))
        doomed.arm(deed.kind, "before_send", asked.payment_id, action="stop")
        sent = asyncio.create_task(asked.send(adyens_city.shop.at(doomed.url)))
        await doomed.reached(deed.kind, "before_send", asked.payment_id)
        _, response, books = await adyens_city.ended(asked)
        asked.check_done(response, books)
        before = await adyens_city.received(asked)
        doomed.service.resume()
        await adyens_city.shop.at(doomed.url).created(**HOLDER)  # it works again
        await sent
        assert await adyens_city.received(asked) == before
        *_, books = await adyens_city.ended(asked)
        asked.check_done(response, books)


@BY_NAME
@pytest.mark.parametrize("fault", ["timeout_after_charge", "error_after_charge", "reset_after_charge"])
async def test_an_answer_that_is_lost_has_moved_the_money_once(
    adyens_city: City, deed: Deed, fault: str
) -> None:
    wished = {**HOLDER, "metadata": {"sandbox_fault": f"{deed.kind}:{fault}"}}
    asked = await deed.prepare(adyens_city.shop, **wished)
    asked, response, books = await adyens_city.ended(asked)
    asked.check_done(response, books)


@MODIFIED
async def test_a_request_that_did_not_arrive_is_sent_again_and_moves_the_money_once(
    adyens_city: City, deed: Deed
) -> None:
    wished = {**HOLDER, "metadata": {"sandbox_fault": f"{deed.kind}:timeout_before_charge"}}
    asked = await deed.prepare(adyens_city.shop, **wished)
    asked, response, books = await adyens_city.ended(asked)
    asked.check_done(response, books)

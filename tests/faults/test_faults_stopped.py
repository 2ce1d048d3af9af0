"""The API process is stopped (SIGSTOP) past the task timeout and goes on (SIGCONT) when others have settled all."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest

from devstack.stack import DevStack
from tests.faults import deeds
from tests.faults.arming import Doomed, doomed_api
from tests.faults.books import Books, at_rest, check, check_events, read
from tests.faults.deeds import Asked, Deed
from tests.faults.shop import AMOUNT, Shop, patiently
from tests.support.witness import Witness

STOPPED_DEEDS = (deeds.AUTOMATIC, deeds.CAPTURE, deeds.REFUND)
BY_NAME = pytest.mark.parametrize("deed", STOPPED_DEEDS, ids=lambda deed: deed.name)
SLOW = {"sandbox_fault": "authorize:slow:1500,capture:slow:1500,refund:slow:1500"}


@dataclass(frozen=True)
class Ended:
    """What the merchant asked for, and was answered while the process stood still."""

    asked: Asked
    response: httpx.Response

    def check_undone(self, books: Books) -> None:
        """Nothing is done, and the answer says why."""
        code = "card_data_lost" if self.asked.deed.kind == "authorize" else "not_processed"
        self.asked.check_undone(self.response, books, code=code)


Endings = dict[str, Ended]


@dataclass(frozen=True)
class Scene:
    """The parts of a stop: who asks, who judges, whose processes there are."""

    city: DevStack
    shop: Shop
    ledger: Witness

    async def before_send(self) -> Endings:
        """Claimed and committed, then stopped; all three in one process."""
        async with doomed_api(self.city, name="before-send") as doomed:
            asked = await self._prepare(doomed, *STOPPED_DEEDS)
            for one in asked:
                doomed.arm(one.deed.kind, "before_send", one.payment_id, action="stop", together=len(asked))
            async with self._sent(doomed, asked):
                for one in asked:
                    await doomed.reached(one.deed.kind, "before_send", one.payment_id)
                return await self._settled_by_others(doomed, asked)

    async def during_the_call(self) -> Endings:
        """Stopped while the acquirer works on it; the money moves meanwhile."""
        async with doomed_api(self.city, name="during-the-call") as doomed:
            asked = await self._prepare(doomed, *STOPPED_DEEDS, metadata=SLOW)
            async with self._sent(doomed, asked):
                for one in asked:
                    await self._arrives(one)
                doomed.service.pause()
                return await self._settled_by_others(doomed, asked)

    async def after_the_last_check(self, deed: Deed, *, late: bool) -> Endings:
        """Stopped between the last check and the write to the socket: what is left of the risk (rule 9)."""
        async with doomed_api(self.city, name=f"after-check-{deed.name}") as doomed:
            asked = await self._prepare(doomed, deed)
            doomed.arm(deed.kind, "after_check", asked[0].payment_id, action="stop")
            async with self._sent(doomed, asked):
                await doomed.reached(deed.kind, "after_check", asked[0].payment_id)
                endings = await self._settled_by_others(doomed, asked)
                await self._arrives(asked[0])
            if late:  # the sender itself finds it out
                await self.late_books(endings[deed.name])
            return endings

    async def books(self, ended: Ended) -> Books:
        """The books, which agree, after the process went on."""
        return await at_rest(self.shop, self.ledger, ended.asked.payment_id)

    async def late_books(self, ended: Ended) -> Books:
        """The books once the late success is announced, and undone or shown to an operator."""

        async def undone() -> Books | None:
            books = await read(self.shop, self.ledger, ended.asked.payment_id)
            if "payment.late_success" not in books.event_types:
                return None
            return books if books.movements[-1] == "reversal" or books.payment["review"] else None

        return await patiently(undone, within_s=60.0)

    async def _prepare(self, doomed: Doomed, *wanted: Deed, **members: Any) -> list[Asked]:
        there = self.shop.at(doomed.url)
        return [await deed.prepare(there, **members) for deed in wanted]

    @asynccontextmanager
    async def _sent(self, doomed: Doomed, asked: list[Asked]) -> AsyncIterator[None]:
        """The requests are under way at the doomed process while the block runs."""
        there = self.shop.at(doomed.url)
        tasks = [asyncio.create_task(one.send(there)) for one in asked]
        try:
            yield
        finally:
            await asyncio.gather(*tasks)

    async def _arrives(self, one: Asked) -> None:
        """The acquirer has received the request itself, not an inquiry about it."""

        async def arrived() -> bool:
            return one.deed.kind in await self.received(one)

        await patiently(arrived, within_s=60.0)

    async def received(self, one: Asked) -> set[str]:
        """What the acquirer was asked for about the payment, whatever it answered."""
        requests = await self.ledger.requests(payment_reference=one.payment_id)
        return {request["operation"] for request in requests}

    async def _settled_by_others(self, doomed: Doomed, asked: list[Asked]) -> Endings:
        """Answered by others, then the process goes on and works again."""
        responses = await asyncio.gather(*(one.answered(self.shop) for one in asked))
        doomed.service.resume()
        await self.shop.at(doomed.url).created()
        return {one.deed.name: Ended(one, response) for one, response in zip(asked, responses, strict=True)}


Stops = dict[str, "asyncio.Task[Endings]"]


@pytest.fixture(scope="module")
def scene(city: DevStack, shop: Shop, ledger: Witness) -> Scene:
    return Scene(city, shop, ledger)


@pytest.fixture(scope="module")
async def stops(scene: Scene) -> AsyncIterator[Stops]:
    """The stops at an acquirer that refuses what comes after its reversal; all at once."""
    async with running_together(
        {
            "before_send": scene.before_send,
            "during_the_call": scene.during_the_call,
            **{deed.name: partial(scene.after_the_last_check, deed, late=False) for deed in STOPPED_DEEDS},
        }
    ) as tasks:
        yield tasks


@pytest.fixture(scope="module")
async def late_stops(stops: Stops, scene: Scene) -> AsyncIterator[Stops]:
    """The stops after the last check at an acquirer that accepts what comes after its reversal."""
    await asyncio.gather(*stops.values(), return_exceptions=True)
    await scene.ledger.configure(late_after_reversal="accepted")
    async with running_together(
        {deed.name: partial(scene.after_the_last_check, deed, late=True) for deed in STOPPED_DEEDS}
    ) as tasks:
        yield tasks
    await scene.ledger.configure(late_after_reversal="refused")


@asynccontextmanager
async def running_together(
    stops: dict[str, Callable[[], Coroutine[Any, Any, Endings]]],
) -> AsyncIterator[Stops]:
    tasks = {name: asyncio.create_task(stop()) for name, stop in stops.items()}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


@BY_NAME
async def test_who_was_stopped_before_it_sent_does_not_send_when_it_goes_on(
    stops: Stops, scene: Scene, deed: Deed
) -> None:
    ended = (await stops["before_send"])[deed.name]
    ended.check_undone(await scene.books(ended))
    assert deed.kind not in await scene.received(ended.asked)


@BY_NAME
async def test_what_moved_while_its_sender_was_stopped_is_found_and_done_once(
    stops: Stops, scene: Scene, deed: Deed
) -> None:
    ended = (await stops["during_the_call"])[deed.name]
    ended.asked.check_done(ended.response, await scene.books(ended))


@BY_NAME
async def test_what_is_sent_after_its_reversal_is_refused(stops: Stops, scene: Scene, deed: Deed) -> None:
    ended = (await stops[deed.name])[deed.name]
    ended.check_undone(await scene.books(ended))


@pytest.mark.parametrize("deed", [deeds.AUTOMATIC, deeds.CAPTURE], ids=lambda deed: deed.name)
async def test_what_is_sent_and_accepted_after_its_reversal_is_announced_and_reversed_again(
    late_stops: Stops, scene: Scene, deed: Deed
) -> None:
    ended = (await late_stops[deed.name])[deed.name]
    books = await scene.late_books(ended)
    check(books)
    assert books.movements == [*deed.before, *deed.moves, "reversal"]
    assert books.event_types.count("payment.late_success") == 1


async def test_a_refund_that_is_sent_and_accepted_after_its_reversal_leaves_only_the_rest_refundable(
    late_stops: Stops, scene: Scene
) -> None:
    """An operator is shown it, and no second refund is admitted over it: the acquirer's ledger says so."""
    asked = (ended := (await late_stops["refund"])["refund"]).asked
    books = await scene.late_books(ended)
    check_events(books)
    assert books.movements == [*deeds.REFUND.before, "refund"]
    refund_id, late = books.refunds[0]["id"], asked.body["amount"]
    assert books.payment["review"]["reason"] == f"late_refund {refund_id}: {late} INR was refunded"
    assert books.event_types[-2:] == ["payment.late_success", "payment.needs_review"]

    async def refund(**members: Any) -> httpx.Response:
        return await scene.shop.answered(asked.path, members, key=scene.shop.key("refund"))

    too_large = await refund(amount=AMOUNT - late + 1)
    assert (too_large.status_code, too_large.json()["code"]) == (422, "amount_too_large")
    rest = await refund()
    assert (rest.status_code, rest.json()["amount"]) == (201, AMOUNT - late)
    nothing = await refund()
    assert (nothing.status_code, nothing.json()["code"]) == (409, "payment_not_refundable")
    books = await read(scene.shop, scene.ledger, asked.payment_id)
    assert books.standing("refund") == books.standing("capture") == AMOUNT
    assert books.payment["amount_refundable"] == 0

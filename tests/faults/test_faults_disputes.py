"""The process that accepts a dispute is killed at every point, or its bank decides meanwhile; the books are right."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import get_args

import httpx
import pytest

from devstack.stack import DevStack
from tests.faults.arming import Point, doomed_api
from tests.faults.books import Books, at_rest
from tests.faults.shop import WITHIN_S, Json, Shop, patiently
from tests.support.witness import Witness

POINTS: tuple[Point, ...] = (
    *("admitted", "handed_over", "before_claim", "before_send", "after_check", "after_send", "after_record"),
)
DISPUTED = ["authorize", "capture", "dispute"]
BY_POINT = pytest.mark.parametrize("point", POINTS)
ANSWERED_WITHIN_S = 150.0  # of a request that did not arrive: until that is certain, and then once more


@dataclass(frozen=True)
class Accepting:
    """A dispute that waits for its merchant, and the request that accepts it."""

    payment_id: str
    dispute_id: str
    key: str

    @property
    def path(self) -> str:
        return f"/v1/disputes/{self.dispute_id}/accept"


async def disputed(shop: Shop, ledger: Witness) -> Accepting:
    payment_id = await shop.created()
    told = {"payment_reference": payment_id, "reason": "fraudulent"}
    headers = {"Accept": "application/json"}
    (await ledger.client.post("/disputes", data=told, headers=headers)).raise_for_status()

    async def known() -> Json | None:
        listed = (await shop.get("/v1/disputes", limit="100"))["data"]
        return next((one for one in listed if one["payment"] == payment_id), None)

    dispute = await patiently(known, within_s=WITHIN_S)
    return Accepting(payment_id, str(dispute["id"]), shop.key("accept"))


Ended = tuple[Accepting, httpx.Response, Books]


@pytest.fixture(scope="module")
async def killed(
    city: DevStack, shop: Shop, ledger: Witness
) -> AsyncIterator[dict[str, "asyncio.Task[Ended]"]]:
    """What became of the acceptance whose process was killed at each point; all at once, most of it is waiting."""
    tasks = {point: asyncio.create_task(_kill_at(city, shop, ledger, point)) for point in POINTS}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


async def _kill_at(city: DevStack, shop: Shop, ledger: Witness, point: Point) -> Ended:
    asked = await disputed(shop, ledger)
    async with doomed_api(city, name=f"accept-{point}") as doomed:
        doomed.arm("accept", point, asked.payment_id, action="kill")
        await shop.at(doomed.url).post(asked.path, {}, key=asked.key)
        await doomed.reached("accept", point, asked.payment_id)
    response = await shop.answered(asked.path, {}, key=asked.key, within_s=ANSWERED_WITHIN_S)
    return asked, response, await at_rest(shop, ledger, asked.payment_id)


async def times_told(ledger: Witness, asked: Accepting) -> int:
    received = await ledger.requests(payment_reference=asked.payment_id)
    return len([one for one in received if one["operation"] == "accept"])


@BY_POINT
async def test_an_acceptance_is_carried_out_whoever_died_and_the_acquirer_is_told_once(
    killed: dict[str, "asyncio.Task[Ended]"], ledger: Witness, point: Point
) -> None:
    asked, response, books = await killed[point]
    assert response.status_code == 200, response.text
    assert (response.json()["id"], response.json()["status"]) == (asked.dispute_id, "accepted")
    assert books.movements == DISPUTED
    assert books.payment["amount_disputed"] == books.payment["amount_captured"]
    assert await times_told(ledger, asked) == 1
    assert books.event_types.count("dispute.updated") == 1


@BY_POINT
async def test_the_answer_after_a_kill_is_replayed_byte_for_byte(
    killed: dict[str, "asyncio.Task[Ended]"], shop: Shop, point: Point
) -> None:
    asked, response, _books = await killed[point]
    again = await shop.answered(asked.path, {}, key=asked.key)
    assert (again.status_code, again.content) == (response.status_code, response.content)
    assert again.headers["Idempotent-Replayed"] == "true"


async def test_a_dispute_that_was_won_while_nobody_accepted_it_is_not_open(
    city: DevStack, shop: Shop, ledger: Witness
) -> None:
    """Claimed and not sent, its process dies, and the bank decides before anybody asks."""
    asked = await disputed(shop, ledger)
    async with doomed_api(city, name="accept-won") as doomed:
        doomed.arm("accept", "before_send", asked.payment_id, action="kill")
        await shop.at(doomed.url).post(asked.path, {}, key=asked.key)
        await doomed.reached("accept", "before_send", asked.payment_id)
    headers = {"Accept": "application/json"}
    about = {"payment_reference": asked.payment_id}
    listed = (await ledger.client.get("/disputes", params=about, headers=headers)).json()
    (found,) = listed["disputes"]
    path = f"/disputes/{found['id']}"
    decided = await ledger.client.post(path, data={"decision": "won"}, headers=headers)
    decided.raise_for_status()
    response = await shop.answered(asked.path, {}, key=asked.key, within_s=ANSWERED_WITHIN_S)
    assert (response.status_code, response.json()["code"]) == (409, "dispute_not_open")
    books = await at_rest(shop, ledger, asked.payment_id)
    assert books.movements == [*DISPUTED, "dispute_reversal"]
    assert books.payment["amount_disputed"] == 0
    assert await times_told(ledger, asked) == 0


def test_every_point_is_killed_at() -> None:
    assert set(get_args(Point)) == set(POINTS)

"""How often a request that waits for its own outcome reads the rows: hardly ever while hints arrive."""

import asyncio
from dataclasses import dataclass, field

import pytest

from api.admission.waiting import _LOOK_S, Awaited, Outcomes, Result
from payonce.domain.facts import Approved, Stage
from payonce.rights import Right
from payonce.wakeups import CHANNEL_OUTCOMES
from tests.storage.acting import FakeConnector
from tests.storage.admitting import Shop, WatchedRights
from tests.storage.ledger import Ledger
from tests.support.eventually import eventually

TURNS = 3  # of the wait, 0.2 s each


class CountedRights(WatchedRights):
    """Counts how often it was asked whether the right has lapsed: once in each turn of the wait."""

    turns = 0

    def lapse(self, operation_id: str, right: Right) -> bool:
        self.turns += 1
        return super().lapse(operation_id, right)

    async def waited(self) -> bool:
        return self.turns >= TURNS


@dataclass
class Looks:
    """Counts the looks at the rows of this ledger: what an earlier test left may still look at its own."""

    found: list[Result | None] = field(default_factory=list)


@pytest.fixture
def looks(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Looks:
    counted, look = Looks(), Outcomes._look

    async def counting(outcomes: Outcomes, awaited: Awaited) -> Result | None:
        found = await look(outcomes, awaited)
        if outcomes._runtime.database is ledger.database:
            counted.found.append(found)
        return found

    monkeypatch.setattr(Outcomes, "_look", counting)
    return counted


def shop_of(ledger: Ledger, rights: CountedRights, *, hears: bool) -> Shop:
    """Whose recorder tells nobody, as if each hint were lost."""
    approved = Approved("acq_1", 1000, "INR", stage=Stage.CAPTURED)
    shop = Shop(ledger, FakeConnector(answers={"send": approved}), rights=rights)
    if hears:
        shop.runtime.wakeups._heard.add(CHANNEL_OUTCOMES)
    return shop


async def test_while_hints_arrive_nothing_is_read_for_an_acquirer_that_takes_its_time(
    ledger: Ledger, looks: Looks
) -> None:
    rights = CountedRights()
    shop = shop_of(ledger, rights, hears=True)
    clock = asyncio.get_running_loop().time
    began = clock()
    request = await shop.created(1, "req_1")
    await eventually(rights.waited)
    assert len(looks.found) <= int((clock() - began) / _LOOK_S)  # none, but where the machine stood still
    await shop.run()
    result = await request  # although the hint was lost
    assert result.answer is not None
    assert result.answer.definite
    assert looks.found[-1] == result


async def test_without_hints_the_rows_are_looked_at_in_each_turn(ledger: Ledger, looks: Looks) -> None:
    rights = CountedRights()
    shop = shop_of(ledger, rights, hears=False)
    request = await shop.created(1, "req_1")
    await eventually(rights.waited)
    assert len(looks.found) >= TURNS - 1
    await shop.run()
    assert (await request).answer is not None


async def test_a_wake_up_is_followed_by_a_look_at_once(
    ledger: Ledger, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.admission.waiting._POLL_S", 60.0)  # nothing but a wake-up ends a turn
    rights = CountedRights()
    shop = shop_of(ledger, rights, hears=True)
    request = await shop.created(1, "req_1")
    shop.runtime.wakeups.wake(shop.payment_id)

    async def looked() -> bool:
        return bool(looks.found)

    await eventually(looked)
    assert looks.found[0] is None
    assert rights.turns == 1
    await shop.run()
    shop.runtime.wakeups.wake(shop.payment_id)
    assert (await request).answer is not None

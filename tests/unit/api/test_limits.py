"""How many payments may work at once: pure decisions, on a clock that the test moves."""

import asyncio
from dataclasses import dataclass

import pytest

from api.admission import overload
from api.admission.overload import (
    CALM_WAIT_S,
    LIMIT_FLOOR,
    LIMIT_START,
    STANDING_S,
    TREND_ADMITTED,
    TREND_S,
    WINDOW_S,
    WINDOW_SAMPLES,
    AdaptiveLimit,
    Place,
    Places,
    Trend,
    Work,
)
from tests.support.eventually import eventually

FAST, SLOW = 0.05, 0.5


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def a_limit(**changes: int) -> AdaptiveLimit:
    return AdaptiveLimit(ceiling=changes.pop("ceiling", 100), target_s=0.2, **changes)


def a_window(limit: AdaptiveLimit, own_s: float, *, now: float, slow: int | None = None) -> float:
    """One window of payments, of which `slow` (all, when not said) take `own_s`; its end."""
    slow = WINDOW_SAMPLES if slow is None else slow
    end = now + WINDOW_S + 0.01
    for number in range(WINDOW_SAMPLES):
        limit.observe(own_s if number < slow else FAST, entered_at=now, now=end)
    return end


def test_slow_payments_shrink_the_limit_down_to_its_floor() -> None:
    limit, now = a_limit(), 1.0
    seen: list[int] = []
    for _ in range(12):
        now = a_window(limit, SLOW, now=now)
        seen.append(limit.value)
    assert seen[0] == int(LIMIT_START * 0.8)
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == LIMIT_FLOOR


def test_fast_payments_raise_a_limit_that_was_reached_one_by_one() -> None:
    limit, now, most = a_limit(ceiling=LIMIT_START + 2), 1.0, LIMIT_START + 2
    for expected in (most - 1, most, most):
        limit.reached = True
        now = a_window(limit, FAST, now=now)
        assert limit.value == expected


def test_a_limit_that_nobody_reached_stays() -> None:
    limit = a_limit()
    a_window(limit, FAST, now=1.0)
    assert limit.value == LIMIT_START


def test_few_slow_payments_in_a_window_are_no_overload() -> None:
    limit = a_limit()
    limit.reached = True
    for number in range(20):
        limit.observe(SLOW if number == 0 else FAST, entered_at=0.0, now=WINDOW_S if number == 19 else 0.0)
    assert limit.value == LIMIT_START + 1


def test_what_entered_before_a_decrease_does_not_decrease_again() -> None:
    limit = a_limit(floor=1)
    end = a_window(limit, SLOW, now=1.0)
    after = limit.value
    for _ in range(WINDOW_SAMPLES):
        limit.observe(SLOW, entered_at=1.0, now=end + 2 * WINDOW_S)
    assert limit.value == after


def test_the_floor_does_not_exceed_a_small_ceiling() -> None:
    limit = a_limit(ceiling=2)
    a_window(limit, SLOW, now=1.0)
    assert limit.value == 2


def looks(
    trend: Trend, lengths: list[int], *, admitted_each: int = TREND_ADMITTED, oldest_s: float = STANDING_S
) -> bool:
    now, admitted = 0.0, 0
    for length in lengths:
        now, admitted = now + TREND_S, admitted + admitted_each
        trend.look(waiting=length, oldest_s=oldest_s, admitted=admitted, refused=False, now=now)
    return trend.overloaded


def test_a_queue_that_gets_shorter_is_a_burst() -> None:
    assert not looks(Trend(0.0), [24, 17, 11, 4])


def test_a_queue_that_does_not_get_shorter_is_overload() -> None:
    assert looks(Trend(0.0), [24, 24])
    assert looks(Trend(0.0), [10, 40])


def test_a_queue_in_which_each_waits_a_moment_is_no_overload() -> None:
    assert not looks(Trend(0.0), [24, 24, 30], oldest_s=STANDING_S / 2)


def test_a_queue_of_which_nobody_was_admitted_is_overload_only_after_a_while() -> None:
    assert not looks(Trend(0.0), [24], admitted_each=0)
    assert looks(Trend(0.0), [24, 24], admitted_each=0)


def test_overload_ends_when_nobody_was_refused_for_a_while() -> None:
    trend = Trend(0.0)
    assert looks(trend, [24, 24])
    for at, refused, overloaded in ((3 * TREND_S, True, True), (4 * TREND_S, False, False)):
        trend.look(waiting=0, oldest_s=0.0, admitted=50, refused=refused, now=at)
        assert trend.overloaded is overloaded


async def taken(places: Places, work: Work, count: int) -> list[Place]:
    found = [await places.enter(work) for _ in range(count)]
    assert all(found)
    return [place for place in found if place]


def few_places(clock: Clock, *, open_max: int = 100, limit: int = 4) -> Places:
    return Places(AdaptiveLimit(ceiling=limit, target_s=0.2), open_max=open_max, clock=clock)


async def test_changes_find_a_place_where_creates_do_not() -> None:
    places = few_places(Clock())
    await taken(places, Work.CREATE, 4)
    waiting = asyncio.create_task(places.enter(Work.CREATE))
    await taken(places, Work.CHANGE, 1)
    assert not waiting.done()
    waiting.cancel()


async def test_whoever_leaves_makes_room_for_a_change_first() -> None:
    places = few_places(Clock())
    creates = await taken(places, Work.CREATE, 4)
    [change] = await taken(places, Work.CHANGE, 1)
    order: list[str] = []

    async def enter(work: Work) -> None:
        assert await places.enter(work)
        order.append(work)

    async with asyncio.TaskGroup() as group:
        group.create_task(enter(Work.CREATE))
        await asyncio.sleep(0)
        group.create_task(enter(Work.CHANGE))
        await asyncio.sleep(0)
        for place in (change, *creates):
            place.leave()
    assert order == ["change", "create"]


@pytest.mark.parametrize("standing", [False, True])
async def test_the_newest_goes_first_where_the_queue_stands(standing: bool) -> None:
    clock = Clock()
    places = few_places(clock)
    held = await taken(places, Work.CREATE, 4)
    oldest = asyncio.create_task(places.enter(Work.CREATE))
    await asyncio.sleep(0)
    newest = asyncio.create_task(places.enter(Work.CREATE))
    await asyncio.sleep(0)
    clock.now += STANDING_S if standing else 0.0
    held[0].leave()
    assert await (newest if standing else oldest)
    assert not (oldest if standing else newest).done()
    (oldest if standing else newest).cancel()


async def test_steady_clients_whose_wait_is_short_are_all_served() -> None:
    places = Places(AdaptiveLimit(ceiling=4, target_s=0.2), open_max=100)

    async def client() -> int:
        served = 0
        for _ in range(40):
            if (place := await places.enter(Work.CREATE)) is not None:
                await asyncio.sleep(0.005)
                place.leave()
                served += 1
        return served

    assert await asyncio.gather(*(client() for _ in range(12))) == [40] * 12


async def test_who_waits_for_an_acquirer_needs_no_place_but_a_slot() -> None:
    places = few_places(Clock(), open_max=6)
    for place in await taken(places, Work.CREATE, 4):
        place.call_begun()
    await taken(places, Work.CREATE, 2)
    waiting = asyncio.create_task(places.enter(Work.CREATE))
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


async def test_who_asks_somebody_that_answers_at_once_lets_nobody_in_beside_it() -> None:
    """Else whoever asks is one more at work, and the limit bounds nothing."""
    places = few_places(Clock())
    (first, *_) = await taken(places, Work.CREATE, 4)
    waiting = asyncio.create_task(places.enter(Work.CREATE))
    await asyncio.sleep(0)
    with first.away():
        await asyncio.sleep(0)
    assert not waiting.done()
    with first.away():
        place = await waiting  # now that it takes a while
    assert place is not None


async def test_of_the_slots_some_are_kept_for_changes() -> None:
    places = few_places(Clock(), open_max=20)
    for _ in range(18):
        [place] = await taken(places, Work.CREATE, 1)
        place.call_begun()
    create = asyncio.create_task(places.enter(Work.CREATE))
    await asyncio.sleep(0)
    await taken(places, Work.CHANGE, 2)
    assert not create.done()
    create.cancel()


async def test_the_acquirers_time_is_not_ours() -> None:
    clock = Clock()
    places = few_places(clock, limit=20)
    for _ in range(2 * WINDOW_SAMPLES):
        [place] = await taken(places, Work.CREATE, 1)
        place.call_begun()
        clock.now += 5.0
        place.call_ended()
        clock.now += 0.01
        place.observed()
        place.leave()
    assert places.limit.value == LIMIT_START


async def test_a_place_for_which_no_acquirer_was_asked_here_is_not_observed() -> None:
    clock = Clock()
    places = few_places(clock, limit=20)
    for _ in range(2 * WINDOW_SAMPLES):
        [place] = await taken(places, Work.CREATE, 1)
        clock.now += 5.0
        place.observed()
        place.leave()
    assert places.limit.value == LIMIT_START


async def test_a_place_that_is_left_while_away_is_counted_once() -> None:
    places = few_places(Clock())
    for _ in range(3):
        [place] = await taken(places, Work.CREATE, 1)
        place.call_begun()
        place.leave()
        place.call_ended()
    await taken(places, Work.CREATE, 4)


async def test_a_burst_drains_through_the_room() -> None:
    places = few_places(Clock())

    async def one() -> None:
        place = await places.enter(Work.CREATE)
        assert place
        await asyncio.sleep(0)
        place.leave()

    await asyncio.gather(*(one() for _ in range(40)))


async def test_who_waits_for_too_long_is_refused() -> None:
    clock = Clock()
    places = few_places(clock)
    await taken(places, Work.CREATE, 4)
    waiting = asyncio.create_task(places.enter(Work.CREATE))
    await asyncio.sleep(0)
    clock.now += CALM_WAIT_S + 0.1

    async def refused() -> bool:
        return waiting.done()

    await eventually(refused)
    assert waiting.result() is None


async def test_in_overload_a_create_is_refused_soon_and_a_change_may_wait() -> None:
    clock = Clock()
    places = few_places(clock)
    await taken(places, Work.CREATE, 4)
    await taken(places, Work.CHANGE, 1)
    change = asyncio.create_task(places.enter(Work.CHANGE))
    create = asyncio.create_task(places.enter(Work.CREATE))
    await asyncio.sleep(0)
    places._trend.overloaded = True
    clock.now += CALM_WAIT_S / 2

    async def refused() -> bool:
        return create.done()

    await eventually(refused)
    assert create.result() is None
    assert not change.done()
    change.cancel()


async def test_a_full_room_refuses_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overload, "WAITING_MAX", 0)
    assert await few_places(Clock()).enter(Work.CREATE) is None


async def test_a_request_that_is_gone_keeps_no_place() -> None:
    places = few_places(Clock())
    creates = await taken(places, Work.CREATE, 4)
    gone = [asyncio.create_task(places.enter(Work.CREATE)) for _ in range(2)]
    await asyncio.sleep(0)
    gone[0].cancel()
    creates[0].leave()
    gone[1].cancel()  # when it has just been given its place
    await asyncio.gather(*gone, return_exceptions=True)
    await taken(places, Work.CREATE, 1)

"""Where a system stops keeping up, found by stepping the arrival rate."""

from collections.abc import Awaitable, Callable

RATE_MIN, RATE_MAX = 1.0, 5_000.0

Holds = Callable[[float], Awaitable[bool]]


async def highest_held(holds: Holds, *, first: float, growth: float = 1.4, refinements: int = 3) -> float:
    """The highest rate found that held; 0 when none from `RATE_MIN` on did.

    Grows until one does not hold, then halves the gap so many times, and on until something held. A rate that
    does not hold is tried once more before growth ends: on a shared machine one bad second is not the system's.
    """
    held, broken = 0.0, first
    while broken <= RATE_MAX and await _held_in_two(holds, broken):
        held, broken = broken, broken * growth
    while refinements > 0 or (not held and broken > RATE_MIN):
        refinements -= 1
        middle = (held + broken) / 2
        if await holds(middle):
            held = middle
        else:
            broken = middle
    return held


async def _held_in_two(holds: Holds, rate: float) -> bool:
    return await holds(rate) or await holds(rate)

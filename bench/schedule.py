"""When requests are due. Fixed before a run, whatever the answers do: an open loop."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

ARRIVALS_MAX = 1_000_000

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Load:
    """How many arrivals per second, for how long; the same seed gives the same moments."""

    rate_per_s: float
    seconds: float
    seed: int = 1
    uniform: bool = False  # else Poisson, as independent merchants arrive

    def __post_init__(self) -> None:
        if self.rate_per_s <= 0 or self.seconds <= 0:
            raise ValueError("a load has a rate and a duration above zero")
        if self.rate_per_s * self.seconds > ARRIVALS_MAX:
            raise ValueError(f"a load has at most {ARRIVALS_MAX} arrivals")


def due_times(load: Load) -> list[float]:
    """Seconds from the start of the run at which an arrival is due, ascending.

    Exactly rate times seconds of them: a Poisson process that is known to have had so many arrivals has them
    at independent uniform moments (the order statistics property).
    """
    count = round(load.rate_per_s * load.seconds)
    if load.uniform:
        return [number / load.rate_per_s for number in range(count)]
    chance = random.Random(load.seed)  # noqa: S311  # repeatable, not secret
    return sorted(chance.uniform(0, load.seconds) for _ in range(count))


def draw(weights: Mapping[K, float], count: int, *, seed: int) -> list[K]:
    """So many members of the mix in random order, each with the share that its weight has, rounded.

    Not drawn one by one: two runs of one mix hold the same numbers of each. Raises `ValueError` without weights.
    """
    names, bounds = list(weights), _bounds(list(weights.values()), count)
    drawn = [name for name, (low, high) in zip(names, bounds, strict=True) for _ in range(low, high)]
    random.Random(seed).shuffle(drawn)  # noqa: S311  # repeatable, not secret
    return drawn


def _bounds(weights: Sequence[float], count: int) -> list[tuple[int, int]]:
    """The cumulative shares, rounded, so that the numbers add up to `count`."""
    total = sum(weights)
    if total <= 0 or min(weights) < 0:
        raise ValueError("a mix has weights of zero or more, and one above zero")
    ends = [round(count * so_far / total) for so_far in accumulate(weights)]
    return list(zip([0, *ends], ends, strict=False))

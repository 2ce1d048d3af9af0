"""A shop's usual day, and attacks on it: made anew from a seed, the same each time.

The day has an office and a carrier's network behind one address each, a family that shares a card, customers who try
another card after a decline, and the peak of a sale. One payment in twelve is declined, in the peak one in eight.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

SEED: Final = 20
DAY_S: Final = 24 * 3600
PEAK_S: Final = (20 * 3600, 21 * 3600)  # a sale begins at eight in the evening
OFFICE, CARRIER = "198.51.100.7", "203.0.113.9"


@dataclass(frozen=True, slots=True)
class Try:
    """One payment: when, with which card, by whom, from where, and what its issuer would say."""

    at_s: float
    card: str
    customer: str
    address: str
    declined: bool
    good: bool = True


def good_day(seed: int = SEED, *, customers: int = 1_500) -> list[Try]:
    """In the order of time."""
    chance = random.Random(seed)
    tries: list[Try] = []
    for number in range(customers):
        peak = chance.random() < 0.3
        at_s = chance.uniform(*PEAK_S) if peak else chance.uniform(0, DAY_S - 1_800)
        tries += _customer(chance, number, at_s, declined=1 / 8 if peak else 1 / 12)
    evening_s = 18 * 3600.0
    for member in range(4):  # of a family, with one card at one table
        who = f"family-{member}"
        tries.append(Try(evening_s + 400 * member, "family-card", who, "192.0.2.200", declined=False))
    return sorted(tries, key=lambda one: one.at_s)


def _customer(chance: random.Random, number: int, at_s: float, *, declined: float) -> Iterator[Try]:
    """Who tries up to three times, each time with another card or another code, and then gives up."""
    where = chance.random()
    address = OFFICE if where < 0.05 else CARRIER if where < 0.25 else f"10.{number >> 8}.{number & 255}.1"
    for attempt in range(3):
        refused = chance.random() < declined
        yield Try(at_s + 60 * attempt, f"card-{number}-{attempt}", f"customer-{number}", address, refused)
        if not refused:
            return


def from_one_address(count: int = 2_000, *, begins_s: float = 10 * 3600, seed: int = SEED) -> list[Try]:
    """Stolen numbers, one a second, of which three in a hundred would be approved."""
    return _attack(count, begins_s, seed, addresses=1, every_s=1.0)


def from_many_addresses(count: int = 2_000, *, begins_s: float = 10 * 3600, seed: int = SEED) -> list[Try]:
    """The same from five hundred addresses, in turn."""
    return _attack(count, begins_s, seed, addresses=500, every_s=1.0)


def with_one_card(count: int = 30, *, begins_s: float = 10 * 3600) -> list[Try]:
    """One number, again and again within an hour, each time from elsewhere."""
    every_s = 3_600 / count
    return [
        Try(begins_s + n * every_s, "stolen", f"guess-{n}", f"172.16.0.{n}", declined=True, good=False)
        for n in range(count)
    ]


def _attack(count: int, begins_s: float, seed: int, *, addresses: int, every_s: float) -> list[Try]:
    chance = random.Random(seed + 1)
    return [
        Try(
            begins_s + n * every_s,
            f"stolen-{n}",
            f"thief-{n}",
            f"172.{16 + (n % addresses) // 250}.{n % addresses % 250}.1",
            declined=chance.random() >= 0.03,
            good=False,
        )
        for n in range(count)
    ]

"""What the sandbox's card numbers do, and how little of a number is kept."""

from dataclasses import dataclass
from enum import StrEnum


class Asks(StrEnum):
    """When a card's issuer wants its holder authenticated."""

    NEVER = "never"  # unless the merchant forces it
    FRICTIONLESS = "frictionless"  # it knows its holder without asking
    ATTEMPTED = "attempted"  # it takes no part, and the scheme answers in its place
    ALWAYS = "always"  # but honours an exemption
    IN_SPITE_OF_ALL = "in_spite_of_all"  # it honours no exemption, and asks where nobody is there to answer
    SOFTLY = "softly"  # it declines first: the same with a challenge may be approved
    IN_VAIN = "in_vain"  # it authenticates nobody


@dataclass(frozen=True, slots=True)
class TestCard:
    """What a number leads to. `decline_code`: why the issuer refuses it once nobody needs to be authenticated."""

    decline_code: str | None = None
    asks: Asks = Asks.NEVER


ANY_OTHER = TestCard()
# Source: shared/api.md, "Sandbox triggers"; those below the line are the sandbox's own (docs/sandbox.md). Any other
# number that passes Luhn is approved.
BY_NUMBER = {
    "4000000000000002": TestCard("generic_decline"),
    "4000000000009995": TestCard("insufficient_funds"),
    "4000000000009987": TestCard("lost_card"),
    "4000000000000069": TestCard("expired_card"),
    "4000000000000127": TestCard("incorrect_cvc"),
    "4000000000000119": TestCard("processing_error"),
    "4000002500003155": TestCard(asks=Asks.ALWAYS),
    "4000008260003178": TestCard("insufficient_funds", asks=Asks.ALWAYS),
    # ---
    "4000000000003055": TestCard(asks=Asks.FRICTIONLESS),
    "4000000000003105": TestCard(asks=Asks.ATTEMPTED),
    "4000000000003113": TestCard(asks=Asks.IN_SPITE_OF_ALL),
    "4000000000003121": TestCard(asks=Asks.SOFTLY),
    "4000000000003139": TestCard(asks=Asks.IN_VAIN),
}


def card_of(number: str) -> TestCard:
    """What the number leads to."""
    return BY_NUMBER.get(number, ANY_OTHER)


def masked(number: str) -> str:
    """The first six and the last four digits; of a number shorter than 13, the last four only."""
    first = number[:6] if len(number) >= 13 else ""
    return first + "*" * (len(number) - len(first) - 4) + number[-4:]


def passes_luhn(digits: str) -> bool:
    """Whether the check digit is right. Source: ISO/IEC 7812-1 annex B."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if position % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0

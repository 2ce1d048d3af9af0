"""What others wrote, as a receipt shows it: one bounded line that changes nothing of what is around it."""

import unicodedata
from collections.abc import Iterator
from typing import Final

TEXT_MAX: Final = 500
CUT: Final = "\N{HORIZONTAL ELLIPSIS}"  # where the rest of a text is left out
ADDRESS_LINES_MAX: Final = 6
_LEFT_OUT: Final = ("Cc", "Cs", "Co", "Cn", "Cf")  # controls, overrides of the direction, what no font has
_JOINERS: Final = (
    "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"  # Indic scripts and Persian are spelt with them
)
_MARKS: Final = ("Mn", "Mc", "Me")
MARKS_MAX: Final = 4  # on one letter: more is written over the lines above and below


def line(text: str, *, at_most: int = TEXT_MAX) -> str:
    """The text in one line; a longer one ends in `CUT`.

    Source of what overrides the direction: UAX #9, explicit formatting (all `Cf`).
    """
    shown = "".join(_harmless(text[: TEXT_MAX * 4]))
    whole = " ".join(unicodedata.normalize("NFC", shown).split())
    return whole if len(whole) <= at_most else f"{whole[: at_most - 1].rstrip()}{CUT}"


def lines(text: str) -> tuple[str, ...]:
    """The first lines of what may have several; empty ones are left out."""
    found = (line(each) for each in text.splitlines())
    return tuple(each for each in found if each)[:ADDRESS_LINES_MAX]


def _harmless(text: str) -> Iterator[str]:
    marks = 0  # on the letter that was shown last, whatever is left out between them
    for character in text:
        category = unicodedata.category(character)
        if character in _JOINERS:
            yield character
        elif category in _MARKS:
            marks += 1
            yield character if marks <= MARKS_MAX else ""
        elif category not in (*_LEFT_OUT, "Zl", "Zp"):
            marks = 0
            yield character
        elif character.isspace():
            marks = 0
            yield " "

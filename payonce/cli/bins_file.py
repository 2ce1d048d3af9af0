"""The file that `payonce bins import` reads: CSV, a range in a line.

What is wrong is told by its line, never by what stands there: somebody might name a file of card numbers.
"""

import csv
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final, TextIO

from iso3166 import countries_by_alpha2

from payonce.cli.base import CommandRefused
from payonce.domain.issuers import DIGITS, RANGES_MAX, IssuerRange

HEADER: Final = ["first", "last", "country"]
LINE_LENGTH_MAX: Final = 200
MISTAKES_TOLD: Final = 10
_Numbered = tuple[int, IssuerRange]


def read_ranges(path: Path) -> list[IssuerRange]:
    """The file's ranges in order of their numbers. Raises `CommandRefused` with what is wrong, and `OSError`."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            numbered = _all(_bounded(file))
        except UnicodeDecodeError as error:
            raise CommandRefused("The file is not UTF-8.") from error
        except csv.Error as error:
            raise CommandRefused(f"The file is no CSV: {error}.") from error
    numbered.sort(key=lambda one: one[1].first)
    mistakes = [
        f"lines {min(line, next_line)} and {max(line, next_line)}: their ranges overlap"
        for (line, one), (next_line, after) in pairwise(numbered)
        if after.first <= one.last
    ]
    _refuse(mistakes)
    return [one for _, one in numbered]


def _bounded(file: TextIO) -> Iterator[str]:
    """The lines, each of them short, and no more than there may be."""
    for number in range(1, RANGES_MAX + 2):  # and the header
        line = file.readline(LINE_LENGTH_MAX + 1)
        if not line:
            return
        if len(line) > LINE_LENGTH_MAX:
            raise CommandRefused(f"line {number}: longer than {LINE_LENGTH_MAX} characters")
        yield line
    if file.read(1):
        raise CommandRefused(f"The file has more than {RANGES_MAX} ranges.")


def _all(lines: Iterator[str]) -> list[_Numbered]:
    rows = csv.reader(lines, strict=True)
    if next(rows, None) != HEADER:
        raise CommandRefused(f"line 1: must be the header {','.join(HEADER)}")
    numbered: list[_Numbered] = []
    mistakes: list[str] = []
    for row in rows:
        one = _range(row)
        if isinstance(one, IssuerRange):
            numbered.append((rows.line_num, one))
        elif len(mistakes) < MISTAKES_TOLD:
            mistakes.append(f"line {rows.line_num}: {one}")
    _refuse(mistakes)
    if not numbered:
        raise CommandRefused("The file has no range.")
    return numbered


def _range(row: list[str]) -> IssuerRange | str:
    """The range, or what is wrong with the line."""
    if len(row) != len(HEADER):
        return f"must have {len(HEADER)} members"
    first, last, country = row
    last = last or first
    if not all(digits.isascii() and digits.isdigit() and len(digits) <= DIGITS for digits in (first, last)):
        return f"first and last must be 1 to {DIGITS} digits"
    if len(first) != len(last):
        return "first and last must have the same number of digits"
    if first > last:
        return "last must not lie before first"
    if country not in countries_by_alpha2:
        return "country must be an upper-case ISO 3166-1 alpha-2 code"
    return IssuerRange(int(first.ljust(DIGITS, "0")), int(last.ljust(DIGITS, "9")), country)


def _refuse(mistakes: list[str]) -> None:
    if mistakes:
        raise CommandRefused("Nothing was imported. " + "; ".join(mistakes[:MISTAKES_TOLD]))

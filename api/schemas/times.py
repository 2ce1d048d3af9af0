"""Times as clients write them."""

import re
from datetime import datetime
from typing import Final

_MICROSECOND_DIGITS: Final = 6
_TIME: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(?:[Zz]|([+\-]\d{2}:\d{2}))", re.ASCII
)


def read_time(text: str) -> datetime:
    """The time in RFC 3339. Raises `ValueError` with what it must be, without the text."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError("must be a time such as 2026-01-31T12:00:00Z")
    day, clock, fraction, offset = found.groups()
    digits = (fraction or "0")[:_MICROSECOND_DIGITS].ljust(_MICROSECOND_DIGITS, "0")
    try:
        return datetime.fromisoformat(f"{day}T{clock}.{digits}{offset or '+00:00'}")
    except ValueError:
        raise ValueError("must be a time that exists") from None

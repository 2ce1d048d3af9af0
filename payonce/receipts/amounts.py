"""Amounts as people write them: the ISO 4217 code, and as many digits after the point as the currency has."""

from iso4217 import Currency

_NO_BREAK = "\N{NO-BREAK SPACE}"


def written(amount_minor: int, currency: str) -> str:
    """Such as `INR 1,099.00`, `JPY 1,099` and `KWD 1.099`, which no line end parts."""
    digits = Currency(currency).exponent or 0
    whole, part = divmod(abs(amount_minor), 10**digits)
    sign = "\N{MINUS SIGN}" if amount_minor < 0 else ""
    point = f".{part:0{digits}d}" if digits else ""
    return f"{currency}{_NO_BREAK}{sign}{whole:,}{point}"

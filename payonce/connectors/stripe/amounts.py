"""Stripe's minor units, which are not ISO 4217's everywhere.

Source: docs.stripe.com/currencies: "Zero-decimal currencies", "Three-decimal currencies", "Special cases", "Minimum
and maximum charge amounts". Read, not tried against the real service.
"""

from typing import Final

from payonce.domain.capabilities import Amounts
from payonce.domain.errors import OutcomeUnknown

# Ours are ISO 4217's. UGX and ISK have no decimals there, and are sent with two that are 0 ("special cases"); MGA has
# two there, and is a zero-decimal currency of Stripe's.
_TIMES: Final = {"UGX": 100, "ISK": 100}
_DIVIDED_BY: Final = {"MGA": 100}
# "Three-decimal currencies": the last digit is 0.
_THREE_DECIMALS: Final = ("BHD", "JOD", "KWD", "OMR", "TND")

_CODES: Final = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BWP BYN BZD CAD "
    "CDF CHF CLP CNY COP CRC CVE CZK DJF DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GNF GTQ GYD HKD "
    "HNL HTG HUF IDR ILS INR ISK JMD JOD JPY KES KGS KHR KMF KRW KWD KYD KZT LAK LBP LKR LRD LSL MAD MDL "
    "MGA MKD MMK MNT MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG "
    "QAR RON RSD RUB RWF SAR SBD SCR SEK SGD SHP SLE SOS SRD STN SZL THB TJS TND TOP TRY TTD TWD TZS UAH "
    "UGX USD UYU UZS VND VUV WST XAF XCD XOF XPF YER ZAR ZMW "
)
CURRENCIES: Final = frozenset(_CODES.split())

# "Minimum charge amounts", in our minor units, of currencies that are settled in; others are Stripe's to say.
SMALLEST_CHARGE: Final = {
    "AED": 200, "AUD": 50, "BGN": 100, "BRL": 50, "CAD": 50, "CHF": 50, "CZK": 1500, "DKK": 250, "EUR": 50,
    "GBP": 30, "HKD": 400, "HUF": 17500, "INR": 50, "JPY": 50, "MXN": 1000, "MYR": 200, "NOK": 300, "NZD": 50,
    "PLN": 200, "RON": 200, "SEK": 300, "SGD": 50, "THB": 1000, "USD": 50,
}  # fmt: skip
_DIGITS_MAX: Final = 8  # of what is sent; of rupiahs 12
_LARGEST_SENT: Final = {"IDR": 10**12 - 1}


def to_stripe(amount_minor: int, currency: str) -> int:
    """Our amount as Stripe has it. Raises `ValueError` for one that Stripe has not."""
    if amount_minor % multiple_of(currency):
        raise ValueError(f"an amount of {currency} that is not exact at Stripe")
    return amount_minor * _TIMES.get(currency, 1) // _DIVIDED_BY.get(currency, 1)


def from_stripe(amount: int, currency: str) -> int:
    """Stripe's amount as ours. Raises `OutcomeUnknown` for one that ours cannot be."""
    if amount % _TIMES.get(currency, 1):
        raise OutcomeUnknown(f"an amount of {currency} that is no whole number of ours")
    return amount * _DIVIDED_BY.get(currency, 1) // _TIMES.get(currency, 1)


def multiple_of(currency: str) -> int:
    """Of what an amount must be a multiple, to be exact at Stripe, in our minor units."""
    return _DIVIDED_BY.get(currency, 10 if currency in _THREE_DECIMALS else 1)


def _largest(currency: str) -> int:
    sent = _LARGEST_SENT.get(currency, 10**_DIGITS_MAX - 1)
    ours = sent * _DIVIDED_BY.get(currency, 1) // _TIMES.get(currency, 1)
    return ours - ours % multiple_of(currency)


AMOUNTS: Final = Amounts(
    largest={currency: _largest(currency) for currency in CURRENCIES},
    multiple_of={currency: multiple_of(currency) for currency in CURRENCIES},
)
"""Of every operation: a capture or refund of a part may be smaller than the smallest charge."""

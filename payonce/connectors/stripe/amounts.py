"""Stripe's minor units, which are not ISO 4217's everywhere, and the amounts that it takes.

Source: docs.stripe.com/currencies: zero-decimal, three-decimal and special cases, minimum and maximum charge amounts.
Read in 2026-11, not tried against the real service. Ours are ISO 4217's minor units.
"""

from typing import Final

from payonce.domain.capabilities import Amounts
from payonce.domain.errors import OutcomeUnknown

_CURRENCIES: Final = """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BWP BYN BZD CAD CDF
    CHF CLP CNY COP CRC CVE CZK DJF DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GNF GTQ GYD HKD HNL HTG
    HUF IDR ILS INR ISK JMD JOD JPY KES KGS KHR KMF KRW KWD KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK
    MNT MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB
    RWF SAR SBD SCR SEK SGD SHP SLE SOS SRD SZL THB TJS TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VND VUV
    WST XAF XCD XCG XOF XPF YER ZAR ZMW
"""
CURRENCIES: Final = frozenset(_CURRENCIES.split())
"""Which of them an account may present depends on its country: the others Stripe refuses."""

# UGX and ISK have no decimals in ISO 4217, and are sent with two that are always 0; MGA has two there, and none at
# Stripe. HUF and TWD are whole in payouts alone, which are none of ours.
_TIMES: Final = {"UGX": 100, "ISK": 100}
_DIVIDED_BY: Final = {"MGA": 100}
_THREE_DECIMALS: Final = ("BHD", "JOD", "KWD", "OMR", "TND")  # the last digit is 0

# The smallest charges are of the currency that an account settles in, which is not known here, and of charges alone:
# Stripe refuses what is too small itself (`amount_too_small`), before the money call.
_DIGITS_MAX: Final = 8  # of what is sent
_MORE_DIGITS_MAX: Final = {"IDR": 12, "INR": 9, "COP": 13, "HUF": 13, "JPY": 13, "LBP": 14}
"""Of the last four the page names two numbers; ours is the larger, since it only says early what Stripe would say."""


def to_stripe(amount_minor: int, currency: str) -> int:
    """Our amount as Stripe has it. Raises `ValueError` for one that Stripe has not."""
    if currency not in CURRENCIES or amount_minor % multiple_of(currency):
        raise ValueError(f"an amount of {currency} that is not exact at Stripe")
    return amount_minor * _TIMES.get(currency, 1) // _DIVIDED_BY.get(currency, 1)


def exact(amount_minor: int, currency: str) -> bool:
    """Whether Stripe has this amount."""
    try:
        to_stripe(amount_minor, currency)
    except ValueError:
        return False
    return True


def from_stripe(amount: int, currency: str) -> int:
    """Stripe's amount as ours. Raises `OutcomeUnknown` for one that ours cannot be."""
    if amount % _TIMES.get(currency, 1):
        raise OutcomeUnknown(f"an amount of {currency} that is no whole number of ours")
    return amount * _DIVIDED_BY.get(currency, 1) // _TIMES.get(currency, 1)


def multiple_of(currency: str) -> int:
    """Of what an amount must be a multiple, to be exact at Stripe, in our minor units."""
    return _DIVIDED_BY.get(currency, 10 if currency in _THREE_DECIMALS else 1)


def _largest(currency: str) -> int:
    sent: int = 10 ** _MORE_DIGITS_MAX.get(currency, _DIGITS_MAX) - 1
    ours = sent * _DIVIDED_BY.get(currency, 1) // _TIMES.get(currency, 1)
    return ours - ours % multiple_of(currency)


AMOUNTS: Final = Amounts(
    largest={currency: _largest(currency) for currency in CURRENCIES},
    multiple_of={currency: multiple_of(currency) for currency in CURRENCIES},
)
"""Of every operation: a capture or refund of a part may be smaller than the smallest charge."""

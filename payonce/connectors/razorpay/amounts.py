"""The currencies that Razorpay takes, and its amounts.

Its minor units are ISO 4217's but where the table below leaves a currency out. Source: razorpay.com/docs/payments/
international-payments (supported currencies with their exponents) and /docs/api/orders/create. Read, not tried.
"""

from collections.abc import Collection
from typing import Final

from payonce.domain.capabilities import Amounts

# Left out of the vendor's list: HRK, SLL, SVC and CUP, which are no more or which ISO 4217 has otherwise, and CVE,
# whose exponent acquirers disagree about.
_CURRENCIES: Final = """
    AED ALL AMD AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BZD CAD CHF CLP CNY COP CRC CZK DJF DKK
    DOP DZD EGP ETB EUR FJD GBP GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD ISK JMD JOD JPY KES KGS KHR
    KMF KRW KWD KYD KZT LAK LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD
    OMR PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SCR SEK SGD SOS SZL THB TND TRY TTD TWD TZS UAH UGX USD UYU
    UZS VND VUV XAF XCD XOF XPF YER ZAR ZMW
"""
CURRENCIES: Final = frozenset(_CURRENCIES.split())
"""All of which we know the minor units; which of them an account may take it says itself."""

HOME: Final = "INR"
_SMALLEST: Final = {HOME: 100}  # of an order, a capture and a refund
_THREE_DECIMALS: Final = ("BHD", "IQD", "JOD", "KWD", "OMR", "TND")  # the last digit is 0

AMOUNTS: Final = Amounts(smallest=_SMALLEST, multiple_of=dict.fromkeys(_THREE_DECIMALS, 10))


def taken(listed: str) -> frozenset[str]:
    """The currencies of an account's option, `INR,USD`. Raises `ValueError` for one that we cannot convert."""
    found = frozenset(name for name in listed.replace(" ", "").split(",") if name)
    unknown = found - CURRENCIES
    if unknown or not found:
        raise ValueError(f"currencies that Razorpay has not: {', '.join(sorted(unknown)) or 'none named'}")
    return found


def exact(amount_minor: int, currency: str, currencies: Collection[str]) -> bool:
    """Whether Razorpay has the amount as it is."""
    return currency in currencies and AMOUNTS.refusal(amount_minor, currency) is None

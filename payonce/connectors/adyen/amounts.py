"""Adyen's minor units, which are not ISO 4217's everywhere; ours are.

Source: docs.adyen.com/development-resources/currency-codes, which says that its own number of decimals leads for CLP,
CVE, IDR and ISK; the decimals of npm `@adyen/adyen-web`, with which a test compares. Not tried against the service.
"""

from typing import Final

from payonce.domain.capabilities import Amounts
from payonce.domain.errors import OutcomeUnknown

_CURRENCIES: Final = """
    AED ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BMD BND BOB BRL BSD BWP BYN BZD CAD CHF CLP CNY COP CRC
    CUP CVE CZK DJF DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD
    ISK JMD JOD JPY KES KGS KHR KMF KRW KWD KYD KZT LAK LKR LYD MAD MDL MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR
    MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SEK SGD SHP SLE SOS
    SRD STN SVC SZL THB TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW
"""
CURRENCIES: Final = frozenset(_CURRENCIES.split())
"""Which of them an account may process is its agreement's: the others Adyen refuses."""

_TIMES: Final = {"CLP": 100, "ISK": 100}  # without decimals in ISO 4217, and with two here
_DIVIDED_BY: Final = {"CVE": 100, "IDR": 100}  # with two decimals in ISO 4217, and without here
VALUE_MAX: Final = 2**63 - 1  # int64


def to_adyen(amount_minor: int, currency: str) -> int:
    """Our amount as Adyen has it. Raises `ValueError` for one that Adyen has not."""
    if currency not in CURRENCIES or amount_minor % multiple_of(currency):
        raise ValueError(f"an amount of {currency} that is not exact at Adyen")
    return amount_minor * _TIMES.get(currency, 1) // multiple_of(currency)


def from_adyen(value: int, currency: str) -> int:
    """Adyen's amount as ours. Raises `OutcomeUnknown` for one that ours cannot be."""
    if value % _TIMES.get(currency, 1):
        raise OutcomeUnknown(f"an amount of {currency} that is no whole number of ours")
    return value * multiple_of(currency) // _TIMES.get(currency, 1)


def multiple_of(currency: str) -> int:
    """Of what an amount must be a multiple, to be exact at Adyen, in our minor units."""
    return _DIVIDED_BY.get(currency, 1)


AMOUNTS: Final = Amounts(multiple_of=_DIVIDED_BY)

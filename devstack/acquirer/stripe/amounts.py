"""How much may be charged in a currency.

Source: docs.stripe.com/currencies: the smallest amounts, three decimals end in 0, ISK and UGX in 00; spec,
`amount`: eight digits. error-codes: `amount_too_small`, `amount_too_large`.
"""

import re

from devstack.acquirer.stripe.errors import invalid

_LARGEST = 99_999_999
_SMALLEST = {
    **dict.fromkeys(("usd", "aud", "brl", "cad", "chf", "eur", "inr", "nzd", "sgd"), 50),
    **dict.fromkeys(("aed", "myr", "pln", "ron"), 200),
    **dict.fromkeys(("nok", "sek"), 300),
    **{"bgn": 100, "czk": 1500, "dkk": 250, "gbp": 30, "hkd": 400, "huf": 17_500, "jpy": 50, "mxn": 1000},
    "thb": 1000,
}
_MULTIPLE = {**dict.fromkeys(("bhd", "jod", "kwd", "omr", "tnd"), 10), **dict.fromkeys(("isk", "ugx"), 100)}


def check_amount(amount: int, currency: str) -> None:
    """Raises `Refusal` for what Stripe does not charge."""
    if not re.fullmatch(r"[a-z]{3}", currency):
        raise invalid(f"Invalid currency: {currency[:20]}.", param="currency")
    if amount < 1:
        message = "This value must be greater than or equal to 1."
        raise invalid(message, code="parameter_invalid_integer", param="amount")
    if amount < _SMALLEST.get(currency, 1):
        message = "Amount must be at least the smallest amount of its currency."
        raise invalid(message, code="amount_too_small", param="amount")
    if amount > _LARGEST:
        message = f"Amount must be no more than {_LARGEST}."
        raise invalid(message, code="amount_too_large", param="amount")
    if amount % _MULTIPLE.get(currency, 1):
        message = f"Amounts in {currency} must be a multiple of {_MULTIPLE[currency]}."
        raise invalid(message, code="invalid_charge_amount", param="amount")

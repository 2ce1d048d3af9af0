"""How a year of payments is shared out: among merchants and modes, and by what becomes of each."""

from datetime import timedelta
from typing import Final

from payonce.domain.facts import DeclineCode

SPREAD: Final = timedelta(days=365)
XIDS_EACH: Final = 3  # transactions a payment, about
SIZES: Final = (0.6, 0.25, 0.1, 0.04, 0.009, 0.0009, 0.0001)  # of the merchants, the largest first
IN_MODE: Final = 0.9  # of the payments in the mode of most; the others are in the other one
FATES: Final = {  # of a thousand payments
    "captured": 640,
    "declined": 140,
    "captured_later": 100,
    "refunded": 45,
    "refunded_in_part": 25,
    "abandoned": 35,
    "voided": 14,
    "expired": 1,
}
DECLINES: Final = (
    *(DeclineCode.INSUFFICIENT_FUNDS, DeclineCode.DO_NOT_HONOR, DeclineCode.GENERIC_DECLINE),
    *(DeclineCode.INCORRECT_CVC, DeclineCode.EXPIRED_CARD),
)
DISPUTED, SAVED = 0.003, 0.02  # of what was captured, and of all
ACCOUNT: Final = "sandbox_card"
CUSTOMERS: Final = 5_000
CARDS: Final = (("visa", "4242"), ("mastercard", "4444"), ("rupay", "0001"), ("amex", "0005"))

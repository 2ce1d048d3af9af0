"""Stripe's test cards, and what each does.

Source: docs.stripe.com/testing (numbers, PaymentMethods and tokens of each row; error code and decline code of the
declined ones; what refunds of the two refund cards become; which need 3D Secure). Messages: error-codes and
declines/codes, in our own words. `advice_code` and the network's codes are a *guess*: no page says which test card
has which.
"""

from dataclasses import dataclass, field
from typing import Literal

NEVER_AGAIN = "do_not_try_again"
LATER = "try_again_later"
CHECK_DATA = "confirm_card_data"


@dataclass(frozen=True, slots=True)
class Decline:
    """Why a payment failed. `decline_code` is absent where the documentation has none."""

    code: str
    decline_code: str | None
    message: str
    advice_code: str | None = None
    network_decline_code: str | None = None
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class TestCard:
    """A row of the page on testing. `name`: its PaymentMethod without `pm_card_`, its token without `tok_`."""

    __test__ = False

    name: str
    number: str
    brand: str = "visa"
    funding: str = "credit"
    decline: Decline | None = None
    asks_customer: Literal["no", "on_session", "always"] = "no"
    unasked: Literal["frictionless", "attempted"] | None = None  # how 3-D Secure goes that asks nobody
    refund: Literal["succeeds", "fails", "pends"] = "succeeds"
    checks: dict[str, str] = field(default_factory=dict)
    risk_level: str = "normal"


_DECLINED = "Your card was declined."
_GENERIC = Decline("card_declined", "generic_decline", _DECLINED, LATER, "01")
_FUNDS = Decline("card_declined", "insufficient_funds", "Your card has insufficient funds.", LATER, "51")
_LOST = Decline("card_declined", "lost_card", _DECLINED, NEVER_AGAIN, "41")
_STOLEN = Decline("card_declined", "stolen_card", _DECLINED, NEVER_AGAIN, "43")
_VELOCITY = Decline(
    "card_declined",
    "card_velocity_exceeded",
    "Your card was declined for making repeated attempts too frequently or exceeding its amount limit.",
    LATER,
    "65",
)
_EXPIRED = Decline("expired_card", None, "Your card has expired.", CHECK_DATA, "54")
_CVC = Decline("incorrect_cvc", None, "Your card's security code is incorrect.", CHECK_DATA, "N7")
_PROCESSING = Decline(
    "processing_error", None, "An error occurred while processing your card. Try again in a little bit."
)
_BLOCKED = Decline("card_declined", "fraudulent", _DECLINED, blocked=True)

AUTHENTICATION_REQUIRED = Decline(
    "authentication_required",
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
)
AUTHENTICATION_FAILED = Decline(
    "payment_intent_authentication_failure",
    None,
    "We are unable to authenticate your payment method. Please choose a different payment method and try again.",
)
# Source: declines/codes, `testmode_decline`: the number of a test card, outside of test mode.
TEST_CARD_IN_LIVE_MODE = Decline("card_declined", "testmode_decline", _DECLINED)

_FAILS = {"address_line1_check": "fail", "address_postal_code_check": "fail"}
TEST_CARDS = (
    TestCard("visa", "4242424242424242"),
    TestCard("visa_debit", "4000056655665556", funding="debit"),
    TestCard("mastercard", "5555555555554444", "mastercard"),
    TestCard("mastercard_debit", "5200828282828210", "mastercard", "debit"),
    TestCard("mastercard_prepaid", "5105105105105100", "mastercard", "prepaid"),
    TestCard("amex", "378282246310005", "amex"),
    TestCard("discover", "6011111111111117", "discover"),
    TestCard("diners", "3056930009020004", "diners"),
    TestCard("jcb", "3566002020360505", "jcb"),
    TestCard("unionpay", "6200000000000005", "unionpay"),
    TestCard("in", "4000003560000008"),
    TestCard("visa_chargeDeclined", "4000000000000002", decline=_GENERIC),
    TestCard("visa_chargeDeclinedInsufficientFunds", "4000000000009995", decline=_FUNDS),
    TestCard("visa_chargeDeclinedLostCard", "4000000000009987", decline=_LOST),
    TestCard("visa_chargeDeclinedStolenCard", "4000000000009979", decline=_STOLEN),
    TestCard("chargeDeclinedExpiredCard", "4000000000000069", decline=_EXPIRED),
    TestCard("chargeDeclinedIncorrectCvc", "4000000000000127", decline=_CVC),
    TestCard("chargeDeclinedProcessingError", "4000000000000119", decline=_PROCESSING),
    TestCard("visa_chargeDeclinedVelocityLimitExceeded", "4000000000006975", decline=_VELOCITY),
    TestCard("chargeCustomerFail", "4000000000000341", decline=_GENERIC),
    TestCard("radarBlock", "4100000000000019", decline=_BLOCKED, risk_level="highest"),
    TestCard("riskLevelHighest", "4000000000004954", risk_level="highest"),
    TestCard("riskLevelElevated", "4000000000009235", risk_level="elevated"),
    TestCard("cvcCheckFail", "4000000000000101", checks={"cvc_check": "fail"}),
    TestCard("avsZipFail", "4000000000000036", checks={"address_postal_code_check": "fail"}),
    TestCard("avsLine1Fail", "4000000000000028", checks={"address_line1_check": "fail"}),
    TestCard("avsFail", "4000000000000010", checks=_FAILS),
    TestCard("avsUnchecked", "4000000000000044", checks=dict.fromkeys(_FAILS, "unavailable")),
    TestCard("pendingRefund", "4000000000007726", refund="pends"),
    TestCard("refundFail", "4000000000005126", refund="fails"),
    TestCard("bypassPending", "4000000000000077"),
    TestCard("authenticationRequiredOnSetup", "4000002500003155", asks_customer="always"),
    TestCard("authenticationRequired", "4000002760003184", asks_customer="always"),
    TestCard("authenticationRequiredSetupForOffSession", "4000003800000446", asks_customer="on_session"),
    TestCard(
        "authenticationRequiredChargeDeclinedInsufficientFunds",
        "4000008260003178",
        asks_customer="always",
        decline=_FUNDS,
    ),
    TestCard("threeDSecure2Required", "4000000000003220", asks_customer="always"),
    TestCard("threeDSecureRequired", "4000000000003063", asks_customer="always"),
    TestCard(
        "threeDSecureRequiredChargeDeclined", "4000008400001629", asks_customer="always", decline=_GENERIC
    ),
)
# The sandbox's own, with the numbers that they have elsewhere in it: no row of the page stands for these, and on it
# 4000000000003055 is a card that supports 3-D Secure and needs none. What a charge says then is spec,
# `payment_method_details.card.three_d_secure`.
OWN_CARDS = (
    TestCard("sandboxFrictionless", "4000000000003055", unasked="frictionless"),
    TestCard("sandboxAttempted", "4000000000003105", unasked="attempted"),
)
BY_NUMBER = {card.number: card for card in (*TEST_CARDS, *OWN_CARDS)}
BY_NAME = {card.name: card for card in (*TEST_CARDS, *OWN_CARDS)}
# Stripe would decline what is no test card in test mode (declines/codes, `test_mode_live_card`). The sandbox takes
# any number that passes Luhn, as its own protocol does.
ANY = "any"


def named(name: str) -> TestCard:
    """The card of that name; one of no meaning is an ordinary one."""
    return BY_NAME.get(name, BY_NAME["visa"])


def brand(number: str) -> str:
    """By the first digits. Source: ISO/IEC 7812 ranges as the networks publish them; enough for a sandbox."""
    if number.startswith("4"):
        return "visa"
    if number[:2] in ("34", "37"):
        return "amex"
    if number[:2] in ("51", "52", "53", "54", "55") or "2221" <= number[:4] <= "2720":
        return "mastercard"
    if number[:2] in ("60", "64", "65"):
        return "discover"
    prefixes = {"30": "diners", "36": "diners", "38": "diners", "35": "jcb", "62": "unionpay"}
    return prefixes.get(number[:2], "unknown")

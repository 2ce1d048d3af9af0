"""Why payments fail, and the test data that make them.

Source: payments/payments/test-card-details (numbers, codes, reasons, descriptions, networks; the error comes when
Failure is chosen on the bank's page); s2s/test-s2s/one-time/cards (any other card with Failure:
`gateway_technical_error`); s2s/json/v2/test-integration (further cards that succeed; `success@razorpay` and
`failure@razorpay`); s2s/payment-methods/upi/error-codes (which amounts fail in test mode, with source and step);
api/orders/fetch-payments (what `failure@razorpay` leads to). Descriptions are in our own words. Which source and step
a test card's error has is a *guess*: they are values that errors/payments/payment-methods-error-parameters lists.
"""

from dataclasses import dataclass

from devstack.acquirer.razorpay.errors import BAD_REQUEST, GATEWAY, Json


@dataclass(frozen=True, slots=True)
class Failure:
    """The error of a failed payment."""

    reason: str
    description: str
    source: str
    step: str
    code: str = BAD_REQUEST

    def members(self) -> Json:
        """As a payment has it. Source: api/payments/entity, "Failure"."""
        return {
            "error_code": self.code,
            "error_description": self.description,
            "error_source": self.source,
            "error_step": self.step,
            "error_reason": self.reason,
        }


_AUTHENTICATES, _AUTHORIZES = "payment_authentication", "payment_authorization"
TIMED_OUT = Failure(
    "payment_timed_out",
    "Your payment could not be completed due to a temporary issue. Try again later.",
    "customer",
    _AUTHENTICATES,
)
COLLECT_EXPIRED = Failure(
    "payment_collect_request_expired", "Payment was not completed on time.", "customer", _AUTHENTICATES
)
CANCELLED = Failure("payment_cancelled", "The payment was cancelled.", "customer", _AUTHENTICATES)
GATEWAY_ERROR = Failure(
    "gateway_technical_error", "The payment failed for a while only.", "gateway", _AUTHORIZES, GATEWAY
)
CARD_DECLINED = Failure("card_declined", "The payment was declined by the bank.", "issuer_bank", _AUTHORIZES)
WALLET_FAILED = Failure("payment_failed", "Payment failed", "issuer", _AUTHORIZES)
UPI_FAILED = Failure(
    "payment_failed", "Payment was unsuccessful due to a temporary issue.", "gateway", "payment_response"
)
UPI_DECLINED = Failure(
    "payment_declined", "The bank declined the payment.", "issuer_bank", "payment_debit_request", GATEWAY
)
UPI_FAILURES_BY_AMOUNT = {
    201: Failure(
        "insufficient_funds",
        "The account's funds do not suffice.",
        "customer",
        "payment_debit_request",
        GATEWAY,
    ),
    402: UPI_DECLINED,
    204: Failure("incorrect_pin", "The PIN was incorrect.", "customer", _AUTHENTICATES),
    302: CANCELLED,
}
SUCCEEDS, FAILS = "success@razorpay", "failure@razorpay"


@dataclass(frozen=True, slots=True)
class TestCard:
    """A row of the pages of test cards. `failure`: what Failure on the bank's page leads to."""

    __test__ = False

    network: str
    failure: Failure = GATEWAY_ERROR
    is_international: bool = False


_INSUFFICIENT = Failure(
    "insufficient_fund", "The account's balance does not suffice.", "issuer_bank", _AUTHORIZES
)
_DISABLED = Failure(
    "card_disabled_for_online_payments",
    "The card is disabled for online payments.",
    "issuer_bank",
    _AUTHORIZES,
)
_NUMBER = Failure("card_number_invalid", "The card's number is incorrect.", "customer", "payment_initiation")
_OTP = Failure(
    "authentication_failed", "The one-time code was incorrect.", "customer", _AUTHENTICATES, GATEWAY
)
_FAILING = {
    TIMED_OUT: ("4100280000090000", "5305620000060000"),
    _INSUFFICIENT: ("4100280000080001", "5305620000050001"),
    CANCELLED: ("4100280000070002", "5305620000040002"),
    CARD_DECLINED: (
        *("4100280000060003", "4100280000050004", "4100280000040005"),
        *("5305620000030003", "5305620000020004", "5305620000010005"),
    ),
    _DISABLED: ("4100280000030006", "5305620000000006"),
    _NUMBER: ("4100280000010008", "5305620000080008"),
    GATEWAY_ERROR: ("4100280000020007", "5305620000090007"),
    _OTP: ("4100280000000009", "5305620000070009"),
}
_SUCCEEDING = (
    "4100280000001007",
    "5500670000001002",
    "6527658900001005",
    "36082800091007",
    "340256000401007",
)
_SUCCEEDING_TOO = ("4386289407660153", "5267318187975449")
_INTERNATIONAL = ("5555555555554444", "5105105105105100", "5104060000000008", "4012888888881881")


def network(number: str) -> str:
    """By the first digits. Source: api/payments/entity for the names; ISO/IEC 7812 ranges, enough for a sandbox."""
    if number.startswith("4"):
        return "Visa"
    if number[:2] in ("34", "37"):
        return "American Express"
    if "51" <= number[:2] <= "55" or "2221" <= number[:4] <= "2720":
        return "MasterCard"
    if number[:2] in ("30", "36", "38"):
        return "Diners Club"
    return "RuPay" if number[:2] in ("60", "65", "81", "82") else "Unknown"


BY_NUMBER = {
    **{number: TestCard(network(number), failure) for failure, every in _FAILING.items() for number in every},
    **{number: TestCard(network(number)) for number in (*_SUCCEEDING, *_SUCCEEDING_TOO)},
    **{number: TestCard(network(number), is_international=True) for number in _INTERNATIONAL},
}
# Cards of the sandbox's own protocol fail here, too, if Failure is chosen. This is the sandbox's.
OWN_BY_NUMBER = {
    "4000000000000002": CARD_DECLINED,
    "4000000000009995": _INSUFFICIENT,
}


def is_for_failing(number: str) -> bool:
    """Whether the number is there to fail."""
    return any(number in every for every in _FAILING.values()) or number in OWN_BY_NUMBER


def card(number: str) -> TestCard:
    """What the number leads to; one of no meaning succeeds, or fails as any other test card."""
    return BY_NUMBER.get(number) or TestCard(network(number), OWN_BY_NUMBER.get(number, GATEWAY_ERROR))


BY_REASON = {
    each.reason: each
    for each in (
        *_FAILING,
        *UPI_FAILURES_BY_AMOUNT.values(),
        WALLET_FAILED,
        COLLECT_EXPIRED,
    )
}

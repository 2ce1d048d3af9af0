"""What a card's number and its holder's name lead to.

Source: development-resources/testing/result-codes: the holder's name, or
`additionalData.RequestedTestAcquirerResponseCode`, asks for a result; development-resources/refusal-reasons: code,
reason and result. development-resources/testing/3d-secure-2-authentication: cards that are challenged, cards that are
not. The sandbox's own cards (docs/sandbox.md) work here too; Adyen has nothing of the kind.
"""

from dataclasses import dataclass

from devstack.acquirer import cards
from devstack.acquirer.cards import Asks


@dataclass(frozen=True, slots=True)
class Refused:
    """Why there is no authorization. `code`: `refusalReasonCode`."""

    code: str
    reason: str
    result: str = "Refused"


_ROWS = (
    ("UNKNOWN", "0", "Unknown", "Error"),
    ("DECLINED", "2", "Refused", "Refused"),
    ("REFERRAL", "3", "Referral", "Refused"),
    ("ERROR", "4", "Acquirer Error", "Error"),
    ("BLOCK_CARD", "5", "Blocked Card", "Refused"),
    ("CARD_EXPIRED", "6", "Expired Card", "Refused"),
    ("INVALID_AMOUNT", "7", "Invalid Amount", "Refused"),
    ("INVALID_CARD", "8", "Invalid Card Number", "Refused"),
    ("ISSUER_UNAVAILABLE", "9", "Issuer Unavailable", "Refused"),
    ("NOT_SUPPORTED", "10", "Not supported", "Refused"),
    ("NOT_3D_AUTHENTICATED", "11", "3D Not Authenticated", "Refused"),
    ("NOT_ENOUGH_BALANCE", "12", "Not enough balance", "Refused"),
    ("ACQUIRER_FRAUD", "14", "Acquirer Fraud", "Refused"),
    ("CANCELLED", "15", "Cancelled", "Refused"),
    ("SHOPPER_CANCELLED", "16", "Shopper Cancelled", "Refused"),
    ("INVALID_PIN", "17", "Invalid Pin", "Refused"),
    ("PIN_TRIES_EXCEEDED", "18", "Pin tries exceeded", "Refused"),
    ("PIN_VALIDATION_NOT_POSSIBLE", "19", "Pin validation not possible", "Refused"),
    ("FRAUD", "20", "FRAUD", "Refused"),
    ("NOT_SUBMITTED", "21", "Not Submitted", "Refused"),
    ("FRAUD_CANCELLED", "22", "FRAUD-CANCELLED", "Cancelled"),
    ("TRANSACTION_NOT_PERMITTED", "23", "Transaction Not Permitted", "Refused"),
    ("CVC_DECLINED", "24", "CVC Declined", "Refused"),
    ("RESTRICTED_CARD", "25", "Restricted Card", "Refused"),
    ("REVOCATION_OF_AUTH", "26", "Revocation Of Auth", "Refused"),
    ("DECLINED_NON_GENERIC", "27", "Declined Non Generic", "Refused"),
    ("WITHDRAWAL_AMOUNT_EXCEEDED", "28", "Withdrawal amount exceeded", "Refused"),
    ("WITHDRAWAL_COUNT_EXCEEDED", "29", "Withdrawal count exceeded", "Refused"),
    ("ISSUER_SUSPECTED_FRAUD", "31", "Issuer Suspected Fraud", "Refused"),
    ("AVS_DECLINED", "32", "AVS Declined", "Refused"),
    ("PIN_REQUIRED", "33", "Card requires online pin", "Refused"),
    ("NO_CHECKING_ACCOUNT", "34", "No checking account available on Card", "Refused"),
    ("NO_SAVINGS_ACCOUNT", "35", "No savings account available on Card", "Refused"),
    ("MOBILE_PIN_REQUIRED", "36", "Mobile pin required", "Refused"),
    ("CONTACTLESS_FALLBACK", "37", "Contactless fallback", "Refused"),
    ("AUTHENTICATION_REQUIRED", "38", "Authentication required", "Refused"),
    ("RREQ_NOT_RECEIVED", "39", "RReq not received from DS", "Refused"),
    ("BAN_CURRENT_AID", "40", "Current AID is in Penalty Box.", "Refused"),
    ("CVM_REQUIRED", "41", "CVM Required Restart Payment", "Refused"),
    ("THREED_SECURE_ERROR", "42", "3DS Authentication Error", "Refused"),
    ("ONLINE_PIN_REQUIRED", "43", "Online PIN required", "Refused"),
    ("TRY_ANOTHER_INTERFACE", "44", "Try another interface", "Refused"),
    ("CHIP_DOWNGRADE_MODE", "45", "Chip downgrade mode", "Refused"),
    ("ERPS_BLOCK", "46", "Transaction blocked by Adyen to prevent excessive retry fees", "Refused"),
)
BY_HOLDER = {name: Refused(code, reason, result) for name, code, reason, result in _ROWS}
BY_CODE = {each.code: each for each in BY_HOLDER.values()}
NOT_AUTHENTICATED = BY_CODE["11"]
CANCELLED_BY_SHOPPER = Refused("16", "Shopper Cancelled", "Cancelled")

_OF_SANDBOX = {
    "generic_decline": "2",
    "insufficient_funds": "12",
    "lost_card": "5",
    "expired_card": "6",
    "incorrect_cvc": "24",
    "processing_error": "4",
}
_CHALLENGED = frozenset({"4212345678910006", "371449635398431"})
_FRICTIONLESS = frozenset({"5201281505129736"})


@dataclass(frozen=True, slots=True)
class Card:
    """What will become of a card."""

    refused: Refused | None
    is_challenged: bool
    is_authenticated: bool = False


def of(number: str, *, holder_name: str | None, requested_code: str | None, attempt: str) -> Card:
    """What this number and name lead to, with what was wanted of authentication (`Payment.attempt`).

    Source: spec, `attemptAuthentication`: `never` means that no authentication is tried.
    """
    refused = BY_HOLDER.get((holder_name or "").strip().upper()) or BY_CODE.get(requested_code or "")
    ours = cards.card_of(number)
    if refused is None and ours.decline_code is not None:
        refused = BY_CODE[_OF_SANDBOX[ours.decline_code]]
    if attempt == "handed_in":
        return Card(refused, is_challenged=False, is_authenticated=True)
    if ours.asks is Asks.IN_VAIN:
        return Card(NOT_AUTHENTICATED, is_challenged=False)
    if ours.asks is Asks.SOFTLY and attempt not in ("always", "mandated"):
        return Card(BY_CODE["38"], is_challenged=False)
    insists = ours.asks in (Asks.ALWAYS, Asks.IN_SPITE_OF_ALL, Asks.SOFTLY)
    asks = insists or number in _CHALLENGED or attempt == "mandated"
    if attempt == "exempted" and ours.asks is not Asks.IN_SPITE_OF_ALL:
        return Card(refused, is_challenged=False)
    if attempt == "never":
        return Card(BY_CODE["38"] if insists else refused, is_challenged=False)
    frictionless = number in _FRICTIONLESS or ours.asks in (Asks.FRICTIONLESS, Asks.ATTEMPTED)
    return Card(refused, is_challenged=asks, is_authenticated=frictionless)


def brand(number: str) -> str:
    """The variant as Adyen names it. Source: development-resources/paymentmethodvariant."""
    if number[:2] in ("34", "37"):
        return "amex"
    if number.startswith(("60", "65", "81", "82")):
        return "rupay"
    return "mc" if number[0] in "25" else "visa"

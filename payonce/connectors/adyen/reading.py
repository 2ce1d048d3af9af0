"""What Adyen says of an attempt, in our words.

Source: docs.adyen.com/online-payments/build-your-integration/payment-result-codes, /development-resources/
refusal-reasons, and Checkout v72, `PaymentResponse`. Read, not tried.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

import structlog

from payonce.connectors.adyen import codes, references
from payonce.connectors.adyen.amounts import from_adyen
from payonce.connectors.adyen.answers import Action, AdyenAmount, PaymentAnswer
from payonce.connectors.base import Call, ConnectorAccount
from payonce.domain.errors import OutcomeUnknown
from payonce.domain.evidence import Evidence
from payonce.domain.facts import (
    Accepted,
    ActionRequired,
    Approved,
    DeclineCode,
    Declined,
    Pending,
    Reply,
    Stage,
)
from payonce.domain.leaving import ACTS_WITHIN
from payonce.domain.sca import AuthenticationResult, Completes, Exemption

log = structlog.get_logger(__name__)

_PAGE: Final = re.compile(r"https?://[!-~]+")
_UPI_LINK: Final = re.compile(r"upi://[!-~]+")
_NETWORK_CODE: Final = re.compile(r"^\s*([A-Za-z0-9]{1,4})\s*:")
_EXEMPTIONS: Final[dict[str, Exemption]] = {
    "lowValue": "low_value",
    "transactionRiskAnalysis": "transaction_risk_analysis",
}
_AUTHENTICATED: Final[dict[str, AuthenticationResult]] = {
    "Y": "authenticated",
    "A": "attempted",
    "N": "failed",
}


def check(answer: PaymentAnswer, call: Call) -> None:
    """Raises `OutcomeUnknown` for the answer to another request."""
    if answer.reference is not None and answer.reference != references.sent(call):
        raise OutcomeUnknown("an answer to another payment")
    if answer.amount is not None and answer.amount.currency != call.currency:
        raise OutcomeUnknown("a payment in another currency", connector_reference=answer.psp)


def names(answer: PaymentAnswer, call: Call) -> bool:
    """Whether the answer says of which payment it is: by our reference, once that is checked, or by Adyen's."""
    return answer.reference is not None or (answer.psp is not None and answer.psp == call.attempt_reference)


def authorization(answer: PaymentAnswer, call: Call, *, account: ConnectorAccount, now: datetime) -> Reply:
    """What an answer to `/payments` or `/payments/details` is, by the table of its result codes."""
    known = answer.psp or call.attempt_reference or references.sent(call)
    match codes.RESULTS.get(answer.result):
        case "approved":
            return _approved(answer, call)
        case "declined":
            return _declined(answer)
        case "accepted" | "asks" if answer.action is not None:
            return _asked(answer.action, call, known=known, account=account, now=now)
        case "accepted":
            return Accepted(known)
        case result:  # None: one that is not documented
            status = "unmapped status" if result is None else answer.result
            log.warning("acquirer_status_unmapped", reference=call.reference, status=answer.result)
            return Pending(answer.psp, reason=status)


def stage(what: references.Asked) -> Stage:
    """How far a payment comes by itself; no capture of one that captures itself is told."""
    return Stage.CAPTURED if what is references.Asked.SALE else Stage.AUTHORIZED


def money(amount: AdyenAmount) -> tuple[int, str]:
    """Ours. Raises `OutcomeUnknown` for an amount that ours cannot be."""
    return from_adyen(amount.value, amount.currency), amount.currency


def evidence(additional: Mapping[str, str], *, scheme: str | None, signed: bool) -> Evidence:
    """What Adyen says beside its yes; which of it an account gets is set in the Customer Area."""
    authenticated = _authentication(additional)
    requested = _EXEMPTIONS.get(additional.get("scaExemptionRequested", ""))
    network_id = additional.get("networkTxReference")
    return Evidence(
        scheme=scheme or additional.get("cardPaymentMethod") or additional.get("paymentMethod"),
        network_transaction_id=network_id,
        authorization_code=additional.get("authCode"),
        avs_result=additional.get("avsResultRaw") or additional.get("avsResult"),
        cvc_result=additional.get("cvcResultRaw") or additional.get("cvcResult"),
        liability=_liability(additional.get("liabilityShift")),
        eci=additional.get("eci"),
        authentication=authenticated,
        exemption_honoured=requested if authenticated in (None, "none") else None,
        issuer_country=additional.get("cardIssuingCountry") or additional.get("issuerCountry"),
        funding=additional.get("fundingSource"),
        signed=signed,
    )


def _approved(answer: PaymentAnswer, call: Call) -> Approved | Pending:
    """Without an amount of Adyen's, or its word that it is this payment, the callback says it."""
    if answer.psp is None or answer.amount is None or answer.reference is None:
        return Pending(answer.psp, reason="authorised, and not said of what")
    what = references.asked(call)
    scheme = answer.additional.get("paymentMethod")
    return Approved(
        answer.psp,
        *money(answer.amount),
        stage=stage(what),
        evidence=evidence(answer.additional, scheme=scheme, signed=True),
    )


def _declined(answer: PaymentAnswer) -> Declined:
    """Final, says Adyen: nothing was authorized. An error on the way decides nothing about the card."""
    advice = answer.additional.get("merchantAdviceCode")
    meaning = codes.declined(answer.reason_code, advice=advice)
    if not codes.heard_of(answer.reason_code):
        log.warning("acquirer_decline_code_unmapped", code=answer.reason_code)
    failed = answer.result == "Error"
    if failed and meaning.code in (DeclineCode.GENERIC_DECLINE, DeclineCode.DO_NOT_HONOR):
        meaning = codes.RefusalMeaning(DeclineCode.PROCESSING_ERROR, "same")
    elif failed and meaning.where == "other":
        meaning = codes.RefusalMeaning(meaning.code, "same")
    network = _NETWORK_CODE.match(answer.additional.get("refusalReasonRaw", ""))
    said = {
        "code": answer.reason_code,
        "decline_code": answer.reason,
        "network_decline_code": None if network is None else network[1],
        "network_advice_code": advice,
        "result_code": answer.result,
    }
    return Declined(
        meaning.code,
        connector_reference=answer.psp,
        raw={name: text for name, text in said.items() if text is not None},
        where=meaning.where,
        soft=answer.result == "Refused" and answer.reason_code == codes.AUTHENTICATION_REQUIRED,
        evidence=replace(evidence(answer.additional, scheme=None, signed=True), exemption_honoured=None),
    )


def _asked(
    action: Action, call: Call, *, known: str, account: ConnectorAccount, now: datetime
) -> ActionRequired | Pending:
    """What the customer has to do, where whoever has an address or a code can do it."""
    found = (
        _upi(action, call, account) if call.payment_method.get("type") == "upi" else _page(action, account)
    )
    if found is None:
        log.warning("acquirer_action_unmapped", reference=call.reference, action=action.type)
        return Pending(known, reason="an action that cannot be passed on")
    shown, completes = found
    return ActionRequired(known, shown, _until(action, now=now), completes)


def _page(action: Action, account: ConnectorAccount) -> tuple[dict[str, Any], Completes] | None:
    """The issuer's page. Only what the browser brings back from there, sent in a second leg, authorizes."""
    live = account.mode == "live"
    page = action.url or ""
    secure = page.startswith("https://") or not live
    if (
        action.type != "redirect"
        or (action.method or "GET") != "GET"
        or not secure
        or not _PAGE.fullmatch(page)
    ):
        return None
    return {"type": "redirect", "url": page} | ({} if live else {"sandbox_url": page}), "resume"


def _upi(
    action: Action, call: Call, account: ConnectorAccount
) -> tuple[dict[str, Any], Literal["customer"]] | None:
    """In their app the customer pays, whether they come back or not."""
    upi = call.payment_method["upi"]
    if upi["flow"] == "collect":
        return {"type": "upi_collect", "vpa": upi["vpa"]}, "customer"
    link = action.code if upi["flow"] == "qr" else action.url
    if link is None or not _UPI_LINK.fullmatch(link):
        return None
    shown = {"type": f"upi_{upi['flow']}", "url": link}
    if upi["flow"] == "qr":
        shown["image_url"] = account.code_url(call.payment_id)
    return shown, "customer"


def _until(action: Action, *, now: datetime) -> datetime:
    """When the customer's time is over: of a page Adyen names no end, so it is ours."""
    try:
        said = datetime.fromisoformat(action.expires_at or "")
    except ValueError:
        return now + ACTS_WITHIN
    return said if said.tzinfo is not None else said.replace(tzinfo=UTC)


def _liability(shifted: str | None) -> Literal["issuer", "merchant"] | None:
    match shifted:
        case "true":
            return "issuer"
        case "false":
            return "merchant"
        case _:
            return None


def _authentication(additional: Mapping[str, str]) -> AuthenticationResult | None:
    """What became of the cardholder's authentication; a challenge has an answer of its own."""
    if additional.get("threeDOffered") == "false":
        return "none"
    answered = additional.get("threeDAuthenticatedResponse", "")
    if answered in _AUTHENTICATED:
        return _AUTHENTICATED[answered]
    if additional.get("threeDAuthenticated") == "true":
        return "authenticated"
    return None

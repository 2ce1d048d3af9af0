"""What we ask of Adyen, as it documents it. Whether a payment is captured by itself is said in each, never left open.

The body of a call is the same whenever it is sent again: nothing in it is drawn or read from a clock.
Source: Checkout v72, `PaymentRequest`, `PaymentDetailsRequest` and the requests of modifications.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, Field

from payonce.connectors.adyen import references
from payonce.connectors.adyen.amounts import to_adyen
from payonce.connectors.adyen.references import Asked
from payonce.connectors.base import Call
from payonce.domain.capabilities import Required
from payonce.domain.cards import Card, NetworkToken
from payonce.domain.errors import Rejected
from payonce.domain.personal import Address, Browser, Customer, Party

NO_HOUSE_NUMBER: Final = "N/A"  # ours have it within the street; Adyen wants one
STATEMENT_LENGTH_MAX: Final = 22
METADATA_MAX, METADATA_NAME_MAX, METADATA_VALUE_MAX = 20, 20, 80
MANDATED: Final = "04"  # a challenge, and not only that the holder is authenticated somehow
_CHANNELS: Final = {"web": "Web", "ios": "iOS", "android": "Android"}
_EXEMPTIONS: Final = {"low_value": "lowValue", "transaction_risk_analysis": "transactionRiskAnalysis"}
_ON_FILE: Final = "CardOnFile"
_MODELS: Final = {
    "recurring": "Subscription",
    "installment": "Subscription",
    "unscheduled": "UnscheduledCardOnFile",
    "delayed": "UnscheduledCardOnFile",
    "no_show": "UnscheduledCardOnFile",
}
"""What a merchant asks for while nobody is there. Source: `PaymentRequest.recurringProcessingModel`: a fixed
schedule is `Subscription`, all else `UnscheduledCardOnFile`; Adyen has no words for delays and no-shows."""
_ATTEMPTS: Final = {"force": "always", "avoid": "never"}

_BROWSER: Final = (
    *("ip", "user_agent", "accept", "language", "color_depth", "screen_width", "screen_height"),
    *("time_zone_offset", "java_enabled"),
)
_CARDHOLDER: Final = (
    *("/billing/name", "/billing/address/line1", "/billing/address/city", "/billing/address/postal_code"),
    *("/billing/address/country", "/customer/email"),
    *(f"/browser/{member}" for member in _BROWSER),
)
REQUIRED: Final = tuple(
    Required(pointer=pointer, methods=frozenset({"card"}), attended=pointer.startswith("/browser"))
    for pointer in _CARDHOLDER
)
"""A card's holder may be asked, at any time: what 3-D Secure 2 needs in a browser is needed of each."""


class AmountBody(BaseModel):
    currency: str
    value: int


class _Method(BaseModel):
    type: str
    number: str | None = Field(default=None, repr=False)
    expiryMonth: str | None = None
    expiryYear: str | None = None
    cvc: str | None = Field(default=None, repr=False)
    holderName: str | None = Field(default=None, repr=False)
    virtualPaymentAddress: str | None = Field(default=None, repr=False)


class _Browser(BaseModel):
    acceptHeader: str
    colorDepth: int
    javaEnabled: bool
    javaScriptEnabled: bool | None
    language: str
    screenHeight: int
    screenWidth: int
    timeZoneOffset: int
    userAgent: str


class _Address(BaseModel):
    city: str
    country: str
    houseNumberOrName: str
    postalCode: str
    stateOrProvince: str | None = None
    street: str


class _ThreeDs(BaseModel):
    """Only a page can be shown by whoever is given an address alone."""

    nativeThreeDS: str = "disabled"


class _Authentication(BaseModel):
    attemptAuthentication: str | None = None
    threeDSRequestData: _ThreeDs = _ThreeDs()


class _Requested(BaseModel):
    threeDSRequestorChallengeInd: str


class _Mpi(BaseModel):
    """What was authenticated elsewhere: by the merchant, or by a device."""

    directoryResponse: str | None = None
    cavv: str | None = Field(default=None, repr=False)
    eci: str | None = None
    dsTransID: str | None = None
    threeDSVersion: str | None = None
    tokenAuthenticationVerificationValue: str | None = Field(default=None, repr=False)


class PaymentBody(BaseModel):
    merchantAccount: str
    amount: AmountBody
    reference: str
    merchantOrderReference: str
    returnUrl: str
    paymentMethod: _Method = Field(repr=False)
    shopperInteraction: str
    recurringProcessingModel: str | None
    channel: str | None
    captureDelayHours: int | None
    additionalData: dict[str, str] | None
    authenticationData: _Authentication | None
    threeDS2RequestData: _Requested | None
    mpiData: _Mpi | None = Field(repr=False)
    redirectToIssuerMethod: str | None
    redirectFromIssuerMethod: str | None
    browserInfo: _Browser | None = Field(repr=False)
    billingAddress: _Address | None = Field(repr=False)
    deliveryAddress: _Address | None = Field(repr=False)
    countryCode: str | None
    shopperIP: str | None = Field(repr=False)
    shopperEmail: str | None = Field(repr=False)
    telephoneNumber: str | None = Field(repr=False)
    shopperReference: str | None
    shopperStatement: str | None
    metadata: dict[str, str] | None


class _Details(BaseModel):
    redirectResult: str | None = Field(default=None, repr=False)
    payload: str | None = Field(default=None, repr=False)


class DetailsBody(BaseModel):
    details: _Details = Field(repr=False)


class ModificationBody(BaseModel):
    """A capture, a cancel, a refund or a reversal: captures and refunds have an amount."""

    merchantAccount: str
    reference: str
    amount: AmountBody | None = None
    paymentReference: str | None = None


RETURNED: Final = frozenset({"redirectResult", "payload"})
"""What a browser brings back that a second leg needs."""


def payment(call: Call, *, merchant_account: str, secret: bytes, copy_metadata: bool) -> PaymentBody:
    """An authorization. `secret`: of the cell, by which a customer has another name at Adyen."""
    customer, billing = call.customer or Customer(), call.billing or Party()
    card = call.payment_method.get("type", "card") == "card"
    moto = call.channel == "moto"
    forced = card and not moto and call.sca is not None and call.sca.challenge == "force"
    return PaymentBody(
        merchantAccount=merchant_account,
        amount=amount(call),
        reference=references.sent(call),
        merchantOrderReference=references.plain(call.payment_id),
        returnUrl=call.return_url or "",
        paymentMethod=_method(call, holder=billing.name or customer.name),
        shopperInteraction=_interaction(call),
        recurringProcessingModel=_model(call),
        channel=None if call.channel is None else _CHANNELS.get(call.channel),
        captureDelayHours=0 if call.automatic_capture else None,
        additionalData=_additional(call),
        authenticationData=None if moto or not card or call.unattended else _authentication(call),
        threeDS2RequestData=_Requested(threeDSRequestorChallengeInd=MANDATED) if forced else None,
        mpiData=_mpi(call),
        redirectToIssuerMethod="GET" if card else None,
        redirectFromIssuerMethod="GET" if card else None,
        browserInfo=_browser(call.browser),
        billingAddress=_address(billing.address),
        deliveryAddress=None if call.shipping is None else _address(call.shipping.address),
        countryCode=None if billing.address is None else billing.address.country,
        shopperIP=None if call.browser is None else call.browser.ip,
        shopperEmail=customer.email,
        telephoneNumber=customer.phone,
        shopperReference=shopper(customer.id, secret=secret),
        shopperStatement=(call.statement_descriptor or "")[:STATEMENT_LENGTH_MAX] or None,
        metadata=_metadata(call.metadata) if copy_metadata else None,
    )


def details(parameters: Mapping[str, str]) -> DetailsBody:
    """The second leg, with what the browser brought back."""
    return DetailsBody(
        details=_Details(**{name: text for name, text in parameters.items() if name in RETURNED})
    )


def modification(call: Call, *, merchant_account: str) -> ModificationBody:
    """A capture, a cancel or a refund of ours."""
    cancels = references.asked(call) is Asked.CANCEL
    return ModificationBody(
        merchantAccount=merchant_account,
        reference=references.sent(call),
        amount=None if cancels else amount(call),
    )


def reversal(call: Call, *, merchant_account: str, by_reference: bool) -> ModificationBody:
    """Whatever an authorization did is undone, which is known by Adyen's reference, or by ours alone."""
    return ModificationBody(
        merchantAccount=merchant_account,
        reference=references.written(call.reference, Asked.REVERSAL),
        paymentReference=references.sent(call) if by_reference else None,
    )


def amount(call: Call) -> AmountBody:
    """The call's amount as Adyen has it. Raises `ValueError` for one that Adyen has not."""
    return AmountBody(currency=call.currency, value=to_adyen(call.amount_minor, call.currency))


def authorization_of(call: Call) -> str:
    """Adyen's reference of the payment that a modification is about. Raises `Rejected` where there is none."""
    if call.authorization_reference is None:
        raise Rejected(f"{call.kind} without the authorization's reference")
    return call.authorization_reference


def shopper(customer_id: str | None, *, secret: bytes) -> str | None:
    """The merchant's name of a customer is a person's, perhaps: Adyen gets one that says nothing of it."""
    if customer_id is None:
        return None
    return hmac.new(secret, f"shopper\n{customer_id}".encode(), hashlib.sha256).hexdigest()[:40]


def _method(call: Call, *, holder: str | None) -> _Method:
    if call.payment_method.get("type") == "upi":
        upi = call.payment_method["upi"]
        collect = upi["flow"] == "collect"
        return _Method(type=f"upi_{upi['flow']}", virtualPaymentAddress=upi["vpa"] if collect else None)
    held: Card | NetworkToken | None = call.network_token or call.card
    if held is None:
        raise Rejected("authorize without a card")
    return _Method(
        type="networkToken" if isinstance(held, NetworkToken) else "scheme",
        number=held.number,
        expiryMonth=f"{held.exp_month:02d}",
        expiryYear=str(held.exp_year),
        cvc=held.cvc if isinstance(held, Card) else None,
        holderName=holder,
    )


def _additional(call: Call) -> dict[str, str] | None:
    """Manual capture is said here and by nothing else."""
    known: dict[str, str] = {} if call.automatic_capture else {"manualCapture": "true"}
    if call.sca is not None and call.sca.exemption is not None:
        known["scaExemption"] = _EXEMPTIONS[call.sca.exemption]
    if call.network_transaction is not None:
        known["networkTxReference"] = call.network_transaction.id
    return known or None


def _interaction(call: Call) -> str:
    if call.unattended:
        return "ContAuth"
    return "Moto" if call.channel == "moto" else "Ecommerce"


def _model(call: Call) -> str | None:
    """Of a card that was saved before, by us: with its number Adyen is told that, and by whom it is asked for.

    Source: `AdditionalDataCommon.networkTxReference`: with a card that Adyen does not tokenize, `ContAuth` and one of
    these models make it a merchant-initiated payment, and the reference links it to the first.
    """
    if call.stored is None or not call.stored.paid_with:
        return None
    return _ON_FILE if call.stored.reason is None else _MODELS[call.stored.reason]


def _metadata(theirs: Mapping[str, str]) -> dict[str, str] | None:
    """Of the merchant's what fits."""
    fitting = {
        name: value
        for name, value in sorted(theirs.items())
        if len(name) <= METADATA_NAME_MAX and len(value) <= METADATA_VALUE_MAX
    }
    return dict(list(fitting.items())[:METADATA_MAX]) or None


def _authentication(call: Call) -> _Authentication:
    wish = "default" if call.sca is None else call.sca.challenge
    return _Authentication(attemptAuthentication=_ATTEMPTS.get(wish))


def _mpi(call: Call) -> _Mpi | None:
    if call.authentication is not None:
        known = call.authentication
        return _Mpi(
            directoryResponse=known.trans_status,
            cavv=known.cavv,
            eci=known.eci,
            dsTransID=known.ds_transaction_id,
            threeDSVersion=known.version,
        )
    if call.network_token is not None:
        token = call.network_token
        return _Mpi(tokenAuthenticationVerificationValue=token.cryptogram, eci=token.eci)
    return None


def _browser(known: Browser | None) -> _Browser | None:
    """All of it, or nothing: a part is refused."""
    if known is None:
        return None
    members: dict[str, Any] = {
        "acceptHeader": known.accept,
        "colorDepth": known.color_depth,
        "javaEnabled": known.java_enabled,
        "language": known.language,
        "screenHeight": known.screen_height,
        "screenWidth": known.screen_width,
        "timeZoneOffset": known.time_zone_offset,
        "userAgent": known.user_agent,
    }
    if any(value is None for value in members.values()):
        return None
    return _Browser(**members, javaScriptEnabled=known.javascript_enabled)


def _address(known: Address | None) -> _Address | None:
    """All that Adyen wants of it, or nothing."""
    if known is None or known.city is None or known.postal_code is None:
        return None
    return _Address(
        city=known.city,
        country=known.country,
        houseNumberOrName=known.line2 or NO_HOUSE_NUMBER,
        postalCode=known.postal_code,
        stateOrProvince=known.state,
        street=known.line1,
    )

"""The bodies of requests. A member that Adyen does not document is refused; most of what it does is not played.

Source: spec, `PaymentRequest`, `PaymentDetailsRequest`, `PaymentCaptureRequest`, `PaymentRefundRequest`,
`PaymentCancelRequest`, `StandalonePaymentCancelRequest`, `PaymentReversalRequest`: names, types, required ones,
lengths.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from devstack.acquirer import bodies
from devstack.acquirer.adyen.errors import invalid, malformed
from devstack.acquirer.bodies import AMOUNT_MAX

METADATA_MAX, METADATA_KEY_MAX, METADATA_VALUE_MAX = 20, 20, 80
Reference = Annotated[str, Field(min_length=1, max_length=80)]
Text = Annotated[str, Field(max_length=8000)]
Texts = dict[Annotated[str, Field(max_length=100)], Annotated[str, Field(max_length=2000)]]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class Amount(_Model):
    """Minor units, as Adyen counts them."""

    currency: str = Field(pattern=r"^[A-Z]{3}$")
    value: int = Field(ge=0, le=AMOUNT_MAX)


class _Method(_Model):
    checkoutAttemptId: Text | None = None
    sdkData: Text | None = None
    recurringDetailReference: Text | None = None
    storedPaymentMethodId: Text | None = None


class Scheme(_Method):
    """A card, plain or as the client-side encryption of the test platform.

    Source: development-resources/testing/test-card-numbers, "Encrypted card details": `test_` before each value.
    """

    type: Literal["scheme", "networkToken", "card"]
    number: str | None = Field(default=None, pattern=r"^[0-9]{4,19}$", repr=False)
    expiryMonth: str | None = Field(default=None, pattern=r"^[0-9]{1,2}$")
    expiryYear: str | None = Field(default=None, pattern=r"^[0-9]{4}$")
    cvc: str | None = Field(default=None, pattern=r"^[0-9]{1,20}$", repr=False)
    encryptedCardNumber: Text | None = Field(default=None, repr=False)
    encryptedExpiryMonth: Text | None = None
    encryptedExpiryYear: Text | None = None
    encryptedSecurityCode: Text | None = Field(default=None, repr=False)
    encryptedCard: Text | None = Field(default=None, repr=False)
    encryptedPassword: Text | None = Field(default=None, repr=False)
    holderName: Text | None = None
    brand: Text | None = None
    fundingSource: Literal["credit", "debit", "prepaid"] | None = None
    billingSequenceNumber: Text | None = None
    cupsecureplus_smscode: Text | None = Field(default=None, alias="cupsecureplus.smscode")
    fastlaneData: Text | None = None
    networkPaymentReference: Text | None = None
    shopperNotificationReference: Text | None = None
    srcCorrelationId: Text | None = None
    srcDigitalCardId: Text | None = None
    srcScheme: Text | None = None
    srcTokenReference: Text | None = None
    threeDS2SdkVersion: Text | None = None

    def plain_number(self) -> str:
        """The number. Raises `Refusal` where there is none."""
        given = self.number or (self.encryptedCardNumber or "").removeprefix("test_")
        if not given.isdecimal() or not 12 <= len(given) <= 19:
            raise invalid("101", "Invalid card number")
        return given

    def plain_expiry(self) -> tuple[str, str]:
        """Month and year. Raises `Refusal`."""
        month = self.expiryMonth or (self.encryptedExpiryMonth or "").removeprefix("test_")
        year = self.expiryYear or (self.encryptedExpiryYear or "").removeprefix("test_")
        if not (month.isdecimal() and year.isdecimal() and 1 <= int(month) <= 12 and len(year) == 4):
            raise invalid("129", "Expiry Date Invalid")
        return f"{int(month):02d}", year


class ApplePay(_Method):
    """A token as Apple's device made it."""

    type: Literal["applepay"]
    applePayToken: str = Field(min_length=1, max_length=32_768, repr=False)
    fundingSource: Literal["credit", "debit"] | None = None


class GooglePay(_Method):
    """A token as Google made it."""

    type: Literal["googlepay", "paywithgoogle"]
    googlePayToken: str = Field(min_length=1, max_length=32_768, repr=False)
    googlePayCardNetwork: Text | None = None
    fundingSource: Literal["credit", "debit"] | None = None
    threeDS2SdkVersion: Text | None = None


class _Upi(_Method):
    billingSequenceNumber: Text | None = None
    shopperNotificationReference: Text | None = None


class UpiIntent(_Upi):
    """Source: payment-methods/upi/api-only: `appId` names the app that the shopper chose."""

    type: Literal["upi_intent"]
    appId: Text | None = None


class UpiQr(_Upi):
    """A code to be scanned."""

    type: Literal["upi_qr"]


class UpiCollect(_Upi):
    """Source: spec, `UpiCollectDetails`."""

    type: Literal["upi_collect"]
    virtualPaymentAddress: bodies.Vpa


Method = Annotated[
    Scheme | ApplePay | GooglePay | UpiIntent | UpiQr | UpiCollect, Field(discriminator="type")
]


class ThreeDSRequestData(_Model):
    """How 3-D Secure is to be done."""

    challengeWindowSize: Literal["01", "02", "03", "04", "05"] | None = None
    dataOnly: Literal["true", "false"] | None = None
    nativeThreeDS: Literal["preferred", "disabled"] | None = None
    threeDSVersion: Literal["2.1.0", "2.2.0"] | None = None


class AuthenticationData(_Model):
    """Whether 3-D Secure is to be done."""

    attemptAuthentication: Literal["always", "never"] | None = None
    authenticationOnly: bool = False
    threeDSRequestData: ThreeDSRequestData | None = None


class _Order(_Model):
    merchantAccount: str = Field(min_length=1, max_length=80)


NOT_PLAYED = (
    *("accountInfo", "additionalAmount", "applicationInfo", "bankAccount", "billingAddress", "browserInfo"),
    *("channel", "checkoutAttemptId", "company", "countryCode", "dateOfBirth", "dccQuote", "deliverAt"),
    *("deliveryAddress", "deliveryDate", "deviceFingerprint", "enableOneClick", "enablePayOut"),
    *("enableRecurring", "enhancedSchemeData", "entityType", "fraudOffset", "fundOrigin", "fundRecipient"),
    *("industryUsage", "installments", "lineItems", "localizedShopperStatement", "mandate", "mcc"),
    *("merchantRiskIndicator", "order", "orderReference", "origin", "paymentValidations"),
    *("platformChargebackLogic", "recurringExpiry", "recurringFrequency", "recurringProcessingModel"),
    *("redirectToIssuerMethod", "riskData", "sessionValidity", "shopperConversionId", "shopperEmail"),
    *("shopperIP", "shopperInteraction", "shopperLocale", "shopperName", "shopperReference"),
    *("shopperStatement", "shopperTaxInfo", "socialSecurityNumber", "splits", "store"),
    *("storePaymentMethod", "subMerchants", "surcharge", "telephoneNumber"),
    *("thirdPartyTokenRedundancyInfo", "threeDSAuthenticationOnly", "trustedShopper"),
)


class Payment(_Order):
    """`POST /payments`, as far as it is played. The rest of what is documented is taken off before."""

    amount: Amount
    reference: Reference
    returnUrl: Annotated[str, Field(min_length=1, max_length=8000)]
    paymentMethod: Method
    additionalData: Texts = Field(default={}, max_length=100)
    authenticationData: AuthenticationData | None = None
    captureDelayHours: int | None = Field(default=None, ge=0, le=672)
    merchantOrderReference: Reference | None = None
    metadata: Texts = {}
    mpiData: dict[str, Any] | None = None
    redirectFromIssuerMethod: Literal["GET", "POST"] | None = None
    threeDS2RequestData: dict[str, Any] | None = None

    def attempt(self) -> str:
        """What it wants of authentication: `handed_in`, `always`, `never`, `mandated`, `exempted`, or nothing.

        Source: spec, `mpiData` (made elsewhere), `attemptAuthentication`, `threeDSRequestorChallengeInd` 04;
        online-payments/psd2-sca-compliance-and-implementation-guide, `additionalData.scaExemption`.
        """
        if self.mpiData is not None:
            return "handed_in"
        if (self.threeDS2RequestData or {}).get("threeDSRequestorChallengeInd") == "04":
            return "mandated"
        wished = self.authenticationData and self.authenticationData.attemptAuthentication
        return wished or ("exempted" if "scaExemption" in self.additionalData else "")

    @model_validator(mode="before")
    @classmethod
    def _without_what_is_not_played(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if name not in NOT_PLAYED}

    @field_validator("metadata")
    @classmethod
    def _small(cls, metadata: Texts) -> Texts:
        """Source: spec, `metadata`: 20 pairs, keys of at most 20 characters, values of at most 80."""
        too_long = any(
            len(name) > METADATA_KEY_MAX or len(text) > METADATA_VALUE_MAX for name, text in metadata.items()
        )
        if len(metadata) > METADATA_MAX or too_long:
            raise ValueError("Metadata size exceeds limit")
        return metadata


class Details(_Model):
    """What the shopper brought back."""

    redirectResult: Annotated[str, Field(min_length=1, max_length=10_000)] | None = None
    payload: Text | None = None


class PaymentDetails(_Model):
    """`POST /payments/details`: it names no merchant account, since what it brings does."""

    details: Details
    paymentData: Annotated[str, Field(min_length=1, max_length=200_000)] | None = None
    authenticationData: Any = None
    threeDSAuthenticationOnly: bool | None = None

    @model_validator(mode="after")
    def _has_something(self) -> Self:
        if self.details.redirectResult is None and self.paymentData is None:
            raise ValueError("details.redirectResult or paymentData is needed")
        return self


class Modification(_Order):
    """What all modifications have."""

    reference: Reference | None = None
    applicationInfo: Any = None


class Capture(Modification):
    """`POST /payments/{paymentPspReference}/captures`."""

    amount: Amount
    enhancedSchemeData: Any = None
    lineItems: Any = None
    platformChargebackLogic: Any = None
    splits: Any = None
    subMerchants: Any = None


class Refund(Modification):
    """`POST /payments/{paymentPspReference}/refunds`."""

    amount: Amount
    capturePspReference: Text | None = None
    enhancedSchemeData: Any = None
    lineItems: Any = None
    merchantRefundReason: Text | None = None
    splits: Any = None
    store: Text | None = None


class Cancel(Modification):
    """`POST /payments/{paymentPspReference}/cancels`."""


class Reversal(Modification):
    """`POST /payments/{paymentPspReference}/reversals`."""


class TechnicalCancel(Modification):
    """`POST /cancels`: by the merchant's own reference."""

    paymentReference: Reference


class PaymentMethods(_Model):
    """`POST /paymentMethods`; what narrows the list otherwise is taken, and nothing comes of it."""

    merchantAccount: Text
    allowedPaymentMethods: list[Text] | None = None
    blockedPaymentMethods: list[Text] | None = None
    additionalData: Any = None
    amount: Amount | None = None
    browserInfo: Any = None
    channel: Literal["iOS", "Android", "Web"] | None = None
    countryCode: Text | None = None
    order: Any = None
    shopperConversionId: Text | None = None
    shopperEmail: Text | None = None
    shopperIP: Text | None = None
    shopperLocale: Text | None = None
    shopperReference: Text | None = None
    splitCardFundingSources: bool | None = None
    store: Text | None = None
    storeFiltrationMode: Text | None = None
    telephoneNumber: Text | None = None


Order = Payment | PaymentDetails | Capture | Refund | Cancel | Reversal | TechnicalCancel


def understood(model: type[BaseModel], body: bytes) -> Any:
    """The body as a `model`. Raises `Refusal`, which repeats nothing of it."""
    try:
        return TypeAdapter(model).validate_json(body)
    except ValidationError as error:
        places = [
            ".".join(str(part) for part in item["loc"] if str(part) in _NAMES) or "body"
            for item in error.errors(include_input=False, include_url=False, include_context=False)[:3]
        ]
        kinds = {item["type"] for item in error.errors(include_input=False, include_url=False)}
        if kinds == {"value_error"} and "metadata" in places:
            # Source: spec, `metadata`: error 177.
            raise invalid("177", "Metadata size exceeds limit") from None
        said = "unknown fields" if "extra_forbidden" in kinds else "missing or invalid fields"
        raise malformed(f"Structure of {model.__name__} contains {said}: {', '.join(places)}") from None


_NAMES = frozenset(
    name
    for each in (Payment, PaymentDetails, Details, Capture, Refund, Cancel, TechnicalCancel, Scheme, Amount)
    for name in each.model_fields
)

"""What the API answers with, as models for the OpenAPI document.

The bytes come from `payonce.domain.answers`; a test holds the two together.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from payonce.domain.disputes import DisputeStatus
from payonce.domain.facts import Advice, DeclineCode
from payonce.domain.operations import AttemptState, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.domain.payment_methods import Setup
from payonce.domain.risk import RiskVerdict
from payonce.domain.routing import Because
from payonce.domain.sca import AuthenticationResult, Exemption


class View(BaseModel):
    """An object in an answer."""

    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=True)


def sometimes(**options: Any) -> Any:
    """A member that some of the objects lack; none is made from these models, so its default is never seen."""
    return Field(default_factory=str, **options)


class CardView(View):
    """What is shown of a card."""

    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=False)

    brand: str = Field(examples=["visa"])
    last4: str = Field(examples=["4242"])
    exp_month: int = Field(examples=[12])
    exp_year: int = Field(examples=[2030])
    token: str = sometimes(
        examples=["pm_…"],
        description="Of a saved card: the one that it was paid with, or that was saved with this payment. The latter"
        " from the approval on",
    )


class CardMethodView(View):
    type: Literal["card"]
    card: CardView


class UpiView(View):
    """What is shown of a UPI payment; `rrn` and the payer's `vpa` come with the approval."""

    flow: Literal["intent", "qr", "collect"]
    vpa: str | None = Field(examples=["success@upi"])
    rrn: str | None = Field(examples=["633112345678"], description="The rail's own reference")


class UpiMethodView(View):
    type: Literal["upi"]
    upi: UpiView


class WalletView(View):
    """What is shown of a wallet; a device wallet shows the card behind its token."""

    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=False)

    provider: Literal["apple_pay", "google_pay", "paytm", "phonepe"]
    brand: str | None = None
    last4: str | None = None


class WalletMethodView(View):
    type: Literal["wallet"]
    wallet: WalletView


PaymentMethodView = Annotated[CardMethodView | UpiMethodView | WalletMethodView, Field(discriminator="type")]


class NextActionView(View):
    """What the customer has to do. `url` opens the app or the page; a QR code holds it."""

    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=False)

    type: Literal["redirect", "upi_intent", "upi_qr", "upi_collect"]
    url: str | None = Field(default=None, description="Not with `upi_collect`")
    image_url: str | None = Field(default=None, description="The code as an image, with `upi_qr`")
    vpa: str | None = Field(default=None, description="Who was asked, with `upi_collect`")
    expires_at: datetime
    sandbox_url: str | None = Field(default=None, description="In test mode: where to play the customer")


class CustomerView(View):
    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=False)

    id: str | None = None
    name: str | None = None
    email: str | None = None
    phone: str | None = None


class PendingOperationView(View):
    """A capture or void whose outcome is not known yet."""

    type: Literal["capture", "void", "expire"]
    amount: int


class ReviewView(View):
    """An operator must decide."""

    reason: str
    since: datetime


class LastErrorView(View):
    """Why the latest operation failed."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    code: str = Field(
        description="`payment_declined`, or `payment_timed_out`, `not_processed`, `amount_mismatch`,"
        " `card_data_lost`, `abandoned`, `acquirer_refused` (it refuses this data, and always will), or of a refund"
        " `taken_back` (it had succeeded)"
    )
    decline_code: DeclineCode | None
    network_decline_code: str | None = Field(
        default=None, description="The card network's own, where it is known"
    )
    network_advice_code: str | None = Field(default=None, description="As `network_decline_code`")
    message: str
    advice: Advice | None


class ExemptionView(View):
    """An exemption from authentication."""

    model_config = ConfigDict(title="Exemption")

    requested: Exemption | None
    honoured: Exemption | None = Field(description="Null where none was, or the acquirer does not say")


class AuthenticationView(View):
    """What became of the cardholder's authentication, as the acquirer says of the attempt that decided."""

    model_config = ConfigDict(title="AuthenticationResult")

    result: AuthenticationResult
    eci: str | None
    liability: Literal["issuer", "merchant"] | None = Field(
        description="Who bears a fraud, where the acquirer says it"
    )
    exemption: ExemptionView


class RiskShown(View):
    """What was said of the payment's risk before it was admitted."""

    model_config = ConfigDict(title="Risk")

    verdict: RiskVerdict = Field(
        description="What held: `block` also where a review or a challenge was not possible"
    )
    reasons: list[str] = Field(description="For the merchant; none in a 402 `payment_blocked`")
    provider: str | None


class PaymentView(View):
    """A payment. While anything is capturable `status` follows the captures; refunds show in the amounts."""

    model_config = ConfigDict(title="Payment")

    id: str = Field(examples=["pay_amfzxg2dinbqwy3dpovxhi5dp"])
    object: Literal["payment"]
    status: PaymentStatus = Field(
        description="`init` has no event yet; `processing` begins after 8 s without an outcome, or at once"
        " when the outcome is unknown; `failed` needs proof and is terminal"
    )
    amount: int = Field(examples=[1099])
    currency: str = Field(examples=["INR"])
    capture_method: Literal["automatic", "manual"]
    amount_authorized: int
    amount_capturable: int = Field(
        description="Authorized, less captures, what a pending capture or void holds, and late captures and voids"
        " that are undecided; not below 0"
    )
    amount_captured: int
    amount_refundable: int = Field(
        description="Captured, less refunds, pending refunds, late refunds that are undecided and"
        " `amount_disputed`; not below 0"
    )
    amount_refunded: int
    amount_disputed: int = Field(description="What banks have withdrawn and not given back; `lost` keeps it")
    payment_method: PaymentMethodView
    merchant_reference: str | None = Field(examples=["order-7"])
    description: str | None
    metadata: dict[str, str]
    return_url: str | None
    customer: CustomerView | None = Field(description="As it was given")
    statement_descriptor: str | None
    authentication: AuthenticationView | None = Field(
        description="Null until the outcome, and where there is nothing to say"
    )
    risk: RiskShown | None = Field(description="Null where nobody was asked")
    connector: str = Field(examples=["sandbox_card"])
    connector_reference: str | None
    capture_before: datetime | None = Field(description="Until 5 minutes before this time captures are taken")
    next_action: NextActionView | None
    pending_operation: PendingOperationView | None
    review: ReviewView | None
    last_error: LastErrorView | None
    created_at: datetime
    updated_at: datetime
    sequence: int = Field(description="Of the payment's latest event; its refunds' events count in it")


class RailView(View):
    """The rail's own reference, which banks trace a refund by."""

    rrn: str = Field(examples=["633112345678"])


class RefundView(View):
    """A refund. A pending one holds its amount; a failed one gives it back."""

    model_config = ConfigDict(
        title="Refund", extra="forbid", json_schema_serialization_defaults_required=False
    )

    id: str = Field(examples=["re_a3dinbqwy3dpovxhi5dpmfzxg"])
    object: Literal["refund"]
    payment: str
    status: OperationStatus
    amount: int
    currency: str
    reason: str | None
    metadata: dict[str, str]
    connector_reference: str | None
    last_error: LastErrorView | None
    created_at: datetime
    updated_at: datetime
    upi: RailView | None = Field(default=None, description="Of a UPI refund, once it succeeded")


class DisputeView(View):
    """What a cardholder's bank asks back of a payment."""

    model_config = ConfigDict(title="Dispute")

    id: str = Field(examples=["dp_a3dinbqwy3dpovxhi5dpmfzxg"])
    object: Literal["dispute"]
    payment: str
    amount: int = Field(description="What the bank asks, in its currency")
    currency: str = Field(description="The bank's: it may differ from the payment's")
    amount_withdrawn: int = Field(
        description="Withdrawn and not given back, in the payment's currency; 0 in stage `inquiry`"
    )
    stage: Literal["inquiry", "chargeback", "pre_arbitration", "arbitration"] = Field(
        description="In an `inquiry` nothing is withdrawn, and a refund may end the matter"
    )
    status: DisputeStatus
    reason: str = Field(examples=["fraudulent"])
    network_reason_code: str | None
    refunded_before: int = Field(
        description="How much of what was withdrawn had been refunded, or was being, before we heard of it: the"
        " customer may have it twice"
    )
    evidence_due_by: datetime | None
    created_at: datetime
    updated_at: datetime


class PaymentAttemptView(View):
    """One request to one connector account for one operation."""

    model_config = ConfigDict(title="PaymentAttempt")

    number: int = Field(description="Of the operation's attempts", examples=[1])
    operation: OperationKind
    connector: str = Field(examples=["sandbox_card"])
    account: str = Field(examples=["sandbox_card_test"])
    state: AttemptState = Field(
        description="`claimed`: it may be sent. `unknown`: the acquirer is asked. `not_sent` and `not_processed`:"
        " it moved nothing"
    )
    reason: Because | None = Field(
        description="Why this account: `asked` for in `metadata`, the merchant's `own`, `shared`, of the"
        " `settings`, that of the `payment`, or, after a `soft_decline` there, with its cardholder's authentication"
    )
    decline_code: DeclineCode | None
    network_decline_code: str | None
    created_at: datetime


class SavedForView(View):
    id: str = Field(examples=["customer-7"])


class SavedCardView(View):
    """What is shown of a saved card."""

    brand: str = Field(examples=["visa"])
    last4: str = Field(examples=["4242"])
    exp_month: int = Field(examples=[12])
    exp_year: int = Field(examples=[2030])
    fingerprint: str | None = Field(
        examples=["fp_a3dinbqwy3dpovxhi5dpmfzxg"],
        description="The same for the same number, and another one for another merchant; null where only the acquirer"
        " has the number",
    )


class SavedPaymentMethodView(View):
    """A saved card."""

    model_config = ConfigDict(title="SavedPaymentMethod")

    id: str = Field(examples=["pm_a3dinbqwy3dpovxhi5dpmfzxg"])
    object: Literal["payment_method"]
    type: Literal["card"]
    status: Literal["active", "expired"] = Field(description="`expired`: the card's month is over")
    setup: Setup = Field(
        description="`off_session`: the customer agreed to payments that the merchant begins; set up with a payment"
    )
    customer: SavedForView | None = Field(
        description="Who must be named to pay with it; null: nobody need be"
    )
    card: SavedCardView


class StateView(View):
    model_config = ConfigDict(title="State")

    status: Literal["ok"]


class ReadinessView(View):
    """Each dependency is `ok`, `failed`, or `timeout`; none of them makes a process unready."""

    model_config = ConfigDict(title="Readiness")

    status: Literal["ready", "not_ready"]
    faults: list[Literal["shutting_down", "connections_stuck"]] = Field(description="Of this process")
    dependencies: dict[str, Literal["ok", "failed", "timeout"]]

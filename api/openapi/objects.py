"""What the API answers with, as models for the OpenAPI document.

The bytes come from `payonce.domain.answers`; a test holds the two together.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from payonce.domain.delivery import DeliveryStatus
from payonce.domain.events import EventType
from payonce.domain.facts import Advice, DeclineCode
from payonce.domain.operations import AttemptState, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.domain.routing import Because
from payonce.domain.sca import AuthenticationResult, Exemption

_PREVIOUSLY = (
    "Only where the acquirer took back what it had done, or did it again after all: what it was before"
)


class View(BaseModel):
    """An object in an answer."""

    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=True)


def _sometimes(**options: Any) -> Any:
    """A member that some of the objects lack; none is made from these models, so its default is never seen."""
    return Field(default_factory=str, **options)


class CardView(View):
    """What is shown of a card."""

    brand: str = Field(examples=["visa"])
    last4: str = Field(examples=["4242"])
    exp_month: int = Field(examples=[12])
    exp_year: int = Field(examples=[2030])


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
        description="Captured, less refunds, pending refunds and late refunds that are undecided; not below 0"
    )
    amount_refunded: int
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


class EndpointView(View):
    """Where webhooks go."""

    model_config = ConfigDict(title="WebhookEndpoint", json_schema_serialization_defaults_required=False)

    id: str = Field(examples=["we_a3dinbqwy3dpovxhi5dpmfzxg"])
    object: Literal["webhook_endpoint"]
    url: str
    events: list[str]
    description: str | None
    ordered: bool
    enabled: bool
    signing: Literal["ed25519"] = _sometimes(description="Only where it is not hmac")
    public_key: str = _sometimes(
        examples=["whpk_…"],
        description="Verifies the signatures of an ed25519 endpoint (Standard Webhooks, `v1a`)",
    )
    created_at: datetime


class NewEndpointView(EndpointView):
    """A new endpoint, or one with a new secret, which is shown in this answer only."""

    model_config = ConfigDict(title="NewWebhookEndpoint", json_schema_serialization_defaults_required=False)

    secret: str = _sometimes(
        examples=["whsec_…"],
        description="Verifies the signatures of an hmac endpoint (Standard Webhooks, `v1`)",
    )


class EndpointNoticeView(EndpointView):
    """An endpoint of which something is told to the merchant's others."""

    model_config = ConfigDict(title="WebhookEndpointNotice")

    delivery: str = _sometimes(description="The delivery that it is about, where it is about one")
    event: str = _sometimes(description="The event of that delivery")


class PaymentThenView(PaymentView):
    """A payment as of an event."""

    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=False)

    previously: Literal["succeeded"] = _sometimes(description=_PREVIOUSLY)


class RefundThenView(RefundView):
    """A refund as of an event."""

    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=False)

    previously: Literal["succeeded", "failed"] = _sometimes(description=_PREVIOUSLY)


class EventView(View):
    """Something that happened; the same bytes are delivered to webhook endpoints."""

    model_config = ConfigDict(title="Event")

    id: str = Field(examples=["evt_a3dinbqwy3dpovxhi5dpmfzxg"])
    type: EventType | Literal["webhook_endpoint.ping"]
    timestamp: datetime
    sequence: int = Field(description="Among the events of its payment; 0 where there is none")
    data: PaymentThenView | RefundThenView | EndpointNoticeView


class StreamMessageView(View):
    """One message of the event stream, as a reader of server-sent events has it."""

    model_config = ConfigDict(title="StreamMessage")

    id: str = Field(pattern="^[A-Za-z0-9_-]{1,64}$", examples=["evt_a3dinbqwy3dpovxhi5dpmfzxg"])
    event: EventType
    data: str = Field(
        description="An event, as JSON",
        json_schema_extra={
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/EventView"},
        },
    )


class AttemptView(View):
    """One attempt at a delivery."""

    at: datetime
    status_code: int | None
    duration_ms: int
    error: str | None = Field(examples=["timed_out"])


class DeliveryView(View):
    """An event on its way to an endpoint. Delivered again, an event has several."""

    model_config = ConfigDict(title="Delivery")

    id: str = Field(examples=["dlv_0b41f4a2c9d37e6a81c05f22"])
    event: str
    status: str = Field(
        description="`pending` also between attempts; `dropped`: the endpoint was deleted or disabled",
        json_schema_extra={"enum": list(DeliveryStatus)},
    )
    attempts: list[AttemptView]
    next_attempt_at: datetime | None


class RecoveryView(View):
    """What is delivered in the background; `Location` says how far it is."""

    model_config = ConfigDict(title="Recovery")

    count: int


class JobView(View):
    """Events that are delivered again in the background."""

    model_config = ConfigDict(title="WebhookJob")

    id: str = Field(examples=["whj_a3dinbqwy3dpovxhi5dpmfzx"])
    object: Literal["webhook_job"]
    kind: Literal["recover", "replay"]
    endpoint: str
    since: datetime
    until: datetime
    types: list[str]
    status: Literal["pending", "running", "finished", "failed"]
    total: int
    done: int
    created_at: datetime
    finished_at: datetime | None


class MistakeView(View):
    pointer: str = Field(
        description="A JSON Pointer (RFC 6901) into the body, or `/` and the name of a query parameter",
        examples=["/payment_method/card/number"],
    )
    detail: str = Field(description="Never the rejected value")


class ProblemView(View):
    """An error (RFC 9457)."""

    model_config = ConfigDict(
        title="Problem", extra="forbid", json_schema_serialization_defaults_required=False
    )

    status: int
    type: str = Field(examples=["urn:payonce:problem:invalid_request"])
    title: str
    detail: str
    code: str = Field(description="Stable: decide by this", examples=["invalid_request"])
    request_id: str | None
    errors: list[MistakeView] = Field(
        default=[],
        description="What is wrong with the request, and where; with a 402, the member that the acquirer refuses",
    )
    decline_code: DeclineCode | None = None
    network_decline_code: str | None = Field(
        default=None, description="The card network's own, where it is known"
    )
    network_advice_code: str | None = Field(default=None, description="As `network_decline_code`")
    retryable: bool | None = Field(
        default=None, description="Whether the same data may be accepted later, under a new key"
    )
    advice: Advice | None = None
    payment: PaymentView | None = Field(default=None, description="With a 402")


class StateView(View):
    model_config = ConfigDict(title="State")

    status: Literal["ok"]


class ReadinessView(View):
    """Each dependency is `ok`, `failed`, or `timeout`; none of them makes a process unready."""

    model_config = ConfigDict(title="Readiness")

    status: Literal["ready", "not_ready"]
    faults: list[Literal["shutting_down", "connections_stuck"]] = Field(description="Of this process")
    dependencies: dict[str, Literal["ok", "failed", "timeout"]]

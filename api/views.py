"""What the API answers with, as models for the OpenAPI document.

The bytes come from `payonce.domain.answers`; a test holds the two together.
"""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.schemas import EventType
from payonce.domain.operations import OperationStatus
from payonce.domain.outcomes import Advice, DeclineCode
from payonce.domain.payment import PaymentStatus


class View(BaseModel):
    """An object in an answer."""

    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=True)


class CardView(View):
    """What is shown of a card."""

    brand: str = Field(examples=["visa"])
    last4: str = Field(examples=["4242"])
    exp_month: int = Field(examples=[12])
    exp_year: int = Field(examples=[2030])


class PaymentMethodView(View):
    type: Literal["card"]
    card: CardView


class CustomerView(View):
    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=False)

    id: str | None = None
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

    code: str = Field(
        description="`payment_declined`, or `payment_timed_out`, `not_processed`, `amount_mismatch`,"
        " `card_data_lost`, `abandoned`"
    )
    decline_code: DeclineCode | None
    message: str
    advice: Advice | None


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
    amount_capturable: int
    amount_captured: int
    amount_refundable: int = Field(description="Captured, less refunds and pending refunds")
    amount_refunded: int
    payment_method: PaymentMethodView
    merchant_reference: str | None = Field(examples=["order-7"])
    description: str | None
    metadata: dict[str, str]
    return_url: str | None
    customer: CustomerView | None
    connector: str = Field(examples=["sandbox_card"])
    connector_reference: str | None
    capture_before: datetime | None = Field(description="Until 5 minutes before this time captures are taken")
    next_action: dict[str, Any] | None
    pending_operation: PendingOperationView | None
    review: ReviewView | None
    last_error: LastErrorView | None
    created_at: datetime
    updated_at: datetime
    sequence: int = Field(description="Of the payment's latest event; its refunds' events count in it")


class RefundView(View):
    """A refund. A pending one holds its amount; a failed one gives it back."""

    model_config = ConfigDict(title="Refund")

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


class EventView(View):
    """Something that happened; the same bytes are delivered to webhook endpoints."""

    model_config = ConfigDict(title="Event")

    id: str = Field(examples=["evt_a3dinbqwy3dpovxhi5dpmfzxg"])
    type: EventType
    timestamp: datetime
    sequence: int
    data: PaymentView | RefundView


class EndpointView(View):
    """Where webhooks go."""

    model_config = ConfigDict(title="WebhookEndpoint")

    id: str = Field(examples=["we_a3dinbqwy3dpovxhi5dpmfzxg"])
    object: Literal["webhook_endpoint"]
    url: str
    events: list[str]
    description: str | None
    ordered: bool
    enabled: bool
    created_at: datetime


class NewEndpointView(EndpointView):
    """A new endpoint with its secret, which is shown in this answer only."""

    model_config = ConfigDict(title="NewWebhookEndpoint")

    secret: str = Field(examples=["whsec_…"], description="Verifies the signatures (Standard Webhooks)")


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
    errors: list[MistakeView] = Field(default=[], description="What is wrong with the request, and where")
    decline_code: DeclineCode | None = None
    retryable: bool | None = Field(
        default=None, description="Whether the same data may be accepted later, under a new key"
    )
    advice: Advice | None = None
    payment: PaymentView | None = Field(default=None, description="With a 402")


class StateView(View):
    model_config = ConfigDict(title="State")

    status: Literal["ok"]


class ReadinessView(View):
    """Each dependency is `ok`, `failed`, or `timeout`."""

    model_config = ConfigDict(title="Readiness")

    status: Literal["ready", "not_ready"]
    dependencies: dict[str, Literal["ok", "failed", "timeout"]]

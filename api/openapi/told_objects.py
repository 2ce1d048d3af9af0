"""What merchants are told, and where: webhook endpoints, events, deliveries and jobs, as models for the document."""

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict, Field

from api.openapi.objects import (
    DisputeView,
    PaymentView,
    RefundView,
    SavedPaymentMethodView,
    View,
    sometimes,
)
from payonce.domain.delivery import DeliveryStatus
from payonce.domain.events import EventType

_PREVIOUSLY = (
    "Only where the acquirer took back what it had done, or did it again after all: what it was before"
)


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
    signing: Literal["ed25519"] = sometimes(description="Only where it is not hmac")
    public_key: str = sometimes(
        examples=["whpk_…"],
        description="Verifies the signatures of an ed25519 endpoint (Standard Webhooks, `v1a`)",
    )
    created_at: datetime


class NewEndpointView(EndpointView):
    """A new endpoint, or one with a new secret, which is shown in this answer only."""

    model_config = ConfigDict(title="NewWebhookEndpoint", json_schema_serialization_defaults_required=False)

    secret: str = sometimes(
        examples=["whsec_…"],
        description="Verifies the signatures of an hmac endpoint (Standard Webhooks, `v1`)",
    )


class EndpointNoticeView(EndpointView):
    """An endpoint of which something is told to the merchant's others."""

    model_config = ConfigDict(title="WebhookEndpointNotice")

    delivery: str = sometimes(description="The delivery that it is about, where it is about one")
    event: str = sometimes(description="The event of that delivery")


class PaymentThenView(PaymentView):
    """A payment as of an event."""

    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=False)

    previously: Literal["succeeded"] = sometimes(description=_PREVIOUSLY)


class RefundThenView(RefundView):
    """A refund as of an event."""

    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=False)

    previously: Literal["succeeded", "failed"] = sometimes(description=_PREVIOUSLY)


class SubmitToView(View):
    """Where evidence is handed in."""

    connector: str = Field(examples=["stripe"])
    account: str
    connector_reference: str = Field(description="By what the acquirer knows the dispute")


class DisputeThenView(DisputeView):
    """A dispute as of an event."""

    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=False)

    submit_to: SubmitToView = sometimes(description="With `dispute.evidence_due`")


class EventView(View):
    """Something that happened; the same bytes are delivered to webhook endpoints."""

    model_config = ConfigDict(title="Event")

    id: str = Field(examples=["evt_a3dinbqwy3dpovxhi5dpmfzxg"])
    type: EventType | Literal["webhook_endpoint.ping"]
    timestamp: datetime
    sequence: int | None = Field(
        description="Among the events of its payment; null of a payment method, 0 where there is none otherwise"
    )
    data: PaymentThenView | RefundThenView | SavedPaymentMethodView | DisputeThenView | EndpointNoticeView


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

"""What the API answers with where it refuses or fails, as models for the OpenAPI document."""

from pydantic import ConfigDict, Field

from api.openapi.objects import PaymentView, View
from payonce.domain.facts import Advice, DeclineCode


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

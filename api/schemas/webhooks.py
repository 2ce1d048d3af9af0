"""Request bodies about webhooks, as strict models; see `api.schemas.payments`."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer

from api.schemas.payments import URL_MAX_LENGTH, Body, Stored, Text500, mistake
from api.schemas.times import read_time
from payonce.domain.events import EventType

ENDPOINT_EVENTS_MAX = 50

EndpointEvents = Annotated[list[Literal[EventType, "*"]], Field(min_length=1, max_length=ENDPOINT_EVENTS_MAX)]
EndpointUrl = Annotated[
    str, Field(min_length=1, max_length=URL_MAX_LENGTH, examples=["https://shop.example/hooks"]), Stored
]


class CreateEndpoint(Body):
    """The body of `POST /v1/webhook_endpoints`."""

    url: EndpointUrl
    events: EndpointEvents = Field(default=["*"])
    description: Text500 | None = None
    ordered: bool = Field(
        default=False, description="Whether a payment's events wait for those before them to be delivered"
    )
    signing: Literal["hmac", "ed25519"] = Field(
        default="hmac",
        description="`ed25519` signs with a private key (`v1a`), and the endpoint shows its `public_key`",
    )

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `signing` where it is the default: the first release had no such member in its fingerprints."""
        dumped: dict[str, Any] = dump(self)
        return {name: value for name, value in dumped.items() if (name, value) != ("signing", "hmac")}


class UpdateEndpoint(Body):
    """The body of `PATCH /v1/webhook_endpoints/{id}`: what is left out stays as it is."""

    url: EndpointUrl | None = None
    events: EndpointEvents | None = None
    description: Text500 | None = None
    enabled: bool | None = Field(default=None, description="Enabled again, it starts with a clean record")


class Nothing(Body):
    """The body of a POST that takes none: `{}`, or nothing at all."""


def _read_moment(value: Any) -> Any:
    if not isinstance(value, str):
        raise mistake("must be a string")
    try:
        return read_time(value)
    except ValueError as error:
        raise mistake(str(error)) from None


Moment = Annotated[datetime, BeforeValidator(_read_moment), Field(examples=["2026-11-29T05:46:00Z"])]


class Recover(Body):
    """The body of `POST /v1/webhook_endpoints/{id}/recover`."""

    since: Moment = Field(description="In the past, at most 30 days ago")


class Replay(Body):
    """The body of `POST /v1/webhook_endpoints/{id}/replay`."""

    since: Moment = Field(description="Inclusive, at most 30 days ago")
    until: Moment | None = Field(default=None, description="Exclusive; now, when it is left out")
    types: list[EventType] | None = Field(
        default=None,
        min_length=1,
        max_length=ENDPOINT_EVENTS_MAX,
        description="What the endpoint wants, when it is left out",
    )


class Redeliver(Body):
    """The body of `POST /v1/events/{id}/redeliver`."""

    endpoint: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="Its id; every enabled endpoint that wants the type, when it is left out",
    )

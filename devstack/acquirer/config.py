"""The behaviour that tests change while the acquirer runs. It is durable over a restart."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

DELAY_MS_MAX = 60_000
FINALITY_S_MAX = 86_400

Idempotency = Annotated[str, Field(pattern=r"^(honoured|ignored|[1-9][0-9]{0,6}s)$")]
LateAfterReversal = Literal["refused", "accepted"]
Callbacks = Literal["on", "off", "duplicate", "reordered", "before_response"]
ChallengeEnds = Literal["cancelled", "itself"]


class Config(BaseModel):
    """What `GET /config` shows.

    `challenge_ends`: a customer who was asked is out once that is cancelled, or only when their time has passed.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    idempotency: Idempotency = "honoured"
    delay_ms: int = Field(default=0, ge=0, le=DELAY_MS_MAX)
    finality_s: int = Field(default=10, ge=0, le=FINALITY_S_MAX)
    late_after_reversal: LateAfterReversal = "refused"
    callbacks: Callbacks = "on"
    challenge_ends: ChallengeEnds = "cancelled"

    def honoured_since(self, now: datetime) -> datetime | None:
        """A reference answered after this moment gets that answer again; None: no reference does."""
        match self.idempotency:
            case "honoured":
                return datetime.min.replace(tzinfo=UTC)
            case "ignored":
                return None
            case seconds:
                return now - timedelta(seconds=int(seconds.removesuffix("s")))


def changed(config: Config, body: bytes) -> Config:
    """`config` with the members of a PATCH body applied. Raises `pydantic.ValidationError`."""
    given = _Patch.model_validate_json(body or b"{}")
    return Config.model_validate({**config.model_dump(), **given.model_dump(exclude_unset=True)})


class _Patch(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

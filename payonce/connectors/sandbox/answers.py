"""What the sandbox acquirer says of an operation, and what that is in our words.

Source: the sandbox acquirer's own description (`devstack/acquirer`). Members that we do not need are not looked at.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, assert_never

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from payonce.domain.card_numbers import looks_like_card_number
from payonce.domain.evidence import Evidence
from payonce.domain.facts import Disputed, DisputeStage, Foreign, Redone, Turn, Undone
from payonce.domain.sca import AuthenticationResult, Exemption

TURNS_MAX: Final = 100  # of one operation
DISPUTES_MAX: Final = 20  # of one authorization
VISIBLE: Final = r"^[\x21-\x7e]{1,128}$"

_RESULTS: Final[Mapping[str, AuthenticationResult]] = {
    "authenticated": "authenticated",
    "frictionless": "frictionless",
    "attempted": "attempted",
    "exempted": "exempted",
    "failed": "failed",
    "none": "none",
}


def _without_card_number(text: str | None) -> str | None:
    """Nothing in place of a text with a card number: an answer is not refused for what it says besides."""
    return None if text is None or looks_like_card_number(text) else text


class _Turn(BaseModel):
    """What the acquirer did to an operation, or beside it, and nobody asked for."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    id: Annotated[str, Field(pattern=VISIBLE)]
    type: Literal["undone", "redone", "foreign"]
    operation: Literal["capture", "refund", "void"]
    amount: Annotated[int, Field(ge=0)]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    reason: Annotated[Annotated[str, Field(max_length=200)] | None, AfterValidator(_without_card_number)] = (
        None
    )

    def told(self) -> Turn:
        """The turn in our words."""
        match self.type:
            case "undone":
                return Undone(self.id, self.amount, self.currency, self.reason or "")
            case "redone":
                return Redone(self.id, self.amount, self.currency)
            case "foreign":
                return Foreign(self.id, self.operation, self.amount, self.currency)
            case _:
                assert_never(self.type)


class _Dispute(BaseModel):
    """How a dispute about an authorization stands. `withdrawn` is in the authorization's currency."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    id: Annotated[str, Field(pattern=VISIBLE)]
    stage: DisputeStage
    status: Literal["needs_response", "under_review", "won", "lost", "accepted", "closed"]
    reason: Annotated[str, Field(pattern="^[a-z_]{1,40}$")]
    network_reason_code: Annotated[str, Field(pattern="^[A-Za-z0-9._-]{1,20}$")] | None = None
    amount: Annotated[int, Field(gt=0)]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    withdrawn: Annotated[int, Field(ge=0)]
    evidence_due_by: AwareDatetime | None = None
    at: AwareDatetime

    def told(self) -> Disputed:
        """The dispute in our words."""
        return Disputed(
            id=self.id,
            stage=self.stage,
            status=self.status,
            amount_minor=self.amount,
            currency=self.currency,
            withdrawn_minor=self.withdrawn,
            reason=self.reason,
            at=self.at,
            network_reason_code=self.network_reason_code,
            evidence_due_by=self.evidence_due_by,
        )


class DisputeAnswer(BaseModel):
    """How the dispute stands that was asked about, or accepted."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    reference: str
    operation: str
    status: str
    dispute: _Dispute


class _Authentication(BaseModel):
    """What a cardholder's authentication came to."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    result: str
    eci: Annotated[str, Field(pattern="^[0-9]{2}$")] | None = None
    liability: Literal["issuer", "merchant"] | None = None
    exemption_honoured: Exemption | None = None


class SandboxAnswer(BaseModel):
    """What the acquirer says of an operation; members that we do not need are not looked at."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    id: Annotated[str, Field(min_length=1, max_length=128)]
    reference: str
    operation: str
    status: str
    amount: int | None
    currency: str | None
    decline_code: str | None = None
    stage: Literal["authorized", "captured"] | None = None
    expires_at: AwareDatetime | None = None
    rrn: Annotated[str, Field(pattern="^[0-9]{12}$")] | None = None
    payer_vpa: Annotated[
        Annotated[str, Field(max_length=320)] | None, AfterValidator(_without_card_number)
    ] = None
    intent: Annotated[str, Field(max_length=1024)] | None = None
    page: Annotated[str, Field(max_length=1024)] | None = None
    history: Annotated[list[_Turn], Field(max_length=TURNS_MAX)] = []
    disputes: Annotated[list[_Dispute], Field(max_length=DISPUTES_MAX)] = []
    completes: Literal["customer", "resume", "reads"] = "customer"
    soft: bool = False
    authentication: _Authentication | None = None
    token: str | None = Field(default=None, pattern="^tok_[0-9a-f]{1,64}$", repr=False)

    def evidence(self) -> Evidence | None:
        """What is known of the cardholder's authentication, in our words."""
        said = self.authentication
        if said is None:
            return None
        return Evidence(
            authentication=_RESULTS.get(said.result, "unknown"),
            eci=said.eci,
            liability=said.liability,
            exemption_honoured=said.exemption_honoured,
        )

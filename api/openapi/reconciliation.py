"""The operation on reconciliation, and what it lists, for the OpenAPI document."""

from datetime import datetime
from typing import Final, Literal

from pydantic import ConfigDict, Field

from api.openapi.description import LIST_CODES, OK, PAGE, Description, list_of, query
from api.openapi.objects import View
from payonce.domain.reconciling import ComparisonResult


class ReconciliationView(View):
    """One thing that comparing with an acquirer's list found."""

    model_config = ConfigDict(title="Reconciliation")

    id: str = Field(examples=["rec_a3dinbqwy3dpovxhi5dpmfzxg"])
    object: Literal["reconciliation"]
    account: str = Field(examples=["sandbox_card_test"])
    run: str = Field(description="The run that found it first")
    result: ComparisonResult = Field(
        description="`missing_there`: it succeeded here, and the acquirer does not know it. `charged_there`: it"
        " failed here, and money moved or is held. `orphan`: under a reference of ours that is not known here."
        " `foreign`: somebody else's. `amount`: more or less moved than was known here. `released_there`: held here,"
        " and not any more there. `double_charge`: two charges of the payment stood at the same time"
    )
    payment: str | None
    operation: str | None
    amount_here: int | None
    amount_there: int | None
    currency: str | None
    acquirer_reference: str | None = Field(description="The acquirer's own id")
    found_at: datetime
    settled_by: str | None = Field(
        description="The operation that came of it, or who settled it; null: it is open"
    )


LIST_RECONCILIATIONS: Final = Description(
    id="listReconciliations",
    tag="Reconciliation",
    summary="List what comparing with the acquirers found, newest first",
    text="Each hour payonce compares what its acquirers list with what is recorded here. What belongs to no payment"
    " is listed where the account is the merchant's own.",
    answers={OK: ("A page of findings", list_of(ReconciliationView))},
    codes=LIST_CODES,
    parameters=(
        *PAGE,
        query("account", {"type": "string"}, "Only of this connector account"),
        query("result", {"type": "string", "enum": list(ComparisonResult)}, "Only what was found to be so"),
        query(
            "created_after", {"type": "string", "format": "date-time"}, "Only what was found then, or later"
        ),
    ),
)

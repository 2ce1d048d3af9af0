"""The operations on disputes, for the OpenAPI document."""

from typing import Final

from api.openapi import objects
from api.openapi.description import (
    ID_IN_PATH,
    KEY_CODES,
    LIST_CODES,
    OBJECT_CODES,
    OK,
    PAGE,
    POST,
    Description,
    list_of,
    model_ref,
    query,
)
from api.problems import ACCEPTED
from api.schemas.payments import AcceptDispute
from payonce.domain.disputes import DisputeStatus

_DISPUTE: Final = model_ref(objects.DisputeView)

LIST_DISPUTES = Description(
    id="listDisputes",
    tag="Disputes",
    summary="List disputes, newest first",
    answers={OK: ("A page of disputes", list_of(objects.DisputeView))},
    codes=LIST_CODES,
    parameters=(
        *PAGE,
        query("status", {"type": "string", "enum": list(DisputeStatus)}, "Only disputes with this status"),
    ),
)
GET_DISPUTE = Description(
    id="getDispute",
    tag="Disputes",
    summary="Get a dispute",
    text="Evidence is handed in at the acquirer, until `evidence_due_by`.",
    answers={OK: ("The dispute", _DISPUTE)},
    codes=OBJECT_CODES,
    parameters=(ID_IN_PATH,),
)
ACCEPT_DISPUTE = Description(
    id="acceptDispute",
    tag="Disputes",
    summary="Accept a dispute: what the bank withdrew stays with it",
    text=(
        "The acquirer is told that the merchant gives in, which nobody can take back; no money moves by it, and"
        " `amount_disputed` stays. Only a dispute that is `needs_response` can be accepted, and once: while that is"
        " under way, under whatever key, any other is `dispute_not_open`. Where the outcome is unknown, 202 with the"
        " dispute as it stands; the acquirer is asked how it does, and the answer to the same key is 200 with"
        " `accepted`, or 409 where the dispute was decided, or evidence handed in, before the acceptance arrived. An"
        " inquiry, by which nothing is withdrawn, cannot be accepted, nor any dispute of an account whose acquirer"
        " takes no acceptance from us: `operation_not_supported`, as where the acquirer refuses it."
    ),
    answers={
        OK: ("The dispute, accepted", _DISPUTE),
        ACCEPTED: ("The outcome is not known yet: the dispute as it stands", _DISPUTE),
    },
    codes=(*KEY_CODES, "not_found", "dispute_not_open", "operation_not_supported"),
    body=AcceptDispute,
    body_required=False,
    parameters=(ID_IN_PATH, *POST),
)

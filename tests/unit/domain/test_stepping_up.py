"""Which declines are answered by an attempt that forces the challenge."""

from dataclasses import replace
from typing import Any

import pytest

from payonce.domain.facts import DeclineCode, Declined, FailureCode, Unknown
from payonce.domain.operations import AttemptState, OperationKind, OperationStatus
from payonce.domain.sca import HandedIn, Sca
from payonce.domain.stepping_up import WITHIN_S, declined, least, wanted
from tests.support.rows import NOW, attempt, operation

SOFT = Declined(DeclineCode.AUTHENTICATION_REQUIRED, soft=True)
CAVV = HandedIn(version="2.2.0", trans_status="Y", eci="05", cavv="A" * 28, ds_transaction_id="d" * 36)
USUAL: dict[str, Any] = {
    "fact": SOFT,
    "sca": None,
    "handed_in": None,
    "soft_decline": "resend",
    "held_s": WITHIN_S,
}


def test_a_soft_decline_is() -> None:
    assert wanted(**USUAL)
    assert wanted(**{**USUAL, "sca": Sca(exemption="low_value")}), "the exemption was not granted"


@pytest.mark.parametrize(
    "but",
    [
        {"fact": replace(SOFT, soft=False)},
        {"fact": Unknown("reset")},
        {"sca": Sca(challenge="avoid")},
        {"sca": Sca(challenge="force")},
        {"handed_in": CAVV},
        {"soft_decline": "itself"},
        {"held_s": WITHIN_S + 0.1},
    ],
    ids=str,
)
def test_nothing_else_is(but: dict[str, Any]) -> None:
    assert not wanted(**{**USUAL, **but})


@pytest.mark.parametrize(
    ("of", "changes"),
    [
        ({}, {"number": 2}),
        ({}, {"token": "another"}),
        ({}, {"state": AttemptState.UNKNOWN}),
        ({}, {"act_before": NOW}),
        ({}, {"routed_by": "soft_decline"}),
        ({"status": OperationStatus.FAILED}, {}),
        ({"kind": OperationKind.CAPTURE}, {}),
    ],
    ids=str,
)
def test_it_follows_only_the_claim_that_was_declined(of: dict[str, Any], changes: dict[str, Any]) -> None:
    create = replace(operation(), **of)
    latest = attempt(create)
    assert declined(create, replace(latest, **changes), SOFT, number=1, token=latest.token) is None


def test_what_was_never_processed_is_declined_as_before_unless_its_customer_was_asked() -> None:
    stepping = attempt(operation(), AttemptState.CLAIMED, routed_by="soft_decline")
    for code in (FailureCode.NOT_PROCESSED, FailureCode.CARD_DATA_LOST):
        error = least(stepping, code)
        assert error is not None
        assert error["decline_code"] == "authentication_required"
        assert least(replace(stepping, act_before=NOW), code) is None
        assert least(replace(stepping, routed_by="own"), code) is None
    assert least(stepping, FailureCode.AMOUNT_MISMATCH) is None
    assert least(None, FailureCode.NOT_PROCESSED) is None

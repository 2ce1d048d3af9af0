"""What a callback carries is read from the inbox as it was put there."""

import json
from datetime import UTC, date, datetime
from typing import get_args

import pytest

from payonce.domain.evidence import Evidence
from payonce.domain.facts import (
    Accepted,
    ActionRequired,
    Approved,
    Cancelled,
    DeclineCode,
    Declined,
    Disputed,
    Expired,
    Fact,
    FailureCode,
    Foreign,
    FraudWarned,
    NotProcessed,
    Pending,
    Redone,
    Refused,
    Reversed,
    Stage,
    Told,
    ToldOfAttempt,
    Undone,
    Unknown,
    Unsent,
)
from payonce.storage.told import decoded, encoded

AT = datetime(2026, 11, 22, 5, 46, tzinfo=UTC)
UNSIGNED = Evidence(scheme="visa", network_transaction_date=date(2026, 11, 22), signed=False)
FACTS: tuple[Told, ...] = (
    Approved("acq-1", 1099, "EUR"),
    Approved(
        "acq-1",
        1099,
        "EUR",
        capture_before=AT,
        rail={"rrn": "1"},
        stage=Stage.CAPTURED,
        since=(Undone("u-1", 99, "EUR", "bounced"), Redone("r-1", 99, "EUR")),
        evidence=UNSIGNED,
    ),
    Declined(DeclineCode.DO_NOT_HONOR, "acq-1", {"refusalReasonCode": "2"}, where="other", soft=True),
    Refused("703", "/amount"),
    Accepted("acq-1"),
    Pending("acq-1", "later"),
    ActionRequired("acq-1", {"type": "redirect", "url": "https://acquirer.example"}, AT, "resume"),
    Expired("acq-1"),
    Reversed(),
    Cancelled(),
    Undone("u-1", 1099, "EUR", "CAPTURE_FAILED"),
    Undone("u-2", 99, "EUR", "REFUND_FAILED", refund="f-1"),
    Redone("r-1", 1099, "EUR"),
    Foreign("f-1", "refund", 99, "EUR"),
    Foreign("f-1", "capture", 99, "EUR", perhaps_ours=True),
)
OF_BANKS: tuple[Told, ...] = (
    Disputed("d-1", "chargeback", "lost", 1099, "EUR", 1099, "fraud", AT, "10.4", AT, 7, withdrawn_in="EUR"),
    Disputed("d-1", "inquiry", "under_review", 1099, "EUR", 0, "", AT, only_status=True, about="acq-1"),
    FraudWarned("w-1"),
)
OURS_ALONE = (Unsent(), Unknown("timeout"), NotProcessed(FailureCode.NOT_PROCESSED))


@pytest.mark.parametrize("fact", [*FACTS, *OF_BANKS], ids=lambda fact: fact.kind)
def test_a_fact_is_the_same_after_the_inbox(fact: Told) -> None:
    kept = encoded(fact)
    assert kept["kind"] == fact.kind
    assert decoded(json.loads(json.dumps(kept))) == fact


def test_every_fact_is_among_these() -> None:
    assert {type(fact) for fact in FACTS} == set(get_args(ToldOfAttempt))
    assert {type(fact) for fact in (*FACTS, *OF_BANKS)} == set(get_args(Told))
    assert {type(fact) for fact in (*FACTS, *OURS_ALONE)} == set(get_args(Fact))


@pytest.mark.parametrize("fact", OURS_ALONE, ids=lambda fact: fact.kind)
def test_what_only_we_can_say_comes_from_no_callback(fact: Fact) -> None:
    with pytest.raises(ValueError, match=fact.kind):
        encoded(fact)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=fact.kind):
        decoded({"kind": fact.kind})


def test_no_code_that_could_be_a_card_number_is_kept() -> None:
    kept = encoded(Declined(DeclineCode.DO_NOT_HONOR, raw={"card": "4242424242424242", "code": "2"}))
    assert kept["raw"] == {"code": "2"}

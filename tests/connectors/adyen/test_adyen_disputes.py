"""Disputes as Adyen's webhooks tell them: each says one change, and only what is signed says how it stands."""

from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import pytest
from adyen_script import PSP, REFERENCE, item, message
from test_adyen_callbacks import read

from payonce.connectors.base import Callback
from payonce.domain.disputes import latest
from payonce.domain.facts import Disputed, FraudWarned

DISPUTE = "DSPT7WQ756L2GWR8"
DUE = {"defensePeriodEndsAt": "2026-12-18T10:15:30+01:00", "chargebackReasonCode": "10.4"}


def said(event: str, **members: Any) -> Callback:
    return read(message(item(event, **{"pspReference": DISPUTE, "originalReference": PSP, **members})))


def word(event: str, **members: Any) -> Disputed:
    fact = said(event, **members).fact
    assert isinstance(fact, Disputed)
    return fact


def test_an_announced_chargeback_is_held_and_has_a_deadline() -> None:
    callback = said("NOTIFICATION_OF_CHARGEBACK", additionalData=DUE)
    assert callback.reference == REFERENCE
    assert callback.fact == Disputed(
        id=DISPUTE,
        stage="chargeback",
        status="needs_response",
        amount_minor=1099,
        currency="EUR",
        withdrawn_minor=1099,
        withdrawn_in="EUR",
        reason="as it was",
        at=datetime(2026, 11, 29, 3, tzinfo=UTC),
        network_reason_code="10.4",
        evidence_due_by=datetime(2026, 12, 18, 9, 15, 30, tzinfo=UTC),
        step=1,
    )


@pytest.mark.parametrize(
    ("event", "stage", "status", "withdrawn"),
    [
        ("REQUEST_FOR_INFORMATION", "inquiry", "needs_response", 0),
        ("DISPUTE_OPENED_WITH_CHARGEBACK", "chargeback", "needs_response", 1099),
        ("CHARGEBACK", "chargeback", "needs_response", 1099),
        ("INFORMATION_SUPPLIED", "chargeback", "under_review", 1099),
        ("DISPUTE_DEFENSE_PERIOD_ENDED", "chargeback", "lost", 1099),
        ("CHARGEBACK_REVERSED", "chargeback", "won", 0),
        ("SECOND_CHARGEBACK", "pre_arbitration", "lost", 1099),
        ("PREARBITRATION_WON", "pre_arbitration", "won", 0),
        ("PREARBITRATION_LOST", "pre_arbitration", "lost", 1099),
    ],
)
def test_what_each_event_says(event: str, stage: str, status: str, withdrawn: int) -> None:
    fact = word(event)
    assert (fact.stage, fact.status, fact.withdrawn_minor) == (stage, status, withdrawn)


@pytest.mark.parametrize(
    ("events", "stage", "status", "withdrawn"),
    [
        (("REQUEST_FOR_INFORMATION", "INFORMATION_SUPPLIED"), "inquiry", "under_review", 0),
        (
            ("REQUEST_FOR_INFORMATION", "NOTIFICATION_OF_CHARGEBACK", "CHARGEBACK", "INFORMATION_SUPPLIED"),
            *("chargeback", "under_review", 1099),
        ),
        (
            ("NOTIFICATION_OF_CHARGEBACK", "CHARGEBACK", "INFORMATION_SUPPLIED", "CHARGEBACK_REVERSED"),
            *("chargeback", "won", 0),
        ),
        (
            ("CHARGEBACK", "INFORMATION_SUPPLIED", "CHARGEBACK_REVERSED", "SECOND_CHARGEBACK"),
            *("pre_arbitration", "lost", 1099),
        ),
        (
            ("CHARGEBACK", "CHARGEBACK_REVERSED", "SECOND_CHARGEBACK", "PREARBITRATION_WON"),
            *("pre_arbitration", "won", 0),
        ),
        (("CHARGEBACK", "DISPUTE_DEFENSE_PERIOD_ENDED"), "chargeback", "lost", 1099),
    ],
)
def test_in_whatever_order_they_come_and_whatever_dates_they_have_they_end_the_same(
    events: tuple[str, ...], stage: str, status: str, withdrawn: int
) -> None:
    """The dates are not signed: here the first one says that it was the last."""
    dates = [f"2026-11-{28 - place}T04:00:00+01:00" for place in range(len(events))]
    words = [word(event, eventDate=date) for event, date in zip(events, dates, strict=True)]
    for order in permutations(words):
        end = latest(order)
        assert (end.stage, end.status, end.withdrawn_minor) == (stage, status, withdrawn)


def test_a_request_that_was_not_done_says_nothing() -> None:
    assert said("CHARGEBACK_REVERSED", success="false").fact is None


@pytest.mark.parametrize(
    "date", ["", "yesterday", "2026-11-29", "2026-11-29T04:00:00", "0001-01-01T00:00:00+14:00"]
)
def test_a_date_that_is_none_makes_no_event_invalid(date: str) -> None:
    fact = word("CHARGEBACK", eventDate=date, additionalData={"defensePeriodEndsAt": date})
    assert (fact.withdrawn_minor, fact.evidence_due_by) == (1099, None)


def test_what_could_be_a_card_number_is_no_reason_code() -> None:
    assert (
        word("CHARGEBACK", additionalData={"chargebackReasonCode": "4111111145551142"}).network_reason_code
        is None
    )


def test_a_fraud_notification_warns_and_moves_nothing() -> None:
    callback = said("NOTIFICATION_OF_FRAUD")
    assert (callback.reference, callback.fact) == (REFERENCE, FraudWarned(DISPUTE))

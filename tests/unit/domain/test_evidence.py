"""What an acquirer says beside yes or no: kept, shown where the contract says so, and nothing decided by it."""

import json
from datetime import date, timedelta

import pytest

from payonce.domain.evidence import CODES_MAX, TEXT_MAX, Evidence, capture_before, kept_codes
from payonce.domain.facts import DeclineCode, Declined, Stage
from payonce.domain.operations import AttemptState
from payonce.domain.settlement import settle
from tests.support.rows import NOW, approval, attempt, operation, payment

NO = Declined(
    DeclineCode.DO_NOT_HONOR,
    "acq-1",
    {"code": "card_declined", "network_decline_code": "05", "network_advice_code": "02"},
    "never",
)


def test_a_decline_keeps_the_acquirers_codes_and_where_it_may_be_tried_again() -> None:
    of = operation()
    settled = settle(payment(), of, attempt(of), NO, now=NOW)
    assert settled.attempt is not None
    assert settled.attempt.decline == {"code": "do_not_honor", "where": "never", "raw": dict(NO.raw)}


def test_a_decline_that_says_no_more_keeps_our_code() -> None:
    of = operation()
    settled = settle(payment(), of, attempt(of), Declined(DeclineCode.DO_NOT_HONOR), now=NOW)
    assert settled.attempt is not None
    assert settled.attempt.decline == {"code": "do_not_honor", "where": "same", "raw": {}}


def test_the_networks_codes_stand_beside_the_decline_code() -> None:
    of = operation()
    settled = settle(payment(), of, attempt(of), NO, now=NOW)
    assert settled.payment.last_error is not None
    assert list(settled.payment.last_error) == [
        *("code", "decline_code", "network_decline_code", "network_advice_code", "message", "advice")
    ]
    assert settled.answer is not None
    problem = json.loads(settled.answer.body)
    assert (problem["network_decline_code"], problem["network_advice_code"]) == ("05", "02")
    assert "card_declined" not in settled.answer.body.decode()  # the acquirer's own: for operators


def test_codes_are_bounded_and_hold_no_card_number() -> None:
    many = {f"code_{number}": "x" * 1000 for number in range(50)}
    kept = kept_codes({"reason": "card 4242 4242 4242 4242 refused", **many})
    assert len(kept) == CODES_MAX - 1
    assert all(len(value) <= TEXT_MAX for value in kept.values())
    assert "4242" not in json.dumps(kept)


def test_an_approval_keeps_its_evidence_and_leaves_out_what_is_not_known() -> None:
    of = operation()
    evidence = Evidence(
        scheme="visa",
        network_transaction_id="016153570198200",
        network_transaction_date=date(2026, 11, 22),
        cvc_result="M",
        liability="issuer",
    )
    settled = settle(payment(), of, attempt(of), approval(of, evidence=evidence), now=NOW)
    assert settled.attempt is not None
    assert settled.attempt.evidence == {
        "scheme": "visa",
        "network_transaction_id": "016153570198200",
        "network_transaction_date": "2026-11-22",
        "cvc_result": "M",
        "liability": "issuer",
    }
    assert "016153570198200" not in (settled.answer.body.decode() if settled.answer else "")


def test_evidence_that_nobody_signed_is_marked_so() -> None:
    assert Evidence(eci="05", signed=False).kept() == {"eci": "05", "signed": False}
    assert Evidence(authorization_code="1" * 500).kept() == {"authorization_code": "1" * TEXT_MAX}


def test_a_late_success_keeps_its_evidence() -> None:
    of = operation()
    failed = settle(payment(), of, attempt(of), NO, now=NOW)
    assert failed.attempt is not None
    late = settle(
        failed.payment, failed.operation, failed.attempt, approval(of, evidence=Evidence(eci="05")), now=NOW
    )
    assert late.late is not None
    assert late.attempt is not None
    assert (late.attempt.state, late.attempt.evidence) == (AttemptState.DECLINED, {"eci": "05"})


@pytest.mark.parametrize(
    ("method", "holds"),
    [
        ({"type": "card", "card": {"brand": "visa"}}, timedelta(days=7)),
        ({"type": "card", "card": {"brand": "mastercard"}}, timedelta(days=7)),
        ({"type": "wallet", "wallet": {"provider": "apple_pay", "brand": "amex"}}, timedelta(days=7)),
        ({"type": "card", "card": {"brand": "rupay"}}, timedelta(days=4, hours=18)),
        ({"type": "card", "card": {"brand": "unknown"}}, timedelta(days=4, hours=18)),
        ({"type": "wallet", "wallet": {"provider": "google_pay"}}, timedelta(days=4, hours=18)),
    ],
    ids=str,
)
def test_an_authorization_holds_as_long_as_its_network_says(
    method: dict[str, object], holds: timedelta
) -> None:
    assert capture_before(method, authorized_at=NOW) == NOW + holds


def test_a_manual_approval_that_does_not_say_how_long_it_holds_ends_all_the_same() -> None:
    of = operation()
    claimed = attempt(of, claimed_at=NOW - timedelta(seconds=3))
    silent = approval(of, capture_before=None, stage=Stage.AUTHORIZED)
    settled = settle(payment(), of, claimed, silent, now=NOW).payment
    assert settled.capture_before == NOW - timedelta(seconds=3) + timedelta(days=7)
    captured = approval(of, capture_before=None, stage=Stage.CAPTURED)
    assert settle(payment(), of, claimed, captured, now=NOW).payment.capture_before is None

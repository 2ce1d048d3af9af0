"""Every reason that Razorpay documents has a meaning of ours, and says who decided it."""

import pytest

from payonce.connectors.razorpay import codes
from payonce.connectors.razorpay.codes import PaymentFailure
from payonce.domain.facts import DeclineCode

# Source: razorpay.com/docs/errors/payments/cards, "Cards Error Codes", read 2026-11.
_CARDS = """
    payment_timed_out gateway_technical_error payment_cancelled card_declined insufficient_funds card_not_enrolled
    bank_technical_error card_disabled_for_online_payments authentication_failed payment_risk_check_failed
    payment_failed incorrect_cvv debit_instrument_inactive debit_instrument_blocked card_expired
    transaction_limit_exceeded
"""
# Source: razorpay.com/docs/errors/payments/upi, "UPI Error Codes", read 2026-11.
_UPI = """
    bank_technical_error credit_failed gateway_technical_error insufficient_funds invalid_vpa payment_cancelled
    payment_collect_request_expired payment_declined payment_timed_out vpa_resolution_failed
"""
# Source: razorpay.com/docs/errors/payments/list and /docs/errors/error-reasons, as far as they could be read in
# 2026-11, without those of netbanking mandates, which payonce does not take.
_LISTED = """
    amount_less_than_minimum_amount authorisation_declined_by_psp bank_account_invalid
    bank_account_validation_failed bank_cutoff_in_progress bank_not_available bank_not_enabled
    card_network_not_enabled card_number_invalid card_type_invalid collect_request_pending
    credit_limit_exceeded credit_limit_expired credit_limit_inactive credit_limit_not_approved
    credit_not_permitted debit_declined duplicate_request emi_greater_than_max_amount funds_blocked_by_mandate
    incorrect_atm_pin incorrect_card_details incorrect_card_expiry_date incorrect_cardholder_name incorrect_otp
    incorrect_pin input_validation_failed international_transaction_not_allowed invalid_amount invalid_currency
    invalid_mobile_number invalid_otp invalid_response_from_gateway invalid_user_details issuer_technical_error
    live_mode_not_enabled mobile_number_invalid otp_attempts_exceeded otp_expired
    payment_declined_due_to_high_traffic payment_session_expired pin_attempts_exceeded pin_not_set
    psp_app_not_available psp_app_not_supported psp_not_available psp_not_registered request_timed_out
    server_error transaction_daily_count_exceeded transaction_daily_limit_exceeded
    transaction_frequency_limit_exceeded transaction_on_vpa_restricted upi_app_technical_error
    user_not_eligible user_not_registered_for_netbanking verification_failed
"""
DOCUMENTED = frozenset((_CARDS + _UPI + _LISTED).split())
BANK = ("issuer_bank", "payment_authorization")


def test_every_documented_reason_has_a_meaning() -> None:
    assert set(codes.table()["reasons"]) >= DOCUMENTED
    assert len(DOCUMENTED) == 78


def test_nobody_declines_by_a_time_out_or_a_technical_error() -> None:
    """Whatever source and step say beside them: a success may follow for days."""
    table = codes.table()
    undecided = [reason for reason, entry in table["reasons"].items() if entry["decided"] == "nobody"]
    assert {reason for reason in undecided if "timed_out" in reason or "technical" in reason}
    assert not [
        reason
        for reason in table["reasons"]
        if ("technical" in reason or "timed_out" in reason or "expired" in reason.split("_")[-1:])
        and reason not in undecided
        and reason not in ("card_expired", "credit_limit_expired", "otp_expired")
    ]
    sources = ["customer", "business", "internal", "gateway", "network", *table["answered"]["sources"]]
    steps = [*table["answered"]["steps"], *table["before"]["steps"], "payment_response"]
    for reason in undecided:
        found = {
            codes.declined(PaymentFailure(reason, source, step))
            for source in (*sources, None)
            for step in (*steps, None)
        }
        assert found == {None}


def test_what_nobody_decided_is_never_tried_elsewhere() -> None:
    for entry in codes.table()["reasons"].values():
        assert entry["decided"] != "nobody" or entry["where"] == "same"
        assert entry["means"] != DeclineCode.PROCESSING_ERROR or entry["decided"] == "nobody"


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (PaymentFailure("insufficient_funds", "customer", "payment_authorization"), "insufficient_funds"),
        (PaymentFailure("payment_risk_check_failed", "business", "payment_authorization"), "fraud_suspected"),
        (PaymentFailure("payment_failed", *BANK), "generic_decline"),
        (PaymentFailure("payment_failed", "bank", "payment_debit_response"), "generic_decline"),
        (PaymentFailure("payment_failed", "gateway", "payment_authorization"), None),
        (PaymentFailure("payment_declined", "issuer_bank", "payment_debit_request"), "do_not_honor"),
        (PaymentFailure("payment_declined", "gateway", "payment_debit_request"), None),
        (PaymentFailure("payment_failed", "issuer_bank", "payment_credit_request"), None),
        (
            PaymentFailure("authentication_failed", "issuer_bank", "payment_authentication"),
            "authentication_failed",
        ),
        (PaymentFailure("authentication_failed", "customer", "payment_authentication"), None),
        (PaymentFailure("card_number_invalid", "business", "payment_initiation"), "generic_decline"),
        (PaymentFailure("card_number_invalid", *BANK), None),
        (PaymentFailure("never_heard_of", *BANK), None),
        (PaymentFailure(None, *BANK), None),
    ],
)
def test_reason_source_and_step_together_say_who_decided(failure: PaymentFailure, code: str | None) -> None:
    found = codes.declined(failure)
    assert (None if found is None else found.code) == code


def test_where_it_may_be_tried_again_follows_from_who_decided() -> None:
    """Another acquirer only after a decision of the issuer's, or of this acquirer's own rules."""
    elsewhere = {reason for reason, entry in codes.table()["reasons"].items() if entry["where"] == "other"}
    assert elsewhere == {
        "card_declined",
        "international_transaction_not_allowed",
        *("bank_not_enabled", "card_network_not_enabled", "card_network_not_supported", "card_type_invalid"),
        *("invalid_currency", "live_mode_not_enabled"),
    }


def test_an_account_that_is_not_set_up_is_no_data_that_is_refused() -> None:
    assert not codes.REJECTED & codes.REFUSED

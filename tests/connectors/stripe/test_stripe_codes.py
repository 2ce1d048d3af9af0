"""Every code that Stripe documents has a meaning of ours, or deliberately none."""

import json
from typing import Any

import pytest
from stripe_script import Open, authorizing, call, card_error

from payonce.connectors.conformance import yes
from payonce.connectors.stripe import codes
from payonce.connectors.stripe.objects import StripeError
from payonce.domain.errors import Rejected
from payonce.domain.facts import DeclineCode, Declined
from tests.connectors.scripted import Answer
from tests.witnesses.go import module_directory
from tests.witnesses.stripe_spec import MODULE, VERSION

# Source: docs.stripe.com/declines/codes, "Card decline codes", read 2026-11.
_DECLINE_CODES = """
    approve_with_id authentication_not_handled authentication_required call_issuer card_not_supported
    card_velocity_exceeded currency_not_supported do_not_honor do_not_try_again duplicate_transaction
    expired_card fraudulent generic_decline incorrect_address incorrect_cvc incorrect_number incorrect_pin
    incorrect_zip insufficient_funds invalid_account invalid_amount invalid_cvc invalid_expiry_month
    invalid_expiry_year invalid_number invalid_pin issuer_not_available lost_card merchant_blacklist
    mobile_device_authentication_required new_account_information_available no_action_taken not_permitted
    offline_pin_required online_or_offline_pin_required pickup_card pin_try_exceeded processing_error
    reenter_transaction restricted_card revocation_of_all_authorizations revocation_of_authorization
    security_violation service_not_allowed stolen_card stop_payment_order testmode_decline
    transaction_not_allowed try_again_later withdrawal_count_limit_exceeded
"""
DECLINE_CODES = _DECLINE_CODES.split()
ADVICE_CODES = {"confirm_card_data", "do_not_try_again", "try_again_later"}
# Nobody has decided yet, a network failed on the way, a first charge may exist, or the customer is to be asked:
# another acquirer might charge twice, or ask in vain.
UNDECIDED = {
    *("processing_error", "reenter_transaction", "issuer_not_available", "try_again_later"),
    *("duplicate_transaction", "authentication_required", "authentication_not_handled"),
    *("payment_method_not_available", "payment_method_provider_timeout"),
}


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    """What Stripe publishes with its mock, from the Go module: read at test time, and not copied."""
    folder = module_directory(MODULE, VERSION) / "embedded" / "openapi"
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in ("spec3", "spec3.beta.sdk")}


def test_every_documented_decline_code_has_a_meaning() -> None:
    assert set(codes.table()["decline_codes"]) == set(DECLINE_CODES)
    assert len(DECLINE_CODES) == 50


def test_every_documented_error_code_is_in_one_place(documents: dict[str, Any]) -> None:
    errors = documents["spec3.beta.sdk"]["components"]["schemas"]["api_errors"]
    documented = set(errors["properties"]["code"]["enum"])
    table = codes.table()
    sections = ("card_errors", "refused", "lapsed", "ended", "rejected")
    places = [*(code for name in sections for code in table[name])]
    places += table["unmapped"]["in_general"] + table["unmapped"]["of_other_products"]
    assert sorted(places) == sorted(documented)


def test_every_documented_advice_code_is_known(documents: dict[str, Any]) -> None:
    outcome = documents["spec3"]["components"]["schemas"]["charge_outcome"]
    assert set(outcome["properties"]["advice_code"]["enum"]) == ADVICE_CODES
    assert set(codes.table()["advice_codes"]) == ADVICE_CODES


def test_what_nobody_has_decided_is_never_tried_elsewhere() -> None:
    table = codes.table()
    for section in ("decline_codes", "card_errors"):
        for code, entry in table[section].items():
            assert code not in UNDECIDED or entry["where"] == "same"


def test_a_card_that_is_entered_wrongly_is_right_nowhere_else() -> None:
    """No issuer decided this."""
    for code in ("incorrect_number", "invalid_number", "invalid_expiry_month", "invalid_expiry_year"):
        assert codes.declined(StripeError(code=code)).where == "never"


def test_a_test_card_is_right_at_no_account_that_takes_money() -> None:
    assert codes.declined(StripeError(decline_code="testmode_decline")).where == "never"


@pytest.mark.parametrize(
    ("error", "code", "where"),
    [
        ({"decline_code": "insufficient_funds"}, DeclineCode.INSUFFICIENT_FUNDS, "same"),
        ({"decline_code": "lost_card"}, DeclineCode.LOST_CARD, "never"),
        ({"decline_code": "do_not_honor"}, DeclineCode.DO_NOT_HONOR, "other"),
        ({"code": "expired_card"}, DeclineCode.EXPIRED_CARD, "never"),
        ({"code": "processing_error"}, DeclineCode.PROCESSING_ERROR, "same"),
        ({"code": "card_declined", "decline_code": "unheard_of"}, DeclineCode.GENERIC_DECLINE, "same"),
        ({}, DeclineCode.GENERIC_DECLINE, "same"),
        (
            {"decline_code": "do_not_honor", "advice_code": "do_not_try_again"},
            DeclineCode.DO_NOT_HONOR,
            "never",
        ),
        ({"decline_code": "do_not_honor", "network_advice_code": "03"}, DeclineCode.DO_NOT_HONOR, "never"),
        ({"decline_code": "do_not_honor", "network_advice_code": "02"}, DeclineCode.DO_NOT_HONOR, "other"),
    ],
)
def test_a_card_error_in_our_words(error: dict[str, str], code: DeclineCode, where: str) -> None:
    assert codes.declined(StripeError(**error)) == codes.DeclineMeaning(code, where)


@pytest.mark.parametrize("decline_code", DECLINE_CODES)
async def test_every_decline_code_comes_through(stripe: Open, decline_code: str) -> None:
    connector, _ = await stripe(authorizing(card_error(decline_code=decline_code)))
    reply = await connector.send(call(), may_send=yes)
    assert isinstance(reply, Declined)
    assert reply.code == codes.table()["decline_codes"][decline_code]["means"]


async def test_an_unheard_of_decline_code_is_told(stripe: Open, capfd: pytest.CaptureFixture[str]) -> None:
    connector, _ = await stripe(authorizing(card_error(decline_code="unheard_of")))
    assert isinstance(await connector.send(call(), may_send=yes), Declined)
    assert "acquirer_decline_code_unmapped" in capfd.readouterr().err


async def test_a_code_about_our_account_stops_the_account(stripe: Open) -> None:
    body = {"error": {"type": "invalid_request_error", "code": "testmode_charges_only", "param": "x"}}
    connector, _ = await stripe(
        authorizing(Answer()) | {"POST /v1/payment_intents": Answer(body, status=400)}
    )
    with pytest.raises(Rejected):
        await connector.send(call(), may_send=yes)

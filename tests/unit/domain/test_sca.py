"""What the acquirer is asked for of authentication, and what a payment shows of what came of it."""

from dataclasses import replace
from typing import Any

import pytest

from payonce.connectors.base import call_of
from payonce.domain.evidence import Evidence
from payonce.domain.facts import DeclineCode, Declined, FailureCode, NotProcessed
from payonce.domain.operations import OperationKind
from payonce.domain.payment import PaymentStatus
from payonce.domain.sca import HandedIn, Sca, passed_on
from tests.support.rows import approval
from tests.unit.domain.examples import Case, case

ASKED = {"challenge": "force", "exemption": "low_value"}
AUTHENTICATED = Evidence(authentication="authenticated", eci="05", liability="issuer")
SHOWN = {
    "result": "authenticated",
    "eci": "05",
    "liability": "issuer",
    "exemption": {"requested": None, "honoured": None},
}


def create(**members: Any) -> Case:
    return case(OperationKind.AUTHORIZE, PaymentStatus.INIT, **members)


@pytest.mark.parametrize(
    ("country", "exemption"), [("FR", "low_value"), ("US", "low_value"), ("IN", None), (None, None)]
)
def test_no_exemption_is_asked_for_in_india_or_where_the_issuers_country_is_not_known(
    country: str | None, exemption: str | None
) -> None:
    sent = passed_on(Sca(challenge="force", exemption="low_value"), issuer_country=country)
    assert (sent.challenge, sent.exemption) == ("force", exemption)


def test_a_run_that_does_not_know_the_card_asks_for_no_exemption() -> None:
    one = create(sca=ASKED)
    unknown = call_of(one.payment, one.operation, reference="r")
    known = call_of(one.payment, one.operation, reference="r", issuer_country="FR")
    assert unknown.sca == Sca(challenge="force")
    assert known.sca == Sca(challenge="force", exemption="low_value")


def test_nothing_is_asked_for_where_the_merchant_authenticated_elsewhere() -> None:
    one = create(sca={"handed_in": True})
    assert one.payment.handed_in
    assert call_of(one.payment, one.operation, reference="r", issuer_country="FR").sca is None


def test_what_is_handed_in_shows_in_no_repr() -> None:
    cavv = "3q2+78r+ur7erb7vyv66vv////8="
    one = HandedIn(version="2.2.0", trans_status="Y", eci="05", cavv=cavv, ds_transaction_id="f25084f0")
    call = replace(call_of(create().payment, create().operation, reference="r"), authentication=one)
    for secret in (cavv, "f25084f0"):
        assert secret not in repr(call) + repr(one)


def test_a_payment_shows_what_the_acquirer_said_of_the_attempt_that_decided() -> None:
    one = create()
    settled = one.settled(replace(approval(one.operation), evidence=AUTHENTICATED))
    assert settled.payment.authentication == SHOWN
    assert settled.answer is not None
    assert b'"authentication":{"result":"authenticated","eci":"05"' in settled.answer.body


def test_so_does_one_that_was_declined_after_its_cardholder_was_authenticated() -> None:
    settled = create().settled(Declined(DeclineCode.INSUFFICIENT_FUNDS, evidence=AUTHENTICATED))
    assert settled.payment.authentication == SHOWN


def test_a_failed_authentication_is_shown_as_one() -> None:
    shown = create().settled(Declined(DeclineCode.AUTHENTICATION_FAILED)).payment.authentication
    assert shown is not None
    assert shown["result"] == "failed"


@pytest.mark.parametrize("said", [None, Evidence(), Evidence(authentication="none")])
def test_nothing_is_shown_where_there_is_nothing(said: Evidence | None) -> None:
    one = create()
    settled = one.settled(replace(approval(one.operation), evidence=said))
    assert settled.payment.authentication is None
    assert create(sca=ASKED).settled(NotProcessed(FailureCode.NOT_PROCESSED)).payment.authentication is None


@pytest.mark.parametrize("honoured", ["low_value", None])
def test_an_exemption_is_shown_as_requested_and_as_honoured(honoured: Any) -> None:
    said = Evidence(authentication="exempted" if honoured else None, exemption_honoured=honoured)
    one = create(sca=ASKED)
    settled = one.settled(replace(approval(one.operation), evidence=said))
    assert settled.payment.authentication == {
        "result": "exempted" if honoured else "unknown",
        "eci": None,
        "liability": None,
        "exemption": {"requested": "low_value", "honoured": honoured},
    }


def test_a_refund_leaves_what_is_shown() -> None:
    one = case(OperationKind.REFUND, PaymentStatus.CAPTURED, authentication=SHOWN)
    assert one.settled(approval(one.operation)).payment.authentication == SHOWN

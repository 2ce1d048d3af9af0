"""What is asked of Adyen, and what its fourteen result codes are to us."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from adyen_script import (
    CARD,
    DETAILS,
    MANUAL,
    PAYMENTS,
    PERSON,
    PSP,
    Open,
    call,
    paid,
    redirected,
    refusal,
    upi,
)

from payonce.connectors.adyen import codes, references
from payonce.connectors.adyen.bodies import REQUIRED
from payonce.connectors.conformance import yes
from payonce.domain.cards import NetworkToken
from payonce.domain.errors import OutcomeUnknown
from payonce.domain.evidence import Evidence
from payonce.domain.facts import (
    Accepted,
    ActionRequired,
    Approved,
    DeclineCode,
    Declined,
    Pending,
    Refused,
    Stage,
)
from payonce.domain.personal import Browser, Party
from payonce.domain.sca import HandedIn, Sca
from tests.connectors.scripted import Answer

NOW = datetime(2026, 11, 29, 4, tzinfo=UTC)
LINK = "upi://pay?pa=shop@bank&am=10.99"


async def body_of(adyen: Open, **changes: Any) -> dict[str, Any]:
    """What is sent of such a call."""
    connector, server = await adyen({PAYMENTS: Answer({"resultCode": "Received"})}, upi="on", wallets="on")
    made = changes.pop("made", None) or call(**changes)
    await connector.send(made, may_send=yes)
    sent: dict[str, Any] = server.sent[0].body
    return sent


async def test_a_card_is_sent_with_all_that_its_holder_may_be_asked_by(adyen: Open) -> None:
    body = await body_of(adyen)
    shopper = body.pop("shopperReference")
    assert body == {
        "merchantAccount": "PayonceECOM",
        "amount": {"currency": "EUR", "value": 1099},
        "reference": "ApayZu01jtestZd1",
        "merchantOrderReference": "payZu01jtest",
        "returnUrl": "https://api.shop.example/v1/returns/token",
        "paymentMethod": {
            "type": "scheme",
            "number": CARD.number,
            "expiryMonth": "03",
            "expiryYear": "2030",
            "cvc": "737",
            "holderName": "A. B. Person",
        },
        "shopperInteraction": "Ecommerce",
        "channel": "Web",
        "captureDelayHours": 0,
        "authenticationData": {"threeDSRequestData": {"nativeThreeDS": "disabled"}},
        "redirectToIssuerMethod": "GET",
        "redirectFromIssuerMethod": "GET",
        "browserInfo": {
            "acceptHeader": "text/html",
            "colorDepth": 24,
            "javaEnabled": False,
            "javaScriptEnabled": True,
            "language": "de-DE",
            "screenHeight": 1080,
            "screenWidth": 1920,
            "timeZoneOffset": -60,
            "userAgent": "Mozilla/5.0",
        },
        "billingAddress": {
            "city": "Köln",
            "country": "DE",
            "houseNumberOrName": "N/A",
            "postalCode": "50667",
            "street": "Hauptstr. 1",
        },
        "countryCode": "DE",
        "shopperIP": "192.0.2.1",
        "shopperEmail": "a@person.example",
        "telephoneNumber": "+4912345678",
    }
    assert len(shopper) == 40
    assert "7" != shopper == (await body_of(adyen))["shopperReference"]


async def test_whether_it_is_captured_by_itself_is_said_of_each(adyen: Open) -> None:
    sale, manual = await body_of(adyen), await body_of(adyen, automatic_capture=False)
    assert (sale["captureDelayHours"], "additionalData" in sale) == (0, False)
    assert "captureDelayHours" not in manual
    assert manual["additionalData"] == {"manualCapture": "true"}
    assert manual["reference"] == MANUAL


async def test_wishes_are_passed_on(adyen: Open) -> None:
    forced = await body_of(adyen, sca=Sca(challenge="force"))
    avoided = await body_of(adyen, sca=Sca(challenge="avoid", exemption="low_value"))
    assert forced["authenticationData"]["attemptAuthentication"] == "always"
    assert forced["threeDS2RequestData"] == {"threeDSRequestorChallengeInd": "04"}
    assert "threeDS2RequestData" not in avoided
    assert avoided["authenticationData"]["attemptAuthentication"] == "never"
    assert avoided["additionalData"] == {"scaExemption": "lowValue"}
    risk = await body_of(adyen, sca=Sca(exemption="transaction_risk_analysis"), automatic_capture=False)
    assert risk["additionalData"] == {"manualCapture": "true", "scaExemption": "transactionRiskAnalysis"}


async def test_who_was_authenticated_elsewhere_is_handed_in(adyen: Open) -> None:
    handed = HandedIn(version="2.2.0", trans_status="Y", eci="05", cavv="AJkBBk==", ds_transaction_id="d65e")
    body = await body_of(adyen, authentication=handed)
    assert body["mpiData"] == {
        "directoryResponse": "Y",
        "cavv": "AJkBBk==",
        "eci": "05",
        "dsTransID": "d65e",
        "threeDSVersion": "2.2.0",
    }


async def test_a_wallets_token_is_passed_through(adyen: Open) -> None:
    token = NetworkToken("4895370012003478", 12, 2030, "AK+zkbPMCORcABCD3AGRAoACFA==", "07")
    shown = {"type": "wallet", "wallet": {"provider": "apple_pay"}}
    body = await body_of(adyen, card=None, network_token=token, payment_method=shown)
    assert body["paymentMethod"] == {
        "type": "networkToken",
        "number": token.number,
        "expiryMonth": "12",
        "expiryYear": "2030",
        "holderName": "A. B. Person",
    }
    assert body["mpiData"] == {"tokenAuthenticationVerificationValue": token.cryptogram, "eci": "07"}
    assert "authenticationData" not in body


async def test_metadata_are_copied_where_the_account_says_so_and_as_far_as_they_fit(adyen: Open) -> None:
    theirs = {"order": "7", "x" * 21: "1", "long": "x" * 81} | {f"n{number:02}": "1" for number in range(30)}
    plain, plain_server = await adyen({PAYMENTS: Answer({"resultCode": "Received"})})
    copying, server = await adyen({PAYMENTS: Answer({"resultCode": "Received"})}, copy_metadata="on")
    for connector in (plain, copying):
        await connector.send(call(metadata=theirs), may_send=yes)
    assert "metadata" not in plain_server.sent[0].body
    copied = server.sent[0].body["metadata"]
    assert len(copied) == 20
    assert not {"x" * 21, "long"} & copied.keys()


async def test_by_letter_or_telephone_nobody_is_asked(adyen: Open) -> None:
    body = await body_of(adyen, channel="moto")
    assert body["shopperInteraction"] == "Moto"
    assert not {"channel", "authenticationData"} & body.keys()


async def test_what_is_known_in_part_is_left_out(adyen: Open) -> None:
    body = await body_of(
        adyen, browser=Browser(ip="192.0.2.1", user_agent="M"), billing=Party(name="A"), customer=None
    )
    assert not {"browserInfo", "billingAddress", "shopperReference", "countryCode"} & body.keys()
    assert body["shopperIP"] == "192.0.2.1"


async def test_a_parcel_goes_where_it_is_sent(adyen: Open) -> None:
    body = await body_of(
        adyen, shipping=Party(name="B", address=replace(PERSON["billing"].address, line2="3b"))
    )
    assert body["deliveryAddress"]["houseNumberOrName"] == "3b"


async def test_the_holder_is_the_customer_where_no_bill_says_otherwise(adyen: Open) -> None:
    body = await body_of(adyen, billing=None)
    assert body["paymentMethod"]["holderName"] == "A. Person"


@pytest.mark.parametrize(("flow", "more"), [("intent", {}), ("qr", {}), ("collect", {"vpa": "asha@bank"})])
async def test_upi_is_asked_for_by_its_flow(adyen: Open, flow: str, more: dict[str, str]) -> None:
    body = await body_of(adyen, made=upi(flow))
    vpa = {"virtualPaymentAddress": more["vpa"]} if more else {}
    assert body["paymentMethod"] == {"type": f"upi_{flow}"} | vpa
    assert body["captureDelayHours"] == 0
    assert "authenticationData" not in body


async def test_upi_that_is_to_be_captured_later_is_refused_before_it_is_sent(adyen: Open) -> None:
    connector, server = await adyen({})
    reply = await connector.send(upi("qr", automatic_capture=False), may_send=yes)
    assert reply == Refused("upi_is_captured_at_once", "/capture_method")
    inexact = await connector.send(call(amount_minor=1001, currency="IDR"), may_send=yes)
    assert inexact == Refused("amount_not_exact", "/amount")
    assert server.sent == []


# By the documentation, each with what it is to us.
RESULTS: dict[str, type[object]] = {
    "AuthenticationFinished": Pending,
    "AuthenticationNotRequired": Pending,
    "Authorised": Approved,
    "Cancelled": Declined,
    "ChallengeShopper": Pending,
    "Error": Declined,
    "IdentifyShopper": Pending,
    "PartiallyAuthorised": Pending,
    "Pending": Accepted,
    "PresentToShopper": Pending,
    "Received": Accepted,
    "RedirectShopper": Pending,
    "Refused": Declined,
    "Success": Pending,
    "Mystery": Pending,
}


@pytest.mark.parametrize("result", RESULTS)
async def test_each_result_code_is_what_it_is_documented_to_be(adyen: Open, result: str) -> None:
    """Without an action nobody can be asked anything."""
    connector, _ = await adyen({PAYMENTS: Answer(paid(result))})
    reply = await connector.send(call(), may_send=yes)
    assert type(reply) is RESULTS[result]
    assert reply.connector_reference == PSP


@pytest.mark.parametrize("automatic", [True, False])
async def test_what_is_authorised_has_come_as_far_as_was_asked(adyen: Open, automatic: bool) -> None:
    own = paid(merchantReference=references.sent(call(automatic_capture=automatic)))
    connector, _ = await adyen({PAYMENTS: Answer(own)})
    reply = await connector.send(call(automatic_capture=automatic), may_send=yes)
    assert reply == Approved(
        PSP,
        1099,
        "EUR",
        stage=Stage.CAPTURED if automatic else Stage.AUTHORIZED,
        evidence=Evidence(),
    )


@pytest.mark.parametrize("missing", ["amount", "merchantReference", "pspReference"])
async def test_what_does_not_say_of_what_it_is_waits_for_the_callback(adyen: Open, missing: str) -> None:
    told = paid()
    del told[missing]
    connector, _ = await adyen({PAYMENTS: Answer(told)})
    assert isinstance(await connector.send(call(), may_send=yes), Pending)


async def test_another_amount_is_approved_as_adyen_says(adyen: Open) -> None:
    connector, _ = await adyen({PAYMENTS: Answer(paid(amount={"currency": "EUR", "value": 99}))})
    reply = await connector.send(call(), may_send=yes)
    assert isinstance(reply, Approved)
    assert reply.amount_minor == 99


async def test_evidence_is_kept_as_adyen_says_it(adyen: Open) -> None:
    additional = {
        "paymentMethod": "visa",
        "networkTxReference": "MCC123456789012",
        "authCode": "058747",
        "avsResultRaw": "Y",
        "cvcResultRaw": "M",
        "liabilityShift": "true",
        "eci": "05",
        "threeDAuthenticated": "true",
        "threeDAuthenticatedResponse": "Y",
        "cardIssuingCountry": "NL",
        "fundingSource": "CREDIT",
        "scaExemptionRequested": "lowValue",
    }
    connector, _ = await adyen({PAYMENTS: Answer(paid(additionalData=additional))})
    reply = await connector.send(call(), may_send=yes)
    assert isinstance(reply, Approved)
    assert reply.evidence == Evidence(
        scheme="visa",
        network_transaction_id="MCC123456789012",
        authorization_code="058747",
        avs_result="Y",
        cvc_result="M",
        liability="issuer",
        eci="05",
        authentication="authenticated",
        issuer_country="NL",
        funding="CREDIT",
    )


async def test_an_exemption_was_honoured_where_nobody_was_asked(adyen: Open) -> None:
    additional = {"threeDOffered": "false", "scaExemptionRequested": "transactionRiskAnalysis"}
    connector, _ = await adyen({PAYMENTS: Answer(paid(additionalData=additional))})
    reply = await connector.send(call(), may_send=yes)
    assert isinstance(reply, Approved)
    assert reply.evidence == Evidence(
        authentication="none", exemption_honoured="transaction_risk_analysis", liability=None
    )


async def test_a_refusal_is_a_decline_with_adyens_own_codes(adyen: Open) -> None:
    additional = {"refusalReasonRaw": "51 : Insufficient funds", "merchantAdviceCode": "02"}
    connector, _ = await adyen({PAYMENTS: refusal("12", "Not enough balance", additionalData=additional)})
    reply = await connector.send(call(), may_send=yes)
    assert isinstance(reply, Declined)
    assert (reply.code, reply.where, reply.soft) == (DeclineCode.INSUFFICIENT_FUNDS, "same", False)
    assert reply.raw == {
        "code": "12",
        "decline_code": "Not enough balance",
        "network_decline_code": "51",
        "network_advice_code": "02",
        "result_code": "Refused",
    }


async def test_a_network_may_forbid_the_card_everywhere(adyen: Open) -> None:
    connector, _ = await adyen({PAYMENTS: refusal("2", additionalData={"merchantAdviceCode": "03"})})
    reply = await connector.send(call(), may_send=yes)
    assert isinstance(reply, Declined)
    assert reply.where == "never"


async def test_an_issuer_that_wants_its_holder_asked_declines_softly(adyen: Open) -> None:
    connector, _ = await adyen({PAYMENTS: refusal("38", "Authentication required")})
    reply = await connector.send(call(), may_send=yes)
    assert isinstance(reply, Declined)
    assert (reply.code, reply.soft) == (DeclineCode.AUTHENTICATION_REQUIRED, True)
    assert connector.capabilities.soft_decline == "resend"


@pytest.mark.parametrize("code", sorted(codes.table()["refusal_reasons"]))
async def test_an_error_on_the_way_lets_no_other_acquirer_try(adyen: Open, code: str) -> None:
    told = paid("Error", refusalReason="Acquirer Error", refusalReasonCode=code)
    connector, _ = await adyen({PAYMENTS: Answer(told)})
    reply = await connector.send(call(), may_send=yes)
    assert isinstance(reply, Declined)
    assert reply.where != "other"
    assert not reply.soft


async def test_a_cardholder_is_sent_to_a_page_and_a_leg_of_ours_completes_it(adyen: Open) -> None:
    connector, _ = await adyen({PAYMENTS: Answer(redirected())}, now=lambda: NOW)
    page = redirected()["action"]["url"]
    assert await connector.send(call(), may_send=yes) == ActionRequired(
        "ApayZu01jtestZd1",
        {"type": "redirect", "url": page, "sandbox_url": page},
        NOW + timedelta(minutes=15),
        "resume",
    )


@pytest.mark.parametrize(
    "action",
    [
        {"method": "POST", "data": {"PaReq": "x"}},
        {"type": "threeDS2"},
        {"type": "sdk"},
        {"url": "javascript:alert(1)"},
        {"url": "https://page.example/ with blanks"},
    ],
)
async def test_what_an_address_alone_cannot_do_is_asked_of_nobody(
    adyen: Open, action: dict[str, Any]
) -> None:
    connector, _ = await adyen({PAYMENTS: Answer(redirected(**action))})
    assert isinstance(await connector.send(call(), may_send=yes), Pending)


async def test_in_live_mode_a_page_is_secure(adyen: Open) -> None:
    insecure = redirected(url="http://page.example/")
    connector, _ = await adyen({PAYMENTS: [Answer(insecure), Answer(redirected())]}, mode="live")
    assert isinstance(await connector.send(call(), may_send=yes), Pending)
    asked = await connector.send(call(), may_send=yes)
    assert isinstance(asked, ActionRequired)
    assert "sandbox_url" not in asked.action


@pytest.mark.parametrize(
    ("flow", "action", "shown"),
    [
        ("qr", {"type": "qrCode", "qrCodeData": LINK}, {"type": "upi_qr", "url": LINK}),
        ("intent", {"type": "redirect", "url": LINK}, {"type": "upi_intent", "url": LINK}),
        ("intent", {"type": "await", "url": LINK}, {"type": "upi_intent", "url": LINK}),
        ("collect", {"type": "await"}, {"type": "upi_collect", "vpa": "asha@bank"}),
    ],
)
async def test_a_customer_pays_by_upi_in_their_app(
    adyen: Open, flow: str, action: dict[str, Any], shown: dict[str, Any]
) -> None:
    over = "2026-11-29T05:30:00+01:00"
    money = {"currency": "INR", "value": 1099}
    told = paid("Pending", action={**action, "expiresAt": over}, amount=money)
    connector, _ = await adyen({PAYMENTS: Answer(told)}, now=lambda: NOW, upi="on")
    asked = await connector.send(upi(flow), may_send=yes)
    image = {"image_url": "https://api.shop.example/v1/payments/pay_01jtest/qr"} if flow == "qr" else {}
    until = datetime.fromisoformat(over)
    assert asked == ActionRequired(PSP, shown | image, until, "customer")


@pytest.mark.parametrize(
    "action", [{"type": "qrCode", "qrCodeData": "https://evil.example"}, {"type": "qrCode"}]
)
async def test_a_code_that_is_no_payment_by_upi_is_shown_to_nobody(
    adyen: Open, action: dict[str, Any]
) -> None:
    told = paid("PresentToShopper", action=action, amount={"currency": "INR", "value": 1099})
    connector, _ = await adyen({PAYMENTS: Answer(told)}, upi="on")
    assert isinstance(await connector.send(upi("qr"), may_send=yes), Pending)


async def test_of_a_challenge_that_was_passed_the_leg_says_the_rest(adyen: Open) -> None:
    """The same table, of the same payment."""
    connector, _ = await adyen({DETAILS: [Answer(paid("Cancelled", refusalReasonCode="16")), Answer(paid())]})
    leg = {"redirectResult": "x"}
    declined = await connector.resume(call(card=None), leg, leg=1, may_send=yes)
    assert isinstance(declined, Declined)
    assert declined.code is DeclineCode.AUTHENTICATION_FAILED
    of_another = replace(call(card=None), reference="pay_other-1")
    with pytest.raises(OutcomeUnknown, match="another payment"):
        await connector.resume(of_another, leg, leg=1, may_send=yes)


@pytest.mark.parametrize("result", ["Refused", "Cancelled", "Error"])
async def test_a_leg_that_does_not_say_what_it_declines_declines_nothing(adyen: Open, result: str) -> None:
    """What a browser brings back may be another payment's, which has failed: this one may still be paid."""
    body = paid(result, refusalReasonCode="2")
    del body["merchantReference"]
    connector, _ = await adyen({DETAILS: Answer(body)})
    leg = {"redirectResult": "x"}
    for known in (None, "ANOTHER7RT65ZGN82"):
        reply = await connector.resume(call(card=None, attempt_reference=known), leg, leg=1, may_send=yes)
        assert isinstance(reply, Pending), reply
    named = call(card=None, attempt_reference=PSP)
    assert isinstance(await connector.resume(named, leg, leg=1, may_send=yes), Declined)


def test_all_that_was_asked_of_a_person_is_required_of_cards_alone() -> None:
    assert {each.methods for each in REQUIRED} == {frozenset({"card"})}
    pointers = {each.pointer for each in REQUIRED}
    assert {"/billing/name", "/billing/address/line1", "/customer/email", "/browser/ip"} <= pointers
    assert {f"/browser/{name}" for name in ("accept", "screen_width", "java_enabled")} <= pointers
    assert PERSON["browser"].ip

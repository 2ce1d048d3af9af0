"""An authorization at Stripe: what is sent, what each answer means, and what is unknown."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from stripe_script import (
    CANCEL,
    CARD,
    CONFIRM,
    CREATE,
    CREATED,
    INTENT,
    KEY,
    METHOD,
    METHODS,
    REFERENCE,
    VISA,
    Open,
    authorizing,
    call,
    card_error,
    charge,
    error,
    held,
    intent,
    invalid,
    method,
    paid,
)

from payonce.connectors.conformance import Holding, no, yes
from payonce.domain.errors import ConnectorError, NotSent, OutcomeUnknown, RateLimited, Rejected
from payonce.domain.evidence import Evidence
from payonce.domain.facts import Approved, DeclineCode, Declined, Pending, Refused, Stage
from payonce.domain.personal import Address, Customer, Party
from tests.connectors.scripted import Answer, Script

UNKNOWN_HTML = Answer(raw=b"<html>oops</html>", status=502)


async def test_an_automatic_payment_is_captured_with_its_amount(stripe: Open) -> None:
    connector, server = await stripe(authorizing(Answer(paid())))
    reply = await connector.send(call(), may_send=yes)
    assert reply == Approved(INTENT, 1099, "EUR", stage=Stage.CAPTURED, evidence=VISA)
    assert server.sent[-1].name == CONFIRM
    assert {sent.name for sent in server.sent[:-1]} == {CREATE, METHODS}


async def test_each_request_says_everything_itself(stripe: Open) -> None:
    connector, server = await stripe(authorizing(Answer(paid())))
    await connector.send(call(return_url="https://shop.example/done"), may_send=yes)
    (made,), (entered,), (confirmed,) = server.of(CREATE), server.of(METHODS), server.of(CONFIRM)
    assert made.members == {
        "amount": "1099",
        "currency": "eur",
        "capture_method": "automatic",
        "payment_method_types[]": "card",
        "description": "pay_01jtest",
        "metadata[payonce_reference]": REFERENCE,
        "metadata[payonce_payment]": "pay_01jtest",
    }
    assert entered.members == {
        "type": "card",
        "card[number]": CARD.number,
        "card[exp_month]": "12",
        "card[exp_year]": "2031",
        "card[cvc]": "737",
    }
    assert confirmed.members == {
        "payment_method": METHOD,
        "return_url": "https://shop.example/done",
        "expand[]": "latest_charge",
    }
    assert {sent.headers["authorization"] for sent in server.sent} == {f"Bearer {KEY}"}
    assert {sent.headers["stripe-version"] for sent in server.sent} == {"2026-08-26.dahlia"}


async def test_every_call_has_a_key_of_its_own_and_the_same_attempt_the_same(stripe: Open) -> None:
    connector, server = await stripe(authorizing(Answer(paid())))
    for reference in (REFERENCE, REFERENCE, "pay_01jtest-2"):
        body = paid(metadata={"payonce_reference": reference})
        server.play(authorizing(Answer(body)) | {CREATE: Answer(intent(metadata=body["metadata"]))})
        await connector.send(call(reference=reference), may_send=yes)
    keys = [{name: server.of(name)[turn].key for name in (CREATE, METHODS, CONFIRM)} for turn in range(3)]
    assert len(set(keys[0].values())) == 3
    assert None not in keys[0].values()
    assert keys[0] == keys[1]
    assert not set(keys[0].values()) & set(keys[2].values())


async def test_the_right_is_used_by_the_confirmation_alone(stripe: Open) -> None:
    connector, _ = await stripe(authorizing(Answer(paid())))
    rights = [True]
    await connector.send(call(), may_send=Holding(asked=rights))
    assert not rights


async def test_without_the_right_nothing_is_sent(stripe: Open) -> None:
    connector, server = await stripe(authorizing(Answer(paid())))
    with pytest.raises(NotSent):
        await connector.send(call(), may_send=no)
    assert not server.sent


async def test_a_manual_payment_is_authorized_until_the_day_that_its_charge_names(stripe: Open) -> None:
    details = {"type": "card", "card": {"brand": "visa", "capture_before": CREATED + 86_400}}
    body = held(latest_charge=charge(payment_method_details=details))
    connector, server = await stripe(authorizing(Answer(body)))
    reply = await connector.send(call(automatic_capture=False), may_send=yes)
    assert reply == Approved(
        INTENT,
        1099,
        "EUR",
        stage=Stage.AUTHORIZED,
        capture_before=datetime.fromtimestamp(CREATED + 86_400, UTC),
        evidence=VISA,
    )
    assert server.of(CREATE)[0].members["capture_method"] == "manual"


@pytest.mark.parametrize(
    ("brand", "holds"),
    [
        ("visa", timedelta(days=4, hours=18)),
        ("mastercard", timedelta(days=7)),
        ("unionpay", timedelta(days=4, hours=18)),
    ],
)
async def test_a_manual_payment_always_has_a_day_by_its_brand(
    stripe: Open, brand: str, holds: timedelta
) -> None:
    body = held(latest_charge=charge(payment_method_details={"type": "card", "card": {"brand": brand}}))
    connector, _ = await stripe(authorizing(Answer(body)))
    reply = await connector.send(call(automatic_capture=False), may_send=yes)
    assert isinstance(reply, Approved)
    assert reply.capture_before == datetime.fromtimestamp(CREATED, UTC) + holds


async def test_a_manual_payment_has_a_day_where_its_charge_is_not_shown(stripe: Open) -> None:
    connector, _ = await stripe(authorizing(Answer(held(latest_charge="ch_1"))))
    reply = await connector.send(call(automatic_capture=False), may_send=yes)
    assert isinstance(reply, Approved)
    assert reply.capture_before == datetime.fromtimestamp(CREATED, UTC) + timedelta(days=4, hours=18)


async def test_an_automatic_payment_that_is_only_held_is_not_captured(stripe: Open) -> None:
    connector, _ = await stripe(authorizing(Answer(held(capture_method="automatic"))))
    reply = await connector.send(call(), may_send=yes)
    assert isinstance(reply, Approved)
    assert reply.stage is Stage.AUTHORIZED


async def test_the_amount_is_the_one_that_stripe_proves(stripe: Open) -> None:
    connector, server = await stripe(authorizing(Answer(paid(amount_received=1000))))
    captured = await connector.send(call(), may_send=yes)
    server.play({CONFIRM: Answer(held(amount_capturable=900))})
    authorized = await connector.send(call(automatic_capture=False), may_send=yes)
    assert isinstance(captured, Approved)
    assert isinstance(authorized, Approved)
    assert (captured.amount_minor, authorized.amount_minor) == (1000, 900)


@pytest.mark.parametrize("status", ["processing", "something_new"])
async def test_a_status_that_is_no_outcome_is_pending(stripe: Open, status: str) -> None:
    connector, _ = await stripe(authorizing(Answer(intent(status))))
    reply = await connector.send(call(), may_send=yes)
    assert isinstance(reply, Pending)
    assert reply.connector_reference == INTENT


async def test_a_card_error_about_the_intent_is_a_decline(stripe: Open) -> None:
    connector, _ = await stripe(authorizing(card_error(network_decline_code="51")))
    reply = await connector.send(call(), may_send=yes)
    assert isinstance(reply, Declined)
    assert (reply.code, reply.connector_reference) == (DeclineCode.INSUFFICIENT_FUNDS, INTENT)
    assert (reply.raw, reply.where) == (
        {"code": "card_declined", "decline_code": "insufficient_funds", "network_decline_code": "51"},
        "same",
    )


@pytest.mark.parametrize(
    "answer",
    [
        card_error(intent(id="pi_other")),
        card_error(intent(livemode=True)),
        Answer(error("card_error", code="card_declined"), status=402),
        Answer(error("api_error", payment_intent=intent()), status=402),
    ],
    ids=["another intent", "the other mode", "no intent", "another type"],
)
async def test_a_402_that_is_not_surely_about_the_intent_is_unknown(stripe: Open, answer: Answer) -> None:
    connector, _ = await stripe(authorizing(answer))
    with pytest.raises(OutcomeUnknown):
        await connector.send(call(), may_send=yes)


@pytest.mark.parametrize("code", ["incorrect_number", "invalid_expiry_year", "invalid_cvc"])
async def test_a_card_that_stripe_does_not_take_is_declined_before_the_money_call(
    stripe: Open, code: str
) -> None:
    refused = Answer(error("card_error", code=code, param="number"), status=402)
    connector, server = await stripe(authorizing(Answer(paid())) | {METHODS: refused})
    assert isinstance(await connector.send(call(), may_send=yes), Declined)
    assert not server.of(CONFIRM)


async def test_who_must_authenticate_is_declined_once_the_intent_is_cancelled(stripe: Open) -> None:
    closed = intent("canceled", cancellation_reason="abandoned")
    connector, server = await stripe(
        authorizing(Answer(intent("requires_action")), **{CANCEL: Answer(closed)})
    )
    reply = await connector.send(call(), may_send=yes)
    assert reply == Declined(DeclineCode.AUTHENTICATION_REQUIRED, connector_reference=INTENT)
    assert server.of(CANCEL)[0].members["cancellation_reason"] == "abandoned"


@pytest.mark.parametrize(
    "cancelled",
    [UNKNOWN_HTML, Answer(intent("requires_action")), invalid("payment_intent_unexpected_state")],
    ids=["garbage", "still open", "refused"],
)
async def test_who_must_authenticate_is_pending_while_the_intent_may_be_open(
    stripe: Open, cancelled: Answer
) -> None:
    connector, _ = await stripe(authorizing(Answer(intent("requires_action")), **{CANCEL: cancelled}))
    reply = await connector.send(call(), may_send=yes)
    assert reply == Pending(INTENT, reason="requires_action")


@pytest.mark.parametrize(
    "confirmed",
    [
        UNKNOWN_HTML,
        Answer(error("api_error"), status=500),
        Answer(error("api_error"), status=424),
        Answer(paid(), status=302, headers={"Location": "https://elsewhere.example"}),
        Answer(raw=b"<html>"),
        Answer(error("api_error")),
        Answer([paid()]),
        Answer(silent=True),
        Answer(raw=b'{"id": "' + b"x" * 100_000 + b'"}'),
        Answer(paid(id="pi_other")),
        Answer(paid(currency="usd")),
        Answer(paid(livemode=True)),
        Answer(paid(amount_received="1099")),
        Answer(paid(object="charge")),
        Answer(paid(amount_received=0)),
        Answer(held(amount_capturable=0)),
        invalid("payment_intent_unexpected_state", payment_intent=paid()),
        invalid("parameter_unknown", param="x"),
        invalid("amount_too_small", payment_intent=intent("processing", latest_charge="ch_1")),
        invalid("amount_too_small", payment_intent=intent(id="pi_other")),
        Answer(error("idempotency_error"), status=400),
        Answer(error("invalid_request_error", code="idempotency_key_in_use"), status=409),
        Answer(error("invalid_request_error", code="lock_timeout"), status=429),
        Answer(error("invalid_request_error", code="resource_missing"), status=404),
        Answer(raw=b"slow down", status=429),
    ],
)
async def test_whatever_else_is_said_after_the_first_byte_is_unknown_and_names_the_intent(
    stripe: Open, confirmed: Answer
) -> None:
    connector, _ = await stripe(authorizing(confirmed))
    with pytest.raises(OutcomeUnknown) as raised:
        await connector.send(call(), may_send=yes)
    assert raised.value.connector_reference == INTENT


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (Answer(error("invalid_request_error"), status=401), Rejected),
        (Answer(error("invalid_request_error", code="secret_key_required"), status=403), Rejected),
        (Answer(error("invalid_request_error", code="rate_limit"), status=429), RateLimited),
    ],
)
@pytest.mark.parametrize("place", [CREATE, METHODS, CONFIRM])
async def test_what_stripe_documents_as_not_processed_is_just_that(
    stripe: Open, answer: Answer, raised: type[ConnectorError], place: str
) -> None:
    connector, _ = await stripe(authorizing(Answer(paid())) | {place: answer})
    with pytest.raises(raised):
        await connector.send(call(), may_send=yes)


async def test_how_long_to_wait_is_as_stripe_says(stripe: Open) -> None:
    limited = Answer(error("invalid_request_error"), status=429, headers={"Retry-After": "7"})
    connector, _ = await stripe(authorizing(limited))
    with pytest.raises(RateLimited) as raised:
        await connector.send(call(), may_send=yes)
    assert raised.value.retry_after_s == 7


@pytest.mark.parametrize(
    "answer",
    [
        UNKNOWN_HTML,
        Answer(silent=True),
        Answer(raw=b"{}"),
        Answer(error("idempotency_error"), status=400),
        Answer(error("invalid_request_error", code="idempotency_key_in_use"), status=409),
        Answer(error("invalid_request_error", code="lock_timeout"), status=429),
        Answer(intent(currency="usd")),
        Answer(intent(livemode=True)),
        Answer(intent(metadata={"payonce_reference": "pay_other-1"})),
    ],
)
async def test_whatever_fails_before_the_money_call_is_not_sent(stripe: Open, answer: Answer) -> None:
    connector, server = await stripe(authorizing(Answer(paid())) | {CREATE: answer})
    with pytest.raises(NotSent):
        await connector.send(call(), may_send=yes)
    assert not server.of(CONFIRM)


async def test_a_card_of_the_other_mode_is_not_sent(stripe: Open) -> None:
    connector, server = await stripe(authorizing(Answer(paid())) | {METHODS: Answer(method(livemode=True))})
    with pytest.raises(NotSent):
        await connector.send(call(), may_send=yes)
    assert not server.of(CONFIRM)


@pytest.mark.parametrize(
    ("script", "code", "pointer"),
    [
        ({CREATE: invalid("amount_too_small")}, "amount_too_small", "/amount"),
        ({CREATE: invalid(None, param="description")}, "invalid_request_error", "/description"),
        ({CREATE: invalid("parameter_unknown", param="colour")}, "parameter_unknown", None),
        (
            {METHODS: invalid("parameter_invalid_empty", param="billing_details[address][country]")},
            "parameter_invalid_empty",
            "/billing/address/country",
        ),
        ({CONFIRM: invalid("amount_too_small", payment_intent=intent())}, "amount_too_small", "/amount"),
        ({METHODS: invalid("email_invalid")}, "email_invalid", "/customer/email"),
    ],
)
async def test_data_that_stripe_never_takes_is_refused(
    stripe: Open, script: Script, code: str, pointer: str | None
) -> None:
    connector, _ = await stripe(authorizing(Answer(paid())) | script)
    assert await connector.send(call(), may_send=yes) == Refused(code, pointer)


async def test_whom_bill_and_parcel_are_for_goes_where_nothing_is_repeated(stripe: Open) -> None:
    connector, server = await stripe(authorizing(Answer(paid())))
    address = Address(line1="Hauptstr. 1", city="Köln", postal_code="50667", country="DE")
    asked = call(
        description="Order 17",
        statement_descriptor="SHOP 17",
        customer=Customer(name="A. Person", email="a@person.example", phone="+49 1"),
        billing=Party(address=address),
        shipping=Party(name="B. Person", address=address),
    )
    await connector.send(asked, may_send=yes)
    (made,), (entered,), (confirmed,) = server.of(CREATE), server.of(METHODS), server.of(CONFIRM)
    assert made.members["description"] == "Order 17"
    assert made.members["statement_descriptor_suffix"] == "SHOP 17"
    assert not any("shipping" in name or "billing" in name for name in made.members)
    assert {name: value for name, value in entered.members.items() if "billing" in name} == {
        "billing_details[name]": "A. Person",
        "billing_details[email]": "a@person.example",
        "billing_details[phone]": "+49 1",
        "billing_details[address][line1]": "Hauptstr. 1",
        "billing_details[address][city]": "Köln",
        "billing_details[address][postal_code]": "50667",
        "billing_details[address][country]": "DE",
    }
    assert confirmed.members["shipping[name]"] == "B. Person"
    assert confirmed.members["shipping[address][line1]"] == "Hauptstr. 1"


async def test_a_parcel_for_nobody_is_not_sent(stripe: Open) -> None:
    connector, server = await stripe(authorizing(Answer(paid())))
    parcel = Party(address=Address(line1="Hauptstr. 1", country="DE"))
    await connector.send(call(shipping=parcel), may_send=yes)
    assert not any("shipping" in name for name in server.of(CONFIRM)[0].members)


async def test_an_intent_that_was_cancelled_before_charges_nothing(stripe: Open) -> None:
    closed = intent("canceled", cancellation_reason="duplicate")
    connector, _ = await stripe(
        authorizing(invalid("payment_intent_unexpected_state", payment_intent=closed))
    )
    assert await connector.send(call(), may_send=yes) == Pending(INTENT, reason="reversed")


async def test_an_amount_that_is_not_exact_there_is_not_sent(stripe: Open) -> None:
    connector, server = await stripe({})
    assert await connector.send(call(amount_minor=1001, currency="KWD"), may_send=yes) == Refused(
        "amount_not_exact", "/amount"
    )
    assert not server.sent


@pytest.mark.parametrize("option", [{}, {"copy_metadata": "on"}])
async def test_the_merchants_metadata_are_copied_where_the_account_says_so(
    stripe: Open, option: dict[str, str]
) -> None:
    connector, server = await stripe(authorizing(Answer(paid())), **option)
    theirs = {"order": "17", "payonce_reference": "stolen", "bad[name]": "x", "long": "y" * 501}
    await connector.send(call(metadata=theirs), may_send=yes)
    members = server.of(CREATE)[0].members
    assert members.get("metadata[order]") == ("17" if option else None)
    assert members["metadata[payonce_reference]"] == REFERENCE
    assert not any("bad" in name or "long" in name for name in members)


async def test_no_card_and_no_secret_shows(
    stripe: Open, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    quoted = {"message": CARD.number, "code": CARD.number}
    seen: list[Any] = []
    for answer in (
        card_error(**quoted),
        Answer(error("api_error", **quoted), status=500),
        Answer(error("invalid_request_error", **quoted, param=CARD.number), status=400),
        Answer(error("invalid_request_error", **quoted), status=401),
    ):
        connector, _ = await stripe(authorizing(answer))
        try:
            seen.append(await connector.send(call(), may_send=yes))
        except ConnectorError as raised:
            seen.append((raised, vars(raised), raised.__cause__, raised.__context__))
        seen += [connector, connector.capabilities, call()]
    written = capfd.readouterr()
    text = "\n".join([repr(seen), caplog.text, written.out, written.err])
    assert CARD.number not in text
    assert KEY not in text
    assert "whsec" not in text
    assert replace(CARD).cvc is not None
    assert f"'{CARD.cvc}'" not in text


async def test_what_stripe_says_beside_its_yes_is_evidence(stripe: Open) -> None:
    card = {
        "brand": "visa",
        "network": "mastercard",
        "network_transaction_id": "123456789012345",
        "authorization_code": "A1B2C3",
        "country": "DE",
        "funding": "credit",
        "checks": {"cvc_check": "pass", "address_line1_check": "fail", "address_postal_code_check": None},
    }
    body = paid(latest_charge=charge(captured=True, payment_method_details={"type": "card", "card": card}))
    connector, _ = await stripe(authorizing(Answer(body)))
    reply = await connector.send(call(), may_send=yes)
    assert isinstance(reply, Approved)
    assert reply.evidence == Evidence(
        scheme="mastercard",
        network_transaction_id="123456789012345",
        network_transaction_amount_minor=1099,
        network_transaction_date=datetime.fromtimestamp(CREATED, UTC).date(),
        authorization_code="A1B2C3",
        avs_result="line1=fail",
        cvc_result="pass",
        issuer_country="DE",
        funding="credit",
    )

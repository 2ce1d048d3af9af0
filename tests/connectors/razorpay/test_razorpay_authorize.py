"""An authorization at Razorpay: what is sent, what each answer means, and what is unknown."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from razorpay_script import (
    BANK,
    CREATE,
    CREATE_UPI,
    GET,
    KEY,
    LINK,
    LIST_ORDERS,
    LOST,
    NOW,
    ORDER,
    ORDERS,
    PAGE,
    PAYMENT,
    PAYMENT_ID,
    REFERENCE,
    Open,
    call,
    failed,
    listed,
    made,
    order,
    paying,
    payment,
    problem,
    redirected,
    upi,
    wallet,
)

from payonce.connectors.base import Call
from payonce.connectors.conformance import Holding, no, yes
from payonce.domain.errors import ConnectorError, NotSent, OutcomeUnknown, RateLimited, Rejected
from payonce.domain.facts import (
    ActionRequired,
    Approved,
    DeclineCode,
    Declined,
    Pending,
    Refused,
    Stage,
)
from payonce.domain.personal import Customer
from tests.connectors.scripted import Answer

UNTIL = NOW + timedelta(minutes=15)


async def test_a_cardholder_is_sent_to_their_bank(razorpay: Open) -> None:
    connector, server = await razorpay(paying(Answer(redirected())))
    reply = await connector.send(call(), may_send=yes)
    action = {"type": "redirect", "url": PAGE, "sandbox_url": PAGE}
    assert reply == ActionRequired(PAYMENT_ID, action, UNTIL)
    assert server.names == [ORDERS, CREATE]


async def test_the_order_says_everything_itself(razorpay: Open) -> None:
    connector, server = await razorpay(paying(Answer(redirected())))
    await connector.send(call(), may_send=yes)
    await connector.send(call(automatic_capture=False), may_send=yes)
    automatic, manual = (sent.body for sent in server.of(ORDERS))
    options = {"automatic_expiry_period": 12, "manual_expiry_period": 3 * 24 * 60, "refund_speed": "normal"}
    assert automatic == {
        "amount": 1099,
        "currency": "INR",
        "receipt": PAYMENT,
        "unique_receipt": True,
        "payment": {"capture": "automatic", "capture_options": options},
        "notes": {"payonce_payment": PAYMENT},
    }
    del options["automatic_expiry_period"]
    assert manual["payment"] == {"capture": "manual", "capture_options": options}


async def test_a_card_goes_with_its_holder_and_their_browser(razorpay: Open) -> None:
    connector, server = await razorpay(paying(Answer(redirected())), website="https://shop.example/")
    await connector.send(call(), may_send=yes)
    (sent,) = server.of(CREATE)
    assert sent.body == {
        "amount": 1099,
        "currency": "INR",
        "order_id": ORDER,
        "email": "asha@example.com",
        "contact": "+919000090000",
        "method": "card",
        "card": {
            "number": "4386289407660153",
            "name": "Asha Rao",
            "expiry_month": "11",
            "expiry_year": "30",
            "cvv": "100",
        },
        "authentication": {"authentication_channel": "browser"},
        "browser": {
            "java_enabled": False,
            "javascript_enabled": True,
            "timezone_offset": -330,
            "color_depth": 24,
            "screen_width": 1080,
            "screen_height": 2400,
            "language": "en-IN-x-",
        },
        "callback_url": "https://pay.example/v1/returns/token",
        "ip": "105.106.107.108",
        "user_agent": "Mozilla/5.0",
        "referer": "https://shop.example/",
        "description": PAYMENT,
        "notes": {"payonce_reference": REFERENCE, "payonce_payment": PAYMENT},
    }
    assert KEY not in str(sent.headers)
    assert {each.headers["authorization"][:6] for each in server.sent} == {"Basic "}


async def test_a_upi_app_is_given_the_link_as_it_is(razorpay: Open) -> None:
    connector, server = await razorpay(paying(Answer(made(link=LINK)), by=CREATE_UPI))
    intent = await connector.send(upi("intent"), may_send=yes)
    code = await connector.send(upi("qr"), may_send=yes)
    assert intent == ActionRequired(PAYMENT_ID, {"type": "upi_intent", "url": LINK}, UNTIL)
    image_url = "https://pay.example/v1/payments/pay_01jtest/qr"
    assert code == ActionRequired(PAYMENT_ID, {"type": "upi_qr", "url": LINK, "image_url": image_url}, UNTIL)
    for sent in server.of(CREATE_UPI):
        assert (sent.body["method"], sent.body["upi"]) == ("upi", {"flow": "intent"})
        assert sent.body["order_id"] == ORDER


async def test_a_upi_address_receives_the_request(razorpay: Open) -> None:
    connector, server = await razorpay(paying(Answer(made()), by=CREATE_UPI))
    reply = await connector.send(upi("collect"), may_send=yes)
    assert reply == ActionRequired(PAYMENT_ID, {"type": "upi_collect", "vpa": "asha@okbank"}, UNTIL)
    (sent,) = server.of(CREATE_UPI)
    assert sent.body["upi"] == {"flow": "collect", "vpa": "asha@okbank", "expiry_time": 15}


async def test_a_wallet_has_a_page_of_its_own(razorpay: Open) -> None:
    connector, server = await razorpay(paying(Answer(redirected())))
    reply = await connector.send(wallet("phonepe"), may_send=yes)
    assert isinstance(reply, ActionRequired)
    assert reply.action["url"] == PAGE
    (sent,) = server.of(CREATE)
    assert (sent.body["method"], sent.body["wallet"]) == ("wallet", "phonepe")
    assert "browser" not in sent.body


async def test_in_live_mode_nobody_is_sent_to_a_page_without_encryption(razorpay: Open) -> None:
    answer = Answer(made({"action": "redirect", "url": "http://bank.example/page"}))
    connector, _ = await razorpay(paying(answer), mode="live")
    assert await connector.send(call(), may_send=yes) == Pending(
        PAYMENT_ID, reason="an action that is not passed on"
    )


async def test_an_answer_that_says_nothing_is_asked_about_at_once(razorpay: Open) -> None:
    """A payment without a challenge: the answer to the money call does not say what became of it."""
    script = paying(Answer(made())) | {GET: Answer(payment())}
    connector, server = await razorpay(script)
    reply = await connector.send(call(), may_send=yes)
    assert isinstance(reply, Approved)
    assert (reply.connector_reference, reply.stage) == (PAYMENT_ID, Stage.CAPTURED)
    assert server.names[-1] == GET


@pytest.mark.parametrize(
    "another",
    [
        {"order_id": "order_Another"},
        {"order_id": None},
        {"notes": {"payonce_reference": "pay_other-1"}},
        {"notes": []},
    ],
)
async def test_the_payment_of_another_order_or_attempt_is_not_this_one(
    razorpay: Open, another: dict[str, Any]
) -> None:
    connector, _ = await razorpay(paying(Answer(made())) | {GET: Answer(payment(**another))})
    with pytest.raises(OutcomeUnknown) as raised:
        await connector.send(call(), may_send=yes)
    assert raised.value.connector_reference == PAYMENT_ID


@pytest.mark.parametrize("lost", LOST)
async def test_an_answer_that_says_nothing_and_cannot_be_asked_about_is_unknown(
    razorpay: Open, lost: str
) -> None:
    connector, _ = await razorpay(paying(Answer(made())) | {GET: LOST[lost]})
    with pytest.raises(OutcomeUnknown) as raised:
        await connector.send(call(), may_send=yes)
    assert raised.value.connector_reference == PAYMENT_ID


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("asked", [call(), upi("intent"), wallet()], ids=["card", "upi", "wallet"])
async def test_a_payment_without_an_answer_is_unknown_and_its_order_is_named(
    razorpay: Open, lost: str, asked: Call
) -> None:
    by = CREATE_UPI if asked.payment_method["type"] == "upi" else CREATE
    connector, server = await razorpay(paying(LOST[lost], by=by))
    with pytest.raises(OutcomeUnknown) as raised:
        await connector.send(asked, may_send=yes)
    assert raised.value.connector_reference == ORDER
    assert len(server.of(by)) == 1


@pytest.mark.parametrize("lost", LOST)
async def test_an_order_without_an_answer_is_not_sent(razorpay: Open, lost: str) -> None:
    connector, server = await razorpay(paying(Answer(redirected())) | {ORDERS: LOST[lost]})
    with pytest.raises(NotSent):
        await connector.send(call(), may_send=yes)
    assert server.names == [ORDERS]


@pytest.mark.parametrize(
    "another",
    [{"receipt": "pay_01jother"}, {"amount": 109900}, {"currency": "USD"}, {"amount_paid": 1099}],
)
async def test_another_payments_order_is_never_paid(razorpay: Open, another: dict[str, Any]) -> None:
    connector, server = await razorpay(paying(Answer(redirected())) | {ORDERS: Answer(order(**another))})
    with pytest.raises(NotSent):
        await connector.send(call(), may_send=yes)
    assert server.names == [ORDERS]


async def test_an_order_that_is_there_already_is_used_again(razorpay: Open) -> None:
    """An account that refuses a second order of one receipt, where others answer the first."""
    known = problem("input_validation_failed", description="Order receipt should be unique.")
    script = paying(Answer(redirected())) | {
        ORDERS: known,
        LIST_ORDERS: Answer(listed(order(id="order_Another", receipt=f"{PAYMENT}-and-more"), order())),
    }
    connector, server = await razorpay(script)
    assert isinstance(await connector.send(call(), may_send=yes), ActionRequired)
    assert server.names == [ORDERS, LIST_ORDERS, CREATE]
    assert server.of(LIST_ORDERS)[0].asked["receipt"] == PAYMENT
    assert server.of(CREATE)[0].body["order_id"] == ORDER


async def test_the_right_is_used_by_the_payment_alone(razorpay: Open) -> None:
    connector, _ = await razorpay(paying(Answer(redirected())))
    rights = [True]
    await connector.send(call(), may_send=Holding(asked=rights))
    assert not rights


async def test_without_the_right_nothing_is_sent(razorpay: Open) -> None:
    connector, server = await razorpay(paying(Answer(redirected())))
    with pytest.raises(NotSent):
        await connector.send(call(), may_send=no)
    assert not server.sent


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_that_is_refused_is_for_a_person(razorpay: Open, status: int) -> None:
    refused = problem("NA", status=status, source="NA", step="NA")
    for script in (
        paying(Answer(redirected())) | {ORDERS: refused},
        paying(refused),
    ):
        connector, _ = await razorpay(script)
        with pytest.raises(Rejected):
            await connector.send(call(), may_send=yes)


async def test_a_wrong_key_may_be_answered_with_400(razorpay: Open) -> None:
    wrong = problem("NA", source="NA", step="NA", description="The api key provided is invalid")
    connector, _ = await razorpay(paying(Answer(redirected())) | {ORDERS: wrong})
    with pytest.raises(Rejected):
        await connector.send(call(), may_send=yes)


async def test_too_many_requests_were_not_processed(razorpay: Open) -> None:
    busy = problem(None, status=429)
    for script in (paying(Answer(redirected())) | {ORDERS: busy}, paying(busy)):
        connector, _ = await razorpay(script)
        with pytest.raises(RateLimited):
            await connector.send(call(), may_send=yes)


@pytest.mark.parametrize(
    ("field", "pointer"),
    [
        ("contact", "/customer/phone"),
        ("card[number]", "/payment_method/card/number"),
        ("card.expiry_month", "/payment_method/card/exp_month"),
        ("order_id", None),
        (None, None),
    ],
)
async def test_data_that_is_refused_names_the_member(
    razorpay: Open, field: str | None, pointer: str | None
) -> None:
    for name in (ORDERS, CREATE):
        refused = problem("input_validation_failed", field=field)
        connector, _ = await razorpay(paying(Answer(redirected())) | {name: refused})
        reply = await connector.send(call(), may_send=yes)
        assert reply == Refused("input_validation_failed", pointer)


async def test_a_payment_that_was_made_and_declined_is_a_decline(razorpay: Open) -> None:
    about = {"payment_id": PAYMENT_ID, "order_id": ORDER}
    said = {"source": "customer", "step": "payment_authorization", "metadata": about}
    connector, _ = await razorpay(paying(problem("insufficient_funds", **said)))
    reply = await connector.send(call(), may_send=yes)
    assert isinstance(reply, Declined)
    assert (reply.code, reply.connector_reference) == (DeclineCode.INSUFFICIENT_FUNDS, PAYMENT_ID)
    assert reply.raw["reason"] == "insufficient_funds"


async def test_a_upi_payment_that_was_made_may_be_tried_again_in_its_app(razorpay: Open) -> None:
    about = {"payment_id": PAYMENT_ID, "order_id": ORDER}
    said = {"source": "issuer_bank", "step": "payment_debit_response", "metadata": about}
    connector, server = await razorpay(paying(problem("insufficient_funds", **said), by=CREATE_UPI))
    assert await connector.send(upi("collect"), may_send=yes) == Pending(
        PAYMENT_ID, reason="insufficient_funds"
    )
    server.play({CREATE_UPI: problem("invalid_vpa", metadata=about)})
    assert isinstance(await connector.send(upi("collect"), may_send=yes), Declined)


@pytest.mark.parametrize("reason", ["gateway_technical_error", "payment_timed_out", "never_heard_of"])
async def test_a_payment_that_was_made_and_failed_of_itself_is_asked_about(
    razorpay: Open, reason: str
) -> None:
    about = {"payment_id": PAYMENT_ID, "order_id": ORDER}
    connector, _ = await razorpay(paying(problem(reason, source="gateway", metadata=about)))
    assert await connector.send(call(), may_send=yes) == Pending(PAYMENT_ID, reason=reason)


@pytest.mark.parametrize(
    "answer",
    [
        problem("never_heard_of"),
        problem("input_validation_failed", step="payment_authorization"),
        problem("input_validation_failed", source="gateway"),
        problem("input_validation_failed", code="GATEWAY_ERROR"),
        problem("insufficient_funds", metadata={"payment_id": PAYMENT_ID, "order_id": "order_Another"}),
        problem("NA", source="NA", step="NA", description="The order is already paid."),
        problem("input_validation_failed", status=404),
        problem("input_validation_failed", status=409),
    ],
)
async def test_an_error_that_is_not_documented_as_not_processed_is_unknown(
    razorpay: Open, answer: Answer
) -> None:
    connector, _ = await razorpay(paying(answer))
    with pytest.raises(OutcomeUnknown) as raised:
        await connector.send(call(), may_send=yes)
    assert raised.value.connector_reference == ORDER


async def test_what_razorpay_has_not_is_not_sent(razorpay: Open) -> None:
    connector, server = await razorpay(paying(Answer(redirected())), currencies="INR,KWD")
    for wrong in (
        call(amount_minor=99),
        call(currency="USD"),
        call(currency="KWD", amount_minor=1001),
    ):
        assert await connector.send(wrong, may_send=yes) == Refused("amount_not_exact", "/amount")
    long = replace(call(), customer=Customer(email=f"{'a' * 40}@example.com"))
    assert await connector.send(long, may_send=yes) == Refused("too_long", "/customer/email")
    for abroad in (upi("qr", currency="KWD", amount_minor=1000), wallet(currency="KWD", amount_minor=1000)):
        assert await connector.send(abroad, may_send=yes) == Refused("currency_not_supported", "/currency")
    assert not server.sent


async def test_an_authorization_without_its_card_is_rejected(razorpay: Open) -> None:
    connector, _ = await razorpay(paying(Answer(redirected())))
    with pytest.raises(Rejected):
        await connector.send(call(card=None), may_send=yes)


async def test_a_card_shows_in_no_error(razorpay: Open, caplog: pytest.LogCaptureFixture) -> None:
    number, name = "4386289407660153", "Asha Rao"
    for answer in (
        *LOST.values(),
        problem("input_validation_failed", description=number, field=number),
        problem(number, metadata={"payment_id": PAYMENT_ID}),
        Answer(failed(number, **BANK)),
    ):
        connector, _ = await razorpay(paying(answer))
        try:
            said = repr(await connector.send(call(), may_send=yes))
        except ConnectorError as error:
            said = f"{error!r} {error.message} {error.__cause__!r} {error.__context__!r}"
        assert number not in said
        assert name not in said
    assert number not in caplog.text

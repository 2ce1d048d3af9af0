"""What became of an attempt at Stripe: inquiries, and how an attempt is found and undone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from stripe_script import (
    BY_ID,
    CANCEL,
    CREATE,
    CREATED,
    GET,
    INTENT,
    LIST_REFUNDS,
    REFERENCE,
    VISA,
    Open,
    authorizing,
    call,
    charge,
    error,
    held,
    intent,
    listed,
    paid,
    refund,
    with_refunds,
)

from activities.earlier import _of_earlier
from payonce.connectors.conformance import yes
from payonce.connectors.stripe.desk import PAGES_MAX
from payonce.domain.errors import OutcomeUnknown, RateLimited
from payonce.domain.evidence import Evidence
from payonce.domain.facts import (
    Approved,
    DeclineCode,
    Declined,
    Foreign,
    Inquiry,
    NotKnown,
    Pending,
    Reversed,
    Stage,
    Undone,
)
from payonce.domain.operations import OperationKind
from tests.connectors.scripted import Answer, Sent

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
LIST = "GET /v1/payment_intents"
DECLINED = {"type": "card_error", "code": "card_declined", "decline_code": "lost_card"}
CAPTURED = Approved(INTENT, 1099, "EUR", stage=Stage.CAPTURED, evidence=VISA)
RAW = {"code": "card_declined", "decline_code": "lost_card"}


def claimed(ago: timedelta) -> dict[str, Any]:
    return {"claimed_at": NOW - ago}


@pytest.mark.parametrize(
    ("found", "fact"),
    [
        (paid(), CAPTURED),
        (intent(), NotKnown()),
        (intent("requires_confirmation"), NotKnown()),
        (intent("processing"), Pending(INTENT, reason="processing")),
        (intent("something_new"), Pending(INTENT, reason="unmapped status")),
        (
            intent(last_payment_error=DECLINED),
            Declined(DeclineCode.LOST_CARD, INTENT, raw=RAW, where="never"),
        ),
        (
            intent(latest_charge=charge(status="failed", failure_code="expired_card")),
            Declined(DeclineCode.EXPIRED_CARD, INTENT, raw={"code": "expired_card"}, where="never"),
        ),
        (intent(latest_charge="ch_1"), Pending(INTENT, reason="no failure told")),
        (intent("canceled", cancellation_reason="duplicate"), Reversed()),
        (intent("canceled", cancellation_reason=None), Reversed()),
        (
            intent("canceled", cancellation_reason="abandoned"),
            Declined(DeclineCode.AUTHENTICATION_REQUIRED, INTENT),
        ),
        (
            intent("canceled", cancellation_reason="duplicate", latest_charge=charge(amount_refunded=1099)),
            Reversed(),
        ),
        (
            intent("canceled", last_payment_error=DECLINED, cancellation_reason="automatic"),
            Declined(DeclineCode.LOST_CARD, INTENT, raw=RAW, where="never"),
        ),
    ],
)
async def test_an_intent_says_what_became_of_the_authorization(
    stripe: Open, found: dict[str, Any], fact: Inquiry
) -> None:
    connector, server = await stripe({GET: Answer(found)})
    assert await connector.inquire(call(**BY_ID)) == fact
    assert [sent.name for sent in server.sent] == [GET]
    assert dict(server.sent[0].query) == {"expand[]": "latest_charge"}


@pytest.mark.parametrize(
    ("outcome", "fact"),
    [
        ({"type": "issuer_declined", "reason": "lost_card"}, (DeclineCode.LOST_CARD, "never")),
        (
            {"type": "issuer_declined", "reason": "do_not_honor", "network_decline_code": "05"},
            (DeclineCode.DO_NOT_HONOR, "other"),
        ),
        (
            {"type": "issuer_declined", "reason": "do_not_honor", "advice_code": "do_not_try_again"},
            (DeclineCode.DO_NOT_HONOR, "never"),
        ),
        (
            {"type": "issuer_declined", "reason": "do_not_honor", "network_advice_code": "03"},
            (DeclineCode.DO_NOT_HONOR, "never"),
        ),
        (
            {"type": "blocked", "reason": "highest_risk_level", "advice_code": "do_not_try_again"},
            (DeclineCode.GENERIC_DECLINE, "same"),
        ),
        (
            {
                "type": "blocked",
                "reason": "previously_declined_do_not_retry",
                "advice_code": "do_not_try_again",
            },
            (DeclineCode.GENERIC_DECLINE, "never"),
        ),
    ],
)
async def test_a_failed_charge_says_what_its_outcome_says(
    stripe: Open, outcome: dict[str, Any], fact: tuple[DeclineCode, str]
) -> None:
    failed = charge(status="failed", failure_code="card_declined", outcome=outcome)
    connector, _ = await stripe({GET: Answer(intent(latest_charge=failed))})
    found = await connector.inquire(call(**BY_ID))
    assert isinstance(found, Declined)
    assert (found.code, found.where) == fact


async def test_a_decline_says_where_the_card_was_issued(stripe: Open) -> None:
    """Where that is India, no vault may keep it."""
    card = {"type": "card", "card": {"brand": "visa", "country": "IN"}}
    failed = charge(status="failed", failure_code="card_declined", payment_method_details=card)
    connector, _ = await stripe({GET: Answer(intent(latest_charge=failed))})
    found = await connector.inquire(call(**BY_ID))
    assert isinstance(found, Declined)
    assert found.evidence == Evidence(issuer_country="IN")


async def test_what_stripe_blocked_itself_bars_the_card_nowhere_else(stripe: Open) -> None:
    advised = {
        "type": "card_error",
        "code": "card_declined",
        "decline_code": "generic_decline",
        "advice_code": "do_not_try_again",
    }
    blocked = charge(status="failed", outcome={"type": "blocked", "reason": "rule"})
    body = intent(last_payment_error=advised, latest_charge=blocked)
    connector, server = await stripe({GET: Answer(body)})
    found = await connector.inquire(call(**BY_ID))
    assert isinstance(found, Declined)
    assert (found.code, found.where) == (DeclineCode.GENERIC_DECLINE, "other")
    server.play(authorizing(Answer({"error": {**advised, "payment_intent": body}}, status=402)))
    assert await connector.send(call(), may_send=yes) == found


@pytest.mark.parametrize("body", [paid(), held(capture_method="automatic")])
async def test_an_inquiry_says_the_same_as_the_answer_did(stripe: Open, body: dict[str, Any]) -> None:
    connector, _ = await stripe(authorizing(Answer(body), **{GET: Answer(body)}))
    reply = await connector.send(call(), may_send=yes)
    found = await connector.inquire(call(**BY_ID))
    assert found == reply
    assert isinstance(found, Approved)
    assert found.stage is (Stage.CAPTURED if body["status"] == "succeeded" else Stage.AUTHORIZED)


async def test_a_manual_authorization_stays_authorized_after_our_capture(stripe: Open) -> None:
    marks = {"payonce_reference": REFERENCE, "payonce_capture_0123": "500"}
    taken = charge(captured=True, amount_captured=500)
    body = intent(
        "succeeded", capture_method="manual", amount_received=500, latest_charge=taken, metadata=marks
    )
    connector, _ = await stripe({GET: Answer(body)})
    found = await connector.inquire(call(automatic_capture=False, **BY_ID))
    assert isinstance(found, Approved)
    assert (found.stage, found.amount_minor, found.since) == (Stage.AUTHORIZED, 1099, ())


async def test_what_the_dashboard_captured_is_foreign(stripe: Open) -> None:
    taken = charge(captured=True, amount_captured=500)
    body = intent("succeeded", capture_method="manual", amount_received=500, latest_charge=taken)
    connector, _ = await stripe({GET: Answer(body)})
    found = await connector.inquire(call(automatic_capture=False, **BY_ID))
    assert isinstance(found, Approved)
    assert found.since == (Foreign(f"{INTENT}/captured", "capture", 500, "EUR"),)
    assert found.stage is Stage.AUTHORIZED


@pytest.mark.parametrize("reason", ["automatic", "expired", "fraudulent", None])
async def test_what_we_did_not_release_is_a_foreign_void(stripe: Open, reason: str | None) -> None:
    body = intent("canceled", cancellation_reason=reason, latest_charge=charge(amount_refunded=1099))
    connector, _ = await stripe({GET: Answer(body)})
    found = await connector.inquire(call(automatic_capture=False, **BY_ID))
    assert isinstance(found, Approved)
    assert found.since == (Foreign(f"{INTENT}/canceled", "void", 1099, "EUR"),)


async def test_what_our_void_released_is_not_foreign(stripe: Open) -> None:
    body = intent("canceled", cancellation_reason="requested_by_customer", latest_charge=charge())
    connector, _ = await stripe({GET: Answer(body)})
    found = await connector.inquire(call(automatic_capture=False, approved=True, **BY_ID))
    assert isinstance(found, Approved)
    assert found.since == ()


async def test_refunds_of_the_dashboard_are_read_to_the_last_page(stripe: Open) -> None:
    foreign = refund(id="re_foreign", amount=300, metadata={})
    pending = refund("pending", id="re_pending", amount=50, metadata={})
    first, last = listed(pending, refund(), has_more=True), listed(foreign)
    connector, server = await stripe(with_refunds(Answer(first), Answer(last)))
    found = await connector.inquire(call(**BY_ID))
    assert isinstance(found, Approved)
    assert found.since == (Foreign("re_foreign", "refund", 300, "EUR"),)
    one, two = server.of(LIST_REFUNDS)
    assert dict(one.query) == {"payment_intent": INTENT, "limit": "10"}
    assert dict(two.query) == {"payment_intent": INTENT, "limit": "10", "starting_after": "re_3Abc"}


@pytest.mark.parametrize("status", ["failed", "canceled"])
@pytest.mark.parametrize("left", [0, 400], ids=["none stands", "another one stands"])
async def test_a_refund_of_the_dashboard_that_failed_is_taken_back(
    stripe: Open, status: str, left: int
) -> None:
    """The charge does not say any more that anything was refunded of it: the list does."""
    failed = refund(status, id="re_foreign", amount=300, metadata={}, failure_reason="lost_or_stolen_card")
    of = charge(captured=True, amount_captured=1099, amount_refunded=left)
    script = {GET: Answer(intent("succeeded", latest_charge=of)), LIST_REFUNDS: Answer(listed(failed))}
    connector, _ = await stripe(script)
    found = await connector.inquire(call(approved=True, **BY_ID))
    assert isinstance(found, Approved)
    taken_back = Undone(f"re_foreign/{status}", 300, "EUR", "lost_or_stolen_card", refund="re_foreign")
    assert found.since == (taken_back,)


async def test_what_the_dashboard_refunded_of_a_part_that_was_captured_is_read(stripe: Open) -> None:
    """With several captures the intent waits for more of them."""
    body = intent("requires_capture", amount_capturable=699, amount_received=400, latest_charge=charge())
    foreign = refund(id="re_foreign", amount=300, metadata={})
    connector, _ = await stripe({GET: Answer(body), LIST_REFUNDS: Answer(listed(foreign))})
    found = await connector.inquire(call(automatic_capture=False, approved=True, **BY_ID))
    assert isinstance(found, Approved)
    assert found.since == (Foreign("re_foreign", "refund", 300, "EUR"),)


@pytest.mark.parametrize(
    "pages",
    [
        [listed(refund(), has_more=True)],
        [listed(has_more=True)],
        [listed(refund(payment_intent="pi_other"))],
        [listed(refund(currency="usd"))],
    ],
    ids=["for ever the same page", "an empty page", "of another intent", "of another currency"],
)
async def test_a_list_that_cannot_be_right_is_unknown(stripe: Open, pages: list[Any]) -> None:
    connector, _ = await stripe(with_refunds(*map(Answer, pages)))
    with pytest.raises(OutcomeUnknown):
        await connector.inquire(call(**BY_ID))


async def test_without_the_id_the_same_create_finds_it(stripe: Open) -> None:
    connector, server = await stripe(authorizing(Answer(paid()), **{GET: Answer(paid())}), now=lambda: NOW)
    await connector.send(call(), may_send=yes)
    assert await connector.inquire(call(card=None, **claimed(timedelta(hours=19)))) == CAPTURED
    first, again = server.of(CREATE)
    assert (first.form, first.key) == (again.form, again.key)


async def test_an_attempt_that_was_never_sent_is_not_known(stripe: Open) -> None:
    """Nobody confirms what the inquiry itself made."""
    connector, _ = await stripe({CREATE: Answer(intent()), GET: Answer(intent())})
    assert await connector.inquire(call()) == NotKnown()


@pytest.mark.parametrize(
    "lost",
    [
        Answer(error("idempotency_error"), status=400),
        Answer(error("api_error"), status=500),
        Answer(intent(metadata={})),
    ],
)
async def test_where_the_create_says_nothing_the_list_does(stripe: Open, lost: Answer) -> None:
    others = [intent(id=f"pi_other{n}", metadata={}) for n in range(3)]
    connector, server = await stripe(
        {
            CREATE: lost,
            LIST: [Answer(listed(*others, has_more=True)), Answer(listed(paid(latest_charge="ch_1")))],
            GET: Answer(paid()),
        },
        now=lambda: NOW,
    )
    assert await connector.inquire(call(**claimed(timedelta(minutes=1)))) == CAPTURED
    at = int((NOW - timedelta(minutes=1)).timestamp())
    window = {"created[gte]": str(at - 120), "created[lte]": str(at + 120), "limit": "10"}
    assert dict(server.of(LIST)[0].query) == window
    assert dict(server.of(LIST)[1].query) == window | {"starting_after": "pi_other2"}


async def test_after_the_keys_may_be_gone_nothing_is_created_and_nothing_is_proven(stripe: Open) -> None:
    """A weekend of outage: the key of what did charge may be pruned."""
    connector, server = await stripe({LIST: Answer(listed())}, now=lambda: NOW)
    for asked in (connector.inquire, connector.reverse):
        with pytest.raises(OutcomeUnknown):
            await asked(call(**claimed(timedelta(hours=20))))
    assert not server.of(CREATE)


async def test_of_two_with_our_reference_the_one_that_was_tried_counts(stripe: Open) -> None:
    twice = listed(intent(id="pi_empty"), paid(latest_charge="ch_1"))
    connector, _ = await stripe({LIST: Answer(twice), GET: Answer(paid())}, now=lambda: NOW)
    assert await connector.inquire(call(**claimed(timedelta(days=2)))) == CAPTURED


@pytest.mark.parametrize(
    "answer",
    [
        Answer(error("invalid_request_error"), status=401),
        Answer(error("invalid_request_error"), status=403),
        Answer(error("invalid_request_error", code="resource_missing"), status=404),
        Answer(error("api_error"), status=500),
        Answer(error("invalid_request_error", code="lock_timeout"), status=429),
        Answer(paid(id="pi_other")),
        Answer(paid(livemode=True)),
        Answer(paid(currency="usd")),
        Answer(paid(metadata={"payonce_reference": "pay_other-1"})),
    ],
)
async def test_what_is_wrong_with_an_inquiry_is_no_fact(stripe: Open, answer: Answer) -> None:
    connector, _ = await stripe({GET: answer})
    for asked in (connector.inquire, connector.reverse):
        with pytest.raises(OutcomeUnknown):
            await asked(call(**BY_ID))


@pytest.mark.parametrize("asks", ["GET", "CANCEL"])
async def test_a_question_too_many_says_nothing_of_what_was_asked_about(stripe: Open, asks: str) -> None:
    limited = Answer(error("invalid_request_error", code="rate_limit"), status=429)
    script = {GET: limited} if asks == "GET" else {GET: Answer(held()), CANCEL: limited}
    connector, _ = await stripe(script)
    with pytest.raises(RateLimited):
        await connector.reverse(call(**BY_ID))
    if asks == "GET":
        with pytest.raises(RateLimited):
            await connector.inquire(call(**BY_ID))


@pytest.mark.parametrize(
    ("answer", "event"),
    [
        (Answer(error("invalid_request_error"), status=401), "acquirer_credentials_refused"),
        (Answer(error("idempotency_error"), status=400), "acquirer_key_used_otherwise"),
        (Answer(paid(livemode=True)), "acquirer_mode_mismatch"),
    ],
)
async def test_what_a_person_must_look_at_is_an_error_in_the_log(
    stripe: Open, answer: Answer, event: str, capfd: pytest.CaptureFixture[str]
) -> None:
    connector, _ = await stripe({GET: answer})
    with pytest.raises(OutcomeUnknown):
        await connector.inquire(call(**BY_ID))
    assert event in capfd.readouterr().err


async def test_who_must_authenticate_is_closed_by_an_inquiry_too(stripe: Open) -> None:
    closed = intent("canceled", cancellation_reason="abandoned")
    connector, _ = await stripe({GET: Answer(intent("requires_action")), CANCEL: Answer(closed)})
    found = await connector.inquire(call(**BY_ID))
    assert found == Declined(DeclineCode.AUTHENTICATION_REQUIRED, INTENT)


async def test_a_list_without_end_is_left_and_unknown(stripe: Open) -> None:
    def page(sent: Sent) -> Answer:
        after = dict(sent.query).get("starting_after", "re_0")
        following = f"re_{int(after.removeprefix('re_')) + 1}"
        return Answer(listed(refund(id=following), has_more=True))

    connector, server = await stripe(with_refunds() | {LIST_REFUNDS: page})
    with pytest.raises(OutcomeUnknown):
        await connector.inquire(call(**BY_ID))
    assert len(server.of(LIST_REFUNDS)) == PAGES_MAX


async def test_what_is_known_of_an_earlier_attempt_is_only_when_its_operation_began(stripe: Open) -> None:
    """Its key may be gone, although the latest attempt's is good: then all that was made since is read."""
    began = NOW - timedelta(hours=23)
    connector, server = await stripe(
        {LIST: Answer(listed(paid(latest_charge="ch_1"))), GET: Answer(paid())}, now=lambda: NOW
    )
    asked = call(since=began, claimed_at=NOW - timedelta(minutes=1))
    assert await connector.inquire(_of_earlier(replace(asked, reference=f"{REFERENCE[:-1]}2"), 1)) == CAPTURED
    assert server.of(CREATE) == []
    assert dict(server.of(LIST)[0].query) == {
        "created[gte]": str(int(began.timestamp()) - 120),
        "limit": "10",
    }


async def test_what_stripe_reviews_is_paid(stripe: Open) -> None:
    """A review of its fraud rules comes after the issuer's yes, and is the merchant's to close."""
    under_review = charge(captured=True, amount_captured=1099, outcome={"type": "manual_review"})
    connector, _ = await stripe({GET: Answer(paid(latest_charge=under_review))})
    assert await connector.inquire(call(**BY_ID)) == CAPTURED


async def test_a_hold_is_counted_from_its_authorization(stripe: Open) -> None:
    body = held(latest_charge=charge(created=CREATED + 3600))
    connector, _ = await stripe({GET: Answer(body)})
    found = await connector.inquire(call(automatic_capture=False, **BY_ID))
    assert isinstance(found, Approved)
    assert found.capture_before == datetime.fromtimestamp(CREATED + 3600, UTC) + timedelta(days=4, hours=18)


async def test_an_intent_that_its_confirmation_cancelled_is_asked_about_and_has_charged_nothing(
    stripe: Open,
) -> None:
    """Stripe cancels an intent in the call that is one confirmation too many."""
    closed = intent("canceled", cancellation_reason="automatic")
    connector, _ = await stripe(authorizing(Answer(closed), **{GET: Answer(closed)}))
    assert await connector.send(call(), may_send=yes) == Pending(INTENT, reason="reversed")
    assert await connector.inquire(call(**BY_ID)) == Reversed()


async def test_a_key_that_may_not_read_finds_nothing_out(stripe: Open) -> None:
    denied = Answer(error("invalid_request_error"), status=403)
    connector, _ = await stripe({CREATE: denied, LIST: denied, LIST_REFUNDS: denied}, now=lambda: NOW)
    for asked in (call(**claimed(timedelta(days=2))), call(OperationKind.REFUND)):
        with pytest.raises(OutcomeUnknown):
            await connector.inquire(asked)

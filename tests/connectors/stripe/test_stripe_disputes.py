"""What is read of Stripe's disputes, and whose a dispute or an early fraud warning is."""

from datetime import UTC, datetime
from typing import Any

import pytest
from stripe_script import (
    BY_ID,
    CHARGE,
    GET,
    INTENT,
    REFERENCE,
    REFUNDS,
    Open,
    account,
    call,
    charge,
    error,
    intent,
    listed,
)
from test_stripe_callbacks import NOW, event, signed

from payonce.connectors.stripe.connector import Stripe
from payonce.domain.errors import OutcomeUnknown
from payonce.domain.facts import Approved, Disputed, FraudWarned
from tests.connectors.scripted import Answer

DISPUTE, WARNING = "du_1Abc", "issfr_1Abc"
DISPUTES, REFUNDED = "GET /v1/disputes", REFUNDS.replace("POST", "GET")
ONE, OF_WARNING = f"{DISPUTES}/{DISPUTE}", f"GET /v1/radar/early_fraud_warnings/{WARNING}"
DUE_BY = 1_797_000_000
Body = dict[str, Any]


def disputed(**members: Any) -> Body:
    of = charge(captured=True, amount_captured=1099, disputed=True) | members
    return intent("succeeded", latest_charge=of)


def moved(amount: int, currency: str = "eur") -> Body:
    return {
        "id": "txn_1",
        "object": "balance_transaction",
        "amount": amount,
        "currency": currency,
        "fee": 1500,
    }


def dispute(status: str = "needs_response", *moves: Body, **members: Any) -> Body:
    return {
        "id": DISPUTE,
        "object": "dispute",
        "amount": 1099,
        "balance_transactions": list(moves),
        "charge": CHARGE,
        "created": DUE_BY - 1000,
        "currency": "eur",
        "evidence": {"customer_name": "4242424242424242"},
        "evidence_details": {"due_by": DUE_BY, "has_evidence": False},
        "livemode": False,
        "metadata": {"payonce_reference": "somebody-elses"},
        "payment_intent": INTENT,
        "payment_method_details": {"type": "card", "card": {"network_reason_code": "10.4"}},
        "reason": "fraudulent",
        "status": status,
    } | members


@pytest.fixture
def account_reader() -> Stripe:
    return Stripe(account("http://127.0.0.1:1"))


async def told(stripe: Open, *disputes: Body, approved: bool = True, **changes: Any) -> tuple[Disputed, ...]:
    connector, _ = await stripe(
        {GET: Answer(disputed(**changes)), REFUNDED: Answer(listed()), DISPUTES: Answer(listed(*disputes))}
    )
    fact = await connector.inquire(call(approved=approved, **BY_ID))
    assert isinstance(fact, Approved)
    return fact.disputes


async def test_a_dispute_is_read_by_the_intent_and_stands_so_since_it_was_asked_for(stripe: Open) -> None:
    before = datetime.now(UTC)
    (found,) = await told(stripe, dispute("needs_response", moved(-1099)))
    assert before <= found.at <= datetime.now(UTC)
    assert found == Disputed(
        id=DISPUTE,
        stage="chargeback",
        status="needs_response",
        amount_minor=1099,
        currency="EUR",
        withdrawn_minor=1099,
        reason="fraudulent",
        at=found.at,
        network_reason_code="10.4",
        evidence_due_by=datetime.fromtimestamp(DUE_BY, UTC),
    )


async def test_a_charge_that_nobody_disputes_costs_no_request(stripe: Open) -> None:
    connector, server = await stripe({GET: Answer(disputed(disputed=False)), REFUNDED: Answer(listed())})
    fact = await connector.inquire(call(approved=True, **BY_ID))
    assert isinstance(fact, Approved)
    assert fact.disputes == ()
    assert server.of(DISPUTES) == []


@pytest.mark.parametrize(
    ("body", "stage", "status", "withdrawn"),
    [
        (dispute("warning_needs_response"), "inquiry", "needs_response", 0),
        (dispute("warning_under_review"), "inquiry", "under_review", 0),
        (dispute("warning_closed"), "inquiry", "closed", 0),
        (dispute("needs_response"), "chargeback", "needs_response", 1099),  # about to be withdrawn
        (dispute("under_review", moved(-1099)), "chargeback", "under_review", 1099),
        (dispute("won", moved(-1099)), "chargeback", "won", 1099),  # not given back yet
        (dispute("won", moved(-1099), moved(1099)), "chargeback", "won", 0),
        (dispute("lost", moved(-1099)), "chargeback", "lost", 1099),
        (dispute("lost", moved(-1099), moved(400)), "chargeback", "lost", 699),
        (dispute("prevented"), "chargeback", "closed", 0),
        (dispute("something_new", moved(-1099)), "chargeback", "under_review", 1099),
        (dispute("warning_closed", moved(-1099)), "chargeback", "closed", 1099),
    ],
)
async def test_how_it_stands_is_its_status_and_its_money_the_balance(
    stripe: Open, body: Body, stage: str, status: str, withdrawn: int
) -> None:
    (found,) = await told(stripe, body)
    assert (found.stage, found.status, found.withdrawn_minor) == (stage, status, withdrawn)


@pytest.mark.parametrize(
    ("body", "withdrawn"),
    [
        (dispute("needs_response", moved(-1300, "usd")), 1099),
        (dispute("needs_response", moved(-1300, "usd"), moved(650, "usd")), 550),  # at least half
        (dispute("won", moved(-1300, "usd"), moved(1290, "usd")), 9),
        (dispute("needs_response", moved(-1300, "usd"), amount=1300, currency="usd"), 1099),
        (dispute("needs_response", amount=1300, currency="usd"), 1099),
        (dispute("needs_response", moved(-500), amount=600, currency="usd"), 500),
    ],
)
async def test_a_balance_in_another_currency_is_the_same_part_of_the_payment(
    stripe: Open, body: Body, withdrawn: int
) -> None:
    (found,) = await told(stripe, body)
    assert found.withdrawn_minor == withdrawn


async def test_no_answer_is_due_where_the_bank_takes_none(stripe: Open) -> None:
    (found,) = await told(stripe, dispute(evidence_details={"due_by": 0}))
    assert found.evidence_due_by is None


@pytest.mark.parametrize(
    "unreadable",
    [
        {"object": "dispute"},
        dispute(amount=0),
        dispute(currency="EURO"),
        dispute(livemode=True),
        dispute(payment_intent="pi_another"),
        dispute(amount=150, currency="isk", balance_transactions=[]),
    ],
)
async def test_one_that_cannot_be_read_hides_no_other_and_fails_nothing(
    stripe: Open, unreadable: Body
) -> None:
    found = await told(stripe, dispute(id="du_2"), unreadable)
    assert "du_2" in [one.id for one in found]


async def test_several_are_told_oldest_first(stripe: Open) -> None:
    found = await told(stripe, dispute("needs_response", id="du_2"), dispute("lost", moved(-300), id="du_1"))
    assert [one.id for one in found] == ["du_1", "du_2"]


@pytest.mark.parametrize("answer", [Answer(error("api_error"), status=500), Answer(silent=True)])
async def test_a_payment_does_not_wait_for_its_disputes_and_what_is_known_is_asked_again(
    stripe: Open, answer: Answer
) -> None:
    script = {GET: Answer(disputed()), REFUNDED: Answer(listed()), DISPUTES: answer}
    connector, _ = await stripe(script)
    news = await connector.inquire(call(**BY_ID))
    assert isinstance(news, Approved)
    assert news.disputes == ()
    with pytest.raises(OutcomeUnknown):
        await connector.inquire(call(approved=True, **BY_ID))


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_a_key_that_may_not_read_them_hides_them_and_nothing_else(stripe: Open, status: int) -> None:
    refused = Answer(error("invalid_request_error"), status=status)
    connector, _ = await stripe({GET: Answer(disputed()), REFUNDED: Answer(listed()), DISPUTES: refused})
    fact = await connector.inquire(call(approved=True, **BY_ID))
    assert isinstance(fact, Approved)
    assert fact.disputes == ()


@pytest.mark.parametrize(
    ("name", "path"), [(DISPUTE, ONE), (WARNING, OF_WARNING), ("dp_1Abc", f"{DISPUTES}/dp_1Abc")]
)
async def test_whose_it_is_its_intent_says(stripe: Open, name: str, path: str) -> None:
    about = {"id": name, "livemode": False, "payment_intent": intent("succeeded")}
    connector, server = await stripe({path: Answer(about)})
    assert await connector.locate(name) == REFERENCE
    (asked,) = server.of(path)
    assert asked.asked == {"expand[]": "payment_intent"}


@pytest.mark.parametrize(
    "about",
    [
        {"id": DISPUTE, "livemode": False, "payment_intent": None},
        {"id": DISPUTE, "livemode": False, "payment_intent": INTENT},
        {"id": DISPUTE, "livemode": False, "payment_intent": intent(metadata={})},
        {
            "id": DISPUTE,
            "livemode": False,
            "payment_intent": intent(metadata={"payonce_reference": "two words"}),
        },
        {"id": "du_another", "livemode": False, "payment_intent": intent()},
    ],
)
async def test_what_names_no_attempt_of_ours_is_none_of_ours(stripe: Open, about: Body) -> None:
    connector, _ = await stripe({ONE: Answer(about)})
    assert await connector.locate(DISPUTE) is None


@pytest.mark.parametrize("name", [REFERENCE, INTENT, CHARGE, "du_", "du_1/../../x", f"x{DISPUTE}", "evt_1"])
async def test_nothing_else_is_asked_about(stripe: Open, name: str) -> None:
    connector, server = await stripe({})
    assert await connector.locate(name) is None
    assert server.sent == []


async def test_one_that_stripe_does_not_have_is_none_of_ours_and_a_failure_is_asked_again(
    stripe: Open,
) -> None:
    gone, down = Answer(error("invalid_request_error"), status=404), Answer(error("api_error"), status=500)
    connector, _ = await stripe({ONE: [gone, down]})
    assert await connector.locate(DISPUTE) is None
    with pytest.raises(OutcomeUnknown):
        await connector.locate(DISPUTE)


@pytest.mark.parametrize("type_", ["created", "updated", "closed", "funds_withdrawn", "funds_reinstated"])
def test_an_event_about_a_dispute_makes_us_ask_about_that_dispute(account_reader: Stripe, type_: str) -> None:
    body = event(dispute(), type=f"charge.dispute.{type_}")
    told = account_reader.read_callback({"stripe-signature": signed(body)}, body, now=NOW)
    assert (told.reference, told.fact) == (DISPUTE, None)


def test_an_early_fraud_warning_is_a_fact_that_moves_nothing(account_reader: Stripe) -> None:
    about = {"id": WARNING, "object": "radar.early_fraud_warning", "charge": CHARGE, "payment_intent": INTENT}
    body = event(about, type="radar.early_fraud_warning.created")
    told = account_reader.read_callback({"stripe-signature": signed(body)}, body, now=NOW)
    assert (told.reference, told.fact) == (WARNING, FraudWarned(WARNING))
    updated = event(about, type="radar.early_fraud_warning.updated")
    assert account_reader.read_callback({"stripe-signature": signed(updated)}, updated, now=NOW).fact is None

"""What Stripe lists of its own accord: intents of a time, then older ones of which something is told."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from stripe_script import (
    BY_ID,
    CHARGE,
    CREATED,
    GET,
    INTENT,
    LIST_REFUNDS,
    REFERENCE,
    Open,
    call,
    charge,
    intent,
    refund,
)
from stripe_script import listed as objects_of

from payonce.connectors.listing import ChargePage
from payonce.connectors.stripe.connector import Stripe
from payonce.domain.errors import OutcomeUnknown, RateLimited
from payonce.domain.facts import Approved, Foreign, Reversed
from payonce.domain.operations import OperationKind
from payonce.domain.reconciling import Totals
from tests.connectors.scripted import Answer

MADE = datetime.fromtimestamp(CREATED, UTC)
SINCE, UNTIL = MADE - timedelta(hours=1), MADE + timedelta(hours=1)
INTENTS, EVENTS, REFUNDS = "GET /v1/payment_intents", "GET /v1/events", "GET /v1/refunds"
Body = dict[str, Any]


def page(*objects: Body, has_more: bool = False) -> Answer:
    return Answer(objects_of(*objects, has_more=has_more))


def paid(*refunds: Body, more_refunds: bool = False, **members: Any) -> Body:
    of = charge(captured=True, amount_captured=1099, refunds=objects_of(*refunds, has_more=more_refunds))
    return intent("succeeded", latest_charge=of) | members


def told(type: str, about: Body, **members: Any) -> Body:
    own_id = f"evt_{type.replace('.', '_')}"
    return {
        "id": own_id,
        "object": "event",
        "type": type,
        "livemode": False,
        "data": {"object": about},
        **members,
    }


async def listed(connector: Stripe, after: str | None = None, *, since: datetime = SINCE) -> ChargePage:
    return await connector.list_charges(since=since, until=UNTIL, after=after)


async def test_the_list_says_of_an_attempt_what_an_inquiry_says(stripe: Open) -> None:
    ours = refund(id="re_ours", amount=200)
    others = refund(id="re_others", amount=99, metadata={})
    body = paid(others, ours)
    connector, server = await stripe(
        {INTENTS: page(body), GET: Answer(body), REFUNDS: page(others, ours), EVENTS: page()}
    )
    (found,) = (await listed(connector)).charges
    assert found.said[0].fact == await connector.inquire(call(approved=True, **BY_ID))
    assert (found.id, found.reference, found.currency) == (INTENT, REFERENCE, "EUR")
    assert found.created_at == MADE
    assert found.totals == Totals(
        authorized_minor=1099, captured_minor=1099, refunded_minor=299, disputed_minor=0, held_minor=0
    )
    authorized, refunded = found.said
    assert isinstance(authorized.fact, Approved)
    assert authorized.fact.since == (Foreign("re_others", "refund", 99, "EUR"),)
    assert (refunded.kind, refunded.id, refunded.amount_minor) == (OperationKind.REFUND, "re_ours", 200)
    (asked,) = server.of(INTENTS)
    assert dict(asked.query) == {
        "created[gte]": str(CREATED - 3600),
        "created[lte]": str(CREATED + 3600),
        "limit": "100",
        "expand[]": "data.latest_charge.refunds",
    }


async def test_the_list_is_read_on_from_its_last_intent_and_then_what_is_told(stripe: Open) -> None:
    connector, server = await stripe(
        {INTENTS: [page(paid(id="pi_b"), has_more=True), page(paid(id="pi_a"))], EVENTS: page()}
    )
    first = await listed(connector)
    second = await listed(connector, first.following)
    last = await listed(connector, second.following)
    assert [one.id for each in (first, second, last) for one in each.charges] == ["pi_b", "pi_a"]
    assert last.following is None
    assert [sent.asked.get("starting_after") for sent in server.of(INTENTS)] == [None, "pi_b"]


async def test_an_older_intent_is_read_once_something_is_told_of_it(stripe: Open) -> None:
    since = MADE + timedelta(seconds=1)
    given_back = refund(id="re_others", amount=99, metadata={}, payment_intent=INTENT)
    of_another = told("payment_intent.canceled", intent("canceled", id="pi_new", created=CREATED + 60))
    connector, server = await stripe(
        {
            EVENTS: [
                page(told("refund.created", given_back), of_another, has_more=True),
                page(told("refund.updated", given_back)),
            ],
            GET: Answer(paid(given_back)),
        }
    )
    first = await listed(connector, "events", since=since)
    (found,) = first.charges
    assert (found.id, found.totals.refunded_minor) == (INTENT, 99)
    assert first.following == "events evt_payment_intent_canceled"
    second = await listed(connector, first.following, since=since)
    assert second.following is None
    one, two = server.of(EVENTS)
    assert "refund.failed" in [value for name, value in one.query if name == "types[]"]
    assert two.asked["starting_after"] == "evt_payment_intent_canceled"
    assert len(server.of(GET)) == 2  # one that was made in the time was listed already, and is not read again


async def test_what_is_told_of_an_intent_of_the_time_is_not_listed_twice(stripe: Open) -> None:
    connector, _ = await stripe(
        {EVENTS: page(told("refund.created", refund(payment_intent=INTENT))), GET: Answer(paid())}
    )
    assert (await listed(connector, "events")).charges == ()


@pytest.mark.parametrize("metadata", [{}, {"payonce_reference": "no reference of ours"}])
async def test_what_others_sold_has_no_reference(stripe: Open, metadata: dict[str, str]) -> None:
    connector, _ = await stripe({INTENTS: page(paid(metadata=metadata))})
    (found,) = (await listed(connector)).charges
    assert (found.reference, found.totals.net_minor) == (None, 1099)


@pytest.mark.parametrize(
    "body",
    [
        intent(),
        intent("requires_action"),
        intent(latest_charge=charge(status="failed")),
        intent("canceled", cancellation_reason="duplicate"),
        intent("processing", latest_charge=charge(status="pending")),
    ],
)
async def test_what_charged_nothing_is_not_listed(stripe: Open, body: Body) -> None:
    connector, _ = await stripe({INTENTS: page(body)})
    assert (await listed(connector)).charges == ()


@pytest.mark.parametrize(
    "body",
    [
        paid(status="ascended"),
        paid(latest_charge=CHARGE),
        paid(currency="isk", amount=1099, amount_received=1099),
        paid(refund(payment_intent="pi_another")),
        {**paid(), "amount": "1099"},
    ],
    ids=["status", "charge not told", "amount", "refunds of another", "no form"],
)
async def test_one_that_cannot_be_read_is_named_and_hides_no_other(stripe: Open, body: Body) -> None:
    connector, _ = await stripe({INTENTS: page(body, paid(id="pi_a"))})
    found = await listed(connector)
    assert ([one.id for one in found.charges], found.unreadable) == (["pi_a"], (body["id"],))


async def test_one_of_another_mode_ends_the_reading(stripe: Open) -> None:
    connector, _ = await stripe({INTENTS: page(paid(id="pi_a"), paid(livemode=True))})
    with pytest.raises(OutcomeUnknown):
        await listed(connector)


async def test_one_without_any_form_is_of_others_where_it_has_no_reference_of_ours(stripe: Open) -> None:
    odd = {**paid(metadata={}), "amount": "1099"}
    connector, _ = await stripe({INTENTS: page(odd, paid(id="pi_a"))})
    found = await listed(connector)
    assert ([one.id for one in found.charges], found.unreadable) == (["pi_a"], ())


async def test_a_charge_whose_refunds_are_not_told_is_asked_about_again(stripe: Open) -> None:
    """It can be read another time: the page is, too."""
    many = paid(refund(), more_refunds=True)
    connector, _ = await stripe(
        {INTENTS: page(many), LIST_REFUNDS: Answer(raw=b"<html>oops</html>", status=502)}
    )
    with pytest.raises(OutcomeUnknown):
        await listed(connector)


async def test_one_of_others_that_cannot_be_read_is_listed_as_theirs(stripe: Open) -> None:
    odd = paid(metadata={}, id="pi_odd", status="a status of next year")
    connector, _ = await stripe({INTENTS: page(odd, paid() | {"amount_received": 1099})})
    theirs, ours = (await listed(connector)).charges
    assert (theirs.id, theirs.reference, ours.reference) == ("pi_odd", None, REFERENCE)


async def test_an_older_intent_is_read_once_it_is_paid_after_all(stripe: Open) -> None:
    since = MADE + timedelta(seconds=1)
    connector, server = await stripe(
        {EVENTS: page(told("payment_intent.succeeded", paid())), GET: Answer(paid())}
    )
    (found,) = (await listed(connector, "events", since=since)).charges
    assert (found.id, found.totals.net_minor) == (INTENT, 1099)
    (asked,) = server.of(EVENTS)
    types = [value for name, value in asked.query if name == "types[]"]
    assert {"payment_intent.succeeded", "payment_intent.amount_capturable_updated"} <= set(types)


@pytest.mark.parametrize("answer", [page(has_more=True), page(paid(), has_more=True)])
async def test_a_list_that_does_not_go_on_ends_the_reading(stripe: Open, answer: Answer) -> None:
    connector, _ = await stripe({INTENTS: answer})
    with pytest.raises(OutcomeUnknown):
        await listed(connector, f"payment_intents {INTENT}")


async def test_refunds_that_did_not_come_whole_are_read_to_their_lastobjects_of(stripe: Open) -> None:
    first, second = (refund(id=id_, amount=100, metadata={}) for id_ in ("re_2", "re_1"))
    connector, _ = await stripe(
        {
            INTENTS: page(paid(first, more_refunds=True)),
            REFUNDS: [page(first, has_more=True), page(second)],
        }
    )
    (found,) = (await listed(connector)).charges
    assert found.totals.refunded_minor == 200


async def test_a_refund_of_ours_that_failed_came_back(stripe: Open) -> None:
    failed = refund("failed", id="re_ours", amount=200)
    connector, _ = await stripe({INTENTS: page(paid(failed))})
    (found,) = (await listed(connector)).charges
    assert found.totals.refunded_minor == 0
    assert [said.came_back for said in found.said] == [False, True]


async def test_what_our_reversal_gave_back_is_reversed(stripe: Open) -> None:
    given_back = refund(amount=1099, metadata={"payonce_reversal": REFERENCE})
    connector, _ = await stripe({INTENTS: page(paid(given_back))})
    (found,) = (await listed(connector)).charges
    assert (found.said[0].fact, found.totals.live) == (Reversed(), False)


async def test_what_was_cancelled_and_not_given_back_is_charged(stripe: Open) -> None:
    """Its reversal's refund has failed: nothing is under way any more."""
    failed = refund("failed", amount=500, metadata={"payonce_reversal": REFERENCE})
    of = charge(amount_captured=500, refunds=objects_of(failed))
    body = intent("canceled", cancellation_reason="duplicate", amount_received=500, latest_charge=of)
    connector, _ = await stripe({INTENTS: page(body)})
    (found,) = (await listed(connector)).charges
    assert isinstance(found.said[0].fact, Approved)
    assert found.totals.net_minor == 500
    of["refunds"]["data"][0]["status"] = "pending"
    connector, _ = await stripe({INTENTS: page(body)})
    assert (await listed(connector)).charges == ()


async def test_too_many_requests_end_the_reading(stripe: Open) -> None:
    problem = {"error": {"type": "invalid_request_error", "code": "rate_limit"}}
    connector, _ = await stripe({INTENTS: Answer(problem, status=429, headers={"Retry-After": "3"})})
    with pytest.raises(RateLimited):
        await listed(connector)


async def test_what_is_disputed_is_listed_and_an_older_intent_is_read_for_it(stripe: Open) -> None:
    since = MADE + timedelta(seconds=1)
    about = {"id": "du_1", "object": "dispute", "payment_intent": INTENT, "livemode": False}
    of = charge(captured=True, amount_captured=1099, disputed=True, refunds=objects_of())
    away = {"amount": -400, "currency": "eur"}
    dispute = {**about, "amount": 400, "currency": "eur", "status": "lost", "balance_transactions": [away]}
    connector, server = await stripe(
        {
            EVENTS: page(told("charge.dispute.closed", about)),
            GET: Answer(intent("succeeded", latest_charge=of)),
            "GET /v1/disputes": page(dispute),
        }
    )
    (found,) = (await listed(connector, "events", since=since)).charges
    assert found.totals.disputed_minor == 400
    fact = found.said[0].fact
    assert isinstance(fact, Approved)
    assert [(one.id, one.withdrawn_minor) for one in fact.disputes] == [("du_1", 400)]
    (asked,) = server.of(EVENTS)
    wanted = {value for name, value in asked.query if name == "types[]"}
    assert {"charge.dispute.created", "charge.dispute.funds_withdrawn"} <= wanted


FORMLESS = {"id": 17, "object": "payment_intent", "livemode": "no", "metadata": ["?"], "created": "then"}


async def test_an_intent_without_any_form_is_named_and_hides_no_other(stripe: Open) -> None:
    """It has no id, no mode and no metadata that can be read: whose it is nobody knows."""
    connector, _ = await stripe({INTENTS: page(FORMLESS, {"id": "pi_odd", "metadata": []}, paid(id="pi_a"))})
    found = await listed(connector)
    assert ([one.id for one in found.charges], found.unreadable) == (["pi_a"], ("without an id", "pi_odd"))


async def test_a_list_cannot_go_on_after_an_intent_without_an_id(stripe: Open) -> None:
    connector, _ = await stripe({INTENTS: page(paid(id="pi_a"), FORMLESS, has_more=True)})
    with pytest.raises(OutcomeUnknown):
        await listed(connector)


@pytest.mark.parametrize(
    ("odd", "unreadable"),
    [
        (FORMLESS, ("pi_odd",)),
        (paid(id="pi_odd") | {"amount": "1099"}, ("pi_odd",)),
        (paid(id="pi_odd", metadata={}) | {"amount": "1099"}, ()),  # somebody else's
        (paid(id="pi_odd", status="a status of next year"), ("pi_odd",)),
        ({"error": "not documented"}, ("pi_odd",)),
    ],
    ids=["no form", "ours without a form", "of others", "status", "another object"],
)
async def test_an_older_intent_that_cannot_be_read_hides_no_other(
    stripe: Open, odd: Any, unreadable: tuple[str, ...]
) -> None:
    since = MADE + timedelta(seconds=1)
    of = [told("payment_intent.succeeded", paid(id=id_)) for id_ in ("pi_odd", INTENT)]
    connector, _ = await stripe(
        {EVENTS: page(*of), "GET /v1/payment_intents/pi_odd": Answer(odd), GET: Answer(paid())}
    )
    found = await listed(connector, "events", since=since)
    assert ([one.id for one in found.charges], found.unreadable) == ([INTENT], unreadable)
    assert found.following is None


async def test_an_older_intent_that_stripe_does_not_show_hides_no_other(stripe: Open) -> None:
    since = MADE + timedelta(seconds=1)
    of = [told("payment_intent.succeeded", paid(id=id_)) for id_ in ("pi_gone", INTENT)]
    gone = Answer({"error": {"type": "invalid_request_error", "code": "resource_missing"}}, status=404)
    connector, _ = await stripe(
        {EVENTS: page(*of), "GET /v1/payment_intents/pi_gone": gone, GET: Answer(paid())}
    )
    found = await listed(connector, "events", since=since)
    assert ([one.id for one in found.charges], found.unreadable) == ([INTENT], ("pi_gone",))


async def test_an_older_intent_that_may_be_read_later_fails_its_page(stripe: Open) -> None:
    since = MADE + timedelta(seconds=1)
    connector, _ = await stripe(
        {
            EVENTS: page(told("payment_intent.succeeded", paid())),
            GET: Answer(raw=b"<html>oops</html>", status=502),
        }
    )
    with pytest.raises(OutcomeUnknown):
        await listed(connector, "events", since=since)


async def test_an_event_that_cannot_be_read_is_named_and_hides_no_other(stripe: Open) -> None:
    since = MADE + timedelta(seconds=1)
    events = page({"id": "evt_odd", "object": "event"}, told("payment_intent.succeeded", paid()))
    connector, _ = await stripe({EVENTS: events, GET: Answer(paid())})
    found = await listed(connector, "events", since=since)
    assert ([one.id for one in found.charges], found.unreadable) == ([INTENT], ("evt_odd",))


async def test_refunds_that_cannot_be_read_are_of_their_intent_alone(stripe: Open) -> None:
    many = paid(refund(), more_refunds=True)
    connector, _ = await stripe({INTENTS: page(many, paid(id="pi_a")), LIST_REFUNDS: page({"id": "re_odd"})})
    found = await listed(connector)
    assert ([one.id for one in found.charges], found.unreadable) == (["pi_a"], (INTENT,))

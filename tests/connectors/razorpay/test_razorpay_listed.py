"""What Razorpay lists of its own accord: payments of a time, then older ones that were refunded in it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from razorpay_script import (
    BY_ID,
    CREATED,
    GET,
    LIST_PAYMENTS,
    LIST_REFUNDS,
    NOW,
    PAYMENT_ID,
    REFERENCE,
    Open,
    call,
    failed,
    payment,
    problem,
    refund,
)
from test_razorpay_disputes import entity

from payonce.connectors.listing import ChargePage
from payonce.connectors.razorpay.connector import Razorpay
from payonce.domain.errors import OutcomeUnknown, RateLimited
from payonce.domain.facts import Approved, Foreign
from payonce.domain.operations import OperationKind
from payonce.domain.reconciling import Totals
from tests.connectors.scripted import Answer

MADE = datetime.fromtimestamp(CREATED, UTC)
SINCE, UNTIL = MADE - timedelta(minutes=30), MADE + timedelta(hours=1)  # of one day
PAYMENTS, REFUNDS, DISPUTES = "GET /v1/payments", "GET /v1/refunds", "GET /v1/disputes"
Body = dict[str, Any]


def page(*items: Body) -> Answer:
    return Answer({"entity": "collection", "count": len(items), "items": list(items)})


async def listed(
    connector: Razorpay, after: str | None = None, *, since: datetime = SINCE, until: datetime = UNTIL
) -> ChargePage:
    return await connector.list_charges(since=since, until=until, after=after)


async def test_the_list_says_of_an_attempt_what_an_inquiry_says(razorpay: Open) -> None:
    ours, others = refund(amount=200), refund(id="rfnd_others", amount=100, notes=[])
    body = payment(amount_refunded=300)
    connector, server = await razorpay(
        {PAYMENTS: page(body), GET: Answer(body), LIST_PAYMENTS: page(body), LIST_REFUNDS: page(ours, others)}
    )
    (found,) = (await listed(connector)).charges
    assert found.said[0].fact == await connector.inquire(call(approved=True, **BY_ID))
    assert (found.id, found.reference, found.currency) == (PAYMENT_ID, REFERENCE, "INR")
    assert found.created_at == MADE
    assert found.totals == Totals(
        authorized_minor=1099, captured_minor=1099, refunded_minor=300, disputed_minor=None, held_minor=0
    )
    authorized, captured, refunded = found.said
    assert isinstance(authorized.fact, Approved)
    assert authorized.fact.since == (Foreign("rfnd_others", "refund", 100, "INR"),)
    assert (captured.id, captured.reference) == (f"{PAYMENT_ID}/captured", None)
    assert (refunded.kind, refunded.amount_minor) == (OperationKind.REFUND, 200)
    (asked,) = server.of(PAYMENTS)
    span = {"from": str(CREATED - 1800), "to": str(CREATED + 3600)}
    assert asked.asked == span | {"count": "100", "skip": "0"}


async def test_the_list_is_read_on_and_then_the_refunds(razorpay: Open) -> None:
    full = [payment(id=f"pay_{number}") for number in range(100)]
    connector, server = await razorpay(
        {PAYMENTS: [page(*full), page(payment(id="pay_last"))], REFUNDS: page()}
    )
    first = await listed(connector)
    second = await listed(connector, first.following)
    last = await listed(connector, second.following)
    assert [len(each.charges) for each in (first, second, last)] == [100, 1, 0]
    assert last.following == "disputes"
    assert [sent.asked["skip"] for sent in server.of(PAYMENTS)] == ["0", "100"]


async def test_a_list_that_is_shorter_than_asked_for_is_read_on(razorpay: Open) -> None:
    """No page of theirs says that as many come as were asked for."""
    some = [payment(id=f"pay_{number}") for number in range(25)]
    connector, _ = await razorpay({PAYMENTS: page(*some)})
    assert (await listed(connector)).following == "payments 25"


async def test_an_older_payment_is_read_once_something_is_refunded_of_it(razorpay: Open) -> None:
    since = MADE + timedelta(seconds=1)
    connector, server = await razorpay(
        {
            REFUNDS: page(*[refund(id=f"rfnd_{number}", amount=1) for number in range(10)]),
            GET: Answer(payment(amount_refunded=99)),
            LIST_REFUNDS: page(refund(amount=99, notes=[])),
        }
    )
    first = await listed(connector, "refunds", since=since)
    (found,) = first.charges
    assert (found.id, found.totals.refunded_minor) == (PAYMENT_ID, 99)
    assert first.following == "refunds 10"
    assert len(server.of(GET)) == 1
    connector, _ = await razorpay({REFUNDS: page(refund()), GET: Answer(payment())})
    assert (await listed(connector, "refunds")).charges == ()  # it was listed already


async def test_once_a_day_the_payments_of_the_days_before_are_read_again(razorpay: Open) -> None:
    """What failed may be authorized late, and what is held be captured, or lapse."""
    midnight = MADE.replace(hour=0, minute=0, second=0) + timedelta(days=1)
    since, until = midnight - timedelta(hours=1), midnight + timedelta(hours=1)
    late = payment(created_at=int((since - timedelta(days=4)).timestamp()))
    connector, server = await razorpay({PAYMENTS: page(late), REFUNDS: page(refund()), GET: Answer(late)})
    first = await listed(connector, since=since, until=until)
    assert [one.id for one in first.charges] == [PAYMENT_ID]
    assert server.of(PAYMENTS)[0].asked["from"] == str(int((since - timedelta(days=5)).timestamp()))
    assert (await listed(connector, first.following, since=since, until=until)).charges == ()


@pytest.mark.parametrize("notes", [[], {"payonce_reference": "no reference of ours"}])
async def test_what_others_sold_has_no_reference(razorpay: Open, notes: Any) -> None:
    connector, _ = await razorpay({PAYMENTS: page(payment(notes=notes, order_id=None))})
    (found,) = (await listed(connector)).charges
    assert (found.reference, found.totals.net_minor) == (None, 1099)


async def test_what_lapsed_holds_nothing_and_says_so(razorpay: Open) -> None:
    connector, _ = await razorpay({PAYMENTS: page(payment("refunded", amount_refunded=1099))})
    (found,) = (await listed(connector)).charges
    assert not found.totals.live
    assert [said.id for said in found.said] == [PAYMENT_ID, f"{PAYMENT_ID}/lapsed"]


async def test_what_is_held_is_held(razorpay: Open) -> None:
    connector, _ = await razorpay({PAYMENTS: page(payment("authorized"))})
    (found,) = (await listed(connector)).charges
    assert (found.totals.held_minor, found.totals.net_minor, len(found.said)) == (1099, 0, 1)


@pytest.mark.parametrize("body", [payment("created"), failed("payment_failed")])
async def test_what_took_nothing_is_not_listed(razorpay: Open, body: Body) -> None:
    connector, _ = await razorpay({PAYMENTS: page(body)})
    assert (await listed(connector)).charges == ()


@pytest.mark.parametrize(
    "body",
    [
        payment("pondering"),
        payment("failed", captured=True),
        payment("authorized", captured=True),
        payment(amount="1099"),
    ],
    ids=["status", "captured and failed", "captured and authorized", "no form"],
)
async def test_one_that_cannot_be_read_is_named_and_hides_no_other(razorpay: Open, body: Body) -> None:
    connector, _ = await razorpay({PAYMENTS: page(body, payment(id="pay_good"))})
    found = await listed(connector)
    assert ([one.id for one in found.charges], found.unreadable) == (["pay_good"], (body["id"],))


async def test_one_without_any_form_is_of_others_where_it_has_no_reference_of_ours(razorpay: Open) -> None:
    odd = payment(id="pay_odd", amount="1099", notes=[])
    connector, _ = await razorpay({PAYMENTS: page(odd, payment())})
    found = await listed(connector)
    assert ([one.id for one in found.charges], found.unreadable) == ([payment()["id"]], ())


async def test_one_of_others_that_cannot_be_read_is_listed_as_theirs(razorpay: Open) -> None:
    odd = payment(id="pay_odd", status="a status of next year", notes=[])
    connector, _ = await razorpay({PAYMENTS: page(odd, payment())})
    theirs, ours = (await listed(connector)).charges
    assert (theirs.id, theirs.reference, ours.reference) == ("pay_odd", None, REFERENCE)


async def test_what_pays_no_order_is_none_of_ours_whatever_its_notes_say(razorpay: Open) -> None:
    connector, _ = await razorpay({PAYMENTS: page(payment(order_id=None))})
    (found,) = (await listed(connector)).charges
    assert found.reference is None


async def test_a_refund_of_ours_that_failed_came_back_and_one_under_way_says_nothing(razorpay: Open) -> None:
    came_back, under_way = refund("failed", amount=200), refund("pending", id="rfnd_later", amount=100)
    connector, _ = await razorpay(
        {PAYMENTS: page(payment(amount_refunded=100)), LIST_REFUNDS: page(came_back, under_way)}
    )
    (found,) = (await listed(connector)).charges
    assert found.totals.refunded_minor == 0
    assert [said.came_back for said in found.said] == [False, False, True]


async def test_too_many_requests_end_the_reading(razorpay: Open) -> None:
    connector, _ = await razorpay({PAYMENTS: problem("too_many_requests", status=429)})
    with pytest.raises(RateLimited):
        await listed(connector)


async def test_disputes_are_listed_apart_as_they_stand_since_they_were_asked_for(razorpay: Open) -> None:
    items = [entity(), entity(id="disp_Won", status="won"), entity(amount="10000"), {"entity": "dispute"}]
    connector, server = await razorpay({DISPUTES: page(*items)})
    found = await listed(connector, "disputes")
    assert (found.charges, found.following, found.unreadable) == ((), None, ())  # no other is hidden
    opened, won = found.disputes
    assert (opened.about, opened.status, opened.withdrawn_minor) == (PAYMENT_ID, "needs_response", 10000)
    assert (won.id, won.status, won.withdrawn_minor) == ("disp_Won", "won", 0)
    assert opened.at == NOW
    (asked,) = server.of(DISPUTES)
    span = {"from": str(CREATED - 1800), "to": str(CREATED + 3600)}
    assert asked.asked == span | {"count": "100", "skip": "0"}


async def test_the_list_of_disputes_is_read_on(razorpay: Open) -> None:
    full = [entity(id=f"disp_{number}") for number in range(100)]
    connector, server = await razorpay({DISPUTES: [page(*full), page(entity())]})
    first = await listed(connector, "disputes")
    last = await listed(connector, first.following)
    assert [len(each.disputes) for each in (first, last)] == [100, 1]
    assert last.following is None
    assert [sent.asked["skip"] for sent in server.of(DISPUTES)] == ["0", "100"]


async def test_once_a_day_the_disputes_of_months_are_read_again(razorpay: Open) -> None:
    """No list says which of them changed."""
    midnight = MADE.replace(hour=0, minute=0, second=0) + timedelta(days=1)
    since, until = midnight - timedelta(hours=1), midnight + timedelta(hours=1)
    connector, server = await razorpay({DISPUTES: page()})
    await listed(connector, "disputes", since=since, until=until)
    assert server.of(DISPUTES)[0].asked["from"] == str(int((since - timedelta(days=180)).timestamp()))


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_disputes_that_are_not_shown_to_the_key_hold_up_no_payment(razorpay: Open, status: int) -> None:
    connector, _ = await razorpay({DISPUTES: problem("bad_request", status=status)})
    found = await listed(connector, "disputes")
    assert (found.disputes, found.following) == ((), None)


@pytest.mark.parametrize(
    "answer",
    [
        Answer({"entity": "collection", "count": 1}),
        Answer({"message": "no Route matched with those values"}, status=404),
    ],
)
async def test_disputes_that_cannot_be_read_hold_up_no_payment(razorpay: Open, answer: Answer) -> None:
    connector, _ = await razorpay({DISPUTES: answer})
    with structlog.testing.capture_logs() as logs:
        found = await listed(connector, "disputes")
    assert (found.disputes, found.following) == ((), None)
    assert [one["log_level"] for one in logs if one["event"] == "acquirer_disputes_unreadable"] == ["error"]


async def test_disputes_that_may_be_read_later_are_an_error(razorpay: Open) -> None:
    connector, _ = await razorpay({DISPUTES: problem("server_error", status=500)})
    with pytest.raises(OutcomeUnknown):
        await listed(connector, "disputes")


async def test_the_notes_of_a_payment_say_whose_it_is(razorpay: Open) -> None:
    connector, _ = await razorpay({GET: Answer(payment())})
    assert await connector.reference_of(PAYMENT_ID) == REFERENCE
    connector, _ = await razorpay({GET: Answer(payment(notes=[]))})
    assert await connector.reference_of(PAYMENT_ID) is None


FORMLESS = {"id": 17, "entity": "payment", "notes": "?", "created_at": "then"}


async def test_a_payment_without_any_form_is_named_and_hides_no_other(razorpay: Open) -> None:
    connector, _ = await razorpay({PAYMENTS: page(FORMLESS, {"id": "pay_odd", "notes": 1}, payment())})
    found = await listed(connector)
    assert [one.id for one in found.charges] == [PAYMENT_ID]
    assert found.unreadable == ("without an id", "pay_odd")


@pytest.mark.parametrize(
    ("odd", "unreadable"),
    [
        (FORMLESS, ("pay_odd",)),
        (payment(id="pay_odd", amount="1099"), ("pay_odd",)),
        (payment(id="pay_odd", amount="1099", notes=[]), ()),  # somebody else's
        (payment(id="pay_odd", status="pondering"), ("pay_odd",)),
    ],
    ids=["no form", "ours without a form", "of others", "status"],
)
async def test_an_older_payment_that_cannot_be_read_hides_no_other(
    razorpay: Open, odd: Any, unreadable: tuple[str, ...]
) -> None:
    since = MADE + timedelta(seconds=1)
    refunds = page(refund(id="rfnd_odd", payment_id="pay_odd"), refund())
    connector, _ = await razorpay(
        {
            REFUNDS: refunds,
            "GET /v1/payments/pay_odd": Answer(odd),
            "GET /v1/payments/pay_odd/refunds": page(),
            GET: Answer(payment()),
        }
    )
    found = await listed(connector, "refunds", since=since)
    assert ([one.id for one in found.charges], found.unreadable) == ([PAYMENT_ID], unreadable)
    assert found.following == "disputes"


async def test_a_refund_that_cannot_be_read_hides_no_other(razorpay: Open) -> None:
    """Of one that still says its payment, that payment is read."""
    since = MADE + timedelta(seconds=1)
    odd = page({"id": "rfnd_odd"}, {"payment_id": PAYMENT_ID, "amount": "?"})
    connector, _ = await razorpay({REFUNDS: odd, GET: Answer(payment())})
    found = await listed(connector, "refunds", since=since)
    assert ([one.id for one in found.charges], found.unreadable) == ([PAYMENT_ID], ("rfnd_odd",))


async def test_refunds_that_cannot_be_read_are_of_their_payment_alone(razorpay: Open) -> None:
    refunded = payment(amount_refunded=200)
    connector, _ = await razorpay(
        {PAYMENTS: page(refunded, payment(id="pay_good")), LIST_REFUNDS: page({"id": "rfnd_odd"})}
    )
    found = await listed(connector)
    assert ([one.id for one in found.charges], found.unreadable) == (["pay_good"], (PAYMENT_ID,))


async def test_an_older_payment_that_may_be_read_later_fails_its_page(razorpay: Open) -> None:
    since = MADE + timedelta(seconds=1)
    connector, _ = await razorpay({REFUNDS: page(refund()), GET: problem("server_error", status=500)})
    with pytest.raises(OutcomeUnknown):
        await listed(connector, "refunds", since=since)

"""What becomes of an authorization at Razorpay, as its order tells it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from razorpay_script import (
    BANK,
    BY_ID,
    CREATED,
    GET,
    LIST_ORDERS,
    LIST_PAYMENTS,
    LIST_REFUNDS,
    LOST,
    NOW,
    ORDER,
    PAYMENT,
    PAYMENT_ID,
    Open,
    by_upi,
    call,
    failed,
    found,
    listed,
    order,
    payment,
    problem,
    refund,
    upi,
)

from payonce.domain.errors import ConnectorError, OutcomeUnknown, RateLimited
from payonce.domain.evidence import Evidence
from payonce.domain.facts import (
    Approved,
    DeclineCode,
    Declined,
    Expired,
    Foreign,
    NotKnown,
    Pending,
    Reversed,
    Stage,
    Undone,
)
from payonce.domain.operations import OperationKind
from tests.connectors.scripted import Answer, Sent

UNTIL = datetime.fromtimestamp(CREATED, UTC) + timedelta(days=3)
VISA = Evidence(scheme="visa", authorization_code="457282", funding="debit")
OTHERS = {"payonce_reference": "pay_01jtest-2", "payonce_payment": PAYMENT}
AFTER = NOW + timedelta(minutes=15)  # the customer's time is over


async def test_what_is_captured_says_so_with_its_amount(razorpay: Open) -> None:
    connector, _ = await razorpay(found(payment()))
    assert await connector.inquire(call()) == Approved(
        PAYMENT_ID, 1099, "INR", stage=Stage.CAPTURED, evidence=VISA
    )


async def test_an_automatic_payment_that_is_only_authorized_is_not_captured(razorpay: Open) -> None:
    """Authorized late, or a moment before Razorpay captures: only what is captured was paid."""
    connector, _ = await razorpay(found(payment("authorized")))
    assert await connector.inquire(call()) == Approved(
        PAYMENT_ID, 1099, "INR", capture_before=UNTIL, stage=Stage.AUTHORIZED, evidence=VISA
    )


async def test_a_manual_authorization_stays_one_when_it_is_captured_and_tells_of_that(razorpay: Open) -> None:
    """By whom it was Razorpay does not say: the capture of ours that is answered has the same name."""
    captured = Foreign(f"{PAYMENT_ID}/captured", "capture", 1099, "INR", perhaps_ours=True)
    for body, since in ((payment("authorized"), ()), (payment(), (captured,))):
        connector, _ = await razorpay(found(body))
        reply = await connector.inquire(call(automatic_capture=False))
        assert isinstance(reply, Approved)
        assert (reply.stage, reply.capture_before, reply.since) == (Stage.AUTHORIZED, UNTIL, since)


async def test_a_flag_that_contradicts_the_status_is_believed_for_money_that_was_taken(
    razorpay: Open,
) -> None:
    """`captured` is what was taken; a payment whose status alone says so is not understood."""
    connector, _ = await razorpay(found(payment("captured", captured=False)))
    assert await connector.inquire(call()) == Pending(PAYMENT_ID, reason="unmapped status")


@pytest.mark.parametrize("status", ["failed", "created", "authorized"])
async def test_a_payment_that_says_that_it_is_captured_and_that_it_is_not_is_not_understood(
    razorpay: Open, status: str
) -> None:
    """A decline would let the customer pay again for what was taken."""
    body = failed("card_declined", captured=True) if status == "failed" else payment(status, captured=True)
    connector, _ = await razorpay(found(body))
    assert isinstance(await connector.inquire(call()), Pending)
    for kind in (OperationKind.CAPTURE, OperationKind.VOID):
        connector, _ = await razorpay({GET: Answer(body)})
        assert isinstance(await connector.inquire(call(kind)), Pending)


async def test_a_payment_that_is_in_no_order_is_still_there(razorpay: Open) -> None:
    """Razorpay gave its id out itself: that it names no order does not prove that nothing was made."""
    connector, _ = await razorpay({GET: Answer(payment(order_id=None)), LIST_ORDERS: Answer(listed())})
    with pytest.raises(OutcomeUnknown):
        await connector.inquire(call(**BY_ID))


async def test_a_time_that_is_none_is_an_answer_that_cannot_be_read(razorpay: Open) -> None:
    for created_at in (10**18, -1):
        body = payment("authorized", created_at=created_at)
        connector, _ = await razorpay(found(body))
        with pytest.raises(OutcomeUnknown):
            await connector.inquire(call())


async def test_the_amount_is_the_acquirers(razorpay: Open) -> None:
    connector, _ = await razorpay(found(payment(amount=999)))
    reply = await connector.inquire(call())
    assert isinstance(reply, Approved)
    assert reply.amount_minor == 999


async def test_a_upi_payment_tells_the_rails_reference(razorpay: Open) -> None:
    connector, _ = await razorpay(found(by_upi()))
    reply = await connector.inquire(upi("intent"))
    assert isinstance(reply, Approved)
    assert reply.rail == {"rrn": "867001630595", "vpa": "asha@okbank"}


async def test_what_waits_for_its_customer_is_pending(razorpay: Open) -> None:
    connector, _ = await razorpay(found(payment("created")))
    assert await connector.inquire(call()) == Pending(PAYMENT_ID, reason="created")


async def test_a_status_that_nobody_has_heard_of_is_pending(razorpay: Open) -> None:
    connector, _ = await razorpay(found(payment("pondering")))
    assert await connector.inquire(call()) == Pending(PAYMENT_ID, reason="unmapped status")


# What was lost is found by the order's receipt, by the order, or by the payment.


@pytest.mark.parametrize("known", [None, ORDER, PAYMENT_ID])
async def test_it_is_found_by_whatever_is_known_of_it(razorpay: Open, known: str | None) -> None:
    connector, server = await razorpay(found(payment()))
    reply = await connector.inquire(call(attempt_reference=known))
    assert isinstance(reply, Approved)
    first = {None: LIST_ORDERS, ORDER: LIST_PAYMENTS, PAYMENT_ID: GET}[known]
    assert server.names[0] == first
    assert server.names[-1] == LIST_PAYMENTS


async def test_orders_are_read_to_the_last_page(razorpay: Open) -> None:
    """The filter finds receipts that contain ours."""
    others = [order(id=f"order_{number}", receipt=f"{PAYMENT}{number}") for number in range(25)]

    def page(sent: Sent) -> Answer:
        skip, count = int(sent.asked["skip"]), int(sent.asked["count"])
        return Answer(listed(*[*others, order()][skip : skip + count]))

    connector, server = await razorpay(found(payment()) | {LIST_ORDERS: page})
    assert isinstance(await connector.inquire(call()), Approved)
    assert len(server.of(LIST_ORDERS)) == 2


@pytest.mark.parametrize("most", [10, 25])
async def test_a_list_is_read_on_however_few_it_gives_at_once(razorpay: Open, most: int) -> None:
    """Where nobody says how many, Razorpay lists ten."""
    every = [refund(id=f"rfnd_{number}", notes=[], amount=1) for number in range(30)]

    def page(sent: Sent) -> Answer:
        skip = int(sent.asked["skip"])
        return Answer(listed(*every[skip : skip + most]))

    connector, _ = await razorpay(found(payment(amount_refunded=30), **{LIST_REFUNDS: page}))
    reply = await connector.inquire(call())
    assert isinstance(reply, Approved)
    assert len(reply.since) == 30


async def test_a_list_that_never_ends_is_unknown(razorpay: Open) -> None:
    every = Answer(listed(*(refund(id=f"rfnd_{number}", notes=[]) for number in range(25))))
    connector, _ = await razorpay(found(payment(amount_refunded=30), **{LIST_REFUNDS: every}))
    with pytest.raises(OutcomeUnknown):
        await connector.inquire(call())


async def test_payments_that_failed_come_before_the_good_one(razorpay: Open) -> None:
    first = failed("card_declined", id="pay_First")
    for other in (first, {**first, "notes": OTHERS}, {**first, "notes": []}):
        connector, _ = await razorpay(found(other, payment()))
        reply = await connector.inquire(call())
        assert isinstance(reply, Approved)
        assert reply.connector_reference == PAYMENT_ID


async def test_another_attempts_payment_is_not_ours(razorpay: Open) -> None:
    connector, _ = await razorpay(found(payment(notes=OTHERS)))
    assert await connector.inquire(call()) == NotKnown()


async def test_an_order_without_a_payment_is_not_known(razorpay: Open) -> None:
    connector, _ = await razorpay(found())
    assert await connector.inquire(call()) == NotKnown()
    assert await connector.inquire(call(attempt_reference=ORDER)) == NotKnown()


async def test_no_order_is_not_known(razorpay: Open) -> None:
    connector, _ = await razorpay({LIST_ORDERS: Answer(listed())})
    assert await connector.inquire(call()) == NotKnown()


async def test_a_payment_of_our_order_that_nobody_knows_of_is_for_a_person(razorpay: Open) -> None:
    connector, _ = await razorpay(found(payment(notes=[])))
    with pytest.raises(OutcomeUnknown):
        await connector.inquire(call())


async def test_two_payments_under_one_reference_are_for_a_person(razorpay: Open) -> None:
    connector, _ = await razorpay(found(payment("authorized", id="pay_Other"), payment()))
    with pytest.raises(OutcomeUnknown):
        await connector.inquire(call())


async def test_two_orders_of_one_payment_are_for_a_person(razorpay: Open) -> None:
    both = Answer(listed(order(), order(id="order_Other")))
    connector, _ = await razorpay(found() | {LIST_ORDERS: both})
    with pytest.raises(OutcomeUnknown):
        await connector.inquire(call())


@pytest.mark.parametrize(
    "script",
    [
        found(payment()) | {LIST_PAYMENTS: Answer(listed())},  # it gave that payment out itself
        found(payment()) | {GET: problem("input_validation_failed")},
        found(payment()) | {GET: Answer(payment(id="pay_Another"))},
        found(payment()) | {GET: Answer(payment(currency="USD"))},
        found(payment(order_id="order_Another")) | {GET: Answer(payment())},
        found(payment()) | {LIST_PAYMENTS: Answer(listed(payment(), count=2))},
        found(*(failed("card_declined", id=f"pay_{number}") for number in range(9)), payment()),
    ],
)
async def test_what_is_not_known_any_more_proves_nothing(razorpay: Open, script: dict[str, Any]) -> None:
    connector, _ = await razorpay(script)
    with pytest.raises(OutcomeUnknown):
        await connector.inquire(call(**BY_ID))


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("name", [LIST_ORDERS, LIST_PAYMENTS])
async def test_a_wrong_answer_to_a_question_proves_nothing(razorpay: Open, name: str, lost: str) -> None:
    connector, _ = await razorpay(found(payment()) | {name: LOST[lost]})
    with pytest.raises(ConnectorError):
        await connector.inquire(call())


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_that_is_refused_while_asking_proves_nothing(razorpay: Open, status: int) -> None:
    connector, _ = await razorpay({LIST_ORDERS: problem("NA", status=status)})
    with pytest.raises(OutcomeUnknown):
        await connector.inquire(call())


async def test_too_many_questions_are_asked_later(razorpay: Open) -> None:
    busy = problem(None, status=429)
    connector, _ = await razorpay({LIST_ORDERS: Answer(busy.body, status=429, headers={"Retry-After": "7"})})
    with pytest.raises(RateLimited) as raised:
        await connector.inquire(call())
    assert raised.value.retry_after_s == 7


# `failed` is a state, not a fact: it may become `authorized` for days.


async def test_a_decline_is_one_where_the_bank_answered(razorpay: Open) -> None:
    connector, _ = await razorpay(found(failed("card_declined")))
    assert await connector.inquire(call()) == Declined(
        DeclineCode.DO_NOT_HONOR,
        connector_reference=PAYMENT_ID,
        raw={
            "code": "BAD_REQUEST_ERROR",
            "reason": "card_declined",
            "source": "issuer_bank",
            "step": "payment_authorization",
        },
        where="other",
    )


@pytest.mark.parametrize(
    ("reason", "where"),
    [
        ("payment_timed_out", BANK),
        ("payment_cancelled", {"error_source": "customer", "error_step": "payment_authentication"}),
        ("gateway_technical_error", {"error_source": "gateway", "error_step": "payment_authorization"}),
        ("bank_technical_error", BANK),
        ("payment_failed", {"error_source": "gateway", "error_step": "payment_authorization"}),
        ("payment_failed", {"error_source": "issuer_bank", "error_step": "payment_request"}),
        ("payment_failed", {"error_source": None, "error_step": None}),
        ("authentication_failed", {"error_source": "customer", "error_step": "payment_authentication"}),
        ("input_validation_failed", BANK),
        ("never_heard_of", BANK),
        (None, BANK),
        ("", BANK),
    ],
)
async def test_nobodys_failure_may_still_be_authorized(
    razorpay: Open, reason: str, where: dict[str, Any]
) -> None:
    connector, server = await razorpay(found(failed(reason, **where)))
    assert await connector.inquire(call()) == Expired(PAYMENT_ID)
    server.play(found(payment("authorized")))
    later = await connector.inquire(call(**BY_ID))
    assert isinstance(later, Approved)
    assert later.stage is Stage.AUTHORIZED


async def test_the_same_reason_is_a_decline_by_who_says_it(razorpay: Open) -> None:
    by_bank = failed("payment_failed", error_source="bank", error_step="payment_authorization")
    connector, server = await razorpay(found(by_bank))
    assert isinstance(await connector.inquire(call()), Declined)
    server.play(
        found(failed("input_validation_failed", error_source="business", error_step="payment_initiation"))
    )
    assert isinstance(await connector.inquire(call()), Declined)


async def test_in_a_upi_app_the_customer_may_try_the_same_payment_again(razorpay: Open) -> None:
    """Documented of webhooks: `failed` for a wrong PIN or too little money, and `captured` for the same payment."""
    clock = [NOW]
    body = by_upi("failed", captured=False, error_reason="insufficient_funds", **BANK)
    connector, server = await razorpay(found(body), now=lambda: clock[0])
    waits = Pending(PAYMENT_ID, reason="failed, and may be tried again")
    assert await connector.inquire(upi("intent")) == waits
    clock[0] = AFTER - timedelta(seconds=1)
    assert await connector.inquire(upi("intent")) == waits
    clock[0] = AFTER
    reply = await connector.inquire(upi("intent"))
    assert isinstance(reply, Declined)
    assert reply.code is DeclineCode.INSUFFICIENT_FUNDS
    server.play(found(by_upi()))
    assert isinstance(await connector.inquire(upi("intent")), Approved)


async def test_a_upi_payment_that_no_app_has_heard_of_is_not_tried_again(razorpay: Open) -> None:
    where = {"error_source": "customer", "error_step": "payment_initiation"}
    connector, _ = await razorpay(
        found(by_upi("failed", captured=False, error_reason="invalid_vpa", **where))
    )
    assert isinstance(await connector.inquire(upi("collect")), Declined)


async def test_a_upi_payment_that_ended_of_itself_has_expired_once_its_time_is_over(razorpay: Open) -> None:
    body = by_upi("failed", captured=False, error_reason="payment_collect_request_expired")
    connector, _ = await razorpay(found(body), now=lambda: AFTER)
    assert await connector.inquire(upi("collect")) == Expired(PAYMENT_ID)


# What is authorized and never captured lapses; what was captured is refunded.


async def test_what_nobody_captured_lapses_and_the_refund_proves_it(razorpay: Open) -> None:
    body = payment("refunded", captured=False, amount_refunded=1099, refund_status="full")
    connector, server = await razorpay(found(body))
    assert await connector.inquire(call()) == Reversed()
    reply = await connector.inquire(call(approved=True, automatic_capture=False))
    assert isinstance(reply, Approved)
    assert reply.stage is Stage.AUTHORIZED
    assert reply.since == (Foreign(f"{PAYMENT_ID}/lapsed", "void", 1099, "INR"),)
    assert LIST_REFUNDS not in server.names


async def test_what_was_captured_and_refunded_is_still_an_approval(razorpay: Open) -> None:
    body = payment("refunded", captured=True, amount_refunded=1099)
    ours = refund()
    connector, _ = await razorpay(found(body, **{LIST_REFUNDS: Answer(listed(ours))}))
    reply = await connector.inquire(call())
    assert isinstance(reply, Approved)
    assert (reply.stage, reply.amount_minor, reply.since) == (Stage.CAPTURED, 1099, ())


async def test_what_somebody_else_refunded_is_told_to_the_last_page(razorpay: Open) -> None:
    theirs = [
        refund(id=f"rfnd_{number}", amount=number + 1, notes=[], created_at=CREATED - number)
        for number in range(25)
    ]
    waiting = refund("pending", id="rfnd_waiting", notes=[])
    broken = refund("failed", id="rfnd_failed", notes=[])
    every = [*theirs, waiting, broken, refund()]

    def page(sent: Sent) -> Answer:
        skip, count = int(sent.asked["skip"]), int(sent.asked["count"])
        return Answer(listed(*every[skip : skip + count]))

    connector, _ = await razorpay(found(payment(amount_refunded=400), **{LIST_REFUNDS: page}))
    reply = await connector.inquire(call())
    assert isinstance(reply, Approved)
    processed = [Foreign(f"rfnd_{number}", "refund", number + 1, "INR") for number in reversed(range(25))]
    failed_since = Undone("rfnd_failed/failed", 1099, "INR", "failed", refund="rfnd_failed")
    assert [turn for turn in reply.since if turn != failed_since] == processed
    assert failed_since in reply.since


async def test_a_refund_of_somebody_else_that_failed_is_told_once_nothing_is_refunded(razorpay: Open) -> None:
    """The payment does not say then that anything was refunded, so its refunds are read all the same."""
    broken = refund("failed", id="rfnd_failed", notes=[])
    connector, _ = await razorpay(found(payment(), **{LIST_REFUNDS: Answer(listed(broken))}))
    reply = await connector.inquire(call(approved=True))
    assert isinstance(reply, Approved)
    assert reply.since == (Undone("rfnd_failed/failed", 1099, "INR", "failed", refund="rfnd_failed"),)


@pytest.mark.parametrize("lost", [*LOST, "another payment's"])
async def test_refunds_that_cannot_be_read_leave_it_unknown(razorpay: Open, lost: str) -> None:
    answer = LOST.get(lost, Answer(listed(refund(payment_id="pay_Another"))))
    connector, _ = await razorpay(found(payment(amount_refunded=400), **{LIST_REFUNDS: answer}))
    with pytest.raises(OutcomeUnknown):
        await connector.inquire(call())

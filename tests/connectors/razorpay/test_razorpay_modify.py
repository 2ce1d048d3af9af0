"""Captures, refunds and releases at Razorpay."""

from typing import Any

import pytest
from razorpay_script import (
    CAPTURE,
    GET,
    GET_REFUND,
    LIST_REFUNDS,
    LOST,
    MAKE_REFUND,
    PAYMENT,
    PAYMENT_ID,
    REFUND,
    Open,
    call,
    listed,
    payment,
    problem,
    refund,
)

from payonce.connectors.base import Call
from payonce.connectors.conformance import Holding, no, yes
from payonce.domain.errors import NotSent, OutcomeUnknown, RateLimited, Rejected
from payonce.domain.facts import (
    Accepted,
    Approved,
    DeclineCode,
    Declined,
    EndsItself,
    NotKnown,
    Pending,
    Refused,
    Undone,
)
from payonce.domain.operations import OperationKind
from tests.connectors.scripted import Answer

CAPTURING = call(OperationKind.CAPTURE)
REFUNDING = call(OperationKind.REFUND)
RELEASING = call(OperationKind.VOID)
LAPSED = payment("refunded", captured=False, amount_refunded=1099)
CAPTURED = Approved(f"{PAYMENT_ID}/captured", 1099, "INR")


async def test_an_authorization_is_captured_whole(razorpay: Open) -> None:
    connector, server = await razorpay({CAPTURE: Answer(payment())})
    assert await connector.send(CAPTURING, may_send=yes) == CAPTURED
    (sent,) = server.sent
    assert sent.body == {"amount": 1099, "currency": "INR"}


async def test_a_capture_that_is_there_already_is_ours(razorpay: Open) -> None:
    """Razorpay captured it a moment before, and keeps no mark of who did."""
    already = problem("input_validation_failed", description="This payment has already been captured")
    connector, server = await razorpay({CAPTURE: already, GET: Answer(payment())})
    assert await connector.send(CAPTURING, may_send=yes) == CAPTURED
    assert server.names == [CAPTURE, GET]


@pytest.mark.parametrize(
    ("asked", "path", "found"),
    [
        (CAPTURING, CAPTURE, {GET: Answer(payment("authorized"))}),
        (REFUNDING, MAKE_REFUND, {LIST_REFUNDS: Answer(listed())}),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
async def test_what_was_lost_and_is_not_found_is_the_same_request_again(
    razorpay: Open, asked: Call, path: str, found: dict[str, Answer]
) -> None:
    connector, server = await razorpay({path: Answer(status=500, body={}), **found})
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await connector.send(asked, may_send=yes)
        assert await connector.inquire(asked) == NotKnown()
    first, again = server.of(path)
    key = "x-refund-idempotency"
    assert (again.body, again.headers.get(key)) == (first.body, first.headers.get(key))
    assert (key in first.headers) is (asked is REFUNDING)


@pytest.mark.parametrize("body", [LAPSED, payment("authorized")], ids=["lapsed", "not captured"])
async def test_a_capture_that_is_turned_down_is_refused(razorpay: Open, body: dict[str, Any]) -> None:
    connector, _ = await razorpay({CAPTURE: problem("input_validation_failed"), GET: Answer(body)})
    assert await connector.send(CAPTURING, may_send=yes) == Refused("input_validation_failed")


async def test_a_capture_that_is_turned_down_for_no_known_reason_is_asked_about(razorpay: Open) -> None:
    connector, _ = await razorpay({CAPTURE: problem("NA"), GET: Answer(payment("authorized"))})
    assert await connector.send(CAPTURING, may_send=yes) == Pending(PAYMENT_ID, "not captured")


@pytest.mark.parametrize("lost", LOST)
async def test_a_capture_without_an_answer_is_unknown(razorpay: Open, lost: str) -> None:
    for script in ({CAPTURE: LOST[lost]}, {CAPTURE: problem("NA"), GET: LOST[lost]}):
        connector, server = await razorpay(script)
        with pytest.raises(OutcomeUnknown) as raised:
            await connector.send(CAPTURING, may_send=yes)
        assert raised.value.connector_reference == PAYMENT_ID
        assert len(server.of(CAPTURE)) == 1


@pytest.mark.parametrize(
    "another", [{"id": "pay_Another"}, {"currency": "USD"}, {"amount": 999}, {"status": "created"}]
)
async def test_the_answer_to_another_capture_proves_nothing(razorpay: Open, another: dict[str, Any]) -> None:
    body = payment(**{"captured": another.get("status") is None} | another)
    connector, _ = await razorpay({CAPTURE: Answer(body)})
    try:
        reply = await connector.send(CAPTURING, may_send=yes)
    except OutcomeUnknown:
        return
    assert isinstance(reply, Pending)


@pytest.mark.parametrize(
    ("body", "fact"),
    [
        (payment(), CAPTURED),
        (payment("refunded", captured=True, amount_refunded=1099), CAPTURED),
        (payment("authorized"), NotKnown()),
        (
            LAPSED,
            Declined(DeclineCode.GENERIC_DECLINE, connector_reference=PAYMENT_ID, raw={"code": "lapsed"}),
        ),
        (payment("pondering"), Pending(PAYMENT_ID, reason="pondering, and not captured")),
    ],
)
async def test_a_capture_is_found_by_its_payment(razorpay: Open, body: dict[str, Any], fact: object) -> None:
    connector, _ = await razorpay({GET: Answer(body)})
    assert await connector.inquire(CAPTURING) == fact


async def test_a_refund_has_a_key_and_a_mark(razorpay: Open) -> None:
    connector, server = await razorpay({MAKE_REFUND: Answer(refund())})
    assert await connector.send(REFUNDING, may_send=yes) == Approved(REFUND, 1099, "INR")
    await connector.send(REFUNDING, may_send=yes)
    first, again = server.sent
    assert first.body == {
        "amount": 1099,
        "speed": "normal",
        "receipt": "op_01jtest-1",
        "notes": {"payonce_reference": "op_01jtest-1", "payonce_payment": PAYMENT},
    }
    key = first.headers["x-refund-idempotency"]
    assert len(key) >= 10
    assert key == again.headers["x-refund-idempotency"]
    other = call(OperationKind.REFUND, reference="op_01jtest-2")
    body = refund(notes={"payonce_reference": "op_01jtest-2"})
    server.play({MAKE_REFUND: Answer(body)})
    await connector.send(other, may_send=yes)
    assert server.sent[-1].headers["x-refund-idempotency"] != key


async def test_metadata_is_shown_only_where_the_account_says_so(razorpay: Open) -> None:
    marked = call(
        OperationKind.REFUND,
        operation_metadata={"shelf": "7", "payonce_reference": "mine", "long": "x" * 300},
    )
    for option, shown in (("off", {}), ("on", {"shelf": "7"})):
        connector, server = await razorpay({MAKE_REFUND: Answer(refund())}, copy_metadata=option)
        await connector.send(marked, may_send=yes)
        ours = {"payonce_reference": "op_01jtest-1", "payonce_payment": PAYMENT}
        assert server.sent[-1].body["notes"] == ours | shown


async def test_a_refund_is_accepted_then_processed_or_failed_and_may_be_taken_back(razorpay: Open) -> None:
    connector, server = await razorpay({MAKE_REFUND: Answer(refund("pending"))})
    assert await connector.send(REFUNDING, may_send=yes) == Accepted(REFUND)
    known = call(OperationKind.REFUND, attempt_reference=REFUND)
    for status, fact in (
        ("pending", Accepted(REFUND)),
        ("processed", Approved(REFUND, 1099, "INR")),
        ("failed", Declined(DeclineCode.GENERIC_DECLINE, connector_reference=REFUND)),
        ("pondering", Pending(REFUND, reason="unmapped status")),
    ):
        server.play({GET_REFUND: Answer(refund(status))})
        assert await connector.inquire(known) == fact
    server.play({GET_REFUND: Answer(refund("failed"))})
    taken_back = Undone(f"{REFUND}/failed", 1099, "INR", "failed")
    assert await connector.inquire(
        call(OperationKind.REFUND, attempt_reference=REFUND, approved=True)
    ) == Approved(REFUND, 1099, "INR", since=(taken_back,))


async def test_a_refund_whose_answer_was_lost_is_found_by_its_mark(razorpay: Open) -> None:
    theirs = refund(id="rfnd_Theirs", notes=[])
    connector, server = await razorpay({LIST_REFUNDS: Answer(listed(theirs, refund()))})
    assert await connector.inquire(REFUNDING) == Approved(REFUND, 1099, "INR")
    server.play({LIST_REFUNDS: Answer(listed(theirs))})
    assert await connector.inquire(REFUNDING) == NotKnown()


@pytest.mark.parametrize("lost", LOST)
async def test_a_refund_without_an_answer_is_unknown(razorpay: Open, lost: str) -> None:
    connector, server = await razorpay({MAKE_REFUND: LOST[lost], LIST_REFUNDS: LOST[lost]})
    with pytest.raises(OutcomeUnknown):
        await connector.send(REFUNDING, may_send=yes)
    assert len(server.sent) == 1
    with pytest.raises(OutcomeUnknown):
        await connector.inquire(REFUNDING)


@pytest.mark.parametrize(
    "another",
    [
        {"notes": {"payonce_reference": "op_01jother-1"}},
        {"notes": []},
        {"payment_id": "pay_Another"},
        {"currency": "USD"},
    ],
)
async def test_the_answer_to_another_refund_proves_nothing(razorpay: Open, another: dict[str, Any]) -> None:
    connector, _ = await razorpay(
        {MAKE_REFUND: Answer(refund(**another)), GET_REFUND: Answer(refund(**another))}
    )
    with pytest.raises(OutcomeUnknown):
        await connector.send(REFUNDING, may_send=yes)
    with pytest.raises(OutcomeUnknown):
        await connector.inquire(call(OperationKind.REFUND, attempt_reference=REFUND))


async def test_a_refund_that_will_never_be_made_is_refused(razorpay: Open) -> None:
    refused = problem("input_validation_failed", field="amount", description="greater than amount captured")
    others = Answer(listed(refund(notes={"payonce_reference": "op_other-1"})))
    for there in (Answer(listed()), others):
        connector, server = await razorpay({MAKE_REFUND: refused, LIST_REFUNDS: there})
        reply = await connector.send(REFUNDING, may_send=yes)
        assert reply == Refused("input_validation_failed", "/amount")
        assert len(server.of(MAKE_REFUND)) == 1


@pytest.mark.parametrize("status", ["processed", "pending"])
async def test_a_refund_that_is_refused_since_it_is_made_is_not_refused(razorpay: Open, status: str) -> None:
    """Its first answer was lost, and its key is forgotten: nothing more is left to refund of the payment."""
    refused = problem("input_validation_failed", description="The payment has been fully refunded already")
    connector, _ = await razorpay({MAKE_REFUND: refused, LIST_REFUNDS: Answer(listed(refund(status)))})
    reply = await connector.send(REFUNDING, may_send=yes)
    assert reply == (Accepted(REFUND) if status == "pending" else Approved(REFUND, 1099, "INR"))


@pytest.mark.parametrize("lost", LOST)
async def test_a_refund_that_is_refused_and_cannot_be_asked_about_is_unknown(
    razorpay: Open, lost: str
) -> None:
    connector, _ = await razorpay({MAKE_REFUND: problem("invalid_amount"), LIST_REFUNDS: LOST[lost]})
    with pytest.raises(OutcomeUnknown):
        await connector.send(REFUNDING, may_send=yes)


@pytest.mark.parametrize(
    "answer",
    [
        problem("NA", source="NA", step="NA", description="Different request with the same idempotency key"),
        problem("NA", status=409, source="NA", step="NA"),
        problem("input_validation_failed", status=409),
        problem("never_heard_of"),
    ],
)
async def test_a_key_that_is_used_otherwise_or_still_in_progress_is_unknown(
    razorpay: Open, answer: Answer
) -> None:
    connector, _ = await razorpay({MAKE_REFUND: answer})
    with pytest.raises(OutcomeUnknown):
        await connector.send(REFUNDING, may_send=yes)


@pytest.mark.parametrize("calling", [CAPTURING, REFUNDING], ids=["capture", "refund"])
async def test_credentials_and_limits_are_told_apart(razorpay: Open, calling: Any) -> None:
    name = CAPTURE if calling.kind is OperationKind.CAPTURE else MAKE_REFUND
    connector, server = await razorpay({name: problem("NA", status=401)})
    with pytest.raises(Rejected):
        await connector.send(calling, may_send=yes)
    server.play({name: problem(None, status=429)})
    with pytest.raises(RateLimited):
        await connector.send(calling, may_send=yes)


@pytest.mark.parametrize("calling", [CAPTURING, REFUNDING, RELEASING], ids=["capture", "refund", "void"])
async def test_without_the_right_nothing_is_sent(razorpay: Open, calling: Any) -> None:
    connector, server = await razorpay({})
    with pytest.raises(NotSent):
        await connector.send(calling, may_send=no)
    assert not server.sent


# There is no void: what is authorized and not captured goes back of itself.


async def test_a_release_of_our_own_sends_nothing_and_waits_for_the_lapse(razorpay: Open) -> None:
    connector, server = await razorpay({})
    rights = [True]
    assert await connector.send(RELEASING, may_send=Holding(asked=rights)) == Accepted(PAYMENT_ID)
    assert not rights
    assert not server.sent
    for body, fact in (
        (payment("authorized"), Accepted(PAYMENT_ID)),
        (LAPSED, Approved(f"{PAYMENT_ID}/lapsed", 1099, "INR")),
        (
            payment(),
            Declined(DeclineCode.GENERIC_DECLINE, connector_reference=PAYMENT_ID, raw={"code": "captured"}),
        ),
        (payment("pondering"), Pending(PAYMENT_ID, reason="pondering, and not released")),
    ):
        server.play({GET: Answer(body)})
        assert await connector.inquire(RELEASING) == fact


async def test_what_a_customer_left_alone_ends_itself(razorpay: Open) -> None:
    connector, server = await razorpay({})
    assert await connector.cancel(call()) == EndsItself()
    with pytest.raises(Rejected):
        await connector.reverse(call())
    assert not server.sent


async def test_what_it_can_do_is_data(razorpay: Open) -> None:
    connector, _ = await razorpay({})
    can = connector.capabilities
    able = (can.void, can.partial_capture, can.split_capture, can.reversal_by_reference)
    assert able == (False, False, False, False)
    assert can.partial_refund
    assert can.replays_not_found == {OperationKind.CAPTURE, OperationKind.REFUND}
    assert can.idempotent_replay_s == 6 * 3600
    assert can.needs_action
    assert can.late_inquiry is not None
    assert can.late_inquiry.give_up_after_s == 5 * 24 * 3600
    assert can.methods == {
        "card",
        *("upi.intent", "upi.qr", "upi.collect"),
        *("wallet.paytm", "wallet.phonepe"),
    }
    bare, _ = await razorpay({}, cards="", upi_collect="")
    assert bare.capabilities.methods == can.methods - {"card", "upi.collect"}


async def test_a_card_needs_its_holders_browser_and_upi_does_not(razorpay: Open) -> None:
    connector, _ = await razorpay({})
    needed = {
        method: {each.pointer for each in connector.capabilities.required if each.of(method, "INR")}
        for method in ("card", "upi.intent", "upi.collect", "wallet.paytm")
    }
    everybody = {"/customer/email", "/customer/phone"}
    assert needed["upi.intent"] == needed["wallet.paytm"] == everybody
    assert needed["upi.collect"] == everybody | {"/browser/ip", "/browser/user_agent"}
    assert needed["card"] > needed["upi.collect"]
    assert {"/billing/name", "/browser/time_zone_offset", "/browser/java_enabled"} <= needed["card"]

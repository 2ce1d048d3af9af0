"""Captures, voids and refunds at Stripe."""

from typing import Any

import pytest
from stripe_script import (
    CANCEL,
    CAPTURE,
    GET,
    INTENT,
    LIST_REFUNDS,
    REFUND,
    REFUNDS,
    Open,
    authorizing,
    call,
    charge,
    error,
    held,
    intent,
    invalid,
    listed,
    refund,
)

from payonce.connectors.conformance import Holding, yes
from payonce.connectors.stripe.marks import name as mark
from payonce.domain.errors import NotSent, OutcomeUnknown, RateLimited, Rejected
from payonce.domain.facts import Approved, DeclineCode, Declined, Inquiry, NotKnown, Pending, Refused, Undone
from payonce.domain.operations import OperationKind
from tests.connectors.scripted import Answer

ONE = "op_01jtest-1"
GET_REFUND = f"GET /v1/refunds/{REFUND}"
CAPTURING, VOIDING, REFUNDING = (
    call(OperationKind.CAPTURE),
    call(OperationKind.VOID),
    call(OperationKind.REFUND),
)


def taken(amount: int, *, status: str = "succeeded", **marks: str) -> dict[str, Any]:
    details = charge(captured=status == "succeeded", amount_captured=amount)
    return intent(status, amount_received=amount, latest_charge=details, metadata=marks)


async def test_a_capture_of_a_part_releases_the_rest(stripe: Open) -> None:
    connector, server = await stripe({CAPTURE: Answer(taken(500))})
    reply = await connector.send(call(OperationKind.CAPTURE, amount_minor=500), may_send=yes)
    assert reply == Approved(INTENT, 500, "EUR")
    (sent,) = server.of(CAPTURE)
    assert sent.members == {
        "amount_to_capture": "500",
        f"metadata[{mark(ONE)}]": "500",
        "expand[]": "latest_charge",
    }
    assert sent.key
    assert len(mark(ONE)) == 40
    assert not connector.capabilities.split_capture


async def test_several_captures_where_the_account_has_them(stripe: Open) -> None:
    first, second = mark(ONE), mark("op_02jtest-1")
    connector, server = await stripe(
        {
            CAPTURE: [
                Answer(taken(500, status="requires_capture", **{first: "500"})),
                Answer(taken(700, **{first: "500", second: "200"})),
            ],
            GET: Answer(taken(700, **{first: "500", second: "200"})),
        },
        multicapture="on",
    )
    part = call(OperationKind.CAPTURE, amount_minor=500, final=False)
    last = call(OperationKind.CAPTURE, amount_minor=200, reference="op_02jtest-1")
    assert await connector.send(part, may_send=yes) == Approved(INTENT, 500, "EUR")
    assert await connector.send(last, may_send=yes) == Approved(INTENT, 200, "EUR")
    assert [sent.members["final_capture"] for sent in server.of(CAPTURE)] == ["false", "true"]
    assert await connector.inquire(part) == Approved(INTENT, 500, "EUR")
    assert await connector.inquire(last) == Approved(INTENT, 200, "EUR")
    assert connector.capabilities.split_capture


async def test_an_authorization_asks_for_several_captures_where_the_account_has_them(stripe: Open) -> None:
    connector, server = await stripe(authorizing(Answer(held())), multicapture="on")
    await connector.send(call(automatic_capture=False), may_send=yes)
    asked = "payment_method_options[card][request_multicapture]"
    assert server.of("POST /v1/payment_intents")[0].members[asked] == "if_available"


@pytest.mark.parametrize(
    ("found", "fact"),
    [
        (taken(1099, **{mark(ONE): "1099"}), Approved(INTENT, 1099, "EUR")),
        (taken(1099), Approved(INTENT, 1099, "EUR")),
        (taken(500), Pending(INTENT, reason="captured otherwise")),
        (held(), NotKnown()),
        (intent("canceled"), NotKnown()),
        (intent("something_new"), Pending(INTENT, reason="unmapped status")),
    ],
)
async def test_a_capture_is_found_by_its_mark_or_its_amount(
    stripe: Open, found: dict[str, Any], fact: Inquiry
) -> None:
    connector, _ = await stripe({GET: Answer(found)})
    assert await connector.inquire(CAPTURING) == fact


@pytest.mark.parametrize("marked", ["9999", "-1", "", "x", "1" * 20])
async def test_a_mark_that_cannot_be_right_proves_nothing(stripe: Open, marked: str) -> None:
    found = taken(500, status="requires_capture", **{mark(ONE): marked})
    connector, _ = await stripe({GET: Answer(found)}, multicapture="on")
    assert await connector.inquire(CAPTURING) == NotKnown()


async def test_where_metadata_are_full_earlier_marks_make_room(stripe: Open) -> None:
    theirs = {f"theirs_{number}": "x" for number in range(49)}
    before = taken(500, status="requires_capture", **theirs, **{mark("op_0-1"): "500"})
    after = taken(700, status="requires_capture", **{mark(ONE): "200"})
    connector, server = await stripe({GET: Answer(before), CAPTURE: Answer(after)}, multicapture="on")
    asked = call(OperationKind.CAPTURE, amount_minor=200, final=False)
    assert await connector.send(asked, may_send=yes) == Approved(INTENT, 200, "EUR")
    (sent,) = server.of(CAPTURE)
    assert sent.members[f"metadata[{mark('op_0-1')}]"] == ""
    packed = mark("op_0-1").removeprefix("payonce_capture_")
    assert sent.members["metadata[payonce_capture_pack_0]"] == f"{packed}=500"
    assert sent.members[f"metadata[{mark(ONE)}]"] == "200"


@pytest.mark.parametrize("answer", [Answer(error("api_error"), status=500), Answer(silent=True), Answer({})])
async def test_without_a_look_at_the_marks_nothing_is_captured(stripe: Open, answer: Answer) -> None:
    connector, server = await stripe({GET: answer}, multicapture="on")
    with pytest.raises(NotSent):
        await connector.send(CAPTURING, may_send=yes)
    assert not server.of(CAPTURE)


async def test_a_capture_that_did_not_capture_is_pending(stripe: Open) -> None:
    connector, _ = await stripe({CAPTURE: Answer(held())})
    assert isinstance(await connector.send(CAPTURING, may_send=yes), Pending)


async def test_a_void_cancels_the_intent(stripe: Open) -> None:
    closed = intent("canceled", cancellation_reason="requested_by_customer", latest_charge=charge())
    connector, server = await stripe({CANCEL: Answer(closed), GET: Answer(closed)})
    assert await connector.send(VOIDING, may_send=yes) == Approved(INTENT, 1099, "EUR")
    (sent,) = server.of(CANCEL)
    assert sent.members == {"cancellation_reason": "requested_by_customer", "expand[]": "latest_charge"}
    assert sent.key
    assert await connector.inquire(VOIDING) == Approved(INTENT, 1099, "EUR")


@pytest.mark.parametrize("reason", ["automatic", "expired"])
async def test_what_stripe_released_by_itself_is_no_void_of_ours(stripe: Open, reason: str) -> None:
    """An inquiry about the authorization tells it as a foreign void: both would release it twice."""
    lapsed = intent("canceled", cancellation_reason=reason, latest_charge=charge(amount_refunded=1099))
    connector, _ = await stripe({GET: Answer(lapsed)})
    assert await connector.inquire(VOIDING) == NotKnown()


@pytest.mark.parametrize("found", [held(), taken(1099)])
async def test_a_void_that_is_not_there_is_not_known(stripe: Open, found: dict[str, Any]) -> None:
    connector, _ = await stripe({GET: Answer(found), CANCEL: Answer(found)})
    assert await connector.inquire(VOIDING) == NotKnown()
    assert isinstance(await connector.send(VOIDING, may_send=yes), Pending)


@pytest.mark.parametrize(
    ("path", "asked", "answer", "code"),
    [
        (
            CAPTURE,
            CAPTURING,
            invalid("capture_charge_authorization_expired"),
            "capture_charge_authorization_expired",
        ),
        (CAPTURE, CAPTURING, invalid("amount_too_large"), "amount_too_large"),
        (
            CAPTURE,
            CAPTURING,
            invalid("payment_intent_unexpected_state", payment_intent=intent("canceled")),
            "payment_intent_unexpected_state",
        ),
        (REFUNDS, REFUNDING, invalid("charge_already_refunded"), "charge_already_refunded"),
        (REFUNDS, REFUNDING, invalid("charge_disputed"), "charge_disputed"),
    ],
)
async def test_what_stripe_turns_down_for_good_is_refused(
    stripe: Open, path: str, asked: Any, answer: Answer, code: str
) -> None:
    connector, _ = await stripe({path: answer})
    reply = await connector.send(asked, may_send=yes)
    assert isinstance(reply, Refused)
    assert reply.code == code


@pytest.mark.parametrize(
    "answer",
    [
        invalid("payment_intent_unexpected_state", payment_intent=intent("succeeded")),
        invalid("charge_already_captured"),
        invalid("resource_missing"),
        Answer(error("idempotency_error"), status=400),
        Answer(error("invalid_request_error", code="idempotency_key_in_use"), status=409),
        Answer(error("api_error", code="charge_disputed"), status=500),
        Answer(error("card_error", code="charge_disputed"), status=402),
        Answer(raw=b"<html>"),
        Answer(silent=True),
        Answer({"id": "x"}),
    ],
)
@pytest.mark.parametrize(("path", "asked"), [(CAPTURE, CAPTURING), (CANCEL, VOIDING), (REFUNDS, REFUNDING)])
async def test_everything_else_is_unknown(stripe: Open, path: str, asked: Any, answer: Answer) -> None:
    connector, _ = await stripe({path: answer})
    rights = [True]
    with pytest.raises(OutcomeUnknown):
        await connector.send(asked, may_send=Holding(asked=rights))
    assert not rights


@pytest.mark.parametrize(("path", "asked"), [(CAPTURE, CAPTURING), (CANCEL, VOIDING), (REFUNDS, REFUNDING)])
async def test_our_key_or_too_many_requests_move_nothing(stripe: Open, path: str, asked: Any) -> None:
    connector, server = await stripe({path: Answer(error("invalid_request_error"), status=403)})
    with pytest.raises(Rejected):
        await connector.send(asked, may_send=yes)
    server.play({path: Answer(error("invalid_request_error", code="rate_limit"), status=429)})
    with pytest.raises(RateLimited):
        await connector.send(asked, may_send=yes)


async def test_a_refund_names_its_intent_and_our_reference(stripe: Open) -> None:
    connector, server = await stripe({REFUNDS: Answer(refund(amount=300))}, copy_metadata="on")
    asked = call(OperationKind.REFUND, amount_minor=300, operation_metadata={"why": "broken"})
    assert await connector.send(asked, may_send=yes) == Approved(REFUND, 300, "EUR")
    (sent,) = server.of(REFUNDS)
    assert sent.members == {
        "payment_intent": INTENT,
        "amount": "300",
        "metadata[payonce_reference]": ONE,
        "metadata[payonce_payment]": "pay_01jtest",
        "metadata[why]": "broken",
    }
    assert sent.key


FAILED = refund("failed", failure_reason="lost_or_stolen_card", failure_balance_transaction="txn_1")


@pytest.mark.parametrize(
    ("found", "approved", "fact"),
    [
        (refund(), False, Approved(REFUND, 1099, "EUR")),
        (refund("pending"), False, Pending(REFUND, reason="pending")),
        (refund("requires_action"), False, Pending(REFUND, reason="requires_action")),
        (refund("something_new"), False, Pending(REFUND, reason="unmapped status")),
        (FAILED, False, Declined(DeclineCode.GENERIC_DECLINE, REFUND)),
        (refund("canceled"), False, Declined(DeclineCode.GENERIC_DECLINE, REFUND)),
        (
            FAILED,
            True,
            Approved(
                REFUND, 1099, "EUR", since=(Undone(f"{REFUND}/failed", 1099, "EUR", "lost_or_stolen_card"),)
            ),
        ),
        (
            refund("canceled"),
            True,
            Approved(REFUND, 1099, "EUR", since=(Undone(f"{REFUND}/canceled", 1099, "EUR", "canceled"),)),
        ),
    ],
)
async def test_a_refund_is_what_its_status_says_and_may_fail_later(
    stripe: Open, found: dict[str, Any], approved: bool, fact: Inquiry
) -> None:
    connector, server = await stripe(
        {REFUNDS: Answer(found), GET_REFUND: Answer(found), LIST_REFUNDS: Answer(listed(found))}
    )
    if not approved:
        assert await connector.send(REFUNDING, may_send=yes) == fact
    by_id = call(OperationKind.REFUND, attempt_reference=REFUND, approved=approved)
    assert await connector.inquire(by_id) == fact
    assert server.sent[-1].name == GET_REFUND
    assert await connector.inquire(call(OperationKind.REFUND, approved=approved)) == fact


async def test_a_refund_that_its_list_does_not_have_is_not_known(stripe: Open) -> None:
    others = [refund(id=f"re_{n}", metadata={"payonce_reference": f"op_{n}-1"}) for n in range(2)]
    connector, server = await stripe(
        {LIST_REFUNDS: [Answer(listed(others[0], has_more=True)), Answer(listed(others[1]))]}
    )
    assert await connector.inquire(REFUNDING) == NotKnown()
    assert len(server.of(LIST_REFUNDS)) == 2


@pytest.mark.parametrize(
    "body",
    [
        refund(metadata={"payonce_reference": "op_other-1"}),
        refund(metadata={}),
        refund(payment_intent="pi_other"),
        refund(currency="usd"),
    ],
)
async def test_another_refund_is_unknown(stripe: Open, body: dict[str, Any]) -> None:
    connector, _ = await stripe({REFUNDS: Answer(body), GET_REFUND: Answer(body)})
    with pytest.raises(OutcomeUnknown):
        await connector.send(REFUNDING, may_send=yes)
    with pytest.raises(OutcomeUnknown):
        await connector.inquire(call(OperationKind.REFUND, attempt_reference=REFUND))


@pytest.mark.parametrize("kind", [OperationKind.EXPIRE, OperationKind.REVERSE, OperationKind.UNDO])
async def test_what_is_never_sent_is_rejected(stripe: Open, kind: OperationKind) -> None:
    connector, server = await stripe({})
    with pytest.raises(Rejected):
        await connector.send(call(kind), may_send=yes)
    assert not server.sent


@pytest.mark.parametrize("kind", [OperationKind.CAPTURE, OperationKind.VOID, OperationKind.REFUND])
async def test_nothing_is_modified_without_the_authorization(stripe: Open, kind: OperationKind) -> None:
    connector, server = await stripe({})
    with pytest.raises(Rejected):
        await connector.send(call(kind, authorization_reference=None), may_send=yes)
    assert not server.sent


async def test_each_modification_has_a_key_of_its_own_and_repeats_it(stripe: Open) -> None:
    closed, third = intent("canceled", latest_charge=charge()), {"payonce_reference": "op_03-1"}
    connector, server = await stripe(
        {CAPTURE: Answer(taken(1099)), CANCEL: Answer(closed), REFUNDS: Answer(refund(metadata=third))}
    )
    refunding = call(OperationKind.REFUND, reference="op_03-1")
    for asked in (CAPTURING, call(OperationKind.VOID, reference="op_02-1"), refunding, CAPTURING):
        await connector.send(asked, may_send=yes)
    capture, void, refunded, again = [sent.key for sent in server.sent]
    assert capture == again
    assert len({capture, void, refunded}) == 3
    assert None not in (capture, void, refunded)


@pytest.mark.parametrize(
    ("path", "kind"), [(CAPTURE, OperationKind.CAPTURE), (REFUNDS, OperationKind.REFUND)]
)
async def test_two_of_a_kind_and_of_the_same_amount_have_different_keys(
    stripe: Open, path: str, kind: OperationKind
) -> None:
    """With one key the second would be answered with the first, and move nothing."""
    references = ("op_04jtest-1", "op_05jtest-1")
    refunds = [Answer(refund(metadata={"payonce_reference": reference})) for reference in references]
    connector, server = await stripe({CAPTURE: Answer(taken(1099)), REFUNDS: refunds})
    for reference in references:
        await connector.send(call(kind, reference=reference), may_send=yes)
    assert len({sent.key for sent in server.of(path)}) == 2


async def test_what_a_person_is_told_of_a_refusal_holds_no_text_of_theirs(
    stripe: Open, capfd: pytest.CaptureFixture[str]
) -> None:
    connector, _ = await stripe({REFUNDS: invalid("charge_disputed", message="SECRET TEXT")})
    await connector.send(REFUNDING, may_send=yes)
    told = capfd.readouterr().err
    assert "acquirer_refused" in told
    assert "SECRET TEXT" not in told

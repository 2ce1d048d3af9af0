"""An attempt at Stripe that is undone: cancelled, or given back."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from stripe_script import (
    BY_ID,
    CANCEL,
    CREATE,
    GET,
    INTENT,
    LIST_REFUNDS,
    REFERENCE,
    REFUNDS,
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

from payonce.connectors.conformance import yes
from payonce.domain.errors import OutcomeUnknown
from payonce.domain.facts import Pending, Reversed
from payonce.domain.operations import OperationKind
from tests.connectors.scripted import Answer

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
OURS = {"payonce_reversal": REFERENCE, "payonce_payment": "pay_01jtest"}


@pytest.mark.parametrize(
    "open_", [intent(), intent("requires_action"), intent("requires_confirmation"), held()]
)
async def test_a_reversal_cancels_what_is_open_and_says_why(stripe: Open, open_: dict[str, Any]) -> None:
    closed = intent("canceled", cancellation_reason="duplicate")
    connector, server = await stripe({GET: Answer(open_), CANCEL: Answer(closed)})
    assert await connector.reverse(call(**BY_ID)) == Reversed()
    assert server.of(CANCEL)[0].members["cancellation_reason"] == "duplicate"
    assert [sent.name for sent in server.sent] == [GET, CANCEL]


async def test_what_is_cancelled_already_is_reversed(stripe: Open) -> None:
    connector, server = await stripe({GET: Answer(intent("canceled"))})
    assert await connector.reverse(call(**BY_ID)) == Reversed()
    assert [sent.name for sent in server.sent] == [GET]


@pytest.mark.parametrize(
    "cancelled",
    [
        Answer(intent("processing")),
        Answer(held()),
        Answer(error("invalid_request_error", code="payment_intent_unexpected_state"), status=400),
        Answer(intent("canceled", id="pi_other")),
        Answer(error("api_error"), status=500),
        Answer(error("invalid_request_error", code="lock_timeout"), status=429),
        Answer(raw=b"<html>"),
    ],
)
async def test_a_reversal_that_is_not_confirmed_is_unknown(stripe: Open, cancelled: Answer) -> None:
    connector, _ = await stripe({GET: Answer(intent("processing")), CANCEL: cancelled})
    with pytest.raises(OutcomeUnknown):
        await connector.reverse(call(**BY_ID))


async def test_a_reversal_refunds_what_was_captured_once(stripe: Open) -> None:
    made = refund(metadata=OURS, amount=799)
    foreign = refund(amount=300, metadata={})
    connector, server = await stripe(
        {
            GET: Answer(paid()),
            LIST_REFUNDS: [Answer(listed(foreign)), Answer(listed(made, foreign))],
            REFUNDS: Answer(made),
        }
    )
    for _ in range(2):
        assert await connector.reverse(call(**BY_ID)) == Reversed()
    (asked,) = server.of(REFUNDS)
    assert asked.members == {
        "payment_intent": INTENT,
        "amount": "799",
        "metadata[payonce_reversal]": REFERENCE,
        "metadata[payonce_payment]": "pay_01jtest",
    }
    assert asked.key


@pytest.mark.parametrize("status", ["pending", "failed", "requires_action"])
async def test_a_reversal_whose_refund_has_not_succeeded_is_unknown(stripe: Open, status: str) -> None:
    connector, server = await stripe(
        {GET: Answer(paid()), LIST_REFUNDS: Answer(listed(refund(status, metadata=OURS)))}
    )
    with pytest.raises(OutcomeUnknown):
        await connector.reverse(call(**BY_ID))
    assert not server.of(REFUNDS)


@pytest.mark.parametrize(
    ("made", "status"),
    [
        ([], "pending"),
        ([], "requires_action"),
        ([refund(metadata=OURS, amount=799)], "pending"),
        ([refund(metadata=OURS, amount=799)], "failed"),
    ],
)
async def test_a_reversal_counts_nothing_that_another_refund_may_not_give_back(
    stripe: Open, made: list[dict[str, Any]], status: str
) -> None:
    others = refund(status, id="re_other", metadata={}, amount=300 if made else 1099)
    connector, server = await stripe({GET: Answer(paid()), LIST_REFUNDS: Answer(listed(*made, others))})
    with pytest.raises(OutcomeUnknown):
        await connector.reverse(call(**BY_ID))
    assert not server.of(REFUNDS)


async def test_what_a_reversal_refunded_is_found_reversed(stripe: Open) -> None:
    connector, _ = await stripe(with_refunds(Answer(listed(refund(metadata=OURS)))))
    assert await connector.inquire(call(**BY_ID)) == Reversed()


async def test_a_reversal_without_the_id_closes_what_the_create_made(stripe: Open) -> None:
    closed = intent("canceled", cancellation_reason="duplicate")
    connector, server = await stripe(
        {CREATE: Answer(intent()), GET: Answer(intent()), CANCEL: Answer(closed)}, now=lambda: NOW
    )
    assert await connector.reverse(call(claimed_at=NOW - timedelta(minutes=2))) == Reversed()
    assert [sent.name for sent in server.sent] == [CREATE, GET, CANCEL]


@pytest.mark.parametrize("kind", [OperationKind.CAPTURE, OperationKind.VOID, OperationKind.REFUND])
async def test_a_capture_a_void_and_a_refund_are_not_undone_by_reference(
    stripe: Open, kind: OperationKind
) -> None:
    connector, server = await stripe({})
    assert not connector.capabilities.reversible(kind)
    with pytest.raises(OutcomeUnknown):
        await connector.reverse(call(kind))
    assert not server.sent


async def test_a_reversal_has_another_key_than_what_it_undoes(stripe: Open) -> None:
    made = refund(metadata=OURS)
    connector, server = await stripe(
        authorizing(
            Answer(paid()),
            **{GET: Answer(paid()), LIST_REFUNDS: Answer(listed()), REFUNDS: Answer(made)},
        )
    )
    await connector.send(call(), may_send=yes)
    for _ in range(2):
        await connector.reverse(call(**BY_ID))
    reversals = {sent.key for sent in server.of(REFUNDS)}
    assert len(reversals) == 1
    assert not reversals & {sent.key for sent in server.sent if sent.name != REFUNDS}


async def test_a_payment_is_given_back_once_all_of_it_is(stripe: Open) -> None:
    """Of 1099 somebody else refunded 300, ours the rest; theirs failed since."""
    made = refund(metadata=OURS, amount=799)
    for status, reversed_ in (("succeeded", True), ("failed", False)):
        theirs = refund(status, amount=300, metadata={}, id="re_theirs")
        connector, _ = await stripe(
            {
                GET: Answer(
                    paid(latest_charge=charge(captured=True, amount_captured=1099, amount_refunded=799))
                ),
                LIST_REFUNDS: Answer(listed(made, theirs)),
            }
        )
        assert (await connector.inquire(call(**BY_ID)) == Reversed()) is reversed_


async def test_the_attempts_own_intent_is_undone_and_no_other_of_the_payment(stripe: Open) -> None:
    closed = intent("canceled", cancellation_reason="duplicate")
    connector, server = await stripe({GET: Answer(intent()), CANCEL: Answer(closed)})
    assert await connector.reverse(call(authorization_reference="pi_later", **BY_ID)) == Reversed()
    assert [sent.name for sent in server.sent] == [GET, CANCEL]


async def test_what_a_cancelled_intent_had_taken_is_given_back_before_it_is_reversed(stripe: Open) -> None:
    """A part was captured, and the rest released: until the part is back, an inquiry does not say that it is."""
    part = charge(captured=True, amount_captured=500, amount_refunded=599)
    body = intent("canceled", cancellation_reason="duplicate", amount_received=500, latest_charge=part)
    made = refund(metadata=OURS, amount=500)
    connector, server = await stripe(
        {
            GET: Answer(body),
            LIST_REFUNDS: [Answer(listed()), Answer(listed()), Answer(listed(made))],
            REFUNDS: Answer(made),
        }
    )
    assert await connector.inquire(call(**BY_ID)) == Pending(INTENT, reason="taken, and not given back")
    assert await connector.reverse(call(**BY_ID)) == Reversed()
    assert server.of(REFUNDS)[0].members["amount"] == "500"
    assert await connector.inquire(call(**BY_ID)) == Reversed()

"""What a receipt says of a payment, by the payment's events."""

from dataclasses import replace

import pytest

from payonce.receipts.amounts import written
from payonce.receipts.material import thinned
from payonce.receipts.texts import MARKS_MAX, line, lines
from payonce.receipts.view import (
    ERASED,
    MOVEMENTS_MAX,
    NOTICE,
    REASON_MIN,
    REASONS_MAX,
    TAKEN_BACK,
    TEST_NOTICE,
    NothingToShow,
    PastEvent,
    Receipt,
    masked_vpa,
    receipt_of,
)
from tests.unit.receipts.receipts_seen import (
    PAYMENT_ID,
    REFUND_ID,
    SHOP,
    paid_and_refunded,
    payment,
    refund,
    told,
)


def facts(receipt: Receipt) -> dict[str, str]:
    return {fact.label: fact.text for fact in (*receipt.facts, *receipt.sums)}


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [
        (1099, "INR", "INR 10.99"),
        (5, "INR", "INR 0.05"),
        (12_345_678, "INR", "INR 123,456.78"),
        (1099, "JPY", "JPY 1,099"),
        (1099, "KWD", "KWD 1.099"),
        (7, "KWD", "KWD 0.007"),
        (1099, "UGX", "UGX 1,099"),
        (-99, "USD", "USD −0.99"),
    ],
)
def test_an_amount_has_its_currency_s_digits(minor: int, currency: str, shown: str) -> None:
    assert written(minor, currency).replace("\xa0", " ") == shown


def test_captures_and_refunds_are_listed_and_added_up() -> None:
    receipt = paid_and_refunded()
    assert [(each.what, each.amount[4:]) for each in receipt.movements] == [
        ("Payment", "10.99"),
        ("Refund", "−0.99"),
    ]
    assert receipt.movements[1].reference == f"{REFUND_ID} · broken"
    assert facts(receipt)["Paid after refunds"] == "INR\xa010.00"
    assert (receipt.total.label, receipt.total.text) == ("Amount paid", "INR\xa010.99")
    assert (receipt.test, receipt.notice) == (TEST_NOTICE, NOTICE)
    assert "event 4" in receipt.state


def test_the_instrument_is_masked() -> None:
    assert facts(paid_and_refunded())["Paid with"] == "Visa •••• 4242"
    upi = {"type": "upi", "upi": {"flow": "collect", "vpa": "success@upi", "rrn": "412345678901"}}
    shown = facts(paid_and_refunded(payment_method=upi))
    assert (shown["Paid with"], shown["UPI reference (RRN)"]) == ("UPI su••••@upi", "412345678901")
    wallet = {"type": "wallet", "wallet": {"provider": "apple_pay", "brand": "visa", "last4": "4242"}}
    assert facts(paid_and_refunded(payment_method=wallet))["Paid with"] == "Apple Pay Visa •••• 4242"
    paytm = {"type": "wallet", "wallet": {"provider": "paytm"}}
    assert facts(paid_and_refunded(payment_method=paytm))["Paid with"] == "Paytm"


@pytest.mark.parametrize(
    ("vpa", "shown"),
    [
        ("a@upi", "••••@upi"),
        ("ab@upi", "••••@upi"),
        ("abc@upi", "a••••@upi"),
        ("abcde@upi", "a••••@upi"),
        ("priya@okbank", "p••••@okbank"),
        ("success@upi", "su••••@upi"),
    ],
)
def test_of_an_upi_address_at_most_a_third_of_the_name_is_shown(vpa: str, shown: str) -> None:
    assert masked_vpa(vpa) == shown


def test_the_same_events_make_the_same_receipt_whatever_came_later() -> None:
    events = told(payment(0), payment(1099), refund(99), payment(1099, refunded=99))
    assert receipt_of(events[:2], SHOP, mode="live") == receipt_of(
        told(payment(0), payment(1099)), SHOP, mode="live"
    )
    assert receipt_of(events[:2], SHOP, mode="live").sums == ()


def test_what_the_acquirer_took_back_is_taken_out() -> None:
    back = told(payment(1099), payment(500), refund(99), refund(99, status="failed"))
    receipt = receipt_of(back, SHOP, mode="live")
    assert [each.what for each in receipt.movements] == ["Payment", "Payment taken back"]
    assert receipt.total.text == "INR\xa05.00"
    with pytest.raises(NothingToShow):
        receipt_of(told(payment(1099), payment(0)), SHOP, mode="live")


def test_of_a_refund_that_was_taken_back_in_part_the_rest_is_refunded() -> None:
    """Its event says that it has succeeded, with its whole amount; the payment's own says how much is refunded."""
    events = told(
        payment(1099),
        refund(1099),
        payment(1099, refunded=1099),
        refund(1099),  # as `refund.failed` tells it
        payment(1099, refunded=699),
        refund(50, id="re_2", status="pending"),
        refund(50, id="re_2", status="failed"),
    )
    receipt = receipt_of(events, SHOP, mode="live")
    shown = [(each.what, each.amount[4:], each.at[:2]) for each in receipt.movements]
    assert shown == [
        ("Payment", "10.99", "29"),
        ("Refund", "−10.99", "30"),
        ("Correction of refunds", "4.00", "3 "),
    ]
    assert [fact.text[4:] for fact in receipt.sums] == ["10.99", "−6.99", "4.00"]


def test_what_an_acquirer_refunded_beyond_what_was_captured_is_not_added_up() -> None:
    events = told(payment(1099), refund(2000), payment(1099, refunded=1099))
    assert facts(receipt_of(events, SHOP, mode="live"))["Paid after refunds"] == "INR\xa00.00"


def test_a_refund_has_a_receipt_of_its_own_once_it_succeeded() -> None:
    events = told(payment(1099), refund(99, status="pending"), refund(99), payment(1099, refunded=99))
    receipt = receipt_of(events, SHOP, mode="live", refund_id=REFUND_ID)
    assert (receipt.title, receipt.total.text) == ("Refund receipt", "INR\xa00.99")
    assert (facts(receipt)["Refund"], facts(receipt)["Payment"]) == (REFUND_ID, PAYMENT_ID)
    with pytest.raises(NothingToShow):
        receipt_of(events[:2], SHOP, mode="live", refund_id=REFUND_ID)


@pytest.mark.parametrize("again", [False, True])
def test_a_refund_s_receipt_says_that_a_part_was_taken_back_until_it_holds_again(again: bool) -> None:
    events = told(payment(1099), refund(1099), refund(1099), payment(1099, refunded=699), refund(1099))
    kinds = ["payment.captured", "refund.succeeded", "refund.failed", "payment.partially_refunded"]
    kinds += ["refund.succeeded"] * again
    told_so = [replace(each, type=kind) for each, kind in zip(events, kinds, strict=False)]
    shown = facts(receipt_of(told_so, SHOP, mode="live", refund_id=REFUND_ID))
    assert shown.get("Taken back") == (None if again else TAKEN_BACK)
    assert "Taken back" not in facts(receipt_of(told_so[:2], SHOP, mode="live", refund_id=REFUND_ID))


def test_nothing_captured_is_nothing_to_show() -> None:
    with pytest.raises(NothingToShow):
        receipt_of(told(payment(0)), SHOP, mode="live")
    with pytest.raises(NothingToShow):
        receipt_of([], SHOP, mode="live")


def test_an_erased_payment_s_receipt_says_nothing_of_the_customer() -> None:
    upi = {"type": "upi", "upi": {"flow": "collect", "vpa": "asha@bank", "rrn": "412345678901"}}
    events = told(payment(1099, payment_method=upi), refund(99, reason="Asha was unhappy"))
    for refund_id in (None, REFUND_ID):
        shown = "\n".join(receipt_of(events, SHOP, mode="live", erased=True, refund_id=refund_id).texts())
        assert ERASED in shown
        for personal in ("Asha", "asha", "as••••", "Two cups", "unhappy"):
            assert personal not in shown


def test_of_many_movements_the_rest_is_counted() -> None:
    many = [refund(1, id=f"re_{number}") for number in range(MOVEMENTS_MAX + 9)]
    receipt = receipt_of(told(payment(1099), *many), SHOP, mode="live")
    assert (len(receipt.movements), receipt.movements[-1].what) == (MOVEMENTS_MAX + 1, "and 10 more")
    assert facts(receipt)["Refunded"] == "INR\xa0−2.09"


@pytest.mark.parametrize("count", [1, 12, 13, 60, 200, 400])
def test_reasons_in_the_list_are_cut_with_a_mark_so_that_all_can_be_drawn(count: int) -> None:
    reason = "\N{GRINNING FACE}" * 500
    refunds = [refund(1, id=f"re_{number}", reason=reason) for number in range(count)]
    receipt = receipt_of(told(payment(1099), *refunds), SHOP, mode="live")
    said = [each.reference.partition(" · ")[2] for each in receipt.movements[1:MOVEMENTS_MAX]]
    assert {text == reason for text in said} == {count <= 12}
    assert all(text.endswith("…") for text in said if text != reason)
    assert min(map(len, said)) >= REASON_MIN
    assert sum(map(len, said)) <= REASONS_MAX
    alone = receipt_of(told(payment(1099), refund(1, reason=reason)), SHOP, mode="live", refund_id=REFUND_ID)
    assert facts(alone)["Reason"] == reason


@pytest.mark.parametrize("page", [1, 2, 5, 99])
def test_events_that_change_nothing_are_left_out_and_the_receipt_is_the_same(page: int) -> None:
    events = told(
        payment(0),
        payment(1099),
        payment(1099, description="later"),
        refund(99),
        payment(1099, refunded=99),
        refund(99, status="failed"),
        payment(500),
        {"object": "dispute", "id": "dp_1"},
        payment(500),
        {"object": "dispute", "id": "dp_2"},
    )
    kept: tuple[PastEvent, ...] = ()
    for begin in range(0, len(events), page):
        kept = thinned((*kept, *events[begin : begin + page]))
        until = events[: begin + page]
        if until[-1].data.get("amount_captured", 1):
            assert receipt_of(kept, SHOP, mode="live") == receipt_of(until, SHOP, mode="live")
    assert [each.sequence for each in kept] == [1, 2, 4, 6, 7, 9, 10]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\u202eevil\u202c name", "evil name"),
        ("two\nlines\tand\x00 nul", "two lines and nul"),
        ("\u2066isolated\u2069\u200f", "isolated"),
        ("क्\u200dष", "क्\u200dष"),
        ("Z" + "\u0335" * 40, "Z" + "\u0335" * 4),
        ("a" * 900, "a" * 499 + "…"),
        ("a" * 500, "a" * 500),
        ("line\u2028separator", "line separator"),
        ("\ud800", ""),
    ],
)
def test_a_text_changes_nothing_around_it(text: str, shown: str) -> None:
    assert line(text) == shown


def test_an_address_keeps_its_first_lines() -> None:
    assert lines("one\n\n two \r\nthree" + "\nx" * 9) == ("one", "two", "three", "x", "x", "x")


@pytest.mark.parametrize("between", ["", "\u200b", "\u200d", "\u202e", "\x00", "\ufeff", "\ue000"])
def test_marks_are_not_piled_up_whatever_stands_between_them(between: str) -> None:
    shown = line("a" + ("\u0338" * MARKS_MAX + between) * 50 + "b")
    assert shown.replace("\u200d", "") == "a" + "\u0338" * MARKS_MAX + "b"

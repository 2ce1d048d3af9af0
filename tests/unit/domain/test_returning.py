"""Customers who come back: which parameters count, when a return changes anything, and where they are sent on to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payonce.domain import returning
from payonce.domain.facts import ActionRequired, Pending
from payonce.domain.ids import RETURN_TOKEN_PATTERN, IdFactory, hash_of_return
from payonce.domain.leaving import abandoned, may_act
from payonce.domain.operations import AttemptState, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.domain.returning import Returned
from payonce.domain.settlement import settle
from tests.support import rows

NOW = datetime(2026, 11, 22, 5, 46, tzinfo=UTC)
UNTIL = NOW + timedelta(minutes=10)
IDS = IdFactory(b"secret", cell="a")
ASKED = settle(
    rows.payment(PaymentStatus.INIT),
    rows.operation(OperationKind.AUTHORIZE),
    rows.attempt(rows.operation(OperationKind.AUTHORIZE)),
    ActionRequired("acq-1", {"type": "redirect", "url": "https://acs.example"}, UNTIL),
    now=NOW,
)
FIRST = Returned(1, b"digest")


def test_the_first_return_is_processing_with_one_event_and_the_attempt_waits_on() -> None:
    assert ASKED.attempt is not None
    back = returning.take(ASKED.payment, ASKED.operation, ASKED.attempt, FIRST, now=NOW)
    assert back.returned is FIRST
    assert (back.payment.status, back.payment.next_action) == (PaymentStatus.PROCESSING, None)
    assert [event.type for event in back.events] == ["payment.processing"]
    assert back.attempt is not None
    assert (back.attempt.state, back.attempt.act_before) == (AttemptState.WAITING, UNTIL)
    assert back.attempt.returned_at == back.operation.deferred_at == NOW
    assert not may_act(back.payment, now=NOW)


def test_another_set_is_told_nobody_and_the_first_time_stays() -> None:
    assert ASKED.attempt is not None
    back = returning.take(ASKED.payment, ASKED.operation, ASKED.attempt, FIRST, now=NOW)
    assert back.attempt is not None
    later, second = NOW + timedelta(minutes=1), Returned(2, b"other")
    again = returning.take(back.payment, back.operation, back.attempt, second, now=later)
    assert (again.payment, again.attempt, again.events) == (back.payment, back.attempt, ())
    assert again.returned is second


def test_an_acquirer_who_still_waits_changes_nothing_after_a_return() -> None:
    assert ASKED.attempt is not None
    back = returning.take(ASKED.payment, ASKED.operation, ASKED.attempt, FIRST, now=NOW)
    assert back.attempt is not None
    asked = ActionRequired("acq-1", {"type": "redirect", "url": "https://acs.example"}, UNTIL)
    for fact in (Pending("acq-1"), asked):
        still = settle(back.payment, back.operation, back.attempt, fact, now=NOW)
        assert (still.payment, still.attempt, still.events) == (back.payment, back.attempt, ())


FURTHER = ActionRequired(
    "acq-1", {"type": "redirect", "url": "https://acs.example/2"}, UNTIL + timedelta(hours=1), further=True
)


def test_a_leg_that_wants_the_customer_once_more_shows_the_page_within_the_same_time() -> None:
    assert ASKED.attempt is not None
    back = returning.take(ASKED.payment, ASKED.operation, ASKED.attempt, FIRST, now=NOW)
    assert back.attempt is not None
    shown = settle(back.payment, back.operation, back.attempt, FURTHER, now=NOW)
    assert shown.payment.status is PaymentStatus.REQUIRES_ACTION
    assert shown.payment.next_action == {**FURTHER.action, "expires_at": "2026-11-22T05:56:00.000Z"}
    assert [event.type for event in shown.events] == ["payment.requires_action"]
    assert shown.answer is not None
    assert not shown.answer.definite
    assert shown.attempt == back.attempt, "waits on, and its time is not moved"
    assert returning.page_of(shown.payment) == "https://acs.example/2"
    twice = settle(shown.payment, shown.operation, back.attempt, FURTHER, now=NOW)
    assert (twice.payment, twice.events) == (shown.payment, ())
    again = returning.take(shown.payment, shown.operation, back.attempt, Returned(2, b"other"), now=NOW)
    assert again.payment.status is PaymentStatus.PROCESSING


def test_who_was_given_up_is_not_asked_further() -> None:
    assert ASKED.attempt is not None
    back = returning.take(ASKED.payment, ASKED.operation, ASKED.attempt, FIRST, now=NOW)
    assert back.attempt is not None
    gone = abandoned(back.attempt)
    for attempt, now in ((gone, NOW), (gone, UNTIL), (back.attempt, UNTIL)):
        assert settle(back.payment, back.operation, attempt, FURTHER, now=now).payment.next_action is None


def test_a_return_too_late_given_up_or_decided_changes_nothing() -> None:
    attempt = ASKED.attempt
    assert attempt is not None
    decided = replace(ASKED.operation, status=OperationStatus.SUCCEEDED)
    for found in (
        returning.take(ASKED.payment, ASKED.operation, attempt, FIRST, now=UNTIL),
        returning.take(ASKED.payment, ASKED.operation, abandoned(attempt), FIRST, now=NOW),
        returning.take(ASKED.payment, decided, attempt, FIRST, now=NOW),
        returning.take(ASKED.payment, ASKED.operation, attempt, None, now=NOW),
    ):
        assert (found.payment, found.events, found.returned) == (ASKED.payment, (), None)


def test_five_sets_count_and_no_set_twice() -> None:
    known = [bytes([number]) for number in range(4)]
    assert returning.is_new(b"new", known)
    assert not returning.is_new(known[0], known)
    assert not returning.is_new(b"new", [*known, b"fifth"])


def test_of_the_parameters_those_declared_are_kept_the_first_of_each() -> None:
    pairs = [("result", "1"), ("other", "x"), ("result", "2"), ("MD", "")]
    assert returning.kept(pairs, declared={"result", "MD"}) == {"result": "1", "MD": ""}


def test_until_when_the_customer_may_act_is_what_was_answered() -> None:
    assert may_act(ASKED.payment, now=UNTIL - timedelta(milliseconds=1))
    assert not may_act(ASKED.payment, now=UNTIL)


@pytest.mark.parametrize(
    ("url", "sent_on"),
    [
        ("https://shop.example", "https://shop.example?payment=pay_1"),
        ("https://shop.example/a?b=c&d#e", "https://shop.example/a?b=c&d&payment=pay_1#e"),
        (
            "https://shop.example/?payment=x&payments=2&paym%65nt=y",
            "https://shop.example/?payments=2&payment=pay_1",
        ),
        ("https://shop.example/%2F?x=%20&y=+", "https://shop.example/%2F?x=%20&y=+&payment=pay_1"),
        ("https://shop.example/\r\nSet-Cookie:a", "https://shop.example/Set-Cookie:a?payment=pay_1"),
    ],
)
def test_the_customer_is_sent_on_with_the_payments_id(url: str, sent_on: str) -> None:
    assert returning.sent_on(url, payment_id="pay_1") == sent_on


@given(st.text())
def test_whatever_the_url_is_no_header_is_added(text: str) -> None:
    try:
        location = returning.sent_on(f"https://shop.example/{text}", payment_id="pay_1")
    except ValueError:  # no URL that is stored
        return
    assert location.isascii()
    assert location.isprintable()


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Shop.example/back?x#y", "https://shop.example"),
        ("https://shop.example:443/", "https://shop.example"),
        ("https://shop.example:8443", "https://shop.example:8443"),
        ("https://shop.example.", "https://shop.example"),
        ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080"),
        ("https://[::1]:444/", "https://[::1]:444"),
        ("https://shop.example@evil.example/", "https://evil.example"),
        ("javascript:alert(1)", None),
        ("https://", None),
        ("https://a:b", None),
        ("nothing", None),
    ],
)
def test_origins_have_one_spelling(url: str, origin: str | None) -> None:
    assert returning.origin_of(url) == origin


def test_a_token_is_known_as_ours_and_is_another_for_each_claim() -> None:
    tokens = {
        IDS.return_token(reference=reference, claim=claim)
        for reference in ("pay_a1-1", "pay_a1-2")
        for claim in ("run_1", "run_2")
    }
    assert len(tokens) == 4
    for token in tokens:
        assert RETURN_TOKEN_PATTERN.match(token)
        assert IDS.made_return_token(token)
        assert not IdFactory(b"another", cell="a").made_return_token(token)
        assert not IDS.made_return_token(token[:-2] + "AA")
        assert len(hash_of_return(token)) == 32


@given(st.text(max_size=60))
def test_what_we_did_not_make_is_not_ours(token: str) -> None:
    assert not IDS.made_return_token(token)


def test_the_address_is_of_this_deployment() -> None:
    pages = returning.ReturnPages(IDS, "https://pay.example")
    address = pages.address(reference="pay_a1-1", claim="run_1")
    token = IDS.return_token(reference="pay_a1-1", claim="run_1")
    assert address == f"https://pay.example/v1/returns/{token}"

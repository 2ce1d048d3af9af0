"""Derived ids: the same in every process, for ever."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payonce.domain.ids import (
    ID_MAX_LENGTH,
    ID_PATTERN,
    IdFactory,
    attempt_named,
    attempt_reference,
    random_id,
)

SECRET = b"0123456789abcdef0123456789abcdef"
IDS = IdFactory(SECRET, cell="a")
PARTS = {"merchant_id": "mer_1", "mode": "test", "key": "order-7"}

# Written down once: a change here would give an old key a new payment.
GOLDEN: dict[str, tuple[Callable[[], str], str]] = {
    "payment": (lambda: IDS.payment(**PARTS), "pay_atp5ejamvrarr7k7enaltxvr4"),
    "refund": (lambda: IDS.refund(**PARTS), "re_atjcp5g2eaz7nc7tkwsqv5zw4"),
    "operation": (lambda: IDS.operation(**PARTS), "op_aq43ro3dhufd4egtodascmri5"),
    "endpoint": (lambda: IDS.endpoint(**PARTS), "we_a56efvkrsfomwxafte67uupad"),
    "event": (lambda: IDS.event(payment_id="pay_1", sequence=3, xid=7), "evt_aohmgc6z2dhg77xcypfs7ih6u"),
    "expiry": (lambda: IDS.expiry(payment_id="pay_1"), "op_atyohyytshefx4kphwied6s26"),
    "reversal": (lambda: IDS.reversal(reference="pay_1-1"), "op_apdnebfi2swgn5uwyys2yceol"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_an_id_is_what_it_always_was(name: str) -> None:
    derive, expected = GOLDEN[name]
    assert derive() == expected


@given(merchant_id=st.text(max_size=64), mode=st.sampled_from(["test", "live"]), key=st.text(max_size=255))
def test_an_id_is_url_safe_and_short_whatever_it_stands_for(merchant_id: str, mode: str, key: str) -> None:
    derived = IDS.payment(merchant_id=merchant_id, mode=mode, key=key)
    assert derived == IDS.payment(merchant_id=merchant_id, mode=mode, key=key)
    assert ID_PATTERN.fullmatch(derived)
    assert len(derived) <= ID_MAX_LENGTH


@pytest.mark.parametrize(
    "changes", [{"merchant_id": "mer_2"}, {"mode": "live"}, {"key": "order-8"}, {"key": "order-7 "}]
)
def test_each_part_makes_another_id(changes: dict[str, str]) -> None:
    assert IDS.payment(**{**PARTS, **changes}) != IDS.payment(**PARTS)


def test_parts_do_not_run_into_each_other() -> None:
    one = IDS.payment(merchant_id="ab", mode="c", key="d")
    assert one != IDS.payment(merchant_id="a", mode="bc", key="d")
    assert one != IDS.payment(merchant_id="ab", mode="cd", key="")


def test_what_an_id_is_for_makes_another_id() -> None:
    derived = [IDS.payment(**PARTS), IDS.refund(**PARTS), IDS.operation(**PARTS), IDS.endpoint(**PARTS)]
    assert len({id_.partition("_")[2] for id_ in derived}) == len(derived)


def test_secret_and_cell_make_another_id() -> None:
    others = [IdFactory(b"x" * 32, cell="a"), IdFactory(SECRET, cell="b")]
    assert IDS.payment(**PARTS) not in [other.payment(**PARTS) for other in others]
    assert others[1].payment(**PARTS).startswith("pay_b")


def test_each_event_of_a_payment_has_its_own_id() -> None:
    assert len({IDS.event(payment_id="pay_1", sequence=n, xid=7) for n in range(100)}) == 100


def test_an_event_that_was_lost_and_the_one_that_came_instead_have_two_ids() -> None:
    assert IDS.event(payment_id="pay_1", sequence=3, xid=7) != IDS.event(
        payment_id="pay_1", sequence=3, xid=8
    )


def test_an_attempts_reference_names_the_operation_and_the_number() -> None:
    references = {attempt_reference(id_, n) for id_ in ("op_1", "op_2") for n in range(1, 20)}
    assert len(references) == 38
    longest = attempt_reference(IdFactory(SECRET, cell="abcd").payment(**PARTS), 32767)
    assert len(longest) <= ID_MAX_LENGTH
    assert ID_PATTERN.fullmatch(longest)


@given(operation_id=st.from_regex(ID_PATTERN, fullmatch=True), number=st.integers(1, 32767))
def test_a_reference_names_the_attempt_that_it_was_made_for(operation_id: str, number: int) -> None:
    assert attempt_named(attempt_reference(operation_id, number)) == (operation_id, number)


@given(
    text=st.one_of(
        st.text(), st.from_regex(r"\w*-+[-+\w]*\s?", fullmatch=True), st.from_regex(r"op_1-\d+\s?")
    )
)
def test_no_other_text_names_an_attempt(text: str) -> None:
    named = attempt_named(text)
    assert named is None or attempt_reference(*named) == text


def test_a_random_id_stands_for_nothing_else() -> None:
    drawn = {random_id("boot") for _ in range(1000)}
    assert len(drawn) == 1000
    assert all(ID_PATTERN.fullmatch(id_) and id_.startswith("boot_") for id_ in drawn)

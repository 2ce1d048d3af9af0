"""The measure of work tells what grows with its input from what grows faster: `test_cpu_by_content` judges by it."""

import re
import sys

import pytest

from tests.support.work import GROWTH_MAX, Work, growth, steps

RETRIED_EVERYWHERE = re.compile("6*7")  # from every place to the end, in C
FOUND_ONCE = re.compile("7")


def searched(expression: re.Pattern[str], size: int) -> Work:
    text = "6" * size
    return lambda: expression.search(text)


def test_an_expression_that_takes_the_square_grows_too_fast() -> None:
    assert growth(lambda size: searched(RETRIED_EVERYWHERE, size), 100_000) > GROWTH_MAX


def test_the_square_is_seen_behind_what_grows_evenly() -> None:
    def of_size(size: int) -> Work:
        evenly, square = range(size), searched(RETRIED_EVERYWHERE, size)
        return lambda: (sum(evenly), square())

    assert growth(of_size, 30_000) > GROWTH_MAX


def test_an_expression_that_looks_once_grows_evenly() -> None:
    assert growth(lambda size: searched(FOUND_ONCE, size), 5_000_000) <= GROWTH_MAX


@pytest.mark.parametrize("size", [1_000, 2_000])
def test_steps_are_the_same_each_time_and_count_loops_without_calls(size: int) -> None:
    def loop() -> None:
        for _ in range(size):
            pass

    assert steps(loop) == steps(loop)
    assert 2 * size <= steps(loop) <= 10 * size


def test_steps_leave_the_tracing_as_it_was() -> None:
    before = sys.gettrace()
    with pytest.raises(ZeroDivisionError):
        steps(lambda: 1 // 0)
    assert sys.gettrace() is before

"""A line of an export: amounts as the currency writes them, and no formula."""

import csv
from io import StringIO

import pytest

from payonce.cli.payments import COLUMNS, harmless, row_of
from payonce.domain.payment import PaymentStatus
from tests.support.rows import payment


@pytest.mark.parametrize(
    "begins", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "  =", "\t="]
)
def test_a_text_that_begins_as_a_formula_is_none(begins: str) -> None:
    assert harmless(f'{begins}HYPERLINK("http://evil.example")').startswith("'")


@pytest.mark.parametrize(
    "separator", [",", ";", "\t", "|", ":", "^", "~", "\r", "\n", "\r\n", "\v", "\x1e", "\u2028"]
)
@pytest.mark.parametrize("before", ["", "  ", '"', "\u00a0", "\u200b", "\ufeff"])
def test_no_piece_of_a_text_is_a_formula_wherever_it_is_parted(separator: str, before: str) -> None:
    for sign in "=+-@＝＋－＠":
        for text in (
            f"{separator}{before}{sign}cmd",
            f'two{separator}{before}{sign}cmd|"a"{separator}{sign}1',
        ):
            pieces = harmless(text).split(separator)
            assert [
                piece for piece in pieces if piece.lstrip(' "\u00a0\u200b\ufeff')[:1] in tuple(sign)
            ] == []


def test_a_space_parts_a_text_only_before_what_could_be_calculated() -> None:
    assert harmless("Tea - two cups, 3 + 4") == "Tea - two cups, 3 + 4"
    assert harmless("Tea =cmd -2") == "Tea '=cmd '-2"


@pytest.mark.parametrize("begins", ["\t", "\r", "\n"])
def test_a_cell_begins_with_no_tab_or_line_end(begins: str) -> None:
    assert harmless(f"{begins}text") == f"'{begins}text"


@pytest.mark.parametrize("text", ["", "order-7", "a=b", "चाय", "'quoted", "1,099", "17:45", "a;b|c"])
def test_any_other_text_stays(text: str) -> None:
    assert harmless(text) == text


@pytest.mark.parametrize(
    ("currency", "shown"), [("INR", "10.00"), ("JPY", "1000"), ("KWD", "1.000"), ("CLF", "0.1000")]
)
def test_amounts_are_in_the_currency_s_own_units(currency: str, shown: str) -> None:
    row = dict(zip(COLUMNS, row_of(payment(PaymentStatus.CAPTURED, currency=currency)), strict=True))
    assert (row["amount"], row["amount_captured"], row["amount_minor"]) == (shown, shown, "1000")


def test_a_line_is_read_back_as_it_was() -> None:
    said = payment(description='two\nlines, a "quote"', merchant_reference="=1+1")
    file = StringIO()
    csv.writer(file).writerow(row_of(said))
    (read,) = csv.reader(StringIO(file.getvalue()))
    row = dict(zip(COLUMNS, read, strict=True))
    assert row["description"] == 'two\nlines, a "quote"'
    assert row["merchant_reference"] == "'=1+1"
    assert (row["payment_method"], row["brand"], row["last4"]) == ("card", "visa", "4242")

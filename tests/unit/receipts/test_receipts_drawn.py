"""Both forms of a receipt: what each shows, and what somebody else's text does to it."""

import hashlib
import html.parser
import json
from base64 import b64encode
from dataclasses import asdict

import pytest

from payonce.receipts import drawing
from payonce.receipts.headers import headers
from payonce.receipts.view import Letterhead, receipt_of
from tests.unit.receipts.receipts_seen import (
    SHOP,
    paid_and_refunded,
    payment,
    squeezed,
    text_of_html,
    text_of_pdf,
    told,
)

# A PNG of one pixel.
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
)
HOSTILE = (
    '</style><script>alert(1)</script><img src="http://127.0.0.1:9/x">',
    '#read("/etc/passwd") $x$ *bold* @cite `raw` \\ // /* ',
    "file:///etc/passwd http://127.0.0.1:9/ {{ receipt }} {% raw %} ${x}",
    "\u202egnp.exe\u202c" + "W" * 480,
    "م" * 500,
)


@pytest.mark.parametrize(
    ("currency", "text"),
    [
        ("INR", "अमित शर्मा, चाय दुकान"),
        ("LKR", "முருகன் தேநீர் கடை"),
        ("JPY", "王小明 茶叶"),
        ("EUR", "Ærø Søren Łukasz"),
    ],
)
def test_both_forms_show_every_text_of_the_view(currency: str, text: str) -> None:
    receipt = paid_and_refunded(currency=currency, description=text, customer={"name": text})
    shown = asdict(receipt)
    for found in (text_of_html(drawing.html(shown, None)), text_of_pdf(drawing.pdf(shown, None))):
        there = squeezed(found)
        assert [part for part in receipt.texts() if squeezed(part) not in there] == []


def test_arabic_is_drawn_with_its_font_and_shown_in_html() -> None:
    """A reader of PDF gives its letters in the order in which they stand: they are compared as a set."""
    name = "متجر الشاي"
    shown = asdict(paid_and_refunded(currency="KWD", customer={"name": name}))
    assert name in text_of_html(drawing.html(shown, None))
    assert set(squeezed(name)) <= set(text_of_pdf(drawing.pdf(shown, None)))


def test_the_pdf_is_tagged_and_says_its_language_and_title() -> None:
    made = drawing.pdf(asdict(paid_and_refunded()), PIXEL)
    for mark in (b"/Marked true", b"/StructTreeRoot", b"/Lang", b"pdfuaid:part"):
        assert mark in made, mark


def test_a_letter_that_no_font_has_is_no_reason_to_have_no_receipt() -> None:
    made = drawing.pdf(asdict(paid_and_refunded(description="ไทย ☕ 한국어")), None)
    assert b"/Marked true" in made


def test_the_same_view_makes_the_same_bytes() -> None:
    shown = asdict(paid_and_refunded())
    for draw in drawing.FORMS.values():
        assert draw(shown, PIXEL) == draw(shown, PIXEL)


class Tags(html.parser.HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, list[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value or "")


@pytest.mark.parametrize("text", HOSTILE)
def test_somebody_else_s_text_is_no_markup_in_either_form(text: str) -> None:
    shop = Letterhead(text, text)
    changes = {"description": text, "customer": {"name": text}, "merchant_reference": text}
    plain = receipt_of(told(payment(1099)), Letterhead("A", "B"), mode="test")
    hostile = receipt_of(told(payment(1099, **changes)), shop, mode="test")
    found, expected = Tags(), Tags()
    found.feed(drawing.html(asdict(hostile), None).decode())
    expected.feed(drawing.html(asdict(plain), None).decode())
    assert found.tags == expected.tags
    assert not {"src", "href", "onerror", "style"} & found.attributes.keys()
    drawn = text_of_pdf(drawing.pdf(asdict(hostile), None))
    assert "root:" not in drawn
    if text.isascii():
        assert squeezed(hostile.merchant) in squeezed(drawn)


def test_the_page_may_use_its_own_style_and_nothing_else() -> None:
    page = drawing.html(asdict(paid_and_refunded()), PIXEL).decode()
    style = page.partition("<style>")[2].partition("</style>")[0]
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    in_page = Tags()
    in_page.feed(page)
    (said,) = [each for each in in_page.attributes["content"] if "default-src" in each]
    for policy in (said, headers()["Content-Security-Policy"]):
        assert f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:" in policy
    assert "sandbox" in headers()["Content-Security-Policy"]
    assert [each[:22] for each in in_page.attributes["src"]] == ["data:image/png;base64,"]
    assert '<html lang="en">' in page


def test_the_view_reaches_typst_as_data_alone() -> None:
    """Its source is the same file, whatever the receipt says."""
    source = (drawing._HERE / "receipt.typ").read_text()
    assert "eval" not in source
    assert "json(bytes(sys.inputs.receipt))" in source
    assert json.loads(paid_and_refunded().as_json())["merchant"] == SHOP.name

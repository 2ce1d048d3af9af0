"""A receipt in a browser: nothing that axe finds, readable at 360 px and printed on A4, and no request of its own."""

from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

import pytest
from playwright.async_api import Browser

from payonce.receipts import drawing
from payonce.receipts.view import Letterhead, receipt_of
from tests.support.browser import axe_findings, browser, overflows, tab
from tests.support.pictures import drawn
from tests.unit.receipts.receipts_seen import payment, refund, told

LONG = "W" * 500
A4_PX = 794  # 210 mm at 96 px an inch


@pytest.fixture(scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with browser() as running:
        yield running


def page(folder: Path, text: str, *, name: str = "Tea & Co.") -> str:
    """Where a receipt lies in which somebody's text stands wherever it may."""
    changes = {"description": text, "customer": {"name": text}, "merchant_reference": text[:100]}
    events = told(payment(0, **changes), payment(1099, **changes), refund(99, reason=text))
    receipt = receipt_of(events, Letterhead(name, "12 Marine Drive\nMumbai"), mode="test")
    file = folder / "receipt.html"
    file.write_bytes(drawing.html(asdict(receipt), drawn(120, 40)))
    return file.as_uri()


@pytest.mark.parametrize(
    "text", ["Two cups", LONG, "شاي أخضر " * 20, "</dd><script>document.title='x'</script>"]
)
async def test_a_receipt_is_read_on_a_phone_and_axe_finds_nothing(
    chromium: Browser, tmp_path: Path, text: str
) -> None:
    async with tab(chromium) as opened:
        asked: list[str] = []
        opened.on("request", lambda request: asked.append(request.url))
        address = page(tmp_path, text)
        await opened.goto(address)
        assert not await overflows(opened)
        assert await axe_findings(opened) == []
        assert "Receipt" in await opened.title()
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


async def test_its_style_applies_under_its_own_policy_and_its_picture_is_shown(
    chromium: Browser, tmp_path: Path
) -> None:
    async with tab(chromium) as opened:
        await opened.goto(page(tmp_path, "Two cups"))
        size = await opened.evaluate("getComputedStyle(document.querySelector('h1')).fontSize")
        assert size == "24px"
        assert await opened.evaluate("document.images[0].naturalWidth") == 120


async def test_it_is_printed_on_one_page_of_a4(chromium: Browser, tmp_path: Path) -> None:
    async with tab(chromium, width=A4_PX) as opened:
        await opened.goto(page(tmp_path, "Two cups"))
        await opened.emulate_media(media="print")
        assert not await overflows(opened)
        printed = await opened.pdf(format="A4", prefer_css_page_size=True)
        assert printed.count(b"/Type /Page\n") == 1

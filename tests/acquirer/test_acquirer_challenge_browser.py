"""The page of a card's bank in a real browser: on a narrow phone, by keyboard, for screen readers, and back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from acquirer_process import Acquirer, Body
from playwright.async_api import Browser, Page, expect

from tests.support import browser as browsers
from tests.support.browser import axe_findings, overflows, tab

CHALLENGED = "4000002500003155"
LARGEST = 2**53 - 1
TALL_ENOUGH_PX = 44  # of what is touched. Source: WCAG 2.2, 2.5.5


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with browsers.browser() as running:
        yield running


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_in_any_state_of_the_page(
    acquirer: Acquirer, browser: Browser, scheme: Literal["light", "dark"]
) -> None:
    async with tab(browser, scheme=scheme) as page:
        for state, answers in STATES.items():
            order = await challenged(acquirer, payment_reference=f"pay_{state}")
            for decision, code in answers:
                await acquirer.answer(decision, code=code, payment=f"pay_{state}")
            if state == "withdrawn":
                await acquirer.cancel(order["reference"])
            await page.goto(order["page"])
            assert await axe_findings(page) == [], state
        await page.goto(order["page"] + "_none")
        assert await axe_findings(page) == []


STATES: dict[str, list[tuple[str, str]]] = {
    "open": [],
    "wrong": [("submit", "1")],
    "approved": [("submit", "123456")],
    "failed": [("fail", "")],
    "withdrawn": [],
}


async def test_the_page_fits_a_narrow_phone(acquirer: Acquirer, browser: Browser) -> None:
    order = await challenged(acquirer, amount=LARGEST, currency="EUR", payment_reference="pay_" + "x" * 60)
    async with tab(browser) as page:
        await page.goto(order["page"])
        assert not await overflows(page)
        for control in await page.locator("input, button").all():
            box = await control.bounding_box()
            assert box is not None
            assert box["height"] >= TALL_ENOUGH_PX


async def test_the_keyboard_is_enough(acquirer: Acquirer, browser: Browser) -> None:
    async with merchant() as shop, tab(browser) as page:
        order = await challenged(acquirer, return_url=shop.url)
        await page.goto(order["page"])
        await expect(page.get_by_role("textbox", name="One-time code")).to_be_focused()
        for name in ("Submit", "Fail", "Cancel"):
            await page.keyboard.press("Tab")
            await expect(page.get_by_role("button", name=name)).to_be_focused()
        for _ in range(3):
            await page.keyboard.press("Shift+Tab")
        await page.keyboard.type("123456")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Shop")).to_be_visible()
    assert shop.asked == [("GET", "/back?order=7&payment=pay_1", "")]
    assert await acquirer.status(order["reference"]) == "approved"


async def test_a_screen_reader_hears_the_code_the_mistake_and_the_result(
    acquirer: Acquirer, browser: Browser
) -> None:
    order = await challenged(acquirer)
    async with tab(browser) as page:
        await page.goto(order["page"])
        code = page.get_by_role("textbox", name="One-time code")
        await expect(code).to_have_accessible_description(HINT)
        await expect(page.get_by_role("status")).to_have_text("Waiting for you")
        await expect(page).to_have_title("Waiting for you: EUR 10.99")
        for left in ("2 tries are left", "1 try is left"):
            await code.fill("000000")
            await page.get_by_role("button", name="Submit").click()
            wrong = f"That code is wrong. {left}."
            await expect(page.get_by_role("alert")).to_have_text(wrong)
            await expect(code).to_have_accessible_description(f"{HINT} {wrong}")
            await expect(code).to_be_focused()
        await code.fill("000000")
        await page.get_by_role("button", name="Submit").click()
        await expect(page.get_by_role("status")).to_have_text("Failed")


HINT = "A bank would send it to your phone. Here it is always 123456."


@pytest.mark.parametrize(
    ("button", "status"), [("Submit", "approved"), ("Fail", "declined"), ("Cancel", "pending")]
)
@pytest.mark.parametrize("returns_by", ["get", "post"])
async def test_a_button_sends_the_browser_back(
    acquirer: Acquirer, browser: Browser, button: str, status: str, returns_by: str
) -> None:
    async with merchant() as shop, tab(browser) as page:
        order = await challenged(acquirer, return_url=shop.url, returns_by=returns_by)
        await page.goto(order["page"])
        if button == "Submit":
            await page.get_by_role("textbox").fill("123456")
        await page.get_by_role("button", name=button).click()
        await expect(page.get_by_role("heading", name="Shop")).to_be_visible()
    assert shop.asked == [BACK[returns_by]]
    assert await acquirer.status(order["reference"]) == status


BACK = {
    "get": ("GET", "/back?order=7&payment=pay_1", ""),
    "post": ("POST", "/back?order=7", "payment=pay_1"),
}


async def test_two_tabs_and_a_reload_answer_once(acquirer: Acquirer, browser: Browser) -> None:
    order = await challenged(acquirer)
    async with tab(browser) as page:
        other = await page.context.new_page()
        for each in (page, other):
            await each.goto(order["page"])
        await submit(page)
        await page.reload()
        await submit(other)
        for each in (page, other):
            await expect(each.get_by_role("status")).to_have_text("Approved")
    assert await acquirer.moved(order["reference"]) == ["authorize"]


async def submit(page: Page) -> None:
    await page.get_by_role("textbox").fill("123456")
    await page.get_by_role("button", name="Submit").click()
    await expect(page.get_by_role("status")).to_have_text("Approved")


async def challenged(acquirer: Acquirer, **changes: Any) -> Body:
    return await acquirer.authorize(**{"number": CHALLENGED, "currency": "EUR", **changes})


@dataclass
class Shop:
    """Where the browser comes back to. It keeps the method, the address and the body of each request."""

    url: str = ""
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:-1])
            body = (await reader.readexactly(int(headers.get("content-length", "0")))).decode()
            method, path, _ = head.split(" ", 2)
            if path.startswith("/back"):
                self.asked.append((method, path, body))
            page = b"<!doctype html><title>Shop</title><h1>Shop</h1>"
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n" + page)
            await writer.drain()
        except asyncio.IncompleteReadError:
            return  # a connection that the browser opened for later
        finally:
            writer.close()


@asynccontextmanager
async def merchant() -> AsyncIterator[Shop]:
    """It listens on a free port while the block runs."""
    shop = Shop()
    server = await asyncio.start_server(shop.serve, "127.0.0.1", 0)
    shop.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/back?order=7"
    try:
        yield shop
    finally:
        server.close()

"""Chromium, driven by Playwright: Debian's, as `.ci/run` installs it. Nothing is downloaded."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Literal

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, async_playwright

from tests.support.tools import tool

NARROW_PX: Final = 360  # a small phone's width
ACTION_MS_MAX: Final = 10_000


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """It runs while the block does. The test is skipped where there is none; see `tool`."""
    path = tool("chromium", of="chromium")
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=path)
        try:
            yield running
        finally:
            await running.close()


@asynccontextmanager
async def tab(
    running: Browser, *, width: int = NARROW_PX, scheme: Literal["light", "dark"] = "light"
) -> AsyncIterator[Page]:
    """A tab of a browser that remembers nothing; a phone's, unless another width is given."""
    context = await running.new_context(viewport={"width": width, "height": 740}, color_scheme=scheme)
    context.set_default_timeout(ACTION_MS_MAX)
    try:
        yield await context.new_page()
    finally:
        await context.close()


async def axe_findings(page: Page) -> list[str]:
    """What axe says is wrong with the page as it is shown, each with the element."""
    found = await Axe().run(page)
    return [
        f"{violation['id']}: {node['html']}"
        for violation in found.response["violations"]
        for node in violation["nodes"]
    ]


async def overflows(page: Page) -> bool:
    """Whether the page has to be moved sideways to be read."""
    wide: bool = await page.evaluate(
        "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    )
    return wide

"""The sandbox's wallet and our return page, with a browser in between: nobody believes it, and it costs little."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest
from temporalio.client import Client

from devstack.stack import DevStack
from tests.e2e.merchant import Body, Merchant, answered, refused
from tests.e2e.test_customers_act import PAID, becomes, wallet
from tests.support.witness import Witness

SHOP = "https://shop.example/back?basket=1#top"
HISTORY_EVENTS_MAX = 120  # of a payment whose customer came back again and again


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[httpx.AsyncClient]:
    """A customer's, which follows no redirect by itself."""
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        yield client


async def ask(shop: Merchant, *, return_url: str | None = SHOP) -> Body:
    return await shop.paid(payment_method=wallet("paytm"), return_url=return_url)


async def decide(browser: httpx.AsyncClient, payment: Body, decision: str) -> str:
    """The customer decided on the acquirer's page; where that sends the browser."""
    response = await browser.post(payment["next_action"]["url"], data={"decision": decision})
    assert response.status_code == 303
    return response.headers["Location"]


async def address(browser: httpx.AsyncClient, payment: Body) -> str:
    """Where the acquirer's page would send the browser."""
    shown = await browser.get(payment["next_action"]["url"], headers={"Accept": "application/json"})
    found: str = shown.json()["return_url"]
    return found


async def test_the_browser_is_led_through_our_page_to_the_merchant(
    shop: Merchant, browser: httpx.AsyncClient, witness: Witness, stack: DevStack
) -> None:
    payment = await ask(shop)
    ours = await decide(browser, payment, "approve")
    assert ours.startswith(f"{stack.api_url}/v1/returns/")
    back = await browser.get(ours)
    assert back.status_code == 303
    assert back.headers["Location"] == f"https://shop.example/back?basket=1&payment={payment['id']}#top"
    paid = await shop.payment(payment)  # the page had waited for it
    assert (paid["status"], paid["next_action"], paid["return_url"]) == ("captured", None, SHOP)
    assert (await shop.timeline(payment))[-2:] == ["payment.authorized", "payment.captured"]
    assert await witness.movements(payment["id"]) == PAID
    assert "shop.example" not in str(await witness.requests(payment_reference=payment["id"]))


async def test_without_a_return_url_our_page_says_how_it_ended(
    shop: Merchant, browser: httpx.AsyncClient
) -> None:
    for decision, words in (("approve", "Your payment went through"), ("decline", "did not go through")):
        payment = await ask(shop, return_url=None)
        page = await browser.get(await decide(browser, payment, decision))
        assert page.status_code == 200
        assert words in page.text


async def test_a_browser_that_says_more_than_happened_is_not_believed(
    shop: Merchant, browser: httpx.AsyncClient, witness: Witness
) -> None:
    payment = await ask(shop)
    where = await address(browser, payment)
    back = await browser.get(f"{where}&status=approved&result=success")
    assert back.status_code == 303
    waits = await shop.payment(payment)
    assert (waits["status"], waits["next_action"]) == ("processing", None)
    assert await witness.movements(payment["id"]) == []
    key = {"decision": "approve"}
    await browser.post(payment["next_action"]["url"], data=key)  # the acquirer's page is open yet
    await becomes(shop, payment, "captured")
    assert await shop.timeline(payment) == [
        *("payment.requires_action", "payment.processing"),
        *("payment.authorized", "payment.captured"),
    ]
    assert await witness.movements(payment["id"]) == PAID


async def test_a_retry_of_the_key_says_that_the_customer_is_back(
    shop: Merchant, browser: httpx.AsyncClient
) -> None:
    key, order = f"back-{(await ask(shop))['id']}", {"payment_method": wallet("paytm"), "return_url": SHOP}
    first = await shop.pay(key=key, **order)
    payment = answered(first, 201)
    assert (await shop.pay(key=key, **order)).content == first.content
    await browser.get(await address(browser, payment))
    then = await shop.pay(key=key, **order)
    assert (then.status_code, then.json()["status"], then.json()["next_action"]) == (202, "processing", None)
    await browser.post(payment["next_action"]["url"], data={"decision": "decline"})
    await becomes(shop, payment, "failed")
    refused(await shop.pay(key=key, **order), 402, "payment_declined")


async def test_a_return_after_a_void_changes_nothing(
    shop: Merchant, browser: httpx.AsyncClient, witness: Witness
) -> None:
    payment = await ask(shop)
    where = await address(browser, payment)
    voided = await shop.voided(payment)
    assert (await browser.get(where)).status_code == 303
    assert await shop.payment(payment) == voided
    assert await witness.movements(payment["id"]) == []


async def test_a_void_after_a_return_ends_it_at_the_acquirer(
    shop: Merchant, browser: httpx.AsyncClient, witness: Witness
) -> None:
    payment = await ask(shop)
    await browser.get(await address(browser, payment))
    await shop.void(payment)
    await becomes(shop, payment, "voided")
    await browser.post(payment["next_action"]["url"], data={"decision": "approve"})
    assert await shop.timeline(payment) == [
        *("payment.requires_action", "payment.processing", "payment.voided"),
    ]
    assert await witness.movements(payment["id"]) == []


async def test_a_void_and_a_return_at_once_end_in_one_way(
    shop: Merchant, browser: httpx.AsyncClient, witness: Witness
) -> None:
    payment = await ask(shop)
    where = await address(browser, payment)
    await asyncio.gather(browser.get(where), shop.void(payment))
    await becomes(shop, payment, "voided")
    told = await shop.timeline(payment)
    assert told in (
        ["payment.requires_action", "payment.voided"],
        ["payment.requires_action", "payment.processing", "payment.voided"],
    )
    assert await witness.movements(payment["id"]) == []


async def test_a_storm_of_returns_leaves_one_event_and_a_short_history(
    shop: Merchant, browser: httpx.AsyncClient, witness: Witness, stack: DevStack
) -> None:
    payment = await ask(shop)
    where = await address(browser, payment)
    answers = await asyncio.gather(*(browser.get(f"{where}&n={number}") for number in range(40)))
    assert {answer.status_code for answer in answers} == {303, 429}
    await decide(browser, payment, "approve")
    await becomes(shop, payment, "captured")
    assert (await shop.timeline(payment)).count("payment.processing") == 1
    temporal = await Client.connect(stack.temporal_address)
    history = await temporal.get_workflow_handle(payment["id"]).fetch_history()
    assert len(history.events) < HISTORY_EVENTS_MAX
    signals = [
        event for event in history.events if event.HasField("workflow_execution_signaled_event_attributes")
    ]
    assert len(signals) <= 3  # the return, and what the acquirer told
    assert await witness.movements(payment["id"]) == PAID


async def test_a_browser_that_fetches_ahead_and_an_address_that_is_made_up(
    shop: Merchant, browser: httpx.AsyncClient, stack: DevStack
) -> None:
    payment = await ask(shop)
    where = await address(browser, payment)
    assert (await browser.get(where, headers={"Sec-Purpose": "prefetch"})).status_code == 403
    assert (await browser.head(where)).status_code == 403
    token = urlsplit(where).path.rpartition("/")[2]
    assert (await browser.get(f"{stack.api_url}/v1/returns/{token[::-1]}")).status_code == 404
    assert (await shop.payment(payment))["status"] == "requires_action"

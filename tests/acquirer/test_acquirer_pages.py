"""The pages on which a person plays the customer, over HTTP as a browser without scripts speaks it."""

import re

import pytest
from acquirer_process import Acquirer

RETURN_URL = "https://shop.test/back?order=7"


async def test_the_page_shows_what_is_asked_and_two_buttons(acquirer: Acquirer) -> None:
    order = await acquirer.ask_by_upi(
        amount=123456789, payee={"vpa": "acme@payonce", "name": "<b>Acme</b> & Co"}
    )
    page = await acquirer.client.get(order["page"])
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for shown in (
        "₹12,34,567.89",
        "&lt;b&gt;Acme&lt;/b&gt; &amp; Co",
        "acme@payonce",
        "Order 7",
        "Waiting for you",
    ):
        assert shown in page.text
    assert re.findall(r'name="decision" value="(\w+)"', page.text) == ["approve", "decline"]


async def test_the_page_loads_nothing_and_runs_nothing(acquirer: Acquirer) -> None:
    page = await acquirer.client.get((await acquirer.ask_by_upi())["page"])
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self'; " in policy
    assert not re.search(r"<script|<img|<link|javascript:|\son\w+=|src=", page.text)
    assert 'content="width=device-width, initial-scale=1"' in page.text


@pytest.mark.parametrize(("decision", "said"), [("approve", "Approved"), ("decline", "Declined")])
async def test_a_button_leads_to_the_result(acquirer: Acquirer, decision: str, said: str) -> None:
    url = (await acquirer.ask_by_upi())["page"]
    response = await acquirer.client.post(url, data={"decision": decision})
    assert (response.status_code, response.headers["location"]) == (303, "/upi/pay_1")
    page = await acquirer.client.get(url)
    assert said in page.text
    assert "<form" not in page.text
    again = await acquirer.client.post(url, data={"decision": "approve"}, follow_redirects=True)
    assert said in again.text


@pytest.mark.parametrize("decision", ["approve", "decline"])
async def test_a_wallet_sends_the_browser_back_to_the_merchant(acquirer: Acquirer, decision: str) -> None:
    url = (await acquirer.ask_by_wallet(return_url=RETURN_URL))["page"]
    page = await acquirer.client.get(url)
    # A browser holds the redirect after the form to this, too.
    assert "form-action 'self' http: https:;" in page.headers["content-security-policy"]
    for _ in range(2):  # the second: a double click
        response = await acquirer.client.post(url, data={"decision": decision})
        assert (response.status_code, response.headers["location"]) == (303, f"{RETURN_URL}&payment=pay_1")
    assert f'href="{RETURN_URL}&amp;payment=pay_1"' in (await acquirer.client.get(url)).text


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("", ""),
        ("?payment=pay_other", ""),
        ("?payment=a&order=7&payment=b&payments=2", "order=7&payments=2&"),
        ("?pay%6Dent=a&a=%20b+c", "a=%20b+c&"),
        ("?payment", ""),
    ],
)
async def test_a_payment_that_return_url_names_already_is_replaced_by_ours(
    acquirer: Acquirer, query: str, kept: str
) -> None:
    url = (await acquirer.ask_by_wallet(return_url=f"https://shop.test/back{query}#end"))["page"]
    response = await acquirer.client.post(url, data={"decision": "approve"})
    assert response.headers["location"] == f"https://shop.test/back?{kept}payment=pay_1#end"


async def test_a_wallet_without_return_url_shows_the_result(acquirer: Acquirer) -> None:
    url = (await acquirer.ask_by_wallet(provider="phonepe"))["page"]
    response = await acquirer.client.post(url, data={"decision": "approve"}, follow_redirects=True)
    assert "Approved" in response.text
    assert "PhonePe wallet" in response.text


async def test_a_dead_payment_says_so_and_has_no_buttons(acquirer: Acquirer) -> None:
    order = await acquirer.ask_by_upi()
    await acquirer.reverse(order["reference"])
    page = await acquirer.client.get(order["page"])
    assert "Withdrawn" in page.text
    assert "<form" not in page.text
    answered_late = await acquirer.client.post(
        order["page"], data={"decision": "approve"}, follow_redirects=True
    )
    assert "Withdrawn" in answered_late.text
    assert await acquirer.ledger() == []


async def test_a_scripted_payment_has_no_buttons_and_follows_by_itself(acquirer: Acquirer) -> None:
    order = await acquirer.ask_by_upi(sandbox_vpa="late@upi")
    page = await acquirer.client.get(order["page"])
    assert 'http-equiv="refresh"' in page.text
    assert "<form" not in page.text
    assert (await acquirer.decide("approve")).status_code == 409


@pytest.mark.parametrize("path", ["/upi/pay_none", "/wallet/pay_none", "/upi/%3Cscript%3E"])
async def test_an_unknown_payment_has_a_page_that_says_so(unmoved_acquirer: Acquirer, path: str) -> None:
    page = await unmoved_acquirer.client.get(path)
    assert (page.status_code, "There is no such payment here" in page.text) == (404, True)
    answer = await unmoved_acquirer.client.post(path, data={"decision": "approve"})
    assert answer.status_code == 404
    program = await unmoved_acquirer.client.get(path, headers={"Accept": "application/json"})
    assert (program.status_code, program.json()) == (404, {"error": "not_found"})


@pytest.mark.parametrize("fields", [{}, {"decision": "maybe"}, {"decision": ""}])
async def test_an_answer_that_is_none_is_refused(acquirer: Acquirer, fields: dict[str, str]) -> None:
    order = await acquirer.ask_by_upi()
    assert (await acquirer.client.post(order["page"], data=fields)).status_code == 400
    assert await acquirer.status(order["reference"]) == "pending"


async def test_a_payment_is_on_the_page_of_its_own_rail_only(acquirer: Acquirer) -> None:
    await acquirer.ask_by_wallet()
    assert (await acquirer.client.get("/upi/pay_1")).status_code == 404


async def test_a_public_url_is_where_people_are_sent(acquirer: Acquirer) -> None:
    await acquirer.stop()
    acquirer.arguments = ("--public-url", "https://sandbox.test/acquirer/")
    await acquirer.start()
    assert (await acquirer.ask_by_upi())["page"] == "https://sandbox.test/acquirer/upi/pay_1"

"""Cards whose holder is asked: what is answered, what the page decides, and what then moved."""

import hashlib
import re
from typing import Any

import pytest
from acquirer_process import Acquirer, answered, eventually, eventually_is
from merchant_side import merchant_side

CHALLENGED = "4000002500003155"
THEN_DECLINED = "4000008260003178"
FRICTIONLESS = "4000000000003055"
ATTEMPTED = "4000000000003105"
EXEMPTS_NOBODY = "4000000000003113"
SOFTLY_DECLINED = "4000000000003121"
NEVER_AUTHENTICATED = "4000000000003139"
RETURN_URL = "https://shop.test/back?order=7"
AUTHENTICATED = {"result": "authenticated", "eci": "05", "liability": "issuer", "exemption_honoured": None}


async def test_a_card_whose_holder_is_asked_waits_and_moves_nothing(acquirer: Acquirer) -> None:
    answer = await acquirer.authorize(number=CHALLENGED, capture=True)
    assert (answer["status"], answer["decline_code"], answer["authentication"]) == ("pending", None, None)
    assert answer["page"].endswith("/card/pay_1")
    assert answer["expires_at"] > answer["created_at"]
    assert await acquirer.status(answer["reference"]) == "pending"
    assert await acquirer.ledger() == []


@pytest.mark.parametrize(("capture", "moved"), [(True, ["authorize", "capture"]), (False, ["authorize"])])
async def test_the_right_code_moves_the_money_once(
    acquirer: Acquirer, capture: bool, moved: list[str]
) -> None:
    reference = (await acquirer.authorize(number=CHALLENGED, capture=capture))["reference"]
    for _ in range(2):
        assert answered(await acquirer.answer("submit"))["status"] == "approved"
    found = answered(await acquirer.inquire(reference))
    assert (found["status"], found["stage"]) == ("approved", "captured" if capture else "authorized")
    assert found["authentication"] == AUTHENTICATED
    assert found["authorization"] == found["id"]
    assert await acquirer.moved(reference) == moved
    assert (await acquirer.answer("fail")).status_code == 409


async def test_what_was_authorized_after_a_challenge_is_captured(acquirer: Acquirer) -> None:
    own_id = (await acquirer.authorize(number=CHALLENGED))["id"]
    await acquirer.answer("submit")
    capture = await acquirer.post("/captures", acquirer.order(authorization=own_id, final=True))
    assert answered(capture)["status"] == "approved"


async def test_a_card_may_be_declined_after_its_holder_was_authenticated(acquirer: Acquirer) -> None:
    reference = (await acquirer.authorize(number=THEN_DECLINED))["reference"]
    answered(await acquirer.answer("submit"))
    found = answered(await acquirer.inquire(reference))
    assert (found["status"], found["decline_code"], found["soft"]) == (
        "declined",
        "insufficient_funds",
        False,
    )
    assert found["authentication"] == AUTHENTICATED
    assert await acquirer.ledger() == []


@pytest.mark.parametrize("answers", [["fail"], ["wrong"] * 3])
async def test_who_fails_is_declined(acquirer: Acquirer, answers: list[str]) -> None:
    reference = (await acquirer.authorize(number=CHALLENGED))["reference"]
    for answer in answers:
        assert await acquirer.status(reference) == "pending"
        decision = "submit" if answer == "wrong" else answer
        answered(await acquirer.answer(decision, code="654321"))
    found = answered(await acquirer.inquire(reference))
    assert (found["status"], found["decline_code"]) == ("declined", "authentication_failed")
    assert (found["authentication"]["result"], found["authentication"]["liability"]) == ("failed", "merchant")
    assert (await acquirer.answer("submit")).status_code == 409
    assert await acquirer.ledger() == []


async def test_two_wrong_codes_and_a_right_one_pass(acquirer: Acquirer) -> None:
    await acquirer.authorize(number=CHALLENGED)
    for code in ("", "12345"):
        assert answered(await acquirer.answer("submit", code=code))["answerable"] is True
    assert answered(await acquirer.answer("submit", code=" 123456 "))["status"] == "approved"


async def test_cancel_leaves_the_challenge_open(acquirer: Acquirer) -> None:
    reference = (await acquirer.authorize(number=CHALLENGED, return_url=RETURN_URL))["reference"]
    for _ in range(2):
        assert answered(await acquirer.answer("cancel"))["answerable"] is True
    assert await acquirer.status(reference) == "pending"
    assert answered(await acquirer.answer("submit"))["status"] == "approved"


async def test_a_challenge_that_is_cancelled_cannot_be_passed(acquirer: Acquirer) -> None:
    reference = (await acquirer.authorize(number=CHALLENGED))["reference"]
    assert answered(await acquirer.cancel(reference))["status"] == "cancelled"
    assert (await acquirer.answer("submit")).status_code == 409
    assert await acquirer.status(reference) == "reversed"
    assert await acquirer.ledger() == []


async def test_a_success_may_come_late_where_that_is_accepted(acquirer: Acquirer) -> None:
    await acquirer.configure(late_after_reversal="accepted")
    reference = (await acquirer.authorize(number=CHALLENGED))["reference"]
    assert answered(await acquirer.cancel(reference))["status"] == "cancelled"
    assert answered(await acquirer.answer("submit"))["status"] == "approved"
    assert await acquirer.moved(reference) == ["authorize"]


async def test_one_left_alone_ends_in_time(acquirer: Acquirer) -> None:
    await acquirer.configure(challenge_ends="itself")
    reference = (await acquirer.authorize(number=CHALLENGED, window_s=1))["reference"]
    await eventually_is(acquirer, reference, "expired")
    assert (await acquirer.answer("submit")).status_code == 409
    assert await acquirer.ledger() == []


async def test_what_the_page_decided_is_told(acquirer: Acquirer) -> None:
    async with merchant_side() as merchant:
        order = await acquirer.authorize(number=CHALLENGED, callback_url=merchant.url)
        await acquirer.answer("submit")
        await eventually_is(acquirer, order["reference"], "approved")
        await eventually(lambda: merchant.has(1))
    assert merchant.statuses() == ["approved"]
    assert merchant.bodies[0]["reference"] == order["reference"]


async def test_a_repeat_while_the_holder_is_asked_has_the_same_answer(acquirer: Acquirer) -> None:
    body = acquirer.authorization(number=CHALLENGED)
    first = answered(await acquirer.post("/authorizations", body))
    assert answered(await acquirer.post("/authorizations", body)) == first
    await acquirer.answer("submit")
    assert answered(await acquirer.post("/authorizations", body)) == first
    assert await acquirer.moved(body["reference"]) == ["authorize"]
    other = await acquirer.post("/authorizations", {**body, "amount": 7})
    assert (other.status_code, other.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("number", "more", "status", "result", "liability"),
    [
        ("4242424242424242", {}, "approved", None, None),
        ("4242424242424242", {"sca": {"exemption": "low_value"}}, "approved", "exempted", "merchant"),
        ("4242424242424242", {"sca": {"challenge": "avoid"}}, "approved", "none", "merchant"),
        (FRICTIONLESS, {}, "approved", "frictionless", "issuer"),
        (FRICTIONLESS, {"sca": {"challenge": "avoid"}}, "approved", "none", "merchant"),
        (ATTEMPTED, {}, "approved", "attempted", "issuer"),
        (CHALLENGED, {"sca": {"exemption": "low_value"}}, "approved", "exempted", "merchant"),
        (CHALLENGED, {"sca": {"challenge": "avoid"}}, "authentication_required", "none", "merchant"),
        (CHALLENGED, {"off_session": True}, "authentication_required", "none", "merchant"),
        (EXEMPTS_NOBODY, {"sca": {"exemption": "low_value"}}, "pending", None, None),
        (EXEMPTS_NOBODY, {"off_session": True}, "pending", None, None),
        (EXEMPTS_NOBODY, {"sca": {"challenge": "avoid"}}, "authentication_required", "none", "merchant"),
        (SOFTLY_DECLINED, {}, "authentication_required", "none", "merchant"),
        (SOFTLY_DECLINED, {"sca": {"challenge": "force"}}, "pending", None, None),
        (SOFTLY_DECLINED, {"soft_decline": "itself"}, "pending", None, None),
        (
            SOFTLY_DECLINED,
            {"soft_decline": "itself", "sca": {"challenge": "avoid"}},
            "authentication_required",
            "none",
            "merchant",
        ),
        (NEVER_AUTHENTICATED, {}, "authentication_failed", "failed", "merchant"),
        ("4242424242424242", {"sca": {"challenge": "force"}}, "pending", None, None),
        ("4000000000000002", {"sca": {"challenge": "force"}}, "pending", None, None),
    ],
)
async def test_what_comes_of_a_card_and_of_the_merchants_wishes(
    acquirer: Acquirer,
    number: str,
    more: dict[str, Any],
    status: str,
    result: str | None,
    liability: str | None,
) -> None:
    answer = await acquirer.authorize(number=number, **more)
    assert (answer["decline_code"] or answer["status"]) == status
    assert answer["soft"] is (status == "authentication_required")
    said = answer["authentication"] or {}
    assert (said.get("result"), said.get("liability")) == (result, liability)
    exempted = more.get("sca", {}).get("exemption") if result == "exempted" else None
    assert said.get("exemption_honoured") == exempted
    assert answered(await acquirer.inquire(answer["reference"]))["authentication"] == answer["authentication"]


@pytest.mark.parametrize(("trans_status", "result"), [("Y", "authenticated"), ("A", "attempted")])
async def test_who_was_authenticated_elsewhere_is_not_asked(
    acquirer: Acquirer, trans_status: str, result: str
) -> None:
    answer = await acquirer.authorize(number=CHALLENGED, authentication=handed_in(trans_status=trans_status))
    assert answer["status"] == "approved"
    assert (answer["authentication"]["result"], answer["authentication"]["eci"]) == (result, "05")


async def test_the_log_shows_wishes_and_proves_what_was_handed_in(acquirer: Acquirer) -> None:
    await acquirer.authorize(sca={"challenge": "avoid", "exemption": "low_value"})
    await acquirer.authorize(authentication=handed_in())
    await acquirer.authorize()
    digest = hashlib.sha256("\n".join(handed_in().values()).encode()).hexdigest()
    assert [(entry["sca"], entry["authentication"]) for entry in await acquirer.requests()] == [
        ({"challenge": "avoid", "exemption": "low_value"}, None),
        (None, digest),
        (None, None),
    ]


async def test_the_card_of_a_challenge_is_kept_nowhere(acquirer: Acquirer) -> None:
    await acquirer.authorize(number=CHALLENGED, payment_reference="pay_1")
    await acquirer.authorize(number=FRICTIONLESS, authentication=handed_in(), payment_reference="pay_2")
    kept = [path.read_bytes() for path in acquirer.data.parent.iterdir()]
    assert kept
    for secret in (CHALLENGED, FRICTIONLESS, '"973"', handed_in()["cavv"]):
        assert not any(secret.encode() in content for content in kept)


async def test_the_page_shows_the_code_and_three_buttons(acquirer: Acquirer) -> None:
    url = (await acquirer.authorize(number=CHALLENGED, currency="EUR"))["page"]
    page = await acquirer.client.get(url)
    for shown in ("EUR 10.99", "123456", "400000******3155", "pay_1", "Waiting for you"):
        assert shown in page.text
    assert CHALLENGED not in page.text
    assert re.findall(r'name="decision" value="(\w+)"', page.text) == ["submit", "fail", "cancel"]
    assert not re.search(r"<script|<img|<link|javascript:|\son\w+=|src=", page.text)
    assert "default-src 'none'" in page.headers["content-security-policy"]


async def test_a_wrong_code_is_said_on_the_page(acquirer: Acquirer) -> None:
    url = (await acquirer.authorize(number=CHALLENGED, return_url=RETURN_URL))["page"]
    response = await acquirer.client.post(url, data={"decision": "submit", "code": "1"})
    assert (response.status_code, response.headers["location"]) == (303, "/card/pay_1")
    page = await acquirer.client.get(url)
    assert "That code is wrong. 2 tries are left." in page.text
    assert 'aria-invalid="true"' in page.text


@pytest.mark.parametrize("decision", ["submit", "fail", "cancel"])
async def test_the_browser_is_sent_back(acquirer: Acquirer, decision: str) -> None:
    url = (await acquirer.authorize(number=CHALLENGED, return_url=RETURN_URL))["page"]
    for _ in range(2):  # the second: a double click
        response = await acquirer.client.post(url, data={"decision": decision, "code": "123456"})
        assert (response.status_code, response.headers["location"]) == (303, f"{RETURN_URL}&payment=pay_1")
    assert ("Back to the merchant" in (await acquirer.client.get(url)).text) is (decision != "cancel")


@pytest.mark.parametrize(
    ("decision", "said"), [("submit", "You paid"), ("fail", "could not confirm"), ("cancel", "Waiting")]
)
async def test_without_an_address_the_page_says_what_became_of_it(
    acquirer: Acquirer, decision: str, said: str
) -> None:
    url = (await acquirer.authorize(number=CHALLENGED))["page"]
    data = {"decision": decision, "code": "123456"}
    assert said in (await acquirer.client.post(url, data=data, follow_redirects=True)).text


async def test_an_account_may_want_its_customers_back_by_a_form(acquirer: Acquirer) -> None:
    order = await acquirer.authorize(number=CHALLENGED, return_url=RETURN_URL, returns_by="post")
    page = await acquirer.client.post(order["page"], data={"decision": "submit", "code": "123456"})
    assert page.status_code == 200
    assert 'action="https://shop.test/back?order=7"' in page.text
    assert re.findall(r'name="(\w+)" value="(\w+)"', page.text) == [("payment", "pay_1")]
    assert "script-src 'sha256-" in page.headers["content-security-policy"]


@pytest.mark.parametrize("fields", [{}, {"decision": "approve"}, {"code": "123456"}])
async def test_an_answer_that_is_none_is_refused(acquirer: Acquirer, fields: dict[str, str]) -> None:
    order = await acquirer.authorize(number=CHALLENGED)
    assert (await acquirer.client.post(order["page"], data=fields)).status_code == 400
    assert await acquirer.status(order["reference"]) == "pending"


async def test_a_challenge_that_is_not_there_has_a_page_that_says_so(unmoved_acquirer: Acquirer) -> None:
    page = await unmoved_acquirer.client.get("/card/pay_none")
    assert (page.status_code, "There is no such payment here" in page.text) == (404, True)
    assert (await unmoved_acquirer.answer("submit", payment="pay_none")).status_code == 404
    answer = await unmoved_acquirer.client.post("/card/pay_none", data={"decision": "fail"})
    assert answer.status_code == 404


@pytest.mark.parametrize(
    "more",
    [
        {"sca": {"challenge": "always"}},
        {"sca": {"exemption": "delegated"}},
        {"authentication": {"version": "2.2.0"}},
        {"window_s": 0},
        {"completes": "webhook"},
    ],
)
async def test_a_wish_that_does_not_exist_is_refused(unmoved_acquirer: Acquirer, more: Any) -> None:
    response = await unmoved_acquirer.post("/authorizations", unmoved_acquirer.authorization(**more))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


async def test_wishes_and_an_authentication_from_elsewhere_exclude_each_other(
    unmoved_acquirer: Acquirer,
) -> None:
    body = unmoved_acquirer.authorization(sca={}, authentication=handed_in())
    assert (await unmoved_acquirer.post("/authorizations", body)).status_code == 400


def handed_in(**changes: str) -> dict[str, str]:
    said = {"version": "2.2.0", "trans_status": "Y", "eci": "05", "cavv": "AJkBBkhgQQAAAE4gSEJydQAAAAA="}
    return {**said, "ds_transaction_id": "d65e93c3-35ab-41ba-b307-767bfc19eae3", **changes}

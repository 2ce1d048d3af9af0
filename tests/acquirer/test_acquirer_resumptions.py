"""Challenges that a second request completes, or reads: what the browser brings back, keys, faults and money."""

from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from acquirer_process import Acquirer, Body, answered, eventually, eventually_is
from merchant_side import merchant_side

CHALLENGED = "4000002500003155"
THEN_DECLINED = "4000008260003178"
RETURN_URL = "https://shop.test/back?order=7"
PAID = ["authorize", "capture"]


async def test_the_page_only_authenticates_and_the_resumption_moves_the_money(acquirer: Acquirer) -> None:
    order = await challenged(acquirer)
    result = await passed(acquirer)
    waiting = answered(await acquirer.inquire(order["reference"]))
    assert (waiting["status"], waiting["completes"]) == ("pending", "resume")
    assert await acquirer.ledger() == []
    answer = answered(await resume(acquirer, order, result))
    assert (answer["status"], answer["operation"], answer["stage"]) == ("approved", "authorize", "captured")
    assert answer["authentication"]["result"] == "authenticated"
    assert await acquirer.moved(order["reference"]) == PAID
    assert answered(await acquirer.inquire(order["reference"])) == answer


@pytest.mark.parametrize(
    ("number", "decision", "code"),
    [(CHALLENGED, "fail", "authentication_failed"), (THEN_DECLINED, "submit", "insufficient_funds")],
)
async def test_a_resumption_may_be_declined(
    acquirer: Acquirer, number: str, decision: str, code: str
) -> None:
    order = await challenged(acquirer, number=number)
    answer = answered(await resume(acquirer, order, await passed(acquirer, decision)))
    assert (answer["status"], answer["decline_code"]) == ("declined", code)
    assert await acquirer.ledger() == []


async def test_the_same_key_has_the_same_answer_and_another_one_is_told_that_it_is_too_late(
    acquirer: Acquirer,
) -> None:
    order = await challenged(acquirer)
    result = await passed(acquirer)
    first = answered(await resume(acquirer, order, result, key="k1"))
    await acquirer.reverse(order["reference"])
    assert answered(await resume(acquirer, order, result, key="k1")) == first
    other = await resume(acquirer, order, result, key="k2")
    assert (other.status_code, other.json()["error"]) == (422, "already_processed")
    assert await acquirer.moved(order["reference"]) == PAID


async def test_where_repeats_are_not_recognised_each_moves_money(acquirer: Acquirer) -> None:
    await acquirer.configure(idempotency="ignored")
    order = await challenged(acquirer)
    result = await passed(acquirer)
    for _ in range(2):
        assert answered(await resume(acquirer, order, result))["status"] == "approved"
    assert await acquirer.moved(order["reference"]) == [*PAID, *PAID]


async def test_a_result_that_is_wrong_foreign_or_not_there_yet_is_refused(acquirer: Acquirer) -> None:
    order = await challenged(acquirer)
    other = await challenged(acquirer, payment_reference="pay_2")
    foreign = await passed(acquirer, payment="pay_2")
    for result in ("", "res_x", "\u0000 <script>", "4" * 30_000, foreign):
        response = await resume(acquirer, order, result)
        assert (response.status_code, response.json()) == (400, {"error": "result_invalid"})
    assert await acquirer.ledger() == []
    assert answered(await resume(acquirer, other, foreign))["status"] == "approved"
    assert answered(await resume(acquirer, order, await passed(acquirer)))["status"] == "approved"


async def test_going_back_without_an_answer_brings_no_result(acquirer: Acquirer) -> None:
    order = await challenged(acquirer)
    page = await acquirer.client.post(order["page"], data={"decision": "cancel"})
    assert page.headers["location"] == f"{RETURN_URL}&payment=pay_1"
    assert answered(await acquirer.answer("submit"))["status"] == "pending"
    again = await acquirer.client.post(order["page"], data={"decision": "submit"})
    assert "result=res_" in again.headers["location"]  # two tabs bring the same
    assert "Back to the merchant" in (await acquirer.client.get(order["page"])).text


async def test_a_form_brings_the_result_too(acquirer: Acquirer) -> None:
    order = await challenged(acquirer, returns_by="post")
    page = await acquirer.client.post(order["page"], data={"decision": "submit", "code": "123456"})
    result = page.text.partition('name="result" value="')[2].partition('"')[0]
    assert answered(await resume(acquirer, order, result))["status"] == "approved"


async def test_one_that_reads_says_what_the_page_decided(acquirer: Acquirer) -> None:
    order = await challenged(acquirer, completes="reads")
    result = await passed(acquirer)
    assert await acquirer.moved(order["reference"]) == PAID
    for key in ("k1", "k2", "k1"):
        assert answered(await resume(acquirer, order, result, key=key))["status"] == "approved"
    assert await acquirer.moved(order["reference"]) == PAID


async def test_what_was_cancelled_is_not_resumed(acquirer: Acquirer) -> None:
    order = await challenged(acquirer)
    result = await passed(acquirer)
    assert answered(await acquirer.cancel(order["reference"]))["status"] == "cancelled"
    assert answered(await resume(acquirer, order, result))["status"] == "reversed"
    assert await acquirer.ledger() == []


async def test_what_nobody_resumes_ends_in_time(acquirer: Acquirer) -> None:
    await acquirer.configure(challenge_ends="itself")
    order = await challenged(acquirer, window_s=1)
    result = await passed(acquirer)
    await eventually_is(acquirer, order["reference"], "expired")
    assert answered(await resume(acquirer, order, result))["status"] == "expired"
    assert await acquirer.ledger() == []


@pytest.mark.parametrize(
    ("fault", "status_code"),
    [("error_after_charge", 500), ("rate_limited", 429), ("error_before_charge", 500)],
)
async def test_a_fault_hits_the_resumption_once(acquirer: Acquirer, fault: str, status_code: int) -> None:
    order = await challenged(acquirer)
    result = await passed(acquirer)
    disturbed = await resume(acquirer, order, result, faults=[f"resume:{fault}"])
    assert disturbed.status_code == status_code
    moved = await acquirer.moved(order["reference"])
    assert moved == (PAID if fault == "error_after_charge" else [])
    repeated = await resume(acquirer, order, result, faults=[f"resume:{fault}"])
    assert answered(repeated)["status"] == "approved"
    assert await acquirer.moved(order["reference"]) == PAID


async def test_scripts_of_the_resumption_and_of_the_authorization_are_about_the_same_money(
    acquirer: Acquirer,
) -> None:
    order = await challenged(acquirer, faults=["authorize:authorized_only"])
    answer = answered(
        await resume(acquirer, order, await passed(acquirer), faults=["resume:amount_mismatch"])
    )
    assert (answer["stage"], answer["amount"]) == ("authorized", 1100)
    assert await acquirer.moved(order["reference"]) == ["authorize"]
    undone = await challenged(acquirer, payment_reference="pay_2")
    result = await passed(acquirer, payment="pay_2")
    await resume(acquirer, undone, result, faults=["resume:undo_capture:0"])

    async def is_undone() -> bool:
        return await acquirer.moved(undone["reference"]) == [*PAID, "undo"]

    await eventually(is_undone)


async def test_who_passed_may_be_asked_once_more_on_a_page_of_its_own(acquirer: Acquirer) -> None:
    order = await challenged(acquirer, asks_again=True)
    first = await passed(acquirer)
    asked = answered(await resume(acquirer, order, first))
    assert (asked["status"], asked["completes"]) == ("pending", "resume")
    assert asked["page"] != order["page"]
    assert answered(await acquirer.inquire(order["reference"])) == asked
    assert answered(await resume(acquirer, order, first)) == asked  # the same leg once more
    other = await resume(acquirer, order, first, key="k2")
    assert (other.status_code, other.json()["error"]) == (422, "already_processed")
    assert "Confirm once more" in (await acquirer.client.get(asked["page"])).text
    left = await acquirer.client.post(asked["page"], data={"decision": "cancel"})
    assert "result=" not in left.headers["location"]
    assert await acquirer.ledger() == []
    second = await passed(acquirer)
    assert second != first
    paid = answered(await resume(acquirer, order, second, key="k2"))
    assert (paid["status"], paid["stage"]) == ("approved", "captured")
    assert answered(await resume(acquirer, order, second, key="k2")) == paid
    assert answered(await resume(acquirer, order, first)) == asked
    assert await acquirer.moved(order["reference"]) == PAID


@pytest.mark.parametrize("passes", [0, 1], ids=["at first", "once more"])
async def test_who_does_not_pass_is_not_asked_any_more(acquirer: Acquirer, passes: int) -> None:
    order = await challenged(acquirer, asks_again=True)
    for number in range(passes):
        asked = await resume(acquirer, order, await passed(acquirer), key=f"k{number}")
        assert answered(asked)["status"] == "pending"
    answer = answered(await resume(acquirer, order, await passed(acquirer, "fail"), key="last"))
    assert (answer["status"], answer["decline_code"]) == ("declined", "authentication_failed")
    assert await acquirer.ledger() == []


async def test_where_repeats_are_not_recognised_nobody_is_asked_a_third_time(acquirer: Acquirer) -> None:
    await acquirer.configure(idempotency="ignored")
    order = await challenged(acquirer, asks_again=True)
    first = await passed(acquirer)
    for key in ("k1", "k1", "k2"):
        assert answered(await resume(acquirer, order, first, key=key))["status"] == "pending"
    second = await passed(acquirer)
    assert answered(await resume(acquirer, order, second, key="k3"))["status"] == "approved"
    assert answered(await resume(acquirer, order, first, key="k4"))["status"] == "approved"
    assert await acquirer.moved(order["reference"]) == PAID


@pytest.mark.parametrize("completes", ["customer", "reads"])
async def test_only_a_resumption_that_completes_may_ask_again(
    unmoved_acquirer: Acquirer, completes: str
) -> None:
    body = unmoved_acquirer.authorization(completes=completes, asks_again=True)
    assert (await unmoved_acquirer.post("/authorizations", body)).status_code == 400


async def test_a_resumption_is_told_and_listed(acquirer: Acquirer) -> None:
    async with merchant_side() as merchant:
        order = await challenged(acquirer, callback_url=merchant.url)
        await resume(acquirer, order, await passed(acquirer))
        await eventually(lambda: merchant.has(1))
    assert merchant.statuses() == ["approved"]
    listed = await acquirer.requests(reference=order["reference"])
    assert [(entry["operation"], entry["answer"]) for entry in listed] == [
        ("authorize", "200 pending"),
        ("resume", "200 approved"),
    ]


async def test_a_restart_forgets_neither_the_result_nor_the_key(acquirer: Acquirer) -> None:
    order = await challenged(acquirer)
    result = await passed(acquirer)
    await acquirer.stop()
    await acquirer.start()
    first = answered(await resume(acquirer, order, result))
    await acquirer.stop()
    await acquirer.start()
    assert answered(await resume(acquirer, order, result)) == first


async def challenged(acquirer: Acquirer, **changes: object) -> Body:
    members = {"number": CHALLENGED, "completes": "resume", "return_url": RETURN_URL, "capture": True}
    order = await acquirer.authorize(**{**members, **changes})
    assert order["status"] == "pending"
    return {**order, "payment_reference": changes.get("payment_reference", "pay_1")}


async def passed(acquirer: Acquirer, decision: str = "submit", *, payment: str = "pay_1") -> str:
    """What the browser brings back."""
    url = answered(await acquirer.answer(decision, payment=payment))["return_url"]
    return parse_qs(urlsplit(url).query)["result"][0]


async def resume(
    acquirer: Acquirer, order: Body, result: str, *, key: str = "k1", **more: object
) -> httpx.Response:
    own = {"reference": order["reference"], "payment_reference": order["payment_reference"]}
    return await acquirer.post("/resumptions", {**own, "result": result, "key": key, **more})

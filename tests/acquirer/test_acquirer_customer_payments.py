"""Payments that a customer decides: what is answered, when money moves, and how often."""

import asyncio
import re
import signal
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from acquirer_process import GIVES_UP_S, Acquirer, answered, eventually, eventually_is
from merchant_side import merchant_side

from devstack.acquirer import store
from devstack.acquirer.scripts import PAGES_CLOSE_AFTER

TOKEN = {
    "number": "4242424242424242",
    "exp_month": 12,
    "exp_year": 2030,
    "cryptogram": "AgAAAAAAAIR8CQrXcIhbQAAAAAA=",
    "eci": "05",
}


async def test_an_order_by_upi_is_pending_with_a_link_and_a_page(acquirer: Acquirer) -> None:
    answer = await acquirer.ask_by_upi(amount=1099, note="Two lamps & a bulb")
    assert (answer["status"], answer["operation"], answer["amount"]) == ("pending", "authorize", 1099)
    assert answer["page"] == f"{str(acquirer.client.base_url).rstrip('/')}/upi/pay_1"
    link = urlsplit(answer["intent"])
    assert (link.scheme, link.netloc) == ("upi", "pay")
    assert "&tn=Two%20lamps%20%26%20a%20bulb" in answer["intent"]
    assert parse_qs(link.query, strict_parsing=True) == {
        "pa": ["acme@payonce"],
        "pn": ["Acme Stores"],
        "tr": [answer["id"]],
        "am": ["10.99"],
        "cu": ["INR"],
        "tn": ["Two lamps & a bulb"],
    }
    assert re.fullmatch(r"[A-Za-z0-9]{1,35}", answer["id"])
    assert await acquirer.status(answer["reference"]) == "pending"
    assert await acquirer.ledger() == []


async def test_a_collect_order_has_no_link_and_its_address_decides(acquirer: Acquirer) -> None:
    answer = await acquirer.ask_by_upi(flow="collect", vpa="success@upi", sandbox_vpa="failure@upi")
    assert "intent" not in answer
    found = await eventually_is(acquirer, answer["reference"], "approved")
    assert found["payer_vpa"] == "success@upi"


async def test_success_at_upi_is_approved_by_itself_and_moves_money_once(acquirer: Acquirer) -> None:
    order = await acquirer.ask_by_upi(sandbox_vpa="success@upi")
    found = await eventually_is(acquirer, order["reference"], "approved")
    assert re.fullmatch(r"[0-9]{12}", found["rrn"])
    assert (found["id"], found["amount"], found["authorization"]) == (order["id"], 1099, order["id"])
    assert await acquirer.moved(order["reference"]) == ["authorize", "capture"]


async def test_failure_at_upi_is_declined_by_itself_and_moves_nothing(acquirer: Acquirer) -> None:
    order = await acquirer.ask_by_upi(sandbox_vpa="failure@upi")
    found = await eventually_is(acquirer, order["reference"], "declined")
    assert (found["decline_code"], found["rrn"]) == ("generic_decline", None)
    assert await acquirer.ledger() == []


async def test_late_at_upi_expires_and_then_succeeds_after_all(acquirer: Acquirer) -> None:
    order = await acquirer.ask_by_upi(sandbox_vpa="late@upi", window_s=1)
    await eventually_is(acquirer, order["reference"], "expired")
    assert await acquirer.ledger() == []
    await eventually_is(acquirer, order["reference"], "approved")
    assert await acquirer.moved(order["reference"]) == ["authorize", "capture"]


async def test_what_was_due_while_it_was_down_has_happened_at_its_time(acquirer: Acquirer) -> None:
    order = await acquirer.ask_by_upi(sandbox_vpa="success@upi")
    await acquirer.stop(signal.SIGKILL)
    await acquirer.start()
    found = await eventually_is(acquirer, order["reference"], "approved")
    asked_at = datetime.fromisoformat(order["created_at"])
    assert datetime.fromisoformat(found["decided_at"]) == asked_at + timedelta(seconds=1)
    entries = await acquirer.ledger(reference=order["reference"])
    assert [(entry["operation"], entry["created_at"]) for entry in entries] == [
        ("authorize", found["decided_at"]),
        ("capture", found["decided_at"]),
    ]


async def test_a_lapsed_one_stays_pending_and_can_still_be_approved(acquirer: Acquirer) -> None:
    order = await acquirer.ask_by_upi(window_s=1)

    async def says_it_lapsed() -> bool:
        return "Its time ended" in (await acquirer.client.get("/upi/pay_1")).text

    await eventually(says_it_lapsed)
    assert await acquirer.status(order["reference"]) == "pending"
    assert answered(await acquirer.decide("approve"))["status"] == "approved"
    assert await acquirer.moved(order["reference"]) == ["authorize", "capture"]


@pytest.mark.parametrize("was_asked_by", ["this version", "an earlier one"])
@pytest.mark.parametrize("rail", ["upi", "wallet"])
async def test_what_nobody_answers_is_expired_once_its_page_is_closed(
    acquirer: Acquirer, rail: str, was_asked_by: str
) -> None:
    async with merchant_side() as merchant:
        ask = acquirer.ask_by_upi if rail == "upi" else acquirer.ask_by_wallet
        order = await ask(callback_url=merchant.url)
        await acquirer.stop()
        at = datetime.fromisoformat(order["expires_at"]) - datetime.now(UTC) + PAGES_CLOSE_AFTER
        move_back(acquirer.data, by=at, forget_end=was_asked_by == "an earlier one")
        await acquirer.start()
        await eventually(lambda: merchant.has(1))
    assert merchant.statuses() == ["expired"]
    assert await acquirer.status(order["reference"]) == "expired"
    assert (await acquirer.decide("approve", rail=rail)).status_code == 409
    assert await acquirer.ledger() == []


def move_back(data: Path, *, by: timedelta, forget_end: bool) -> None:
    """What waits was asked for that much earlier. `forget_end`: its end is not written down."""
    with sqlite3.connect(data) as db:
        ((expires_at, due_at),) = db.execute("SELECT expires_at, due_at FROM customer_payments").fetchall()
        earlier = [
            None if moment is None else store.timestamp(datetime.fromisoformat(moment) - by)
            for moment in (expires_at, None if forget_end else due_at)
        ]
        db.execute("UPDATE customer_payments SET expires_at = ?, due_at = ?", earlier)
    db.close()


@pytest.mark.parametrize("rail", ["upi", "wallet"])
async def test_parallel_answers_move_money_once_and_the_first_one_holds(
    acquirer: Acquirer, rail: str
) -> None:
    ask = acquirer.ask_by_upi if rail == "upi" else acquirer.ask_by_wallet
    order = await ask()
    assert answered(await acquirer.decide("approve", rail=rail))["status"] == "approved"
    later = await asyncio.gather(
        *(acquirer.decide(decision, rail=rail) for decision in ("approve", "decline") * 3)
    )
    assert [response.status_code for response in later] == [200, 409] * 3
    assert later[1].json()["error"] == "not_answerable"
    assert await acquirer.moved(order["reference"]) == ["authorize", "capture"]


async def test_a_wallet_is_asked_on_its_page_and_has_no_rrn(acquirer: Acquirer) -> None:
    order = await acquirer.ask_by_wallet(provider="phonepe")
    assert order["page"].endswith("/wallet/pay_1")
    await acquirer.decide("decline", rail="wallet")
    found = answered(await acquirer.inquire(order["reference"]))
    assert (found["status"], found["decline_code"], "rrn" in found) == ("declined", "generic_decline", False)
    assert await acquirer.ledger() == []


@pytest.mark.parametrize("by", ["authorization", "rrn"])
async def test_a_refund_names_the_id_or_the_rrn_and_has_an_rrn_of_its_own(
    acquirer: Acquirer, by: str
) -> None:
    order = await acquirer.ask_by_upi()
    approved = answered(await acquirer.decide("approve"))
    refund = acquirer.order(amount=99, **{by: approved["rrn" if by == "rrn" else "id"]})
    first, second = [answered(await acquirer.post("/refunds", refund)) for _ in range(2)]
    assert first == second == answered(await acquirer.inquire(refund["reference"]))
    assert (first["status"], first["amount"], first["authorization"]) == ("approved", 99, order["id"])
    assert re.fullmatch(r"[0-9]{12}", first["rrn"])
    assert first["rrn"] != approved["rrn"]
    assert [entry["operation"] for entry in await acquirer.ledger()] == ["authorize", "capture", "refund"]


async def test_a_refund_of_an_unknown_rrn_or_of_a_pending_payment_is_declined(acquirer: Acquirer) -> None:
    pending = (await acquirer.ask_by_upi())["id"]
    for changes in ({"rrn": "000000000000"}, {"authorization": pending}):
        answer = answered(await acquirer.post("/refunds", acquirer.order(**changes)))
        assert (answer["status"], answer["decline_code"]) == ("declined", "processing_error")
    assert await acquirer.ledger() == []


async def test_a_withdrawn_one_is_dead_for_the_page_and_for_the_rail(acquirer: Acquirer) -> None:
    waiting = await acquirer.ask_by_upi()
    late = await acquirer.ask_by_upi(payment_reference="pay_2", sandbox_vpa="late@upi", window_s=1)
    for order in (waiting, late):
        assert (await acquirer.reverse(order["reference"]))["status"] == "nothing_to_reverse"
        assert await acquirer.status(order["reference"]) == "reversed"
    refused = await acquirer.decide("approve")
    assert (refused.status_code, refused.json()["status"]) == (409, "reversed")
    probe = await acquirer.ask_by_upi(payment_reference="pay_3", sandbox_vpa="late@upi", window_s=1)
    await eventually_is(acquirer, probe["reference"], "approved")  # so the late one's time is past, too
    assert await acquirer.status(late["reference"]) == "reversed"
    assert await acquirer.ledger(payment_reference="pay_1") == []
    assert await acquirer.ledger(payment_reference="pay_2") == []


async def test_a_late_approval_of_a_withdrawn_one_is_accepted_when_so_configured(acquirer: Acquirer) -> None:
    await acquirer.configure(late_after_reversal="accepted")
    order = await acquirer.ask_by_upi()
    await acquirer.reverse(order["reference"])
    assert answered(await acquirer.decide("approve"))["status"] == "approved"
    assert (await acquirer.reverse(order["reference"]))["status"] == "reversed"
    assert await acquirer.status(order["reference"]) == "reversed"
    assert await acquirer.moved(order["reference"]) == ["authorize", "capture"]


async def test_an_approved_one_is_reversed_once(acquirer: Acquirer) -> None:
    order = await acquirer.ask_by_upi()
    await acquirer.decide("approve")
    assert (await acquirer.reverse(order["reference"]))["amount"] == 1099
    assert (await acquirer.reverse(order["reference"]))["status"] == "already_reversed"
    assert await acquirer.status(order["reference"]) == "reversed"
    assert "Paid back" in (await acquirer.client.get("/upi/pay_1")).text


async def test_an_order_after_a_reversal_is_refused(acquirer: Acquirer) -> None:
    body = acquirer.upi_order()
    await acquirer.reverse(body["reference"])
    assert answered(await acquirer.post("/upi/payments", body))["decline_code"] == "reference_reversed"
    assert (await acquirer.client.get("/upi/pay_1")).status_code == 404


async def test_honoured_repeats_the_first_answer_even_when_it_was_decided(acquirer: Acquirer) -> None:
    body = acquirer.upi_order()
    first = await acquirer.post("/upi/payments", body)
    await acquirer.decide("approve")
    assert (await acquirer.post("/upi/payments", body)).content == first.content
    assert await acquirer.status(body["reference"]) == "approved"
    assert len(await acquirer.ledger()) == 2


async def test_honoured_refuses_the_reference_for_something_else(acquirer: Acquirer) -> None:
    reference = (await acquirer.ask_by_upi())["reference"]
    others = {
        "/upi/payments": acquirer.upi_order(reference=reference, amount=5),
        "/wallets/payments": acquirer.wallet_order(reference=reference),
        "/authorizations": acquirer.authorization(reference=reference),
    }
    for path, body in others.items():
        assert (await acquirer.post(path, body)).status_code == 400
    card = (await acquirer.authorize())["reference"]
    assert (await acquirer.post("/upi/payments", acquirer.upi_order(reference=card))).status_code == 400


async def test_ignored_asks_twice_and_may_move_money_twice(acquirer: Acquirer) -> None:
    await acquirer.configure(idempotency="ignored")
    body = acquirer.upi_order(sandbox_vpa="success@upi")
    first, second = [answered(await acquirer.post("/upi/payments", body)) for _ in range(2)]
    assert first["id"] != second["id"]

    async def moved_twice() -> bool:
        return await acquirer.moved(body["reference"]) == ["authorize", "capture"] * 2

    await eventually(moved_twice)
    assert (await acquirer.reverse(body["reference"]))["amount"] == 2198


async def test_a_reference_with_one_declined_and_one_waiting_is_pending(acquirer: Acquirer) -> None:
    await acquirer.configure(idempotency="ignored")
    body = acquirer.upi_order()
    for _ in range(2):
        await acquirer.post("/upi/payments", body)
    await acquirer.decide("decline")
    assert await acquirer.status(body["reference"]) == "pending"
    await acquirer.decide("approve")
    assert await acquirer.status(body["reference"]) == "approved"


async def test_faults_disturb_the_order_and_leave_the_customer_asked(acquirer: Acquirer) -> None:
    body = acquirer.upi_order(faults=["authorize:error_after_charge"])
    assert (await acquirer.post("/upi/payments", body)).status_code == 500
    assert await acquirer.status(body["reference"]) == "pending"
    before = acquirer.upi_order(payment_reference="pay_2", faults=["authorize:timeout_before_charge"])
    with pytest.raises(httpx.ReadTimeout):
        await acquirer.client.post("/upi/payments", json=before, timeout=GIVES_UP_S)
    assert (await acquirer.inquire(before["reference"])).status_code == 404
    answers = [entry["answer"] for entry in await acquirer.requests()]
    assert answers[0] == "500 internal_error"


async def test_an_amount_mismatch_is_in_what_is_approved(acquirer: Acquirer) -> None:
    order = await acquirer.ask_by_upi(faults=["authorize:amount_mismatch"])
    assert "am=10.99" in order["intent"]
    assert answered(await acquirer.inquire(order["reference"]))["amount"] == 1099
    assert answered(await acquirer.decide("approve"))["amount"] == 1100
    assert [entry["amount"] for entry in await acquirer.ledger()] == [1100, 1100]


@pytest.mark.parametrize(
    "changes",
    [
        {"currency": "USD"},
        {"flow": "collect"},
        {"flow": "intent", "vpa": "a@upi"},
        {"sandbox_vpa": "other@upi"},
        {"window_s": 0},
        {"payee": {"vpa": "nobody", "name": "x"}},
        {"callback_url": "file:///etc/passwd"},
        {"callback_url": "http://[::1"},
        {"unknown": 1},
    ],
)
async def test_a_malformed_order_asks_nobody(unmoved_acquirer: Acquirer, changes: dict[str, Any]) -> None:
    body = unmoved_acquirer.upi_order(payment_reference="pay_bad", **changes)
    response = await unmoved_acquirer.post("/upi/payments", body)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert (await unmoved_acquirer.client.get("/upi/pay_bad")).status_code == 404


async def test_an_order_needs_the_key_and_a_customer_does_not(unmoved_acquirer: Acquirer) -> None:
    body = unmoved_acquirer.upi_order(payment_reference="pay_key")
    refused = await unmoved_acquirer.client.post("/upi/payments", json=body, headers={"Authorization": "x"})
    assert refused.status_code == 401
    await unmoved_acquirer.post("/upi/payments", body)
    page = await unmoved_acquirer.client.get("/upi/pay_key", headers={"Authorization": ""})
    assert page.status_code == 200


async def test_a_network_token_is_authorized_as_a_card_is(acquirer: Acquirer) -> None:
    answer = await acquirer.authorize(card=None, network_token=TOKEN, capture=True)
    assert answer["status"] == "approved"
    assert await acquirer.moved(answer["reference"]) == ["authorize", "capture"]
    declined = await acquirer.authorize(card=None, network_token={**TOKEN, "number": "4000000000009995"})
    assert declined["decline_code"] == "insufficient_funds"
    await acquirer.stop()
    kept = b"".join(path.read_bytes() for path in acquirer.data.parent.iterdir())
    assert b"424242******4242" in kept
    assert b"4242424242424242" not in kept
    assert b"AgAAAAAAAIR8" not in kept


@pytest.mark.parametrize(
    "changes",
    [
        {"network_token": TOKEN},
        {"card": None},
        {"card": None, "network_token": {**TOKEN, "cryptogram": "short"}},
        {"card": None, "network_token": {**TOKEN, "eci": "09"}},
        {"card": None, "network_token": {**TOKEN, "number": "4242424242424241"}},
    ],
)
async def test_an_authorization_has_either_a_card_or_a_whole_token(
    unmoved_acquirer: Acquirer, changes: dict[str, Any]
) -> None:
    body = unmoved_acquirer.authorization(**changes)
    response = await unmoved_acquirer.post("/authorizations", body)
    assert response.status_code == 400
    assert "42424242" not in response.text

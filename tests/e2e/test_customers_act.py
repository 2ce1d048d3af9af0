"""UPI and wallets through the whole product: a person's page, callbacks, and the acquirer's own ledger."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from devstack.stack import DevStack
from tests.e2e.merchant import SETTLED_WITHIN_S, Body, Merchant, answered, pointers, refused
from tests.support.eventually import eventually
from tests.support.witness import Witness

WINDOW_S = 30.0  # the sandbox's
PAID = [("authorize", 1099), ("capture", 1099)]


def upi(flow: str = "intent", **members: str) -> Body:
    return {"type": "upi", "upi": {"flow": flow, **members}}


def wallet(provider: str, **members: str) -> Body:
    return {"type": "wallet", "wallet": {"provider": provider, **members}}


async def ask(shop: Merchant, vpa: str = "pending@upi", method: Body | None = None, **changes: Any) -> Body:
    """A payment whose customer was asked."""
    metadata = {"sandbox_vpa": vpa, **changes.pop("metadata", {})}
    payment = await shop.paid(payment_method=method or upi(), metadata=metadata, **changes)
    assert payment["status"] == "requires_action", payment
    return payment


async def becomes(shop: Merchant, payment: Body, status: str, *, within_s: float = SETTLED_WITHIN_S) -> Body:
    async def is_so() -> Body:
        now = await shop.payment(payment)
        assert now["status"] == status, now
        return now

    return await eventually(is_so, within_s)


@pytest.fixture(scope="module")
async def customer() -> AsyncIterator[httpx.AsyncClient]:
    """A browser without an API key."""
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        yield client


@pytest.fixture(scope="module", autouse=True)
async def late(shop: Merchant) -> Body:
    """A payment that succeeds after the rail's expiry; its time passes while other tests run."""
    return await ask(shop, "late@upi")


@pytest.fixture(scope="module", autouse=True)
async def never_arrived(shop: Merchant) -> Body:
    """A payment whose order is lost, which is certain only after half a minute: while other tests run."""
    metadata = {"sandbox_fault": "timeout_before_charge"}
    return answered(await shop.pay(payment_method=upi(), metadata=metadata), 202)


async def decide(customer: httpx.AsyncClient, payment: Body, decision: str) -> httpx.Response:
    page = payment["next_action"]["sandbox_url"]
    return await customer.post(page, data={"decision": decision}, headers={"Accept": "application/json"})


@pytest.mark.parametrize("flow", ["intent", "qr"])
async def test_a_customer_approves_and_the_payment_is_captured_once(
    shop: Merchant, customer: httpx.AsyncClient, witness: Witness, flow: str
) -> None:
    payment = await ask(shop, method=upi(flow))
    action = payment["next_action"]
    assert action["type"] == f"upi_{flow}"
    assert action["url"].startswith("upi://pay?pa=")
    assert (await customer.get(action["sandbox_url"])).status_code == 200
    (await decide(customer, payment, "approve")).raise_for_status()
    paid = await becomes(shop, payment, "captured")
    assert paid["next_action"] is None
    assert len(paid["payment_method"]["upi"]["rrn"]) == 12
    assert await shop.timeline(payment) == [
        "payment.requires_action",
        "payment.authorized",
        "payment.captured",
    ]
    assert await witness.movements(payment["id"]) == PAID


async def test_a_replay_is_the_same_while_the_customer_may_act_and_then_the_outcome(
    shop: Merchant, customer: httpx.AsyncClient
) -> None:
    key = "upi-replay-" + (await ask(shop))["id"]
    first, again = [await shop.pay(key=key, payment_method=upi()) for _ in range(2)]
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    (await decide(customer, answered(first, 201), "approve")).raise_for_status()
    await becomes(shop, first.json(), "captured")
    then, kept = [await shop.pay(key=key, payment_method=upi()) for _ in range(2)]
    assert (then.status_code, then.json()["status"]) == (201, "captured")
    assert (kept.content, kept.headers["Idempotent-Replayed"]) == (then.content, "true")


async def test_the_code_is_an_image_until_it_is_paid(shop: Merchant, customer: httpx.AsyncClient) -> None:
    payment = await ask(shop, method=upi("qr"))
    image_url = payment["next_action"]["image_url"]
    for accept, media_type in [("*/*", "image/svg+xml"), ("image/png", "image/png")]:
        shown = await customer.get(image_url, headers={"Accept": accept})
        assert (shown.status_code, shown.headers["Content-Type"]) == (200, media_type)
    (await decide(customer, payment, "approve")).raise_for_status()
    await becomes(shop, payment, "captured")

    async def gone() -> bool:  # what was looked up is remembered for a second
        return (await customer.get(image_url)).status_code == 404 or None

    await eventually(gone)


@pytest.mark.parametrize("vpa", ["failure@upi", "pending@upi"])
async def test_a_decline_is_definite(
    shop: Merchant, customer: httpx.AsyncClient, witness: Witness, vpa: str
) -> None:
    payment = await ask(shop, vpa)
    if vpa == "pending@upi":
        (await decide(customer, payment, "decline")).raise_for_status()
    failed = await becomes(shop, payment, "failed")
    assert failed["last_error"]["code"] == "payment_declined"
    assert await witness.movements(payment["id"]) == []


async def test_collect_asks_an_address(shop: Merchant) -> None:
    payment = await shop.paid(payment_method=upi("collect", vpa="success@upi"))
    action = payment["next_action"]
    assert (action["type"], action["vpa"]) == ("upi_collect", "success@upi")
    await becomes(shop, payment, "captured")


async def test_a_window_without_an_answer_is_processing_and_a_success_then_is_captured(
    shop: Merchant, customer: httpx.AsyncClient, witness: Witness
) -> None:
    payment = await ask(shop)
    lapsed = await becomes(shop, payment, "processing", within_s=WINDOW_S + SETTLED_WITHIN_S)
    assert lapsed["next_action"] is None
    (await decide(customer, payment, "approve")).raise_for_status()
    await becomes(shop, payment, "captured")
    assert await witness.movements(payment["id"]) == PAID


async def test_a_success_after_the_rails_expiry_is_undone_at_once(
    shop: Merchant, witness: Witness, late: Body
) -> None:
    payment = late
    failed = await becomes(shop, payment, "failed", within_s=WINDOW_S + SETTLED_WITHIN_S)
    assert failed["last_error"]["code"] == "payment_timed_out"

    async def undone() -> bool:
        return await witness.movements(payment["id"]) == [*PAID, ("reversal", 1099)]

    await eventually(undone, SETTLED_WITHIN_S)
    assert (await shop.timeline(payment))[-1] == "payment.late_success"
    assert (await shop.payment(payment))["status"] == "failed"


async def test_a_void_abandons_it_and_it_cannot_be_paid_any_more(
    shop: Merchant, customer: httpx.AsyncClient, witness: Witness
) -> None:
    payment = await ask(shop)
    voided = await shop.voided(payment)
    assert (voided["status"], voided["next_action"]) == ("voided", None)
    await decide(customer, payment, "approve")
    assert await shop.timeline(payment) == ["payment.requires_action", "payment.voided"]
    assert await witness.movements(payment["id"]) == []
    refused(await shop.void(payment), 409, "payment_not_voidable")


async def test_a_refund_goes_by_the_rails_reference(shop: Merchant, witness: Witness) -> None:
    payment = await becomes(shop, await ask(shop, "success@upi"), "captured")
    refund = await shop.refunded(payment, amount=99)
    assert len(refund["upi"]["rrn"]) == 12
    assert refund["upi"]["rrn"] != payment["payment_method"]["upi"]["rrn"]
    asked = await witness.requests(payment_reference=payment["id"])
    assert [entry["operation"] for entry in asked][-1] == "refund"
    assert await witness.movements(payment["id"]) == [*PAID, ("refund", 99)]


@pytest.mark.parametrize("provider", ["paytm", "phonepe"])
async def test_a_wallet_pays_on_its_own_page(
    shop: Merchant, customer: httpx.AsyncClient, witness: Witness, provider: str
) -> None:
    payment = await shop.paid(payment_method=wallet(provider), return_url="https://shop.example/back")
    assert payment["next_action"]["type"] == "redirect"
    assert (await customer.get(payment["next_action"]["url"])).status_code == 200
    (await decide(customer, payment, "approve")).raise_for_status()
    await becomes(shop, payment, "captured")
    assert await witness.movements(payment["id"]) == PAID


@pytest.mark.parametrize("provider", ["apple_pay", "google_pay"])
async def test_a_device_wallet_pays_like_a_card(shop: Merchant, witness: Witness, provider: str) -> None:
    payment = await shop.paid(payment_method=wallet(provider, token="tok_ok"))
    assert (payment["status"], payment["connector"]) == ("captured", "sandbox_card")
    shown = {"provider": provider, "brand": "visa", "last4": "4242"}
    assert payment["payment_method"] == {"type": "wallet", "wallet": shown}
    refused(await shop.pay(payment_method=wallet(provider, token="tok_declined")), 402, "payment_declined")
    assert await witness.movements(payment["id"]) == PAID


async def test_a_device_wallets_payment_is_captured_later_too(shop: Merchant) -> None:
    payment = await shop.authorized(payment_method=wallet("apple_pay", token="tok_ok"))
    assert (await shop.captured(payment))["status"] == "captured"


@pytest.mark.parametrize(
    ("changes", "status", "code", "pointer"),
    [
        ({"currency": "USD"}, 422, "currency_not_supported", "/currency"),
        ({"capture_method": "manual"}, 422, "capture_method_not_supported", "/capture_method"),
        ({"metadata": {"sandbox_vpa": "nobody@upi"}}, 400, "invalid_request", "/metadata/sandbox_vpa"),
        (
            {"payment_method": upi("collect", vpa="no address")},
            400,
            "invalid_vpa",
            "/payment_method/upi/vpa",
        ),
        ({"payment_method": upi("collect")}, 400, "invalid_request", "/payment_method/upi/vpa"),
    ],
)
async def test_what_the_rail_does_not_take_is_refused(
    shop: Merchant, changes: Body, status: int, code: str, pointer: str
) -> None:
    problem = refused(await shop.pay(**{"payment_method": upi(), **changes}), status, code)
    assert pointers(problem) == {pointer}


@pytest.mark.parametrize("fault", ["timeout_after_charge", "error_after_charge", "garbage"])
async def test_an_order_whose_answer_is_lost_is_found_and_paid_once(
    shop: Merchant, customer: httpx.AsyncClient, witness: Witness, fault: str
) -> None:
    metadata = {"sandbox_fault": fault, "sandbox_vpa": "success@upi"}
    payment = answered(await shop.pay(payment_method=upi(), metadata=metadata), 202)
    await becomes(shop, payment, "captured")
    assert await witness.movements(payment["id"]) == PAID


async def test_an_order_that_never_arrived_ends_as_never_processed(
    shop: Merchant, witness: Witness, never_arrived: Body
) -> None:
    failed = await becomes(shop, never_arrived, "failed")
    assert failed["last_error"]["code"] == "not_processed"
    assert [entry for entry in await witness.movements(never_arrived["id"]) if entry[0] != "reversal"] == []


async def test_another_amount_than_was_asked_for_is_reversed(
    shop: Merchant, customer: httpx.AsyncClient, witness: Witness
) -> None:
    payment = await shop.paid(
        payment_method=upi(), metadata={"sandbox_fault": "amount_mismatch", "sandbox_vpa": "success@upi"}
    )
    failed = await becomes(shop, payment, "failed")
    assert failed["last_error"]["code"] == "amount_mismatch"
    assert [operation for operation, _ in await witness.movements(payment["id"])] == [
        "authorize",
        "capture",
        "reversal",
    ]


@pytest.fixture
async def callbacks(witness: Witness) -> AsyncIterator[Any]:
    """How the acquirer calls, until the test ends."""
    before = (await witness.client.get("/config")).raise_for_status().json()["callbacks"]

    async def make(how: str) -> None:
        await witness.configure(callbacks=how)

    yield make
    await witness.configure(callbacks=before)


@pytest.mark.parametrize("how", ["off", "duplicate", "reordered", "before_response"])
async def test_however_the_acquirer_calls_it_is_captured_once(
    shop: Merchant, witness: Witness, callbacks: Any, how: str
) -> None:
    """Without any callback the inquiries find it."""
    await callbacks(how)
    answer = await shop.pay(payment_method=upi(), metadata={"sandbox_vpa": "success@upi"})
    payment = answered(answer, 201)
    await becomes(shop, payment, "captured")
    events = await shop.timeline(payment)
    assert events[-2:] == ["payment.authorized", "payment.captured"]
    assert await witness.movements(payment["id"]) == PAID


async def test_a_late_success_without_any_callback_is_noticed(
    shop: Merchant, witness: Witness, callbacks: Any
) -> None:
    await callbacks("off")
    payment = await ask(shop, "late@upi")

    async def undone() -> bool:
        return await witness.movements(payment["id"]) == [*PAID, ("reversal", 1099)]

    await eventually(undone, WINDOW_S + 60)
    assert (await shop.timeline(payment))[-1] == "payment.late_success"


@pytest.mark.parametrize("rail", ["upi", "wallet"])
async def test_a_success_after_a_void_is_undone_without_any_callback(
    shop: Merchant, customer: httpx.AsyncClient, witness: Witness, callbacks: Any, rail: str
) -> None:
    """The acquirer accepted what it was told to block; nobody asked again, and the money was kept."""
    await callbacks("off")
    await witness.configure(late_after_reversal="accepted")
    try:
        payment = await ask(shop, method=None if rail == "upi" else wallet("phonepe"))
        await shop.voided(payment)
        (await decide(customer, payment, "approve")).raise_for_status()

        async def undone() -> bool:
            return await witness.movements(payment["id"]) == [*PAID, ("reversal", 1099)]

        await eventually(undone, 90)
    finally:
        await witness.configure(late_after_reversal="refused")


async def test_an_unsigned_callback_moves_nothing(
    stack: DevStack, shop: Merchant, customer: httpx.AsyncClient, witness: Witness
) -> None:
    payment = await ask(shop)
    forged = {"id": "cb_forged", "reference": f"{payment['id']}-1", "status": "approved", "amount": 1099}
    response = await customer.post(f"{stack.api_url}/v1/connectors/sandbox_upi/callbacks", json=forged)
    refused(response, 401, "callback_invalid")
    assert (await shop.payment(payment))["status"] == "requires_action"
    await shop.voided(payment)
    assert await witness.movements(payment["id"]) == []

"""Who may ask the Razorpay dialect, what orders are, and what is refused."""

import asyncio
import base64

import pytest
from acquirer_process import Acquirer
from razorpay_side import ACCOUNT, KEY_ID, KEY_SECRET, RazorpaySide, done, error, set_up


async def test_the_key_and_its_secret_are_needed(unmoved_razorpay: RazorpaySide) -> None:
    for key_id, secret in ((KEY_ID, "another-secret"), ("rzp_test_Nobody00000001", KEY_SECRET), ("", "")):
        stranger = RazorpaySide(unmoved_razorpay.acquirer, key_id=key_id, secret=secret)
        said = error(await stranger.post("/orders", stranger.order_body()), 401)
        assert (said["code"], said["reason"]) == ("BAD_REQUEST_ERROR", "NA")


@pytest.mark.parametrize("scheme", ["basic", "BASIC", "Bearer"])
async def test_the_scheme_is_written_basic(unmoved_razorpay: RazorpaySide, scheme: str) -> None:
    token = base64.b64encode(f"{KEY_ID}:{KEY_SECRET}".encode()).decode()
    headers = {"Authorization": f"{scheme} {token}"}
    client = unmoved_razorpay.acquirer.client
    error(await client.get("/razorpay/v1/orders", headers=headers), 401)


async def test_an_expired_key_is_refused(acquirer: Acquirer) -> None:
    keys = [
        {"id": KEY_ID, "secret": KEY_SECRET, "expired": True},
        {"id": "rzp_test_Acme0000000002", "secret": KEY_SECRET},
    ]
    await set_up(acquirer, keys=keys)
    error(await RazorpaySide(acquirer).get("/orders"), 401)
    done(await RazorpaySide(acquirer, key_id=keys[1]["id"]).get("/orders"))


async def test_accounts_and_modes_know_nothing_of_each_other(acquirer: Acquirer) -> None:
    await set_up(acquirer)
    other, live = "rzp_test_Other000000001", "rzp_live_Acme0000000001"
    await set_up(acquirer, id="acc_Other000000001", keys=[{"id": other, "secret": KEY_SECRET}])
    await set_up(acquirer, livemode=True, keys=[{"id": live, "secret": KEY_SECRET}])
    order = await RazorpaySide(acquirer).order()
    for key_id in (other, live):
        stranger = RazorpaySide(acquirer, key_id=key_id)
        said = error(await stranger.get(f"/orders/{order['id']}"))
        assert said["description"] == "The id provided does not exist"
        assert done(await stranger.get("/orders", receipt=order["receipt"]))["items"] == []


async def test_an_account_needs_keys_of_its_mode(unmoved_razorpay: RazorpaySide) -> None:
    body = {"id": ACCOUNT, "livemode": True, "keys": [{"id": KEY_ID, "secret": KEY_SECRET}]}
    client = unmoved_razorpay.acquirer.client
    assert (await client.put(f"/razorpay/accounts/{ACCOUNT}", json=body)).status_code == 400
    answer = await client.put(f"/razorpay/accounts/{ACCOUNT}", json=body, headers={"Authorization": "x"})
    assert answer.status_code == 401


async def test_an_order_is_found_by_its_receipt(unmoved_razorpay: RazorpaySide) -> None:
    order = await unmoved_razorpay.order(receipt="found-by-this")
    found = done(await unmoved_razorpay.get("/orders", receipt="found-by-this"))
    assert (found["entity"], found["count"], found["items"]) == ("collection", 1, [order])
    assert done(await unmoved_razorpay.get("/orders", receipt="by-another"))["items"] == []


async def test_a_receipt_is_unique_only_if_asked(unmoved_razorpay: RazorpaySide) -> None:
    first = await unmoved_razorpay.order(receipt="twice")
    second = await unmoved_razorpay.order(receipt="twice")
    listed = done(await unmoved_razorpay.get("/orders", receipt="twice"))
    assert [item["id"] for item in listed["items"]] == [second["id"], first["id"]]


async def test_a_repeat_with_a_unique_receipt_is_the_same_order(unmoved_razorpay: RazorpaySide) -> None:
    body = unmoved_razorpay.order_body(receipt="once", unique_receipt=True)
    first, again = [done(await unmoved_razorpay.post("/orders", body)) for _ in range(2)]
    assert first == again
    said = error(await unmoved_razorpay.post("/orders", body | {"amount": 1100}))
    assert said["description"] == "Order receipt should be unique."


async def test_an_account_may_refuse_the_repeat_instead(acquirer: Acquirer) -> None:
    await set_up(acquirer, receipt_reused="refused")
    razorpay = RazorpaySide(acquirer)
    body = razorpay.order_body(receipt="once", unique_receipt=True)
    done(await razorpay.post("/orders", body))
    assert error(await razorpay.post("/orders", body))["description"] == "Order receipt should be unique."


async def test_lists_come_in_pages_of_ten(unmoved_razorpay: RazorpaySide) -> None:
    own_ids = [(await unmoved_razorpay.order(receipt="many"))["id"] for _ in range(12)][::-1]
    first = done(await unmoved_razorpay.get("/orders", receipt="many"))["items"]
    rest = done(await unmoved_razorpay.get("/orders", receipt="many", count=100, skip=10))["items"]
    assert [[item["id"] for item in page] for page in (first, rest)] == [own_ids[:10], own_ids[10:]]
    assert error(await unmoved_razorpay.get("/orders", count=101))["field"] == "count"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"colour": "red"}, "colour"),
        ({"amount": 99}, "amount"),
        ({"amount": "1099"}, "amount"),
        ({"amount": 10.5}, "amount"),
        ({"amount": None}, "amount"),
        ({"currency": None}, "currency"),
        ({"currency": "KWD", "amount": 1099}, "amount"),
        ({"receipt": "r" * 41}, "receipt"),
        ({"notes": {f"n{number}": "x" for number in range(16)}}, "notes"),
        ({"notes": {"n": "x" * 257}}, "notes"),
        ({"payment": {"capture": "perhaps"}}, "payment.capture"),
    ],
)
async def test_orders_that_are_refused(
    unmoved_razorpay: RazorpaySide, changes: dict[str, object], field: str
) -> None:
    said = error(await unmoved_razorpay.post("/orders", unmoved_razorpay.order_body(**changes)))
    assert (said["code"], said["field"]) == ("BAD_REQUEST_ERROR", field)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"manual_expiry_period": 7200}, "automatic_expiry_period"),
        ({"automatic_expiry_period": 11}, "automatic_expiry_period"),
        ({"automatic_expiry_period": 12, "manual_expiry_period": 7201}, "manual_expiry_period"),
        ({"automatic_expiry_period": 60, "manual_expiry_period": 12}, "manual_expiry_period"),
        ({"automatic_expiry_period": 12, "refund_speed": None}, "refund_speed"),
    ],
)
async def test_capture_settings_that_are_refused(
    unmoved_razorpay: RazorpaySide, options: dict[str, object], name: str
) -> None:
    settings = {"capture": "automatic", "capture_options": {"refund_speed": "normal", **options}}
    said = error(await unmoved_razorpay.post("/orders", unmoved_razorpay.order_body(payment=settings)))
    assert said["field"] == f"payment.capture_options.{name}"


async def test_paths_and_ids_that_do_not_exist(unmoved_razorpay: RazorpaySide) -> None:
    for path in ("/charges", "/payments/create/json", "/orders/order_x/cancel"):
        said = error(await unmoved_razorpay.get(path))
        assert said["description"] == "The requested URL was not found on the server."
    for path in ("/payments/pay_Nobody0000000", "/refunds/rfnd_Nobody000000", "/orders/order_Nobody00000"):
        assert error(await unmoved_razorpay.get(path))["description"] == "The id provided does not exist"


async def test_payments_from_server_to_server_have_to_be_enabled(acquirer: Acquirer) -> None:
    await set_up(acquirer, s2s=False)
    razorpay = RazorpaySide(acquirer)
    body = razorpay.card_body(await razorpay.order())
    said = error(await razorpay.post("/payments/create/json", body))
    assert said["description"] == "The requested URL was not found on the server."


async def test_a_body_that_is_no_json_object(unmoved_razorpay: RazorpaySide) -> None:
    token = base64.b64encode(f"{KEY_ID}:{KEY_SECRET}".encode()).decode()
    headers = {"Authorization": f"Basic {token}"}
    for content in (b"amount=1099", b"[]", b"\xff", b'{"receipt": "\\ud800"}'):
        client = unmoved_razorpay.acquirer.client
        error(await client.post("/razorpay/v1/orders", content=content, headers=headers))


async def test_an_account_has_a_limit_of_requests(acquirer: Acquirer) -> None:
    await set_up(acquirer, requests_per_s=1)
    razorpay = RazorpaySide(acquirer)
    answers = await asyncio.gather(*(razorpay.get("/orders") for _ in range(30)))
    assert {answer.status_code for answer in answers} == {200, 429}

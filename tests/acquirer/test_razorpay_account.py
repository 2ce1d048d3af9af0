"""The Razorpay account of `make dev`, at the acquirer that plays it."""

from acquirer_process import KEY, Acquirer
from razorpay_side import RazorpaySide

from devstack import razorpay_account


async def test_the_account_of_the_stack_takes_payments(acquirer: Acquirer) -> None:
    acquirer_url = str(acquirer.client.base_url).rstrip("/")
    for _ in range(2):  # safe to repeat
        await razorpay_account.play(acquirer_url, KEY, api_url="http://127.0.0.1:9")
    own = razorpay_account.account(acquirer_url, KEY)
    key_id, _, secret = own["key"].partition(":")
    razorpay = RazorpaySide(acquirer, key_id=key_id, secret=secret)
    payment = await razorpay.paid()
    assert payment["status"] == "captured"
    callbacks = await acquirer.callbacks()
    assert {each["url"] for each in callbacks} == {"http://127.0.0.1:9/v1/connectors/razorpay/callbacks"}

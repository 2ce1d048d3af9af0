"""Cards that the dialect keeps with customers. Source: api/customers, payment_methods/detach, save-during-payment."""

import pytest
from stripe_side import Json, StripeSide, done, error


async def customer(stripe: StripeSide) -> str:
    own_id: str = done(await stripe.post("/customers", {"metadata[payonce_reference]": "ref-1"}))["id"]
    return own_id


async def kept(stripe: StripeSide, number: str = "4242424242424242") -> tuple[str, Json]:
    """The customer, and a paid intent whose card was kept with them."""
    with_whom = await customer(stripe)
    intent = await stripe.intent(customer=with_whom)
    method = await stripe.method(number)
    paid = done(await stripe.confirm(intent["id"], method, setup_future_usage="off_session"))
    return with_whom, paid


async def test_a_card_is_attached_with_its_approval(stripe: StripeSide) -> None:
    with_whom, paid = await kept(stripe)
    assert (paid["customer"], paid["setup_future_usage"]) == (with_whom, "off_session")
    method = done(await stripe.get(f"/payment_methods/{paid['payment_method']}"))
    assert method["customer"] == with_whom


@pytest.mark.parametrize("unattended", [{}, {"off_session": "true"}])
async def test_it_is_paid_with_by_its_customer_alone(stripe: StripeSide, unattended: dict[str, str]) -> None:
    with_whom, first = await kept(stripe)
    intent = await stripe.intent(customer=with_whom)
    again = done(await stripe.confirm(intent["id"], first["payment_method"], **unattended))
    assert again["status"] == "requires_capture"
    for other in ({}, {"customer": await customer(stripe)}):
        intent = await stripe.intent(**other)
        refused = error(await stripe.confirm(intent["id"], first["payment_method"]), 400)
        assert refused["param"] == "payment_method"


async def test_what_is_declined_or_not_to_be_kept_is_attached_to_nobody(stripe: StripeSide) -> None:
    with_whom = await customer(stripe)
    for number, more in (
        ("4000000000000002", {"setup_future_usage": "off_session"}),
        ("4242424242424242", {}),
    ):
        method = await stripe.method(number)
        await stripe.confirm((await stripe.intent(customer=with_whom))["id"], method, **more)
        assert done(await stripe.get(f"/payment_methods/{method}"))["customer"] is None


async def test_what_is_detached_pays_nothing(stripe: StripeSide) -> None:
    with_whom, first = await kept(stripe)
    path = f"/payment_methods/{first['payment_method']}/detach"
    assert done(await stripe.post(path))["customer"] is None
    error(await stripe.post(path), 400)
    intent = await stripe.intent(customer=with_whom)
    error(await stripe.confirm(intent["id"], first["payment_method"]), 400)
    assert (await stripe.shown(intent["id"]))["latest_charge"] is None


async def test_a_customer_that_nobody_made(stripe: StripeSide) -> None:
    form = {"amount": "1099", "currency": "usd", "customer": "cus_1"}
    refused = error(await stripe.post("/payment_intents", form), 400)
    assert (refused["code"], refused["param"]) == ("resource_missing", "customer")

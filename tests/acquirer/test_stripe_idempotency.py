"""Idempotency keys of the Stripe dialect. Source: docs.stripe.com/api/idempotent_requests and /error-low-level."""

import asyncio

import pytest
from acquirer_process import Acquirer, eventually
from stripe_side import StripeSide, done, error, set_up

FORM = {"amount": "1099", "currency": "usd", "confirm": "true", "payment_method": "pm_card_visa"}


async def test_the_same_key_and_parameters_get_the_same_answer(stripe: StripeSide) -> None:
    first = await stripe.post("/payment_intents", FORM, key="key-1")
    again = await stripe.post("/payment_intents", FORM, key="key-1")
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert len(await stripe.acquirer.ledger()) == 2


async def test_a_decline_is_repeated_too(stripe: StripeSide) -> None:
    form = FORM | {"payment_method": "pm_card_visa_chargeDeclined"}
    first = await stripe.post("/payment_intents", form, key="key-1")
    again = await stripe.post("/payment_intents", form, key="key-1")
    assert (first.status_code, again.status_code, again.content) == (402, 402, first.content)
    assert len(done(await stripe.get("/payment_intents"))["data"]) == 1


async def test_other_parameters_are_an_idempotency_error(stripe: StripeSide) -> None:
    done(await stripe.post("/payment_intents", FORM, key="key-1"))
    other = await stripe.post("/payment_intents", FORM | {"amount": "1100"}, key="key-1")
    assert error(other, 400)["type"] == "idempotency_error"
    elsewhere = await stripe.post("/refunds", {}, key="key-1")
    assert error(elsewhere, 400)["type"] == "idempotency_error"
    assert len(await stripe.acquirer.ledger()) == 2


async def test_a_key_in_use_is_a_conflict_and_no_second_charge(stripe: StripeSide) -> None:
    intent = await stripe.intent(**{"metadata[sandbox_fault]": "slow:4000"})
    path, form = f"/payment_intents/{intent['id']}/confirm", {"payment_method": "pm_card_visa"}
    first = asyncio.create_task(stripe.post(path, form, key="key-1"))

    async def is_under_way() -> bool:
        seen = await stripe.acquirer.requests(reference="ref-1")
        return any(each["operation"] == "authorize" for each in seen)

    await eventually(is_under_way)
    conflict = error(await stripe.post(path, form, key="key-1"), 409)
    assert conflict["code"] == "idempotency_key_in_use"
    assert done(await first)["status"] == "requires_capture"
    assert (await stripe.post(path, form, key="key-1")).headers["idempotent-replayed"] == "true"
    assert len(await stripe.acquirer.ledger()) == 1


async def test_what_failed_validation_is_not_saved(stripe: StripeSide) -> None:
    wrong = await stripe.post("/payment_intents", {"amount": "1099"}, key="key-1")
    assert error(wrong, 400)["code"] == "parameter_missing"
    assert done(await stripe.post("/payment_intents", FORM, key="key-1"))["status"] == "succeeded"


async def test_an_error_of_the_server_is_repeated_although_it_charged(stripe: StripeSide) -> None:
    intent = await stripe.intent(**{"metadata[sandbox_fault]": "error_after_charge"})
    path, form = f"/payment_intents/{intent['id']}/confirm", {"payment_method": "pm_card_visa"}
    first = await stripe.post(path, form, key="key-1")
    again = await stripe.post(path, form, key="key-1")
    assert error(first, 500)["type"] == "api_error"
    assert (again.status_code, again.content) == (500, first.content)
    assert (await stripe.shown(intent["id"]))["status"] == "requires_capture"


async def test_a_key_that_was_pruned_is_a_new_request(acquirer: Acquirer) -> None:
    await set_up(acquirer, idempotency_s=1)
    stripe = StripeSide(acquirer)
    first = done(await stripe.post("/payment_intents", FORM, key="key-1"))

    async def is_pruned() -> bool:
        again = done(await stripe.post("/payment_intents", FORM, key="key-1"))
        return bool(again["id"] != first["id"])

    await eventually(is_pruned)


async def test_keys_are_not_honoured_where_the_sandbox_is_told_so(stripe: StripeSide) -> None:
    await stripe.acquirer.configure(idempotency="ignored")
    for _ in range(2):
        done(await stripe.post("/payment_intents", FORM, key="key-1"))
    assert len(await stripe.acquirer.ledger()) == 4


@pytest.mark.parametrize(("length", "status_code"), [(255, 200), (256, 400)])
async def test_a_key_has_up_to_255_characters(stripe: StripeSide, length: int, status_code: int) -> None:
    assert (await stripe.post("/payment_intents", FORM, key="k" * length)).status_code == status_code


async def test_a_key_outlives_a_restart(stripe: StripeSide) -> None:
    first = await stripe.post("/payment_intents", FORM, key="key-1")
    await stripe.acquirer.stop()
    await stripe.acquirer.start()
    assert (await stripe.post("/payment_intents", FORM, key="key-1")).content == first.content

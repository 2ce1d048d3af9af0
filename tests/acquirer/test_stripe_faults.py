"""The sandbox's faults in the Stripe dialect: what `metadata[sandbox_fault]` does to a request, and later."""

from typing import Any

import httpx
import pytest
from acquirer_process import GIVES_UP_S, eventually
from stripe_side import StripeSide, done, error


async def faulty(stripe: StripeSide, fault: str, **changes: str) -> str:
    """The path of an unconfirmed intent with this wish."""
    intent = await stripe.intent(**{"metadata[sandbox_fault]": fault, **changes})
    return f"/payment_intents/{intent['id']}"


CONFIRM = {"payment_method": "pm_card_visa"}


async def status(stripe: StripeSide, path: str) -> str:
    found: str = done(await stripe.get(path))["status"]
    return found


@pytest.mark.parametrize(
    ("fault", "after"),
    [("timeout_after_charge", "requires_capture"), ("timeout_before_charge", "requires_payment_method")],
)
async def test_a_confirmation_that_is_never_answered(stripe: StripeSide, fault: str, after: str) -> None:
    path = await faulty(stripe, fault)
    with pytest.raises(httpx.ReadTimeout):
        await stripe.acquirer.client.post(
            f"/stripe/v1{path}/confirm", data=CONFIRM, headers=stripe.headers(), timeout=GIVES_UP_S
        )

    async def is_as_expected() -> bool:
        return await status(stripe, path) == after

    await eventually(is_as_expected)
    if after == "requires_payment_method":  # a fault is set off once
        assert done(await stripe.post(f"{path}/confirm", CONFIRM))["status"] == "requires_capture"


async def test_a_reset_after_the_charge(stripe: StripeSide) -> None:
    path = await faulty(stripe, "reset_after_charge")
    with pytest.raises(httpx.ReadError):
        await stripe.post(f"{path}/confirm", CONFIRM)
    assert await status(stripe, path) == "requires_capture"


@pytest.mark.parametrize(
    ("fault", "status_code", "after"),
    [
        ("error_after_charge", 500, "requires_capture"),
        ("error_before_charge", 500, "requires_payment_method"),
        ("rate_limited", 429, "requires_payment_method"),
        ("redirect", 302, "requires_payment_method"),
        ("html", 200, "requires_capture"),
        ("garbage", 200, "requires_capture"),
        ("other_answer", 200, "requires_capture"),
    ],
)
async def test_an_answer_that_says_nothing_or_lies(
    stripe: StripeSide, fault: str, status_code: int, after: str
) -> None:
    path = await faulty(stripe, fault)
    response = await stripe.post(f"{path}/confirm", CONFIRM)
    assert response.status_code == status_code
    assert "retry-after" not in response.headers
    if status_code == 200:
        assert path.rpartition("/")[2] not in response.text
    assert await status(stripe, path) == after


async def test_a_value_that_is_refused_for_ever(stripe: StripeSide) -> None:
    path = await faulty(stripe, "refuse:/payment_method_options/card/network")
    refused = await stripe.post(f"{path}/confirm", CONFIRM, key="key-1")
    assert error(refused, 400)["param"] == "payment_method_options[card][network]"
    assert await status(stripe, path) == "requires_payment_method"


async def test_a_limited_request_is_not_saved_under_its_key(stripe: StripeSide) -> None:
    path = await faulty(stripe, "rate_limited")
    limited = await stripe.post(f"{path}/confirm", CONFIRM, key="key-1")
    assert error(limited, 429)["code"] == "rate_limit"
    assert done(await stripe.post(f"{path}/confirm", CONFIRM, key="key-1"))["status"] == "requires_capture"


async def test_the_true_answer_is_saved_where_it_was_lost(stripe: StripeSide) -> None:
    path = await faulty(stripe, "garbage")
    await stripe.post(f"{path}/confirm", CONFIRM, key="key-1")
    again = await stripe.post(f"{path}/confirm", CONFIRM, key="key-1")
    assert done(again)["status"] == "requires_capture"
    assert again.headers["idempotent-replayed"] == "true"
    assert len(await stripe.acquirer.ledger()) == 1


async def test_one_minor_unit_more_than_was_asked_for(stripe: StripeSide) -> None:
    path = await faulty(stripe, "amount_mismatch")
    assert done(await stripe.post(f"{path}/confirm", CONFIRM))["amount_capturable"] == 1100
    assert [entry["amount"] for entry in await stripe.acquirer.ledger()] == [1100]


async def test_an_automatic_payment_that_was_only_authorized(stripe: StripeSide) -> None:
    path = await faulty(stripe, "authorized_only", capture_method="automatic")
    assert done(await stripe.post(f"{path}/confirm", CONFIRM))["status"] == "requires_capture"


async def test_faults_of_captures_cancellations_inquiries_and_refunds(stripe: StripeSide) -> None:
    wishes = "capture:error_after_charge,refund:error_after_charge,inquire:error_after_charge"
    path = await faulty(stripe, wishes)
    done(await stripe.post(f"{path}/confirm", CONFIRM))
    assert (await stripe.post(f"{path}/capture")).status_code == 500
    assert (await stripe.get(path)).status_code == 500
    assert await status(stripe, path) == "succeeded"
    form = {"payment_intent": path.rpartition("/")[2], "amount": "99"}
    assert (await stripe.post("/refunds", form)).status_code == 500
    assert done(await stripe.post("/refunds", form))["amount"] == 99
    other = await faulty(stripe, "void:error_after_charge")
    done(await stripe.post(f"{other}/confirm", CONFIRM))
    assert (await stripe.post(f"{other}/cancel")).status_code == 500
    assert await status(stripe, other) == "canceled"


async def test_a_creation_may_be_disturbed(stripe: StripeSide) -> None:
    form = {"amount": "1099", "currency": "usd", "metadata[sandbox_fault]": "create:error_after_charge"}
    assert (await stripe.post("/payment_intents", form)).status_code == 500
    assert len(done(await stripe.get("/payment_intents"))["data"]) == 1


async def test_a_refund_may_have_a_fault_of_its_own(stripe: StripeSide) -> None:
    paid = await stripe.captured()
    form = {"payment_intent": paid["id"], "metadata[sandbox_fault]": "error_after_charge"}
    assert (await stripe.post("/refunds", form)).status_code == 500
    assert len(done(await stripe.get("/refunds"))["data"]) == 1


async def test_a_refund_that_the_bank_sends_back(stripe: StripeSide) -> None:
    paid = await stripe.captured(**{"metadata[sandbox_fault]": "undo_refund:0"})
    refund = done(await stripe.post("/refunds", {"payment_intent": paid["id"]}))
    assert done(await stripe.get(f"/refunds/{refund['id']}"))["status"] == "failed"


async def test_somebody_refunds_in_the_dashboard(stripe: StripeSide) -> None:
    paid = await stripe.captured(**{"metadata[sandbox_fault]": "foreign_refund:99"})
    found: list[Any] = []

    async def is_there() -> bool:
        found[:] = done(await stripe.get("/refunds", payment_intent=paid["id"]))["data"]
        return bool(found)

    await eventually(is_there)
    assert (found[0]["amount"], found[0]["status"], found[0]["metadata"]) == (99, "succeeded", {})
    assert (await stripe.shown(paid["id"]))["latest_charge"]["amount_refunded"] == 99
    assert (await stripe.acquirer.ledger())[-1]["origin"] == "acquirer"


async def test_somebody_captures_in_the_dashboard(stripe: StripeSide) -> None:
    paid = await stripe.paid(**{"metadata[sandbox_fault]": "foreign_capture"})

    async def is_captured() -> bool:
        return bool((await stripe.shown(paid["id"]))["status"] == "succeeded")

    await eventually(is_captured)
    assert (await stripe.acquirer.ledger())[-1]["origin"] == "acquirer"


@pytest.mark.parametrize(
    ("what", "status_code", "became"),
    [
        ({"what": "refund", "amount": 99}, 200, {"status": "succeeded", "amount_received": 1099}),
        ({"what": "capture"}, 409, {"status": "succeeded"}),
    ],
)
async def test_the_dashboard_command_acts_on_an_intent(
    stripe: StripeSide, what: dict[str, Any], status_code: int, became: dict[str, Any]
) -> None:
    intent = await stripe.captured()
    asked = {"payment_reference": intent["metadata"]["payonce_payment"], **what}
    answer = await stripe.acquirer.client.post("/dashboard", json=asked)
    assert answer.status_code == status_code
    shown = done(await stripe.get(f"/payment_intents/{intent['id']}"))
    assert {name: shown[name] for name in became} == became
    refunds = done(await stripe.get("/refunds", payment_intent=intent["id"]))["data"]
    assert [one["amount"] for one in refunds] == ([99] if status_code == 200 else [])


@pytest.mark.parametrize(
    ("what", "became"),
    [
        ("capture", {"status": "succeeded", "amount_received": 1099}),
        ("void", {"status": "canceled", "amount_capturable": 0, "cancellation_reason": None}),
    ],
)
async def test_the_dashboard_command_takes_or_releases_a_hold(
    stripe: StripeSide, what: str, became: dict[str, Any]
) -> None:
    intent = await stripe.paid()
    asked = {"payment_reference": intent["metadata"]["payonce_payment"], "what": what}
    (await stripe.acquirer.client.post("/dashboard", json=asked)).raise_for_status()
    shown = done(await stripe.get(f"/payment_intents/{intent['id']}"))
    assert {name: shown[name] for name in became} == became


@pytest.mark.parametrize("fault", ["burn_down", "undo_capture:1", "capture:"])
async def test_an_unknown_fault_is_refused(unmoved_stripe: StripeSide, fault: str) -> None:
    form = {"amount": "1099", "currency": "usd", "metadata[sandbox_fault]": fault}
    assert (
        error(await unmoved_stripe.post("/payment_intents", form), 400)["param"] == "metadata[sandbox_fault]"
    )


async def test_the_log_of_requests_has_each_with_its_answer(stripe: StripeSide) -> None:
    path = await faulty(stripe, "html")
    await stripe.post(f"{path}/confirm", CONFIRM)
    error(await stripe.post(f"{path}/cancel", {"colour": "red"}), 400)
    seen = await stripe.acquirer.requests(payment_reference="pay_1")
    assert [(each["operation"], each["answer"]) for each in seen] == [
        ("create", "200 requires_payment_method"),
        ("authorize", "200 html"),
    ]
    assert seen[1]["faults"] == ["authorize:html"]
    refused = (await stripe.acquirer.requests())[-1]
    assert (refused["operation"], refused["answer"]) == ("void", "400 parameter_unknown")

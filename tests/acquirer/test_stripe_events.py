"""Events of the Stripe dialect: which, in which order, how signed. Source: docs.stripe.com/api/events, /webhooks."""

import pytest
from acquirer_process import Acquirer, eventually
from stripe_side import (
    WEBHOOK_SECRET,
    EventsSide,
    StripeSide,
    done,
    error,
    events_side,
    set_up,
    signed_by,
)

from tests.witnesses.stripe_spec import stripe_spec

OTHER_SECRET = "whsec_acme_second_generation"


async def told(acquirer: Acquirer, side: EventsSide, **members: object) -> StripeSide:
    """A merchant whose events go to the side."""
    webhook = {"url": side.url, "secrets": [WEBHOOK_SECRET], **members}
    await set_up(acquirer, webhook=webhook, refund_settles_s=0)
    return StripeSide(acquirer)


async def test_a_payment_is_told_step_by_step(acquirer: Acquirer) -> None:
    async with events_side() as side:
        stripe = await told(acquirer, side)
        paid = await stripe.paid()
        done(await stripe.post(f"/payment_intents/{paid['id']}/capture", {"amount_to_capture": "700"}))
        done(await stripe.post("/refunds", {"payment_intent": paid["id"], "amount": "99"}))
        await eventually(lambda: side.has("charge.refunded"))
        await eventually(lambda: side.has("refund.created"))
    assert sorted(side.types()) == sorted(
        [
            *("payment_intent.created", "charge.succeeded", "payment_intent.amount_capturable_updated"),
            *("charge.captured", "payment_intent.succeeded", "refund.created", "charge.refunded"),
        ]
    )


async def test_an_event_has_the_object_as_it_was(acquirer: Acquirer) -> None:
    async with events_side() as side:
        stripe = await told(acquirer, side)
        paid = await stripe.captured()
        await eventually(lambda: side.has("payment_intent.succeeded"))
        await eventually(lambda: side.has("payment_intent.created"))
    by_type = {event["type"]: event for event in side.events()}
    created, succeeded = by_type["payment_intent.created"], by_type["payment_intent.succeeded"]
    assert created["data"]["object"]["status"] == "requires_payment_method"
    assert succeeded["data"]["object"]["status"] == "succeeded"
    assert succeeded["data"]["object"]["latest_charge"] == paid["latest_charge"]["id"]
    assert (succeeded["object"], succeeded["livemode"]) == ("event", False)
    assert succeeded["request"]["id"].startswith("req_")
    assert len({event["id"] for event in side.events()}) == len(side.events())


async def test_every_event_is_signed_over_time_and_body(acquirer: Acquirer) -> None:
    async with events_side() as side:
        stripe = await told(acquirer, side)
        await stripe.intent()
        await eventually(lambda: side.has("payment_intent.created"))
    (body,), (header,) = side.bodies, side.signatures
    assert signed_by(header, body, WEBHOOK_SECRET)
    assert not signed_by(header, body + b" ", WEBHOOK_SECRET)
    assert not signed_by(header, body, OTHER_SECRET)


async def test_while_a_secret_is_rolled_both_sign(acquirer: Acquirer) -> None:
    async with events_side() as side:
        stripe = await told(acquirer, side, secrets=[OTHER_SECRET, WEBHOOK_SECRET])
        await stripe.intent()
        await eventually(lambda: side.has("payment_intent.created"))
    assert side.signatures[0].count("v1=") == 2
    assert all(signed_by(side.signatures[0], side.bodies[0], each) for each in (WEBHOOK_SECRET, OTHER_SECRET))


async def test_a_decline_a_question_and_a_cancellation_are_told(acquirer: Acquirer) -> None:
    async with events_side() as side:
        stripe = await told(acquirer, side)
        intent = await stripe.intent()
        error(await stripe.confirm(intent["id"], "pm_card_visa_chargeDeclined"), 402)
        done(
            await stripe.confirm(
                intent["id"], "pm_card_authenticationRequired", return_url="https://a.example"
            )
        )
        done(await stripe.post(f"/payment_intents/{intent['id']}/cancel"))
        for type in ("charge.failed", "payment_failed", "requires_action", "canceled"):
            whole = type if type.startswith("charge") else f"payment_intent.{type}"
            await eventually(lambda whole=whole: side.has(whole))


@pytest.mark.parametrize(
    ("card", "type"), [("refundFail", "refund.failed"), ("pendingRefund", "refund.updated")]
)
async def test_what_becomes_of_a_refund_is_told(acquirer: Acquirer, card: str, type: str) -> None:
    async with events_side() as side:
        stripe = await told(acquirer, side)
        paid = await stripe.captured(f"pm_card_{card}")
        refund = done(await stripe.post("/refunds", {"payment_intent": paid["id"]}))
        await eventually(lambda: side.has(type))
    event = next(event for event in side.events() if event["type"] == type)
    assert event["data"]["object"]["id"] == refund["id"]
    assert event["data"]["object"]["status"] == ("failed" if card == "refundFail" else "succeeded")
    assert event["request"] == {"id": None, "idempotency_key": None}


async def test_an_event_that_nobody_took_is_sent_again_as_it_was(acquirer: Acquirer) -> None:
    async with events_side(500) as side:
        stripe = await told(acquirer, side)
        await stripe.intent()

        async def was_sent_twice() -> bool:
            return len(side.bodies) == 2

        await eventually(was_sent_twice)
    assert side.bodies[0] == side.bodies[1]
    assert signed_by(side.signatures[1], side.bodies[1], WEBHOOK_SECRET)


async def test_duplicate_sends_each_twice_and_off_none(acquirer: Acquirer) -> None:
    async with events_side() as side:
        stripe = await told(acquirer, side)
        await acquirer.configure(callbacks="off")
        await stripe.intent()

        async def is_given_up() -> bool:
            return [each["outcome"] for each in await acquirer.callbacks()] == ["off"]

        await eventually(is_given_up)
        await acquirer.configure(callbacks="duplicate")
        await stripe.intent()

        async def was_sent_twice() -> bool:
            return len(side.bodies) == 2

        await eventually(was_sent_twice)
    assert side.events()[0] == side.events()[1]
    assert side.events()[0]["data"]["object"]["metadata"]["payonce_payment"] == "pay_2"


async def test_reordered_lets_the_first_leave_last(acquirer: Acquirer) -> None:
    async with events_side() as side:
        stripe = await told(acquirer, side, events=["charge.succeeded", "payment_intent.succeeded"])
        await acquirer.configure(callbacks="reordered")
        await stripe.captured()
        await eventually(lambda: side.has("charge.succeeded"))
    assert side.types() == ["payment_intent.succeeded", "charge.succeeded"]


async def test_before_response_tells_before_it_answers(acquirer: Acquirer) -> None:
    async with events_side() as side:
        stripe = await told(acquirer, side)
        await acquirer.configure(callbacks="before_response")
        await stripe.intent()
        assert side.types() == ["payment_intent.created"]


async def test_only_what_the_endpoint_wants_is_sent_and_all_is_listed(acquirer: Acquirer) -> None:
    async with events_side() as side:
        stripe = await told(acquirer, side, events=["payment_intent.succeeded"])
        await stripe.captured()
        await eventually(lambda: side.has("payment_intent.succeeded"))
    assert side.types() == ["payment_intent.succeeded"]
    listed = done(await stripe.get("/events"))["data"]
    assert [event["type"] for event in listed] == [
        *("payment_intent.succeeded", "charge.succeeded", "payment_intent.created")
    ]
    one = done(await stripe.get("/events", type="charge.succeeded"))["data"]
    assert done(await stripe.get(f"/events/{one[0]['id']}")) == one[0]
    types = ["charge.succeeded", "payment_intent.created"]
    several = done(await stripe.get("/events", **{"types[]": types}))["data"]
    assert [event["type"] for event in several] == types
    both = {"types[]": types, "type": "charge.succeeded"}
    assert (await stripe.get("/events", **both)).status_code == 400


async def test_stripes_document_allows_every_event(acquirer: Acquirer) -> None:
    spec = stripe_spec()
    async with events_side() as side:
        stripe = await told(acquirer, side)
        paid = await stripe.paid("pm_card_refundFail")
        done(await stripe.post(f"/payment_intents/{paid['id']}/capture"))
        done(await stripe.post("/refunds", {"payment_intent": paid["id"], "amount": "99"}))
        asked = await stripe.intent()
        done(
            await stripe.confirm(
                asked["id"], "pm_card_authenticationRequired", return_url="https://a.example"
            )
        )
        error(await stripe.confirm(asked["id"], "pm_card_visa_chargeDeclined"), 402)
        done(await stripe.post(f"/payment_intents/{asked['id']}/cancel"))
        await eventually(lambda: side.has("refund.failed"))
        await eventually(lambda: side.has("payment_intent.canceled"))
    assert len(set(side.types())) >= 12
    assert [found for event in side.events() for found in spec.event(event)] == []

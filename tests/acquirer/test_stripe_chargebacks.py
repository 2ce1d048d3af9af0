"""Disputes of the Stripe dialect. Source: Stripe's document, by which every answer here is judged, and its events."""

from typing import Any

from acquirer_process import Acquirer, eventually
from stripe_side import WEBHOOK_SECRET, Json, StripeSide, done, error, events_side, set_up

from tests.witnesses.stripe_spec import stripe_spec

JSON = {"Accept": "application/json"}


async def bank(stripe: StripeSide, path: str, **fields: Any) -> Json:
    response = await stripe.acquirer.client.post(path, data=fields, headers=JSON)
    response.raise_for_status()
    body: Json = response.json()
    return body


async def disputed(stripe: StripeSide, **fields: Any) -> tuple[Json, Json]:
    """A captured payment, and the bank's dispute about it."""
    paid = await stripe.captured()
    reference = paid["metadata"]["payonce_payment"]
    return paid, await bank(stripe, "/disputes", payment_reference=reference, **fields)


async def only(stripe: StripeSide, paid: Json) -> Json:
    (found,) = done(await stripe.get("/disputes", payment_intent=paid["id"]))["data"]
    return dict(found)


async def test_a_dispute_is_listed_and_read_and_its_charge_says_so(stripe: StripeSide) -> None:
    paid, _ = await disputed(stripe)
    found = await only(stripe, paid)
    assert (found["status"], found["amount"]) == ("needs_response", 1099)
    (moved,) = found["balance_transactions"]
    assert (moved["amount"], moved["net"]) == (-1099, -1099 - moved["fee"])
    assert done(await stripe.get(f"/disputes/{found['id']}")) == found
    whose = done(await stripe.get(f"/disputes/{found['id']}", **{"expand[]": "payment_intent"}))
    assert whose["payment_intent"]["metadata"]["payonce_payment"] == paid["metadata"]["payonce_payment"]
    assert (await stripe.shown(paid["id"]))["latest_charge"]["disputed"] is True
    other = await stripe.captured()
    assert done(await stripe.get("/disputes", payment_intent=other["id"]))["data"] == []
    assert (await stripe.shown(other["id"]))["latest_charge"]["disputed"] is False


async def test_what_the_bank_has_is_not_refunded_until_it_is_given_back(stripe: StripeSide) -> None:
    paid, dispute = await disputed(stripe)
    refund = {"payment_intent": paid["id"], "amount": "99"}
    assert error(await stripe.post("/refunds", refund), 400)["code"] == "charge_disputed"
    await bank(stripe, f"/disputes/{dispute['id']}", decision="won")
    found = await only(stripe, paid)
    assert (found["status"], sum(one["amount"] for one in found["balance_transactions"])) == ("won", 0)
    assert done(await stripe.post("/refunds", refund))["status"] == "succeeded"


async def test_an_inquiry_withdraws_nothing_and_may_be_refunded(stripe: StripeSide) -> None:
    paid, dispute = await disputed(stripe, stage="inquiry")
    found = await only(stripe, paid)
    assert (found["status"], found["balance_transactions"]) == ("warning_needs_response", [])
    assert found["is_charge_refundable"] is True
    done(await stripe.post("/refunds", {"payment_intent": paid["id"], "amount": "99"}))
    await bank(stripe, f"/disputes/{dispute['id']}", decision="closed")
    assert (await only(stripe, paid))["status"] == "warning_closed"


async def test_closing_gives_in_once(stripe: StripeSide) -> None:
    paid, _ = await disputed(stripe)
    found = await only(stripe, paid)
    closed = done(await stripe.post(f"/disputes/{found['id']}/close"))
    assert closed["status"] == "lost"
    assert error(await stripe.post(f"/disputes/{found['id']}/close"), 400)
    assert sum(one["amount"] for one in closed["balance_transactions"]) == -1099


async def test_each_change_is_told_and_a_warning_too(acquirer: Acquirer) -> None:
    async with events_side() as side:
        await set_up(acquirer, webhook={"url": side.url, "secrets": [WEBHOOK_SECRET]})
        stripe = StripeSide(acquirer)
        paid, dispute = await disputed(stripe, stage="inquiry")
        for decision in ("chargeback", "responded", "won"):
            await bank(stripe, f"/disputes/{dispute['id']}", decision=decision)
        await bank(stripe, "/fraud_warnings", payment_reference=paid["metadata"]["payonce_payment"])
        await eventually(lambda: side.has("radar.early_fraud_warning.created"))
        await eventually(lambda: side.has("charge.dispute.closed"))
    told = [type_ for type_ in side.types() if type_.startswith("charge.dispute")]
    assert sorted(told) == sorted(
        [
            *("charge.dispute.created", "charge.dispute.funds_withdrawn", "charge.dispute.updated"),
            *("charge.dispute.updated", "charge.dispute.funds_reinstated", "charge.dispute.closed"),
        ]
    )
    by_type = {event["type"]: event["data"]["object"] for event in side.events()}
    warned = by_type["radar.early_fraud_warning.created"]
    assert (warned["payment_intent"], warned["object"]) == (paid["id"], "radar.early_fraud_warning")
    read = done(await stripe.get(f"/radar/early_fraud_warnings/{warned['id']}"))
    assert read == warned
    spec = stripe_spec()
    path = f"/v1/radar/early_fraud_warnings/{warned['id']}"
    assert spec.answer("GET", path, 200, warned) == []

"""Events reach a merchant's endpoint, signed, in the bytes that the API shows."""

from tests.e2e.merchant import Body, Merchant, answered, fresh_key
from tests.support.eventually import eventually
from tests.webhooks.receiver import Received, Receiver, receiving, status
from tests.webhooks.verifiers import by_cryptography

WITHIN_S = 60.0
RECOVERED_WITHIN_S = 60.0  # a job leaves the last 15 s for later: a transaction may still add to them


async def endpoint(shop: Merchant, receiver: Receiver, *, key: str | None = None, **changes: object) -> Body:
    """An endpoint of the merchant at the receiver, with its secret."""
    body = {"url": receiver.url, **changes}
    return answered(await shop.post("/v1/webhook_endpoints", body, key=key), 201)


async def received(receiver: Receiver, ids: set[str], *, within_s: float = WITHIN_S) -> dict[str, Received]:
    """The latest request for each of the events, once all are there."""

    async def all_there() -> bool:
        return ids <= set(receiver.ids)

    await eventually(all_there, within_s)
    return {request.headers["webhook-id"]: request for request in receiver.received}


async def test_every_event_arrives_signed_in_the_bytes_that_the_api_shows(shop: Merchant) -> None:
    async with receiving() as receiver:
        secret = (await endpoint(shop, receiver))["secret"]
        payment = await shop.authorized()
        await shop.captured(payment)
        await shop.refunded(payment, amount=99)
        events = await shop.events(payment)
        assert len(events) == 4
        found = await received(receiver, {event["id"] for event in events})
        for event in events:
            request = found[event["id"]]
            assert request.verified(secret) == event
            assert request.body == (await shop.get(f"/v1/events/{event['id']}")).content
            assert request.headers["content-type"] == "application/json"


async def test_an_event_that_was_not_taken_comes_again_in_the_same_bytes(shop: Merchant) -> None:
    async with receiving(answers=[status(500)]) as receiver:
        secret = (await endpoint(shop, receiver, events=["payment.captured"]))["secret"]
        payment = await shop.paid()

        async def twice() -> bool:
            return len(receiver.received) == 2

        await eventually(twice, WITHIN_S)
        first, second = receiver.received
        assert first.body == second.body
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert second.verified(secret)["data"]["id"] == payment["id"]


async def test_an_endpoint_gets_the_types_it_asked_for(shop: Merchant) -> None:
    async with receiving() as receiver:
        await endpoint(shop, receiver, events=["refund.succeeded", "payment.refunded"])
        payment = await shop.paid()
        await shop.refunded(payment)
        events = await shop.events(payment)
        await received(receiver, {event["id"] for event in events[2:]})
        assert set(receiver.ids) == {event["id"] for event in events[2:]}


async def test_the_secret_is_shown_once_and_in_its_replay(shop: Merchant) -> None:
    key = fresh_key()
    async with receiving() as receiver:
        made = await endpoint(shop, receiver, key=key)
        assert made["secret"].startswith("whsec_")
        assert await endpoint(shop, receiver, key=key) == made
        shown = answered(await shop.get(f"/v1/webhook_endpoints/{made['id']}"), 200)
        assert shown == {name: value for name, value in made.items() if name != "secret"}


async def test_another_merchants_events_do_not_arrive(shop: Merchant, other_shop: Merchant) -> None:
    async with receiving() as receiver:
        await endpoint(shop, receiver)
        theirs = await other_shop.paid()
        ours = await shop.paid()
        await received(receiver, {event["id"] for event in await shop.events(ours)})
        assert not {event["id"] for event in await other_shop.events(theirs)} & set(receiver.ids)


async def test_a_ping_arrives_signed_with_the_old_secret_and_the_new_one(shop: Merchant) -> None:
    async with receiving() as receiver:
        made = await endpoint(shop, receiver)
        path = f"/v1/webhook_endpoints/{made['id']}"
        new = answered(await shop.post(f"{path}/rotate_secret"), 200)["secret"]
        ping = answered(await shop.post(f"{path}/ping"), 202)
        request = (await received(receiver, {ping["id"]}))[ping["id"]]
        assert request.verified(made["secret"]) == request.verified(new) == ping


async def test_an_ed25519_endpoint_s_deliveries_verify_with_its_public_key(shop: Merchant) -> None:
    async with receiving() as receiver:
        made = await endpoint(shop, receiver, signing="ed25519")
        ping = answered(await shop.post(f"/v1/webhook_endpoints/{made['id']}/ping"), 202)
        request = (await received(receiver, {ping["id"]}))[ping["id"]]
        assert by_cryptography(request.body, request.headers, made["public_key"])


async def test_an_event_arrives_once_more_on_request(shop: Merchant) -> None:
    async with receiving() as receiver:
        made = await endpoint(shop, receiver, events=["payment.captured"])
        payment = await shop.paid()
        event = (await shop.events(payment))[-1]
        await received(receiver, {event["id"]})
        answered(await shop.post(f"/v1/events/{event['id']}/redeliver", {"endpoint": made["id"]}), 202)

        async def twice() -> bool:
            return receiver.ids == [event["id"], event["id"]]

        await eventually(twice, WITHIN_S)
        assert receiver.received[0].body == receiver.received[1].body


async def test_what_was_missed_while_disabled_arrives_after_a_recovery(shop: Merchant) -> None:
    async with receiving() as receiver:
        made = await endpoint(shop, receiver, events=["payment.captured"])
        path = f"/v1/webhook_endpoints/{made['id']}"
        answered(await shop.client.patch(path, json={"enabled": False}), 200)
        payments = [await shop.paid() for _ in range(3)]
        missed = {(await shop.events(payment))[-1]["id"] for payment in payments}
        answered(await shop.client.patch(path, json={"enabled": True}), 200)
        recovery = await shop.post(f"{path}/recover", {"since": payments[0]["created_at"]})
        assert answered(recovery, 202)["count"] >= len(missed)
        await received(receiver, missed, within_s=RECOVERED_WITHIN_S)

        async def finished() -> bool:
            job = answered(await shop.get(recovery.headers["location"]), 200)
            return bool(job["status"] == "finished" and job["done"] == job["total"])

        await eventually(finished, RECOVERED_WITHIN_S)

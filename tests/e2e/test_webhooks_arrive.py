"""Events reach a merchant's endpoint, signed, in the bytes that the API shows."""

from tests.e2e.merchant import Body, Merchant, answered, fresh_key
from tests.support.eventually import eventually
from tests.webhooks.receiver import Received, Receiver, receiving, status

WITHIN_S = 20.0


async def endpoint(shop: Merchant, receiver: Receiver, *, key: str | None = None, **changes: object) -> Body:
    """An endpoint of the merchant at the receiver, with its secret."""
    body = {"url": receiver.url, **changes}
    return answered(await shop.post("/v1/webhook_endpoints", body, key=key), 201)


async def received(receiver: Receiver, ids: set[str]) -> dict[str, Received]:
    """The latest request for each of the events, once all are there."""

    async def all_there() -> bool:
        return ids <= set(receiver.ids)

    await eventually(all_there, WITHIN_S)
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

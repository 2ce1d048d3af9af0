"""The relay against a real Postgres and real receivers."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from devstack.stack import DevStack
from payonce.storage.webhooks.completions import Lease
from payonce.storage.webhooks.endpoints import update_endpoint
from payonce.webhooks.attempt import DeliveryAttempt, Sender
from tests.webhooks.receiver import hang, receiving, status, until
from tests.webhooks.relaying import SECRETS, relaying
from tests.webhooks.shop import Shop
from workers.webhooks import relay as relay_module
from workers.webhooks.relay import Relay
from workers.webhooks.slots import Limits


class CrashingSender(Sender):
    """Sends, and never comes back to say so: the process died right then."""

    async def attempt(self, lease: Lease) -> DeliveryAttempt:
        await super().attempt(lease)
        await asyncio.Event().wait()
        raise AssertionError


async def test_an_event_is_delivered_signed_and_the_attempt_recorded(shop: Shop) -> None:
    async with receiving() as receiver, relaying(shop.database):
        endpoint = await shop.endpoint(receiver.url)
        await shop.record("payment.authorized", "payment.captured")

        await shop.shows("succeeded", "succeeded")

    rows = await shop.deliveries()
    assert sorted(receiver.ids) == sorted(row["event_id"] for row in rows)
    assert {request.verified(shop.secrets[endpoint.id])["type"] for request in receiver.received} == {
        "payment.authorized",
        "payment.captured",
    }
    assert {request.body for request in receiver.received} == {row["body"] for row in rows}
    (attempt,) = rows[0]["attempts"]
    assert set(attempt) == {"at", "status_code", "duration_ms", "error", "body", "ip"}
    assert (attempt["status_code"], attempt["error"]) == (204, None)


async def test_a_failed_delivery_is_repeated_with_identical_bytes(shop: Shop) -> None:
    async with receiving(answers=[status(500), status(302)]) as receiver, relaying(shop.database) as relay:
        endpoint = await shop.endpoint(receiver.url)
        await shop.record("payment.authorized")
        for attempts in (1, 2):
            await shop.attempted(attempts)
            await shop.make_due()
            relay.heard.set()
        await shop.shows("succeeded")

    assert len(receiver.received) == 3
    assert len({(request.body, request.headers["webhook-id"]) for request in receiver.received}) == 1
    for request in receiver.received:
        request.verified(shop.secrets[endpoint.id])
    (row,) = await shop.deliveries()
    assert [attempt["status_code"] for attempt in row["attempts"]] == [500, 302, 204]


async def test_the_last_attempt_that_fails_exhausts_the_delivery(shop: Shop) -> None:
    async with receiving(otherwise=status(500)) as receiver, relaying(shop.database) as relay:
        await shop.endpoint(receiver.url)
        await shop.record("payment.authorized")
        for attempts in range(1, 10):
            await shop.attempted(attempts)
            await shop.make_due()
            relay.heard.set()
        await shop.shows("exhausted")

    (row,) = await shop.deliveries()
    assert (len(row["attempts"]), row["next_attempt_at"], len(receiver.received)) == (10, None, 10)


async def test_a_crash_between_sending_and_recording_delivers_again(shop: Shop) -> None:
    async with receiving() as receiver:
        endpoint = await shop.endpoint(receiver.url)
        await shop.record("payment.authorized")
        async with relaying(
            shop.database, sender=CrashingSender(allow_loopback=True, secrets=SECRETS)
        ) as crashed:
            await receiver.has(1)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Relay, "_give_back", _nothing)
                await crashed.crash()
        (row,) = await shop.deliveries()
        assert (row["status"], row["attempts"]) == ("pending", [])
        assert row["lease_until"] is not None

        await shop.end_leases()
        async with relaying(shop.database):
            await shop.shows("succeeded")

    first, second = receiver.received
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    second.verified(shop.secrets[endpoint.id])


async def test_several_relays_share_without_delivering_twice(shop: Shop) -> None:
    async with (
        receiving() as receiver,
        relaying(shop.database),
        relaying(shop.database),
        relaying(shop.database),
    ):
        await shop.endpoint(receiver.url)
        for _ in range(40):
            await shop.record("payment.authorized", "payment.captured")
        await shop.shows(*["succeeded"] * 80)

    assert set(Counter(receiver.ids).values()) == {1}
    assert len(receiver.ids) == 80


async def test_a_hung_endpoint_does_not_hold_the_others_up(shop: Shop) -> None:
    limits, ends = Limits(slots=6, slots_per_endpoint=2), asyncio.Event()

    async def hanging(_request: Any, _writer: asyncio.StreamWriter) -> None:
        await ends.wait()

    async with (
        receiving(otherwise=hanging) as hung,
        receiving() as healthy,
        relaying(
            shop.database, sender=Sender(allow_loopback=True, secrets=SECRETS, deadline_s=60), limits=limits
        ),
    ):
        await shop.endpoint(hung.url, events=("payment.authorized",))
        await shop.endpoint(healthy.url, events=("payment.captured",))
        await shop.record(*["payment.authorized"] * 20)
        await hung.has(2)
        await shop.record(*["payment.captured"] * 20)

        await healthy.has(20)

        assert hung.connections == 2  # of 20; the rest waits behind those that hang
        ends.set()


async def test_an_endpoint_that_timed_out_gets_one_slot_until_it_answers(shop: Shop) -> None:
    limits = Limits(slots_per_endpoint=3)
    sender = Sender(allow_loopback=True, secrets=SECRETS, deadline_s=0.5)
    async with (
        receiving(otherwise=hang) as receiver,
        relaying(shop.database, sender=sender, limits=limits),
    ):
        await shop.endpoint(receiver.url)
        await shop.record(*["payment.partially_captured"] * 9)
        await receiver.has(4)
        assert len(receiver.received) == 4
        receiver.otherwise = status(204)
        await until(lambda: len(receiver.received) == 9)


async def test_a_410_disables_the_endpoint(shop: Shop) -> None:
    async with receiving(otherwise=status(410)) as receiver, relaying(shop.database):
        await shop.endpoint(receiver.url)
        await shop.record("payment.authorized")
        await shop.shows("dropped")
        await shop.record("payment.captured")  # no delivery: nobody wants it

    assert await shop.statuses() == ["dropped"]
    assert len(receiver.received) == 1


async def test_a_url_that_may_not_be_reached_is_recorded_and_not_dialled(shop: Shop) -> None:
    async with (
        receiving() as receiver,
        relaying(shop.database, sender=Sender(allow_loopback=False, secrets=SECRETS)),
    ):
        await shop.endpoint(receiver.url)
        await shop.record("payment.authorized")
        (attempt,) = await shop.attempted(1)

    assert (attempt["status_code"], attempt["error"]) == (None, "forbidden_address")
    assert receiver.connections == 0


async def test_stopping_finishes_and_records_what_is_under_way(shop: Shop) -> None:
    answering = asyncio.Event()

    async def answer(_request: Any, writer: asyncio.StreamWriter) -> None:
        await answering.wait()
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with receiving(otherwise=answer) as receiver, relaying(shop.database) as relay:
        await shop.endpoint(receiver.url)
        await shop.record("payment.authorized")
        await receiver.has(1)
        ending = asyncio.create_task(relay.end())
        await until(relay.stop.is_set)
        await shop.record("payment.captured")  # not taken any more
        answering.set()
        await ending

    assert await shop.statuses() == ["succeeded", "pending"]
    assert len(receiver.received) == 1


async def test_stopping_gives_back_what_does_not_end(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "STOP_GRACE_S", 0.2)
    async with receiving(answers=[hang]) as receiver:
        await shop.endpoint(receiver.url)
        await shop.record("payment.authorized")
        async with relaying(shop.database) as relay:
            await receiver.has(1)
            await relay.end()
        (row,) = await shop.deliveries()
        assert (row["status"], row["lease_owner"], row["attempts"]) == ("pending", None, [])

        async with relaying(shop.database):  # takes it at once, no lease is in the way
            await shop.shows("succeeded")

    assert len(set(receiver.ids)) == 1
    assert len(receiver.ids) == 2


async def test_a_relay_that_was_stopped_too_long_leaves_its_leases_to_others(shop: Shop) -> None:
    async with receiving() as receiver:
        await shop.endpoint(receiver.url)
        await shop.record("payment.authorized")
        async with relaying(shop.database, limits=Limits(lease_s=1.0)):
            async with asyncio.timeout(60):
                while (await shop.deliveries())[0]["lease_owner"] is None:
                    await asyncio.sleep(0.01)

    assert receiver.connections == 0  # a lease of 1 s is over before an attempt of 15 s would be


async def test_postgres_may_go_away_for_a_while(mortal_shop: Shop, mortal_postgres: DevStack) -> None:
    async with receiving() as receiver, relaying(mortal_shop.database) as relay:
        await mortal_shop.endpoint(receiver.url)
        await mortal_shop.record("payment.authorized")
        await mortal_shop.shows("succeeded")

        await mortal_postgres.kill("postgres")
        relay.heard.set()
        await until(lambda: not relay.heard.is_set())
        await mortal_postgres.start("postgres")

        await _again(lambda: mortal_shop.record("payment.captured"))
        await _again(lambda: mortal_shop.shows("succeeded", "succeeded"))

    assert len(set(receiver.ids)) == 2


async def test_an_attempt_made_while_postgres_was_away_is_recorded_afterwards(
    mortal_shop: Shop, mortal_postgres: DevStack
) -> None:
    answering = asyncio.Event()

    async def answer(_request: Any, writer: asyncio.StreamWriter) -> None:
        await answering.wait()
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with receiving(otherwise=answer) as receiver, relaying(mortal_shop.database):
        await mortal_shop.endpoint(receiver.url)
        await mortal_shop.record("payment.authorized")
        await receiver.has(1)
        await mortal_postgres.kill("postgres")
        answering.set()
        await mortal_postgres.start("postgres")
        await _again(lambda: mortal_shop.shows("succeeded"))

    assert len(receiver.received) == 1  # not sent again


async def test_a_change_of_url_moves_the_next_attempt(shop: Shop) -> None:
    async with receiving(otherwise=status(500)) as old, receiving() as new, relaying(shop.database) as relay:
        endpoint = await shop.endpoint(old.url)
        await shop.record("payment.authorized")
        await shop.attempted(1)
        async with shop.database.transaction() as connection:
            await update_endpoint(
                connection, endpoint.id, merchant_id=shop.merchant.id, mode="test", changes={"url": new.url}
            )
        await shop.make_due()
        relay.heard.set()
        await shop.shows("succeeded")

    assert old.ids == new.ids


async def _nothing(_relay: Relay) -> None:
    return


async def _again(action: Callable[[], Awaitable[object]]) -> None:
    """The action succeeded, though Postgres was still starting at first."""
    async with asyncio.timeout(60):
        while True:
            try:
                await action()
            except Exception:
                await asyncio.sleep(0.1)
            else:
                return

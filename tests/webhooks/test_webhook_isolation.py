"""Nobody's backlog moves another's first attempts (§2.4, 5)."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import cast

import pytest
from sqlalchemy import text

from payonce.counted import RECEIVED_BYTES_MAX
from payonce.storage.webhooks import queue
from payonce.storage.webhooks.completions import Lease
from payonce.storage.webhooks.queue import Lane
from payonce.webhooks.attempt import Sender
from payonce.webhooks.endpoint_limits import SLOW_S
from payonce.webhooks.secrets import SigningSecrets
from tests.support.reads import Reads
from tests.webhooks.attempting import ended, record, take
from tests.webhooks.receiver import Answer, Received, endless, hang, receiving, until
from tests.webhooks.relaying import relaying
from tests.webhooks.shop import SEALER, Shop
from workers.webhooks.slots import Limits, Share, Slots

URL = "https://merchant.example/"
SECRETS = SigningSecrets(SEALER)
ADD_BACKLOG = """
    INSERT INTO webhook_deliveries (id, event_id, endpoint_id, attempts, next_attempt_at, created_at)
    SELECT 'dlv_' || :lane || number, (SELECT min(id) FROM events), :endpoint_id, CAST(:attempts AS jsonb),
           now() - interval '1 hour', now()
      FROM generate_series(1, :count) AS number
"""


PATIENT = Sender(allow_loopback=True, secrets=SECRETS, deadline_s=600)  # no deadline ends what hangs


def until_it_ends() -> tuple[Answer, asyncio.Event]:
    """Hangs, and fails once the event is set."""
    ends = asyncio.Event()

    async def answer(_request: Received, _writer: asyncio.StreamWriter) -> None:
        await ends.wait()

    return answer, ends


async def add_backlog(shop: Shop, endpoint_id: str, *, lane: Lane, count: int) -> None:
    """So many deliveries have been due for an hour."""
    attempts = "[]" if lane is Lane.FIRST else "[{}]"
    await shop.execute(ADD_BACKLOG, lane=lane.name, endpoint_id=endpoint_id, attempts=attempts, count=count)


async def test_retries_and_first_attempts_are_lanes_of_their_own(shop: Shop) -> None:
    await shop.endpoint(URL)
    await shop.record("payment.authorized", "payment.captured")
    first = await take(shop, limit=1)
    await record(shop, ended(first[0], "pending"))

    assert [lease.attempts for lease in await take(shop)] == [0]
    assert [lease.attempts for lease in await take(shop, Lane.AGAIN)] == [1]


async def test_retries_that_hang_leave_first_attempts_their_slots(shop: Shop) -> None:
    limits = Limits(slots=2, retry_slots=2, slots_per_endpoint=2)
    hanging, ends = until_it_ends()
    async with receiving(otherwise=hanging) as hung, receiving() as healthy:
        dead = await shop.endpoint(hung.url, events=("payment.voided",))
        await shop.record("payment.voided")
        await add_backlog(shop, dead.id, lane=Lane.AGAIN, count=6)
        await shop.execute("DELETE FROM webhook_deliveries WHERE attempts = '[]'::jsonb")
        async with relaying(shop.database, sender=PATIENT, limits=limits):
            await hung.has(2)  # every slot for retries
            await shop.endpoint(healthy.url, events=("payment.captured",))
            await shop.record("payment.captured")
            await healthy.has(1)

            assert len(hung.received) == 2
            ends.set()


async def test_a_backlog_of_ten_thousand_does_not_hold_up_a_healthy_endpoint(shop: Shop) -> None:
    limits = Limits(slots=8, slots_per_endpoint=4)
    hanging, ends = until_it_ends()
    async with receiving(otherwise=hanging) as hung, receiving() as healthy:
        dead = await shop.endpoint(hung.url, events=("payment.voided",))
        await shop.record("payment.voided")
        for lane in Lane:
            await add_backlog(shop, dead.id, lane=lane, count=10_000)
        async with relaying(shop.database, sender=PATIENT, limits=limits):
            await hung.has(1)
            await shop.endpoint(healthy.url, events=("payment.captured",))
            for _ in range(20):
                await shop.record("payment.captured")
            await healthy.has(20)

            assert len(hung.received) <= 4
            ends.set()


async def test_what_is_waiting_is_looked_at_without_reading_it_all(shop: Shop) -> None:
    """The plan of the relay's look: it reads a few rows for each endpoint, whatever its backlog is."""
    dead = await shop.endpoint(URL, events=("payment.voided",))
    await shop.record("payment.voided")
    await add_backlog(shop, dead.id, lane=Lane.AGAIN, count=20_000)
    await shop.execute("ANALYZE webhook_deliveries")

    leases = await take(shop, Lane.AGAIN, limit=5)

    assert len(leases) == 5
    assert await read_by_a_look(shop) < 200


async def read_by_a_look(shop: Shop) -> int:
    """Rows and index entries that one look at the retries reads, with every endpoint's room full."""
    statement = str(queue._LEASE_DUE[Lane.AGAIN])
    for name, value in (
        (":room_each", "0"),
        (":limit", "5"),
        (":endpoints", "'{}'"),
        (":rooms", "'{}'"),
        (":token", "'lease_x'"),
        (":lease_s", "30"),
        (":blocked_wait", "'0.5 s'"),
        (":noted_every", "'1 minute'"),
    ):
        statement = statement.replace(name, value)
    async with shop.database.transaction() as connection:
        rows = await connection.execute(
            text("EXPLAIN (ANALYZE, FORMAT JSON) " + statement.replace("::jsonb", "\\:\\:jsonb"))
        )
        (plan,) = rows.scalar_one()
    return _rows_read(plan["Plan"])


def _rows_read(node: dict[str, object]) -> int:
    children = node.get("Plans", [])
    assert isinstance(children, list)
    own = float(str(node["Actual Rows"])) * float(str(node["Actual Loops"]))
    removed = float(str(node.get("Rows Removed by Filter", 0)))
    return round(own + removed) + sum(_rows_read(child) for child in children)


async def test_endpoints_that_begin_to_hang_in_every_slot_give_them_back_to_a_healthy_one(shop: Shop) -> None:
    """8 x 32 = 256, as here 8 x 2 = 16."""
    limits = Limits(slots=16, slots_per_endpoint=2)
    hanging, ends = until_it_ends()
    async with receiving(otherwise=hanging) as hung, receiving() as healthy:
        for _ in range(8):
            await shop.endpoint(hung.url, events=("payment.voided",))
        await shop.endpoint(healthy.url, events=("payment.captured",))
        async with relaying(shop.database, sender=PATIENT, limits=limits) as relay:
            for _ in range(2):
                await shop.record("payment.voided")
            relay.heard.set()
            await hung.has(16)
            await shop.record("payment.captured")
            relay.heard.set()
            await healthy.has(1)

            assert len(hung.received) == 16  # none of them had ended
            ends.set()


async def test_floods_of_interim_responses_do_not_hold_up_another_merchants_first_delivery(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 14, 2: one such endpoint kept the relay busy for 15 s an attempt."""
    reads = Reads(monkeypatch)
    sender = Sender(allow_loopback=True, secrets=SECRETS, deadline_s=600)  # no deadline ends what is counted
    flood = endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
    async with receiving(otherwise=flood) as flooding, receiving() as healthy:
        for _ in range(4):
            await shop.endpoint(flooding.url, events=("payment.voided",))
        await shop.endpoint(healthy.url, events=("payment.captured",))
        async with relaying(shop.database, sender=sender) as relay:
            await shop.record("payment.voided")
            relay.heard.set()
            await flooding.has(4)
            await shop.record("payment.captured")
            relay.heard.set()
            await healthy.has(1)
            await until(lambda: not flooding.serving)

        assert reads.bytes <= (flooding.connections + healthy.connections) * RECEIVED_BYTES_MAX


async def test_a_healthy_endpoint_comes_before_more_hung_ones_than_there_are_slots(shop: Shop) -> None:
    """Freed slots do not go to who waits longest, who would be a hung one for ever."""
    limits = Limits(slots=4, slots_per_endpoint=1)
    sender = Sender(allow_loopback=True, secrets=SECRETS, deadline_s=0.5)
    async with receiving(otherwise=hang) as hung, receiving() as healthy:
        for _ in range(8):
            await shop.endpoint(hung.url, events=("payment.voided",))
        await shop.endpoint(healthy.url, events=("payment.captured",))
        for _ in range(10):
            await shop.record("payment.voided")
        async with relaying(shop.database, sender=sender, limits=limits) as relay:
            await hung.has(8)
            before = len(hung.received)
            await shop.record("payment.captured")
            relay.heard.set()
            await healthy.has(1)

            assert len(hung.received) - before <= 8  # of 72 that were due before


async def test_attempts_that_last_leave_the_slots_to_endpoints_that_answer() -> None:
    now_s = [0.0]
    slots = Slots(Limits(slots=16, slots_per_endpoint=8), clock_s=lambda: now_s[0])
    ended = asyncio.Event()
    tasks = [asyncio.create_task(ended.wait()) for _ in range(16)]
    for number, task in enumerate(tasks):
        slots.add(cast("asyncio.Task[None]", task), a_lease(f"we_{number % 2}"))

    full = list(slots.shares(Lane.FIRST, Counter()))
    now_s[0] = SLOW_S + 0.1
    others = list(slots.shares(Lane.FIRST, Counter()))
    for task in tasks[4:]:
        slots.remove(cast("asyncio.Task[None]", task))
    both = list(slots.shares(Lane.FIRST, Counter({"we_0": 1})))
    ended.set()
    await asyncio.gather(*tasks)

    assert full == []
    assert others == [Share(16, 1, {"we_0": 0, "we_1": 0})]  # and few of each, since as many last as may
    assert both == [Share(16, 8, {"we_0": 0, "we_1": 0}), Share(4, 0, {"we_0": 5, "we_1": 6})]


def a_lease(endpoint_id: str) -> Lease:
    return Lease(
        delivery_id="dlv_1",
        token="lease_1",
        event_id="evt_1",
        event_type="payment.captured",
        event_at=datetime.now(UTC),
        payment_id=None,
        merchant_id="mer_1",
        body=b"{}",
        attempts=0,
        endpoint_id=endpoint_id,
        mode="test",
        url=URL,
        secrets=(),
    )

"""The relay's process killed with SIGKILL, wherever it was: nothing is lost, nothing differs (§2.4, 4)."""

import asyncio
import base64
import json
import os
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from devstack.processes import Command
from tests.conftest import MakeStack
from tests.support.eventually import eventually
from tests.support.forks import Forked
from tests.webhooks.receiver import Receiver, hang, receiving, status
from tests.webhooks.shop import DERIVATION_KEY, Shop

ROOT = Path(__file__).parents[2]
KILLS = 5
ENDS_WITHIN_S = 60  # supervisors give 10 s; the rest is for a slow machine


@asynccontextmanager
async def relay_process(
    shop: Shop, redis_url: str, *, temporal_address: str = "127.0.0.1:1"
) -> AsyncIterator[Forked]:
    """`python -m workers relay` on the shop's database, by default without Temporal; it is gone afterwards."""
    sealing_keys = [{"id": "test", "key": base64.b64encode(b"s" * 32).decode()}]
    environ = {
        **os.environ,
        "PAYONCE_DATABASE_URL": shop.database_url,
        "PAYONCE_REDIS_URL": redis_url,
        "PAYONCE_TEMPORAL_ADDRESS": temporal_address,
        "PAYONCE_DERIVATION_KEY": DERIVATION_KEY,
        "PAYONCE_ALLOW_LOOPBACK_WEBHOOKS": "true",
        "PAYONCE_WEBHOOK_SEALING_KEYS": json.dumps(sealing_keys),
        "PAYONCE_LOG_LEVEL": "error",
    }
    command = Command((sys.executable, "-m", "workers", "relay"), environ, ROOT)
    process = await Forked.start(command, Path(os.devnull))
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()


def bodies(receiver: Receiver) -> dict[str, set[bytes]]:
    """The different bodies that arrived under each event's id."""
    arrived: defaultdict[str, set[bytes]] = defaultdict(set)
    for request in receiver.received:
        arrived[request.headers["webhook-id"]].add(request.body)
    return arrived


async def test_killed_during_an_attempt_the_next_process_makes_it_again(shop: Shop, valkey_url: str) -> None:
    async with receiving(answers=[hang]) as receiver:
        await shop.endpoint(receiver.url)
        await shop.record("payment.captured")
        async with relay_process(shop, valkey_url):
            await receiver.has(1)
        assert [row["attempts"] for row in await shop.deliveries()] == [[]]
        await shop.end_leases()
        async with relay_process(shop, valkey_url):
            await shop.shows("succeeded")

    assert len(receiver.received) == 2
    assert [len(different) for different in bodies(receiver).values()] == [1]


async def test_killed_again_and_again_under_load_every_event_arrives_in_its_own_bytes(
    shop: Shop, valkey_url: str
) -> None:
    answers = [status(500) if number % 7 == 0 else status(204) for number in range(100)]
    async with receiving(answers=answers) as receiver:
        await shop.endpoint(receiver.url)
        for _ in range(KILLS):
            seen = len(receiver.received)
            async with relay_process(shop, valkey_url):
                for _ in range(6):
                    await shop.record("payment.authorized", "payment.captured")
                await receiver.has(seen + 5)  # then it is killed, wherever it is
        async with relay_process(shop, valkey_url):

            async def all_delivered() -> bool:
                await shop.end_leases()
                await shop.make_due()
                return set(await shop.statuses()) == {"succeeded"}

            await eventually(all_delivered, timeout_s=180.0)

    rows = await shop.deliveries()
    assert len(rows) == KILLS * 12
    arrived = bodies(receiver)
    assert arrived == {row["event_id"]: {bytes(row["body"])} for row in rows}


async def test_told_to_end_while_temporal_stands_still_it_ends_in_time(
    shop: Shop, valkey_url: str, make_stack: MakeStack
) -> None:
    temporal = await make_stack("temporal")
    async with (
        receiving(otherwise=status(500)) as receiver,
        relay_process(shop, valkey_url, temporal_address=temporal.temporal_address) as process,
    ):
        await shop.endpoint(receiver.url)
        await shop.record("payment.captured")

        async def handed_over() -> bool:
            return [row["holder"] for row in await shop.deliveries()] == ["workflow"]

        await eventually(handed_over, timeout_s=60.0)
        temporal.pause("temporal")
        try:
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(ENDS_WITHIN_S):
                await process.wait()
        finally:
            temporal.resume("temporal")

"""The attacks of those who have no API key, and what a merchant and its endpoint get while they run.

Counted, not timed: payments answered, events delivered at their first attempt, connections that stay open.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from urllib.parse import urlsplit

import httpx
import pytest

from devstack.stack import DevStack
from tests.e2e.merchant import Merchant
from tests.e2e.test_webhooks_arrive import endpoint, received
from tests.support.eventually import eventually
from tests.support.metrics import metrics_of
from tests.webhooks.receiver import receiving

PAYMENTS = 10
STRANGERS = 8  # at a time, each as fast as it is answered
IDLE = 300
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
GONE_WITHIN_S = 40.0  # 10 s for a head, and what a busy machine adds


async def _keys(client: httpx.AsyncClient) -> int:
    headers = {"Authorization": f"Bearer sk_test_{uuid.uuid4().hex}"}
    return (await client.get("/v1/payments", headers=headers)).status_code


async def _codes(client: httpx.AsyncClient) -> int:
    return (await client.get(f"/v1/payments/pay_{uuid.uuid4().hex}/qr")).status_code


async def _documents(client: httpx.AsyncClient) -> int:
    answers = [await client.get(path) for path in ("/docs", "/openapi.json", "/readyz")]
    return max(answer.status_code for answer in answers)


ATTACKS = {"keys": _keys, "codes": _codes, "documents": _documents}


@asynccontextmanager
async def _under(stack: DevStack, attack: str) -> AsyncIterator[set[int]]:
    """The attack runs while the block does; the statuses that it was answered with."""
    statuses: set[int] = set()
    async with httpx.AsyncClient(base_url=stack.api_url, trust_env=False, timeout=60) as client:

        async def stranger() -> None:
            while True:
                statuses.add(await ATTACKS[attack](client))

        strangers = [asyncio.create_task(stranger()) for _ in range(STRANGERS)]
        try:
            yield statuses
        finally:
            for each in strangers:
                each.cancel()
            ends = await asyncio.gather(*strangers, return_exceptions=True)
    assert {type(end) for end in ends} == {asyncio.CancelledError}, ends
    assert statuses, "nobody attacked"


async def _pays(shop: Merchant) -> None:
    """Every payment is captured, and every event arrives at its first attempt."""
    async with receiving() as receiver:
        await endpoint(shop, receiver, events=["payment.captured"])
        ids = set()
        for _ in range(PAYMENTS):
            payment = await shop.paid()
            ids |= {
                event["id"] for event in await shop.events(payment) if event["type"] == "payment.captured"
            }
        await received(receiver, ids)
        assert sorted(id_ for id_ in receiver.ids if id_ in ids) == sorted(ids)  # others may be told of, too


@pytest.mark.parametrize(
    ("attack", "answers"), [("keys", {401, 429}), ("codes", {404, 429}), ("documents", {200})]
)
async def test_requests_without_a_key_take_nothing_from_a_merchant(
    stack: DevStack, shop: Merchant, attack: str, answers: set[int]
) -> None:
    async with _under(stack, attack) as statuses:
        await _pays(shop)
    assert statuses <= answers


async def test_connections_that_never_end_take_nothing_from_a_merchant_and_do_end(
    stack: DevStack, shop: Merchant
) -> None:
    """One request and then one CRLF, a body that nobody reads, and nothing at all.

    The first end after 65 s (`tests/api/http/test_api_connections.py`): here they are not waited for.
    """
    parts = urlsplit(stack.api_url)
    slow = b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
    async with AsyncExitStack() as exits:
        readers: list[asyncio.StreamReader] = []
        for number in range(IDLE):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            exits.callback(writer.close)
            writer.write((LIVEZ + b"\r\n", slow + b"x", b"")[number % 3])
            if number % 3:
                readers.append(reader)
        await _pays(shop)

        async def all_ended() -> bool:
            return all(reader.at_eof() for reader in readers)

        reading = asyncio.gather(*(_drained(reader) for reader in readers))
        await eventually(all_ended, GONE_WITHIN_S)
        await reading
    assert "payonce_http_connections " in await metrics_of(stack, "api")


async def _drained(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        await reader.read()

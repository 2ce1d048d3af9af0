"""Stock clients that ask for HTTP/2 by `Upgrade`, as on plain http they all do: what they order is what is done.

Judged by the acquirer's ledger. `Upgrade` made the body vanish, and a part became the whole.
"""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from devstack.stack import DevStack
from tests.e2e.merchant import Body, Merchant, fresh_key, order
from tests.support.witness import Witness

POST_JAVA = Path(__file__).parent / "clients" / "Post.java"
ENDS_WITHIN_S = 60.0  # a Java that compiles its source first, on two busy cores

Arguments = Callable[[str, str, str, str], list[str]]
Post = Callable[[str, Body], Awaitable[tuple[int, Body]]]


def _curl(url: str, api_key: str, key: str, body: str) -> list[str]:
    headers = [f"Authorization: Bearer {api_key}", f"Idempotency-Key: {key}"]
    typed = ["-H", "Content-Type: application/json", "--data", body] if body else ["-X", "POST"]
    fields = [argument for header in headers for argument in ("-H", header)]
    return [*("curl", "-q", "--http2", "-sS", "-o", "-", "-w", r"\n%{http_code}"), *fields, *typed, url]


def _java(url: str, api_key: str, key: str, body: str) -> list[str]:
    return ["java", str(POST_JAVA), url, api_key, key, body]


async def _output(arguments: list[str]) -> str:
    process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(ENDS_WITHIN_S):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    return out.decode()


@pytest.fixture(params=[_curl, _java], ids=["curl", "java"])
def client(request: pytest.FixtureRequest) -> Arguments:
    arguments: Arguments = request.param
    program = arguments("", "", "", "")[0]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not on this machine")
    return arguments


@pytest.fixture
def post(stack: DevStack, client: Arguments) -> Post:
    """Sends a body by the client, and returns the answer's status and body."""

    async def send(path: str, body: Body) -> tuple[int, Body]:
        text = json.dumps(body) if body else ""
        lines = (await _output(client(stack.api_url + path, stack.api_key, fresh_key(), text))).split("\n")
        numbers = [line for line in lines if line.isdecimal()]
        documents = [json.loads(line) for line in lines if line.startswith("{")]
        assert (len(numbers), len(documents)) == (1, 1)
        return int(numbers[0]), documents[0]

    return send


async def test_the_client_asks_for_http_2_by_upgrade(client: Arguments) -> None:
    """Else the tests below show nothing."""
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        await reader.readexactly(2)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await _output(client(f"http://127.0.0.1:{port}/", "sk_test_x", "k", "{}"))
    assert len(heads) == 1
    assert b"\r\nupgrade: h2c\r\n" in heads[0].lower()


async def test_a_part_is_refunded_beside_an_upgrade(post: Post, shop: Merchant, witness: Witness) -> None:
    payment = await shop.paid(amount=1000)
    status, refund = await post(f"/v1/payments/{payment['id']}/refunds", {"amount": 300})
    assert (status, refund["amount"], refund["status"]) == (201, 300, "succeeded")
    assert (await witness.movements(payment["id"]))[1:] == [("capture", 1000), ("refund", 300)]
    assert (await shop.payment(payment))["amount_refundable"] == 700


async def test_a_part_is_captured_beside_an_upgrade(post: Post, shop: Merchant, witness: Witness) -> None:
    payment = await shop.authorized(amount=1000)
    status, now = await post(f"/v1/payments/{payment['id']}/capture", {"amount": 100, "final": False})
    assert (status, now["status"]) == (200, "partially_captured")
    assert (now["amount_captured"], now["amount_capturable"]) == (100, 900)
    assert await witness.movements(payment["id"]) == [("authorize", 1000), ("capture", 100)]


async def test_a_payment_is_made_beside_an_upgrade(post: Post, witness: Witness) -> None:
    status, payment = await post("/v1/payments", order(amount=700))
    assert (status, payment["status"]) == (201, "captured")
    assert sum(amount for kind, amount in await witness.movements(payment["id"]) if kind == "capture") == 700


async def test_no_body_beside_an_upgrade_is_all(post: Post, shop: Merchant, witness: Witness) -> None:
    payment = await shop.paid(amount=1000)
    status, refund = await post(f"/v1/payments/{payment['id']}/refunds", {})
    assert (status, refund["amount"]) == (201, 1000)
    assert (await witness.movements(payment["id"]))[-1] == ("refund", 1000)

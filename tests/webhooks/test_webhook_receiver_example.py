"""`docs/receivers/receiver.py` as a merchant runs it: what is not ours stays out, an event counts once, in order."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from devstack.parts import CHECKOUT
from payonce.webhooks.signing import new_secret, signed_headers

EXAMPLE = CHECKOUT / "docs" / "receivers" / "receiver.py"
WITHIN_S = 60.0
SECRET = new_secret()


@dataclass
class Example:
    process: asyncio.subprocess.Process
    client: httpx.AsyncClient

    async def post(
        self, body: bytes, *, event_id: str, secret: str = SECRET, at: datetime | None = None
    ) -> int:
        headers = signed_headers(
            event_id=event_id, at=at or datetime.now(UTC), body=body, signing_secrets=[secret]
        )
        return (await self.client.post("/hooks", content=body, headers=headers)).status_code

    async def works_on(self) -> str:
        """The id of the next event that its business got."""
        assert self.process.stdout is not None
        async with asyncio.timeout(WITHIN_S):
            return (await self.process.stdout.readline()).decode().split()[0]


def event(number: int, *, payment: str = "pay_1", object_: str = "payment") -> tuple[str, bytes]:
    """An event's id and body."""
    id_ = f"evt_{payment}_{number}"
    named = {"id": payment} if object_ == "payment" else {"id": "x_1", "payment": payment}
    data = {"object": object_, **named, "note": "₹"}
    body = {"id": id_, "type": "payment.captured", "timestamp": "", "sequence": number, "data": data}
    return id_, json.dumps(body, ensure_ascii=False).encode()


@pytest.fixture
async def example(tmp_path: Path) -> AsyncIterator[Example]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLE), "0"),
        env={"WEBHOOK_SECRET": SECRET, "WEBHOOK_INBOX": str(tmp_path / "inbox.sqlite")},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(WITHIN_S):
            port = (await process.stdout.readline()).decode().split()[-1]
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60
        ) as client:
            yield Example(process, client)
    finally:
        process.kill()
        await process.communicate()


async def test_an_event_that_comes_twice_is_worked_on_once(example: Example) -> None:
    (first, one), (second, two) = event(1), event(2)
    assert [await example.post(one, event_id=first) for _ in range(3)] == [204, 204, 204]
    assert await example.works_on() == first
    assert await example.post(two, event_id=second) == 204
    assert await example.works_on() == second


async def test_a_payments_events_are_worked_on_in_order(example: Example) -> None:
    first, *later = (
        event(number, object_=object_)
        for number, object_ in enumerate(("payment", "refund", "dispute", "payment"), 1)
    )
    other = event(1, payment="pay_2")
    for id_, body in (*reversed(later), other):
        assert await example.post(body, event_id=id_) == 204
    assert await example.works_on() == other[0]
    assert await example.post(first[1], event_id=first[0]) == 204
    assert [await example.works_on() for _ in range(4)] == [id_ for id_, _ in (first, *later)]


async def test_what_is_of_no_payment_waits_for_nothing(example: Example) -> None:
    data = {"id": "pm_1", "object": "payment_method"}
    saved = {
        "id": "evt_saved",
        "type": "payment_method.deleted",
        "timestamp": "",
        "sequence": None,
        "data": data,
    }
    endpoint = {**saved, "id": "evt_endpoint", "type": "webhook_endpoint.failing", "sequence": 0}
    for told in (saved, endpoint):
        assert await example.post(json.dumps(told).encode(), event_id=str(told["id"])) == 204
        assert await example.works_on() == told["id"]


async def test_a_forged_or_stale_request_is_refused_and_leaves_nothing(example: Example) -> None:
    id_, body = event(1)
    stale = datetime.now(UTC) - timedelta(minutes=6)
    assert await example.post(body, event_id=id_, secret=new_secret()) == 400
    assert await example.post(body, event_id=id_, at=stale) == 400
    assert (await example.client.post("/hooks", content=body)).status_code == 400
    assert (await example.client.post("/hooks", content=b"\xff")).status_code == 400
    true_id, true_body = event(1, payment="pay_2")
    assert await example.post(true_body, event_id=true_id) == 204
    assert await example.works_on() == true_id

"""What is read is the same bytes, whether the process that wrote them packed them or not."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from payonce.domain.answers import Answer, AnswerKind, encode, event_body, payment_view
from payonce.domain.ids import random_id
from payonce.domain.payment import Payment
from payonce.domain.settlement import Draft
from payonce.receipts.material import read_material
from payonce.runtime import Runtime
from payonce.storage import events, idempotency, unpacking
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import Database
from payonce.storage.merchants import Caller
from payonce.storage.packing import pack
from payonce.storage.payments import insert_payment
from payonce.storage.receipts import ReceiptPlace, ReceiptRow
from tests.api.conftest import Merchant, a_merchant
from tests.api.fakes import a_payment
from tests.api.recorded import rows
from tests.webhooks.shop import write_events

Reading = Callable[[Connection], Awaitable[Any]]
NOW = datetime(2026, 11, 22, 5, 46, tzinfo=UTC)


@dataclass
class Told:
    """A payment with its key, two events and the answer, and the bytes of these as they were rendered."""

    payment: Payment
    ids: list[str]
    bodies: list[bytes]
    answer: Answer


@pytest.fixture(params=["packed", "as they are", "packed by the release before"])
async def written(
    request: pytest.FixtureRequest, runtime: Runtime, merchant: Merchant
) -> AsyncIterator[Told]:
    """By a process that packs, by one that does not, or by one of before; `runtime` is one that reads."""
    packs, marks = _WRITTEN[request.param]
    database = Database(runtime.settings.database_url, pool_size=2, packs=packs)
    told = await _tell(database, runtime, merchant)
    if marks == b"\1\1\1":
        await _pack_as_before(runtime, told)
    stored = await rows(runtime, _STORED, id=told.payment.id)
    assert b"".join(bytes(row["stored"][:1]) for row in stored) == marks
    yield told
    await database.close()


_WRITTEN = {  # whether that process packs, and with what begins what it stores: two events and the answer
    "packed": (True, b"\2\2\1"),
    "as they are": (False, b"{{{"),
    "packed by the release before": (True, b"\1\1\1"),
}
_STORED = """
    SELECT stored FROM (
        SELECT sequence, body AS stored FROM events WHERE payment_id = :id
         UNION ALL SELECT 3, answer_body FROM idempotency_keys WHERE operation_id = :id) AS kept
     ORDER BY sequence
"""


async def _pack_as_before(runtime: Runtime, told: Told) -> None:
    for id_, body in zip(told.ids, told.bodies, strict=True):
        packed = "UPDATE events SET body = :body WHERE id = :id RETURNING id"
        await rows(runtime, packed, id=id_, body=pack(body))


async def _tell(database: Database, runtime: Runtime, merchant: Merchant) -> Told:
    of = {"merchant_id": merchant.id, "mode": "test"}
    paid = a_payment(
        id=random_id("pay"), merchant_id=merchant.id, idempotency_key=random_id("key"), description="₹10.99"
    )
    answer = Answer(AnswerKind.PAYMENT, encode(payment_view(paid)))
    drafts = [
        Draft("payment.authorized", 1, payment_view(paid)),
        Draft("payment.captured", 2, payment_view(paid)),
    ]
    key = idempotency.Key(
        **of,
        key=paid.idempotency_key,
        fingerprint=bytes(32),
        operation_id=paid.id,
        location=f"/v1/payments/{paid.id}",
        request_id="req_1",
        created_at=NOW,
    )
    async with database.transaction() as connection:
        assert await idempotency.claim_key(connection, key)
        await insert_payment(connection, paid)
        ids = await write_events(connection, paid, drafts, ids=runtime.ids, now=NOW)
        await idempotency.store_answer(connection, operation_id=paid.id, **of, answer=answer, now=NOW)
    bodies = [
        event_body(event_id=id_, type_=draft.type, at=NOW, sequence=draft.sequence, data=draft.data)
        for id_, draft in zip(ids, drafts, strict=True)
    ]
    return Told(paid, ids, bodies, answer)


async def test_lists_and_events_have_the_bytes_that_were_rendered(
    client: httpx.AsyncClient, written: Told
) -> None:
    first, second = written.bodies
    shown = await client.get(f"/v1/events/{written.ids[0]}")
    timeline = await client.get(f"/v1/payments/{written.payment.id}/events")
    newest = await client.get("/v1/events", params={"type": "payment.captured", "limit": 1})
    assert shown.content == first
    assert timeline.content == b'{"object":"list","data":[' + first + b"," + second + b'],"has_more":false}'
    assert newest.content.startswith(b'{"object":"list","data":[' + second + b"]")


async def test_who_follows_gets_the_bytes_that_were_rendered(
    runtime: Runtime, merchant: Merchant, written: Told
) -> None:
    caller = Caller(merchant.id, "test")
    async with runtime.database.reading() as connection:
        found = [await events.find(connection, caller, id_) for id_ in written.ids]
    assert [each.body for each in found if each is not None] == written.bodies


async def test_a_replay_and_a_waiter_get_the_answer_that_was_stored(
    runtime: Runtime, merchant: Merchant, written: Told
) -> None:
    of = {"merchant_id": merchant.id, "mode": "test"}
    async with runtime.tenants.reading(Caller(merchant.id, "test")) as connection:
        key = await idempotency.find_key(connection, **of, key=written.payment.idempotency_key)
        answer = await idempotency.find_answer(connection, operation_id=written.payment.id, **of)
    assert key is not None
    assert (key.answer(NOW), answer) == (written.answer, written.answer)


async def test_a_question_of_the_customer_s_is_read_as_it_was_stored(
    runtime: Runtime, merchant: Merchant
) -> None:
    """An answer that is not definite is a body alone."""
    told = await _tell(runtime.database, runtime, merchant)
    asked = Answer(AnswerKind.PAYMENT, told.answer.body, definite=False)
    of = {"merchant_id": merchant.id, "mode": "test"}
    forgotten = "UPDATE idempotency_keys SET answered_at = NULL, answer_kind = NULL WHERE operation_id = :id"
    await rows(runtime, forgotten + " RETURNING key", id=told.payment.id)
    async with runtime.database.reading() as connection:
        key = await idempotency.find_key(connection, **of, key=told.payment.idempotency_key)
        assert await idempotency.find_answer(connection, operation_id=told.payment.id, **of) == asked
    assert key is not None
    assert key.asking == asked


async def test_a_receipt_is_made_of_what_was_told(runtime: Runtime, written: Told) -> None:
    place = ReceiptPlace(written.payment.id, "", 2, "html", erased=False)
    row = ReceiptRow(place, written.payment.merchant_id, "test")
    async with runtime.database.reading() as connection:
        material = await read_material(connection, row)
    assert [told.data["id"] for told in material.told] == [written.payment.id] * len(material.told)


async def test_the_way_back_stores_every_body_as_it_is_wherever_it_broke_off(
    runtime: Runtime,
) -> None:
    merchant = await a_merchant(runtime, "Back")
    told = [await _tell(runtime.database, runtime, merchant) for _ in range(3)]
    await _pack_as_before(runtime, told[1])
    for _ in range(2):  # the second finds nothing to do
        await _all(runtime.database, unpacking.unpack_events, "")
        await _all(runtime.database, unpacking.unpack_keys, unpacking.FIRST_KEY)
    for each in told:
        stored = await rows(runtime, _STORED, id=each.payment.id)
        assert [bytes(row["stored"]) for row in stored] == [*each.bodies, each.answer.body]


async def _all(database: Database, step: Any, after: Any) -> None:
    while after is not None:
        async with database.transaction() as connection:
            after = await step(connection, after=after, limit=2)

"""`payonce db unpack`, as an operator types it: nothing is left that only this release reads."""

import asyncio
import re
from collections import Counter
from datetime import datetime
from itertools import count
from typing import Any, Final

import pytest
from sqlalchemy import Engine, event
from typer.testing import CliRunner

from payonce.cli import app, base
from payonce.domain.answers import Answer, AnswerKind, encode, payment_view
from payonce.domain.payment import Payment
from payonce.domain.settlement import Draft
from payonce.runtime import open_database
from payonce.storage import idempotency, unpacking
from payonce.storage.attempts import insert_claim
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import Database
from payonce.storage.idempotency import Key
from payonce.storage.payments import insert_operation, insert_payment
from tests.storage.ledger import DERIVATION_KEY, Ledger
from tests.support import rows
from tests.support.ids import ids_of_key
from tests.webhooks.shop import write_events

IDS: Final = ids_of_key(DERIVATION_KEY)
PAYMENTS: Final = 5
_STEPS: Final[tuple[Any, ...]] = (
    *(unpacking.unpack_events, unpacking.unpack_keys),
    *(unpacking.unpack_payments, unpacking.unpack_attempts),
)
_LEFT: Final = """
    SELECT (SELECT count(*) FROM events WHERE merchant_id = :id AND get_byte(body, 0) < 9) AS events,
           (SELECT count(*) FROM idempotency_keys
             WHERE merchant_id = :id AND get_byte(answer_body, 0) < 9) AS answers,
           (SELECT count(*) FROM idempotency_keys WHERE merchant_id = :id AND location IS NULL) AS paths,
           (SELECT count(*) FROM payments
             WHERE merchant_id = :id AND json_typeof(payment_method) = 'array') AS cards,
           (SELECT count(*) FROM attempts WHERE reference IS NULL OR payment_id IS NULL) AS attempts
"""


@pytest.fixture(autouse=True)
def environment(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYONCE_DATABASE_URL", ledger.url)
    monkeypatch.setenv("PAYONCE_REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("PAYONCE_TEMPORAL_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("PAYONCE_DERIVATION_KEY", DERIVATION_KEY)
    for step in _STEPS:
        assert step.__kwdefaults__ is not None
        monkeypatch.setitem(step.__kwdefaults__, "limit", 2)  # several steps of each


async def test_the_way_back_is_whole(ledger: Ledger) -> None:
    packing = Database(ledger.url, pool_size=1, packs=True)
    try:
        for number in range(PAYMENTS):
            await _told(packing, _payment(ledger, f"key-{number}"))
    finally:
        await packing.close()
    assert await _left(ledger) == (2 * PAYMENTS, *[PAYMENTS] * 4)
    for _ in range(2):
        await _unpack()
        assert await _left(ledger) == (0,) * 5


async def test_a_page_is_written_in_one_statement_and_the_database_is_opened_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for each row nor for each page: of what a hundred payments a second make, a day took fourteen hours."""
    packing = Database(ledger.url, pool_size=1, packs=True)
    try:
        for number in range(4):
            await _told(packing, _payment(ledger, f"key-{number}"))
    finally:
        await packing.close()
    opened, written = count(), Counter[str]()

    def open_counted(*arguments: Any, **options: Any) -> Database:
        next(opened)
        return open_database(*arguments, **options)

    def note(_: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if found := re.search(r"UPDATE (\w+)", statement):
            written[found[1]] += 1

    monkeypatch.setattr(base, "open_database", open_counted)
    event.listen(Engine, "before_cursor_execute", note)
    try:
        await _unpack()
    finally:
        event.remove(Engine, "before_cursor_execute", note)

    assert next(opened) == 2  # for its entry in the audit log, and for all pages
    assert {name: written[name] for name in ("events", "idempotency_keys", "payments")} == {
        "events": 4,  # pages of two rows
        "idempotency_keys": 2,
        "payments": 2,
    }


async def test_a_process_that_still_packs_is_told_of(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier release would send its events as they lie there; what it wrote may be behind the page."""
    last = unpacking.unpack_attempts

    async def meanwhile(connection: Connection, **place: Any) -> Any:
        if place["after"] == unpacking.FIRST_ATTEMPT:
            packing = Database(ledger.url, pool_size=1, packs=True)
            await _told(packing, _payment(ledger, "key-meanwhile"))
            await packing.close()
        return await last(connection, **place)

    monkeypatch.setattr(unpacking, "unpack_attempts", meanwhile)
    ran = await asyncio.to_thread(CliRunner().invoke, app, ("db", "unpack"))
    assert isinstance(ran.exception, base.CommandRefused)

    monkeypatch.setattr(unpacking, "unpack_attempts", last)
    await _unpack()
    assert await _left(ledger) == (0,) * 5


async def test_what_a_process_was_packing_as_it_began_is_told_of(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transaction had begun, and its COMMIT came once the page was over."""
    last, loop = unpacking.unpack_attempts, asyncio.get_running_loop()
    begun, ends = asyncio.Event(), asyncio.Event()

    async def packs() -> None:
        packing = Database(ledger.url, pool_size=1, packs=True)
        try:
            async with packing.transaction() as connection:
                await _tell(connection, _payment(ledger, "key-begun"))
                begun.set()
                await ends.wait()
        finally:
            await packing.close()

    async def end() -> None:
        ends.set()
        await slow

    async def meanwhile(connection: Connection, **place: Any) -> Any:
        if place["after"] == unpacking.FIRST_ATTEMPT:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(end(), loop))
        return await last(connection, **place)

    monkeypatch.setattr(unpacking, "unpack_attempts", meanwhile)
    slow = asyncio.create_task(packs())
    await begun.wait()
    ran = await asyncio.to_thread(CliRunner().invoke, app, ("db", "unpack"))
    assert isinstance(ran.exception, base.CommandRefused)


@pytest.mark.parametrize(("since", "told"), [("12:00:30", True), ("12:02:00", False)])
async def test_a_clock_of_a_moment_before_hides_nothing(ledger: Ledger, since: str, told: bool) -> None:
    """Events are looked for in stretches of six hours."""
    packing = Database(ledger.url, pool_size=1, packs=True)
    try:
        await _told(packing, _payment(ledger, "key-before"))
    finally:
        await packing.close()
    await ledger.rows("UPDATE events SET created_at = '2026-11-22 11:59:50Z'")
    began = datetime.fromisoformat(f"2026-11-22T{since}+00:00")
    async with ledger.database.reading() as connection:
        assert await unpacking.still_packed(connection, since=began, xid=0) is told


async def _unpack() -> None:
    ran = await asyncio.to_thread(CliRunner().invoke, app, ("db", "unpack"))
    assert ran.exit_code == 0, ran.output


def _payment(ledger: Ledger, key: str) -> Payment:
    of = {"merchant_id": ledger.merchant_id, "mode": "test"}
    return rows.payment(id=IDS.payment(**of, key=key), **of, idempotency_key=key)


async def _told(database: Database, payment: Payment) -> None:
    async with database.transaction() as connection:
        await _tell(connection, payment)


async def _tell(connection: Connection, payment: Payment) -> None:
    of = {"merchant_id": payment.merchant_id, "mode": payment.mode}
    key = Key(
        **of,
        key=payment.idempotency_key,
        fingerprint=bytes(32),
        operation_id=payment.id,
        location=f"/v1/payments/{payment.id}",
        request_id="req_1",
        created_at=rows.NOW,
    )
    answer = Answer(AnswerKind.PAYMENT, encode(payment_view(payment)))
    drafts = [Draft("payment.authorized", number, payment_view(payment)) for number in (1, 2)]
    assert await idempotency.claim_key(connection, key)
    await insert_payment(connection, payment)
    create = rows.operation(id=payment.id, payment_id=payment.id, **of)
    await insert_operation(connection, create, sweep_at=rows.NOW)
    await insert_claim(
        connection,
        create,
        number=1,
        connector="sandbox_card",
        connector_account="account_1",
        owner="boot_1",
        token="run_1",
    )
    await write_events(connection, payment, drafts, ids=IDS)
    await idempotency.store_answer(connection, operation_id=payment.id, **of, answer=answer, now=rows.NOW)


async def _left(ledger: Ledger) -> tuple[int, ...]:
    (left,) = await ledger.rows(_LEFT, id=ledger.merchant_id)
    return tuple(left)

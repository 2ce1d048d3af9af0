"""A thousand receipts asked for at once: each is drawn once, the queue ends, and payments cost what they cost."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path

import pytest
from obstore.store import LocalStore
from psycopg.pq.abc import PGresult
from sqlalchemy import text

from payonce.receipts.view import Receipt
from payonce.storage import receipts
from payonce.storage.driver.wire import COMMIT, Command, Wire
from payonce.storage.receipts import Form
from tests.storage.ledger import Ledger
from tests.storage.receipts.receipted import Ill, Pen, paid, ready
from tests.storage.serving import Served, serving
from tests.support.patience import PATIENT_S
from workers.renderer import Renderer

PAYMENTS, FORMS, AT_ONCE = 500, ("text/html", "application/pdf"), 8
PAYMENTS_BESIDE = 5
CONNECTIONS = 20  # that look at the queue at once
_spent: ContextVar[Counter[str] | None] = ContextVar("_spent", default=None)


class Counting(Pen):
    """How often each receipt was drawn."""

    def __init__(self, drawn: Counter[tuple[str, Form]]) -> None:
        super().__init__()
        self._counts = drawn

    async def draw(self, receipt: Receipt, form: Form, *, logo: bytes | None) -> bytes:
        payment = next(fact.text for fact in receipt.facts if fact.label == "Payment")
        self._counts[payment, form] += 1
        return await super().draw(receipt, form, logo=logo)


async def paid_often(ledger: Ledger, many: int = PAYMENTS) -> list[str]:
    """So many captured payments, as alike as may be."""
    first = await paid(ledger)
    copied = {
        "payments": (
            "jsonb_build_object('id', 'pay_' || lpad(n::text, 25, '0'), 'idempotency_key', 'many-' || n)"
        ),
        "events": (
            "jsonb_build_object('id', t.id || n, 'payment_id', 'pay_' || lpad(n::text, 25, '0'), 'body',"
            " convert_to(replace(convert_from(t.body, 'UTF8'), :id, 'pay_' || lpad(n::text, 25, '0')), 'UTF8'))"
        ),
    }
    async with ledger.database.transaction() as connection:
        for table, changes in copied.items():
            mine = "id" if table == "payments" else "payment_id"
            await connection.execute(
                text(
                    f"INSERT INTO {table} SELECT (jsonb_populate_record(t, {changes})).*"
                    f" FROM {table} AS t, generate_series(2, :many) AS n WHERE t.{mine} = :id"
                ),
                {"id": first.id, "many": many},
            )
    return [first.id, *(f"pay_{number:025d}" for number in range(2, many + 1))]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a request and what it set off sent to Postgres is counted, whatever is beside; a slow one is not looked
    after meanwhile.
    """
    monkeypatch.setattr("api.admission.waiting._POLL_S", PATIENT_S)
    monkeypatch.setattr("api.admission.waiting._LOOK_S", PATIENT_S)
    exchange = Wire.exchange

    async def noted(self: Wire, commands: Sequence[Command]) -> list[PGresult]:
        if (spent := _spent.get()) is not None:
            spent["statements"] += len(commands)
            spent["commits"] += sum(command is COMMIT for command in commands)
        return await exchange(self, commands)

    monkeypatch.setattr(Wire, "exchange", noted)


async def spent_by_payments(served: Served, name: str) -> tuple[int, int]:
    """The fewest statements and commits that one of some payments cost."""

    async def one(key: str) -> Counter[str]:
        _spent.set(spent := Counter[str]())
        assert (await served.create(key)).status_code == 201
        return spent

    spent = [await asyncio.create_task(one(f"{name}-{number}")) for number in range(PAYMENTS_BESIDE)]
    return min(each["statements"] for each in spent), min(each["commits"] for each in spent)


async def ask_all(served: Served, payments: Sequence[str]) -> Counter[int]:
    """Both receipts of each payment, asked for at once; how often which status was answered."""

    async def one(payment: str, accept: str) -> int:
        path = f"/v1/payments/{payment}/receipt"
        response = await served.client.get(path, headers={"Accept": accept})
        if response.status_code == 409:
            assert 1 <= int(response.headers["Retry-After"]) <= 30
        return response.status_code

    return Counter(await asyncio.gather(*(one(payment, form) for payment in payments for form in FORMS)))


async def test_a_thousand_asked_for_at_once_are_drawn_once_each_and_payments_beside_cost_what_they_cost(
    ledger: Ledger, tmp_path: Path, counted: None
) -> None:
    payments, store = await paid_often(ledger), Ill(LocalStore(tmp_path))
    drawn: Counter[tuple[str, Form]] = Counter()
    working = Renderer(ledger.database, store, [Counting(drawn) for _ in range(AT_ONCE)])
    stop, heard = asyncio.Event(), asyncio.Event()
    async with serving(ledger, receipts=store) as served:
        alone = await spent_by_payments(served, "alone")
        asked = await ask_all(served, payments)
        assert asked == {409: len(payments) * len(FORMS)}
        assert await ledger.count("receipts WHERE stored_at IS NULL") == asked.total()
        running = asyncio.create_task(working.run(stop, heard=heard, ready=ready))
        beside = await spent_by_payments(served, "beside")
        assert await ledger.count("receipts WHERE stored_at IS NULL") > 0, "they were made meanwhile"
        while await ledger.count("receipts WHERE stored_at IS NULL"):
            assert not running.done()
            heard.set()
            await asyncio.sleep(0.05)
        stop.set()
        await running
        assert await ask_all(served, payments[::50]) == {200: 20}
    assert (len(drawn), set(drawn.values())) == (asked.total(), {1})
    assert beside == alone
    assert min(alone) > 0


async def test_of_many_asked_for_at_once_no_more_wait_than_may(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "WAITING_MAX", 40)
    payments, store = await paid_often(ledger, 60), Ill(LocalStore(tmp_path))
    async with serving(ledger, receipts=store) as served:
        assert await ask_all(served, payments) == {409: len(payments) * len(FORMS)}
        waiting = await ledger.count("receipts")
        assert 40 <= waiting < 40 + CONNECTIONS
        await ask_all(served, payments)
        assert await ledger.count("receipts") == waiting

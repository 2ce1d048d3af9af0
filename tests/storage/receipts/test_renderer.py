"""The renderer: what was asked for is stored once, whatever it or its store does meanwhile."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from obstore.store import LocalStore
from prometheus_client import REGISTRY
from sqlalchemy import text

from payonce.receipts import material
from payonce.receipts.press import NotDrawn
from payonce.receipts.store import StoreOverwrites, StoreUnavailable
from payonce.receipts.view import Receipt
from payonce.storage import receipts
from payonce.storage.merchants import change_merchant, create_merchant
from payonce.storage.receipts import LEASED_FOR, Form
from tests.storage.ledger import Ledger
from tests.storage.receipts.receipted import (
    Ill,
    Pen,
    asked,
    digest,
    due_now,
    found,
    happened,
    last_error,
    paid,
    ready,
    renderer,
)
from workers.renderer import Renderer


@pytest.fixture
def store(tmp_path: Path) -> Ill:
    return Ill(LocalStore(tmp_path))


async def test_what_was_asked_for_is_put_under_its_key_with_its_hash_in_the_row(
    ledger: Ledger, store: Ill
) -> None:
    payment = await paid(ledger)
    await asked(ledger, payment, "pdf")
    assert await renderer(ledger, store).step(ready)
    made = await found(ledger, payment, "pdf")
    content = await store.get(made.key)
    assert content is not None
    assert made.key == f"{payment.merchant_id}/{payment.id}/2-{digest(content).hex()}.pdf"
    assert (made.sha256, made.length) == (digest(content), len(content))
    assert b"Asha Rao" in content
    assert not await renderer(ledger, store).step(ready)


async def test_what_waits_is_counted_by_a_renderer_that_starts_while_the_store_is_down(
    ledger: Ledger, store: Ill
) -> None:
    await asked(ledger, await paid(ledger))
    await ledger.rows("UPDATE receipts SET asked_at = now() - interval '20 minutes'")
    store.wrong = "down"
    with pytest.raises(StoreUnavailable):
        await renderer(ledger, store).step(ready)
    assert REGISTRY.get_sample_value("payonce_receipts_waiting") == 1
    oldest_s = REGISTRY.get_sample_value("payonce_receipts_oldest_waiting_seconds")
    assert oldest_s is not None
    assert oldest_s >= 1200


async def test_a_receipt_stays_as_of_its_event(ledger: Ledger, store: Ill) -> None:
    payment = await paid(ledger)
    await asked(ledger, payment)
    await happened(ledger, replace(payment, sequence=3, amount_captured_minor=400))
    await renderer(ledger, store).step(ready)
    content = await store.get((await found(ledger, payment)).key)
    assert content is not None
    assert "INR\xa010.00" in content.decode()
    assert "event 2" in content.decode()


async def test_one_killed_before_its_put_is_made_by_another(ledger: Ledger, store: Ill) -> None:
    payment = await paid(ledger)
    await asked(ledger, payment)
    store.wrong = "down"
    first = renderer(ledger, store)
    first._is_proven = True
    with pytest.raises(StoreUnavailable):
        await first.step(ready)
    kept = await found(ledger, payment)
    assert (len(kept.hashes), kept.stored_at) == (1, None)
    store.wrong = ""
    await due_now(ledger)
    await renderer(ledger, store).step(ready)
    made = await found(ledger, payment)
    assert made.sha256 == kept.hashes[0]
    assert await store.get(made.key) is not None


@pytest.mark.parametrize("renamed", [False, True])
async def test_one_killed_after_its_put_is_made_by_another_though_the_merchant_was_renamed(
    ledger: Ledger, store: Ill, renamed: bool
) -> None:
    payment = await paid(ledger)
    row = await asked(ledger, payment)
    first = renderer(ledger, store)
    await store.prove()
    first._is_proven, store.wrong = True, "deaf"
    with pytest.raises(StoreUnavailable):
        await first.step(ready)
    key = row.key_of((await found(ledger, payment)).hashes[0])
    put = await store.get(key)
    if renamed:
        async with ledger.database.transaction() as connection:
            await change_merchant(connection, payment.merchant_id, name="Another name")
    store.wrong = ""
    await due_now(ledger)
    await renderer(ledger, store).step(ready)
    made = await found(ledger, payment)
    assert made.stored_at is not None
    assert (made.key != key) == renamed
    assert await store.get(key) == put


async def test_what_lies_there_since_before_postgres_was_restored_stays_and_refuses_nothing(
    ledger: Ledger, store: Ill
) -> None:
    payment = await paid(ledger)
    await asked(ledger, payment)
    await renderer(ledger, store).step(ready)
    before = await found(ledger, payment)
    lay_there = await store.get(before.key)
    async with ledger.database.transaction() as connection:
        await connection.execute(text("DELETE FROM receipts"))
        await change_merchant(connection, payment.merchant_id, name="Another name")
    await asked(ledger, payment)
    await renderer(ledger, store).step(ready)
    made = await found(ledger, payment)
    content = await store.get(made.key)
    assert content is not None
    assert (digest(content), b"Another name" in content) == (made.sha256, True)
    assert await store.get(before.key) == lay_there
    assert made.key != before.key


async def test_what_cannot_be_drawn_is_given_up_and_tried_anew_when_it_is_asked_for_again(
    ledger: Ledger, store: Ill
) -> None:
    payment = await paid(ledger)
    await asked(ledger, payment)
    pen = Blunt()
    working = Renderer(ledger.database, store, [pen])
    given_up = REGISTRY.get_sample_value("payonce_receipts_total", {"form": "html", "result": "given_up"})
    for tries in range(1, 9):
        row = await found(ledger, payment)
        assert (row.given_up_until is not None) == (tries > receipts.DRAWN_TRIES_MAX)
        if row.given_up_until is None:
            await due_now(ledger)
        await working.step(ready)
    assert pen.tried == receipts.DRAWN_TRIES_MAX
    labels = {"form": "html", "result": "given_up"}
    assert REGISTRY.get_sample_value("payonce_receipts_total", labels) == (given_up or 0) + 1
    async with ledger.database.transaction() as connection:
        assert await receipts.count_waiting(connection) == (0, 0.0)
        await receipts.ask_again(connection, row)
    pen.cuts = True
    await working.step(ready)
    assert (await found(ledger, payment)).stored_at is not None


async def test_a_store_that_is_away_gives_nothing_up(ledger: Ledger, store: Ill) -> None:
    payment = await paid(ledger)
    await asked(ledger, payment)
    working = renderer(ledger, store)
    await store.prove()
    working._is_proven, store.wrong = True, "full"
    for _ in range(receipts.DRAWN_TRIES_MAX + 2):
        await due_now(ledger)
        with pytest.raises(StoreUnavailable):
            await working.step(ready)
    row = await found(ledger, payment)
    assert (row.not_drawn, row.given_up_until) == (0, None)


async def test_a_payment_whose_events_cannot_be_read_is_given_up_and_delays_nobody(
    ledger: Ledger, store: Ill
) -> None:
    payment, other = await paid(ledger), await paid(ledger)
    async with ledger.database.transaction() as connection:
        body = (
            "convert_to(replace(convert_from(body, 'UTF8'), '\"payment_method\"', '\"paid_with\"'), 'UTF8')"
        )
        query = text(f"UPDATE events SET body = {body} WHERE payment_id = :id")
        await connection.execute(query, {"id": payment.id})
    await asked(ledger, payment)
    await asked(ledger, other)
    working = renderer(ledger, store, presses=2)
    await working.step(ready)
    assert (await found(ledger, other)).stored_at is not None
    assert (await found(ledger, payment)).not_drawn == 1
    assert "payment_method" in await last_error(ledger, payment)


class Blunt(Pen):
    """Draws nothing until it `cuts`; `tried` so often."""

    cuts, tried = False, 0

    async def draw(self, receipt: Receipt, form: Form, *, logo: bytes | None) -> bytes:
        self.tried += 1
        if not self.cuts:
            raise NotDrawn("There is too much to draw.")
        return await super().draw(receipt, form, logo=logo)


async def test_a_payment_to_which_more_happened_than_one_page_of_events_is_drawn(
    ledger: Ledger, store: Ill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(material, "PAGE", 2)
    payment = await paid(ledger)
    for sequence, captured in ((3, 400), (4, 400), (5, 300)):
        await happened(ledger, replace(payment, sequence=sequence, amount_captured_minor=captured))
    row = await asked(ledger, await ledger.payment(payment.id))
    async with ledger.database.reading() as connection:
        receipt = (await material.read_material(connection, row)).receipt(row)
        assert [each.amount[4:] for each in receipt.movements] == ["10.00", "−6.00", "−1.00"]
        monkeypatch.setattr(material, "EVENTS_MAX", 4)
        with pytest.raises(material.TooLong, match="more than 4 events"):
            await material.read_material(connection, row)


async def test_what_others_put_there_is_not_given_out(ledger: Ledger, store: Ill) -> None:
    payment, other = await paid(ledger), await paid(ledger)
    await asked(ledger, payment)
    await asked(ledger, other)
    working = renderer(ledger, store)
    await working.step(ready)
    await working.step(ready)
    row = await found(ledger, payment)
    await store.delete(row.key)
    await store.put_once(row.key, b"not ours")
    async with ledger.database.transaction() as connection:
        await receipts.ask_again(connection, row)
    await working.step(ready)
    assert (await found(ledger, payment)).stored_at is None
    assert "what was never put there" in await last_error(ledger, payment)
    assert (await found(ledger, other)).stored_at is not None
    await store.delete(row.key)
    await due_now(ledger)
    await working.step(ready)
    assert (await found(ledger, payment)).stored_at is not None


@pytest.mark.parametrize("wrong", ["down", "full", "forgets"])
async def test_what_was_asked_for_while_the_store_was_ill_is_there_afterwards(
    ledger: Ledger, store: Ill, wrong: str
) -> None:
    payment = await paid(ledger)
    await asked(ledger, payment)
    working = renderer(ledger, store)
    await store.prove()
    working._is_proven, store.wrong = True, wrong
    for _ in range(3):
        await due_now(ledger)
        with pytest.raises(StoreUnavailable):
            await working.step(ready)
    waiting = await found(ledger, payment)
    assert (waiting.stored_at, waiting.tries) == (None, 3)
    store.wrong = ""
    await due_now(ledger)
    await working.step(ready)
    assert (await found(ledger, payment)).stored_at is not None


async def test_a_store_that_takes_a_second_put_gets_none(ledger: Ledger, store: Ill) -> None:
    await asked(ledger, await paid(ledger))
    store.wrong = "overwrites"
    with pytest.raises(StoreOverwrites, match="PAYONCE_RECEIPTS_URL"):
        await renderer(ledger, store).step(ready)
    assert await store.list("mer") == ()


async def test_merchants_take_turns_and_a_lease_is_nobody_else_s(ledger: Ledger, store: Ill) -> None:
    async with ledger.database.transaction() as connection:
        another = await create_merchant(connection, name="Another")
    mine = [await paid(ledger) for _ in range(3)]
    for payment in mine:
        await asked(ledger, payment)
    theirs = await paid(ledger, merchant_id=another.id)
    await asked(ledger, theirs)
    async with ledger.database.transaction() as connection:
        leased = await receipts.lease_due(connection, token="one", limit=2)
    assert {row.place.payment_id for row in leased} == {mine[0].id, theirs.id}
    async with ledger.database.transaction() as connection:
        rest = await receipts.lease_due(connection, token="two", limit=9)
    assert {row.place.payment_id for row in rest} == {mine[1].id, mine[2].id}
    async with ledger.database.transaction() as connection:
        assert not await receipts.stored(connection, leased[0], b"h", length=1, token="two")


async def test_the_queue_of_a_merchant_is_bounded(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "WAITING_MAX", 2)
    three = [await paid(ledger) for _ in range(3)]
    for payment in three[:2]:
        await asked(ledger, payment)
    async with ledger.database.transaction() as connection:
        place = await receipts.place_of(connection, three[2], None, "html")
        whose = {"merchant_id": ledger.merchant_id, "mode": "test"}
        assert not await receipts.ask(connection, place, **whose)
        assert await receipts.find(connection, place) is None


async def test_erased_while_it_is_made_it_is_not_kept(ledger: Ledger, store: Ill) -> None:
    payment = await paid(ledger)
    await asked(ledger, payment)

    async with ledger.database.transaction() as connection:
        (leased,) = await receipts.lease_due(connection, token="one", limit=1)
        assert await receipts.keep_hash(connection, leased, b"hash", token="one")
    async with ledger.database.transaction() as connection:
        whose = {"merchant_id": payment.merchant_id, "mode": payment.mode}
        until = await receipts.erase(connection, payment_id=payment.id, **whose, actor="root@here")
    assert until is not None
    async with ledger.database.transaction() as connection:
        assert not await receipts.stored(connection, leased, b"hash", length=1, token="one")
    await asked(ledger, payment)
    await renderer(ledger, store).step(ready)
    again = await found(ledger, payment)
    content = await store.get(again.key)
    assert content is not None
    assert again.key.endswith(f"/2-{digest(content).hex()}-erased.html")
    assert b"Asha Rao" not in content


async def test_what_may_be_on_its_way_into_the_store_is_waited_for_though_its_lease_is_over(
    ledger: Ledger, store: Ill
) -> None:
    """As where S3 did not answer in time: it may take the bytes all the same, after the folder was looked through."""
    payment = await paid(ledger)
    whose = {"merchant_id": payment.merchant_id, "mode": payment.mode, "actor": "root@here"}
    await asked(ledger, payment)
    working, store.wrong = renderer(ledger, store), "deaf"
    working._is_proven = True
    with pytest.raises(StoreUnavailable):
        await working.step(ready)
    assert (await found(ledger, payment)).hashes
    async with ledger.database.transaction() as connection:
        until = await receipts.erase(connection, payment_id=payment.id, **whose)
    assert until is not None
    assert until > datetime.now(UTC) + LEASED_FOR / 2


async def test_asked_for_as_it_is_erased_it_is_not_kept(ledger: Ledger, store: Ill) -> None:
    payment = await paid(ledger)
    whose = {"merchant_id": payment.merchant_id, "mode": payment.mode}
    async with ledger.database.transaction() as connection:
        place = await receipts.place_of(connection, payment, None, "html")
    async with ledger.database.transaction() as connection:
        await receipts.erase(connection, payment_id=payment.id, **whose, actor="root@here")
    async with ledger.database.transaction() as connection:
        assert await receipts.ask(connection, place, **whose)
    working = renderer(ledger, store)
    while await working.step(ready):
        pass
    assert await store.list(receipts.folder_of(payment.merchant_id, payment.id)) == ()
    async with ledger.database.transaction() as connection:
        assert await receipts.find(connection, place) is None


async def test_erased_as_it_is_put_it_is_taken_out_again(ledger: Ledger, store: Ill) -> None:
    payment = await paid(ledger)
    await asked(ledger, payment)

    class Erased(Ill):
        async def put_once(self, key: str, content: bytes, **more: Any) -> bool:
            async with ledger.database.transaction() as connection:
                whose = {"merchant_id": payment.merchant_id, "mode": payment.mode}
                until = await receipts.erase(connection, payment_id=payment.id, **whose, actor="root@here")
            assert until is not None
            return await super().put_once(key, content, **more)

    working = renderer(ledger, Erased(store._objects))
    working._is_proven = True
    await working.step(ready)
    assert await store.list(receipts.folder_of(payment.merchant_id, payment.id)) == ()


async def test_what_cannot_be_drawn_is_put_off_and_holds_up_nobody(ledger: Ledger, store: Ill) -> None:
    payment, other = await paid(ledger), await paid(ledger)
    await asked(ledger, payment)
    await asked(ledger, other)
    async with ledger.database.transaction() as connection:
        await connection.execute(text("DELETE FROM events WHERE payment_id = :id"), {"id": payment.id})
    working = renderer(ledger, store)
    while await working.step(ready):
        pass
    assert ((await found(ledger, payment)).tries, (await found(ledger, other)).tries) == (1, 0)
    assert (await found(ledger, other)).stored_at is not None


async def test_what_a_renderer_leaves_is_free_at_once_when_it_ends_in_order(
    ledger: Ledger, store: Ill
) -> None:
    payment, stop, drawing = await paid(ledger), asyncio.Event(), asyncio.Event()
    await asked(ledger, payment)

    class Slow(Pen):
        async def draw(self, *_: Any, **__: Any) -> bytes:
            drawing.set()
            await asyncio.Event().wait()
            raise AssertionError("it is cancelled")

    working = Renderer(ledger.database, store, [Slow()])
    running = asyncio.create_task(working.run(stop, heard=asyncio.Event(), ready=ready))
    await asyncio.wait_for(drawing.wait(), 60)
    stop.set()
    await asyncio.wait_for(running, 60)
    await renderer(ledger, store).step(ready)
    assert (await found(ledger, payment)).stored_at is not None

"""`GET /v1/payments/{id}/receipt`, with the store in a folder and in S3, and with a store that is ill."""

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from obstore.store import LocalStore
from sqlalchemy import text

from api.routes.receipts import DRAWN_S, form_of
from payonce.domain.operations import OperationKind
from payonce.domain.payment import PaymentStatus
from payonce.storage import receipts
from tests.storage.ledger import Ledger, open_ledger
from tests.storage.receipts.receipted import Ill, found, paid, ready, renderer
from tests.storage.serving import Served, code_of, serving
from tests.support.eventually import eventually


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[Ledger]:
    async with open_ledger(database_url) as opened:
        yield opened


@pytest.fixture
def store(tmp_path: Path) -> Ill:
    return Ill(LocalStore(tmp_path))


class Slow(Ill):
    """What is looked up is given once it `may` be; `asked` so often."""

    def __init__(self, objects: LocalStore) -> None:
        super().__init__(objects)
        self.may, self.asked = asyncio.Event(), 0

    async def get(self, key: str, **more: Any) -> bytes | None:
        self.asked += 1
        await self.may.wait()
        return await super().get(key, **more)


@pytest.fixture
async def served(ledger: Ledger, store: Ill) -> AsyncIterator[Served]:
    async with serving(ledger, receipts=store) as running:
        yield running


async def get(served: Served, payment_id: str, **headers: str) -> httpx.Response:
    return await served.client.get(f"/v1/payments/{payment_id}/receipt", headers=headers)


async def test_it_is_not_ready_until_it_is_stored(served: Served, ledger: Ledger, store: Ill) -> None:
    payment = await paid(ledger)
    for _ in range(2):
        response = await get(served, payment.id)
        assert code_of(response) == (409, "receipt_not_ready")
        assert 1 <= int(response.headers["Retry-After"]) <= 30
    assert await renderer(ledger, store).step(ready)
    made = await get(served, payment.id)
    assert (made.status_code, made.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert made.headers["Vary"] == "Accept"
    assert made.headers["Cache-Control"] == "private, no-store"
    assert made.headers["X-Content-Type-Options"] == "nosniff"
    assert made.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")


async def test_each_form_is_made_when_it_is_asked_for(served: Served, ledger: Ledger, store: Ill) -> None:
    payment = await paid(ledger)
    await get(served, payment.id, Accept="application/pdf")
    await renderer(ledger, store).step(ready)
    made = await get(served, payment.id, Accept="application/pdf")
    assert (made.status_code, made.headers["Content-Type"]) == (200, "application/pdf")
    assert code_of(await get(served, payment.id)) == (409, "receipt_not_ready")


@pytest.mark.parametrize("signs", [False, True])
@pytest.mark.parametrize("lost", [True, False])
async def test_what_the_store_lost_or_changed_is_not_given_out(
    ledger: Ledger, tmp_path: Path, lost: bool, signs: bool
) -> None:
    store = Signing(LocalStore(tmp_path)) if signs else Ill(LocalStore(tmp_path))
    async with serving(ledger, receipts=store) as served:
        await _lost_or_changed(served, ledger, Ill(LocalStore(tmp_path)), lost=lost)


async def _lost_or_changed(served: Served, ledger: Ledger, store: Ill, *, lost: bool) -> None:
    payment = await paid(ledger)
    await get(served, payment.id)
    await renderer(ledger, store).step(ready)
    row = await found(ledger, payment)
    await store.delete(row.key)
    if not lost:
        assert row.length is not None
        await store.put_once(row.key, b"x" * row.length)
    response = await get(served, payment.id)
    assert code_of(response) == (409, "receipt_not_ready")
    await renderer(ledger, store).step(ready)
    again = await get(served, payment.id)
    assert (again.status_code in (200, 302)) == lost


async def test_when_to_ask_again_follows_the_queue_and_how_long_it_took_so_far(
    served: Served, ledger: Ledger, store: Ill
) -> None:
    first, other = await paid(ledger), await paid(ledger)
    await get(served, first.id)
    await get(served, other.id)

    async def told(payment_id: str, change: str) -> int:
        async with ledger.database.transaction() as connection:
            await connection.execute(text(f"UPDATE receipts SET {change} WHERE payment_id = '{payment_id}'"))
        response = await get(served, payment_id)
        assert code_of(response) == (409, "receipt_not_ready")
        return int(response.headers["Retry-After"])

    assert 12 <= await told(first.id, "asked_at = now() - interval '11.5 seconds'") <= 20
    assert await told(first.id, "asked_at = now() - interval '1 hour'") == 30
    fresh = "asked_at = now() + interval '1 hour'"  # however slow this machine is
    assert 10 <= await told(first.id, f"{fresh}, due_at = now() + interval '20 seconds'") <= 20
    assert await told(first.id, f"{fresh}, due_at = now() - interval '1 minute'") == 1
    async with ledger.database.transaction() as connection:
        await connection.execute(
            text(
                "INSERT INTO receipts (payment_id, refund_id, sequence, form, erased, merchant_id, mode)"
                " SELECT payment_id, 're_' || n, sequence, form, erased, merchant_id, mode"
                " FROM receipts, generate_series(1, 100) AS n WHERE payment_id = :id"
            ),
            {"id": other.id},
        )
    assert await told(first.id, f"{fresh}, due_at = now()") == math.ceil(101 * DRAWN_S)
    newest = await get(served, (await paid(ledger)).id)
    assert int(newest.headers["Retry-After"]) == math.ceil(102 * DRAWN_S)


async def test_one_that_could_not_be_drawn_is_said_and_tried_anew_an_hour_later(
    served: Served, ledger: Ledger, store: Ill
) -> None:
    payment = await paid(ledger)
    await get(served, payment.id)

    async def given_up(until: str) -> None:
        async with ledger.database.transaction() as connection:
            change = f"due_at = 'infinity', not_drawn = 5, given_up_until = now() + interval '{until}'"
            await connection.execute(text(f"UPDATE receipts SET {change}"))

    await given_up("1 hour")
    response = await get(served, payment.id)
    assert code_of(response) == (422, "operation_not_supported")
    assert "could not be drawn in 5 tries" in response.json()["detail"]
    assert not await renderer(ledger, store).step(ready)
    await given_up("-1 second")
    assert code_of(await get(served, payment.id)) == (409, "receipt_not_ready")
    assert await renderer(ledger, store).step(ready)
    assert (await get(served, payment.id)).status_code == 200


async def test_a_head_is_answered_as_the_get_would_be(
    served: Served, ledger: Ledger, store: Ill, tmp_path: Path
) -> None:
    payment = await paid(ledger)
    path = f"/v1/payments/{payment.id}/receipt"
    assert (await served.client.head(path)).status_code == 409
    await renderer(ledger, store).step(ready)
    shown, looked = await served.client.get(path), await served.client.head(path)
    assert (looked.status_code, looked.content) == (200, b"")
    assert looked.headers["Content-Length"] == str(len(shown.content))
    async with serving(ledger, receipts=Signing(LocalStore(tmp_path))) as signed:
        sent = await signed.client.head(path)
        assert (sent.status_code, sent.headers["Location"][-11:]) == (302, "signed=HEAD")


async def test_while_the_store_is_away_it_is_not_ready_and_is_there_afterwards(
    served: Served, ledger: Ledger, store: Ill
) -> None:
    payment = await paid(ledger)
    await get(served, payment.id)
    await renderer(ledger, store).step(ready)
    store.wrong = "down"
    response = await get(served, payment.id)
    assert (code_of(response), response.headers["Retry-After"]) == ((409, "receipt_not_ready"), "5")
    store.wrong = ""
    assert (await get(served, payment.id)).status_code == 200


class Signing(Ill):
    """As S3: it gives what it has by itself."""

    signs = True

    def signed_url(self, key: str, *, method: str = "GET") -> str:
        return f"https://s3.example/{key}?signed={method}"


async def test_while_the_store_is_slow_a_few_wait_for_it_and_the_others_are_told_to_ask_again(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.routes.receipts.LOOKS_MAX", 2)
    slow, payment = Slow(LocalStore(tmp_path)), await paid(ledger)
    async with serving(ledger, receipts=slow) as served:
        await get(served, payment.id)
        slow.may.set()
        await renderer(ledger, slow).step(ready)
        slow.may.clear()
        slow.asked = 0
        asked = [asyncio.create_task(get(served, payment.id)) for _ in range(6)]
        told: list[asyncio.Task[httpx.Response]] = []

        async def are_told() -> bool:
            told[:] = [each for each in asked if each.done()]
            return len(told) == 4

        await eventually(are_told)
        assert {code_of(each.result()) for each in told} == {(409, "receipt_not_ready")}
        assert slow.asked == 2
        slow.may.set()
        assert sorted([(await each).status_code for each in asked]) == [200, 200, 409, 409, 409, 409]
        assert (await get(served, payment.id)).status_code == 200


async def test_from_s3_it_is_a_redirect_that_nobody_keeps(ledger: Ledger, tmp_path: Path) -> None:
    folder, payment = Ill(LocalStore(tmp_path)), await paid(ledger)
    async with serving(ledger, receipts=Signing(LocalStore(tmp_path))) as served:
        await get(served, payment.id)
        await renderer(ledger, folder).step(ready)
        row = await found(ledger, payment)
        response = await get(served, payment.id)
        assert (response.status_code, response.content) == (302, b"")
        assert response.headers["Location"] == f"https://s3.example/{row.key}?signed=GET"
        assert response.headers["Cache-Control"] == "no-store"
        await folder.delete(row.key)
        assert code_of(await get(served, payment.id)) == (409, "receipt_not_ready")


async def test_too_many_that_wait_are_told_to_come_back_later(
    served: Served, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "WAITING_MAX", 1)
    first, second = await paid(ledger), await paid(ledger)
    assert (await get(served, first.id)).headers["Retry-After"] == "1"
    assert (await get(served, second.id)).headers["Retry-After"] == "30"
    assert int((await get(served, first.id)).headers["Retry-After"]) < 30


async def test_there_is_none_of_what_moved_no_money_or_is_not_the_caller_s(
    served: Served, ledger: Ledger
) -> None:
    held = await ledger.add_payment(PaymentStatus.AUTHORIZED)
    response = await get(served, held.id)
    assert code_of(response) == (409, "receipt_not_ready")
    assert "Retry-After" not in response.headers
    live = await paid(ledger, mode="live")
    for id_ in (live.id, "pay_nobody"):
        assert code_of(await get(served, id_)) == (404, "not_found")
    payment = await paid(ledger)
    for query, expected in (
        ("refund=re_nobody", (404, "not_found")),
        ("refund=", (404, "not_found")),
        ("form=pdf", (400, "invalid_request")),
        ("refund=re_1&refund=re_2", (400, "invalid_request")),
    ):
        response = await served.client.get(f"/v1/payments/{payment.id}/receipt?{query}")
        assert code_of(response) == expected, query


async def test_a_refund_of_the_acquirer_s_that_is_not_in_the_payment_s_amounts_has_none(
    served: Served, ledger: Ledger
) -> None:
    """It has no event, so there is nothing to draw: a person decides about it first."""
    payment = await paid(ledger)
    refund = await ledger.add_operation(payment, OperationKind.REFUND, claimed=False)
    path = f"/v1/payments/{payment.id}/receipt?refund={refund.id}"
    for undecided, undone, asked in ((refund.amount_minor, 0, 0), (0, refund.amount_minor, 0), (0, 0, 1)):
        async with ledger.database.transaction() as connection:
            query = text(
                "UPDATE operations SET status = 'succeeded', origin = 'acquirer',"
                " amount_undecided_minor = :undecided, amount_undone_minor = :undone WHERE id = :id"
            )
            await connection.execute(query, {"id": refund.id, "undecided": undecided, "undone": undone})
        assert code_of(await served.client.get(path)) == (409, "receipt_not_ready")
        assert await ledger.count("receipts") == asked


@pytest.mark.parametrize(
    ("accepted", "form"),
    [
        ([], "html"),
        (["*/*"], "html"),
        (["application/pdf"], "pdf"),
        (["APPLICATION/PDF"], "pdf"),
        (["text/html, application/pdf;q=0.9"], "html"),
        (["text/html;q=0.5", "application/pdf"], "pdf"),
        (["application/pdf;q=0"], "html"),
        (["application/pdf;q=x"], "html"),
        (["application/pdf;q=nan"], "html"),
        (["application/pdf;q=inf, text/html"], "html"),
        (["application/*"], "pdf"),
        (["text/*"], "html"),
        (["application/pdf, */*"], "pdf"),
        (["application/pdf;q=0.5, */*;q=0.8"], "html"),
        (["text/html;q=0.2, */*;q=0.9"], "pdf"),
        (["text/html;q=0, */*"], "pdf"),
        (["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], "html"),
        (["application/json"], "html"),
    ],
)
def test_the_form_is_the_preferred_one(accepted: list[str], form: str) -> None:
    assert form_of(accepted) == form


async def test_without_a_store_there_is_none(ledger: Ledger) -> None:
    async with serving(ledger) as served:
        response = await get(served, (await paid(ledger)).id)
    assert code_of(response) == (409, "receipt_not_ready")
    assert "Retry-After" not in response.headers

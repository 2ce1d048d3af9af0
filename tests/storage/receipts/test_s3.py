"""Receipts in a real S3 server, which checks signatures: put once, given out by signed addresses, and away."""

import signal
from collections.abc import AsyncIterator

import httpx
import pytest

from payonce.receipts import store as module
from payonce.receipts.headers import kept_with
from payonce.receipts.store import StoreUnavailable
from payonce.settings import SettingsWrong
from tests.storage.ledger import Ledger
from tests.storage.receipts.receipted import asked, due_now, found, paid, ready, renderer
from tests.support.s3 import S3, opened, running_s3


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[S3]:
    async with running_s3() as running:
        yield running


@pytest.fixture
def s3(server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    return server


async def fetched(url: str, **options: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        return await client.get(url, **options)


async def test_a_key_is_put_once_and_the_server_proves_it(s3: S3) -> None:
    store = opened()
    await store.prove()
    await store.prove()
    assert await store.put_once("m/p/1.html", b"first", headers=kept_with("html"))
    assert not await store.put_once("m/p/1.html", b"second")
    assert await store.get("m/p/1.html") == b"first"
    assert await store.list("m/p") == ("m/p/1.html",)
    await store.delete("m/p/1.html")
    assert await store.get("m/p/1.html") is None


async def test_a_signed_address_gives_the_receipt_and_nothing_else(s3: S3) -> None:
    store = opened()
    await store.put_once("m/p/2.pdf", b"%PDF", headers=kept_with("pdf"))
    url = store.signed_url("m/p/2.pdf")
    assert "X-Amz-Expires=60" in url
    given = await fetched(url)
    assert (given.status_code, given.content) == (200, b"%PDF")
    assert given.headers["Content-Type"] == "application/pdf"
    assert given.headers["Cache-Control"] == "private, no-store"
    assert given.headers["x-amz-server-side-encryption"] == "AES256"
    for other in (url.replace("2.pdf", "3.pdf"), url.replace("=60", "=6000"), url.partition("?")[0]):
        assert (await fetched(other)).status_code == 403, other


async def test_an_address_signed_for_head_answers_head_and_one_for_get_does_not(s3: S3) -> None:
    store = opened()
    await store.put_once("m/p/6.pdf", b"%PDF", headers=kept_with("pdf"))
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        looked = await client.head(store.signed_url("m/p/6.pdf", method="HEAD"))
        assert (looked.status_code, looked.headers["Content-Length"]) == (200, "4")
        assert looked.headers["Content-Type"] == "application/pdf"
        assert (await client.head(store.signed_url("m/p/6.pdf"))).status_code == 403


async def test_the_signed_address_names_the_server_as_merchants_reach_it(s3: S3) -> None:
    store = opened(receipts_endpoint=s3.url.replace("127.0.0.1", "localhost"))
    await store.put_once("m/p/4.pdf", b"%PDF")
    url = store.signed_url("m/p/4.pdf")
    assert url.startswith("http://localhost:")
    assert (await fetched(url)).content == b"%PDF"


async def test_with_another_key_nothing_is_taken(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    store = opened()
    with pytest.raises(StoreUnavailable) as refused:
        await store.put_once("m/p/5.pdf", b"%PDF")
    assert "Signature" not in refused.value.message


async def test_live_mode_speaks_tls_with_it(s3: S3) -> None:
    with pytest.raises(SettingsWrong, match="AWS_ENDPOINT_URL"):
        opened(live=True)


async def test_a_receipt_asked_for_while_it_is_away_or_stands_still_is_there_afterwards(
    s3: S3, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opened().prove()
    monkeypatch.setattr(module, "REQUEST_S", 1)
    monkeypatch.setattr(module, "CALL_S", 1.0)
    store, payment = opened(), await paid(ledger)
    working = renderer(ledger, store)
    working._is_proven = True
    await asked(ledger, payment)
    s3.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable):
            await working.step(ready)
    finally:
        s3.process.send_signal(signal.SIGCONT)
    assert (await found(ledger, payment)).stored_at is None
    monkeypatch.undo()
    for name, value in s3.environ.items():
        monkeypatch.setenv(name, value)
    await due_now(ledger)
    await renderer(ledger, opened()).step(ready)
    row = await found(ledger, payment)
    assert row.stored_at is not None
    content = await opened().get(row.key)
    assert content is not None
    assert len(content) == row.length

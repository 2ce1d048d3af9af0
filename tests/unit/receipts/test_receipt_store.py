"""The object store, here a folder: what is put under a key is never changed."""

import asyncio
from pathlib import Path

import pytest

from payonce.receipts import store as module
from payonce.receipts.store import ReceiptStore, StoreUnavailable, open_store
from payonce.settings import Settings, SettingsWrong

NEEDED = {
    "database_url": "postgresql://x",
    "redis_url": "redis://x",
    "temporal_address": "x:1",
    "derivation_key": "k" * 32,
}


def opened(url: str | None, **more: object) -> ReceiptStore:
    return open_store(Settings.model_validate({**NEEDED, "receipts_url": url, **more}))


@pytest.fixture
def store(tmp_path: Path) -> ReceiptStore:
    return opened((tmp_path / "receipts").as_uri())


async def test_a_key_is_put_once(store: ReceiptStore) -> None:
    assert await store.put_once("merchant/payment/1.html", b"first")
    assert not await store.put_once("merchant/payment/1.html", b"second")
    assert await store.get("merchant/payment/1.html") == b"first"


async def test_of_many_that_put_one_key_at_once_one_does(store: ReceiptStore) -> None:
    done = await asyncio.gather(*(store.put_once("one", str(each).encode()) for each in range(20)))
    assert sum(done) == 1
    assert await store.get("one") == str(done.index(True)).encode()


async def test_what_was_never_put_is_not_there(store: ReceiptStore) -> None:
    assert await store.get("nothing") is None
    assert await store.list("nothing") == ()


async def test_a_folder_is_listed_in_order_and_no_other(store: ReceiptStore) -> None:
    for key in ("audit/2", "audit/1", "auditors/3"):
        await store.put_once(key, b"")
    assert await store.list("audit") == ("audit/1", "audit/2")


async def test_a_folder_with_too_much_is_refused(
    store: ReceiptStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LISTED_MAX", 1)
    for key in ("audit/2", "audit/1"):
        await store.put_once(key, b"")
    with pytest.raises(StoreUnavailable, match="more than 1 keys"):
        await store.list("audit")


async def test_a_store_that_refuses_says_so(store: ReceiptStore, tmp_path: Path) -> None:
    (tmp_path / "receipts" / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailable, match="object store"):
        await store.put_once("file/below", b"")


@pytest.mark.parametrize(
    ("url", "why"), [(None, "not set"), ("memory:///", "must begin"), ("file://folder", "must begin")]
)
def test_settings_that_name_no_store_are_refused(url: str | None, why: str) -> None:
    with pytest.raises(SettingsWrong, match=f"PAYONCE_RECEIPTS_URL: .*{why}"):
        opened(url)

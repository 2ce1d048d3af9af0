"""Where customers of live payments may be sent back to, as an operator says for each merchant."""

from dataclasses import replace
from typing import Any

import pytest

from api.admission.admission import Admission
from api.admission.requests import check_return_origin
from payonce.accounts import Accounts
from payonce.domain.errors import InvalidRequest, NotFound
from payonce.storage import merchants
from payonce.storage.merchants import Caller
from tests.storage.acting import FakeConnector
from tests.storage.admitting import ACCOUNT, NEW, NoTemporal, post
from tests.storage.ledger import Ledger, runtime_of

SHOP = "https://shop.example"


async def test_the_list_is_replaced_and_comes_with_who_is_calling(ledger: Ledger) -> None:
    async with ledger.database.transaction() as connection:
        _, key = await merchants.create_key(
            connection, merchant_id=ledger.merchant_id, mode="live", secret=b"secret"
        )
    key_hash = merchants.hash_key(key, secret=b"secret")
    for origins in (["https://Shop.example:443/", SHOP], ["https://other.example:8443"], []):
        async with ledger.database.transaction() as connection:
            set_ = await merchants.change_merchant(connection, ledger.merchant_id, return_origins=origins)
            (listed,) = await merchants.list_merchants(connection)
            caller = await merchants.authenticate(connection, key_hash=key_hash)
        assert caller is not None
        assert set_.return_origins == listed.return_origins == caller.return_origins
        assert len(set_.return_origins) == (1 if origins else 0)


@pytest.mark.parametrize(
    "origin", ["http://shop.example", "shop.example", "https://shop.example/back", "https://a@b.example", ""]
)
async def test_what_is_no_https_origin_is_refused(ledger: Ledger, origin: str) -> None:
    async with ledger.database.transaction() as connection:
        with pytest.raises(InvalidRequest):
            await merchants.change_merchant(connection, ledger.merchant_id, return_origins=[origin])


async def test_a_merchant_that_is_not_there_has_no_list(ledger: Ledger) -> None:
    async with ledger.database.transaction() as connection:
        with pytest.raises(NotFound):
            await merchants.change_merchant(connection, "mer_nobody", return_origins=[SHOP])
        with pytest.raises(InvalidRequest):
            await merchants.change_merchant(connection, ledger.merchant_id, return_origins=[SHOP] * 51)


@pytest.mark.parametrize(
    ("mode", "url", "listed", "refused"),
    [
        ("live", f"{SHOP}/back?x=1", (SHOP,), False),
        ("live", "https://SHOP.example:443/", (SHOP,), False),
        ("live", None, (), False),
        ("test", "https://anywhere.example", (), False),
        ("live", f"{SHOP}/back", (), True),
        ("live", f"{SHOP}.evil.example/", (SHOP,), True),
        ("live", f"{SHOP}:8443/", (SHOP,), True),
        ("live", "https://shop.example@evil.example/", (SHOP,), True),
    ],
)
def test_a_live_customer_is_sent_to_listed_origins_only(
    mode: str, url: str | None, listed: tuple[str, ...], refused: bool
) -> None:
    caller = Caller("mer_1", mode, listed)
    if not refused:
        check_return_origin(caller, url)
        return
    with pytest.raises(InvalidRequest) as error:
        check_return_origin(caller, url)
    assert (error.value.pointer, error.value.problem_code) == ("/return_url", "data_required")


async def test_a_create_with_another_origin_admits_nothing_and_uses_no_key_up(ledger: Ledger) -> None:
    live = replace(ACCOUNT, mode="live")
    accounts = Accounts((live,), {"account_1": FakeConnector()})
    temporal: Any = NoTemporal()
    admission = Admission(replace(runtime_of(ledger), accounts=accounts), temporal)
    request = replace(post(ledger, "k"), caller=Caller(ledger.merchant_id, "live", (SHOP,)))
    with pytest.raises(InvalidRequest) as error:
        await admission.create_payment(request, replace(NEW, return_url="https://evil.example/"))
    assert error.value.pointer == "/return_url"
    assert [await ledger.count(table) for table in ("payments", "idempotency_keys", "attempts")] == [0, 0, 0]

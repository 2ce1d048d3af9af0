"""What a create says of authentication, over a real Postgres: what is kept, and what an attempt is sent with."""

from dataclasses import replace
from typing import Any

import pytest

from api.admission.requests import NewPayment
from api.admission.waiting import Unavailable
from payonce.accounts import Accounts
from payonce.claims import Claimant
from payonce.domain.cards import Card
from payonce.domain.errors import InvalidRequest
from payonce.domain.issuers import IssuerRange, packed
from payonce.domain.operations import AttemptState
from payonce.domain.sca import BY_ACQUIRER, BY_MERCHANT, HandedIn, Sca
from payonce.rights import Right, Rights
from payonce.storage import issuers
from payonce.storage.merchants import Caller
from tests.storage.acting import CAPABILITIES, FakeConnector
from tests.storage.admitting import ACCOUNT, NEW, NoTemporal, Shop, post
from tests.storage.ledger import Ledger

TAKES_ALL = replace(
    CAPABILITIES,
    three_ds=frozenset({BY_ACQUIRER, BY_MERCHANT}),
    exemptions=frozenset({"low_value"}),
)
NEEDS_NOTHING = replace(TAKES_ALL, data_in_memory=False)  # of its own: a payment may
CAVV = "3q2+78r+ur7erb7vyv66vv////8="
HANDED_IN = HandedIn(
    version="2.2.0",
    trans_status="Y",
    eci="05",
    cavv=CAVV,
    ds_transaction_id="f25084f0-5b16-4c0a-ae5d-b24808a95e4b",
)
AUTHENTICATED = replace(NEW, authentication=HANDED_IN)
ASKED = Sca(challenge="force", exemption="low_value")


@pytest.fixture
def shop(ledger: Ledger) -> Shop:
    """Its requests are admitted and given back, since Temporal is away."""
    return Shop(ledger, FakeConnector(capabilities=TAKES_ALL), NoTemporal())


@pytest.fixture
def granted(monkeypatch: pytest.MonkeyPatch) -> list[Right]:
    """Every right that a request of the test gets."""
    rights: list[Right] = []
    grant = Rights.grant

    def remember(self: Rights, operation_id: str, right: Right) -> None:
        rights.append(right)
        grant(self, operation_id, right)

    monkeypatch.setattr("tests.storage.admitting.Rights.grant", remember)
    return rights


async def test_what_was_handed_in_is_in_the_right_and_in_no_row(
    shop: Shop, ledger: Ledger, granted: list[Right]
) -> None:
    await given_back(shop, AUTHENTICATED)
    (right,) = granted
    assert (right.call.authentication, right.call.sca) == (HANDED_IN, None)
    assert CAVV not in repr(right)
    (row,) = await ledger.rows("SELECT * FROM payments WHERE id = :id", id=shop.payment_id)
    assert row.sca == {"handed_in": True}
    for table in ("payments", "operations", "attempts", "idempotency_keys", "events"):
        texts = [str(row.text) for row in await ledger.rows(f"SELECT t::text AS text FROM {table} t")]
        assert not [text for text in texts if CAVV in text or HANDED_IN.ds_transaction_id in text]


async def test_a_retry_brings_it_again(shop: Shop, granted: list[Right]) -> None:
    await given_back(shop, AUTHENTICATED)
    with pytest.raises(InvalidRequest) as refused:
        await create(shop, NEW)
    assert (refused.value.problem_code, refused.value.pointer) == ("data_required", "/authentication")
    assert await shop.latest() == (1, AttemptState.NOT_SENT)
    corrected = replace(HANDED_IN, cavv="A" * 27 + "=")
    await given_back(shop, replace(NEW, authentication=corrected), number=2)
    assert granted[-1].call.authentication == corrected


async def test_no_other_process_goes_on_without_it(ledger: Ledger) -> None:
    shop = Shop(ledger, FakeConnector(capabilities=NEEDS_NOTHING), NoTemporal())
    await given_back(shop, AUTHENTICATED)
    accounts = Accounts(connectors={"account_1": FakeConnector(capabilities=NEEDS_NOTHING)})
    claimant = Claimant(shop.ledger.database, Rights(), accounts)
    claimed = await claimant.claim(payment_id=shop.payment_id, operation_id=shop.payment_id)
    assert claimed.kind == "standing"
    assert await shop.latest() == (1, AttemptState.NOT_SENT)


async def test_of_one_key_the_first_request_says_whether_there_is_one(
    shop: Shop, granted: list[Right]
) -> None:
    await given_back(shop, NEW)
    await given_back(shop, AUTHENTICATED, number=2)
    assert granted[-1].call.authentication is None


@pytest.mark.parametrize(
    ("number", "exemption"),
    [("4242424242424242", "low_value"), ("4000003560000008", None), ("4111111111111111", None)],
)
async def test_what_is_asked_for_is_kept_and_the_exemption_sent_where_the_country_allows_it(
    shop: Shop, ledger: Ledger, granted: list[Right], number: str, exemption: Any
) -> None:
    card = Card(number, 12, 2040, "123")
    await given_back(shop, replace(NEW, card=card, sca=ASKED))
    assert granted[-1].call.sca == Sca(challenge="force", exemption=exemption)
    (row,) = await ledger.rows("SELECT sca FROM payments WHERE id = :id", id=shop.payment_id)
    assert row.sca == {"challenge": "force", "exemption": "low_value"}


@pytest.mark.parametrize(("country", "exemption"), [("FR", "low_value"), ("IN", None), (None, None)])
async def test_in_live_mode_the_imported_table_says_whether_an_exemption_is_sent(
    ledger: Ledger,
    granted: list[Right],
    monkeypatch: pytest.MonkeyPatch,
    country: str | None,
    exemption: Any,
) -> None:
    monkeypatch.setattr("tests.storage.admitting.ACCOUNT", replace(ACCOUNT, mode="live"))
    shop = Shop(ledger, FakeConnector(capabilities=TAKES_ALL), NoTemporal())
    if country is not None:
        async with ledger.database.transaction() as connection:
            await issuers.replace_with(connection, packed([IssuerRange(424242424, 424242424, country)]))
    await shop.runtime.issuers.refresh()
    live = replace(post(ledger, "k"), caller=Caller(ledger.merchant_id, "live"))
    with pytest.raises(Unavailable):
        await shop.admission.create_payment(live, replace(NEW, sca=ASKED))
    assert granted[-1].call.sca == Sca(challenge="force", exemption=exemption)


@pytest.mark.parametrize(
    ("new", "pointer"),
    [(AUTHENTICATED, "/authentication"), (replace(NEW, sca=ASKED), "/sca/challenge")],
)
async def test_what_no_account_takes_is_refused_before_anything_is_admitted(
    ledger: Ledger, new: NewPayment, pointer: str
) -> None:
    shop = Shop(ledger, FakeConnector(capabilities=CAPABILITIES), NoTemporal())
    with pytest.raises(InvalidRequest) as refused:
        await create(shop, new)
    assert refused.value.problem_code == "payment_method_not_supported"
    assert refused.value.pointer == pointer
    assert not await ledger.rows("SELECT 1 FROM payments")
    assert not await ledger.rows("SELECT 1 FROM idempotency_keys")


async def create(shop: Shop, new: NewPayment) -> None:
    await shop.admission.create_payment(post(shop.ledger, "k"), new)


async def given_back(shop: Shop, new: NewPayment, *, number: int = 1) -> None:
    with pytest.raises(Unavailable):
        await create(shop, new)
    assert await shop.latest() == (number, AttemptState.NOT_SENT)

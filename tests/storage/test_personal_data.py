"""Personal data at rest: sealed where another process may have to send it, the same for every run, and erased."""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.admission.requests import NewPayment
from api.admission.waiting import Unavailable
from payonce.accounts import Accounts
from payonce.claims import Claimant
from payonce.connectors.base import Call, call_of
from payonce.domain.operations import AttemptState, OperationKind
from payonce.domain.personal import NOTHING_PERSONAL, Address, Browser, Customer, Party, PersonalData
from payonce.rights import Right, Rights
from payonce.sealing import CannotUnseal, Sealed, Sealer, SealingKey
from payonce.storage import payments, personal_data
from payonce.storage.driver.connection import Connection
from payonce.storage.personal_data import KEPT
from tests.storage.acting import CAPABILITIES, FakeConnector
from tests.storage.admitting import NEW, NoTemporal, Shop, post
from tests.storage.ledger import Ledger, runtime_of
from tests.support import rows
from workers.sweeper import Sweeper

ADDRESS = Address(line1="7 Rose Lane", city="Pune", state="MH", postal_code="411001", country="IN")
PERSONAL = PersonalData(
    billing=Party(name="Asha Rao", address=ADDRESS),
    shipping=Party(name="Ravi Rao"),
    browser=Browser(ip="203.0.113.7", user_agent="Mozilla/5.0 (Asha)", screen_width=390, java_enabled=False),
)
PLAIN = ("Asha", "Rose Lane", "203.0.113.7", "Ravi")
SEALER = Sealer([SealingKey("test", b"s" * 32)])
UPI = replace(
    NEW,
    card=None,
    method="upi.qr",
    payment_method={"type": "upi", "upi": {"flow": "qr", "vpa": None, "rrn": None}},
    customer={"id": "c-1", "name": "Asha Rao", "email": "asha@shop.example"},
    statement_descriptor="SHOP.EXAMPLE",
    channel="web",
    description="Tea",
    personal=PERSONAL,
)
ON_ANY_PROCESS = replace(CAPABILITIES, methods=frozenset({"upi.qr"}), data_in_memory=False)


def shop_of(ledger: Ledger) -> Shop:
    """Its requests are admitted and given back, since Temporal is away; its acquirer needs nothing from memory."""
    return Shop(ledger, FakeConnector(capabilities=ON_ANY_PROCESS), NoTemporal())


async def given_back(shop: Shop, new: NewPayment = UPI, *, number: int = 1) -> None:
    with suppress(Unavailable):
        await shop.admission.create_payment(post(shop.ledger, "k"), new)
    assert await shop.latest() == (number, AttemptState.NOT_SENT)


async def claimed_elsewhere(shop: Shop, sealer: Sealer | None) -> Call:
    """What another process would send as the next attempt."""
    accounts = Accounts(connectors={"account_1": FakeConnector(capabilities=ON_ANY_PROCESS)})
    claimant = Claimant(shop.ledger.database, Rights(), accounts, sealer=sealer)
    right = await claimant.claim(payment_id=shop.payment_id, operation_id=shop.payment_id)
    assert isinstance(right, Right)
    return right.call


async def stored(ledger: Ledger, payment_id: str) -> Any:
    (row,) = await ledger.rows("SELECT * FROM payments WHERE id = :id", id=payment_id)
    return row


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


async def test_it_is_sealed_and_opens_for_its_payment_only(ledger: Ledger) -> None:
    shop = shop_of(ledger)
    await given_back(shop)
    row = await stored(ledger, shop.payment_id)
    assert not [text for text in PLAIN if text.encode() in bytes(row.personal_sealed)]
    sealed = Sealed(row.personal_key_id, bytes(row.personal_sealed))
    assert personal_data.unseal(shop.runtime.sealer, sealed, payment_id=shop.payment_id) == PERSONAL
    with pytest.raises(CannotUnseal):
        personal_data.unseal(shop.runtime.sealer, sealed, payment_id="pay_other")


async def test_the_run_of_another_process_sends_what_the_owner_would_have(
    ledger: Ledger, granted: list[Right]
) -> None:
    shop = shop_of(ledger)
    await given_back(shop)
    call = await claimed_elsewhere(shop, shop.runtime.sealer)
    assert (call.billing, call.shipping, call.browser) == (
        PERSONAL.billing,
        PERSONAL.shipping,
        PERSONAL.browser,
    )
    assert call.customer == Customer(id="c-1", name="Asha Rao", email="asha@shop.example")
    assert (call.statement_descriptor, call.channel, call.description) == ("SHOP.EXAMPLE", "web", "Tea")
    (owners,) = granted
    assert call == replace(owners.call, reference=call.reference)


async def test_a_run_that_cannot_open_it_claims_nothing(ledger: Ledger) -> None:
    shop = shop_of(ledger)
    await given_back(shop)
    for sealer in (None, SEALER):
        with pytest.raises(CannotUnseal):
            await claimed_elsewhere(shop, sealer)
    assert await shop.latest() == (1, AttemptState.NOT_SENT)


async def test_of_two_browsers_the_first_counts(ledger: Ledger, granted: list[Right]) -> None:
    by_its_owner = replace(ON_ANY_PROCESS, data_in_memory=True)
    shop = Shop(ledger, FakeConnector(capabilities=by_its_owner), NoTemporal())
    await given_back(shop)
    other = Browser(ip="203.0.113.8", user_agent="Another")
    await given_back(shop, replace(UPI, personal=replace(PERSONAL, browser=other)), number=2)
    assert [right.call.browser for right in granted] == [PERSONAL.browser, PERSONAL.browser]
    assert granted[1].attempt == 2


async def test_of_a_card_nothing_is_stored_and_its_owner_sends_all(
    ledger: Ledger, granted: list[Right]
) -> None:
    shop = Shop(ledger, temporal=NoTemporal())
    await given_back(shop, replace(NEW, personal=PERSONAL))
    row = await stored(ledger, shop.payment_id)
    assert (row.personal_key_id, row.personal_sealed) == (None, None)
    (right,) = granted
    assert (right.call.billing, right.call.browser) == (PERSONAL.billing, PERSONAL.browser)


async def test_it_takes_no_statement_more(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    exchange = Connection._exchange

    async def counted(self: Connection, *commands: Any) -> Any:
        sent.append(len(self._waiting) + len(commands))
        return await exchange(self, *commands)

    monkeypatch.setattr(Connection, "_exchange", counted)
    counts = []
    for key, new in (("plain", replace(UPI, personal=NOTHING_PERSONAL)), ("full", UPI)):
        sent.clear()
        await shop_of(ledger).admission.create_payment(post(ledger, key), new)
        counts.append(sum(sent))
    assert counts[0] == counts[1] > 0


def test_no_repr_shows_any_of_it() -> None:
    payment = rows.payment(customer={"name": "Asha Rao"}, description="for Asha")
    call = call_of(payment, rows.operation(OperationKind.AUTHORIZE), reference="pay_1-1", personal=PERSONAL)
    shown = repr(call) + repr(UPI) + repr(PERSONAL)
    assert not [text for text in (*PLAIN, "IN'", "390") if text in shown]


@pytest.mark.parametrize("personal", [PERSONAL, PersonalData(shipping=Party(name="A")), NOTHING_PERSONAL])
def test_it_is_read_as_it_was_written(personal: PersonalData) -> None:
    assert PersonalData.read(personal.written()) == personal


def test_what_a_later_release_wrote_besides_is_left_out() -> None:
    browser, address = '{"ip":"::1","user_agent":"a","new":1}', '{"line1":"a","country":"IN","x":1}'
    text = f'{{"browser":{browser},"billing":{{"address":{address},"new":1}},"new":1}}'
    assert PersonalData.read(text) == PersonalData(
        billing=Party(address=Address(line1="a", country="IN")), browser=Browser(ip="::1", user_agent="a")
    )


class TestMany:
    """What the sweeper and the operator do to all that there is."""

    @pytest.fixture
    async def aged(self, ledger: Ledger) -> list[str]:
        """The ids of five payments with personal data, the oldest first; the first three are past their time."""
        ages = [KEPT + timedelta(days=2), KEPT + timedelta(days=1), KEPT + timedelta(minutes=1)]
        ages += [KEPT - timedelta(minutes=1), timedelta(0)]
        ids = []
        for number, age in enumerate(ages):
            paid = rows.payment(
                id=f"pay_{number}",
                merchant_id=ledger.merchant_id,
                idempotency_key=f"k{number}",
                created_at=datetime.now(UTC) - age,
            )
            async with ledger.database.transaction() as connection:
                sealed = personal_data.seal(SEALER, PERSONAL, payment_id=paid.id)
                await payments.insert_payment(connection, paid, sealed)
            ids.append(paid.id)
        return ids

    async def left(self, ledger: Ledger) -> list[str]:
        found = await ledger.rows("SELECT id FROM payments WHERE personal_sealed IS NOT NULL ORDER BY id")
        return [row.id for row in found]

    async def test_what_is_older_is_erased_some_at_a_time(self, ledger: Ledger, aged: list[str]) -> None:
        erased = []
        for _ in range(3):
            async with ledger.database.transaction() as connection:
                erased.append(await personal_data.erase(connection, limit=2))
        assert erased == [2, 1, 0]
        assert await self.left(ledger) == aged[3:]

    async def test_the_sweeper_erases(
        self, ledger: Ledger, aged: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("workers.sweeper.ERASED_AT_ONCE", 2)
        temporal: Any = None
        sweeper = Sweeper(runtime_of(ledger), temporal)
        assert [await sweeper.erase_personal_data() for _ in range(2)] == [True, False]
        assert await self.left(ledger) == aged[3:]

    async def test_an_erased_payment_is_otherwise_as_it_was(self, ledger: Ledger, aged: list[str]) -> None:
        before = await ledger.payment(aged[0])
        async with ledger.database.transaction() as connection:
            await personal_data.erase(connection, limit=10)
            assert await personal_data.find(connection, SEALER, payment_id=aged[0]) == NOTHING_PERSONAL
            assert await personal_data.find(connection, SEALER, payment_id=aged[3]) == PERSONAL
        assert await ledger.payment(aged[0]) == before

    async def test_all_of_it_is_sealed_with_another_key(self, ledger: Ledger, aged: list[str]) -> None:
        new = SealingKey("next", b"n" * 32)
        both, place, walks = Sealer([new, SealingKey("test", b"s" * 32)]), None, 0
        while walks == 0 or place is not None:
            walks += 1
            async with ledger.database.transaction() as connection:
                place = await personal_data.seal_again(connection, both, after=place, limit=2)
        assert walks == 3
        async with ledger.database.transaction() as connection:
            found = [await personal_data.find(connection, Sealer([new]), payment_id=id_) for id_ in aged]
        assert found == [PERSONAL] * 5

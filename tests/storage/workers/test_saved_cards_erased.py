"""What is erased of saved cards, and when: with their deletion, once their payments are decided, a day later."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from payonce.accounts import Accounts
from payonce.connectors.base import ConnectorAccount
from payonce.domain.errors import ConnectorError, NotSent, OutcomeUnknown, RateLimited, Rejected
from payonce.domain.ids import random_id
from payonce.domain.payment import PaymentStatus
from payonce.domain.payment_methods import (
    Credential,
    CredentialKind,
    PaymentMethod,
    SavedState,
    StoredCredential,
)
from payonce.storage import erasing, payment_methods, payments
from payonce.vault import payment_methods as vaulted
from tests.storage.acting import CAPABILITIES
from tests.storage.ledger import Ledger, runtime_of
from tests.storage.vault.saving import NUMBER, a_vault
from tests.support.rows import saved_card
from workers.saved_cards import SavedCards

S = PaymentStatus
ACCOUNT = ConnectorAccount(id="account_1", connector="fake", mode="test", base_url="https://acquirer.test")


@dataclass
class Desk:
    """An acquirer that has tokens, and answers as told."""

    name: str = "fake"
    capabilities: Any = CAPABILITIES
    answers: list[Exception | None] = field(default_factory=list)
    asked: list[Mapping[str, str]] = field(default_factory=list)

    async def delete_token(self, token: Mapping[str, str]) -> None:
        self.asked.append(token)
        if self.answers and (answer := self.answers.pop(0)) is not None:
            raise answer

    async def close(self) -> None:
        """Nothing is open."""


async def saved(ledger: Ledger) -> str:
    """The id of a card in the vault."""
    vault = a_vault()
    sealed = await vault.seal(NUMBER, merchant_id=ledger.merchant_id, mode="test")
    async with ledger.database.transaction() as connection:
        return (await vaulted.save(connection, vault, saved_card(ledger.merchant_id), sealed)).id


async def saved_at_acquirer(ledger: Ledger) -> str:
    """The id of a card that an acquirer has, and of which we have two tokens."""
    method = saved_card(ledger.merchant_id)
    given = [
        Credential(
            payment_method_id=method.id,
            kind=CredentialKind.OF_ACQUIRER,
            connector_account=account,
            token={"card": account},
        )
        for account in ("account_1", "account_2")
    ]
    async with ledger.database.transaction() as connection:
        await payment_methods.insert(connection, method, given)
    return method.id


async def delete(ledger: Ledger, id_: str) -> bool:
    async with ledger.database.transaction() as connection:
        return await vaulted.delete(connection, id_, merchant_id=ledger.merchant_id, mode="test")


async def paid_with(ledger: Ledger, id_: str, status: S = S.INIT) -> str:
    stored = StoredCredential(token=id_).kept()
    return (await ledger.add_payment(status, stored_credential=stored)).id


async def sweep(ledger: Ledger, desk: Desk | None = None) -> None:
    """As if the time of the next look had come."""
    await ledger.rows("UPDATE payment_methods SET sweep_at = now() WHERE sweep_at IS NOT NULL")
    runtime = runtime_of(ledger)
    if desk is not None:
        accounts = [ACCOUNT, replace(ACCOUNT, id="account_2")]
        runtime = replace(runtime, accounts=Accounts(accounts, {one.id: desk for one in accounts}))
    await SavedCards(runtime).sweep()


async def numbers(ledger: Ledger) -> int:
    return await ledger.count("vault.cards")


async def is_finished(ledger: Ledger, id_: str) -> bool:
    """Whether nothing is left but the row."""
    (row,) = await ledger.rows(
        "SELECT sweep_at, fingerprint, (SELECT count(*) FROM credentials WHERE payment_method_id = :id) AS left"
        " FROM payment_methods WHERE id = :id",
        id=id_,
    )
    return (row.sweep_at, row.fingerprint, row.left) == (None, None, 0)


async def test_a_number_goes_with_the_deletion_and_the_rest_with_the_next_sweep(ledger: Ledger) -> None:
    id_ = await saved(ledger)
    assert await numbers(ledger) == 1
    assert await delete(ledger, id_)
    assert await numbers(ledger) == 0
    assert await ledger.count("vault.fingerprints") == 0
    await sweep(ledger)
    assert await is_finished(ledger, id_)
    assert not await delete(ledger, id_)


@pytest.mark.parametrize("status", S)
async def test_a_number_waits_for_every_payment_that_is_undecided(ledger: Ledger, status: S) -> None:
    id_ = await saved(ledger)
    paid = await paid_with(ledger, id_, status)
    await paid_with(ledger, "pm_another")
    await delete(ledger, id_)
    await sweep(ledger)
    assert await numbers(ledger) == (1 if status.undecided else 0)
    await ledger.rows("UPDATE payments SET status = 'failed' WHERE id = :id", id=paid)
    await sweep(ledger)
    assert await numbers(ledger) == 0
    assert await is_finished(ledger, id_)


async def test_no_payment_keeps_a_number_for_more_than_a_day(ledger: Ledger) -> None:
    id_ = await saved(ledger)
    await paid_with(ledger, id_, S.PROCESSING)
    await delete(ledger, id_)
    late = datetime.now(UTC) - timedelta(hours=24, minutes=1)
    await ledger.rows("UPDATE payment_methods SET deleted_at = :late", late=late)
    await sweep(ledger)
    assert await numbers(ledger) == 0
    assert await is_finished(ledger, id_)


async def test_while_payments_are_undecided_it_is_looked_at_every_ten_seconds(ledger: Ledger) -> None:
    id_ = await saved(ledger)
    await paid_with(ledger, id_)
    await delete(ledger, id_)
    for _ in range(4):
        await sweep(ledger)
    ((pause_s,),) = await ledger.rows("SELECT extract(epoch FROM sweep_at - now()) FROM payment_methods")
    assert 0 < float(pause_s) <= 10


async def test_a_payment_that_is_being_admitted_keeps_the_number(ledger: Ledger) -> None:
    """The deletion waits for it, and sees it."""
    id_ = await saved(ledger)
    async with ledger.database.transaction() as connection:
        to_pay_with = payment_methods.to_pay_with(id_, merchant_id=ledger.merchant_id, mode="test")
        assert await connection.fetch(to_pay_with) is not None
        deleting = asyncio.create_task(delete(ledger, id_))
        await ledger.waits_for_a_lock(deleting)
        stored = StoredCredential(token=id_).kept()
        admitted = await paid_with_in(connection, ledger, stored)
    assert await deleting
    await sweep(ledger)
    assert await numbers(ledger) == 1
    await ledger.rows("UPDATE payments SET status = 'captured' WHERE id = :id", id=admitted)
    await sweep(ledger)
    assert await numbers(ledger) == 0


async def paid_with_in(connection: Any, ledger: Ledger, stored: dict[str, Any]) -> str:
    other = await ledger.add_payment()
    paid = replace(other, id=random_id("pay"), idempotency_key=random_id("key"), stored_credential=stored)
    await payments.insert_payment(connection, paid)
    return paid.id


async def test_nobody_is_admitted_to_pay_with_one_that_is_being_deleted(ledger: Ledger) -> None:
    id_ = await saved(ledger)

    async def admitted() -> PaymentMethod | None:
        async with ledger.database.transaction() as connection:
            to_pay_with = payment_methods.to_pay_with(id_, merchant_id=ledger.merchant_id, mode="test")
            return await connection.fetch(to_pay_with)

    async with ledger.database.transaction() as connection:
        assert await vaulted.delete(connection, id_, merchant_id=ledger.merchant_id, mode="test")
        admitting = asyncio.create_task(admitted())
        await ledger.waits_for_a_lock(admitting)
    assert await admitting is None
    assert await numbers(ledger) == 0


async def test_a_deletion_that_was_rolled_back_changed_nothing(ledger: Ledger) -> None:
    id_ = await saved(ledger)

    async def broken() -> None:
        async with ledger.database.transaction() as connection:
            await vaulted.delete(connection, id_, merchant_id=ledger.merchant_id, mode="test")
            raise RuntimeError("ends here")

    with pytest.raises(RuntimeError, match="ends here"):
        await broken()
    await sweep(ledger)
    assert await numbers(ledger) == 1
    assert await ledger.rows("SELECT FROM events WHERE type = 'payment_method.deleted'") == []
    assert await delete(ledger, id_)


async def test_what_was_never_kept_is_erased_once_its_time_is_over(ledger: Ledger) -> None:
    vault = a_vault()
    sealed = await vault.seal(NUMBER, merchant_id=ledger.merchant_id, mode="test")
    method = saved_card(ledger.merchant_id, state=SavedState.PROVISIONAL)
    credential = Credential(
        payment_method_id=method.id, kind=CredentialKind.VAULTED, vault_record=sealed.place.record_id
    )
    async with ledger.database.transaction() as connection:
        await vault.put(connection, sealed)
        later = datetime.now(UTC) + timedelta(hours=24)
        await payment_methods.insert(connection, method, [credential], sweep_at=later)
    await SavedCards(runtime_of(ledger)).sweep()
    assert await numbers(ledger) == 1
    await sweep(ledger)
    assert await numbers(ledger) == 0
    assert await ledger.count("payment_methods") == 0
    assert await ledger.rows("SELECT FROM events WHERE type LIKE 'payment_method.%'") == []


async def test_a_token_of_what_was_never_kept_is_deleted_at_its_acquirer(ledger: Ledger) -> None:
    id_, desk = await saved_at_acquirer(ledger), Desk()
    await ledger.rows("UPDATE payment_methods SET state = 'provisional', sweep_at = now()")
    for _ in range(2):
        await sweep(ledger, desk)
    assert sorted(each["card"] for each in desk.asked) == ["account_1", "account_2"]
    assert await is_finished(ledger, id_)
    assert await ledger.rows("SELECT FROM events WHERE type LIKE 'payment_method.%'") == []


async def test_one_that_was_kept_meanwhile_is_left_alone(ledger: Ledger) -> None:
    id_ = await saved(ledger)
    await ledger.rows("UPDATE payment_methods SET sweep_at = now()")
    await sweep(ledger)
    assert await numbers(ledger) == 1
    async with ledger.database.transaction() as connection:
        usable = payment_methods.usable(id_, merchant_id=ledger.merchant_id, mode="test")
        assert await connection.fetch(usable) is not None


async def test_tokens_are_deleted_at_their_acquirers(ledger: Ledger) -> None:
    id_, desk = await saved_at_acquirer(ledger), Desk()
    await sweep(ledger, desk)
    assert desk.asked == []
    await delete(ledger, id_)
    await sweep(ledger, desk)
    assert sorted(each["card"] for each in desk.asked) == ["account_1", "account_2"]
    assert await is_finished(ledger, id_)


@pytest.mark.parametrize(
    "error",
    [
        NotSent(),
        OutcomeUnknown(),
        Rejected("no such permission"),
        RateLimited(retry_after_s=1.0),
        TimeoutError(),
    ],
)
async def test_a_token_is_asked_about_until_its_deletion_is_confirmed(
    ledger: Ledger, error: ConnectorError | TimeoutError
) -> None:
    id_, desk = await saved_at_acquirer(ledger), Desk(answers=[error, error])
    await delete(ledger, id_)
    await sweep(ledger, desk)
    assert not await is_finished(ledger, id_)
    desk.answers = [error, None]
    await sweep(ledger, desk)
    assert await ledger.count("credentials") == 1
    await sweep(ledger, desk)
    assert len(desk.asked) == 5
    assert await is_finished(ledger, id_)
    await sweep(ledger, desk)
    assert len(desk.asked) == 5


async def test_a_token_at_an_account_that_nobody_knows_is_kept_and_looked_at_ever_later(
    ledger: Ledger,
) -> None:
    id_ = await saved_at_acquirer(ledger)
    await delete(ledger, id_)
    for _ in range(3):
        await sweep(ledger)
    assert await ledger.count("credentials") == 2
    ((pause_s,),) = await ledger.rows("SELECT extract(epoch FROM sweep_at - now()) FROM payment_methods")
    assert 20 < float(pause_s) <= 40


async def test_a_token_is_kept_while_payments_are_undecided(ledger: Ledger) -> None:
    id_, desk = await saved_at_acquirer(ledger), Desk()
    await paid_with(ledger, id_, S.REQUIRES_ACTION)
    await delete(ledger, id_)
    await sweep(ledger, desk)
    assert desk.asked == []
    assert await ledger.count("credentials") == 2


async def test_two_sweepers_never_take_the_same(ledger: Ledger) -> None:
    due = [await saved_at_acquirer(ledger) for _ in range(6)]
    for id_ in due:
        await delete(ledger, id_)

    async def take() -> list[str]:
        async with ledger.database.transaction() as connection:
            return [id_ for id_, _ in await erasing.dequeue(connection, limit=3)]

    taken = await asyncio.gather(take(), take(), take())
    assert sorted(id_ for ids in taken for id_ in ids) == sorted(due)


async def test_an_endpoint_gets_the_deletion_once(ledger: Ledger) -> None:
    await ledger.add_endpoint("payment_method.deleted")
    id_ = await saved(ledger)
    assert await delete(ledger, id_)
    await sweep(ledger)
    assert await ledger.count("webhook_deliveries") == 1

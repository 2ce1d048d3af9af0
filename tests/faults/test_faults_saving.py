"""The API process is killed (SIGKILL) while it saves a card with a payment: active with the approval, or gone."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import httpx
import pytest
from psycopg import AsyncConnection

from devstack.postgres import server_url
from devstack.stack import DevStack
from payonce.storage.packing import unpack_event
from tests.e2e.saving import by, keep_in_vault
from tests.faults.arming import Point, doomed_api
from tests.faults.books import Books, at_rest
from tests.faults.deeds import AUTOMATIC, CAPTURED, Asked
from tests.faults.shop import CARD, Json, Shop, open_shop
from tests.support.eventually import eventually
from tests.support.witness import Witness

IN_TIME, A_DAY_LATE = (
    "4242424242424242",
    "4242424246801353",
)  # of the latter, 24 h are over before it is recorded
NUMBERS = (IN_TIME, A_DAY_LATE)
NOT_SENT: tuple[Point, ...] = ("admitted", "before_send")
APPROVED: Point = "after_send"
ON_TIME = pytest.mark.parametrize("number", NUMBERS, ids=["in time", "a day late"])


@dataclass(frozen=True)
class Vault:
    """What Postgres has of a payment's card, for somebody with every right."""

    connection: AsyncConnection

    async def records(self, payment_id: str) -> list[str]:
        """The numbers in the vault that came with the payment."""
        found = await self.connection.execute(
            "SELECT c.id FROM vault.cards c JOIN credentials ON vault_record = c.id"
            " JOIN payment_methods m ON m.id = payment_method_id WHERE m.payment_id = %s",
            [payment_id],
        )
        return [id_ for (id_,) in await found.fetchall()]

    async def is_kept(self, record: str) -> bool | None:
        """Whether the number stays; None: it is erased."""
        found = await self.connection.execute(
            "SELECT erase_at IS NULL FROM vault.cards WHERE id = %s", [record]
        )
        row = await found.fetchone()
        return None if row is None else row[0]

    async def methods(self, payment_id: str) -> list[tuple[str, str]]:
        """Payment methods that came with the payment: id and state."""
        found = await self.connection.execute(
            "SELECT id, state FROM payment_methods WHERE payment_id = %s", [payment_id]
        )
        return await found.fetchall()

    async def announced(self, token: str) -> int:
        """How often an event said that the payment method is there."""
        found = await self.connection.execute(
            "SELECT body, id, payment_id, created_at FROM events WHERE type = 'payment_method.active'"
        )
        told = [
            json.loads(unpack_event(body, id_=id_, payment_id=payment_id, created_at=at))["data"]["id"]
            for body, id_, payment_id, at in await found.fetchall()
        ]
        return told.count(token)

    async def age(self, payment_id: str) -> None:
        """The card came a day ago."""
        for statement in (
            "UPDATE vault.cards SET erase_at = now() WHERE id IN (SELECT vault_record FROM credentials"
            " JOIN payment_methods m ON m.id = payment_method_id WHERE m.payment_id = %s)",
            "UPDATE payment_methods SET sweep_at = now() WHERE payment_id = %s",
        ):
            await self.connection.execute(statement, [payment_id])


@dataclass(frozen=True)
class Killed:
    """A create that saves its card, whose process is dead, and what the vault had of it by then."""

    asked: Asked
    record: str
    was_kept: bool | None
    methods: list[tuple[str, str]]


Ended = tuple[Killed, httpx.Response, Books]
AllEnded = Mapping[tuple[str, str], "asyncio.Task[Ended]"]


@pytest.fixture(scope="module")
async def vault(city: DevStack) -> AsyncIterator[Vault]:
    url = server_url(city.port("postgres"), "payonce")
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        yield Vault(connection)


@pytest.fixture(scope="module")
async def saver(city: DevStack) -> AsyncIterator[Shop]:
    """The merchant whose cards are saved in the vault; no process was asked for it before."""
    await keep_in_vault(city)
    async with open_shop(city, number=1) as opened:
        yield opened


@pytest.fixture(scope="module")
async def ended(city: DevStack, saver: Shop, ledger: Witness, vault: Vault) -> AsyncIterator[AllEnded]:
    """What became of both cards at each point; all at once, since most of it is waiting."""
    reached = {
        point: asyncio.create_task(_kill_at(city, saver, vault, point)) for point in (*NOT_SENT, APPROVED)
    }
    tasks = {
        (point, number): asyncio.create_task(_end(saver, ledger, task, number))
        for point, task in reached.items()
        for number in NUMBERS
    }
    yield tasks
    for task in (*tasks.values(), *reached.values()):
        task.cancel()
    await asyncio.gather(*tasks.values(), *reached.values(), return_exceptions=True)


async def _kill_at(city: DevStack, saver: Shop, vault: Vault, point: Point) -> dict[str, Killed]:
    """Both creates have reached the point in one process, which is dead; for one of them 24 h are over."""
    async with doomed_api(city, name=f"saving-{point}") as doomed:
        there = saver.at(doomed.url)
        asked = {number: await AUTOMATIC.prepare(there, **_saves(number)) for number in NUMBERS}
        for one in asked.values():
            doomed.arm("authorize", point, one.payment_id, action="kill", together=len(asked))
        await asyncio.gather(*(one.send(there) for one in asked.values()))
        for one in asked.values():
            await doomed.reached("authorize", point, one.payment_id)
    killed = {number: await _killed(vault, one) for number, one in asked.items()}
    await vault.age(asked[A_DAY_LATE].payment_id)
    return killed


async def _killed(vault: Vault, asked: Asked) -> Killed:
    (record,) = await vault.records(asked.payment_id)
    return Killed(asked, record, await vault.is_kept(record), await vault.methods(asked.payment_id))


async def _end(
    saver: Shop, ledger: Witness, reached: "asyncio.Task[dict[str, Killed]]", number: str
) -> Ended:
    killed = (await reached)[number]
    answer = await killed.asked.answered(saver)
    return killed, answer, await at_rest(saver, ledger, killed.asked.payment_id)


def _saves(number: str) -> Json:
    card = {**CARD["card"], "number": number}
    return {"payment_method": {"type": "card", "card": card}, "setup": "off_session"}


@ON_TIME
@pytest.mark.parametrize("point", [*NOT_SENT, APPROVED])
async def test_at_every_point_the_card_was_put_and_nobody_could_pay_with_it(
    ended: AllEnded, point: str, number: str
) -> None:
    killed, _, _ = await ended[point, number]
    assert (killed.was_kept, [state for _, state in killed.methods]) == (False, ["provisional"])


async def test_what_was_approved_before_the_kill_is_charged_once_and_its_card_saved_once(
    ended: AllEnded, saver: Shop, ledger: Witness, vault: Vault
) -> None:
    killed, answer, books = await ended[APPROVED, IN_TIME]
    killed.asked.check_done(answer, books)
    ((token, state),) = await vault.methods(killed.asked.payment_id)
    assert (state, await vault.is_kept(killed.record), await vault.announced(token)) == ("active", True, 1)
    assert answer.json()["payment_method"]["card"]["token"] == token
    again = await saver.created(payment_method=by(token), off_session=True, reason="recurring")
    assert (await at_rest(saver, ledger, again)).movements == CAPTURED


async def test_what_is_approved_after_a_day_is_charged_once_and_nothing_is_left_of_its_card(
    ended: AllEnded, vault: Vault
) -> None:
    killed, answer, books = await ended[APPROVED, A_DAY_LATE]
    killed.asked.check_done(answer, books)
    assert "token" not in answer.json()["payment_method"]["card"]
    await _is_gone(vault, killed)


@ON_TIME
@pytest.mark.parametrize("point", NOT_SENT)
async def test_what_was_not_sent_moves_nothing_and_nothing_is_left_of_its_card(
    ended: AllEnded, vault: Vault, point: str, number: str
) -> None:
    killed, answer, books = await ended[point, number]
    killed.asked.check_undone(answer, books, code="card_data_lost")
    await _is_gone(vault, killed)


async def test_a_new_key_saves_the_card_that_the_killed_one_could_not(
    ended: AllEnded, saver: Shop, ledger: Witness, vault: Vault
) -> None:
    await ended["before_send", IN_TIME]
    paid = await saver.created(**_saves(IN_TIME))
    assert (await at_rest(saver, ledger, paid)).movements == CAPTURED
    assert [state for _, state in await vault.methods(paid)] == ["active"]


async def _is_gone(vault: Vault, killed: Killed) -> None:
    """By the recording, or else by the sweeper, which looks every second."""

    async def gone() -> bool:
        left = await vault.is_kept(killed.record), await vault.methods(killed.asked.payment_id)
        assert left == (None, [])
        return True

    await eventually(gone)

"""One error of every class of Postgres, at every kind of transaction: what is said, and what goes on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from psycopg import Error as DriverError
from psycopg import IntegrityError
from pydantic import SecretStr
from sqlalchemy import text
from structlog.testing import capture_logs

from payonce.accounts import Accounts
from payonce.domain.ids import random_id
from payonce.domain.operations import OperationKind
from payonce.domain.payment import PaymentStatus
from payonce.rights import Rights
from payonce.runtime import Runtime
from payonce.settings import Settings
from payonce.storage import payments
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.database import Database
from payonce.storage.sqlstates import LOCK_NOT_AVAILABLE, TABLE, Meaning, meaning_of
from payonce.storage.webhooks.completions import Completion, complete
from payonce.wakeups import WakeUps
from payonce.webhooks.attempt import Acknowledged, DeliveryAttempt
from tests.storage.ledger import IDS, FakeRedis, Ledger, subject
from tests.storage.on_demand import ALWAYS, OnDemand, on_demand
from tests.storage.serving import Served, code_of, serving
from tests.support import rows
from tests.support.eventually import eventually
from tests.support.rows import approval
from tests.support.sqlstates import of_the_driver
from workers.sweeper import Sweeper
from workers.webhooks.relay import Relay

K, S = OperationKind, PaymentStatus
_keys = count()


def _one_of_each() -> list[str]:
    """Every state that the table names, and of a class that it names one that is as its class."""
    known = sorted(of_the_driver())
    of_class = [
        next(state for state in known if state.startswith(name) and state not in TABLE)
        for name in TABLE
        if len(name) == 2 and any(state not in TABLE for state in known if state.startswith(name))
    ]
    return sorted({*of_class, *(name for name in TABLE if len(name) == 5), LOCK_NOT_AVAILABLE})


EVERY_CLASS = pytest.mark.parametrize("state", _one_of_each())


@pytest.fixture(scope="module")
async def postgres(shared_ledger: Ledger) -> AsyncIterator[OnDemand]:
    async with on_demand(shared_ledger) as opened:
        yield opened


@pytest.fixture(scope="module")
async def served(postgres: OnDemand) -> AsyncIterator[Served]:
    async with serving(postgres.ledger) as opened:
        yield opened


@pytest.fixture(autouse=True)
async def disarmed(postgres: OnDemand) -> None:
    await postgres.disarm()


def test_each_class_is_here() -> None:
    assert {state[:2] for state in _one_of_each()} == {name[:2] for name in TABLE}


@EVERY_CLASS
async def test_a_create_is_answered_by_who_held_the_key_and_its_retry_charges_once(
    postgres: OnDemand, served: Served, state: str
) -> None:
    """504 where the key could not be taken, 409 where somebody held it, 503 where it was held and rolled back."""
    key, before = f"create-{next(_keys)}", len(served.bank.movements)
    ours = meaning_of(state) is Meaning.OURS
    not_taken = (409, "idempotency_key_in_use") if state == LOCK_NOT_AVAILABLE else (504, "outcome_unknown")
    for place, said in (("key", not_taken), ("payment", (503, "unavailable"))):
        await postgres.arm(place, "raise", state)
        with capture_logs() as logs:
            response = await served.create(key)
        assert await postgres.passed() == 1
        assert code_of(response) == ((500, "internal_error") if ours else said)
        assert ("request_failed" in {line["event"] for line in logs}) is ours
        assert ("retry-after" in response.headers) is not ours
    assert (await served.create(key)).status_code == 201
    assert len(served.bank.movements) == before + 1


@EVERY_CLASS
async def test_a_read_is_answered_and_answers_again(postgres: OnDemand, served: Served, state: str) -> None:
    paid = await postgres.ledger.add_payment(S.CAPTURED)
    await postgres.arm("read", "raise", state)
    response = await served.payment(paid.id)
    ours = meaning_of(state) is Meaning.OURS
    assert code_of(response) == ((500, "internal_error") if ours else (503, "unavailable"))
    await postgres.disarm()
    assert (await served.payment(paid.id)).status_code == 200


@EVERY_CLASS
async def test_a_fact_is_recorded_again_and_once(postgres: OnDemand, state: str) -> None:
    """What passes is retried; what somebody must mend is raised, and recorded once that is done."""
    ledger = postgres.ledger
    of = await ledger.add_operation(await ledger.add_payment(S.CAPTURED), K.REFUND)
    await postgres.arm("facts", "raise", state, times=2)
    recording = asyncio.create_task(ledger.recorder().record(subject(of), attempt=1, fact=approval(of)))
    if meaning_of(state) is Meaning.OURS:
        with pytest.raises(DriverError):
            await recording
        await postgres.disarm()
        await ledger.recorder().record(subject(of), attempt=1, fact=approval(of))
    else:
        await recording
        assert await postgres.passed() == 3
    assert [type_ for _, type_ in await ledger.events(of.payment_id)] == [
        "refund.succeeded",
        "payment.refunded",
    ]
    assert (await ledger.stored_key(of)).answer(datetime.now(UTC)) is not None


class FakeTemporal:
    """Remembers what was started."""

    def __init__(self) -> None:
        self.started: list[str] = []

    async def start_workflow(self, *_args: Any, id: str, **_options: Any) -> None:  # its name
        self.started.append(id)

    async def list_workflows(self, *_args: Any, **_options: Any) -> AsyncIterator[Any]:
        for execution in ():
            yield execution


@EVERY_CLASS
async def test_the_sweeper_goes_on(postgres: OnDemand, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.sweeper.OPERATIONS_EVERY_S", 0.02)
    ledger, temporal = postgres.ledger, FakeTemporal()
    client: Any = temporal
    paid = await ledger.add_payment(S.CAPTURED)
    await postgres.arm("sweep", "raise", state, times=2)
    due = await ledger.add_operation(paid, K.REFUND, claimed=False, sweep_in_s=-1.0)
    stop = asyncio.Event()
    with capture_logs() as logs:
        sweeping = asyncio.create_task(Sweeper(_runtime(ledger), client).run(stop))

        async def started() -> bool:
            assert not sweeping.done(), sweeping
            return due.id in temporal.started

        await eventually(started)
    stop.set()
    await sweeping
    level = "error" if meaning_of(state) is Meaning.OURS else "warning"
    assert level in {line["log_level"] for line in logs}


class ReachesEverybody:
    """Every delivery arrives."""

    async def attempt(self, _lease: Any) -> DeliveryAttempt:
        return DeliveryAttempt(datetime.now(UTC), 1, Acknowledged(204))


@EVERY_CLASS
async def test_the_relay_goes_on(postgres: OnDemand, state: str) -> None:
    ledger = postgres.ledger
    endpoint = await ledger.add_endpoint()
    await _record_a_refund(ledger)
    sender: Any = ReachesEverybody()
    stop = asyncio.Event()
    await postgres.arm("relay", "raise", state, times=3)  # the last two while attempts are recorded, too
    with capture_logs() as logs:
        relaying = asyncio.create_task(Relay(ledger.database, sender).run(stop, heard=asyncio.Event()))

        async def delivered() -> bool:
            assert not relaying.done(), relaying
            return await _all_delivered(ledger, endpoint.id)

        await eventually(delivered)
    stop.set()
    await relaying
    await ledger.rows("UPDATE webhook_endpoints SET enabled = false")
    level = "error" if meaning_of(state) is Meaning.OURS else "warning"
    assert level in {line["log_level"] for line in logs}


async def test_an_attempt_that_cannot_be_recorded_holds_up_no_other(
    postgres: OnDemand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is forgotten after a while, as a restart would forget it, and made again when its lease ends."""
    monkeypatch.setattr("workers.webhooks.relay.BACK_OFF_S", (0.01,))
    ledger, sender, stop = postgres.ledger, ReachesEverybody(), asyncio.Event()
    played: Any = sender
    cannot_be_recorded = await ledger.add_endpoint()

    async def complete_others(connection: Connection, ended: list[Completion], **how: Any) -> Any:
        if any(one.endpoint_id == cannot_be_recorded.id for one in ended):
            raise IntegrityError
        return await complete(connection, ended, **how)

    monkeypatch.setattr("workers.webhooks.relay.complete", complete_others)
    await _record_a_refund(ledger)
    with capture_logs() as logs:
        relaying = asyncio.create_task(Relay(ledger.database, played).run(stop, heard=asyncio.Event()))

        async def forgotten() -> bool:
            return "webhook_attempts_forgotten" in {line["event"] for line in logs}

        await eventually(forgotten)
        await ledger.rows("UPDATE webhook_endpoints SET enabled = false")
        other = await ledger.add_endpoint()
        await _record_a_refund(ledger)
        await eventually(lambda: _all_delivered(ledger, other.id))
    stop.set()
    await relaying
    await ledger.rows("UPDATE webhook_endpoints SET enabled = false")


async def _record_a_refund(ledger: Ledger) -> None:
    of = await ledger.add_operation(await ledger.add_payment(S.CAPTURED), K.REFUND)
    await ledger.recorder().record(subject(of), attempt=1, fact=approval(of))


async def _all_delivered(ledger: Ledger, endpoint_id: str) -> bool:
    query = "SELECT status FROM webhook_deliveries WHERE endpoint_id = :id"
    return {row.status for row in await ledger.rows(query, id=endpoint_id)} == {"succeeded"}


@EVERY_CLASS
async def test_the_connection_is_kept_or_all_are_opened_anew(postgres: OnDemand, state: str) -> None:
    async with _small(postgres.ledger.url) as database:
        before = await _backends(database)
        await postgres.arm("payment", "raise", state, times=ALWAYS)
        with pytest.raises(Exception, match=r".*"):
            await _insert_a_payment(database)
        await postgres.disarm()
        after = await _backends(database)
    if meaning_of(state) is Meaning.ELSEWHERE:
        assert not before & after
    else:
        assert before == after


def _runtime(ledger: Ledger) -> Runtime:
    """Without connector accounts."""
    settings = Settings(
        database_url=ledger.url,
        redis_url="redis://nowhere",
        temporal_address="nowhere:1",
        derivation_key=SecretStr("d" * 32),
    )
    redis: Any = FakeRedis()
    recorder = ledger.recorder()
    return Runtime(settings, ledger.database, redis, WakeUps(redis), IDS, Rights(), recorder, Accounts())


@asynccontextmanager
async def _small(url: str) -> AsyncIterator[Database]:
    """Two connections that write, and two that read."""
    database = Database(url, pool_size=2)
    try:
        yield database
    finally:
        await database.close()


async def _backends(database: Database) -> set[int]:
    """Of all connections, which rest afterwards."""
    async with (
        database.transaction() as first,
        database.transaction() as second,
        database.reading() as third,
        database.reading() as fourth,
    ):
        return {await _backend(connection) for connection in (first, second, third, fourth)}


async def _backend(connection: Connection) -> int:
    return int((await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one())


async def _insert_a_payment(database: Database) -> None:
    async with database.transaction() as connection:
        await payments.insert_payment(connection, rows.payment(S.INIT, id=random_id("pay")))

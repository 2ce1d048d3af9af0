"""What a COMMIT proves, at one real server whose COMMIT warns, lasts, breaks off or fails."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from payonce.claims import Claimant
from payonce.domain.claiming import COMMIT_ANSWER_S, CommitEnd, commit_end
from payonce.domain.operations import AttemptState, Operation, OperationKind
from payonce.domain.payment import PaymentStatus
from payonce.rights import Right, Rights
from payonce.storage import attempts
from payonce.storage.driver.database import CommitUnknown, Database, StorageUnavailable
from payonce.wakeups import CHANNEL_OUTCOMES
from tests.storage.acting import ACCOUNTS
from tests.storage.ledger import IDS, Ledger, subject
from tests.storage.on_demand import ALWAYS, Action, OnDemand, on_demand
from tests.storage.serving import Served, code_of, serving, write_nothing
from tests.support.eventually import eventually
from tests.support.patience import product_limits
from tests.support.rows import approval

pytestmark = pytest.mark.usefixtures("patient")
K, S, A = OperationKind, PaymentStatus, AttemptState

PROVES_NOTHING = pytest.mark.parametrize(
    ("action", "argument", "holds"),
    [
        pytest.param("warn", "", True, id="warned"),
        pytest.param("sleep", "1.3", True, id="late"),
        pytest.param("terminate", "", False, id="terminated"),
        pytest.param("raise", "23514", False, id="refused"),
        pytest.param("raise", "08006", False, id="lost"),
    ],
)


def test_an_answer_to_commit_proves_something_in_time_unwarned_and_with_the_gate_open() -> None:
    """Also where the process stood still, and found the answer and the end of its patience together."""
    ends = {
        (warned, late, gate_open): commit_end(
            warned=warned, took_s=COMMIT_ANSWER_S + (0.01 if late else -0.01), gate_open=gate_open
        )
        for warned in (False, True)
        for late in (False, True)
        for gate_open in (False, True)
    }
    assert [how for how, end in ends.items() if end.proves] == [(False, False, True)]
    assert ends[False, True, True] is CommitEnd.LATE
    assert ends[False, False, False] is CommitEnd.GATED
    assert not any(end.nothing_holds for end in ends.values())


@pytest.fixture
async def postgres(ledger: Ledger) -> AsyncIterator[OnDemand]:
    async with on_demand(ledger) as opened:
        yield opened


@pytest.fixture
async def served(postgres: OnDemand) -> AsyncIterator[Served]:
    async with serving(postgres.ledger) as opened:
        yield opened


def _in_time(action: Action) -> AbstractContextManager[None]:
    """Where the fault is that COMMIT lasts, it has the product's time and no more."""
    return product_limits("COMMIT_ANSWER_S") if action == "sleep" else nullcontext()


async def _attempts(ledger: Ledger, operation_id: str) -> list[tuple[int, str]]:
    query = "SELECT number, state FROM attempts WHERE operation_id = :id ORDER BY number"
    return [(row.number, row.state) for row in await ledger.rows(query, id=operation_id)]


@PROVES_NOTHING
async def test_a_claim_at_admission_that_is_not_proven_is_given_back_and_the_key_goes_on(
    postgres: OnDemand, served: Served, action: Action, argument: str, *, holds: bool
) -> None:
    """503 and then 201, by attempt N + 1; a claim that never held leaves its number free."""
    await postgres.arm("claim commits", action, argument)
    with _in_time(action):
        assert code_of(await served.create("k")) == (503, "unavailable")
    assert served.bank.movements == []
    payment_id = IDS.payment(merchant_id=postgres.ledger.merchant_id, mode="test", key="k")
    unsent = [(1, A.NOT_SENT)] if holds else []
    assert await _attempts(postgres.ledger, payment_id) == unsent

    await postgres.disarm()
    answer = await served.create("k")
    assert (answer.status_code, answer.json()["id"]) == (201, payment_id)
    number = len(unsent) + 1
    assert served.bank.movements == [f"{payment_id}-{number}"]
    assert await _attempts(postgres.ledger, payment_id) == [*unsent, (number, A.APPROVED)]


@PROVES_NOTHING
async def test_a_further_claim_that_is_not_proven_is_given_back_too(
    postgres: OnDemand, served: Served, action: Action, argument: str, *, holds: bool
) -> None:
    await postgres.arm("claim commits", "warn")
    assert (await served.create("k")).status_code == 503
    await postgres.arm("claim commits", action, argument)
    with _in_time(action):
        assert code_of(await served.create("k")) == (503, "unavailable")
    await postgres.disarm()
    answer = await served.create("k")
    assert answer.status_code == 201
    assert served.bank.movements == [f"{answer.json()['id']}-{3 if holds else 2}"]


@PROVES_NOTHING
async def test_a_runs_claim_that_is_not_proven_is_given_back_and_followed_by_the_next(
    postgres: OnDemand, action: Action, argument: str, *, holds: bool
) -> None:
    ledger = postgres.ledger
    refund = await ledger.add_operation(await ledger.add_payment(S.CAPTURED), K.REFUND, claimed=False)
    await postgres.arm("claim commits", action, argument)
    with _in_time(action):
        right = await _claim(ledger, refund)
    assert isinstance(right, Right)
    number = 2 if holds else 1
    if action == "sleep":  # further ones may be late of themselves
        assert right.attempt >= number
        number = right.attempt
    assert (right.attempt, right.call.reference) == (number, f"{refund.id}-{number}")
    unsent = [(each, A.NOT_SENT) for each in range(1, number)]
    assert await _attempts(ledger, refund.id) == [*unsent, (number, A.CLAIMED)]
    assert (await ledger.latest(refund.id)).token == right.token


async def _claim(ledger: Ledger, of: Operation) -> Any:
    claimant = Claimant(ledger.database, Rights(), ACCOUNTS)
    return await claimant.claim(payment_id=of.payment_id, operation_id=of.id)


@PROVES_NOTHING
async def test_a_fact_that_is_not_proven_is_recorded_again_and_its_answer_told_once(
    postgres: OnDemand, action: Action, argument: str, *, holds: bool
) -> None:
    ledger = postgres.ledger
    refund = await ledger.add_operation(await ledger.add_payment(S.CAPTURED), K.REFUND)
    await postgres.arm("facts commit", action, argument)
    recorder = ledger.recorder()
    with _in_time(action):
        settled = await recorder.record(subject(refund), attempt=1, fact=approval(refund))
    assert settled.answer is not None
    assert await postgres.passed() == (2 if holds else 3)  # it acted at the first of two events
    assert [type_ for _, type_ in await ledger.events(refund.payment_id)] == [
        "refund.succeeded",
        "payment.refunded",
    ]
    assert (await ledger.stored_key(refund)).answer(datetime.now(UTC)) == settled.answer
    await recorder.drain()

    async def told() -> bool:
        return bool(_told(ledger))

    await eventually(told)
    assert _told(ledger) == [refund.id]


def _told(ledger: Ledger) -> list[str]:
    """The operations whose outcome was announced."""
    outcomes = [message for channel, message in ledger.redis.published if channel == CHANNEL_OUTCOMES]
    return [message.partition(" ")[0] for message in outcomes]


@asynccontextmanager
async def _small(url: str, *, pool_size: int) -> AsyncIterator[Database]:
    database = Database(url, pool_size=pool_size)
    try:
        yield database
    finally:
        await database.close()


_COMMITTING = """
    SELECT pid FROM pg_stat_activity
     WHERE datname = current_database() AND state = 'active' AND query = 'COMMIT'
"""


async def _committing(ledger: Ledger) -> set[int]:
    """The backends at which COMMIT is under way."""
    return {row.pid for row in await ledger.rows(_COMMITTING)}


async def _claim_on(database: Database, of: Operation) -> None:
    await Claimant(database, Rights(), ACCOUNTS).claim(payment_id=of.payment_id, operation_id=of.id)


async def test_who_is_cancelled_leaves_a_commit_that_is_under_way_alone(
    postgres: OnDemand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancel request would end the wait for the standby, and commit on this server only."""
    monkeypatch.setattr("payonce.storage.driver.pool.WAIT_S", 0.1)
    ledger = postgres.ledger
    refund = await ledger.add_operation(await ledger.add_payment(S.CAPTURED), K.REFUND, claimed=False)
    await postgres.arm("claim commits", "hold")
    async with _small(ledger.url, pool_size=1) as database:
        request = asyncio.create_task(_claim_on(database, refund))
        backend = await eventually(lambda: _committing(ledger))
        request.cancel()
        await asyncio.wait({request})
        assert await _committing(ledger) == backend
        with pytest.raises(StorageUnavailable):  # it counts against the pool
            await write_nothing(database)
        await database.ping()
        await postgres.disarm()

        async def ended() -> bool:
            return not await _committing(ledger)

        await eventually(ended)
        await eventually(lambda: _serves(database))
    assert await _attempts(ledger, refund.id) == [(1, A.CLAIMED)]  # it committed: no cancel request had come


async def _serves(database: Database) -> bool:
    try:
        await write_nothing(database)
    except StorageUnavailable:
        return False
    return True


async def test_a_process_strands_as_many_backends_as_its_pool_has_and_reads_go_on(
    postgres: OnDemand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("payonce.storage.driver.pool.WAIT_S", 0.1)
    monkeypatch.setattr("payonce.storage.driver.pool.OUT_MAX_S", -1.0)
    ledger = postgres.ledger
    refunds = [
        await ledger.add_operation(await ledger.add_payment(S.CAPTURED), K.REFUND, claimed=False)
        for _ in range(6)
    ]
    await postgres.arm("claim commits", "hold", times=ALWAYS)
    async with _small(ledger.url, pool_size=2) as database:
        requests = [asyncio.create_task(_insert_claim(database, of)) for of in refunds]
        with product_limits("COMMIT_ANSWER_S"):
            ends = await asyncio.gather(*requests, return_exceptions=True)
        stranded = await _committing(ledger)
        assert len(stranded) == 2
        assert [type(end) for end in ends].count(CommitUnknown) == 2
        assert [type(end) for end in ends].count(StorageUnavailable) == 4
        await database.ping()
        assert not database.is_stuck()  # nor is that a fault of the process
        with pytest.raises(StorageUnavailable):
            await write_nothing(database)
        assert await _committing(ledger) == stranded
        await postgres.disarm()


async def _insert_claim(database: Database, of: Operation) -> None:
    async with database.transaction() as connection:
        await attempts.insert_claim(
            connection,
            of,
            number=1,
            connector="c",
            connector_account="account_1",
            owner="boot_1",
            token="run_1",
        )


@pytest.fixture
def short_lock_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of connections opened from now on."""
    monkeypatch.setattr("payonce.storage.driver.database.LOCK_WAIT_MS", 300)


@pytest.fixture
async def hurried(postgres: OnDemand, short_lock_waits: None) -> AsyncIterator[Served]:
    """The API, whose transactions wait for locks for a third of a second."""
    database = Database(postgres.ledger.url, pool_size=5)
    async with serving(postgres.ledger, database=database) as opened:
        yield opened
    await database.close()


async def test_a_key_that_somebody_holds_is_409_while_storage_stalls(
    postgres: OnDemand, hurried: Served
) -> None:
    """It was 503, "not admitted", while the first request was charged."""
    await postgres.arm("key held", "hold")
    first = asyncio.create_task(hurried.create("k"))

    async def stalls() -> bool:
        query = (
            "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
        )
        return bool(await postgres.ledger.rows(query))

    await eventually(stalls)
    again = await hurried.create("k")
    assert code_of(again) == (409, "idempotency_key_in_use")
    assert not first.done()
    assert int(again.headers["retry-after"]) >= 1
    await postgres.disarm()
    assert (await first).status_code == 201
    assert len(hurried.bank.movements) == 1


async def test_a_payment_that_somebody_holds_is_503_after_the_requests_own_key(
    postgres: OnDemand, hurried: Served
) -> None:
    """Its own INSERT of the key was rolled back: this request is never charged for."""
    ledger = postgres.ledger
    paid = await ledger.add_payment(S.CAPTURED, connector_account="account_1")
    async with ledger.database.transaction() as holding:
        await holding.execute(text("SELECT 1 FROM payments WHERE id = :id FOR UPDATE"), {"id": paid.id})
        assert code_of(await hurried.refund(paid.id, "r", amount=1)) == (503, "unavailable")
    assert await ledger.count("idempotency_keys") == 0
    assert (await hurried.refund(paid.id, "r", amount=1)).status_code == 201
    assert hurried.bank.movements == [f"{(await _refund_id(ledger))}-1"]


async def _refund_id(ledger: Ledger) -> str:
    return str((await ledger.rows("SELECT id FROM operations WHERE kind = 'refund'"))[0].id)


async def test_a_key_that_cannot_be_read_is_504_and_never_429(postgres: OnDemand, served: Served) -> None:
    """Clients read 429 as "nothing happened", and go on with another key."""
    await postgres.arm("key", "raise", "53100", times=ALWAYS)
    for _ in range(3):
        response = await served.create("k")
        assert code_of(response) == (504, "outcome_unknown")
        assert int(response.headers["retry-after"]) >= 1
    await postgres.disarm()
    assert (await served.create("k")).status_code == 201
    assert json.loads((await served.create("k")).content)["status"] == "captured"

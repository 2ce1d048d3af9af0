"""An attempt is found by our reference, whether it stands in its row or is left out, and no other text finds one."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Text, literal, select

from bench.plans import explained, nodes, statements
from payonce.domain.ids import attempt_named, attempt_reference, random_id
from payonce.domain.operations import Attempt, AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.domain.reconciling import ComparisonResult, ListFinding
from payonce.storage import attempts, callbacks, missing, oversight, reconciliation, unpacking
from payonce.storage.driver.database import Database
from payonce.storage.reconciliation_runs import Run
from payonce.storage.references import attempt_has
from payonce.storage.tables import attempts as table
from tests.storage.ledger import Ledger

K, S = OperationKind, PaymentStatus
ACCOUNT, CONNECTOR = "account_1", "sandbox_card"  # on the rows of `Ledger`
NOW = datetime.now(UTC)
MANY = 3_000
NO_REFERENCES = (
    *("", "-", "-1", "--1", "{id}", "{id}-", "{id}1", "{id}_1", "{id}-0", "{id}-01", "{id}-+1", "{id}--1"),
    *("{id}-1-1", "{id}-1 ", " {id}-1", "{id}-1\n", "\n{id}-1", "{id}-1.0", "{id}-1e0", "{id}-0x1"),
    *("{id}-32768", "{id}-65537", "{id}-99999", "{id}-4294967297", "{id}-" + "1" * 5_000),
    *("{id}-١", "{id}-１", "{id}-¹", "{id}‐1", "{ID}-1", "%-1", ".*-1", "x" * 5_000 + "-1"),
)
NO_TEXTS = ("{id}-1\0", "\0{id}-1", "\ud800-1")  # that Postgres could hold


@dataclass
class Tried:
    """An authorization and a refund that succeeded, with an attempt each, and what is to undo the first."""

    create: Operation
    refund: Operation
    release: Operation

    @property
    def references(self) -> list[str]:
        return [attempt_reference(one.id, 1) for one in (self.create, self.refund)]


@pytest.fixture(scope="module", params=[True, False], ids=["packed", "as they are"])
async def written(request: pytest.FixtureRequest, shared_ledger: Ledger) -> AsyncIterator[Tried]:
    """By a process that packs, or by one that does not; `shared_ledger` reads."""
    database = Database(shared_ledger.url, pool_size=2, packs=request.param)
    tried = await _tried(replace(shared_ledger, database=database))
    for reference in tried.references:
        (row,) = await shared_ledger.rows(_STORED, id=attempts_key(reference)[0])
        assert row.reference == (None if request.param else reference)
        of_create = attempts_key(reference)[0] == tried.create.id
        assert row.payment_id == (None if request.param and of_create else tried.create.id)
    yield tried
    await database.close()


_STORED = "SELECT reference, payment_id FROM attempts WHERE operation_id = :id"


async def _tried(ledger: Ledger) -> Tried:
    paid = await ledger.add_payment(S.CAPTURED)
    done = {"status": OperationStatus.SUCCEEDED, "updated_at": NOW - timedelta(minutes=1)}
    create = await ledger.add_operation(paid, K.AUTHORIZE, state=AttemptState.APPROVED, **done)
    refund = await ledger.add_operation(
        paid, K.REFUND, state=AttemptState.APPROVED, amount_minor=1, connector_reference="x", **done
    )
    target = attempt_reference(create.id, 1)
    release = await ledger.add_operation(paid, K.REVERSE, claimed=False, target_reference=target)
    return Tried(create, refund, release)


def attempts_key(reference: str) -> tuple[str, int]:
    named = attempt_named(reference)
    assert named is not None
    return named


def none_of(tried: Tried) -> list[str]:
    """Texts that no attempt has, however much they look like a reference."""
    return [
        text.replace("{id}", tried.create.id).replace("{ID}", tried.create.id.upper())
        for text in NO_REFERENCES
    ]


async def test_it_is_found_with_all_that_it_is(shared_ledger: Ledger, written: Tried) -> None:
    for of, reference in zip((written.create, written.refund), written.references, strict=True):
        async with shared_ledger.database.transaction() as connection:
            found = await attempts.find_by_reference(connection, reference)
        assert found == await shared_ledger.latest(of.id)
        assert found is not None
        assert (found.reference, found.payment_id) == (reference, written.create.id)


async def test_no_other_text_finds_one_or_fails(shared_ledger: Ledger, written: Tried) -> None:
    texts = none_of(written)
    async with shared_ledger.database.transaction() as connection:
        for text in [*texts, *(each.replace("{id}", written.create.id) for each in NO_TEXTS)]:
            assert await attempts.find_by_reference(connection, text) is None
        assert await reconciliation.known(connection, texts) == {}
        for text in texts:
            query = select(table.c.number).where(attempt_has(literal(text, Text)))
            assert (await connection.execute(query)).all() == []


async def test_a_page_of_references_is_known_in_three_reads(shared_ledger: Ledger, written: Tried) -> None:
    given = [*written.references, *written.references, *none_of(written)]
    async with shared_ledger.database.transaction() as connection:
        with statements() as executed:
            known = await reconciliation.known(connection, given)
    assert len(executed) == 3
    assert sorted(known) == sorted(written.references)
    for reference, ours in known.items():
        assert (ours.attempt.reference, ours.payment.id) == (reference, written.create.id)
        assert ours.operation.id == ours.attempt.operation_id
    release = known[written.references[0]].release
    assert release is not None
    assert release.id == written.release.id
    assert known[written.references[1]].release is None


async def test_a_person_sees_the_attempt_that_a_case_is_about(shared_ledger: Ledger, written: Tried) -> None:
    of_case = await _about(shared_ledger, written.release)
    assert [one.reference for one in of_case] == written.references[:1]
    assert await _about(shared_ledger, written.create) == of_case
    for text in none_of(written):
        assert await _about(shared_ledger, replace(written.release, target_reference=text)) == []


async def _about(ledger: Ledger, operation: Operation) -> list[Attempt]:
    async with ledger.database.transaction() as connection:
        return await oversight.attempts_about(connection, operation)


async def test_what_is_in_no_list_is_missed_by_its_reference_and_payment(
    shared_ledger: Ledger, written: Tried
) -> None:
    await _list(shared_ledger, written.references[1])
    first, second = _run(), _run()
    async with shared_ledger.database.transaction() as connection:
        await missing.miss(connection, first, now=NOW)
        assert await missing.miss(connection, first, now=NOW) == 0  # what is noted is noted once
        missed = await missing.twice_missed(connection, second)
    create, refund = written.references
    found = {one.reference: one.subject for one in missed}
    assert refund not in found
    assert (found[create].payment_id, found[create].operation_id) == (written.create.id, written.create.id)


async def test_an_orphan_is_settled_by_the_operation_that_has_its_reference(
    shared_ledger: Ledger, written: Tried
) -> None:
    orphans = {
        text: await _orphan(shared_ledger, text) for text in [written.references[1], *none_of(written)]
    }
    async with shared_ledger.database.transaction() as connection:
        await reconciliation.attached(connection, ACCOUNT, now=NOW)
    for text, finding_id in orphans.items():
        query = "SELECT settled_by FROM reconciliations WHERE id = :id"
        (row,) = await shared_ledger.rows(query, id=finding_id)
        assert row.settled_by == (written.refund.id if text == written.references[1] else None)


async def test_what_nobody_knew_when_it_was_told_is_found_once_it_is_there(
    shared_ledger: Ledger, written: Tried
) -> None:
    given = [*written.references, *none_of(written)]
    for text in given:
        await _unknown(shared_ledger, text)
    async with shared_ledger.database.transaction() as connection:
        found = await callbacks.known_by_now(connection, ACCOUNT, identity=None, limit=100)
    assert {one.reference for one in found} & set(given) == set(written.references)


async def test_the_way_back_writes_what_was_left_out_wherever_it_broke_off(ledger: Ledger) -> None:
    packing = Database(ledger.url, pool_size=2, packs=True)
    tried = [
        await _tried(replace(ledger, database=database)) for database in (packing, ledger.database, packing)
    ]
    await packing.close()
    query = "SELECT * FROM attempts ORDER BY operation_id, number"
    before = await ledger.rows(query)
    first = await _unpacked(ledger, unpacking.FIRST_ATTEMPT)
    for _ in range(2):  # the second finds nothing to do
        after: Any = first
        while after is not None:
            after = await _unpacked(ledger, after)
    await _unpacked(ledger, unpacking.FIRST_ATTEMPT)
    rows = await ledger.rows(query)
    assert [row._asdict() for row in rows] == [
        {
            **row._asdict(),
            "reference": attempt_reference(row.operation_id, row.number),
            "payment_id": row.payment_id or row.operation_id,
        }
        for row in before
    ]
    assert sorted(row.reference for row in rows) == sorted(one for each in tried for one in each.references)
    assert {row.payment_id for row in rows} == {each.create.payment_id for each in tried}


async def _unpacked(ledger: Ledger, after: tuple[str, int]) -> tuple[str, int] | None:
    async with ledger.database.transaction() as connection:
        return await unpacking.unpack_attempts(connection, after=after, limit=2)


@pytest.fixture
async def full(ledger: Ledger) -> Tried:
    """Thousands of payments, of some of which the acquirer spoke before they were there."""
    tried = await _tried(ledger)
    for statement in _COPIES:
        await ledger.rows(statement, count=MANY, id=tried.create.id)
    for number in range(20):
        await _unknown(ledger, attempt_reference(f"{tried.create.id}_{number}", 1))
        await _orphan(ledger, attempt_reference(f"{tried.create.id}_{number}", 1))
    await ledger.rows("ANALYZE")
    return tried


_COPIES = (
    """
    INSERT INTO payments SELECT copy.* FROM payments AS one, generate_series(1, :count) AS place,
        jsonb_populate_record(one, jsonb_build_object(
            'id', one.id || '_' || place, 'idempotency_key', one.id || place)) AS copy WHERE one.id = :id
    """,
    """
    INSERT INTO operations SELECT copy.* FROM operations AS one, generate_series(1, :count) AS place,
        jsonb_populate_record(one, jsonb_build_object(
            'id', one.id || '_' || place, 'payment_id', one.id || '_' || place)) AS copy WHERE one.id = :id
    """,
    """
    INSERT INTO attempts SELECT copy.* FROM attempts AS one, generate_series(1, :count) AS place,
        jsonb_populate_record(one, jsonb_build_object(
            'operation_id', operation_id || '_' || place, 'payment_id', operation_id || '_' || place,
            'reference', NULL)) AS copy WHERE one.operation_id = :id
    """,
    """
    INSERT INTO acquirer_objects (account, acquirer_id, kind, charge_id, reference, currency, amount_minor,
                                  net_minor, held_minor, created_at, seen_at)
    SELECT connector_account, operation_id, 'authorize', operation_id, operation_id || '-1', 'INR', 1, 1, 0, now(),
           now() FROM attempts WHERE operation_id LIKE :id || '%' AND :count > 0
    """,
)


async def test_among_thousands_each_is_found_by_the_attempts_key(ledger: Ledger, full: Tried) -> None:
    """Without an index on `reference`, which is gone with migration 0050."""
    references = [attempt_reference(f"{full.create.id}_{number}", 1) for number in range(1, 101)]
    async with ledger.database.transaction() as connection:
        with statements() as executed:
            assert len(await reconciliation.known(connection, references)) == len(references)
            assert await oversight.attempts_about(connection, full.release)
            found = await callbacks.known_by_now(connection, ACCOUNT, identity=None, limit=100)
            await reconciliation.attached(connection, ACCOUNT, now=NOW)
    assert len(found) == 19
    asked = [one for one in executed if "attempts" in one[0]]
    assert len(asked) == 4
    for statement, plan in await explained(ledger.url.replace("+psycopg", ""), asked):
        read = [node for node in nodes(plan) if node.get("Relation Name") == "attempts"]
        by_index = [node for node in nodes(plan) if "Index Name" in node]
        assert "Seq Scan" not in {node["Node Type"] for node in read}, statement
        assert "attempts_pkey" in {node["Index Name"] for node in by_index}, statement
        assert sum(node["Actual Rows"] * node["Actual Loops"] for node in read) <= len(references), statement


async def _list(ledger: Ledger, reference: str, acquirer_id: str | None = None) -> str:
    """The id of an object with it in the acquirer's list."""
    seen = reconciliation.SeenObject(
        account=ACCOUNT,
        acquirer_id=acquirer_id or random_id("obj"),
        kind="authorize",
        charge_id="ch",
        reference=reference,
        payment_id=None,
        currency="INR",
        amount_minor=1000,
        net_minor=1000,
        held_minor=0,
        result=None,
        created_at=NOW,
        seen_at=NOW,
    )
    async with ledger.database.transaction() as connection:
        await reconciliation.saw(connection, [seen])
    return seen.acquirer_id


async def _orphan(ledger: Ledger, reference: str) -> str:
    """The finding's id."""
    finding = ListFinding(
        id=random_id("rec"),
        merchant_id=None,
        mode="test",
        account=ACCOUNT,
        run="run_1",
        result=ComparisonResult.ORPHAN,
        payment_id=None,
        operation_id=None,
        amount_here_minor=None,
        amount_there_minor=1000,
        currency="INR",
        acquirer_reference=await _list(ledger, reference),
        created_at=NOW,
    )
    async with ledger.database.transaction() as connection:
        assert await reconciliation.add(connection, [finding])
    return finding.id


async def _unknown(ledger: Ledger, reference: str) -> None:
    await ledger.rows(
        "INSERT INTO callbacks (connector, connector_account, event_id, reference, received_at, sweep_at, unknown_at,"
        " handled_at) VALUES (:connector, :account, :event, :reference, now(), now(), now(), now())",
        connector=CONNECTOR,
        account=ACCOUNT,
        event=random_id("cb"),
        reference=reference,
    )


def _run() -> Run:
    hour = timedelta(hours=1)
    times = {"since": NOW - hour, "until": NOW + hour, "started_at": NOW}
    return Run(id=random_id("run"), account=ACCOUNT, mode="test", **times)

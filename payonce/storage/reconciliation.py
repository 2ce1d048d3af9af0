"""Reconciliation: what was seen in lists, and what was found (`reconciliation_runs`: how far they are read)."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, any_, case, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import distinct_on, insert

from payonce.domain.ids import attempt_named
from payonce.domain.operations import (
    AttemptState,
    OperationKind,
    OperationStatus,
    Origin,
    late_capture_refunded,
)
from payonce.domain.reconciling import ComparisonResult, ListFinding, Ours
from payonce.storage.attempts import COLUMNS as ATTEMPT_COLUMNS
from payonce.storage.attempts import attempt_from
from payonce.storage.driver.connection import Connection
from payonce.storage.merging import texts
from payonce.storage.payments import (
    OPERATION_COLUMNS,
    PAYMENT_COLUMNS,
    beside_create,
    of_payment,
    operation_from,
    payment_from,
)
from payonce.storage.reconciliation_runs import Run
from payonce.storage.references import among, attempt_has
from payonce.storage.tables import (
    acquirer_objects,
    attempts,
    operations,
    payments,
    reconciliations,
    reviews,
)

LISTED_MAX: Final = 1_000
BY_ACQUIRER: Final = "acquirer"  # settled a double charge, where no operation of ours did
_DIFFERING = (
    *(ComparisonResult.AMOUNT, ComparisonResult.RELEASED_THERE),
    *(ComparisonResult.MISSING_THERE, ComparisonResult.CHARGED_THERE),
)
_LIVE = or_(acquirer_objects.c.net_minor > 0, acquirer_objects.c.held_minor > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenObject:
    """One of the acquirer's objects, as it was listed last."""

    account: str
    acquirer_id: str
    kind: str
    charge_id: str
    reference: str | None
    payment_id: str | None
    currency: str
    amount_minor: int
    net_minor: int
    held_minor: int
    result: str | None
    created_at: datetime
    seen_at: datetime


# Rows are given with `execute`, which sends them in one statement: with `values` it would be compiled for each page.
_ADDED: Final = insert(reconciliations).on_conflict_do_nothing().returning(reconciliations.c.id)
_INSERTED: Final = insert(acquirer_objects)
_SAW: Final = _INSERTED.on_conflict_do_update(
    index_elements=[acquirer_objects.c.account, acquirer_objects.c.acquirer_id],
    set_={
        name: _INSERTED.excluded[name]
        for name in (
            "reference",
            "payment_id",
            "amount_minor",
            "net_minor",
            "held_minor",
            "result",
            "seen_at",
        )
    },
).returning(acquirer_objects.c.acquirer_id)


FINDING_COLUMNS = tuple(reconciliations.c[name] for name in ListFinding.__dataclass_fields__)


def finding_from(row: Mapping[str, Any]) -> ListFinding:
    values = {name: row[name] for name in ListFinding.__dataclass_fields__}
    return ListFinding(**{**values, "result": ComparisonResult(row["result"])})


async def known(connection: Connection, references: Collection[str]) -> dict[str, Ours]:
    """What we know of the attempts with these references, by reference. Three reads, however many they are."""
    named = [one for one in map(attempt_named, references) if one is not None]
    if not named:
        return {}
    rows = (await connection.execute(among(select(*ATTEMPT_COLUMNS), named))).mappings()
    found = [attempt_from(dict(row)) for row in rows]
    paid_ids = {attempt.payment_id for attempt in found}
    done = [
        operation_from(row)
        for row in (
            await connection.execute(
                select(*OPERATION_COLUMNS).where(of_payment(any_(texts(sorted(paid_ids)))))
            )
        ).mappings()
    ]
    rows = (await connection.execute(select(*PAYMENT_COLUMNS).where(payments.c.id.in_(paid_ids)))).mappings()
    paid = {row["id"]: payment_from(row) for row in rows}
    by_id = {operation.id: operation for operation in done}
    releases = {one.target_reference: one for one in done if one.kind is OperationKind.REVERSE}
    besides = Counter[str]()
    for one in filter(late_capture_refunded, done):
        besides[one.payment_id] += one.amount_minor
    return {
        attempt.reference: Ours(
            paid[attempt.payment_id],
            by_id[attempt.operation_id],
            attempt,
            releases.get(attempt.reference),
            besides[attempt.payment_id],
        )
        for attempt in found
    }


async def claimed_since(connection: Connection, account: str, moment: datetime) -> bool:
    """Whether an attempt at the account was claimed then or later. Counted, so that only that time is read."""
    query = select(func.count()).where(
        attempts.c.connector_account == account, attempts.c.claimed_at >= moment
    )
    return bool((await connection.execute(query)).scalar_one())


async def existing_payments(connection: Connection, ids: Collection[str]) -> dict[str, tuple[str, str]]:
    """Merchant and mode of those of these payments that there are, by id."""
    if not ids:
        return {}
    query = select(payments.c.id, payments.c.merchant_id, payments.c.mode).where(payments.c.id.in_(ids))
    return {row.id: (row.merchant_id, row.mode) for row in await connection.execute(query)}


async def existing_operations(connection: Connection, ids: Sequence[str]) -> list[str]:
    """Those of these operations that there are, in the order given."""
    if not ids:
        return []
    query = select(operations.c.id).where(operations.c.id.in_(ids))
    there = set((await connection.execute(query)).scalars())
    return [id_ for id_ in ids if id_ in there]


async def saw(connection: Connection, seen: Sequence[SeenObject]) -> None:
    """Each object is kept as it was listed now."""
    if not seen:
        return
    rows = {(one.account, one.acquirer_id): asdict(one) for one in seen}
    await connection.execute(_SAW, list(rows.values()))


async def seen_references(
    connection: Connection, account: str, acquirer_ids: Collection[str]
) -> dict[str, str | None]:
    """The reference that each of these objects bore when it was listed; of those that were."""
    query = select(acquirer_objects.c.acquirer_id, acquirer_objects.c.reference).where(
        acquirer_objects.c.account == account, acquirer_objects.c.acquirer_id.in_(acquirer_ids)
    )
    return {row.acquirer_id: row.reference for row in await connection.execute(query)}


async def mark_standing_together(connection: Connection, payment_ids: Collection[str]) -> None:
    """Charges of these payments that stand beside another are marked, for `charged_twice`.

    In a transaction that begins after what was seen is committed: where two runs see one charge each at the same
    time, one of them sees both here.
    """
    if not payment_ids:
        return
    seen = acquirer_objects
    several = (
        select(seen.c.payment_id)
        .where(_LIVE, seen.c.payment_id.in_(payment_ids))
        .group_by(seen.c.payment_id)
        .having(func.count() > 1)
    )
    await connection.execute(
        update(seen)
        .where(_LIVE, seen.c.payment_id.in_(several), ~seen.c.stands_with_another)
        .values(stands_with_another=True)
    )


async def add(connection: Connection, findings: Sequence[ListFinding]) -> list[ListFinding]:
    """Those that are new; one that is known stays as it is."""
    if not findings:
        return []
    added = await connection.execute(_ADDED, [asdict(one) for one in findings])
    new = set(added.scalars())
    return [one for one in {one.id: one for one in findings}.values() if one.id in new]


async def settle(connection: Connection, finding_id: str, *, by: str, now: datetime) -> bool:
    """The finding is settled; False where it was before, or is not there."""
    done = await connection.execute(
        update(reconciliations)
        .where(reconciliations.c.id == finding_id, reconciliations.c.settled_at.is_(None))
        .values(settled_at=now, settled_by=by)
        .returning(reconciliations.c.id)
    )
    return done.scalar_one_or_none() is not None


async def agrees(connection: Connection, run: Run, charge_ids: Collection[str], *, now: datetime) -> None:
    """What differed of these charges before is settled by the run in which nothing does any more."""
    await connection.execute(
        update(reconciliations)
        .where(
            reconciliations.c.account == run.account,
            reconciliations.c.acquirer_reference.in_(charge_ids),
            reconciliations.c.result.in_(_DIFFERING),
            reconciliations.c.settled_at.is_(None),
        )
        .values(settled_at=now, settled_by=run.id)
    )


async def attached(connection: Connection, account: str, *, now: datetime) -> None:
    """An orphan is settled by the operation that has found it: it was asked for again under its key."""
    found = (
        select(attempts.c.operation_id)
        .join(
            acquirer_objects,
            and_(
                acquirer_objects.c.account == attempts.c.connector_account,
                attempt_has(acquirer_objects.c.reference),
            ),
        )
        .where(
            acquirer_objects.c.account == account,
            acquirer_objects.c.acquirer_id == reconciliations.c.acquirer_reference,
            attempts.c.state == AttemptState.APPROVED,
        )
        .limit(1)
        .scalar_subquery()
    )
    await connection.execute(
        update(reconciliations)
        .where(
            reconciliations.c.account == account,
            reconciliations.c.result == ComparisonResult.ORPHAN,
            reconciliations.c.settled_at.is_(None),
            found.is_not(None),
        )
        .values(settled_at=now, settled_by=found)
    )


async def shown(connection: Connection, account: str, *, now: datetime) -> None:
    """What an acquirer without a list had told is settled by the operation that shows it: its own, or of the turn."""
    finding = reconciliations
    decided = (
        select(operations.c.id)
        .where(operations.c.id == finding.c.operation_id, operations.c.status != OperationStatus.PENDING)
        .scalar_subquery()
    )
    turn = (
        select(operations.c.id)
        .where(
            beside_create(finding.c.payment_id),
            operations.c.connector_reference == finding.c.acquirer_reference,
            operations.c.origin == Origin.ACQUIRER,
        )
        .limit(1)
        .scalar_subquery()
    )
    by = case((finding.c.result == ComparisonResult.CHARGED_THERE, decided), else_=turn)
    await connection.execute(
        update(finding)
        .where(
            finding.c.account == account,
            finding.c.result.in_((ComparisonResult.CHARGED_THERE, ComparisonResult.AMOUNT)),
            finding.c.result.not_in((ComparisonResult.MATCHED, ComparisonResult.FOREIGN)),  # as its index
            finding.c.settled_at.is_(None),
            by.is_not(None),
        )
        .values(settled_at=now, settled_by=by)
    )


async def reviewed(connection: Connection, *, now: datetime) -> None:
    """What is missing there is settled once nobody has to decide about its payment any more."""
    in_review = exists().where(
        reviews.c.payment_id == reconciliations.c.payment_id, reviews.c.closed_at.is_(None)
    )
    await connection.execute(
        update(reconciliations)
        .where(
            reconciliations.c.result == ComparisonResult.MISSING_THERE,
            reconciliations.c.settled_at.is_(None),
            ~in_review,
        )
        .values(settled_at=now, settled_by="review")
    )


@dataclass(frozen=True, slots=True)
class Twice:
    """A payment of which two charges stand, and how much by the smaller one."""

    payment_id: str
    merchant_id: str
    mode: str
    account: str
    acquirer_id: str
    amount_minor: int
    currency: str


async def charged_twice(connection: Connection, *, before: datetime, patience: datetime) -> list[Twice]:
    """Payments of which two of the acquirers' charges stand at the same time, on whatever accounts.

    Not one that changed here since `before`, which the lists may not have yet, nor a charge that is being undone
    since `patience` or later.
    """
    undoing = exists().where(
        beside_create(acquirer_objects.c.payment_id),
        operations.c.target_reference == acquirer_objects.c.reference,
        operations.c.kind == OperationKind.REVERSE,
        or_(
            and_(operations.c.status == OperationStatus.PENDING, operations.c.created_at >= patience),
            and_(
                operations.c.status == OperationStatus.SUCCEEDED,
                operations.c.updated_at >= acquirer_objects.c.seen_at,
            ),
        ),
    )
    twice = (
        select(acquirer_objects.c.payment_id)
        .where(acquirer_objects.c.stands_with_another, _LIVE, ~undoing)
        .group_by(acquirer_objects.c.payment_id)
        .having(func.count(acquirer_objects.c.acquirer_id.distinct()) > 1)
        .subquery()
    )
    amount = case(
        (acquirer_objects.c.net_minor > 0, acquirer_objects.c.net_minor), else_=acquirer_objects.c.held_minor
    )
    query = (
        select(
            payments.c.id.label("payment_id"),
            payments.c.merchant_id,
            payments.c.mode,
            acquirer_objects.c.account,
            acquirer_objects.c.acquirer_id,
            amount.label("amount_minor"),
            acquirer_objects.c.currency,
        )
        .join(twice, twice.c.payment_id == payments.c.id)
        .join(acquirer_objects, acquirer_objects.c.payment_id == payments.c.id)
        .where(acquirer_objects.c.stands_with_another, _LIVE, ~undoing, payments.c.updated_at < before)
        .order_by(payments.c.id, amount, acquirer_objects.c.created_at.desc())
        .ext(distinct_on(payments.c.id))
        .limit(LISTED_MAX)
    )
    return [Twice(**row) for row in (await connection.execute(query)).mappings()]


async def charged_once(connection: Connection, *, now: datetime) -> None:
    """A double charge of which one charge is left, or none, is settled by what came last to its payment."""
    live = (
        select(func.count(acquirer_objects.c.acquirer_id.distinct()))
        .where(_LIVE, acquirer_objects.c.payment_id == reconciliations.c.payment_id)
        .scalar_subquery()
    )
    last = (
        select(operations.c.id)
        .where(
            beside_create(reconciliations.c.payment_id),
            operations.c.kind.in_((OperationKind.REVERSE, OperationKind.REFUND, OperationKind.VOID)),
        )
        .order_by(operations.c.updated_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    await connection.execute(
        update(reconciliations)
        .where(
            reconciliations.c.result == ComparisonResult.DOUBLE_CHARGE,
            reconciliations.c.settled_at.is_(None),
            live < 2,
        )
        .values(settled_at=now, settled_by=func.coalesce(last, BY_ACQUIRER))
    )


async def stands_again(connection: Connection, cases: Sequence[ListFinding]) -> None:
    """A double charge that a refund had settled, and of which two stand once more, is open: a refund may fail."""
    by_operation = exists().where(operations.c.id == reconciliations.c.settled_by)
    await connection.execute(
        update(reconciliations)
        .where(
            reconciliations.c.id.in_([case.id for case in cases]),
            or_(reconciliations.c.settled_by == BY_ACQUIRER, by_operation),
        )
        .values(settled_at=None, settled_by=None)
    )


async def count_open(connection: Connection) -> dict[ComparisonResult, int]:
    """How many findings of each alarming kind nobody has settled."""
    query = (
        select(reconciliations.c.result, func.count().label("open"))
        .where(
            reconciliations.c.settled_at.is_(None), reconciliations.c.result.not_in(("matched", "foreign"))
        )
        .group_by(reconciliations.c.result)
    )
    found = {
        ComparisonResult(row["result"]): row["open"] for row in (await connection.execute(query)).mappings()
    }
    return {result: found.get(result, 0) for result in ComparisonResult if result.is_alarming}


async def found(
    connection: Connection,
    *,
    result: ComparisonResult | None,
    account: str | None,
    unsettled: bool,
    limit: int,
) -> list[ListFinding]:
    """The newest findings, of all merchants."""
    query = select(*FINDING_COLUMNS).order_by(reconciliations.c.created_at.desc(), reconciliations.c.id)
    if result is not None:
        query = query.where(reconciliations.c.result == result)
    if account is not None:
        query = query.where(reconciliations.c.account == account)
    if unsettled:
        query = query.where(
            reconciliations.c.settled_at.is_(None), reconciliations.c.result.not_in(("matched", "foreign"))
        )
    rows = (await connection.execute(query.limit(min(limit, LISTED_MAX)))).mappings()
    return [finding_from(dict(row)) for row in rows]

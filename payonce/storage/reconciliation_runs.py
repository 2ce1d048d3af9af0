"""How far each acquirer's list was read: the runs of reconciliation, one after the other for an account."""

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from payonce.domain.reconciling import ComparisonResult
from payonce.storage.driver.connection import Connection
from payonce.storage.tables import reconciliation_runs, reconciliations


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One reading of one account's list. Where it was ended by force, it goes on at `following`."""

    id: str
    account: str
    mode: str
    since: datetime
    until: datetime
    started_at: datetime
    following: str | None = None
    pages: int = 0
    charges: int = 0
    left_out: int = 0  # charges, or the rest of a list, that nobody could read: it is not whole
    ended_at: datetime | None = None
    stopped: str | None = None
    allowed_at: datetime | None = None


_RUN = tuple(reconciliation_runs.c[name] for name in Run.__dataclass_fields__)
_WHOLE = and_(
    reconciliation_runs.c.stopped.is_(None),
    or_(reconciliation_runs.c.left_out == 0, reconciliation_runs.c.allowed_at.is_not(None)),
)
_STOPPED = select(reconciliation_runs.c.account).where(
    reconciliation_runs.c.stopped.is_not(None), reconciliation_runs.c.allowed_at.is_(None)
)
_AHEAD = _STOPPED.union(
    select(reconciliations.c.account).where(
        reconciliations.c.settled_at.is_(None),
        reconciliations.c.result == ComparisonResult.ORPHAN,
        reconciliations.c.result.not_in((ComparisonResult.MATCHED, ComparisonResult.FOREIGN)),  # as its index
    )
)


async def open_run(connection: Connection, account: str) -> Run | None:
    """The run of the account that has not ended."""
    query = select(*_RUN).where(reconciliation_runs.c.account == account)
    row = (
        (await connection.execute(query.where(reconciliation_runs.c.ended_at.is_(None))))
        .mappings()
        .one_or_none()
    )
    return None if row is None else Run(**row)


async def last_run(connection: Connection, account: str, *, whole: bool) -> Run | None:
    """The latest run of the account that has ended; `whole`: that came to its end."""
    query = select(*_RUN).where(
        reconciliation_runs.c.account == account, reconciliation_runs.c.ended_at.is_not(None)
    )
    if whole:
        query = query.where(_WHOLE)
    row = (
        (await connection.execute(query.order_by(reconciliation_runs.c.started_at.desc()).limit(1)))
        .mappings()
        .one_or_none()
    )
    return None if row is None else Run(**row)


async def begin(connection: Connection, run: Run) -> bool:
    """The run is there; False where another one of the account has not ended."""
    added = await connection.execute(
        insert(reconciliation_runs)
        .values(asdict(run))
        .on_conflict_do_nothing()
        .returning(reconciliation_runs.c.id)
    )
    return added.scalar_one_or_none() is not None


async def turn_page(
    connection: Connection, run: Run, *, following: str | None, charges: int, left_out: int = 0
) -> bool:
    """The page is read; False where somebody else has read it or stopped the run meanwhile, or it has ended."""
    done = await connection.execute(
        update(reconciliation_runs)
        .where(
            reconciliation_runs.c.id == run.id,
            reconciliation_runs.c.pages == run.pages,
            reconciliation_runs.c.stopped.is_not_distinct_from(run.stopped),
            reconciliation_runs.c.ended_at.is_(None),
        )
        .values(
            following=following,
            pages=run.pages + 1,
            charges=run.charges + charges,
            left_out=run.left_out + left_out,
        )
        .returning(reconciliation_runs.c.id)
    )
    return done.scalar_one_or_none() is not None


async def stop(connection: Connection, run_id: str, *, why: str) -> None:
    """Nothing is compared any more in the run, which reads on, nor in another one until that is allowed."""
    await connection.execute(
        update(reconciliation_runs)
        .where(reconciliation_runs.c.id == run_id, reconciliation_runs.c.ended_at.is_(None))
        .values(stopped=why)
    )


async def end(connection: Connection, run_id: str, *, now: datetime) -> None:
    await connection.execute(
        update(reconciliation_runs)
        .where(reconciliation_runs.c.id == run_id, reconciliation_runs.c.ended_at.is_(None))
        .values(ended_at=now)
    )


async def give_up(connection: Connection, run: Run, *, now: datetime) -> None:
    """The run has ended, and the rest of its list was left out."""
    await connection.execute(
        update(reconciliation_runs)
        .where(reconciliation_runs.c.id == run.id, reconciliation_runs.c.ended_at.is_(None))
        .values(ended_at=now, left_out=reconciliation_runs.c.left_out + 1)
    )


async def allow(connection: Connection, account: str, *, now: datetime) -> bool:
    """The account is compared again although its last run was stopped, or onwards from it although it left something
    out; False where it did neither.
    """
    last = await last_run(connection, account, whole=False)
    if last is None or last.allowed_at is not None or (last.stopped is None and not last.left_out):
        return False
    await connection.execute(
        update(reconciliation_runs).where(reconciliation_runs.c.id == last.id).values(allowed_at=now)
    )
    return True


async def allowed_until(connection: Connection, account: str) -> datetime | None:
    """Up to when a person has seen the account's orphans, and said that it may be compared all the same."""
    query = select(func.max(reconciliation_runs.c.until)).where(
        reconciliation_runs.c.account == account,
        reconciliation_runs.c.stopped.is_not(None),
        reconciliation_runs.c.allowed_at.is_not(None),
    )
    found: datetime | None = (await connection.execute(query)).scalar_one()
    return found


async def last_ends(connection: Connection) -> dict[str, datetime]:
    """When each account was last read to the end."""
    query = (
        select(reconciliation_runs.c.account, func.max(reconciliation_runs.c.ended_at).label("ended_at"))
        .where(reconciliation_runs.c.ended_at.is_not(None), _WHOLE)
        .group_by(reconciliation_runs.c.account)
    )
    return {row["account"]: row["ended_at"] for row in (await connection.execute(query)).mappings()}


async def stopped(connection: Connection) -> set[str]:
    """The accounts whose last run was stopped, and which nobody has allowed to be read again."""
    return set((await connection.execute(_STOPPED)).scalars())


async def ahead(connection: Connection) -> frozenset[str]:
    """The accounts whose acquirers have charges of ours that are not known here, and that nobody has settled."""
    return frozenset((await connection.execute(_AHEAD)).scalars())


async def runs(connection: Connection, *, limit: int) -> list[Run]:
    """The newest runs."""
    query = select(*_RUN).order_by(reconciliation_runs.c.started_at.desc()).limit(limit)
    return [Run(**row) for row in (await connection.execute(query)).mappings()]

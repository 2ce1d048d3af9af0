"""The worker that never sends: it reads, inquires by reference, marks, reverses, records; and the sweeper."""

from collections.abc import Iterator

from payonce.domain.claiming import CommitEnd
from payonce.domain.operations import AttemptState, OperationStatus
from tests.explorer import acquirer
from tests.explorer.database import Step, begin
from tests.explorer.requests import NOT_SENT, PENDING, record
from tests.explorer.rules import Rules, begun_reversal
from tests.explorer.world import INQUIRER, Commit, Inquirer, Rows, World

APPROVED = AttemptState.APPROVED.value
SUCCEEDED = OperationStatus.SUCCEEDED.value
IDLE = Inquirer()


def sweeper_steps(world: World, rules: Rules) -> Iterator[Step]:
    """An operation that is pending has a run, whatever Temporal says of an earlier one; not if it was given back."""
    rows = world.primary
    if world.run not in rules.sweeper_restarts or rows is None or rows.status != PENDING:
        return
    latest = rows.latest
    if latest.state != NOT_SENT and not rules.owner_may_send(latest, world.claims[latest.token].age):
        yield "sweeper starts a run", world._replace(run="active")


def inquirer_steps(
    world: World, rules: Rules, *, process: int, reverses: bool, runs_claim: bool
) -> Iterator[Step]:
    """What the worker may do next."""
    inquirer = world.inquirer
    match inquirer.stage:
        case "idle":
            yield from _look(world, rules, runs_claim=runs_claim)
        case "read":
            yield from _inquire(world, rules, inquirer, process=process, reverses=reverses)
        case "found":
            yield from _record(world, rules, inquirer, process=process)
        case "marking":
            yield from _mark(world, rules, inquirer, process=process)
        case "marked":
            yield "worker: reverses", _reverse(world, inquirer)
        case _:
            assert inquirer.stage == "committing"


def _look(world: World, rules: Rules, *, runs_claim: bool) -> Iterator[Step]:
    """A run reads the operation's latest attempt. A read proves nothing; the sweeper knows that."""
    rows = world.primary
    if rows is not None and (undecided := _unreconciled(world, rows)):
        fact = Inquirer("found", undecided, rows.attempts[undecided - 1].token, fact="approved")
        yield "reconciliation finds a charge", world._replace(inquirer=fact)
    if rows is not None and rows.late:
        stage = "marking" if rules.late_needs_proof else "marked"
        late = Inquirer(stage, rows.late, rows.attempts[rows.late - 1].token, fact="late")
        yield "worker: takes up the late success", world._replace(inquirer=late)
    if world.run != "active":
        return
    if rows is None:
        yield "worker: finds no rows", world._replace(run="failed")
    elif rows.status != PENDING:
        yield "worker: finds an outcome", world._replace(run="completed")
    elif rows.latest.state == NOT_SENT:
        if not runs_claim:
            yield "worker: finds that nothing was sent", world._replace(run="failed")
        elif world.actors[-1].state == "new":
            yield "run: goes on with a further attempt", world.actor(len(world.actors) - 1, state="arrived")
    else:
        latest, age = rows.latest, world.claims[rows.latest.token].age
        if not rules.owner_may_send(latest, age):
            final = rules.not_found_proves(latest, age)
            read = Inquirer("read", len(rows.attempts), latest.token, final)
            if latest.state == AttemptState.REVERSING.value:
                read = read._replace(stage="marking" if rules.marks_again else "marked")
            yield f"worker: reads claim {latest.token + 1}", world._replace(inquirer=read)


def _unreconciled(world: World, rows: Rows) -> int:
    """The attempt that was charged although its operation ended otherwise; a rule 9 stop can make one."""
    if rows.status == PENDING or rows.late:
        return 0
    for number, row in enumerate(rows.attempts, start=1):
        if world.acquirer[number - 1].live and row.state != APPROVED:
            return number
    return 0


def _inquire(
    world: World, rules: Rules, inquirer: Inquirer, *, process: int, reverses: bool
) -> Iterator[Step]:
    found = acquirer.inquire(world.acquirer[inquirer.number - 1])
    if found != "not_found":
        after = inquirer._replace(stage="found", fact=found)
    elif not inquirer.final:
        after = IDLE
    elif reverses:
        stage = "marking" if rules.marks_before_reversal else "marked"
        after = inquirer._replace(stage=stage)
    else:
        after = inquirer._replace(stage="found", fact="not_processed")
    yield f"worker: inquires, {found}", world._replace(inquirer=after)


def _mark(world: World, rules: Rules, inquirer: Inquirer, *, process: int) -> Iterator[Step]:
    """`reversing`, under the lock, for the claim that was inquired; or that a late success is still to be undone."""
    if world.commit is not None:
        return
    if rules.reverses_the_latest and inquirer.fact != "late":
        inquirer = _rebound(world, rules, inquirer)
    marked = _marked(world.primary, rules, inquirer)
    if marked is None:
        yield "worker: drops the reversal", world._replace(inquirer=IDLE)
        return
    committing = world._replace(inquirer=inquirer._replace(stage="committing"))
    marking = begin(committing, by=INQUIRER, process=process, what="mark", rows=marked)
    yield "worker: marks the attempt as reversing", marking


def _rebound(world: World, rules: Rules, inquirer: Inquirer) -> Inquirer:
    """A mutant's: the reversal is of whichever claim is the latest, where NOT_FOUND would prove something of it."""
    rows = world.primary
    if rows is None or not rules.not_found_proves(rows.latest, world.claims[rows.latest.token].age):
        return inquirer
    return inquirer._replace(number=len(rows.attempts), token=rows.latest.token)


def _marked(rows: Rows | None, rules: Rules, inquirer: Inquirer) -> Rows | None:
    """The rows with the mark; None: nothing may be reversed."""
    number = inquirer.number
    if rows is None or len(rows.attempts) < number:
        return None
    if inquirer.fact == "late":
        return rows if rows.late == number else None
    row = rows.attempts[number - 1]
    if rows.status != PENDING or not rules.reversal_may_begin(row, inquirer.token):
        return None
    return rows.with_attempt(number, row._replace(state=begun_reversal(row.state)))


def _reverse(world: World, inquirer: Inquirer) -> World:
    """Only what was charged against a proof that it was not may be undone."""
    rows, number = world.primary, inquirer.number
    late = inquirer.fact == "late"
    if world.acquirer[number - 1].live and not late:
        if world.said == "201" or (rows is not None and rows.status == SUCCEEDED):
            world = world.breaks("I5: a good charge is reversed")
        elif not world.stopped:
            world = world.breaks("I5: a charge is reversed although nobody was stopped")
    undone = acquirer.reverse(world, number)
    fact = "late" if late else "reversed"
    return undone._replace(inquirer=inquirer._replace(stage="found", fact=fact))


def _record(world: World, rules: Rules, inquirer: Inquirer, *, process: int) -> Iterator[Step]:
    if world.commit is not None:
        return
    rows = world.primary
    if rows is None or len(rows.attempts) < inquirer.number:
        yield "worker: finds no row to record in", world._replace(inquirer=IDLE)
        return
    after = world._replace(inquirer=inquirer._replace(stage="committing"))
    number, token, fact = inquirer.number, inquirer.token, inquirer.fact
    if fact == "late":
        after = begin(after, by=INQUIRER, process=process, what="record", rows=rows._replace(late=0))
    else:
        after = record(after, rules, number, token, fact, by=INQUIRER, process=process)
    yield f"worker: records {fact}", after


def heard(world: World, rules: Rules, commit: Commit, end: CommitEnd) -> World:
    """What is not proven is begun again, from a new look."""
    inquirer = world.inquirer
    if commit.what == "mark" and rules.marked(end):
        return world._replace(inquirer=inquirer._replace(stage="marked"))
    assert commit.rows is not None
    ended = commit.what == "record" and rules.recorded(end) and commit.rows.status != PENDING
    return world._replace(inquirer=IDLE, run="completed" if ended else world.run)

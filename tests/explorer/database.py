"""The two servers: how a COMMIT ends, what a fail-over forgets, and what each process thinks of its standby."""

from collections.abc import Callable, Iterator

from payonce.domain.claiming import CommitEnd
from tests.explorer.rules import Rules
from tests.explorer.world import INQUIRER, NOBODY, Commit, Rows, World

Step = tuple[str, World]
Heard = Callable[[World, Commit, CommitEnd], World]
GATE_FROM_START = "closed"  # names are emptied only once every process has seen that the standby is away
WINDOW = "window"  # the exception of rule 9: also between two looks


def begin(world: World, *, by: int, process: int, what: str, rows: Rows | None) -> World:
    """The transaction is at its COMMIT; the key is locked. The caller saw that it was free."""
    assert world.commit is None
    return world._replace(commit=Commit(by, process, what, rows, shipped=world.replicated))


def commit_steps(world: World, rules: Rules, heard: Heard) -> Iterator[Step]:
    """Every way in which the COMMIT that waits may end next."""
    commit = world.commit
    if commit is None:
        return
    if world.left.unheard and commit.by != NOBODY:
        yield from _unheard(world, commit, heard)
    if world.replicated:
        held = world._replace(primary=commit.rows, standby=commit.rows, commit=None)
        yield "COMMIT acknowledged", heard(held, commit, _answered(world, rules, commit))
        return
    local = world._replace(primary=commit.rows, commit=None)
    if world.link == "emptied":
        yield (
            "COMMIT answered clean, no standby is named",
            heard(local, commit, _answered(world, rules, commit)),
        )
    elif world.left.cuts:
        local = local._replace(left=world.left._replace(cuts=world.left.cuts - 1))
        yield "wait cancelled: COMMIT answered with a warning", heard(local, commit, CommitEnd.WARNED)
        yield "backend ended: local, no answer", heard(local, commit, CommitEnd.LOST)
    if not commit.late and world.link == "down":
        late = world._replace(commit=commit._replace(late=True))
        yield "COMMIT without an answer for 1 s", _gate(late, commit.process, is_open=False)


def _unheard(world: World, commit: Commit, heard: Heard) -> Iterator[Step]:
    """The connection breaks, and the server goes on with what it has, with its locks; or it is rolled back."""
    world = world._replace(left=world.left._replace(unheard=world.left.unheard - 1))
    alone = world._replace(commit=commit._replace(by=NOBODY))
    yield "connection breaks, its COMMIT waits on", heard(alone, commit, CommitEnd.LOST)
    yield "rolled back", heard(world._replace(commit=None), commit, CommitEnd.ROLLED_BACK)


def _answered(world: World, rules: Rules, commit: Commit) -> CommitEnd:
    if commit.by == NOBODY:
        return CommitEnd.LOST
    of_run = commit.by != INQUIRER and commit.by == len(world.actors) - 1
    judge = rules.run_commit_end if of_run else rules.commit_end
    return judge(warned=False, late=commit.late, gate_open=world.gates[commit.process])


def server_steps(world: World, heard: Heard, *, empties: str) -> Iterator[Step]:
    """What may happen to the servers, whatever anybody does."""
    left = world.left
    if world.link == "up" and left.dies:
        yield "standby dies", world._replace(link="down", left=left._replace(dies=left.dies - 1))
    if world.link in ("down", "emptied") and left.returns:
        back = world._replace(link="up", standby=world.primary, left=left._replace(returns=left.returns - 1))
        commit = world.commit
        yield "standby is back", back._replace(commit=commit and commit._replace(shipped=True))
    if world.link == "down" and left.empties and (empties == WINDOW or not any(world.gates)):
        yield (
            "standby names emptied",
            world._replace(link="emptied", left=left._replace(empties=left.empties - 1)),
        )
    if left.fail_overs and world.link != "promoted":
        yield from _fail_over(world, heard)


def _fail_over(world: World, heard: Heard) -> Iterator[Step]:
    """The primary is gone for good; the standby is the primary now, and another standby follows it."""
    left = world.left._replace(fail_overs=world.left.fail_overs - 1)
    after = world._replace(link="promoted", commit=None, left=left)
    commit = world.commit
    forgotten = after._replace(primary=world.standby)
    yield "fail-over", forgotten if commit is None else heard(forgotten, commit, CommitEnd.LOST)
    if commit is not None and commit.shipped:
        kept = after._replace(primary=commit.rows, standby=commit.rows)
        yield "fail-over, the standby has what waited", heard(kept, commit, CommitEnd.LOST)


def gate_steps(world: World) -> Iterator[Step]:
    """The look every second, and the probe that opens."""
    for process, is_open in enumerate(world.gates):
        if is_open and not world.replicated:
            yield f"look: gate {'AB'[process]} closes", _gate(world, process, is_open=False)
        if not is_open and world.replicated:
            yield f"probe: gate {'AB'[process]} opens", _gate(world, process, is_open=True)


def _gate(world: World, process: int, *, is_open: bool) -> World:
    gates = world.gates
    return world._replace(gates=(*gates[:process], is_open, *gates[process + 1 :]))

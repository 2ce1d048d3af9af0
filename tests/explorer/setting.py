"""A configuration: who there is, which faults may come, and the rules; its first world and its steps."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from payonce.domain.claiming import CommitEnd
from payonce.domain.operations import OperationStatus
from tests.explorer import acquirer, database, inquirer, requests
from tests.explorer.database import GATE_FROM_START, Step
from tests.explorer.rules import Rules
from tests.explorer.search import Explored, explore
from tests.explorer.world import ATTEMPTS, INQUIRER, NOBODY, Actor, Commit, Inquirer, Left, Reference, World


@dataclass(frozen=True, slots=True)
class Setting:
    """One bounded exploration."""

    requests: str = "AB"  # by the process that gets them, in the order in which the client sends them
    left: Left = field(default_factory=Left)
    link: str = "up"
    declines: bool = False
    reverses: bool = True  # the acquirer reverses by reference, and refuses what comes later
    runs_claim: bool = False  # nothing lives in memory only: a run may claim a further attempt
    impatient: bool = True  # a client may give up before it is answered
    worker: int = 1  # the process in which the worker and the run are
    aside: tuple[str, ...] = ()  # invariants that are not looked at, to see what else breaks
    empties: str = GATE_FROM_START

    def explore(self, rules: Rules | None = None, *, limit: int = 400_000) -> Explored:
        rules = rules or Rules()

        def steps(world: World) -> Iterator[Step]:
            for label, after in self._steps(world, rules):
                yield label, canonical(self._looked_at(after))

        return explore(self._start(), steps, ended=ended, limit=limit)

    def _looked_at(self, world: World) -> World:
        return world._replace(broken="") if world.broken[:2] in self.aside else world

    def _start(self) -> World:
        clients = (Actor("AB".index(process)) for process in self.requests)
        return World(
            primary=None,
            standby=None,
            link=self.link,
            commit=None,
            gates=(True, True),
            boots=(0, 0),
            actors=(*clients, Actor(self.worker)),
            inquirer=Inquirer(),
            run="failed",
            claims=(),
            rights=frozenset(),
            wire=(),
            acquirer=(Reference(),) * ATTEMPTS,
            left=self.left,
        )

    def _steps(self, world: World, rules: Rules) -> Iterator[Step]:
        memory = not self.runs_claim

        def heard(world: World, commit: Commit, end: CommitEnd) -> World:
            if commit.by == NOBODY:
                return world
            if commit.by == INQUIRER:
                return inquirer.heard(world, rules, commit, end)
            return requests.heard(world, rules, commit, end, memory=memory)

        yield from requests.client_steps(world, rules)
        yield from requests.actor_steps(world, rules, memory=memory, impatient=self.impatient)
        yield from requests.second_run_steps(world, rules)
        yield from requests.aging_steps(world)
        yield from requests.crash_steps(world)
        yield from acquirer.wire_steps(world, declines=self.declines)
        yield from database.commit_steps(world, rules, heard)
        for label, after in database.server_steps(world, heard, empties=self.empties):
            yield label, acquirer.orphans(after)
        yield from database.gate_steps(world)
        yield from inquirer.sweeper_steps(world, rules)
        yield from inquirer.inquirer_steps(
            world, rules, process=self.worker, reverses=self.reverses, runs_claim=self.runs_claim
        )


def canonical(world: World) -> World:
    """The same world without what nobody will look at any more."""
    if world.link == "promoted":
        world = world._replace(standby=None, left=world.left._replace(dies=0, returns=0, cuts=0, empties=0))
    if any(claim.age and not requests.matters(world, token) for token, claim in enumerate(world.claims)):
        claims = enumerate(world.claims)
        young = (c if requests.matters(world, token) else c._replace(age=0) for token, c in claims)
        world = world._replace(claims=tuple(young))
    return world


def ended(world: World) -> bool:
    """Nothing is under way and everything fits: money, rows, and what was answered."""
    rows = world.primary
    if world.commit is not None or world.wire or world.inquirer.stage != "idle":
        return False
    live = sum(reference.live for reference in world.acquirer)
    if rows is None:
        return live == 0 and not world.said
    if rows.status == OperationStatus.PENDING:
        return live == 0 and not world.said and rows.latest.state == requests.NOT_SENT
    answer = requests.OUTCOMES[rows.status]
    money = live == 1 if rows.status == OperationStatus.SUCCEEDED else live == 0
    return money and not rows.late and world.said in ("", answer)

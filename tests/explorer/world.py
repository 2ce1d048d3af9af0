"""What there is at one moment: two servers, the processes' memory, the acquirer, what is on its way."""

from typing import NamedTuple

ATTEMPTS = 3  # of one operation; nobody claims more within the bounds
INQUIRER = -1  # who began a commit: the worker that inquires and reverses; else an actor's index
NOBODY = -2  # who would hear of it is gone


class Row(NamedTuple):
    """An attempt's row; its number is its place."""

    state: str
    token: int  # of its claim, which is the claim's place in `World.claims`


class Rows(NamedTuple):
    """What one server shows of the key: the operation, its attempts, and the attempt that succeeded too late."""

    status: str
    attempts: tuple[Row, ...]
    late: int = 0

    @property
    def latest(self) -> Row:
        return self.attempts[-1]

    def with_attempt(self, number: int, row: Row) -> "Rows":
        kept = self.attempts
        return self._replace(attempts=(*kept[: number - 1], row, *kept[number:]))


class Claim(NamedTuple):
    """What is true of a claim, whatever becomes of its row."""

    actor: int
    boot: tuple[int, int]  # the process, and how often it was started
    number: int
    age: int = 0  # 0: its owner may send; 1: no more; 2: what was sent in time has arrived, or never will


class Commit(NamedTuple):
    """A COMMIT without an answer; it holds the key's lock, and nobody sees what it wrote."""

    by: int
    process: int
    what: str
    rows: Rows | None
    late: bool = False  # for longer than a second
    shipped: bool = False  # the standby may have it


class Actor(NamedTuple):
    """Who may claim and send: a request of the key, or a run. The answer is what its client heard."""

    process: int
    state: str = "new"
    token: int = -1
    found: str = ""  # what it read or heard, and has not dealt with
    timeline: int = 0  # of the server where it was read
    answer: str = ""


class Inquirer(NamedTuple):
    """The one worker that finds out what became of a claim, and what it holds in memory."""

    stage: str = "idle"
    number: int = 0
    token: int = -1
    final: bool = False  # NOT_FOUND would prove something
    fact: str = ""


class Reference(NamedTuple):
    """What the acquirer knows of one reference of ours."""

    live: int = 0  # charges that are not reversed
    state: str = ""  # "", "declined" or "reversed": then nothing under it is accepted any more


class Left(NamedTuple):
    """How many faults of each kind may still happen."""

    dies: int = 1  # the standby, or the way to it
    returns: int = 1
    cuts: int = 1  # a wait for the standby that is cancelled or terminated, or a primary restarted meanwhile
    unheard: int = 0  # a commit that holds, or was rolled back, and whose answer is lost on the way
    crashes: int = 0
    fail_overs: int = 1
    empties: int = 0
    stops: int = 0  # a process that stands between its last look at the clock and the socket


class World(NamedTuple):
    primary: Rows | None
    standby: Rows | None
    link: str  # "up", "down", "emptied" (no standby is named) or "promoted"
    commit: Commit | None
    gates: tuple[bool, ...]  # by process: open?
    boots: tuple[int, ...]
    actors: tuple[Actor, ...]  # the requests in the order in which the client sends them, then the run
    inquirer: Inquirer
    run: str  # "failed" (or never started), "active" or "completed": as Temporal knows it
    claims: tuple[Claim, ...]
    rights: frozenset[int]  # tokens, in the memory of their owners' processes
    wire: tuple[int, ...]  # tokens of calls that are on their way to the acquirer
    acquirer: tuple[Reference, ...]  # by attempt number
    left: Left
    stopped: bool = False  # rule 9's stop has happened
    said: str = ""  # the first answer with an outcome
    promised: bool = False  # 503 was said with nothing else unanswered, and the client sent nothing since
    broken: str = ""  # the invariant that does not hold

    @property
    def timeline(self) -> int:
        return 1 if self.link == "promoted" else 0

    @property
    def replicated(self) -> bool:
        """Whether a COMMIT waits for a standby that answers."""
        return self.link in ("up", "promoted")

    def actor(self, index: int, **changes: object) -> "World":
        changed = self.actors[index]._replace(**changes)
        return self._replace(actors=(*self.actors[:index], changed, *self.actors[index + 1 :]))

    def reference(self, number: int, reference: Reference) -> "World":
        kept = self.acquirer
        return self._replace(acquirer=(*kept[: number - 1], reference, *kept[number:]))

    def breaks(self, what: str) -> "World":
        return self._replace(broken=self.broken or what)

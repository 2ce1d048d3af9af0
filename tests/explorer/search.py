"""Every interleaving: breadth first, so that the trace that is shown is a shortest one."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.explorer.database import Step
from tests.explorer.world import World

Steps = Callable[[World], Iterator[Step]]


@dataclass(slots=True)
class Explored:
    """What was found. `complete`: nothing was left out by `limit`."""

    states: int
    steps: int
    complete: bool
    broken: str = ""
    trace: list[Step] = field(default_factory=list)

    def __str__(self) -> str:
        """The counterexample, a line for each step, with what has changed."""
        lines = [
            f"{self.broken or 'nothing found'}: {self.states} states, {self.steps} steps, complete {self.complete}"
        ]
        before: World | None = None
        for number, (label, world) in enumerate(self.trace):
            lines.append(f"{number:3}  {label:58} {_changes(before, world)}".rstrip())
            before = world
        return "\n".join(lines)


def explore(start: World, steps: Steps, *, ended: Callable[[World], bool], limit: int) -> Explored:
    """All that can be reached from `start`, or the first world in which something is broken.

    Where nothing is broken, each world must still be able to reach one that has `ended`: otherwise a key is
    pending for ever.
    """
    numbers = {start: 0}
    worlds, parents, labels = [start], [0], ["start"]
    before: list[list[int]] = [[]]
    waiting, count = deque([0]), 0
    while waiting:
        number = waiting.popleft()
        for label, after in steps(worlds[number]):
            count += 1
            known = numbers.get(after)
            if known is not None:
                before[known].append(number)
                continue
            numbers[after] = len(worlds)
            worlds.append(after)
            parents.append(number)
            labels.append(label)
            before.append([number])
            if after.broken:
                trace = _trace(len(worlds) - 1, worlds, parents, labels)
                return Explored(len(worlds), count, False, after.broken, trace)
            waiting.append(len(worlds) - 1)
        if len(worlds) > limit:
            return Explored(len(worlds), count, False)
    stuck = _stuck(worlds, before, ended)
    if stuck is None:
        return Explored(len(worlds), count, True)
    trace = _trace(stuck, worlds, parents, labels)
    return Explored(len(worlds), count, True, "I3: from here the key never ends well", trace)


def _stuck(worlds: list[World], before: list[list[int]], ended: Callable[[World], bool]) -> int | None:
    """The first world from which no ended one can be reached."""
    reached = bytearray(len(worlds))
    waiting = [number for number, world in enumerate(worlds) if ended(world)]
    for number in waiting:
        reached[number] = 1
    while waiting:
        for number in before[waiting.pop()]:
            if not reached[number]:
                reached[number] = 1
                waiting.append(number)
    stuck = reached.find(0)
    return None if stuck < 0 else stuck


def _trace(number: int, worlds: list[World], parents: list[int], labels: list[str]) -> list[Step]:
    trace = []
    while number:
        trace.append((labels[number], worlds[number]))
        number = parents[number]
    return [("start", worlds[0]), *reversed(trace)]


def _changes(before: World | None, world: World) -> str:
    """The rows that changed, on either server, and what the acquirer holds."""
    shown = []
    for name in ("primary", "standby"):
        rows = getattr(world, name)
        if rows is not None and (before is None or getattr(before, name) != rows):
            attempts = ", ".join(
                f"{n} {row.state} (claim {row.token + 1})" for n, row in enumerate(rows.attempts, 1)
            )
            shown.append(f"{name}: {rows.status}: {attempts}")
    if before is not None and before.acquirer != world.acquirer:
        live = [n for n, reference in enumerate(world.acquirer, 1) if reference.live]
        shown.append(f"charged: {live}")
    return "; ".join(shown)

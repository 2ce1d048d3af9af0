"""Requests of one key, and a run that may claim: admission, the right, the call, recording, release, replay."""

from collections.abc import Iterator

from payonce.domain.claiming import CommitEnd, Release
from payonce.domain.operations import AttemptState, OperationStatus
from tests.explorer.database import Step, begin
from tests.explorer.rules import AfterRelease, Rules
from tests.explorer.world import ATTEMPTS, NOBODY, Actor, Claim, Commit, Row, Rows, World

OUTCOMES = {OperationStatus.SUCCEEDED.value: "201", OperationStatus.FAILED.value: "402"}
CLAIMED = AttemptState.CLAIMED.value
NOT_SENT = AttemptState.NOT_SENT.value
PENDING = OperationStatus.PENDING.value


def name(world: World, index: int) -> str:
    return "run" if index == len(world.actors) - 1 else f"R{index + 1}"


def client_steps(world: World, rules: Rules) -> Iterator[Step]:
    """The client sends its requests in order, whenever it likes: also before the last one is answered.

    A request is admitted as it comes: one that waits for its turn first is like one that was sent later, or like
    one that says nothing.
    """
    for index, actor in enumerate(world.actors[:-1]):
        if actor.state == "new":
            sent = world._replace(promised=False)
            for label, after in _admit(sent, rules, index, actor):
                yield f"{name(world, index)} at process {'AB'[actor.process]}: {label}", after
            return


def actor_steps(world: World, rules: Rules, *, memory: bool, impatient: bool) -> Iterator[Step]:
    """What a request or the run may do next; `memory`: the card is in the request only.

    An impatient client gives up, or is answered 504, while its request goes on.
    """
    for index, actor in enumerate(world.actors):
        if actor.state in ("new", "done"):
            continue
        who = name(world, index)
        for label, after in _steps(world, rules, index, actor, memory=memory):
            yield f"{who}: {label}", after
        if impatient and not actor.answer and index < len(world.actors) - 1:
            yield f"{who}: answered 504, goes on", say(world, index, "504")


def _steps(world: World, rules: Rules, index: int, actor: Actor, *, memory: bool) -> Iterator[Step]:
    match actor.state:
        case "arrived":
            yield from _admit(world, rules, index, actor)
        case "granted":
            yield from _send(world, rules, index, actor)
        case "checked":
            yield "writes to the socket, perhaps late", _write(world, index, actor)
        case "sent":
            yield "hears nothing in time", world.actor(index, state="heard", found="unknown")
        case "heard":
            yield from _record(world, rules, index, actor)
        case "release":
            yield from _release(world, rules, index, actor, memory=memory)
        case "replay":
            if not rules.replay_needs_barrier:
                yield "replays what it read", _replay(world, index, actor)
            elif world.replicated and world.gates[actor.process]:
                proves = rules.barrier_proves(actor.timeline == world.timeline)
                after = _replay(world, index, actor) if proves else done(say(world, index, "504"), index)
                yield "a COMMIT after the read is acknowledged", after


def _admit(world: World, rules: Rules, index: int, actor: Actor) -> Iterator[Step]:
    """The transaction that decides what the request means; before BEGIN where the gate is closed."""
    is_run = index == len(world.actors) - 1
    if not world.gates[actor.process] and (rules.runs_gated or not is_run):
        after = (
            world.actor(index, state="new")._replace(run="failed")
            if is_run
            else _answered(world, index, "504")
        )
        yield "finds the gate closed", after
        return
    if world.commit is not None:
        return  # it waits for the key
    rows = world.primary
    latest, count = (None, 0) if rows is None else (rows.latest, len(rows.attempts))
    pending = rows is None or rows.status == PENDING
    number = rules.next_number(latest, count, pending)
    if number is not None and number <= ATTEMPTS:
        yield f"claims attempt {number}", _claim(world, index, actor, number)
    elif is_run:
        yield "may not claim", world.actor(index, state="new")
    elif pending:
        yield "finds a claim", _answered(world, index, "409")
    else:
        assert rows is not None
        read = {"state": "replay", "found": OUTCOMES[rows.status], "timeline": world.timeline}
        yield "reads an outcome", world.actor(index, **read)


def _answered(world: World, index: int, answer: str) -> World:
    return done(say(world, index, answer), index)


def _claim(world: World, index: int, actor: Actor, number: int) -> World:
    token = len(world.claims)
    claim = Claim(index, (actor.process, world.boots[actor.process]), number)
    rows = world.primary or Rows(PENDING, ())
    after = world.actor(index, state="claiming", token=token)._replace(claims=(*world.claims, claim))
    rows = rows.with_attempt(number, Row(CLAIMED, token))
    return begin(after, by=index, process=actor.process, what="claim", rows=rows)


def _send(world: World, rules: Rules, index: int, actor: Actor) -> Iterator[Step]:
    """The right is used once; its holder looks at the clock right before the first byte, or gives it back."""
    taken = world._replace(rights=world.rights - {actor.token}) if rules.pops_right else world
    if rules.right_holds(world.claims[actor.token].age):
        yield "sends", _write(taken, index, actor)
        if world.left.stops:
            stopped = taken._replace(left=world.left._replace(stops=world.left.stops - 1), stopped=True)
            yield "looks at the clock, is stopped", stopped.actor(index, state="checked")
    yield "does not send: its run was not started, or its time is over", taken.actor(index, state="release")


def _write(world: World, index: int, actor: Actor) -> World:
    world = world._replace(wire=tuple(sorted((*world.wire, actor.token))))
    return world.actor(index, state="sent")


def second_run_steps(world: World, rules: Rules) -> Iterator[Step]:
    """The task of the first run is run again in the same process: a right that is still there is used."""
    for token in sorted(world.rights):
        claim = world.claims[token]
        if world.actors[claim.actor].state == "granted" or not rules.right_holds(claim.age):
            continue
        again = world._replace(rights=world.rights - {token}, wire=tuple(sorted((*world.wire, token))))
        yield "a second run sends with the same right", again


def _record(world: World, rules: Rules, index: int, actor: Actor) -> Iterator[Step]:
    if world.commit is not None:
        return
    number = world.claims[actor.token].number
    if world.primary is None or len(world.primary.attempts) < number:
        yield "finds no row to record in", done(say(world, index, "504"), index)
        return
    after = world.actor(index, state="recording")
    after = record(after, rules, number, actor.token, actor.found, by=index, process=actor.process)
    yield f"records {actor.found}", after


def record(world: World, rules: Rules, number: int, token: int, fact: str, *, by: int, process: int) -> World:
    """The one recording function, at its COMMIT; what a fact must never do breaks an invariant."""
    before = world.primary
    assert before is not None
    rows = recorded_rows(world, rules, number, token, fact)
    recording = begin(world, by=by, process=process, what="record", rows=rows)
    if rows.late and not world.stopped:
        return recording.breaks("I5: a late success, although nobody was stopped")
    failed = rows.status != before.status and fact in ("not_processed", "reversed")
    owner = world.claims[rows.attempts[number - 1].token].actor
    if failed and world.actors[owner].answer == "503":
        return recording.breaks("I3: a claim that was answered 503 is closed as lost: its key does not go on")
    return recording


def recorded_rows(world: World, rules: Rules, number: int, token: int, fact: str) -> Rows:
    """What the one recording function makes of the rows, under the lock."""
    rows = world.primary
    assert rows is not None
    row = rows.attempts[number - 1]
    if not rules.concerns(row, fact, token):
        return rows
    status, state, late = rules.settle(rows.status, row.state, fact)
    late_of = number if late else rows.late
    return rows.with_attempt(number, row._replace(state=state))._replace(status=status, late=late_of)


def _release(world: World, rules: Rules, index: int, actor: Actor, *, memory: bool) -> Iterator[Step]:
    """By the task that waited for the claim's COMMIT, under the lock; where no row may come, without one."""
    if actor.answer:
        yield "dies with its release unmade", done(world, index)
    own_waits = world.commit is not None and world.commit.what == "claim"
    if world.commit is not None and (rules.waits_for_lock or world.primary is not None or not own_waits):
        return
    claim, rows = world.claims[actor.token], world.primary
    latest, count = (None, 0) if rows is None else (rows.latest, len(rows.attempts))
    identity = rules.identity(actor.token, claim)
    seen = latest and latest._replace(token=rules.identity(latest.token, world.claims[latest.token]))
    found = rules.release(seen, count, claim.number, identity)
    if found is Release.NEVER_HELD or found is Release.OTHERS:
        said = rules.after_release(found, CommitEnd.LOST)
        yield f"release finds {found}", _after_release(world, index, said, memory=memory)
        return
    assert rows is not None
    if found is Release.GIVEN_BACK:
        assert latest is not None
        rows = rows.with_attempt(count, latest._replace(state=NOT_SENT))
    after = world.actor(index, state="releasing", found=found.value)
    yield f"release: {found}", begin(after, by=index, process=actor.process, what="release", rows=rows)


def _after_release(world: World, index: int, said: AfterRelease, *, memory: bool) -> World:
    match said:
        case AfterRelease.FREE:
            return done(say(world, index, "503" if memory else "202"), index)
        case AfterRelease.HELD:
            return done(say(world, index, "409"), index)
        case AfterRelease.UNPROVEN:
            return world.actor(index, state="release", found="")


def _replay(world: World, index: int, actor: Actor) -> World:
    return done(say(world, index, actor.found), index)


def heard(world: World, rules: Rules, commit: Commit, end: CommitEnd, *, memory: bool) -> World:
    """The process that sent the COMMIT hears how it ended."""
    index, actor = commit.by, world.actors[commit.by]
    match commit.what:
        case "claim":
            return _claimed(world, rules, index, actor, end, memory=memory)
        case "release":
            said = rules.after_release(Release(actor.found), end)
            return _after_release(world, index, said, memory=memory)
        case _:
            if not rules.recorded(end):
                return world.actor(index, state="heard")
            assert commit.rows is not None
            return _told(done(_say_outcome(world, index, commit.rows), index), commit.rows)


def _claimed(world: World, rules: Rules, index: int, actor: Actor, end: CommitEnd, *, memory: bool) -> World:
    rows = world.primary
    number = world.claims[actor.token].number
    holds = (
        rows is not None and number <= len(rows.attempts) and rows.attempts[number - 1].token == actor.token
    )
    if rules.grants(end, holds):
        started = world._replace(rights=world.rights | {actor.token}, run="active")
        return started.actor(index, state="granted")
    if end.nothing_holds:
        return _after_release(world, index, AfterRelease.FREE, memory=memory)
    return world.actor(index, state="release")


def _told(world: World, rows: Rows) -> World:
    """The workflow hears what was recorded, and ends with an outcome."""
    return world if rows.status == PENDING else world._replace(run="completed")


def _say_outcome(world: World, index: int, rows: Rows) -> World:
    return say(world, index, OUTCOMES.get(rows.status, "202"))


def done(world: World, index: int) -> World:
    """Nothing of the request is left in memory. A run may begin again."""
    is_run = index == len(world.actors) - 1
    return world.actor(index, state="new" if is_run else "done", token=-1, found="", timeline=0)


def say(world: World, index: int, answer: str) -> World:
    """The client hears the answer, where it has none and is a client."""
    if index == len(world.actors) - 1 or world.actors[index].answer:
        return world
    world = world.actor(index, answer="503" if answer == "503" else "another")
    if answer in OUTCOMES.values():
        if world.said not in ("", answer):
            world = world.breaks(f"I5: answered {world.said}, then {answer}")
        return world._replace(said=answer)
    if answer == "503":
        waiting = any(a.state != "new" and not a.answer for a in world.actors[:-1])
        return world._replace(promised=not waiting)
    return world


def crash_steps(world: World) -> Iterator[Step]:
    """A process loses its memory and is started again; what it sent, and its COMMIT, go on without it."""
    if not world.left.crashes:
        return
    for process in range(len(world.boots)):
        if any(a.process == process and a.state not in ("new", "done") for a in world.actors):
            yield f"process {'AB'[process]} crashes", _crash(world, process)


def _crash(world: World, process: int) -> World:
    boots = (*world.boots[:process], world.boots[process] + 1, *world.boots[process + 1 :])
    left = world.left._replace(crashes=world.left.crashes - 1)
    world = world._replace(boots=boots, left=left)
    commit = world.commit
    for index, actor in enumerate(world.actors):
        if actor.process != process or actor.state in ("new", "done"):
            continue
        if commit is not None and commit.by == index:
            world = world._replace(commit=commit._replace(by=NOBODY))
        world = done(say(world, index, "cut"), index)
    lost = {token for token in world.rights if world.claims[token].boot[0] == process}
    return world._replace(rights=world.rights - lost)


def aging_steps(world: World) -> Iterator[Step]:
    """A claim's time passes; the last step only once nothing that was sent in time is under way."""
    for token, claim in enumerate(world.claims):
        if claim.age == 2 or not matters(world, token):
            continue
        if claim.age == 1 and (token in world.wire or _waits_for_reply(world, token)):
            continue
        older = claim._replace(age=claim.age + 1)
        yield (
            f"claim {token + 1}: {'its owner may send no more' if claim.age == 0 else 'finality'}",
            world._replace(claims=(*world.claims[:token], older, *world.claims[token + 1 :])),
        )


def _waits_for_reply(world: World, token: int) -> bool:
    actor = world.actors[world.claims[token].actor]
    return actor.state == "sent" and actor.token == token


def matters(world: World, token: int) -> bool:
    """Whether anybody will look at the claim's time."""
    open_ = (CLAIMED, AttemptState.UNKNOWN.value)
    for rows in (world.primary, world.standby, world.commit and world.commit.rows):
        if rows is not None and any(row.token == token and row.state in open_ for row in rows.attempts):
            return True
    return token in world.rights

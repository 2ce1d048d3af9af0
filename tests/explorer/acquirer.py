"""The acquirer: it charges whatever arrives under a reference, as often as it arrives, unless it was reversed."""

from collections.abc import Iterator

from tests.explorer.database import Step
from tests.explorer.world import Reference, World


def wire_steps(world: World, *, declines: bool) -> Iterator[Step]:
    """A call that is on its way arrives, or never does; its caller hears the reply, or does not."""
    for token in dict.fromkeys(world.wire):
        wire = list(world.wire)
        wire.remove(token)
        gone = world._replace(wire=tuple(wire))
        claim = world.claims[token]
        what = f"attempt {claim.number} of claim {token + 1}"
        yield f"{what} never arrives", gone
        if world.acquirer[claim.number - 1].state:
            yield f"{what} arrives, refused", gone
            continue
        for fact in ("approved", "declined") if declines else ("approved",):
            after = _take(gone, token, fact)
            yield f"{what} arrives: {fact}, not heard", after
            if world.actors[claim.actor].state == "sent" and world.actors[claim.actor].token == token:
                yield f"{what} arrives: {fact}", after.actor(claim.actor, state="heard", found=fact)


def _take(world: World, token: int, fact: str) -> World:
    claim = world.claims[token]
    before = world.acquirer[claim.number - 1]
    if fact == "declined":
        return world.reference(claim.number, before._replace(state="declined"))
    world = world.reference(claim.number, before._replace(live=before.live + 1))
    if sum(reference.live for reference in world.acquirer) > 1:
        return world.breaks("I1: two live charges")
    if world.actors[claim.actor].answer == "503":
        return world.breaks("I2: charged after its 503")
    if world.promised:
        return world.breaks("I2: charged after a 503, with no request of the key unanswered")
    return orphans(world)


def orphans(world: World) -> World:
    """A charge for which the primary has no row is nobody's."""
    count = 0 if world.primary is None else len(world.primary.attempts)
    if any(reference.live for reference in world.acquirer[count:]):
        return world.breaks("I4: an orphan, charged without a row")
    return world


def inquire(reference: Reference) -> str:
    """What the acquirer says of a reference."""
    if reference.live:
        return "approved"
    return reference.state or "not_found"


def reverse(world: World, number: int) -> World:
    """Whatever the reference did is undone, and what arrives under it later is refused."""
    return world.reference(number, Reference(live=0, state="reversed"))

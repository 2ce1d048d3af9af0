"""A person who looks at the acquirer's ledger, settles there what cannot stay, and says what is so."""

from payonce.domain import reviews, verdicts
from payonce.domain.decisions import Verdict
from payonce.domain.facts import Stage
from payonce.domain.operations import AttemptState, Operation, OperationKind
from payonce.domain.reviews import Question
from tests.storage.recording.acquirer import UNDECIDED, How, Request, There
from tests.storage.recording.walking import Walk

K, V, Q = OperationKind, Verdict, Question


def decide_truly(walk: Walk, of: Operation, *, rejects: bool = False) -> bool:
    """Whether the decision was taken. `rejects`: what is held for its risk."""
    request = walk.request_of(of)
    match reviews.question(of):
        case Q.RISK:
            return walk.decide(of, V.REJECTED if rejects else V.APPROVED)
        case Q.OUTCOME:
            return _outcome(walk, of, request)
        case Q.LATE:
            return _late(walk, of)
        case Q.RELEASE:
            return walk.decide(of, V.APPROVED if request is not None and request.stands else V.DECLINED)
        case Q.GIVEN_UP:
            return walk.decide(of, V.PAID if request is not None and request.stands else V.NOT_PAID)
        case Q.UNDONE:
            about = walk.requests_of(of.target_reference)
            stands = any(one.stands for one in about)
            if of.target_kind is K.VOID:  # others may have released it since
                stands = not any(walk.acquirer.alive(one.of) for one in about if one.of is not None)
            yes = V.PAID if V.PAID in verdicts.verdicts(of) else V.APPROVED
            return walk.decide(of, yes if stands else V.UNDONE)
        case Q.FOREIGN:
            created = [one for one in walk.acquirer.requests if one.kind is K.AUTHORIZE]
            taken_back = of.kind is K.CAPTURE and any(
                one.undone for one in created
            )  # by the rail, as it came
            return walk.decide(of, V.ORPHAN if taken_back else V.APPROVED)
        case None:
            return False


def decide_somehow(walk: Walk, of: Operation, which: int) -> bool:
    """Rightly or wrongly, in any way in which it can be decided."""
    possible = list(verdicts.verdicts(of))
    verdict = possible[which % len(possible)]
    named = verdict in (V.APPROVED, V.PAID) and reviews.question(of) is not Q.RISK
    return walk.decide(of, verdict, reference=f"said-{walk.acquirer.number()}" if named else None)


def _outcome(walk: Walk, of: Operation, request: Request | None) -> bool:
    """What was not exactly as asked for is undone at the acquirer first."""
    if request is not None and request.there in UNDECIDED:
        if request.there is There.ON_ITS_WAY:
            request.there = There.LOST
        else:
            walk.acquirer.arrives(request, How.DOES)
    if request is None or request.there is not There.DONE:
        return walk.decide(of, V.NOT_PAID if of.kind is K.REFUND else V.DECLINED)
    walk.acquirer.does_again(request)
    latest = walk.books.latest(of.id)
    reversing = latest is not None and latest.state is AttemptState.REVERSING
    only_authorized = request.call.automatic_capture and request.stage is Stage.AUTHORIZED
    if reversing or request.mistaken or request.undone or (only_authorized and walk.rail.captures_itself):
        walk.acquirer.reverses(request.call.reference)
        return walk.decide(of, V.NOT_PAID if of.kind is K.REFUND else V.DECLINED)
    for twin in walk.requests_of(request.call.reference)[1:]:
        twin.there = There.REVERSED
        twin.keep_word()
    yes = V.PAID if of.kind is K.REFUND else V.APPROVED
    return walk.decide(of, yes, reference=request.reference, stage=request.stage)


def _late(walk: Walk, case: Operation) -> bool:
    """What succeeded late, or once more, is undone; a release stays, and so does a refund where it fits."""
    possible = verdicts.verdicts(case)
    reference = case.target_reference
    counted = [of for of in walk.books.attempts if of.reference == reference and of.state == "approved"]
    known = counted[0].connector_reference if counted else None
    beside = [one for one in walk.requests_of(reference) if one.stands and one.reference != known]
    if V.REVERSED not in possible and V.PAID not in possible:
        return walk.decide(case, V.APPROVED if beside else V.DECLINED)
    if V.PAID in possible and len(beside) == 1 and not counted and walk.decide(case, V.PAID):
        return True
    for one in beside:
        one.there = There.REVERSED
        one.keep_word()
    return walk.decide(case, V.NOT_PAID if V.PAID in possible else V.REVERSED)

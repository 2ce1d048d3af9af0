"""Payments as they come about: admitted as the API and the clock admit, and told of by facts through the recorder.

A play is a line of steps, `"manual, authorized, capture 400, approved, undone"`: how the payment is made, then what
is admitted, and what is said of the attempt that was claimed last, or of the one that `on` names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from payonce.domain import leaving, reviews
from payonce.domain.decisions import Decision, Verdict
from payonce.domain.facts import (
    Accepted,
    ActionRequired,
    Cancelled,
    DeclineCode,
    Declined,
    Expired,
    Fact,
    FailureCode,
    Foreign,
    NotProcessed,
    Pending,
    Redone,
    Refused,
    Reversed,
    Stage,
    Undone,
    Unknown,
    Unsent,
)
from payonce.domain.operations import (
    USUAL,
    Abilities,
    Attempt,
    Operation,
    OperationKind,
    OperationStatus,
    Origin,
    Subject,
)
from payonce.domain.payment import Payment, PaymentStatus
from payonce.recording.recorder import Recorder
from tests.support.rows import IDS, approval, attempt, operation, payment, under_way
from tests.unit.domain.memory import Memory, Tables

K, O = OperationKind, OperationStatus
LONG_AGO: Final = datetime(2020, 1, 1, tzinfo=UTC)
FAR_AWAY: Final = datetime(2100, 1, 1, tzinfo=UTC)
PART: Final = 100  # of what the operation is of
HOW: Final = {
    "manual": ("manual", USUAL),
    "automatic": ("automatic", USUAL),
    "automatic by the rail": ("automatic", Abilities(captures_itself=True)),
    "manual, not reversible": ("manual", Abilities(reversible=False)),
    "automatic, not reversible": ("automatic", Abilities(reversible=False)),
}


def every_fact(of: Operation) -> Mapping[str, Fact]:
    """Each fact that can be recorded of an attempt for the operation, by its name."""
    whole, reference = of.amount_minor, f"acq-{of.id}"
    asked = {"type": "redirect", "url": "https://bank.example"}

    def said(**changes: Any) -> Fact:
        return approval(of, **{"connector_reference": reference, "stage": Stage.CAPTURED, **changes})

    return {
        "approved": said(stage=None),
        "authorized": said(stage=Stage.AUTHORIZED),
        "captured": said(),
        "approved elsewhere": said(connector_reference="acq-other"),
        "approved less": said(amount_minor=whole - 1),
        "approved more": said(amount_minor=whole + 1),
        "approved in dollars": said(currency="USD"),
        "declined": Declined(DeclineCode.DO_NOT_HONOR, reference),
        "refused": Refused("not accepted", "/amount"),
        "expired": Expired(),
        "cancelled": Cancelled(),
        "reversed": Reversed(),
        "not processed": NotProcessed(FailureCode.NOT_PROCESSED),
        "pending": Pending(),
        "accepted": Accepted(reference),
        "unknown": Unknown("timeout"),
        "unsent": Unsent(),
        "action required": ActionRequired(reference, asked, FAR_AWAY),
        "action required too late": ActionRequired(reference, asked, LONG_AGO),
        "undone": Undone("turn-1", whole, of.currency, "rejected by the scheme"),
        "part undone": Undone("turn-2", PART, of.currency),
        "undone in dollars": Undone("turn-3", whole, "USD"),
        "redone": Redone("turn-4", whole, of.currency),
        "part redone": Redone("turn-5", PART, of.currency),
        "foreign refund": Foreign("turn-6", "refund", 1000, "INR"),
        "foreign part refund": Foreign("turn-7", "refund", PART, "INR"),
        "foreign refund in dollars": Foreign("turn-8", "refund", 1000, "USD"),
        "foreign capture": Foreign("turn-9", "capture", 1000, "INR"),
        "foreign part capture": Foreign("turn-10", "capture", PART, "INR"),
        "foreign void": Foreign("turn-11", "void", 1000, "INR"),
        "foreign part void": Foreign("turn-12", "void", PART, "INR"),
        "foreign void in dollars": Foreign("turn-13", "void", 1000, "USD"),
    }


FACTS: Final = tuple(every_fact(operation()))


@dataclass
class WakesNobody:
    """Stands in for `WakeUps`: nobody waits."""

    def wake(self, *_: Any, **__: Any) -> None:
        pass


class Play:
    """One payment, and the attempt that is spoken of."""

    def __init__(self, how: str) -> None:
        method, self.abilities = HOW[how]
        self.memory = Memory(Tables())
        self._recorder = Recorder(self.memory, IDS, WakesNobody())
        self.memory.tables.add(payment(capture_method=method))
        self.operation_id, self.number = "", 0
        self.open(K.AUTHORIZE, 1000)

    @property
    def tables(self) -> Tables:
        return self.memory.tables

    @property
    def payment(self) -> Payment:
        return self.tables.payment

    @property
    def operation(self) -> Operation:
        return self.tables.operations[self.operation_id]

    @property
    def attempt(self) -> Attempt:
        return self.tables.attempts[self.operation_id, self.number]

    def open(self, kind: OperationKind, amount_minor: int, *, final: bool = True) -> None:
        """Admitted, with its first attempt claimed. A void of what has no outcome is not sent."""
        paid, number = self.payment, len(self.tables.operations)
        prefix = {K.AUTHORIZE: paid.id, K.REFUND: f"re_{number}"}
        of = operation(
            kind,
            id=prefix.get(kind, f"op_{number}"),
            amount_minor=amount_minor,
            final=final,
            origin=Origin.PAYONCE if kind is K.EXPIRE else Origin.MERCHANT,
        )
        self.tables.add(of)
        if of.origin is Origin.MERCHANT:
            self.tables.keys[of.id] = None
        if kind.exclusive:
            assert paid.pending_operation is None
            paid = replace(paid, pending_operation=under_way(of))
        if kind is K.REFUND:
            held = paid.amount_refund_pending_minor + amount_minor
            paid = replace(paid, amount_refund_pending_minor=held)
        if kind is K.VOID and paid.status.undecided:
            given_up = leaving.abandoned(self.tables.attempts[paid.id, self.number])
            self.tables.add(replace(paid, next_action=None), given_up)
            return
        self.tables.add(paid)
        self.claim(of)

    def claim(self, of: Operation) -> None:
        """A further attempt of the operation, or its first."""
        numbers = [number for id_, number in self.tables.attempts if id_ == of.id]
        self.operation_id, self.number = of.id, max(numbers, default=0) + 1
        self.tables.add(attempt(of, number=self.number))

    def let_time_pass(self) -> None:
        """The customer's time to act is over."""
        waiting = self.attempt
        assert waiting.act_before is not None
        self.tables.add(replace(waiting, act_before=LONG_AGO))

    def turn_to(self, kind: OperationKind, which: int = 1) -> None:
        """The first attempt of the operation of the kind is spoken of from here on; `which`: of several, by age."""
        found = [of.id for of in self.tables.operations.values() if of.kind is kind]
        self.operation_id, self.number = found[which - 1], 1

    def latest(self, kind: OperationKind) -> Operation:
        return [of for of in self.tables.operations.values() if of.kind is kind][-1]

    async def say(self, fact: Fact) -> None:
        """The fact is recorded about the attempt that is spoken of."""
        await self._recorder.record(
            Subject(self.payment.id, self.operation_id),
            attempt=self.number,
            fact=fact,
            token=self.attempt.token,
            abilities=self.abilities,
        )

    async def step(self, step: str) -> None:
        """One step of a play. What is done `first` is another event of the acquirer's than what follows."""
        if step.endswith(" first"):
            turn = every_fact(self.operation)[step.removesuffix(" first")]
            assert isinstance(turn, Undone | Redone | Foreign)
            await self.say(replace(turn, id=f"{turn.id}-first-{self.operation_id}"))
            return
        word, *more = step.split()
        match word, more:
            case "capture", [amount]:
                self.open(K.CAPTURE, int(amount), final=False)
            case "capture", ["last", amount]:
                self.open(K.CAPTURE, int(amount))
            case "refund", [amount]:
                self.open(K.REFUND, int(amount))
            case "void", []:
                self.open(K.VOID, self.payment.uncaptured_minor or self.payment.amount_minor)
            case "expire", []:
                self.open(K.EXPIRE, self.payment.uncaptured_minor)
            case "claimed", ["again"]:
                self.claim(self.operation)
            case "claimed", [kind]:  # what follows of our own
                self.claim(self.latest(K(kind)))
            case "later", []:
                self.let_time_pass()
            case "on", [kind]:
                self.turn_to(K(kind))
            case "on", [kind, which]:
                self.turn_to(K(kind), int(which))
            case "without", ["stage"]:  # as a row of an earlier version
                self.tables.add(replace(self.attempt, stage=None))
            case "decided", [verdict]:
                await self.decide(self.operation_id, Verdict(verdict))
            case "undoing", ["decided", verdict]:
                await self.decide(self.latest(K.UNDO).id, Verdict(verdict))
            case "case", ["decided", verdict]:
                await self.decide(self.latest(K.REVERSE).id, Verdict(verdict))
            case "reversal", ["confirmed"]:
                await self._recorder.complete(Subject(self.payment.id, self.latest(K.REVERSE).id))
            case "reversal", ["begun"]:
                await self._begin_reversal()
            case "told", ["to", "wait"]:
                await self._recorder.defer(Subject(self.payment.id, self.operation_id))
            case "not", ["tried", "again"]:
                subject, code = Subject(self.payment.id, self.operation_id), FailureCode.NOT_PROCESSED
                await self._recorder.give_up(subject, code=code)
            case "called", ["for"]:
                await self._recorder.review(Subject(self.payment.id, self.operation_id), reason="unknown")
            case _:
                await self.say(every_fact(self.operation)[step])

    async def _begin_reversal(self) -> None:
        subject = Subject(self.payment.id, self.operation_id)
        code = FailureCode.NOT_PROCESSED
        assert await self._recorder.begin_reversal(subject, token=self.attempt.token, code=code)

    async def decide(self, operation_id: str, verdict: Verdict) -> None:
        """A person decides, with the acquirer's reference where it happened."""
        happened = verdict in (Verdict.APPROVED, Verdict.PAID)
        decision = Decision(
            key=f"{operation_id} {verdict}",
            operation_id=operation_id,
            verdict=verdict,
            actor="somebody@somewhere",
            why="the acquirer's support said so",
            reference=f"acq-{operation_id}" if happened else None,
        )
        await self._recorder.decide(Subject(self.payment.id, operation_id), decision, accounts={})

    def check(self) -> None:
        """What holds of the rows whatever was said."""
        paid, operations = self.payment, self.tables.operations.values()
        held = sum(of.amount_undecided_minor for of in operations)
        assert held == paid.amount_capture_undecided_minor + paid.amount_refund_undecided_minor
        pending = [of for of in operations if of.kind.exclusive and of.status is O.PENDING]
        shown, accepted = paid.pending_operation, [of for of in pending if of.accepted_at is not None]
        assert [of.id for of in pending if of not in accepted] == ([] if shown is None else [shown["id"]])
        assert [(of.id, of.amount_minor) for of in accepted] == [
            (one["id"], one["amount"]) for one in paid.accepted
        ]
        asked = {of.id for of in operations if reviews.is_open(of)}
        assert set(self.tables.open_reviews) == asked
        assert (paid.review is not None) == bool(asked)
        assert [sequence for _, sequence, _ in self.tables.events] == list(range(1, paid.sequence + 1))
        closed = (PaymentStatus.VOIDED, PaymentStatus.EXPIRED, PaymentStatus.FAILED)
        assert paid.status not in closed or paid.amount_captured_minor == 0


async def play(line: str) -> Play:
    """The payment after the steps of the line."""
    how = max((how for how in HOW if line == how or line.startswith(f"{how},")), key=len)
    played = Play(how)
    for step in line[len(how) :].split(","):
        if step.strip():
            await played.step(step.strip())
    return played

"""An acquirer's own ledger of one payment: what reached it, what it did of that, and what it said at some time.

It keeps its own limits and says the truth as of then; what it said once it may say again, long after.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from payonce.connectors.base import Call
from payonce.domain.facts import (
    Accepted,
    ActionRequired,
    Approved,
    Cancelled,
    DeclineCode,
    Declined,
    Disputed,
    Expired,
    Fact,
    Foreign,
    Pending,
    Redone,
    Reversed,
    Stage,
    Turn,
    Undone,
)
from payonce.domain.ids import operation_id_of
from payonce.domain.operations import OperationKind

K = OperationKind
TURNS_MAX = 5
DISPUTED_MINOR = 300


class There(StrEnum):
    """Where a request of ours is, as the acquirer sees it."""

    ON_ITS_WAY = "on_its_way"
    LOST = "lost"  # it never arrives
    ASKS = "asks"  # its customer
    TAKEN = "taken"  # and not decided
    DONE = "done"
    DECLINED = "declined"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    REVERSED = "reversed"


UNDECIDED = (There.ON_ITS_WAY, There.ASKS, There.TAKEN)


class How(StrEnum):
    """What it makes of a request."""

    DOES = "does"
    DECLINES = "declines"
    TAKES = "takes"  # and decides later
    MISTAKES = "mistakes"  # the amount


@dataclass
class Dispute:
    """Of an authorization, as its bank has it."""

    id: str
    of: "Request"
    words: list[Disputed] = field(default_factory=list)

    def goes(self, stage: Any, status: Any, withdrawn_minor: int) -> None:
        at = datetime.now(UTC) - timedelta(days=1) + timedelta(seconds=len(self.words))
        said = Disputed(self.id, stage, status, DISPUTED_MINOR, "INR", withdrawn_minor, "fraud", at)
        self.words.append(said)

    @property
    def withdrawn_minor(self) -> int:
        return 0 if self.words[-1].stage == "inquiry" else self.words[-1].withdrawn_minor


@dataclass
class Request:
    """One attempt of ours."""

    call: Call
    number: int
    token: str
    serial: int
    there: There = There.ON_ITS_WAY
    moved: int = 0
    stage: Stage | None = None
    history: list[Turn] = field(default_factory=list)
    words: list[Fact] = field(default_factory=list)  # what it has said, or could have
    of: "Request | None" = None  # the authorization that it is about
    twin: bool = False  # the same request, carried out once more
    dispute: Dispute | None = None  # that it accepts
    lapsed: bool = False  # of an authorization: its time is over

    @property
    def kind(self) -> K:
        return self.call.kind

    @property
    def operation_id(self) -> str:
        return operation_id_of(self.call.reference)

    @property
    def reference(self) -> str:
        return f"acq-{self.serial}"

    @property
    def mistaken(self) -> bool:
        moves = self.kind in (K.AUTHORIZE, K.CAPTURE, K.REFUND)
        return moves and self.there is There.DONE and self.moved != self.call.amount_minor

    @property
    def undone(self) -> int:
        signs = {"undone": 1, "redone": -1, "foreign": 0}
        return sum(signs[turn.kind] * turn.amount_minor for turn in self.history)

    @property
    def stands(self) -> int:
        """What it moved, and was not taken back."""
        return self.moved - self.undone if self.there is There.DONE else 0

    def by_others(self, what: str) -> int:
        made = [turn for turn in self.history if isinstance(turn, Foreign) and turn.what == what]
        return sum(turn.amount_minor for turn in made)

    def says(self, turns: int | None = None) -> Fact | None:
        """Its word as things stand, when it knew of so many turns; None where it knows nothing of it."""
        dispute = None if self.dispute is None else self.dispute.words[-1]
        match self.there:
            case There.ON_ITS_WAY | There.LOST:
                return None
            case There.ASKS:
                page = {"type": "redirect", "url": "https://bank.example"}
                return ActionRequired(self.reference, page, datetime.now(UTC) + timedelta(hours=1))
            case There.TAKEN:
                pending = self.serial % 2 or self.kind is K.AUTHORIZE
                return Pending(self.reference) if pending else Accepted(self.reference)
            case There.DONE:
                since = tuple(self.history[:turns])
                return Approved(
                    self.reference, self.moved, "INR", stage=self.stage, since=since, dispute=dispute
                )
            case There.DECLINED:
                return Declined(DeclineCode.GENERIC_DECLINE, self.reference, dispute=dispute)
            case There.EXPIRED:
                return Expired(self.reference)
            case There.CANCELLED:
                return Cancelled()
            case There.REVERSED:
                return Reversed()

    def keep_word(self) -> None:
        said = self.says()
        if said is not None and said not in self.words:
            self.words.append(said)


@dataclass
class Acquirer:
    """All of one payment."""

    requests: list[Request] = field(default_factory=list)
    disputes: list[Dispute] = field(default_factory=list)
    made: int = 0

    def number(self) -> int:
        self.made += 1
        return self.made

    def arrives(self, request: Request, how: How) -> None:
        """It decides what is on its way, or was taken."""
        if request.there not in UNDECIDED:
            return
        if how is How.TAKES and request.there is There.ON_ITS_WAY:
            asks = request.kind is K.AUTHORIZE and request.serial % 3 == 0
            request.there = There.ASKS if asks else There.TAKEN
        elif how is How.DECLINES or not self.possible(request):
            request.there = There.DECLINED
        else:
            self._does(request, mistaken=how is How.MISTAKES)
        if request.dispute is not None and request.there not in UNDECIDED:
            accepted = request.there is There.DONE
            request.dispute.goes("chargeback", "lost" if accepted else "under_review", DISPUTED_MINOR)
        request.keep_word()

    def _does(self, request: Request, *, mistaken: bool) -> None:
        request.there = There.DONE
        moves = request.kind in (K.AUTHORIZE, K.CAPTURE, K.REFUND)
        less = 1 if mistaken and moves and request.call.amount_minor > 1 else 0
        request.moved = request.call.amount_minor - less
        if request.kind is K.AUTHORIZE:
            request.stage = Stage.CAPTURED if request.call.automatic_capture else Stage.AUTHORIZED

    def possible(self, request: Request) -> bool:
        """Whether its own limits allow it."""
        of, amount = request.of, request.call.amount_minor
        if request.kind in (K.AUTHORIZE, K.ACCEPT):
            return True
        if of is None:
            return False
        match request.kind:
            case K.CAPTURE:
                return self.alive(of) and amount <= of.moved - self.captured(of)
            case K.VOID:
                return self.alive(of) and self.captured(of) < of.moved
            case K.REFUND:
                return amount <= self.captured(of) - self.refunded(of)
            case _:
                raise AssertionError(request.kind)

    def alive(self, of: Request) -> bool:
        """Whether more of the authorization can be captured."""
        if of.there is not There.DONE or of.lapsed or of.stage is Stage.CAPTURED or of.by_others("void"):
            return False
        released = any(one.stands for one in self._about(of, K.VOID))
        return not released and not any(one.stands for one in self._about(of, K.CAPTURE) if one.call.final)

    def captured(self, of: Request) -> int:
        if of.there is not There.DONE:
            return 0
        by_itself = of.stands if of.stage is Stage.CAPTURED else 0
        return by_itself + sum(one.stands for one in self._about(of, K.CAPTURE)) + of.by_others("capture")

    def refunded(self, of: Request) -> int:
        if of.there is not There.DONE:
            return 0
        return sum(one.stands for one in self._about(of, K.REFUND)) + of.by_others("refund")

    def held(self, of: Request) -> int:
        """What it holds or has of the cardholder's money."""
        left = of.moved - self.captured(of) if self.alive(of) else 0
        return left + self.captured(of) - self.refunded(of)

    def reverses(self, reference: str) -> None:
        """Whatever the reference did is undone, and what is on its way under it is blocked."""
        for request in self.requests:
            if request.call.reference == reference:
                request.there = There.REVERSED
                request.keep_word()

    def does_twice(self, request: Request) -> Request | None:
        """The same is carried out once more, under another reference of its own; once, and not beyond its limits."""
        moves = request.kind in (K.AUTHORIZE, K.CAPTURE, K.REFUND)
        beside = any(one.twin or one.history for one in self.requests)
        if not moves or beside or not self.possible(request):
            return None
        twin = replace(request, serial=self.number(), twin=True, history=[], words=[], there=There.ON_ITS_WAY)
        self.requests.append(twin)
        self.arrives(twin, How.DOES)
        return twin

    def dashboard(self, of: Request, what: Any, amount: int) -> None:
        """Somebody captures, refunds or releases there; not beside what is being reversed, or done twice."""
        beside = [one for one in self.requests if one.twin or one.mistaken]
        if of.there is not There.DONE or len(of.history) >= TURNS_MAX or beside:
            return
        captured = self.captured(of)
        left = of.moved - captured if self.alive(of) else 0
        possible = {"capture": min(amount, left), "refund": min(amount, captured - self.refunded(of))}
        moved = possible.get(what, left)
        if moved:
            id_ = f"dashboard-{self.number()}-{of.call.reference}"
            of.history.append(Foreign(id_, what, moved, "INR"))
            of.keep_word()

    def takes_back(self, request: Request) -> None:
        """All of it, unless it was refunded."""
        of = request.of or request
        paid = request.kind is not K.AUTHORIZE or request.stage is Stage.CAPTURED
        turnable = request.kind is not K.ACCEPT and paid and not request.twin
        if not request.stands or not turnable or len(request.history) >= TURNS_MAX:
            return
        if request.kind in (K.CAPTURE, K.AUTHORIZE) and self.refunded(of):
            return
        id_ = f"undone-{self.number()}-{request.call.reference}"
        request.history.append(Undone(id_, request.stands, "INR", "rejected"))
        request.keep_word()

    def does_again(self, request: Request) -> None:
        """What it had taken back, where there is room for it."""
        if request.there is not There.DONE or not request.undone:
            return
        of = request.of or request
        uncaptured = of.moved - self.captured(of)
        refundable = self.captured(of) - self.refunded(of)
        room = {K.REFUND: refundable, K.VOID: request.undone if self.alive(of) else 0}
        if request.undone <= room.get(request.kind, uncaptured):
            id_ = f"redone-{self.number()}-{request.call.reference}"
            request.history.append(Redone(id_, request.undone, "INR"))
            request.keep_word()

    def captures_itself(self, of: Request) -> None:
        """As rails do that capture an automatic payment later."""
        if of.call.automatic_capture and self.alive(of) and not self.captured(of):
            of.stage = Stage.CAPTURED
            of.keep_word()

    def _about(self, of: Request, kind: K) -> Iterator[Request]:
        return (one for one in self.requests if one.of is of and one.kind is kind)

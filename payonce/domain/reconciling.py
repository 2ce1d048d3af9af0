"""What an acquirer's list of charges says against our books, charge by charge.

Compared are totals. What differs is explained by facts: the list says of each reference what an inquiry would, and
such a fact goes where every fact goes. What is not of our making is never touched. Pure: `payonce.reconciling` reads
the rows, asks `compare`, and carries out what it says.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from payonce.domain.facts import Approved, Reversed, Undone
from payonce.domain.operations import Attempt, AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.payment import Payment, PaymentStatus

LEFT_TO_WORKFLOW: Final = timedelta(hours=1)
"""What is pending here is left to its workflow for so long after finality, which is woken."""


STOPPED, UNDER_WAY, NO_LIST = "reconciliation_stopped", "reconciliation_under_way", "no_list"
UNFINISHED, LEFT_OUT = "reconciliation_unfinished", "reconciliation_left_out"
FINAL: Final = frozenset({STOPPED, UNDER_WAY, NO_LIST, UNFINISHED, LEFT_OUT})
"""Why a run ends that is not to be tried again at once."""
GIVEN_BACK: Final = "given back"
"""Of what stands there although its reversal counts as done here: who asked for it again would be told so again."""


class ComparisonResult(StrEnum):
    """What a comparison found. Source: the public contract, `api.md`."""

    MATCHED = "matched"
    MISSING_THERE = "missing_there"  # it succeeded here, and there is nothing
    CHARGED_THERE = "charged_there"  # it failed here, and money moved or is held
    ORPHAN = "orphan"  # ours by the form of its reference, and not known here
    FOREIGN = "foreign"  # somebody else's, at the same account
    AMOUNT = "amount"  # more or less moved than is known here
    RELEASED_THERE = "released_there"  # held here, and not any more there
    DOUBLE_CHARGE = "double_charge"  # two charges of one payment stand at the same time

    @property
    def is_alarming(self) -> bool:
        """Whether somebody must look while it is not settled."""
        return self not in (ComparisonResult.MATCHED, ComparisonResult.FOREIGN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What of a charge was moved and stands, in its currency's smallest unit."""

    authorized_minor: int
    captured_minor: int
    refunded_minor: int
    disputed_minor: int | None  # withdrawn, and not given back; None: the list does not say
    held_minor: int  # and may still be captured

    @property
    def net_minor(self) -> int:
        """What the customer has paid by it."""
        return max(0, self.captured_minor - self.refunded_minor - (self.disputed_minor or 0))

    @property
    def live(self) -> bool:
        """Whether the customer has paid, or something of theirs is held."""
        return self.net_minor > 0 or self.held_minor > 0


@dataclass(frozen=True, slots=True)
class Said:
    """What the acquirer says of one request under a charge, as an inquiry by its reference would."""

    id: str  # the acquirer's
    kind: OperationKind
    reference: str | None  # ours, as far as it says so
    amount_minor: int
    fact: Approved | Reversed

    @property
    def came_back(self) -> bool:
        """Whether it is a refund that was made, and that the bank sent back."""
        since = self.fact.since if isinstance(self.fact, Approved) else ()
        return self.kind is OperationKind.REFUND and bool(since) and isinstance(since[-1], Undone)


@dataclass(frozen=True, slots=True, kw_only=True)
class TheirCharge:
    """A charge as the acquirer lists it. The first of `said` is its authorization."""

    id: str
    reference: str | None
    currency: str
    created_at: datetime
    totals: Totals
    said: tuple[Said, ...]


@dataclass(frozen=True, slots=True)
class Ours:
    """What we know of an attempt that the acquirer names."""

    payment: Payment
    operation: Operation
    attempt: Attempt
    release: Operation | None = None  # what undoes it, where it succeeded after its failure
    besides_minor: int = 0  # captured late, and refunded by us: in none of the payment's amounts

    @property
    def kind(self) -> OperationKind:
        """What was sent to the acquirer."""
        sent = self.operation.sent_as or self.operation.kind
        return OperationKind.VOID if sent is OperationKind.EXPIRE else sent

    @property
    def changed_at(self) -> datetime:
        """When anything that is compared was last written here."""
        release = self.operation if self.release is None else self.release
        return max(self.payment.updated_at, self.operation.updated_at, release.updated_at)

    @property
    def given_back(self) -> bool:
        """Whether it succeeded after its failure, and counts as undone."""
        released = self.release is not None and self.release.status is OperationStatus.SUCCEEDED
        return released and self.operation.status is OperationStatus.FAILED

    @property
    def undecided(self) -> bool:
        """Whether its outcome is still to come."""
        return self.operation.status is OperationStatus.PENDING and not self.attempt.closed


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that a comparison found, and what is to be done about it."""

    result: ComparisonResult
    about: Said
    ours: Ours | None = None
    amount_here_minor: int | None = None
    amount_there_minor: int | None = None
    records: bool = False  # the fact is recorded
    detail: str = ""  # what tells it from another finding of the same kind about the same charge


@dataclass(frozen=True, slots=True)
class Compared:
    """What a charge came to. `wakes`: what waits for its outcome here, whose workflow is woken."""

    found: tuple[Difference, ...] = ()
    wakes: tuple[Ours, ...] = ()
    elsewhere: bool = False  # it is another account's of ours, at the same acquirer

    def only_orphans(self) -> "Compared":
        """No more of it than what no machine touches."""
        orphans = tuple(one for one in self.found if one.result is ComparisonResult.ORPHAN)
        return Compared(orphans, elsewhere=self.elsewhere)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFinding:
    """One row of `reconciliations`."""

    id: str
    merchant_id: str | None
    mode: str
    account: str
    run: str
    result: ComparisonResult
    payment_id: str | None
    operation_id: str | None
    amount_here_minor: int | None
    amount_there_minor: int | None
    currency: str | None
    acquirer_reference: str | None
    created_at: datetime
    settled_at: datetime | None = None
    settled_by: str | None = None


def compare(
    charge: TheirCharge,
    known: Mapping[str, Ours],
    *,
    account: str,
    is_apart: Callable[[Attempt], bool],
    has_our_form: Callable[[str], bool],
    finality_s: float,
    listed_at: datetime,
) -> Compared:
    """What the charge is against what is known of its references, by reference. Changes nothing.

    What changed here since a moment before it was listed is not judged: the list may be older than that, and has it
    again for two hours. `is_apart`: whether an attempt of another account was sent to another acquirer than this one,
    which then charged what nobody here asked it to.
    """
    before = listed_at - timedelta(seconds=finality_s)
    authorization = charge.said[0]
    own = known.get(charge.reference or "")
    if own is None or own.kind is not OperationKind.AUTHORIZE or is_apart(own.attempt):
        ours = own is not None or (charge.reference is not None and has_our_form(charge.reference))
        result = ComparisonResult.ORPHAN if ours else ComparisonResult.FOREIGN
        there = charge.totals.net_minor or charge.totals.held_minor
        return Compared((Difference(result, authorization, None, 0, there),))
    if own.attempt.connector_account != account:
        return Compared(elsewhere=True)
    found: list[Difference] = []
    wakes: list[Ours] = []
    for said in charge.said:
        part = part_of(charge, said, known)
        if part is None:
            if said.reference is not None and said.reference not in known and has_our_form(said.reference):
                found.append(Difference(ComparisonResult.ORPHAN, said, None, 0, said.amount_minor))
            continue
        if part.undecided:
            wakes.append(part)
            if before < part.attempt.claimed_at + LEFT_TO_WORKFLOW:
                continue
        elif part.changed_at >= before:
            continue
        if _charged(charge, said, part):
            found.append(
                Difference(
                    *(ComparisonResult.CHARGED_THERE, said, part, 0, said.amount_minor),
                    records=True,
                    detail=GIVEN_BACK if part.given_back else "",
                )
            )
    if not found and not wakes and own.changed_at < before and not _unsettled(own):
        found.append(_totals(charge, own, now=listed_at))
    return Compared(tuple(found), tuple(wakes))


def part_of(charge: TheirCharge, said: Said, known: Mapping[str, Ours]) -> Ours | None:
    """What we know of what is said of the charge: None also where it bears the reference of something else of ours.

    References stand where others may copy them: such a one says nothing of ours.
    """
    own, part = known.get(charge.reference or ""), known.get(said.reference or "")
    if own is None or part is None or part.kind is not said.kind:
        return None
    same = (own.payment.id, own.attempt.connector_account)
    return part if same == (part.payment.id, part.attempt.connector_account) else None


def _charged(charge: TheirCharge, said: Said, part: Ours) -> bool:
    """Whether it moved, or holds, what is not known to have moved here."""
    if isinstance(said.fact, Reversed) or (said.came_back and not part.undecided):
        return False
    if said.kind is OperationKind.AUTHORIZE and not charge.totals.live:
        return False
    if part.attempt.state is AttemptState.APPROVED:
        moves_money = said.kind is not OperationKind.VOID
        known_as = (part.attempt.connector_reference, part.operation.connector_reference)
        return moves_money and part.operation.decided_at is None and said.id not in known_as
    # What was decided by a person, or found under another attempt's reference, is known by the acquirer's id.
    succeeded = part.operation.status is OperationStatus.SUCCEEDED
    return not (succeeded and part.operation.connector_reference in (None, said.id))


def _unsettled(own: Ours) -> bool:
    """Whether something is under way for the payment, so that its totals are not what they will be."""
    payment = own.payment
    return (
        payment.pending_operation is not None
        or payment.amount_refund_pending_minor > 0
        or payment.amount_capture_undecided_minor > 0
        or (own.release is not None and own.release.status is not OperationStatus.SUCCEEDED)
        or own.operation.status is OperationStatus.PENDING
        or payment.review is not None
    )


def _totals(charge: TheirCharge, own: Ours, *, now: datetime) -> Difference:
    """The first of the totals that differs; or that all agree."""
    payment, there, said = own.payment, charge.totals, charge.said[0]
    if own.given_back and there.live and own.attempt.connector_reference == charge.id:
        live = (
            there.net_minor or there.held_minor
        )  # it was said to be undone: a machine would be told so again
        return Difference(ComparisonResult.CHARGED_THERE, said, own, 0, live, detail="given back")
    if own.operation.connector_reference != charge.id or own.operation.status is OperationStatus.FAILED:
        return Difference(ComparisonResult.MATCHED, said, own)  # it failed, and nothing of it stands there
    for name, ours, theirs in (
        ("captured", payment.amount_captured_minor + own.besides_minor, there.captured_minor),
        ("refunded", payment.amount_refunded_minor + own.besides_minor, there.refunded_minor),
        ("disputed", payment.amount_disputed_minor, there.disputed_minor),
    ):
        if theirs is not None and ours != theirs:
            detail = f"{name} {ours} {theirs}"
            return Difference(ComparisonResult.AMOUNT, said, own, ours, theirs, records=True, detail=detail)
    held = payment.uncaptured_minor if payment.status.capturable else 0
    expires = payment.capture_before is None or now < payment.capture_before
    if held and not there.held_minor and expires:
        return Difference(ComparisonResult.RELEASED_THERE, said, own, held, 0, records=True, detail=f"{held}")
    gone = payment.status in (PaymentStatus.VOIDED, PaymentStatus.FAILED)
    if gone and there.held_minor:
        detail = f"held 0 {there.held_minor}"
        return Difference(
            ComparisonResult.AMOUNT, said, own, 0, there.held_minor, records=True, detail=detail
        )
    return Difference(
        ComparisonResult.MATCHED, said, own, payment.amount_captured_minor, there.captured_minor
    )

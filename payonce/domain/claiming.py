"""Who may send, as pure decisions: what a COMMIT proves, who may claim next, what a release or NOT_FOUND may touch.

The rules are `design.md` §2, 1 to 3 and 8. Storage, claims and activities ask here; the explorer of the tests walks
every interleaving of the same functions.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from payonce.domain.operations import Attempt, AttemptState, OperationKind

SEND_WITHIN = timedelta(seconds=5)  # from the start of the claim's transaction, on the owner's own clock
CLOCK_SKEW = timedelta(seconds=2)  # what others add before they take a claim's time as over
# A COMMIT that is answered later proves nothing, and one without an answer closes the gate.
COMMIT_ANSWER_S = 1.0


class Durability(StrEnum):
    """On whose word an acknowledged commit survives the loss of the primary (`design.md` §2 rule 8)."""

    STANDBY = "standby"  # a synchronous standby's: watched at run time
    STORAGE = "storage"  # the operator's, that the volume is replicated synchronously below Postgres


class CommitEnd(StrEnum):
    """How a COMMIT ended, as the process saw it that sent it."""

    ANSWERED = "answered"  # with COMMIT, in time, without a warning, the gate open
    WARNED = "warned"  # answered, with a notice of severity WARNING: it may hold on this server only
    LATE = "late"  # answered after more than `COMMIT_ANSWER_S`
    # Answered while the gate was closed: emptied standby names answer exactly those that waited.
    GATED = "gated"
    LOST = "lost"  # an error, a closed socket, or no answer yet
    ROLLED_BACK = "rolled_back"  # Postgres says that nothing of the transaction holds

    @property
    def proves(self) -> bool:
        """Whether what was committed holds, also after a fail-over: only then it grants or says anything.

        Source: PostgreSQL 18, `SyncRepWaitForLSN`: a cancelled or terminated wait, emptied names and a restarted
        primary all end the wait for the standby with the transaction committed locally.
        """
        return self is CommitEnd.ANSWERED

    @property
    def nothing_holds(self) -> bool:
        """Whether it is certain that nothing was committed."""
        return self is CommitEnd.ROLLED_BACK


def commit_end(*, warned: bool, took_s: float, gate_open: bool) -> CommitEnd:
    """What an answered COMMIT is worth."""
    if warned:
        return CommitEnd.WARNED
    if not gate_open:
        return CommitEnd.GATED
    return CommitEnd.LATE if took_s > COMMIT_ANSWER_S else CommitEnd.ANSWERED


def next_number(latest: Attempt | None, *, pending: bool, has_data: bool) -> int | None:
    """The number that a run may claim; None where it may not: it inquires, or waits for who holds the data.

    `pending`: the operation has no outcome, and does not end with another one. `has_data`: whoever claims holds all
    that the acquirer needs. A claimed attempt is never taken over. Of an acceptance, which a dispute has once
    however often it is asked for, also an attempt that was proven not to have been processed is followed by another.
    """
    if not pending or not has_data:
        return None
    if latest is None:
        return 1
    if latest.kind is OperationKind.ACCEPT and latest.state is AttemptState.NOT_PROCESSED:
        return latest.number + 1
    return latest.number + 1 if latest.state is AttemptState.NOT_SENT else None


class Release(StrEnum):
    """What a claim's owner finds, under the lock, when it gives the claim back unsent."""

    GIVEN_BACK = "given_back"  # it stands as claimed, and becomes `not_sent`
    ALREADY = "already"  # no attempt stands: it was given back before, or never held
    NEVER_HELD = "never_held"  # the claim's transaction is known to hold nothing
    OTHERS = "others"  # another claim of the operation stands, or this one has come further

    @property
    def unsent(self) -> bool:
        """Whether this claim will never be sent and no other attempt stands: 503 is true, once this is proven."""
        match self:
            case Release.GIVEN_BACK | Release.ALREADY | Release.NEVER_HELD:
                return True
            case Release.OTHERS:
                return False
            case _:
                assert_never(self)


def release(latest: Attempt | None, *, number: int, token: str) -> Release:
    """What the release of claim `number` with this token may do, by the operation's latest attempt under the lock.

    The boot id alone would not do: after a fail-over the same process may hold another claim of the same number.
    """
    if latest is None:
        return Release.NEVER_HELD
    if latest.state is AttemptState.NOT_SENT:  # this claim, a later one that followed it, or an earlier one
        return Release.ALREADY
    mine = (latest.number, latest.token) == (number, token)
    return Release.GIVEN_BACK if mine and latest.state is AttemptState.CLAIMED else Release.OTHERS


def concerns(attempt: Attempt, *, token: str | None) -> bool:
    """Whether something that was found out about a claim holds for this row; None: whoever holds it.

    NOT_FOUND, the reversal that follows from it, and an owner's "nothing was sent" say something about one claim.
    """
    return token is None or attempt.token == token


def owner_may_send(attempt: Attempt, now: datetime) -> bool:
    """Whether the claim's owner may still be about to send, by the database's clock."""
    return attempt.state is AttemptState.CLAIMED and now < attempt.send_before + CLOCK_SKEW


def unanswered_until(attempt: Attempt, *, call_deadline_s: float, finality_s: float) -> datetime:
    """Until when NOT_FOUND proves nothing: the owner may still send, the call may still arrive or settle."""
    return attempt.send_before + CLOCK_SKEW + timedelta(seconds=call_deadline_s + finality_s)


def not_found_proves(attempt: Attempt, now: datetime, *, call_deadline_s: float, finality_s: float) -> bool:
    """Whether NOT_FOUND, asked for at `now` or later, says that the claim was not processed and never will be."""
    final = now >= unanswered_until(attempt, call_deadline_s=call_deadline_s, finality_s=finality_s)
    return final and attempt.state in (AttemptState.CLAIMED, AttemptState.UNKNOWN)


def same_acquirer(attempt: Attempt, identity: str | None) -> bool:
    """Whether the account, which the acquirer calls so by now, is the one that the attempt was claimed for.

    Only that one's "not known" and "reversed" say anything: with another one's keys in its place, the money may have
    moved where nobody is asked.
    """
    return attempt.acquirer_identity == identity


def reversal_may_begin(attempt: Attempt, *, token: str) -> bool:
    """Whether the claim that was inquired may be marked `reversing`, by its row under the lock.

    The acquirer is called once the mark is proven. One that was only read is made again: it may be local.
    """
    undecided = (AttemptState.CLAIMED, AttemptState.UNKNOWN, AttemptState.REVERSING)
    return concerns(attempt, token=token) and attempt.state in undecided

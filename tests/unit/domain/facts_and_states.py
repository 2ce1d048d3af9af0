"""The table: what each fact makes of each state of an operation, its attempt and its payment.

A row is a state of an operation and of the attempt that is spoken of, with what is particular about it, and plays
that lead there, for every status that the payment may have then. Its cells say what becomes of it by each fact: a
named outcome, or that nothing changes, and why. What others do at the acquirer depends on the payment alone, but for
what `cells` says (`FOREIGN`). What cannot be says why (`UNREACHABLE`). One table, so one file, however long.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from payonce.domain.operations import AttemptState, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from tests.unit.domain import named_outcomes as to
from tests.unit.domain.becoming import Nothing, Outcome

S, K, A, O = PaymentStatus, OperationKind, AttemptState, OperationStatus
Becomes = Outcome | Nothing
State = tuple[OperationKind, OperationStatus, AttemptState]
Cells = Mapping[str, Becomes]


@dataclass(frozen=True)
class Row:
    """`but`: where the payment's status makes a difference."""

    name: str
    state: State
    plays: tuple[str, ...]
    cells: Cells
    but: Mapping[tuple[str, PaymentStatus], Becomes] = field(default_factory=dict)

    def becomes(self, fact: str, status: PaymentStatus, *, busy: bool) -> Becomes | None:
        """None: the table does not say. `busy`: a capture, void or expiry is pending."""
        by_status = self.but.get((fact, status))
        return by_status or self.cells.get(fact) or FOREIGN.get((fact, status, busy))


def cells(*groups: tuple[tuple[str, ...], Becomes]) -> Cells:
    return {fact: becomes for facts, becomes in groups for fact in facts}


# Facts that mostly mean the same.

APPROVALS = ("approved", "authorized", "captured")
ELSEWHERE = ("approved elsewhere",)
OTHERWISE = ("approved less", "approved more", "approved in dollars")
NO = ("declined", "refused", "expired", "cancelled")
PROOFS = (*NO, "reversed", "not processed")
ASKS = ("action required", "action required too late")
DOUBTS = ("pending", "unknown", "accepted", *ASKS)
UNSENT = ("unsent",)
UNDOINGS = ("undone", "part undone", "undone in dollars")
REDOINGS = ("redone", "part redone")
TURNS = (*UNDOINGS, *REDOINGS)
REFUNDS = ("foreign refund", "foreign part refund", "foreign refund in dollars")
CAPTURES = ("foreign capture", "foreign part capture")
PART_VOIDS = ("foreign part void", "foreign void in dollars")

# Why nothing changes.

TURN_FIRST = Nothing(
    "an acquirer says what has become of a success after that success, in one answer: the approval is recorded first,"
    " and each answer after this one brings the turn again"
)
DOUBTED_ALREADY = Nothing("it is in doubt already, and inquired about")
WAITS_ALREADY = Nothing("the customer was asked, may act, and is waited for; the deadline never moves")
MAY_HAVE_BEEN_SENT = Nothing(
    "only while it is claimed can its owner say so; since then it may have been sent"
)
BEING_REVERSED = Nothing(
    "whatever it did is being undone by its reference, or a person decides that is called for it; only the end of"
    " that counts"
)
NEVER_SENT = Nothing("it was given back unsent: that nothing came of it is what is recorded")
NOBODY_WAITS = Nothing(
    "it was given back unsent, and nobody waits for it; a success of it is heard of by callback or settlement, and is"
    " then a case"
)
SAME_MONEY = Nothing("the operation has succeeded by this very success, under the acquirer's reference of it")
KNOWN = Nothing("it is what is recorded")
OLD_DOUBT = Nothing("doubt is older than what is known since")
OUR_CONCLUSION = Nothing(
    "it is our own conclusion from what the acquirer did not know then, and it knows more since"
)
AGREES = Nothing("that nothing came of it is what is recorded; the first reason stands")
AMOUNT_WAS_RIGHT = Nothing(
    "the amount was right when it was approved, and what has changed since is said by turns; that the acquirer's"
    " books differ is found by reconciliation, which compares amounts"
)
RELEASED_IS_RELEASED = Nothing(
    "what was released has no amount of its own, and being released twice is released"
)
GONE_ALREADY = Nothing("all of it was taken back, or released, already: nothing of it stands")
CASE_STANDS = Nothing("the case stands for it, and is undone by us or decided by a person")
CASE_IS_OVER = Nothing("its case has ended: what the acquirer holds now it says by turns")
NOT_THIS_PAYMENTS = Nothing("a person said that it is none of this payment's")
SAID_BEFORE = Nothing("it is what the acquirer had said before a person decided otherwise, who knew that")
PERSON_SAID_SO = Nothing("a person decided just that, and may have mistyped the acquirer's reference")

# What others do at the acquirer, by the payment: its status, and whether a capture, void or expiry is pending.

OPEN = (S.AUTHORIZED, S.PARTIALLY_CAPTURED)
UNDECIDED = (S.INIT, S.REQUIRES_ACTION, S.PROCESSING)
OVER = (S.CAPTURED, S.PARTIALLY_REFUNDED, S.REFUNDED, S.VOIDED, S.EXPIRED, S.FAILED)
FOREIGN: Final[Mapping[tuple[str, PaymentStatus, bool], Becomes]] = {
    **{
        (fact, status, busy): to.BOOKED
        for fact in (*REFUNDS, *CAPTURES)
        for status in S
        for busy in (True, False)
    },
    **{("foreign void", status, False): to.RELEASED for status in OPEN},
    **{("foreign void", status, True): to.RELEASE_HELD for status in (*OPEN, *UNDECIDED)},
    **{("foreign void", status, False): to.RELEASE_HELD for status in UNDECIDED},
    **{
        (fact, status, busy): to.RELEASE_HELD
        for fact in PART_VOIDS
        for status in (*OPEN, *UNDECIDED)
        for busy in (True, False)
    },
    **{
        (fact, status, busy): to.ONLY_TOLD
        for fact in ("foreign void", *PART_VOIDS)
        for status in OVER
        for busy in (True, False)
    },
}

# Operations without an outcome.

PENDING = cells(
    ((*APPROVALS, *ELSEWHERE), to.DONE),
    (OTHERWISE, to.TO_BE_REVERSED),
    (PROOFS, to.FAILED),
    (DOUBTS, to.DOUBTED),
    (TURNS, TURN_FIRST),
)
CLAIMED = {**PENDING, **cells((UNSENT, to.UNSENT))}
UNKNOWN = {**PENDING, **cells((("pending", "unknown"), DOUBTED_ALREADY), (UNSENT, MAY_HAVE_BEEN_SENT))}
NOT_SENT = cells(
    ((*APPROVALS, *ELSEWHERE, *OTHERWISE), to.LATE),
    (PROOFS, NEVER_SENT),
    (DOUBTS, NOBODY_WAITS),
    (UNSENT, KNOWN),
    (TURNS, TURN_FIRST),
)
REVERSING = cells(
    ((*APPROVALS, *OTHERWISE, *NO, *DOUBTS, *UNSENT, *TURNS), BEING_REVERSED),
    (ELSEWHERE, to.LATE),
    (("reversed", "not processed"), to.FAILED),
)
RELEASES = cells((OTHERWISE, to.DONE))  # what releases has no amount of its own

# Authorizations without an outcome.

MANUAL = cells(
    (("approved", "authorized"), to.AUTHORIZED),
    (("captured", *ELSEWHERE), to.CAPTURED),
    (("action required",), to.ASKED),
)
AUTOMATIC = {**MANUAL, **cells((("approved", "authorized"), to.CAPTURE_FOLLOWS))}
BY_RAIL = {**MANUAL, **cells((("approved", "authorized"), to.WAITS_FOR_RAIL))}
WAITING = {
    **UNKNOWN,
    **cells((("pending", "unknown", *ASKS), WAITS_ALREADY)),
}
LET_WAIT = {**CLAIMED, **cells((UNSENT, MAY_HAVE_BEEN_SENT))}
GIVEN_UP = cells(
    (("approved", "authorized"), to.AUTHORIZED),
    (("captured", *ELSEWHERE), to.REFUND_FOLLOWS),
    (PROOFS, to.VOIDED_INSTEAD),
)
AUTHORIZE_CLAIMED: Final = (K.AUTHORIZE, O.PENDING, A.CLAIMED)
AUTHORIZE_UNKNOWN: Final = (K.AUTHORIZE, O.PENDING, A.UNKNOWN)
AUTHORIZE_WAITING: Final = (K.AUTHORIZE, O.PENDING, A.WAITING)
AUTHORIZE_REVERSING: Final = (K.AUTHORIZE, O.PENDING, A.REVERSING)
AUTHORIZATIONS_PENDING: Final = (
    Row("manual, claimed", AUTHORIZE_CLAIMED, ("manual",), {**CLAIMED, **MANUAL}),
    Row("automatic, claimed", AUTHORIZE_CLAIMED, ("automatic",), {**CLAIMED, **AUTOMATIC}),
    Row(
        "captured by the rail, claimed", AUTHORIZE_CLAIMED, ("automatic by the rail",), {**CLAIMED, **BY_RAIL}
    ),
    Row(
        "claimed, and the merchant told to wait",
        AUTHORIZE_CLAIMED,
        ("automatic, told to wait",),
        {**CLAIMED, **AUTOMATIC},
    ),
    Row("manual, unknown", AUTHORIZE_UNKNOWN, ("manual, unknown",), {**UNKNOWN, **MANUAL}),
    Row("automatic, unknown", AUTHORIZE_UNKNOWN, ("automatic, unknown",), {**UNKNOWN, **AUTOMATIC}),
    Row(
        "captured by the rail, found authorized",
        AUTHORIZE_UNKNOWN,
        ("automatic by the rail, authorized",),
        {**UNKNOWN, **BY_RAIL, **cells((("approved", "authorized"), DOUBTED_ALREADY))},
    ),
    Row(
        "manual, waiting",
        AUTHORIZE_WAITING,
        ("manual, action required",),
        {**WAITING, **MANUAL, **cells((ASKS, WAITS_ALREADY))},
    ),
    Row(
        "automatic, waiting",
        AUTHORIZE_WAITING,
        ("automatic, action required",),
        {**WAITING, **AUTOMATIC, **cells((ASKS, WAITS_ALREADY))},
    ),
    Row(
        "waiting, and the time to act is over",
        AUTHORIZE_WAITING,
        ("automatic, action required, later",),
        {**LET_WAIT, **AUTOMATIC, **cells((ASKS, to.DOUBTED))},
    ),
    Row(
        "unknown since the time to act was over",
        AUTHORIZE_UNKNOWN,
        ("automatic, action required, later, unknown",),
        {**UNKNOWN, **AUTOMATIC, **cells((ASKS, DOUBTED_ALREADY))},
    ),
    Row(
        "given up by a void while the customer may act",
        AUTHORIZE_UNKNOWN,
        ("automatic, action required, void", "manual, action required, void"),
        {**WAITING, **GIVEN_UP},
    ),
    Row(
        "given up by a void after the time to act",
        AUTHORIZE_UNKNOWN,
        ("automatic, action required, later, unknown, void",),
        {**UNKNOWN, **GIVEN_UP, **cells((ASKS, DOUBTED_ALREADY))},
    ),
    Row(
        "approved with another amount, to be reversed",
        AUTHORIZE_REVERSING,
        ("automatic, approved less", "manual, approved in dollars"),
        REVERSING,
    ),
    Row(
        "not found, being reversed",
        AUTHORIZE_REVERSING,
        ("automatic, unknown, reversal begun",),
        {**REVERSING, **cells((APPROVALS, to.LATE), (OTHERWISE, to.LATE))},
    ),
    Row(
        "given up, not found, being reversed",
        AUTHORIZE_REVERSING,
        ("automatic, action required, void, reversal begun",),
        {**REVERSING, **cells((("reversed", "not processed"), to.VOIDED_INSTEAD))},
    ),
    Row(
        "given up, then approved with another amount",
        AUTHORIZE_REVERSING,
        ("automatic, action required, void, approved less",),
        {**REVERSING, **cells((("reversed", "not processed"), to.VOIDED_INSTEAD))},
    ),
)

# An authorization's attempt that was not sent: another one may have followed it, with whatever outcome.

UNSENT_ATTEMPTS: Final = (
    Row(
        "not sent, and no other followed, or one that is pending",
        (K.AUTHORIZE, O.PENDING, A.NOT_SENT),
        (
            "automatic, unsent",
            "automatic, unsent, claimed again, on authorize",
            "automatic, unsent, claimed again, unknown, on authorize",
            "automatic, unsent, claimed again, action required, on authorize",
            "automatic, not reversible, unsent",
        ),
        NOT_SENT,
    ),
    Row(
        "not sent, and none succeeded",
        (K.AUTHORIZE, O.FAILED, A.NOT_SENT),
        (
            "automatic, unsent, claimed again, declined, on authorize",
            "automatic, unsent, claimed again, action required, void, cancelled, on authorize",
        ),
        NOT_SENT,
    ),
    Row(
        "not sent, and another succeeded",
        (K.AUTHORIZE, O.SUCCEEDED, A.NOT_SENT),
        (
            "automatic, unsent, claimed again, captured, on authorize",
            "automatic, unsent, claimed again, captured, refund 300, approved, on authorize",
            "automatic, unsent, claimed again, captured, refund 1000, approved, on authorize",
            "manual, unsent, claimed again, authorized, on authorize",
            "manual, unsent, claimed again, authorized, capture 400, approved, on authorize",
            "manual, unsent, claimed again, authorized, void, approved, on authorize",
            "manual, unsent, claimed again, authorized, expire, approved, on authorize",
        ),
        {**NOT_SENT, **cells((APPROVALS, SAME_MONEY), (OTHERWISE, SAME_MONEY))},
    ),
)

# Authorizations that succeeded.

SUCCEEDED = cells(
    (APPROVALS, KNOWN),
    (ELSEWHERE, to.LATE),
    (OTHERWISE, AMOUNT_WAS_RIGHT),
    (NO, to.CONTRADICTED),
    (("reversed",), to.REVERSED_THERE),
    (("not processed",), OUR_CONCLUSION),
    ((*DOUBTS, *UNSENT), OLD_DOUBT),
    (("undone", "part undone"), to.TAKEN_BACK),
    (("undone in dollars", *REDOINGS), to.HELD),
)
AUTHORIZED_ONLY = {
    **SUCCEEDED,
    **cells(
        (("captured",), to.BY_THE_RAIL),
        (OTHERWISE, to.CAPTURED_BY_OTHERS),
        (NO, to.CONTRADICTED_AUTHORIZATION),
        (("reversed",), to.RELEASED),
        (UNDOINGS, to.HELD),
    ),
}
RELEASED_AUTHORIZATION = {
    **AUTHORIZED_ONLY,
    **cells(
        (("captured",), to.CAPTURED_BY_OTHERS),
        ((*NO, "reversed"), GONE_ALREADY),
    ),
}
CAPTURED_BY_CAPTURES = {
    **AUTHORIZED_ONLY,
    **cells(
        (("captured",), to.CAPTURED_BY_OTHERS),
        ((*NO, "reversed"), to.CONTRADICTED_CAPTURES),
    ),
}
APPROVED: Final = (K.AUTHORIZE, O.SUCCEEDED, A.APPROVED)
AUTHORIZATIONS: Final = (
    Row("authorized", APPROVED, ("manual, authorized",), AUTHORIZED_ONLY),
    Row(
        "authorized, a capture or void of the merchant's is pending",
        APPROVED,
        (
            "manual, authorized, capture 1000, on authorize",
            "manual, authorized, void, unknown, on authorize",
            "manual, authorized, expire, on authorize",
        ),
        {
            **AUTHORIZED_ONLY,
            **cells((("captured",), to.CAPTURED_BY_OTHERS), (("reversed",), to.RELEASE_HELD)),
        },
    ),
    Row(
        "authorized, our own capture is to be sent",
        APPROVED,
        ("automatic, authorized", "automatic, authorized, claimed capture, unsent, on authorize"),
        {
            **AUTHORIZED_ONLY,
            **cells((("reversed",), to.RELEASE_HELD), (("foreign capture",), to.BY_OTHERS_INSTEAD)),
        },
    ),
    Row(
        "authorized, our own capture was sent",
        APPROVED,
        ("automatic, authorized, claimed capture, unknown, on authorize",),
        {
            **AUTHORIZED_ONLY,
            **cells((("captured",), to.BY_RAIL_OR_US), (("reversed",), to.RELEASE_HELD)),
        },
    ),
    Row(
        "captured by the rail, our own capture was sent",
        APPROVED,
        ("automatic, authorized, claimed capture, unknown, on authorize, captured",),
        {
            **SUCCEEDED,
            **cells(
                (("undone", "part undone"), to.RAILS_CAPTURE_UNDONE),
                (NO, to.RAILS_CAPTURE_CONTRADICTED),
                (("reversed",), to.RAILS_CAPTURE_UNDONE),
            ),
        },
    ),
    Row(
        "captured by the rail, which ours may have been, and ours was taken back",
        APPROVED,
        (
            "automatic, authorized, claimed capture, unknown, on authorize, captured, on capture, approved,"
            " undone first, on authorize",
        ),
        {
            **SUCCEEDED,
            **cells((("undone", "part undone"), to.HELD), ((*NO, "reversed"), to.HELD_WHOLE)),
        },
    ),
    Row(
        "authorized, our own capture failed, our own void is pending",
        APPROVED,
        ("automatic, authorized, claimed capture, declined, on authorize",),
        {
            **AUTHORIZED_ONLY,
            **cells((("captured",), to.CAPTURED_BY_OTHERS), (("reversed",), to.RELEASE_HELD)),
        },
    ),
    Row(
        "given up, then authorized, its void is to be sent",
        APPROVED,
        ("automatic, action required, void, authorized",),
        {
            **AUTHORIZED_ONLY,
            **cells((("captured",), to.CAPTURED_BY_OTHERS), (("reversed",), to.RELEASE_HELD)),
        },
    ),
    Row(
        "given up, then captured, our own refund is pending",
        APPROVED,
        ("automatic, action required, void, captured",),
        SUCCEEDED,
    ),
    Row(
        "released",
        APPROVED,
        (
            "manual, authorized, void, approved, on authorize",
            "manual, authorized, expire, approved, on authorize",
        ),
        RELEASED_AUTHORIZATION,
    ),
    Row(
        "captured by captures of their own",
        APPROVED,
        (
            "manual, authorized, capture last 400, approved, on authorize",
            "manual, authorized, capture 1000, approved, refund 300, approved, on authorize",
            "manual, authorized, capture 1000, approved, refund 1000, approved, on authorize",
            "automatic, authorized, claimed capture, approved, on authorize",
        ),
        CAPTURED_BY_CAPTURES,
    ),
    Row(
        "captured in part by a capture of its own",
        APPROVED,
        ("manual, authorized, capture 400, approved, on authorize",),
        {
            **CAPTURED_BY_CAPTURES,
            **cells((NO, to.CONTRADICTED_AUTHORIZATION), (("reversed",), to.RELEASED)),
        },
    ),
    Row(
        "authorized, and its captures were taken back",
        APPROVED,
        (
            "manual, authorized, capture 1000, approved, undone first, on authorize",
            "manual, authorized, capture 1000, approved, refund 300, approved, on capture, undone first,"
            " on authorize",
        ),
        {**AUTHORIZED_ONLY, **cells((("captured",), to.CAPTURED_BY_OTHERS))},
    ),
    Row(
        "captured with it",
        APPROVED,
        (
            "automatic, captured",
            "automatic, captured, refund 300, approved, on authorize",
            "automatic, captured, refund 1000, approved, on authorize",
        ),
        SUCCEEDED,
    ),
    Row(
        "captured with it, by an earlier version, which kept no stage",
        APPROVED,
        ("automatic, captured, without stage",),
        SUCCEEDED,
    ),
    Row(
        "captured with it, and taken back whole",
        APPROVED,
        (
            "automatic, captured, undone first",
            "automatic, captured, undone first, void, approved, on authorize",
            "automatic, captured, undone first, expire, approved, on authorize",
        ),
        {
            **SUCCEEDED,
            **cells(((*NO, "reversed"), GONE_ALREADY), (UNDOINGS, to.HELD), (REDOINGS, to.DONE_AGAIN)),
        },
        but={("reversed", S.AUTHORIZED): to.RELEASED},
    ),
    Row(
        "captured with it, and taken back in part",
        APPROVED,
        ("automatic, captured, part undone first",),
        {**SUCCEEDED, **cells((REDOINGS, to.DONE_AGAIN))},
    ),
)


# Authorizations that failed, and what became of their late success.

OVER_AND_NOTHING_CAME = cells(
    ((*APPROVALS, *ELSEWHERE, *OTHERWISE), to.LATE),
    (PROOFS, AGREES),
    ((*DOUBTS, *UNSENT), OLD_DOUBT),
    (TURNS, TURN_FIRST),
)
CASE_OPEN = cells(
    ((*APPROVALS, *ELSEWHERE, "approved less"), CASE_STANDS),
    (("approved more", "approved in dollars"), to.STATED_MORE),
    ((*NO, "not processed"), CASE_STANDS),
    (("reversed",), to.CASE_ENDED),
    ((*DOUBTS, *UNSENT), OLD_DOUBT),
    (("undone",), to.CASE_ENDED),
    (("part undone",), to.CASE_LESSENED),
    (("undone in dollars", *REDOINGS), to.ONLY_TOLD),
)
CASE_ENDED = {
    **CASE_OPEN,
    **cells(
        ((*APPROVALS, *ELSEWHERE, *OTHERWISE, *NO, "reversed", "not processed"), CASE_IS_OVER),
        (UNDOINGS, to.ONLY_TOLD),
        (REDOINGS, to.CASE_OPEN_AGAIN),
    ),
}
CASE_DISMISSED = {
    **CASE_ENDED,
    **cells(
        ((*APPROVALS, *ELSEWHERE, *OTHERWISE), NOT_THIS_PAYMENTS),
        (TURNS, to.ONLY_TOLD),
    ),
}
OF_AUTHORIZATION = cells(
    (("approved in dollars",), CASE_STANDS),
    (("foreign refund", "foreign void"), to.CASE_ENDED),
)
DECLINED: Final = (K.AUTHORIZE, O.FAILED, A.DECLINED)
NOT_PROCESSED: Final = (K.AUTHORIZE, O.FAILED, A.NOT_PROCESSED)
AUTHORIZATIONS_FAILED: Final = (
    Row(
        "declined",
        DECLINED,
        ("manual, declined", "automatic, action required, declined"),
        OVER_AND_NOTHING_CAME,
    ),
    Row(
        "declined after it was given up",
        DECLINED,
        ("automatic, action required, void, declined",),
        OVER_AND_NOTHING_CAME,
    ),
    Row(
        "not processed",
        NOT_PROCESSED,
        (
            "manual, not processed",
            "automatic, not reversible, refused",
            "automatic, action required, void, cancelled",
            "automatic, approved less, reversed",
        ),
        OVER_AND_NOTHING_CAME,
    ),
    Row(
        "its late success is being reversed",
        DECLINED,
        ("automatic, declined, captured",),
        {**CASE_OPEN, **OF_AUTHORIZATION},
    ),
    Row(
        "its late success, given up before, is being reversed",
        NOT_PROCESSED,
        ("automatic, action required, void, cancelled, captured",),
        {**CASE_OPEN, **OF_AUTHORIZATION},
    ),
    Row(
        "its late success is to be released by a refund",
        DECLINED,
        ("automatic, not reversible, declined, captured",),
        {**CASE_OPEN, **OF_AUTHORIZATION},
    ),
    Row(
        "its late authorization is to be released by a void, unless the rail captures it",
        DECLINED,
        ("automatic, not reversible, declined, authorized",),
        {
            **CASE_OPEN,
            **OF_AUTHORIZATION,
            **cells(
                (("captured", *ELSEWHERE, "approved less", "approved in dollars"), to.CAPTURED_LATER),
                (("approved more",), to.CAPTURED_LATER_AND_MORE),
            ),
        },
    ),
    Row(
        "its late authorization was to be released by a void, which was sent",
        DECLINED,
        ("automatic, not reversible, declined, authorized, claimed reverse, on authorize",),
        {
            **CASE_OPEN,
            **OF_AUTHORIZATION,
            **cells((("captured", *ELSEWHERE, "approved less", "approved in dollars"), to.KNOWN_AS_CAPTURED)),
        },
    ),
    Row(
        "its late authorization was released by our void",
        DECLINED,
        ("automatic, not reversible, declined, authorized, claimed reverse, approved, on authorize",),
        {**CASE_ENDED, **cells((("captured", *ELSEWHERE, *OTHERWISE), to.CAPTURED_THOUGH_RELEASED))},
    ),
    Row(
        "the release of its late success was refused: for a person",
        DECLINED,
        ("automatic, not reversible, declined, captured, claimed reverse, declined, on authorize",),
        {**CASE_OPEN, **OF_AUTHORIZATION},
    ),
    Row(
        "its late success was undone in part",
        DECLINED,
        ("automatic, declined, captured, part undone first",),
        {
            **CASE_OPEN,
            **OF_AUTHORIZATION,
            **cells((REDOINGS, to.CASE_HOLDS_AGAIN)),
        },
    ),
    Row(
        "its late success was reversed by us",
        DECLINED,
        ("automatic, declined, captured, reversal confirmed",),
        CASE_ENDED,
    ),
    Row(
        "its late success was undone by the acquirer",
        DECLINED,
        (
            "automatic, declined, captured, undone first",
            "automatic, not reversible, declined, captured, reversed",
        ),
        CASE_ENDED,
    ),
    Row(
        "its late success was refunded by us",
        DECLINED,
        ("automatic, not reversible, declined, captured, claimed reverse, approved, on authorize",),
        {**CASE_ENDED, **cells((UNDOINGS, to.WENT_BACK_TWICE))},
    ),
    Row(
        "a person said that its late success was undone",
        DECLINED,
        (
            "automatic, not reversible, declined, captured, claimed reverse, declined, case decided reversed,"
            " on authorize",
        ),
        CASE_ENDED,
    ),
    Row(
        "a person said that its late success is none of this payment's",
        DECLINED,
        (
            "automatic, not reversible, declined, captured, claimed reverse, declined, case decided orphan,"
            " on authorize",
        ),
        CASE_DISMISSED,
    ),
)


# Captures, voids and expiries.

CAPTURE_ENDED = {
    **SUCCEEDED,
    **cells((APPROVALS, KNOWN)),
}
TAKEN_BACK_WHOLE = {
    **CAPTURE_ENDED,
    **cells(((*NO, "reversed"), GONE_ALREADY), (UNDOINGS, to.HELD), (REDOINGS, to.DONE_AGAIN)),
}
FAILED = {**OVER_AND_NOTHING_CAME}
GIVEN_UP_UNSENT = NOT_SENT
CAPTURES_PENDING_IN: Final = (
    "manual, authorized, capture 400{}",
    "manual, authorized, capture 300, approved, capture 400{}",
)
CAPTURES_FAILED_IN: Final = (
    "manual, authorized, capture 400{}",
    "manual, authorized, capture 400{}, capture 300, approved, on capture",
    "manual, authorized, capture 400{}, capture last 300, approved, on capture",
    "manual, authorized, capture 400{}, capture last 300, approved, refund 100, approved, on capture",
    "manual, authorized, capture 400{}, capture last 300, approved, refund 300, approved, on capture",
    "manual, authorized, capture 400{}, void, approved, on capture",
    "manual, authorized, capture 400{}, expire, approved, on capture",
)
CAPTURES_STANDING_IN: Final = (
    "manual, authorized, capture 400{}",
    "manual, authorized, capture last 400{}",
    "manual, authorized, capture last 400{}, refund 300, approved, on capture",
    "manual, authorized, capture last 400{}, refund 400, approved, on capture",
)


def in_(contexts: tuple[str, ...], steps: str) -> tuple[str, ...]:
    """The plays of an operation that came as far as the steps say, whatever the payment is."""
    return tuple(context.format(steps and f", {steps}") for context in contexts)


def state(kind: OperationKind, status: OperationStatus, of: AttemptState) -> State:
    return kind, status, of


CAPTURES_ROWS: Final = (
    Row("claimed", state(K.CAPTURE, O.PENDING, A.CLAIMED), in_(CAPTURES_PENDING_IN, ""), CLAIMED),
    Row("unknown", state(K.CAPTURE, O.PENDING, A.UNKNOWN), in_(CAPTURES_PENDING_IN, "unknown"), UNKNOWN),
    Row("not sent", state(K.CAPTURE, O.PENDING, A.NOT_SENT), in_(CAPTURES_PENDING_IN, "unsent"), NOT_SENT),
    Row(
        "of another amount, to be reversed",
        state(K.CAPTURE, O.PENDING, A.REVERSING),
        in_(CAPTURES_PENDING_IN, "approved more"),
        REVERSING,
    ),
    Row(
        "captured",
        state(K.CAPTURE, O.SUCCEEDED, A.APPROVED),
        in_(CAPTURES_STANDING_IN, "approved"),
        SUCCEEDED,
    ),
    Row(
        "captured, and taken back whole",
        state(K.CAPTURE, O.SUCCEEDED, A.APPROVED),
        (
            "manual, authorized, capture 400, approved, undone first",
            "manual, authorized, capture last 400, approved, undone first",
            "manual, authorized, capture 400, approved, undone first, void, approved, on capture",
            "manual, authorized, capture 400, approved, undone first, expire, approved, on capture",
            "manual, authorized, capture 400, approved, capture 300, approved, on capture, undone first",
            "manual, authorized, capture 400, approved, capture 600, approved, on capture, undone first",
        ),
        TAKEN_BACK_WHOLE,
    ),
    Row(
        "captured, and taken back in part",
        state(K.CAPTURE, O.SUCCEEDED, A.APPROVED),
        (
            "manual, authorized, capture 400, approved, part undone first",
            "manual, authorized, capture last 400, approved, part undone first",
            "manual, authorized, capture last 400, approved, refund 300, approved, on capture, part undone first",
        ),
        {**SUCCEEDED, **cells((REDOINGS, to.DONE_AGAIN))},
    ),
    Row(
        "declined",
        state(K.CAPTURE, O.FAILED, A.DECLINED),
        in_(CAPTURES_FAILED_IN, "declined"),
        OVER_AND_NOTHING_CAME,
    ),
    Row(
        "not processed",
        state(K.CAPTURE, O.FAILED, A.NOT_PROCESSED),
        in_(CAPTURES_FAILED_IN, "not processed"),
        OVER_AND_NOTHING_CAME,
    ),
    Row(
        "its late success is being reversed",
        state(K.CAPTURE, O.FAILED, A.DECLINED),
        in_(CAPTURES_FAILED_IN, "declined, approved"),
        CASE_OPEN,
    ),
    Row(
        "its late success was undone in part",
        state(K.CAPTURE, O.FAILED, A.DECLINED),
        in_(CAPTURES_FAILED_IN, "declined, approved, part undone first"),
        {
            **CASE_OPEN,
            **cells((REDOINGS, to.CASE_HOLDS_AGAIN)),
        },
    ),
    Row(
        "its late success was reversed by us",
        state(K.CAPTURE, O.FAILED, A.DECLINED),
        in_(CAPTURES_FAILED_IN, "declined, approved, reversal confirmed"),
        CASE_ENDED,
    ),
    Row(
        "its late success was undone by the acquirer",
        state(K.CAPTURE, O.FAILED, A.DECLINED),
        in_(CAPTURES_FAILED_IN, "declined, approved, undone first"),
        CASE_ENDED,
    ),
)
VOIDS_PENDING_IN: Final = ("manual, authorized, void{}", "manual, authorized, capture 400, approved, void{}")
VOIDS_FAILED_IN: Final = (
    "manual, authorized, void{}",
    "manual, authorized, void{}, capture 400, approved, on void",
    "manual, authorized, void{}, capture 1000, approved, on void",
    "manual, authorized, void{}, capture 1000, approved, refund 300, approved, on void",
    "manual, authorized, void{}, capture 1000, approved, refund 1000, approved, on void",
    "manual, authorized, void{}, void, approved, on void",
    "manual, authorized, void{}, expire, approved, on void",
)
VOIDS_STANDING_IN: Final = (
    "manual, authorized, void{}",
    "manual, authorized, capture 400, approved, void{}",
    "manual, authorized, capture 400, approved, void{}, refund 300, approved, on void",
    "manual, authorized, capture 400, approved, void{}, refund 400, approved, on void",
)
VOIDS_UNDONE_IN: Final = (
    "manual, authorized, void{}",
    "manual, authorized, capture 400, approved, void{}",
    "manual, authorized, void{}, expire, approved, on void",
)
VOID_SUCCEEDED = {
    **SUCCEEDED,
    **cells((ELSEWHERE, RELEASED_IS_RELEASED), (OTHERWISE, RELEASED_IS_RELEASED)),
}
VOIDS: Final = (
    Row("claimed", state(K.VOID, O.PENDING, A.CLAIMED), in_(VOIDS_PENDING_IN, ""), {**CLAIMED, **RELEASES}),
    Row(
        "unknown",
        state(K.VOID, O.PENDING, A.UNKNOWN),
        in_(VOIDS_PENDING_IN, "unknown"),
        {**UNKNOWN, **RELEASES},
    ),
    Row("not sent", state(K.VOID, O.PENDING, A.NOT_SENT), in_(VOIDS_PENDING_IN, "unsent"), NOT_SENT),
    Row(
        "not found, being reversed",
        state(K.VOID, O.PENDING, A.REVERSING),
        in_(VOIDS_PENDING_IN, "unknown, reversal begun"),
        {**REVERSING, **cells((APPROVALS, to.LATE), (OTHERWISE, to.LATE))},
    ),
    Row("voided", state(K.VOID, O.SUCCEEDED, A.APPROVED), in_(VOIDS_STANDING_IN, "approved"), VOID_SUCCEEDED),
    Row(
        "voided, and taken back",
        state(K.VOID, O.SUCCEEDED, A.APPROVED),
        (
            "manual, authorized, void, approved, undone first",
            "manual, authorized, void, approved, undone first, expire, approved, on void",
            "manual, authorized, capture 400, approved, void, approved, undone first",
        ),
        {
            **VOID_SUCCEEDED,
            **cells(((*NO, "reversed"), GONE_ALREADY), (UNDOINGS, to.HELD), (REDOINGS, to.DONE_AGAIN)),
        },
    ),
    Row(
        "declined",
        state(K.VOID, O.FAILED, A.DECLINED),
        in_(VOIDS_FAILED_IN, "declined"),
        OVER_AND_NOTHING_CAME,
    ),
    Row(
        "not processed",
        state(K.VOID, O.FAILED, A.NOT_PROCESSED),
        in_(VOIDS_FAILED_IN, "not processed"),
        OVER_AND_NOTHING_CAME,
    ),
    Row(
        "its late success is for a person",
        state(K.VOID, O.FAILED, A.DECLINED),
        in_(VOIDS_FAILED_IN[:1], "declined, approved") + in_(VOIDS_FAILED_IN[5:], "declined, approved"),
        {**CASE_OPEN, **cells((("approved in dollars",), CASE_STANDS))},
    ),
)
EXPIRIES_PENDING_IN: Final = (
    "manual, authorized, expire{}",
    "manual, authorized, capture 400, approved, expire{}",
)
EXPIRIES_ENDED_IN: Final = (
    "manual, authorized, expire{}",
    "manual, authorized, capture 400, approved, expire{}",
    "manual, authorized, capture 400, approved, expire{}, refund 300, approved, on expire",
    "manual, authorized, capture 400, approved, expire{}, refund 400, approved, on expire",
    "manual, authorized, capture 400, approved, expire{}, on capture, undone first, on expire",
    "manual, authorized, capture 400, approved, expire{}, on capture, undone first, part redone first, on expire",
    "manual, authorized, capture 400, approved, expire{}, on capture, undone first, void, approved, on expire",
)
EXPIRIES: Final = (
    Row(
        "claimed",
        state(K.EXPIRE, O.PENDING, A.CLAIMED),
        in_(EXPIRIES_PENDING_IN, ""),
        {**CLAIMED, **RELEASES},
    ),
    Row(
        "unknown",
        state(K.EXPIRE, O.PENDING, A.UNKNOWN),
        in_(EXPIRIES_PENDING_IN, "unknown"),
        {**UNKNOWN, **RELEASES},
    ),
    Row("not sent", state(K.EXPIRE, O.PENDING, A.NOT_SENT), in_(EXPIRIES_PENDING_IN, "unsent"), NOT_SENT),
    Row(
        "not found, being reversed",
        state(K.EXPIRE, O.PENDING, A.REVERSING),
        in_(EXPIRIES_PENDING_IN, "unknown, reversal begun"),
        {**REVERSING, **cells((APPROVALS, to.LATE), (OTHERWISE, to.LATE))},
    ),
    Row(
        "expired, released there",
        state(K.EXPIRE, O.SUCCEEDED, A.APPROVED),
        in_(EXPIRIES_ENDED_IN, "approved"),
        VOID_SUCCEEDED,
    ),
    Row(
        "expired, the release taken back",
        state(K.EXPIRE, O.SUCCEEDED, A.APPROVED),
        ("manual, authorized, expire, approved, undone first",),
        {
            **VOID_SUCCEEDED,
            **cells(((*NO, "reversed"), GONE_ALREADY), (UNDOINGS, to.HELD), (REDOINGS, to.DONE_AGAIN)),
        },
    ),
    Row(
        "expired here and not released there: for a person",
        state(K.EXPIRE, O.FAILED, A.DECLINED),
        in_(EXPIRIES_ENDED_IN, "declined"),
        OVER_AND_NOTHING_CAME,
    ),
    Row(
        "expired here and not processed there: for a person",
        state(K.EXPIRE, O.FAILED, A.NOT_PROCESSED),
        in_(EXPIRIES_ENDED_IN, "not processed"),
        OVER_AND_NOTHING_CAME,
    ),
)


# Captures, voids and refunds of our own.

OUR_CAPTURE: Final = "automatic, authorized, claimed capture{}"
RAIL_DID_IT: Final = "automatic, authorized, claimed capture, unknown, on authorize, captured, on capture{}"
RAIL_DID_IT_IN: Final = (
    RAIL_DID_IT,
    RAIL_DID_IT + ", refund 300, approved, on capture",
    RAIL_DID_IT + ", refund 1000, approved, on capture",
    RAIL_DID_IT + ", on authorize, undone first, on capture",
    RAIL_DID_IT + ", on authorize, undone first, part redone first, on capture",
    RAIL_DID_IT + ", on authorize, undone first, void, approved, on capture",
    RAIL_DID_IT + ", on authorize, undone first, expire, approved, on capture",
)
OUR_VOID: Final = "automatic, authorized, claimed capture, declined, claimed void{}"
OUR_REFUND: Final = "automatic, action required, void, captured, claimed refund{}"
STOOD_BY_THE_RAIL = {
    **OVER_AND_NOTHING_CAME,
    **cells((TURNS, TURN_FIRST)),
}
OURS: Final = (
    Row("our capture, claimed", state(K.CAPTURE, O.PENDING, A.CLAIMED), in_((OUR_CAPTURE,), ""), CLAIMED),
    Row(
        "our capture, unknown",
        state(K.CAPTURE, O.PENDING, A.UNKNOWN),
        in_((OUR_CAPTURE,), "unknown"),
        UNKNOWN,
    ),
    Row(
        "our capture, not sent",
        state(K.CAPTURE, O.PENDING, A.NOT_SENT),
        in_((OUR_CAPTURE,), "unsent"),
        NOT_SENT,
    ),
    Row(
        "our capture, of another amount",
        state(K.CAPTURE, O.PENDING, A.REVERSING),
        in_((OUR_CAPTURE,), "approved less"),
        REVERSING,
    ),
    Row(
        "captured by us",
        state(K.CAPTURE, O.SUCCEEDED, A.APPROVED),
        in_((OUR_CAPTURE,), "approved"),
        SUCCEEDED,
    ),
    Row(
        "our capture failed, our void is pending",
        state(K.CAPTURE, O.FAILED, A.DECLINED),
        in_((OUR_CAPTURE,), "declined"),
        OVER_AND_NOTHING_CAME,
    ),
    Row(
        "our capture failed, our void is pending",
        state(K.CAPTURE, O.FAILED, A.NOT_PROCESSED),
        in_((OUR_CAPTURE,), "refused"),
        OVER_AND_NOTHING_CAME,
    ),
    Row(
        "our capture, unknown, and captured by the rail",
        state(K.CAPTURE, O.PENDING, A.UNKNOWN),
        in_((RAIL_DID_IT,), ""),
        {**UNKNOWN, **cells((PROOFS, to.STANDS_BY_THE_RAIL))},
    ),
    Row(
        "our capture, unknown, and the rail took back what it had captured",
        state(K.CAPTURE, O.PENDING, A.UNKNOWN),
        (
            "automatic, authorized, claimed capture, unknown, on authorize, captured, undone first, on capture",
        ),
        UNKNOWN,
    ),
    Row(
        "our capture failed, and stands since the rail had captured",
        state(K.CAPTURE, O.SUCCEEDED, A.DECLINED),
        in_(RAIL_DID_IT_IN, "declined"),
        STOOD_BY_THE_RAIL,
    ),
    Row(
        "our capture came to nothing, and stands since the rail had captured",
        state(K.CAPTURE, O.SUCCEEDED, A.NOT_PROCESSED),
        in_(RAIL_DID_IT_IN, "not processed"),
        STOOD_BY_THE_RAIL,
    ),
    Row(
        "our capture was not sent, and the rail captured",
        state(K.CAPTURE, O.SUCCEEDED, A.NOT_SENT),
        ("automatic, authorized, claimed capture, unsent, on authorize, captured, on capture",),
        NOT_SENT,
    ),
    Row(
        "our void, claimed",
        state(K.VOID, O.PENDING, A.CLAIMED),
        in_((OUR_VOID,), ""),
        {**CLAIMED, **RELEASES},
    ),
    Row(
        "our void, unknown",
        state(K.VOID, O.PENDING, A.UNKNOWN),
        in_((OUR_VOID,), "unknown"),
        {**UNKNOWN, **RELEASES},
    ),
    Row(
        "released by our void",
        state(K.VOID, O.SUCCEEDED, A.APPROVED),
        in_((OUR_VOID,), "approved"),
        VOID_SUCCEEDED,
    ),
    Row(
        "our void failed: for a person",
        state(K.VOID, O.FAILED, A.DECLINED),
        in_((OUR_VOID,), "declined"),
        OVER_AND_NOTHING_CAME,
    ),
    Row(
        "our void came to nothing: for a person",
        state(K.VOID, O.FAILED, A.NOT_PROCESSED),
        in_((OUR_VOID,), "refused"),
        OVER_AND_NOTHING_CAME,
    ),
    Row(
        "our refund, with which a void ends, claimed",
        state(K.REFUND, O.PENDING, A.CLAIMED),
        in_((OUR_REFUND,), ""),
        CLAIMED,
    ),
    Row(
        "our refund, with which a void ends, unknown",
        state(K.REFUND, O.PENDING, A.UNKNOWN),
        in_((OUR_REFUND,), "unknown"),
        UNKNOWN,
    ),
    Row(
        "our refund, with which a void ends, not sent",
        state(K.REFUND, O.PENDING, A.NOT_SENT),
        in_((OUR_REFUND,), "unsent"),
        NOT_SENT,
    ),
    Row(
        "our refund, with which a void ends, of another amount",
        state(K.REFUND, O.PENDING, A.REVERSING),
        in_((OUR_REFUND,), "approved less"),
        REVERSING,
    ),
    Row(
        "refunded by us, and the void has ended with it",
        state(K.REFUND, O.SUCCEEDED, A.APPROVED),
        in_((OUR_REFUND,), "approved"),
        SUCCEEDED,
    ),
    Row(
        "our refund failed, and the void with it: for a person",
        state(K.REFUND, O.FAILED, A.DECLINED),
        in_((OUR_REFUND,), "declined"),
        OVER_AND_NOTHING_CAME,
    ),
)

# Refunds.

REFUNDS_PENDING_IN: Final = (
    "automatic, captured, refund 300{}",
    "manual, authorized, capture 400, approved, refund 300{}",
    "automatic, captured, refund 100, approved, refund 300{}",
    "automatic, captured, refund 100{}, refund 900, approved, on authorize, part undone first, on refund",
    "automatic, captured, refund 300{}, on authorize, undone first, on refund",
    "automatic, captured, refund 300{}, on authorize, undone first, void, approved, on refund",
    "automatic, captured, refund 300{}, on authorize, undone first, expire, approved, on refund",
)
REFUNDS_FAILED_IN: Final = (
    "automatic, captured, refund 300{}",
    "manual, authorized, capture 400, approved, refund 300{}",
    "automatic, captured, refund 300{}, refund 500, approved, on refund",
    "automatic, captured, refund 300{}, refund 1000, approved, on refund",
    "automatic, captured, refund 300{}, on authorize, undone first, on refund",
    "automatic, captured, refund 300{}, on authorize, undone first, void, approved, on refund",
    "automatic, captured, refund 300{}, on authorize, undone first, expire, approved, on refund",
)
REFUNDS_STANDING_IN: Final = (
    "automatic, captured, refund 300{}",
    "automatic, captured, refund 1000{}",
    "manual, authorized, capture 400, approved, refund 300{}",
    "automatic, captured, refund 300{}, on authorize, undone first, on refund",
    "automatic, captured, refund 300{}, on authorize, undone first, void, approved, on refund",
    "automatic, captured, refund 300{}, on authorize, undone first, expire, approved, on refund",
)
REFUNDS_ROWS: Final = (
    Row("claimed", state(K.REFUND, O.PENDING, A.CLAIMED), in_(REFUNDS_PENDING_IN, ""), CLAIMED),
    Row("unknown", state(K.REFUND, O.PENDING, A.UNKNOWN), in_(REFUNDS_PENDING_IN, "unknown"), UNKNOWN),
    Row("not sent", state(K.REFUND, O.PENDING, A.NOT_SENT), in_(REFUNDS_PENDING_IN, "unsent"), NOT_SENT),
    Row(
        "of another amount, to be reversed",
        state(K.REFUND, O.PENDING, A.REVERSING),
        in_(REFUNDS_PENDING_IN, "approved more"),
        REVERSING,
    ),
    Row(
        "refunded", state(K.REFUND, O.SUCCEEDED, A.APPROVED), in_(REFUNDS_STANDING_IN, "approved"), SUCCEEDED
    ),
    Row(
        "refunded, and taken back: it has failed",
        state(K.REFUND, O.FAILED, A.APPROVED),
        in_(REFUNDS_FAILED_IN, "approved, undone first"),
        {
            **SUCCEEDED,
            **cells(((*NO, "reversed"), GONE_ALREADY), (UNDOINGS, to.HELD), (REDOINGS, to.DONE_AGAIN)),
        },
    ),
    Row(
        "refunded, and taken back in part",
        state(K.REFUND, O.SUCCEEDED, A.APPROVED),
        in_(REFUNDS_STANDING_IN, "approved, part undone first"),
        {**SUCCEEDED, **cells((REDOINGS, to.DONE_AGAIN))},
    ),
    Row(
        "declined",
        state(K.REFUND, O.FAILED, A.DECLINED),
        in_(REFUNDS_FAILED_IN, "declined"),
        OVER_AND_NOTHING_CAME,
    ),
    Row(
        "not processed",
        state(K.REFUND, O.FAILED, A.NOT_PROCESSED),
        in_(REFUNDS_FAILED_IN, "not processed"),
        OVER_AND_NOTHING_CAME,
    ),
    Row(
        "its late success is for a person",
        state(K.REFUND, O.FAILED, A.DECLINED),
        in_(REFUNDS_FAILED_IN[:1], "declined, approved"),
        CASE_OPEN,
    ),
)

# Releases of our own of a late success, under references of their own.

OF_AUTHORIZATIONS_IN: Final = (
    "automatic, not reversible, declined, captured, claimed reverse{}",
    "automatic, not reversible, unsent, captured, claimed reverse{}",
    "automatic, not reversible, unsent, captured, on authorize, claimed again, unknown, claimed reverse{}",
    "automatic, not reversible, unsent, captured, on authorize, claimed again, action required, claimed reverse{}",
    "manual, not reversible, unsent, approved elsewhere, on authorize, claimed again, authorized, claimed reverse{}",
)
LATE_CAPTURE: Final = "manual, not reversible, authorized, capture 400, declined, approved"
OF_CAPTURES_IN: Final = (
    LATE_CAPTURE + ", claimed reverse{}",
    LATE_CAPTURE + ", capture 300, approved, claimed reverse{}",
    LATE_CAPTURE + ", capture last 300, approved, claimed reverse{}",
    LATE_CAPTURE + ", capture last 300, approved, refund 100, approved, claimed reverse{}",
    LATE_CAPTURE + ", capture last 300, approved, refund 300, approved, claimed reverse{}",
    LATE_CAPTURE + ", void, approved, claimed reverse{}",
    LATE_CAPTURE + ", expire, approved, claimed reverse{}",
)
RELEASES_IN: Final = (*OF_AUTHORIZATIONS_IN, *OF_CAPTURES_IN)


def needless(steps: str) -> tuple[str, ...]:
    """The plays of releases whose late success the acquirer undid meanwhile."""
    undone = "{}on {}, undone first, on reverse"
    steps = steps and f"{steps}, "
    return in_(OF_AUTHORIZATIONS_IN, undone.format(steps, "authorize")) + in_(
        OF_CAPTURES_IN, undone.format(steps, "capture")
    )


RELEASED_BY_VOID: Final = "manual, not reversible, declined, authorized, claimed reverse{}"
RELEASE_FAILED = cells(
    ((*APPROVALS, *ELSEWHERE), to.RELEASED_AFTER_ALL),
    (OTHERWISE, to.RELEASED_OTHERWISE),
    (PROOFS, AGREES),
    ((*DOUBTS, *UNSENT), OLD_DOUBT),
    (TURNS, TURN_FIRST),
)
RELEASE_DONE = cells(
    ((*APPROVALS, *OTHERWISE), KNOWN),
    (ELSEWHERE, to.PAID_BACK_TWICE),
    (NO, to.RELEASE_UNDONE),
    (("reversed",), to.RELEASE_UNDONE),
    (("not processed",), OUR_CONCLUSION),
    ((*DOUBTS, *UNSENT), OLD_DOUBT),
    (UNDOINGS, to.RELEASE_UNDONE),
    (REDOINGS, to.ONLY_TOLD),
)
RELEASE_DECIDED = {
    **RELEASE_FAILED,
    **cells(((*APPROVALS, *ELSEWHERE, *OTHERWISE), PERSON_SAID_SO), (PROOFS, SAID_BEFORE)),
}
RELEASE_NEEDLESS = {
    **RELEASE_FAILED,
    **cells(((*APPROVALS, *ELSEWHERE, *OTHERWISE), to.RELEASED_NEEDLESSLY), (PROOFS, AGREES)),
}
RELEASES_OF_OURS: Final = (
    Row("claimed", state(K.REVERSE, O.PENDING, A.CLAIMED), in_(RELEASES_IN, ""), CLAIMED),
    Row("unknown", state(K.REVERSE, O.PENDING, A.UNKNOWN), in_(RELEASES_IN, "unknown"), UNKNOWN),
    Row("not sent", state(K.REVERSE, O.PENDING, A.NOT_SENT), in_(RELEASES_IN, "unsent"), RELEASE_FAILED),
    Row(
        "of another amount, to be reversed",
        state(K.REVERSE, O.PENDING, A.REVERSING),
        in_(RELEASES_IN, "approved less"),
        {**REVERSING, **cells((ELSEWHERE, BEING_REVERSED))},
    ),
    Row("refunded", state(K.REVERSE, O.SUCCEEDED, A.APPROVED), in_(RELEASES_IN, "approved"), RELEASE_DONE),
    Row(
        "declined: for a person",
        state(K.REVERSE, O.FAILED, A.DECLINED),
        in_(RELEASES_IN, "declined"),
        RELEASE_FAILED,
    ),
    Row(
        "refused: for a person",
        state(K.REVERSE, O.FAILED, A.NOT_PROCESSED),
        in_(RELEASES_IN, "refused"),
        RELEASE_FAILED,
    ),
    Row(
        "refunded, and taken back: for a person",
        state(K.REVERSE, O.FAILED, A.APPROVED),
        in_(RELEASES_IN, "approved, undone first"),
        {
            **RELEASE_DONE,
            **cells(
                ((*NO, "reversed"), GONE_ALREADY),
                (UNDOINGS, to.ONLY_TOLD),
                (REDOINGS, to.RELEASE_REDONE),
                (ELSEWHERE, to.RELEASED_AFTER_ALL),
            ),
        },
    ),
    Row(
        "claimed, and the acquirer undid the late success itself",
        state(K.REVERSE, O.SUCCEEDED, A.CLAIMED),
        needless(""),
        RELEASE_NEEDLESS,
    ),
    Row(
        "unknown, and the acquirer undid the late success itself",
        state(K.REVERSE, O.SUCCEEDED, A.UNKNOWN),
        needless("unknown"),
        RELEASE_NEEDLESS,
    ),
    Row(
        "not sent, and the acquirer undid the late success itself",
        state(K.REVERSE, O.SUCCEEDED, A.NOT_SENT),
        needless("unsent"),
        RELEASE_NEEDLESS,
    ),
    Row(
        "of another amount, and the acquirer undid the late success itself",
        state(K.REVERSE, O.SUCCEEDED, A.REVERSING),
        needless("approved less"),
        {**RELEASE_NEEDLESS, **cells(((*APPROVALS, *ELSEWHERE, *OTHERWISE), BEING_REVERSED))},
    ),
    Row(
        "a void, claimed",
        state(K.REVERSE, O.PENDING, A.CLAIMED),
        in_((RELEASED_BY_VOID,), ""),
        {**CLAIMED, **RELEASES},
    ),
    Row(
        "a void, done",
        state(K.REVERSE, O.SUCCEEDED, A.APPROVED),
        in_((RELEASED_BY_VOID,), "approved"),
        {**RELEASE_DONE, **cells((ELSEWHERE, RELEASED_IS_RELEASED))},
    ),
)


# Attempts that were not sent, of operations that have their outcome otherwise.

OTHERWISE_DONE: Final = (
    Row(
        "a capture's, and another succeeded",
        state(K.CAPTURE, O.SUCCEEDED, A.NOT_SENT),
        (
            *in_(CAPTURES_STANDING_IN, "unsent, claimed again, approved, on capture"),
            "manual, authorized, capture 400, unsent, claimed again, approved, undone first, on capture",
            "manual, authorized, capture 400, unsent, claimed again, approved, undone first, void, approved,"
            " on capture",
            "manual, authorized, capture 400, unsent, claimed again, approved, undone first, expire, approved,"
            " on capture",
        ),
        {**NOT_SENT, **cells((APPROVALS, SAME_MONEY), (OTHERWISE, SAME_MONEY))},
    ),
    Row(
        "a void's, and another succeeded",
        state(K.VOID, O.SUCCEEDED, A.NOT_SENT),
        in_(VOIDS_STANDING_IN, "unsent, claimed again, approved, on void")
        + in_(VOIDS_UNDONE_IN, "unsent, claimed again, approved, undone first, on void"),
        {**NOT_SENT, **cells((APPROVALS, SAME_MONEY), (OTHERWISE, SAME_MONEY))},
    ),
    Row(
        "an expiry's, and another succeeded",
        state(K.EXPIRE, O.SUCCEEDED, A.NOT_SENT),
        in_(EXPIRIES_ENDED_IN, "unsent, claimed again, approved, on expire"),
        {**NOT_SENT, **cells((APPROVALS, SAME_MONEY), (OTHERWISE, SAME_MONEY))},
    ),
    Row(
        "a refund's, and another succeeded",
        state(K.REFUND, O.SUCCEEDED, A.NOT_SENT),
        in_(REFUNDS_STANDING_IN, "unsent, claimed again, approved, on refund"),
        {**NOT_SENT, **cells((APPROVALS, SAME_MONEY), (OTHERWISE, SAME_MONEY))},
    ),
    Row(
        "a capture's, and it was not tried again",
        state(K.CAPTURE, O.FAILED, A.NOT_SENT),
        in_(CAPTURES_FAILED_IN, "unsent, not tried again"),
        NOT_SENT,
    ),
    Row(
        "a void's, and it was not tried again",
        state(K.VOID, O.FAILED, A.NOT_SENT),
        in_(VOIDS_FAILED_IN, "unsent, not tried again"),
        NOT_SENT,
    ),
    Row(
        "an expiry's, and it was not tried again: for a person",
        state(K.EXPIRE, O.FAILED, A.NOT_SENT),
        in_(EXPIRIES_ENDED_IN, "unsent, not tried again"),
        NOT_SENT,
    ),
    Row(
        "a refund's, and it was not tried again",
        state(K.REFUND, O.FAILED, A.NOT_SENT),
        in_(REFUNDS_FAILED_IN, "unsent, not tried again"),
        NOT_SENT,
    ),
    Row(
        "a release's, and it was not tried again: for a person",
        state(K.REVERSE, O.FAILED, A.NOT_SENT),
        in_(RELEASES_IN, "unsent, not tried again"),
        RELEASE_FAILED,
    ),
)

# What a person decided.

DECIDED_DONE = {
    **SUCCEEDED,
    **cells(
        (ELSEWHERE, PERSON_SAID_SO),
        ((*OTHERWISE, *PROOFS), to.CONTRADICTED),
    ),
}
DECIDED_AFTER_ALL = {
    **SUCCEEDED,
    **cells(
        ((*APPROVALS, *ELSEWHERE, *OTHERWISE), PERSON_SAID_SO),
        ((*NO, "not processed"), SAID_BEFORE),
        (("reversed",), to.CONTRADICTED),
    ),
}
DECIDED: Final = (
    Row(
        "an authorization approved",
        APPROVED,
        ("automatic, unknown, called for, decided approved",),
        DECIDED_DONE,
    ),
    Row(
        "a capture approved",
        state(K.CAPTURE, O.SUCCEEDED, A.APPROVED),
        in_(CAPTURES_STANDING_IN, "unknown, called for, decided approved"),
        DECIDED_DONE,
    ),
    Row(
        "a void approved",
        state(K.VOID, O.SUCCEEDED, A.APPROVED),
        in_(VOIDS_STANDING_IN, "unknown, called for, decided approved"),
        {**DECIDED_DONE, **cells((OTHERWISE, RELEASED_IS_RELEASED))},
    ),
    Row(
        "a refund paid",
        state(K.REFUND, O.SUCCEEDED, A.APPROVED),
        in_(REFUNDS_STANDING_IN, "unknown, called for, decided paid"),
        DECIDED_DONE,
    ),
    Row(
        "an authorization declined",
        DECLINED,
        ("automatic, unknown, called for, decided declined",),
        OVER_AND_NOTHING_CAME,
    ),
    Row(
        "a capture declined",
        state(K.CAPTURE, O.FAILED, A.DECLINED),
        in_(CAPTURES_FAILED_IN, "unknown, called for, decided declined"),
        OVER_AND_NOTHING_CAME,
    ),
    Row(
        "a refund not paid",
        state(K.REFUND, O.FAILED, A.NOT_PROCESSED),
        in_(REFUNDS_FAILED_IN, "unknown, called for, decided not_paid"),
        OVER_AND_NOTHING_CAME,
    ),
    Row(
        "a refund that succeeded late, paid",
        state(K.REFUND, O.SUCCEEDED, A.DECLINED),
        in_(REFUNDS_STANDING_IN, "declined, approved, case decided paid"),
        DECIDED_AFTER_ALL,
    ),
    Row(
        "a refund that was not processed and succeeded late, paid",
        state(K.REFUND, O.SUCCEEDED, A.NOT_PROCESSED),
        in_(REFUNDS_STANDING_IN, "not processed, approved, case decided paid"),
        DECIDED_AFTER_ALL,
    ),
    Row(
        "a refund that succeeded late, not paid",
        state(K.REFUND, O.FAILED, A.DECLINED),
        in_(REFUNDS_FAILED_IN, "declined, approved, case decided not_paid"),
        CASE_DISMISSED,
    ),
    Row(
        "a void that succeeded late, approved",
        state(K.VOID, O.SUCCEEDED, A.DECLINED),
        in_(VOIDS_STANDING_IN, "declined, approved, case decided approved"),
        DECIDED_AFTER_ALL,
    ),
    Row(
        "a void that succeeded late, approved, and taken back",
        state(K.VOID, O.SUCCEEDED, A.DECLINED),
        in_(VOIDS_UNDONE_IN, "declined, approved, case decided approved, undone first"),
        {
            **DECIDED_AFTER_ALL,
            **cells((("reversed",), GONE_ALREADY), (UNDOINGS, to.HELD), (REDOINGS, to.DONE_AGAIN)),
        },
    ),
    Row(
        "a void that was not processed and succeeded late, approved",
        state(K.VOID, O.SUCCEEDED, A.NOT_PROCESSED),
        in_(VOIDS_STANDING_IN, "not processed, approved, case decided approved"),
        DECIDED_AFTER_ALL,
    ),
    Row(
        "a void that was not processed and succeeded late, approved, and taken back",
        state(K.VOID, O.SUCCEEDED, A.NOT_PROCESSED),
        in_(VOIDS_UNDONE_IN, "not processed, approved, case decided approved, undone first"),
        {
            **DECIDED_AFTER_ALL,
            **cells((("reversed",), GONE_ALREADY), (UNDOINGS, to.HELD), (REDOINGS, to.DONE_AGAIN)),
        },
    ),
    Row(
        "our void that failed, released all the same",
        state(K.VOID, O.SUCCEEDED, A.DECLINED),
        in_((OUR_VOID,), "declined, decided approved"),
        DECIDED_AFTER_ALL,
    ),
    Row(
        "an expiry that was declined, released all the same",
        state(K.EXPIRE, O.SUCCEEDED, A.DECLINED),
        in_(EXPIRIES_ENDED_IN, "declined, decided approved"),
        DECIDED_AFTER_ALL,
    ),
    Row(
        "an expiry that was not processed, released all the same",
        state(K.EXPIRE, O.SUCCEEDED, A.NOT_PROCESSED),
        in_(EXPIRIES_ENDED_IN, "not processed, decided approved"),
        DECIDED_AFTER_ALL,
    ),
    Row(
        "a late capture reversed, after its release was refused",
        state(K.REVERSE, O.SUCCEEDED, A.NOT_PROCESSED),
        in_(RELEASES_IN, "refused, case decided reversed"),
        RELEASE_DECIDED,
    ),
    Row(
        "a void that succeeded late, declined",
        state(K.VOID, O.FAILED, A.DECLINED),
        in_(VOIDS_FAILED_IN, "declined, approved, case decided declined"),
        CASE_DISMISSED,
    ),
    Row(
        "a late capture reversed, after its release was declined",
        state(K.REVERSE, O.SUCCEEDED, A.DECLINED),
        in_(RELEASES_IN, "declined, case decided reversed"),
        RELEASE_DECIDED,
    ),
)
ROWS: Final[Mapping[str, tuple[Row, ...]]] = {
    "authorization": AUTHORIZATIONS_PENDING + AUTHORIZATIONS + AUTHORIZATIONS_FAILED,
    "authorization's attempt": UNSENT_ATTEMPTS,
    "capture": CAPTURES_ROWS,
    "void": VOIDS,
    "expiry": EXPIRIES,
    "ours": OURS,
    "refund": REFUNDS_ROWS,
    "release of a late success": RELEASES_OF_OURS,
    "attempt": OTHERWISE_DONE,
    "decided": DECIDED,
}


HAS_IT = Nothing("the acquirer has it, whatever else is not known of it")


def accepted(row: Row) -> Row:
    """The same where the acquirer had accepted what is unknown in this row."""
    kind, status, _ = row.state
    told = cells((("pending", "unknown", "accepted"), HAS_IT))
    if kind is not K.AUTHORIZE:
        told = {**told, **cells((ASKS, HAS_IT))}
    else:  # the acquirer may still want its customer
        again = {fact: to.DOUBTED for fact in ASKS if row.cells[fact] is DOUBTED_ALREADY}
        told = {**told, **again}
    if status is not O.PENDING:  # what happens to what has its outcome is the same
        told = {}
    plays = tuple(line.replace(", unknown", ", accepted") for line in row.plays)
    return Row(f"{row.name}, accepted", (kind, status, A.ACCEPTED), plays, {**row.cells, **told}, row.but)


ACCEPTED_ROWS: Final = {
    f"{group}, accepted": tuple(
        accepted(row)
        for row in rows
        if row.state[2] is A.UNKNOWN and all(", unknown" in line for line in row.plays)
    )
    for group, rows in ROWS.items()
}

# States that cannot be.

ANY_KIND, ANY_STATUS, ANY_STATE = tuple(K), tuple(O), tuple(A)


@dataclass(frozen=True)
class Unreachable:
    """No such operation with such an attempt and such a payment, for this reason."""

    reason: str
    kinds: tuple[OperationKind, ...] = ANY_KIND
    statuses: tuple[OperationStatus, ...] = ANY_STATUS
    states: tuple[AttemptState, ...] = ANY_STATE
    payments: tuple[PaymentStatus, ...] = tuple(S)

    def holds(self, of: State, paid: PaymentStatus) -> bool:
        kind, status, attempt = of
        return (
            kind in self.kinds
            and status in self.statuses
            and attempt in self.states
            and paid in self.payments
        )


ASKED_OF_US = (K.CAPTURE, K.VOID, K.EXPIRE, K.REFUND)
OF_AUTHORIZATIONS = (K.CAPTURE, K.VOID, K.EXPIRE)
DEFINITE = (A.APPROVED, A.DECLINED, A.NOT_PROCESSED)
INDEFINITE = (A.CLAIMED, A.WAITING, A.ACCEPTED, A.UNKNOWN, A.REVERSING)
UNREACHABLE: Final = (
    Unreachable("what an acquirer did of itself has no attempt of ours", (K.UNDO, K.REDO)),
    Unreachable("what is accepted is a dispute: see test_acceptance, its table", (K.ACCEPT,)),
    Unreachable(
        "only what was authorized is captured, released or refunded; a void of what has no outcome is not sent",
        ASKED_OF_US,
        payments=(*UNDECIDED, S.FAILED),
    ),
    Unreachable("only an authorization waits for a customer", (*ASKED_OF_US, K.REVERSE), states=(A.WAITING,)),
    Unreachable(
        "the operation has its outcome in the transaction in which its attempt has",
        statuses=(O.PENDING,),
        states=DEFINITE,
    ),
    Unreachable(
        "and the attempt in that in which the operation has, but for a release that the acquirer overtakes",
        (K.AUTHORIZE, *ASKED_OF_US),
        statuses=(O.SUCCEEDED, O.FAILED),
        states=INDEFINITE,
    ),
    Unreachable("a release that was overtaken has succeeded", (K.REVERSE,), (O.FAILED,), INDEFINITE),
    Unreachable(
        "a payment is undecided as long as its authorization is",
        (K.AUTHORIZE,),
        (O.PENDING,),
        payments=(*OPEN, *OVER),
    ),
    Unreachable(
        "and it is not undecided any longer than that",
        (K.AUTHORIZE,),
        (O.SUCCEEDED, O.FAILED),
        payments=UNDECIDED,
    ),
    Unreachable(
        "what becomes unknown or is to be reversed makes the payment `processing`, in the same transaction",
        (K.AUTHORIZE,),
        (O.PENDING,),
        (A.UNKNOWN, A.REVERSING),
        (S.INIT,),
    ),
    Unreachable(
        "what is accepted is decided without its customer, in the transaction that says so",
        (K.AUTHORIZE,),
        (O.PENDING,),
        (A.ACCEPTED,),
        (S.INIT, S.REQUIRES_ACTION),
    ),
    Unreachable(
        "while a customer is asked the payment says so",
        (K.AUTHORIZE,),
        (O.PENDING,),
        (A.WAITING,),
        (S.INIT, S.PROCESSING),
    ),
    Unreachable(
        "a claimed attempt has not asked anybody, and no other stands beside it",
        (K.AUTHORIZE,),
        (O.PENDING,),
        (A.CLAIMED,),
        (S.REQUIRES_ACTION,),
    ),
    Unreachable(
        "a payment whose authorization failed has failed, or was given up and is voided",
        (K.AUTHORIZE,),
        (O.FAILED,),
        payments=(*OPEN, S.CAPTURED, S.PARTIALLY_REFUNDED, S.REFUNDED, S.EXPIRED),
    ),
    Unreachable(
        "and one whose authorization succeeded has not", (K.AUTHORIZE,), (O.SUCCEEDED,), payments=(S.FAILED,)
    ),
    Unreachable(
        "an authorization succeeds by an approved attempt only",
        (K.AUTHORIZE,),
        (O.SUCCEEDED,),
        (A.DECLINED, A.NOT_PROCESSED),
    ),
    Unreachable(
        "only refunds and releases fail that had been approved",
        (K.AUTHORIZE, *OF_AUTHORIZATIONS),
        (O.FAILED,),
        (A.APPROVED,),
    ),
    Unreachable(
        "while a capture, void or expiry is pending the authorization stays open",
        OF_AUTHORIZATIONS,
        (O.PENDING,),
        payments=OVER,
    ),
    Unreachable(
        "what is refunded shows in the status of a payment of which nothing is capturable",
        (K.REFUND,),
        (O.SUCCEEDED,),
        payments=(S.CAPTURED,),
    ),
)

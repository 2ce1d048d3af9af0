"""A person's decision, recorded: once, with its row, against nobody's lock; and what the acquirer says afterwards."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from payonce.domain.answers import AnswerKind
from payonce.domain.decisions import Decision, Finality, Verdict
from payonce.domain.errors import DecisionRefused, NotFound
from payonce.domain.facts import Approved, DeclineCode, Declined, Stage, Undone
from payonce.domain.operations import (
    USUAL,
    Abilities,
    Attempt,
    AttemptState,
    Operation,
    OperationKind,
    OperationStatus,
    Origin,
)
from payonce.domain.payment import Payment, PaymentStatus
from payonce.domain.reviews import ReviewReason
from payonce.recording.decisions import Account, DecisionTaken
from tests.storage.deciding import pending_in_review
from tests.storage.ledger import IDS, Ledger, subject
from tests.support.rows import approval

K, S, A, O, V, R = OperationKind, PaymentStatus, AttemptState, OperationStatus, Verdict, ReviewReason
ACCOUNTS = {"account_1": Account(Finality(call_deadline_s=20, finality_s=10), lambda _: USUAL)}
DECLINED = Declined(DeclineCode.GENERIC_DECLINE)
LONG_AGO = "interval '1 hour'"


def decision(of: Operation, verdict: Verdict, **changes: Any) -> Decision:
    values = {
        "key": f"{of.id} {verdict}",
        "operation_id": of.id,
        "verdict": verdict,
        "actor": "ada@desk",
        "why": "the acquirer's support says so",
        "evidence": "ticket 7",
    }
    return Decision(**{**values, **changes})


async def decided(ledger: Ledger, of: Operation, verdict: Verdict, **changes: Any) -> DecisionTaken:
    given = decision(of, verdict, **changes)
    return await ledger.recorder().decide(subject(of), given, accounts=ACCOUNTS)


async def reviews_of(ledger: Ledger, payment: Payment) -> list[tuple[str, str, str | None]]:
    query = "SELECT operation_id, reason, closed_by FROM reviews WHERE payment_id = :id ORDER BY opened_at"
    return [tuple(row) for row in await ledger.rows(query, id=payment.id)]


async def kept(ledger: Ledger, payment: Payment) -> list[tuple[Any, ...]]:
    query = (
        "SELECT key, operation_id, reason, verdict, actor, why, evidence, amount_minor, reference FROM decisions"
        " WHERE payment_id = :id ORDER BY created_at"
    )
    return [tuple(row) for row in await ledger.rows(query, id=payment.id)]


async def test_a_decision_is_state_answer_event_row_and_the_end_of_the_review(ledger: Ledger) -> None:
    paid, refund = await pending_in_review(ledger, K.REFUND)
    taken = await decided(ledger, refund, V.PAID, reference="acq-7", amount_minor=1000)
    assert not taken.again
    assert (taken.operation.status, taken.operation.connector_reference) == (O.SUCCEEDED, "acq-7")
    assert taken.operation.decided_at == taken.decided.at
    stands = await ledger.payment(paid.id)
    assert (stands.status, stands.amount_refunded_minor, stands.review) == (S.REFUNDED, 1000, None)
    assert [type_ for _, type_ in await ledger.events(paid.id)] == [
        "payment.needs_review",
        "refund.succeeded",
        "payment.refunded",
    ]
    assert b'"status":"succeeded"' in ((await ledger.stored_key(refund)).answer_body or b"")
    assert await reviews_of(ledger, paid) == [(refund.id, R.UNDECIDED, "decision")]
    assert await kept(ledger, paid) == [
        (
            f"{refund.id} paid",
            refund.id,
            R.UNDECIDED,
            V.PAID,
            "ada@desk",
            "the acquirer's support says so",
            "ticket 7",
            1000,
            "acq-7",
        )
    ]


async def test_the_same_decision_again_changes_nothing_and_says_so(ledger: Ledger) -> None:
    paid, refund = await pending_in_review(ledger, K.REFUND)
    first = await decided(ledger, refund, V.NOT_PAID)
    again = await decided(ledger, refund, V.NOT_PAID, actor="bob@laptop")
    assert (again.again, again.decided) == (True, first.decided)
    assert len(await kept(ledger, paid)) == 1
    assert len(await ledger.events(paid.id)) == 2


@pytest.mark.parametrize(
    "changes", [{"why": "another reason"}, {"evidence": None}, {"verdict": V.PAID}, {"reference": "acq-1"}]
)
async def test_a_key_is_that_of_one_decision(ledger: Ledger, changes: dict[str, Any]) -> None:
    _, refund = await pending_in_review(ledger, K.REFUND)
    await decided(ledger, refund, V.NOT_PAID, key="k")
    with pytest.raises(DecisionRefused, match=f"another decision: {refund.id} not_paid, by ada@desk"):
        await decided(ledger, refund, changes.pop("verdict", V.NOT_PAID), key="k", **changes)


async def test_what_is_refused_leaves_nothing(ledger: Ledger) -> None:
    paid, refund = await pending_in_review(ledger, K.REFUND, settled=False)
    before = await ledger.payment(paid.id), refund
    with pytest.raises(DecisionRefused, match="may still arrive"):
        await decided(ledger, refund, V.NOT_PAID)
    with pytest.raises(DecisionRefused, match="only be decided as paid, not_paid"):
        await decided(ledger, refund, V.ORPHAN)
    assert (await ledger.payment(paid.id), await ledger.operation(refund.id)) == before
    assert await kept(ledger, paid) == []
    assert await reviews_of(ledger, paid) == [(refund.id, R.UNDECIDED, None)]


async def test_what_is_not_in_review_is_not_decided(ledger: Ledger) -> None:
    paid = await ledger.add_payment(S.CAPTURED)
    refund = await ledger.add_operation(paid, K.REFUND)
    with pytest.raises(DecisionRefused, match="not in review"):
        await decided(ledger, refund, V.PAID, reference="acq-1")
    with pytest.raises(NotFound):
        await decided(ledger, replace(refund, id="re_nobody"), V.PAID)


async def test_an_account_that_is_not_known_here_takes_a_day(ledger: Ledger) -> None:
    _, refund = await pending_in_review(ledger, K.REFUND)
    with pytest.raises(DecisionRefused, match="may still arrive"):
        await ledger.recorder().decide(subject(refund), decision(refund, V.NOT_PAID), accounts={})


async def test_ten_at_once_are_one_decision(ledger: Ledger) -> None:
    paid, refund = await pending_in_review(ledger, K.REFUND)
    taken = await asyncio.gather(*(decided(ledger, refund, V.NOT_PAID) for _ in range(10)))
    assert sorted(one.again for one in taken) == [False] + [True] * 9
    assert len(await kept(ledger, paid)) == 1


async def test_a_decision_and_a_fact_at_once_are_one_outcome(ledger: Ledger) -> None:
    paid, refund = await pending_in_review(ledger, K.REFUND)
    fact = ledger.recorder().record(subject(refund), attempt=1, fact=DECLINED)
    results = await asyncio.gather(decided(ledger, refund, V.NOT_PAID), fact, return_exceptions=True)
    assert [type(result) for result in results if isinstance(result, Exception)] in ([], [DecisionRefused])
    assert (await ledger.payment(paid.id)).amount_refund_pending_minor == 0
    assert [type_ for _, type_ in await ledger.events(paid.id)] == ["payment.needs_review", "refund.failed"]


@pytest.mark.parametrize("end", ["lost answer", "lost commit"])
async def test_an_unknown_commit_is_decided_once(ledger: Ledger, end: str) -> None:
    paid, refund = await pending_in_review(ledger, K.REFUND)
    async with ledger.flaky(end) as database:
        recorder = ledger.recorder(database)
        taken = await recorder.decide(subject(refund), decision(refund, V.NOT_PAID), accounts=ACCOUNTS)
    assert not taken.again
    assert taken.operation.status is O.FAILED
    assert len(await kept(ledger, paid)) == 1


async def late_refund(ledger: Ledger) -> tuple[Payment, Operation, Operation]:
    """A refund that was paid although its failure was recorded, and its case."""
    paid = await ledger.add_payment(S.CAPTURED)
    refund = await ledger.add_operation(paid, K.REFUND, amount_minor=300)
    recorder = ledger.recorder()
    await recorder.record(subject(refund), attempt=1, fact=DECLINED)
    await recorder.record(subject(refund), attempt=1, fact=approval(refund))
    return paid, refund, await ledger.operation(IDS.reversal(reference=f"{refund.id}-1"))


async def test_a_late_refund_that_was_paid_has_succeeded_and_keeps_its_answer(ledger: Ledger) -> None:
    paid, refund, case = await late_refund(ledger)
    before = (await ledger.stored_key(refund)).answer_body
    await decided(ledger, case, V.PAID)
    succeeded, stands = await ledger.operation(refund.id), await ledger.payment(paid.id)
    assert (succeeded.status, succeeded.decided_at is not None) == (O.SUCCEEDED, True)
    assert (stands.amount_refunded_minor, stands.amount_refund_undecided_minor) == (300, 0)
    assert stands.status is S.PARTIALLY_REFUNDED
    assert (await ledger.stored_key(refund)).answer_body == before
    assert await reviews_of(ledger, paid) == [(case.id, R.LATE, "decision")]


async def test_a_late_refund_that_a_person_decided_may_still_be_taken_back(ledger: Ledger) -> None:
    """Its case is closed: what is undone then is the refund."""
    paid, refund, case = await late_refund(ledger)
    await decided(ledger, case, V.PAID)
    undone = Undone("u", 300, "INR", reason="account closed")
    await ledger.recorder().record(subject(refund), attempt=1, fact=undone)
    stands = await ledger.payment(paid.id)
    assert (stands.status, stands.amount_refunded_minor) == (S.CAPTURED, 0)
    assert (await ledger.operation(refund.id)).status is O.FAILED
    assert stands.review is not None
    assert str(stands.review["reason"]).startswith("undone_refund ")


async def contradicted(ledger: Ledger) -> tuple[Payment, Operation, Attempt]:
    """A capture that a person said was made, and the acquirer then declined."""
    authorized, capture = await pending_in_review(ledger, K.CAPTURE)
    await decided(ledger, capture, V.APPROVED, reference="acq-1")
    await ledger.recorder().record(subject(capture), attempt=1, fact=DECLINED)
    return authorized, capture, await ledger.latest(capture.id)


async def test_what_the_acquirer_says_against_a_person_is_a_case_once(ledger: Ledger) -> None:
    authorized, capture, attempt = await contradicted(ledger)
    case_id = IDS.contradiction(reference=attempt.reference)
    for _ in range(2):
        assert [row for row in await reviews_of(ledger, authorized) if row[0] == case_id] == [
            (case_id, R.CONTRADICTED, None)
        ]
        stands = await ledger.payment(authorized.id)
        assert (stands.amount_captured_minor, stands.amount_capture_undecided_minor) == (0, 1000)
        assert (stands.capturable_minor, stands.refundable_minor) == (0, 0)
        assert (await ledger.operation(capture.id)).status is O.SUCCEEDED
        await ledger.recorder().record(subject(capture), attempt=1, fact=DECLINED)


@pytest.mark.parametrize(("verdict", "captured"), [(V.APPROVED, 1000), (V.UNDONE, 0)])
async def test_a_person_decides_who_is_right(ledger: Ledger, verdict: Verdict, captured: int) -> None:
    authorized, _, attempt = await contradicted(ledger)
    case = await ledger.operation(IDS.contradiction(reference=attempt.reference))
    await decided(ledger, case, verdict)
    stands = await ledger.payment(authorized.id)
    assert (stands.amount_captured_minor, stands.amount_capture_undecided_minor) == (captured, 0)
    assert stands.review is None
    assert {row[2] for row in await reviews_of(ledger, authorized)} == {"decision"}


async def test_what_agrees_with_a_person_changes_nothing(ledger: Ledger) -> None:
    authorized, capture = await pending_in_review(ledger, K.CAPTURE)
    await decided(ledger, capture, V.APPROVED, reference="acq-1")
    before = await ledger.payment(authorized.id), await ledger.events(authorized.id)
    await ledger.recorder().record(subject(capture), attempt=1, fact=approval(capture))
    assert (await ledger.payment(authorized.id), await ledger.events(authorized.id)) == before


async def test_a_success_against_a_person_is_a_late_success(ledger: Ledger) -> None:
    paid, refund = await pending_in_review(ledger, K.REFUND)
    await decided(ledger, refund, V.NOT_PAID)
    await ledger.recorder().record(subject(refund), attempt=1, fact=Approved("acq-1", 1000, "INR"))
    case_id = IDS.reversal(reference=f"{refund.id}-1")
    assert (case_id, R.LATE, None) in await reviews_of(ledger, paid)
    assert (await ledger.payment(paid.id)).refundable_minor == 0


async def test_a_void_in_review_ends_with_the_authorization_that_a_person_decided(ledger: Ledger) -> None:
    """Both reviews ended by the one decision."""
    asked, create = await pending_in_review(ledger, K.AUTHORIZE)
    void = await ledger.add_operation(asked, K.VOID, claimed=False)
    await ledger.recorder().review(subject(void), reason="unknown")
    await decided(ledger, create, V.DECLINED)
    stands = await ledger.payment(asked.id)
    assert (stands.status, stands.review, stands.pending_operation) == (S.VOIDED, None, None)
    assert {row[2] for row in await reviews_of(ledger, asked)} == {"decision"}


async def test_what_was_given_up_is_recorded_though_a_person_took_its_void_for_done(ledger: Ledger) -> None:
    """The void has nothing of its own to decide: were the payment voided, its authorization had no end."""
    asked, create = await pending_in_review(ledger, K.AUTHORIZE)
    void = await ledger.add_operation(asked, K.VOID, claimed=False)
    await ledger.recorder().review(subject(void), reason="unknown")
    with pytest.raises(DecisionRefused, match="decide about"):
        await decided(ledger, void, V.APPROVED, reference="acq-1")
    await ledger.recorder().record(subject(create), attempt=1, fact=approval(create))
    stands = await ledger.payment(asked.id)
    assert (stands.status, stands.amount_authorized_minor) == (S.AUTHORIZED, 1000)


async def test_what_was_given_up_and_captured_as_a_person_says_is_given_back(ledger: Ledger) -> None:
    paid = await ledger.add_payment(S.PROCESSING, capture_method="automatic")
    create = await ledger.add_operation(paid, K.AUTHORIZE, state=A.UNKNOWN)
    await ledger.recorder().review(subject(create), reason="unknown")
    await ledger.rows(f"UPDATE attempts SET send_before = now() - {LONG_AGO}")
    void = await ledger.add_operation(await ledger.payment(paid.id), K.VOID, claimed=False)
    await decided(ledger, create, V.APPROVED, reference="acq-1")
    stands = await ledger.payment(paid.id)
    refund_id = IDS.release(void_id=void.id)
    assert (stands.status, stands.amount_refund_pending_minor) == (S.CAPTURED, 1000)
    assert (stands.pending_operation or {}).get("ended_by") == refund_id
    assert (await ledger.operation(refund_id)).ends_operation == void.id


async def test_an_automatic_payment_that_a_person_approves_answers_its_create(ledger: Ledger) -> None:
    paid = await ledger.add_payment(S.PROCESSING, capture_method="automatic")
    create = await ledger.add_operation(paid, K.AUTHORIZE, state=A.UNKNOWN)
    await ledger.recorder().review(subject(create), reason="unknown")
    await ledger.rows(f"UPDATE attempts SET send_before = now() - {LONG_AGO}")
    taken = await decided(ledger, create, V.APPROVED, reference="acq-1")
    assert (taken.payment.status, taken.payment.connector_reference) == (S.CAPTURED, "acq-1")
    assert (await ledger.latest(create.id)).stage is Stage.CAPTURED
    assert (await ledger.stored_key(create)).answer_kind == AnswerKind.PAYMENT


@pytest.mark.parametrize("state", [A.NOT_SENT, None])
async def test_an_automatic_payment_whose_attempt_was_forgotten_is_captured_as_a_person_says(
    ledger: Ledger, state: AttemptState | None
) -> None:
    """It is captured there, so payonce captures nothing."""
    paid = await ledger.add_payment(S.PROCESSING, capture_method="automatic")
    create = await ledger.add_operation(
        paid, K.AUTHORIZE, claimed=state is not None, state=state or A.CLAIMED
    )
    await ledger.recorder().review(subject(create), reason="recording_lost")
    taken = await decided(ledger, create, V.APPROVED, reference="acq-1")
    assert (taken.payment.status, taken.payment.pending_operation) == (S.CAPTURED, None)
    states = "SELECT state FROM attempts WHERE operation_id = :id"
    assert [row.state for row in await ledger.rows(states, id=create.id)] == (
        [] if state is None else [state]
    )


async def test_an_automatic_payment_that_is_authorized_only_is_captured_by_payonce(ledger: Ledger) -> None:
    paid = await ledger.add_payment(S.PROCESSING, capture_method="automatic")
    create = await ledger.add_operation(paid, K.AUTHORIZE, claimed=False)
    await ledger.recorder().review(subject(create), reason="recording_lost")
    given: dict[str, Any] = {"reference": "acq-1", "stage": Stage.AUTHORIZED}
    taken = await decided(ledger, create, V.APPROVED, **given)
    assert taken.payment.status is S.AUTHORIZED
    assert taken.payment.pending_operation is not None
    capture = await ledger.operation(str(taken.payment.pending_operation["id"]))
    assert (capture.kind, capture.status, capture.origin) == (K.CAPTURE, O.PENDING, Origin.PAYONCE)
    assert (await ledger.rows("SELECT stage FROM decisions"))[0].stage == "authorized"


async def test_where_the_rail_captures_by_itself_authorized_decides_nothing(ledger: Ledger) -> None:
    paid = await ledger.add_payment(S.PROCESSING, capture_method="automatic")
    create = await ledger.add_operation(paid, K.AUTHORIZE, claimed=False, deferred_at=paid.created_at)
    await ledger.recorder().review(subject(create), reason="recording_lost")
    itself = {"account_1": Account(ACCOUNTS["account_1"].finality, lambda _: Abilities(captures_itself=True))}
    given = decision(create, V.APPROVED, reference="acq-1", stage=Stage.AUTHORIZED)
    with pytest.raises(DecisionRefused, match="would change nothing"):
        await ledger.recorder().decide(subject(create), given, accounts=itself)

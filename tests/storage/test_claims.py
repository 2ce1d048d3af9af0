"""Who may send: one owner, once, by a claim that is committed before the first byte."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from payonce.claims import CLAIMS_MAX, Claim, Claimant, Releases
from payonce.clock import boot_clock_s
from payonce.connectors.base import call_of
from payonce.domain.cards import Card
from payonce.domain.claiming import Release, unanswered_until
from payonce.domain.errors import NotFound
from payonce.domain.facts import FailureCode, Unsent
from payonce.domain.operations import AttemptState, Operation, OperationKind
from payonce.domain.payment import Payment, PaymentStatus
from payonce.rights import SEND_WITHIN_S, Right, Rights
from payonce.standing import Standing
from payonce.storage import attempts
from payonce.storage.driver.database import Database, StorageUnavailable
from tests.storage.acting import ACCOUNTS
from tests.storage.ledger import Ledger, subject

K, S, A = OperationKind, PaymentStatus, AttemptState


async def claim(database: Database, of: Operation, rights: Rights | None = None) -> Right | Standing:
    return await Claimant(database, rights or Rights(), ACCOUNTS).claim(
        payment_id=of.payment_id, operation_id=of.id
    )


async def refund_of(shared_ledger: Ledger) -> Operation:
    """A refund that nobody has claimed."""
    paid = await shared_ledger.add_payment(S.CAPTURED)
    return await shared_ledger.add_operation(paid, K.REFUND, claimed=False)


async def states(shared_ledger: Ledger, of: Operation) -> list[tuple[int, AttemptState]]:
    """Each attempt of the operation, by number."""
    query = "SELECT number, state FROM attempts WHERE operation_id = :id ORDER BY number"
    return [(row.number, A(row.state)) for row in await shared_ledger.rows(query, id=of.id)]


def right_with_card(paid: Payment, of: Operation) -> Right:
    call = replace(call_of(paid, of, reference=f"{of.id}-1"), card=Card("4242424242424242", 12, 2030))
    return Right(call, 1, "run_1", "account_1", boot_clock_s() + SEND_WITHIN_S)


async def test_two_runs_race_and_one_of_them_may_send(shared_ledger: Ledger) -> None:
    refund = await refund_of(shared_ledger)
    found = await asyncio.gather(*(claim(shared_ledger.database, refund) for _ in range(6)))
    rights = [one for one in found if isinstance(one, Right)]
    assert len(rights) == 1
    assert rights[0].call.reference == f"{refund.id}-1"
    others = [one for one in found if isinstance(one, Standing)]
    assert [one.attempt and one.attempt.state for one in others] == [A.CLAIMED] * 5


async def test_the_claim_names_its_owner_and_how_long_it_may_send(shared_ledger: Ledger) -> None:
    refund, rights = await refund_of(shared_ledger), Rights()
    before = boot_clock_s()
    right = await claim(shared_ledger.database, refund, rights)
    assert isinstance(right, Right)
    claimed = await shared_ledger.latest(refund.id)
    assert claimed.owner == rights.owner
    assert claimed.send_before - claimed.claimed_at == timedelta(seconds=SEND_WITHIN_S)
    assert before + SEND_WITHIN_S <= right.deadline <= boot_clock_s() + SEND_WITHIN_S


async def test_a_claim_that_is_not_proven_is_given_back_and_the_next_one_is_sent(
    shared_ledger: Ledger,
) -> None:
    """It was read back, and granted the right: after a fail-over it was on the old primary only."""
    refund = await refund_of(shared_ledger)
    async with shared_ledger.flaky("lost answer") as flaky:
        right = await claim(flaky, refund)
    assert isinstance(right, Right)
    assert (right.attempt, right.call.reference) == (2, f"{refund.id}-2")
    assert await states(shared_ledger, refund) == [(1, A.NOT_SENT), (2, A.CLAIMED)]


async def test_a_claim_that_did_not_hold_is_made_again(shared_ledger: Ledger) -> None:
    refund = await refund_of(shared_ledger)
    async with shared_ledger.flaky("lost commit") as flaky:
        right = await claim(flaky, refund)
    assert isinstance(right, Right)
    assert await states(shared_ledger, refund) == [(1, A.CLAIMED)]
    assert right.token == (await shared_ledger.latest(refund.id)).token


async def test_no_claim_of_a_run_is_sent_while_none_is_proven(shared_ledger: Ledger) -> None:
    """Each is given back; after some the run gives up, and whoever comes next may claim."""
    refund = await refund_of(shared_ledger)
    ends = ["lost answer", ""] * CLAIMS_MAX
    async with shared_ledger.flaky(*ends) as flaky:
        with pytest.raises(StorageUnavailable):
            await claim(flaky, refund)
    assert await states(shared_ledger, refund) == [(n, A.NOT_SENT) for n in range(1, CLAIMS_MAX + 1)]


async def test_a_claim_made_meanwhile_by_another_is_not_taken_for_ours(shared_ledger: Ledger) -> None:
    """Our commit was lost, and another run's claim of the same number is what the release finds."""
    refund = await refund_of(shared_ledger)
    async with shared_ledger.flaky("lost commit", "down") as flaky:
        claimant = Claimant(flaky, Rights(), ACCOUNTS)
        giving_back = claimant._releases.begin

        def after_another(of: Claim, **ended: Any) -> "asyncio.Task[Release]":
            async def claim_first() -> Release:
                await claim(shared_ledger.database, refund)
                return await giving_back(of, **ended)

            return asyncio.create_task(claim_first())

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(claimant._releases, "begin", after_another)
            found = await claimant.claim(payment_id=refund.payment_id, operation_id=refund.id)
    assert isinstance(found, Standing)
    assert await states(shared_ledger, refund) == [(1, A.CLAIMED)]


async def test_a_release_that_does_not_come_about_ends_with_the_connections(
    shared_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was tried for an hour more on connections that were closed, and said so in other tests' logs."""
    monkeypatch.setattr("payonce.storage.driver.database.CLOSE_S", 0.05)
    refund = await refund_of(shared_ledger)
    made = Claim(payment_id=refund.payment_id, operation_id=refund.id, number=1, token="run_1")
    async with shared_ledger.flaky(*["down"] * 100) as flaky:
        releasing = Releases(flaky).begin(made)
    begun_later = Releases(flaky).begin(made)
    for each in (releasing, begun_later):
        await asyncio.wait({each}, timeout=20)
        assert each.cancelled()


@pytest.mark.parametrize("state", [state for state in A if state is not A.NOT_SENT])
async def test_an_attempt_that_may_have_been_sent_is_never_claimed_again(
    shared_ledger: Ledger, state: AttemptState
) -> None:
    paid = await shared_ledger.add_payment(S.CAPTURED)
    refund = await shared_ledger.add_operation(paid, K.REFUND, state=state)
    found = await claim(shared_ledger.database, refund)
    assert isinstance(found, Standing)
    assert (await shared_ledger.latest(refund.id)).number == 1


async def test_an_unsent_attempt_is_followed_by_the_next(shared_ledger: Ledger) -> None:
    paid = await shared_ledger.add_payment(S.CAPTURED)
    refund = await shared_ledger.add_operation(paid, K.REFUND, state=A.NOT_SENT)
    right = await claim(shared_ledger.database, refund)
    assert isinstance(right, Right)
    assert (right.attempt, right.call.reference) == (2, f"{refund.id}-2")


async def test_a_create_is_claimed_only_where_its_card_is(shared_ledger: Ledger) -> None:
    paid = await shared_ledger.add_payment()
    authorization = await shared_ledger.add_operation(paid, K.AUTHORIZE, state=A.NOT_SENT)
    assert isinstance(await claim(shared_ledger.database, authorization), Standing)
    rights = Rights()
    rights.keep_unsent(authorization.id, right_with_card(paid, authorization))
    right = await claim(shared_ledger.database, authorization, rights)
    assert isinstance(right, Right)
    assert right.call.card is not None
    assert right.call.reference == f"{authorization.id}-2"
    assert isinstance(await claim(shared_ledger.database, authorization, rights), Standing)


async def test_an_operation_with_an_outcome_is_not_claimed(shared_ledger: Ledger) -> None:
    paid = await shared_ledger.add_payment(S.CAPTURED)
    refund = await shared_ledger.add_operation(paid, K.REFUND)
    recorder = shared_ledger.recorder()
    await recorder.record(subject(refund), attempt=1, fact=Unsent())
    await recorder.give_up(subject(refund), code=FailureCode.NOT_PROCESSED)
    assert isinstance(await claim(shared_ledger.database, refund), Standing)


async def test_what_is_not_there_is_not_claimed(shared_ledger: Ledger) -> None:
    refund = replace(await refund_of(shared_ledger), id="op_none")
    with pytest.raises(NotFound):
        await claim(shared_ledger.database, refund)


async def release(ledger: Ledger, of: Operation, *, number: int = 1, token: str = "run_1") -> Release:
    async with ledger.database.transaction() as connection:
        return await attempts.release(connection, operation_id=of.id, number=number, token=token)


async def test_a_claim_is_given_back_by_its_token_only_and_twice_is_once(shared_ledger: Ledger) -> None:
    """The boot id alone would free what the same process claimed anew after a fail-over, while it sends."""
    paid = await shared_ledger.add_payment()
    authorization = await shared_ledger.add_operation(paid, K.AUTHORIZE)
    assert await release(shared_ledger, authorization, token="run_2") is Release.OTHERS
    assert (await shared_ledger.latest(authorization.id)).state is A.CLAIMED
    assert await release(shared_ledger, authorization) is Release.GIVEN_BACK
    assert (await shared_ledger.latest(authorization.id)).state is A.NOT_SENT
    assert await release(shared_ledger, authorization) is Release.ALREADY


async def test_a_claim_that_is_not_there_was_never_held(shared_ledger: Ledger) -> None:
    refund = await refund_of(shared_ledger)
    assert await release(shared_ledger, refund) is Release.NEVER_HELD


async def test_a_release_finds_what_stands_since_a_fail_over(shared_ledger: Ledger) -> None:
    """The claim of attempt 2 is lost, and so is the release of attempt 1: that one may be sent."""
    refund = await refund_of(shared_ledger)
    right = await claim(shared_ledger.database, refund)
    assert isinstance(right, Right)
    assert await release(shared_ledger, refund, number=2, token="lost") is Release.OTHERS
    assert await release(shared_ledger, refund, token=right.token) is Release.GIVEN_BACK
    assert await release(shared_ledger, refund, number=2, token="lost") is Release.ALREADY


@pytest.mark.parametrize("state", [state for state in A if state not in (A.CLAIMED, A.NOT_SENT)])
async def test_what_is_no_longer_claimed_is_not_given_back(
    shared_ledger: Ledger, state: AttemptState
) -> None:
    paid = await shared_ledger.add_payment()
    authorization = await shared_ledger.add_operation(paid, K.AUTHORIZE, state=state)
    assert await release(shared_ledger, authorization) is Release.OTHERS
    assert (await shared_ledger.latest(authorization.id)).state is state


async def test_a_right_is_taken_once(shared_ledger: Ledger) -> None:
    paid = await shared_ledger.add_payment()
    right = right_with_card(paid, await shared_ledger.add_operation(paid, K.AUTHORIZE))
    rights = Rights()
    rights.grant(paid.id, right)
    assert rights.take(paid.id) is right
    assert rights.take(paid.id) is None
    assert not rights.withdraw(paid.id, right)


async def test_a_withdrawn_right_is_gone_for_good(shared_ledger: Ledger) -> None:
    paid = await shared_ledger.add_payment()
    right = right_with_card(paid, await shared_ledger.add_operation(paid, K.AUTHORIZE))
    rights = Rights()
    rights.grant(paid.id, right)
    assert rights.withdraw(paid.id, right)
    assert rights.take(paid.id) is None
    rights.keep_unsent(paid.id, right)
    assert rights.withdraw(paid.id, right)
    assert rights.take_unsent(paid.id) is None


def test_a_right_ends_at_its_deadline() -> None:
    now = [100.0]
    nothing: Any = None  # of the call: it is not looked at
    right = Right(nothing, 1, "run_1", "a", deadline=105.0, clock=lambda: now[0])
    assert right.holds()
    now[0] = 105.0
    assert not right.holds()


def test_each_boot_is_another_owner() -> None:
    assert Rights().owner != Rights().owner


async def test_not_found_proves_nothing_until_the_owner_the_call_and_finality_are_over(
    shared_ledger: Ledger,
) -> None:
    paid = await shared_ledger.add_payment()
    claimed = await shared_ledger.latest((await shared_ledger.add_operation(paid, K.AUTHORIZE)).id)
    until = unanswered_until(claimed, call_deadline_s=10, finality_s=30)
    assert until == claimed.send_before + timedelta(seconds=2 + 10 + 30)
    assert until > datetime.now(UTC)

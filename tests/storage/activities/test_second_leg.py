"""The second leg over a real Postgres: claimed under the payment's lock, sent once, and recorded as its attempt's."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, text

from activities.messages import ActionDue, LegDue, ReversalDue, Settled
from payonce.domain.errors import LegInvalid, NotSent, OutcomeUnknown, Rejected
from payonce.domain.facts import (
    ActionRequired,
    Cancelled,
    DeclineCode,
    Declined,
    EndsItself,
)
from payonce.domain.legs import LegState
from payonce.domain.operations import AttemptState, Operation, Subject
from payonce.domain.payment import PaymentStatus
from payonce.legs import Legs
from payonce.storage import returns as sealing
from payonce.storage.driver.database import StorageUnavailable
from payonce.storage.tables import returns
from tests.storage.acting import SEALER, FakeConnector, Process
from tests.storage.customers import UPI, asked, called, create_of, given_up, lapsed
from tests.storage.ledger import Ledger
from tests.support.rows import approval

A, S = AttemptState, PaymentStatus
RESUMES = replace(UPI, challenge_ends="cancelled")


@pytest.fixture
def connector() -> FakeConnector:
    return FakeConnector(capabilities=RESUMES)


@pytest.fixture
def process(shared_ledger: Ledger, connector: FakeConnector) -> Process:
    return Process(shared_ledger, connector)


def challenged(*, for_s: float = 600) -> ActionRequired:
    return replace(asked(for_s=for_s), completes="resume")


async def waiting(process: Process) -> Operation:
    """A payment whose customer was sent to the acquirer's page, and whose leg moves the money."""
    create = await create_of(process.ledger, claimed=False)
    process.connector.answers |= {"send": challenged(), "inquire": challenged()}
    assert isinstance(await process.attempt(create), ActionDue)
    assert (await process.ledger.latest(create.id)).completes == "resume"
    return create


async def came_back(process: Process, create: Operation, number: int = 1, **parameters: str) -> None:
    """A return was taken, as the page takes it."""
    attempt = await process.ledger.latest(create.id)
    brought: Mapping[str, str] = parameters or {"result": f"good-{number}"}
    sealed = sealing.seal(SEALER, brought, attempt, number=number)
    row = {
        "operation_id": create.id,
        "attempt": attempt.number,
        "number": number,
        "digest": f"{brought}".encode(),
        "key_id": sealed.key_id,
        "sealed": sealed.data,
        "received_at": datetime.now(UTC),
    }
    async with process.ledger.database.transaction() as connection:
        await connection.execute(insert(returns).values(row))
        await connection.execute(
            text("UPDATE attempts SET returned_at = now() WHERE operation_id = :id"), {"id": create.id}
        )


async def states(process: Process, create: Operation) -> list[str]:
    rows = await process.ledger.rows(
        "SELECT state FROM legs WHERE operation_id = :id ORDER BY number", id=create.id
    )
    return [row.state for row in rows]


async def test_what_the_customer_brought_is_sent_and_its_approval_is_the_payments(process: Process) -> None:
    create = await waiting(process)
    assert isinstance(await process.resolve("inquire", create), ActionDue), "nobody is back yet"
    await came_back(process, create)
    assert isinstance(await process.resolve("inquire", create), LegDue)
    process.connector.answers["resume"] = approval(create)
    progress = await process.resume(create)
    assert isinstance(progress, Settled)
    assert process.connector.legs == [(1, {"result": "good-1"})]
    assert (await process.ledger.latest(create.id)).state is A.APPROVED
    assert await states(process, create) == ["done"]
    assert isinstance(await process.resume(create), Settled), "a second run of the activity"
    assert called(process).count("resume") == 1


async def test_a_decline_of_the_leg_is_the_payments(process: Process) -> None:
    create = await waiting(process)
    await came_back(process, create)
    process.connector.answers["resume"] = Declined(DeclineCode.AUTHENTICATION_FAILED)
    assert isinstance(await process.resume(create), Settled)
    assert (await process.ledger.payment(create.payment_id)).status is S.FAILED


async def test_two_runs_at_once_send_one_leg(process: Process) -> None:
    create = await waiting(process)
    await came_back(process, create)
    process.connector.answers["resume"] = approval(create)
    others = Process(process.ledger, process.connector)
    await asyncio.gather(process.resume(create), others.resume(create), process.resume(create))
    assert called(process).count("resume") == 1
    assert (await process.ledger.payment(create.payment_id)).amount_authorized_minor == 1000


async def test_one_that_the_acquirer_calls_invalid_makes_room_for_the_next_and_no_more_than_that(
    process: Process,
) -> None:
    """A stranger's return came first; the customer's own counts."""
    create = await waiting(process)
    await came_back(process, create, 1, result="forged")
    process.connector.answers["resume"] = LegInvalid()
    assert isinstance(await process.resume(create), ActionDue)
    assert isinstance(await process.resolve("inquire", create), ActionDue), "nothing else is to be sent"
    await came_back(process, create, 2, result="genuine")
    assert isinstance(await process.resolve("inquire", create), LegDue)
    process.connector.answers["resume"] = approval(create)
    assert isinstance(await process.resume(create), Settled)
    assert process.connector.legs == [(1, {"result": "forged"}), (2, {"result": "genuine"})]
    assert await states(process, create) == ["invalid", "done"]


async def test_one_that_wants_the_customer_once_more_shows_the_page_and_takes_what_they_bring_next(
    process: Process,
) -> None:
    create = await waiting(process)
    await came_back(process, create)
    await process.ledger.rows(
        "UPDATE payments SET status = 'processing', next_action = NULL WHERE id = :id", id=create.payment_id
    )
    further = replace(challenged(), action={"type": "redirect", "url": "https://acquirer.example/second"})
    process.connector.answers |= {"resume": further, "inquire": further}
    assert isinstance(await process.resume(create), ActionDue)
    paid = await process.ledger.payment(create.payment_id)
    assert paid.status is S.REQUIRES_ACTION
    assert paid.next_action is not None
    assert paid.next_action["url"] == "https://acquirer.example/second"
    assert isinstance(await process.resolve("inquire", create), ActionDue), "the same leg is not sent again"
    await came_back(process, create, 2)
    assert isinstance(await process.resolve("inquire", create), LegDue)
    process.connector.answers["resume"] = approval(create)
    assert isinstance(await process.resume(create), Settled)
    assert process.connector.legs == [(1, {"result": "good-1"}), (2, {"result": "good-2"})]
    assert (await process.ledger.payment(create.payment_id)).amount_authorized_minor == 1000


async def test_a_further_page_is_shown_with_the_end_of_its_leg_or_not_at_all(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sent the leg dies right after the page was shown: what the customer brings from there is sent."""
    create = await waiting(process)
    await came_back(process, create)
    await process.ledger.rows(
        "UPDATE payments SET status = 'processing', next_action = NULL WHERE id = :id", id=create.payment_id
    )
    further = replace(challenged(), action={"type": "redirect", "url": "https://acquirer.example/second"})
    process.connector.answers |= {"resume": further, "inquire": further}

    async def dies(*_: object) -> None:
        raise StorageUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(Legs, "end", dies)
        await process.resume(create)
    assert (await process.ledger.payment(create.payment_id)).status is S.REQUIRES_ACTION
    await came_back(process, create, 2)
    assert isinstance(await process.resolve("inquire", create), LegDue)
    process.connector.answers["resume"] = approval(create)
    assert isinstance(await process.resume(create), Settled)
    assert process.connector.legs == [(1, {"result": "good-1"}), (2, {"result": "good-2"})]


async def test_where_the_next_is_there_already_it_follows_at_once(process: Process) -> None:
    create = await waiting(process)
    for number in (1, 2):
        await came_back(process, create, number)
    process.connector.answers["resume"] = LegInvalid()
    assert isinstance(await process.resume(create), LegDue)


@pytest.mark.parametrize("lost", [OutcomeUnknown("reset"), Rejected("401")], ids=["reset", "rejected"])
async def test_a_lost_leg_is_resolved_by_its_attempt_and_never_sent_again(
    process: Process, lost: Exception
) -> None:
    """Also where the acquirer refuses our credentials: what it did with the leg is not known."""
    create = await waiting(process)
    await came_back(process, create)
    process.connector.answers["resume"] = lost
    assert isinstance(await process.resume(create), ActionDue)
    assert await states(process, create) == ["unknown"]
    assert (await process.ledger.latest(create.id)).state is A.WAITING, "its customer's time goes on"
    await came_back(process, create, 2)
    assert isinstance(await process.resume(create), ActionDue)
    process.connector.answers["inquire"] = approval(create)
    assert isinstance(await process.resolve("inquire", create), Settled)
    assert called(process).count("resume") == 1
    assert (await process.ledger.latest(create.id)).state is A.APPROVED


async def test_a_leg_that_was_lost_is_sent_again_where_the_acquirer_replays_it(process: Process) -> None:
    process.connector.capabilities = replace(RESUMES, replays_legs=True)
    create = await waiting(process)
    await came_back(process, create)
    process.connector.answers["resume"] = OutcomeUnknown("reset")
    await process.resume(create)
    assert isinstance(await process.resolve("inquire", create), LegDue)
    process.connector.answers["resume"] = approval(create)
    assert isinstance(await process.resume(create), Settled)
    assert process.connector.legs == [(1, {"result": "good-1"})] * 2, "the same leg, and so the same key"


async def test_a_leg_that_provably_was_not_sent_is_sent_by_a_later_run(process: Process) -> None:
    create = await waiting(process)
    await came_back(process, create)
    process.connector.answers["resume"] = NotSent()
    assert isinstance(await process.resume(create), ActionDue)
    assert await states(process, create) == ["not_sent"]
    assert isinstance(await process.resolve("inquire", create), LegDue)
    process.connector.answers["resume"] = approval(create)
    assert isinstance(await process.resume(create), Settled)
    assert await states(process, create) == ["done"]


async def test_one_whose_process_died_is_not_sent_again_before_its_call_is_over(process: Process) -> None:
    process.connector.capabilities = replace(RESUMES, replays_legs=True)
    create = await waiting(process)
    await came_back(process, create)
    assert await process.legs.claim(Subject(create.payment_id, create.id)) is not None
    assert isinstance(await process.resolve("inquire", create), ActionDue)
    await process.ledger.rows("UPDATE legs SET send_before = send_before - interval '1 minute'")
    assert isinstance(await process.resolve("inquire", create), LegDue)


async def test_a_claim_that_another_replaced_does_not_end_that_one(process: Process) -> None:
    """A process that was stopped wakes up: its leg was sent again by others meanwhile."""
    process.connector.capabilities = replace(RESUMES, replays_legs=True)
    create = await waiting(process)
    await came_back(process, create)
    subject = Subject(create.payment_id, create.id)
    first = await process.legs.claim(subject)
    await process.ledger.rows("UPDATE legs SET send_before = send_before - interval '1 minute'")
    second = await process.legs.claim(subject)
    assert first is not None
    assert second is not None
    await process.legs.end(first, LegState.NOT_SENT)
    assert await states(process, create) == ["claimed"]
    await process.legs.end(second, LegState.UNKNOWN)
    assert await states(process, create) == ["unknown"]


async def test_a_return_after_the_void_is_refused_and_nothing_is_asked_of_the_acquirer(
    process: Process,
) -> None:
    """Only a leg could have moved anything, and none was claimed: that is proof enough."""
    create = await waiting(process)
    void = await given_up(process, create)
    await came_back(process, create)
    assert (await process.resume(create)).kind == "inquiry_due"
    progress = await process.resolve("reverse", void)
    assert isinstance(progress, Settled)
    assert progress.status == "voided"
    assert called(process) == ["send"]
    assert await states(process, create) == []


async def test_where_the_leg_only_reads_the_acquirer_is_asked_though_none_was_claimed(
    process: Process,
) -> None:
    """The customer's page may have moved the money, and the browser never have come back."""
    process.connector.capabilities = replace(RESUMES, legs_move_money=False)
    create = await waiting(process)
    void = await given_up(process, create)
    process.connector.answers |= {"cancel": approval(create), "inquire": approval(create)}
    await process.resolve("reverse", void)
    assert called(process) == ["send", "cancel"]
    assert (await process.ledger.latest(create.id)).state is A.APPROVED


async def test_a_void_after_the_leg_is_confirmed_by_the_acquirer(process: Process) -> None:
    create = await waiting(process)
    await came_back(process, create)
    process.connector.answers |= {"resume": OutcomeUnknown("reset"), "cancel": Cancelled()}
    await process.resume(create)
    void = await given_up(process, create)
    assert (await process.resolve("reverse", void)).status == "voided"
    assert called(process)[-1] == "cancel"


async def test_a_void_after_the_leg_lets_its_success_count_and_releases_it(process: Process) -> None:
    create = await waiting(process)
    await came_back(process, create)
    process.connector.answers |= {"resume": OutcomeUnknown("reset"), "cancel": approval(create)}
    await process.resume(create)
    await given_up(process, create)
    await process.resolve("reverse", create, not_found=False)
    assert (await process.ledger.latest(create.id)).state is A.APPROVED


@pytest.mark.parametrize("ends", ["cancelled", "itself"])
async def test_one_that_nobody_came_back_to_ends_without_the_acquirer(process: Process, ends: str) -> None:
    process.connector.capabilities = replace(RESUMES, challenge_ends=ends)
    create = await waiting(process)
    await lapsed(process.ledger, create)
    assert isinstance(await process.resolve("inquire", create), ReversalDue)
    progress = await process.resolve("reverse", create, not_found=False)
    assert isinstance(progress, Settled)
    paid = await process.ledger.payment(create.payment_id)
    assert paid.status is S.FAILED
    assert paid.last_error is not None
    assert paid.last_error["code"] == "abandoned"
    assert "cancel" not in called(process)


async def test_one_whose_leg_is_in_doubt_is_the_acquirers_to_end(process: Process) -> None:
    process.connector.capabilities = replace(RESUMES, challenge_ends="itself")
    create = await waiting(process)
    await came_back(process, create)
    process.connector.answers |= {"resume": OutcomeUnknown("reset"), "cancel": EndsItself()}
    await process.resume(create)
    await lapsed(process.ledger, create)
    assert isinstance(await process.resolve("inquire", create), ReversalDue)
    assert (await process.resolve("reverse", create, not_found=False)).kind == "inquiry_due"
    paid = await process.ledger.payment(create.payment_id)
    assert paid.status is S.PROCESSING


async def test_a_late_owner_does_not_send_its_leg(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped between claim and call: its right is over by its own clock."""
    create = await waiting(process)
    await came_back(process, create)
    monkeypatch.setattr("payonce.legs.SEND_WITHIN_S", -1.0)
    process.connector.answers["resume"] = approval(create)
    assert isinstance(await process.resume(create), ActionDue)
    assert process.connector.legs == []
    assert await states(process, create) == ["not_sent"]

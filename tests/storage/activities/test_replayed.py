"""Who cannot be asked is sent the same request again, while it answers that as at first; else its word is awaited."""

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from activities import replaying
from activities.messages import InquiryDue, NothingSent, Settled
from payonce import rights
from payonce.connectors.base import Call, MaySend
from payonce.domain.errors import NotSent, OutcomeUnknown, RateLimited, Rejected
from payonce.domain.facts import Accepted, DeclineCode, Declined, Foreign, NotKnown, Refused
from payonce.domain.operations import AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.domain.schedules import until_told
from payonce.domain.truth import Truth
from payonce.replays import Replays
from payonce.rights import Right, Rights
from payonce.standing import read_standing
from tests.storage.acting import CAPABILITIES, FakeConnector, Process, Stepping, age, claimed_ago, owned
from tests.storage.ledger import Ledger, subject
from tests.support.rows import approval

K, S, A = OperationKind, PaymentStatus, AttemptState
DAY_S = 86_400
WINDOW_S = 31 * DAY_S
WITHIN_S = 3_600.0
REPLAYS = replace(
    CAPABILITIES,
    reversal_by_reference=False,
    truth=dict.fromkeys((K.AUTHORIZE, K.CAPTURE, K.VOID, K.REFUND), Truth.REPLAY),
    idempotent_replay_s=WINDOW_S,
    callback_within_s=dict.fromkeys((K.AUTHORIZE, K.CAPTURE, K.VOID, K.REFUND), WITHIN_S),
)
TOLD = replace(REPLAYS, truth=dict.fromkeys(REPLAYS.truth, Truth.CALLBACK), idempotent_replay_s=0)


@pytest.fixture
def connector() -> FakeConnector:
    """Its answers to what is sent first are lost."""
    lost = OutcomeUnknown("timeout")
    return FakeConnector({"send": lost, "replay": lost}, capabilities=REPLAYS)


@pytest.fixture
def process(shared_ledger: Ledger, connector: FakeConnector) -> Process:
    return Process(shared_ledger, connector)


async def in_doubt(process: Process, kind: OperationKind = K.CAPTURE, **changes: Any) -> Operation:
    """An operation whose answer was lost."""
    paid = await process.ledger.add_payment(S.CAPTURED if kind is K.REFUND else S.AUTHORIZED)
    of = await process.ledger.add_operation(paid, kind, claimed=False, **changes)
    assert isinstance(await process.attempt(of), InquiryDue)
    return of


def names(connector: FakeConnector) -> list[str]:
    return [name for name, _ in connector.calls]


@pytest.mark.parametrize("kind", [K.CAPTURE, K.VOID, K.REFUND])
async def test_a_lost_answer_is_had_by_sending_the_same_again(
    process: Process, connector: FakeConnector, kind: OperationKind
) -> None:
    of = await in_doubt(process, kind)
    connector.answers["replay"] = approval(of)
    assert isinstance(await process.resolve("inquire", of), Settled)
    assert connector.calls == [("send", f"{of.id}-1"), ("replay", f"{of.id}-1")]
    assert (await process.ledger.operation(of.id)).status is OperationStatus.SUCCEEDED


async def test_what_is_sent_again_is_what_was_sent(process: Process, connector: FakeConnector) -> None:
    sent: list[Call] = []

    async def keep(call: Call, *, may_send: MaySend) -> Any:
        assert may_send()
        sent.append(call)
        raise OutcomeUnknown("timeout", connector_reference="acq-1")

    connector.send = connector.replay = keep  # type: ignore[method-assign]
    of = await in_doubt(process, K.REFUND, metadata={"order": "7"})
    await process.resolve("inquire", of)
    first, again = sent
    assert again == first


async def test_an_answer_to_it_counts_as_the_first_would(process: Process, connector: FakeConnector) -> None:
    of = await in_doubt(process)
    connector.answers["replay"] = Declined(DeclineCode.GENERIC_DECLINE)
    assert isinstance(await process.resolve("inquire", of), Settled)
    assert (await process.ledger.operation(of.id)).status is OperationStatus.FAILED


@pytest.mark.parametrize(
    "error",
    [OutcomeUnknown("timeout"), NotSent(), RateLimited(retry_after_s=1), Rejected("401")],
    ids=lambda e: e.code,
)
async def test_no_answer_to_it_leaves_it_unknown(
    process: Process, connector: FakeConnector, error: Exception
) -> None:
    of = await in_doubt(process)
    await age(process.ledger, of)
    connector.answers["replay"] = error
    due = await process.resolve("inquire", of)
    assert isinstance(due, InquiryDue)
    assert due.schedule == REPLAYS.inquiry
    assert (await process.ledger.latest(of.id)).state is A.UNKNOWN
    assert names(connector) == ["send", "replay"]  # nobody is asked, and nothing is reversed


async def test_once_it_is_accepted_nothing_is_sent_any_more(
    process: Process, connector: FakeConnector
) -> None:
    of = await in_doubt(process)
    connector.answers["replay"] = Accepted("acq-1")
    for _ in range(2):
        due = await process.resolve("inquire", of)
        assert isinstance(due, InquiryDue)
        assert due.schedule == until_told(WITHIN_S)
    assert names(connector) == ["send", "replay"]
    assert (await process.ledger.latest(of.id)).state is A.ACCEPTED


@pytest.mark.parametrize(("ago_s", "sent"), [(WINDOW_S - DAY_S - 60, True), (WINDOW_S - DAY_S + 60, False)])
async def test_a_day_before_the_window_closes_it_is_for_a_person(
    process: Process, connector: FakeConnector, ago_s: float, sent: bool
) -> None:
    of = await in_doubt(process)
    await claimed_ago(process, of, ago_s)
    due = await process.resolve("inquire", of)
    assert isinstance(due, InquiryDue)
    assert ("replay" in names(connector)) is sent
    operation = await process.ledger.operation(of.id)
    assert (operation.status, operation.review_at is None) == (OperationStatus.PENDING, sent)
    assert (due.reason == replaying.WINDOW_CLOSED) is not sent
    await process.resolve("reverse", of)
    assert (await process.ledger.operation(of.id)).status is OperationStatus.PENDING  # never `not_processed`


async def test_what_its_owner_may_still_give_back_is_not_sent(
    process: Process, connector: FakeConnector
) -> None:
    """Else it would be sent here, given back as unsent there, and sent under the next reference."""
    of = await process.ledger.add_operation(await process.ledger.add_payment(S.AUTHORIZED), K.CAPTURE)
    await process.resolve("inquire", of)
    assert names(connector) == []
    assert (await process.ledger.latest(of.id)).state is A.CLAIMED
    await age(process.ledger, of)
    await process.resolve("inquire", of)
    assert names(connector) == ["replay"]
    assert (await process.ledger.latest(of.id)).state is A.UNKNOWN


async def test_before_it_is_sent_again_it_is_proven_to_be_in_doubt(
    process: Process, connector: FakeConnector
) -> None:
    of = await process.ledger.add_operation(await process.ledger.add_payment(S.AUTHORIZED), K.CAPTURE)
    await age(process.ledger, of)
    states: list[AttemptState] = []

    async def look() -> None:
        states.append((await process.ledger.latest(of.id)).state)

    connector.before = look
    await process.resolve("inquire", of)
    assert states == [A.UNKNOWN]


async def test_what_was_told_meanwhile_is_not_sent_again(process: Process, connector: FakeConnector) -> None:
    """Between a run's look and its request, the callback was recorded."""
    of = await in_doubt(process)
    replays = Replays(recorder=process.ledger.recorder(), accounts=process.opened_accounts)
    async with process.ledger.database.transaction() as connection:
        standing = await read_standing(connection, of.payment_id, of.id, lock=False)
    assert standing.attempt is not None
    await process.ledger.recorder().record(subject(of), attempt=1, fact=approval(of))
    assert (await replays.replay(subject(of), standing, standing.attempt)).kind == "unknown"
    assert "replay" not in names(connector)


async def test_what_others_moved_meanwhile_is_not_sent_again(
    process: Process, connector: FakeConnector
) -> None:
    """The first request may not have arrived: this one would then be it."""
    ledger = process.ledger
    paid = await ledger.add_payment(S.CAPTURED, capture_method="automatic")
    create = await ledger.add_operation(paid, K.AUTHORIZE, state=A.APPROVED, status=OperationStatus.SUCCEEDED)
    of = await ledger.add_operation(paid, K.REFUND, claimed=False)
    await process.attempt(of)
    theirs = Foreign("theirs-1", "refund", create.amount_minor, create.currency)
    await ledger.recorder().record(subject(create), attempt=1, fact=theirs)
    assert (await ledger.payment(of.payment_id)).refunds_exceed
    assert isinstance(await process.resolve("inquire", of), InquiryDue)
    assert "replay" not in names(connector)


async def test_nothing_is_sent_again_at_another_acquirer(process: Process, connector: FakeConnector) -> None:
    process.identities = {"account_1": "acct_ours"}
    of = await in_doubt(process)
    process.identities = {"account_1": "acct_another"}
    due = await process.resolve("inquire", of)
    assert isinstance(due, InquiryDue)
    assert due.reason == "another_acquirer"
    assert "replay" not in names(connector)


@pytest.mark.parametrize("capabilities", [TOLD, replace(REPLAYS, truth={K.CAPTURE: Truth.CALLBACK})])
async def test_where_only_callbacks_say_it_nobody_is_asked_and_nothing_concluded(
    process: Process, connector: FakeConnector, capabilities: Any
) -> None:
    connector.capabilities = capabilities
    connector.answers["inquire"] = NotKnown()
    of = await in_doubt(process)
    await claimed_ago(process, of, 10 * WINDOW_S)
    due = await process.resolve("inquire", of)
    assert isinstance(due, InquiryDue)
    assert (due.reason, due.schedule) == ("callback_awaited", until_told(WITHIN_S))
    assert isinstance(await process.resolve("hear", of, f"{of.id}-1"), Settled)
    assert names(connector) == ["send"]
    assert (await process.ledger.operation(of.id)).status is OperationStatus.PENDING


# Authorizations: their owner alone.


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Stepping:
    stepping = Stepping()
    monkeypatch.setattr(replaying, "asyncio", SimpleNamespace(sleep=stepping.sleep))
    return stepping


async def test_the_owner_sends_an_authorization_again_while_it_has_the_card(
    process: Process, connector: FakeConnector, clock: Stepping
) -> None:
    create = await owned(process, clock)
    connector.answers["replay"] = approval(create)
    assert isinstance(await process.attempt(create), Settled)
    assert connector.calls == [("send", f"{create.id}-1"), ("replay", f"{create.id}-1")]
    assert clock.waits == [1.0]  # not before 1 s after the claim
    assert (await process.ledger.payment(create.payment_id)).status is S.AUTHORIZED


async def test_it_does_so_a_few_times_and_then_its_callback_is_awaited(
    process: Process, connector: FakeConnector, clock: Stepping
) -> None:
    create = await owned(process, clock)
    due = await process.attempt(create)
    assert isinstance(due, InquiryDue)
    assert due.schedule == until_told(WITHIN_S)
    assert names(connector) == ["send", "replay", "replay", "replay"]
    assert isinstance(await process.resolve("inquire", create), InquiryDue)
    assert names(connector) == ["send", "replay", "replay", "replay"]  # by nobody else


@pytest.mark.parametrize("answered_after_s", [20.0, 25.0])
async def test_it_does_not_later_than_20_s_after_the_claim(
    process: Process, connector: FakeConnector, clock: Stepping, answered_after_s: float
) -> None:
    create = await owned(process, clock)

    async def slow() -> None:
        clock.now_s += answered_after_s

    connector.before = slow
    assert isinstance(await process.attempt(create), InquiryDue)
    assert names(connector) == ["send"]


@pytest.mark.parametrize("window_s", [0, rights.REPLAY_AFTER_S])
async def test_it_does_not_where_the_acquirer_may_not_know_the_key(
    process: Process, connector: FakeConnector, clock: Stepping, window_s: float
) -> None:
    connector.capabilities = replace(REPLAYS, idempotent_replay_s=window_s)
    create = await owned(process, clock)
    assert isinstance(await process.attempt(create), InquiryDue)
    assert names(connector) == ["send"]


async def test_what_was_not_sent_is_not_sent_again(
    process: Process, connector: FakeConnector, clock: Stepping
) -> None:
    connector.answers["send"] = NotSent()
    create = await owned(process, clock)
    assert isinstance(await process.attempt(create), NothingSent)
    assert names(connector) == ["send"]


async def test_the_right_to_replay_is_used_once(clock: Stepping) -> None:
    call = Call(kind=K.AUTHORIZE, reference="pay_1-1", payment_id="pay_1", amount_minor=1, currency="EUR")
    right = Right(call, 1, "run", "account_1", clock() + rights.SEND_WITHIN_S, clock)
    permit = right.replay(window_s=WINDOW_S)
    assert not permit()  # too early, which uses nothing up
    clock.now_s += permit.opens_in_s()
    assert (permit(), permit(), permit.left_s()) == (True, False, 0)
    clock.now_s += 18.9
    assert right.replay(window_s=WINDOW_S)()
    clock.now_s += 0.1
    assert not right.replay(window_s=WINDOW_S)()
    assert Rights().take("pay_1") is None


# After a fail-over, which may have forgotten what was sent.


@pytest.mark.parametrize(("capabilities", "sent"), [(REPLAYS, True), (TOLD, False)])
async def test_what_may_have_been_sent_before_is_sent_only_where_its_key_is_known(
    process: Process, connector: FakeConnector, capabilities: Any, sent: bool
) -> None:
    connector.capabilities = capabilities
    paid = await process.ledger.add_payment(S.AUTHORIZED)
    of = await process.ledger.add_operation(paid, K.CAPTURE, claimed=False)
    connector.answers["send"] = approval(of)
    progress = await process.attempt(of, doubted=True)
    assert names(connector) == (["send"] if sent else [])
    assert isinstance(progress, Settled if sent else InquiryDue)


async def test_a_further_attempt_after_one_that_may_have_been_sent_is_not(
    process: Process, connector: FakeConnector
) -> None:
    paid = await process.ledger.add_payment(S.AUTHORIZED)
    of = await process.ledger.add_operation(paid, K.CAPTURE, state=A.NOT_SENT)
    assert isinstance(await process.attempt(of, doubted=True), InquiryDue)
    assert names(connector) == []


# Of which the acquirer can be asked, and whose late arrival it does not shut out: sent again where it is not found.

ASKED = replace(
    CAPABILITIES,
    reversal_by_reference=False,
    replays_not_found=frozenset({K.CAPTURE, K.VOID, K.REFUND}),
    idempotent_replay_s=DAY_S,
)
GOOD_FOR_S = DAY_S * 5 / 6


@pytest.fixture
def asked(connector: FakeConnector) -> FakeConnector:
    """It knows nothing of what was sent."""
    connector.capabilities = ASKED
    connector.answers["inquire"] = NotKnown()
    return connector


@pytest.mark.parametrize("kind", [K.CAPTURE, K.VOID, K.REFUND])
async def test_what_is_not_found_is_sent_again_at_once_and_its_answer_counts(
    process: Process, asked: FakeConnector, kind: OperationKind
) -> None:
    of = await in_doubt(process, kind)
    asked.answers["replay"] = approval(of)
    assert isinstance(await process.resolve("inquire", of), Settled)
    assert asked.calls == [(name, f"{of.id}-1") for name in ("send", "inquire", "replay")]
    assert (await process.ledger.operation(of.id)).status is OperationStatus.SUCCEEDED


async def test_what_is_found_is_not_sent_again(process: Process, asked: FakeConnector) -> None:
    of = await in_doubt(process)
    asked.answers["inquire"] = approval(of)
    assert isinstance(await process.resolve("inquire", of), Settled)
    assert names(asked) == ["send", "inquire"]


async def test_what_cannot_be_asked_about_now_is_not_sent_again(
    process: Process, asked: FakeConnector
) -> None:
    of = await in_doubt(process)
    asked.answers["inquire"] = OutcomeUnknown("HTTP 503")
    assert isinstance(await process.resolve("inquire", of), InquiryDue)
    assert names(asked) == ["send", "inquire"]


@pytest.mark.parametrize("ago_s", [GOOD_FOR_S - 60, GOOD_FOR_S + 60, 40 * DAY_S])
async def test_what_stays_not_found_is_for_a_person_and_never_not_processed(
    process: Process, asked: FakeConnector, ago_s: float
) -> None:
    of = await in_doubt(process)
    await claimed_ago(process, of, ago_s)
    sent = ago_s < GOOD_FOR_S
    for _ in range(2):
        due = await process.resolve("inquire", of)
        assert isinstance(due, InquiryDue)
        assert (due.schedule, due.reason == replaying.WINDOW_CLOSED) == (ASKED.inquiry, not sent)
    assert names(asked) == ["send", *(["inquire", "replay"] if sent else ["inquire"]) * 2]
    assert ((await process.ledger.operation(of.id)).review_at is None) is sent
    await process.resolve("reverse", of)
    assert (await process.ledger.operation(of.id)).status is OperationStatus.PENDING
    asked.answers["inquire"] = approval(of)  # a fact counts still
    assert isinstance(await process.resolve("inquire", of), Settled)
    assert (await process.ledger.operation(of.id)).status is OperationStatus.SUCCEEDED


@pytest.mark.parametrize(
    "turned_down",
    [Declined(DeclineCode.GENERIC_DECLINE), Refused("already", "/amount")],
    ids=lambda f: f.kind,
)
@pytest.mark.parametrize("found", ["approved", "not_found", "unknown"])
async def test_what_is_turned_down_the_second_time_may_have_been_done_the_first(
    process: Process, asked: FakeConnector, turned_down: Declined | Refused, found: str
) -> None:
    of = await in_doubt(process)
    asked.answers["replay"] = turned_down
    seen = {"approved": approval(of), "not_found": NotKnown(), "unknown": OutcomeUnknown("timeout")}

    async def appears() -> None:
        if names(asked)[-2:] == ["replay", "inquire"]:
            asked.answers["inquire"] = seen[found]

    asked.before = appears
    await process.resolve("inquire", of)
    assert names(asked) == ["send", "inquire", "replay", "inquire"]
    expected = {
        "approved": OperationStatus.SUCCEEDED,
        "not_found": OperationStatus.FAILED,
        "unknown": OperationStatus.PENDING,
    }
    assert (await process.ledger.operation(of.id)).status is expected[found]


@pytest.mark.parametrize(("before", "sent"), [(False, False), (True, True)])
async def test_what_others_have_done_since_is_not_done_again(
    process: Process, asked: FakeConnector, before: bool, sent: bool
) -> None:
    """Within the sums: somebody who saw the refund stand still may have made it by hand."""
    ledger = process.ledger
    paid = await ledger.add_payment(S.CAPTURED, capture_method="automatic")
    create = await ledger.add_operation(paid, K.AUTHORIZE, state=A.APPROVED, status=OperationStatus.SUCCEEDED)
    theirs = Foreign("theirs-1", "refund", 100, create.currency)
    if before:
        await ledger.recorder().record(subject(create), attempt=1, fact=theirs)
        await ledger.rows(
            "UPDATE operations SET created_at = created_at - interval '1 h' WHERE origin = 'acquirer'"
        )
    now = datetime.now(UTC)
    of = await ledger.add_operation(paid, K.REFUND, claimed=False, amount_minor=100, created_at=now)
    await process.attempt(of)
    if not before:
        await ledger.recorder().record(subject(create), attempt=1, fact=theirs)
    assert not (await ledger.payment(of.payment_id)).refunds_exceed
    due = await process.resolve("inquire", of)
    assert isinstance(due, InquiryDue)
    assert ("replay" in names(asked)) is sent
    assert (due.reason == replaying.DONE_BY_OTHERS) is not sent
    assert ((await ledger.operation(of.id)).review_at is None) is sent


async def test_what_its_owner_may_give_back_waits_although_it_is_not_found(
    process: Process, asked: FakeConnector
) -> None:
    of = await process.ledger.add_operation(await process.ledger.add_payment(S.AUTHORIZED), K.CAPTURE)
    assert isinstance(await process.resolve("inquire", of), InquiryDue)
    assert "replay" not in names(asked)
    await age(process.ledger, of)
    await process.resolve("inquire", of)
    assert names(asked)[-1] == "replay"


async def test_what_is_not_declared_is_not_processed_as_ever(process: Process, asked: FakeConnector) -> None:
    asked.capabilities = replace(ASKED, replays_not_found=frozenset({K.VOID, K.REFUND}))
    of = await in_doubt(process)
    await age(process.ledger, of)
    assert isinstance(await process.resolve("inquire", of), Settled)
    assert names(asked) == ["send", "inquire"]
    assert (await process.ledger.operation(of.id)).status is OperationStatus.FAILED


async def test_what_is_not_found_by_another_account_is_not_sent_again(
    process: Process, asked: FakeConnector
) -> None:
    process.identities = {"account_1": "acct_ours"}
    of = await in_doubt(process)
    process.identities = {"account_1": "acct_another"}
    due = await process.resolve("inquire", of)
    assert isinstance(due, InquiryDue)
    assert due.reason == "another_acquirer"
    assert names(asked) == ["send", "inquire"]


async def test_nobody_begins_a_second_attempt_meanwhile(process: Process, asked: FakeConnector) -> None:
    """The sweeper, or an update that comes again, finds the claim."""
    of = await in_doubt(process)
    assert isinstance(await process.attempt(of), InquiryDue)
    assert isinstance(await Process(process.ledger, asked).attempt(of), InquiryDue)
    assert names(asked) == ["send"]
    assert (await process.ledger.latest(of.id)).number == 1

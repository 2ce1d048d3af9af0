"""Facts that callbacks carry: kept in the inbox, recorded where such an operation's truth comes so, once."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from payonce.connectors.base import Callback
from payonce.domain.errors import CallbackInvalid
from payonce.domain.facts import Accepted, Approved, DeclineCode, Declined, Redone, Told, Undone
from payonce.domain.ids import attempt_reference
from payonce.domain.operations import AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.payment import PaymentStatus
from payonce.domain.truth import Truth
from payonce.storage import callbacks
from payonce.storage.callbacks import KEPT, UNKNOWN_FOR, Received
from payonce.storage.told import encoded
from tests.storage.acting import CAPABILITIES, FakeConnector, Process
from tests.storage.hearing import Temporal
from tests.storage.ledger import Ledger, runtime_of, subject
from tests.support.rows import approval
from workers.inbox import Inbox

K, S, A, O = OperationKind, PaymentStatus, AttemptState, OperationStatus
ACQUIRER, AT = "sandbox_card", ("account_1",)  # the connector and the account on the rows of `Ledger`
TOLD = replace(
    CAPABILITIES,
    truth={K.CAPTURE: Truth.REPLAY, K.REFUND: Truth.CALLBACK, K.VOID: Truth.CALLBACK},
    callbacks=True,
)


@pytest.fixture
def process(ledger: Ledger) -> Process:
    return Process(ledger, FakeConnector(capabilities=TOLD))


@pytest.fixture
def temporal() -> Temporal:
    return Temporal()


@pytest.fixture
async def inbox(process: Process, temporal: Any) -> AsyncIterator[Inbox]:
    opened = inbox_of(process, temporal)
    yield opened
    await opened.drain()


def inbox_of(process: Process, temporal: Any) -> Inbox:
    return Inbox(replace(runtime_of(process.ledger), accounts=process.opened_accounts), temporal)


async def accepted(ledger: Ledger, kind: OperationKind = K.REFUND) -> Operation:
    paid = await ledger.add_payment(S.CAPTURED if kind is K.REFUND else S.AUTHORIZED)
    return await ledger.add_operation(paid, kind, state=A.ACCEPTED)


def saying(of: Operation, fact: Told | None, event_id: str = "cb_1") -> Callback:
    return Callback(event_id, attempt_reference(of.id, 1), fact)


async def swept(ledger: Ledger, inbox: Inbox, *, later: timedelta = timedelta()) -> None:
    """Everything that is due once so much time went by."""
    await ledger.rows(
        "UPDATE callbacks SET sweep_at = now(), received_at = received_at - :later WHERE handled_at IS NULL",
        later=later,
    )
    await inbox.sweep(limit=100)


async def in_inbox(ledger: Ledger) -> list[tuple[bool, bool]]:
    """Of each, whether nobody needs to look at it any more, and whether nobody knows what it is about."""
    query = "SELECT handled_at, unknown_at FROM callbacks ORDER BY received_at, event_id"
    return [(row.handled_at is not None, row.unknown_at is not None) for row in await ledger.rows(query)]


@pytest.mark.parametrize("kind", [K.CAPTURE, K.VOID, K.REFUND])
async def test_a_fact_is_recorded_and_whoever_waits_looks(
    ledger: Ledger, inbox: Inbox, temporal: Temporal, kind: OperationKind
) -> None:
    of = await accepted(ledger, kind)
    temporal.running |= {of.payment_id, of.id}
    await inbox.receive(ACQUIRER, saying(of, approval(of)), accounts=AT)
    await inbox.drain()
    assert (await ledger.operation(of.id)).status is O.SUCCEEDED
    assert [reference for _, reference in temporal.signals] == [attempt_reference(of.id, 1)]
    assert await in_inbox(ledger) == [(True, False)]


async def test_a_no_is_a_fact_too(ledger: Ledger, inbox: Inbox) -> None:
    of = await accepted(ledger)
    no = Declined(DeclineCode.GENERIC_DECLINE, "acq-1", {"reason": "703"})
    await inbox.receive(ACQUIRER, saying(of, no), accounts=AT)
    await inbox.drain()
    assert (await ledger.operation(of.id)).status is O.FAILED
    kept = {"code": "generic_decline", "where": "same", "raw": {"reason": "703"}}
    assert (await ledger.latest(of.id)).decline == kept


async def test_of_what_is_inquired_about_it_only_makes_us_ask(
    ledger: Ledger, inbox: Inbox, temporal: Temporal
) -> None:
    """Whatever it carries (ADR 0013)."""
    create = await ledger.add_operation(await ledger.add_payment(), K.AUTHORIZE)
    temporal.running.add(create.payment_id)
    await inbox.receive(ACQUIRER, saying(create, approval(create)), accounts=AT)
    await inbox.drain()
    assert (await ledger.operation(create.id)).status is O.PENDING
    assert temporal.signals == [(create.payment_id, attempt_reference(create.id, 1))]


async def test_where_no_truth_comes_so_no_fact_is_kept(
    ledger: Ledger, process: Process, inbox: Inbox
) -> None:
    process.connector.capabilities = CAPABILITIES
    of = await accepted(ledger)
    await inbox.receive(ACQUIRER, saying(of, approval(of)), accounts=AT)
    await inbox.drain()
    assert (await ledger.operation(of.id)).status is O.PENDING
    assert [row.fact for row in await ledger.rows("SELECT fact FROM callbacks")] == [None]


async def test_it_waits_for_our_own_commit(ledger: Ledger, inbox: Inbox) -> None:
    paid = await ledger.add_payment(S.CAPTURED)
    early = Callback("cb_1", "op_early-1", Approved("acq-1", 1000, "INR"))
    await inbox.receive(ACQUIRER, early, accounts=AT)
    await swept(ledger, inbox)
    assert await in_inbox(ledger) == [(False, False)]
    of = await ledger.add_operation(paid, K.REFUND, id="op_early")
    await swept(ledger, inbox)
    assert (await ledger.operation(of.id)).status is O.SUCCEEDED
    assert await in_inbox(ledger) == [(True, False)]


async def test_what_nobody_ever_knows_is_left_for_a_person_and_kept(ledger: Ledger, inbox: Inbox) -> None:
    stray = Callback("cb_1", "op_stray-1", Approved("acq-1", 1000, "INR"))
    await inbox.receive(ACQUIRER, stray, accounts=AT)
    await swept(ledger, inbox, later=UNKNOWN_FOR)
    assert await in_inbox(ledger) == [(True, True)]
    async with ledger.database.transaction() as connection:
        assert await callbacks.forget(connection, now=datetime.now(UTC) + 2 * KEPT, limit=10) == 0


async def test_what_carries_a_fact_is_kept_and_what_does_not_is_not(ledger: Ledger, inbox: Inbox) -> None:
    of = await accepted(ledger)
    await inbox.receive(ACQUIRER, saying(of, approval(of), "cb_1"), accounts=AT)
    await inbox.receive(ACQUIRER, saying(of, None, "cb_2"), accounts=AT)
    await inbox.drain()
    await swept(ledger, inbox)
    async with ledger.database.transaction() as connection:
        assert await callbacks.forget(connection, now=datetime.now(UTC) + 2 * KEPT, limit=10) == 1
    assert [row.event_id for row in await ledger.rows("SELECT event_id FROM callbacks")] == ["cb_1"]


async def test_an_old_one_that_is_played_again_changes_nothing(ledger: Ledger, inbox: Inbox) -> None:
    """Not even long after: what it says was taken back since."""
    of = await accepted(ledger, K.CAPTURE)
    told: Mapping[str, Told] = {
        "cb_1": approval(of),
        "cb_2": Undone("acq-undone", of.amount_minor, of.currency, "CAPTURE_FAILED"),
        "cb_3": Redone("acq-redone", of.amount_minor, of.currency),
    }
    for event_id, fact in told.items():
        await inbox.receive(ACQUIRER, saying(of, fact, event_id), accounts=AT)
        await swept(ledger, inbox)
    captured, events = await ledger.payment(of.payment_id), await ledger.events(of.payment_id)
    assert captured.amount_captured_minor == of.amount_minor
    async with ledger.database.transaction() as connection:
        await callbacks.forget(connection, now=datetime.now(UTC) + 2 * KEPT, limit=10)
    await inbox.receive(ACQUIRER, saying(of, told["cb_2"], "cb_2"), accounts=AT)
    await swept(ledger, inbox)
    assert await ledger.payment(of.payment_id) == captured
    # Nor under an identity that it never had, which only a connector that takes an unsigned one would read.
    await inbox.receive(ACQUIRER, saying(of, told["cb_2"], "cb_9"), accounts=AT)
    await swept(ledger, inbox)
    assert (await ledger.payment(of.payment_id), await ledger.events(of.payment_id)) == (captured, events)


async def test_a_fact_counts_while_a_person_is_called(ledger: Ledger, inbox: Inbox) -> None:
    of = await accepted(ledger)
    await ledger.recorder().review(subject(of), reason="callback_awaited")
    assert (await ledger.operation(of.id)).review_at is not None
    await inbox.receive(ACQUIRER, saying(of, approval(of)), accounts=AT)
    await inbox.drain()
    operation = await ledger.operation(of.id)
    assert (operation.status, operation.review_at) == (O.SUCCEEDED, None)


async def test_a_fact_does_not_wait_for_temporal(ledger: Ledger, inbox: Inbox, temporal: Temporal) -> None:
    of = await accepted(ledger)
    temporal.away = True
    await inbox.receive(ACQUIRER, saying(of, approval(of)), accounts=AT)
    await inbox.drain()
    assert (await ledger.operation(of.id)).status is O.SUCCEEDED
    assert await in_inbox(ledger) == [(False, False)]  # whoever waits is still to be told
    temporal.away = False
    events = await ledger.events(of.payment_id)
    await swept(ledger, inbox)
    assert await in_inbox(ledger) == [(True, False)]
    assert await ledger.events(of.payment_id) == events  # it was recorded twice, and counts once


async def test_a_success_that_is_handed_over_again_after_it_was_taken_back_is_not_done_again(
    ledger: Ledger, inbox: Inbox, temporal: Temporal
) -> None:
    """Its process was killed, or Temporal was away, between the books and the inbox's own word of it."""
    of = await accepted(ledger, K.CAPTURE)
    temporal.away = True
    success = replace(approval(of), event="cb_1")
    undone = Undone("acq-u", of.amount_minor, of.currency)
    for event_id, fact in (("cb_1", success), ("cb_2", undone)):
        await inbox.receive(ACQUIRER, saying(of, fact, event_id), accounts=AT)
        await swept(ledger, inbox)
    taken_back, events = await ledger.payment(of.payment_id), await ledger.events(of.payment_id)
    assert taken_back.amount_captured_minor == 0
    temporal.away = False
    await swept(ledger, inbox)
    assert await in_inbox(ledger) == [(True, False), (True, False)]
    assert await ledger.payment(of.payment_id) == taken_back
    assert await ledger.events(of.payment_id) == events
    again = replace(success, event="cb_3")  # the acquirer's own word that it was done again
    await inbox.receive(ACQUIRER, saying(of, again, "cb_3"), accounts=AT)
    await swept(ledger, inbox)
    assert (await ledger.payment(of.payment_id)).amount_captured_minor == of.amount_minor


async def test_the_word_of_an_account_that_is_gone_is_kept_for_a_person(
    ledger: Ledger, temporal: Any
) -> None:
    of = await accepted(ledger)
    word = Received(ACQUIRER, *AT, "cb_1", attempt_reference(of.id, 1), encoded(approval(of)))
    async with ledger.database.transaction() as connection:
        await callbacks.put(connection, word, now=datetime.now(UTC))
    await swept(ledger, Inbox(runtime_of(ledger), temporal), later=UNKNOWN_FOR)
    assert (await ledger.operation(of.id)).status is O.PENDING
    assert await in_inbox(ledger) == [(True, True)]


async def test_several_are_recorded_in_the_order_in_which_they_came(
    ledger: Ledger, inbox: Inbox, temporal: Temporal
) -> None:
    of = await accepted(ledger)
    facts: list[Told] = [Accepted("acq-1"), approval(of), Undone("acq-u", of.amount_minor, of.currency)]
    for number, fact in enumerate(facts):
        await inbox.receive(ACQUIRER, saying(of, fact, f"cb_{9 - number}"), accounts=AT)
    await swept(ledger, inbox)
    assert "refund.failed" in [type_ for _, type_ in await ledger.events(of.payment_id)]
    assert (await ledger.payment(of.payment_id)).amount_refunded_minor == 0


@pytest.mark.parametrize("apart", [True, False])
async def test_what_was_taken_back_counts_also_where_that_came_before_the_success(
    ledger: Ledger, inbox: Inbox, apart: bool
) -> None:
    of = await accepted(ledger)
    undone = Undone("acq-u", of.amount_minor, of.currency)
    await inbox.receive(ACQUIRER, saying(of, undone, "cb_1"), accounts=AT)
    if apart:
        await swept(ledger, inbox)
    await inbox.receive(ACQUIRER, saying(of, approval(of), "cb_2"), accounts=AT)
    await swept(ledger, inbox)
    assert "refund.succeeded" in [type_ for _, type_ in await ledger.events(of.payment_id)]
    assert (await ledger.payment(of.payment_id)).amount_refunded_minor == 0


async def test_a_reference_of_another_account_is_refused_with_its_fact(ledger: Ledger, inbox: Inbox) -> None:
    of = await accepted(ledger)
    with pytest.raises(CallbackInvalid):
        await inbox.receive(ACQUIRER, saying(of, approval(of)), accounts=["account_2"])
    assert await ledger.count("callbacks") == 0
    assert (await ledger.operation(of.id)).status is O.PENDING


async def test_another_accounts_word_that_came_before_the_attempt_takes_nothing_along(
    ledger: Ledger, process: Process, temporal: Any
) -> None:
    """Nor does it hold up the word of the attempt's own account."""
    process.more["account_2"] = process.connector
    inbox = inbox_of(process, temporal)
    paid = await ledger.add_payment(S.CAPTURED)
    for account, fact in (("account_2", Approved("theirs", 1, "INR")), ("account_1", Accepted("acq-1"))):
        callback = Callback(f"cb_{account}", "op_early-1", fact)
        await inbox.receive(ACQUIRER, callback, accounts=[account])
    of = await ledger.add_operation(paid, K.REFUND, id="op_early")
    await swept(ledger, inbox)
    await inbox.drain()
    assert await in_inbox(ledger) == [(False, False), (True, False)]
    assert (await ledger.latest(of.id)).state is A.ACCEPTED
    await swept(ledger, inbox, later=UNKNOWN_FOR)
    assert await in_inbox(ledger) == [(True, True), (True, False)]


async def test_what_another_acquirers_keys_sign_counts_for_nothing(
    ledger: Ledger, process: Process, temporal: Any
) -> None:
    process.identities = {"account_1": "acct_another"}
    inbox = inbox_of(process, temporal)
    of = await accepted(ledger)
    await inbox.receive(ACQUIRER, saying(of, approval(of)), accounts=AT)
    await swept(ledger, inbox, later=UNKNOWN_FOR)
    await inbox.drain()
    assert (await ledger.operation(of.id)).status is O.PENDING
    assert await in_inbox(ledger) == [(True, True)]


async def test_one_that_cannot_be_read_holds_up_no_other(ledger: Ledger, inbox: Inbox) -> None:
    """A later version may know other facts."""
    broken, of = await accepted(ledger), await accepted(ledger)
    await inbox.receive(ACQUIRER, saying(broken, approval(broken), "cb_1"), accounts=AT)
    await inbox.receive(ACQUIRER, saying(of, approval(of), "cb_2"), accounts=AT)
    await inbox.drain()
    await ledger.rows(
        """UPDATE callbacks SET handled_at = NULL,
           fact = CASE event_id WHEN 'cb_1' THEN '{"kind": "of_tomorrow"}' ELSE fact END"""
    )
    await swept(ledger, inbox)
    assert await in_inbox(ledger) == [(False, False), (True, False)]

"""Where there is no list, what the acquirer told is read once more: what was missed is found, and counts once."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from payonce.accounts import Accounts
from payonce.connectors.base import Callback
from payonce.domain.facts import Approved, Redone, Reversed, Stage, Told, Undone
from payonce.domain.ids import attempt_reference
from payonce.domain.operations import AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.payment import Payment, PaymentStatus
from payonce.domain.reconciling import ComparisonResult, ListFinding
from payonce.domain.truth import Truth
from payonce.reconciling.reading import Reconciler, Report, Unlisted
from payonce.storage import callbacks
from payonce.storage import reconciliation as store
from payonce.storage.callbacks import UNKNOWN_FOR, Received
from payonce.storage.told import encoded
from tests.storage.acting import CAPABILITIES, FakeConnector, Process
from tests.storage.hearing import Temporal
from tests.storage.ledger import IDS, Ledger, runtime_of, subject
from tests.support.rows import approval
from workers.inbox import Inbox

K, S, A, O, R = OperationKind, PaymentStatus, AttemptState, OperationStatus, ComparisonResult
ACQUIRER, ACCOUNT = "sandbox_card", "account_1"
HOUR = timedelta(hours=1)
TOLD = replace(
    CAPABILITIES,
    truth=dict.fromkeys((K.AUTHORIZE, K.CAPTURE, K.VOID, K.REFUND), Truth.REPLAY),
    callbacks=True,
)


class WithoutList(FakeConnector):
    list_limits = None


@dataclass
class World:
    """An acquirer that has no list, the inbox of what it tells, and what reads that once more."""

    ledger: Ledger
    process: Process
    temporal: Any

    @property
    def runtime(self) -> Any:
        return replace(runtime_of(self.ledger), accounts=self.process.opened_accounts)

    async def tells(self, reference: str, fact: Told, event_id: str) -> None:
        inbox = Inbox(self.runtime, self.temporal)
        await inbox.receive(ACQUIRER, Callback(event_id, reference, fact), accounts=[ACCOUNT])
        await inbox.drain()

    async def tells_of(self, of: Operation, *facts: Told) -> None:
        for number, fact in enumerate(facts):
            await self.tells(attempt_reference(of.id, 1), fact, f"cb_{of.id}_{number}")

    async def sweeps(self, *, later: timedelta = timedelta()) -> None:
        await self.ledger.rows(
            "UPDATE callbacks SET sweep_at = now(), received_at = received_at - :later"
            " WHERE handled_at IS NULL",
            later=later,
        )
        await Inbox(self.runtime, self.temporal).sweep(limit=100)

    async def reconciled(self, later: timedelta = 2 * HOUR) -> Report:
        return await Reconciler(self.runtime, now=lambda: datetime.now(UTC) + later).run(ACCOUNT)

    async def findings(self) -> list[ListFinding]:
        async with self.ledger.database.reading() as connection:
            return await store.found(connection, result=None, account=None, unsettled=False, limit=100)

    async def open_rows(self) -> int:
        found = await self.ledger.rows("SELECT count(*) AS n FROM callbacks WHERE handled_at IS NULL")
        return int(found[0].n)

    async def accepted(self, kind: OperationKind = K.REFUND) -> Operation:
        paid = await self.ledger.add_payment(S.CAPTURED if kind is K.REFUND else S.AUTHORIZED)
        return await self.ledger.add_operation(paid, kind, state=A.ACCEPTED)

    async def payment(self, of: Operation) -> Payment:
        return await self.ledger.payment(of.payment_id)


@pytest.fixture
def world(ledger: Ledger) -> World:
    process = Process(ledger, WithoutList(capabilities=TOLD), identities={ACCOUNT: None})
    return World(ledger, process, Temporal())


def undone(of: Operation) -> Undone:
    return Undone("acq-undone", of.amount_minor, of.currency)


async def test_the_account_is_compared(world: World) -> None:
    assert Reconciler(world.runtime).listed() == [ACCOUNT]


async def test_one_whose_callbacks_carry_no_facts_is_not(world: World) -> None:
    world.process.connector.capabilities = CAPABILITIES
    assert Reconciler(world.runtime).listed() == []
    with pytest.raises(Unlisted):
        await world.reconciled()


async def test_what_the_books_show_is_no_news_however_often_it_is_read(world: World) -> None:
    of = await world.accepted(K.CAPTURE)
    await world.tells_of(of, approval(of), undone(of), Redone("acq-redone", of.amount_minor, of.currency))
    before, events = await world.payment(of), await world.ledger.events(of.payment_id)
    assert before.amount_captured_minor == of.amount_minor
    for hours in (2, 3):
        report = await world.reconciled(hours * HOUR)
        assert (report.charges, report.found) == (3, {})
        assert await world.open_rows() == 0
    assert await world.payment(of) == before
    assert await world.ledger.events(of.payment_id) == events


async def test_what_was_taken_back_before_it_was_known_to_have_succeeded_counts_once(world: World) -> None:
    of = await world.accepted()
    await world.tells_of(of, undone(of))
    await world.ledger.recorder().record(subject(of), attempt=1, fact=approval(of))  # found out otherwise
    assert (await world.payment(of)).amount_refunded_minor == of.amount_minor
    assert (await world.reconciled()).found == {"amount": 1}
    await world.sweeps()
    after = await world.payment(of)
    assert after.amount_refunded_minor == 0
    assert (await world.reconciled(3 * HOUR)).found == {}
    (found,) = await world.findings()
    turn = IDS.turn(
        payment_id=of.payment_id, account=ACCOUNT, kind="undone", acquirer_id="acq-undone", refund=False
    )
    assert (found.result, found.payment_id, found.settled_by) == (R.AMOUNT, of.payment_id, turn)
    assert (await world.open_rows(), await world.payment(of)) == (0, after)


async def test_what_a_process_took_and_died_with_is_the_sweepers_and_no_finding(world: World) -> None:
    """Killed between the inbox and the books: nothing else than the inbox has to find it."""
    of = await world.accepted()
    await put(world, of)
    assert (await world.reconciled()).found == {}
    assert (await world.ledger.operation(of.id)).status is O.PENDING
    await world.sweeps()
    assert (await world.ledger.operation(of.id)).status is O.SUCCEEDED


async def test_what_was_followed_up_and_not_recorded_is_found_and_recorded(world: World) -> None:
    """As by a version that asked there, or from a mistake of ours."""
    of = await world.accepted()
    await put(world, of, followed_up=True)
    await world.sweeps()
    assert (await world.ledger.operation(of.id)).status is O.PENDING
    assert (await world.reconciled()).found == {"charged_there": 1}
    await world.sweeps()
    assert (await world.payment(of)).amount_refunded_minor == of.amount_minor
    assert (await world.reconciled(3 * HOUR)).found == {}
    (found,) = await world.findings()
    assert (found.result, found.settled_by) == (R.CHARGED_THERE, of.id)
    assert (found.amount_here_minor, found.amount_there_minor) == (0, of.amount_minor)


async def test_what_was_reversed_since_is_not_reversed_again(world: World) -> None:
    """Of another amount than was asked for: failed here, and the approval lies in the inbox for good."""
    paid = await world.ledger.add_payment(capture_method="automatic")
    create = await world.ledger.add_operation(paid, K.AUTHORIZE)
    less = Approved("acq-1", create.amount_minor - 1, create.currency, stage=Stage.CAPTURED)
    await world.tells_of(create, less, Reversed())
    failed = await world.payment(create)
    assert failed.status is S.FAILED
    assert (await world.reconciled()).found == {}
    assert await world.open_rows() == 0
    assert await world.payment(create) == failed


async def test_a_late_success_is_undone_when_it_is_told_and_is_no_finding(world: World) -> None:
    paid = await world.ledger.add_payment(capture_method="automatic")
    create = await world.ledger.add_operation(paid, K.AUTHORIZE)
    success = Approved("acq-1", create.amount_minor, create.currency, stage=Stage.CAPTURED)
    await world.tells_of(create, Reversed(), success)
    release = await world.ledger.operation(IDS.reversal(reference=attempt_reference(create.id, 1)))
    assert release.kind is K.REVERSE
    assert (await world.reconciled()).found == {}


async def test_what_nobody_knows_is_an_orphan_until_it_is_asked_for_under_its_key(world: World) -> None:
    forgotten = IDS.payment(merchant_id=world.ledger.merchant_id, mode="test", key="forgotten")
    fact = Approved("acq-1", 1099, "INR", stage=Stage.CAPTURED)
    await world.tells(attempt_reference(forgotten, 1), fact, "cb_1")
    await world.tells("order-17", fact, "cb_2")  # somebody else's
    await world.sweeps(later=UNKNOWN_FOR)
    assert (await world.reconciled()).found == {"orphan": 1}
    assert (await world.reconciled(3 * HOUR)).found == {}
    (found,) = await world.findings()
    assert (found.result, found.acquirer_reference, found.settled_by) == (R.ORPHAN, "acq-1", None)
    assert found.amount_there_minor == 1099
    again = await world.ledger.add_payment(id=forgotten, capture_method="automatic", amount_minor=1099)
    create = await world.ledger.add_operation(again, K.AUTHORIZE, amount_minor=1099)
    assert (await world.reconciled(timedelta(days=2))).found == {}
    await world.sweeps()
    charged = await world.payment(create)
    assert (charged.status, charged.connector_reference) == (S.CAPTURED, "acq-1")
    await world.reconciled(timedelta(days=2, hours=1))
    (found,) = await world.findings()
    assert found.settled_by == forgotten
    assert (await world.open_rows(), await world.payment(create)) == (0, charged)


async def test_an_orphan_at_a_merchants_own_account_is_shown_to_no_other_merchant(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever signs an account's callbacks may name any payment in them."""
    paid = await world.ledger.add_payment(
        S.CAPTURED, id=IDS.payment(merchant_id=world.ledger.merchant_id, mode="test", key="known")
    )
    fact = Approved("acq-1", 1099, "INR", stage=Stage.CAPTURED)
    await world.tells(attempt_reference(paid.id, 77), fact, "cb_1")
    await world.sweeps(later=UNKNOWN_FOR)
    opened = world.process.opened_accounts
    account = replace(opened.candidates(paid.merchant_id)[0], merchant_id="mer_other")
    theirs = Accounts([account], world.process.connectors)
    monkeypatch.setattr(Process, "opened_accounts", theirs)
    assert (await world.reconciled()).found == {"orphan": 1}
    (found,) = await world.findings()
    assert (found.merchant_id, found.payment_id) == ("mer_other", None)


async def test_what_another_acquirers_keys_signed_stays_for_a_person(world: World) -> None:
    of = await world.accepted()
    world.process.identities = {ACCOUNT: "acct_another"}
    await world.tells_of(of, approval(of))
    await world.sweeps(later=UNKNOWN_FOR)
    assert (await world.reconciled()).found == {}
    assert await world.open_rows() == 0
    assert (await world.ledger.operation(of.id)).status is O.PENDING


async def test_a_run_that_is_killed_between_two_pages_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("payonce.reconciling.told.PAGE", 1)
    operations = [await world.accepted() for _ in range(3)]
    for of in operations:
        await put(world, of, followed_up=True)
    turned: list[Any] = []
    turn = Reconciler._turn

    async def killed(self: Reconciler, *args: Any, **options: Any) -> Any:
        if len(turned) == 1:
            raise RuntimeError("killed")
        turned.append(await turn(self, *args, **options))
        return turned[-1]

    monkeypatch.setattr(Reconciler, "_turn", killed)
    with pytest.raises(RuntimeError):
        await world.reconciled()
    monkeypatch.setattr(Reconciler, "_turn", turn)
    report = await world.reconciled()
    assert (report.run, report.charges) == (turned[0].id, 3)
    assert len(await world.findings()) == 3
    await world.sweeps()
    for of in operations:
        assert (await world.ledger.operation(of.id)).status is O.SUCCEEDED


async def put(world: World, of: Operation, *, followed_up: bool = False) -> None:
    """It is in the inbox, and whoever received it did no more than that."""
    fact = encoded(approval(of, connector_reference=f"acq-{of.id}"))
    received = Received(ACQUIRER, ACCOUNT, f"cb_{of.id}", attempt_reference(of.id, 1), fact)
    now = datetime.now(UTC)
    async with world.ledger.database.transaction() as connection:
        await callbacks.put(connection, received, now=now)
        if followed_up:
            await callbacks.handled(connection, [received], now=now)

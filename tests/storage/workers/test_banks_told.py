"""What callbacks say of disputes: in whatever order, handed over by whomever, and about whatever they name."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from payonce.connectors.base import Callback
from payonce.domain.errors import OutcomeUnknown
from payonce.domain.facts import BankWord, Disputed, FraudWarned
from payonce.domain.ids import attempt_reference
from payonce.domain.operations import AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.payment import Payment, PaymentStatus
from payonce.domain.truth import Truth
from tests.storage.acting import CAPABILITIES, FakeConnector, Process
from tests.storage.hearing import Temporal
from tests.storage.ledger import Ledger, runtime_of
from workers.inbox import Inbox

AMOUNT = 1000
AT = datetime(2026, 11, 29, 12, tzinfo=UTC)


@dataclass
class World:
    """An acquirer that tells of disputes, and two processes of ours."""

    ledger: Ledger
    connector: FakeConnector
    temporal: Temporal
    inboxes: tuple[Inbox, Inbox]
    told: int = field(default=0)

    async def paid(self) -> Operation:
        amounts = {"amount_minor": AMOUNT, "amount_authorized_minor": AMOUNT, "amount_captured_minor": AMOUNT}
        payment = await self.ledger.add_payment(PaymentStatus.CAPTURED, **amounts)
        return await self.ledger.add_operation(
            payment,
            OperationKind.AUTHORIZE,
            state=AttemptState.APPROVED,
            status=OperationStatus.SUCCEEDED,
        )

    async def tell(self, of: Operation | str, *words: BankWord | None) -> None:
        """Each word comes to another process, all at once, and is handed over by whoever sweeps."""
        reference = of if isinstance(of, str) else attempt_reference(of.id, 1)
        callbacks = [Callback(f"evt_{self.told + n}", reference, word) for n, word in enumerate(words)]
        self.told += len(words)
        turns = itertools.cycle(self.inboxes)
        await asyncio.gather(
            *(next(turns).receive("sandbox_card", one, accounts=["account_1"]) for one in callbacks)
        )
        await self.sweep()

    async def sweep(self) -> None:
        for inbox in self.inboxes:
            await inbox.drain()
        await self.ledger.rows("UPDATE callbacks SET sweep_at = now() WHERE handled_at IS NULL")
        await asyncio.gather(*(inbox.sweep(limit=100) for inbox in self.inboxes))

    async def payment(self, of: Operation) -> Payment:
        return await self.ledger.payment(of.payment_id)

    async def dispute(self, of: Operation) -> Any:
        (found,) = await self.ledger.rows("SELECT * FROM disputes WHERE payment_id = :id", id=of.payment_id)
        return found

    async def open(self) -> int:
        return len(await self.ledger.rows("SELECT 1 FROM callbacks WHERE handled_at IS NULL"))


@pytest.fixture
async def world(ledger: Ledger) -> AsyncIterator[World]:
    connector = FakeConnector(capabilities=replace(CAPABILITIES, disputes=Truth.CALLBACK))
    temporal: Any = Temporal()
    accounts = Process(ledger, connector).opened_accounts
    inboxes = [Inbox(replace(runtime_of(ledger), accounts=accounts), temporal) for _ in range(2)]
    yield World(ledger, connector, temporal, (inboxes[0], inboxes[1]))
    for inbox in inboxes:
        await inbox.drain()


def word(step: int, status: str, withdrawn: int, **changes: Any) -> Disputed:
    usual: dict[str, Any] = {
        "id": "dsp_1",
        "stage": "chargeback",
        "status": status,
        "amount_minor": AMOUNT,
        "currency": "INR",
        "withdrawn_minor": withdrawn,
        "reason": "fraudulent",
        "at": AT + timedelta(seconds=step),
        "step": step,
    }
    return Disputed(**{**usual, **changes})


OPENED, SUPPLIED = word(1, "needs_response", AMOUNT), word(2, "under_review", AMOUNT, only_status=True)
REVERSED = word(3, "won", 0)
TAKEN_AGAIN = word(4, "lost", AMOUNT)


@pytest.mark.parametrize("order", list(itertools.permutations([OPENED, REVERSED, TAKEN_AGAIN])))
async def test_one_by_one_in_any_order_it_ends_the_same(world: World, order: tuple[Disputed, ...]) -> None:
    of = await world.paid()
    for said in order:
        await world.tell(of, said)
    found = await world.dispute(of)
    assert (found.status, found.amount_withdrawn_minor) == ("lost", AMOUNT)
    assert (await world.payment(of)).amount_disputed_minor == AMOUNT
    assert await world.open() == 0


async def test_all_at_once_by_two_processes_it_ends_the_same(world: World) -> None:
    of = await world.paid()
    await world.tell(of, REVERSED, SUPPLIED, OPENED)
    found = await world.dispute(of)
    assert (found.status, found.amount_withdrawn_minor) == ("won", 0)
    assert (await world.payment(of)).amount_disputed_minor == 0


async def test_told_again_long_after_it_undoes_nothing(world: World) -> None:
    of = await world.paid()
    await world.tell(of, OPENED, REVERSED)
    await world.tell(of, replace(OPENED, at=AT + timedelta(days=9)))
    assert (await world.dispute(of)).status == "won"
    assert (await world.payment(of)).amount_disputed_minor == 0


async def test_a_refund_is_not_admitted_against_what_a_callback_said_is_withdrawn(world: World) -> None:
    of = await world.paid()
    await world.tell(of, word(1, "needs_response", 600, amount_minor=600))
    assert (await world.payment(of)).refundable_minor == AMOUNT - 600


async def test_a_fraud_warning_is_told_once_whoever_hands_it_over(world: World) -> None:
    of = await world.paid()
    await world.tell(of, FraudWarned("issfr_1"), FraudWarned("issfr_1"), FraudWarned("issfr_2"))
    events = [type_ for _, type_ in await world.ledger.events(of.payment_id)]
    assert events.count("dispute.fraud_warning") == 1
    assert await world.ledger.rows("SELECT 1 FROM disputes") == []


async def test_where_inquiries_say_it_no_callback_is_believed(world: World) -> None:
    world.connector.capabilities = replace(CAPABILITIES, disputes=Truth.INQUIRY)
    of = await world.paid()
    await world.tell(of, OPENED)
    assert await world.ledger.rows("SELECT 1 FROM disputes") == []
    assert len(world.temporal.started) == 1, "somebody asks the acquirer"


async def test_what_names_the_acquirers_dispute_makes_us_ask_about_its_payment(world: World) -> None:
    of = await world.paid()
    ours = attempt_reference(of.id, 1)
    world.connector.located = {"du_1": ours, "du_2": OutcomeUnknown("down"), "du_3": "nobody-knows-1"}
    await world.tell("du_1", None)
    assert len(world.temporal.started) == 1
    assert await world.open() == 0


async def test_one_that_cannot_be_asked_about_holds_up_no_other_and_is_asked_about_again(
    world: World,
) -> None:
    of = await world.paid()
    world.connector.located = {"du_1": OutcomeUnknown("down")}
    await asyncio.gather(world.tell("du_1", None), world.tell(of, OPENED))
    assert (await world.payment(of)).amount_disputed_minor == AMOUNT
    assert await world.open() == 1
    world.connector.located = {"du_1": attempt_reference(of.id, 1)}
    await world.sweep()
    assert await world.open() == 0


async def test_one_dispute_is_about_one_payment(world: World) -> None:
    first, second = await world.paid(), await world.paid()
    await world.tell(first, OPENED)
    await world.tell(second, REVERSED)
    assert (await world.payment(first)).amount_disputed_minor == AMOUNT
    assert (await world.payment(second)).amount_disputed_minor == 0


async def test_one_about_nothing_is_passed_over(world: World) -> None:
    of = await world.paid()
    await world.tell(of, word(1, "needs_response", 0, amount_minor=0))
    assert await world.ledger.rows("SELECT 1 FROM disputes") == []
    assert await world.open() == 0

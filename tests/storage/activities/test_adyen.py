"""Adyen, whom nobody can ask, from its webhook to the books: lost, refused, taken back, done again, reversed."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from activities.messages import InquiryDue, ReversalDue, Settled
from payonce.connectors.adyen import references
from payonce.connectors.adyen.connector import Adyen
from payonce.connectors.adyen.references import Asked
from payonce.connectors.measured import Calls, Measured
from payonce.domain.ids import attempt_reference
from payonce.domain.operations import AttemptState, Operation, OperationKind, OperationStatus
from payonce.domain.payment import Payment, PaymentStatus
from tests.connectors.adyen.adyen_script import MERCHANT, PSP, account, item, message
from tests.connectors.scripted import Answer, Scripted, Sent
from tests.storage.acting import Process, claimed_ago
from tests.storage.hearing import Temporal
from tests.storage.ledger import IDS, Ledger, runtime_of
from workers.inbox import Inbox

K, S, A, O = OperationKind, PaymentStatus, AttemptState, OperationStatus
LETTERS = {K.CAPTURE: Asked.CAPTURE, K.VOID: Asked.CANCEL, K.REFUND: Asked.REFUND}
MODIFICATION = "WNS7WQ756L2GWR82"
LOST = {"time-out": Answer(silent=True), "reset": Answer(reset=True), "500": Answer({}, status=500)}


class Double(Scripted):
    """Adyen as far as it is documented: what is asked again under a key is answered as at first."""

    def __init__(self) -> None:
        super().__init__({}, unknown=Answer(status=404))
        self.lost: list[Answer] = []  # instead of the next answers
        self._known: dict[str, Answer] = {}

    def _answer(self, sent: Sent) -> Answer:
        self.sent.append(sent)
        *_, psp, _ = sent.path.split("/")
        told = {
            "merchantAccount": MERCHANT,
            "paymentPspReference": psp,
            "pspReference": MODIFICATION,
            "reference": sent.body["reference"],
            "status": "received",
        }
        known = self._known.setdefault(sent.key or "", Answer(told, status=201))
        return self.lost.pop(0) if self.lost else known


@dataclass
class World:
    """Adyen, a process of ours, and its inbox."""

    adyen: Double
    process: Process
    connector: Measured
    inbox: Inbox
    events: int = field(default=0)

    @property
    def ledger(self) -> Ledger:
        return self.process.ledger

    async def begin(self, kind: OperationKind, *, status: PaymentStatus | None = None) -> Operation:
        """An operation that nobody has attempted yet, of a payment that Adyen calls `PSP`."""
        status = status or (S.CAPTURED if kind is K.REFUND else S.AUTHORIZED)
        paid = await self.ledger.add_payment(status, connector_reference=PSP)
        return await self.ledger.add_operation(paid, kind, claimed=False)

    async def create(self, *, automatic: bool = True) -> Operation:
        """An authorization that a process claimed which is gone."""
        paid = await self.ledger.add_payment(capture_method="automatic" if automatic else "manual")
        return await self.ledger.add_operation(paid, K.AUTHORIZE)

    async def tell(self, event: str, of: Operation, *, what: Asked | None = None, **members: Any) -> None:
        """Adyen tells this of the operation, each time at another time."""
        self.events += 1
        own = PSP if what is not None and what.is_payment else MODIFICATION
        reference = references.written(attempt_reference(of.id, 1), what or LETTERS[of.kind])
        told = {
            "merchantReference": reference,
            "pspReference": own,
            "amount": {"currency": of.currency, "value": of.amount_minor},
            "eventDate": f"2026-11-29T04:00:{self.events:02}Z",
        }
        await self.receive(message(item(event, **told | members)))

    async def receive(self, body: bytes) -> None:
        first = self.connector.read_callback({}, body, now=datetime.now(UTC))
        for callback in (first, *first.beside):
            await self.inbox.receive("sandbox_card", callback, accounts=["account_1"])
        await self.inbox.drain()
        await self.ledger.rows("UPDATE callbacks SET sweep_at = now() WHERE handled_at IS NULL")
        await self.inbox.sweep(limit=100)

    async def payment(self, of: Operation) -> Payment:
        return await self.ledger.payment(of.payment_id)

    async def status(self, of: Operation) -> OperationStatus:
        return (await self.ledger.operation(of.id)).status


@pytest.fixture
async def world(ledger: Ledger) -> AsyncIterator[World]:
    async with Double().running() as adyen:
        assert isinstance(adyen, Double)
        own = replace(account(adyen.url, call_deadline_s="2"), id="account_1")
        connector = Measured("account_1", Adyen(own), Calls())
        process = Process(ledger, connector)
        temporal: Any = Temporal()
        inbox = Inbox(replace(runtime_of(ledger), accounts=process.opened_accounts), temporal)
        yield World(adyen, process, connector, inbox)
        await inbox.drain()
        await connector.close()


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("kind", [K.CAPTURE, K.VOID, K.REFUND])
async def test_received_is_lost_sent_again_and_told(world: World, kind: OperationKind, lost: str) -> None:
    of = await world.begin(kind)
    world.adyen.lost = [LOST[lost]]
    assert isinstance(await world.process.attempt(of), InquiryDue)
    assert (await world.ledger.latest(of.id)).state is A.UNKNOWN
    assert isinstance(await world.process.resolve("inquire", of), InquiryDue)
    attempt = await world.ledger.latest(of.id)
    assert (attempt.state, attempt.connector_reference) == (A.ACCEPTED, MODIFICATION)
    assert isinstance(await world.process.resolve("inquire", of), InquiryDue)
    assert len({sent.key for sent in world.adyen.sent}) == 1
    assert len(world.adyen.sent) == 2  # what is received is sent no more
    await world.tell({K.CAPTURE: "CAPTURE", K.VOID: "CANCELLATION", K.REFUND: "REFUND"}[kind], of)
    assert await world.status(of) is O.SUCCEEDED
    assert isinstance(await world.process.resolve("inquire", of), Settled)


async def test_captured_failed_and_captured_again(world: World) -> None:
    of = await world.begin(K.CAPTURE)
    await world.process.attempt(of)
    await world.tell("CAPTURE", of)
    captured = await world.payment(of)
    assert (captured.status, captured.amount_captured_minor) == (S.CAPTURED, of.amount_minor)
    await world.tell("CAPTURE", of)  # once more, in other words: it stands
    assert await world.payment(of) == captured
    await world.tell("CAPTURE_FAILED", of)
    failed = await world.payment(of)
    assert (failed.amount_captured_minor, failed.review is not None) == (0, True)
    await world.tell("CAPTURE", of, reason="Transaction Recaptured")
    again = await world.payment(of)
    assert (again.status, again.amount_captured_minor, again.review) == (S.CAPTURED, of.amount_minor, None)
    await world.tell("CAPTURE_FAILED", of)
    assert (await world.payment(of)).amount_captured_minor == 0


async def test_a_capture_that_failed_before_it_was_told_has_failed(world: World) -> None:
    of = await world.begin(K.CAPTURE)
    await world.process.attempt(of)
    await world.tell("CAPTURE_FAILED", of)
    assert await world.status(of) is O.PENDING
    await world.tell("CAPTURE", of)
    assert (await world.payment(of)).amount_captured_minor == 0


async def test_a_capture_that_is_refused_leaves_the_payment_as_it_is(world: World) -> None:
    of = await world.begin(K.CAPTURE)
    await world.process.attempt(of)
    await world.tell("CAPTURE", of, success="false", reason="Insufficient balance on payment")
    assert await world.status(of) is O.FAILED
    paid = await world.payment(of)
    assert (paid.status, paid.capturable_minor) == (S.AUTHORIZED, paid.amount_minor)


@pytest.mark.parametrize("event", ["REFUND_FAILED", "REFUNDED_REVERSED"])
async def test_a_refund_that_comes_back_is_held(world: World, event: str) -> None:
    of = await world.begin(K.REFUND)
    await world.process.attempt(of)
    await world.tell("REFUND", of)
    assert (await world.payment(of)).amount_refunded_minor == of.amount_minor
    await world.tell(event, of)
    paid = await world.payment(of)
    assert (paid.amount_refunded_minor, paid.refundable_minor) == (0, 0)
    assert "refund.failed" in [type_ for _, type_ in await world.ledger.events(of.payment_id)]


async def test_a_cancel_that_was_not_done_says_nothing(world: World) -> None:
    of = await world.begin(K.VOID)
    await world.process.attempt(of)
    await world.tell("CANCELLATION", of, success="false")
    assert await world.status(of) is O.PENDING
    assert (await world.ledger.latest(of.id)).state is A.ACCEPTED
    await world.tell("CANCELLATION", of)
    assert (await world.payment(of)).status is S.VOIDED


@pytest.mark.parametrize("what", [Asked.SALE, Asked.AUTHORIZATION])
async def test_the_callback_of_a_payment_whose_own_answer_was_lost_counts(world: World, what: Asked) -> None:
    """Its owner is gone with the card: nobody can send it again."""
    automatic = what is Asked.SALE
    create = await world.create(automatic=automatic)
    await claimed_ago(world.process, create, 60)
    assert isinstance(await world.process.resolve("inquire", create), InquiryDue)
    assert world.adyen.sent == []
    await world.tell("AUTHORISATION", create, what=what)
    told = await world.payment(create)
    assert (told.status, told.connector_reference) == (S.CAPTURED if automatic else S.AUTHORIZED, PSP)


async def test_one_that_was_not_authorised_has_failed(world: World) -> None:
    create = await world.create()
    await claimed_ago(world.process, create, 60)
    await world.tell("AUTHORISATION", create, what=Asked.SALE, success="false", reason="051 : Not enough")
    paid = await world.payment(create)
    assert paid.status is S.FAILED
    assert (paid.last_error or {})["decline_code"] == "generic_decline"  # the reason is not signed


async def test_another_amount_is_reversed_and_has_failed_once_that_is_told(world: World) -> None:
    create = await world.create(automatic=False)
    await claimed_ago(world.process, create, 60)
    less = {"currency": create.currency, "value": create.amount_minor - 1}
    await world.tell("AUTHORISATION", create, what=Asked.AUTHORIZATION, amount=less)
    assert (await world.ledger.latest(create.id)).state is A.REVERSING
    for _ in range(2):
        assert isinstance(await world.process.resolve("reverse", create), ReversalDue)
    assert [sent.name for sent in world.adyen.sent] == [f"POST /v72/payments/{PSP}/reversals"] * 2
    assert len({sent.key for sent in world.adyen.sent}) == 1
    await world.tell("CANCEL_OR_REFUND", create, what=Asked.REVERSAL, success="false")
    assert (await world.payment(create)).status is S.PROCESSING
    await world.tell("CANCEL_OR_REFUND", create, what=Asked.REVERSAL)
    paid = await world.payment(create)
    assert (paid.status, (paid.last_error or {})["code"]) == (S.FAILED, "amount_mismatch")


async def test_a_success_after_the_customers_time_is_reversed_until_adyen_says_so(world: World) -> None:
    create = await world.create()
    await claimed_ago(world.process, create, 60)
    await world.tell("OFFER_CLOSED", create, what=Asked.SALE)
    assert (await world.payment(create)).status is S.FAILED
    await world.tell("AUTHORISATION", create, what=Asked.SALE)
    reversal = await world.ledger.operation(IDS.reversal(reference=attempt_reference(create.id, 1)))
    assert isinstance(await world.process.resolve("reverse_late", reversal), ReversalDue)
    assert world.adyen.sent[0].name == f"POST /v72/payments/{PSP}/reversals"
    await world.tell("CANCEL_OR_REFUND", create, what=Asked.REVERSAL)
    assert await world.status(reversal) is O.SUCCEEDED


async def test_what_was_refunded_in_the_customer_area_is_booked_once(world: World) -> None:
    create = await world.create()
    await world.tell("AUTHORISATION", create, what=Asked.SALE)
    for _ in range(2):  # told in two messages
        await world.tell(
            "REFUND",
            create,
            what=Asked.SALE,
            pspReference="ABCDEFGHJKLMNPQR",
            originalReference=PSP,
            amount={"currency": create.currency, "value": 99},
        )
    assert (await world.payment(create)).amount_refunded_minor == 99


async def test_a_refund_of_ours_that_is_told_by_the_payments_reference_is_not_booked_twice(
    world: World,
) -> None:
    """Should Adyen name the payment there: it stays pending, for a person, rather than count twice."""
    create = await world.create()
    await world.tell("AUTHORISATION", create, what=Asked.SALE)
    refund = await world.ledger.add_operation(await world.payment(create), K.REFUND, claimed=False)
    await world.process.attempt(refund)
    await world.tell("REFUND", create, what=Asked.SALE, pspReference=MODIFICATION, originalReference=PSP)
    assert (await world.payment(create)).amount_refunded_minor == 0
    assert await world.status(refund) is O.PENDING
    await world.tell("REFUND", refund, originalReference=PSP)
    assert (await world.payment(create)).amount_refunded_minor == refund.amount_minor


@pytest.mark.parametrize("first", ["REFUND", "REFUND_FAILED", "REFUNDED_REVERSED"])
async def test_a_refund_of_the_customer_area_that_comes_back_is_held_once(world: World, first: str) -> None:
    """Told in either order, twice, and by both names of its failure: other refunds stay as they are."""
    create = await world.create()
    await world.tell("AUTHORISATION", create, what=Asked.SALE)
    others = {"what": Asked.SALE, "originalReference": PSP}
    less = {"amount": {"currency": create.currency, "value": 99}}
    await world.tell("REFUND", create, pspReference="ABCDEFGHJKLMNPQS", **others, **less)
    for event in (first, "REFUND", "REFUND_FAILED", "REFUNDED_REVERSED", "REFUND_FAILED"):
        await world.tell(event, create, pspReference="ABCDEFGHJKLMNPQR", **others, **less)
    paid = await world.payment(create)
    known_as_failed = first != "REFUND"  # then it was never counted, and nothing of it is held
    held = 0 if known_as_failed else 99
    assert (paid.amount_refunded_minor, paid.refundable_minor) == (99, create.amount_minor - 99 - held)
    told = [type_ for _, type_ in await world.ledger.events(create.payment_id)]
    assert told.count("refund.failed") == 1


@pytest.mark.parametrize("event", ["REFUND", "CAPTURE", "CANCELLATION"])
async def test_what_others_did_with_another_payment_under_our_reference_is_for_a_person(
    world: World, event: str
) -> None:
    """Somebody may have charged once more with it in the Customer Area, and given that back."""
    what = Asked.SALE if event == "REFUND" else Asked.AUTHORIZATION
    create = await world.create(automatic=event == "REFUND")
    await world.tell("AUTHORISATION", create, what=what)
    before = await world.payment(create)
    await world.tell(
        event, create, what=what, pspReference="ABCDEFGHJKLMNPQR", originalReference="ANOTHERCHARGE123"
    )
    paid = await world.payment(create)
    assert (paid.status, paid.amount_captured_minor, paid.amount_refunded_minor) == (
        before.status,
        before.amount_captured_minor,
        0,
    )
    assert paid.review is not None
    assert (paid.refundable_minor, paid.capturable_minor) == (0, 0)


@pytest.mark.parametrize(("event", "automatic"), [("CAPTURE_FAILED", True), ("TECHNICAL_CANCEL", False)])
async def test_what_adyen_took_back_of_another_payment_under_our_reference_leaves_ours(
    world: World, event: str, automatic: bool
) -> None:
    what = Asked.SALE if automatic else Asked.AUTHORIZATION
    create = await world.create(automatic=automatic)
    await world.tell("AUTHORISATION", create, what=what)
    before = await world.payment(create)
    undone = {"pspReference": "ABCDEFGHJKLMNPQR"}
    await world.tell(event, create, what=what, originalReference="ANOTHERCHARGE123", **undone)
    assert await world.payment(create) == before
    await world.tell(event, create, what=what, originalReference=PSP, **undone)
    assert (await world.payment(create)).status is not before.status


async def test_another_payment_that_is_captured_under_our_reference_does_not_capture_ours_again(
    world: World,
) -> None:
    create = await world.create()
    await world.tell("AUTHORISATION", create, what=Asked.SALE)
    of_ours = {"what": Asked.SALE, "originalReference": PSP}
    await world.tell("CAPTURE_FAILED", create, **of_ours)
    await world.tell("CAPTURE", create, what=Asked.SALE, originalReference="ANOTHERCHARGE123")
    paid = await world.payment(create)
    assert (paid.status, paid.amount_captured_minor) == (S.AUTHORIZED, 0)
    await world.tell("CAPTURE", create, **of_ours)
    assert (await world.payment(create)).amount_captured_minor == create.amount_minor

"""The acquirer fails in every way it can; with the deadlines as they are by default, all resolves within a minute."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from devstack.stack import DevStack
from tests.faults.books import Books, at_rest
from tests.faults.deeds import AUTOMATIC, CAPTURE, DEEDS, MANUAL, REFUND, VOID, Asked, Deed
from tests.faults.shop import AMOUNT, Shop, open_shop
from tests.support.servers import running
from tests.support.witness import Witness, witness_of

DONE_FAULTS = ("timeout_after_charge", "error_after_charge", "reset_after_charge", "garbage", "slow:9900")
BLIND_FAULTS = ("timeout_before_charge", "error_after_charge", "reset_after_charge", "garbage")
PREPARED_AT_ONCE, APART_S = 4, 0.3
MISMATCHED = (AUTOMATIC, MANUAL, CAPTURE, REFUND)  # a void has no amount of its own


@dataclass(frozen=True)
class Ended:
    """The first answer after admission, the definite one, and the books."""

    asked: Asked
    first: httpx.Response
    last: httpx.Response
    books: Books


Endings = dict[tuple[str, str], "asyncio.Task[Ended]"]


@pytest.fixture(scope="module")
async def patient() -> AsyncIterator[DevStack]:
    """A stack with the deadlines of `make dev`, and an acquirer that honours no reference twice."""
    async with running() as stack, witness_of(stack.acquirer_url) as witness:
        await witness.configure(idempotency="ignored")
        yield stack


@pytest.fixture(scope="module")
async def endings(patient: DevStack) -> AsyncIterator[Endings]:
    """What became of each kind of request under each fault; all at once, since most of it is waiting."""
    async with open_shop(patient) as shop, witness_of(patient.acquirer_url) as ledger:
        gate = asyncio.Semaphore(PREPARED_AT_ONCE)
        tasks = {
            (fault, deed.name): asyncio.create_task(end(gate, shop, ledger, deed, fault))
            for fault, deed in cases()
        }
        yield tasks
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


def cases() -> list[tuple[str, Deed]]:
    """Every fault with every kind of request that it may hit."""
    simple = [(fault, deed) for fault in (*DONE_FAULTS, "timeout_before_charge") for deed in DEEDS]
    mismatched = [("amount_mismatch", deed) for deed in MISMATCHED]
    blind = [(blinded(fault), deed) for fault in BLIND_FAULTS for deed in (AUTOMATIC, CAPTURE, VOID, REFUND)]
    return simple + mismatched + blind


def blinded(fault: str) -> str:
    """The outcome is unknown, and so is that of the first inquiry."""
    return f"timeout_after_charge,inquire:{fault}"


async def end(gate: asyncio.Semaphore, shop: Shop, ledger: Witness, deed: Deed, fault: str) -> Ended:
    """The request was sent under the fault, and asked for until it had its outcome."""
    own, *others = fault.split(",")
    metadata = {"sandbox_fault": ",".join([f"{deed.kind}:{own}", *others])}
    async with gate:
        asked = await deed.prepare(shop, metadata=metadata)
        sending = asyncio.create_task(asked.admitted(shop))
        await asyncio.wait({sending}, timeout=APART_S)  # faults are tried here, not a cold start at full load
    first = await sending
    last = await asked.answered(shop)
    return Ended(asked, first, last, await at_rest(shop, ledger, asked.payment_id))


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.name)
@pytest.mark.parametrize("fault", DONE_FAULTS)
async def test_what_the_acquirer_did_is_done_once_whatever_it_answered(
    endings: Endings, fault: str, deed: Deed
) -> None:
    ended = await endings[fault, deed.name]
    assert ended.first.status_code == 202
    ended.asked.check_done(ended.last, ended.books)


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.name)
async def test_what_the_acquirer_did_not_do_fails_and_says_so(endings: Endings, deed: Deed) -> None:
    ended = await endings["timeout_before_charge", deed.name]
    assert ended.first.status_code == 202
    ended.asked.check_undone(ended.last, ended.books, code="not_processed")


@pytest.mark.parametrize("deed", MISMATCHED, ids=lambda deed: deed.name)
async def test_another_amount_than_asked_is_reversed_and_fails(endings: Endings, deed: Deed) -> None:
    ended = await endings["amount_mismatch", deed.name]
    said = ended.last.json() if deed is REFUND else ended.last.json()["payment"]
    assert said["last_error"]["code"] == "amount_mismatch"
    assert ended.books.movements == [*deed.before, *deed.moves, "reversal"]


@pytest.mark.parametrize("deed", [AUTOMATIC, CAPTURE, VOID, REFUND], ids=lambda deed: deed.name)
@pytest.mark.parametrize("fault", BLIND_FAULTS)
async def test_an_inquiry_that_fails_is_made_again(endings: Endings, fault: str, deed: Deed) -> None:
    ended = await endings[blinded(fault), deed.name]
    ended.asked.check_done(ended.last, ended.books)


async def test_an_unknown_outcome_is_announced_as_processing(endings: Endings) -> None:
    ended = await endings["timeout_after_charge", "automatic"]
    assert ended.first.json()["status"] == "processing"
    assert ended.books.event_types == ["payment.processing", "payment.authorized", "payment.captured"]
    assert ended.last.json()["amount_captured"] == AMOUNT


@pytest.mark.parametrize("deed", [CAPTURE, VOID], ids=lambda deed: deed.name)
async def test_an_unknown_capture_or_void_is_shown_as_pending(endings: Endings, deed: Deed) -> None:
    ended = await endings["timeout_after_charge", deed.name]
    assert ended.first.json()["status"] == "authorized"
    assert ended.first.json()["pending_operation"] == {"type": deed.kind, "amount": AMOUNT}
